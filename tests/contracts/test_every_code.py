"""No reason, flag or setting without a test that names it: the tables themselves are the parametrisation."""

import ast
import functools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cmr_models.estimates.table import NOT_ESTIMABLE
from cmr_models.reasons import TABLE

ROOT = Path(__file__).parents[2]


@functools.cache
def _named() -> frozenset[str]:
    """Every word in a text, and every keyword and attribute, of the tests."""
    words: set[str] = set()
    for path in (ROOT / "tests").rglob("*.py"):
        if path == Path(__file__):
            continue
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                words |= set(re.findall(r"[a-z0-9_]+", node.value))
            elif isinstance(node, ast.keyword) and node.arg:
                words.add(node.arg)
    return frozenset(words)


def _settings(part: dict[str, Any], definitions: dict[str, Any], before: str = "") -> Iterator[str]:
    part = definitions[part["$ref"].rpartition("/")[2]] if "$ref" in part else part
    for name, inner in part.get("properties", {}).items():
        yield f"{before}{name}"
        yield from _settings(inner, definitions, f"{before}{name}.")
    for other in (*part.get("anyOf", ()), *part.get("allOf", ())):
        yield from _settings(other, definitions, before)


_SCHEMA = json.loads((ROOT / "docs/settings.schema.json").read_text())


@pytest.mark.parametrize("code", [*TABLE, *NOT_ESTIMABLE])
def test_a_reason_is_named_by_a_test(code: str) -> None:
    assert code in _named()


@pytest.mark.parametrize("setting", list(_settings(_SCHEMA, _SCHEMA.get("$defs", {}))))
def test_a_setting_is_named_by_a_test(setting: str) -> None:
    assert setting.rpartition(".")[2] in _named()
