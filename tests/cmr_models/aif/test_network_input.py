"""The network's input and the way back, on images of a few pixels."""

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from cmr_models.aif.detection import _centre_of_mass_frame, _grid, _likeliest_part, _two_groups, aif_target, detect
from cmr_models.aif.network_input import channels, check_series, class_weights, pad_or_cut, resize, undo_pad_or_cut
from cmr_models.zoo import ModelCard


def _numbered(rows: int, cols: int) -> Tensor:
    return torch.arange(1.0, rows * cols + 1).reshape(1, rows, cols)


@pytest.mark.parametrize(("shape", "first"), [((2, 3), (1, 0)), ((3, 2), (0, 1)), ((2, 2), (1, 1))])
def test_small_images_are_padded_about_their_middle(shape: tuple[int, int], first: tuple[int, int]) -> None:
    padded = pad_or_cut(_numbered(*shape), 4)[0]
    assert padded.shape == (4, 4)
    assert padded[first] == 1
    assert int((padded > 0).sum()) == shape[0] * shape[1]
    np.testing.assert_array_equal(undo_pad_or_cut(padded[None], *shape), _numbered(*shape))


def test_large_images_are_cut_and_come_back_with_zeros() -> None:
    cut = pad_or_cut(_numbered(4, 6), 2)[0]
    assert cut.tolist() == [[9, 10], [15, 16]]
    back = undo_pad_or_cut(cut[None], 4, 6)[0]
    assert back.shape == (4, 6)
    assert (back[1, 2], back[2, 3], int((back > 0).sum())) == (9, 16, 4)


def test_a_larger_grid_has_the_same_field_of_view() -> None:
    image = torch.tensor([[[0.0, 4.0]]])
    assert resize(image, 1, 4)[0].tolist() == [[0, 1, 3, 4]]
    assert resize(image, 1, 2) is image
    shrunk = resize(torch.tensor([[[0.0, 4, 8, 12]]]), 1, 2)[0, 0]
    assert float(shrunk.sum()) == pytest.approx(12, abs=1e-5)
    sparse = torch.tensor([[8.0, 0, 0, 0] * 4])[None]
    assert resize(sparse, 1, 4)[0, 0].tolist() == pytest.approx([2] * 4, abs=0.7)  # an average and not a choice


@pytest.mark.parametrize(
    ("rows", "cols", "grid"),
    [
        (52, 40, (52, 40)),
        (51, 40, (64, 50)),
        (64, 48, (64, 48)),
        (65, 48, (64, 47)),
        (30, 128, (15, 64)),
        (1, 640, (1, 64)),
    ],
)
def test_series_of_usual_size_are_not_resampled(rows: int, cols: int, grid: tuple[int, int]) -> None:
    assert _grid(rows, cols, 64) == grid


@pytest.mark.parametrize(
    ("rows", "cols", "grid"), [(104, 80, (104, 80)), (103, 80, (128, 99)), (128, 90, (128, 90)), (129, 90, (128, 89))]
)
def test_on_a_finer_grid_the_usual_size_is_as_much_larger(rows: int, cols: int, grid: tuple[int, int]) -> None:
    assert _grid(rows, cols, 128) == grid


def test_channels_are_enhancement_over_each_pixels_base_and_the_still_image() -> None:
    course = np.r_[np.zeros(6), 1, 2, 3, 2, 1, 0.5]
    series = np.full((20, 20, 12), 40.0, np.float32)
    series[0] = 10.0
    series[5, 7] += 8 * course
    series[10:14] += 4 * course  # a fifth of the pixels: their largest rise is the scale
    found = channels(series, 6)
    assert found.shape == (7, 20, 20)
    # six bins of two frames: 0, 0, 0, 1.5, 2.5 and 0.75 of the course; the scale is 2.5 x 4
    np.testing.assert_allclose(found[:6, 11, 3], np.array([0, 0, 0, 1.5, 2.5, 0.75]) / 2.5, atol=1e-4)
    np.testing.assert_allclose(found[:6, 5, 7], 2 * np.array([0, 0, 0, 1.5, 2.5, 0.75]) / 2.5, atol=1e-4)
    assert float(found[:6, 1, 1].abs().max()) == 0
    assert found[6, 1, 1] == pytest.approx(1)
    assert found[6, 0, 1] == pytest.approx(0.25)
    series[5, 7] += 40 * course
    assert float(channels(series, 6).max()) == 3


def test_series_are_checked_at_the_door() -> None:
    good = np.random.default_rng(0).random((16, 17, 12))
    assert check_series(good).dtype == np.float32
    assert check_series(good[..., :9], 9).shape == (16, 17, 9)
    with pytest.raises(ValueError, match="at least 12 frames, got 11"):
        check_series(good[..., :11])
    with pytest.raises(ValueError, match="at least 16 rows and columns"):
        check_series(good[:15])
    with pytest.raises(ValueError, match="real magnitudes, got <U1"):
        check_series(np.full((16, 16, 12), "a"))
    one = np.ones((16, 16, 12))
    one[3, 3, 5] = 2  # a single pixel that changes
    assert check_series(one).max() == 2


def test_probabilities_are_divided_by_the_weights_of_their_training() -> None:
    card = ModelCard("m", "t", "k", {"n_classes": 3}, 1.0, 64, training_settings={"class_weight": [1.0, 4.0, 2.0, 9.0]})
    assert class_weights(card).tolist() == [1, 4, 2]
    assert class_weights(ModelCard("m", "t", "k", {"n_classes": 2}, 1.0, 64)).tolist() == [1, 1]


# the target, and the rule


def test_a_target_has_the_class_that_covers_more_than_half_of_a_pixel() -> None:
    mask = np.zeros((128, 128), np.uint8)
    mask[40:60, 40:60], mask[70:90, 40:61] = 1, 2
    target = aif_target(mask, 64).numpy()
    assert set(np.unique(target[22:28, 22:28])) == {1}
    assert set(np.unique(target[37:43, 22:28])) == {2}
    assert target[10, 10] == 0
    assert abs(int((target == 1).sum()) - 100) <= 8


def test_the_part_with_the_most_probability_is_not_the_largest() -> None:
    found = np.zeros((4, 6), bool)
    found[0, :4], found[2, :2] = True, True
    probability = np.where(np.arange(4)[:, None] == 2, 0.9, 0.4) * np.ones((4, 6))
    assert np.argwhere(_likeliest_part(found, probability.astype(np.float32))).tolist() == [[2, 0], [2, 1]]
    even = _likeliest_part(found, np.ones((4, 6), np.float32))
    assert even.sum() == 4
    assert not _likeliest_part(np.zeros((4, 6), bool), np.ones((4, 6), np.float32)).any()


def test_the_cut_between_two_groups_leaves_least_variance_within_them() -> None:
    assert _two_groups(np.array([9.0, 1, 2, 8, 1, 10])) == 5  # between 2 and 8
    assert _two_groups(np.array([1.0, 2, 3, 30])) == 16.5
    assert _two_groups(np.array([3.0, 1, 7])) == 3
    assert _two_groups(np.zeros(0)) == 0


def test_the_first_pass_of_a_pixel_is_the_mean_frame_above_half_its_peak() -> None:
    rise = np.array([[[0, 1.0, 4, 3, 2, 0], [0, 0, 0, 0, 0, 0]]], np.float32)
    # 4 and 3 are above half of 4: (2 x 4 + 3 x 3) / 7
    assert _centre_of_mass_frame(rise)[0].tolist() == pytest.approx([17 / 7, 0])


def _scene(first: int, later: int) -> npt.NDArray[np.float64]:
    """Two discs that fill one after the other, upper and lower, with a wall that fills slowly."""
    rows, cols = np.indices((48, 40))
    series = np.full((48, 40, 40), 20.0)
    frames = np.arange(40)
    for (row, col), arrives in (((14, 20), first), ((32, 18), later)):
        series[np.hypot(rows - row, cols - col) < 6] += 100 * np.exp(-(((frames - arrives) / 3) ** 2))
    series[:, :4] += 2.0 * frames  # what only rises is no chamber
    return series


def test_by_the_rule_the_chamber_that_fills_later_is_the_left_one() -> None:
    found = detect(_scene(10, 18), method="rule")
    assert (found[14, 20], found[32, 18], found[0, 0], found[20, 1]) == (2, 1, 0, 0)
    turned = detect(_scene(18, 10), method="rule")
    assert (turned[14, 20], turned[32, 18]) == (1, 2)
    assert abs(int((found == 1).sum()) - int((turned == 2).sum())) < 12


def test_a_flipped_view_of_a_series_has_flipped_channels() -> None:
    series = np.random.default_rng(3).random((18, 20, 12)).astype(np.float32)
    turned = channels(series[::-1, :, ::1], 6)
    np.testing.assert_allclose(turned, channels(series, 6).flip(1), atol=1e-6)
