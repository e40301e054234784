"""What the digest of a study's sources depends on: all that decides what is published, and nothing else."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks.convert import conversion
from tasks.convert.conversion import SourceFiles, convert_study
from tasks.convert.convert_stage import study_key
from tasks.convert.settings import ConvertSettings
from tasks.sources import archive
from tasks.sources.opening import open_source

_CONTENTS = {"a.nii": b"one", "b.nii": b"two", "c.zip": b"three"}


def _unit(folder: Path, *names: str, **changes: Any) -> dict[str, Any]:
    """A case of a public data set, whose files are there as bytes that nobody reads."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(_CONTENTS[Path(name).name])
    given = {
        "study": "p-1", "participant": "p", "visit": "1", "kind": "nifti", "study_uid": "",
        "files": [(str(folder / name), 1, 2) for name in names],
        "data_set": "acdc", "facts": {"ed_frame": 0, "diagnosis": "DCM"}, "faults": [], "labels": [],
    }  # fmt: skip
    return {**given, **changes}


def _digest(unit: dict[str, Any]) -> str:
    return SourceFiles(unit, ConvertSettings()).digest


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "zip"}, {"study_uid": "1.2"}, {"data_set": "mnms"}, {"faults": ["facts_missing"]},
        {"facts": {"ed_frame": 1, "diagnosis": "DCM"}}, {"facts": {"ed_frame": 0}},
    ],
    ids=["kind", "study of a zip", "data set", "faults", "another fact", "a fact less"],
)  # fmt: skip
def test_whatever_decides_what_is_published_changes_the_digest(change: dict[str, Any], tmp_path: Path) -> None:
    usual = _digest(_unit(tmp_path, *_CONTENTS))
    assert _digest(_unit(tmp_path, *_CONTENTS, **change)) != usual


def test_a_byte_of_any_file_changes_the_digest_and_a_file_more_or_less_too(tmp_path: Path) -> None:
    found = {_digest(_unit(tmp_path, *_CONTENTS)), _digest(_unit(tmp_path, "a.nii", "b.nii"))}
    for name in _CONTENTS:
        unit = _unit(tmp_path, *_CONTENTS)
        (tmp_path / name).write_bytes(_CONTENTS[name] + b"!")
        found.add(_digest(unit))
    assert len(found) == 5


def test_order_places_names_of_people_and_times_of_files_do_not_change_the_digest(tmp_path: Path) -> None:
    usual = _unit(tmp_path / "here", *_CONTENTS)
    moved = _unit(tmp_path / "there", *reversed(_CONTENTS), study="q-2", participant="q", visit="2")
    moved["files"] = [(path, 9, 9) for path, _, _ in moved["files"]]
    assert _digest(moved) == _digest(usual)


def test_the_receipt_of_a_study_has_the_key_of_its_digest(tmp_path: Path) -> None:
    unit = _unit(tmp_path, "c.zip", kind="zip")
    outcome = convert_study(unit, str(tmp_path / "cohort"), {})
    assert (outcome.status, outcome.reason) == ("quarantined", "zip_corrupt")
    assert outcome.summary["source_digest"] == _digest(unit)
    assert outcome.key == study_key(_digest(unit), ConvertSettings())


def _zip_of(path: Path, **members: bytes) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def test_every_archive_is_opened_once_and_converted_as_it_was_digested(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.zip", "b.zip"):
        _zip_of(tmp_path / name, image=name.encode(), inner=b"")
    unit = {"kind": "zip", "study_uid": "", "files": [(str(tmp_path / name), 1, 2) for name in ("a.zip", "b.zip")]}
    opened: list[str] = []
    for module in (archive, conversion):
        monkeypatch.setattr(module, "open_source", lambda path: (opened.append(path.name), open_source(path))[1])
    sources = SourceFiles(unit, ConvertSettings())
    _zip_of(tmp_path / "a.zip", image=b"replaced meanwhile")
    assert list(sources.contents()) == [("image", b"a.zip"), ("inner", b""), ("image", b"b.zip"), ("inner", b"")]
    assert sources.unopened() == (0, 0)
    assert opened == ["a.zip", "b.zip"]


def test_archives_that_are_too_large_to_hold_are_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 8 MB an eighth may be held: the first archive of 0.7 MB, not the second one as well."""
    noise = np.random.default_rng(1).integers(0, 256, 700_000, dtype=np.uint8).tobytes()
    for name in ("a.zip", "b.zip"):
        _zip_of(tmp_path / name, image=noise)
    unit = {"kind": "zip", "study_uid": "", "files": [(str(tmp_path / name), 1, 2) for name in ("a.zip", "b.zip")]}
    opened: list[str] = []
    for module in (archive, conversion):
        monkeypatch.setattr(module, "open_source", lambda path: (opened.append(path.name), open_source(path))[1])
    sources = SourceFiles(unit, ConvertSettings(max_inflated_mb=8))
    assert [content for _, content in sources.contents()] == [noise, noise]
    assert opened[:2] == ["a.zip", "b.zip"]
    assert set(opened[2:]) == {"b.zip"}
