"""A first pass at rest and under stress, from DICOM to flow, segments and the page, through the command line."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
Command = Callable[..., "subprocess.Popen[str]"]


def _output(process: "subprocess.Popen[str]") -> str:
    output, _ = process.communicate(timeout=500)
    assert process.returncode == 0, output
    return output


def test_flow_under_stress_is_higher_and_the_narrow_artery_shows(perfused: Path) -> None:
    (row,) = pd.read_parquet(perfused / "cohort/tables/perfusion.parquet").to_dict("records")
    assert row["status"] == "ok", row
    assert 0.3 < row["mbf_rest_ml_min_g"] < 1.6
    assert row["mbf_stress_ml_min_g"] > 1.3 * row["mbf_rest_ml_min_g"]
    assert row["mbf_stress_lad_ml_min_g"] < 0.8 * row["mbf_stress_lcx_ml_min_g"]


def test_every_segment_has_a_row(perfused: Path) -> None:
    segments = pd.read_parquet(perfused / "cohort/tables/perfusion_segments.parquet")
    flow = segments[(segments["quantity"] == "mbf_ml_min_g") & (segments["layer"] == "all")]
    assert sorted(flow.loc[flow["state"] == "stress", "segment"]) == list(range(1, 17))


def test_the_page_of_the_study_shows_the_bulls_eyes(perfused: Path) -> None:
    (page,) = (perfused / "cohort/reports/studies").glob("1000017-*.html")
    text = page.read_text()
    assert "First-pass perfusion" in text
    assert "AHA segments" in text
    assert "data:image/png" in text or "<svg" in text


def test_run_again_there_is_nothing_to_do(perfused: Path, command: Command) -> None:
    assert "nothing to do" in _output(command("run", "--config", perfused / "cohort.toml"))


def test_a_cohort_without_perfusion_ends_absent(finished: Path) -> None:
    table = pd.read_parquet(finished / "cohort/tables/perfusion.parquet")
    assert set(zip(table["status"], table["reason"], strict=True)) <= {
        ("absent", "no_perfusion"),
        ("quarantined", "upstream"),
        ("quarantined", "zip_corrupt"),
    }
    assert (table["reason"] == "no_perfusion").any()
