"""The groups of people by which every number is given again: age bands, BMI classes, quantiles."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pandas as pd

UNKNOWN = "unknown"
INTERSECTION = " x "

# WHO classes, kg/m².
_BMI_EDGES = (18.5, 25.0, 30.0)
_BMI_LABELS = ("underweight", "normal", "overweight", "obese")


def age_band(age_years: npt.ArrayLike, edges_years: Sequence[float] = (55, 65, 75)) -> npt.NDArray[np.object_]:
    """``<55``, ``55-64`` ... ``>=75``; ``unknown`` where the age is missing."""
    edges = [f"{edge:g}" for edge in edges_years]
    inner = [f"{low:g}-{high - 1:g}" for low, high in pairwise(edges_years)]
    return _cut(age_years, edges_years, (f"<{edges[0]}", *inner, f">={edges[-1]}"))


def bmi_class(height_cm: npt.ArrayLike, weight_kg: npt.ArrayLike) -> npt.NDArray[np.object_]:
    """WHO class of the body mass index; ``unknown`` where height or weight is missing."""
    metres = np.asarray(height_cm, np.float64) / 100
    return _cut(np.asarray(weight_kg, np.float64) / metres**2, _BMI_EDGES, _BMI_LABELS)


def quantile_group(values: npt.ArrayLike, n_groups: int = 4) -> npt.NDArray[np.object_]:
    """``Q1`` (lowest) to ``Q<n_groups>`` by the sample's quantiles, ties together; ``unknown`` if missing."""
    values = np.asarray(values, np.float64)
    edges = np.nanquantile(values, np.arange(1, n_groups) / n_groups) if np.isfinite(values).any() else []
    return _cut(values, tuple(edges), tuple(f"Q{k + 1}" for k in range(len(edges) + 1)))


def with_groups(table: pd.DataFrame, age_edges_years: Sequence[float]) -> pd.DataFrame:
    """``table`` with the columns ``age_band`` and, given height and weight, ``bmi_class``."""
    table = table.copy()
    table["age_band"] = age_band(table["age_years"], age_edges_years)
    if {"height_cm", "weight_kg"} <= set(table):
        table["bmi_class"] = bmi_class(table["height_cm"], table["weight_kg"])
    return table


def labels(column: pd.Series) -> npt.NDArray[np.object_]:
    """Group labels as text, ``unknown`` where missing; a whole number is one however the column holds it (``1``)."""
    cells = column.astype(object).where(column.notna(), UNKNOWN)
    return cells.map(_label).to_numpy(object)


def _label(cell: object) -> str:
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


def intersection(table: pd.DataFrame, columns: Sequence[str]) -> npt.NDArray[np.object_]:
    """Labels of the combination of columns, ``female x 55-64``; of one column, its labels."""
    named = [labels(table[name]) for name in columns]
    return np.array([INTERSECTION.join(parts) for parts in zip(*named, strict=True)], dtype=object)


def _cut(values: npt.ArrayLike, edges: Sequence[float], names: Sequence[str]) -> npt.NDArray[np.object_]:
    values = np.asarray(values, np.float64)
    named = np.array(names, dtype=object)[
        np.searchsorted(np.asarray(edges, np.float64), values, "right").clip(0, len(names) - 1)
    ]
    return np.where(np.isfinite(values), named, UNKNOWN).astype(object)
