"""What starts shards, made of a plan: the scripts name the digest, what the jobs need, and nothing else."""

import json
import os
import re
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import mock_dx
import pytest

from tasks.batch.engines import write_engine
from tasks.batch.shard_plan import Part, ShardPlan, publish_plan
from tasks.execution.settings import ComputeSettings
from tasks.state.ledger import Outcome
from tasks.state.mistakes import UserMistake
from tasks.state.store import Cohort

CLUSTER = {
    "queue": "gpu",
    "cores": 8,
    "memory": "64GB",
    "walltime": "08:00:00",
    "job_extra_directives": ["--gres=gpu:1"],
}


def _part(*studies: str, kind: str = "ukb", rows: tuple[Outcome, ...] = ()) -> Part:
    units: list[dict[str, Any]] = [
        {"study": study, "kind": kind, "files": [(f"/mnt/project/Bulk/Short axis/{study}_20209_2_0.zip", 1, 2)]}
        for study in studies
    ]
    return Part(units, rows, "")


def _written(tmp_path: Path, engine: str, *parts: Part, **compute: Any) -> tuple[ShardPlan, Path]:
    cohort = Cohort(tmp_path / "a cohort")
    plan = publish_plan(cohort, {"settings": {}}, parts or [_part("1", "2"), _part("3")])
    return plan, write_engine(engine, plan, cohort, ComputeSettings(**compute))


def _directives(script: Path) -> list[str]:
    return [line.removeprefix("#SBATCH ") for line in script.read_text().splitlines() if line.startswith("#SBATCH")]


def _is_bash(script: Path) -> bool:
    return subprocess.run(["bash", "-n", script], check=False).returncode == 0


def test_an_array_has_a_task_a_shard_and_asks_for_what_a_worker_has(tmp_path: Path) -> None:
    plan, folder = _written(tmp_path, "slurm", profile="slurm", cluster=CLUSTER)
    asked = ["--partition=gpu", "--cpus-per-task=8", "--time=08:00:00", "--mem=61036M", "--gres=gpu:1"]
    log = f"--output={folder.absolute()}/logs/"
    name = f"--job-name=cmr-{plan.digest[:8]}"
    assert _directives(folder / "array.sh") == [name, "--array=0-1", f"{log}%a.out", *asked]
    assert _directives(folder / "finish.sh") == [f"{name}-finish", f"{log}finish.out", *asked]
    assert (folder / "logs").is_dir()
    assert f"--plan {plan.digest}" in (folder / "array.sh").read_text()
    assert f"shard run '{tmp_path}/a cohort'" in (folder / "array.sh").read_text()
    assert all(_is_bash(folder / name) for name in ("array.sh", "finish.sh"))


def test_without_a_slurm_profile_the_site_decides(tmp_path: Path) -> None:
    _, folder = _written(tmp_path, "slurm", profile="local", cluster={"memory_limit": "4GB"})
    assert len(_directives(folder / "array.sh")) == 3


def test_more_shards_than_an_array_may_have_are_shared_by_its_tasks(tmp_path: Path) -> None:
    plan, folder = _written(tmp_path, "slurm", *[_part(str(n)) for n in range(1003)])
    script = (folder / "array.sh").read_text().replace("#!/bin/bash", "")
    command = script[script.index("for ((") :]
    said = [line.split()[0] for line in command.splitlines() if " shard run " in line]
    stub = command.replace(said[0], "echo")
    shell = f"SLURM_ARRAY_TASK_ID=2; {stub}"
    told = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=True).stdout.splitlines()
    assert "#SBATCH --array=0-999" in script
    assert [line.split("--index ")[1].split()[0] for line in told] == ["2", "1002"]
    assert plan.n_shards == 1003


def test_an_applet_has_no_network_and_takes_lists_of_files(tmp_path: Path) -> None:
    plan, folder = _written(tmp_path, "dnanexus")
    app = json.loads((folder / "dxapp.json").read_text())
    assert app["access"] == {"network": []}
    assert {one["name"]: one["class"] for one in app["inputSpec"]} == {
        "index": "int",
        "plan": "file",
        "container": "file",
        "archives": "array:file",
    }
    assert app["runSpec"]["file"] == "src/shard.sh"
    job = (folder / "src/shard.sh").read_text()
    assert "--network none" in job
    assert f"--plan {plan.digest}" in job
    assert (folder / "files/00001.txt").read_text() == "/mnt/project/Bulk/Short axis/3_20209_2_0.zip\n"
    assert all(_is_bash(folder / name) for name in ("src/shard.sh", "submit.sh"))


def test_the_packed_plan_holds_all_parts_and_is_the_same_each_time(tmp_path: Path) -> None:
    plan, folder = _written(tmp_path, "dnanexus")
    first = (folder / "plan.tar").read_bytes()
    write_engine("dnanexus", plan, Cohort(tmp_path / "a cohort"), ComputeSettings())
    assert (folder / "plan.tar").read_bytes() == first
    with tarfile.open(folder / "plan.tar") as archive:
        named = [name.removeprefix(f"shards/{plan.digest}/") for name in archive.getnames()]
    assert named == ["plan.json", "parts/00000.csv", "parts/00000.json", "parts/00001.csv", "parts/00001.json"]


def test_a_workflow_scatters_over_lists_of_files(tmp_path: Path) -> None:
    plan, folder = _written(tmp_path, "wdl")
    inputs = json.loads((folder / "inputs.json").read_text())
    assert [len(shard) for shard in inputs["cmr_cohort_shards.archives"]] == [2, 1]
    text = (folder / "shards.wdl").read_text()
    assert f"--plan {plan.digest} --files ~{{write_lines(archives)}}" in text
    command = text.partition("command <<<")[2].partition(">>>")[0]
    assert subprocess.run(["bash", "-n", "-c", re.sub(r"~\{[^}]*\}", "word", command)], check=False).returncode == 0


@pytest.mark.parametrize("engine", ["wdl", "dnanexus"])
def test_what_an_engine_cannot_send_is_said(tmp_path: Path, engine: str) -> None:
    with pytest.raises(UserMistake, match=f"--write {engine}: 1 studies are in the cohort already"):
        _written(tmp_path, engine, _part("1", rows=(Outcome("1", "convert", "ok"),)))
    with pytest.raises(UserMistake, match=f"--write {engine}: the sources have nifti files"):
        _written(tmp_path, engine, _part("1", kind="nifti"))


_STUB = """#!/bin/bash
# Stands for the command: writes down the files that it was given, as its result.
mkdir -p "$3/studies"
while read -r path; do cat "$path"; done < "${@: -1}" > "$3/studies/$5.txt"
"""


def _sent(project: Path, plan: ShardPlan, tools: Path, *shards: str) -> dict[str, bytes]:
    """What lies in the shards' tars after `submit.sh` on a mock of DNAnexus."""
    environment = {
        **os.environ,
        "PATH": f"{tools}:{os.environ['PATH']}",
        "MOCK_DX_PROJECT": str(project),
        "MOCK_DX_COMMAND": str(tools / "stub"),
        "DX_FOLDER": "/results",
    }
    command = ["bash", str(plan.folder / "dnanexus/submit.sh"), "/image.tar.gz", *shards]
    subprocess.run(command, env=environment, check=True, timeout=200)
    found = {}
    for path in sorted((project / "results").glob("shard_*.tar")):
        with tarfile.open(path) as archive:
            names = [name for name in archive.getnames() if name.endswith(".txt")]
            content = archive.extractfile(names[0])
            assert content is not None
            found[path.name] = content.read()
    return found


def test_jobs_have_their_own_files_in_order_and_only_what_lacks_is_sent(tmp_path: Path) -> None:
    project, tools, archive = tmp_path / "project", tmp_path / "tools", tmp_path / "an archive"
    for folder in (project, tools, archive):
        folder.mkdir()
    (project / "image.tar.gz").write_bytes(b"an image")
    for name, text in [*((name, mock_dx.script()) for name in mock_dx.TOOLS), ("stub", _STUB)]:
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    units: list[dict[str, Any]] = []
    for name in ("a", "b", "c"):
        (archive / f"{name}.zip").write_text(name)
        units.append({"study": name, "kind": "ukb", "files": [(str(archive / f"{name}.zip"), 1, 2)]})
    plan, _ = _written(tmp_path, "dnanexus", Part(units[:2], [], ""), Part(units[2:], [], ""))
    assert _sent(project, plan, tools, "1") == {"shard_00001.tar": b"c"}
    (archive / "c.zip").write_text("would be seen if it were sent again")
    assert _sent(project, plan, tools) == {"shard_00000.tar": b"ab", "shard_00001.tar": b"c"}
