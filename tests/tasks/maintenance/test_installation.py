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


def test_our_own_name_in_any_letters_is_ours_and_others_are_listed_once_in_order() -> None:
    owners = {
        "flows": ["CMR-Cohort"],
        "tasks": ["zeta", "alpha", "zeta", "cmr-cohort"],
        "cmr_models": ["other"],
        "numpy": ["numpy"],
    }
    assert faults(owners) == [
        "alpha, zeta also installs a package named 'tasks': use a fresh environment",
        "other also installs a package named 'cmr_models': use a fresh environment",
    ]


def test_a_version_within_its_bound_is_fine_also_one_before_its_release(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "requires", lambda name: ["numpy<1", "sqlalchemy<3,>=2", "fastapi>=0.1"])
    found = {"sqlalchemy": "2.1.0b1", "fastapi": "0.1", "numpy": "2"}
    monkeypatch.setattr(installation, "version", lambda name: found[name])
    assert faults({}) == []
    found["sqlalchemy"] = "3.0"
    assert faults({}) == ["sqlalchemy 3.0 breaks the Prefect server: install 'sqlalchemy<3,>=2'"]
    monkeypatch.setattr(installation, "requires", lambda name: None)
    assert faults({}) == []
