"""The Kaplan-Meier curve with delayed entry, its interval and the numbers at risk."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from cmr_models.estimates.design_matrix import numbers
from cmr_models.survival.checks import check_events, check_order

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_Z95 = float(stats.norm.ppf(0.975))
# What a product of shares that is exactly one half may be off by: 12 deaths of 24 give 0.5 + 1e-16.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class KaplanMeier:
    """A survival curve: constant between its times, which are those of the events.

    Attributes:
        time: ``(k,)`` distinct event times, ascending.
        survival: ``(k,)`` just after each time.
        ci_low, ci_high: ``(k,)`` 95 % interval on the log(-log) scale; NaN where survival is 0 or 1.
        n_at_risk: ``(k,)`` just before each time.
        n_events: ``(k,)`` at each time.
        entry, exit: ``(n,)`` of the people observed; entry is minus infinity if none was given.
    """

    time: Floats
    survival: Floats
    ci_low: Floats
    ci_high: Floats
    n_at_risk: Ints
    n_events: Ints
    entry: Floats
    exit: Floats

    def at(self, times: npt.ArrayLike) -> tuple[Floats, Floats, Floats]:
        """Survival and its interval at ``times``: 1 (and no interval) before the first event."""
        position = np.searchsorted(self.time, np.asarray(times, np.float64), "right")
        survival = np.concatenate([[1.0], self.survival])[position]
        low = np.concatenate([[np.nan], self.ci_low])[position]
        high = np.concatenate([[np.nan], self.ci_high])[position]
        return survival, low, high

    def at_risk(self, times: npt.ArrayLike) -> Ints:
        """People under observation just before ``times``: entered before, not yet left."""
        times = np.asarray(times, np.float64)
        entered = np.searchsorted(np.sort(self.entry), times, "left")
        left = np.searchsorted(np.sort(self.exit), times, "left")
        return np.asarray(entered - left, np.int64)

    def events_until(self, times: npt.ArrayLike) -> Ints:
        """Events at or before ``times``."""
        position = np.searchsorted(self.time, np.asarray(times, np.float64), "right")
        return np.concatenate([[0], np.cumsum(self.n_events)])[position]

    @property
    def median(self) -> float:
        """First time at which survival is one half or less, but for rounding; infinite if it never is."""
        below = np.flatnonzero(self.survival <= 0.5 + _ROUNDING)
        return float(self.time[below[0]]) if len(below) else float("inf")


def kaplan_meier(exit: npt.ArrayLike, event: npt.ArrayLike, entry: npt.ArrayLike | None = None) -> KaplanMeier:
    """Estimate the survival curve.

    Args:
        exit: ``(n,)`` times of event or censoring.
        event: ``(n,)`` boolean.
        entry: ``(n,)`` delayed entry; at risk on (entry, exit]. Everybody from the start if None.

    Raises:
        ValueError: no rows, lengths differ, values are not finite, exit not after entry, an event that is not
            0 or 1, negative times without entry.

    Reference:
        Kaplan & Meier 1958; Greenwood's variance; interval log(-log) as in Kalbfleisch & Prentice.
    """
    times, events = numbers(exit, "exit"), check_events(event)
    entries = np.full(times.shape, -np.inf) if entry is None else numbers(entry, "entry")
    if times.ndim != 1 or not len(times) or not times.shape == events.shape == entries.shape:
        raise ValueError(f"exit, event and entry must be vectors of one length over 0, got {times.shape}")
    if not np.isfinite(times).all() or np.isnan(entries).any():
        raise ValueError("exit and entry must be finite; drop rows with missing times first")
    check_order(times, None if entry is None else entries)
    distinct, deaths = np.unique(times[events], return_counts=True)
    at_risk = np.searchsorted(np.sort(entries), distinct, "left") - np.searchsorted(np.sort(times), distinct, "left")
    survival = np.cumprod(1 - deaths / at_risk)
    low, high = _interval(survival, at_risk, deaths)
    return KaplanMeier(distinct, survival, low, high, at_risk, deaths, entries, times)


def _interval(survival: Floats, at_risk: Ints, deaths: Ints) -> tuple[Floats, Floats]:
    inner = (survival > 0) & (survival < 1)
    greenwood = np.cumsum(deaths / (at_risk * np.maximum(at_risk - deaths, 1)))
    log_survival = np.log(np.where(inner, survival, 0.5))
    width = _Z95 * np.sqrt(greenwood) / log_survival
    low, high = survival ** np.exp(-width), survival ** np.exp(width)
    return np.where(inner, low, np.nan), np.where(inner, high, np.nan)
