"""What the repository may hold: no path of one machine, no large file, no reason code that nothing gives."""

import ast
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from cmr_models.estimates import NOT_ESTIMABLE
from cmr_models.reasons import TABLE

ROOT = Path(__file__).parents[2]
LARGEST_MB = 6
MACHINE_PATH = re.compile(r"(?<![\w.)}>])/(?:work|tmp|home|root|Users)/\w")
RAISED = {"StudyRejected": set(TABLE), "Missing": set(TABLE), "NotEstimableError": set(NOT_ESTIMABLE)}


@pytest.fixture(scope="module")
def files() -> list[Path]:
    """Every file that is tracked or would be."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


def _sources() -> Iterator[Path]:
    for layer in ("cmr_models", "tasks", "flows"):
        yield from sorted((ROOT / layer).rglob("*.py"))


def _codes_given(path: Path) -> Iterator[tuple[str, str]]:
    """(class, code) of every rejection or missing number whose code stands in the source."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in RAISED and node.args:
            code = node.args[0]
            if isinstance(code, ast.Constant) and isinstance(code.value, str):
                yield node.func.id, code.value


def test_no_file_names_a_place_on_somebodys_machine(files: list[Path]) -> None:
    wrong = []
    for path in files:
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        wrong += [f"{path.relative_to(ROOT)}: {found[0]}" for found in MACHINE_PATH.finditer(text)]
    assert not wrong


def test_no_two_files_of_tests_have_one_name() -> None:
    """Pytest imports a file of tests by its name alone."""
    names = Counter(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert not {name for name, n in names.items() if n > 1}


def test_no_file_is_large(files: list[Path]) -> None:
    large = {str(path.relative_to(ROOT)): path.stat().st_size for path in files}
    assert {name: size for name, size in large.items() if size > LARGEST_MB * 2**20} == {}


def test_every_code_that_is_given_is_in_the_table() -> None:
    given = {(path.name, kind, code) for path in _sources() for kind, code in _codes_given(path)}
    assert given
    assert {(name, code) for name, kind, code in given if code not in RAISED[kind]} == set()


@pytest.mark.parametrize(("table", "home"), [(TABLE, "reasons.py"), (NOT_ESTIMABLE, "estimates.py")])
def test_every_code_of_a_table_is_given_somewhere(table: dict[str, object], home: str) -> None:
    text = "\n".join(path.read_text() for path in _sources() if path.name != home)
    assert [code for code in table if f'"{code}"' not in text] == []
