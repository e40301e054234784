"""The log for machines: a line an event, the same pseudonym for the same study, no identifier, sums by hand."""

import hashlib
import hmac
import json
import logging
import stat
from pathlib import Path

import pytest

from tasks.state.ledger import Outcome
from tasks.state.run_log import log_key, pseudonym, tell_studies
from tasks.state.runs import open_run
from tasks.state.store import Cohort

_SECONDS = (1.0, 2.0, 3.0, 10.0)


def _outcomes() -> list[Outcome]:
    made = [
        Outcome(f"100000{k}-2", "convert", "ok", seconds=s, peak_mb=100.0 + k, host="node", summary={"n_bytes": 10})
        for k, s in enumerate(_SECONDS)
    ]
    return [*made, Outcome("1000009-2", "segment", "quarantined", "image_flat", seconds=0.5, peak_mb=50.0)]


def test_every_study_has_a_line_and_the_summary_adds_them_up(tmp_path: Path) -> None:
    cohort = Cohort(tmp_path)
    with open_run(cohort, {}, "segment") as run:
        tell_studies(_outcomes())
        logging.getLogger("cmr_cohort").info("convert: %d studies to do", 4)
    lines = [json.loads(line) for line in (run.folder / "log.jsonl").read_text().splitlines()]
    assert [line["event"] for line in lines] == ["message", *["study"] * 5, "message"]
    assert lines[1] | {"time": "", "study": ""} == {
        "time": "", "level": "info", "event": "study", "study": "", "stage": "convert", "status": "ok", "reason": "",
        "seconds": 1.0, "n_bytes": 10, "peak_mb": 100.0, "host": "node",
    }  # fmt: skip
    assert lines[-1]["text"] == "convert: 4 studies to do"
    summary = json.loads((run.folder / "summary.json").read_text())
    assert (summary["command"], summary["ended"]) == ("segment", "done")
    assert summary["stages"]["convert"] == {
        "studies": 4, "ended": {"ok": 4}, "n_bytes": 40, "peak_mb": 103.0,
        "seconds": {"total": 16.0, "median": 2.5, "p95": 8.95, "max": 10.0},  # 3 + 0.85 * (10 - 3)
    }  # fmt: skip
    assert summary["stages"]["segment"]["ended"] == {"quarantined image_flat": 1}
    assert summary["processor_seconds"] > 0
    text = (run.folder / "log.txt").read_text()
    assert "convert: 4 studies to do" in text
    assert "study" not in text.replace("studies", "")


def test_no_identifier_is_in_the_logs_and_a_study_keeps_its_pseudonym(tmp_path: Path) -> None:
    cohort = Cohort(tmp_path)
    named: list[str] = []
    for _ in range(2):
        with open_run(cohort, {}) as run:
            tell_studies(_outcomes()[:1])
        content = (run.folder / "log.jsonl").read_text()
        assert "1000000" not in content
        named.append(json.loads(content.splitlines()[1])["study"])
        (run.folder / "log.jsonl").unlink()
    key = (cohort.runs / ".log_key").read_bytes()
    assert named == [hmac.new(key, b"1000000-2", hashlib.sha256).hexdigest()[:12]] * 2
    assert stat.S_IMODE((cohort.runs / ".log_key").stat().st_mode) == 0o600
    assert log_key(Cohort(tmp_path / "other")) != key
    assert pseudonym("1000000-2", key) == named[0] != pseudonym("1000000-3", key)


def test_a_run_that_stopped_says_so_in_its_summary(tmp_path: Path) -> None:
    with pytest.raises(KeyError), open_run(Cohort(tmp_path), {}, "derive") as run:
        raise KeyError("1000012-2")
    text = (run.folder / "summary.json").read_text()
    assert json.loads(text)["ended"] == "stopped by KeyError"
    assert "1000012" not in text + (run.folder / "log.jsonl").read_text()
