"""Many tests at once: what each family's evidence is worth, without a p that underflows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import optimize

from cmr_models.estimates import NotEstimableError, minus_log10_p

Floats = npt.NDArray[np.float64]

_TINY = float(np.finfo(float).tiny)
_SIMPLE_M_SHARE = 0.995


def step_up(minus_log10_p: npt.ArrayLike, *, dependent: bool = False) -> Floats:
    """-log10 of the step-up false-discovery q of each test; NaN stays NaN and is not counted.

    Args:
        minus_log10_p: of each test.
        dependent: Benjamini-Yekutieli, under any dependence, instead of Benjamini-Hochberg.

    Reference:
        Benjamini & Hochberg 1995; Benjamini & Yekutieli 2001, 10.1214/aos/1013699998; monotone as R's ``p.adjust``.
    """
    scores = np.asarray(minus_log10_p, np.float64)
    q = np.full(scores.shape, np.nan)
    tested = np.flatnonzero(~np.isnan(scores))
    m = len(tested)
    if not m:
        return q
    order = tested[np.argsort(scores[tested], kind="stable")]  # the largest p first
    rank = np.arange(m, 0, -1)
    penalty = float((1 / np.arange(1, m + 1)).sum()) if dependent else 1.0
    q[order] = np.maximum(np.maximum.accumulate(scores[order] + np.log10(rank / m / penalty)), 0)
    return q


def bonferroni(minus_log10_p: npt.ArrayLike, tests: float | None = None) -> Floats:
    """-log10 of the family-wise p of each test, for ``tests`` (as many as are not NaN if None) independent ones."""
    scores = np.asarray(minus_log10_p, np.float64)
    count = float((~np.isnan(scores)).sum()) if tests is None else tests
    if count < 1 and tests is not None:
        raise ValueError(f"tests must be 1 or more, got {tests}")
    return np.asarray(np.maximum(scores - np.log10(max(count, 1)), 0), np.float64)


class EffectiveTests(NamedTuple):
    """How many independent tests correlated ones amount to, by two rules."""

    li_ji: float
    simple_m: float


def effective_tests(values: npt.ArrayLike) -> EffectiveTests:
    """Effective number of tests of correlated exposures.

    Args:
        values: ``(n, e)`` without missing values; columns that do not vary count for nothing.

    Raises:
        ValueError: missing values, or nothing varies.

    Reference:
        Li & Ji 2005, 10.1038/sj.hdy.6800717; Gao 2008, 10.1002/gepi.20310 (eigenvalues for 99.5 % of the variance).
    """
    x = np.asarray(values, np.float64)
    if x.ndim != 2 or not np.isfinite(x).all():
        raise ValueError("values must be (people, exposures) without missing values")
    x = x[:, x.std(axis=0) > 1e-12 * np.maximum(np.abs(x).max(axis=0, initial=0), _TINY)]
    if not x.shape[1]:
        raise ValueError("no exposure varies")
    roots: Floats = np.linalg.eigvalsh(np.atleast_2d(np.corrcoef(x, rowvar=False)))[::-1]
    # Rounded first: an eigenvalue of 2 - 1e-15 is not one of 1.99.
    roots = np.asarray(np.round(np.maximum(roots, 0), 10), np.float64)
    li_ji = float(((roots >= 1) + (roots - np.floor(roots))).sum())
    reached = np.searchsorted(np.cumsum(roots) / roots.sum(), _SIMPLE_M_SHARE - 1e-12)
    return EffectiveTests(li_ji, float(reached + 1))


def adjust(table: pd.DataFrame, by: Sequence[str] = (), *, effective: float | None = None) -> pd.DataFrame:
    """``table`` with ``q`` (BH), ``minus_log10_q_bh``, ``minus_log10_q_by``, ``minus_log10_p_bonferroni`` in families.

    Args:
        table: with ``minus_log10_p``.
        by: columns whose combinations are the families; one family if none.
        effective: with it also ``minus_log10_p_effective``, for that many independent tests a family.

    Raises:
        ValueError: a column is not in the table.
    """
    unknown = [name for name in ("minus_log10_p", *by) if name not in table]
    if unknown:
        raise ValueError(f"columns {unknown} are not in the table; it has {list(table)}")
    values: Floats = np.asarray(table["minus_log10_p"], np.float64)
    family: npt.NDArray[Any] = (
        table.groupby(list(by), dropna=False).ngroup().to_numpy() if by else np.zeros(len(table), int)
    )
    added: dict[str, Floats] = {name: _within(values, family, rule) for name, rule in _RULES.items()}
    log_q = np.asarray(added["minus_log10_q_bh"], np.float64)
    added["q"] = np.maximum(10.0 ** -np.clip(log_q, 0, 400), _TINY)
    if effective is not None:
        added["minus_log10_p_effective"] = bonferroni(values, effective)
    return table.assign(**added)


def _within(values: Floats, family: npt.NDArray[Any], rule: Callable[[Floats], Floats]) -> Floats:
    adjusted = np.full(len(values), np.nan)
    for code in np.unique(family):
        adjusted[family == code] = rule(values[family == code])
    return adjusted


_RULES: dict[str, Callable[[Floats], Floats]] = {
    "minus_log10_q_bh": step_up,
    "minus_log10_q_by": lambda scores: step_up(scores, dependent=True),
    "minus_log10_p_bonferroni": bonferroni,
}


class EmpiricalNull(NamedTuple):
    """What estimates of no effect look like: normal about ``mean`` with ``sd`` beyond their standard errors."""

    mean: float
    sd: float
    n_controls: int

    def calibrate(self, coef: npt.ArrayLike, se: npt.ArrayLike) -> tuple[Floats, Floats]:
        """Calibrated z and -log10 p of estimates."""
        total = np.sqrt(np.asarray(se, np.float64) ** 2 + self.sd**2)
        z = (np.asarray(coef, np.float64) - self.mean) / total
        return z, minus_log10_p(z)


def empirical_null(coef: npt.ArrayLike, se: npt.ArrayLike) -> EmpiricalNull:
    """Fit the empirical null to negative controls, by maximum likelihood.

    Args:
        coef: ``(c,)`` estimates of controls that cannot have an effect (logs of ratios).
        se: ``(c,)`` their standard errors.

    Raises:
        ValueError: lengths differ, values are not finite, standard errors not over 0.
        NotEstimableError: fewer than five controls.

    Reference:
        Schuemie 2014, 10.1002/sim.5925.
    """
    b, s = np.asarray(coef, np.float64), np.asarray(se, np.float64)
    if b.ndim != 1 or b.shape != s.shape or not np.isfinite(b).all() or not (np.isfinite(s) & (s > 0)).all():
        raise ValueError("coef and se must be vectors of one length, finite, and se over 0")
    if len(b) < 5:
        raise NotEstimableError("no_data", f"{len(b)} negative controls; the empirical null needs five")
    unit = float(np.sqrt(np.mean(s**2)))

    def profile(spread: float) -> tuple[float, float]:
        """Mean at a spread, and twice the negative log likelihood."""
        variance = s**2 + (spread * unit) ** 2
        mean = float((b / variance).sum() / (1 / variance).sum())
        return mean, float((np.log(variance) + (b - mean) ** 2 / variance).sum())

    widest = 2 * float(b.std() + unit) / unit
    found = optimize.minimize_scalar(lambda spread: profile(spread)[1], bounds=(0, widest), method="bounded")
    spread = float(found.x) if profile(float(found.x))[1] < profile(0.0)[1] else 0.0
    return EmpiricalNull(profile(spread)[0], spread * unit, len(b))


def benjamini_hochberg(minus_log10_p: npt.ArrayLike) -> Floats:
    """Benjamini-Hochberg q of each test, from -log10 p so that no p underflows; NaN stays NaN and is not counted.

    A q under the smallest positive float is that float, never 0.

    Reference:
        Benjamini & Hochberg 1995; monotone as R's ``p.adjust``.
    """
    scores = np.asarray(minus_log10_p, np.float64)
    q = np.full(scores.shape, np.nan)
    tested = np.flatnonzero(~np.isnan(scores))
    if not len(tested):
        return q
    order = tested[np.argsort(scores[tested], kind="stable")]  # the largest p first
    m = len(order)
    rank = np.arange(m, 0, -1)
    adjusted = np.maximum.accumulate(scores[order] + np.log10(rank / m))
    q[order] = np.maximum(10.0**-adjusted, np.finfo(float).tiny)
    return q
