"""What a stage has to do: the difference between the keys that it should have made and those in the ledger."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from cmr_models.reasons import TRANSIENT
from tasks.execution.shards import Unit
from tasks.state.ledger import Entry, Outcome

ATTEMPTS = 3
"""So often a study is tried that crashes, hangs or meets an unforeseen error; then it is given up."""

GIVEN_UP = ("unexpected_error", "worker_lost")
"""The reasons of such studies."""


def units_to_do(
    units: Sequence[Unit], entries: Mapping[str, Entry], missing: Collection[str] = frozenset()
) -> list[Unit]:
    """Units whose ``key`` is not that of the last attempt, that failed for a transient reason, or are ``missing``."""
    return [unit for unit in units if unit["study"] in missing or not is_done(unit, entries.get(unit["study"]))]


def upstream_failures(stage: str, upstream: Mapping[str, Entry], entries: Mapping[str, Entry]) -> list[Outcome]:
    """Outcomes at ``stage`` for studies that the stage before could not bring through, if not yet in the ledger."""
    outcomes = [
        Outcome(study, stage, entry.status, "upstream", entry.reason, wanted=entry.wanted)
        for study, entry in upstream.items()
        if entry.status in ("absent", "quarantined")
    ]
    return unrecorded(outcomes, entries)


def unrecorded(outcomes: Iterable[Outcome], entries: Mapping[str, Entry]) -> list[Outcome]:
    """Outcomes that the ledger does not hold yet."""
    return [outcome for outcome in outcomes if not _is_recorded(outcome, entries.get(outcome.study))]


def removed_studies(units: Sequence[Unit], entries: Mapping[str, Entry]) -> list[str]:
    """Studies in the ledger for which there is no unit any more."""
    planned = {unit["study"] for unit in units}
    return [study for study in present_studies(entries) if study not in planned]


def present_studies(entries: Mapping[str, Entry]) -> dict[str, Entry]:
    """Studies in the ledger that have not left the cohort."""
    return {study: entry for study, entry in entries.items() if entry.status != "retired"}


def retired_upstream(upstream: Mapping[str, Entry], entries: Mapping[str, Entry]) -> dict[str, str]:
    """Study -> reason, of the studies that were retired at the stage before and not yet at this one."""
    return {
        study: upstream[study].reason
        for study in present_studies(entries)
        if study in upstream and upstream[study].status == "retired"
    }


def check_removal(removed: Collection[str], known: Collection[str], *, allowed: float) -> None:
    """Stop where so many studies have lost their source that the archive is probably not mounted.

    A single study may always go, unless it is the last one.

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
        f"{len(removed)} of {len(known)} studies have no source any more, more than the fraction {allowed} that may go"
        " at once; is the archive mounted? If this is intended, raise convert.removed_max"
    )


def check_balance(stage: str, studies: Collection[str], entries: Mapping[str, Entry]) -> None:
    """Every study that came in has ended somewhere.

    Raises:
        RuntimeError: if some study has no outcome at ``stage``.
    """
    missing = [study for study in studies if study not in entries]
    if missing:
        raise RuntimeError(f"{stage}: {len(missing)} of {len(studies)} studies have no outcome; run the stage again")


def summary(entries: Mapping[str, Entry]) -> str:
    """How many studies ended how, the most frequent first."""
    counts: dict[str, int] = {}
    for entry in entries.values():
        name = f"{entry.status} ({entry.reason})" if entry.reason else entry.status
        counts[name] = counts.get(name, 0) + 1
    most_first = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{n} {name}" for name, n in most_first) or "no study"


def is_done(unit: Unit, entry: Entry | None) -> bool:
    """Whether the ledger has what a unit asks for."""
    if entry is None or entry.wanted != unit["key"]:
        return False
    return entry.reason not in TRANSIENT or has_been_given_up(entry)


def suspects(entries: Mapping[str, Entry]) -> frozenset[str]:
    """Studies that have ended a process."""
    return frozenset(study for study, entry in entries.items() if entry.reason == "worker_lost")


def has_been_given_up(entry: Entry) -> bool:
    """Whether a study has failed so often by a fault of its own that only a request makes another attempt."""
    return entry.reason in GIVEN_UP and entry.attempts >= ATTEMPTS


def _is_recorded(outcome: Outcome, entry: Entry | None) -> bool:
    return entry is not None and (entry.status, entry.reason, entry.wanted) == (
        outcome.status,
        outcome.reason,
        outcome.wanted,
    )
