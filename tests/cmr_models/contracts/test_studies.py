"""How views, references and predictions are made: every array by its place, and what does not fit is refused."""

from typing import Any

import numpy as np
import pytest
import xarray as xr

from cmr_models.contracts import (
    FILES,
    PERFUSION_VIEWS,
    STUDY,
    VIEWS,
    ContractError,
    check_view,
    cine_study,
    cine_view,
    prediction,
    with_reference,
)
from cmr_models.contracts.files import contract_of
from cmr_models.contracts.tables import (
    ESTIMATE_COLUMNS,
    ESTIMATE_MORE,
    ESTIMATE_PUBLISHED,
    PEOPLE_FLOW,
    PREDICTION_TABLE,
)

SHAPE = (4, 3, 6, 5)  # frames, slices, rows, columns


def _view(**more: Any) -> xr.Dataset:
    given: dict[str, Any] = {
        "time_ms": [0, 17, 60, 130], "pixel_mm": (1.5, 1.25), "position_mm": [[0, 1, 2], [3, 4, 5], [6, 7, 8]],
        "row_dir": (1, 0, 0), "col_dir": [[0, 1, 0], [0, 0, 1], [0, -1, 0]], "slice_mm": 10, "thickness_mm": 8,
    }  # fmt: skip
    return cine_view(np.arange(360, dtype=np.uint16).reshape(SHAPE), **(given | more))


def test_every_array_of_a_view_lies_where_it_was_given() -> None:
    view = _view()
    assert view["intensity"].dims == ("frame", "slice", "row", "col")
    assert view["intensity"].values[3, 2, 5, 4] == 359
    assert view["time_ms"].values.tolist() == [0, 17, 60, 130]
    assert view["pixel_mm"].values.tolist() == [1.5, 1.25]
    assert view["position_mm"].values[1].tolist() == [3, 4, 5]
    assert view["row_dir"].values.tolist() == [[1, 0, 0]] * 3
    assert view["col_dir"].values.tolist() == [[0, 1, 0], [0, 0, 1], [0, -1, 0]]
    assert view["frame_valid"].values.all()
    assert view["frame_valid"].shape == (4, 3)
    for name in ("time_ms", "pixel_mm", "position_mm", "row_dir", "col_dir"):
        assert view[name].dtype == np.float64
        assert view[name].values.flags.c_contiguous
    assert (view.attrs["slice_mm"], view.attrs["thickness_mm"]) == (10.0, 8.0)
    assert all(type(view.attrs[name]) is float for name in ("slice_mm", "thickness_mm", "heart_rate_bpm"))
    assert np.isnan(view.attrs["heart_rate_bpm"])


def test_what_is_said_of_a_view_is_kept() -> None:
    valid = np.ones((4, 3), int)
    valid[2, 1] = 0
    view = _view(frame_valid=valid, heart_rate_bpm=61, flags=["slice_gap"], manufacturer="x")
    assert np.argwhere(~view["frame_valid"].values).tolist() == [[2, 1]]
    assert view["frame_valid"].dtype == bool
    assert view.attrs["heart_rate_bpm"] == 61.0
    assert (view.attrs["flags"], view.attrs["manufacturer"]) == (["slice_gap"], "x")


@pytest.mark.parametrize(
    "bad",
    [
        {"time_ms": [0, 1, 2]},
        {"position_mm": [[0, 0, 0]] * 2},
        {"row_dir": [[1, 0, 0]] * 2},
        {"frame_valid": np.ones((3, 4))},
    ],
)
def test_arrays_of_another_length_make_no_view(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  by numpy or xarray, in words of their own
        _view(**bad)


@pytest.mark.parametrize(
    "name", ["intensity", "frame_valid", "time_ms", "position_mm", "row_dir", "col_dir", "pixel_mm"]
)
def test_a_view_needs_every_array(name: str) -> None:
    has = ["col_dir", "frame_valid", "intensity", "pixel_mm", "position_mm", "row_dir", "time_ms"]
    has.remove(name)
    with pytest.raises(ContractError) as caught:
        check_view(_view().drop_vars(name))
    assert str(caught.value).startswith(f"a cine view needs {name} (")
    assert str(caught.value).endswith(f"; it has {has}")
    with pytest.raises(ContractError, match=f"{name} of a cine view must"):
        check_view(_view().assign({name: _view()[name].astype("float16")}))
    check_view(_view().assign(more=("frame", np.zeros(4))))


@pytest.mark.parametrize("name", ["slice_mm", "thickness_mm", "heart_rate_bpm"])
def test_a_view_says_its_distances_and_heart_rate(name: str) -> None:
    view = _view()
    del view.attrs[name]
    with pytest.raises(ContractError, match=rf"a cine view needs the attributes \['{name}'\]"):
        cine_study({"sax": view})


def test_views_are_named_as_they_may_be() -> None:
    assert PERFUSION_VIEWS == (
        "perfusion_rest",
        "perfusion_rest_pd",
        "perfusion_rest_aif",
        "perfusion_rest_aif_echo2",
        "perfusion_rest_aif_pd",
        "perfusion_stress",
        "perfusion_stress_pd",
        "perfusion_stress_aif",
        "perfusion_stress_aif_echo2",
        "perfusion_stress_aif_pd",
        "perfusion_unstated",
        "perfusion_unstated_pd",
        "perfusion_unstated_aif",
        "perfusion_unstated_aif_echo2",
        "perfusion_unstated_aif_pd",
    )
    study = cine_study({"sax": _view(), "perfusion_rest_aif": _view()}, key="k")
    assert (set(study.children), study.attrs) == ({"sax", "perfusion_rest_aif"}, {"key": "k"})
    with pytest.raises(ValueError, match=r"unknown views \['a', 'b'\]"):
        cine_study({"b": _view(), "sax": _view(), "a": _view()})


def test_a_frame_is_labelled_if_anything_was_drawn_in_it() -> None:
    labels = np.zeros(SHAPE, np.uint8)
    labels[1, 2, 5, 4], labels[3, 0, 0, 0] = 3, 10
    view = with_reference(_view(), labels=labels)
    assert view["labelled"].values.tolist() == [False, True, False, True]
    assert view["labels"].dims == ("frame", "slice", "row", "col")
    np.testing.assert_array_equal(view["labels"].values, labels)
    assert "landmark_px" not in view
    with pytest.raises(ValueError, match=r"labels of shape \(4, 3, 5, 6\) do not lie"):
        with_reference(_view(), labels=labels.transpose(0, 1, 3, 2))


@pytest.mark.parametrize("shape", [(3, 2, 2), (4, 2, 3), (4, 2), (4, 2, 2, 1)])
def test_landmarks_are_of_every_frame_and_two_numbers_each(shape: tuple[int, ...]) -> None:
    marks = np.arange(24.0).reshape(4, 3, 2)
    view = with_reference(_view(), landmark_px=marks)
    assert view["landmark_px"].dims == ("frame", "point", "axis")
    np.testing.assert_array_equal(view["landmark_px"].values, marks)
    assert "labels" not in view
    with pytest.raises(ValueError, match=r"are not \(4 frames, point, 2\)"):
        with_reference(_view(), landmark_px=np.zeros(shape))


def test_a_prediction_judged_everything_unless_it_says_otherwise() -> None:
    labels = {"sax": np.full(SHAPE, 3, np.int64), "lax_4c": np.zeros((2, 1, 6, 5), np.uint8)}
    judged = np.ones((4, 3), bool)
    judged[0, 1] = False
    tree = prediction(labels, {"sax": judged}, key="k")  # type: ignore[arg-type]
    assert tree["sax/label"].dtype == np.uint8
    assert (tree["sax/label"].values == 3).all()
    np.testing.assert_array_equal(tree["sax/judged"].values, judged)
    assert tree["lax_4c/judged"].values.tolist() == [[True], [True]]
    assert tree["sax/label"].dims == ("frame", "slice", "row", "col")
    assert tree.attrs == {"key": "k"}


# the rows of the contracts, spelt out: what was published under them must stay readable


def test_files_are_told_by_what_their_writer_signs() -> None:
    assert [spec.writer for spec in FILES] == [
        "converter_version",
        "segmenter_version",
        "predictor_version",
        "chain_version",
    ]
    for spec in FILES:
        assert contract_of({"key": "k", spec.writer: 1}) is spec
    assert contract_of({"key": "k"}) is None
    assert {spec.schema for spec in FILES} == {1}


def test_every_bound_of_an_array_is_as_it_was() -> None:
    bounds = {f"{row.name}": row.valid for spec in FILES for group in spec.groups for row in group.arrays if row.valid}
    assert bounds == {
        "row_dir": (-1.01, 1.01), "col_dir": (-1.01, 1.01), "pixel_mm": (0.0, 1000.0), "confidence": (0.0, 1.0),
        "probability": (0.0, 1.000001), "segment": (0, 16), "layer": (0, 2), "aif_mask": (0, 1),
        "slice_confidence": (0.0, 1.0), "predicted_dice": (0.0, 1.0), "slice_share": (0.0, 1.0),
        "answer_confidence": (0.0, 1.0),
    }  # fmt: skip
    codes = {row.name: set(row.codes) for spec in FILES for group in spec.groups for row in group.arrays if row.codes}
    assert codes == {
        "labels": set(range(11)), "label": {0, 1, 2, 3}, "status": {0, 1, 2, 3, 4, 5, 6, 7, 255},
        "slice_answer": {*range(12), 255},
    }  # fmt: skip
    (of_segmentation,) = (row for row in FILES[1].groups[0].arrays if row.name == "label")
    assert set(of_segmentation.codes or ()) == set(range(8))


def test_what_may_be_absent_is_as_it_was() -> None:
    def optional(rows: Any) -> set[str]:
        return {row.name for row in rows if not row.required}

    views, perfusion = STUDY.groups
    assert (views.names, perfusion.names) == (VIEWS, PERFUSION_VIEWS)
    assert optional(views.arrays) == {"labels", "labelled", "landmark_px"}
    assert optional(perfusion.arrays) == set()
    assert {row.name for row in views.attributes if row.required} == {"slice_mm", "thickness_mm", "heart_rate_bpm"}
    assert {row.name for row in perfusion.attributes if row.required} == {
        "slice_mm", "thickness_mm", "heart_rate_bpm", "state", "timed_by", "start_ms",
    }  # fmt: skip
    assert optional(STUDY.attributes) == {"height_cm", "weight_kg", "facts", "reference_faults"}
    _, segmentation, output, mbf = FILES[0], *FILES[1:]
    assert optional(row for group in segmentation.groups for row in group.arrays) == {
        "slice_confidence", "predicted_dice", "slice_answer", "slice_share", "answer_confidence",
    }  # fmt: skip
    assert optional(row for group in mbf.groups for row in group.arrays) == set()
    assert optional(row for group in output.groups for row in group.arrays) == {
        "landmark_px", "landmark_published_px", "confidence", "feature", "probability", "value",
    }  # fmt: skip
    assert optional(segmentation.attributes) == {
        "licences",
        "certainty",
        "valves",
        "slice_answers",
    }  # files of earlier versions lack it
    assert all(not optional(spec.attributes) for spec in FILES[2:])


def test_every_bound_of_a_table_is_as_it_was() -> None:
    infinite = float("inf")
    rows = (
        *ESTIMATE_COLUMNS,
        *ESTIMATE_PUBLISHED,
        *PEOPLE_FLOW.columns,
        *(c for more in ESTIMATE_MORE.values() for c in more),
    )
    assert {row.name: row.valid for row in rows if row.valid} == {
        "n": (0.0, infinite), "n_events": (0.0, infinite), "se": (0.0, infinite), "n_doubted": (0.0, infinite),
        "minus_log10_p": (-1e-9, infinite), "q": (0.0, 1.0), "years": (0.0, 200.0), "n_at_risk": (0.0, infinite),
        "equivalence_p": (0.0, 1.0), "rounded_to": (0.0, infinite),
    }  # fmt: skip
    assert not PEOPLE_FLOW.more
    assert PREDICTION_TABLE.more
    assert PREDICTION_TABLE.names == ("study", "participant", "visit", "status", "reason")
