"""flows -> tasks -> cmr_models, never back; inside a layer, folders import one way and nobody takes a private name."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
FORBIDDEN = {
    "cmr_models": {"tasks", "flows", "prefect", "click", "distributed", "dask"},
    "tasks": {"flows", "prefect", "click"},
    "flows": set(),
}
ROOM = {"cmr_models": 24, "tasks": 16}
NO_NAMES = {"__init__.py", "__pycache__", "py.typed", "weights"}
# A folder (or a module of the root) imports only from those before it. New ones find their place here.
ORDER = {
    "cmr_models": [
        "contracts", "reasons", "aha", "nets", "zoo", "views", "imported", "segmentation", "cinema", "landmarks",
        "strain", "phenotypes", "aif", "perfusion", "estimates", "evaluation", "training", "survival", "association",
        "prediction", "fairness", "analysis", "simulate",
    ],
    "tasks": [
        "state", "execution", "sources", "convert", "inference", "derive", "stages", "batch", "report", "analysis",
        "evaluation", "training", "documentation", "maintenance", "review", "simulation",
    ],
}  # fmt: skip


class Import(NamedTuple):
    """One name imported by a module: ``from target import name``, or ``import target`` where name is empty."""

    module: str
    target: str
    name: str
    line: int


@cache
def modules(layer: str) -> dict[str, Path]:
    """Dotted name -> file of every module of a layer."""
    found = {}
    for path in sorted((ROOT / layer).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def imports(layer: str) -> tuple[Import, ...]:
    """Every import of a layer, those inside functions too."""
    return tuple(found for name, path in modules(layer).items() for found in imports_of(name, path.read_text()))


def imports_of(module: str, source: str) -> Iterator[Import]:
    """The imports in a source, wherever they stand."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (Import(module, alias.name, "", node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (Import(module, node.module or "", alias.name, node.lineno) for alias in node.names)


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def _package(module: str, path: Path) -> str:
    return module if path.name == "__init__.py" else module.rpartition(".")[0]


def _folder(layer: str, found: Import) -> str:
    """The folder, or module of the root, that an import reaches; empty for the layer itself and for others."""
    parts = f"{found.target}.{found.name}".strip(".").split(".")
    return parts[1] if parts[0] == layer and len(parts) > 1 else ""


# the layers


@pytest.mark.parametrize("layer", FORBIDDEN)
def test_a_layer_imports_nothing_from_above_it(layer: str) -> None:
    assert modules(layer)
    assert [found for found in imports(layer) if found.target.split(".")[0] in FORBIDDEN[layer]] == []


def test_every_package_is_listed_in_pyproject() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    packages = {name for layer in FORBIDDEN for name, path in modules(layer).items() if path.name == "__init__.py"}
    assert set(listed) == packages
    assert len(listed) == len(packages)


# inside a layer


@pytest.mark.parametrize("layer", ROOM)
def test_the_root_of_a_layer_is_short(layer: str) -> None:
    names = sorted(path.name for path in (ROOT / layer).iterdir() if path.name not in NO_NAMES)
    assert 0 < len(names) <= ROOM[layer], names


@pytest.mark.parametrize("layer", ORDER)
def test_every_folder_has_its_place_in_the_order(layer: str) -> None:
    folders = {name.split(".")[1] for name in modules(layer) if "." in name}
    assert folders - set(ORDER[layer]) == set()


@pytest.mark.parametrize("layer", ORDER)
def test_folders_import_one_way(layer: str) -> None:
    place = {folder: n for n, folder in enumerate(ORDER[layer])}
    wrong = []
    for found in imports(layer):
        own, reached = found.module.split(".")[1:2], _folder(layer, found)
        if own and reached in place and place[reached] > place[own[0]]:
            wrong.append(f"{found.module}:{found.line} imports {reached}")
    assert wrong == []


@pytest.mark.parametrize("layer", FORBIDDEN)
def test_no_module_imports_a_private_name_of_another_package(layer: str) -> None:
    assert private_imports({name: (path, path.read_text()) for name, path in modules(layer).items()}) == []


def private_imports(sources: Mapping[str, tuple[Path, str]]) -> list[str]:
    """Imports of ``_names``, or of ``_modules``, from a package of ours other than the importing module's."""
    wrong = []
    for module, (path, source) in sources.items():
        for found in imports_of(module, source):
            if found.target.split(".")[0] not in FORBIDDEN or not _names_private(found):
                continue
            if not _within(found.target, _package(module, path)):
                wrong.append(f"{module}:{found.line} imports {found.target}.{found.name}")
    return wrong


def _names_private(found: Import) -> bool:
    return any(map(_is_private, [*found.target.split("."), found.name]))


def _within(target: str, package: str) -> bool:
    return package in (target, target.rpartition(".")[0])


@pytest.mark.parametrize("layer", FORBIDDEN)
def test_modules_import_each_other_in_no_circle(layer: str) -> None:
    graph = {name: set(_reached(name, path)) for name, path in modules(layer).items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(reversed(error.args[1])))


def _reached(module: str, path: Path) -> Iterator[str]:
    """Modules of the same layer that a module imports; ``from package import module`` counts as the module."""
    known = modules(module.split(".")[0])
    for found in imports_of(module, path.read_text()):
        inner = f"{found.target}.{found.name}"
        target = inner if inner in known else found.target
        if target in known and target != module:
            yield target


@pytest.mark.parametrize("layer", FORBIDDEN)
def test_no_file_has_the_name_of_something_that_its_package_exports(layer: str) -> None:
    """``package.name`` would be the module or the function, whichever was imported last."""
    wrong = []
    for name, path in modules(layer).items():
        if path.name == "__init__.py":
            files = {entry.stem for entry in path.parent.iterdir() if entry.suffix == ".py" or entry.is_dir()}
            wrong += [f"{name}.{exported}" for exported in sorted(_exported(path.read_text(), name) & files)]
    assert wrong == []


def _exported(source: str, package: str) -> set[str]:
    """What a face offers, without the modules of the package that it offers as modules."""
    tree = ast.parse(source)
    found = list(imports_of(package, source))
    names = {one.name for one in found if one.target.startswith(f"{package}.")}
    names |= {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            names |= set(ast.literal_eval(node.value))
    return names - {one.name for one in found if one.target == package}


@pytest.mark.parametrize("layer", FORBIDDEN)
def test_the_face_of_every_package_says_what_is_in_it(layer: str) -> None:
    faces = {name: path for name, path in modules(layer).items() if path.name == "__init__.py"}
    silent = [name for name, path in faces.items() if len(ast.get_docstring(ast.parse(path.read_text())) or "") < 20]
    assert silent == []


# the checks themselves


def _sources(**texts: str) -> dict[str, tuple[Path, str]]:
    return {name.replace("__", "."): (Path(f"{name}.py"), text) for name, text in texts.items()}


@pytest.mark.parametrize(
    ("text", "n"),
    [
        ("from cmr_models.nets.unet import _block", 1),
        ("def f():\n    from cmr_models.nets._inner import block", 1),
        ("from cmr_models.zoo.runner import _device", 0),
        ("from cmr_models.nets import __doc__", 0),
        ("from torch import _C", 0),
    ],
)
def test_a_private_import_is_found(text: str, n: int) -> None:
    assert len(private_imports(_sources(cmr_models__zoo__library=text))) == n


def test_imports_inside_functions_are_found() -> None:
    (found,) = imports_of("tasks.state.store", "def f():\n    from tasks.report import page")
    assert (found.target, found.name, found.line) == ("tasks.report", "page", 2)
    assert _folder("tasks", found) == "report"


def test_the_names_of_a_face_are_found() -> None:
    source = (
        "from cmr_models.zoo import library\nfrom cmr_models.zoo.model_card import ModelCard\n"
        '__all__ = ["ModelCard", "library", "load"]\ndef save(): ...\n'
    )
    assert _exported(source, "cmr_models.zoo") == {"ModelCard", "load", "save"}
