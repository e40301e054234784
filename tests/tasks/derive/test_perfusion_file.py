"""The file and the outcome of one perfusion study, with measurements made by hand in place of the chain's."""

import json

import numpy as np
import pytest
import xarray as xr

from cmr_models.aha import Segments, statistics
from cmr_models.contracts import LABEL_NAMES
from cmr_models.perfusion.chain import Measured, _dataset
from cmr_models.perfusion.phenotypes import QUANTITIES
from cmr_models.perfusion.series import FirstPass
from cmr_models.reasons import StudyRejected
from tasks.convert.convert_stage import CONVERT
from tasks.derive import perfusion
from tasks.derive.perfusion import measure_study, perfusion_chunk, perfusion_series
from tasks.derive.perfusion_stage import PERFUSION, VERSION, plan_perfusion, planned_keys, recipe_of
from tasks.execution.stage import Planning
from tasks.state.ledger import Outcome, open_ledger
from tasks.state.store import Cohort, load_tree, publish
from tasks.state.zarr_encoding import encode_tree


def view(value):
    return xr.Dataset({"intensity": (("frame", "slice", "row", "col"), np.full((2, 1, 2, 3), value, np.uint16))})


def put(cohort, study, *names, key="s"):
    """A study whose views hold the number of their place in ``names``."""
    tree = xr.DataTree.from_dict({f"/{name}": view(k) for k, name in enumerate(names)})
    tree.attrs.update(key=key)
    publish(encode_tree(tree), cohort.study(study))


def measured(flow):
    """What the chain gives: one segment of four pixels with this flow."""
    segment = np.full((1, 2, 2), 4, np.uint8)
    rows = statistics(np.full((1, 2, 2), flow), Segments(segment, np.ones_like(segment), ("",)))
    grid = ("slice", "row", "col")
    status = xr.DataArray(np.zeros((1, 2, 2), np.uint8), dims=grid)
    maps = {name: xr.DataArray(np.full((1, 2, 2), flow, np.float32), dims=grid) for name in QUANTITIES}
    heart = FirstPass(np.zeros((1, 2, 2, 3), np.float32), np.arange(3) * 0.5)
    found = Segments(segment, np.ones_like(segment), ("",))
    curves = np.zeros((16, 3), np.float32)
    label = np.full((1, 2, 2), 2, np.uint8)
    dataset = _dataset({**maps, "status": status}, label, found, segment[0] > 0, heart, np.arange(3.0), curves)
    dataset.attrs = {
        "limitations": ["level_assumed"], "aif": {"peak_value": 4.0}, "slices_without_segments": [""], "grid_s": 0.5,
        "state": "told", "pixel_mm": [2.0, 2.0],
    }  # fmt: skip
    return Measured(dataset, dict.fromkeys(QUANTITIES, rows), {"peak_value": 4.0})


@pytest.fixture
def cohort(tmp_path, monkeypatch):
    """A study at rest and stress, whose stress series cannot be measured; the chain's place is taken."""
    cohort = Cohort(tmp_path)
    put(cohort, "a-2", "sax", "perfusion_rest", "perfusion_stress_aif", "perfusion_rest_pd", "perfusion_stress")
    seen = []

    def measure(roles):
        seen.append({role: int(one["intensity"].values.max()) for role, one in roles.items()})
        if "_aif" in roles:
            raise StudyRejected("perfusion_clipped", "20 pixels")
        return measured(1.25)

    monkeypatch.setattr(perfusion, "measure", measure)
    monkeypatch.setattr(perfusion, "models", lambda: {"aif_detect": "digest"})
    return cohort, seen


UNIT = {"study": "a-2", "key": "wanted", "study_key": "s"}


def test_series_are_read_by_state_and_role_and_views_of_other_kinds_are_not(cohort):
    place, _ = cohort
    found = perfusion_series(place.study("a-2"), "s")
    assert {state: list(roles) for state, roles in found.items()} == {"rest": ["", "_pd"], "stress": ["", "_aif"]}
    assert int(found["stress"]["_aif"]["intensity"].max()) == 2
    with pytest.raises(StudyRejected, match="has changed since planning") as caught:
        perfusion_series(place.study("a-2"), "another")
    assert caught.value.reason == "file_unreadable"


def test_a_state_that_cannot_be_measured_is_left_out_with_its_reason(cohort):
    place, seen = cohort
    (outcome,) = perfusion_chunk([UNIT], str(place.root), {})
    assert seen == [{"": 1, "_pd": 3}, {"": 4, "_aif": 2}]
    assert (outcome.study, outcome.stage, outcome.status, outcome.key) == ("a-2", "perfusion", "ok", "wanted")
    summary = outcome.summary
    assert summary["phenotypes"]["mbf_rest_ml_min_g"] == 1.25
    assert summary["missing"]["mbf_stress_ml_min_g"] == "perfusion_clipped"
    assert summary["limitations"] == {"rest": ["level_assumed"], "stress": ["perfusion_clipped"]}
    assert {row["state"] for row in summary["segments"]} == {"rest"}
    tree = load_tree(place.prediction("perfusion", "a-2"))
    assert list(tree.children) == ["perfusion_rest"]
    assert tree["perfusion_rest"]["mbf_ml_min_g"].values.max() == 1.25
    told = {name: tree.attrs[name] for name in ("key", "study_key", "model", "chain_version", "weights", "classes")}
    assert told == {
        "key": "wanted", "study_key": "s", "model": "perfusion", "chain_version": VERSION,
        "weights": {"aif_detect": "digest"}, "classes": {str(code): LABEL_NAMES[code] for code in range(4)},
    }  # fmt: skip
    kept = json.loads(tree.attrs["summary"])
    assert kept["phenotypes"] == summary["phenotypes"]
    assert tree.attrs["summary"] == json.dumps(kept, sort_keys=True)  # the same bytes every time


def test_what_was_done_with_the_same_key_is_not_done_again(cohort):
    place, seen = cohort
    first = measure_study(UNIT, str(place.root), {})
    again = measure_study(UNIT, str(place.root), {})
    assert len(seen) == 2
    assert again.summary["phenotypes"] == first.summary["phenotypes"]
    other = measure_study({**UNIT, "key": "newer"}, str(place.root), {})
    assert (len(seen), other.key) == (4, "newer")


def test_a_study_of_which_no_state_can_be_measured_has_the_first_reason(cohort):
    place, seen = cohort
    put(place, "b-2", "perfusion_unstated_aif", "perfusion_stress_aif", "sax")
    outcome = measure_study({"study": "b-2", "key": "k", "study_key": "s"}, str(place.root), {})
    assert (outcome.status, outcome.reason, outcome.detail) == ("quarantined", "perfusion_clipped", "20 pixels")
    assert [list(roles) for roles in seen] == [["_aif"], ["_aif"]]
    again = measure_study({"study": "b-2", "key": "k", "study_key": "s"}, str(place.root), {})
    assert (again.reason, len(seen)) == ("perfusion_clipped", 2)  # its receipt is kept


# planning


def test_studies_with_a_first_pass_are_planned_and_others_are_absent(tmp_path, monkeypatch):
    monkeypatch.setattr("cmr_models.perfusion.chain.models", lambda: {"aif_detect": "digest"})
    views = {"b-2": ["sax", "perfusion_rest"], "a-2": ["perfusion_stress_aif"], "c-2": ["sax", "rest_perfusion_"]}
    with open_ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.record([
            *(Outcome(study, CONVERT.name, "ok", key=f"k-{study}", summary={"views": {name: {} for name in names}})
              for study, names in views.items()),
            Outcome("d-2", CONVERT.name, "quarantined", "zip_corrupt", summary={"views": {"perfusion_rest": {}}}),
        ])  # fmt: skip
        planning = Planning(Cohort(tmp_path), ledger, None)
        planned = plan_perfusion(PERFUSION, planning)
    assert [(unit["study"], unit["study_key"]) for unit in planned.units] == [("a-2", "k-a-2"), ("b-2", "k-b-2")]
    first, second = planned.units
    assert planned_keys(recipe_of(PERFUSION, planning))(first) == (first["key"],) != (second["key"],)
    (absent,) = planned.settled
    assert (absent.study, absent.stage, absent.status, absent.reason, absent.wanted) == (
        "c-2", "perfusion", "absent", "no_perfusion", "k-c-2"
    )  # fmt: skip
    monkeypatch.setattr("cmr_models.perfusion.chain.models", lambda: {"aif_detect": "newer"})
    assert planned_keys(recipe_of(PERFUSION, planning))(first) != (first["key"],)


def test_the_stage_is_optional_and_follows_conversion(tmp_path):
    assert (PERFUSION.upstream, PERFUSION.optional, PERFUSION.version) == (CONVERT, True, VERSION)
    assert PERFUSION.folders(Cohort(tmp_path), "any") == {"perfusion": tmp_path / "predictions" / "perfusion"}
