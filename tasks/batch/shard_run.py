"""One shard through all stages, in one process: the functions and files of a run, and a ledger of its own."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tasks.batch.shard_plan import Part, ShardPlan
from tasks.execution import plan as stage_plan
from tasks.execution import shards
from tasks.execution.failing import Failing
from tasks.execution.isolation import limit_s
from tasks.execution.process import prepare_process
from tasks.execution.settings import ComputeSettings
from tasks.execution.shards import Unit
from tasks.execution.stage import Planned, Planning, Stage, StageWork, missing_files, plan_stage, recipe_of
from tasks.execution.stopwatch import Stopwatch, workers_of
from tasks.inference.segment_stage import network_digests
from tasks.sources.opening import outermost
from tasks.stages import FIRST, STAGES
from tasks.state.ledger import Ledger, open_ledger
from tasks.state.mistakes import UserMistake
from tasks.state.store import Cohort, publish_bytes

Watch = Callable[[str, int], contextlib.AbstractContextManager[Callable[[int], None]]]
IN_A_RUN = tuple(stage for stage in STAGES if not stage.on_demand)


def software(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What shards on several machines must agree on: the versions of the stages, and the network."""
    return {
        "versions": {stage.name: stage.version for stage in IN_A_RUN},
        "weights": network_digests(settings["segment"]["model"]),
    }


def run_shard(
    plan: ShardPlan, index: int, cohort: Cohort, watch: Watch, files: Sequence[Path] | None = None
) -> dict[str, dict[str, int]]:
    """Bring the studies of one shard through every stage; what was finished before is found again.

    Args:
        plan: of the cohort.
        index: of the shard.
        cohort: the cohort's folder.
        watch: opens a display of progress for a stage and a number of studies.
        files: where the files of the archive lie on this machine, in the order of the shard's list; where they were
            when the shard was planned if None.

    Returns:
        Stage -> status -> number of studies.

    Raises:
        UserMistake: if the plan was made by another version or network, another process runs the shard, or files lack.
    """
    if plan.is_finished:
        raise UserMistake(f"plan {plan.digest} is finished; make a new one for what has come since")
    part = plan.part(index)
    if (today := software(plan.content["settings"])) != plan.content["software"]:
        raise UserMistake(
            f"{_difference(plan.content['software'], today)}; make a new plan with `cmr-cohort shard plan`"
        )
    prepare_process()
    with _alone(plan.ledger(index), index), open_ledger(plan.ledger(index)) as ledger:
        if not ledger.stages():
            ledger.record(part.rows)
        counts = {}
        for stage in IN_A_RUN:
            work = _work(stage, plan, index, part, cohort, ledger, files)
            counts[stage.name] = _through(
                work, ledger, cohort, watch, plan.content["settings"], plan.ledger(index).with_suffix(".trying")
            )
        n_told = {name: dict(sorted(found.items())) for name, found in counts.items()}
    publish_bytes(_receipt(plan, index, n_told), plan.ended(index))
    return n_told


def _work(
    stage: Stage,
    plan: ShardPlan,
    index: int,
    part: Part,
    cohort: Cohort,
    ledger: Ledger,
    files: Sequence[Path] | None,
) -> StageWork:
    """What a stage should make of the shard's studies; at the first stage that is what was planned."""
    settings = plan.content["settings"]
    planning = Planning(
        cohort=cohort,
        ledger=ledger,
        settings=stage.settings(**settings.get(stage.name, {})),
        participants=plan.sizes(index) if part.sizes else None,
        model=plan.content["model"],
        whole_archive=False,
    )
    if stage is not FIRST:
        return plan_stage(stage, planning)
    units = part.units if files is None else _relocated(part, files)
    missing = missing_files(stage, planning, ledger.entries(stage.name))
    recipe = partial(recipe_of(stage).of, stage, planning)
    return StageWork(stage, planning.settings.model_dump(), Planned(units), {}, missing, recipe)


def _through(
    work: StageWork, ledger: Ledger, cohort: Cohort, watch: Watch, settings: Mapping[str, Any], note: Path
) -> Counter[str]:
    """A stage over the shard, chunk by chunk, so that a process that is killed loses one chunk at most."""
    stage = work.stage
    planned = ComputeSettings(**settings["compute"])
    compute = planned.model_copy(update={"profile": "in-process", "cluster": {}})
    units, outcomes = work.waiting(ledger)
    ledger.record(outcomes)
    if units:
        ledger.remember_recipe(stage.name, work.recipe())
        stopwatch, failing = Stopwatch(stage.name, workers_of(compute)), Failing(stage.name, compute.failing_max)
        chunks = shards.run(
            stage.work,
            units,
            cohort.root,
            dict(work.settings),
            stage=stage.name,
            studies_per_chunk=compute.studies_per_chunk,
            limit_s=limit_s(ledger, stage.name, compute.study_seconds_max),
            note=note / stage.name,
            suspects=stage_plan.suspects(ledger.entries(stage.name)),
        )
        with watch(stage.name, len(units)) as advance:
            for done in chunks:
                ledger.record(done)
                stopwatch.lap(len(done))
                advance(len(done))
                failing.count(done)
        ledger.remember_speed(stopwatch.speed())
    return Counter(entry.status for entry in work.check_balance(ledger).values())


def _relocated(part: Part, files: Sequence[Path]) -> list[Unit]:
    """The units with their files where they lie here.

    Raises:
        UserMistake: if there are not as many files as planned, or one has another name.
    """
    planned = part.files
    if len(planned) != len(files):
        raise UserMistake(f"--files: the shard reads {len(planned)} files, and {len(files)} are listed")
    for one, other in zip(planned, files, strict=True):
        if os.path.basename(one) != other.name:
            raise UserMistake("--files: a file has another name than the planned one in its place; keep the order")
    here = dict(zip(planned, map(str, files), strict=True))
    roots = outermost(list({path.parent for path in files}))
    return [
        {
            **unit,
            "files": [(here[path], size, time) for path, size, time in unit["files"]],
            "labels": [here[path] for path in unit.get("labels", [])],
            "roots": roots,
        }
        for unit in part.units
    ]


@contextlib.contextmanager
def _alone(ledger: Path, index: int) -> Iterator[None]:
    """Keep another process from running the same shard.

    Raises:
        UserMistake: if one does.
    """
    ledger.parent.mkdir(parents=True, exist_ok=True)
    with ledger.with_suffix(".lock").open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserMistake(f"another process runs shard {index}; wait until it ends, or stop it") from None
        yield


def _difference(planned: Mapping[str, Any], today: Mapping[str, Any]) -> str:
    for stage, version in planned["versions"].items():
        if (here := today["versions"].get(stage)) != version:
            return f"the plan was made with version {version} of the stage {stage}, and this is version {here}"
    return "the plan was made with another network of segment.model"


def _receipt(plan: ShardPlan, index: int, counts: Mapping[str, Any]) -> bytes:
    told = {
        "plan": plan.digest,
        "shard": index,
        "counts": counts,
        "ended": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    return json.dumps(told, indent=1, sort_keys=True).encode()
