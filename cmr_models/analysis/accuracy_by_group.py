"""How well phenotypes discriminate disease, by group: area, sensitivity, calibration, pairs of groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from cmr_models.analysis.model_spec import AnalysisSpec
from cmr_models.analysis.people import analysis_outcome, at_risk_rows, complete_rows
from cmr_models.contracts import DEATH
from cmr_models.estimates import NotEstimableError, tidy, unit_of
from cmr_models.estimates.groups import INTERSECTION
from cmr_models.fairness import GAP_COLUMNS, MAX_GAP
from cmr_models.fairness.audit import audit
from cmr_models.fairness.group_concordance import group_concordance
from cmr_models.fairness.metrics import (
    Metric,
    area_under_curve,
    bias,
    events_over_expected,
    mean_of,
    sensitivity_above,
    threshold_at_specificity,
)
from cmr_models.fairness.standardisation import decompose_gap, standardisation_weights
from cmr_models.survival import CoxFit, baseline_hazard, fit_cox

_MEASURES = {
    "auc": "area_under_curve",
    "sensitivity": "proportion",
    "calibration": "observed_over_expected",
}
_AGE = "age_years"


def prediction_audit(
    people: pd.DataFrame, outcomes: pd.DataFrame, spec: AnalysisSpec, *, specificity: float = 0.9
) -> pd.DataFrame:
    """Each phenotype against each condition by group: models ``auc``, ``sensitivity`` and ``calibration``.

    ``auc`` and ``sensitivity`` are about prevalent disease, the phenotype turned so that it is over one half in
    everybody; the threshold of ``sensitivity`` has the stated specificity in everybody. ``calibration`` is incident
    events over those that one Cox model of everybody expects of a group. Each grouping ends in a row ``max_gap``.

    Returns:
        Estimates before the disclosure gate, with the columns :data:`GAP_COLUMNS`.
    """
    rng = np.random.default_rng([spec.seed, 1])
    tables = [
        _one_pair(people, outcomes, exposure, condition, spec, specificity, rng)
        for condition in spec.conditions
        for exposure in spec.phenotypes
    ]
    return tidy([row for rows in tables for row in rows], extra=GAP_COLUMNS)


def measurement_audit(
    people: pd.DataFrame,
    spec: AnalysisSpec,
    *,
    agreement: Sequence[tuple[str, str, float]] = (),
    quality: Sequence[str] = (),
    permutations: int = 199,
) -> pd.DataFrame:
    """Error of measurement by group, and phenotypes at a common age and sex, with permutation nulls.

    Args:
        people: of :func:`cmr_models.analysis.people.analysis_people`, with the columns named below.
        spec: groups, margins and phenotypes.
        agreement: measured column, its reference, margin of equivalence (NaN: none): model ``bias``.
        quality: columns of which the mean is audited, such as Dice: model ``mean_quality``.
        permutations: of the labels, for the null of each gap.
    """
    rng = np.random.default_rng([spec.seed, 2])
    by = [f"group {name}" for name in spec.group_by]
    rows: list[dict[str, Any]] = []
    for measured, reference, margin in agreement:
        data = complete_rows(people, (measured, reference))
        found = audit(
            {"bias": bias(measured, reference)}, data, by, rng, margins={"bias": margin}, permutations=permutations
        )
        rows += _tidy_rows(found, measured, "", {"bias": "bias"}, spec)
    for column in quality:
        data = complete_rows(people, (column,))
        found = audit({"mean_quality": mean_of(column)}, data, by, rng, permutations=permutations)
        rows += _tidy_rows(found, column, "", {"mean_quality": "mean"}, spec)
    for exposure in spec.phenotypes:
        rows += _standardise(complete_rows(people, (exposure,)), exposure, spec, rng)
    return tidy(rows, extra=(*GAP_COLUMNS, "loa_low", "loa_high", "loa_se", "mean_absolute_error"))


def pair_rows(people: pd.DataFrame, outcomes: pd.DataFrame, spec: AnalysisSpec) -> pd.DataFrame:
    """Concordance of each pair of groups, model ``group_pair``: group ``black > white`` has the events of the first."""
    rows: list[dict[str, Any]] = []
    for condition in spec.conditions:
        for exposure in spec.phenotypes:
            table = complete_rows(at_risk_rows(analysis_outcome(people, outcomes, condition)), (exposure,))
            for name in spec.group_by:
                if INTERSECTION not in name and len(table):
                    rows += _compare_pairs(table, exposure, condition, name, spec)
    return tidy(rows, extra=("n_pairs",))


def decomposition_rows(
    people: pd.DataFrame, spec: AnalysisSpec, blocks: Mapping[str, Sequence[str]], values: Sequence[str]
) -> pd.DataFrame:
    """The gap of each value between the largest group and every other, decomposed; model ``decomposition``."""
    rng = np.random.default_rng([spec.seed, 3])
    rows: list[dict[str, Any]] = []
    for value in values:
        for name in spec.group_by:
            used = {block: [c for c in columns if c not in (name, value)] for block, columns in blocks.items()}
            used = {block: columns for block, columns in used.items() if columns}
            data = complete_rows(people, (value, *(c for columns in used.values() for c in columns)))
            rows += _decompose(data, value, name, used, rng)
    return tidy(rows, extra=("component", "share"))


def expected_events(fit: CoxFit, table: pd.DataFrame, *, exit: str, entry: str, strata: Sequence[str]) -> np.ndarray:
    """``(n,)`` events that a fitted Cox model expects of each person over the time at risk; they sum to all events."""
    codes = table.groupby(list(strata), dropna=False, sort=True).ngroup() if strata else pd.Series(0, table.index)
    hazard = np.zeros(len(table))
    for code, curve in baseline_hazard(fit).groupby("stratum"):
        steps = np.concatenate([[0.0], curve["cumulative_hazard"]])
        at = [steps[np.searchsorted(curve["time"], table[name], "right")] for name in (exit, entry)]
        hazard = np.where(codes.to_numpy() == code, at[0] - at[1], hazard)
    return np.asarray(hazard * np.exp(fit.linear_predictor))


def _one_pair(
    people: pd.DataFrame,
    outcomes: pd.DataFrame,
    exposure: str,
    condition: str,
    spec: AnalysisSpec,
    specificity: float,
    rng: np.random.Generator,
) -> list[dict[str, Any]]:
    table = complete_rows(analysis_outcome(people, outcomes, condition), (exposure,))
    by = [f"group {name}" for name in spec.group_by]
    rows: list[dict[str, Any]] = []
    if condition != DEATH:
        data, metrics = _detection(table, exposure, specificity, spec)
        margins = {name: spec.margin_of(name, exposure) for name in metrics}
        found = audit(metrics, data, by, rng, events="prevalent", margins=margins)
        rows += _tidy_rows(found, exposure, condition, _MEASURES, spec)
    data, metrics = _calibration(table, exposure, spec)
    margins = {"calibration": spec.margin_of("calibration", exposure)}
    found = audit(metrics, data, by, rng, events="event", ratios=["calibration"], margins=margins)
    return rows + _tidy_rows(found, exposure, condition, _MEASURES, spec)


def _detection(
    table: pd.DataFrame, exposure: str, specificity: float, spec: AnalysisSpec
) -> tuple[pd.DataFrame, dict[str, Metric]]:
    minimum = spec.minimum_events
    plain = area_under_curve("prevalent", "score", minimum=minimum)
    data = table.assign(score=table[exposure])
    try:
        turned = plain(data)["estimate"] < 0.5
        data = data.assign(score=(-1 if turned else 1) * table[exposure])
        threshold = threshold_at_specificity(data["prevalent"], data["score"], specificity)
    except NotEstimableError as error:
        reason = error.reason
        return data, {"auc": plain, "sensitivity": lambda _: _refuse(reason)}
    return data, {"auc": plain, "sensitivity": sensitivity_above("prevalent", "score", threshold, minimum=minimum)}


def _refuse(reason: str) -> Mapping[str, Any]:
    raise NotEstimableError(reason, "in everybody")


def _calibration(table: pd.DataFrame, exposure: str, spec: AnalysisSpec) -> tuple[pd.DataFrame, dict[str, Metric]]:
    data = complete_rows(at_risk_rows(table), (*spec.strata, *spec.covariates))
    terms = (*spec.covariates, exposure)
    try:
        if int(data["event"].sum()) < spec.minimum_events:
            raise NotEstimableError("too_few_cases")
        fit = fit_cox(data, exit="exit_years", event="event", entry="entry_years", covariates=terms, strata=spec.strata)
    except NotEstimableError as error:
        reason = error.reason
        return data, {"calibration": lambda _: _refuse(reason)}
    expected = expected_events(fit, data, exit="exit_years", entry="entry_years", strata=spec.strata)
    return data.assign(expected=expected), {"calibration": events_over_expected("event", "expected")}


def _standardise(
    data: pd.DataFrame, exposure: str, spec: AnalysisSpec, rng: np.random.Generator
) -> list[dict[str, Any]]:
    """Means at the age and sex of everybody; where groups have no common cells, every group says so."""
    rows: list[dict[str, Any]] = []
    for name in spec.group_by:
        parts = name.split(INTERSECTION)
        cells = [cell for cell in ("age_band", "sex") if cell in data and cell not in parts]
        if not cells or data.empty:
            continue
        try:
            weight = standardisation_weights(data, f"group {name}", cells, minimum=spec.minimum_cell)[0]
        except NotEstimableError:
            weight = pd.Series(np.nan, index=data.index)
        margins = {"standardised_mean": spec.margin_of("standardised_mean", exposure)}
        metric = {"standardised_mean": mean_of(exposure, weight="weight")}
        found = audit(metric, data.assign(weight=weight), [f"group {name}"], rng, margins=margins)
        found = found[found["group_by"] != "overall"]
        rows += _tidy_rows(found, exposure, "", {"standardised_mean": "mean"}, spec)
    return rows


def _compare_pairs(
    table: pd.DataFrame, exposure: str, condition: str, name: str, spec: AnalysisSpec
) -> list[dict[str, Any]]:
    group = table[f"group {name}"].to_numpy(object)
    events = pd.Series(table["event"].to_numpy(float)).groupby(group).sum()
    sizes = pd.Series(group).value_counts()
    found = group_concordance(table["exit_years"], table["event"], table[exposure], group, entry=table["entry_years"])
    about = {"exposure": exposure, "unit": unit_of(exposure), "scale": "absolute", "outcome": condition}
    rows = []
    for row in _records(found):
        first, second = row.pop("event_group"), row.pop("other_group")
        # The smaller group is the one to guard: their sum less the larger one would give it.
        n = float(min(sizes[first], sizes[second]))
        if events[first] < spec.minimum_events:
            row |= {"estimate": np.nan, "se": np.nan, "status": "failed", "reason": "too_few_cases"}
        counts = {"n": n, "n_events": float(events[first]), "group_by": name, "group": f"{first} > {second}"}
        rows.append({**about, **row, **counts, "model": "group_pair", "measure": "concordance"})
    return rows


def _decompose(
    data: pd.DataFrame, value: str, name: str, blocks: Mapping[str, Sequence[str]], rng: np.random.Generator
) -> list[dict[str, Any]]:
    column = f"group {name}"
    sizes = data[column].value_counts().sort_index()
    if len(sizes) < 2:
        return []
    largest = str(sizes.idxmax())
    rows: list[dict[str, Any]] = []
    for other in [str(label) for label in sizes.index if label != largest]:
        about: dict[str, Any] = {
            "exposure": value,
            "unit": unit_of(value),
            "scale": "absolute",
            "model": "decomposition",
            "measure": "gap",
            "group_by": name,
            "group": f"{other} - {largest}",
            "n": float(sizes[other]),
        }
        try:
            parts = decompose_gap(data, value, column, (other, largest), blocks, rng, n_bootstrap=200)
        except NotEstimableError as error:
            rows.append({**about, "component": "total", "status": "failed", "reason": error.reason})
            continue
        # n is that of the smaller side: its number is the one to guard.
        rows += [{**row, **about} for row in _records(parts)]
    return rows


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def _tidy_rows(
    found: pd.DataFrame, exposure: str, outcome: str, measures: Mapping[str, str], spec: AnalysisSpec
) -> list[dict[str, Any]]:
    about = {"exposure": exposure, "unit": unit_of(exposure), "scale": "absolute", "outcome": outcome}
    rows = []
    for row in _records(found):
        model = str(row.pop("metric"))
        gap = row["group"] == MAX_GAP
        row["group_by"] = str(row["group_by"]).removeprefix("group ")
        texts = {name: row[name] if isinstance(row.get(name), str) else "" for name in ("gap_groups", "not_estimable")}
        rows.append({**about, **row, **texts, "model": model, "measure": "gap" if gap else measures[model]})
    return rows
