"""Metrics that can be disaggregated: error of measurement, discrimination, calibration, hazard ratios.

Each function here makes a metric for :func:`cmr_models.fairness.disaggregate`: a function of the rows of a group that
gives ``estimate, se, ci_low, ci_high``, or says why it cannot.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from cmr_models.association import delong, fit_logistic
from cmr_models.estimates import NotEstimableError, bootstrap_interval, wald, wald_concordance
from cmr_models.estimates.proportions import wilson_interval
from cmr_models.evaluation import limits_of_agreement
from cmr_models.survival import concordance, fit_cox

Metric = Callable[[pd.DataFrame], Mapping[str, Any]]
Statistic = Callable[[pd.DataFrame], float]

_Z95 = float(stats.norm.ppf(0.975))


def mean_of(column: str, *, weight: str | None = None) -> Metric:
    """Mean of a column (Dice, error), t interval; with ``weight``, the weighted mean and its linearised error."""

    def metric(rows: pd.DataFrame) -> dict[str, float]:
        values = rows[column].to_numpy(float)
        _at_least(2, values)
        w = rows[weight].to_numpy(float) if weight else np.ones(len(values))
        if not (np.isfinite(w).all() and w.sum() > 0):
            raise NotEstimableError("no_overlap", f"{column} cannot be standardised")
        mean = float(w @ values / w.sum())
        se = float(np.sqrt((w**2 * (values - mean) ** 2).sum()) / w.sum() * np.sqrt(len(values) / (len(values) - 1)))
        return _t_interval(mean, se, len(values) - 1)

    return metric


def bias(measured: str, reference: str) -> Metric:
    """Mean of ``measured - reference`` with the limits of agreement and their intervals.

    More columns: ``loa_low, loa_high`` (95 % limits), ``loa_se``, ``mean_absolute_error``.

    Reference:
        Bland & Altman 1999, 10.1177/096228029900800204.
    """

    def metric(rows: pd.DataFrame) -> dict[str, float]:
        error = (rows[measured] - rows[reference]).to_numpy(float)
        _at_least(3, error)
        found = limits_of_agreement(rows[measured], rows[reference])
        about = _t_interval(found.bias.value, found.sd / np.sqrt(len(error)), len(error) - 1)
        limits = {"loa_low": found.low.value, "loa_high": found.high.value, "loa_se": found.limit_se}
        return {**about, **limits, "mean_absolute_error": float(np.abs(error).mean())}

    return metric


def area_under_curve(outcome: str, score: str, *, minimum: int = 2) -> Metric:
    """Area under the ROC curve with DeLong's error."""

    def metric(rows: pd.DataFrame) -> dict[str, float]:
        _cases(rows, outcome, minimum)
        area = delong(rows[outcome], rows[score]).a
        return wald(area.auc, area.se, ratio=False, null=0.5)

    return metric


def threshold_at_specificity(outcome: npt.ArrayLike, score: npt.ArrayLike, specificity: float) -> float:
    """The smallest threshold at which at least ``specificity`` of those without the outcome are below it.

    Raises:
        ValueError: a specificity outside (0, 1).
        NotEstimableError: nobody is without the outcome.
    """
    if not 0 < specificity < 1:
        raise ValueError(f"the specificity must be between 0 and 1, got {specificity}")
    controls = np.sort(np.asarray(score, np.float64)[np.asarray(outcome, np.float64) == 0])
    if not len(controls):
        raise NotEstimableError("too_few_controls", "nobody is without the outcome")
    k = int(np.ceil(specificity * len(controls) - 1e-9))
    return float(np.nextafter(controls[min(k, len(controls)) - 1], np.inf))


def sensitivity_above(outcome: str, score: str, threshold: float, *, minimum: int = 5) -> Metric:
    """Share of cases whose score is at ``threshold`` or above: one threshold for everybody, Wilson's interval."""

    def metric(rows: pd.DataFrame) -> dict[str, float]:
        cases = rows.loc[rows[outcome] == 1, score].to_numpy(float)
        return _share(float((cases >= threshold).sum()), len(cases), minimum, "too_few_cases")

    return metric


def specificity_below(outcome: str, score: str, threshold: float, *, minimum: int = 5) -> Metric:
    """Share of those without the outcome whose score is under ``threshold``."""

    def metric(rows: pd.DataFrame) -> dict[str, float]:
        controls = rows.loc[rows[outcome] == 0, score].to_numpy(float)
        return _share(float((controls < threshold).sum()), len(controls), minimum, "too_few_controls")

    return metric


def sensitivity_at_specificity(outcome: str, score: str, specificity: float, *, minimum: int = 5) -> Statistic:
    """Sensitivity at each group's own threshold; a statistic for :func:`bootstrapped`."""

    def statistic(rows: pd.DataFrame) -> float:
        cases = rows.loc[rows[outcome] == 1, score].to_numpy(float)
        if len(cases) < minimum:
            raise NotEstimableError("too_few_cases", f"{len(cases)} of at least {minimum}")
        return float((cases >= threshold_at_specificity(rows[outcome], rows[score], specificity)).mean())

    return statistic


def observed_over_expected(outcome: str, predicted: str, *, minimum: int = 5) -> Metric:
    """Calibration in the large: outcomes observed over the sum of predicted risks, interval on the log scale."""

    def metric(rows: pd.DataFrame) -> dict[str, float]:
        cases, risk = rows[outcome].to_numpy(float), rows[predicted].to_numpy(float)
        if cases.sum() < minimum:
            raise NotEstimableError("too_few_cases", f"{int(cases.sum())} of at least {minimum}")
        ratio = float(cases.sum() / risk.sum())
        se = float(np.sqrt((risk * (1 - risk)).sum()) / risk.sum() / ratio)
        return wald(float(np.log(ratio)), se, ratio=True)

    return metric


def events_over_expected(event: str, expected: str, *, minimum: int = 5) -> Metric:
    """Events over those a survival model expects by the end of each person's time at risk; Poisson error of the log.

    Reference:
        Breslow & Day 1987, Statistical Methods in Cancer Research II, chapter 2.
    """

    def metric(rows: pd.DataFrame) -> dict[str, float]:
        _cases(rows, event, minimum)
        observed = float(rows[event].sum())
        return wald(float(np.log(observed / rows[expected].sum())), observed**-0.5, ratio=True)

    return metric


def calibration_slope(outcome: str, predicted: str) -> Metric:
    """Slope of the outcome on the logit of its predicted risk; 1 where predictions are neither too bold nor too shy."""

    def metric(rows: pd.DataFrame) -> dict[str, float]:
        risk = rows[predicted].to_numpy(float)
        if not ((risk > 0) & (risk < 1)).all():
            raise ValueError(f"{predicted} must lie between 0 and 1, 0 and 1 not included")
        given = pd.DataFrame({"y": rows[outcome].to_numpy(float), "logit": np.log(risk / (1 - risk))})
        (term,) = fit_logistic(given, outcome="y", covariates=["logit"]).estimates.to_dict("records")
        if term["status"] != "ok":
            raise NotEstimableError("separation")
        return wald(term["coef"], term["se"], ratio=False, null=1.0)

    return metric


def concordance_index(
    exit: str, event: str, score: str, *, entry: str | None = None, within: str | None = None, minimum: int = 5
) -> Metric:
    """Harrell's C; ``within`` compares only people of one label (of an age band: the age-adjusted C)."""

    def metric(rows: pd.DataFrame) -> dict[str, float]:
        _cases(rows, event, minimum)
        index = concordance(
            rows[exit],
            rows[event],
            rows[score],
            entry=rows[entry] if entry else None,
            strata=rows[within] if within else None,
        )
        if not index.se > 0:
            raise NotEstimableError("no_pairs", "the pairs are too few for an error")
        return wald_concordance(index.value, index.se)

    return metric


def hazard_ratio(
    exposure: str,
    exit: str,
    event: str,
    *,
    entry: str | None = None,
    covariates: Sequence[str] = (),
    minimum: int = 10,
) -> Metric:
    """Hazard ratio a unit of ``exposure``, adjusted; the standard error is of its log."""

    def metric(rows: pd.DataFrame) -> dict[str, float]:
        _cases(rows, event, minimum)
        fit = fit_cox(rows, exit=exit, event=event, entry=entry, covariates=[*covariates, exposure])
        term = fit.estimates.iloc[-1]
        if term["status"] == "aliased":
            raise NotEstimableError("collinear")
        if term["status"] != "ok":
            raise NotEstimableError("separation")
        return wald(float(term["coef"]), float(term["se"]), ratio=True)

    return metric


def bootstrapped(statistic: Statistic, rng: np.random.Generator, *, n: int = 200, within: str | None = None) -> Metric:
    """Any number of the rows, with a percentile interval from resampled rows.

    Args:
        statistic: of the rows of a group.
        rng: source of the resamples.
        n: resamples.
        within: column whose labels keep their numbers in every resample (the event).

    Returns:
        A metric with the further column ``n_failed``: resamples without a number. With more than one in ten of them
        the interval would be of the rest only: the row fails.
    """

    def metric(rows: pd.DataFrame) -> dict[str, float]:
        value = statistic(rows)
        codes = np.zeros(len(rows), int) if within is None else pd.factorize(rows[within])[0]
        parts = [np.flatnonzero(codes == code) for code in np.unique(codes)]
        found = [_resample(statistic, rows, parts, rng) for _ in range(n)]
        known = np.array([one for one in found if np.isfinite(one)])
        if len(known) < 0.9 * n:
            raise NotEstimableError("too_few_people", f"{n - len(known)} of {n} resamples have no number")
        low, high = bootstrap_interval(known)
        se = float(known.std(ddof=1))
        return {"estimate": value, "se": se, "ci_low": float(low), "ci_high": float(high), "n_failed": n - len(known)}

    return metric


def _resample(
    statistic: Statistic, rows: pd.DataFrame, parts: Sequence[npt.NDArray[np.intp]], rng: np.random.Generator
) -> float:
    drawn = np.concatenate([rng.choice(part, len(part)) for part in parts])
    try:
        return statistic(rows.iloc[drawn])
    except NotEstimableError:
        return float("nan")


def _cases(rows: pd.DataFrame, event: str, minimum: int) -> None:
    n_events = int(rows[event].sum())
    if n_events < minimum:
        raise NotEstimableError("too_few_cases", f"{n_events} of at least {minimum}")


def _at_least(n: int, values: npt.NDArray[np.float64]) -> None:
    if len(values) < n:
        raise NotEstimableError("too_few_people", f"{len(values)} of at least {n}")
    if not np.isfinite(values).all():
        raise ValueError(f"{int((~np.isfinite(values)).sum())} values are missing; drop those rows first")


def _t_interval(mean: float, se: float, df: int) -> dict[str, float]:
    half = float(stats.t.ppf(0.975, df)) * se
    return {"estimate": mean, "se": se, "ci_low": mean - half, "ci_high": mean + half}


def _share(successes: float, n: int, minimum: int, reason: str) -> dict[str, float]:
    if n < minimum:
        raise NotEstimableError(reason, f"{n} of at least {minimum}")
    share, (low, high) = successes / n, wilson_interval(successes, n)
    # At 0 and 1 the Wald error is 0, which would claim certainty: Wilson's half width stands for it.
    se = float(np.sqrt(share * (1 - share) / n)) or (high - low) / (2 * _Z95)
    return {"estimate": share, "se": se, "ci_low": low, "ci_high": high}
