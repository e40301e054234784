"""The statistics by an analysis spec, as flows."""

from __future__ import annotations

from pathlib import Path

from prefect import flow

from flows.progress import say
from flows.stages import run_table
from flows.withheld import text_withheld
from tasks.analysis.by_spec import Part, run_spec


@flow(name="analysis", validate_parameters=False)
@text_withheld
def analysis(part: Part, spec: Path, cohort_dir: Path, withdrawn: Path | None = None) -> Path:
    """One part of the spec, without people on the list ``withdrawn``; returns the folder of its results."""
    found: list[Path] = []

    def make() -> str:
        result = run_spec(part, spec, cohort_dir, withdrawn)
        found.append(result["folder"])
        tables = "; ".join(f"{name}: {sum(rows.values())} rows" for name, rows in result["counts"].items())
        departed = f"; {result['departures']} departures from the registered spec" if result["departures"] else ""
        return f"{result['status']} {tables}{departed}"

    say(f"{part}: {run_table(part, make)}")
    return found[0]
