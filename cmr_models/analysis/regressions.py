"""Every phenotype against every condition: odds ratios, hazard ratios, concordance, also by group."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd

from cmr_models.analysis.model_spec import AnalysisSpec
from cmr_models.analysis.people import OUTCOME_COLUMNS, analysis_outcome, at_risk_rows, complete_rows
from cmr_models.association import fit_logistic
from cmr_models.association.multiplicity import benjamini_hochberg
from cmr_models.contracts import DEATH
from cmr_models.estimates import NotEstimableError, tidy, unit_of, wald, wald_concordance
from cmr_models.fairness import OVERALL, disaggregated_rows
from cmr_models.survival import CoxFit, concordance, fit_cox

_AGE = "age_years"
_Row = dict[str, Any]


@dataclass(frozen=True)
class _Pair:
    """One phenotype and one condition: complete rows, covariates, the SD by which effects are scaled."""

    exposure: str
    outcome: str
    rows: pd.DataFrame
    covariates: tuple[str, ...]
    sd: float
    left_out: pd.DataFrame


def association_rows(
    people: pd.DataFrame, outcomes: pd.DataFrame, spec: AnalysisSpec, *, by: Sequence[str] = ()
) -> pd.DataFrame:
    """Prevalent disease on each phenotype, logistic with age and the covariates, per SD and per unit.

    Args:
        people: of :func:`cmr_models.analysis.people.analysis_people`.
        outcomes: the outcome table.
        spec: what to estimate.
        by: groups in which to estimate it again; the SD stays that of everybody.

    Returns:
        Estimates before the disclosure gate, without q; death has no prevalent cases and is left out.
    """
    conditions = [name for name in spec.conditions if name != DEATH]
    rows: list[_Row] = []
    for pair in _pairs(people, outcomes, conditions, spec, prevalent=True):
        metric = partial(_odds_ratio, pair=pair, spec=spec)
        rows += _give_both_scales(_disaggregate(metric, pair, by, "prevalent"), pair, "logistic", "odds_ratio")
    return tidy(rows, extra=("n_excluded",))


def hazard_rows(
    people: pd.DataFrame, outcomes: pd.DataFrame, spec: AnalysisSpec, *, by: Sequence[str] = ()
) -> pd.DataFrame:
    """Incident disease and death on each phenotype: Cox on the age scale, entered at imaging, per SD and per unit.

    Other deaths are censored (cause-specific hazards). ``n_excluded`` counts complete people not at risk: prevalent
    cases, whose number must not be had by subtraction.
    """
    rows: list[_Row] = []
    for pair in _pairs(people, outcomes, spec.conditions, spec, prevalent=False):
        metric = partial(_hazard_ratio, pair=pair, spec=spec)
        rows += _give_both_scales(_disaggregate(metric, pair, by, "event"), pair, "cox_age", "hazard_ratio")
    return tidy(rows, extra=("n_excluded",))


def discrimination_rows(
    people: pd.DataFrame,
    outcomes: pd.DataFrame,
    spec: AnalysisSpec,
    *,
    by: Sequence[str] = (),
) -> pd.DataFrame:
    """Concordance of each phenotype with each condition, overall and in the groups ``by``; model names as in
    ``docs/statistics.md``.

    ``harrell_phenotype`` takes the direction of the overall hazard ratio, so that a group in which the phenotype points
    the other way shows as under one half. The ``adjusted`` models are apparent, tested on the people they were fitted
    to, and are those of all people: a group is scored by the model that everyone gets.
    """
    rows: list[_Row] = []
    models = {
        "harrell_adjusted": (_harrell_of_score, _age_scale_score),
        "uno_adjusted": (_uno_of_score, _follow_up_score),
    }
    for pair in _pairs(people, outcomes, spec.conditions, spec, prevalent=False):
        alone = partial(_harrell_phenotype, pair=pair, sign=_direction(pair, spec), spec=spec)
        rows += _label(_disaggregate(alone, pair, by, "event"), pair, "harrell_phenotype", "concordance")
        for name, (index, fitted) in models.items():
            metric = partial(index, spec=spec, score=functools.cache(partial(fitted, pair, spec)))
            rows += _label(_disaggregate(metric, pair, by, "event"), pair, name, "concordance")
    return tidy(rows, extra=("n_excluded",))


def with_q(table: pd.DataFrame, family: pd.Series) -> pd.DataFrame:
    """``table`` with Benjamini-Hochberg ``q`` within ``family``; rows per SD and per unit are one test."""
    table = table.copy()
    tested = table["minus_log10_p"].notna() & (table["scale"] != "per_unit")
    table["family"] = family.where(table["minus_log10_p"].notna(), "")
    for name in table.loc[tested, "family"].unique():
        chosen = tested & (table["family"] == name)
        table.loc[chosen, "q"] = benjamini_hochberg(table.loc[chosen, "minus_log10_p"].to_numpy(float))
    same = ["exposure", "outcome", "model", "group_by", "group"]
    same += [name for name in ("covariate_set",) if name in table]
    per_sd = table[tested].drop_duplicates(same).set_index(same)["q"]
    per_unit = table["scale"] == "per_unit"
    if per_unit.any():
        keys = pd.MultiIndex.from_frame(table.loc[per_unit, same])
        table.loc[per_unit, "q"] = per_sd.reindex(keys).to_numpy(float)
    return table


def overall_family(table: pd.DataFrame, spec: AnalysisSpec) -> pd.Series:
    """Family of the rows of one of the main tables: model and declared family of the phenotype."""
    return table["model"] + "/" + table["exposure"].map(spec.family_of)


def _pairs(
    people: pd.DataFrame,
    outcomes: pd.DataFrame,
    conditions: Sequence[str],
    spec: AnalysisSpec,
    *,
    prevalent: bool,
) -> Iterator[_Pair]:
    # A stratum is a covariate where there is no baseline hazard to give it.
    covariates = (_AGE, *spec.strata, *spec.covariates) if prevalent else spec.covariates
    shared = [_AGE, *spec.strata, *spec.covariates, *(f"group {name}" for name in spec.group_by), *spec.phenotypes]
    for condition in conditions:
        table = analysis_outcome(people, outcomes, condition)
        table = complete_rows(table[[*dict.fromkeys(shared), *OUTCOME_COLUMNS]], (_AGE, *spec.strata, *spec.covariates))
        for exposure in spec.phenotypes:
            others = [name for name in spec.phenotypes if name != exposure]
            complete = complete_rows(table.drop(columns=others), (exposure,))
            rows = complete if prevalent else at_risk_rows(complete)
            left_out = complete.drop(index=rows.index)
            sd = float(rows[exposure].std(ddof=1)) if len(rows) > 1 else float("nan")
            yield _Pair(exposure, condition, rows, covariates, sd, left_out)


def _disaggregate(
    metric: Callable[[pd.DataFrame], Mapping[str, Any]], pair: _Pair, by: Sequence[str], events: str
) -> list[_Row]:
    rows = disaggregated_rows(metric, pair.rows, [f"group {name}" for name in by], events=events)
    excluded = {OVERALL: len(pair.left_out)}
    for name in by:
        for group, count in Counter(pair.left_out[f"group {name}"]).items():
            excluded[name, str(group)] = count
    for row in rows:
        row["group_by"] = row["group_by"].removeprefix("group ")
        row["n_excluded"] = float(excluded.get((row["group_by"], row["group"]), 0))
    return rows


def _label(rows: list[_Row], pair: _Pair, model: str, measure: str) -> list[_Row]:
    about = {
        "exposure": pair.exposure,
        "unit": unit_of(pair.exposure),
        "scale": "absolute",
        "outcome": pair.outcome,
        "model": model,
        "measure": measure,
    }
    return [{**row, **about} for row in rows]


def _give_both_scales(rows: list[_Row], pair: _Pair, model: str, measure: str) -> list[_Row]:
    """The same estimates per SD and per unit of the exposure."""
    per_sd = [{**row, "scale": "per_sd"} for row in _label(rows, pair, model, measure)]
    return per_sd + [{**row, "scale": "per_unit", **_per_unit(row, pair.sd)} for row in per_sd]


def _per_unit(row: _Row, sd: float) -> _Row:
    if row["status"] != "ok":
        return {}
    ratios = {name: row[name] ** (1 / sd) for name in ("estimate", "ci_low", "ci_high")}
    return {**ratios, "se": row["se"] / sd}


def _check_counts(rows: pd.DataFrame, events: str, spec: AnalysisSpec) -> None:
    if rows.empty:
        raise NotEstimableError("no_data")
    n_events = int(rows[events].sum())
    if n_events < spec.minimum_events:
        raise NotEstimableError("too_few_cases", f"{n_events} of at least {spec.minimum_events}")
    if len(rows) - n_events < spec.minimum_events:
        raise NotEstimableError("too_few_controls", f"{len(rows) - n_events} of at least {spec.minimum_events}")


def _check_per_term(terms: pd.DataFrame, n_fewer: int, spec: AnalysisSpec) -> None:
    """Too many terms for the cases (or controls, if fewer) bias estimates away from no effect."""
    n_terms = int((terms["status"] != "aliased").sum())
    if n_fewer < spec.minimum_events_per_term * n_terms:
        raise NotEstimableError("too_few_per_term", f"{n_fewer} for {n_terms} terms")


def _exposure_estimate(terms: pd.DataFrame, rows: pd.DataFrame, pair: _Pair) -> dict[str, float]:
    term = terms.iloc[-1]
    if term["status"] == "aliased":
        constant = rows[pair.exposure].nunique() < 2
        raise NotEstimableError("constant_exposure" if constant else "collinear")
    if term["status"] == "infinite":
        raise NotEstimableError("separation")
    return wald(float(term["coef"]), float(term["se"]), ratio=True, scale=pair.sd)


def _odds_ratio(rows: pd.DataFrame, *, pair: _Pair, spec: AnalysisSpec) -> dict[str, float]:
    _check_counts(rows, "prevalent", spec)
    fit = fit_logistic(rows, outcome="prevalent", covariates=(*pair.covariates, pair.exposure))
    _check_per_term(fit.estimates, min(fit.n_cases, fit.n - fit.n_cases), spec)
    return _exposure_estimate(fit.estimates, rows, pair)


def _fit_age_scale(rows: pd.DataFrame, pair: _Pair, spec: AnalysisSpec) -> CoxFit:
    _check_counts(rows, "event", spec)
    terms = (*pair.covariates, pair.exposure)
    fit = fit_cox(rows, exit="exit_years", event="event", entry="entry_years", covariates=terms, strata=spec.strata)
    _check_per_term(fit.estimates, fit.n_events, spec)
    return fit


def _hazard_ratio(rows: pd.DataFrame, *, pair: _Pair, spec: AnalysisSpec) -> dict[str, float]:
    return _exposure_estimate(_fit_age_scale(rows, pair, spec).estimates, rows, pair)


def _direction(pair: _Pair, spec: AnalysisSpec) -> float:
    """1 if more of the phenotype is more hazard, -1 if less; 1 where the overall model cannot be fitted."""
    try:
        estimate = _hazard_ratio(pair.rows, pair=pair, spec=spec)["estimate"]
    except NotEstimableError:
        return 1.0
    return 1.0 if estimate >= 1 else -1.0


def _harrell_phenotype(rows: pd.DataFrame, *, pair: _Pair, sign: float, spec: AnalysisSpec) -> dict[str, float]:
    _check_counts(rows, "event", spec)
    score = sign * rows[pair.exposure]
    index = concordance(rows["exit_years"], rows["event"], score, entry=rows["entry_years"])
    return wald_concordance(index.value, index.se)


def _strata(rows: pd.DataFrame, spec: AnalysisSpec) -> pd.Series | None:
    """A linear predictor says nothing across baseline hazards: people are compared within strata."""
    return rows.groupby(list(spec.strata), dropna=False).ngroup() if spec.strata else None


def _age_scale_score(pair: _Pair, spec: AnalysisSpec) -> pd.Series:
    return pd.Series(_fit_age_scale(pair.rows, pair, spec).linear_predictor, pair.rows.index)


def _follow_up_score(pair: _Pair, spec: AnalysisSpec) -> pd.Series:
    _check_counts(pair.rows, "event", spec)
    terms = (_AGE, *pair.covariates, pair.exposure)
    fit = fit_cox(pair.rows, exit="follow_up_years", event="event", covariates=terms, strata=spec.strata)
    _check_per_term(fit.estimates, fit.n_events, spec)
    return pd.Series(fit.linear_predictor, pair.rows.index)


def _harrell_of_score(rows: pd.DataFrame, *, spec: AnalysisSpec, score: Callable[[], pd.Series]) -> dict[str, float]:
    _check_counts(rows, "event", spec)
    exit_, entry, strata = rows["exit_years"], rows["entry_years"], _strata(rows, spec)
    index = concordance(exit_, rows["event"], score()[rows.index], entry=entry, strata=strata)
    return wald_concordance(index.value, index.se)


def _uno_of_score(rows: pd.DataFrame, *, spec: AnalysisSpec, score: Callable[[], pd.Series]) -> dict[str, float]:
    _check_counts(rows, "event", spec)
    times, tau, strata = rows["follow_up_years"], spec.horizon_years, _strata(rows, spec)
    index = concordance(times, rows["event"], score()[rows.index], method="uno", tau=tau, strata=strata)
    return wald_concordance(index.value, index.se)
