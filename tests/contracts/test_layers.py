"""flows -> tasks -> cmr_models, never back; prefect and click in flows alone."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FORBIDDEN = {
    "cmr_models": {"tasks", "flows", "prefect", "click", "distributed", "dask"},
    "tasks": {"flows", "prefect", "click"},
    "flows": set(),
}


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]


@pytest.mark.parametrize("layer", FORBIDDEN)
def test_a_layer_imports_nothing_from_above_it(layer: str) -> None:
    modules = sorted((ROOT / layer).rglob("*.py"))
    assert modules
    wrong = {str(path): bad for path in modules if (bad := set(_imported(path)) & FORBIDDEN[layer])}
    assert not wrong


def test_every_package_is_listed_in_pyproject() -> None:
    import tomllib

    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    found = {
        str(path.parent.relative_to(ROOT)).replace("/", ".")
        for layer in FORBIDDEN
        for path in (ROOT / layer).rglob("__init__.py")
    }
    assert listed == found
