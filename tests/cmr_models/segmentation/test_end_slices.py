"""Atria and vessels at the ends of a stack, told by areas over the cycle."""

import numpy as np
import pytest

from cmr_models.segmentation.end_slices import atrial_slices, left_by_lv, resting_rv

_FILL = np.array([1.0, 0.9, 0.6, 0.4, 0.7, 1.0])  # frames; the fourth is end-systole
_LV = np.array([0, 900, 1500, 1400, 1200, 800, 300])  # slices, from the base
_RV = np.array([0, 2000, 1900, 1500, 1000, 500, 100])


def _areas(full: np.ndarray, share: np.ndarray | float = 1.0) -> np.ndarray:
    """``(frame, slice)``; ``share`` of the contraction that each slice takes part in."""
    return np.rint(full * (1 - share * (1 - _FILL[:, None]))).astype(int)


@pytest.mark.parametrize("turned", [1, -1])
def test_a_right_ventricle_that_contracts_stays(turned: int) -> None:
    assert not resting_rv(_areas(_RV)[:, ::turned], _areas(_LV)[:, ::turned]).any()


@pytest.mark.parametrize("turned", [1, -1])
def test_a_basal_slice_that_rests_is_ventricle_only_while_the_heart_is_full(turned: int) -> None:
    rv = _areas(_RV, np.array([1, 0.1, 1, 1, 1, 1, 1]))
    rest = resting_rv(rv[:, ::turned], _areas(_LV)[:, ::turned])[:, ::turned]
    assert rest[:, 1].tolist() == [False, False, True, True, False, False]
    assert not np.delete(rest, 1, axis=1).any()


def test_beyond_the_left_ventricle_what_rests_is_a_vessel_in_every_frame() -> None:
    full = np.array([1500, *_RV[1:]])
    rest = resting_rv(_areas(full, np.array([0.0, 1, 1, 1, 1, 1, 1])), _areas(_LV))
    assert rest[:, 0].all()
    assert not rest[:, 1:].any()


def test_what_is_large_and_rests_at_the_apex_is_no_ventricle() -> None:
    full = np.array([*_RV[:6], 900])
    rest = resting_rv(_areas(full, np.array([1, 1, 1, 1, 1, 1, 0.0])), _areas(_LV))
    assert rest[:, 6].all()
    assert not rest[:, :6].any()


def test_a_small_resting_apex_stays() -> None:
    assert not resting_rv(_areas(_RV, np.array([1, 1, 1, 1, 1, 1, 0.0])), _areas(_LV)).any()


@pytest.mark.parametrize("turned", [1, -1])
def test_where_the_left_ventricle_has_left_a_basal_slice_there_is_no_right_one_either(turned: int) -> None:
    lv = _areas(_LV)
    lv[[2, 3], 1] = 0, 90  # some pixels are no ventricle
    left = left_by_lv(lv[:, ::turned])[:, ::turned]
    assert left[:, 1].tolist() == [False, False, True, True, False, False]
    assert not np.delete(left, 1, axis=1).any()


def test_a_left_ventricle_missed_once_in_the_full_heart_or_at_the_apex_says_nothing() -> None:
    lv = _areas(_LV)
    lv[1, 1] = lv[3, 6] = 0
    assert not left_by_lv(lv).any()


def test_resting_slices_between_contracting_ones_stay() -> None:
    assert not resting_rv(_areas(_RV, np.array([1, 1, 0.0, 1, 1, 1, 1])), _areas(_LV)).any()


def test_a_right_ventricle_that_rests_all_over_is_left_alone() -> None:
    assert not resting_rv(_areas(_RV, 0.05), _areas(_LV)).any()


@pytest.mark.parametrize("turned", [1, -1])
def test_the_larger_end_of_the_heart_is_the_base_whatever_the_pool_says(turned: int) -> None:
    lv = _areas(np.array([0, 300, 800, 1200, 1400, 1500, 900]))
    heart = np.tile(np.array([3000, 3000, 3500, 3000, 2500, 2000, 1500]), (6, 1))
    lv[3, 1] = 400
    assert atrial_slices(lv[:, ::turned], heart[:, ::turned])[::turned].tolist() == [False, True, *[False] * 5]
    assert not atrial_slices(lv[:, ::turned]).any()


def test_one_frame_few_slices_and_nothing_at_all_say_nothing() -> None:
    assert not resting_rv(_areas(_RV)[:1], _areas(_LV)[:1]).any()
    assert not resting_rv(_areas(_RV)[:, :4], _areas(_LV)[:, :4]).any()
    assert not resting_rv(np.zeros((6, 7), int), _areas(_LV)).any()
    assert not resting_rv(_areas(_RV), np.zeros((6, 7), int)).any()
    assert not left_by_lv(np.zeros((6, 7), int)).any()
    assert not left_by_lv(_areas(_LV)[:1]).any()
