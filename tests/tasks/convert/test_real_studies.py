"""Real scans convert as their references say: views, spacing, frames."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from cmr_models.views import geometry
from tasks.convert.conversion import convert_study
from tasks.sources import inventory
from tasks.state.ledger import Outcome
from tasks.state.store import Cohort, load_tree

pytestmark = pytest.mark.data


def _converted(source: Path, cohort: Path) -> list[Outcome]:
    if not source.exists():
        pytest.skip(f"no {source.name} among the real scans")
    return [convert_study(unit, str(cohort), {}) for unit in inventory([source]).units]


@pytest.fixture(scope="module")
def study(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> xr.DataTree:
    cohort = tmp_path_factory.mktemp("cohort")
    (outcome,) = _converted(real_data / "dicom_study", cohort)
    return load_tree(Cohort(cohort).study(outcome.study))


@pytest.fixture(scope="module")
def guide_points(real_data: Path) -> dict[str, np.ndarray]:
    lines = (real_data / "dicom_study" / "guidepoints" / "GPFile_000.txt").read_text().splitlines()[1:]
    rows = [line.split() for line in lines]
    kinds = {row[3] for row in rows}
    return {kind: np.array([row[:3] for row in rows if row[3] == kind], float) for kind in kinds}


def _off_plane_mm(view: xr.Dataset, points: np.ndarray) -> np.ndarray:
    normal = geometry.normal(view["row_dir"].values[0], view["col_dir"].values[0])
    return np.abs((points - view["position_mm"].values[0]) @ normal)


def test_the_views_of_a_full_study_are_told_apart(study: xr.DataTree) -> None:
    shapes = {name: view["intensity"].shape[:2] for name, view in study.children.items()}
    assert shapes == {
        "sax": (25, 6),
        "lax_2c": (25, 1),
        "lax_3c": (25, 1),
        "lax_4c": (25, 1),
        "rvot": (25, 1),
    }
    assert study["sax"].attrs["slice_mm"] == pytest.approx(17.7, abs=0.05)
    assert [row["description"] for row in study.attrs["excluded"]] == ["cine trufi retro 2CH"]


@pytest.mark.parametrize(
    ("valve", "view"),
    [("AORTA_VALVE", "lax_3c"), ("TRICUSPID_VALVE", "lax_4c"), ("PULMONARY_VALVE", "rvot"), ("APEX_POINT", "lax_4c")],
)
def test_each_valve_lies_in_the_plane_of_its_view_alone(
    study: xr.DataTree, guide_points: dict[str, np.ndarray], valve: str, view: str
) -> None:
    distance = {
        name: _off_plane_mm(node.to_dataset(), guide_points[valve]).max()
        for name, node in study.children.items()
        if name != "sax"
    }
    assert distance[view] < 0.1
    assert min(mm for name, mm in distance.items() if name != view) > 1.0


def test_mitral_points_lie_in_the_three_chamber_planes(study: xr.DataTree, guide_points: dict[str, np.ndarray]) -> None:
    planes = [study[name].to_dataset() for name in ("lax_2c", "lax_3c", "lax_4c")]
    nearest = np.min([_off_plane_mm(plane, guide_points["MITRAL_VALVE"]) for plane in planes], axis=0)
    assert nearest.max() < 0.1


def test_the_stack_starts_at_the_base(study: xr.DataTree, guide_points: dict[str, np.ndarray]) -> None:
    first, last = study["sax"]["position_mm"].values[[0, -1]]
    axis = geometry.unit(last - first)
    apex, mitral = guide_points["APEX_POINT"].mean(axis=0), guide_points["MITRAL_VALVE"].mean(axis=0)
    assert float((apex - mitral) @ axis) > 80


def test_sunnybrook_stacks_have_their_true_spacing(real_data: Path, tmp_path: Path) -> None:
    outcomes = _converted(real_data / "sunnybrook_dicom", tmp_path)
    views = [outcome.summary["views"] for outcome in outcomes]
    assert [list(found) for found in views] == [["sax"], ["sax"]]
    assert [found["sax"]["slices"] for found in views] == [12, 13]
    assert [found["sax"]["slice_mm"] for found in views] == pytest.approx([10.0, 10.0], abs=1e-3)
    assert [found["sax"]["frames"] for found in views] == [20, 20]


def test_a_cine_that_a_workstation_resampled_is_read_where_there_is_no_other(real_data: Path, tmp_path: Path) -> None:
    (outcome,) = _converted(real_data / "rvsc_09", tmp_path)
    assert {name: (view["frames"], view["slices"]) for name, view in outcome.summary["views"].items()} == {
        "sax": (20, 1)
    }
    assert outcome.summary["views"]["sax"]["flags"] == ["cine_secondary", "slices_few"]
    assert [row["images"] for row in outcome.summary["excluded"]] == [4]


def test_a_first_pass_series_is_no_cine(real_data: Path, tmp_path: Path) -> None:
    (outcome,) = _converted(real_data / "perfusion" / "dicom", tmp_path)
    assert outcome.status == "ok"
    assert list(outcome.summary["views"]) == ["perfusion_unstated"]


def test_public_nifti_sets_convert(real_data: Path, tmp_path: Path) -> None:
    outcomes = _converted(real_data / "autofd_nifti", tmp_path) + _converted(real_data / "cinema_nifti", tmp_path)
    assert [outcome.study for outcome in outcomes] == ["A-1", "B-1", "C-1", "mnms2-1"]
    assert {outcome.status for outcome in outcomes} == {"ok"}
