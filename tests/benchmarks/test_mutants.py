"""Faults that are put into the code: each changes one thing, none a text or a type; what became of them is kept."""

import ast
from pathlib import Path

import pytest
from coverage import CoverageData

from benchmarks.mutants import results
from benchmarks.mutants.faults import Fault, faults_of
from benchmarks.mutants.modules import AREAS, modules
from benchmarks.mutants.page import table
from benchmarks.mutants.results import Results
from benchmarks.mutants.tests_of_lines import TestsOfLines
from benchmarks.mutants.trial import Outcome

_SOURCE = '''"""A module: 1 < 2."""

from __future__ import annotations

import numpy as np

__all__ = ["mean_of"]
_MOST: int | None = 30


def mean_of(values: np.ndarray, spacing: tuple[float, ...] = (1.5, 2.0)) -> float:
    """The mean: n + 1."""
    if values.size <= 3 and not np.isnan(values).any():
        raise ValueError(f"{values.size - 1} values µ")
    kept = [v for v in values if v > 0]
    return float(np.mean(np.asarray(kept)[1:], axis=0) * spacing[0])
'''


@pytest.fixture
def offered(tmp_path: Path) -> list[Fault]:
    path = tmp_path / "module.py"
    path.write_text(_SOURCE)
    return faults_of(path, "module.py")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("30", "31"),
        ("1.5", "2.25"),
        ("values.size <= 3", "(values.size < 3)"),
        ("values.size <= 3", "(values.size > 3)"),
        ("not np.isnan(values).any()", "np.isnan(values).any()"),
        ("np.isnan(values).any()", "np.isnan(values).all()"),
        ("v > 0", "(v >= 0)"),
        ("v > 0", "True"),
        ("np.asarray(kept)[1:]", "np.asarray(kept)"),
        ("np.mean(np.asarray(kept)[1:], axis=0)", "np.mean(np.asarray(kept)[1:], axis=1)"),
        ("np.mean(np.asarray(kept)[1:], axis=0)", "np.median(np.asarray(kept)[1:], axis=0)"),
        (
            "np.mean(np.asarray(kept)[1:], axis=0) * spacing[0]",
            "(np.mean(np.asarray(kept)[1:], axis=0) / spacing[0])",
        ),
    ],
)
def test_what_a_module_computes_is_changed(offered: list[Fault], old: str, new: str) -> None:
    assert (old, new) in {(fault.old, fault.new) for fault in offered}


def test_texts_types_and_names_are_left_alone(offered: list[Fault]) -> None:
    lines = {fault.line for fault in offered}
    assert not lines & {1, 3, 5, 7, 12, 14}
    assert not any("float" in fault.old and "tuple" in fault.old for fault in offered)


def test_a_fault_changes_its_own_piece_and_the_rest_stays(offered: list[Fault]) -> None:
    source = _SOURCE.encode()
    for fault in offered:
        assert source[fault.start : fault.end].decode() == fault.old
        changed = fault.put_into(source)
        assert changed.startswith(source[: fault.start])
        assert changed.endswith(source[fault.end :])
        assert fault.is_code(source)
        ast.parse(changed)


def test_a_change_of_brackets_is_none(offered: list[Fault]) -> None:
    (fault, *_) = offered
    same = Fault(fault.module, fault.line, fault.start, fault.end, fault.old, f"({fault.old})", "none")
    assert not same.is_code(_SOURCE.encode())


def test_every_area_has_modules_and_no_module_two_areas() -> None:
    assert set(modules().values()) == set(AREAS)


_SECONDS = """
<testsuite><testcase classname="tests.quick" name="one" time="1"/>
<testcase classname="tests.quick" name="two" time="2"/>
<testcase classname="tests.cohort" name="first" time="50"/><testcase classname="tests.cohort" name="second" time="0.5"/>
<testcase classname="tests.cohort" name="third" time="0.5"/>
<testcase classname="tests.cohort" name="fails" time="0"><failure/></testcase></testsuite>
"""


def test_the_first_test_of_a_file_waits_for_what_the_file_makes_once(tmp_path: Path) -> None:
    (tmp_path / "seconds.xml").write_text(_SECONDS)
    contexts = CoverageData(str(tmp_path / ".coverage"))
    module = str(tmp_path / "module.py")
    for test in ("tests/cohort.py::second", "tests/cohort.py::third", "tests/quick.py::two", "tests/cohort.py::fails"):
        contexts.set_context(f"{test}|run")
        contexts.add_lines({module: [7]})
    contexts.write()
    tests = TestsOfLines(tmp_path / ".coverage", tmp_path / "seconds.xml", tmp_path)
    found = tests.of("module.py", 7, 7)
    assert found == ["tests/quick.py::two", "tests/cohort.py::second", "tests/cohort.py::third"]
    assert tests.costs(found) == [2.0 + 0.5, 0.5 + 49.5, 0.5]
    assert tests.of("module.py", 8, 9) == []


def test_a_run_goes_on_where_it_ended_and_survivors_are_tried_again(
    offered: list[Fault], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "ROOT", tmp_path)
    monkeypatch.setattr("benchmarks.mutants.page.modules", lambda: {"module.py": "reading"})
    noticed, survived, not_run = offered[:3]
    kept = Results(tmp_path / "results.jsonl")
    kept.add(noticed, Outcome("noticed", 3, 1.0))
    kept.add(survived, Outcome("survived", 5, 2.0))
    kept.add(not_run, Outcome("no test", 0, 0.0))
    again = Results(tmp_path / "results.jsonl")
    assert [again.knows(fault) for fault in offered[:4]] == [True, False, False, False]
    assert again.survivors(offered) == [survived, not_run]
    assert again.share_survived(offered[:4]) == pytest.approx(2 / 4)
    assert "| reading | 4 | 2 | 50% |" in table(again, offered[:4])
    (tmp_path / "module.py").write_text(_SOURCE + "\n")
    assert not Results(tmp_path / "results.jsonl").knows(noticed)
