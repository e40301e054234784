"""Metrics of a cohort as a text file that Prometheus' node exporter collects; it names no study.

Reference: Prometheus text exposition format 0.0.4, https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tasks.state.ledger import Ledger
from tasks.state.store import Cohort, publish_bytes

_HELP = {
    "studies": "Studies by stage, status and reason.",
    "run_seconds": "Wall time of the last run.",
    "run_processor_seconds": "Processor time of the last run's command.",
    "run_peak_bytes": "Peak memory of the last run's command.",
    "run_finished_timestamp_seconds": "When the last run ended.",
    "run_studies": "Studies that the last run brought through a stage.",
    "run_study_seconds": "Wall time of all studies of a stage in the last run.",
    "run_published_bytes": "Bytes that a stage published in the last run.",
    "run_study_peak_bytes": "Highest peak memory of a process at a stage in the last run.",
    "ledger_bytes": "Size of the ledger.",
}


def write_metrics(path: Path, cohort: Cohort, ledger: Ledger, summary: Mapping[str, Any]) -> None:
    """Write the metrics of a cohort and its last run, whole or not at all, for every user of the machine to read.

    Args:
        path: the file; the collector wants one that ends with ``.prom``.
        cohort: its folder.
        ledger: of the cohort.
        summary: of the run (``runs/<run>/summary.json``).
    """
    publish_bytes("".join(_text(_samples(cohort, ledger, summary))).encode(), path)
    path.chmod(0o644)


def _samples(cohort: Cohort, ledger: Ledger, summary: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, str], float]]:
    """(name, labels, value), those of one name together."""
    for stage, status, reason, n in ledger.counts():
        yield "studies", {"stage": stage, "status": status, "reason": reason}, n
    yield "run_seconds", {"command": summary["command"]}, summary["seconds"]
    yield "run_processor_seconds", {}, summary["processor_seconds"]
    yield "run_peak_bytes", {}, summary["peak_mb"] * 2**20
    yield "run_finished_timestamp_seconds", {}, summary["finished_timestamp"]
    stages: Mapping[str, Any] = summary["stages"]
    for stage, costs in stages.items():
        yield "run_studies", {"stage": stage}, costs["studies"]
    for stage, costs in stages.items():
        yield "run_study_seconds", {"stage": stage}, costs["seconds"]["total"]
    for stage, costs in stages.items():
        yield "run_published_bytes", {"stage": stage}, costs["n_bytes"]
    for stage, costs in stages.items():
        yield "run_study_peak_bytes", {"stage": stage}, costs["peak_mb"] * 2**20
    yield "ledger_bytes", {}, cohort.ledger.stat().st_size


def _text(samples: Iterable[tuple[str, dict[str, str], float]]) -> Iterator[str]:
    told = ""
    for name, labels, value in samples:
        if name != told:
            yield f"# HELP cmr_cohort_{name} {_HELP[name]}\n# TYPE cmr_cohort_{name} gauge\n"
            told = name
        listed = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
        yield f"cmr_cohort_{name}{{{listed}}} {value:.15g}\n" if listed else f"cmr_cohort_{name} {value:.15g}\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
