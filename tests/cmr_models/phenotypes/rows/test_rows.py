"""Each row of the table of phenotypes: its function by hand, its limits, its field; no row says what another does."""

import math

import numpy as np
import pytest

from cmr_models.phenotypes import PHENOTYPES, dictionary
from cmr_models.phenotypes.body_size import body_surface_m2
from cmr_models.phenotypes.rows.arithmetic import divide, keep, percent_of, subtract, take_frame
from cmr_models.phenotypes.rows.atria import ATRIA
from cmr_models.phenotypes.rows.certainty import CERTAINTY
from cmr_models.phenotypes.rows.cycle_and_body import CYCLE_AND_BODY
from cmr_models.phenotypes.rows.long_axis import LONG_AXIS
from cmr_models.phenotypes.rows.ventricles import VENTRICLES
from cmr_models.reasons import Missing

ROWS = {row.name: row for row in PHENOTYPES}
NAN = math.nan


def value(name, *inputs):
    return ROWS[name].function(*inputs)


# UK Biobank showcase: category 133 (inline), 157 (short axis), 50 and 21002 (size)
FIELDS = {
    "heart_rate_bpm": 22426, "height_cm": 50, "weight_kg": 21002, "bsa_m2": 22427,
    "lvedv_ml": 24100, "lvesv_ml": 24101, "lvsv_ml": 24102, "lvef_pct": 24103, "lvco_l_min": 24104, "lvm_g": 24105,
    "rvedv_ml": 24106, "rvesv_ml": 24107, "rvsv_ml": 24108, "rvef_pct": 24109, "lvco_l_min_m2": 22425,
}  # fmt: skip
LIMITS = {
    "ed_frame": (0, 999), "es_frame": (0, 999), "heart_rate_bpm": (30, 150), "height_cm": (100, 250),
    "weight_kg": (25, 350), "bsa_m2": (0.8, 4), "lvedv_ml": (30, 500), "lvesv_ml": (5, 400), "lvsv_ml": (5, 250),
    "lvef_pct": (5, 90), "lvm_g": (20, 400), "lvco_l_min": (0.5, 20), "rvedv_ml": (30, 500), "rvesv_ml": (5, 400),
    "rvsv_ml": (5, 250), "rvef_pct": (5, 90), "lv_mass_to_volume_g_ml": (0.2, 4),
    "lv_peak_ejection_ml_s": (50, 2000), "lv_peak_filling_ml_s": (50, 2000),
    "la_area_max_cm2": (3, 80), "la_area_min_cm2": (1, 80), "ra_area_max_cm2": (3, 80), "ra_area_min_cm2": (1, 80),
    "lax_2c_mapse_mm": (0, 40), "lax_2c_axis_shortening_pct": (0, 50),
    "lax_4c_mapse_mm": (0, 40), "lax_4c_axis_shortening_pct": (0, 50),
    "rv_dice_predicted": (0, 1), "myocardium_dice_predicted": (0, 1), "lv_dice_predicted": (0, 1),
    "lvef_low_pct": (0, 100), "lvef_high_pct": (0, 100), "rvef_low_pct": (0, 100), "rvef_high_pct": (0, 100),
}  # fmt: skip
INDEXED = {
    "lvedv_ml", "lvesv_ml", "lvsv_ml", "lvm_g", "lvco_l_min", "rvedv_ml", "rvesv_ml", "rvsv_ml",
    "la_area_max_cm2", "la_area_min_cm2", "ra_area_max_cm2", "ra_area_min_cm2",
}  # fmt: skip


def test_the_table_holds_every_organ_and_then_the_indices_in_the_same_order():
    measured = [row.name for row in (*CYCLE_AND_BODY, *VENTRICLES, *ATRIA, *LONG_AXIS, *CERTAINTY)]
    assert list(ROWS) == [*measured, *(f"{name}_m2" for name in measured if name in INDEXED)]


def test_fields_and_limits_are_those_of_the_quantity():
    assert {row.name: row.ukb_field for row in PHENOTYPES if row.ukb_field} == FIELDS
    indexed = {f"{name}_m2": (LIMITS[name][0] / 3, LIMITS[name][1]) for name in INDEXED}  # nobody has 3 m² in half
    assert {row.name: row.valid for row in PHENOTYPES} == LIMITS | indexed
    assert {row.name for row in PHENOTYPES if row.integer} == {"ed_frame", "es_frame"}


def test_definitions_from_the_literature_name_it():
    sources = {}
    for row in PHENOTYPES:
        sources.setdefault(row.reference.split(" et al.")[0], set()).add(row.name.removesuffix("_m2"))
    assert sources["Bai"] == {name for name in FIELDS if name[:2] in ("lv", "rv")} - {"lvco_l_min_m2"}
    assert sources["Fu"] == {row.name for row in LONG_AXIS}
    assert sources["Petersen"] == {"lv_mass_to_volume_g_ml"}
    assert ROWS["bsa_m2"].reference == "Du Bois and Du Bois 1916"


def test_an_index_is_the_quantity_over_the_surface_in_its_unit_per_square_metre():
    for name in INDEXED:
        row = ROWS[f"{name}_m2"]
        assert (row.inputs, row.unit) == ((name, "bsa_m2"), f"{ROWS[name].unit}/m²")
        assert row.function(90.0, 1.8) == pytest.approx(50)


def test_the_dictionary_says_what_the_rows_say():
    found = {row["name"]: row for row in dictionary()}
    assert list(found) == [row.name for row in PHENOTYPES]
    assert found["es_frame"] == {
        "name": "es_frame", "unit": "frame", "type": "integer", "inputs": "cycle_es", "valid_low": 0, "valid_high": 999,
        "definition": "End-systole: frame (from 0) of the smallest LV volume", "ukb_field": None, "reference": "",
    }  # fmt: skip
    mass = found["lvm_g"]
    assert (mass["type"], mass["inputs"], mass["ukb_field"]) == ("number", "myocardium_ml ed_frame", 24105)
    assert (mass["valid_low"], mass["valid_high"]) == (20, 400)


@pytest.mark.parametrize(
    ("name", "inputs"),
    [
        ("ed_frame", ("cycle_ed",)), ("es_frame", ("cycle_es",)),
        ("lvedv_ml", ("lv_ml", "ed_frame")), ("lvesv_ml", ("lv_ml", "es_frame")),
        ("rvedv_ml", ("rv_ml", "ed_frame")), ("rvesv_ml", ("rv_ml", "es_frame")),
        ("lvsv_ml", ("lvedv_ml", "lvesv_ml")), ("rvsv_ml", ("rvedv_ml", "rvesv_ml")),
        ("lvef_pct", ("lvsv_ml", "lvedv_ml")), ("rvef_pct", ("rvsv_ml", "rvedv_ml")),
        ("lvm_g", ("myocardium_ml", "ed_frame")), ("lv_mass_to_volume_g_ml", ("lvm_g", "lvedv_ml")),
        ("lvco_l_min", ("lvsv_ml", "heart_rate_bpm")), ("bsa_m2", ("height_cm", "weight_kg")),
        ("la_area_max_cm2", ("la_cm2",)), ("la_area_min_cm2", ("la_cm2",)),
        ("ra_area_max_cm2", ("ra_cm2",)), ("ra_area_min_cm2", ("ra_cm2",)),
        ("lax_2c_mapse_mm", ("lax_2c_landmark_mm",)), ("lax_4c_mapse_mm", ("lax_4c_landmark_mm",)),
        ("lax_2c_axis_shortening_pct", ("lax_2c_landmark_mm",)),
        ("lax_4c_axis_shortening_pct", ("lax_4c_landmark_mm",)),
    ],
)  # fmt: skip
def test_a_row_is_made_from_the_inputs_of_its_definition(name, inputs):
    assert ROWS[name].inputs == inputs


def test_small_functions_by_hand():
    assert (keep(7.0), subtract(150, 60), take_frame(np.array([4.0, 5, 6]), 2.0)) == (7, 90, 6)
    assert (percent_of(90, 150), divide(90, 150)) == (60, 0.6)
    for function in (percent_of, divide):
        assert function(3.0, 0.0) == function(3.0, -1.0) == Missing("undefined")


def test_mass_is_wall_at_end_diastole_times_its_density_and_output_is_in_litres():
    assert value("lvm_g", np.array([100.0, 90.0, 110.0]), 1) == pytest.approx(94.5)
    assert value("lvco_l_min", 80.0, 65.0) == pytest.approx(5.2)


def test_atrial_areas_leave_out_frames_without_an_image():
    area = np.array([NAN, 12.0, 20.0, 15.0, 11.0])
    for side in ("la", "ra"):
        assert value(f"{side}_area_max_cm2", area) == 20
        assert value(f"{side}_area_min_cm2", area) == 11


def test_surfaces_are_those_of_du_bois_table():
    # Du Bois and Du Bois 1916, chart: 1.60 m and 50 kg 1.50 m², 1.80 m and 90 kg 2.10 m², 1.20 m and 25 kg 0.91 m²
    assert body_surface_m2(np.array([160.0, 180, 120]), np.array([50.0, 90, 25])) == pytest.approx(
        [1.50, 2.10, 0.91], abs=0.005
    )


@pytest.mark.parametrize(
    ("height_cm", "weight_kg", "known"),
    [(100, 25, True), (250, 350, True), (99.9, 60, False), (250.1, 90, False), (170, 24.9, False), (170, 351, False)],
)
def test_a_surface_needs_a_size_that_a_person_can_have(height_cm, weight_kg, known):
    assert isinstance(value("bsa_m2", height_cm, weight_kg), Missing) is not known


# rates

FALLS, RISES = 15, 25


def _volume():
    """40 frames: 120 mL falls by 4 mL a frame for 15 frames, then rises by 2.4 mL a frame, back to 120."""
    return 120 - np.r_[4.0 * np.arange(FALLS), 60 - 2.4 * np.arange(RISES)]


def test_rates_are_slopes_in_time_however_uneven_the_frames():
    # 20 ms a frame while it falls, 200 mL/s; 30 ms while it rises, 80 mL/s; smoothing keeps straight parts
    time_ms = np.r_[20.0 * np.arange(FALLS), 300 + 30.0 * np.arange(RISES)]
    assert value("lv_peak_ejection_ml_s", _volume(), time_ms) == pytest.approx(200, rel=1e-3)
    assert value("lv_peak_filling_ml_s", _volume(), time_ms) == pytest.approx(80, rel=1e-3)
    quick = np.r_[20.0 * np.arange(FALLS), 300 + 10.0 * np.arange(RISES)]  # now filling is the steeper one
    assert value("lv_peak_ejection_ml_s", _volume(), quick) == pytest.approx(200, rel=1e-3)
    assert value("lv_peak_filling_ml_s", _volume(), quick) == pytest.approx(240, rel=1e-3)


@pytest.mark.parametrize("name", ["lv_peak_ejection_ml_s", "lv_peak_filling_ml_s"])
def test_rates_need_twenty_frames_with_volumes_and_times_that_rise(name):
    time_ms = np.arange(21) * 40.0
    volume = 100 - 40 * np.sin(np.pi * np.arange(21) / 21)
    volume[20] = NAN
    assert value(name, volume, time_ms) > 50
    volume[4] = NAN
    assert value(name, volume, time_ms) == Missing("few_frames")
    for k, wrong in ((20, NAN), (3, 80.0), (3, 70.0)):
        assert value(name, np.full(21, 90.0), np.r_[time_ms[:k], wrong, time_ms[k + 1 :]]) == Missing("time_unknown")


# long axis


@pytest.mark.parametrize("view", ["lax_2c", "lax_4c"])
def test_excursion_and_shortening_of_landmarks_in_millimetres(view):
    # hinges 20 mm apart about a middle that goes from (0, 0) over (8, 6) to (16, 12) mm; the apex stays at (80, 60)
    points = np.array([[[8 * k - 6, 6 * k + 8], [8 * k + 6, 6 * k - 8], [80, 60]] for k in range(3)], float)
    assert value(f"{view}_mapse_mm", points) == pytest.approx(20)
    assert value(f"{view}_axis_shortening_pct", points) == pytest.approx(20)  # 100 to 80 mm
    points[:, :, 0] /= 2  # along the columns the axis is now 60 mm, along the rows 40: 72.1 to 57.7 mm
    assert value(f"{view}_mapse_mm", points) == pytest.approx(np.hypot(8, 12))
    points[2] = np.nan
    points[1, 2] = [40, 0]  # the apex has gone 60 mm towards the middle: from 72.1 to 36.5 mm
    assert value(f"{view}_axis_shortening_pct", points) == pytest.approx(100 * (1 - np.hypot(36, 6) / np.hypot(40, 60)))


def test_an_interval_of_ejection_fraction_ends_at_nothing_and_at_all():
    lines = np.array([[-70.0, 0.0], [50.0, 0.0], [-1.0, -10.0], [1.0, 10.0]])
    assert (value("lvef_low_pct", 60.0, 0.9, lines), value("lvef_high_pct", 60.0, 0.9, lines)) == (0, 100)
    assert value("rvef_low_pct", 50.0, 0.8, lines) == pytest.approx(50 - 1 - 2)
    assert value("rvef_high_pct", 50.0, 0.8, lines) == pytest.approx(50 + 1 + 2)


def test_a_right_ventricle_that_is_larger_at_end_systole_has_no_ejection_fraction():
    assert value("rvef_pct", 60.0, 100.0) == pytest.approx(60)
    assert value("rvef_pct", 0.0, 100.0) == 0
    assert value("rvef_pct", -0.1, 100.0) == Missing("rv_larger_at_es")
