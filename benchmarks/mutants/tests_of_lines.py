"""Which tests run a line of a module, and how long each takes, as ``make coverage`` recorded it.

``pytest --cov-context=test --junitxml`` leaves two files: the contexts (tests) of every line, and the seconds and the
outcome of every test. A line that a test's fixture runs may serve all tests of its file, of which it is recorded for
the first alone: all are taken. Lines that run when a module is imported, or in a process of its own, have no test here;
for these the tests that import the module, or a package that holds it, serve.
"""

from __future__ import annotations

import ast
import re
import statistics
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from coverage import Coverage, CoverageData

from benchmarks.mutants.modules import ROOT

CONTEXTS = ROOT / ".coverage"
SECONDS = ROOT / ".coverage.junit.xml"


class TestsOfLines:
    """Tests by line, those of the quickest files first.

    A test that asks first for what its file makes once, such as a whole cohort, has that in its seconds. Whichever test
    of the file is chosen has to wait for it: so much longer than the median does the slowest test of the file take.
    """

    __test__ = False  # its name begins as that of a test does

    def __init__(self, contexts: Path = CONTEXTS, seconds: Path = SECONDS, root: Path = ROOT) -> None:
        for path in (contexts, seconds):
            if not path.is_file():
                raise FileNotFoundError(f"{path.name} is missing; run `make coverage` first")
        self._contexts = contexts
        self._data = CoverageData(str(contexts))
        self._data.read()
        self._root = root
        self._measured = {Path(name).resolve(): name for name in self._data.measured_files()}
        self._lines: dict[str, dict[int, set[str]]] = {}
        self.seconds = _passed(seconds)

    def coverage_by_package(self) -> str:
        """Lines and branches that tests take, by package, in Markdown."""
        coverage = Coverage(data_file=str(self._contexts), branch=True)
        coverage.load()
        taken: dict[str, list[int]] = {}
        for path, measured in self._measured.items():
            numbers = coverage._analyze(measured).numbers
            package = "/".join(path.relative_to(self._root.resolve()).parts[:2]).removesuffix(".py")
            counts = (numbers.n_statements, numbers.n_missing, numbers.n_branches, numbers.n_missing_branches)
            taken[package] = [a + b for a, b in zip(taken.get(package, [0] * 4), counts, strict=True)]
        taken["**all**"] = [sum(column) for column in zip(*taken.values(), strict=True)]
        rows = [
            f"| {package} | {lines} | {1 - no_line / max(1, lines):.1%} | {branches} |"
            f" {1 - no_branch / max(1, branches):.1%} |"
            for package, (lines, no_line, branches, no_branch) in sorted(taken.items())
        ]
        header = ["| Package | Lines | Taken | Branches | Taken |", "| --- | --- | --- | --- | --- |"]
        return "\n".join(header + rows)

    def of(self, module: str, first: int, last: int) -> list[str]:
        """Tests that run a line from ``first`` to ``last`` of ``module``; without any, those that import it."""
        by_line = self._by_line(module)
        found = {test for line in range(first, last + 1) for test in by_line.get(line, ())}
        known = found & set(self.seconds) or self._importing(module)
        return sorted(known, key=lambda test: (self._made_once[_file(test)], self.seconds[test], test))

    def costs(self, tests: Sequence[str]) -> list[float]:
        """Seconds of each, one after the other; the first of a file waits for what the file makes once."""
        begun: set[str] = set()
        costs = []
        for test in tests:
            costs.append(self.seconds[test] + (0.0 if _file(test) in begun else self._made_once[_file(test)]))
            begun.add(_file(test))
        return costs

    def leave_out(self, tests: set[str]) -> None:
        """Take ``tests`` no more."""
        self.seconds = {test: each for test, each in self.seconds.items() if test not in tests}
        self._lines.clear()

    def _by_line(self, module: str) -> dict[int, set[str]]:
        if module not in self._lines:
            self._lines[module] = self._read_lines(module)
        return self._lines[module]

    def _read_lines(self, module: str) -> dict[int, set[str]]:
        measured = self._measured.get((self._root / module).resolve())
        contexts = self._data.contexts_by_lineno(measured) if measured else {}
        return {line: {t for name in names if name for t in self._tests(name)} for line, names in contexts.items()}

    def _tests(self, context: str) -> list[str]:
        test, _, phase = context.partition("|")
        return [test] if phase == "run" else self._tests_of_file.get(_file(test), [test])

    @cached_property
    def _made_once(self) -> dict[str, float]:
        seconds = {file: [self.seconds[test] for test in tests] for file, tests in self._tests_of_file.items()}
        return {file: max(each) - statistics.median(each) for file, each in seconds.items()}

    @cached_property
    def _tests_of_file(self) -> dict[str, list[str]]:
        files: dict[str, list[str]] = {}
        for test in self.seconds:
            files.setdefault(_file(test), []).append(test)
        return files

    def _importing(self, module: str) -> set[str]:
        """Tests of the files that import ``module`` or a package, but a root, that holds it."""
        parts = module.removesuffix(".py").removesuffix("/__init__").split("/")
        holders = {".".join(parts[:n]) for n in range(2, len(parts) + 1)}
        files = {file for file, names in self._imports.items() if names & holders}
        return {test for test in self.seconds if _file(test) in files}

    @cached_property
    def _imports(self) -> dict[str, set[str]]:
        files = (self._root / "tests").rglob("test_*.py")
        return {path.relative_to(self._root).as_posix(): _imported(path) for path in files}


def _file(test: str) -> str:
    return test.split("::")[0]


def _imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def _passed(path: Path) -> dict[str, float]:
    """Id of each test that passed -> its seconds."""
    seconds = {}
    for case in ET.parse(path).iter("testcase"):
        if any(child.tag in ("failure", "error", "skipped") for child in case):
            continue
        file = re.sub(r"\.", "/", case.get("classname", "")) + ".py"
        seconds[f"{file}::{case.get('name')}"] = float(case.get("time", "0"))
    return seconds
