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
