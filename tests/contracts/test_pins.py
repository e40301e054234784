"""What is pinned: one version everywhere, and for an installation at a site every file by its hash."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
EXTRAS = ("slurm", "kubernetes")


def _constraints() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().split()
    return {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines)}


def _locked() -> dict[str, tuple[str, list[str]]]:
    entries = re.split(r"\n(?=\S)", (ROOT / "requirements.lock").read_text().strip())
    found = {}
    for entry in entries:
        first, *hashes = entry.split(" \\\n")
        name, _, version = first.partition(" ;")[0].partition("==")
        found[canonicalize_name(name)] = version, [line.strip() for line in hashes]
    return found


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
    assert {name: version for name, (version, _) in locked.items() if pinned.get(name, version) != version} == {}


def test_all_that_an_installation_needs_is_locked_within_its_bounds() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    locked = _locked()
    for text in [*project["dependencies"], *(line for extra in EXTRAS for line in extras[extra])]:
        requirement = Requirement(text)
        version, _ = locked[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), text


def test_the_image_is_installed_by_hashes() -> None:
    lines = (ROOT / "infra/Dockerfile").read_text()
    assert "--require-hashes --requirement requirements.lock" in lines
    assert "--no-deps --no-build-isolation ." in lines
