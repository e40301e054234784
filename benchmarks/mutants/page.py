"""The page ``docs/tests.md``: how the tests are run, and which small faults they did not notice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from benchmarks.mutants.faults import Fault
from benchmarks.mutants.modules import ROOT, modules
from benchmarks.mutants.results import Results

PAGE = ROOT / "docs" / "tests.md"
_TEMPLATE = """# Tests

| Command | What it runs |
| --- | --- |
| `make test` | the everyday suite |
| `make test-all` | also what takes minutes, or needs SLURM, the real scans, a browser: each is skipped, with its reason, where that is absent |
| `make coverage` | the everyday suite, with the branches that it takes and the tests that run each line |
| `make mutants` | small faults in the code, one at a time: which ones no test notices; needs what `make coverage` leaves |

Tests lie beside their code: `tests/` mirrors `cmr_models`, `tasks` and `flows`. `tests/laws` holds on random data, `tests/oracles` what other software gave,
`tests/contracts` what must not drift, `tests/end_to_end` the command as a user types it. **Golden tables** (`tests/golden`) are tables of a simulated cohort and of real
scans that were reviewed. A change shows each cell, old and new, and is taken over by `GOLDEN=write`, with a line under *Numbers change*.

## Coverage

{coverage}

## Faults that tests should notice

`make mutants` takes a random place in the modules in which a wrong number would be published or data lost, and changes it: a comparison, a sign, a constant, an
axis, a function for its sibling, an argument, a filter, a statement. It then runs the tests that run that line, the quickest first, until one fails. `FAULTS` is how
many, `SEED` which. Faults that no input can tell from the original are in `benchmarks/mutants/equivalent.jsonl`, with the reason, and do not count.

Seed {seed}, {n} faults, {equivalent} of them equivalent:

{table}

Not noticed:

{survivors}
"""


def write_page(results: Results, faults: Sequence[Fault], seed: int, coverage: str, path: Path = PAGE) -> None:
    """The page of one run."""
    lines = [f"- `{fault.name.replace('`', '')}`" for fault in results.survivors(faults)]
    text = _TEMPLATE.format(
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
