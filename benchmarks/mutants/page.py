"""The page ``docs/tests.md``: how the tests are run, and which small faults they did not notice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from benchmarks.mutants.faults import Fault
from benchmarks.mutants.modules import ROOT, modules
from benchmarks.mutants.results import Results

PAGE = ROOT / "docs" / "tests.md"
_TEMPLATE = Path(__file__).with_name("tests_page.md")


def write_page(results: Results, faults: Sequence[Fault], seed: int, coverage: str, path: Path = PAGE) -> None:
    """The page of one run."""
    lines = [f"- `{fault.name.replace('`', '')}`" for fault in results.survivors(faults)]
    text = _TEMPLATE.read_text(encoding="utf-8").format(
        coverage=coverage,
        seed=seed,
        n=len(faults),
        equivalent=sum(map(results.is_equivalent, faults)),
        table=table(results, faults),
        survivors="\n".join(lines) or "none",
    )
    path.write_text(text, encoding="utf-8")


def table(results: Results, faults: Sequence[Fault]) -> str:
    """Faults and those not noticed, by area, in Markdown."""
    areas = modules()
    every = Counter(areas[fault.module] for fault in faults if not results.is_equivalent(fault))
    left = Counter(areas[fault.module] for fault in results.survivors(faults))
    rows = [(area, every[area], left[area]) for area in sorted(every)]
    rows.append(("**all**", every.total(), left.total()))
    lines = [f"| {area} | {n} | {survived} | {survived / max(1, n):.0%} |" for area, n, survived in rows]
    return "\n".join(["| Area | Faults | Not noticed | Share |", "| --- | --- | --- | --- |", *lines])
