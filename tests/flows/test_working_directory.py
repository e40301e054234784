"""A command runs nothing that lies in the folder where it is started, and takes no library's settings from there."""

import os
import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure

from benchmarks.fuzz import seeds
from tasks.report.drawing import draw

_MODULES = ("multiprocessing", "signal", "flows", "tasks", "uvicorn", "distributed", "prefect", "dask", "matplotlib")
"""Some that the processes of a command import first."""

_LOGGING = """
version: 1
handlers:
  planted: {(): builtins.open, file: %s, mode: w}
loggers:
  prefect: {handlers: [planted]}
"""


def _plant(folder: Path, mark: Path) -> None:
    """Files that would write ``mark`` if a library read them."""
    for name in _MODULES:
        (folder / f"{name}.py").write_text(f"open({str(mark)!r}, 'a').write({name!r})\n")
    (folder / "logging.yml").write_text(_LOGGING % mark)
    (folder / "prefect.toml").write_text(f'[logging]\nconfig_path = "{folder}/logging.yml"\n')
    (folder / "pyproject.toml").write_text(f'[tool.prefect.logging]\nconfig_path = "{folder}/logging.yml"\n')
    (folder / ".env").write_text(f"PREFECT_LOGGING_CONFIG_PATH={folder}/logging.yml\n")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_nothing_that_was_planted_where_a_command_starts_is_run(tmp_path: Path) -> None:
    for name in ("planted", "archive", "program"):
        (tmp_path / name).mkdir()
    (tmp_path / "archive/a.dcm").write_bytes(seeds.dicom()[0])
    (tmp_path / "cohort.toml").write_text(
        'directory = "cohort"\nsources = ["archive"]\n[compute]\nprofile = "local"\nworkers = 1\n'
    )
    (tmp_path / "program/cohort").write_text("if __name__ == '__main__':\n from flows.start import main\n main()\n")
    _plant(tmp_path / "planted", tmp_path / "mark")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    done = subprocess.run(
        [sys.executable, tmp_path / "program/cohort", "run", "--config", tmp_path / "cohort.toml"],
        cwd=tmp_path / "planted", env=environment | {"HOME": str(tmp_path)}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode in (0, 3), done.stderr
    assert "convert: 1 of 1 studies" in done.stderr
    assert not (tmp_path / "mark").exists(), (tmp_path / "mark").read_text()


def test_figures_are_drawn_in_the_style_of_the_report_alone() -> None:
    def painter(figure: Figure) -> None:
        figure.subplots().plot([1, 2], [3, 5])

    plain = draw(painter, 3, 2)
    with mpl.rc_context({"lines.linestyle": "--", "axes.grid": True, "figure.facecolor": "red"}):
        assert draw(painter, 3, 2) == plain
        assert mpl.rcParams["lines.linestyle"] == "--"  # it is as it was
