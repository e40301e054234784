"""Whether this installation can work: our package names are ours, and nothing known to break is installed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import packages_distributions, requires, version

from packaging.requirements import Requirement

OUR_PACKAGES = ("flows", "tasks", "cmr_models")
_OURS = "cmr-cohort"
_BREAK_PREFECT = ("fastapi", "sqlalchemy")  # their bounds stand in pyproject.toml, and so in the installed metadata


def faults(owners: Mapping[str, Sequence[str]] | None = None) -> list[str]:
    """What is wrong, a sentence each; empty if all is well.

    Args:
        owners: import name -> distributions that own it; those installed if None.
    """
    installed = packages_distributions() if owners is None else owners
    return [*_names_owned_by_others(installed), *_breaking_versions()]


def _names_owned_by_others(owners: Mapping[str, Sequence[str]]) -> list[str]:
    found = []
    for name in OUR_PACKAGES:
        others = sorted({owner for owner in owners.get(name, ()) if owner.lower() != _OURS})
        if others:
            found.append(f"{', '.join(others)} also installs a package named {name!r}: use a fresh environment")
    return found


def _breaking_versions() -> list[str]:
    found = []
    for requirement in map(Requirement, requires(_OURS) or ()):
        if requirement.name not in _BREAK_PREFECT:
            continue
        installed = version(requirement.name)
        if not requirement.specifier.contains(installed, prereleases=True):
            found.append(f"{requirement.name} {installed} breaks the Prefect server: install '{requirement}'")
    return found
