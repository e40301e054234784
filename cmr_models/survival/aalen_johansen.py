"""The chance to have had one of several competing events by each time, with its interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from cmr_models.survival.competing import Counts, check_causes, count_causes

Floats = npt.NDArray[np.float64]

_Z95 = float(stats.norm.ppf(0.975))


@dataclass(frozen=True)
class CumulativeIncidence:
    """A curve that is constant between its times, which are those of any event.

    Attributes:
        time: ``(k,)`` distinct times of an event of any cause, ascending.
        incidence: ``(k,)`` of the cause, just after each time.
        se: ``(k,)``.
        ci_low, ci_high: ``(k,)`` 95 % interval on the log(-log) scale; NaN where the incidence is 0 or 1.
        n_at_risk: ``(k,)`` just before each time.
        n_events: ``(k,)`` of the cause, at each time.
    """

    time: Floats
    incidence: Floats
    se: Floats
    ci_low: Floats
    ci_high: Floats
    n_at_risk: Floats
    n_events: Floats

    def at(self, times: npt.ArrayLike) -> tuple[Floats, Floats, Floats]:
        """Incidence and its interval at ``times``: 0 (and no interval) before the first event."""
        position = np.searchsorted(self.time, np.asarray(times, np.float64), "right")
        incidence = np.concatenate([[0.0], self.incidence])[position]
        low = np.concatenate([[np.nan], self.ci_low])[position]
        high = np.concatenate([[np.nan], self.ci_high])[position]
        return incidence, low, high


def cumulative_incidence(exit: npt.ArrayLike, event: npt.ArrayLike, cause: int = 1) -> CumulativeIncidence:
    """Estimate the cumulative incidence of ``cause``.

    Args:
        exit: ``(n,)`` times of event or censoring.
        event: ``(n,)`` 0 censored, else the code of the cause; boolean where there is one cause.
        cause: code of the cause of interest.

    Raises:
        ValueError: as :func:`cmr_models.survival.competing.check_causes`.
        NotEstimableError: nobody has the cause.

    Reference:
        Aalen & Johansen 1978; variance of Aalen 1978 as in Gray's ``cuminc``; interval log(-log) of the
        incidence, as Choudhury 2002, 10.1002/sim.1071.
    """
    counts = count_causes(*check_causes(exit, event, cause))
    counts = Counts(*(column[counts.of_cause + counts.of_others > 0] for column in counts))
    events = counts.of_cause + counts.of_others
    after = np.cumprod(1 - events / counts.at_risk)
    before = np.concatenate([[1.0], after[:-1]])
    incidence = np.cumsum(before * counts.of_cause / counts.at_risk)
    se = np.sqrt(np.maximum(_variance(counts, before, np.asarray(after, np.float64), incidence), 0))
    low, high = _interval(incidence, se)
    return CumulativeIncidence(counts.time, incidence, se, low, high, counts.at_risk, counts.of_cause)


def _variance(counts: Counts, before: Floats, after: Floats, incidence: Floats) -> Floats:
    """``(k,)`` by expanding ``(F(t) - F(u) ∓ S(u))²`` into running sums over the events at ``u``.

    Where nobody is left, ``remaining`` is 0: other causes then leave no noise, as in ``cuminc``.
    """
    remaining = np.divide(1.0, after, out=np.zeros_like(after), where=after > 0)
    slope = remaining * incidence
    parts = np.zeros((3, len(after)))
    for deaths, own in ((counts.of_cause, 1.0), (counts.of_others, 0.0)):
        ties = np.divide(deaths - 1, counts.at_risk - 1, out=np.zeros_like(deaths), where=deaths > 1)
        share = before**2 * (1 - ties) * deaths / counts.at_risk**2
        lift = own + slope
        parts += np.cumsum([lift**2 * share, lift * remaining * share, remaining**2 * share], axis=1)
    return np.asarray(parts[0] - 2 * incidence * parts[1] + incidence**2 * parts[2], np.float64)


def _interval(incidence: Floats, se: Floats) -> tuple[Floats, Floats]:
    inner = (incidence > 0) & (incidence < 1)
    safe = np.where(inner, incidence, 0.5)
    width = _Z95 * se / (safe * np.abs(np.log(safe)))
    # A width beyond this leaves 0 to 1 whatever it is.
    low, high = (safe ** np.exp(np.clip(side * width, -700, 700)) for side in (1, -1))
    return np.where(inner, low, np.nan), np.where(inner, high, np.nan)
