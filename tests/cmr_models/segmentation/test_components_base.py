"""A basal slice counts as ventricle where myocardium encloses at least half of the blood."""

import numpy as np
import numpy.typing as npt
import pytest

from cmr_models.contracts import LV, MYOCARDIUM, RV
from cmr_models.segmentation.cleaning import clean_sax


def _stack(enclosed: float, wall_px: int = 5) -> npt.NDArray[np.uint8]:
    """Seven planes of a ring; in the first one the wall goes round the share ``enclosed`` of the pool."""
    rows, cols = np.indices((64, 64)) - 32
    radius, angle = np.hypot(rows, cols), (np.arctan2(rows, cols) + np.pi) / (2 * np.pi)
    ring = np.where(radius < 14, LV, np.where(radius < 14 + wall_px, MYOCARDIUM, 0)).astype(np.uint8)
    labels = np.repeat(ring[None, None], 7, axis=1)
    labels[0, 0][(labels[0, 0] == MYOCARDIUM) & (angle > enclosed)] = 0
    return labels


@pytest.mark.parametrize(("enclosed", "kept"), [(1.0, True), (0.6, True), (0.4, False), (0.0, False)])
def test_a_pool_that_is_open_by_more_than_half_is_no_ventricle(enclosed: float, kept: bool) -> None:
    clean = clean_sax(_stack(enclosed), 1.4)
    assert (clean[0, 0] == LV).any() == kept
    assert (clean[0, 1:] == LV).any(axis=(1, 2)).all()


def test_beside_a_hypertrophic_wall_a_healthy_one_closes() -> None:
    labels = _stack(1.0, wall_px=16)
    rows, cols = np.indices((64, 64)) - 32
    labels[0, 0][np.hypot(rows, cols) >= 14 + 6] = 0  # a third of the next plane's thickness, all around
    assert (clean_sax(labels, 1.4)[0, 0] == LV).any()
    assert not (clean_sax(labels, 0.5)[0, 0] == LV).any()  # smaller pixels: the walls are of 8 and 3 mm


def test_the_order_of_the_stack_does_not_matter() -> None:
    labels = _stack(0.3)
    assert np.array_equal(clean_sax(labels[:, ::-1], 1.4)[:, ::-1], clean_sax(labels, 1.4))


def test_a_full_stomach_below_the_apex_is_no_ventricle() -> None:
    labels = _stack(1.0)
    rows, cols = np.indices((64, 64))
    labels[0, 6] = np.where(np.hypot(rows - 44, cols - 44) < 18, LV, 0)
    clean = clean_sax(labels, 1.4)
    assert (clean[0, :6] == LV).any(axis=(1, 2)).all()
    assert (clean[0, 6] == LV).sum() < (labels[0, 6] == LV).sum() / 2 or not (clean[0, 6] == LV).any()


def test_the_right_ventricle_leaves_basal_slices_when_the_left_one_has_left_their_neighbours() -> None:
    labels = np.concatenate([_stack(1.0)] * 2)
    labels[:, :, 20:44, 56:63] = RV
    labels[1, :2][labels[1, :2] != RV] = 0  # end-systole: the base has descended by two planes
    right = (clean_sax(labels, 1.4) == RV).any(axis=(2, 3))
    assert right[0].all()
    assert right[1].tolist() == [False] + [True] * 6
