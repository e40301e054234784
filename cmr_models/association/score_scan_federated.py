"""The scan over sites that share sums, never rows: the same numbers as from the pooled table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from cmr_models.association.score_block import Block, Design, block_table, expit, gram_matrices, inverses

Floats = npt.NDArray[np.float64]

_MAX_STEPS = 30
_TOLERANCE = 1e-10
_MAX_STEP = 4.0
_ROUNDING = 1e-8


class Sums(NamedTuple):
    """Arrays that add up over sites, in the order of the message they answer."""

    parts: tuple[Floats, ...]

    def plus(self, other: Sums) -> Sums:
        """Both sites together."""
        return Sums(tuple(a + b for a, b in zip(self.parts, other.parts, strict=True)))


class Frame(NamedTuple):
    """Common units: means and SDs of exposures and covariates over all sites; SD 1 where a column is constant."""

    x_mean: Floats
    x_sd: Floats
    z_mean: Floats
    z_sd: Floats
    constant: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Site:
    """The rows of one site, and the only questions it answers.

    Attributes:
        x: ``(n, e)`` exposures; ``y (n, o)`` outcomes, NaN where excluded; ``z (n, k)`` covariates.
    """

    x: Floats
    y: Floats
    z: Floats

    def count(self) -> Sums:
        """People and sums of exposures and covariates."""
        return Sums((np.array([float(len(self.x))]), self.x.sum(axis=0), self.z.sum(axis=0)))

    def spread(self, x_mean: Floats, z_mean: Floats) -> Sums:
        """Squared distances from the common means."""
        return Sums((((self.x - x_mean) ** 2).sum(axis=0), ((self.z - z_mean) ** 2).sum(axis=0)))

    def outcomes(self) -> Sums:
        """People in each comparison, and sum and sum of squares of the outcome."""
        y = np.nan_to_num(self.y)
        return Sums(((~np.isnan(self.y)).sum(axis=0).astype(float), y.sum(axis=0), (y**2).sum(axis=0)))

    def null(self, frame: Frame, coef: Floats) -> Sums:
        """Gradient ``(k, o)`` and information ``(o, k, k)`` of the logistic null models at ``coef (k, o)``."""
        design, mask, y = self._design(frame)
        chance = expit(design.q @ coef)
        return Sums((design.q.T @ (y - mask * chance), gram_matrices(mask * chance * (1 - chance), design)))

    def scores(self, frame: Frame, coef: Floats | None) -> Sums:
        """Of exposures at the null: ``x'r, x²'w (e, o)``, ``x'wq (e, k, o)``, ``q'wq``, ``q'y``; w is 1 if linear."""
        design, mask, y = self._design(frame)
        weight, residual = mask, y
        if coef is not None:
            chance = expit(design.q @ coef)
            weight, residual = mask * chance * (1 - chance), y - mask * chance
        crossed = np.einsum("ne,nk,no->eko", design.x, design.q, weight, optimize=True)
        gram = gram_matrices(weight, design)
        products = design.x.T @ residual, (design.x**2).T @ weight, crossed, gram, design.q.T @ y
        return Sums(products)

    def _design(self, frame: Frame) -> tuple[Design, Floats, Floats]:
        q = np.column_stack([np.ones(len(self.z)), (self.z - frame.z_mean) / frame.z_sd])
        first, second = np.triu_indices(q.shape[1])
        x = (self.x - frame.x_mean) / frame.x_sd
        design = Design(x, frame.x_sd, frame.constant, q, q[:, first] * q[:, second])
        return design, (~np.isnan(self.y)).astype(float), np.nan_to_num(self.y)


def federated_scan(
    sites: Sequence[Site], x_names: Sequence[str], y_names: Sequence[str], *, family: Literal["linear", "logistic"]
) -> pd.DataFrame:
    """What :func:`cmr_models.association.scan` gives for all rows together, from sums alone.

    Args:
        sites: with the same columns in the same order.
        x_names, y_names: of the exposures and the outcomes.
        family: as for the scan.

    Raises:
        ValueError: no site, columns that differ, missing exposures or covariates, an unknown family.
    """
    if family not in ("linear", "logistic") or not sites:
        raise ValueError(f"a federated scan needs at least one site, and family 'linear' or 'logistic', got {family!r}")
    if len({(s.x.shape[1], s.y.shape[1], s.z.shape[1]) for s in sites}) > 1:
        raise ValueError("sites must have the same exposures, outcomes and covariates")
    if not all(np.isfinite(s.x).all() and np.isfinite(s.z).all() for s in sites):
        raise ValueError("exposures and covariates must be finite; drop or impute those people first")
    frame = _frame(sites)
    n, total, squares = _add([site.outcomes() for site in sites])
    block = _linear(sites, frame, n, total, squares) if family == "linear" else _logistic(sites, frame, n, total)
    nothing = np.zeros((0, len(x_names)))
    spread = np.where(frame.constant, np.nan, frame.x_sd)
    return block_table(Design(nothing, spread, frame.constant, nothing, nothing), block, list(x_names), list(y_names))


def _add(answers: Sequence[Sums]) -> tuple[Floats, ...]:
    return reduce(Sums.plus, answers).parts


def _frame(sites: Sequence[Site]) -> Frame:
    n, x_sum, z_sum = _add([site.count() for site in sites])
    x_mean, z_mean = x_sum / n, z_sum / n
    x_sd, z_sd = (np.sqrt(part / n) for part in _add([site.spread(x_mean, z_mean) for site in sites]))
    constant = x_sd <= _ROUNDING * np.maximum(np.abs(x_mean), np.finfo(float).tiny)
    flat = z_sd <= _ROUNDING * np.maximum(np.abs(z_mean), np.finfo(float).tiny)
    return Frame(x_mean, np.where(constant, 1.0, x_sd), z_mean, np.where(flat, 1.0, z_sd), constant)


def _logistic(sites: Sequence[Site], frame: Frame, n: Floats, cases: Floats) -> Block:
    reason = np.where(
        n == 0, "no_data", np.where(cases == 0, "too_few_cases", np.where(cases == n, "too_few_controls", ""))
    )
    share = np.clip(cases / np.maximum(n, 1), 0.5 / np.maximum(n, 1), 1 - 0.5 / np.maximum(n, 1))
    coef = np.zeros((len(frame.z_mean) + 1, len(n)))
    coef[0] = np.log(share / (1 - share))
    converged = reason != ""
    for _ in range(_MAX_STEPS):
        gradient, information = _add([site.null(frame, coef) for site in sites])
        step = np.einsum("bij,jb->ib", inverses(information)[0], gradient)
        converged = converged | (np.einsum("ib,ib->b", step, gradient) < _TOLERANCE)
        if converged.all():
            break
        size = np.maximum(np.abs(step).max(axis=0), 1e-300)
        coef = coef + np.where(converged, 0, step * np.minimum(1, _MAX_STEP / size))
    reason = np.where((reason == "") & ~converged, "not_converged", reason)
    score, own, crossed, gram, _ = _add([site.scores(frame, coef) for site in sites])
    variance = own - np.einsum("eib,bij,ejb->eb", crossed, inverses(gram)[0], crossed, optimize=True)
    unlimited, nothing = np.full(len(n), np.inf), np.full(len(n), np.nan)
    apart = variance > _ROUNDING * own
    return Block(score, variance, apart, n, cases, unlimited, nothing, np.ones(len(n)), reason.astype(object))


def _linear(sites: Sequence[Site], frame: Frame, n: Floats, total: Floats, squares: Floats) -> Block:
    product, own, crossed, gram, q_y = _add([site.scores(frame, None) for site in sites])
    inverse, rank = inverses(gram)
    coef = np.einsum("bij,jb->ib", inverse, q_y)
    variance = own - np.einsum("eib,bij,ejb->eb", crossed, inverse, crossed, optimize=True)
    rest = squares - (coef * q_y).sum(axis=0)
    df = n - rank - 1
    varies = squares - total**2 / np.maximum(n, 1) > _ROUNDING * np.maximum(squares, np.finfo(float).tiny)
    reason = np.where(n == 0, "no_data", np.where(df < 1, "too_few_people", np.where(varies, "", "constant_exposure")))
    score = product - np.einsum("ekb,kb->eb", crossed, coef)
    nothing, apart = np.full(len(n), np.nan), variance > _ROUNDING * own
    return Block(score, variance, apart, n, nothing, df, rest, np.ones(len(n)), reason.astype(object))
