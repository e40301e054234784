"""Real scans, unchanged, through the command: a Siemens study of many series, and a short-axis study of Sunnybrook."""

import json
from pathlib import Path

import pandas as pd
import pytest

pytestmark = [pytest.mark.data, pytest.mark.slow, pytest.mark.timeout(900)]
PATIENT, SUNNYBROOK = "patient1", "SCD0000101"
VIEWS = {PATIENT: {"sax": 6, "lax_2c": 1, "lax_3c": 1, "lax_4c": 1, "rvot": 1}, SUNNYBROOK: {"sax": 12}}
EF_PCT = {PATIENT: 68, SUNNYBROOK: 26}
"""Ejection fraction by guide points of all frames (patient1) and by expert contours (Sunnybrook)."""


def test_the_views_of_real_scans_are_told_apart(real_cohort: Path) -> None:
    table = pd.read_parquet(real_cohort / "tables/studies.parquet")
    for participant, views in VIEWS.items():
        rows = table[table["participant"] == participant]
        assert dict(zip(rows["view"], rows["slices"], strict=True)) == views


def test_real_hearts_are_measured_sensibly(real_cohort: Path) -> None:
    table = pd.read_parquet(real_cohort / "tables/phenotypes.parquet").set_index("participant")
    assert (table["status"] == "ok").all()
    for participant, expected in EF_PCT.items():
        assert table.loc[participant, "lvef_pct"] == pytest.approx(expected, abs=10)
    assert abs(table.loc[PATIENT, "es_frame"] - 9) <= 2


def test_real_scans_have_pages_and_the_run_its_record(real_cohort: Path) -> None:
    pages = {path.stem.partition("-")[0] for path in (real_cohort / "reports/studies").glob("*-*.html")}
    assert pages == set(VIEWS)
    (run,) = (path for path in (real_cohort / "runs").iterdir() if not path.name.startswith("."))
    counts = json.loads((run / "counts.json").read_text())
    assert {"stage": "segment", "status": "ok", "reason": "", "studies": 2} in counts
    assert "of < 5 studies was read from the archive" in (run / "methods.txt").read_text()
    assert (run / "finished.json").exists()
