"""Which of a person's visits is the first: by date, age, number or the scanner's clock; never by spelling."""

from __future__ import annotations

import numpy as np
import pandas as pd

from cmr_models.analysis.biobank.placeholders import read_dates

VISIT_DATE = "visit_date"
"""Optional column of the participants: the day of the visit, as YYYY-MM-DD."""

_ORDER = ("day", "age", "number", "header_day", "setback", "moment")
_DAY = len("YYYYMMDD")
_NUMBER = r"\d{1,4}"  # longer ones are digests of studies, as conversion names visits that have no number


def first_visits(studies: pd.DataFrame, participants: pd.DataFrame, unmatched_max: float = 0.0) -> pd.DataFrame:
    """The first study of every person, in the order of participants.

    The rule, for people with several studies: the order is that of ``visit_date`` if every visit of the person has
    one; else that of ``age_years``; visits on one day or at one age are ordered by their numbers, else by when their
    images were acquired. Of several studies of one day, one that passed goes before one that is doubted, and this
    before one that was not measured, and one without a row of participants comes last: a scan may have been split, or
    done again because it had failed.

    Args:
        studies: one row a study: ``participant, visit`` as keys; perhaps ``measured`` and ``doubted``, and ``acquired``
            (``YYYYMMDDhhmmss``, or the day alone).
        participants: one row a participant and visit, with ``age_years`` and, perhaps, ``visit_date``.
        unmatched_max: the largest share of people of whom nothing tells which visit came first; they are left out. A
            single person may always be, but never everybody.

    Returns:
        One row a person, with boolean ``visits_contradict``: the numbers of the visits are in another order than the
        dates or ages; and ``same_day``: another study of the person is of the same day.

    Raises:
        ValueError: ``order_unknown``: of too many people nothing tells which visit came first.
    """
    repeated = studies.duplicated("participant", keep=False)
    single = studies[~repeated].assign(visits_contradict=False, same_day=False)
    if not repeated.any():
        return single.sort_values("participant")
    several = _with_times(studies[repeated], participants)
    several = several.sort_values(["participant", *_ORDER, "visit"])
    unordered = _unordered(several)
    _check_share(len(unordered), studies["participant"].nunique(), unmatched_max)
    several = several[~several["participant"].isin(unordered)]
    first = several.drop_duplicates("participant")
    lowest = several.groupby("participant")["number"].transform("min").loc[first.index]
    contradicted = first["number"].notna() & (first["number"] != lowest)
    of_the_day = several.groupby("participant")["the_day"].transform("first").eq(several["the_day"])
    n_of_the_day = of_the_day.groupby(several["participant"]).sum()
    same_day = first["participant"].map(n_of_the_day).gt(1)
    chosen = studies.loc[first.index].assign(visits_contradict=contradicted, same_day=same_day)
    return pd.concat([single, chosen]).sort_values("participant")


def _with_times(studies: pd.DataFrame, participants: pd.DataFrame) -> pd.DataFrame:
    """``studies`` with the columns of :data:`_ORDER`; a measure of time that a visit of the person lacks is NaN.

    ``the_day`` is that of the table, else that of the headers.
    """
    known = participants[["participant", "visit"]].assign(
        day=_days(participants), age=participants["age_years"].astype(float)
    )
    known = known.drop_duplicates(["participant", "visit"])
    own = studies[["participant", "visit"]].reset_index()
    timed = own.merge(known, on=["participant", "visit"], how="left", indicator="row").set_index("index")
    is_number = timed["visit"].str.fullmatch(_NUMBER)
    timed["number"] = pd.to_numeric(timed["visit"].where(is_number), errors="coerce").astype(float)
    told = studies["acquired"] if "acquired" in studies else pd.Series(None, index=studies.index, dtype=object)
    timed["header_day"] = pd.to_numeric(told.str[:_DAY], errors="coerce").astype(float)
    timed["moment"] = pd.to_numeric(told.where(told.str.len() > _DAY), errors="coerce").astype(float)
    for name in ("day", "age", "number", "header_day", "moment"):
        lacking = timed[name].isna().groupby(timed["participant"]).transform("any")
        timed[name] = timed[name].mask(lacking)
    timed["age"] = timed["age"].mask(timed["day"].notna())  # the day is the better clock
    timed["the_day"] = timed["day"].fillna(timed["header_day"])
    timed["setback"] = _setback(studies).mask(timed["row"] == "left_only", 3.0).where(timed["the_day"].notna())
    return timed


def _setback(studies: pd.DataFrame) -> pd.Series:
    """0 for a study that passed, 1 for one that is doubted, 2 for one that was not measured."""
    if "measured" not in studies:
        return pd.Series(0.0, index=studies.index)
    return studies["doubted"].astype(float).where(studies["measured"].astype(bool), 2.0)


def _days(participants: pd.DataFrame) -> pd.Series:
    if VISIT_DATE not in participants:
        return pd.Series(np.nan, index=participants.index)
    days = read_dates(participants[VISIT_DATE]).date
    return pd.Series(np.where(np.isnat(days), np.nan, days.astype(float)), index=participants.index)


def _unordered(ordered: pd.DataFrame) -> list[str]:
    """People whose first two visits nothing tells apart."""
    times = ordered[list(_ORDER)].fillna(-1.0)
    first = ~ordered["participant"].duplicated()
    second = first.shift(fill_value=False)
    alike = (times == times.shift()).all(axis=1) & second
    return ordered.loc[alike, "participant"].tolist()


def _check_share(n: int, n_people: int, unmatched_max: float) -> None:
    """Refuse if the order is unknown of everybody, or of more than one person and the share that may be."""
    if n and (n == n_people or n > max(1, unmatched_max * n_people)):
        raise ValueError(
            f"order_unknown: {n} people have several visits, and nothing tells which came first;"
            " give `age_years` of each of their visits in participants, or `visit_date` (YYYY-MM-DD), or number the"
            f" visits; `unmatched_max` (now {unmatched_max:g}) is the share of people who may be left out for it"
        )
