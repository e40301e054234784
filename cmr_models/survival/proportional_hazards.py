"""Do the hazards stay proportional? A score test of each covariate times a function of time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from cmr_models.estimates import minus_log10_p_chi2
from cmr_models.survival.cox import CoxFit
from cmr_models.survival.partial_likelihood import curvature, make_terms, score
from cmr_models.survival.product_limit import kaplan_meier

Floats = npt.NDArray[np.float64]
Transform = Literal["km", "identity", "log", "rank"]


def check_proportional_hazards(fit: CoxFit, transform: Transform = "km") -> pd.DataFrame:
    """Test whether coefficients change with time.

    Args:
        fit: a Cox model.
        transform: of time: ``"km"``, one minus the Kaplan-Meier curve just before (of all strata, without
            weights); ``"identity"``; ``"log"``; ``"rank"`` among all times of exit.

    Returns:
        One row a covariate, the indicators of one text tested together: ``term, chi2, df, p,
        minus_log10_p, status``; the last row, ``GLOBAL``, tests all. A term without a finite coefficient
        has no test (``status`` as in the fit) and is left out of ``GLOBAL``.

    Raises:
        ValueError: an unknown transform; ``"log"`` of an event at or before 0.

    Reference:
        Grambsch & Therneau 1994, 10.1093/biomet/81.3.515; the score test itself as in R's survival from
        version 3.0, in place of its earlier approximation.
    """
    gradient, information = _derivatives_with_time(fit, transform)
    p = len(gradient) // 2
    status = fit.estimates.set_index("term")["status"]
    kept_status = status.loc[fit.covariate_of.index].to_numpy()
    owners = fit.covariate_of.to_numpy()
    rows: list[dict[str, Any]] = []
    for name in dict.fromkeys(fit.covariate_of):
        tested = np.flatnonzero((owners == name) & (kept_status == "ok"))
        rows.append(_score_test(str(name), gradient, information, tested, p))
    rows += [{"term": str(name), "df": 0, "status": "aliased"} for name in status.index if _is_lost(fit, str(name))]
    rows.append(_score_test("GLOBAL", gradient, information, np.flatnonzero(kept_status == "ok"), p))
    return pd.DataFrame(rows, columns=["term", "chi2", "df", "p", "minus_log10_p", "status"])


def _is_lost(fit: CoxFit, term: str) -> bool:
    """Whether an aliased term was all that its covariate had."""
    return term not in fit.covariate_of.index and term.rsplit("=", 1)[0] not in set(fit.covariate_of)


def _derivatives_with_time(fit: CoxFit, transform: Transform) -> tuple[Floats, Floats]:
    """``(2p,)`` gradient and ``(2p, 2p)`` information of the covariates and of their products with time."""
    coef, likelihood = fit.standard_coef, fit.likelihood
    p = len(coef)
    gradient, information = np.zeros(2 * p), np.zeros((2 * p, 2 * p))
    by_time, centre = _time_transform(fit, transform)
    for at, x in zip(likelihood.strata, likelihood.covariates, strict=True):
        g = by_time(at.times) - centre
        terms = make_terms(coef, x, at)
        gradient[p:] += score(terms, x, at, g)
        crossed = curvature(terms, x, at, g)
        information[:p, :p] += curvature(terms, x, at)
        information[:p, p:] += crossed
        information[p:, :p] += crossed.T
        information[p:, p:] += curvature(terms, x, at, g**2)
    return gradient, information


def _time_transform(fit: CoxFit, transform: Transform) -> tuple[Callable[[Floats], Floats], float]:
    """The function of time, and its mean over the events."""
    observed = fit.observed
    exit, event = observed["exit"].to_numpy(), observed["event"].to_numpy()
    function = _function(exit, event, observed["entry"].to_numpy(), transform)
    return function, float(function(exit[event]).mean())


def _function(
    exit: Floats, event: npt.NDArray[np.bool_], entry: Floats, transform: Transform
) -> Callable[[Floats], Floats]:
    curve, ordered = kaplan_meier(exit, event, entry), np.sort(exit)

    def dead_before(times: Floats) -> Floats:
        survival = np.concatenate([[1.0], curve.survival])
        return np.asarray(1 - survival[np.searchsorted(curve.time, times, "left")], np.float64)

    def rank(times: Floats) -> Floats:
        below, until = np.searchsorted(ordered, times, "left"), np.searchsorted(ordered, times, "right")
        return np.asarray((below + until + 1) / 2, np.float64)

    def logarithm(times: Floats) -> Floats:
        if (times <= 0).any():
            raise ValueError("transform 'log' needs event times over 0; choose 'km'")
        return np.asarray(np.log(times), np.float64)

    def identity(times: Floats) -> Floats:
        return times

    functions = {"km": dead_before, "rank": rank, "log": logarithm, "identity": identity}
    if transform not in functions:
        raise ValueError(f"transform must be one of {sorted(functions)}, got {transform!r}")
    return functions[transform]


def _score_test(
    term: str, gradient: Floats, information: Floats, tested: npt.NDArray[np.intp], p: int
) -> dict[str, Any]:
    if not len(tested):
        return {"term": term, "df": 0, "status": "infinite"}
    chosen = np.concatenate([np.arange(p), p + tested])
    u = np.concatenate([np.zeros(p), gradient[p + tested]])
    # A term whose coefficient is infinite leaves next to no information: least squares passes it over.
    solved, *_ = np.linalg.lstsq(information[np.ix_(chosen, chosen)], u, rcond=1e-12)
    chi2, df = float(u @ solved), len(tested)
    tail = {"p": float(stats.chi2.sf(chi2, df)), "minus_log10_p": float(minus_log10_p_chi2(chi2, df))}
    return {"term": term, "chi2": chi2, "df": df, "status": "ok", **tail}
