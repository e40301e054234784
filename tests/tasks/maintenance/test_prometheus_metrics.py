"""Metrics in the text format of Prometheus, read back by its own parser's rules."""

import re
import stat
from pathlib import Path

from tasks.maintenance.metrics import write_metrics
from tasks.state.ledger import Outcome, open_ledger
from tasks.state.store import Cohort

_SUMMARY = {
    "command": "run", "seconds": 12.5, "processor_seconds": 9.0, "peak_mb": 2.0, "finished_timestamp": 1_700_000_000.25,
    "stages": {
        "convert": {"studies": 2, "seconds": {"total": 3.5}, "n_bytes": 7, "peak_mb": 1.0},
        "derive": {"studies": 1, "seconds": {"total": 0.5}, "n_bytes": 0, "peak_mb": 3.0},
    },
}  # fmt: skip
_SAMPLE = re.compile(r'([a-z_]+)(?:\{((?:[a-z]+="(?:[^"\\]|\\.)*",?)*)\})? (\S+)')


def test_every_sample_is_of_one_declared_metric(tmp_path: Path) -> None:
    cohort = Cohort(tmp_path / "cohort")
    with open_ledger(cohort.ledger) as ledger:
        ledger.record([Outcome("1000012-2", "convert", "ok"), Outcome("1000020-2", "convert", "ok")])
        ledger.record([Outcome("1000012-2", "derive", "quarantined", 'odd "reason"\\')])
        write_metrics(tmp_path / "cohort.prom", cohort, ledger, _SUMMARY)
    text = (tmp_path / "cohort.prom").read_text()
    assert "1000012" not in text
    assert stat.S_IMODE((tmp_path / "cohort.prom").stat().st_mode) == 0o644
    declared = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(declared) == len(set(declared)) == text.count("# HELP")
    samples = [_SAMPLE.fullmatch(line) for line in text.splitlines() if not line.startswith("#")]
    found = {(m[1], m[2] or ""): float(m[3]) for m in samples if m}
    assert len(found) == len(samples)
    assert {name for name, _ in found} == set(declared)
    assert found["cmr_cohort_studies", 'stage="convert",status="ok",reason=""'] == 2
    assert found["cmr_cohort_studies", 'stage="derive",status="quarantined",reason="odd \\"reason\\"\\\\"'] == 1
    assert found["cmr_cohort_run_seconds", 'command="run"'] == 12.5
    assert found["cmr_cohort_run_peak_bytes", ""] == 2 * 2**20
    assert found["cmr_cohort_run_finished_timestamp_seconds", ""] == 1_700_000_000.25
    assert found["cmr_cohort_run_study_seconds", 'stage="convert"'] == 3.5
    assert found["cmr_cohort_run_published_bytes", 'stage="convert"'] == 7
