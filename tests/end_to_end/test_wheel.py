"""The wheel, installed away from the checkout: the command works, and what the documentation names is in it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

from cmr_models import zoo
from flows.templates import KINDS, templates

ROOT = Path(__file__).parents[2]
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "NOTICE", "cmr_models", "tasks", "flows")
pytestmark = pytest.mark.slow

Run = Callable[..., str]


def _call(*command: str | Path, folder: Path) -> str:
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(word) for word in command], cwd=folder, env=clean, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run a program of an environment that has the wheel, and the dependencies of this one."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name)
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    _call(*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, source, folder=folder)
    (wheel,) = folder.glob("cmr_cohort-*.whl")
    environment = folder / "environment"
    _call(sys.executable, "-m", "venv", "--without-pip", environment, folder=folder)
    (packages,) = environment.glob("lib/python*/site-packages")
    _call(*pip, "--python", environment, "install", "--no-deps", "--no-index", wheel, folder=folder)
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    away = folder / "away"
    away.mkdir()

    def in_environment(program: str, *arguments: str) -> str:
        return _call(environment / "bin" / program, *arguments, folder=away)

    return in_environment


def test_the_packages_are_those_of_the_wheel(run: Run) -> None:
    printed = run("python", "-c", "import cmr_models, tasks, flows; print(cmr_models.__file__, flows.__file__)")
    assert printed.count("site-packages") == 2
    assert str(ROOT) not in printed


def test_the_command_works(run: Run) -> None:
    assert run("cmr-cohort", "check") == ""
    assert "templates" in run("cmr-cohort", "--help")
    listed = run("cmr-cohort", "models", "list")
    cards = [card for _, card in zoo.available() if isinstance(card, zoo.ModelCard)]
    assert len(cards) >= 4
    assert [card.task for card in cards if card.task not in listed] == []


def test_every_template_is_in_the_wheel(run: Run) -> None:
    printed = run("cmr-cohort", "templates")
    names = [line.split()[0] for line in printed.splitlines()]
    assert names == [name for folder in KINDS for name in templates(folder)]
    assert run("cmr-cohort", "templates", "ukb") == templates("analysis")["ukb"].read_text()


def test_the_embedded_network_labels_an_image(run: Run) -> None:
    code = (
        "import numpy as np; from cmr_models.segmentation import segment_sax;"
        "print(segment_sax(np.zeros((1, 2, 64, 64), np.uint16), pixel_mm=1.8, slice_mm=10.0).shape)"
    )
    assert run("python", "-c", code).strip() == "(1, 2, 64, 64)"


def test_the_licences_are_in_the_wheel(run: Run) -> None:
    code = (
        "from importlib.metadata import files;"
        "print(sorted(path.name for path in files('cmr-cohort') if 'licenses' in path.parts))"
    )
    assert run("python", "-c", code).strip() == "['LICENCE.txt', 'LICENSE', 'NOTICE']"
