"""Whether an analysis counts anybody so few, or two tables so nearly the same people, that exact counts tell it.

Masked cells come back where tables are combined: everybody less those at risk are the prevalent cases, the people of
one phenotype less those of another the people who lack it. So the counts of a release are exact only if there is no
small cell in it, nor between two of its populations; otherwise all of them are rounded (:class:`.gate.GateRules`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from cmr_models.analysis.disclosure.coarsening import lie_close
from cmr_models.analysis.model_spec import AnalysisSpec
from cmr_models.analysis.people import OUTCOME_COLUMNS, analysis_outcome

Floats = npt.NDArray[np.float64]


def counts_of_few(
    people: pd.DataFrame, outcomes: pd.DataFrame, spec: AnalysisSpec, further: Sequence[Sequence[str]] = ()
) -> bool:
    """Whether a population of an analysis, or what two of them differ by, counts 1 to ``minimum_cell - 1`` in a group.

    Populations are: everybody, those measured, those with a phenotype, and of these, with all covariates or without
    regard to them (as in survival curves), those with an outcome, those at risk, and the cases and events among them.
    Those with one phenotype are compared with those with another, and those asked about one condition with those asked
    about another.

    Args:
        people: of :func:`cmr_models.analysis.people.analysis_people`.
        outcomes: the outcome table.
        spec: phenotypes, conditions, covariates and groups.
        further: other lists of columns in which the people of a table of the analysis are complete.
    """
    models = ("age_years", *spec.covariates, *spec.strata)
    complete = [people[list(names)].notna().all(axis=1).to_numpy(bool) for names in ((), models, *further)]
    groups = _membership(people, [f"group {name}" for name in spec.group_by])
    nobody = np.zeros((1, len(groups)))
    known = np.vstack([nobody, *_people_counts(people, groups, spec)])
    asked = np.vstack([known, *_asked_counts(people, outcomes, groups, spec)])
    return any(
        lie_close(column, spec.minimum_cell)
        for counts in (asked, *_outcome_counts(people, outcomes, groups, spec, complete))
        for column in np.vstack([known, counts]).T
    ) or any(
        ((counts > 0) & (counts < spec.minimum_cell)).any()
        for counts in _outcome_counts(people, outcomes, groups, spec, _differences(complete))
    )


def _differences(sets: Sequence[npt.NDArray[np.bool_]]) -> list[npt.NDArray[np.bool_]]:
    """People of one set who are not in another, where there are any: two tables tell their counts by subtraction."""
    return [one & ~other for one in sets for other in sets if (one & ~other).any()]


def _membership(people: pd.DataFrame, columns: Sequence[str]) -> Floats:
    """``(groups, people)``: 1 where a person belongs to a group; the first is everybody."""
    rows = [np.ones(len(people))]
    for name in columns:
        labels = people[name].to_numpy(object)
        rows += [(labels == label).astype(float) for label in sorted(set(labels), key=str)]
    return np.asarray(rows, np.float64)


def _people_counts(people: pd.DataFrame, groups: Floats, spec: AnalysisSpec) -> list[Floats]:
    """Rows of ``(populations, groups)``: everybody, the measured, the doubted, those with each phenotype."""
    measured, doubted = people["measured"].to_numpy(bool), people["doubted"].to_numpy(bool)
    has = people[list(spec.phenotypes)].notna().to_numpy(bool)
    sets = np.column_stack([np.ones(len(people), bool), measured, measured & ~doubted, has])
    return [sets.T.astype(float) @ groups.T]


def _asked_counts(people: pd.DataFrame, outcomes: pd.DataFrame, groups: Floats, spec: AnalysisSpec) -> Iterator[Floats]:
    """For each condition, ``(phenotypes, groups)``: those with the phenotype who were asked about it."""
    has = people[list(spec.phenotypes)].notna().to_numpy(float)
    place = people.assign(row=np.arange(len(people)))
    for condition in spec.conditions:
        asked = np.zeros(len(people), bool)
        asked[analysis_outcome(place, outcomes, condition)["row"].to_numpy(int)] = True
        yield (has * asked[:, None]).T @ groups.T


def _outcome_counts(
    people: pd.DataFrame,
    outcomes: pd.DataFrame,
    groups: Floats,
    spec: AnalysisSpec,
    complete: Sequence[npt.NDArray[np.bool_]],
) -> Iterator[Floats]:
    """For each condition and set of people, ``(populations, groups)``; with and without the event are counted apart."""
    has = people[list(spec.phenotypes)].notna().to_numpy(bool)
    place = people.assign(row=np.arange(len(people)))
    for condition in spec.conditions:
        table = analysis_outcome(place, outcomes, condition)[["row", *OUTCOME_COLUMNS]]
        own = np.full((len(people), len(OUTCOME_COLUMNS)), np.nan)
        own[table["row"].to_numpy(int)] = table[list(OUTCOME_COLUMNS)].to_numpy(float)
        ill, event, entry, _, follow_up = own.T
        at_risk = (ill == 0) & np.isfinite(entry) & (follow_up > 0)
        parts = (ill == 1, ill == 0, at_risk, at_risk & (event == 1), at_risk & (event == 0))
        for covered in complete:
            sets = [has & (covered & part)[:, None] for part in (np.isfinite(ill), *parts)]
            yield np.hstack(sets).T.astype(float) @ groups.T
