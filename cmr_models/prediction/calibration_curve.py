"""Do predicted risks come true? In the large, in slope, along the curve, and over all of follow-up."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from cmr_models.estimates import NotEstimableError, minus_log10_p_chi2
from cmr_models.prediction.horizon import Bools, Floats, check_risk, check_times
from cmr_models.survival.baseline import predict_risk
from cmr_models.survival.cox import fit_cox
from cmr_models.survival.product_limit import kaplan_meier
from cmr_models.survival.splines import default_knots, restricted_cubic

_Z95 = float(stats.norm.ppf(0.975))
_EDGE = 1e-6
_KNOTS = (4, 3)
_D_BINS = 10


class Calibration(NamedTuple):
    """Attributes:
    observed, expected: chance of the event by the horizon: Kaplan-Meier, and mean predicted.
    ratio, ratio_se, ratio_ci_low, ratio_ci_high: observed over expected, the predictions taken as they are.
    slope, slope_se: coefficient of ``log(-log(1 - risk))`` in a Cox model; under 1 where risks are too extreme.
    ici, e50, e90: mean, median and 90th percentile of the distance between the smoothed curve and the diagonal.
    ici_se, ici_ci_low, ici_ci_high: error by the bootstrap of people, and the interval of that error, cut at 0; NaN
        without one. The mean of a distance lies over 0 even for perfect predictions, and the more so the fewer people,
        and resamples lie higher still: percentiles of them would leave the estimate out.
    curve: ``predicted, observed`` of each person, by predicted.
    deciles: ``predicted, observed, ci_low, ci_high, n, n_events`` of tenths of predicted risk.
    """

    observed: float
    expected: float
    ratio: float
    ratio_se: float
    ratio_ci_low: float
    ratio_ci_high: float
    slope: float
    slope_se: float
    ici: float
    e50: float
    e90: float
    ici_se: float
    ici_ci_low: float
    ici_ci_high: float
    curve: pd.DataFrame
    deciles: pd.DataFrame


def calibration(
    exit: npt.ArrayLike,
    event: npt.ArrayLike,
    risk: npt.ArrayLike,
    horizon: float,
    *,
    rng: np.random.Generator | None = None,
    n_bootstrap: int = 100,
) -> Calibration:
    """Calibration of predicted risk of the event by ``horizon``.

    Args:
        exit: ``(n,)`` times.
        event: ``(n,)`` boolean.
        risk: ``(n,)`` predicted chance of the event by ``horizon``.
        horizon: in the unit of the times.
        rng: draws the resamples of the error of ``ici``; None: no error.
        n_bootstrap: resamples.

    Raises:
        ValueError: lengths differ, values are not finite, a risk outside [0, 1].
        NotEstimableError: no event by the horizon, nobody observed so long, or everybody has one risk.

    Reference:
        Austin, Harrell & van Klaveren 2020, 10.1002/sim.8570 (Cox model on a restricted cubic spline of the
        complementary log-log of the risk); observed over expected of Debray 2017, 10.1136/bmj.i6460.
    """
    times, events, (predicted,) = check_times(exit, event, risk)
    check_risk(predicted)
    if not (events & (times <= horizon)).any():
        raise NotEstimableError("too_few_cases", f"no event by {horizon}")
    if times.max() < horizon:
        raise NotEstimableError("no_data", f"nobody is observed up to {horizon}")
    if np.ptp(predicted) == 0:
        raise NotEstimableError("constant_exposure", "everybody has one predicted risk")
    return _calibration(times, events, predicted, horizon, (rng, n_bootstrap))


def _calibration(
    times: Floats, events: Bools, predicted: Floats, horizon: float, bootstrap: tuple[np.random.Generator | None, int]
) -> Calibration:
    frame = pd.DataFrame({"t": times, "d": events & (times <= horizon), "lp": _log_log(predicted)})
    alive, low, high = (float(part[0]) for part in kaplan_meier(times, frame["d"]).at([horizon]))
    expected = float(predicted.mean())
    fit = fit_cox(frame, exit="t", event="d", covariates=["lp"])
    smooth = _smooth(frame, horizon)
    apart = np.abs(smooth - predicted)
    drawn = _resample_ici(frame, predicted, horizon, *bootstrap)
    ici, ici_se = float(apart.mean()), float(drawn.std(ddof=1)) if len(drawn) > 1 else float("nan")
    order = np.argsort(predicted, kind="stable")
    return Calibration(
        observed=1 - alive,
        expected=expected,
        ratio=(1 - alive) / expected,
        ratio_se=_error_of(alive, low, high) / expected,
        ratio_ci_low=(1 - high) / expected,
        ratio_ci_high=(1 - low) / expected,
        slope=float(fit.estimates["coef"].iloc[0]),
        slope_se=float(fit.estimates["se"].iloc[0]),
        ici=ici,
        e50=float(np.median(apart)),
        e90=float(np.quantile(apart, 0.9)),
        ici_se=ici_se,
        ici_ci_low=float(np.maximum(ici - _Z95 * ici_se, 0)),
        ici_ci_high=ici + _Z95 * ici_se,
        curve=pd.DataFrame({"predicted": predicted[order], "observed": smooth[order]}),
        deciles=_deciles(times, frame["d"].to_numpy(bool), predicted, horizon),
    )


def d_calibration(exit: npt.ArrayLike, event: npt.ArrayLike, survival_at_exit: npt.ArrayLike) -> dict[str, float]:
    """Are predicted survival chances at the observed times uniform? ``chi2, df, p, minus_log10_p``.

    Args:
        exit: ``(n,)`` times.
        event: ``(n,)`` boolean.
        survival_at_exit: ``(n,)`` each person's predicted chance of being without the event at their own exit.

    Reference:
        Haider 2020, JMLR 21:85: a censored person is spread evenly over what is left below their chance; the test
        ignores that, and is conservative under much censoring.
    """
    _, events, (chance,) = check_times(exit, event, survival_at_exit)
    check_risk(chance)
    low = np.arange(_D_BINS) / _D_BINS
    at = np.minimum((chance * _D_BINS).astype(int), _D_BINS - 1)
    counts = np.bincount(at[events], minlength=_D_BINS).astype(float)
    censored = np.maximum(chance[~events], _EDGE)
    share = np.clip(censored[:, None] - low, 0, 1 / _D_BINS) / censored[:, None]
    counts += share.sum(axis=0)
    wanted = len(chance) / _D_BINS
    chi2 = float(((counts - wanted) ** 2 / wanted).sum())
    tail = {"p": float(stats.chi2.sf(chi2, _D_BINS - 1)), "minus_log10_p": float(minus_log10_p_chi2(chi2, _D_BINS - 1))}
    return {"chi2": chi2, "df": float(_D_BINS - 1), **tail}


def _error_of(alive: float, low: float, high: float) -> float:
    """Standard error of survival from its log(-log) interval, by the delta method."""
    inner = [np.log(-np.log(limit)) for limit in (low, high)]
    return float(alive * abs(np.log(alive)) * (inner[0] - inner[1]) / (2 * _Z95)) if 0 < alive < 1 else float("nan")


def _resample_ici(
    frame: pd.DataFrame, predicted: Floats, horizon: float, rng: np.random.Generator | None, count: int
) -> Floats:
    """``(count or fewer,)`` of people drawn anew; none without ``rng``.

    Not within cases and others: how many events there are is most of what calibration does not know.
    """
    if rng is None:
        return np.zeros(0)
    found: list[float] = []
    for _ in range(count):
        rows = rng.integers(0, len(frame), len(frame))
        try:
            smooth = _smooth(frame.iloc[rows].reset_index(drop=True), horizon)
        except NotEstimableError:
            continue
        found.append(float(np.abs(smooth - predicted[rows]).mean()))
    return np.array(found)


def _log_log(risk: Floats) -> Floats:
    return np.asarray(np.log(-np.log1p(-np.clip(risk, _EDGE, 1 - _EDGE))), np.float64)


def _smooth(frame: pd.DataFrame, horizon: float) -> Floats:
    """``(n,)`` observed risk at each predicted one; a straight line where too few risks differ for knots."""
    basis = frame["lp"].to_numpy(float)[:, None]
    for count in _KNOTS:
        try:
            basis = restricted_cubic(frame["lp"], default_knots(frame["lp"], count))
            break
        except ValueError:  # knots coincide
            continue
    names = [f"s{j}" for j in range(basis.shape[1])]
    wide = pd.DataFrame(basis, columns=names).assign(t=frame["t"], d=frame["d"])
    fit = fit_cox(wide, exit="t", event="d", covariates=names)
    kept = fit.estimates.loc[fit.estimates["status"] == "ok", "term"].tolist()
    if len(kept) < len(names):
        fit = fit_cox(wide, exit="t", event="d", covariates=kept or names[:1])
    return predict_risk(fit, wide, [horizon])[:, 0]


def _deciles(times: Floats, events: Bools, risk: Floats, horizon: float) -> pd.DataFrame:
    tenth = np.minimum((stats.rankdata(risk) - 0.5) / len(risk) * 10, 9.999).astype(int)
    rows = []
    for k in np.unique(tenth):
        here = tenth == k
        alive, low, high = (float(part[0]) for part in kaplan_meier(times[here], events[here]).at([horizon]))
        counts = {"n": int(here.sum()), "n_events": int(events[here].sum())}
        rows.append(
            {"predicted": risk[here].mean(), "observed": 1 - alive, "ci_low": 1 - high, "ci_high": 1 - low, **counts}
        )
    return pd.DataFrame(rows)
