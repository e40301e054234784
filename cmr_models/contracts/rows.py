"""What one row of a contract says: of an array, an attribute, a column; and of the files and tables made of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["text", "integer", "real", "boolean", "list", "table"]
"""Type of a plain value: of an attribute, or of a column (which is neither a list nor a table)."""


class ContractError(ValueError):
    """A file or a table does not hold what its contract says."""


class NewerSchemaError(ContractError):
    """A newer version of the package wrote it, under a contract that this one does not know."""


@dataclass(frozen=True)
class ArraySpec:
    """One array of a published file.

    Attributes:
        name: of the variable.
        dims: names of its dimensions; one that ends with "?" may be absent.
        dtype: numpy's name of the type of its elements.
        unit: "1" for what has no unit.
        text: one line on what it holds.
        valid: lowest and highest value, NaN apart; None if any value may be there.
        codes: meaning of every value that may be there, where they are codes.
        required: whether the group of the file must have it.
    """

    name: str
    dims: tuple[str, ...]
    dtype: str
    unit: str
    text: str
    valid: tuple[float, float] | None = None
    codes: Mapping[int, str] | None = None
    required: bool = True


@dataclass(frozen=True)
class AttributeSpec:
    """One attribute of a published file or of one of its groups.

    Attributes:
        name: of the attribute.
        kind: type of its value.
        unit: "1" for what has no unit, "" for text.
        text: one line on what it says.
        required: whether it must be there.
    """

    name: str
    kind: Kind
    unit: str
    text: str
    required: bool = True


@dataclass(frozen=True)
class GroupSpec:
    """Groups of one kind in a published file.

    Attributes:
        names: of the groups.
        title: as documentation calls them.
        arrays: what they hold.
        attributes: what they say of themselves.
    """

    names: tuple[str, ...]
    title: str
    arrays: tuple[ArraySpec, ...]
    attributes: tuple[AttributeSpec, ...] = ()


@dataclass(frozen=True)
class FileSpec:
    """One kind of published file.

    Attributes:
        title: as messages and documentation call it.
        path: where it lies in a cohort.
        writer: the attribute in which its writer puts its own version, by which such a file is recognised.
        groups: what groups it may have.
        attributes: of the file as a whole.
        schema: version of this contract. Files say it in the attribute "schema"; version 1 is not said.
    """

    title: str
    path: str
    writer: str
    groups: tuple[GroupSpec, ...]
    attributes: tuple[AttributeSpec, ...]
    schema: int = 1


@dataclass(frozen=True)
class ColumnSpec:
    """One column of a published table.

    Attributes:
        name: of the column.
        kind: type of its values; any may be missing.
        unit: "1" for what has no unit, "" for text.
        text: one line on what it holds.
        valid: lowest and highest value, missing ones apart; None if any number may be there.
        values: all texts that may be there; empty if any may.
    """

    name: str
    kind: Kind
    unit: str
    text: str
    valid: tuple[float, float] | None = None
    values: tuple[str, ...] = ()


@dataclass(frozen=True)
class TableSpec:
    """One kind of published table.

    Attributes:
        path: where it lies in a cohort.
        rows: what a row is.
        columns: in their order.
        more: whether columns follow that depend on the model or the analysis.
        schema: version of this contract. Tables say it in their metadata; version 1 is not said.
    """

    path: str
    rows: str
    columns: tuple[ColumnSpec, ...]
    more: bool = False
    schema: int = 1

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns, in their order."""
        return tuple(column.name for column in self.columns)

    @property
    def pandas_types(self) -> dict[str, Any]:
        """Name of every column -> the pandas type with which it is made."""
        return {column.name: _PANDAS[column.kind] for column in self.columns}


_PANDAS: Mapping[Kind, str] = {"text": "str", "integer": "Int64", "real": "float64", "boolean": "boolean"}
