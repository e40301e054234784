"""Recipes: the settings of a training in a TOML file, read into one frozen dataclass and kept as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from cmr_models.contracts.bounded_toml import load_toml
from cmr_models.contracts.foreign import read_text

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Settings = TypeVar("Settings", bound=DataclassInstance)
else:
    Settings = TypeVar("Settings")

MACHINE: Mapping[str, Any] = {"machine": True}
"""Metadata of a field that says where or how to run, and does not decide the weights."""


def read_recipe(file: Path, settings: type[Settings], **changes: Any) -> Settings:
    """The settings in a TOML file.

    A field whose default is a dataclass is a table of its own, such as ``[augmentation]``. The entries of ``[data]``
    are settings like any other.

    Args:
        file: the recipe.
        settings: the frozen dataclass to fill.
        **changes: settings that replace those of the file.

    Raises:
        ValueError: if the file is not valid TOML, a key is not a setting, or a value is outside its range.
    """
    try:
        values: dict[str, Any] = load_toml(read_text(file))
    except OSError:
        raise
    except Exception as error:
        raise ValueError(f"{file.name} is not valid TOML: {error}") from error
    values |= values.pop("data", {})
    return _fill(settings, values | changes, file.name)


def identity(settings: DataclassInstance) -> dict[str, Any]:
    """The settings that decide the weights, as plain values; fields marked as :data:`MACHINE` are left out."""
    machine = {item.name for item in fields(settings) if item.metadata.get("machine")}
    return {key: _plain(value) for key, value in asdict(settings).items() if key not in machine}


def _fill(settings: type[Settings], values: Mapping[str, Any], where: str) -> Settings:
    """``settings`` with the values of a TOML table: lists become tuples, tables of dataclasses are filled too."""
    nested = {item.name: item.default_factory for item in fields(settings) if is_dataclass(item.default_factory)}
    known = [item.name for item in fields(settings)]
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise ValueError(f"{where}: unknown settings {unknown}; known are {known}")
    filled = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    for key in nested.keys() & values.keys():
        filled[key] = _fill(cast("type[DataclassInstance]", nested[key]), values[key], where)
    try:
        return settings(**filled)
    except TypeError as error:
        raise ValueError(f"{where} lacks a setting: {error}") from error
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def _plain(value: Any) -> Any:
    """Mappings, lists and values, as TOML and a checkpoint hold them."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value
