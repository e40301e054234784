"""One study against its reference, with pixels that are not square and predictions that are not there."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from cmr_models.reasons import Missing
from tasks.evaluation import studies
from tasks.evaluation.studies import (
    PredictionMissing,
    _table_rows,
    derive_prediction,
    label_value,
    landmark_study_rows,
    repeat_values,
)
from tasks.state.store import Cohort

COHORT = Cohort(Path("nowhere"))
MARKS = np.array([[[10.0, 10], [10, 30], [50, 20]], [[np.nan] * 2] * 3, [[14.0, 10], [14, 30], [50, 20]]])


def _marked(px: np.ndarray) -> xr.Dataset:
    return xr.Dataset({"landmark_px": (("frame", "point", "axis"), px), "pixel_mm": ("axis", [1.5, 1.0])})


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the study and its prediction hold; a text in place of a prediction is why there is none."""
    held: dict[str, Any] = {"views": {}, "predicted": {}}

    def prediction(*_: object) -> dict[str, xr.Dataset]:
        if isinstance(held["predicted"], str):
            raise PredictionMissing(held["predicted"])
        return dict(held["predicted"])

    monkeypatch.setattr(studies, "read_views", lambda *_: held["views"])
    monkeypatch.setattr(studies, "read_prediction", prediction)
    return held


def _rows(marked: list[str]) -> dict[tuple[str, str, str], dict[str, Any]]:
    found = landmark_study_rows(COHORT, "net", "1-2", {"marked": {view: [0, 2] for view in marked}})
    return {(row["view"], row["measure"], row["of"]): row for row in found}


def test_landmarks_are_apart_by_the_spacing_of_rows_and_of_columns(given: dict[str, Any]) -> None:
    moved = MARKS + np.array([[2.0, 0], [0, 2], [4, 8]])  # 3 mm down, 2 mm along; 6 and 8 mm are 10
    given["views"], given["predicted"] = {"lax_4c": _marked(MARKS)}, {"lax_4c": _marked(moved)}
    rows = _rows(["lax_4c"])
    distance = {
        name: rows["lax_4c", "landmark_distance", name]["value"] for name in ("hinge_1", "hinge_2", "apex", "mean")
    }
    assert distance == {
        name: pytest.approx(mm) for name, mm in {"hinge_1": 3, "hinge_2": 2, "apex": 10, "mean": 5}.items()
    }
    # The hinges come down by four rows of 1.5 mm along an axis of columns 20: 6 mm.
    assert rows["lax_4c", "agreement", "mapse_mm"]["reference"] == pytest.approx(6)


def test_a_view_without_a_prediction_is_missing_and_says_why(given: dict[str, Any]) -> None:
    given["views"] = {"lax_4c": _marked(MARKS), "lax_2c": _marked(MARKS)}
    given["predicted"] = {"lax_2c": _marked(MARKS)}
    rows = _rows(["lax_4c", "lax_2c"])
    one = rows["lax_4c", "landmark_distance", "apex"]
    assert (math.isnan(one["value"]), one["reason"]) == (True, "view_missing")
    assert rows["lax_2c", "landmark_distance", "apex"]["value"] == 0
    given["predicted"] = "no_prediction"
    assert {row["reason"] for row in _rows(["lax_4c", "lax_2c"]).values()} == {"no_prediction"}


def test_the_table_is_asked_only_for_what_it_tells_and_labels_have_not_measured() -> None:
    asked = []

    def found() -> dict[str, Any]:
        asked.append(1)
        return {"lvef_pct": 60.0, "lvm_g": Missing("view_missing"), "rvef_pct": 50.0}

    reference = {"lvef_pct": "55", "lvm_g": 100, "rvef_pct": 51.0, "height_cm": 170, "lvsv_ml": "none", "own": 3}
    rows = _table_rows(reference, found, {"rvef_pct"})
    assert [(row["of"], row["reference"], row["reason"]) for row in rows] == [
        ("lvef_pct", 55, ""), ("lvm_g", 100, "view_missing")
    ]  # fmt: skip
    assert (rows[0]["predicted"], rows[0]["unit"]) == (60, "%")
    assert math.isnan(rows[1]["predicted"])
    assert asked == [1]
    assert _table_rows({"height_cm": 170, "ed_frame": 0}, found, set()) == []
    assert asked == [1]  # nothing is derived for nothing
    (row,) = _table_rows({"lvef_pct": 55}, lambda: "sax_missing", set())
    assert (row["reason"], math.isnan(row["predicted"])) == ("sax_missing", True)


def test_frames_that_were_not_judged_are_no_frames_of_the_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    class _Derived:
        status, phenotypes, reason = "ok", {"lvef_pct": 60.0}, ""

    def derive(labels: dict[str, np.ndarray], geometry: dict[str, xr.Dataset]) -> type[_Derived]:
        seen.update(labels=labels, geometry=geometry)
        return _Derived

    monkeypatch.setattr(studies, "derive", derive)
    grid = ("frame", "slice")
    valid, judged = (
        np.array([[True, True], [True, False], [True, True]]),
        np.array([[True] * 2, [True] * 2, [False, True]]),
    )
    view = xr.Dataset({"frame_valid": (grid, valid)})
    node = xr.Dataset({"label": (grid, np.ones((3, 2))), "judged": (grid, judged)})
    assert derive_prediction({"sax": node, "lax_2c": node, "lax_4c": node}, {"sax": view, "lax_2c": view}) == {
        "lvef_pct": 60.0
    }
    assert list(seen["labels"]) == ["sax"]
    assert seen["geometry"]["sax"]["frame_valid"].values.tolist() == [[True, True], [True, False], [False, True]]
    _Derived.status, _Derived.reason = "quarantined", "sax_missing"
    assert derive_prediction({"sax": node}, {"sax": view}) == "sax_missing"


def test_repeats_have_the_numbers_that_there_are_or_the_reason(
    given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = dict.fromkeys(studies.REPEATED, 1.0) | {"rvef_pct": Missing("few_frames"), "lvco_l_min": 5.0}
    monkeypatch.setattr(studies, "derive_prediction", lambda *_: numbers)
    found = repeat_values(COHORT, "net", "1-2")
    assert found == dict.fromkeys(name for name in studies.REPEATED if name != "rvef_pct") | {
        name: 1.0 for name in studies.REPEATED if name != "rvef_pct"
    }
    monkeypatch.setattr(studies, "derive_prediction", lambda *_: "sax_missing")
    assert repeat_values(COHORT, "net", "1-2") == "sax_missing"
    given["predicted"] = "file_unreadable"
    assert repeat_values(COHORT, "net", "1-2") == "file_unreadable"


def test_a_value_of_labels_needs_a_labelled_short_axis(given: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    given["views"] = {"sax": xr.Dataset()}
    told: list[Any] = []

    def quantities(_: object, frames: dict[str, int]) -> dict[str, Any]:
        told.append(frames)
        return {"lvef_pct": 61.0, "lvm_g": Missing("reference_missing")}

    monkeypatch.setattr(studies.cases, "label_quantities", quantities)
    reference = {"labelled": {"sax": [0]}, "ed_frame": "3", "es_frame": float("nan")}
    assert label_value(COHORT, "1-2", reference, "lvef_pct") == 61
    assert told == [{"ed_frame": 3}]
    for other in ("lvm_g", "age_years"):
        assert math.isnan(label_value(COHORT, "1-2", reference, other))
    assert math.isnan(label_value(COHORT, "1-2", {"labelled": {"lax_4c": [0]}}, "lvef_pct"))
