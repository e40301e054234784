"""Every table of a user is read by one function, which no cell can end; our own tables by another."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_READERS = {
    "read_csv", "read_table", "read_fwf", "read_excel", "read_parquet", "read_feather", "ParquetFile", "ParquetDataset",
    "genfromtxt", "loadtxt", "DictReader",
}  # fmt: skip
_ALLOWED = {
    "tasks/state/user_tables.py": {"read_csv", "read_parquet", "ParquetFile"},
    "tasks/state/parquet_tables.py": {"read_parquet"},  # tables that we published
    "tasks/state/study_tables.py": {"ParquetFile"},  # the same
    "tasks/sources/public_facts.py": {"DictReader"},  # of the csv module: every cell is text
    "tasks/documentation/pages.py": {"DictReader"},  # our own dictionary
}


def _called(source: str) -> Iterator[str]:
    """Readers that are named as an attribute of a module (``pd.read_csv``), or imported from one of another package."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr in _READERS:
            yield node.attr
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] not in ("tasks", "cmr_models"):
            yield from (alias.name for alias in node.names if alias.name in _READERS)


@pytest.mark.parametrize("layer", ["cmr_models", "tasks", "flows"])
def test_no_other_module_reads_a_table(layer: str) -> None:
    found = {path.relative_to(ROOT).as_posix(): set(_called(path.read_text())) for path in (ROOT / layer).rglob("*.py")}
    wrong = {name: readers - _ALLOWED.get(name, set()) for name, readers in found.items()}
    assert {name: readers for name, readers in wrong.items() if readers} == {}


def test_the_one_function_reads_numbers_by_the_way_that_cannot_end_the_process() -> None:
    tree = ast.parse((ROOT / "tasks/state/user_tables.py").read_text())
    calls = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "read_csv"
    ]
    assert len(calls) == 1
    options = {keyword.arg: ast.unparse(keyword.value) for keyword in calls[0].keywords}
    assert (options["float_precision"], options["dtype"]) == ("'round_trip'", "str")


def test_the_search_finds_what_it_looks_for() -> None:
    source = (
        "import pandas as pd\nfrom pandas import read_csv\npd.read_parquet('a')\nfrom tasks.state import read_table\n"
    )
    assert sorted(_called(source)) == ["read_csv", "read_parquet"]
