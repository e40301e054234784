"""From columns of a table to the numeric columns of a regression: indicators, redundant columns, terms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from cmr_models.estimates import wald

Floats = npt.NDArray[np.float64]

_RELATIVE_TOLERANCE = 1e-8
_FAR_FROM_SINGULAR = 1e-4
# A coefficient of this many per SD, or so wide a standard error, is a likelihood without a maximum.
_INFINITE_PER_SD = 12.0


def design_columns(table: pd.DataFrame, covariates: Sequence[str]) -> pd.DataFrame:
    """Numeric columns for ``covariates``, missing where the covariate is missing.

    Text becomes one indicator a level except the most frequent one (the first by name among equals), named
    ``<covariate>=<level>``; numbers and booleans stay as they are.

    Raises:
        ValueError: a covariate is not a column of ``table``.
    """
    unknown = [name for name in covariates if name not in table]
    if unknown:
        raise ValueError(f"covariates {unknown} are not columns of the table; it has {list(table)}")
    columns: dict[str, pd.Series] = {}
    for name in covariates:
        if pd.api.types.is_numeric_dtype(table[name]) or pd.api.types.is_bool_dtype(table[name]):
            columns[name] = table[name].astype(float)
        else:
            columns.update(_indicators(table[name]))
    return pd.DataFrame(columns, index=table.index)


def complete_design(table: pd.DataFrame, covariates: Sequence[str]) -> pd.DataFrame:
    """:func:`design_columns` of covariates that no row lacks.

    Raises:
        ValueError: a covariate is not a column of ``table``, or has missing values.
    """
    design = design_columns(table, covariates)
    empty = [str(name) for name in design if design[name].isna().any()]
    if empty:
        raise ValueError(f"covariates have missing values: {empty}; drop or impute those rows first")
    return design


def independent_columns(values: Floats) -> npt.NDArray[np.bool_]:
    """Which columns of ``values (row, col)`` are neither constant nor a combination of earlier ones.

    As R does with aliased coefficients: the first of several dependent columns stays.
    """
    centred = values - values.mean(axis=0)
    scale = np.sqrt((centred**2).sum(axis=0))
    large = np.abs(values).max(axis=0, initial=0) * np.sqrt(len(values))
    keep = scale > _RELATIVE_TOLERANCE * np.maximum(large, np.finfo(float).tiny)
    if keep.all() and _is_far_from_dependent(centred / scale):
        return np.asarray(keep, bool)
    basis = np.zeros((len(values), 0))
    for j in np.flatnonzero(keep):
        unit = centred[:, j] / scale[j]
        for _ in range(2):  # twice is enough to be orthogonal in floating point
            unit = unit - basis @ (basis.T @ unit)
        rest = float(np.sqrt(unit @ unit))
        keep[j] = rest > _RELATIVE_TOLERANCE
        if keep[j]:
            basis = np.column_stack([basis, unit / rest])
    return np.asarray(keep, bool)


def standardise(values: Floats) -> tuple[Floats, Floats]:
    """Columns centred and of unit SD, and their SDs; none may be constant."""
    standard = values - values.mean(axis=0)
    spread = np.sqrt(np.einsum("nj,nj->j", standard, standard) / len(values))
    standard /= spread
    return standard, np.asarray(spread, np.float64)


def _is_far_from_dependent(unit: Floats) -> bool:
    """Whether the correlations alone rule out dependence, which spares the orthogonalisation."""
    smallest = np.linalg.eigvalsh(unit.T @ unit).min(initial=1.0)
    return bool(smallest > _FAR_FROM_SINGULAR)


def term_table(names: list[str], kept: npt.NDArray[np.bool_], coef: Floats, se: Floats, spread: Floats) -> pd.DataFrame:
    """One row a term of a fitted regression.

    Args:
        names: all terms.
        kept: which of them were fitted; the others are ``aliased``.
        coef: of the kept terms per SD.
        se: of the kept terms per SD; a term without a finite maximum is ``infinite``.
        spread: SDs of the kept terms.
    """
    columns = ["term", "coef", "se", "ci_low", "ci_high", "z", "minus_log10_p", "status"]
    rows: list[dict[str, Any]] = []
    position = iter(range(len(coef)))
    for name, is_kept in zip(names, kept, strict=True):
        if not is_kept:
            rows.append({"term": name, "status": "aliased"})
            continue
        j = next(position)
        if not (np.isfinite(se[j]) and abs(coef[j]) < _INFINITE_PER_SD and 0 < se[j] < _INFINITE_PER_SD):
            rows.append({"term": name, "status": "infinite"})
            continue
        values = wald(float(coef[j]), float(se[j]), ratio=False, scale=float(1 / spread[j]))
        rows.append({"term": name, "coef": values.pop("estimate"), "status": "ok", **values})
    return pd.DataFrame(rows, columns=columns)


def _indicators(column: pd.Series) -> dict[str, pd.Series]:
    counts = column.value_counts().sort_index(kind="stable")
    if counts.empty:
        return {f"{column.name}=": pd.Series(np.nan, index=column.index)}
    reference = counts.idxmax()
    missing = column.isna()
    return {
        f"{column.name}={level}": (column == level).astype(float).mask(missing)
        for level in counts.index
        if level != reference
    } or {f"{column.name}={reference}": pd.Series(1.0, index=column.index).mask(missing)}
