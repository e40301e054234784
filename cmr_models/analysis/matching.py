"""Who of a cohort meets a row of each table: counted, and an error where too many do not."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from cmr_models.contracts.identifiers import identifier_keys, loose_keys

LOSSES = (
    "without a row of participants",
    "later visit, left out",
    "doubted, left out",
    "not measured",
    "of no study",
    "visits in another order than their numbers",
)
"""Steps of :func:`people_flow` that a run names in its summary line."""

_KEYS = ["participant", "visit"]


def check_people(studies: pd.DataFrame, participants: pd.DataFrame, unmatched_max: float) -> None:
    """Refuse tables of which too many people do not meet.

    Args:
        studies: one row a study, with keys.
        participants: one row a participant and visit, with keys.
        unmatched_max: the largest share of people with a study of whom no study has a row of participants.

    Raises:
        ValueError: says how many, and how many would meet if case, leading zeros and punctuation were ignored.
    """
    if participants.empty or studies.empty:
        return
    met = set(studies.merge(participants[_KEYS], on=_KEYS)["participant"])
    check_share(studies["participant"], met, participants["participant"], unmatched_max, "participants")


def check_outcomes(people: pd.DataFrame, outcomes: pd.DataFrame, unmatched_max: float) -> None:
    """Refuse a table of outcomes in which too many people with a study and covariates have no row.

    Raises:
        ValueError: says how many.
    """
    if people.empty or outcomes.empty:
        return
    keys = _keys_of(outcomes)
    met = set(people.loc[pd.MultiIndex.from_frame(people[_KEYS]).isin(keys), "participant"])
    check_share(people["participant"], met, pd.Series(keys.get_level_values(0)), unmatched_max, "outcomes")


def check_share(people: pd.Series, met: set[str], listed: pd.Series, unmatched_max: float, table: str) -> None:
    """Refuse if more than ``unmatched_max`` of ``people`` are not among those who ``met`` a row of ``table``.

    A single person may always be missing, unless nobody else is there.

    Raises:
        ValueError: says how many, and what may be the reason.
    """
    everybody = pd.Series(people.unique())
    lost = everybody[~everybody.isin(met)]
    if len(lost) <= unmatched_max * len(everybody) or len(lost) == 1 < len(everybody):
        return
    n_listed = int(lost.isin(set(listed)).sum())
    n_alike = int((loose_keys(lost).isin(set(loose_keys(listed))) & ~lost.isin(set(listed))).sum())
    reasons = [
        f"{n_listed} are listed under another visit" if n_listed else "",
        f"{n_alike} would meet if case, leading zeros and punctuation were ignored" if n_alike else "",
    ]
    why = "".join(f"; {reason}" for reason in reasons if reason)
    raise ValueError(
        f"{table}: {len(lost)} of {len(everybody)} people with a study have no row{why};"
        f" tables/studies.parquet shows how participants and visits are written, and `unmatched_max` (now"
        f" {unmatched_max:g}) is the share that may be missing"
    )


def people_flow(
    phenotypes: pd.DataFrame,
    participants: pd.DataFrame,
    outcomes: pd.DataFrame,
    people: pd.DataFrame,
    conditions: Sequence[str],
    *,
    include_doubted: bool,
) -> pd.DataFrame:
    """How many studies and people each join kept and left out.

    Args:
        phenotypes: one row a study.
        participants: one row a participant and visit.
        outcomes: the outcome table.
        people: of :func:`cmr_models.analysis.people.analysis_people`.
        conditions: whose rows are counted.
        include_doubted: whether doubted studies take part.

    Returns:
        ``outcome, group_by, group, step, n``, before the disclosure gate; steps of one ``outcome`` and ``group_by``
        other than ``overall`` add up.
    """
    studies, listed, told = (_keys_of(table) for table in (phenotypes, participants, outcomes))
    chosen = pd.MultiIndex.from_frame(people[_KEYS])
    doubted = people["doubted"]
    parts = {
        "overall": {"visits in another order than their numbers": int(people["visits_contradict"].sum())},
        "studies": {
            "with a row of participants": int(studies.isin(listed).sum()),
            "without a row of participants": int((~studies.isin(listed)).sum()),
        },
        "visits": {"first visit": len(people), "later visit, left out": len(studies) - len(people)},
        "rows of participants": {
            "with a study": int(listed.isin(studies).sum()),
            "without a study": int((~listed.isin(studies)).sum()),
        },
        "rows of outcomes": {
            "of a study": int(told.isin(studies).sum()),
            "of no study": int((~told.isin(studies)).sum()),
        },
        "first visits": {
            "measured": int((people["measured"] & ~doubted).sum()),
            f"doubted, {'taken in' if include_doubted else 'left out'}": int(doubted.sum()),
            "not measured": int((~people["measured"]).sum()),
        },
    }
    rows = [_row("", group_by, step, n) for group_by, steps in parts.items() for step, n in steps.items()]
    for condition in conditions:
        has_row = chosen.isin(_keys_of(outcomes[outcomes["condition"] == condition]))
        rows.append(_row(condition, "first visits", "with a row of the condition", int(has_row.sum())))
        rows.append(_row(condition, "first visits", "without a row of the condition", int((~has_row).sum())))
    return pd.DataFrame(rows)


def _row(outcome: str, group_by: str, step: str, n: int) -> dict[str, object]:
    return {"outcome": outcome, "group_by": group_by, "group": step, "step": step, "n": float(n)}


def _keys_of(table: pd.DataFrame) -> pd.MultiIndex:
    return pd.MultiIndex.from_arrays([identifier_keys(table[name]) for name in _KEYS], names=_KEYS)
