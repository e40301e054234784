"""Whether the present report was made from what there is now: a digest of all that it depends on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks.derive.perfusion_stage import PERFUSION
from tasks.report.pages import appearance_digest
from tasks.report.tables import ESTIMATES, MAIN_STAGES, ReportInputs, report_inputs
from tasks.sources.withdrawn import withdrawn_people
from tasks.state.ledger import open_ledger
from tasks.state.runs import versions
from tasks.state.store import Cohort, digest, file_digest

MANIFEST = "studies/manifest.json"
"""The key of the report and of every page; in the folder of the individual-level pages, because it names studies."""


def is_current(cohort_dir: Path, settings: Mapping[str, Any]) -> bool:
    """Whether the present site was made from exactly these inputs, settings and code."""
    cohort = Cohort(cohort_dir)
    return read_manifest(cohort).get("key") == report_key(cohort, report_inputs(settings))


def report_key(cohort: Cohort, settings: ReportInputs) -> str:
    """Digest of everything that the report depends on: ledger, estimates, participants, settings, code and versions."""
    state, not_taken = "", {}
    if cohort.ledger.exists():
        with open_ledger(cohort.ledger) as ledger:
            state, not_taken = ledger.state(*MAIN_STAGES, PERFUSION.name), ledger.not_taken()
    files = [cohort.estimates / f"{name}.parquet" for name in ESTIMATES]
    files += [cohort.tables / "phenotypes.parquet", cohort.tables / "phenotypes_dictionary.csv"]
    files += [cohort.tables / "people_flow.parquet"]
    files += [settings.participants] if settings.participants else []
    content = {
        "state": state,
        "withdrawn": sorted(withdrawn_people(cohort.root, settings.withdrawn)),
        "not_taken": not_taken,
        "files": {path.name: file_digest(path) for path in files if path.exists()},
        "settings": {name: settings.resolved.get(name) for name in ("convert", "segment", "analysis", "report")},
        "look": appearance_digest(),
        "versions": versions(),
    }
    return digest(content)


def read_manifest(cohort: Cohort) -> dict[str, Any]:
    """What the report was made from: ``key``, and ``pages``: study -> key of its page; empty without a report."""
    try:
        content: dict[str, Any] = json.loads((cohort.reports / MANIFEST).read_text())
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return {}
    return content
