"""Whether files and tables hold what their contracts say; a message names what is there and what should be."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from cmr_models.contracts.rows import (
    ArraySpec,
    AttributeSpec,
    ColumnSpec,
    ContractError,
    FileSpec,
    GroupSpec,
    NewerSchemaError,
    TableSpec,
)

SCHEMA = "schema"
"""Attribute of a file in which it says the version of its contract; a file that does not say it has version 1."""

_SMALL = 100_000
"""Arrays of up to so many elements are looked through for values out of range; larger ones only if they are codes."""


def check_file(tree: xr.DataTree, spec: FileSpec, *, values: bool) -> None:
    """Check a file against its contract.

    Args:
        tree: the file.
        spec: its contract.
        values: whether to look at values too: of codes, and of small arrays. Without it, nothing is read but names,
            dimensions and types.

    Raises:
        ContractError: naming the file, the group, the array or attribute, what is there and what should be.
    """
    check_schema(tree.attrs, spec)
    check_attributes(tree.attrs, spec.attributes, spec.title)
    for name, node in tree.children.items():
        group = next((group for group in spec.groups if name in group.names), None)
        if group is None:
            known = sorted({known for group in spec.groups for known in group.names})
            raise ContractError(f"{spec.title} has the group {name!r}; it may have {known}")
        check_group(node.to_dataset(inherit=False), group, f"the group {name!r} of {spec.title}", values=values)


def check_schema(attributes: Mapping[Any, Any], spec: FileSpec) -> None:
    """Raise ContractError if a newer version of the package wrote the file."""
    check_version(attributes.get(SCHEMA, 1), spec.schema, spec.title)


def check_version(found: Any, ours: int, what: str) -> None:
    """Raise ContractError if ``found``, the schema version of ``what``, is not one that this version reads."""
    if not isinstance(found, int) or isinstance(found, bool) or found < 1:
        raise ContractError(f"{what} has the schema version {found!r}, which is not a positive number; write it again")
    if found > ours:
        raise NewerSchemaError(
            f"{what} was written by a newer version of cmr-cohort (schema {found}, this one reads {ours}):"
            " update cmr-cohort"
        )


def check_group(dataset: xr.Dataset, group: GroupSpec, where: str, *, values: bool) -> None:
    """Check one group of a file; arguments as for :func:`check_file`.

    Raises:
        ContractError: if an array or an attribute is missing, unknown or of another kind.
    """
    specs = {spec.name: spec for spec in group.arrays}
    missing = [spec for spec in group.arrays if spec.required and spec.name not in dataset]
    if missing:
        has = sorted(map(str, dataset.variables))
        raise ContractError(f"{where} needs {missing[0].name} {_dims(missing[0])}; it has {has}")
    for name, variable in dataset.variables.items():
        if name not in specs:
            raise ContractError(f"{where} has the array {name!r}, which its contract does not know: {sorted(specs)}")
        check_array(variable, specs[str(name)], where)
        if values:
            check_values(np.asarray(variable.values), specs[str(name)], where)
    check_attributes(dataset.attrs, group.attributes, where)


def check_array(variable: xr.Variable, spec: ArraySpec, where: str) -> None:
    """Raise ContractError unless dimensions and type are those of ``spec``."""
    dims = tuple(map(str, variable.dims))
    if dims not in _possible_dims(spec):
        raise ContractError(f"{spec.name} of {where} must have dims {_dims(spec)}, got ({', '.join(dims)})")
    if variable.dtype.name != spec.dtype:
        raise ContractError(f"{spec.name} of {where} must be {spec.dtype}, got {variable.dtype.name}")


def check_values(values: np.ndarray[Any, Any], spec: ArraySpec, where: str) -> None:
    """Raise ContractError if a value is out of range: of codes always, of other arrays if they are small."""
    if spec.codes is not None:
        unknown = _unknown_codes(values, sorted(spec.codes))
        if unknown:
            raise ContractError(f"{spec.name} of {where} holds {unknown}; its codes are {sorted(spec.codes)}")
    elif spec.valid is not None and 0 < values.size <= _SMALL:
        low, high = spec.valid
        finite = values[~np.isnan(values)] if values.dtype.kind == "f" else values
        if finite.size and not (low <= finite.min() and finite.max() <= high):
            raise ContractError(
                f"{spec.name} of {where} must lie within {low:g} and {high:g} {spec.unit},"
                f" got {finite.min():g} to {finite.max():g}"
            )


def _unknown_codes(values: np.ndarray[Any, Any], codes: list[int]) -> list[int]:
    if codes == list(range(len(codes))) and values.dtype.kind == "u" and values.max(initial=0) <= codes[-1]:
        return []  # the usual case, for the price of one maximum
    return sorted(set(np.unique(values).tolist()) - set(codes))


def check_attributes(attributes: Mapping[Any, Any], specs: Iterable[AttributeSpec], where: str) -> None:
    """Raise ContractError if an attribute is missing or of another type than its contract says."""
    specs = tuple(specs)
    missing = [spec.name for spec in specs if spec.required and spec.name not in attributes]
    if missing:
        raise ContractError(f"{where} needs the attributes {missing}; it has {sorted(map(str, attributes))}")
    for spec in specs:
        if spec.name in attributes and not _is_kind(attributes[spec.name], spec.kind):
            found = type(attributes[spec.name]).__name__
            raise ContractError(f"the attribute {spec.name} of {where} must be {spec.kind}, got {found}")


def check_table(table: pd.DataFrame, spec: TableSpec) -> None:
    """Check the columns of a table, their types and their ranges.

    Raises:
        ContractError: naming the table, the column, what is there and what should be.
    """
    names = tuple(map(str, table.columns))
    if names[: len(spec.names)] != spec.names or (len(names) > len(spec.names) and not spec.more):
        missing = [name for name in spec.names if name not in names]
        unknown = [] if spec.more else [name for name in names if name not in spec.names]
        found = f"missing are {missing}, unknown are {unknown}" if missing or unknown else f"the order is {names}"
        raise ContractError(f"{spec.path} must have the columns {spec.names}; {found}")
    for column in spec.columns:
        check_column(table[column.name], column, spec.path)


def check_column(values: pd.Series, spec: ColumnSpec, where: str) -> None:
    """Raise ContractError if a column has another type, or a value out of range."""
    present = values.dropna()
    if len(present) and not _COLUMN_IS[spec.kind](present):
        raise ContractError(f"the column {spec.name} of {where} must be {spec.kind}, got {values.dtype}")
    if spec.values and (n_unknown := int((~present.isin(spec.values)).sum())):
        raise ContractError(f"the column {spec.name} of {where} holds {n_unknown} other values than {spec.values}")
    if spec.valid is not None and len(present):
        low, high = spec.valid
        n_out = int((~present.between(low, high)).sum())
        if n_out:
            raise ContractError(
                f"the column {spec.name} of {where} must lie within {low:g} and {high:g}, {n_out} values do not"
            )


def _is_text(values: pd.Series) -> bool:
    return bool(values.map(lambda value: isinstance(value, str)).all())


_COLUMN_IS: Mapping[str, Any] = {
    "text": _is_text,
    "integer": pd.api.types.is_integer_dtype,
    "real": pd.api.types.is_float_dtype,
    "boolean": pd.api.types.is_bool_dtype,
}


def _is_kind(value: Any, kind: str) -> bool:
    if isinstance(value, bool | np.bool_):
        return kind == "boolean"
    types: Mapping[str, Any] = {
        "text": str,
        "integer": Integral,
        "real": Real,
        "list": (list, tuple, np.ndarray),
        "table": Mapping,
        "boolean": (),
    }
    return isinstance(value, types[kind])


def _possible_dims(spec: ArraySpec) -> set[tuple[str, ...]]:
    choices = [((dim[:-1],), ()) if dim.endswith("?") else ((dim,),) for dim in spec.dims]
    return {tuple(itertools.chain.from_iterable(chosen)) for chosen in itertools.product(*choices)}


def _dims(spec: ArraySpec) -> str:
    return f"({', '.join(spec.dims)})"
