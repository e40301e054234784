"""What Prefect's database keeps of an error is its type and place; the command still gets the error itself."""

import ast
from pathlib import Path

import pytest
from prefect import flow, task
from prefect.client.orchestration import get_client

from flows.withheld import original_errors, text_withheld

_MARKER = "ZQXMARKER^Anna"
_ROOT = Path(__file__).parents[2]


def _fail() -> None:
    raise ValueError(_MARKER)


def _kept(name: str) -> str:
    """All that the server tells of the runs of a flow and of their tasks."""
    with get_client(sync_client=True) as client:
        runs = [run for run in client.read_flow_runs(limit=200) if run.name.startswith(name)]
        tasks = [one for run in runs for one in client.read_task_runs(limit=200) if one.flow_run_id == run.id]
    assert runs
    return " ".join(one.model_dump_json() for one in (*runs, *tasks))


@pytest.mark.parametrize(("is_withheld", "n"), [(True, 0), (False, 1)])
def test_the_text_of_an_error_is_kept_unless_it_is_withheld(prefect_server: str, is_withheld: bool, n: int) -> None:
    withheld = text_withheld if is_withheld else (lambda function: function)
    name = f"law-{is_withheld}"

    @task
    @withheld
    def inner() -> None:
        _fail()

    @flow(name=name, flow_run_name=name)
    @withheld
    def outer() -> None:
        inner()

    with pytest.raises(ValueError, match="ZQXMARKER"), original_errors():
        outer()
    assert (_MARKER in _kept(name)) == bool(n)
    assert ("ValueError at test_no_cell_reaches_prefect.py" in _kept(name)) == is_withheld


def test_every_flow_and_task_withholds_the_text_of_its_errors() -> None:
    found = {}
    for path in sorted((_ROOT / "flows").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                marks = [ast.unparse(mark).partition("(")[0] for mark in node.decorator_list]
                if {"flow", "task"} & set(marks):
                    found[f"{path.stem}.{node.name}"] = marks[-1]
    assert len(found) >= 12
    assert set(found.values()) == {"text_withheld"}
