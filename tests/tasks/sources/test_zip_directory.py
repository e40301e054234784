"""The list of a zip without damaged extra fields, entry by entry, against the bytes of APPNOTE 4.3.12."""

import io
import struct
import zipfile

import pytest

from tasks.sources.zip_directory import _directory, _without_damage, list_members


def _entry(name: bytes, extra: bytes = b"", comment: bytes = b"", offset: int = 0) -> bytes:
    lengths = (len(name), len(extra), len(comment))
    return struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 0, 0, 0, 7, 0, 0, *lengths, 0, 0, 0, offset) + (
        name + extra + comment
    )


_WHOLE = struct.pack("<HH2s", 1, 2, b"ab")
_OVER = struct.pack("<HH", 9, 50)


def test_what_is_damaged_goes_and_names_comments_and_places_stay() -> None:
    given = _entry(b"a/1.dcm", _WHOLE + _OVER, b"first", 3) + _entry(b"b", b"", b"", 90) + _entry(b"c", _OVER, b"last")
    wanted = _entry(b"a/1.dcm", _WHOLE, b"first", 3) + _entry(b"b", b"", b"", 90) + _entry(b"c", b"", b"last")
    assert _without_damage(given) == (wanted, 3)
    assert _without_damage(b"") == (b"", 0)
    assert _without_damage(_entry(b"")) == (_entry(b""), 1)  # no longer than an entry must be


@pytest.mark.parametrize("rest", [_entry(b"")[:-1], b"PK\1\2", b"PK\1\3" + bytes(42), b"x"])
def test_what_is_no_entry_is_damage(rest: bytes) -> None:
    for directory in (rest, _entry(b"a") + rest):
        with pytest.raises(zipfile.BadZipFile, match="list is damaged"):
            _without_damage(directory)


def test_the_list_is_found_by_its_end_and_says_how_much_precedes_the_archive() -> None:
    listed = _entry(b"a", offset=0)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, len(listed), 10, 0)
    for before, comment in ((b"", b""), (b"12345", b""), (b"12345", b"a comment")):
        file = io.BytesIO(before + bytes(10) + listed + end + comment)
        assert _directory(file) == (listed, len(before))
    long = end[:-6] + struct.pack("<LH", 0xFFFFFFFF, 0)  # the place is in ZIP64, which is not repaired
    with pytest.raises(zipfile.BadZipFile, match="no start"):
        _directory(io.BytesIO(bytes(10) + listed + long))
    with pytest.raises(zipfile.BadZipFile, match="no end"):
        _directory(io.BytesIO(bytes(10) + listed + end[:-1]))


@pytest.mark.parametrize("before", [b"", b"a program precedes"])
def test_members_of_a_damaged_list_are_where_they_lie_in_the_file(before: bytes) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("first.dcm", b"one")
        archive.writestr("second.dcm", b"two")
    content = stream.getvalue()
    places = [content.index(b"PK\3\4"), content.rindex(b"PK\3\4")]
    damaged = bytearray(content)
    first = content.index(b"PK\1\2")
    damaged[first + 30 : first + 32] = struct.pack("<H", 4)
    damaged[first + 46 + 9 : first + 46 + 9] = _OVER
    end = damaged.rindex(b"PK\5\6")
    (n_bytes,) = struct.unpack_from("<L", damaged, end + 12)
    struct.pack_into("<L", damaged, end + 12, n_bytes + 4)
    for file in (io.BytesIO(before + content), io.BytesIO(before + bytes(damaged))):
        members = list_members(file)
        assert [(m.filename, m.header_offset) for m in members] == [
            ("first.dcm", len(before) + places[0]), ("second.dcm", len(before) + places[1]),
        ]  # fmt: skip
