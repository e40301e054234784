"""What is pinned: one version everywhere, and for an installation at a site every file by its hash."""

import re
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
EXTRAS = ("slurm", "kubernetes")


def _constraints() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().split()
    return {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines)}


class _Locked(NamedTuple):
    version: str
    extras: set[str]
    hashes: list[str]


def _locked() -> dict[str, _Locked]:
    entries = re.split(r"\n(?=\S)", (ROOT / "requirements.lock").read_text().strip())
    found = {}
    for entry in entries:
        first, *hashes = entry.split(" \\\n")
        requirement = Requirement(first.partition(" ;")[0])
        version = str(requirement.specifier).removeprefix("==")
        found[canonicalize_name(requirement.name)] = _Locked(
            version, requirement.extras, [line.strip() for line in hashes]
        )
    return found


def _asked_of_each_other(locked: dict[str, _Locked]) -> Iterator[tuple[str, Requirement]]:
    """What each locked package that is installed here needs with its locked extras."""
    for name, (_, extras, _) in locked.items():
        try:
            lines = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        for needed in map(Requirement, lines):
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
                yield name, needed


def test_every_locked_file_has_its_hash() -> None:
    locked = _locked()
    assert len(locked) > 100
    for name, (version, _, hashes) in locked.items():
        assert re.fullmatch(r"[0-9][0-9a-z.+]*", version), name
        assert hashes, name
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", line) for line in hashes), name


def test_what_is_locked_has_the_version_that_is_tested() -> None:
    pinned = _constraints()
    locked = _locked()
    assert len(locked.keys() & pinned.keys()) > 100
    assert {name: version for name, (version, *_) in locked.items() if pinned.get(name, version) != version} == {}


def test_all_that_an_installation_needs_is_locked_within_its_bounds() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    locked = _locked()
    for text in [*project["dependencies"], *(line for extra in EXTRAS for line in extras[extra])]:
        requirement = Requirement(text)
        assert requirement.specifier.contains(locked[canonicalize_name(requirement.name)].version), text


def test_what_locked_packages_ask_of_each_other_is_locked_with_its_extras() -> None:
    """pip takes a package with an extra for another requirement, which must be pinned itself."""
    locked = _locked()
    asked = list(_asked_of_each_other(locked))
    assert len(asked) > 200
    for name, needed in asked:
        found = locked[canonicalize_name(needed.name)]
        assert needed.specifier.contains(found.version), (name, str(needed))
        assert needed.extras <= found.extras, (name, str(needed))
    assert any("asyncio" in needed.extras for _, needed in asked)


def test_the_image_is_installed_by_hashes() -> None:
    lines = (ROOT / "infra/Dockerfile").read_text()
    assert "--require-hashes --requirement requirements.lock" in lines
    assert "--no-deps --no-build-isolation ." in lines
