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


# at the limits: six slices of which the middle four are compared, the base first or last

_HEART = np.tile(np.array([3000, 3000, 2500, 2500, 2000, 1500]), (3, 1))
_FULL = [500, 1000, 1000, 1000, 1000, 500]
_HALF = [460, 900, 900, 900, 900, 460]
_EMPTY = [400, 800, 800, 800, 800, 400]  # the middle contracts to 0.8


def _turned(turned: int, *areas: list[list[int]]) -> list[np.ndarray]:
    return [np.array(area)[:, ::turned] for area in areas]


def _atrial(turned: int, empty: list[int], full: list[int] = _FULL) -> list[int]:
    (lv,) = _turned(turned, [full, _HALF, empty])
    return np.flatnonzero(atrial_slices(lv, _HEART[:, ::turned])[::turned]).tolist()


@pytest.mark.parametrize("turned", [1, -1])
def test_a_pool_that_grows_by_more_than_a_fiftieth_at_the_basal_end_is_an_atrium(turned: int) -> None:
    assert _atrial(turned, [510, *_EMPTY[1:]]) == []
    assert _atrial(turned, [511, *_EMPTY[1:]]) == [0]
    assert _atrial(turned, [*_EMPTY[:5], 600]) == []  # at the apex it may bulge
    assert _atrial(turned, [600, 1100, 1100, 200, 200, 400]) == [0, 1]  # a third of six
    assert _atrial(turned, [400, 1100, 700, 700, 700, 400]) == []  # the first is a ventricle, so the second is


@pytest.mark.parametrize(("middle", "marked"), [(920, [0]), (921, [])])
def test_a_middle_that_contracts_by_less_than_eight_per_cent_tells_nothing(middle: int, marked: list[int]) -> None:
    lv = np.array([_FULL, [500, 980, 980, 980, 980, 500], [600, *[middle] * 4, 500]])
    assert np.flatnonzero(atrial_slices(lv, _HEART)).tolist() == marked
    left = np.array([_FULL, [500, 980, 980, 980, 980, 500], [0, *[middle] * 4, 500]])
    assert left_by_lv(left, _HEART).any() == bool(marked)
    rv = np.array([[1000] * 6, [1000] * 6, [1000, *[middle] * 4, 1000]])
    assert resting_rv(rv, np.array([_FULL, _HALF, _EMPTY]), _HEART).any() == bool(marked)


@pytest.mark.parametrize(("middle", "marked"), [(920, [0]), (930, [])])
def test_the_middle_of_eight_slices_is_the_four_inner_ones(middle: int, marked: list[int]) -> None:
    full = [500, *[1000] * 6, 500]
    lv = np.array([full, [550, *[970] * 6, 450], [600, 500, *[middle] * 4, 500, 400]])
    assert np.flatnonzero(atrial_slices(lv, np.tile(np.arange(16, 8, -1) * 100, (3, 1)))).tolist() == marked


@pytest.mark.parametrize("turned", [1, -1])
def test_a_slice_is_left_with_less_than_fifteen_per_cent_of_its_pool_in_the_later_half(turned: int) -> None:
    # the middle holds 4000 when full and 3200 when empty; at 3600 it is half way, and not nearer to end-systole
    empty = [75, 149, 1051, 1000, 1000, 0]  # of pools of 500 and 1000; the apex may vanish
    for half, left in (([0, *_HALF[1:]], [[2, 1]]), ([0, 900, 900, 899, 900, 460], [[1, 0], [2, 1]])):
        lv, heart = _turned(turned, [_FULL, half, empty], _HEART.tolist())
        assert np.argwhere(left_by_lv(lv, heart)[:, ::turned]).tolist() == left
    lv, heart = _turned(turned, [_FULL, _HALF, [74, 149, 1051, 140, 1860, 400]], _HEART.tolist())
    assert np.argwhere(left_by_lv(lv, heart)[:, ::turned]).tolist() == [[2, 0], [2, 1]]  # a third of six


@pytest.mark.parametrize("turned", [1, -1])
def test_what_shrinks_by_less_than_half_as_much_as_the_middle_rests(turned: int) -> None:
    # the middle of the right ventricle shrinks to 0.8, so that slices that keep more than 0.9 rest
    for at_end, base in ((1350, []), (1351, [[2, 0]])):
        rv = [[1500, 1000, 1000, 1000, 1000, 120], [1500, 950, 950, 950, 950, 120], [at_end, 800, 800, 800, 800, 120]]
        right, left, heart = _turned(turned, rv, [_FULL, _HALF, _EMPTY], _HEART.tolist())
        assert np.argwhere(resting_rv(right, left, heart)[:, ::turned]).tolist() == base


@pytest.mark.parametrize("turned", [1, -1])
def test_at_the_base_half_of_the_slices_may_rest_and_at_the_apex_a_third_and_large_ones_only(turned: int) -> None:
    full = [1000, 1000, 1000, 1000, 1000, 1000]
    empty = [1000, 950, 950, 650, 650, 400]  # the middle shrinks to 0.8; the first three rest
    right, left, heart = _turned(turned, [full, full, empty], [_FULL, _HALF, _EMPTY], _HEART.tolist())
    assert np.argwhere(resting_rv(right, left, heart)[:, ::turned]).tolist() == [[2, 0], [2, 1], [2, 2]]
    empty = [950, 400, 950, 950, 900, 910]  # the middle shrinks to 0.8; inwards from the apex, the second does not rest
    right, *_ = _turned(turned, [full, full, empty])
    assert np.argwhere(resting_rv(right, left, heart)[:, ::turned]).tolist() == [[0, 5], [1, 5], [2, 0], [2, 5]]
    for empty, marked in (  # four that rest at the base, and four at the apex; the middle shrinks to 0.8
        ([1000, 950, 950, 950, 350, 400], [[2, 0], [2, 1], [2, 2]]),
        ([400, 350, 950, 950, 950, 950], [[0, 4], [0, 5], [1, 4], [1, 5], [2, 4], [2, 5]]),
    ):
        right, *_ = _turned(turned, [full, full, empty])
        assert np.argwhere(resting_rv(right, left, heart)[:, ::turned]).tolist() == marked
    for apex, rests in ((120, False), (121, True)):
        small = [1000, 1000, 1000, 1000, 1000, apex]
        right, *_ = _turned(turned, [small, small, [400, 800, 800, 800, 800, apex]])
        assert resting_rv(right, left, heart)[:, ::turned][:, 5].tolist() == [rests] * 3


def test_beyond_the_full_left_ventricle_the_whole_cycle_is_a_vessel() -> None:
    lv = np.array([[0, *_FULL[1:], 300], [0, *_HALF[1:], 290], [60, *_EMPTY[1:], 250]])
    heart = np.tile(np.array([3000, 3000, 2500, 2500, 2000, 1500, 900]), (3, 1))
    rv = np.array([[900, 1000, 1000, 1000, 1000, 600, 200]] * 2 + [[880, 950, 700, 700, 700, 300, 90]])
    rest = resting_rv(rv, lv, heart)
    assert np.argwhere(rest).tolist() == [[0, 0], [1, 0], [2, 0], [2, 1]]
