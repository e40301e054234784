"""From phenotypes, participants and outcomes to the rows that a model is fitted on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from cmr_models.analysis.matching import check_people
from cmr_models.analysis.model_spec import AnalysisSpec
from cmr_models.analysis.visits import VISIT_DATE, first_visits
from cmr_models.contracts.cells import check_covariates, check_groups
from cmr_models.contracts.identifiers import with_keys
from cmr_models.estimates.groups import INTERSECTION, intersection, with_groups
from cmr_models.phenotypes.states import states_of

OUTCOME_COLUMNS = ("prevalent", "event", "entry_years", "exit_years", "follow_up_years")
_YEARS = (0.0, 130.0)
_POSSIBLE = {
    "age_years": _YEARS,
    "entry_years": _YEARS,
    "exit_years": _YEARS,
    "height_cm": (30.0, 280.0),
    "weight_kg": (1.0, 700.0),
}
"""What a person can be; a number outside has another unit, or stands for a missing value."""
OUTCOME_KEYS = ("participant", "visit", "condition", "prevalent", "entry_years", "exit_years", "event", "cause")


def analysis_people(phenotypes: pd.DataFrame, participants: pd.DataFrame, spec: AnalysisSpec) -> pd.DataFrame:
    """One row a person: the first visit with a study, its phenotypes, covariates and groups.

    Args:
        phenotypes: one row a study; only rows with status ``ok`` have phenotypes, the others count as not measured.
        participants: one row a participant and visit.
        spec: which columns.

    Returns:
        ``participant, visit``, boolean ``measured``, ``doubted`` (a quality rule is broken, or nobody judged: without
        phenotypes unless the spec takes it in), ``visits_contradict`` and ``same_day`` (:func:`first_visits`),
        the phenotypes, covariates and groups of ``spec``.
        Studies whose participant is not listed are kept with missing covariates.

    Raises:
        ValueError: missing columns; text where numbers should be; two rows of participants for one visit; more people
            than the spec allows have a study and no row of participants, or visits of which nothing tells the first.
    """
    named = {part for name in spec.group_by for part in name.split(INTERSECTION)}
    needed = {"age_years", *spec.covariates, *spec.strata, *(named - {"age_band", "bmi_class"})}
    needed |= {"height_cm", "weight_kg"} if "bmi_class" in named else set()
    _require(phenotypes, ("participant", "visit", "status", *spec.phenotypes), "phenotypes")
    _require(participants, ("participant", "visit", *sorted(needed)), "participants")
    check_covariates(participants, (*spec.covariates, *spec.strata), spec.types, "participants")
    check_groups(participants, named - {"age_band", "bmi_class"}, spec.types, "participants")
    people = _participants(participants, sorted(needed))
    studies = _studies(phenotypes, spec)
    check_people(studies, people, spec.unmatched_max)
    # The first visit: people with two would count twice, and the second visit is conditional on survival.
    first = first_visits(studies, people, spec.unmatched_max).drop(columns="acquired", errors="ignore")
    people = people.drop(columns=VISIT_DATE, errors="ignore")
    table = first.merge(people, on=["participant", "visit"], how="left", validate="one_to_one")
    table = with_groups(table, spec.age_edges_years)
    for name in spec.group_by:
        table[f"group {name}"] = intersection(table, name.split(INTERSECTION))
    return table.reset_index(drop=True)


def is_doubted(phenotypes: pd.DataFrame) -> pd.Series:
    """Studies that are doubted: a quality rule is broken, or there is no verdict; see ``phenotypes.states``."""
    return states_of(phenotypes).eq("doubted")


def usable(phenotypes: pd.DataFrame, *, include_doubted: bool) -> pd.Series:
    """Studies whose numbers take part: measured, and not doubted unless those are taken in."""
    measured = phenotypes["status"].eq("ok")
    return measured if include_doubted else measured & ~is_doubted(phenotypes)


def analysis_outcome(people: pd.DataFrame, outcomes: pd.DataFrame, condition: str) -> pd.DataFrame:
    """``people`` with the outcome of one condition: ``prevalent, event, entry_years, exit_years, follow_up_years``.

    People without a row for the condition are left out.

    Raises:
        ValueError: missing columns, repeated rows, flags other than 0 and 1, ages that are not numbers.
    """
    _require(outcomes, OUTCOME_KEYS, "outcomes")
    rows = with_keys(outcomes[outcomes["condition"] == condition], "outcomes")
    if rows.duplicated(["participant", "visit"]).any():
        raise ValueError(f"outcomes: {condition} has more than one row for a participant and visit")
    for name in ("prevalent", "event"):
        rows[name] = numbers_in(rows, name, "outcomes")
        if not rows[name].isin((0, 1)).all():
            raise ValueError(f"outcomes: {name} of {condition} must be 0 or 1")
    for name in ("entry_years", "exit_years"):
        rows[name] = numbers_in(rows, name, "outcomes")
    rows["follow_up_years"] = rows["exit_years"] - rows["entry_years"]
    columns = ["participant", "visit", *OUTCOME_COLUMNS]
    return people.merge(rows[columns], on=["participant", "visit"], how="inner")


def complete_rows(table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Rows in which none of ``columns`` is missing."""
    return table.dropna(subset=list(columns))


def at_risk_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of people without the condition at entry who were followed for any time."""
    followed = np.isfinite(table["entry_years"]) & (table["exit_years"] > table["entry_years"])
    at_risk: pd.DataFrame = table.loc[(table["prevalent"] == 0) & followed]
    return at_risk


def _participants(participants: pd.DataFrame, needed: Sequence[str]) -> pd.DataFrame:
    """One row a person and visit: keys, and the columns that are needed, the measures as numbers."""
    optional = [VISIT_DATE] if VISIT_DATE in participants and VISIT_DATE not in needed else []
    people = with_keys(participants, "participants")[["participant", "visit", *needed, *optional]]
    repeated = int(people.duplicated(["participant", "visit"]).sum())
    if repeated:
        raise ValueError(f"participants: {repeated} rows repeat a participant and visit; keep one of each")
    for name in sorted({"age_years", "height_cm", "weight_kg"} & set(needed)):
        people[name] = numbers_in(people, name, "participants")
    return people


def _studies(phenotypes: pd.DataFrame, spec: AnalysisSpec) -> pd.DataFrame:
    """One row a study: keys, ``measured``, ``doubted``, and the phenotypes of those that take part."""
    named = with_keys(phenotypes, "phenotypes")
    keys = [name for name in ("participant", "visit", "acquired") if name in named]
    studies = named[keys].assign(measured=named["status"].eq("ok"), doubted=is_doubted(named))
    takes_part = usable(named, include_doubted=spec.include_doubted)
    values = {name: numbers_in(named, name, "phenotypes").where(takes_part) for name in spec.phenotypes}
    return studies.assign(**values).reset_index(drop=True)


def numbers_in(table: pd.DataFrame, name: str, what: str) -> pd.Series:
    """A column as numbers; empty cells are missing, any other text is an error."""
    numbers = pd.to_numeric(table[name], errors="coerce").astype(float)
    n_text = int((~np.isfinite(numbers) & table[name].notna()).sum())
    if n_text:
        unit = name.rpartition("_")[2]
        raise ValueError(
            f"{what}: {n_text} of {len(table)} values of {name} are not numbers ({unit});"
            " correct them or leave them empty"
        )
    low, high = _POSSIBLE.get(name, (-np.inf, np.inf))
    n_out = int(((numbers < low) | (numbers > high)).sum())
    if n_out:
        raise ValueError(f"{what}: {n_out} of {len(table)} values of {name} are not between {low:g} and {high:g}")
    return numbers


def _require(table: pd.DataFrame, columns: Sequence[str], what: str) -> None:
    missing = [name for name in columns if name not in table]
    if missing:
        raise ValueError(f"{what}: columns {missing} are missing; map them in the settings, it has {list(table)}")
