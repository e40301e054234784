"""The segmentation of myocardial series: simulated truth found again, units checked at the door."""

from pathlib import Path

import numpy as np
import pytest

import cmr_models
from cmr_models.perfusion.segmentation import heart_crop, segment
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
