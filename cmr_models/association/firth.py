"""Firth's logistic regression: finite under separation, with penalised likelihood-ratio p and profile intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import optimize, stats

from cmr_models.estimates import NotEstimableError, minus_log10_p_chi2
from cmr_models.estimates.design_matrix import check_sizes, independent_columns, numbers, orthogonal_basis, standardise

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_INTERCEPT = "intercept"
_MAX_STEPS = 200
_MAX_STEP = 5.0
_MAX_HALVINGS = 30
_SCORING_STEPS = 6
_ROWS_PER_CHUNK = 2048
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
    wanted = [name for name in [*names, _INTERCEPT] if terms is None or name in terms]
    if terms is not None and set(terms) - set(wanted):
        raise ValueError(f"terms {sorted(set(terms) - set(wanted))} are not among {[*names, _INTERCEPT]}")
    kept = independent_columns(values)
    if not kept.any():
        raise NotEstimableError("constant_exposure", "no covariate varies")
    design, combinations, units, log_volume = _coordinates(values[:, kept])
    best = _maximise(design, cases, np.zeros(design.shape[1]), np.ones(design.shape[1], bool))
    fitted = [*(name for name, ok in zip(names, kept, strict=True) if ok), _INTERCEPT]
    rows = [
        _term(design, cases, best, combination, unit, name in wanted)
        for name, combination, unit in zip(fitted, combinations, units, strict=True)
    ]
    position = iter(rows)
    table = [{"term": name, **(next(position) if ok else _ALIASED)} for name, ok in zip(names, kept, strict=True)]
    estimates = pd.DataFrame([*table, {"term": _INTERCEPT, **rows[-1]}], columns=_COLUMNS)
    # The penalty changes with the units by a constant; report it in those of the columns given.
    return FirthFit(estimates, best.log_likelihood + log_volume, len(cases), int(cases.sum()))


def _coordinates(values: Floats) -> tuple[Floats, Floats, Floats, float]:
    """Orthogonal columns that span ``values (n, p)`` and the intercept, so that neither units nor near dependence cost
    accuracy.

    Returns:
        The columns ``(n, p + 1)``; the combinations ``(p + 1, p + 1)`` of their coefficients, one a row, that are the
        coefficients of ``values`` times their ``units (p + 1,)`` and the intercept; those units; log of the volume by
        which the penalty differs.
    """
    standard, spread = standardise(values)
    design = np.column_stack([standard, np.ones(len(values))])
    basis = orthogonal_basis(design)
    at_zero = basis[-1] - (values.mean(axis=0) / spread) @ basis[:-1]
    volume = np.log(spread).sum() - np.log(np.abs(np.diag(basis))).sum()
    return design @ basis, np.vstack([basis[:-1], at_zero]), np.append(spread, 1.0), float(volume)


_COLUMNS = ["term", "coef", "se", "ci_low", "ci_high", "chi2", "p", "minus_log10_p", "status"]
_ALIASED: dict[str, Any] = {"status": "aliased"}


def _check(X: npt.ArrayLike | pd.DataFrame, y: npt.ArrayLike) -> tuple[list[str], Floats, Floats]:
    values, cases = numbers(X, "X"), numbers(y, "y")
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2 or cases.shape != values.shape[:1]:
        raise ValueError(f"X must be (rows, columns) and y (rows,), got {values.shape} and {cases.shape}")
    columns = X.columns if isinstance(X, pd.DataFrame) else [f"x{j + 1}" for j in range(values.shape[1])]
    names = [str(name) for name in columns]
    if np.isnan(values).any():
        raise ValueError("X must be finite; drop or impute rows with missing values first")
    check_sizes(values, names, "X")
    if not np.isin(cases, (0, 1)).all():
        raise ValueError("y must be 0 or 1 without missing values")
    if not cases.any():
        raise NotEstimableError("too_few_cases", "no case in the table")
    if cases.all():
        raise NotEstimableError("too_few_controls", "no control in the table")
    return names, values, cases


class _Point(NamedTuple):
    """Coefficients, their penalised log likelihood, and the inverse information there."""

    coef: Floats
    log_likelihood: float
    covariance: Floats


def _term(
    design: Floats, cases: Floats, best: _Point, combination: Floats, unit: float, tested: bool
) -> dict[str, Any]:
    """The row of the term that is ``combination`` of the coefficients, over ``unit``.

    A turn of the coordinates makes it ``scale`` times the first coefficient.
    """
    length = float(np.sqrt(combination @ combination))
    scale = length / unit
    turn = np.linalg.qr(np.column_stack([combination / length, np.eye(len(combination))]))[0]
    turn[:, 0] = combination / length
    design, covariance = design @ turn, turn.T @ best.covariance @ turn
    best = _Point(turn.T @ best.coef, best.log_likelihood, covariance)
    row = {"coef": best.coef[0] * scale, "se": float(np.sqrt(covariance[0, 0])) * scale, "status": "ok"}
    if not tested:
        return row
    null = _profile(design, cases, best, 0)(0.0)
    chi2 = max(0.0, 2 * (best.log_likelihood - null.log_likelihood))
    low, high = (_limit(design, cases, best, 0, side) for side in (-1.0, 1.0))
    tail = {"p": float(stats.chi2.sf(chi2, 1)), "minus_log10_p": float(minus_log10_p_chi2(chi2, 1))}
    return {**row, "ci_low": low * scale, "ci_high": high * scale, "chi2": chi2, **tail}


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
    """Newton steps on the modified score over the ``free`` coefficients; the penalty is that of all.

    The information alone, without the penalty's share, is enough far from the maximum and near most; under
    separation it closes in too slowly, and the full curvature takes over.
    """
    coef = start.astype(float)
    now = _penalised_slope(design, cases, coef)
    for step_number in range(_MAX_STEPS):
        if not free.any() or np.abs(now.score[free]).max() < _GRADIENT * len(cases) ** 0.5:
            return _Point(coef, now.value, np.asarray(np.linalg.inv(now.information), np.float64))
        step = _step(design, now, free, exact=step_number >= _SCORING_STEPS)
        following = _climb(design, cases, coef, step, now.value)
        if following is None:
            raise NotEstimableError("not_converged", "no step raises the penalised likelihood")
        coef, now = following
    raise NotEstimableError("not_converged", f"{_MAX_STEPS} steps of the penalised likelihood")


class _Slope(NamedTuple):
    """Penalised log likelihood, modified score ``(p,)``, information ``(p, p)``.

    And ``(n,)`` chance and weight of each row, ``(n, p)`` the rows of the hat matrix's root.
    """

    value: float
    score: Floats
    information: Floats
    chance: Floats
    weight: Floats
    root: Floats


def _step(design: Floats, now: _Slope, free: Bools, *, exact: bool) -> Floats:
    score, chosen = now.score[free], np.ix_(free, free)
    step = np.zeros(len(free))
    step[free] = np.linalg.solve(now.information[chosen], score)
    if exact:
        full = _curvature(design, now)[chosen]
        # Where the likelihood is not concave yet, the information alone still leads upwards.
        if np.linalg.eigvalsh(full).min() > 0:
            step[free] = np.linalg.solve(full, score)
    return np.asarray(step * min(1.0, _MAX_STEP / float(np.abs(step).max())), np.float64)


def _climb(design: Floats, cases: Floats, coef: Floats, step: Floats, value: float) -> tuple[Floats, _Slope] | None:
    for halving in range(_MAX_HALVINGS):
        following = coef + step / 2**halving
        after = _penalised_slope(design, cases, following)
        if after.value >= value - 1e-12 * (abs(value) + 1):
            return following, after
    return None


def _penalised_slope(design: Floats, cases: Floats, coef: Floats) -> _Slope:
    eta = design @ coef
    chance = 1 / (1 + np.exp(-np.clip(eta, -700, 700)))
    weight = np.exp(-np.abs(eta)) / (1 + np.exp(-np.abs(eta))) ** 2
    information = (design * weight[:, None]).T @ design
    sign, log_determinant = np.linalg.slogdet(information)
    if sign <= 0 or not np.isfinite(log_determinant):
        return _Slope(-np.inf, np.zeros_like(coef), information, chance, weight, design)
    try:
        root = design @ np.linalg.inv(np.linalg.cholesky(information)).T
    except np.linalg.LinAlgError:
        return _Slope(-np.inf, np.zeros_like(coef), information, chance, weight, design)
    root *= np.sqrt(weight)[:, None]
    hat = np.einsum("np,np->n", root, root)
    value = float(cases @ eta - np.logaddexp(0, eta).sum() + log_determinant / 2)
    score = design.T @ (cases - chance + hat * (0.5 - chance))
    return _Slope(value, score, information, chance, weight, root)


def _curvature(design: Floats, now: _Slope) -> Floats:
    """``(p, p)`` minus the second derivative of the penalised likelihood.

    With ``h`` the diagonal of the hat matrix ``H``, ``dh_i / d eta_k = h_i (1 - 2 p_i) [i = k] - H_ik² (1 - 2 p_k)``,
    and ``H_ik²`` is the product of what each row has in the squares of the root.
    """
    p = design.shape[1]
    hat = np.einsum("np,np->n", now.root, now.root)
    lean = 1 - 2 * now.chance
    crossed = np.zeros((p * p, p))
    for start in range(0, len(design), _ROWS_PER_CHUNK):
        rows = slice(start, start + _ROWS_PER_CHUNK)
        squares = np.einsum("ni,nj->nij", now.root[rows], now.root[rows]).reshape(-1, p * p)
        crossed += squares.T @ (design[rows] * lean[rows, None])
    own = now.weight * (1 + hat) - hat * lean**2 / 2
    return np.asarray((design * own[:, None]).T @ design + crossed.T @ crossed / 2, np.float64)
