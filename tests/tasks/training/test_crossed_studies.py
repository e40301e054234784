"""Long-axis images labelled where a segmented short axis crosses them, from a cohort of one study made on paper."""

from pathlib import Path

import numpy as np
import pytest

from cmr_models.contracts import LV, MYOCARDIUM, cine_study, cine_view, prediction
from tasks.state import store
from tasks.state.store import Cohort
from tasks.state.zarr_encoding import encode_tree
from tasks.training.crossed_studies import crossed_pool
from tasks.training.drawn_volumes import SIDE
from tasks.training.segmentation_settings import TrainingSettings

_ALL_OF_TWO_CHAMBERS = 0b0011101  # background, myocardium, LV, LA


def _view(n_slices, position_mm, row_dir, col_dir, slice_mm):
    rng = np.random.default_rng(n_slices)
    return cine_view(
        rng.integers(0, 500, (4, n_slices, 64, 64)).astype(np.uint16),
        time_ms=np.arange(4) * 100.0, pixel_mm=(1.0, 1.0), position_mm=position_mm, row_dir=row_dir, col_dir=col_dir,
        slice_mm=slice_mm, thickness_mm=8.0,
    )  # fmt: skip


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    """A stack of three planes z = 0, 20, 40 mm, crossed by the plane y = 32 mm; the pool is smallest in frame 2."""
    stack = _view(3, np.arange(3)[:, None] * [0.0, 0.0, 20.0], (1, 0, 0), (0, 1, 0), 20.0)
    across = _view(1, [[0.0, 32.0, 0.0]], (1, 0, 0), (0, 0, 1), float("nan"))
    labels = np.zeros((4, 3, 64, 64), np.uint8)
    for frame, radius in enumerate((12, 10, 6, 9)):
        labels[frame, :, 16:49, 16:49] = MYOCARDIUM
        labels[frame, :, 32 - radius : 33 + radius, 32 - radius : 33 + radius] = LV
    root = Cohort(tmp_path)
    store.publish(encode_tree(cine_study({"sax": stack, "lax_2c": across}, key="one")), root.study("1-2"))
    predicted = prediction({"sax": labels}, key="p", study_key="one", model="default")
    store.publish(encode_tree(predicted), root.prediction("default", "1-2"))
    return tmp_path


def test_end_diastole_and_end_systole_are_labelled_in_strips(cohort):
    pool = crossed_pool(cohort, "default", ("lax_4c", "lax_2c", "lax_3c"))
    assert len(pool) == 2
    assert pool.patient == ("1-2", "1-2")
    assert pool.images.shape == (2, SIDE, SIDE)
    for possible, radius in zip(pool.possible, (12, 6), strict=True):
        rows, cols = np.nonzero(possible == 1 << LV)
        assert len(set(rows)) == 2 + 3 + 3  # z = 0, 1; 19, 20, 21; 39, 40, 41 mm
        assert cols.max() - cols.min() + 1 == 2 * radius - 1  # a pixel less at either end
        assert (possible == _ALL_OF_TWO_CHAMBERS).sum() == (64 - 8) * 64


def test_a_cohort_without_crossings_says_what_to_do(cohort):
    with pytest.raises(FileNotFoundError, match="leave `crossed` empty"):
        crossed_pool(cohort, "default", ("lax_4c",))
    with pytest.raises(FileNotFoundError, match="segmented by 'other'"):
        crossed_pool(cohort, "other", ("lax_2c",))


def test_weak_labels_are_for_long_axis_networks_and_named_in_the_card():
    with pytest.raises(ValueError, match="crossed is for a long-axis network"):
        TrainingSettings(task="segment_sax", crossed="cohort", crossed_name="ours")
    with pytest.raises(ValueError, match="give crossed_name"):
        TrainingSettings(task="segment_lax", crossed="cohort")
    assert TrainingSettings(task="segment_lax", crossed="cohort", crossed_name="ours").n_classes == 7
