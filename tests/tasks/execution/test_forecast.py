"""What a stage will take, from what it has taken: every figure by hand."""

import pytest

from tasks.execution.forecast import forecast, share_passing, total
from tasks.state.speeds import Speed


def _speed(studies: int, seconds: float, first: int, first_seconds: float, **more: object) -> Speed:
    values = {"stage": "segment", "began": "", "host": "", "profile": "local", "workers": 2, "cores": 4, "gpus": 1}
    return Speed(
        **{**values, **more}, studies=studies, seconds=seconds, first_studies=first, first_seconds=first_seconds
    )  # type: ignore[arg-type]


def test_a_short_run_foretells_a_long_one_without_its_start_counted_twice() -> None:
    """Two workers, 10 s to start, 6 s a study, chunks of two: 22 s to the first result, the other 18 by 2 in 54 s."""
    pilot = _speed(20, 76.0, 2, 22.0)
    found = forecast("segment", 1000, [pilot], [(6.0, 900.0, 4e6), (6.0, 1100.0, 2e6)], profile="local", workers=2)
    assert found is not None
    assert found.seconds == pytest.approx(10 + 1000 * 6 / 2)
    assert found.core_hours == pytest.approx(3010 * 2 * 4 / 3600)
    assert found.gpu_hours == pytest.approx(3010 * 2 / 3600)
    assert (found.memory_mb, found.disk_mb, found.measured_studies) == (1100.0, 3000.0, 20)


def test_twice_the_workers_take_half_the_time_and_no_study_is_shared() -> None:
    pilot = _speed(20, 76.0, 2, 22.0)
    four = forecast("segment", 1000, [pilot], [], profile="local", workers=4)
    one_study = forecast("segment", 1, [pilot], [], profile="local", workers=4)
    assert four is not None
    assert one_study is not None
    assert four.seconds == pytest.approx(10 + 1500)
    assert one_study.seconds == pytest.approx(16)


def test_runs_too_short_to_tell_their_start_count_it_among_the_studies() -> None:
    found = forecast("segment", 10, [_speed(4, 30.0, 4, 30.0, workers=1)], [], profile="local", workers=1)
    assert found is not None
    assert found.seconds == pytest.approx(75)


def test_another_profile_or_stage_or_a_run_of_nothing_foretells_nothing() -> None:
    others = [
        _speed(20, 76.0, 2, 22.0, stage="convert"),
        _speed(20, 76.0, 2, 22.0, profile="slurm"),
        _speed(0, 0.0, 0, 0.0),
    ]
    assert forecast("segment", 10, others, [], profile="local", workers=1) is None


def test_the_share_that_passes_leaves_out_who_left() -> None:
    assert share_passing({"ok": 6, "quarantined": 1, "absent": 1, "retired": 90}) == 0.75
    assert share_passing({}) == 1.0


def test_stages_follow_each_other_and_share_the_memory() -> None:
    one, other = (
        forecast("segment", 10, [_speed(20, 76.0, 2, 22.0)], [(1.0, memory, 1e6)], profile="local", workers=2)
        for memory in (500.0, 700.0)
    )
    assert one is not None
    assert other is not None
    summed = total([one, other])
    assert (summed["seconds"], summed["memory_mb"], summed["disk_mb"]) == (80.0, 700.0, 20.0)
