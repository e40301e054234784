"""Weights by which the people who took part represent all who were invited."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from cmr_models.association import fit_logistic
from cmr_models.estimates import NotEstimableError
from cmr_models.estimates.design_matrix import design_columns

Floats = npt.NDArray[np.float64]

_TRIM = 0.99
_CLOSE = 1e-8


def inverse_probability_weights(
    everybody: pd.DataFrame, took_part: str, covariates: Sequence[str], *, trim: float = _TRIM
) -> pd.Series:
    """Stabilised weights of those who took part (were scanned), by logistic regression on what is known of everybody.

    Args:
        everybody: one row a person, in and out, without missing values in ``covariates``.
        took_part: column, true for those who are in.
        covariates: what taking part depends on.
        trim: weights over this quantile become it; 1: none do.

    Returns:
        Weights with a mean of 1 over those who took part, by their index.

    Raises:
        ValueError: missing columns or values.
        NotEstimableError: everybody or nobody took part; a covariate tells those in from those out.

    Reference:
        Robins, Hernán & Brumback 2000, 10.1097/00001648-200009000-00011; van Alten 2022 for UK Biobank.
    """
    fit = fit_logistic(everybody.assign(_in=everybody[took_part].astype(float)), outcome="_in", covariates=covariates)
    terms = fit.estimates
    if (terms["status"] == "infinite").any():
        raise NotEstimableError("separation", f"{list(terms.loc[terms['status'] == 'infinite', 'term'])}")
    kept = terms[terms["status"] == "ok"]
    design = design_columns(everybody, covariates)[kept["term"].tolist()].to_numpy(float)
    score = design @ kept["coef"].to_numpy(float)
    # Odds of being out relative to being in, up to a constant that the mean of 1 takes away, plus one.
    chosen = everybody[took_part].astype(bool).to_numpy()
    intercept = _intercept(score, float(chosen.mean()))
    weight = 1 + np.exp(-(intercept + score[chosen]))
    weight = np.minimum(weight, np.quantile(weight, trim))
    return pd.Series(weight / weight.mean(), index=everybody.index[chosen], name="weight")


def raked_weights(people: pd.DataFrame, margins: Mapping[str, Mapping[str, float]], *, limit: int = 200) -> pd.Series:
    """Weights with a mean of 1 under which the shares of each column are those of a population (raking).

    Args:
        people: one row a person, without missing labels.
        margins: column -> label -> share in the population (sums to 1).
        limit: cycles.

    Raises:
        ValueError: a label without people or without a share; shares that do not sum to 1; no convergence.

    Reference:
        Deming & Stephan 1940, 10.1214/aoms/1177731829.
    """
    weight = np.ones(len(people))
    parts: list[tuple[npt.NDArray[np.intp], Floats]] = []
    for name, shares in margins.items():
        levels = sorted(shares)
        there = set(people[name].astype(str))
        if there != set(levels):
            raise ValueError(
                f"participation.margins.{name}: {len(there - set(levels))} labels of people have no share, and nobody"
                f" has the labels {sorted(set(levels) - there)}; give a share to every label"
            )
        if abs(sum(shares.values()) - 1) > 1e-6:
            raise ValueError(f"{name}: the shares sum to {sum(shares.values()):g}, not to 1")
        codes = pd.Categorical(people[name].astype(str), categories=levels).codes.astype(np.intp)
        wanted = np.array([shares[level] for level in levels])
        parts.append((codes, wanted / wanted.sum()))
    for _ in range(limit):
        before = weight
        for codes, wanted in parts:
            now = np.bincount(codes, weight, len(wanted)) / weight.sum()
            weight = weight * (wanted / now)[codes]
        if np.abs(weight - before).max() < _CLOSE:
            return pd.Series(weight / weight.mean(), index=people.index, name="weight")
    raise ValueError(f"raking did not settle in {limit} cycles; merge small labels")


def effective_size(weight: npt.ArrayLike) -> float:
    """People that an unweighted sample of the same precision would hold (Kish 1965)."""
    w = np.asarray(weight, np.float64)
    return float(w.sum() ** 2 / (w**2).sum())


def _intercept(score: Floats, share: float) -> float:
    """The intercept at which the mean probability is the share that took part."""
    from scipy.optimize import brentq

    def excess(intercept: float) -> float:
        return float((1 / (1 + np.exp(-(intercept + score)))).mean() - share)

    bound = float(np.abs(score).max()) + 40
    return float(brentq(excess, -bound, bound))
