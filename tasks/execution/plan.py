"""What is to be done: the difference between what the keys ask for and what the ledger holds."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from cmr_models.reasons import TRANSIENT
from tasks.execution.shards import Unit
from tasks.state.ledger import Entry, Outcome


def todo(units: Sequence[Unit], entries: Mapping[str, Entry]) -> list[Unit]:
    """Units whose ``key`` is not what was wanted last, or that failed for a passing reason."""
    return [unit for unit in units if not _is_done(unit, entries.get(unit["study"]))]


def passed_on(stage: str, upstream: Mapping[str, Entry], entries: Mapping[str, Entry]) -> list[Outcome]:
    """Outcomes at ``stage`` for studies that an earlier stage ended, where the ledger does not say so yet."""
    outcomes = [
        Outcome(study, stage, entry.status, "upstream", entry.reason, wanted=entry.wanted)
        for study, entry in upstream.items()
        if entry.status in ("absent", "quarantined")
    ]
    return news(outcomes, entries)


def news(outcomes: Iterable[Outcome], entries: Mapping[str, Entry]) -> list[Outcome]:
    """Outcomes that the ledger does not hold yet."""
    return [outcome for outcome in outcomes if not _is_recorded(outcome, entries.get(outcome.study))]


def gone(units: Sequence[Unit], entries: Mapping[str, Entry]) -> list[str]:
    """Studies in the ledger that nothing asks for any more."""
    wanted = {unit["study"] for unit in units}
    return [study for study in there(entries) if study not in wanted]


def there(entries: Mapping[str, Entry]) -> list[str]:
    """Studies in the ledger that have not left the cohort."""
    return [study for study, entry in entries.items() if entry.status != "retired"]


def check_removal(removed: Collection[str], known: Collection[str], *, allowed: float) -> None:
    """Stop where so much of the archive is missing that a mount is the likelier cause.

    One study alone may go from the smallest cohort, unless it is the last.

    Args:
        removed: studies without a source.
        known: studies of the cohort until now, the removed among them.
        allowed: the share of ``known`` that may go at once; 1 lets all go.

    Raises:
        RuntimeError: if more are gone.
    """
    if len(removed) <= allowed * len(known) or len(removed) == 1 < len(known):
        return
    raise RuntimeError(
        f"{len(removed)} of {len(known)} studies have no source any more, more than the share {allowed} that is"
        " allowed; is the archive mounted? If it is meant, raise convert.removed_max"
    )


def check_balance(stage: str, wanted: Collection[str], entries: Mapping[str, Entry]) -> None:
    """Every study that came in has ended somewhere.

    Raises:
        RuntimeError: if some study has no outcome at ``stage``.
    """
    missing = [study for study in wanted if study not in entries]
    if missing:
        raise RuntimeError(f"{stage}: {len(missing)} of {len(wanted)} studies have no outcome; run the stage again")


def _is_done(unit: Unit, entry: Entry | None) -> bool:
    return entry is not None and entry.wanted == unit["key"] and entry.reason not in TRANSIENT


def _is_recorded(outcome: Outcome, entry: Entry | None) -> bool:
    return entry is not None and (entry.status, entry.reason, entry.wanted) == (
        outcome.status,
        outcome.reason,
        outcome.wanted,
    )
