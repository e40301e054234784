"""What is pinned: one version everywhere, and for an installation at a site every file by its hash."""

import re
import tomllib
from collections.abc import Iterable, Iterator
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
    hashes: list[str]


def _locked() -> dict[str, _Locked]:
    entries = re.split(r"\n(?=\S)", (ROOT / "requirements.lock").read_text().strip())
    found = {}
    for entry in entries:
        first, *hashes = entry.split(" \\\n")
        name, _, version = first.partition(" ;")[0].partition("==")
        found[canonicalize_name(name)] = _Locked(version, [line.strip() for line in hashes])
    return found


def _asked_by(name: str, extras: Iterable[str]) -> Iterator[Requirement]:
    """What a package that is installed here needs with its extras."""
    try:
        lines = metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return
    for needed in map(Requirement, lines):
        if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield needed


def _asked_of_each_other(names: Iterable[str]) -> list[tuple[str, Requirement]]:
    """What packages need of each other, with the extras that some ask of others."""
    extras: dict[str, frozenset[str]] = dict.fromkeys(names, frozenset())
    while True:
        asked = [(name, needed) for name, some in extras.items() for needed in _asked_by(name, some)]
        before = dict(extras)
        for _, needed in asked:
            name = canonicalize_name(needed.name)
            extras[name] = extras.get(name, frozenset()) | needed.extras
        if extras == before:
            return asked


def test_every_locked_file_has_its_hash() -> None:
    locked = _locked()
    assert len(locked) > 100
    for name, (version, hashes) in locked.items():
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


def test_what_locked_packages_ask_of_each_other_is_locked_too() -> None:
    """So that pip may be told to resolve nothing; it takes a package with an extra for one that is not pinned."""
    locked = _locked()
    asked = _asked_of_each_other(locked)
    assert ("prefect", "sqlalchemy", {"asyncio"}) in [(name, needed.name, needed.extras) for name, needed in asked]
    assert ("sqlalchemy", "greenlet") in [(name, needed.name) for name, needed in asked]  # by that extra
    for name, needed in asked:
        found = locked[canonicalize_name(needed.name)]
        assert needed.specifier.contains(found.version), (name, str(needed))


def test_the_image_is_installed_by_hashes_and_nothing_is_resolved_anew() -> None:
    install = "pip install --require-hashes --no-deps --requirement requirements.lock"
    for path in ("infra/Dockerfile", "SECURITY.md"):
        lines = (ROOT / path).read_text().replace("--no-cache-dir ", "")
        assert install in lines
        assert "pip install --no-deps --no-build-isolation ." in lines
