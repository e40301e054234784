"""Score tests of many exposures against a block of outcomes, as sums: what the scans of one site and of many share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from cmr_models.estimates import minus_log10_p, minus_log10_p_t

Floats = npt.NDArray[np.float64]

COLUMNS = ("exposure", "outcome", "n", "n_cases", "coef", "se", "z", "minus_log10_p", "status", "reason")
"""Columns of the table of a scan."""

_SINGULAR = 1e-9
# Information of an exposure per SD below which its coefficient is infinite, as in `design_matrix.is_infinite`.
_NO_INFORMATION = 1 / 144
# Share of the sum of squares that is left to rounding.
_EXACT = 1e-13


@dataclass(frozen=True)
class Design:
    """Exposures free of the covariates, and orthonormal covariates.

    Attributes:
        x: ``(n, e)`` exposures less their regression on the covariates, of unit spread.
        spread: ``(e,)`` SD of that rest; NaN where there is none.
        constant: ``(e,)`` whether the exposure itself does not vary.
        q: ``(n, k)`` orthonormal covariates with the intercept, times the root of n.
        pairs: ``(n, k (k + 1) / 2)`` products of two columns of ``q``.
    """

    x: Floats
    spread: Floats
    constant: npt.NDArray[np.bool_]
    q: Floats
    pairs: Floats

    @property
    def upper(self) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Which columns of ``q`` each of ``pairs`` multiplies."""
        return np.triu_indices(self.q.shape[1])


class Block(NamedTuple):
    """Tests of ``b`` outcomes in standard units: score, its variance, and what the linear family adds.

    Attributes:
        score, variance: ``(e, b)``.
        apart: ``(e, b)`` whether the exposure says something that the covariates do not.
        n, n_cases: ``(b,)``.
        df: ``(b,)`` residual degrees of freedom; infinite if logistic.
        rest: ``(b,)`` residual sum of squares under the null; NaN if logistic.
        scale: ``(b,)`` of the outcome.
        reason: ``(b,)`` why an outcome has no test; empty where it has.
    """

    score: Floats
    variance: Floats
    apart: npt.NDArray[np.bool_]
    n: Floats
    n_cases: Floats
    df: Floats
    rest: Floats
    scale: Floats
    reason: npt.NDArray[np.object_]


def expit(eta: Floats) -> Floats:
    """Chance of a log odds."""
    return np.asarray(1 / (1 + np.exp(-np.clip(eta, -700, 700))), np.float64)


def gram_matrices(weight: Floats, design: Design) -> Floats:
    """``(b, k, k)`` of ``q' diag(weight) q`` for each outcome."""
    k = design.q.shape[1]
    gram = np.empty((weight.shape[1], k, k))
    first, second = design.upper
    gram[:, first, second] = gram[:, second, first] = weight.T @ design.pairs
    return gram


def inverses(gram: Floats) -> tuple[Floats, Floats]:
    """``(b, k, k)`` inverses, blind to directions that do not vary, and ``(b,)`` ranks."""
    values, vectors = np.linalg.eigh(gram)
    kept = values > _SINGULAR * np.maximum(values.max(axis=1, keepdims=True), np.finfo(float).tiny)
    inverted = np.divide(1.0, values, out=np.zeros_like(values), where=kept)
    return (vectors * inverted[:, None, :]) @ vectors.transpose(0, 2, 1), kept.sum(axis=1).astype(float)


def block_table(design: Design, block: Block, x_names: list[str], y_names: list[str]) -> pd.DataFrame:
    """One row a pair, outcome by outcome, with the columns :data:`COLUMNS`; see :func:`cmr_models.association.scan`."""
    apart = block.apart & ~np.isnan(design.spread)[:, None]
    ok = apart & (block.reason == "")
    variance = np.where(ok, block.variance, np.nan)
    coef = block.score / variance
    noise = np.where(np.isinf(block.df), 1.0, np.maximum(block.rest - block.score * coef, 0) / block.df)
    exact = np.isfinite(block.df) & (noise * block.df <= _EXACT * block.rest)
    separated = np.isinf(block.df) & (variance < _NO_INFORMATION)
    ok &= ~exact & ~separated
    coef, noise = np.where(ok, coef, np.nan), np.where(ok, noise, np.nan)
    se = np.sqrt(noise / variance)
    z = np.divide(coef, se, out=np.full_like(coef, np.nan), where=se > 0)
    evidence = minus_log10_p(z) if np.isinf(block.df).all() else minus_log10_p_t(z, np.maximum(block.df, 1))
    unit = block.scale / design.spread[:, None]
    why = np.where(design.constant, "constant_exposure", "collinear").astype(object)[:, None]
    why = np.where(~apart, why, np.where(exact, "exact_fit", np.where(separated, "separation", "")))
    reason = np.where(block.reason != "", block.reason, why)
    e, b = ok.shape
    return pd.DataFrame(
        {
            "exposure": np.tile(np.array(x_names, object), b),
            "outcome": np.repeat(np.array(y_names, object), e),
            "n": np.repeat(block.n, e),
            "n_cases": np.repeat(block.n_cases, e),
            "coef": (coef * unit).T.ravel(),
            "se": (se * unit).T.ravel(),
            "z": z.T.ravel(),
            "minus_log10_p": evidence.T.ravel(),
            "status": np.where(reason == "", "ok", "failed").T.ravel(),
            "reason": reason.T.ravel(),
        }
    )
