"""Rows of one study: overlaps, volumes and landmarks of few pixels, and a reason for each that is missing."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import xarray as xr

from cmr_models.contracts import EDEMA, LA, LV, MYOCARDIUM, NO_REFLOW, RV, SCAR, cine_view, with_reference
from cmr_models.evaluation.cases import (
    STRUCTURES,
    label_quantities,
    landmark_rows,
    measure_row,
    overlap_rows,
    value_row,
    volume_rows,
)
from cmr_models.reasons import Missing

NAN = math.nan
Labels = npt.NDArray[np.uint8]
ALL = np.ones((4, 3), bool)


def view_of(labels: Labels, labelled: list[int], slice_mm: float = 10.0, valid: Any = None) -> xr.Dataset:
    """Four frames of planes with pixels of 2 by 1.5 mm; only frames ``labelled`` have a reference."""
    n = labels.shape[1]
    view = cine_view(
        np.zeros(labels.shape, np.uint16),
        time_ms=np.arange(len(labels)) * 200.0,
        pixel_mm=(2.0, 1.5),
        position_mm=np.arange(n)[:, None] * [0, 0, 10.0],
        row_dir=(1, 0, 0),
        col_dir=(0, 1, 0),
        slice_mm=slice_mm,
        thickness_mm=8.0,
        heart_rate_bpm=60.0,
        frame_valid=valid,
    )
    view = with_reference(view, labels, None)
    view["labelled"].values[:] = np.isin(np.arange(len(labels)), labelled)
    return view


def counts(*by_frame: dict[int, int]) -> Labels:
    """Frames of three planes, each with so many pixels of each code, each in a row of its own."""
    labels = np.zeros((len(by_frame), 3, 12, 20), np.uint8)
    for frame, codes in enumerate(by_frame):
        for code, n in codes.items():
            labels[frame, :, code, :n] = code
    return labels


def table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame(rows).set_index(["measure", "of", "phase"]).sort_index()


def test_a_row_is_empty_but_for_what_is_told() -> None:
    row = measure_row("dice", "lv", "", phase="ed", value=0.5)
    assert row.pop("value") == 0.5
    assert {k: v for k, v in row.items() if isinstance(v, str)} == {
        "measure": "dice", "of": "lv", "unit": "", "view": "", "phase": "ed", "reason": ""
    }  # fmt: skip
    assert math.isnan(row["predicted"])
    assert math.isnan(row["reference"])
    assert value_row("lvef_pct", "%", 60.0, 55.0)["reason"] == ""
    assert value_row("lvef_pct", "%", 60.0, NAN)["reason"] == "reference_missing"
    assert value_row("lvef_pct", "%", NAN, NAN, "image_flat", "sax")["reason"] == "image_flat"


def test_structures_are_of_their_codes_and_the_wall_holds_what_is_in_it() -> None:
    assert STRUCTURES["myocardium"] == (MYOCARDIUM, SCAR, NO_REFLOW, EDEMA)
    others = {"rv": RV, "lv": LV, "la": LA, "scar": SCAR, "no_reflow": NO_REFLOW, "oedema": EDEMA}
    assert {name: STRUCTURES[name] for name in others} == {name: (code,) for name, code in others.items()}


# overlap

REFERENCE = counts({LV: 10, MYOCARDIUM: 8, SCAR: 2}, {LV: 20}, {LV: 6, RV: 4}, {})
PREDICTED = counts({LV: 8, MYOCARDIUM: 10, SCAR: 0}, {LV: 1}, {LV: 6, RV: 0, MYOCARDIUM: 3}, {RV: 5})


def _overlaps(judged: npt.NDArray[np.bool_] = ALL, phases: dict[int, str] | None = None, **view: Any) -> pd.DataFrame:
    chosen = {0: "ed", 2: "es"} if phases is None else phases
    return table(overlap_rows(PREDICTED, judged, view_of(REFERENCE, [0, 2], **view), "sax", chosen))


def test_overlaps_are_of_labelled_frames_by_phase_and_together() -> None:
    rows = _overlaps()
    # end-diastole: 2 x 8 / (8 + 10); end-systole: 1; the frame without a label, 1 of 20, does not count
    assert rows.loc["dice", "lv"]["value"].to_dict() == pytest.approx(
        {"all": (16 / 18 + 1) / 2, "ed": 16 / 18, "es": 1}
    )
    assert rows.loc["iou", "lv"]["value"].to_dict() == pytest.approx({"all": 0.9, "ed": 0.8, "es": 1})
    # the last two pixels of the row, of 1.5 mm: percentiles of 0 (8 times), 1.5 and 3, in each of three planes
    distance = np.percentile([0] * 24 + [1.5] * 3 + [3] * 3, 95)
    assert rows.loc["hd95", "lv"]["value"].to_dict() == pytest.approx({"all": distance / 2, "ed": distance, "es": 0})
    assert rows.loc["hd95", "lv"]["unit"].unique().tolist() == ["mm"]
    assert rows["view"].unique().tolist() == ["sax"]
    # the wall of the reference is 8 and 2 of scar; the prediction has 10 where 8 are
    assert rows.loc[("dice", "myocardium", "ed"), "value"] == pytest.approx(2 * 8 / 20)
    assert rows.loc[("dice", "scar", "ed"), "value"] == 0
    assert "oedema" not in rows.index.get_level_values("of")


def test_what_neither_or_only_one_has_says_so() -> None:
    rows = _overlaps()
    assert rows.loc[("dice", "rv", "ed"), "reason"] == "structure_absent"
    assert rows.loc[("dice", "rv", "all"), ["value", "reason"]].tolist() == [0, ""]  # of end-systole alone
    assert rows.loc[("hd95", "rv", "es"), "reason"] == "structure_in_one"
    assert rows.loc[("hd95", "rv", "all"), "reason"] == "structure_absent"  # the first reason
    assert rows.loc[("hd95", "myocardium", "es"), "reason"] == "structure_in_one"
    assert math.isnan(rows.loc[("hd95", "rv", "es"), "value"])


def test_images_that_were_not_segmented_do_not_count_on_either_side() -> None:
    judged = ALL.copy()
    judged[0, 1:] = judged[2] = False
    rows = _overlaps(judged)
    assert rows.loc[("dice", "lv", "ed"), "value"] == pytest.approx(16 / 18)
    assert rows.loc[("hd95", "lv", "ed"), "value"] == pytest.approx(np.percentile([0] * 8 + [1.5, 3], 95))
    assert rows.loc[("dice", "lv", "es"), "reason"] == "frame_unjudged"
    assert rows.loc[("iou", "lv", "all"), "value"] == pytest.approx(0.8)


def test_a_phase_without_a_label_has_no_row_and_another_grid_has_a_reason() -> None:
    rows = _overlaps(phases={1: "es", 0: "ed"})
    assert set(rows.index.get_level_values("phase")) == {"all", "ed"}
    other = overlap_rows(PREDICTED[:, :2], ALL, view_of(REFERENCE, [0]), "sax", {0: "ed"})
    assert [(r["measure"], r["of"], r["unit"], r["reason"], r["phase"]) for r in other] == [
        (m, s, u, "grid_differs", "all")
        for m, u in (("dice", ""), ("iou", ""), ("hd95", "mm"))
        for s in ("rv", "myocardium", "lv")
    ]


def test_slices_are_apart_by_their_distance() -> None:
    reference, predicted = np.zeros((1, 3, 4, 4), np.uint8), np.zeros((1, 3, 4, 4), np.uint8)
    reference[0, 0, 1, 1], predicted[0, 2, 1, 1] = LV, LV
    for slice_mm, distance in ((12.0, 24), (NAN, 2)):
        view = view_of(reference, [0], slice_mm=slice_mm)
        rows = table(overlap_rows(predicted, ALL[:1], view, "sax", {0: "ed"}))
        assert rows.loc[("hd95", "lv", "ed"), "value"] == pytest.approx(distance)
    predicted[:] = 0
    predicted[0, 0, 3, 1] = LV  # two rows of 2 mm
    rows = table(overlap_rows(predicted, ALL[:1], view_of(reference, [0]), "sax", {0: "ed"}))
    assert rows.loc[("hd95", "lv", "ed"), "value"] == pytest.approx(4)


# volumes: three planes 10 mm apart with pixels of 3 mm², so that a pixel in each plane is 0.09 mL

DRAWN = counts({LV: 20, RV: 18, MYOCARDIUM: 6, SCAR: 3, EDEMA: 1}, {LV: 1}, {LV: 8, RV: 9}, {})
OURS = counts({LV: 19, RV: 18, MYOCARDIUM: 11}, {LV: 1}, {LV: 10, RV: 6}, {})
FRAMES = {"ed_frame": 0, "es_frame": 2}


def _volumes(
    labelled: list[int], frames: dict[str, int], judged: npt.NDArray[np.bool_] = ALL, ours: Labels = OURS
) -> pd.DataFrame:
    rows = volume_rows(ours, judged, view_of(DRAWN, labelled), frames)
    return pd.DataFrame(rows, columns=list(measure_row("", "", ""))).set_index("of")


def test_volumes_fractions_and_mass_of_both_by_hand() -> None:
    rows = _volumes([0, 2], FRAMES)
    assert rows["predicted"].to_dict() == pytest.approx({
        "lvedv_ml": 1.71, "lvesv_ml": 0.9, "lvef_pct": 100 * 9 / 19, "rvedv_ml": 1.62, "rvesv_ml": 0.54,
        "rvef_pct": 100 * 12 / 18, "lvm_g": 11 * 0.09 * 1.05,
    })  # fmt: skip
    assert rows["reference"].to_dict() == pytest.approx({
        "lvedv_ml": 1.8, "lvesv_ml": 0.72, "lvef_pct": 60, "rvedv_ml": 1.62, "rvesv_ml": 0.81, "rvef_pct": 50,
        "lvm_g": 10 * 0.09 * 1.05,
    })  # fmt: skip
    assert rows["unit"].tolist() == ["mL", "mL", "%", "mL", "mL", "%", "g"]
    assert (rows["measure"] == "agreement").all()
    assert (rows["reason"] == "").all()


def test_quantities_that_were_not_drawn_have_no_row() -> None:
    assert set(_volumes([0], FRAMES).index) == {"lvedv_ml", "rvedv_ml", "lvm_g"}
    assert set(_volumes([2], FRAMES).index) == {"lvesv_ml", "rvesv_ml"}
    assert set(_volumes([0, 2], {"es_frame": 2}).index) == {"lvesv_ml", "rvesv_ml"}
    assert _volumes([0, 2], {"ed_frame": 4}).empty
    found = label_quantities(view_of(DRAWN, [0]), FRAMES)
    assert found["lvef_pct"] == found["lvesv_ml"] == Missing("reference_missing")
    assert found["lvedv_ml"] == pytest.approx(1.8)
    empty = label_quantities(view_of(DRAWN, [2, 3]), {"ed_frame": 3, "es_frame": 2})
    assert (empty["lvedv_ml"], empty["lvef_pct"]) == (0, Missing("undefined"))


def test_frames_that_were_not_wholly_segmented_have_a_reason_and_a_reference() -> None:
    judged = ALL.copy()
    judged[2, 1] = False
    rows = _volumes([0, 2], FRAMES, judged)
    assert rows.loc[["lvesv_ml", "lvef_pct", "rvesv_ml"], "reason"].tolist() == ["frame_unjudged"] * 3
    assert rows.loc["lvef_pct", "reference"] == pytest.approx(60)
    assert rows.loc["lvedv_ml", ["predicted", "reason"]].tolist() == [pytest.approx(1.71), ""]
    other = _volumes([0, 2], FRAMES, ours=OURS[:, :2])
    assert other["reason"].unique().tolist() == ["grid_differs"]
    assert other["predicted"].isna().all()
    single = view_of(DRAWN, [0, 2], valid=np.tile([True, False, False], (4, 1)))
    assert set(label_quantities(single, FRAMES).values()) == {Missing("single_plane")}


# landmarks: pixels of 2 by 1.5 mm

MARKS = np.array([[[0, 0], [0, 8], [40, 4]], [[9, 9], [9, 9], [9, 9]], [[4, 0], [4, 8], [40, 4]]], float)


def _landmarks(ours: npt.NDArray[np.float64]) -> pd.DataFrame:
    marked = MARKS.copy()
    marked[1] = NAN
    rows = landmark_rows(ours, marked, (2.0, 1.5), "lax_4c")
    return pd.DataFrame(rows).set_index("of")


def test_distances_are_means_over_marked_frames_and_function_is_compared() -> None:
    ours = MARKS + 0.0
    ours[0, 0] += [0, 2]  # 3 mm
    ours[2, 0] += [3, 0]  # 6 mm
    ours[2, 2] += [2, 2]  # 5 mm
    ours[1] = 77  # no marks in this frame
    rows = _landmarks(ours)
    names = ["hinge_1", "hinge_2", "apex", "mean"]
    assert rows.loc[names, "value"].tolist() == pytest.approx([4.5, 0, 2.5, ((3 + 0 + 0) / 3 + (6 + 0 + 5) / 3) / 2])
    assert (rows.loc[names, "measure"] == "landmark_distance").all()
    assert rows.loc["mapse_mm", "reference"] == pytest.approx(8)
    assert rows.loc["axis_shortening_pct", "reference"] == pytest.approx(10)
    assert rows.loc["mapse_mm", "predicted"] == pytest.approx((math.hypot(14, 3) + 8) / 2)
    assert rows["view"].unique().tolist() == ["lax_4c"]
    assert rows["unit"].tolist() == ["mm"] * 5 + ["%"]


def test_landmarks_that_were_not_found_are_missing_and_others_are_not() -> None:
    ours = MARKS + 0.0
    ours[[0, 2], 2] = NAN
    ours[0, 1] += [0, 4]
    rows = _landmarks(ours)
    assert rows.loc["hinge_2", "value"] == pytest.approx(3)
    assert rows.loc[["apex", "mean", "mapse_mm"], "reason"].tolist() == ["landmarks_missing"] * 3
    ours[2, 2] = [40, 4]
    assert _landmarks(ours).loc["apex", "value"] == 0  # of the frame that has one
    other = _landmarks(ours[:2])
    assert other.index.tolist() == ["hinge_1", "hinge_2", "apex", "mean"]
    assert other["reason"].unique().tolist() == ["grid_differs"]


def test_a_frame_with_a_landmark_unmarked_is_no_reference() -> None:
    reference, ours = MARKS.copy(), MARKS + np.array([0.0, 2.0])  # 3 mm
    reference[1, 2], ours[1] = NAN, 500
    rows = landmark_rows(ours, reference, (2.0, 1.5), "lax_4c")
    assert [row["value"] for row in rows[:4]] == pytest.approx([3] * 4)


def test_other_points_are_numbered_and_have_no_long_axis() -> None:
    rows = landmark_rows(np.zeros((2, 2, 2)), np.ones((2, 2, 2)), (3.0, 4.0), "sax")
    assert [(row["of"], row["value"]) for row in rows] == [("point_1", 5), ("point_2", 5), ("mean", 5)]
