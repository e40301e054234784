"""A cohort in shards is the cohort of a run, byte for byte: by hand, killed, as a SLURM array, on a mock DNAnexus."""

import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import mock_dx
import pytest

from tasks.simulation import SimulationSettings, write_cohort

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
SETTINGS = SimulationSettings(people=60, imaged=5, frames=8, faults=("truncated_zip",), seed=5)
COMMAND = Path(sys.executable).with_name("cmr-cohort")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
FOLDERS = ("studies", "predictions", "tables", "reports")

Command = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Archives and tables; nothing is written into them."""
    folder = tmp_path_factory.mktemp("simulated")
    for _ in write_cohort(folder, SETTINGS):
        pass
    return folder


def _settings(simulated: Path, folder: Path) -> Path:
    """``folder`` with the settings of a cohort of the same archives, at the same paths."""
    names = {"participants": "participants.csv", "outcomes": "outcomes.csv"}
    named = "".join(f'{name} = "{simulated / file}"\n' for name, file in names.items())
    analysis = '[analysis]\ncovariates = ["sex"]\n'
    (folder / "cohort.toml").write_text(
        f'directory = "cohort"\nsources = ["{simulated / "archive"}"]\n{named}{analysis}'
    )
    return folder


@pytest.fixture(scope="module")
def reference(simulated: Path, command: Command, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a run makes of it: file -> content."""
    work = _settings(simulated, tmp_path_factory.mktemp("run"))
    process = command("run", "--config", work / "cohort.toml")
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    return _content(work / "cohort")


@pytest.fixture
def work(simulated: Path, tmp_path: Path) -> Path:
    """The folder of a cohort to bring through in shards."""
    (tmp_path / "work").mkdir()
    return _settings(simulated, tmp_path / "work")


def _content(cohort: Path) -> dict[str, bytes]:
    files = (path for folder in FOLDERS for path in sorted((cohort / folder).rglob("*")) if path.is_file())
    return {str(path.relative_to(cohort)): path.read_bytes() for path in files}


def _assert_same(cohort: Path, reference: dict[str, bytes]) -> None:
    content = _content(cohort)
    assert content.keys() == reference.keys()
    assert [name for name in content if content[name] != reference[name]] == []


def _shard(*words: object) -> "subprocess.CompletedProcess[str]":
    command = [str(COMMAND), "shard", *map(str, words)]
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=400, check=False)


def _planned(work: Path, *more: str) -> Path:
    """The folder of a plan of two shards."""
    done = _shard("plan", work / "cohort", "--size", 3, *more)
    assert done.returncode == 0, done.stderr
    assert "shards: 2, with 5 studies\n" in done.stdout
    return work / "cohort/shards" / done.stdout.split()[1]


def _kill_within(work: Path, index: int) -> None:
    process = subprocess.Popen([COMMAND, "shard", "run", work / "cohort", "--index", str(index)], env=ENVIRONMENT)
    while not any((work / "cohort/studies").rglob("*.zarr.zip")):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_shards_one_of_them_killed_make_what_a_run_makes(work: Path, reference: dict[str, bytes]) -> None:
    plan = _planned(work)
    _kill_within(work, 0)
    assert not (plan / "ended/00000.json").exists()
    assert _shard("run", work / "cohort", "--index", 1).returncode == 0
    early = _shard("finish", work / "cohort")
    assert early.returncode == 2
    assert "1 of 2 shards have not ended: 0; run them" in early.stderr
    assert _shard("run", work / "cohort", "--index", 0, "--plan", plan.name).returncode == 0
    finished = _shard("finish", work / "cohort")
    assert finished.returncode == 0, finished.stderr
    _assert_same(work / "cohort", reference)
    assert sorted(path.name for path in plan.iterdir()) == ["ended", "finished.json", "plan.json"]
    planned = subprocess.run([COMMAND, "plan", "--cohort", work / "cohort"], capture_output=True, text=True, check=True)
    assert planned.stdout == "nothing to do: every study, table and page is current\n"
    _assert_same(work / "cohort", reference)


def test_a_shard_is_not_run_by_other_settings_or_by_another_plan(work: Path) -> None:
    plan = _planned(work)
    other = _shard("run", work / "cohort", "--index", 0, "--plan", "f" * 32)
    assert (other.returncode, "there is no plan ffff" in other.stderr) == (2, True)
    settings = work / "cohort.toml"
    settings.write_text(settings.read_text() + "\n[convert]\nframes_missing_max = 0.5\n")
    changed = _shard("run", work / "cohort", "--index", 0, "--plan", plan.name)
    assert changed.returncode == 2
    assert "cohort.toml: convert changed since plan" in changed.stderr
    assert not (plan / "ledgers").exists()


def test_an_applet_on_a_mock_of_dnanexus_makes_what_a_run_makes(
    work: Path, reference: dict[str, bytes], tmp_path: Path
) -> None:
    plan = _planned(work, "--write", "dnanexus")
    project, tools = tmp_path / "project", tmp_path / "tools"
    (project / "images").mkdir(parents=True)
    (project / "images/cmr-cohort.tar.gz").write_bytes(b"an image")
    tools.mkdir()
    for name in mock_dx.TOOLS:
        script = tools / name
        script.write_text(mock_dx.script())
        script.chmod(0o755)
    environment = {
        **ENVIRONMENT,
        "PATH": f"{tools}:{os.environ['PATH']}",
        "MOCK_DX_PROJECT": str(project),
        "MOCK_DX_COMMAND": str(COMMAND),
        "DX_FOLDER": "/results",
    }
    submit = ["bash", str(plan / "dnanexus/submit.sh"), "/images/cmr-cohort.tar.gz"]
    for words in ([*submit, "1"], submit):  # one alone, then what lacks
        done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=600, check=False)
        assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (project / "results").glob("*.tar")) == [
        "plan.tar",
        "shard_00000.tar",
        "shard_00001.tar",
    ]
    for path in sorted((project / "results").glob("shard_*.tar")):
        with tarfile.open(path) as archive:
            archive.extractall(work / "cohort", filter="data")
    finished = _shard("finish", work / "cohort")
    assert finished.returncode == 0, finished.stderr
    _assert_same(work / "cohort", reference)


@pytest.mark.skipif(not shutil.which("sbatch"), reason="there is no SLURM here")
def test_a_slurm_array_makes_what_a_run_makes(work: Path, reference: dict[str, bytes]) -> None:
    if subprocess.run(["sinfo"], capture_output=True, timeout=30, check=False).returncode:
        pytest.skip("no SLURM answers here")
    plan = _planned(work, "--write", "slurm")
    array = _sbatch(plan / "slurm/array.sh")
    _sbatch("--wait", f"--dependency=afterok:{array}", plan / "slurm/finish.sh")
    assert (plan / "finished.json").exists(), [path.read_text() for path in sorted((plan / "slurm/logs").iterdir())]
    _assert_same(work / "cohort", reference)


def _sbatch(*words: object) -> str:
    command = ["sbatch", "--parsable", *map(str, words)]
    return subprocess.run(
        command, env=ENVIRONMENT, capture_output=True, text=True, timeout=600, check=True
    ).stdout.strip()
