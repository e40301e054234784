"""Real scans, unchanged, through the command: a Siemens study of many series, and a short-axis study of Sunnybrook."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

pytestmark = [pytest.mark.data, pytest.mark.slow, pytest.mark.timeout(900)]
SOURCES = ("dicom_study/patient1", "sunnybrook_dicom/SCD0000101")
PATIENT, SUNNYBROOK = "patient1", "SCD0000101"
VIEWS = {PATIENT: {"sax": 6, "lax_2c": 1, "lax_3c": 1, "lax_4c": 1, "rvot": 1}, SUNNYBROOK: {"sax": 12}}
EF_PCT = {PATIENT: 68, SUNNYBROOK: 26}
"""Ejection fraction by guide points of all frames (patient1) and by expert contours (Sunnybrook)."""


@pytest.fixture(scope="module")
def root(
    real_data: Path, command: Callable[..., "subprocess.Popen[str]"], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The cohort that `cmr-cohort run` made of the scans."""
    sources = [real_data / source for source in SOURCES]
    if missing := [source.name for source in sources if not source.is_dir()]:
        pytest.skip(f"no {' and '.join(missing)} among the real scans")
    folder = tmp_path_factory.mktemp("real")
    named = ", ".join(json.dumps(str(source)) for source in sources)
    (folder / "cohort.toml").write_text(f'directory = "cohort"\nsources = [{named}]\n')
    process = command("run", "--config", folder / "cohort.toml", "--profile", "in-process")
    output, _ = process.communicate(timeout=800)
    assert process.returncode == 0, output
    assert output.rstrip().endswith(f"report: {folder / 'cohort/reports/index.html'}")
    return folder / "cohort"


def test_the_views_of_real_scans_are_told_apart(root: Path) -> None:
    table = pd.read_parquet(root / "tables/studies.parquet")
    for participant, views in VIEWS.items():
        rows = table[table["participant"] == participant]
        assert dict(zip(rows["view"], rows["slices"], strict=True)) == views


def test_real_hearts_are_measured_sensibly(root: Path) -> None:
    table = pd.read_parquet(root / "tables/phenotypes.parquet").set_index("participant")
    assert (table["status"] == "ok").all()
    for participant, expected in EF_PCT.items():
        assert table.loc[participant, "lvef_pct"] == pytest.approx(expected, abs=10)
    assert abs(table.loc[PATIENT, "es_frame"] - 9) <= 2


def test_real_scans_have_pages_and_the_run_its_record(root: Path) -> None:
    pages = {path.stem.partition("-")[0] for path in (root / "reports/studies").glob("*-*.html")}
    assert pages == set(VIEWS)
    (run,) = (path for path in (root / "runs").iterdir() if not path.name.startswith("."))
    counts = json.loads((run / "counts.json").read_text())
    assert {"stage": "segment", "status": "ok", "reason": "", "studies": 2} in counts
    assert "2 studies was read from the archive" in (run / "methods.txt").read_text()
    assert (run / "finished.json").exists()
