"""Which of a person's visits is the first: by date, by age, or by the number that the user gave; never by spelling."""

from __future__ import annotations

import numpy as np
import pandas as pd

from cmr_models.analysis.biobank.placeholders import read_dates

VISIT_DATE = "visit_date"
"""Optional column of the participants: the day of the visit, as YYYY-MM-DD."""

_NUMBER = r"\d{1,4}"  # longer ones are digests of studies, as conversion names visits that have no number


def first_visits(studies: pd.DataFrame, participants: pd.DataFrame) -> pd.DataFrame:
    """The first study of every person, in the order of participants.

    The rule, for people with several studies: the order is that of ``visit_date`` if every visit of the person has
    one; else that of ``age_years``; visits on one day or at one age are ordered by their numbers. Where only numbers
    are known, they decide.

    Args:
        studies: one row a study: ``participant, visit`` as keys.
        participants: one row a participant and visit, with ``age_years`` and, perhaps, ``visit_date``.

    Returns:
        One row a person, with boolean ``visits_contradict``: the numbers of the visits are in another order than the
        dates or ages.

    Raises:
        ValueError: ``order_unknown``: nothing tells which visit of a person came first.
    """
    repeated = studies.duplicated("participant", keep=False)
    if not repeated.any():
        return studies.sort_values("participant").assign(visits_contradict=False)
    several = _with_times(studies[repeated], participants)
    several = several.sort_values(["participant", "day", "age", "number", "visit"])
    _check_order(several)
    first = several.drop_duplicates("participant")
    lowest = several.groupby("participant")["number"].transform("min").loc[first.index]
    contradicted = first["number"].notna() & (first["number"] != lowest)
    chosen = studies.loc[first.index].assign(visits_contradict=contradicted)
    single = studies[~repeated].assign(visits_contradict=False)
    return pd.concat([single, chosen]).sort_values("participant")


def _with_times(studies: pd.DataFrame, participants: pd.DataFrame) -> pd.DataFrame:
    """``studies`` with ``day``, ``age`` and ``number``; a measure of time that a visit of the person lacks is NaN."""
    known = participants[["participant", "visit"]].assign(
        day=_days(participants), age=participants["age_years"].astype(float)
    )
    known = known.drop_duplicates(["participant", "visit"])
    timed = studies[["participant", "visit"]].reset_index().merge(known, on=["participant", "visit"], how="left")
    timed = timed.set_index("index")
    is_number = timed["visit"].str.fullmatch(_NUMBER)
    timed["number"] = pd.to_numeric(timed["visit"].where(is_number), errors="coerce").astype(float)
    for name in ("day", "age", "number"):
        lacking = timed[name].isna().groupby(timed["participant"]).transform("any")
        timed[name] = timed[name].mask(lacking)
    timed["age"] = timed["age"].mask(timed["day"].notna())  # the day is the better clock
    return timed


def _days(participants: pd.DataFrame) -> pd.Series:
    if VISIT_DATE not in participants:
        return pd.Series(np.nan, index=participants.index)
    days = read_dates(participants[VISIT_DATE]).date
    return pd.Series(np.where(np.isnat(days), np.nan, days.astype(float)), index=participants.index)


def _check_order(ordered: pd.DataFrame) -> None:
    """Refuse people whose first two visits nothing tells apart."""
    times = ordered[["day", "age", "number"]].fillna(-1.0)
    first = ~ordered["participant"].duplicated()
    second = first.shift(fill_value=False)
    alike = (times == times.shift()).all(axis=1) & second
    if alike.any():
        raise ValueError(
            f"order_unknown: {int(alike.sum())} people have several visits, and nothing tells which came first;"
            " give `age_years` of each of their visits in participants, or `visit_date` (YYYY-MM-DD), or number the"
            " visits"
        )
