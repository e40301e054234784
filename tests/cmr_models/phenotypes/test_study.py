"""From labels to measurements: which frame, which plane, in which order, and what is missing why."""

import math

import numpy as np
import pytest

from cmr_models.contracts import LA, LV, MYOCARDIUM, RA, RV, cine_view
from cmr_models.phenotypes.study import derive, measure
from cmr_models.reasons import Missing, StudyRejected

NAN = math.nan


def view_of(label, offsets_mm, *, heart_rate_bpm=70.0, valid=None, slice_mm=10.0):
    return cine_view(
        np.zeros(label.shape, np.uint16),
        time_ms=5 + np.arange(len(label)) * 40.0,
        pixel_mm=(2.0, 1.5),
        position_mm=np.c_[np.zeros((len(offsets_mm), 2)), offsets_mm],
        row_dir=(1, 0, 0),
        col_dir=(0, 1, 0),
        slice_mm=slice_mm,
        thickness_mm=8.0,
        heart_rate_bpm=heart_rate_bpm,
        frame_valid=valid,
    ).drop_vars("intensity")


def short_axis(lv_px, planes=(1, 3, 2), rv=True):
    """Planes that hold 1, 3 and 2 times so many pixels of pool; so each plane can be told from the others."""
    label = np.zeros((len(lv_px), len(planes), 60, 50), np.uint8)
    flat = label.reshape(len(lv_px), len(planes), -1)
    for frame, n in enumerate(lv_px):
        for k, times in enumerate(planes):
            flat[frame, k, : n * times] = LV
            flat[frame, k, 1000 : 1000 + 200 * times] = MYOCARDIUM
            flat[frame, k, 2000 : 2000 + rv * n * times] = RV
    return label


OFFSETS_MM = (20.0, 0.0, 10.0)  # as stored
SHORT = (80, 60, 40, 70, 100)


def measured(label=None, **changes):
    label = short_axis(SHORT) if label is None else label
    view = view_of(label, OFFSETS_MM, **changes)
    return measure({"sax": label}, {"sax": view}, height_cm=NAN, weight_kg=NAN)


def test_frames_planes_and_rates_are_those_of_the_short_axis():
    label = short_axis(SHORT)
    got = measured(label)
    assert (got["cycle_ed"], got["cycle_es"], got["cycle_ed_at_start"]) == (4, 2, True)
    order = [1, 2, 0]  # along the axis
    np.testing.assert_array_equal(got["sax_ed"], label[4][order])
    np.testing.assert_array_equal(got["sax_es"], label[2][order])
    assert got["lv_ml"] == pytest.approx(np.array(SHORT) * 6 * 0.03)  # 6 px of 3 mm² by 10 mm
    assert got["rv_ml"] == pytest.approx(got["lv_ml"])
    assert got["myocardium_ml"] == pytest.approx(np.full(5, 36.0))
    assert got["time_ms"].tolist() == [5, 45, 85, 125, 165]
    assert got["scan_heart_rate_bpm"] == 70
    assert got["stack_order_agrees"] is True


def test_what_is_not_known_of_the_short_axis_is_missing_for_its_own_reason():
    got = measured(short_axis(SHORT, rv=False), heart_rate_bpm=NAN)
    assert got["rv_ml"] == Missing("rv_empty")
    assert got["scan_heart_rate_bpm"] == Missing("heart_rate_unknown")
    assert got["la_cm2"] == got["lax_4c"] == got["lax_4c_ed"] == Missing("view_missing")
    assert got["lax_2c_landmark_mm"] == got["lax_4c_landmark_mm"] == Missing("landmarks_unpredicted")
    label = short_axis((80,))
    label[label == MYOCARDIUM] = 0
    alone = measured(label)
    assert alone["cycle_es"] == alone["sax_es"] == Missing("single_frame")
    assert alone["myocardium_ml"] == Missing("myocardium_empty")


def test_a_stack_stored_from_apex_to_base_is_doubtful():
    planes = (1, 2, 4, 6, 9, 10)
    label = short_axis((40, 20), planes)
    for turned, agrees in ((label[:, ::-1], True), (label, False)):
        view = view_of(turned, np.arange(6) * 10.0)
        got = measure({"sax": turned}, {"sax": view}, height_cm=NAN, weight_kg=NAN)
        assert got["stack_order_agrees"] is agrees


def test_frames_whose_times_the_images_contradict_are_doubtful():
    label = short_axis((40, 20))
    for flags, agrees in (([], True), (["order_by_number", "order_contradicted"], True), (["order_doubtful"], False)):
        view = view_of(label, np.arange(label.shape[1]) * 10.0).assign_attrs(flags=flags)
        view.attrs.setdefault("heart_rate_bpm", 60.0)
        got = measure({"sax": label}, {"sax": view}, height_cm=NAN, weight_kg=NAN)
        assert got["frame_order_agrees"] is agrees


def test_an_empty_ventricle_and_a_curve_without_a_whole_frame_are_told_apart():
    with pytest.raises(StudyRejected) as caught:
        measured(short_axis((0, 0)))
    assert (caught.value.reason, caught.value.detail) == ("lv_empty", "2 frames")
    assert measured(short_axis((2, 1)))["lv_ml"] == pytest.approx([0.36, 0.18])  # small, but there
    valid = ~np.eye(3, dtype=bool)
    with pytest.raises(StudyRejected) as caught:
        measured(short_axis((90, 90, 80)), valid=valid)
    assert (caught.value.reason, caught.value.detail) == ("frames_masked", "3 frames")


def four_chambers(n_frames):
    """Left atrium of 20 + frame pixels, right one of 30; two planes, of which the second has nothing to say."""
    label = np.zeros((n_frames, 2, 60, 50), np.uint8)
    flat = label.reshape(n_frames, 2, -1)
    for frame in range(n_frames):
        flat[frame, 0, : 20 + frame], flat[frame, 0, 500:530] = LA, RA
        flat[frame, 1] = RA
    return label


@pytest.mark.parametrize(
    ("ed_frame", "lax_frame"),
    [(4, 6), (0, 0), (3, 5)],  # 4/5 of 8 frames is 6.4; 3/5 of 8 is 4.8
)
def test_the_long_axis_is_taken_at_the_same_time_of_the_cycle(ed_frame, lax_frame):
    volumes = np.full(5, 50)
    volumes[ed_frame] = 100
    sax, lax = short_axis(volumes), four_chambers(8)
    views = {"sax": view_of(sax, OFFSETS_MM), "lax_4c": view_of(lax, (0.0, 9.0))}
    got = measure({"sax": sax, "lax_4c": lax}, views, height_cm=NAN, weight_kg=NAN)
    np.testing.assert_array_equal(got["lax_4c_ed"], lax[lax_frame, 0])


def test_end_diastole_at_the_very_end_of_the_cycle_is_the_first_frame_of_a_coarser_cine():
    volumes = np.full(9, 50)
    volumes[8] = 100
    sax, lax = short_axis(volumes), four_chambers(4)  # 8/9 of 4 frames is 3.6: frame 4, which is frame 0
    views = {"sax": view_of(sax, OFFSETS_MM), "lax_4c": view_of(lax, (0.0, 9.0))}
    got = measure({"sax": sax, "lax_4c": lax}, views, height_cm=NAN, weight_kg=NAN)
    np.testing.assert_array_equal(got["lax_4c_ed"], lax[0, 0])


def test_long_axis_frames_without_an_image_have_neither_area_nor_label():
    lax = four_chambers(4)
    valid = np.ones((4, 2), bool)
    valid[1, 0] = valid[2, 1] = False
    got = measure({"lax_4c": lax}, {"lax_4c": view_of(lax, (0.0, 9.0), valid=valid)}, height_cm=181.0, weight_kg=NAN)
    assert got["la_cm2"] == pytest.approx([0.6, NAN, 0.66, 0.69], nan_ok=True)
    assert got["ra_cm2"] == pytest.approx([0.9, NAN, 0.9, 0.9], nan_ok=True)
    np.testing.assert_array_equal(got["lax_4c"], lax[[0, 2, 3], 0])
    assert got["lax_4c_ed"] == got["lv_ml"] == Missing("view_missing")
    assert (got["body_height_cm"], got["body_weight_kg"]) == (181.0, Missing("body_size_unknown"))
    tiny = np.where(np.arange(50) < 2, lax, 0)
    got = measure({"lax_4c": tiny}, {"lax_4c": view_of(lax, (0.0, 9.0))}, height_cm=NAN, weight_kg=NAN)
    assert got["la_cm2"] == pytest.approx(np.full(4, 0.06))
    blank = measure({"lax_4c": lax * 0}, {"lax_4c": view_of(lax, (0.0, 9.0))}, height_cm=NAN, weight_kg=NAN)
    assert (blank["la_cm2"], blank["ra_cm2"]) == (Missing("la_empty"), Missing("ra_empty"))


def test_landmarks_are_taken_of_their_own_view_and_no_other():
    label = short_axis(SHORT)
    given = {"lax_4c": np.ones((5, 3, 2)), "lax_3c": np.zeros((5, 3, 2))}
    view = view_of(label, OFFSETS_MM)
    got = measure({"sax": label}, {"sax": view}, height_cm=NAN, weight_kg=NAN, landmark_mm=given)
    assert got["lax_4c_landmark_mm"] is given["lax_4c"]
    assert got["lax_2c_landmark_mm"] == Missing("landmarks_unpredicted")
    assert "lax_3c_landmark_mm" not in got
    given["lax_4c"][:, 2, 0] = [81, 81, 61, 81, 81]  # the apex lies 80 mm below the hinges, then 60
    lax = four_chambers(5)
    found = derive(
        {"lax_4c": lax}, {"lax_4c": view_of(lax, (0.0, 9.0))}, landmark_mm=given, height_cm=160.0, weight_kg=50.0
    ).phenotypes
    assert found["lax_4c_axis_shortening_pct"] == pytest.approx(25)
    assert found["bsa_m2"] == pytest.approx(1.50, abs=0.005)


def test_curves_have_nan_where_a_class_is_missing():
    label = short_axis(SHORT, rv=False)
    curves = derive({"sax": label}, {"sax": view_of(label, OFFSETS_MM)}).curves
    assert curves["rv_ml"].isnull().all()
    assert curves["lv_ml"].values == pytest.approx([14.4, 10.8, 7.2, 12.6, 18])
    assert curves["time_ms"].values.tolist() == [5, 45, 85, 125, 165]


def test_the_worst_broken_rule_names_a_quarantine_and_its_numbers():
    label = short_axis(SHORT)  # 18 mL at end-diastole, which is under 30
    found = derive({"sax": label}, {"sax": view_of(label, OFFSETS_MM)})
    assert (found.status, found.reason, found.detail) == ("quarantined", "edv_implausible", "lvedv_ml 18")
    assert found.quality_reasons[0] == "edv_implausible"
    assert "lv_slices_few" in found.quality_reasons
    assert found.quality["qc_edv"] is False


def test_planes_are_sorted_by_their_centres_though_one_of_an_oblong_image_is_tilted():
    label = short_axis(SHORT)
    view = view_of(label, (0.0, 9.4, 30.0))
    col_dir = view["col_dir"].values.copy()
    col_dir[0] = [0, 0.984808, 0.173648]  # 10 degrees
    view = view.assign(col_dir=(view["col_dir"].dims, col_dir))
    # centres lie 59 mm down the columns (59 steps of 2 mm, halved), so the tilted one at z = 10.2, beyond 9.4
    got = measure({"sax": label}, {"sax": view}, height_cm=NAN, weight_kg=NAN)
    np.testing.assert_array_equal(got["sax_ed"], label[4][[1, 0, 2]])
