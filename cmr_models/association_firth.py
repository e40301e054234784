"""Firth's logistic regression: finite under separation, with penalised likelihood-ratio p and profile intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import optimize, stats

from cmr_models.covariates import independent_columns
from cmr_models.estimates import NotEstimableError, minus_log10_p_chi2

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_INTERCEPT = "intercept"
_MAX_STEPS = 200
_MAX_STEP = 5.0
_MAX_HALVINGS = 30
_GRADIENT = 1e-9
_CRITICAL = float(stats.chi2.ppf(0.95, 1)) / 2
# Beyond this many per SD the profile counts as flat: the limit of the interval is infinite.
_FAR = 200.0


@dataclass(frozen=True)
class FirthFit:
    """A fitted model.

    Attributes:
        estimates: one row a term, the intercept last: ``term, coef, se, ci_low, ci_high`` (profile penalised
            likelihood), ``chi2, p, minus_log10_p`` (penalised likelihood ratio), ``status`` (``ok``;
            ``aliased``: constant or a combination of earlier terms).
        log_likelihood: penalised.
        n: rows fitted.
        n_cases: rows with the outcome.
    """

    estimates: pd.DataFrame
    log_likelihood: float
    n: int
    n_cases: int


def fit_firth_logistic(
    X: npt.ArrayLike | pd.DataFrame, y: npt.ArrayLike, *, terms: Sequence[str] | None = None
) -> FirthFit:
    """Logistic regression with the penalty ``log|X'WX| / 2``.

    Args:
        X: ``(n, p)`` numbers without an intercept, which is added; columns of a frame name the terms,
            those of an array are ``x1, x2 ...``.
        y: ``(n,)`` 0 or 1.
        terms: only these get an interval and a p, which take most of the time; all if None.

    Raises:
        ValueError: shapes differ, values are not finite, an outcome that is not 0 or 1.
        NotEstimableError: no cases, no controls, nothing that varies, no convergence.

    Reference:
        Firth 1993, 10.1093/biomet/80.1.27; Heinze & Schemper 2002, 10.1002/sim.1047, as R's ``logistf``.
    """
    names, values, cases = _check(X, y)
    kept = independent_columns(values)
    if not kept.any():
        raise NotEstimableError("constant_exposure", "no covariate varies")
    centre, spread = values[:, kept].mean(axis=0), values[:, kept].std(axis=0)
    # Back from standard units: the intercept alone mixes with the centres, so the slopes come first.
    design = np.column_stack([(values[:, kept] - centre) / spread, np.ones(len(cases))])
    best = _maximise(design, cases, np.zeros(design.shape[1]), np.ones(design.shape[1], bool))
    wanted = [name for name in [*names, _INTERCEPT] if terms is None or name in terms]
    if terms is not None and set(terms) - set(wanted):
        raise ValueError(f"terms {sorted(set(terms) - set(wanted))} are not among {[*names, _INTERCEPT]}")
    fitted = [name for name, ok in zip(names, kept, strict=True) if ok]
    rows = [_slope(design, cases, best, j, float(spread[j]), name in wanted) for j, name in enumerate(fitted)]
    raw = np.column_stack([values[:, kept] / spread, np.ones(len(cases))])
    start = np.append(best.coef[:-1], best.coef[-1] - best.coef[:-1] @ (centre / spread))
    raw_best = _maximise(raw, cases, start, np.ones(len(start), bool))
    intercept = _slope(raw, cases, raw_best, len(spread), 1.0, _INTERCEPT in wanted)
    position = iter(rows)
    table = [{"term": name, **(next(position) if ok else _ALIASED)} for name, ok in zip(names, kept, strict=True)]
    estimates = pd.DataFrame([*table, {"term": _INTERCEPT, **intercept}], columns=_COLUMNS)
    # The penalty changes with the units by a constant; report it in those of the columns given.
    penalised = best.log_likelihood + float(np.log(spread).sum())
    return FirthFit(estimates, penalised, len(cases), int(cases.sum()))


_COLUMNS = ["term", "coef", "se", "ci_low", "ci_high", "chi2", "p", "minus_log10_p", "status"]
_ALIASED: dict[str, Any] = {"status": "aliased"}


def _check(X: npt.ArrayLike | pd.DataFrame, y: npt.ArrayLike) -> tuple[list[str], Floats, Floats]:
    values, cases = np.asarray(X, np.float64), np.asarray(y, np.float64)
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2 or cases.shape != values.shape[:1]:
        raise ValueError(f"X must be (rows, columns) and y (rows,), got {values.shape} and {cases.shape}")
    if not np.isfinite(values).all():
        raise ValueError("X must be finite; drop or impute rows with missing values first")
    if not np.isin(cases, (0, 1)).all():
        raise ValueError("y must be 0 or 1 without missing values")
    if not cases.any():
        raise NotEstimableError("too_few_cases", "no case in the table")
    if cases.all():
        raise NotEstimableError("too_few_controls", "no control in the table")
    columns = X.columns if isinstance(X, pd.DataFrame) else [f"x{j + 1}" for j in range(values.shape[1])]
    return [str(name) for name in columns], values, cases


class _Point(NamedTuple):
    """Coefficients, their penalised log likelihood, and the inverse information there."""

    coef: Floats
    log_likelihood: float
    covariance: Floats


def _slope(design: Floats, cases: Floats, best: _Point, j: int, spread: float, tested: bool) -> dict[str, Any]:
    """The row of term ``j``, its coefficient per ``spread`` units."""
    se = float(np.sqrt(best.covariance[j, j])) / spread
    if not tested:
        return {"coef": best.coef[j] / spread, "se": se, "status": "ok"}
    null = _profile(design, cases, best, j)(0.0)
    chi2 = max(0.0, 2 * (best.log_likelihood - null.log_likelihood))
    low, high = (_limit(design, cases, best, j, side) for side in (-1.0, 1.0))
    return {
        "coef": best.coef[j] / spread,
        "se": se,
        "ci_low": low / spread,
        "ci_high": high / spread,
        "chi2": chi2,
        "p": float(stats.chi2.sf(chi2, 1)),
        "minus_log10_p": float(minus_log10_p_chi2(chi2, 1)),
        "status": "ok",
    }


def _profile(design: Floats, cases: Floats, best: _Point, j: int) -> Callable[[float], _Point]:
    """From a value of coefficient ``j`` to the best of the others; each starts from the nearest value seen."""
    free = np.arange(design.shape[1]) != j
    seen = [best.coef]

    def at(value: float) -> _Point:
        nearest = min(seen, key=lambda coef: abs(float(coef[j]) - value))
        point = _maximise(design, cases, np.where(free, nearest, value), free)
        seen.append(point.coef)
        return point

    return at


def _limit(design: Floats, cases: Floats, best: _Point, j: int, side: float) -> float:
    """Where the profile has fallen by half the critical value of chi-squared."""
    profile = _profile(design, cases, best, j)

    def above(value: float) -> float:
        """Over 0 inside; close to linear, unlike the likelihood itself."""
        fall = max(0.0, best.log_likelihood - profile(value).log_likelihood)
        return float(np.sqrt(_CRITICAL) - np.sqrt(fall))

    step = 1.96 * float(np.sqrt(best.covariance[j, j]))
    inside, outside = float(best.coef[j]), float(best.coef[j]) + side * step
    while above(outside) > 0:
        inside, step = outside, step * 1.5
        outside += side * step
        if abs(outside - best.coef[j]) > _FAR:
            return float(side * np.inf)
    low, high = sorted((inside, outside))
    return float(optimize.brentq(above, low, high, xtol=1e-9, rtol=1e-11))


def _maximise(design: Floats, cases: Floats, start: Floats, free: Bools) -> _Point:
    """Newton steps on the modified score over the ``free`` coefficients; the penalty is that of all."""
    coef = start.astype(float)
    value, score, information = _penalised(design, cases, coef)
    for _ in range(_MAX_STEPS):
        if not free.any() or np.abs(score[free]).max() < _GRADIENT * len(cases) ** 0.5:
            return _Point(coef, value, np.asarray(np.linalg.inv(information), np.float64))
        step = np.zeros_like(coef)
        step[free] = np.linalg.solve(information[np.ix_(free, free)], score[free])
        step *= min(1.0, _MAX_STEP / float(np.abs(step).max()))
        for halving in range(_MAX_HALVINGS):
            following = coef + step / 2**halving
            after = _penalised(design, cases, following)
            if after[0] >= value - 1e-12 * (abs(value) + 1):
                break
        else:
            raise NotEstimableError("not_converged", "no step raises the penalised likelihood")
        coef, (value, score, information) = following, after
    raise NotEstimableError("not_converged", f"{_MAX_STEPS} steps of the penalised likelihood")


def _penalised(design: Floats, cases: Floats, coef: Floats) -> tuple[float, Floats, Floats]:
    """Penalised log likelihood, modified score ``(p,)`` and information ``(p, p)``."""
    eta = design @ coef
    chance = 1 / (1 + np.exp(-np.clip(eta, -700, 700)))
    weight = np.exp(-np.abs(eta)) / (1 + np.exp(-np.abs(eta))) ** 2
    information = (design * weight[:, None]).T @ design
    sign, log_determinant = np.linalg.slogdet(information)
    if sign <= 0 or not np.isfinite(log_determinant):
        return -np.inf, np.zeros_like(coef), information
    half = design @ np.linalg.inv(np.linalg.cholesky(information)).T
    hat = weight * np.einsum("np,np->n", half, half)
    value = float(cases @ eta - np.logaddexp(0, eta).sum() + log_determinant / 2)
    return value, design.T @ (cases - chance + hat * (0.5 - chance)), information
