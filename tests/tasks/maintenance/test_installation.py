"""An installation in which another package owns one of our names is refused."""

import pytest

from tasks.maintenance import installation
from tasks.maintenance.installation import OUR_PACKAGES, faults


def test_this_installation_is_sound() -> None:
    assert faults() == []


def test_a_name_that_another_distribution_owns_is_reported() -> None:
    owners = {name: ["cmr-cohort"] for name in OUR_PACKAGES} | {"tasks": ["cmr-cohort", "other-tasks"]}
    (fault,) = faults(owners)
    assert "other-tasks" in fault
    assert "'tasks'" in fault


def test_a_version_outside_the_bound_of_the_distribution_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "requires", lambda name: ["fastapi<0.2,>=0.1", "numpy<1"])
    monkeypatch.setattr(installation, "version", lambda name: "0.2.0")
    assert faults({}) == ["fastapi 0.2.0 breaks the Prefect server: install 'fastapi<0.2,>=0.1'"]
