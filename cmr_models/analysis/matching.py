"""Who of a cohort meets a row of each table: counted, and an error where too many do not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from cmr_models.contracts.identifiers import identifier_keys, loose_keys, shape_of

LOSSES = (
    "without a row of participants",
    "order of visits unknown, left out",
    "later visit, left out",
    "doubted, left out",
    "not measured",
    "of no study",
    "without a covariate",
    "without features of the network",
    *(f"{what} of people who withdrew, left out" for what in ("studies", "rows of participants", "rows of outcomes")),
    "visits in another order than their numbers",
    "first of several studies of one day",
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
    met = set(studies.merge(participants[_KEYS], on=_KEYS)["participant"])
    check_share(studies, met, participants, unmatched_max, "participants")


def check_outcomes(
    people: pd.DataFrame, outcomes: pd.DataFrame, unmatched_max: float, conditions: Sequence[str] = ()
) -> None:
    """Refuse a table of outcomes in which too many people with a study and covariates have no row.

    Args:
        people: one row a person.
        outcomes: one row a participant, visit and condition.
        unmatched_max: share of people who may have no row.
        conditions: each must have a row of as many people, if the table knows it at all: a table that lists only those
            who fell ill has no healthy people to compare them with.

    Raises:
        ValueError: says how many, and of which condition.
    """
    own = pd.MultiIndex.from_frame(people[_KEYS])
    for condition in (None, *conditions):
        rows = outcomes if condition is None else outcomes[outcomes["condition"] == condition]
        if condition is not None and rows.empty:
            continue
        keys = _keys_of(rows)
        met = set(people.loc[own.isin(keys), "participant"])
        table = "outcomes" if condition is None else f"outcomes, {condition}"
        check_share(people, met, keys.to_frame(index=False), unmatched_max, table)


def check_share(studies: pd.DataFrame, met: set[str], rows: pd.DataFrame, unmatched_max: float, table: str) -> None:
    """Refuse if more than ``unmatched_max`` of the people with ``studies`` are not among those who ``met`` a row.

    A single person may always be missing, but never everybody.

    Args:
        studies: one row a study, ``participant`` and ``visit`` as keys.
        met: people who have a row.
        rows: of the table, ``participant`` and ``visit`` as keys.
        unmatched_max: share of people who may have none.
        table: its name.

    Raises:
        ValueError: says how many, how identifiers are written on both sides (in kind), and what may be the reason.
    """
    everybody = pd.Series(studies["participant"].unique())
    lost = everybody[~everybody.isin(met)]
    if everybody.empty or (len(lost) < len(everybody) and len(lost) <= max(1, unmatched_max * len(everybody))):
        return
    written = "; ".join(
        f"column {name} is written like {shape_of(rows[name])!r}, that of the studies like {shape_of(studies[name])!r}"
        for name in _KEYS
    )
    raise ValueError(
        f"{table}: {len(lost)} of {len(everybody)} people with a study have no row{_why(lost, rows['participant'])};"
        f" {written if len(rows) else 'the table has no rows'}; `unmatched_max` (now {unmatched_max:g}) is the share"
        " that may be missing"
    )


def _why(lost: pd.Series, listed: pd.Series) -> str:
    """What may be the reason that the people ``lost`` have no row."""
    n_listed = int(lost.isin(set(listed)).sum())
    n_alike = int((loose_keys(lost).isin(set(loose_keys(listed))) & ~lost.isin(set(listed))).sum())
    reasons = [
        f"; {n_listed} are listed under another visit" if n_listed else "",
        f"; {n_alike} would meet if case, leading zeros and punctuation were ignored" if n_alike else "",
    ]
    return "".join(reasons)


def people_flow(
    phenotypes: pd.DataFrame,
    participants: pd.DataFrame,
    outcomes: pd.DataFrame,
    people: pd.DataFrame,
    conditions: Sequence[str],
    *,
    include_doubted: bool,
    covariates: Sequence[str] = (),
) -> pd.DataFrame:
    """How many studies and people each join kept and left out.

    Args:
        phenotypes: one row a study.
        participants: one row a participant and visit.
        outcomes: the outcome table.
        people: of :func:`cmr_models.analysis.people.analysis_people`.
        conditions: whose rows are counted.
        include_doubted: whether doubted studies take part.
        covariates: columns of ``people`` that a model needs.

    Returns:
        ``outcome, group_by, group, step, n``, before the disclosure gate; steps of one ``outcome`` and ``group_by``
        other than ``overall`` add up.
    """
    studies, listed, told = (_keys_of(table) for table in (phenotypes, participants, outcomes))
    parts = {
        "overall": {
            "visits in another order than their numbers": int(people["visits_contradict"].sum()),
            "first of several studies of one day": int(people["same_day"].sum()),
        },
        "studies": _split(studies.isin(listed), "with a row of participants", "without a row of participants"),
        "visits": _visit_steps(studies, people),
        "rows of participants": _split(listed.isin(studies), "with a study", "without a study"),
        "rows of outcomes": _split(told.isin(studies), "of a study", "of no study"),
        "first visits": _first_visits(people, include_doubted=include_doubted),
        "first visits, covariates": _split(
            people[list(covariates)].notna().all(axis=1).to_numpy(bool), "with every covariate", "without a covariate"
        ),
    }
    rows = [flow_row("", group_by, step, n) for group_by, steps in parts.items() for step, n in steps.items()]
    for condition in conditions:
        parts = _outcome_steps(people, outcomes[outcomes["condition"] == condition])
        rows += [
            flow_row(condition, group_by, step, n) for group_by, steps in parts.items() for step, n in steps.items()
        ]
    return pd.DataFrame(rows)


def _visit_steps(studies: pd.MultiIndex, people: pd.DataFrame) -> dict[str, int]:
    """How many studies are first visits, later ones, or of people of whom nothing tells which was the first."""
    n_unordered = int((~studies.get_level_values("participant").isin(people["participant"])).sum())
    return {
        "first visit": len(people),
        "order of visits unknown, left out": n_unordered,
        "later visit, left out": len(studies) - len(people) - n_unordered,
    }


def _outcome_steps(people: pd.DataFrame, rows: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Who of the people has a row of a condition, and who of these is at risk."""
    keys = pd.MultiIndex.from_frame(people[_KEYS])
    told = rows[_keys_of(rows).isin(keys)]
    ill, begin, end = (
        pd.to_numeric(told[name], errors="coerce") for name in ("prevalent", "entry_years", "exit_years")
    )
    followed = (end > begin) & ill.ne(1)
    return {
        "first visits": _split(
            keys.isin(_keys_of(rows)), "with a row of the condition", "without a row of the condition"
        ),
        "first visits, follow-up": {
            "at risk": int(followed.sum()),
            "with the condition at the visit": int(ill.eq(1).sum()),
            "not followed for any time": int((~followed & ill.ne(1)).sum()),
        },
    }


def flow_row(outcome: str, group_by: str, step: str, n: int) -> dict[str, object]:
    """A row of the flow."""
    return {"outcome": outcome, "group_by": group_by, "group": step, "step": step, "n": float(n)}


def _first_visits(people: pd.DataFrame, *, include_doubted: bool) -> dict[str, int]:
    """How the studies of the first visits ended."""
    doubted = people["doubted"]
    return {
        "measured": int((people["measured"] & ~doubted).sum()),
        f"doubted, {'taken in' if include_doubted else 'left out'}": int(doubted.sum()),
        "not measured": int((~people["measured"]).sum()),
    }


def _split(has: npt.NDArray[np.bool_], kept: str, lost: str) -> dict[str, int]:
    """How many were kept and how many lost."""
    return {kept: int(has.sum()), lost: int((~has).sum())}


def _keys_of(table: pd.DataFrame) -> pd.MultiIndex:
    return pd.MultiIndex.from_arrays([identifier_keys(table[name]) for name in _KEYS], names=_KEYS)
