"""What the ledger says in a few lines: counts by stage, status and reason, and by the state of studies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from cmr_models.phenotypes.states import TITLES
from cmr_models.reasons import TABLE
from tasks.derive.derive_stage import DERIVE
from tasks.sources.listing import not_taken_line
from tasks.stages import STAGES, stage_named
from tasks.state.ledger import Ledger

_UPSTREAM = {
    "absent": "upstream: An earlier stage found that something was not acquired.",
    "quarantined": "upstream: An earlier stage quarantined the study.",
}


def overview(ledger: Ledger) -> Iterator[str]:
    """A line for every stage x status x reason, with its sentence; then the files left, and the states of studies."""
    counts = sorted(ledger.counts(), key=_order)
    width = max([len("segment "), *(len(stage) for stage, *_ in counts)]) + 2
    yield f"{'stage':<{width}}{'status':<13}{'studies':>8}  reason"
    for stage, status, reason, n in counts:
        yield f"{stage:<{width}}{status:<13}{n:>8}  {_sentence(status, reason)}".rstrip()
    if not_taken := ledger.not_taken():
        yield not_taken_line(not_taken)
    yield from _states(ledger, counts)


def _sentence(status: str, reason: str) -> str:
    if reason == "upstream":
        return _UPSTREAM.get(status, reason)
    return f"{reason}: {TABLE[reason].sentence}" if reason in TABLE else reason


def _states(ledger: Ledger, counts: list[tuple[str, str, str, int]]) -> Iterator[str]:
    """How many studies passed, are doubted, were set aside or are absent, in a line; none before any was measured."""
    ended = Counter[str]()
    for stage, status, _, n in counts:
        if stage == DERIVE.name and status != "retired":
            ended[status] += n
    if not ended:
        return
    passed = ledger.lengths(DERIVE.name, "quality_reasons").get(0, 0)
    numbers = {
        "passed": passed,
        "doubted": ended["ok"] - passed,
        "set_aside": ended["quarantined"],
        "absent": ended["absent"],
    }
    listed = ", ".join(f"{n:,} {TITLES[state]}" for state, n in numbers.items())
    yield f"{ended.total():,} studies: {listed}"


def _order(count: tuple[str, str, str, int]) -> tuple[int, str, str, str]:
    stage, status, reason, _ = count
    known = stage_named(stage)
    return STAGES.index(known) if known else len(STAGES), stage, status, reason


def set_aside(ledger: Ledger) -> tuple[float, str]:
    """The largest share of quarantined studies at a stage of a run, of those that are not retired, and that stage."""
    present, quarantined = Counter[str](), Counter[str]()
    for stage, status, _, n in ledger.counts():
        present[stage] += n * (status != "retired")
        quarantined[stage] += n * (status == "quarantined")
    names = [stage.name for stage in STAGES if not stage.on_demand]
    shares = [(0.0, ""), *((quarantined[name] / max(present[name], 1), name) for name in names)]
    return max(shares, key=lambda found: found[0])
