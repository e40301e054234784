"""What only looks or explains loads no network, no cluster and no orchestration."""

import subprocess
import sys
from pathlib import Path

import pytest

from tasks.state.ledger import Outcome, open_ledger

_LOADED = """
import contextlib, io, sys
from flows.cli import main
with contextlib.redirect_stdout(io.StringIO()):
    main(sys.argv[1:], standalone_mode=False)
print(*sorted({"torch", "prefect", "dask", "distributed", "matplotlib"} & set(sys.modules)))
"""


@pytest.mark.parametrize(
    "words",
    [["--help"], ["--version"], ["run", "--help"], ["templates"], ["models", "list"], ["status", "--cohort", "c"]],
)
def test_a_light_command_loads_nothing_heavy(tmp_path: Path, words: list[str]) -> None:
    with open_ledger(tmp_path / "c/ledger.sqlite") as ledger:
        ledger.record([Outcome("1-2", "convert", "ok")])
    command = [sys.executable, "-c", _LOADED, *words]
    environment = {"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": "/usr/bin"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr
