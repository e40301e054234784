"""A file that is exchanged for a link between listing and reading is not read."""

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.fuzz import seeds
from tasks.convert.conversion import SourceFiles, convert_study
from tasks.convert.settings import ConvertSettings
from tasks.sources import inventory
from tasks.sources.archive import read_beginnings, read_members, unopened
from tasks.sources.limits import Limits, read_file
from tasks.sources.opening import LinkOutError, open_source, outermost, within
from tasks.sources.public_facts import facts_of


def _archive(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.dcm", seeds.dicom()[0])
    return path


def _exchange(path: Path, other: Path) -> None:
    path.unlink()
    path.symlink_to(other)


def _by_folder(path: Path, other: Path) -> None:
    """The folder of the file exchanged, and not the file."""
    path.parent.rename(path.parent.with_name("was"))
    path.parent.symlink_to(other.parent)


@pytest.mark.parametrize("exchange", [_exchange, _by_folder])
@pytest.mark.parametrize("name", ["a.zip", "a.dcm"])
def test_a_study_that_was_exchanged_after_listing_is_not_read(
    name: str, exchange: Callable[[Path, Path], None], tmp_path: Path
) -> None:
    places = [tmp_path / "in/p" / name, tmp_path / "secret" / name]
    for place in places:
        place.parent.mkdir(parents=True)
        _archive(place) if name == "a.zip" else place.write_bytes(seeds.dicom()[0])
    (unit,) = inventory([tmp_path / "in"]).units
    exchange(*places)
    outcome = convert_study({**unit, "key": "k"}, str(tmp_path / "out"), ConvertSettings().model_dump())
    assert (outcome.reason, outcome.detail) == ("file_unreadable", "LinkOutError")
    (followed,) = inventory([tmp_path / "in"], follow_links=True).units
    outcome = convert_study({**followed, "key": "k"}, str(tmp_path / "out"), ConvertSettings().model_dump())
    assert outcome.reason != "file_unreadable"


_READERS: dict[str, Callable[[Path], object]] = {
    "file": lambda path: read_file(path, 10**6),
    "members": lambda path: list(read_members(path)),
    "beginnings": lambda path: list(read_beginnings(path, 9, Limits())),
    "unopened": unopened,
    "source files": lambda path: SourceFiles(
        {"files": [(str(path), 0, 0)], "kind": "zip", "study_uid": ""}, ConvertSettings()
    ),
}


@pytest.mark.parametrize("name", _READERS)
def test_every_reader_of_sources_opens_no_link_out_of_them(name: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    inside, link_in, link_out = (tmp_path / "in" / f"{k}.zip" for k in "abc")
    link_in.symlink_to(_archive(inside))
    link_out.symlink_to(_archive(tmp_path / "out.zip"))
    with within([str(tmp_path / "in")]):
        _READERS[name](inside)
        _READERS[name](link_in)
        with pytest.raises(LinkOutError):
            _READERS[name](link_out)
    _READERS[name](link_out)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a")
    with pytest.raises(LinkOutError):
        open_source(tmp_path / "a")


def test_facts_are_read_beside_the_sources_and_not_through_links(tmp_path: Path) -> None:
    case = tmp_path / "acdc/training/patient001"
    case.mkdir(parents=True)
    (tmp_path / "secret.cfg").write_text("Group: DCM\n")
    (case / "Info.cfg").symlink_to(tmp_path / "secret.cfg")
    with within([str(tmp_path / "acdc")]):
        assert not facts_of("acdc", [str(case / "a.nii")], "patient001")[1]
    table = "External code,Pathology\nA0,HCM\n"
    (tmp_path / "mnms/Training/A0").mkdir(parents=True)
    (tmp_path / "mnms/211230_M&Ms_Dataset_information_diagnosis_opendataset.csv").write_text(table)
    with within([str(tmp_path / "mnms/Training")]):
        facts, _ = facts_of("mnms", [str(tmp_path / "mnms/Training/A0/a.nii")], "A0")
    assert facts["diagnosis"] == "HCM"


def test_sources_within_others_are_part_of_these_but_links_that_the_user_names(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "c").mkdir()
    (tmp_path / "a/link").symlink_to(tmp_path / "c")
    named = [tmp_path / name for name in ("a/link", "a/b", "a", "a")]
    assert outermost(named) == [str(tmp_path / "a"), str(tmp_path / "a/link")]
