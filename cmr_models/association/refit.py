"""The pairs that a scan found, fitted on their own: penalised likelihood for disease, likelihood ratio for times."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import optimize, stats

from cmr_models.association.firth import fit_firth_logistic
from cmr_models.estimates import NotEstimableError, minus_log10_p_chi2
from cmr_models.estimates.design_matrix import independent_columns
from cmr_models.survival.cox import fit_cox

Floats = npt.NDArray[np.float64]

_CRITICAL = float(stats.chi2.ppf(0.95, 1)) / 2
_FAR = 60.0
_MAX_STEPS = 100


def refit_hits(
    scanned: pd.DataFrame,
    exposures: pd.DataFrame,
    outcomes: pd.DataFrame | Mapping[str, pd.DataFrame],
    covariates: pd.DataFrame | None,
    *,
    family: Literal["logistic", "cox"],
    threshold: float,
    few_cases: int = 200,
    method: Literal["firth", "approximate_firth"] = "firth",
) -> pd.DataFrame:
    """Refit the pairs of a scan whose evidence reaches ``threshold``, or that have few cases and |z| over 2.

    Args:
        scanned: what :func:`cmr_models.association.scan` returned.
        exposures, outcomes, covariates: as given to it; frames, so that rows find their columns.
        family: ``"logistic"`` (Firth's penalised likelihood ratio) or ``"cox"`` (likelihood ratio).
        threshold: -log10 p from which a pair is refitted.
        few_cases: below so many cases the score test is not trusted beyond |z| of 2.
        method: ``"approximate_firth"`` holds the covariates' effects at the null model, which is faster by far.

    Returns:
        ``scanned`` with ``coef, se, minus_log10_p`` of the refit (z its signed root) where there was one, ``ci_low``,
        ``ci_high``, and ``method``: ``score`` or that of the refit. A refit that fails is a row with its reason.

    Reference:
        Firth 1993, 10.1093/biomet/80.1.27; with frozen covariates as in Mbatchou 2021, 10.1038/s41588-021-00870-7.
    """
    if family not in ("logistic", "cox") or method not in ("firth", "approximate_firth"):
        raise ValueError(f"family must be 'logistic' or 'cox' and method a Firth one, got {family!r}, {method!r}")
    few = (scanned["n_cases"] < few_cases) & (scanned["z"].abs() > 2)
    chosen = (scanned["status"] == "ok") & ((scanned["minus_log10_p"] >= threshold) | few)
    table = scanned.assign(ci_low=np.nan, ci_high=np.nan, method="score")
    z = pd.DataFrame(index=exposures.index) if covariates is None else covariates
    for row in scanned.index[chosen]:
        pair = str(scanned.at[row, "exposure"]), str(scanned.at[row, "outcome"])
        values = _refit(exposures[pair[0]], outcomes[pair[1]], z, family, method)
        for name, value in values.items():
            table.at[row, name] = value
    return table


_NOTHING = dict.fromkeys(("coef", "se", "ci_low", "ci_high", "z", "minus_log10_p"), np.nan)


def _refit(
    x: pd.Series, outcome: pd.Series | pd.DataFrame, z: pd.DataFrame, family: str, method: str
) -> dict[str, Any]:
    label = "likelihood_ratio" if family == "cox" else method
    try:
        if isinstance(outcome, pd.DataFrame):
            values = _cox(x, outcome, z)
        else:
            values = _logistic(x.to_numpy(float), outcome.to_numpy(float), z.to_numpy(float), method)
    except NotEstimableError as error:
        return {**_NOTHING, "status": "failed", "reason": error.reason, "method": label}
    root = np.sqrt(max(values.pop("chi2"), 0.0)) * np.sign(values["coef"])
    return {**values, "z": float(root), "method": label}


def _cox(x: pd.Series, outcome: pd.DataFrame, z: pd.DataFrame) -> dict[str, float]:
    table = pd.DataFrame(z.to_numpy(float), columns=[f"z{j}" for j in range(z.shape[1])])
    table = table.assign(x=x.to_numpy(float), **{str(name): outcome[name].to_numpy(float) for name in outcome})
    table = table.dropna()
    names = [f"z{j}" for j in range(z.shape[1])]
    entry = "entry" if "entry" in table else None
    fit = fit_cox(table, exit="exit", event="event", entry=entry, covariates=[*names, "x"])
    own = fit.estimates.iloc[-1]
    if own["status"] != "ok":
        raise NotEstimableError("collinear" if own["status"] == "aliased" else "separation")
    null = fit.log_likelihood_null
    if names and independent_columns(table[names].to_numpy()).any():
        null = fit_cox(table, exit="exit", event="event", entry=entry, covariates=names).log_likelihood
    chi2 = 2 * (fit.log_likelihood - null)
    values = {name: float(own[name]) for name in ("coef", "se", "ci_low", "ci_high")}
    return {**values, "chi2": chi2, "minus_log10_p": float(minus_log10_p_chi2(max(chi2, 0.0), 1))}


def _logistic(x: Floats, y: Floats, z: Floats, method: str) -> dict[str, float]:
    here = ~np.isnan(y)
    x, y, z = x[here], y[here], z[here]
    if method == "approximate_firth":
        return approximate_firth(x, y, z)._asdict()
    both = pd.DataFrame(z, columns=[f"z{j}" for j in range(z.shape[1])]).assign(x=x)
    own = fit_firth_logistic(both, y, terms=["x"]).estimates.iloc[-2]
    if own["status"] != "ok":
        raise NotEstimableError("collinear")
    return {name: float(own[name]) for name in OneTerm._fields}


class OneTerm(NamedTuple):
    """One coefficient, its standard error, profile interval, penalised likelihood ratio and -log10 p."""

    coef: float
    se: float
    ci_low: float
    ci_high: float
    chi2: float
    minus_log10_p: float


def approximate_firth(x: Floats, y: Floats, z: Floats) -> OneTerm:
    """Firth's estimate of one exposure with the covariates' effects frozen at the null model.

    The intercept is free: frozen too, a large effect would be too small by a tenth.

    Args:
        x: ``(n,)`` exposure; made free of the covariates by the null model's weights.
        y: ``(n,)`` 0 or 1.
        z: ``(n, k)`` covariates without an intercept.

    Raises:
        NotEstimableError: no cases, no controls, or the exposure is a combination of the covariates.
    """
    if not y.any() or y.all():
        raise NotEstimableError("too_few_controls" if y.all() else "too_few_cases")
    offset, design = _null(y, z)
    weight = (chance := 1 / (1 + np.exp(-offset))) * (1 - chance)
    root = np.sqrt(weight)
    centred = x - x.mean()
    fitted, *_ = np.linalg.lstsq(design * root[:, None], centred * root, rcond=1e-10)
    rest = centred - design @ fitted
    spread = float(np.sqrt((weight * rest**2).sum() / weight.sum()))
    if not spread > 1e-8 * max(float(np.abs(x).max()), np.finfo(float).tiny):
        raise NotEstimableError("constant_exposure" if np.ptp(x) == 0 else "collinear")
    unit = rest / spread

    penalised = _profile(offset, unit, y)
    best = optimize.minimize_scalar(lambda coef: -penalised(coef), bracket=(-0.5, 0.5), tol=1e-12)
    coef, top = float(best.x), -float(best.fun)
    at = _Intercept(offset + coef * unit, unit, y)
    se = float(np.sqrt(at.inverse[2]))
    low, high = (_limit(penalised, coef, top, side * se) for side in (-1, 1))
    chi2 = max(2 * (top - penalised(0.0)), 0.0)
    evidence = float(minus_log10_p_chi2(chi2, 1))
    return OneTerm(coef / spread, se / spread, low / spread, high / spread, chi2, evidence)


class _Intercept:
    """The best intercept beside a fixed linear predictor ``eta (n,)``, with the penalty of it and of ``unit (n,)``.

    Attributes:
        value: penalised log likelihood.
        inverse: of the information: of the intercept, crossed, of ``unit``.
    """

    def __init__(self, eta: Floats, unit: Floats, y: Floats) -> None:
        intercept = 0.0
        for _ in range(_MAX_STEPS):
            moved = eta + intercept
            p = 1 / (1 + np.exp(-np.clip(moved, -700, 700)))
            weight = p * (1 - p)
            i00, i01, i11 = float(weight.sum()), float(weight @ unit), float(weight @ unit**2)
            determinant = max(i00 * i11 - i01**2, 1e-300)
            self.inverse = (i11 / determinant, -i01 / determinant, i00 / determinant)
            leverage = weight * (self.inverse[0] + 2 * self.inverse[1] * unit + self.inverse[2] * unit**2)
            step = float((y - p + leverage * (0.5 - p)).sum()) / max(i00, 1e-300)
            intercept += float(np.clip(step, -2, 2))
            if abs(step) < 1e-10:
                break
        else:
            raise NotEstimableError("not_converged", "the intercept")
        self.value = float(y @ moved - np.logaddexp(0, moved).sum() + np.log(determinant) / 2)


def _profile(offset: Floats, unit: Floats, y: Floats) -> Callable[[float], float]:
    return lambda coef: _Intercept(offset + coef * unit, unit, y).value


def _null(y: Floats, z: Floats) -> tuple[Floats, Floats]:
    """``(n,)`` linear predictor of the covariates alone by Newton's method on Firth's score, and the design."""
    kept = independent_columns(z) if z.shape[1] else np.zeros(0, bool)
    standard = (z[:, kept] - z[:, kept].mean(axis=0)) / z[:, kept].std(axis=0)
    design = np.column_stack([np.ones(len(y)), standard])
    coef = np.zeros(design.shape[1])
    share = (y.sum() + 0.5) / (len(y) + 1)
    coef[0] = np.log(share / (1 - share))
    for _ in range(_MAX_STEPS):
        p = 1 / (1 + np.exp(-(design @ coef)))
        weight = p * (1 - p)
        inverse = np.linalg.inv((design * weight[:, None]).T @ design)
        leverage = weight * np.einsum("ni,ij,nj->n", design, inverse, design)
        step = inverse @ (design.T @ (y - p + leverage * (0.5 - p)))
        coef = coef + np.clip(step, -2, 2)
        if np.abs(step).max() < 1e-9:
            return design @ coef, design
    raise NotEstimableError("not_converged", "the covariates alone")


def _limit(penalised: Callable[[float], float], coef: float, top: float, step: float) -> float:
    """Where the penalised likelihood is lower by half the 95 % point of chi-squared; infinite if it never is."""
    far = coef + step
    while penalised(far) > top - _CRITICAL:
        step *= 2
        far = coef + step
        if abs(step) > _FAR:
            return float(np.inf * step)
    return float(optimize.brentq(lambda value: penalised(value) - top + _CRITICAL, coef, far, xtol=1e-10))
