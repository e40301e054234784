"""Archives are read within bounds: whatever is wrong has its own reason, and nothing is trusted."""

import io
import struct
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cmr_models.reasons import StudyRejected
from tasks.sources.archive import Limits, read_beginnings, read_members


def _zip(members: list[tuple[str, bytes]], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


def _put(folder: Path, content: bytes) -> Path:
    path = folder / "archive.zip"
    path.write_bytes(content)
    return path


def _reason(path: Path, limits: Limits | None = None) -> str:
    with pytest.raises(StudyRejected) as caught:
        list(read_members(path, limits or Limits()))
    return caught.value.reason


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_members_come_out_as_they_went_in(tmp_path: Path, method: int) -> None:
    members = [("a", b"first" * 1000), ("folder/b.dcm", b""), ("c", bytes(range(256)))]
    assert list(read_members(_put(tmp_path, _zip(members, method)))) == members


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


def test_text_that_is_called_zip_is_corrupt(tmp_path: Path) -> None:
    assert _reason(_put(tmp_path, b"<html>404</html>")) == "zip_corrupt"


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../up.dcm", "a/../../up.dcm", "C:/x.dcm", "..", "a\\b.dcm", "nul\x00.dcm"]
)
def test_a_name_that_leaves_the_archive_is_hostile(tmp_path: Path, name: str) -> None:
    placeholder = "x" * len(name)
    content = _zip([(placeholder, b"data")]).replace(placeholder.encode(), name.encode())
    assert _reason(_put(tmp_path, content)) == "zip_hostile_name"


def test_a_repeated_name_is_hostile(tmp_path: Path) -> None:
    content = _zip([("a1", b"1"), ("a2", b"2")]).replace(b"a2", b"a1")
    assert _reason(_put(tmp_path, content)) == "zip_hostile_name"


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
