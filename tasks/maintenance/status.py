"""What the ledger says in a few lines: counts by stage, status and reason."""

from __future__ import annotations

from collections.abc import Iterator

from cmr_models.reasons import TABLE
from tasks.stages import STAGES, stage_named
from tasks.state.ledger import Ledger


def overview(ledger: Ledger) -> Iterator[str]:
    """A line for every stage x status x reason, with the sentence of the reason."""
    counts = sorted(ledger.counts(), key=_order)
    width = max([len("segment "), *(len(stage) for stage, *_ in counts)]) + 2
    yield f"{'stage':<{width}}{'status':<13}{'studies':>8}  reason"
    for stage, status, reason, n in counts:
        sentence = f"{reason}: {TABLE[reason].sentence}" if reason in TABLE else reason
        yield f"{stage:<{width}}{status:<13}{n:>8}  {sentence}".rstrip()


def _order(count: tuple[str, str, str, int]) -> tuple[int, str, str, str]:
    stage, status, reason, _ = count
    known = stage_named(stage)
    return STAGES.index(known) if known else len(STAGES), stage, status, reason


def set_aside(ledger: Ledger) -> tuple[float, str]:
    """The largest share of quarantined studies at a stage, of those that are not retired, and that stage."""
    shares = [(0.0, "")]
    for stage in ledger.stages():
        statuses = [entry.status for entry in ledger.entries(stage).values() if entry.status != "retired"]
        shares.append((statuses.count("quarantined") / max(len(statuses), 1), stage))
    return max(shares, key=lambda found: found[0])
