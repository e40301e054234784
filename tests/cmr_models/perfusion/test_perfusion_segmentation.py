"""The segmentation of myocardial series: simulated truth found again, units checked at the door."""

from pathlib import Path

import numpy as np
import pytest
import torch

import cmr_models
from cmr_models.perfusion.segmentation import _keep_largest_parts, _paste, heart_crop, segment
from cmr_models.simulate.perfusion.training import myocardial_training_series

SHIPPED = (Path(cmr_models.__file__).parent / "weights" / "perfusion_segment.safetensors").exists()


@pytest.mark.skipif(not SHIPPED, reason="no weights of perfusion_segment in the package yet: train them by the recipe")
def test_the_myocardium_of_unseen_simulated_series_is_found() -> None:
    found = []
    for i in range(10):
        rng = np.random.default_rng([88, i])
        series, truth = myocardial_training_series(rng, 1.8, 128)
        label = segment(series.images[0], float(np.diff(series.time_s).mean()), 1.8)
        both = (label == 2).sum() + (truth == 2).sum()
        found.append(2 * ((label == 2) & (truth == 2)).sum() / both)
    assert np.mean(found) > 0.85


def test_the_crop_holds_the_heart() -> None:
    for i in range(12):
        series, truth = myocardial_training_series(np.random.default_rng([89, i]), 2.0, 112)
        _, (top, left) = heart_crop(series.images[0], float(np.diff(series.time_s).mean()), 32, 96)
        rows, cols = np.nonzero(truth > 1)
        inside = (rows >= top) & (rows < top + 96) & (cols >= left) & (cols < left + 96)
        assert inside.mean() > 0.98


def test_wrong_units_are_refused() -> None:
    series = np.random.default_rng(0).random((64, 64, 40))
    with pytest.raises(ValueError, match=r"0\.1 to 5 s, got 500; milliseconds\?"):
        segment(series, 500, 1.8)
    with pytest.raises(ValueError, match=r"pixel_mm must be 0\.3 to 6 mm, got 0\.0018"):
        segment(series, 0.5, 0.0018)
    with pytest.raises(ValueError, match="at least 12 frames, got 1"):
        segment(series[..., :1], 0.5, 1.8)


# parts, by hand


def test_the_crop_lies_about_what_enhances_most_and_goes_on_beyond_the_image() -> None:
    series = np.full((40, 50, 30), 20.0, np.float32)
    series[28:35, 6:13, 10:] += 100  # middle at (31, 9)
    image, corner = heart_crop(series, 0.5, 8, 20)
    assert image.shape == (9, 20, 20)
    assert corner == (21, -1)
    assert float(image[:8, :, 0].abs().max()) == 0  # beyond the image
    assert float(image[7, 10, 10]) == pytest.approx(1)
    moved, there = heart_crop(series, 0.5, 8, 20, off=(-3, 4))
    assert there == (18, 3)
    np.testing.assert_array_equal(moved[:, 3:, :-4], image[:, :-3, 4:])
    assert heart_crop(series, 0.5, 8, 20, off=(999, -999))[1] == (40, -20)
    assert heart_crop(series, 0.5, 8, 20, off=(-999, 999))[1] == (-20, 50)


def test_frames_after_a_minute_are_not_looked_at_and_twelve_always_are() -> None:
    series = np.full((40, 50, 30), 20.0, np.float32)
    series[5:10, 5:10, 5:] += 50
    series[28:35, 36:43, 20:] += 100  # later than 60 s at 3 s a frame
    assert heart_crop(series, 3.0, 8, 10)[1] == (2, 2)
    assert heart_crop(series, 2.5, 8, 10)[1] == (26, 34)
    assert heart_crop(series, 30.0, 8, 10)[1] == (2, 2)  # two frames would be left


def test_the_answer_is_put_back_where_it_was_cut_and_is_background_elsewhere() -> None:
    probability = torch.zeros(2, 3, 3)
    probability[1] = torch.arange(1.0, 10).reshape(3, 3)
    whole = _paste(probability, (-1, 2), 4, 5)
    assert whole[1].tolist() == [[0, 0, 4, 5, 6], [0, 0, 7, 8, 9], [0] * 5, [0] * 5]
    assert whole[0].tolist() == [[1, 1, 0, 0, 0], [1, 1, 0, 0, 0], [1] * 5, [1] * 5]


def test_of_each_class_the_largest_part_stays_and_the_first_of_equal_ones() -> None:
    label = np.zeros((6, 8), np.uint8)
    label[0, :2], label[0, 4:7] = 1, 1
    label[2, :2], label[2, 4:6] = 3, 3
    label[4, 0], label[5, 1] = 2, 2  # they touch at a corner only
    kept = _keep_largest_parts(label)
    expected = label.copy()
    expected[0, :2] = expected[2, 4:6] = expected[5, 1] = 0
    np.testing.assert_array_equal(kept, expected)
