"""The embedded networks through their public functions: contracts, laws, and hearts found on real scans."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from cmr_models import zoo
from cmr_models.contracts import LV, MYOCARDIUM, RV
from cmr_models.nets import build
from cmr_models.segmentation import (
    Segmenter,
    prepare,
    restore,
    segment_lax_2c,
    segment_lax_3c,
    segment_lax_4c,
    segment_sax,
)
from cmr_models.segmentation.cleaning import clean_sax
from cmr_models.segmentation.crops import CropWindow, crop, image_region, resample_to_image, standardise
from cmr_models.simulate import training_slices

Images = npt.NDArray[Any]


def _dice(a: npt.NDArray[np.bool_], b: npt.NDArray[np.bool_]) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


@pytest.fixture(scope="module")
def slices() -> tuple[Images, Images, Images]:
    """Simulated short-axis images through the middle of the ventricles: images, labels, pixel sizes."""
    images, labels, pixel_mm = training_slices(np.random.default_rng(77), 24)
    whole = np.array([min((label == c).sum() for c in (RV, MYOCARDIUM, LV)) > 150 for label in labels])
    return images[whole], labels[whole], pixel_mm[whole]


@pytest.mark.slow
def test_simulated_ventricles_are_found_again(slices: tuple[Images, Images, Images]) -> None:
    scores = []
    for image, label, mm in zip(*slices, strict=True):
        found = segment_sax(image[None, None], float(mm), None)[0, 0]
        scores.append([_dice(found == c, label == c) for c in (RV, MYOCARDIUM, LV)])
    rv, myocardium, lv = np.mean(scores, axis=0)
    assert rv > 0.75
    assert myocardium > 0.75
    assert lv >= 0.8


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.float32, np.float64])
def test_labels_are_uint8_of_the_shape_of_the_images(
    slices: tuple[Images, Images, Images], dtype: type[np.generic]
) -> None:
    image = (slices[0][0] / slices[0][0].max() * 250).astype(dtype)
    labels = segment_sax(image[None, None], 1.4, 10.0)
    assert labels.dtype == np.uint8
    assert labels.shape == (1, 1, *image.shape)
    assert (labels == LV).any()


def test_brightness_and_contrast_do_not_matter(slices: tuple[Images, Images, Images]) -> None:
    image = slices[0][0][None, None].astype(np.float64)
    first, second = segment_sax(image, 1.4, None), segment_sax(4 * image + 1000, 1.4, None)
    assert (first != second).mean() < 1e-3


def test_a_constant_image_has_only_background() -> None:
    assert not segment_sax(np.full((1, 2, 64, 80), 7, np.int16), 2.0, 10.0).any()


@pytest.mark.slow
def test_the_4_chamber_function_names_the_atria() -> None:
    images, labels, pixel_mm = training_slices(np.random.default_rng(5), 6, "lax_4c")
    scores = [
        _dice(segment_lax_4c(image[None, None], float(mm))[0, 0] == LV, label == LV)
        for image, label, mm in zip(images, labels, pixel_mm, strict=True)
    ]
    found = np.unique(segment_lax_4c(images[:1, None], float(pixel_mm[0])))
    assert np.mean(scores) > 0.75
    assert set(found) <= set(range(6))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((4, 64, 64)), r"got \(4, 64, 64\); add axes"),
        (np.zeros((0, 1, 64, 64)), r"empty: shape \(0, 1, 64, 64\)"),
        (np.full((1, 1, 64, 64), np.nan), "4096 values that are not finite"),
        (np.zeros((1, 1, 64, 64), complex), "complex128; take the magnitude"),
    ],
)
def test_arrays_that_are_no_images_are_refused(images: Images, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        segment_sax(images, 1.4, 10.0)


@pytest.mark.parametrize("pixel_mm", [0.0, -1.0, float("nan"), (1.0, 0.0)])
def test_a_pixel_size_that_is_not_positive_is_refused(pixel_mm: Any) -> None:
    with pytest.raises(ValueError, match="pixel_mm must be one or two positive numbers"):
        segment_sax(np.zeros((1, 1, 64, 64)), pixel_mm, 10.0)


@pytest.mark.slow
def test_a_batch_gives_what_its_images_give_one_by_one() -> None:
    segmenter = Segmenter.load()
    crops = standardise(torch.randn(19, segmenter.channels, segmenter.card.size, segmenter.card.size))
    together = segmenter.probabilities(crops)
    alone = torch.cat([segmenter.probabilities(crops[k : k + 1]) for k in range(19)])
    assert torch.equal(together, alone)


def test_the_four_steps_are_what_the_public_function_does(slices: tuple[Images, Images, Images]) -> None:
    images = slices[0][:3][None]
    segmenter = Segmenter.load()
    window = segmenter.locate(images, 1.4)
    labels = restore(
        segmenter.probabilities(prepare(images, window, segmenter.channels)), window, images.shape, segmenter.card
    )
    np.testing.assert_array_equal(labels, segment_sax(images, 1.4, None))


def test_a_crop_put_back_is_the_image_it_was_cut_from() -> None:
    rows, cols = np.indices((90, 110), dtype=np.float32)
    image = torch.from_numpy(np.sin(rows / 15) + np.cos(cols / 12))[None]
    window = CropWindow((45.0, 50.0), (1.1, 0.9), 64)
    region = image_region(window, (90, 110))
    back = resample_to_image(crop(image, window), window, region)
    assert (back - image[:, region[0], region[1]]).abs().max() < 0.05


def test_an_island_far_from_the_other_slices_is_not_a_left_ventricle() -> None:
    labels = np.zeros((1, 3, 100, 100), np.uint8)
    labels[0, :, 40:60, 40:60] = LV
    labels[0, 1, 40:60, 40:60] = 0
    labels[0, 1, 2:30, 85:99] = LV
    assert not (clean_sax(labels, 1.4)[0, 1] == LV).any()


def _stack(radii: Images) -> Images:
    """Discs of left ventricle in a ring of myocardium; ``radii (frame, slice)`` in pixels."""
    rows, cols = np.indices((64, 64)) - 32
    distance = np.hypot(rows, cols)
    radius = np.asarray(radii)[..., None, None]
    return np.select([distance < radius, distance < radius + 4], [LV, MYOCARDIUM], 0).astype(np.uint8)


def test_a_basal_pool_that_grows_while_the_ventricle_contracts_is_the_atrium() -> None:
    labels = _stack([[12, 18, 18, 17, 15, 10], [15, 14, 14, 13, 11, 6]])
    for stack, basal in ((labels, 0), (labels[:, ::-1], 5)):
        clean = clean_sax(stack, 1.4)
        assert not clean[:, basal].any()
        np.testing.assert_array_equal(np.delete(clean, basal, axis=1), np.delete(stack, basal, axis=1))


def test_a_bulging_apex_stays_a_ventricle() -> None:
    labels = _stack([[18, 18, 18, 17, 15, 8], [14, 14, 14, 13, 11, 10]])
    np.testing.assert_array_equal(clean_sax(labels, 1.4), labels)


def test_papillary_muscles_inside_the_pool_become_pool() -> None:
    labels = np.zeros((1, 1, 60, 60), np.uint8)
    labels[0, 0, 20:40, 20:40] = LV
    labels[0, 0, 28:31, 28:31] = MYOCARDIUM
    assert (clean_sax(labels, 1.4)[0, 0, 20:40, 20:40] == LV).all()


@pytest.mark.data
def test_end_diastole_of_another_hospital_is_segmented(real_data: Path) -> None:
    import nibabel

    image = nibabel.load(real_data / "autofd_nifti/A/sa_ED.nii.gz")
    stack = np.asarray(image.dataobj).squeeze().transpose(2, 0, 1)[None]
    labels = segment_sax(stack, float(image.header.get_zooms()[0]), 10.0)
    volume_ml = (labels == LV).sum() * np.prod(image.header.get_zooms()[:3]) / 1000
    assert 60 < volume_ml < 260
    middle = labels[0, labels.shape[1] // 2]
    assert set(np.unique(middle)) == {0, RV, MYOCARDIUM, LV}


@pytest.mark.data
def test_a_rotated_or_mirrored_heart_is_found_where_it_is(real_data: Path) -> None:
    from matplotlib.image import imread

    file = sorted((real_data / "sunnybrook_png/images").glob("*.png"))[200]
    image = (imread(file) * 255).astype(np.uint8)
    drawn = imread(file.parents[1] / "labels" / file.name) > 0.5
    for turn in (lambda a: a, np.rot90, np.flipud, np.fliplr):
        found = segment_sax(np.ascontiguousarray(turn(image))[None, None], None, None)[0, 0] == LV
        assert _dice(found, turn(drawn)) > 0.8


@pytest.mark.parametrize(
    ("view", "shown"), [("2c", {0, 2, 3, 4}), ("3c", {0, 1, 2, 3, 4, 6}), ("4c", {0, 1, 2, 3, 4, 5})]
)
def test_a_network_of_every_long_axis_view_names_what_the_view_shows(
    tmp_path: Path, view: str, shown: set[int]
) -> None:
    config = {"n_classes": 7, "widths": [4, 4], "blocks": [1, 1]}
    torch.manual_seed(1)
    zoo.save(tmp_path, build("unet2d", **config), zoo.ModelCard("any", "segment_lax", "unet2d", config, 1.6, 32))
    segmenter = Segmenter.load(tmp_path, f"segment_lax_{view}", precision="fp32")
    probabilities = segmenter.probabilities(torch.randn(3, 1, 32, 32))
    hidden = sorted(set(range(7)) - shown)
    assert (probabilities[:, hidden] == 0).all()
    assert torch.allclose(probabilities.sum(1), torch.ones(3, 32, 32), atol=1e-5)
    network, _ = zoo.load(tmp_path)
    odds = network(torch.ones(1, 1, 32, 32)).detach()[:, sorted(shown)].softmax(1)
    assert torch.allclose(segmenter.probabilities(torch.ones(1, 1, 32, 32))[:, sorted(shown)], odds, atol=1e-4)


def test_the_functions_of_long_axis_views_use_the_network_for_every_view(tmp_path: Path) -> None:
    config = {"n_classes": 7, "widths": [4, 4], "blocks": [1, 1]}
    zoo.save(tmp_path, build("unet2d", **config), zoo.ModelCard("any", "segment_lax", "unet2d", config, 1.6, 32))
    images = np.random.default_rng(0).random((2, 1, 48, 40))
    for function, shown in ((segment_lax_2c, {0, 2, 3, 4}), (segment_lax_3c, {0, 1, 2, 3, 4, 6})):
        labels = function(images, 1.6, tmp_path)
        assert labels.shape == images.shape
        assert set(np.unique(labels)) <= shown
        with pytest.raises(ValueError, match="add axes"):
            function(images[0], 1.6, tmp_path)
