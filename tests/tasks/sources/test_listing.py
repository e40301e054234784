"""Any mix of files becomes the same studies, whatever the folders and whenever it is looked at."""

import os
import re
import shutil
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from dicom_factory import Series, dataset, encode, files, lax, sax, write_files, write_zip

from tasks.convert.conversion import convert_study
from tasks.sources import inventory, listing, safe_id
from tasks.sources.walk import LINK_OUT, NO_FILE, SYSTEM
from tasks.state.ledger import open_ledger


def _names(paths: list[Path]) -> list[str]:
    return [unit["study"] for unit in inventory(paths).units]


def test_two_biobank_zips_are_one_visit(tmp_path: Path) -> None:
    for name in ("1000012_20208_2_0.zip", "1000012_20209_2_0.zip", "1000012_20209_3_0.zip", "1000012_20211_2_0.zip"):
        (tmp_path / name).write_bytes(b"not looked at")
    units = inventory([tmp_path]).units
    assert [(u["study"], len(u["files"])) for u in units] == [("1000012-2", 2), ("1000012-3", 1)]
    assert {u["kind"] for u in units} == {"ukb"}


def test_a_visit_without_cines_is_known_by_its_other_heart_scans_and_not_by_its_brain(tmp_path: Path) -> None:
    for name in ("1000012_20209_2_0.zip", "1000012_20214_2_0.zip", "1000013_20214_2_0.zip", "1000014_20252_2_0.zip"):
        (tmp_path / name).write_bytes(b"not looked at")
    units = inventory([tmp_path]).units
    assert [(u["study"], len(u["files"])) for u in units] == [("1000012-2", 1), ("1000013-2", 1)]


def test_a_tree_of_several_patients_is_told_apart_by_headers(tmp_path: Path) -> None:
    write_files(tmp_path / "a" / "deep", [(n[:-4], c) for n, c in files(sax(3), patient="P1", study_uid="1.2.3")])
    write_files(tmp_path / "a" / "other", files([lax(5, 1)], patient="P1", study_uid="1.2.3"))
    write_files(tmp_path / "b", files(sax(3), patient="P2", study_uid="1.2.4"))
    write_files(tmp_path / "b" / "second", files(sax(3), patient="P2", study_uid="1.2.5"))
    units = inventory([tmp_path]).units
    assert [u["participant"] for u in units] == ["P1", "P2", "P2"]
    assert [len(u["files"]) for u in units] == [40, 30, 30]
    assert len({u["study"] for u in units}) == 3


def test_people_with_several_studies_of_one_day_are_counted_and_the_studies_stay_apart(tmp_path: Path) -> None:
    later = {"header": {"AcquisitionDate": "20210304"}}
    write_files(tmp_path / "a", files(sax(3), patient="P1", study_uid="1.2.3"))
    write_files(tmp_path / "b", files([lax(5, 1)], patient="P1", study_uid="1.2.4"))  # the same day
    write_zip(tmp_path / "c.zip", files(sax(3), patient="P2", study_uid="1.2.5"))
    write_zip(tmp_path / "d.zip", files(sax(3), patient="P2", study_uid="1.2.6"))  # the same day
    write_files(tmp_path / "e", files(sax(3), patient="P3", study_uid="1.2.7"))
    write_files(tmp_path / "f", files(sax(3, **later), patient="P3", study_uid="1.2.8"))
    found = inventory([tmp_path])
    assert found.n_same_day == 2
    assert len(found.units) == 6
    assert inventory([tmp_path], {file.path: file for file in found.files}).n_same_day == 2


def test_junk_is_no_study(tmp_path: Path) -> None:
    junk = ["DICOMDIR", ".DS_Store", "manifest.cvs", "notes.txt", "link.csv", "._x.dcm", "mask.mat", "noise"]
    write_files(tmp_path, [(name, b"anything at all, long enough to be looked at") for name in junk])
    write_files(tmp_path / "__MACOSX", files(sax(1)))
    assert _names([tmp_path]) == []


def test_studies_and_names_do_not_depend_on_where_things_lie(tmp_path: Path) -> None:
    content = files(sax(2), patient="P1")
    first = write_files(tmp_path / "one" / "x", content)
    second = write_files(tmp_path / "two" / "y" / "z", content[::-1])
    assert _names([first]) == _names([second])


def test_adding_a_study_changes_no_other_name(tmp_path: Path) -> None:
    write_files(tmp_path / "a", files(sax(2), patient="P1", study_uid="1.2.3"))
    before = _names([tmp_path])
    write_files(tmp_path / "b", files(sax(2), patient="P1", study_uid="1.2.9"))
    assert before[0] in _names([tmp_path])


def test_a_zip_of_two_studies_gives_two_units(tmp_path: Path) -> None:
    one = files(sax(2), patient="P1", study_uid="1.2.3")
    two = [(f"b/{name}", data) for name, data in files(sax(2), patient="P2", study_uid="1.2.4")]
    write_zip(tmp_path / "export.zip", [*one, *two])
    units = inventory([tmp_path]).units
    assert [(u["participant"], u["study_uid"]) for u in units] == [("P1", "1.2.3"), ("P2", "1.2.4")]


def test_a_zip_that_cannot_be_read_is_still_a_study(tmp_path: Path) -> None:
    (tmp_path / "broken.zip").write_bytes(b"PK garbage")
    (name,) = _names([tmp_path])
    assert re.fullmatch(r"id\.[0-9a-f]{8}-1", name)


def test_a_damaged_file_stays_with_the_study_of_its_folder(tmp_path: Path) -> None:
    content = files(sax(2), patient="P1")
    content[0] = (content[0][0], content[0][1][:500])
    units = inventory([write_files(tmp_path, content)]).units
    assert [len(u["files"]) for u in units] == [20]


def test_nifti_patients_are_found_by_name_and_by_folder(tmp_path: Path) -> None:
    for name in ("patient001/patient001_4d.nii.gz", "patient001/patient001_frame01_gt.nii.gz", "A/sa_ED.nii.gz"):
        write_files((tmp_path / name).parent, [((tmp_path / name).name, b"")])
    units = inventory([tmp_path]).units
    assert [(u["study"], len(u["files"])) for u in units] == [("A-1", 1), ("patient001-1", 2)]


def test_studies_of_one_name_never_replace_each_other(tmp_path: Path) -> None:
    for folder in ("train/001", "test/001"):
        write_files(tmp_path / folder, [("001_SA_ED.nii.gz", b"")])
    names = _names([tmp_path])
    assert len(set(names)) == 2
    assert all(name.startswith("001.") and name.endswith("-1") for name in names)


def test_headers_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_files(tmp_path, files(sax(2)))
    first = inventory([tmp_path])
    monkeypatch.setattr(listing, "_beginnings", lambda found: pytest.fail("a known header was read again"))
    again = inventory([tmp_path], {file.path: file for file in first.files})
    assert again == first


def test_a_file_of_another_time_or_size_is_looked_at_again(tmp_path: Path) -> None:
    write_files(tmp_path, files(sax(1), patient="P1")[:1])
    (before,) = inventory([tmp_path]).files
    write_files(tmp_path, files(sax(1), patient="P2")[:1])  # as long as before
    (written,) = tmp_path.iterdir()
    status = written.stat()
    assert status.st_size == before.size
    for known, patient in (
        (replace(before, mtime_ns=status.st_mtime_ns), "P1"),  # nothing tells that it is another
        (replace(before, mtime_ns=status.st_mtime_ns - 1), "P2"),
        (replace(before, mtime_ns=status.st_mtime_ns, size=before.size + 1), "P2"),
    ):
        (unit,) = inventory([tmp_path], {before.path: known}).units
        assert unit["participant"] == patient


def test_a_changed_file_changes_the_fingerprint_of_its_study_alone(tmp_path: Path) -> None:
    for eid in ("1", "2"):
        (tmp_path / f"{eid}_20209_2_0.zip").write_bytes(b"x")
    before = {u["study"]: u["fingerprint"] for u in inventory([tmp_path]).units}
    os.utime(tmp_path / "1_20209_2_0.zip", ns=(0, 0))
    after = {u["study"]: u["fingerprint"] for u in inventory([tmp_path]).units}
    assert [study for study in before if before[study] != after[study]] == ["1-2"]


@pytest.mark.parametrize("raw", ["../../etc", "a b", "", "x/y", "é" * 80, "-", "a-b", "\x00", "." * 5])
def test_hostile_names_become_safe_and_stay_different(raw: str) -> None:
    safe = safe_id(raw)
    assert safe_id(safe) == safe
    assert "/" not in safe
    assert "-" not in safe
    assert safe != safe_id(raw + "!")


def test_a_plain_name_stays_as_it_is() -> None:
    assert safe_id("SCD0000101") == "SCD0000101"


def test_a_source_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="does not exist"):
        inventory([tmp_path / "nowhere"])


def test_a_source_given_twice_counts_once(tmp_path: Path) -> None:
    write_files(tmp_path / "a", files(sax(1)))
    assert inventory([tmp_path, tmp_path / "a"]).units == inventory([tmp_path]).units
    shutil.rmtree(tmp_path / "a")


def test_links_are_followed_once_even_in_a_circle(tmp_path: Path) -> None:
    elsewhere = write_files(tmp_path / "elsewhere", files(sax(2), patient="P1"))
    archive = tmp_path / "archive"
    archive.mkdir()
    for name, target in (("circle", archive), ("scans", elsewhere), ("scans_again", elsewhere)):
        (archive / name).symlink_to(target)
    (unit,) = inventory([archive], follow_links=True).units
    assert (unit["participant"], len(unit["files"])) == ("P1", 20)


def test_links_out_of_the_sources_are_counted_and_not_followed_unless_the_user_says_so(tmp_path: Path) -> None:
    """In a shared inbox, somebody else may have placed a link to what only this user can read."""
    secret = write_files(tmp_path / "private", files(sax(2), patient="SECRET", study_uid="1.2.9"))
    inbox = write_files(tmp_path / "inbox", files(sax(2), patient="P1"))
    (inbox / "folder").symlink_to(secret)
    (inbox / "IM0099").symlink_to(sorted(secret.iterdir())[0])
    (inbox / "nowhere").symlink_to(tmp_path / "private" / "gone")
    (inbox / ".hidden").symlink_to(secret)
    (inbox / "sub").mkdir()
    (inbox / "sub" / "within").symlink_to(sorted(inbox.glob("*.dcm"))[0])
    found = inventory([inbox])
    assert [unit["participant"] for unit in found.units] == ["P1"]
    assert found.not_taken[LINK_OUT] == 4
    assert str(inbox / "sub" / "within") in [path for unit in found.units for path, _, _ in unit["files"]]
    followed = inventory([inbox], follow_links=True)
    assert "SECRET" in [unit["participant"] for unit in followed.units]
    assert LINK_OUT not in followed.not_taken
    both = inventory([inbox, tmp_path / "private"])  # then it is no longer out of them
    assert both.not_taken.get(LINK_OUT, 0) == 0


def test_a_source_that_is_a_link_itself_is_what_the_user_named(tmp_path: Path) -> None:
    write_files(tmp_path / "disk", files(sax(2), patient="P1"))
    (tmp_path / "archive").symlink_to(tmp_path / "disk")
    assert _names([tmp_path / "archive"]) == _names([tmp_path / "disk"]) != []


def test_files_of_the_system_pipes_and_devices_are_counted_and_not_read(tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    for name, target in (
        ("a", "/proc/kmsg"),
        ("b", "/dev/zero"),
        ("c", "/proc/self"),
        ("d", "/sys/kernel"),
        ("e", "/dev"),
    ):
        (inbox / name).symlink_to(target)
    os.mkfifo(inbox / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(inbox / "socket"))
    for follow in (True, False):
        found = inventory([inbox], follow_links=follow)
        assert found.units == []
        assert found.not_taken == {SYSTEM: 2, NO_FILE: 2, LINK_OUT: 3} if not follow else {SYSTEM: 5, NO_FILE: 2}


def test_nobody_is_named_after_a_folder_or_a_file(tmp_path: Path) -> None:
    write_files(tmp_path / "Smith Anna", files(sax(2), patient="", study_uid="1.2.3"))
    write_files(tmp_path / "Jones Bob", [(n, c[:132] + b"damage" * 50) for n, c in files(sax(1), study_uid="1.2.4")])
    write_zip(tmp_path / "Brown_Carl.zip", files(sax(2), patient="", study_uid="1.2.5"))
    write_zip(tmp_path / "Green_Dora.zip", files(sax(2), patient="", study_uid=""))
    (tmp_path / "White_Ed.zip").write_bytes(b"PK\x03\x04 not a zip")
    found = inventory([tmp_path])
    assert len({unit["participant"] for unit in found.units}) == len(found.units) == 5
    for unit in found.units:
        assert re.fullmatch(r"id\.[0-9a-f]{8}", unit["participant"])
    named = ("Smith", "Anna", "Jones", "Bob", "Brown", "Carl", "Green", "Dora", "White", "Ed.")
    assert not any(name in file.path for file in found.files for name in named)


def test_a_broken_link_is_told_of_and_a_pipe_is_no_file(tmp_path: Path) -> None:
    write_files(tmp_path / "whole", files(sax(2), patient="P1"))
    for name in ("1000012_20209_2_0.zip", "export.zip", "lost/IM0001"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).symlink_to(tmp_path / "not" / "there")
    os.mkfifo(tmp_path / "pipe")
    outcomes = [convert_study(unit, str(tmp_path / "cohort"), {}) for unit in inventory([tmp_path]).units]
    assert [outcome.reason for outcome in outcomes] == ["file_unreadable", "", "file_unreadable", "file_unreadable"]


def test_a_folder_that_cannot_be_looked_into_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_files(tmp_path / "open", files(sax(2), patient="P1"))
    write_files(tmp_path / "shut", files(sax(2), patient="P2"))
    look = os.scandir

    def refusing(path: str) -> Any:
        if str(path).endswith("shut"):
            raise PermissionError(13, "Permission denied", path)
        return look(path)

    monkeypatch.setattr(os, "scandir", refusing)
    units = inventory([tmp_path]).units
    assert [(unit["participant"][:3], len(unit["files"])) for unit in units] == [("P1", 20), ("id.", 1)]
    assert convert_study(units[1], str(tmp_path / "cohort"), {}).reason == "file_unreadable"


def test_a_file_that_could_not_be_read_is_looked_at_again(tmp_path: Path) -> None:
    (tmp_path / "IM1").symlink_to(tmp_path / "kept" / "elsewhere")
    first = inventory([tmp_path])
    assert first.files[0].facts["readable"] is False
    (tmp_path / "IM1").unlink()
    (tmp_path / "IM1").write_bytes(files(sax(1), patient="P1")[0][1])
    status = (tmp_path / "IM1").stat()
    known = replace(first.files[0], size=status.st_size, mtime_ns=status.st_mtime_ns)
    (unit,) = inventory([tmp_path], {known.path: known}).units
    assert unit["participant"] == "P1"


def test_a_folder_of_nothing_but_damaged_images_is_still_a_study(tmp_path: Path) -> None:
    headless = [(name, content[:132] + b"damage" * 50) for name, content in files(sax(2))]
    write_files(tmp_path / "case7", headless)
    (tmp_path / "case7" / "INDEX").write_bytes(bytes(128) + b"DICM" + b"1.2.840.10008.1.3.10")
    (unit,) = inventory([tmp_path]).units
    assert (unit["participant"][:3], len(unit["files"])) == ("id.", 20)
    assert convert_study(unit, str(tmp_path / "cohort"), {}).reason == "dicom_corrupt"


def test_zips_that_tell_no_study_are_each_their_own(tmp_path: Path) -> None:
    for patient in ("P1", "P2", ""):
        write_zip(tmp_path / f"of{patient}.zip", files(sax(2), patient=patient, study_uid=""))
    units = inventory([tmp_path]).units
    assert sorted(unit["participant"] for unit in units)[:2] == ["P1", "P2"]
    assert all(len(unit["files"]) == 1 for unit in units)


def test_a_name_that_is_no_text_is_no_obstacle(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"case\xff")
    write_files(folder, files(sax(2), patient=""))
    found = inventory([tmp_path])
    with open_ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.remember_sources(found.files, forget_others=True)
        assert len(ledger.sources()) == 20
    assert [convert_study(unit, str(tmp_path / "cohort"), {}).status for unit in found.units] == ["ok"]


def test_files_that_no_study_has_are_counted_by_kind(tmp_path: Path) -> None:
    write_files(tmp_path / "a", files(sax(1)))
    for name in ("notes.txt", "more.TXT", "x.mat", "DICOMDIR", "label_gt.weird"):
        (tmp_path / "a" / name).write_bytes(b"no image")
    for hidden in (".cache/old.PNG", "__MACOSX/a/scan.dcm", "a/.DS_Store", "b/scan.MHA", "b/report.xml.gz"):
        write_files((tmp_path / hidden).parent, [((tmp_path / hidden).name, b"no image")])
    os.mkfifo(tmp_path / "b" / "pipe")
    found = inventory([tmp_path])
    assert found.not_taken == {
        ".txt": 2, "no ending": 1, NO_FILE: 1, ".dcm": 1, ".gz": 1, ".mat": 1, ".mha": 1, ".png": 1,
        "another ending": 1, "hidden": 1,
    }  # fmt: skip
    n_files = sum(not path.is_dir() for path in tmp_path.rglob("*"))
    assert sum(len(unit["files"]) for unit in found.units) + sum(found.not_taken.values()) == n_files


def test_archives_that_are_not_opened_are_counted_with_what_to_do(tmp_path: Path) -> None:
    write_files(tmp_path / "a", files(sax(1)))
    for name in ("a.tar", "b.TAR.GZ", "c.tgz", "d.7z", "e.rar", "f.dcm.gz", "g.tar.zst"):
        (tmp_path / name).write_bytes(b"packed")
    found = inventory([tmp_path])
    assert len(found.units) == 1
    assert found.not_taken == {".gz": 2, ".7z": 1, ".rar": 1, ".tar": 1, ".tgz": 1, ".zst": 1}
    assert listing.not_taken_line(found.not_taken) == (
        "7 files of the sources are part of no study: 2 .gz, 1 .7z, 1 .rar, 1 .tar, 1 .tgz, 1 .zst;"
        " 7 are archives that are not opened: unpack, or pack as .zip"
    )
    assert listing.unpack_advice({".txt": 3, ".nii.gz": 2}) == ""
    assert listing.unpack_advice({".txt": 3, ".7z": 1}) == "1 is an archive that is not opened: unpack, or pack as .zip"


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_a_study_uid_with_needless_zeros_is_the_same_study(tmp_path: Path) -> None:
    content = files(sax(1), study_uid="1.2.3") + [(f"b{n}", c) for n, c in files([lax(5, 1)], study_uid="1.02.003")]
    write_files(tmp_path / "folder", content)
    write_zip(tmp_path / "zipped" / "one.zip", content)
    for place in ("folder", "zipped"):
        (unit,) = inventory([tmp_path / place]).units
        outcome = convert_study(unit, str(tmp_path / place / "cohort"), {})
        assert sorted(outcome.summary["views"]) == ["lax_4c", "sax"]


def test_pickles_of_a_known_set_are_told_of_and_others_are_no_scans(tmp_path: Path) -> None:
    write_files(tmp_path / "scan_07", [("SAX.pickle", b"x"), ("model.pickle", b"x"), ("other.pkl", b"x")])
    found = inventory([tmp_path])
    assert [(unit["study"], unit["kind"], len(unit["files"])) for unit in found.units] == [("scan_07-1", "pickle", 1)]
    assert found.not_taken == {".pickle": 1, ".pkl": 1}


def test_a_header_and_an_image_of_one_name_and_case_are_nifti_and_one_alone_may_be_anything(tmp_path: Path) -> None:
    for name in ("a_sa.hdr", "a_sa.img", "B_sa.HDR", "B_sa.IMG", "c_sa.hdr", "d_sa.img", "e_sa.HDR", "e_sa.img"):
        (tmp_path / name).write_bytes(b"no scan")
    found = inventory([tmp_path])
    assert [(unit["study"], unit["kind"], len(unit["files"])) for unit in found.units] == [
        ("B-1", "nifti", 2), ("a-1", "nifti", 2),
    ]  # fmt: skip
    assert found.not_taken == {".hdr": 2, ".img": 2}


def test_a_study_that_is_told_after_a_long_header_is_found(tmp_path: Path) -> None:
    ds = dataset(Series(), patient="P7", study_uid="1.2.7")
    ds.private_block(0x0009, "ACME", create=True).add_new(0x01, "OB", bytes(70_000))
    (unit,) = inventory([write_files(tmp_path, [("long.dcm", encode(ds))])]).units
    assert unit["participant"] == "P7"
    short = files([Series()], patient="P7", study_uid="1.2.7")[:1]
    assert [unit["study"]] == _names([write_files(tmp_path / "short", short)])


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/a/B.TXT", ".txt"), ("/a.txt/b", "no ending"), ("/a/B.NII.GZ", ".nii.gz"), ("/a/b.nii", ".nii"),
        ("/a/b.gz", ".gz"), ("/a/.TXT", "hidden"), ("/a/b.abc", "another ending"), ("/a/b.1234567", "no ending"),
        ("/a/1.2.3", "no ending"), ("/a/b.abcdefghijk", "no ending"),
    ],
)  # fmt: skip
def test_a_kind_is_a_known_ending_in_small_letters_and_never_part_of_an_identifier(path: str, kind: str) -> None:
    assert listing._ending(path) == kind


def test_the_fingerprint_of_a_public_case_changes_with_its_facts_and_with_every_file(tmp_path: Path) -> None:
    """Facts lie in another file than the images: a corrected table must make the study anew."""
    folder = tmp_path / "training" / "patient001"
    folder.mkdir(parents=True)
    image, info = folder / "patient001_4d.nii.gz", folder / "Info.cfg"

    def fingerprint() -> str:
        (unit,) = inventory([tmp_path]).units
        return unit["fingerprint"]

    image.write_bytes(b"x")
    os.utime(image, ns=(5, 5))
    found = [fingerprint()]  # without facts
    for text in ("ED: 1\nES: 12\nGroup: DCM\n", "ED: 1\nES: 11\nGroup: DCM\n", "ED: 1\nES: 11\nGroup: NOR\n"):
        info.write_text(text)
        found.append(fingerprint())
    (folder / "patient001_frame01_gt.nii.gz").write_bytes(b"")
    found.append(fingerprint())
    image.write_bytes(b"xy")
    os.utime(image, ns=(5, 5))
    found.append(fingerprint())
    os.utime(image, ns=(5, 6))
    found.append(fingerprint())
    assert len(set(found)) == 7
    os.utime(info, ns=(9, 9))
    assert fingerprint() == found[-1]


def test_the_fingerprint_of_one_study_of_a_zip_is_not_that_of_the_other(tmp_path: Path) -> None:
    two = files(sax(1), study_uid="1.2.3") + [("x" + n, c) for n, c in files(sax(1), study_uid="1.2.4")]
    write_zip(tmp_path / "two.zip", two)
    assert len({unit["fingerprint"] for unit in inventory([tmp_path]).units}) == 2


def test_a_damaged_file_beside_two_studies_is_of_neither(tmp_path: Path) -> None:
    """Whose it is nobody can tell: in one of them it would end a whole study, in the other hide that it lacks one."""
    first, second, damaged = (encode(dataset(Series(number=k), study_uid=f"1.2.{k}")) for k in (1, 2, 3))
    content = [("a.dcm", first), ("b.dcm", second), ("c.dcm", damaged[:140])]
    write_files(tmp_path / "mixed", content)
    write_files(tmp_path / "alone", [content[0], content[2]])
    units = inventory([tmp_path / "mixed"]).units
    assert sorted([Path(path).name for path, _, _ in unit["files"]] for unit in units) == [
        ["a.dcm"], ["b.dcm"], ["c.dcm"],
    ]  # fmt: skip
    (unit,) = inventory([tmp_path / "alone"]).units
    assert [Path(path).name for path, _, _ in unit["files"]] == ["a.dcm", "c.dcm"]
