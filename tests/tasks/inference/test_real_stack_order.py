"""Base and apex of real stacks: in dilated hearts, in another scanner's, in a file with the directions of DICOM."""

from pathlib import Path

import pytest

from cmr_models.segmentation.segmenter import segment_sax
from cmr_models.views.base_apex import judge_stack_order
from tasks.convert.conversion import convert_study
from tasks.sources import inventory
from tasks.state.store import Cohort, load_tree

pytestmark = pytest.mark.data

_EVERY = 5  # frames; order does not need all


def _orders(source: Path, cohort: Path) -> dict[str, bool]:
    """By study: whether the first slice is the base."""
    if not source.exists():
        pytest.skip(f"no {source.name} among the real scans")
    found = {}
    for unit in inventory([source]).units:
        outcome = convert_study(unit, str(cohort), {})
        view = load_tree(Cohort(cohort).study(outcome.study))["sax"].to_dataset().isel(frame=slice(None, None, _EVERY))
        row_mm, col_mm = (float(mm) for mm in view["pixel_mm"].values)
        labels = segment_sax(view["intensity"].values, (row_mm, col_mm), view.attrs["slice_mm"])
        order = judge_stack_order(labels)
        assert order.is_doubtful is not order.base_first
        found[outcome.study.split("-")[0]] = order.base_first
    return found


def test_the_base_comes_first_in_dilated_hearts(real_data: Path, tmp_path: Path) -> None:
    assert _orders(real_data / "sunnybrook_dicom", tmp_path) == {"SCD0000101": True, "SCD0000201": True}


def test_the_base_comes_first_in_a_full_study(real_data: Path, tmp_path: Path) -> None:
    assert _orders(real_data / "dicom_study", tmp_path) == {"patient1": True}


def test_the_base_comes_first_where_nifti_states_the_directions_of_dicom(real_data: Path, tmp_path: Path) -> None:
    assert _orders(real_data / "cinema_nifti", tmp_path) == {"mnms2": True}
