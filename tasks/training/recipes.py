"""Recipes of trainings: settings in TOML, of which every key must be known, and their plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any


def check_known(values: Mapping[str, Any], settings: type, file: str) -> None:
    """Refuse keys that are no field of the dataclass ``settings``.

    Raises:
        ValueError: naming them, the file and what is known.
    """
    known = [item.name for item in fields(settings)]
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise ValueError(f"{file}: unknown settings {unknown}; known are {known}")


def tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    """TOML's lists as the tuples that frozen settings hold."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}


def plain(value: Any) -> Any:
    """Settings as a card and a checkpoint hold them: mappings, lists and values."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, tuple | list) else value
