"""An installation in which another package owns one of our names is refused."""

from tasks.maintenance.installation import OUR_PACKAGES, faults


def test_this_installation_is_sound() -> None:
    assert faults() == []


def test_a_name_that_another_distribution_owns_is_reported() -> None:
    owners = {name: ["cmr-cohort"] for name in OUR_PACKAGES} | {"tasks": ["cmr-cohort", "other-tasks"]}
    (fault,) = faults(owners)
    assert "other-tasks" in fault
    assert "'tasks'" in fault
