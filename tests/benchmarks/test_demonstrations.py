"""The demonstrations: their page tells what was measured, their measures are right, and they still run."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.demonstrations import cinema, cinema_page, page, risk_page
from benchmarks.demonstrations.hearts import Hearts

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("written", [cinema_page, risk_page], ids=lambda module: module.NAME)
def test_the_page_tells_what_was_measured(written) -> None:
    results = json.loads(page.results_file(ROOT, written.NAME).read_text())
    begin, end = page.marks(written.NAME)
    section = (ROOT / page.PAGE).read_text().split(begin)[1].split(end)[0]
    assert section.strip() == written.render_table(results).strip()
    assert (ROOT / "docs" / "images" / f"demonstration_{written.NAME}.png").stat().st_size > 10_000


def _hearts(n: int) -> Hearts:
    return Hearts(
        sax=np.zeros((n, 2, 8, 8, 2), np.float32), labels=np.zeros((n, 2, 8, 8, 2), np.uint8),
        lax_4c=np.zeros((n, 2, 8, 8), np.float32), points_px=np.zeros((n, 2, 3, 2), np.float32),
        ef_pct=np.arange(n, dtype=np.float32), disease=np.arange(n) % 3,
    )  # fmt: skip


def test_half_of_the_labels_are_half_of_the_hearts_with_both_their_frames() -> None:
    hearts = _hearts(10)
    dense, whole = cinema.TaskSamples(hearts, "segment_sax", 0.5), cinema.TaskSamples(hearts, "regression_ef", 0.5)
    assert (len(dense), len(whole)) == (10, 5)
    targets = [float(whole.sample(k, np.random.default_rng(0)).target) for k in range(5)]
    assert targets == [float(person) for person in dense.people]


def test_a_network_that_errs_less_is_better_by_the_difference() -> None:
    truth = np.arange(12.0)

    def outputs(error: float) -> cinema.Outputs:
        return cinema.Outputs(truth + error, truth, 1, 1.0)

    rows = cinema.compare_networks(
        "regression_ef", 1.0, {"a": outputs(1.0), "rival": outputs(3.0)}, np.random.default_rng(0)
    )
    assert [row["value"] for row in rows] == [1.0, 3.0]
    assert rows[0]["better_by"] == [2.0, 2.0, 2.0]
    assert rows[1]["better_by"] is None


def test_dice_is_the_mean_over_structures_and_both_frames_of_a_person() -> None:
    target = np.zeros((2, 4, 4, 1), np.int64)
    for code in (1, 2, 3):
        target[:, code] = code
    outputs = target.copy()
    outputs[1, 3] = 0  # at end-systole one of three structures is missed
    measure = cinema.person_measure("segment_sax", outputs, target)
    assert measure(np.array([0])) == pytest.approx(5 / 6)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cinema", "risk"])
def test_a_demonstration_still_runs(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.demonstration", name, "--quick", "--work", str(tmp_path / "work"),
               "--root", str(tmp_path)]  # fmt: skip
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True, timeout=600)
    assert json.loads(page.results_file(tmp_path, name).read_text())["extent"]
    assert page.marks(name)[0] in (tmp_path / page.PAGE).read_text()
    assert (tmp_path / "docs" / "images" / f"demonstration_{name}.png").exists()
