"""Every exposure against every outcome by batched score tests: one null model an outcome, none a pair."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from cmr_models.association.score_block import COLUMNS, Block, Design, block_table, expit, gram_matrices, inverses
from cmr_models.association.score_scan_cox import CoxScores, check_times, score_times
from cmr_models.estimates.design_matrix import check_sizes, numbers

Floats = npt.NDArray[np.float64]
Table = npt.ArrayLike | pd.DataFrame
Times = Mapping[str, pd.DataFrame]
Family = Literal["linear", "logistic", "cox"]

_OUTCOMES_PER_BLOCK = 64
_ROWS_PER_CHUNK = 2048
_MAX_STEPS = 30
_TOLERANCE = 1e-10
_MAX_STEP_OF_ETA = 4.0
# Of the largest value, and of a column's SD: what rounding leaves of a constant, and of a combination of columns.
_CONSTANT = 1e-12
_DEPENDENT = 1e-8


def scan(exposures: Table, outcomes: Table | Times, covariates: Table | None, *, family: Family) -> pd.DataFrame:
    """Test each exposure against each outcome, adjusted for covariates.

    The z of the logistic and the Cox family is that of the score test, and its coefficient one Newton step from
    the null (the Wald estimate to four digits where effects are small); refit what matters with
    :func:`cmr_models.association.refit.refit_hits`. The linear family is exact: z is Student's t of the per-pair
    regression.

    Args:
        exposures: ``(n, e)`` numbers without missing values.
        outcomes: ``(n, o)``; missing where a person does not belong to the comparison (excluded controls, the
            other sex). 0 or 1 for ``"logistic"``. For ``"cox"`` a mapping of each name to a frame of ``n`` rows
            with ``exit``, ``event`` and perhaps ``entry``; at risk on (entry, exit], Efron's ties.
        covariates: ``(n, k)`` numbers without missing values; an intercept is added. None for none.
        family: ``"linear"``, ``"logistic"`` or ``"cox"``.

    Returns:
        One row a pair, outcome by outcome: ``exposure, outcome, n, n_cases`` (NaN if linear), ``coef, se``
        (per unit of the exposure), ``z, minus_log10_p`` (finite for any finite z), ``status`` (``ok`` or
        ``failed``), ``reason`` (a key of :data:`cmr_models.estimates.NOT_ESTIMABLE`).

    Raises:
        ValueError: lengths differ, missing or infinite exposures or covariates, outcomes other than 0 and 1
            for ``"logistic"``, an unknown family.

    Reference:
        Rao 1948 for the score test; Frisch & Waugh 1933 for the linear one.
    """
    if family not in ("linear", "logistic", "cox"):
        raise ValueError(f"family must be 'linear', 'logistic' or 'cox', got {family!r}")
    x_names, x = _complete(exposures, "exposures", "x")
    n = len(x)
    z = np.zeros((n, 0)) if covariates is None else _complete(covariates, "covariates", "z")[1]
    if len(z) != n:
        raise ValueError(f"exposures and covariates must have the same number of rows, got {n} and {len(z)}")
    design = _make_design(x, z)
    tables = [block_table(design, block, x_names, names) for names, block in _blocks(outcomes, design, family)]
    if not tables or not x_names:
        return pd.DataFrame(columns=list(COLUMNS))
    return pd.concat(tables, ignore_index=True)[list(COLUMNS)]


def _blocks(outcomes: Table | Times, design: Design, family: Family) -> Iterator[tuple[list[str], Block]]:
    """Names and tests of some outcomes at a time."""
    if family == "cox":
        for name, frame in check_times(outcomes, len(design.x)).items():
            yield [str(name)], _cox(score_times(str(name), frame, design.x, design.q[:, 1:]))
        return
    if isinstance(outcomes, Mapping):
        raise ValueError(f"outcomes of the {family!r} family must be a table, got a mapping")
    for names, y in _outcome_blocks(outcomes, len(design.x), family):
        yield names, _fit_block(y, design, family)


def _complete(table: Table, role: str, prefix: str) -> tuple[list[str], Floats]:
    values = numbers(table, role)
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2 or not len(values):
        raise ValueError(f"{role} must be (people, columns), of one person at least, got {values.shape}")
    names = _names(table, values.shape[1], prefix)
    infinite = np.flatnonzero(~np.isfinite(values).all(axis=0))
    if len(infinite):
        bad = [names[j] for j in infinite]
        raise ValueError(f"{role} have missing or infinite values: {bad[:10]}; drop or impute those people first")
    check_sizes(values, names, role)
    return names, values


def _names(table: Table, count: int, prefix: str) -> list[str]:
    if isinstance(table, pd.DataFrame):
        return [str(name) for name in table.columns]
    return [f"{prefix}{j + 1}" for j in range(count)]


def _outcome_blocks(outcomes: Table, n: int, family: Family) -> Iterator[tuple[list[str], Floats]]:
    """Some outcomes at a time, so that many small integers never stand all as floats."""
    table = outcomes if isinstance(outcomes, pd.DataFrame) else np.asarray(outcomes)
    if not isinstance(table, pd.DataFrame) and table.ndim == 1:
        table = table[:, None]
    if table.ndim != 2 or len(table) != n:
        raise ValueError(f"outcomes must be (people, columns) for {n} people, got {table.shape}")
    names = _names(table, table.shape[1], "y")

    for start in range(0, len(names), _OUTCOMES_PER_BLOCK):
        chosen = slice(start, start + _OUTCOMES_PER_BLOCK)
        part = table.iloc[:, chosen] if isinstance(table, pd.DataFrame) else table[:, chosen]
        values = numbers(part, "outcomes")
        wrong = np.isinf(values) if family == "linear" else ~(np.isnan(values) | np.isin(values, (0, 1)))
        if wrong.any():
            bad = [names[start + j] for j in np.flatnonzero(wrong.any(axis=0))]
            allowed = "finite" if family == "linear" else "0 or 1"
            raise ValueError(f"outcomes must be {allowed} or missing: {bad[:10]}")
        check_sizes(np.nan_to_num(values), names[chosen], "outcomes")
        yield names[chosen], values


def _make_design(x: Floats, z: Floats) -> Design:
    q = _orthonormal(z)
    x_centred = x - x.mean(axis=0)
    size = np.sqrt((x_centred**2).mean(axis=0))
    constant = size <= _CONSTANT * np.maximum(np.abs(x).max(axis=0, initial=0), np.finfo(float).tiny)
    rest = x_centred - q @ (q.T @ x_centred) / max(len(q), 1)
    spread = np.sqrt((rest**2).mean(axis=0))
    apart = ~constant & (spread > _DEPENDENT * size)
    unit = np.divide(rest, spread, out=np.zeros_like(rest), where=apart)
    first, second = np.triu_indices(q.shape[1])
    return Design(unit, np.where(apart, spread, np.nan), constant, q, q[:, first] * q[:, second])


def _orthonormal(z: Floats) -> Floats:
    """``(n, k)`` with ``q'q = n``: the intercept, then what the covariates add to it."""
    n = len(z)
    centred = z - z.mean(axis=0)
    spread = np.sqrt((centred**2).mean(axis=0))
    varies = spread > _CONSTANT * np.maximum(np.abs(z).max(axis=0, initial=0), np.finfo(float).tiny)
    left, singular, _ = np.linalg.svd(centred[:, varies] / spread[varies], full_matrices=False)
    kept = singular > _DEPENDENT * singular.max(initial=0)
    return np.column_stack([np.ones(n), left[:, kept] * np.sqrt(n)])


def _fit_block(y: Floats, design: Design, family: Family) -> Block:
    present = ~np.isnan(y)
    n = present.sum(axis=0).astype(float)
    return _linear(y, present, n, design) if family == "linear" else _logistic(y, present, n, design)


def _linear(y: Floats, present: npt.NDArray[np.bool_], n: Floats, design: Design) -> Block:
    mask = present.astype(float)
    count = np.maximum(n, 1)
    centred = np.where(present, y - np.where(present, y, 0).sum(axis=0) / count, 0.0)
    scale = np.sqrt((centred**2).sum(axis=0) / count)
    largest = np.abs(np.where(present, y, 0)).max(axis=0, initial=0)
    varies = scale > _CONSTANT * np.maximum(largest, np.finfo(float).tiny)
    scale = np.where(varies, scale, 1.0)
    centred = centred / scale
    inverse, rank = inverses(gram_matrices(mask, design))
    coef = np.einsum("bij,jb->ib", inverse, design.q.T @ centred)
    residual = mask * (centred - design.q @ coef)
    variance, apart = _variance(mask, inverse, design)
    df = n - rank - 1
    reason = np.where(n == 0, "no_data", np.where(df < 1, "too_few_people", np.where(varies, "", "constant_exposure")))
    rest = (residual**2).sum(axis=0)
    nothing = np.full(len(n), np.nan)
    return Block(design.x.T @ residual, variance, apart, n, nothing, df, rest, scale, reason.astype(object))


def _logistic(y: Floats, present: npt.NDArray[np.bool_], n: Floats, design: Design) -> Block:
    mask, cases = present.astype(float), np.where(present, y, 0.0)
    n_cases = cases.sum(axis=0)
    reason = np.where(n_cases == 0, "too_few_cases", np.where(n_cases == n, "too_few_controls", "")).astype(object)
    reason[n == 0] = "no_data"
    coef, converged = _null_models(cases, mask, n, n_cases, design, reason == "")
    reason[(reason == "") & ~converged] = "not_converged"
    chance = expit(design.q @ coef)
    weight = mask * chance * (1 - chance)
    inverse, _ = inverses(gram_matrices(weight, design))
    variance, apart = _variance(weight, inverse, design)
    score = design.x.T @ (cases - mask * chance)
    unlimited, nothing = np.full(len(n), np.inf), np.full(len(n), np.nan)
    return Block(score, variance, apart, n, n_cases, unlimited, nothing, np.ones(len(n)), reason)


def _cox(found: CoxScores) -> Block:
    one = np.ones(1)
    return Block(
        score=found.score[:, None],
        variance=found.variance[:, None],
        apart=found.apart[:, None],
        n=one * found.n,
        n_cases=one * found.n_events,
        df=one * np.inf,
        rest=one * np.nan,
        scale=one,
        reason=np.array([found.reason], object),
    )


def _null_models(
    cases: Floats, mask: Floats, n: Floats, n_cases: Floats, design: Design, wanted: npt.NDArray[np.bool_]
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """``(k, b)`` coefficients of the covariates alone, by Newton's method for all outcomes at once."""
    coef = np.zeros((design.q.shape[1], len(n)))
    share = np.clip(n_cases / np.maximum(n, 1), 0.5 / np.maximum(n, 1), 1 - 0.5 / np.maximum(n, 1))
    coef[0] = np.log(share / (1 - share))
    converged = np.zeros(len(n), bool)
    for _ in range(_MAX_STEPS):
        active = np.flatnonzero(wanted & ~converged)
        if not len(active):
            break
        chance = expit(design.q @ coef[:, active])
        gradient = design.q.T @ (cases[:, active] - mask[:, active] * chance)
        inverse, _ = inverses(gram_matrices(mask[:, active] * chance * (1 - chance), design))
        step = np.einsum("bij,jb->ib", inverse, gradient)
        converged[active] = np.einsum("ib,ib->b", step, gradient) < _TOLERANCE
        coef[:, active] += step * np.minimum(1, _MAX_STEP_OF_ETA / np.maximum(np.abs(step).max(axis=0), 1e-300))
    return coef, converged


def _variance(weight: Floats, inverse: Floats, design: Design) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """``(e, b)`` of ``x'Wx - x'Wq (q'Wq)⁻¹ q'Wx``, and whether it is more than rounding."""
    k, b, e = design.q.shape[1], weight.shape[1], design.x.shape[1]
    own, crossed = np.zeros((e, b)), np.zeros((e, k * b))
    for start in range(0, len(weight), _ROWS_PER_CHUNK):
        rows = slice(start, start + _ROWS_PER_CHUNK)
        x, q, w = design.x[rows], design.q[rows], weight[rows]
        own += (x**2).T @ w
        crossed += x.T @ (q[:, :, None] * w[:, None, :]).reshape(len(q), k * b)
    crossed = crossed.reshape(e, k, b)
    explained = np.einsum("eib,bij,ejb->eb", crossed, inverse, crossed, optimize=True)
    variance = own - explained
    return variance, variance > _DEPENDENT * own
