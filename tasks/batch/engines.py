"""What starts the shards of a plan: a SLURM array, a WDL task, or an applet of DNAnexus (UK Biobank's RAP).

Each is made of the plan and names its digest, so a job that has waited for days cannot run something else.

References: Slurm 22.05, sbatch(1), "--array"; OpenWDL 1.0, openwdl/wdl versions/1.0/SPEC.md; DNAnexus, "App Metadata"
(dxapp.json) and "dx run".
"""

from __future__ import annotations

import io
import json
import math
import shlex
import sys
import tarfile
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from tasks.batch.shard_plan import Part, ShardPlan
from tasks.execution.settings import ComputeSettings
from tasks.state.mistakes import UserMistake
from tasks.state.store import Cohort, publish_bytes

_MOUNT = "/mnt/project"  # where the Research Analysis Platform shows the files of the project
_APPLET = "cmr-cohort-shard"
_TASKS_MAX = 1000  # Slurm's MaxArraySize is 1001 unless a site has changed it
_SENT = ("ukb", "zip", "dicom")  # of other kinds the names of folders count, and an engine sends files alone
_CORES, _MEMORY_GIB = 4, 8
_INSTANCE = "mem1_ssd1_v2_x4"  # 4 cores, 8 GB, 100 GB
_REGION = "aws:eu-west-2"  # of the Research Analysis Platform


def write_engine(name: str, plan: ShardPlan, cohort: Cohort, compute: ComputeSettings) -> Path:
    """Write the files of one engine beside the plan; returns their folder.

    Args:
        name: one of :data:`ENGINES`.
        plan: of the cohort.
        cohort: the cohort's folder.
        compute: its options of a SLURM cluster are those of the array's jobs.

    Raises:
        UserMistake: if the engine cannot send what the shards need.
    """
    folder = plan.folder / name
    for path, content in ENGINES[name](plan, cohort, compute).items():
        publish_bytes(content, folder / path)
        if path.endswith(".sh"):
            (folder / path).chmod(0o755)
    return folder


def _slurm(plan: ShardPlan, cohort: Cohort, compute: ComputeSettings) -> dict[str, bytes]:
    options = compute.cluster if compute.profile == "slurm" else {}
    logs = plan.folder.absolute() / "slurm" / "logs"
    logs.mkdir(parents=True, exist_ok=True)  # the directive names a folder that is there
    values = {
        "digest": plan.digest,
        "folder": shlex.quote(str(plan.folder.absolute() / "slurm")),
        "logs": logs,
        "cohort": shlex.quote(str(cohort.root.absolute())),
        "command": shlex.quote(str(Path(sys.executable).with_name("cmr-cohort"))),
        "directives": _directives(options),
        "shards": plan.n_shards,
        "tasks": max(1, min(_TASKS_MAX, plan.n_shards)),
    }
    return {name: _filled(name, values) for name in ("array.sh", "finish.sh")}


def _directives(options: Mapping[str, Any]) -> list[str]:
    """Directives of ``sbatch`` for what ``[compute.cluster]`` asks for a worker."""
    from dask.utils import parse_bytes

    named = {"queue": "--partition", "account": "--account", "cores": "--cpus-per-task", "walltime": "--time"}
    found = [f"{directive}={options[name]}" for name, directive in named.items() if name in options]
    if "memory" in options:
        found.append(f"--mem={math.ceil(parse_bytes(options['memory']) / 2**20)}M")
    return found + [str(directive) for directive in options.get("job_extra_directives") or ()]


def _wdl(plan: ShardPlan, _cohort: Cohort, _compute: ComputeSettings) -> dict[str, bytes]:
    parts = _parts_to_send("wdl", plan)
    inputs = {
        "cmr_cohort_shards.plan": str(plan.folder.absolute() / "wdl" / "plan.tar"),
        "cmr_cohort_shards.container": "cmr-cohort",
        "cmr_cohort_shards.archives": [part.files for part in parts],
    }
    values = {"digest": plan.digest, "cores": _CORES, "memory_gib": _MEMORY_GIB}
    return {
        "shards.wdl": _filled("shards.wdl", values),
        "inputs.json": _json(inputs),
        "plan.tar": _packed(plan),
    }


def _dnanexus(plan: ShardPlan, _cohort: Cohort, _compute: ComputeSettings) -> dict[str, bytes]:
    parts = _parts_to_send("dnanexus", plan)
    values = {"digest": plan.digest, "shards": plan.n_shards, "applet": _APPLET, "mount": _MOUNT}
    lists = {f"files/{index:05d}.txt": "".join(f"{path}\n" for path in part.files) for index, part in enumerate(parts)}
    return {
        "dxapp.json": _json(_dxapp(plan)),
        "src/shard.sh": _filled("shard.sh", values),
        "submit.sh": _filled("submit.sh", values),
        "plan.tar": _packed(plan),
        **{name: text.encode() for name, text in lists.items()},
    }


def _dxapp(plan: ShardPlan) -> dict[str, Any]:
    inputs = {"index": "int", "plan": "file", "container": "file", "archives": "array:file"}
    return {
        "name": _APPLET,
        "title": "cmr-cohort: one shard",
        "summary": f"One shard of plan {plan.digest}",
        "dxapi": "1.0.0",
        "version": "0.1.0",
        "inputSpec": [{"name": name, "class": kind} for name, kind in inputs.items()],
        "outputSpec": [{"name": "shard", "class": "file"}],
        "runSpec": {
            "interpreter": "bash",
            "file": "src/shard.sh",
            "distribution": "Ubuntu",
            "release": "24.04",
            "version": "0",
            "timeoutPolicy": {"*": {"hours": 48}},
            "executionPolicy": {"restartOn": {"SpotInstanceInterruption": 5, "UnresponsiveWorker": 2}},
        },
        "access": {"network": []},
        "regionalOptions": {_REGION: {"systemRequirements": {"*": {"instanceType": _INSTANCE}}}},
    }


ENGINES: Mapping[str, Callable[[ShardPlan, Cohort, ComputeSettings], dict[str, bytes]]] = {
    "slurm": _slurm,
    "wdl": _wdl,
    "dnanexus": _dnanexus,
}
"""Name -> the files of an engine."""


def _parts_to_send(engine: str, plan: ShardPlan) -> list[Part]:
    """The parts of a plan whose shards can run where there is nothing but the files of the archive.

    Raises:
        UserMistake: if a study is in the cohort already, or is no archive of DICOM.
    """
    parts = [plan.part(index) for index in range(plan.n_shards)]
    if n := sum(len({row.study for row in part.rows}) for part in parts):
        raise UserMistake(
            f"--write {engine}: {n} studies are in the cohort already, and this engine sends files of the archive only;"
            " bring them through with `cmr-cohort run`, or with --write slurm"
        )
    if kinds := {unit["kind"] for part in parts for unit in part.units} - set(_SENT):
        raise UserMistake(
            f"--write {engine}: the sources have {', '.join(sorted(kinds))} files, and this engine sends DICOM in zips"
            " and single files only; use --write slurm"
        )
    return parts


def _packed(plan: ShardPlan) -> bytes:
    """The plan and its parts as a tar, the same bytes for the same plan."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path in [plan.folder / "plan.json", *sorted((plan.folder / "parts").iterdir())]:
            entry = tarfile.TarInfo(f"shards/{plan.digest}/{path.relative_to(plan.folder)}")
            entry.size, entry.mode = path.stat().st_size, 0o600
            with path.open("rb") as file:
                archive.addfile(entry, file)
    return buffer.getvalue()


def _filled(name: str, values: Mapping[str, Any]) -> bytes:
    from jinja2 import Environment, StrictUndefined

    template = resources.files("tasks.batch").joinpath("templates", f"{name}.j2").read_text(encoding="utf-8")
    environment = Environment(
        undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False
    )  # scripts, no HTML
    return environment.from_string(template).render(values).encode()


def _json(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=1) + "\n").encode()
