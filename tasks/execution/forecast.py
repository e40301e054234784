"""What a run will take, from what stages have taken: time, processor and GPU hours, memory, disk.

Nothing is assumed: a stage that has not worked on the profile is not foretold. The start of a run (workers, networks)
is told apart from the studies by the time of the first result, so that a short run foretells a long one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tasks.state.speeds import Speed

_HOUR_S = 3600.0
_MB = 1e6
_LEAST_SHARE = 0.1  # of the studies of a run that must come after its first result, for a speed without the start


@dataclass(frozen=True)
class StageForecast:
    """What one stage will take.

    Attributes:
        stage: its name.
        studies: to bring through, as far as can be foreseen.
        seconds: on the clock.
        core_hours: of the cores that the workers hold meanwhile.
        gpu_hours: of their GPUs.
        memory_mb: the most that one worker held so far.
        disk_mb: that is published.
        measured_studies: of how many studies that is known.
    """

    stage: str
    studies: int
    seconds: float
    core_hours: float
    gpu_hours: float
    memory_mb: float
    disk_mb: float
    measured_studies: int

    def plain(self) -> dict[str, Any]:
        """As plain values, rounded to what is meant."""
        digits = {"seconds": 1, "memory_mb": 0, "disk_mb": 1, "core_hours": 4, "gpu_hours": 4}
        return {name: round(value, digits[name]) if name in digits else value for name, value in asdict(self).items()}


def forecast(
    stage: str,
    studies: int,
    speeds: Iterable[Speed],
    costs: Sequence[tuple[float, float, float]],
    *,
    profile: str,
    workers: int,
) -> StageForecast | None:
    """What ``stage`` will take for ``studies``; None if it has not worked on the profile yet.

    Args:
        stage: its name.
        studies: how many there are to bring through.
        speeds: measured.
        costs: of studies that ended well: (seconds, peak memory in MB, published bytes) of each.
        profile: where it will work.
        workers: how many there will be, each with as many cores and GPUs as when it was last measured.
    """
    known = [one for one in speeds if one.stage == stage and one.profile == profile and one.studies > 0]
    if not known:
        return None
    start_s, worker_s = _start_and_study(known)
    seconds = start_s + studies * worker_s / max(1, min(workers, studies)) if studies else 0.0
    hours = seconds * workers / _HOUR_S
    return StageForecast(
        stage=stage,
        studies=studies,
        seconds=seconds,
        core_hours=hours * known[-1].cores,
        gpu_hours=hours * known[-1].gpus,
        memory_mb=max((peak_mb for _, peak_mb, _ in costs), default=0.0),
        disk_mb=studies * float(np.mean([n_bytes for *_, n_bytes in costs])) / _MB if costs else 0.0,
        measured_studies=sum(one.studies for one in known),
    )


def _start_and_study(known: Sequence[Speed]) -> tuple[float, float]:
    """Seconds until a stage runs, and seconds of one worker for a study."""
    steady = [one for one in known if one.studies - one.first_studies >= _LEAST_SHARE * one.studies]
    if not steady:
        return 0.0, sum(one.workers * one.seconds for one in known) / sum(one.studies for one in known)
    after = sum(one.studies - one.first_studies for one in steady)
    study_s = sum(one.workers * (one.seconds - one.first_seconds) for one in steady) / after
    starts = [one.first_seconds - one.first_studies * study_s for one in steady]  # one worker made the first result
    return max(0.0, float(np.median(starts))), study_s


def share_passing(counts: Mapping[str, int]) -> float:
    """Share of the studies that a stage brings through, by status; 1 where nothing is known."""
    ended = sum(n for status, n in counts.items() if status != "retired")
    return counts.get("ok", 0) / ended if ended else 1.0


def total(stages: Sequence[StageForecast]) -> dict[str, float]:
    """All stages one after the other: sums of time, hours and disk, and the most memory of a worker."""
    plain = [stage.plain() for stage in stages]
    sums = {name: sum(one[name] for one in plain) for name in ("seconds", "core_hours", "gpu_hours", "disk_mb")}
    return {
        **{name: round(value, 4) for name, value in sums.items()},
        "memory_mb": max(one["memory_mb"] for one in plain),
    }
