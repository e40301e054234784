"""From columns of a table to the numeric columns of a regression: indicators, redundant columns, terms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from cmr_models.estimates.table import Z95, minus_log10_p

Floats = npt.NDArray[np.float64]

# Of the largest value: what rounding leaves of a constant.
_CONSTANT = 1e-12
# Of a column's SD: R's `coxph` calls a column dependent at this to the square (`toler.chol`).
_DEPENDENT = 1.3e-6
# Of the mean: an SD over this is not the rounding of a constant.
_VARIES = 1e-9
_FAR_FROM_SINGULAR = 1e-4
_ROWS_PER_CHUNK = 2048
# A coefficient of this many per SD, or so wide a standard error, is a likelihood without a maximum.
_INFINITE_PER_SD = 12.0


def design_columns(table: pd.DataFrame, covariates: Sequence[str]) -> pd.DataFrame:
    """Numeric columns for ``covariates``, missing where the covariate is missing.

    Text becomes one indicator a level except the most frequent one (the first by name among equals), named
    ``<covariate>=<level>``; numbers and booleans stay as they are.

    Raises:
        ValueError: a covariate is not one column of ``table``, or holds dates, complex numbers, or numbers without a
            type of their own.
    """
    names = [covariates] if isinstance(covariates, str) else list(covariates)
    unknown = [name for name in names if name not in table]
    if unknown:
        raise ValueError(f"covariates {unknown} are not columns of the table; it has {list(table)}")
    part = table[list(dict.fromkeys(names))]
    if len(part.columns) == len(dict.fromkeys(names)) and all(kind == np.float64 for kind in part.dtypes):
        return part
    columns: dict[str, pd.Series] = {}
    for name in names:
        _check_kind(table[name], name)
        if pd.api.types.is_numeric_dtype(table[name]) or pd.api.types.is_bool_dtype(table[name]):
            columns[name] = table[name].astype(float)
        else:
            columns.update(_indicators(table[name]))
    return pd.DataFrame(columns, index=table.index)


def _check_kind(column: pd.Series | pd.DataFrame, name: str) -> None:
    """Refuse what would silently become a column a value, or lose a part."""
    if isinstance(column, pd.DataFrame):
        raise ValueError(f"the table has {column.shape[1]} columns named {name!r}")
    if pd.api.types.is_datetime64_any_dtype(column) or pd.api.types.is_timedelta64_dtype(column):
        raise ValueError(f"covariate {name!r} holds dates; give it as a number, such as years")
    if pd.api.types.is_complex_dtype(column):
        raise ValueError(f"covariate {name!r} holds complex numbers")
    if column.dtype == object and pd.api.types.infer_dtype(column, skipna=True) in _UNTYPED:
        raise ValueError(f"covariate {name!r} holds numbers as objects; make them a number or a category")


_UNTYPED = ("integer", "floating", "mixed-integer", "mixed-integer-float", "decimal", "complex", "date", "datetime")


def check_columns(table: pd.DataFrame, names: Sequence[str]) -> None:
    """Each of ``names`` must be one column.

    Raises:
        ValueError: one is none, or several.
    """
    unknown = [name for name in names if name not in table]
    if unknown:
        raise ValueError(f"columns {unknown} are not in the table; it has {list(table)}")
    doubled = [name for name in names if isinstance(table[name], pd.DataFrame)]
    if doubled:
        raise ValueError(f"the table has more than one column named {doubled}")


def numbers(values: npt.ArrayLike | pd.DataFrame | pd.Series, role: str) -> Floats:
    """``values`` as floating-point numbers, missing ones NaN; the values themselves are in no message.

    Raises:
        ValueError: dates, text that is not a number, or complex numbers.
    """
    given = values if isinstance(values, pd.DataFrame | pd.Series | pd.Index) else np.asarray(values)
    kinds = given.dtypes if isinstance(given, pd.DataFrame) else [given.dtype]
    try:
        if any(kind.kind in "mMc" for kind in kinds):
            raise TypeError
        if isinstance(given, np.ndarray):
            return np.asarray(given, np.float64)
        return np.asarray(given.to_numpy(np.float64, na_value=np.nan), np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{role} must be numbers: dates as years or days, text as indicators") from None


def complete_design(table: pd.DataFrame, covariates: Sequence[str]) -> pd.DataFrame:
    """:func:`design_columns` of covariates that no row lacks.

    Raises:
        ValueError: a covariate is not a column of ``table``, or has missing values.
    """
    design = design_columns(table, covariates)
    check_sizes(design.to_numpy(float), [str(name) for name in design], "covariates")
    return design


def check_sizes(values: Floats, names: Sequence[str], role: str) -> None:
    """Refuse missing values, and units in which the square of a value overflows.

    Raises:
        ValueError: a column of ``values (n, p)`` has a missing or infinite value, one over 1e100, or none over 1e-100
            but 0.
    """
    largest = np.maximum(values.max(axis=0, initial=0), -values.min(axis=0, initial=0))
    empty = [name for name, size in zip(names, largest, strict=True) if np.isnan(size)]
    if empty:
        raise ValueError(f"{role} have missing values: {empty[:10]}; drop or impute those rows first")
    wrong = [name for name, size in zip(names, largest, strict=True) if not (size == 0 or 1e-100 < size < 1e100)]
    if wrong:
        raise ValueError(f"{role} must be finite and in units that can be squared: {wrong[:10]}")


def independent_columns(values: Floats, groups: npt.NDArray[np.intp] | None = None) -> npt.NDArray[np.bool_]:
    """Which columns of ``values (row, col)`` are neither constant nor a combination of earlier ones.

    As R does with aliased coefficients: the first of several dependent columns stays. With ``groups (row,)``, codes
    from 0, what is constant within each of them counts as constant.
    """
    largest = np.abs(values).max(axis=0, initial=0)
    scaled = values / np.where(largest > 0, largest, 1)
    centred = scaled - (scaled.mean(axis=0) if groups is None else _means(scaled, groups)[groups])
    scale = np.sqrt((centred**2).sum(axis=0))
    keep = scale > _CONSTANT * np.sqrt(len(values))
    if keep.all() and _are_far_from_dependent(centred.T @ centred):
        return np.asarray(keep, bool)
    basis = np.zeros((len(values), 0))
    for j in np.flatnonzero(keep):
        unit = centred[:, j] / scale[j]
        for _ in range(2):  # twice is enough to be orthogonal in floating point
            unit = unit - basis @ (basis.T @ unit)
        rest = float(np.sqrt(unit @ unit))
        keep[j] = rest > _DEPENDENT
        if keep[j]:
            basis = np.column_stack([basis, unit / rest])
    return np.asarray(keep, bool)


class Standard(NamedTuple):
    """Columns of a regression in standard units.

    Attributes:
        kept: ``(p,)`` those given that are independent, as :func:`independent_columns`.
        columns: ``(n, k)`` those kept, centred and of unit SD.
        centre, spread: ``(k,)`` means and SDs.
        correlation: ``(k, k)``.
        basis: ``(k, k)`` of :func:`orthogonal_basis` where they nearly depend on each other; else None.
    """

    kept: npt.NDArray[np.bool_]
    columns: Floats
    centre: Floats
    spread: Floats
    correlation: Floats
    basis: Floats | None

    @property
    def apart(self) -> Floats:
        """``(k,)`` share of each SD that the other columns do not explain, as far as it matters."""
        return np.ones(len(self.spread)) if self.basis is None else 1 / np.sqrt((self.basis**2).sum(axis=1))


def standard_columns(values: Floats, groups: npt.NDArray[np.intp] | None = None) -> Standard:
    """Those columns of ``values (n, p)``, finite, that :func:`independent_columns` keeps, in standard units."""
    kept = np.ones(values.shape[1], bool)
    columns, centre, products = _centre_columns(values)
    spread = np.sqrt(np.diag(products) / len(values))
    # What varies by more than rounding, and is far from dependent, needs no closer look.
    plain = groups is None and bool((spread > _VARIES * np.abs(centre)).all()) and bool((spread > 0).all())
    if not plain or not _are_far_from_dependent(products):
        kept = independent_columns(values, groups)
        columns, centre, products = _centre_columns(values[:, kept])
        spread = np.sqrt(np.diag(products) / len(values))
    columns /= spread
    basis = None if _are_far_from_dependent(products) else orthogonal_basis(columns)
    correlation = products / np.outer(spread, spread) / len(values)
    return Standard(kept, columns, centre, spread, correlation, basis)


def standardise(values: Floats) -> tuple[Floats, Floats]:
    """Columns centred and of unit SD, and their SDs; none may be constant."""
    columns, _, products = _centre_columns(values)
    spread = np.sqrt(np.diag(products) / len(values))
    columns /= spread
    return columns, np.asarray(spread, np.float64)


def _centre_columns(values: Floats) -> tuple[Floats, Floats, Floats]:
    """Columns less their means, each person's side by side in memory; the means; the sums of products."""
    centre, k = values.mean(axis=0), values.shape[1]
    columns, products = np.empty(values.shape), np.zeros((k, k))
    for start in range(0, len(values), _ROWS_PER_CHUNK):  # what is in the processor's cache is not fetched again
        part = columns[start : start + _ROWS_PER_CHUNK]
        np.subtract(values[start : start + _ROWS_PER_CHUNK], centre, out=part)
        products += part.T @ part
    return columns, np.asarray(centre, np.float64), products


def orthogonal_basis(standard: Floats) -> Floats:
    """``(p, p)`` by which ``standard (n, p)``, independent columns, becomes columns without correlation, of unit size.

    ``standard @ basis`` has ``n`` times the identity as its cross product; coefficients ``u`` of its columns are
    coefficients ``basis @ u`` of those of ``standard``.
    """
    upper = np.linalg.qr(standard, mode="r")
    inverse = np.linalg.solve(upper, np.eye(len(upper)))
    return np.asarray(np.sqrt(len(standard)) * np.triu(inverse), np.float64)


def _are_far_from_dependent(products: Floats) -> bool:
    """Whether the correlations of centred columns, of these sums of products, alone rule out dependence."""
    size = np.sqrt(np.diag(products))
    smallest = np.linalg.eigvalsh(products / np.outer(size, size)).min(initial=1.0)
    return bool(smallest > _FAR_FROM_SINGULAR)


def _means(values: Floats, groups: npt.NDArray[np.intp]) -> Floats:
    """``(group, col)``."""
    counts = np.maximum(np.bincount(groups), 1)
    return np.column_stack([np.bincount(groups, column) / counts for column in values.T])


def is_infinite(coef: Floats, se: Floats, apart: Floats | float = 1.0) -> npt.NDArray[np.bool_]:
    """Whether a coefficient and standard error ``(p,)`` per SD are of a likelihood without a maximum.

    ``apart`` is the share of each SD that the other terms do not explain.
    """
    with np.errstate(invalid="ignore"):
        finite = (np.abs(coef) * apart < _INFINITE_PER_SD) & (se * apart < _INFINITE_PER_SD) & (se > 0)
    return np.asarray(~finite, bool)


def term_table(
    names: list[str],
    kept: npt.NDArray[np.bool_],
    coef: Floats,
    se: Floats,
    spread: Floats,
    infinite: npt.NDArray[np.bool_] | None = None,
) -> pd.DataFrame:
    """One row a term of a fitted regression.

    Args:
        names: all terms.
        kept: which of them were fitted; the others are ``aliased``.
        coef: of the kept terms per SD.
        se: of the kept terms per SD.
        spread: SDs of the kept terms.
        infinite: kept terms without a finite maximum; by :func:`is_infinite` if None.
    """
    endless = is_infinite(coef, se) if infinite is None else infinite
    both = np.full((2, len(names)), np.nan)
    both[:, kept] = np.where(endless, np.nan, np.array([coef, se]) / spread)
    status = np.full(len(names), "aliased", object)
    status[kept] = np.where(endless, "infinite", "ok")
    values, errors = both
    z = values / errors
    interval = {"ci_low": values - Z95 * errors, "ci_high": values + Z95 * errors}
    evidence = {"z": z, "minus_log10_p": minus_log10_p(z)}
    columns = {"term": np.array(names, object), "coef": values, "se": errors, **interval, **evidence}
    return pd.DataFrame({**columns, "status": status})


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
