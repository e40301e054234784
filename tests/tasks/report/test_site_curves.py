"""Curves of the studies that get a page."""

from pathlib import Path

import pandas as pd
import pytest

from tasks.derive.phenotype_tables import CURVES
from tasks.report.site import _read_curves
from tasks.state.parquet_tables import publish_table
from tasks.state.store import Cohort


def _cohort(folder: Path, rows: list[tuple[str, int, float]]) -> Cohort:
    cohort = Cohort(folder)
    columns = {name: [0.0] * len(rows) for name in CURVES.names}
    columns |= {"study": [row[0] for row in rows], "frame": [row[1] for row in rows], "lv_ml": [row[2] for row in rows]}
    publish_table(pd.DataFrame(columns).astype(CURVES.pandas_types), cohort.tables / "curves.parquet", "", CURVES)
    return cohort


def test_curves_come_by_study_in_the_order_of_frames(tmp_path: Path) -> None:
    cohort = _cohort(tmp_path, [("2-2", 1, 60.0), ("2-2", 0, 100.0), ("1-2", 0, 80.0), ("3-2", 0, 1.0)])
    found = _read_curves(cohort, ["1-2", "2-2"])
    assert {study: curves["lv_ml"] for study, curves in found.items()} == {"1-2": [80.0], "2-2": [100.0, 60.0]}


@pytest.mark.parametrize("rows", [[], [("3-2", 0, 1.0)]])
def test_studies_without_a_curve_have_none(tmp_path: Path, rows: list[tuple[str, int, float]]) -> None:
    """A first pass alone has a page and no volumes."""
    assert _read_curves(_cohort(tmp_path, rows), ["1-2"]) == {}
