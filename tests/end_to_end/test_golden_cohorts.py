"""Studies and phenotypes of a simulated cohort, of real scans and of a first pass are those that were reviewed.

Numbers of networks differ a little between processors; their tolerances are below what a reader would call a change.
"""

from pathlib import Path

import pandas as pd
import pytest
from golden_tables import check

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

_HEADERS = {"": 1e-6}
_MEASURED = {
    "": 0.02, "_ml": 1.0, "_g": 1.5, "_pct": 0.7, "_ml_m2": 0.6, "_g_m2": 0.8, "_g_ml": 0.02, "_l_min": 0.07,
    "_ml_s": 30.0, "_cm2": 0.4, "_cm2_m2": 0.2, "_mm": 0.8,
    "_bpm": 1e-6, "_cm": 1e-6, "_kg": 1e-6, "_m2": 1e-6, "_frame": 0.0,
}  # fmt: skip


def _check_tables(name: str, cohort: Path) -> None:
    studies = pd.read_parquet(cohort / "tables/studies.parquet").drop(columns="key")
    check(f"{name}_studies", studies, ["study", "view", "reason"], _HEADERS)
    phenotypes = pd.read_parquet(cohort / "tables/phenotypes.parquet").drop(columns="key")
    check(f"{name}_phenotypes", phenotypes, ["study"], _MEASURED)


def test_golden_simulated_cohort_is_as_reviewed(finished: Path) -> None:
    _check_tables("simulated", finished / "cohort")


@pytest.mark.data
def test_golden_real_scans_are_as_reviewed(real_cohort: Path) -> None:
    _check_tables("real", real_cohort)


def test_golden_first_pass_is_as_reviewed(perfused: Path) -> None:
    table = pd.read_parquet(perfused / "cohort/tables/perfusion.parquet").drop(columns="key")
    check("first_pass", table, ["study"], {"": 0.02})
    segments = pd.read_parquet(perfused / "cohort/tables/perfusion_segments.parquet")
    check(
        "first_pass_segments", segments, ["study", "state", "quantity", "segment", "layer"], {"": 0.03, "pixels": 2.0}
    )
