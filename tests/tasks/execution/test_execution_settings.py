"""Settings of the computing: what holds where the user says nothing, and what is refused."""

from typing import Any

import pytest
from pydantic import ValidationError

from tasks.execution.settings import ComputeSettings


def test_what_the_user_does_not_say_is_as_documented() -> None:
    assert ComputeSettings().model_dump() == {
        "profile": "in-process",
        "workers": None,
        "studies_per_shard": 200,
        "studies_per_chunk": 4,
        "set_aside_max": 0.5,
        "failing_max": 0.5,
        "study_seconds_max": None,
        "cluster": {},
    }
    given = ComputeSettings(workers=3, cluster={"memory": "2GB", "workers": 5})
    assert given.cluster_settings == {"workers": 5, "memory": "2GB"}
    assert ComputeSettings().cluster_settings == {"workers": None}


@pytest.mark.parametrize(
    ("name", "allowed", "refused"),
    [
        ("workers", [1], [0, -1]), ("studies_per_shard", [1], [0]), ("studies_per_chunk", [1], [0, -4]),
        ("set_aside_max", [0, 1, 0.25], [-0.01, 1.01]), ("unheard", [], [1]),
        ("failing_max", [1, 0.01], [0, 1.01]), ("study_seconds_max", [0.5, None], [0, -3]),
    ],
)  # fmt: skip
def test_a_number_lies_within_its_bounds_and_no_key_is_made_up(
    name: str, allowed: list[Any], refused: list[Any]
) -> None:
    for value in allowed:
        assert getattr(ComputeSettings(**{name: value}), name) == value
    for value in refused:
        with pytest.raises(ValidationError):
            ComputeSettings(**{name: value})
    settings = ComputeSettings()
    with pytest.raises(ValidationError):
        settings.workers = 3  # type: ignore[misc]
