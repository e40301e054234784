"""Each quality rule on a study that keeps it and on one that breaks it."""

import numpy as np
import pytest

from cmr_models.contracts import LA, LV, MYOCARDIUM, RA, RV
from cmr_models.phenotypes.quality import RULES, check, failures
from cmr_models.reasons import TABLE, Missing

ALL_MISSING = {name: Missing("view_missing") for rule in RULES for name in rule.inputs}


def verdict(column, **known):
    return check(ALL_MISSING | known)[column]


def stack(slices=8):
    label = np.zeros((slices, 40, 40), np.uint8)
    label[:, 10:20, 10:20], label[:, 13:17, 13:17], label[:, 10:20, 25:30] = MYOCARDIUM, LV, RV
    return label


def four_chambers(frames=4):
    label = np.zeros((frames, 40, 40), np.uint8)
    for code, row in zip((RV, MYOCARDIUM, LV, LA, RA), range(0, 40, 8), strict=True):
        label[:, row : row + 5, 2:12] = code
    return label


@pytest.mark.parametrize(
    ("column", "name", "good", "bad"),
    [
        ("qc_edv", "lvedv_ml", 150.0, 501.0),
        ("qc_esv", "lvesv_ml", 60.0, 4.0),
        ("qc_ef", "lvef_pct", 60.0, 91.0),
        ("qc_mass", "lvm_g", 100.0, 19.0),
        ("qc_heart_rate", "heart_rate_bpm", 62.0, 151.0),
    ],
)
def test_numbers_outside_the_gates_fail(column, name, good, bad):
    assert verdict(column, **{name: good}) is True
    assert verdict(column, **{name: bad}) is False


def test_stroke_volumes_may_differ_by_less_than_35_per_cent_of_their_mean():
    assert verdict("qc_stroke_volumes", lvsv_ml=100.0, rvsv_ml=72.0) is True
    assert verdict("qc_stroke_volumes", lvsv_ml=100.0, rvsv_ml=65.0) is False


def test_an_expert_is_expected_to_agree_with_85_per_cent_of_the_left_ventricle():
    assert verdict("qc_lv_overlap", lv_dice_predicted=0.85) is True
    assert verdict("qc_lv_overlap", lv_dice_predicted=0.849) is False


def test_end_diastole_must_be_the_largest_volume_within_5_per_cent():
    assert verdict("qc_ed_maximum", lv_ml=np.array([100.0, 104.0]), ed_frame=0) is True
    assert verdict("qc_ed_maximum", lv_ml=np.array([100.0, 106.0]), ed_frame=0) is False


def test_end_systole_is_timed_from_end_diastole_around_the_cycle():
    curve = np.ones(50)
    assert verdict("qc_es_timing", lv_ml=curve, ed_frame=45, es_frame=12) is True
    assert verdict("qc_es_timing", lv_ml=curve, ed_frame=0, es_frame=40) is False
    assert verdict("qc_es_timing", lv_ml=np.ones(2), ed_frame=0, es_frame=1) is None


def test_a_whole_stack_keeps_every_rule_on_its_labels():
    verdicts = check(ALL_MISSING | {"sax_ed": stack(), "sax_es": stack()})
    assert all(verdicts[column] for column in verdicts if column.startswith("qc_sax"))


def test_a_class_of_under_ten_pixels_is_small():
    label = stack()
    label[label == RV] = 0
    label[0, 0, :9] = RV
    assert verdict("qc_sax_classes", sax_ed=label) is False


def test_six_planes_with_wall_are_needed():
    label = stack(6)
    assert verdict("qc_sax_slices", sax_ed=label) is True
    label[0][label[0] == MYOCARDIUM] = 0
    assert verdict("qc_sax_slices", sax_ed=label) is False


def test_a_plane_without_heart_between_planes_with_heart_is_a_gap():
    label = stack()
    label[3] = 0
    assert verdict("qc_sax_connected", sax_ed=label) is False
    label[[0, 1, 2]] = 0
    assert verdict("qc_sax_connected", sax_ed=label) is True


def test_the_middle_plane_needs_a_connected_right_ventricle():
    label = stack()
    label[4][label[4] == RV] = 0
    label[4, ::4, 30::4] = RV
    assert np.count_nonzero(label[4] == RV) > 10
    assert verdict("qc_sax_middle", sax_ed=label) is False


def test_systole_that_reaches_beyond_the_diastolic_base_is_inconsistent():
    diastole = stack()
    diastole[0] = 0
    assert verdict("qc_sax_base", sax_ed=diastole, sax_es=stack()) is False
    assert verdict("qc_sax_base", sax_ed=stack(), sax_es=diastole) is True


def test_a_few_pixels_more_of_the_apex_in_systole_are_no_inconsistent_base():
    diastole, systole = stack(), stack()
    diastole[0], systole[0] = 0, 0
    systole[:, 10:20, 10:20] = LV
    systole[0] = 0
    systole[0, 10:14, 10:13] = LV
    assert verdict("qc_sax_base", sax_ed=diastole, sax_es=systole) is True


def test_the_four_chamber_view_needs_all_five_classes():
    label = four_chambers()
    assert verdict("qc_lax_4c_classes", lax_4c_ed=label[0]) is True
    assert verdict("qc_lax_4c_classes", lax_4c_ed=np.where(label[0] == RA, 0, label[0])) is False


def test_an_atrium_in_two_parts_is_fragmented():
    label = four_chambers()
    assert verdict("qc_atria_whole", lax_4c=label) is True
    label[2, 0:4, 30:34] = LA
    assert verdict("qc_atria_whole", lax_4c=label) is False


def test_an_atrium_may_neither_vanish_nor_jump():
    steady, jump, gone = (
        np.array([10.0, 12.0, 11.0]),
        np.array([10.0, 21.0, 12.0]),
        np.array([10.0, 0.0, 11.0]),
    )
    assert verdict("qc_atria_present", la_cm2=steady, ra_cm2=steady) is True
    assert verdict("qc_atria_present", la_cm2=steady, ra_cm2=gone) is False
    assert verdict("qc_atria_steady", la_cm2=steady, ra_cm2=steady) is True
    assert verdict("qc_atria_steady", la_cm2=jump, ra_cm2=steady) is False


def test_the_jump_from_the_last_frame_to_the_first_counts():
    ramp = np.array([10.0, 14.0, 18.0, 25.0])
    assert verdict("qc_atria_steady", la_cm2=ramp, ra_cm2=ramp) is False


def test_what_cannot_be_judged_is_neither_kept_nor_broken():
    verdicts = check(ALL_MISSING)
    assert set(verdicts.values()) == {None}
    assert failures(verdicts) == []


def test_rules_that_quarantine_come_first():
    broken = failures(check(ALL_MISSING | {"heart_rate_bpm": 10.0, "lvef_pct": 2.0}))
    assert [rule.code for rule in broken] == ["ef_implausible", "heart_rate_implausible"]


def test_every_rule_has_its_own_column_and_a_reason_of_the_table():
    assert len({rule.column for rule in RULES}) == len({rule.code for rule in RULES}) == len(RULES)
    assert {TABLE[rule.code].kind for rule in RULES} == {"flag", "quarantined"}


# at the limits, and on either side of them


@pytest.mark.parametrize(
    ("column", "name", "low", "high"),
    [
        ("qc_edv", "lvedv_ml", 30, 500),
        ("qc_esv", "lvesv_ml", 5, 400),
        ("qc_ef", "lvef_pct", 5, 90),
        ("qc_mass", "lvm_g", 20, 400),
        ("qc_heart_rate", "heart_rate_bpm", 30, 150),
    ],
)
def test_a_gate_takes_in_both_its_ends_and_nothing_beyond(column, name, low, high):
    assert [verdict(column, **{name: x}) for x in (low - 0.01, low, high, high + 0.01)] == [False, True, True, False]


@pytest.mark.parametrize(
    ("lvsv_ml", "rvsv_ml", "kept"),
    [
        (82.6, 117.4, True),  # 34.8 % of their mean of 100 mL
        (117.4, 82.6, True),
        (82.5, 117.5, False),  # 35 %
        (117.5, 82.5, False),
        (60.0, 120.0, False),
        (1.0, -1.0, False),  # a mean of nothing, or of less, agrees with nothing
        (-80.0, -80.0, False),
    ],
)
def test_either_stroke_volume_may_be_the_larger_one(lvsv_ml, rvsv_ml, kept):
    assert verdict("qc_stroke_volumes", lvsv_ml=lvsv_ml, rvsv_ml=rvsv_ml) is kept


def test_end_diastole_is_compared_with_every_frame_that_has_a_volume():
    curve = np.array([90.0, 100.0, np.nan, 105.0])
    assert verdict("qc_ed_maximum", lv_ml=curve, ed_frame=1) is True
    assert verdict("qc_ed_maximum", lv_ml=np.r_[curve[:3], 105.1], ed_frame=1) is False
    assert verdict("qc_ed_maximum", lv_ml=curve, ed_frame=0) is False


@pytest.mark.parametrize(("es_frame", "kept"), [(7, False), (8, True), (9, True), (2, True), (3, False)])
def test_end_systole_lies_from_a_fifth_to_three_fifths_after_end_diastole(es_frame, kept):
    assert verdict("qc_es_timing", lv_ml=np.ones(10), ed_frame=6, es_frame=es_frame) is kept
    assert verdict("qc_es_timing", lv_ml=np.ones(9), ed_frame=6, es_frame=es_frame) is None


@pytest.mark.parametrize("code", [RV, MYOCARDIUM, LV])
def test_each_class_needs_ten_pixels_wherever_they_are(code):
    label = stack()
    label[label == code] = 0
    label[3, 39, :6], label[5, 39, :4] = code, code
    assert verdict("qc_sax_classes", sax_ed=label) is True
    label[5, 39, 0] = 0
    assert verdict("qc_sax_classes", sax_ed=label) is False


@pytest.mark.parametrize("code", [MYOCARDIUM, LV])
def test_a_plane_counts_with_ten_pixels_of_pool_and_ten_of_wall(code):
    label = stack(6)
    label[5][label[5] == code] = 0
    label[5, 39, :10] = code
    assert verdict("qc_sax_slices", sax_ed=label) is True
    label[5, 39, 0] = 0
    assert verdict("qc_sax_slices", sax_ed=label) is False
    assert verdict("qc_sax_connected", sax_ed=label) is True  # a plane lost at an end is no gap
    assert verdict("qc_sax_connected", sax_ed=label * 0) is False
    assert verdict("qc_sax_connected", sax_ed=stack(1)) is True


def test_the_middle_is_that_of_the_planes_with_wall_and_needs_ten_connected_pixels():
    label = stack(9)
    label[:2] = 0  # planes 2 to 8 have wall: the middle is 5, not 4
    label[4] = np.where(label[4] == RV, 0, label[4])
    assert verdict("qc_sax_middle", sax_ed=label) is True
    label[5][label[5] == RV] = 0
    label[5, 30, 5:15] = RV
    assert verdict("qc_sax_middle", sax_ed=label) is True
    label[5, 30, 9] = 0
    assert verdict("qc_sax_middle", sax_ed=label) is False
    assert verdict("qc_sax_middle", sax_ed=label * 0) is False


def test_the_wall_of_the_middle_plane_is_pool_and_muscle_together():
    label = np.zeros((1, 40, 40), np.uint8)
    label[0, 0:2, 0:5], label[0, 20, 0:10], label[0, 30, 0:10] = RV, LV, MYOCARDIUM
    assert verdict("qc_sax_middle", sax_ed=label) is True
    label[0, 20, 4], label[0, 30, 4] = 0, 0  # a plane needs ten of either
    label[0, 21, 0], label[0, 31, 0] = LV, MYOCARDIUM
    assert verdict("qc_sax_middle", sax_ed=label) is False  # neither holds together
    label[0, 20, 4], label[0, 30, 4] = MYOCARDIUM, LV
    assert verdict("qc_sax_middle", sax_ed=label) is True  # but with a pixel of the other they do


@pytest.mark.parametrize(("gained_px", "kept"), [(24, True), (25, False)])
@pytest.mark.parametrize("end", [0, 7])
def test_a_plane_that_gains_a_quarter_of_the_largest_pool_is_inconsistent_at_either_end(end, gained_px, kept):
    systole = stack()
    systole[:, 10:20, 10:20] = LV  # 100 pixels
    diastole = systole.copy()
    diastole[end] = systole[end] = 0
    systole[end].flat[:gained_px] = LV
    assert verdict("qc_sax_base", sax_ed=diastole, sax_es=systole) is kept


def test_in_a_small_pool_ten_pixels_are_a_gain_and_between_planes_with_a_pool_nothing_is():
    systole = np.zeros((4, 20, 20), np.uint8)
    systole[:, 0, :12] = LV
    diastole = systole.copy()
    diastole[1] = 0
    assert verdict("qc_sax_base", sax_ed=diastole, sax_es=systole) is True
    diastole[0, 0, :3] = 0  # nine pixels are no pool: plane 0 gains twelve
    assert verdict("qc_sax_base", sax_ed=diastole, sax_es=systole) is False
    systole[0, 0, 9:] = systole[1, 0, 9:] = 0
    assert verdict("qc_sax_base", sax_ed=diastole, sax_es=systole) is True
    assert verdict("qc_sax_base", sax_ed=diastole * 0, sax_es=systole) is False
    diastole[2:], systole[3, 0, :12] = 0, LV
    diastole[2, 0, :12] = LV  # the only plane with a pool
    assert verdict("qc_sax_base", sax_ed=diastole, sax_es=systole) is False


@pytest.mark.parametrize("code", [RV, MYOCARDIUM, LV, LA, RA])
def test_each_class_of_the_four_chamber_view_needs_ten_pixels_that_touch(code):
    label = four_chambers()[0]
    label[label == code] = 0
    label[39, 20:30] = code
    assert verdict("qc_lax_4c_classes", lax_4c_ed=label) is True
    label[39, 25], label[39, 30] = 0, code
    assert verdict("qc_lax_4c_classes", lax_4c_ed=label) is False


@pytest.mark.parametrize("code", [LA, RA])
def test_a_second_part_of_ten_pixels_is_an_island_and_of_eleven_an_atrium(code):
    label = four_chambers()
    label[3, 20, 20:30] = code
    assert verdict("qc_atria_whole", lax_4c=label) is True
    label[3, 20, 30] = code
    assert verdict("qc_atria_whole", lax_4c=label) is False


@pytest.mark.parametrize("side", ["la_cm2", "ra_cm2"])
def test_frames_without_an_image_neither_vanish_nor_jump(side):
    other = {"la_cm2": np.array([10.0, 11]), "ra_cm2": np.array([10.0, 11])}
    gap = np.array([10.0, np.nan, 19.9, 11.0])
    assert verdict("qc_atria_present", **other | {side: gap}) is True
    assert verdict("qc_atria_steady", **other | {side: gap}) is True
    assert verdict("qc_atria_present", **other | {side: np.array([10.0, np.nan, 0.0])}) is False
    for doubled in ([10.0, np.nan, 20.0, 15.0], [20.0, 10.0, 15.0], [10.0, 15.0, 20.0]):
        assert verdict("qc_atria_steady", **other | {side: np.array(doubled)}) is False
