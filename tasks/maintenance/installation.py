"""Whether this installation can work: our package names are ours, and nothing known to break is installed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import packages_distributions, version

OUR_PACKAGES = ("flows", "tasks", "cmr_models")
_OURS = "cmr-cohort"


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
    major, minor = (int(part) for part in version("fastapi").split(".")[:2])
    if (major, minor) >= (0, 146):
        return [f"fastapi {version('fastapi')} breaks the Prefect server: install 'fastapi>=0.139,<0.146'"]
    return []
