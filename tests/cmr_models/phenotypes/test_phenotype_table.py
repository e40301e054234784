"""Phenotypes of hearts small enough to compute by hand."""

import dataclasses
import math

import numpy as np
import pytest

from cmr_models.contracts import LA, LV, MYOCARDIUM, RA, RV, cine_view
from cmr_models.phenotypes import PHENOTYPES, dictionary, measure
from cmr_models.phenotypes.cardiac_cycle import find_cycle
from cmr_models.phenotypes.measurements import MEASUREMENTS
from cmr_models.phenotypes.quality import RULES
from cmr_models.phenotypes.reference_ranges import REFERENCE_RANGES, reference_range
from cmr_models.phenotypes.study import Certainty, derive
from cmr_models.phenotypes.table import check_inputs
from cmr_models.phenotypes.volumes import plane_weight_mm
from cmr_models.reasons import TABLE, Missing, StudyRejected
from cmr_models.segmentation.certainty import DICE_LINES, ERROR_LINES

PIXEL_MM, SLICE_MM = 2.0, 10.0


def view_of(label, *, offsets_mm=None, slice_mm=SLICE_MM, pixel_mm=PIXEL_MM, heart_rate_bpm=60.0, valid=None):
    n_frames, n_slices = label.shape[:2]
    offsets = np.arange(n_slices) * slice_mm if offsets_mm is None else np.asarray(offsets_mm, float)
    return cine_view(
        np.zeros(label.shape, np.uint16),
        time_ms=np.arange(n_frames) * 1000.0 / n_frames,
        pixel_mm=(pixel_mm, pixel_mm),
        position_mm=np.stack([np.zeros(n_slices), np.zeros(n_slices), offsets], axis=1),
        row_dir=(1, 0, 0),
        col_dir=(0, 1, 0),
        slice_mm=slice_mm,
        thickness_mm=8.0,
        heart_rate_bpm=heart_rate_bpm,
        frame_valid=valid,
    ).drop_vars("intensity")


def boxes(lv_px, myocardium_px=400, rv_px=None, n_slices=8, side=80):
    """A stack whose every plane holds so many pixels of each label in frame i: ``lv_px[i]`` ..."""
    rv_px = lv_px if rv_px is None else rv_px
    label = np.zeros((len(lv_px), n_slices, side * side), np.uint8)
    for frame, (lv, rv) in enumerate(zip(lv_px, rv_px, strict=True)):
        label[frame, :, :lv] = LV
        label[frame, :, 1600 : 1600 + myocardium_px] = MYOCARDIUM
        label[frame, :, 3200 : 3200 + rv] = RV
    return label.reshape(len(lv_px), n_slices, side, side)


def beating(n_frames=20, ed_px=500, es_px=200, es_phase=0.4):
    phase = np.arange(n_frames) / n_frames
    distance = np.minimum(np.abs(phase - es_phase), 1 - np.abs(phase - es_phase))
    depth = np.clip(1 - distance / 0.4, 0, 1)
    return [round(ed_px - (ed_px - es_px) * d) for d in depth]


def test_volumes_mass_output_and_indices_are_those_computed_by_hand():
    lv_px = beating(es_phase=0.5)
    label = boxes(lv_px, myocardium_px=300, rv_px=[round(0.9 * v) for v in lv_px])
    derived = derive({"sax": label}, {"sax": view_of(label)}, height_cm=180.0, weight_kg=80.0)
    assert derived.status == "ok"
    got = derived.phenotypes
    assert (got["ed_frame"], got["es_frame"]) == (0, 10)
    # 500 px x 4 mm2 x 10 mm x 8 planes = 160 mL; 200 px = 64 mL; 300 px of wall = 96 mL x 1.05 g/mL
    expected = {
        "lvedv_ml": 160.0,
        "lvesv_ml": 64.0,
        "lvsv_ml": 96.0,
        "lvef_pct": 60.0,
        "lvm_g": 100.8,
        "lvco_l_min": 5.76,
        "rvedv_ml": 144.0,
        "rvesv_ml": 57.6,
        "rvsv_ml": 86.4,
        "rvef_pct": 60.0,
        "heart_rate_bpm": 60.0,
        "lv_mass_to_volume_g_ml": 0.63,
    }
    assert {name: got[name] for name in expected} == pytest.approx(expected)
    bsa_m2 = 0.007184 * 80**0.425 * 180**0.725
    assert got["bsa_m2"] == pytest.approx(bsa_m2)
    assert got["lvedv_ml_m2"] == pytest.approx(160.0 / bsa_m2)
    assert got["lvco_l_min_m2"] == pytest.approx(5.76 / bsa_m2)


def test_du_bois_gives_the_textbook_surface():
    label = boxes([500, 200])
    derived = derive({"sax": label}, {"sax": view_of(label)}, height_cm=170.0, weight_kg=70.0)
    assert derived.phenotypes["bsa_m2"] == pytest.approx(1.81, abs=0.005)


def test_an_ellipsoid_has_the_volume_of_its_formula():
    semi_mm, length_mm = 25.0, 45.0
    pixel_mm, slice_mm = 1.0, 2.0
    z_mm = np.arange(-50.0, 51.0, slice_mm)
    grid_mm = (np.arange(64) - 31.5) * pixel_mm
    radius2 = grid_mm[:, None] ** 2 + grid_mm[None, :] ** 2
    inside = radius2 <= semi_mm**2 * (1 - (z_mm[:, None, None] / length_mm) ** 2)
    label = np.where(inside, LV, 0).astype(np.uint8)[None]
    derived = derive({"sax": label}, {"sax": view_of(label, slice_mm=slice_mm, pixel_mm=pixel_mm)})
    true_ml = 4 / 3 * math.pi * semi_mm**2 * length_mm / 1000
    assert derived.phenotypes["lvedv_ml"] == pytest.approx(true_ml, rel=0.01)


def test_without_height_the_indices_are_missing_and_say_why():
    label = boxes([500, 200])
    got = derive({"sax": label}, {"sax": view_of(label)}, weight_kg=80.0).phenotypes
    assert got["bsa_m2"] == got["lvedv_ml_m2"] == got["lvm_g_m2"] == Missing("body_size_unknown")


def test_a_weight_in_grams_gives_no_surface():
    label = boxes([500, 200])
    got = derive({"sax": label}, {"sax": view_of(label)}, height_cm=180.0, weight_kg=80_000.0).phenotypes
    assert got["bsa_m2"] == Missing("body_size_implausible")


def test_without_heart_rate_there_is_no_output():
    label = boxes([500, 200])
    got = derive({"sax": label}, {"sax": view_of(label, heart_rate_bpm=math.nan)}).phenotypes
    assert got["heart_rate_bpm"] == got["lvco_l_min"] == Missing("heart_rate_unknown")


def test_one_frame_is_end_diastole_and_has_no_ejection_fraction():
    label = boxes([500])
    derived = derive({"sax": label}, {"sax": view_of(label)})
    assert derived.status == "ok"
    assert derived.phenotypes["lvedv_ml"] == pytest.approx(160.0)
    assert derived.phenotypes["lvesv_ml"] == derived.phenotypes["lvef_pct"] == Missing("single_frame")


def test_of_two_frames_the_larger_is_end_diastole():
    label = boxes([200, 500])
    got = derive({"sax": label}, {"sax": view_of(label)}).phenotypes
    assert (got["ed_frame"], got["es_frame"]) == (1, 0)
    assert got["lvef_pct"] == pytest.approx(60.0)


def test_a_right_ventricle_that_was_not_found_is_missing_not_zero():
    label = boxes([500, 200], rv_px=[0, 0])
    got = derive({"sax": label}, {"sax": view_of(label)}).phenotypes
    assert got["rvedv_ml"] == got["rvef_pct"] == Missing("rv_empty")


def test_a_heart_without_left_ventricle_is_rejected():
    label = boxes([0, 0])
    with pytest.raises(StudyRejected, match="lv_empty"):
        derive({"sax": label}, {"sax": view_of(label)})


def test_a_single_plane_is_rejected_because_it_spans_no_volume():
    label = boxes([500, 200], n_slices=1)
    with pytest.raises(StudyRejected, match="single_plane"):
        derive({"sax": label}, {"sax": view_of(label, slice_mm=math.nan)})


def test_labels_of_another_grid_are_refused():
    label = boxes([500, 200])
    with pytest.raises(ValueError, match="segment again"):
        derive({"sax": label[:, :5]}, {"sax": view_of(label)})


def test_a_frame_that_lacks_a_plane_is_nan_in_the_curve_and_is_never_chosen():
    label = boxes(beating(50))
    valid = np.ones((50, 8), bool)
    valid[20, 3] = valid[0, 2] = False  # the true end-systole and end-diastole
    derived = derive({"sax": label}, {"sax": view_of(label, valid=valid)})
    lv_ml = derived.curves["lv_ml"].values
    assert list(np.flatnonzero(np.isnan(lv_ml))) == [0, 20]
    assert derived.phenotypes["ed_frame"] != 0
    assert derived.phenotypes["es_frame"] in (19, 21)
    assert derived.phenotypes["lvedv_ml"] == pytest.approx(160.0)


def test_a_study_with_no_complete_frame_is_rejected():
    label = boxes([500, 200])
    valid = np.ones((2, 8), bool)
    valid[0, 0] = valid[1, 1] = False
    with pytest.raises(StudyRejected, match="frames_masked"):
        derive({"sax": label}, {"sax": view_of(label, valid=valid)})


def test_neighbours_stand_in_for_a_plane_that_was_never_acquired():
    label = boxes([500, 200])
    valid = np.ones((2, 8), bool)
    valid[:, 4] = False
    label[:, 4] = 0
    got = derive({"sax": label}, {"sax": view_of(label, valid=valid)}).phenotypes
    assert got["lvedv_ml"] == pytest.approx(160.0)


def test_plane_weights_follow_the_positions():
    assert plane_weight_mm([0, 10, 20, 30], 10).tolist() == [10, 10, 10, 10]
    assert plane_weight_mm([0, 10, 30, 40], 10).tolist() == [10, 15, 15, 10]
    assert plane_weight_mm([30, 0, 20, 10], 10).tolist() == [10, 10, 10, 10]


def test_an_implausible_study_is_quarantined_and_no_number_escapes():
    label = boxes([500, 490])
    derived = derive({"sax": label}, {"sax": view_of(label)}, height_cm=180.0, weight_kg=80.0)
    assert (derived.status, derived.reason) == ("quarantined", "ef_implausible")
    assert derived.detail == "lvef_pct 2"
    assert set(derived.phenotypes.values()) == {Missing("ef_implausible")}
    assert derived.curves["lv_ml"].values[0] == pytest.approx(160.0)


def test_a_mismatch_of_stroke_volumes_is_a_flag():
    label = boxes([500, 200], rv_px=[500, 400])
    derived = derive({"sax": label}, {"sax": view_of(label)})
    assert derived.status == "ok"
    assert derived.quality["qc_stroke_volumes"] is False
    assert "stroke_volumes_differ" in derived.quality_reasons


def test_without_short_axis_the_atria_are_still_measured():
    label = np.zeros((4, 1, 40, 40), np.uint8)
    label[:, 0, :10, :20], label[2, 0, :10, :20] = LA, 0
    label[2, 0, :10, :10] = LA
    label[:, 0, 20:30, :30] = RA
    derived = derive({"lax_4c": label}, {"lax_4c": view_of(label, slice_mm=math.nan)})
    assert (derived.status, derived.reason, derived.curves) == ("absent", "no_sax", None)
    assert derived.phenotypes["la_area_max_cm2"] == pytest.approx(200 * 4 / 100)
    assert derived.phenotypes["la_area_min_cm2"] == pytest.approx(100 * 4 / 100)
    assert derived.phenotypes["ra_area_max_cm2"] == pytest.approx(300 * 4 / 100)
    assert derived.phenotypes["lvef_pct"] == Missing("view_missing")


def test_peak_rates_of_a_cosine_volume_are_its_steepest_slope():
    n_frames, mean_px, swing_px = 50, 400, 200
    lv_px = [round(mean_px + swing_px * math.cos(2 * math.pi * i / n_frames)) for i in range(n_frames)]
    label = boxes(lv_px)
    got = derive({"sax": label}, {"sax": view_of(label)}).phenotypes
    slope_ml_s = swing_px * 0.32 * 2 * math.pi  # 0.32 mL a pixel of the stack, one cycle a second
    assert got["lv_peak_filling_ml_s"] == pytest.approx(slope_ml_s, rel=0.04)
    assert got["lv_peak_ejection_ml_s"] == pytest.approx(slope_ml_s, rel=0.04)


def test_one_failed_frame_does_not_pass_for_end_systole():
    volume_ml = np.array(beating(50, ed_px=160, es_px=64), float)
    volume_ml[40] = 3.0
    assert find_cycle(volume_ml).es_frame == 20


def test_a_cine_that_starts_late_finds_end_diastole_and_says_so():
    volume_ml = np.roll(beating(50, ed_px=160, es_px=64), -20)
    cycle = find_cycle(volume_ml)
    assert cycle.es_frame == 0
    assert not cycle.ed_at_cycle_start


def test_a_fully_masked_curve_is_refused():
    with pytest.raises(ValueError, match="all of them masked"):
        find_cycle([math.nan, math.nan])


def test_every_row_of_the_dictionary_is_complete():
    rows = list(dictionary())
    assert len({row["name"] for row in rows}) == len(rows) == len(PHENOTYPES)
    assert all(row["definition"] and row["unit"] and row["inputs"] for row in rows)
    assert all(row["valid_low"] < row["valid_high"] for row in rows)
    assert {"lvedv_ml_m2", "lvm_g_m2", "lvco_l_min_m2"} <= {row["name"] for row in rows}


def test_reference_ranges_belong_to_phenotypes_and_agree_with_the_published_moments():
    names = {row.name for row in PHENOTYPES}
    assert {row.phenotype for row in REFERENCE_RANGES} <= names
    men = reference_range("lvef_pct", "male")
    assert (men.low, men.high) == (48, 69)
    assert (men.mean, men.sd) == pytest.approx((58.5, 5.4), abs=0.05)
    assert reference_range("es_frame", "male") is None


def test_every_reason_for_a_missing_number_is_in_the_table_of_reasons():
    label = np.zeros((4, 1, 40, 40), np.uint8)
    values = derive({"lax_4c": label}, {"lax_4c": view_of(label, slice_mm=math.nan)}).phenotypes.values()
    assert {value.reason for value in values} <= set(TABLE)


def test_a_study_is_measured_under_the_declared_names_and_no_other():
    label = boxes(beating())
    atria = np.zeros((20, 1, 80, 80), np.uint8)
    atria[:, :, :20, :20], atria[:, :, 40:60, :20] = LA, RA
    labels, views = {"sax": label, "lax_4c": atria}, {"sax": view_of(label), "lax_4c": view_of(atria)}
    landmark_mm = {"lax_2c": np.zeros((20, 3, 2))}
    lines = dict.fromkeys((*DICE_LINES, *ERROR_LINES), (0.0, 1.0))
    certainty = Certainty(np.ones((20, 3)), lines)
    measured = measure(labels, views, height_cm=180.0, weight_kg=80.0, landmark_mm=landmark_mm, certainty=certainty)
    assert list(measured) == [row.name for row in MEASUREMENTS]
    dims = {name: np.ndim(value) for name, value in measured.items() if not isinstance(value, Missing)}
    assert dims == {row.name: len(row.dims) for row in MEASUREMENTS if row.name in dims}
    assert set(measured) - set(dims) == {"lax_4c_landmark_mm"}


def test_a_row_that_needs_an_undeclared_measurement_or_a_later_row_is_refused():
    lv_esv = next(row for row in PHENOTYPES if row.name == "lvesv_ml")
    with pytest.raises(ValueError, match=r"lvesv_ml needs \['lv_mL'\].*check the spelling"):
        check_inputs([dataclasses.replace(lv_esv, inputs=("lv_mL", "cycle_es"))])
    with pytest.raises(ValueError, match=r"lvesv_ml needs \['es_frame'\].*the order"):
        check_inputs([lv_esv, *PHENOTYPES])


def test_quality_rules_need_declared_measurements_and_phenotypes():
    known = {row.name for row in (*MEASUREMENTS, *PHENOTYPES)}
    assert {name for rule in RULES for name in rule.inputs} - known == set()


@pytest.mark.parametrize("row", MEASUREMENTS, ids=lambda row: row.name)
def test_a_missing_measurement_has_a_known_reason(row):
    assert TABLE[row.missing].kind == "missing"
