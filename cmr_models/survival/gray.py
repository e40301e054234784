"""Gray's test: do cumulative incidence curves of one cause differ between groups?"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from cmr_models.estimates import NotEstimableError, minus_log10_p_chi2
from cmr_models.survival.competing import check_causes

Floats = npt.NDArray[np.float64]


class CurveTest(NamedTuple):
    """A test that curves are equal: ``chi2`` with ``df`` degrees of freedom."""

    chi2: float
    df: int
    p: float
    minus_log10_p: float


class _Counts(NamedTuple):
    """Per distinct event time and group, ``(K, G)``."""

    at_risk: Floats
    of_cause: Floats
    of_others: Floats


def gray_test(
    exit: npt.ArrayLike,
    event: npt.ArrayLike,
    group: npt.ArrayLike,
    cause: int = 1,
    *,
    strata: npt.ArrayLike | None = None,
    rho: float = 0.0,
) -> CurveTest:
    """Test the cumulative incidence of ``cause`` for equality between groups.

    Args:
        exit: ``(n,)`` times of event or censoring.
        event: ``(n,)`` 0 censored, else the code of the cause.
        group: ``(n,)`` labels.
        cause: code of the cause of interest.
        strata: ``(n,)`` labels within which groups are compared; one stratum if None.
        rho: power of one minus the pooled incidence by which differences are weighted.

    Raises:
        ValueError: lengths differ, missing labels, times or codes as in ``check_causes``.
        NotEstimableError: fewer than two groups, or nobody has the cause.

    Reference:
        Gray 1988, 10.1214/aos/1176350951.
    """
    times, codes = check_causes(exit, event, cause)
    groups, labels = pd.factorize(np.asarray(group))
    stratum = np.zeros(len(times), int) if strata is None else pd.factorize(np.asarray(strata))[0]
    if not len(groups) == len(stratum) == len(times):
        raise ValueError(f"group and strata must have the length of exit, {len(times)}")
    if (groups < 0).any() or (stratum < 0).any():
        raise ValueError("group and strata must have no missing labels")
    if len(labels) < 2:
        raise NotEstimableError("too_few_groups", "Gray's test compares at least two")
    score, variance = np.zeros(len(labels)), np.zeros((len(labels), len(labels)))
    for code in np.unique(stratum):
        rows = stratum == code
        parts = _score(_count(times[rows], codes[rows], groups[rows], len(labels)), rho)
        score, variance = score + parts[0], variance + parts[1]
    chi2, df = float(score[:-1] @ np.linalg.pinv(variance[:-1, :-1]) @ score[:-1]), len(labels) - 1
    return CurveTest(chi2, df, float(stats.chi2.sf(chi2, df)), float(minus_log10_p_chi2(chi2, df)))


def _count(times: Floats, codes: npt.NDArray[np.intp], groups: npt.NDArray[np.intp], n_groups: int) -> _Counts:
    distinct = np.unique(times[codes > 0])
    columns: list[list[Floats]] = []
    for g in range(n_groups):
        own, kind = times[groups == g], codes[groups == g]
        at_risk = len(own) - np.searchsorted(np.sort(own), distinct, "left")
        at = [np.searchsorted(distinct, own[kind == code]) for code in (1, 2)]
        leaving = [np.bincount(position, minlength=len(distinct)).astype(np.float64) for position in at]
        columns.append([at_risk.astype(np.float64), *leaving])
    return _Counts(*(np.array([column[j] for column in columns], float).T for j in range(3)))


def _score(counts: _Counts, rho: float) -> tuple[Floats, Floats]:
    """``(G,)`` score and ``(G, G)`` variance of one stratum.

    With S and F the survival and incidence curves of each group just before (-) and after each time, group
    r has the weight h = Y / S-, and the pooled subdistribution hazard is estimated over R = Σ Y (1 - F-) / S-.
    """
    present = counts.at_risk > 0
    at_risk = np.where(present, counts.at_risk, 1.0)
    survival = np.cumprod(np.where(present, 1 - (counts.of_cause + counts.of_others) / at_risk, 1.0), axis=0)
    before = np.concatenate([np.ones_like(survival[:1]), survival[:-1]])
    own = np.cumsum(np.where(present, before * counts.of_cause / at_risk, 0.0), axis=0)
    own_before = np.concatenate([np.zeros_like(own[:1]), own[:-1]])
    h = np.where(present, counts.at_risk / np.where(before > 0, before, 1.0), 0.0)
    deaths, pooled_h = counts.of_cause.sum(axis=1), h.sum(axis=1)
    incidence = np.cumsum(deaths / pooled_h)
    incidence_before = np.concatenate([[0.0], incidence[:-1]])
    weight = (1 - incidence_before) ** rho
    risk = h * (1 - own_before)
    expected = deaths[:, None] * risk / risk.sum(axis=1, keepdims=True)
    score = (weight[:, None] * np.where(present, counts.of_cause - expected, 0)).sum(axis=0)
    # (K, G, G): how the score of i answers to the hazard of k, now (a) and through the curves since (c).
    share = h / pooled_h[:, None]
    a = weight[:, None, None] * h[:, :, None] * (np.eye(h.shape[1]) - share[:, None, :])
    c = np.cumsum(a * (deaths / (pooled_h * (1 - incidence_before)))[:, None, None], axis=0)
    ahead = c[-1]
    left = np.divide(1 - incidence[:, None], survival, out=np.zeros_like(survival), where=survival > 0)
    by_cause = _cause_noise(counts, before, h, deaths, pooled_h)
    by_others = _others_noise(counts, before)
    answer_cause = a + (1 - left)[:, None, :] * (ahead - c)
    answer_others = left[:, None, :] * (ahead - c)
    variance = np.einsum("tik,tjk,tk->ij", answer_cause, answer_cause, by_cause)
    variance += np.einsum("tik,tjk,tk->ij", answer_others, answer_others, by_others)
    return score, variance


def _cause_noise(counts: _Counts, before: Floats, h: Floats, deaths: Floats, pooled_h: Floats) -> Floats:
    """``(K, G)`` variance of the increments of the cause, under the pooled hazard, ties corrected."""
    expected = pooled_h[:, None] * before - 1
    tied = np.divide((deaths - 1)[:, None], expected, out=np.zeros_like(before), where=deaths[:, None] > 1)
    rate = np.divide(before, counts.at_risk, out=np.zeros_like(before), where=counts.at_risk > 0)
    return np.asarray((1 - tied) * rate * (deaths / pooled_h)[:, None], np.float64)


def _others_noise(counts: _Counts, before: Floats) -> Floats:
    """``(K, G)`` variance of the increments of the other causes, ties corrected."""
    others, at_risk = counts.of_others, counts.at_risk
    tied = np.divide(others - 1, at_risk - 1, out=np.zeros_like(before), where=others > 1)
    rate = np.divide(before, at_risk, out=np.zeros_like(before), where=at_risk > 0)
    return np.asarray((1 - tied) * rate**2 * others, np.float64)
