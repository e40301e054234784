"""Where the heart is, from probabilities drawn by hand over views whose pixels are known."""

import numpy as np
import numpy.typing as npt
import pytest

from cmr_models.contracts import LV, MYOCARDIUM, RV
from cmr_models.segmentation.crops import CropWindow
from cmr_models.segmentation.localisation import _central, coarse_view, locate_heart, spread_images, supposed_pixel_mm
from cmr_models.zoo import ModelCard

CARD = ModelCard("m", "segment_sax", "unet", {}, pixel_mm=1.5, size=96)
PIXEL_MM = (2.0, 1.2)
VIEW = CropWindow((49.5, 99.5), (1.5, 2.5), 128)  # 3 mm a pixel both ways


def probabilities(*images: tuple[int, npt.NDArray[np.bool_], float], size: int = 128) -> npt.NDArray[np.float32]:
    """One image for each (class, mask, probability); the rest is background."""
    found = np.zeros((len(images), 4, size, size), np.float32)
    for image, (code, mask, share) in zip(found, images, strict=True):
        image[code, mask] = share
        image[0] = 1 - image[1:].sum(axis=0)
    return found


def disc(row: float, col: float, radius: float, size: int = 128) -> npt.NDArray[np.bool_]:
    rows, cols = np.indices((size, size))
    return np.asarray(np.hypot(rows - row, cols - col) < radius)


NOTHING = (LV, np.zeros((128, 128), bool), 0.0)


def test_images_are_spread_over_slices_of_the_first_frame_and_of_one_a_third_on() -> None:
    stack = (100 * np.arange(8)[:, None] + np.arange(20))[..., None, None] * np.ones((1, 1, 3, 4))
    slices = [0, 4, 8, 11, 15, 19]  # six of twenty
    assert spread_images(stack)[:, 0, 0].tolist() == [*slices, *(200 + k for k in slices)]
    assert spread_images(stack, 3)[:, 0, 0].tolist() == [0, 200]
    assert spread_images(stack[:, :3])[:, 2, 3].tolist() == [0, 1, 2, 200, 201, 202]
    assert spread_images(stack[:2], 4)[:, 0, 0].tolist() == [0, 6, 13, 19]  # a third of two frames is the first again
    assert len(spread_images(stack[:2])) == 12
    assert spread_images(stack[:4, :1])[:, 0, 0].tolist() == [0, 100]
    assert (spread_images(stack).dtype, spread_images(stack).shape) == (np.float32, (12, 3, 4))


def test_the_whole_image_is_seen_in_a_square_that_the_network_takes() -> None:
    # 200 by 240 mm: 80 pixels of 3 mm, of which 32 go into 96
    assert coarse_view((100, 200), PIXEL_MM, 3.0) == CropWindow((49.5, 99.5), (1.5, 2.5), 96)
    assert coarse_view((256, 200), (1.5, 1.5), 3.0) == CropWindow((127.5, 99.5), (2.0, 2.0), 128)
    assert coarse_view((600, 1024), (1.0, 1.0), 3.0) == CropWindow((299.5, 511.5), (4.0, 4.0), 256)


def test_without_a_pixel_size_the_longer_side_has_a_usual_field_of_view() -> None:
    assert supposed_pixel_mm((100, 170)) == [(2, 2), (240 / 170, 240 / 170), (1, 1)]


def test_the_crop_lies_about_the_middle_of_the_heart_at_the_pixel_size_of_the_network() -> None:
    # the view's middle is at 63.5: 10 rows up and 6 columns on are 15 and 15 pixels of the image
    found = probabilities((LV, disc(53.5, 69.5, 10), 0.9), NOTHING)
    window, confidence = locate_heart(found, VIEW, PIXEL_MM, CARD, known_mm=True)
    assert window.centre_px == pytest.approx((34.5, 114.5), abs=1.3)
    assert (window.step_px, window.size) == ((0.75, 1.25), 96)
    assert confidence == pytest.approx(0.45)  # 0.9 in one of two images


def test_of_two_bright_places_the_one_near_the_middle_is_the_heart() -> None:
    heart, arm = disc(70, 60, 8), disc(110, 120, 8)
    found = probabilities((LV, heart | arm, 0.8), (RV, heart | arm, 0.6))
    window, confidence = locate_heart(found, VIEW, PIXEL_MM, CARD, known_mm=True)
    assert window.centre_px == pytest.approx((49.5 + 1.5 * 6.5, 99.5 - 2.5 * 3.5), abs=1.3)
    assert confidence == pytest.approx(0.7)


def test_of_two_bright_places_that_do_not_touch_the_brighter_is_the_heart() -> None:
    left, right = disc(63.5, 45, 7), disc(63.5, 82, 7)
    found = probabilities((LV, left | right, 0.9), (LV, left, 0.9))
    window, confidence = locate_heart(found, VIEW, PIXEL_MM, CARD, known_mm=True)
    assert window.centre_px == pytest.approx((49.5, 99.5 - 2.5 * 18.5), abs=2.6)
    assert confidence == pytest.approx(0.9)


def test_a_heart_that_is_hardly_seen_is_taken_to_be_in_the_middle() -> None:
    for share, middle in ((0.015, True), (0.04, False)):
        window, confidence = locate_heart(
            probabilities((LV, disc(45, 90, 12), share)), VIEW, PIXEL_MM, CARD, known_mm=True
        )
        assert (window.centre_px == (49.5, 99.5)) == middle
        assert confidence == 0


def test_confidence_counts_only_what_is_likelier_heart_than_not() -> None:
    half = probabilities((LV, disc(63, 63, 10), 0.5), (MYOCARDIUM, disc(63, 63, 10), 0.5))
    assert locate_heart(half, VIEW, PIXEL_MM, CARD, known_mm=True)[1] == 0
    split = probabilities((LV, disc(63, 63, 10), 0.6), (RV, disc(63, 63, 10), 0.3), NOTHING)
    split[0, RV][disc(63, 63, 10)] = 0.2  # the likeliest class counts, not their sum
    split[0, 0][disc(63, 63, 10)] = 0.2
    assert locate_heart(split, VIEW, PIXEL_MM, CARD, known_mm=True)[1] == pytest.approx(0.6 / 3)


@pytest.mark.parametrize(
    ("relative", "scale"),
    [(1.2, 1.0), (0.85, 1.0), (1.6, 1.28), (0.6, 0.75), (3.0, 2.0), (0.3, 0.5)],
)
def test_a_supposed_pixel_is_scaled_to_an_epicardium_of_74_mm_within_the_variation_of_hearts(
    relative: float, scale: float
) -> None:
    radius = relative * 37.0 / 3.0  # in pixels of 3 mm
    view = CropWindow((127.5, 127.5), (1.5, 1.5), 256)
    ring = disc(128, 128, radius, 256)
    pool = disc(128, 128, radius / 2, 256)
    found = probabilities(*[(MYOCARDIUM, ring, 0.6)] * 2, *[(MYOCARDIUM, ring, 0.4)] * 2, size=256)
    found[:2, LV, pool], found[:2, MYOCARDIUM, pool] = 0.35, 0.25  # wall and pool count together
    found[:2, LV, :40, :40], found[:2, 0, :40, :40] = 1, 0  # a stomach far from the heart
    window, _ = locate_heart(found, view, (2.0, 2.0), CARD, known_mm=False)
    assert window.step_px == pytest.approx((0.75 * scale, 0.75 * scale), rel=0.03)
    assert locate_heart(found, view, (2.0, 2.0), CARD, known_mm=True)[0].step_px == (0.75, 0.75)


def test_without_a_left_ventricle_a_supposed_pixel_is_left_alone() -> None:
    found = probabilities((RV, disc(63, 63, 10), 0.9))
    assert locate_heart(found, VIEW, PIXEL_MM, CARD, known_mm=False)[0].step_px == (0.75, 1.25)


def test_the_prior_is_a_gaussian_of_a_quarter_of_the_side_about_the_middle() -> None:
    prior = _central(9)  # a standard deviation of 2.25 pixels
    assert prior[4, 4] == 1
    assert prior[4, 6] == pytest.approx(np.exp(-0.5 * (2 / 2.25) ** 2))
    assert prior[1, 6] == pytest.approx(np.exp(-0.5 * (9 + 4) / 2.25**2))
    np.testing.assert_allclose(prior, prior[::-1, ::-1].T)
