"""Archives are read within bounds: whatever is wrong has its own reason, and nothing is trusted."""

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import warnings
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cmr_models.reasons import StudyRejected
from tasks.sources.archive import read_beginnings, read_members, unopened
from tasks.sources.limits import Budget, Limits
from tasks.sources.zip_directory import _whole, list_members


def _zip(members: list[tuple[str, bytes]], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


def _tarred(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo("a")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def _put(folder: Path, content: bytes) -> Path:
    path = folder / "archive.zip"
    path.write_bytes(content)
    return path


def _reason(path: Path, limits: Limits | None = None) -> str:
    with pytest.raises(StudyRejected) as caught:
        list(read_members(path, Budget(limits or Limits())))
    return caught.value.reason


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_members_come_out_as_they_went_in(tmp_path: Path, method: int) -> None:
    members = [("a", b"first" * 1000), ("folder/b.dcm", b""), ("c", bytes(range(256)))]
    assert list(read_members(_put(tmp_path, _zip(members, method)))) == members


def _with_extra(extra: bytes, prefix: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("a", "b"):
            member = zipfile.ZipInfo(name)
            member.extra, member.comment = extra, b"said"
            archive.writestr(member, 1000 * name.encode())
    return prefix + buffer.getvalue()


@pytest.mark.parametrize("prefix", [b"", b"MZ" + bytes(3000)], ids=["", "self-extracting"])
@pytest.mark.parametrize(
    "extra",
    [
        struct.pack("<HH2s", 0x5455, 40, b"ab"),  # runs over its end
        struct.pack("<HH5sHH", 0x5455, 5, b"times", 0x7875, 9),  # the second does
        b"abc",
        struct.pack("<HH", 1, 0),
    ],
)
def test_damaged_extra_fields_do_no_harm(tmp_path: Path, extra: bytes, prefix: bytes) -> None:
    path = _put(tmp_path, _with_extra(extra, prefix))
    assert list(read_members(path)) == [("a", b"a" * 1000), ("b", b"b" * 1000)]


def test_a_damaged_list_of_members_is_not_repaired_beyond_its_extra_fields(tmp_path: Path) -> None:
    whole = _with_extra(struct.pack("<HH2s", 0x5455, 40, b"ab"))
    entry = whole.index(b"PK\x01\x02")
    assert _reason(_put(tmp_path, whole[:entry] + b"XX" + whole[entry + 2 :])) == "zip_corrupt"
    assert _reason(_put(tmp_path, whole[: entry + 20])) == "zip_corrupt"


def test_folders_links_junk_and_nested_archives_are_left_out(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("folder/", b"")
        archive.writestr("__MACOSX/._a.dcm", b"x")
        archive.writestr("inner.zip", b"PK")
        link = zipfile.ZipInfo("link")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, b"/etc/passwd")
        archive.writestr("image.dcm", b"pixels")
    assert list(read_members(_put(tmp_path, buffer.getvalue()))) == [("image.dcm", b"pixels")]


def test_the_beginning_of_a_member_is_its_beginning(tmp_path: Path) -> None:
    path = _put(tmp_path, _zip([("a", b"0123456789" * 100)]))
    assert list(read_beginnings(path, 25, Limits())) == [(b"0123456789" * 3)[:25]]


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_an_archive_that_is_cut_off_is_corrupt(tmp_path: Path, share: float) -> None:
    content = _zip([("a", bytes(range(256)) * 50)], zipfile.ZIP_STORED)
    assert _reason(_put(tmp_path, content[: int(share * len(content))])) == "zip_corrupt"


def test_a_changed_byte_fails_the_checksum(tmp_path: Path) -> None:
    content = bytearray(_zip([("a", bytes(1000))], zipfile.ZIP_STORED))
    content[500] ^= 1
    assert _reason(_put(tmp_path, bytes(content))) == "zip_corrupt"


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("gzip", gzip.compress(b"anything")),
        ("bzip2", bz2.compress(b"anything")),
        ("xz", lzma.compress(b"anything")),
        ("7-Zip", bytes.fromhex("377abcaf271c0004") + bytes(24)),
        ("RAR", bytes.fromhex("526172211a0701") + bytes(24)),
        ("tar", _tarred(b"anything")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_archive_of_another_kind_that_is_called_zip_is_named(tmp_path: Path, kind: str, content: bytes) -> None:
    path = _put(tmp_path, content)
    assert _reason(path) == "zip_other_archive"
    with pytest.raises(StudyRejected, match=kind):
        list(read_beginnings(path, 9, Limits()))


def test_text_that_is_called_zip_is_corrupt(tmp_path: Path) -> None:
    assert _reason(_put(tmp_path, b"<html>404</html>")) == "zip_corrupt"


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "../up.dcm",
        "a/../../up.dcm",
        "C:/x.dcm",
        "..",
        "..\\up.dcm",
        "\\etc\\x",
        "C:\\x.dcm",
        "nul\x00.dcm",
    ],
)
def test_a_name_that_leaves_the_archive_is_hostile(tmp_path: Path, name: str) -> None:
    placeholder = "x" * len(name)
    content = _zip([(placeholder, b"data")]).replace(placeholder.encode(), name.encode())
    assert _reason(_put(tmp_path, content)) == "zip_hostile_name"


def test_a_repeated_name_with_other_content_is_hostile(tmp_path: Path) -> None:
    content = _zip([("a1", b"1"), ("a2", b"2")]).replace(b"a2", b"a1")
    assert _reason(_put(tmp_path, content)) == "zip_hostile_name"


def test_a_file_that_was_added_twice_is_read_once(tmp_path: Path) -> None:
    content = _zip([("a1", b"same"), ("a2", b"same"), ("b", b"other")]).replace(b"a2", b"a1")
    assert list(read_members(_put(tmp_path, content))) == [("a1", b"same"), ("b", b"other")]


# archives of old tools


def test_backslashes_stand_between_folders(tmp_path: Path) -> None:
    content = _zip([("visit/x/a.dcm", b"1"), ("visit/x/", b"")]).replace(b"visit/x/", b"visit\\x\\")
    assert list(read_members(_put(tmp_path, content))) == [("visit/x/a.dcm", b"1")]


def test_folders_may_be_listed_twice_without_a_slash_or_as_the_root(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        for name in ("/", "./", "visit/", "visit/"):
            archive.writestr(name, b"")
        marked = zipfile.ZipInfo("other")
        marked.create_system, marked.external_attr = 0, 0x10
        archive.writestr(marked, b"")
        of_unix = zipfile.ZipInfo("third")
        of_unix.external_attr = 0o040755 << 16
        archive.writestr(of_unix, b"")
        archive.writestr("./visit/a.dcm", b"1")
    assert list(read_members(_put(tmp_path, buffer.getvalue()))) == [("visit/a.dcm", b"1")]


def test_a_password_on_a_folder_alone_protects_nothing(tmp_path: Path) -> None:
    content = bytearray(_zip([("visit/", b""), ("visit/a.dcm", b"1")]))
    content[content.index(b"PK\x01\x02") + 8] |= 1
    assert list(read_members(_put(tmp_path, bytes(content)))) == [("visit/a.dcm", b"1")]


class _Pipe(io.BytesIO):
    """A stream that cannot go back: sizes and checksums follow the data (data descriptors)."""

    def seekable(self) -> bool:
        return False

    def seek(self, *_: int) -> int:
        raise io.UnsupportedOperation


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_sizes_may_follow_the_data(tmp_path: Path, method: int) -> None:
    pipe = _Pipe()
    with zipfile.ZipFile(pipe, "w", method) as archive:
        archive.writestr("a.dcm", b"first" * 100)
        archive.writestr("b.dcm", b"PK\x07\x08" * 9)
    assert pipe.getvalue()[6] & 8
    assert [len(content) for _, content in read_members(_put(tmp_path, pipe.getvalue()))] == [500, 36]


def test_zip64_is_read(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive, archive.open("a.dcm", "w", force_zip64=True) as member:
        member.write(b"1" * 50)
    assert list(read_members(_put(tmp_path, buffer.getvalue()))) == [("a.dcm", b"1" * 50)]


@pytest.mark.parametrize(("prefix", "comment"), [(b"#!/bin/sh\n", b""), (b"", b"made by hand"), (b"MZ" * 99, b"x")])
def test_a_prefix_and_a_comment_do_no_harm(tmp_path: Path, prefix: bytes, comment: bytes) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.comment = comment
        archive.writestr("a.dcm", b"1")
    assert list(read_members(_put(tmp_path, prefix + buffer.getvalue()))) == [("a.dcm", b"1")]


def test_a_name_in_the_old_code_page_is_read(tmp_path: Path) -> None:
    content = _zip([("Patientxx.dcm", b"1")]).replace(b"Patientxx", b"K\x94nig\x81ber")
    assert list(read_members(_put(tmp_path, content))) == [("K\u00f6nig\u00fcber.dcm", b"1")]


def test_a_version_of_the_future_is_no_damage(tmp_path: Path) -> None:
    content = bytearray(_zip([("a", b"data")]))
    content[content.index(b"PK\x01\x02") + 6] = 200
    assert _reason(_put(tmp_path, bytes(content))) == "zip_method"


def test_a_password_is_told_from_damage(tmp_path: Path) -> None:
    content = bytearray(_zip([("a", b"data")]))
    central = content.index(b"PK\x01\x02")
    content[central + 8] |= 1
    assert _reason(_put(tmp_path, bytes(content))) == "zip_encrypted"


def test_a_bomb_is_refused_before_it_is_inflated(tmp_path: Path) -> None:
    assert _reason(_put(tmp_path, _zip([("a", bytes(50_000_000))]))) == "zip_bomb"


@pytest.mark.parametrize(
    "limits",
    [Limits(max_members=1), Limits(max_member_bytes=10), Limits(max_total_bytes=100), Limits(max_ratio=0.5)],
)
def test_every_limit_is_kept(tmp_path: Path, limits: Limits) -> None:
    path = _put(tmp_path, _zip([("a", bytes(range(60))), ("b", bytes(range(60)))]))
    assert _reason(path, limits) == "zip_bomb"


def test_a_size_that_lies_is_found_out(tmp_path: Path) -> None:
    content = bytearray(_zip([("a", bytes(range(256)) * 40)]))
    central = content.index(b"PK\x01\x02")
    struct.pack_into("<L", content, central + 24, 100)
    assert _reason(_put(tmp_path, bytes(content))) == "zip_corrupt"


def test_overlapping_members_are_a_bomb(tmp_path: Path) -> None:
    content = bytearray(_zip([("a", bytes(range(256)) * 40)], zipfile.ZIP_STORED))
    central = content.index(b"PK\x01\x02")
    struct.pack_into("<LL", content, central + 20, 2**20, 2**20)
    assert _reason(_put(tmp_path, bytes(content))) == "zip_bomb"


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=8), st.integers(0, 10_000))
def test_any_damage_gives_members_or_a_reason(tmp_path: Path, changes: list[tuple[int, int]], length: int) -> None:
    content = bytearray(_zip([("a.dcm", bytes(range(256)) * 3), ("b", b"text" * 30)]))
    for place, value in changes:
        content[place % len(content)] = value
    path = _put(tmp_path, bytes(content[: length % (len(content) + 1) or len(content)]))
    reason = "zip_corrupt"
    try:
        list(read_members(path))
    except StudyRejected as rejected:
        reason = rejected.reason
    assert reason.startswith("zip_")


def _limits(**changed: float) -> Limits:
    """Bounds that two members of 60 bytes, stored, just meet."""
    just = {"max_members": 2, "max_member_bytes": 60, "max_total_bytes": 120, "max_ratio": 1.0}
    return Limits(**{**just, **changed})  # type: ignore[arg-type]


def test_a_limit_is_kept_by_what_just_meets_it(tmp_path: Path) -> None:
    path = _put(tmp_path, _zip([("a", bytes(range(60))), ("b", bytes(range(60)))], zipfile.ZIP_STORED))
    assert len(list(read_members(path, Budget(_limits())))) == 2
    for beyond in ({"max_members": 1}, {"max_member_bytes": 59}, {"max_total_bytes": 119}, {"max_ratio": 0.99}):
        assert _reason(path, _limits(**beyond)) == "zip_bomb"
    empty = _put(tmp_path, _zip([("a", b"")]))
    assert list(read_members(empty, Budget(Limits(max_ratio=1.0)))) == [("a", b"")]


def test_archives_within_an_archive_are_counted_by_any_spelling_and_left_closed(tmp_path: Path) -> None:
    names = ["a.ZIP", "b.tar.gz", "c.7z", "d.dcm", "e.zip.dcm", "f/g.RAR", "h.nii.GZ"]
    path = _put(tmp_path, _zip([(name, b"x") for name in names]))
    assert unopened(path) == (4, 1)
    assert [name for name, _ in read_members(path)] == ["d.dcm", "e.zip.dcm"]


def test_beginnings_are_of_stored_and_deflated_members_alike(tmp_path: Path) -> None:
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        path = _put(tmp_path, _zip([("a", b"0123456789" * 100), ("b", b"short")], method))
        assert list(read_beginnings(path, 12, Limits())) == [b"012345678901", b"short"]
    assert list(read_beginnings(_put(tmp_path, _zip([("a", b"x" * 99)], zipfile.ZIP_LZMA)), 12, Limits())) == [b""]
    assert _reason(_put(tmp_path, _zip([("a", b"x" * 99)], zipfile.ZIP_BZIP2))) == "zip_method"


def test_an_archive_of_nothing_has_no_members_and_what_is_none_has_no_end(tmp_path: Path) -> None:
    assert list(read_members(_put(tmp_path, _zip([])))) == []
    for content in (b"", b"PK\x05\x06 cut off", b"no archive"):
        with pytest.raises(zipfile.BadZipFile, match="no end"):
            list_members(io.BytesIO(content))


def test_extra_fields_are_kept_up_to_the_first_that_runs_over_the_end() -> None:
    whole, empty = struct.pack("<HH3s", 1, 3, b"abc"), struct.pack("<HH", 2, 0)
    for extra, kept in (
        (whole, whole), (whole + empty, whole + empty), (whole + empty + b"x", whole + empty), (whole[:-1], b""),
        (empty + whole[:-1], empty), (b"xyz", b""), (b"", b""),
    ):  # fmt: skip
        assert _whole(extra) == kept


def test_a_list_that_would_begin_before_the_file_is_damage() -> None:
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, 500, 0, 0)
    with pytest.raises(zipfile.BadZipFile, match="no start"):
        list_members(io.BytesIO(b"short" + end))
