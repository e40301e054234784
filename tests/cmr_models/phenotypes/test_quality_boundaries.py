"""Every quality rule at its boundary, on both sides, by the code that a study would carry."""

from typing import Any

import numpy as np
import pytest

from cmr_models.contracts import LA, LV, MYOCARDIUM, RA, RV
from cmr_models.phenotypes.quality import RULES, check, failures
from cmr_models.reasons import Missing

NOTHING = {name: Missing("view_missing") for rule in RULES for name in rule.inputs}


def _broken(**known: Any) -> set[str]:
    return {rule.code for rule in failures(check(NOTHING | known))}


def _stack(*, wall_px: int = 84, pool_px: int = 16, rv_px: int = 50, slices: int = 7) -> np.ndarray:
    label = np.zeros((slices, 40, 40), np.uint8)
    for code, n, column in ((MYOCARDIUM, wall_px, 1), (LV, pool_px, 12), (RV, rv_px, 23)):
        block = np.zeros(200, np.uint8)
        block[:n] = code
        label[:, 5:25, column : column + 10] += block.reshape(20, 10)
    return label


NUMBERS = [
    ("edv_implausible", "lvedv_ml", 30.0, 29.9),
    ("edv_implausible", "lvedv_ml", 500.0, 500.1),
    ("esv_implausible", "lvesv_ml", 5.0, 4.9),
    ("esv_implausible", "lvesv_ml", 400.0, 400.1),
    ("ef_implausible", "lvef_pct", 5.0, 4.9),
    ("ef_implausible", "lvef_pct", 90.0, 90.1),
    ("mass_implausible", "lvm_g", 20.0, 19.9),
    ("mass_implausible", "lvm_g", 400.0, 400.1),
    ("heart_rate_implausible", "heart_rate_bpm", 30.0, 29.9),
    ("heart_rate_implausible", "heart_rate_bpm", 150.0, 150.1),
]


@pytest.mark.parametrize(("code", "name", "kept", "broken"), NUMBERS)
def test_a_number_at_its_limit_is_kept_and_one_beyond_is_not(code: str, name: str, kept: float, broken: float) -> None:
    assert _broken(**{name: kept}) == set()
    assert _broken(**{name: broken}) == {code}


@pytest.mark.parametrize(("left", "right"), [(100.0, 71.0), (71.0, 100.0)])  # apart by 29, limit 0.35 * 85.5 = 29.9
def test_stroke_volumes_differ_whichever_is_the_larger(left: float, right: float) -> None:
    assert _broken(lvsv_ml=left, rvsv_ml=right) == set()
    nearer = {min(left, right): min(left, right) - 1.5}  # apart by 30.5, limit 0.35 * 84.75 = 29.7
    assert _broken(lvsv_ml=nearer.get(left, left), rvsv_ml=nearer.get(right, right)) == {"stroke_volumes_differ"}


def test_end_diastole_is_the_maximum_up_to_a_twentieth_also_where_a_frame_is_missing() -> None:
    curve = np.array([90.0, np.nan, 100.0, 105.0, 60.0])
    assert _broken(lv_ml=curve, ed_frame=2) == set()
    assert _broken(lv_ml=curve + np.array([0, 0, 0, 0.2, 0]), ed_frame=2) == {"ed_not_maximum"}


def test_end_diastole_away_from_the_start_of_the_cycle_is_flagged() -> None:
    assert _broken(cycle_ed_at_start=True) == set()
    assert _broken(cycle_ed_at_start=False) == {"ed_off_cycle_start"}


@pytest.mark.parametrize(("es_frame", "code"), [(6, set()), (5, {"es_timing"}), (16, set()), (17, {"es_timing"})])
def test_end_systole_lies_between_a_fifth_and_three_fifths_of_the_cycle_after_end_diastole(
    es_frame: int, code: set[str]
) -> None:
    assert _broken(lv_ml=np.ones(25), ed_frame=1, es_frame=es_frame) == code  # 5, 4, 15 and 16 of 25


def test_the_images_speak_of_the_order_of_frames_and_the_labels_of_that_of_slices() -> None:
    assert _broken(frame_order_agrees=True, stack_order_agrees=True) == set()
    assert _broken(frame_order_agrees=False) == {"frame_order_doubtful"}
    assert _broken(stack_order_agrees=False) == {"stack_order_doubtful"}


@pytest.mark.parametrize(("which", "code"), [("wall_px", MYOCARDIUM), ("pool_px", LV), ("rv_px", RV)])
def test_a_class_needs_ten_pixels_in_all_slices_together(which: str, code: int) -> None:
    label = _stack(**{which: 10})
    label[1:][label[1:] == code] = 0
    assert "class_small" not in _broken(sax_ed=label)
    label[tuple(np.argwhere(label == code)[0])] = 0
    assert "class_small" in _broken(sax_ed=label)


def test_six_slices_with_wall_and_pool_of_ten_pixels_each_are_enough() -> None:
    assert "lv_slices_few" not in _broken(sax_ed=_stack(slices=6, wall_px=10, pool_px=10))
    assert "lv_slices_few" in _broken(sax_ed=_stack(slices=5))
    assert "lv_slices_few" in _broken(sax_ed=_stack(slices=6, pool_px=9))


def test_a_gap_between_slices_of_the_left_ventricle_is_told() -> None:
    label = _stack(slices=9)
    label[0] = label[8] = 0  # beyond its ends there is none
    assert "lv_slices_gap" not in _broken(sax_ed=label)
    label[4][label[4] == LV] = 0
    assert "lv_slices_gap" in _broken(sax_ed=label)


def test_the_middle_slice_of_those_with_a_left_ventricle_is_complete() -> None:
    label = _stack(slices=9)
    label[:2] = 0  # held are 2 to 8: the middle one is 5
    label[5][label[5] == RV] = 0
    assert "mid_slice_incomplete" in _broken(sax_ed=label)
    label[5], label[4] = label[4], label[5].copy()
    assert "mid_slice_incomplete" not in _broken(sax_ed=label)


def test_systole_gains_no_slice_of_the_size_of_a_base() -> None:
    diastole, systole = _stack(pool_px=40), _stack(pool_px=40)
    diastole[-1] = 0
    assert _broken(sax_ed=diastole, sax_es=systole) == {"base_inconsistent"}
    small = systole.copy()
    lv = np.argwhere(small[-1] == LV)
    for place in lv[9:]:  # nine pixels of the cavity are an apex that was tilted
        small[-1][tuple(place)] = 0
    assert "base_inconsistent" not in _broken(sax_ed=diastole, sax_es=small)


def _four_chambers(n: int = 12, frames: int = 3) -> np.ndarray:
    label = np.zeros((frames, 40, 30), np.uint8)
    for k, code in enumerate((RV, MYOCARDIUM, LV, LA, RA)):
        label[:, 8 * k, :n] = code
    return label


@pytest.mark.parametrize("code", [RV, MYOCARDIUM, LV, LA, RA])
def test_every_chamber_of_the_four_chamber_view_needs_ten_pixels_in_one_piece(code: int) -> None:
    label = _four_chambers(10)[0]
    assert _broken(lax_4c_ed=label) == set()
    row = int(np.argwhere(label == code)[0, 0])
    label[row, 5] = 0
    label[row, 20:26] = code
    assert _broken(lax_4c_ed=label) == {"lax_class_small"}


@pytest.mark.parametrize("code", [LA, RA])
def test_a_second_part_of_an_atrium_may_have_ten_pixels_in_every_frame(code: int) -> None:
    label = _four_chambers(15)
    label[-1, 2, :10] = code
    assert _broken(lax_4c=label) == set()
    label[-1, 2, 10] = code
    assert _broken(lax_4c=label) == {"atrium_fragmented"}


@pytest.mark.parametrize("which", ["la_cm2", "ra_cm2"])
def test_an_atrium_is_there_in_every_frame_that_was_judged(which: str) -> None:
    curves = {"la_cm2": np.array([12.0, 15, np.nan, 13]), "ra_cm2": np.array([12.0, 15, np.nan, 13])}
    assert _broken(**curves) == set()
    curves[which] = np.array([12.0, 0.0, 13, 14])
    assert "atrium_vanishes" in _broken(**curves)


@pytest.mark.parametrize("which", ["la_cm2", "ra_cm2"])
@pytest.mark.parametrize("areas", [[10.0, 19, 10, 6], [10.0, 20, 12, 11], [10.0, 12, 14, 20], [20.0, 14, 12, 10]])
def test_an_atrium_neither_doubles_nor_halves_from_one_frame_to_the_next_nor_around_the_cycle(
    which: str, areas: list[float]
) -> None:
    curves = {"la_cm2": np.full(4, 15.0), "ra_cm2": np.full(4, 15.0)}
    curves[which] = np.array(areas)
    assert _broken(**curves) == (set() if areas[1] == 19 else {"atrium_jumps"})


def test_a_plane_that_systole_gains_within_the_ventricle_is_a_gap_and_no_moved_base() -> None:
    for gap in (1, 5):  # the second of seven planes, and the last but one
        diastole, systole = _stack(pool_px=40), _stack(pool_px=40)
        diastole[gap][diastole[gap] == LV] = 0
        assert _broken(sax_ed=diastole, sax_es=systole) == {"lv_slices_gap"}


def test_an_atrium_as_small_as_half_a_square_centimetre_is_there() -> None:
    assert _broken(la_cm2=np.array([0.5, 0.6]), ra_cm2=np.array([0.6, 0.5])) == set()


@pytest.mark.parametrize("sizes", [(10, 4), (4, 10), (3, 10, 4)])
def test_the_largest_part_counts_wherever_it_lies(sizes: tuple[int, ...]) -> None:
    label = _four_chambers(12)[0]
    label[label == LA] = 0
    for k, n in enumerate(sizes):
        label[34 + 2 * k, 15 : 15 + n] = LA
    assert _broken(lax_4c_ed=label) == set()


@pytest.mark.parametrize("sizes", [(11, 3, 15), (15, 3, 11), (3, 15, 11), (11, 15, 3)])
def test_the_second_part_counts_wherever_it_lies(sizes: tuple[int, ...]) -> None:
    label = _four_chambers(12)
    for less, broken in ((0, {"atrium_fragmented"}), (1, set())):
        label[0][label[0] == LA] = 0
        for k, n in enumerate(sizes):
            label[0, 34 + 2 * k, : n - (n == 11) * less] = LA
        assert _broken(lax_4c=label) == broken
