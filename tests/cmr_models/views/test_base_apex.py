"""Which end of a stack is the base: labels are asked, geometry stands unless they clearly deny it."""

from collections.abc import Sequence

import numpy as np
import pytest

from cmr_models.contracts import LV, MYOCARDIUM, RV
from cmr_models.views.base_apex import (
    StackOrder,
    _halves,
    base_is_first,
    judge_stack_order,
    levels_in,
    order_by_geometry,
)

_AGREES, _REVERSED = StackOrder(True, False), StackOrder(False, True)


def _stack(lv: Sequence[int], wall: Sequence[int], rv: Sequence[int]) -> np.ndarray:
    """Labels of one frame with so many pixels of each class in each slice."""
    labels = np.zeros((1, len(lv), 60, 150), np.uint8)
    for k, counts in enumerate(zip(lv, wall, rv, strict=True)):
        flat = labels[0, k].reshape(-1)
        flat[: sum(counts)] = np.repeat((LV, MYOCARDIUM, RV), counts)
    return labels


# drawn by experts: ACDC patients 005 (dilated), 085 (large right ventricle), 099 at end-systole
_DILATED = (
    [1756, 2127, 2056, 1980, 1727, 1633, 1426, 1065, 697, 238],
    [1166, 1316, 1314, 1269, 1291, 1120, 922, 878, 630, 278],
    [0, 1700, 1574, 1354, 1130, 975, 752, 547, 491, 97],
)
_LARGE_RIGHT = (
    [517, 420, 360, 427, 471, 486, 513, 379, 357, 409, 168, 75, 32, 10, 0],
    [580, 795, 949, 950, 887, 836, 758, 836, 681, 603, 641, 414, 248, 202, 0],
    [1410, 1413, 1472, 2363, 2244, 2034, 1781, 1573, 1175, 1057, 872, 819, 525, 397, 90],
)
_CONTRACTED = (
    [0, 362, 354, 376, 514, 503, 493, 437, 397, 349, 358, 194, 151, 119, 38, 0],
    [0, 471, 575, 604, 556, 503, 469, 446, 411, 400, 361, 342, 272, 227, 148, 0],
    [0, 0, 999, 947, 1015, 924, 864, 778, 686, 614, 507, 391, 309, 307, 184, 45],
)
# a network's labels of Sunnybrook SCD0000101: its left pool is larger at the apex than at the base
_SUNNYBROOK = (
    [320, 716, 1176, 1359, 1436, 1496, 1443, 1326, 1051, 823, 423, 0],
    [342, 667, 785, 1023, 1078, 1017, 976, 857, 879, 586, 437, 75],
    [1706, 1899, 854, 1189, 943, 671, 476, 230, 130, 225, 0, 0],
)


@pytest.mark.parametrize("areas", [_DILATED, _LARGE_RIGHT, _CONTRACTED, _SUNNYBROOK])
def test_real_stacks_agree_with_geometry_and_disagree_once_reversed(areas: tuple[list[int], ...]) -> None:
    labels = _stack(*areas)
    assert judge_stack_order(labels) == _AGREES
    assert judge_stack_order(labels[:, ::-1]) == _REVERSED
    assert judge_stack_order(labels[0, ::-1]) == _REVERSED


def test_the_left_pool_alone_would_be_wrong_where_the_whole_heart_is_right() -> None:
    lv, wall, rv = (np.array(areas)[None] for areas in _SUNNYBROOK)
    pool = lv[0, [0, 1, 2]].sum(), lv[0, [8, 9, 10]].sum()
    assert pool[0] < pool[1]
    assert base_is_first(lv, lv + wall + rv)
    assert not base_is_first(lv[:, ::-1], (lv + wall + rv)[:, ::-1])


@pytest.mark.parametrize(
    "areas",
    [
        ([50] * 4, [50] * 4, [0, 10, 60, 90]),
        ([50] * 8, [50] * 8, [0] * 8),
        ([0] * 8, [50] * 8, [0, 0, 0, 0, 50, 60, 70, 80]),
        ([60, 60, 60, 60, 60, 70, 70, 70], [50] * 8, [40] * 8),
    ],
    ids=["few slices", "even", "no left ventricle", "hardly larger"],
)
def test_without_clear_labels_geometry_stands(areas: tuple[list[int], ...]) -> None:
    assert judge_stack_order(_stack(*areas)) == _AGREES


@pytest.mark.parametrize(
    ("step", "order"),
    [
        ((60, -62, -50), StackOrder(True, False)),
        ((-60, 62, 50), StackOrder(False, False)),
        ((-54, 56, -63), StackOrder(True, True)),  # M&Ms-2, subject 001: drawn from the base
        ((56, -77, 30), StackOrder(False, True)),  # M&Ms-2 as CineMA crops it: from the apex
        ((65, -75, 0), StackOrder(True, False)),  # a heart that lies flat
        ((0, 0, 10), StackOrder(False, False)),  # AutoFD: no oblique direction, drawn from the apex
        ((0, 0, 0), StackOrder(True, False)),  # one slice
    ],
)
def test_the_apex_lies_to_the_left_forward_and_down(step: tuple[float, ...], order: StackOrder) -> None:
    assert order_by_geometry(np.array(step, np.float64)) == order


def test_a_stack_that_ends_within_the_ventricle_does_not_tell() -> None:
    # the five basal slices of a patient of ACDC: the pool ends with 471 of 517 pixels
    basal = tuple(areas[:5] for areas in _LARGE_RIGHT)
    assert judge_stack_order(_stack(*basal)) == _AGREES
    growing = ([310, 400, 500, 550, 600], [500, 600, 700, 800, 900], [400, 600, 900, 1200, 1500])
    assert judge_stack_order(_stack(*growing)) == _AGREES
    reaching = ([200, 400, 500, 550, 600], growing[1], growing[2])
    assert judge_stack_order(_stack(*reaching)) == _REVERSED


def test_a_plane_that_cuts_the_base_aslant_is_no_apex() -> None:
    """A simulated heart in five slices, base first: the first holds a corner of the pool, the second nearly all."""
    wall, rv = [156, 420, 619, 671, 706], [608, 1698, 1843, 1892, 1783]
    assert judge_stack_order(_stack([198, 1410, 1693, 1764, 1769], wall, rv)) == _AGREES
    # 0.75 of 1769 is 1326.75, half of it 884.5: an apex tapers over both slices
    for first, second, judged in (
        (198, 1327, _AGREES),
        (198, 1326, _REVERSED),
        (884, 1326, _REVERSED),
        (885, 1326, _AGREES),
    ):
        assert judge_stack_order(_stack([first, second, 1693, 1764, 1769], wall, rv)) == judged


def test_levels_follow_the_labels_of_three_slices() -> None:
    labels = _stack([300, 250, 120], [200, 220, 150], [400, 250, 40])[0]
    assert levels_in(labels) == ("base", "mid", "apex")
    assert levels_in(labels[::-1]) == ("apex", "mid", "base")
    assert levels_in(labels[:1]) == ("mid",)
    assert levels_in(labels[1::-1]) == ("base", "mid")


def test_halves_are_those_of_the_run_with_a_left_ventricle_by_the_largest_area_over_the_cycle() -> None:
    even = np.array([[0, 1, 2, 0, 4, 5, 6, 0], [0, 9, 0, 0, 1, 1, 1, 0]])  # six slices, one of them empty
    assert _halves(even, even) == (9 + 2 + 0, 4 + 5 + 6)
    area = np.array([[90, 1, 2, 3, 4, 5, 6, 70], [90, 0, 0, 30, 0, 0, 0, 70]])
    assert _halves(even, area) == (1 + 2 + 30, 4 + 5 + 6)
    odd = even[:, :6]  # five, of which neither half has the middle one
    assert _halves(odd, odd) == (9 + 2, 4 + 5)
    assert not base_is_first(odd, np.ones_like(odd))  # as much at either end


@pytest.mark.parametrize(
    ("first_px", "second_px", "wall_px", "order"),
    [
        # 25/32 of pool by 41/48 of heart is exp(-0.4045), by 43/50 exp(-0.3977)
        (10, 15, 8, _REVERSED), (10, 15, 9, _AGREES),
        # the first pool is more than half of the largest, or the second more than three quarters: it is no apex
        (10, 15, 0, _REVERSED), (11, 15, 0, _AGREES), (10, 16, 0, _AGREES),
    ],
)  # fmt: skip
def test_labels_are_believed_from_a_sum_of_four_tenths_and_where_the_pool_tapers_over_two_slices(
    first_px: int, second_px: int, wall_px: int, order: StackOrder
) -> None:
    assert judge_stack_order(_stack([first_px, second_px, 20, 16, 16], [wall_px] * 5, [0] * 5)) == order


def test_right_ventricles_that_are_hardly_there_count_little() -> None:
    # Either half has 1000 pixels of heart, 25 and 32 of them pool, so that 40 are added to each right ventricle:
    # log(25/32) + log(1000/1006) + log(40.12/46.12) is -0.392, with one more -0.415
    pool, wall = [10, 15, 20, 16, 16], [480, 495, 450, 484, 484]
    for rv, order in (([0] * 5, _AGREES), ([0, 0, 0, 3, 3], _AGREES), ([0, 0, 9, 3, 4], _REVERSED)):
        assert judge_stack_order(_stack(pool, wall, rv)) == order


@pytest.mark.parametrize(("down", "order"), [(0.19, StackOrder(True, False)), (0.21, StackOrder(False, True))])
@pytest.mark.parametrize("length_mm", [0.5, 1, 100])
def test_directions_are_exchanged_where_cosines_to_the_axis_of_a_heart_differ_by_a_fifth(
    down: float, order: StackOrder, length_mm: float
) -> None:
    # Of the axis (0.6, -0.62, -0.5), 0.997 long: a stack along (0.6, -0.62) that rises by ``down`` has a cosine of 0.85
    # less half of that as stated, and of 0.85 plus half of it exchanged; so they differ by 1.003 of ``down``.
    across = np.array([0.6, -0.62]) / np.hypot(0.6, 0.62) * np.sqrt(1 - down**2)
    assert order_by_geometry(length_mm * np.array([*across, down])) == order
