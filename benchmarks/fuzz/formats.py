"""Changes that know the format: one part of it is another one, and all that counts or checks it is right again."""

from __future__ import annotations

import gzip
import json
import struct
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from benchmarks.fuzz.edits import Edit, changed

_LONG: Final = (b"OB", b"OW", b"OF", b"SQ", b"UT", b"UN", b"OD", b"OL", b"UC", b"UR", b"OV", b"SV", b"UV")
_UNDEFINED: Final = 0xFFFFFFFF
_PREAMBLE: Final = 132
_ITEM, _ITEM_END, _SEQUENCE_END = (struct.pack("<HH", 0xFFFE, n) for n in (0xE000, 0xE00D, 0xE0DD))
_REPRESENTATIONS: Final = (b"SQ", b"UN", b"OB", b"OW", b"UT", b"DS", b"IS", b"US", b"FD", b"PN", b"AT", b"ZZ", b"\0\0")
_TAGS: Final = (
    (0x0008, 0x0005), (0x0008, 0x0008), (0x0008, 0x0016), (0x0010, 0x0020), (0x0018, 0x1060), (0x0020, 0x000D),
    (0x0020, 0x0032), (0x0020, 0x0037), (0x0020, 0x9056), (0x0028, 0x0002), (0x0028, 0x0004), (0x0028, 0x0008),
    (0x0028, 0x0010), (0x0028, 0x0011), (0x0028, 0x0030), (0x0028, 0x0100), (0x0028, 0x0101), (0x0028, 0x0102),
    (0x0028, 0x0103), (0x0028, 0x0120), (0x0028, 0x1052), (0x0028, 0x1053), (0x0028, 0x3000), (0x0040, 0x9096),
    (0x5200, 0x9229), (0x5200, 0x9230), (0x6000, 0x3000), (0x7FE0, 0x0001), (0x7FE0, 0x0008), (0x7FE0, 0x0010),
    (0x0000, 0x0000), (0xFFFE, 0xE000), (0x0029, 0x1010),
)  # fmt: skip
_VALUES: Final = (
    b"", b"\0", b"0", b"-1", b"1e400", b"nan", b"1\\2", b"\\" * 400, b"9" * 5000, b"1.2.3." * 20, b"20209999",
    b"250000",
    b"\x1b$B\x1b(B", b"\xff\xfe", "Müller\u202e💔".encode(), b"../../x", b"=1+1", b"\x00\x00", b"\xff\xff", b"\x01\x00",
    struct.pack("<L", 2**31), struct.pack("<d", 1e308), bytes(4000),
)  # fmt: skip
_SYNTAXES: Final = (
    b"1.2.840.10008.1.2", b"1.2.840.10008.1.2.1", b"1.2.840.10008.1.2.2", b"1.2.840.10008.1.2.1.99",
    b"1.2.840.10008.1.2.5", b"1.2.840.10008.1.2.4.50", b"1.2.840.10008.1.2.4.51", b"1.2.840.10008.1.2.4.57",
    b"1.2.840.10008.1.2.4.70", b"1.2.840.10008.1.2.4.80", b"1.2.840.10008.1.2.4.90", b"1.2.840.10008.1.2.4.95",
    b"1.2.840.10008.1.2.4.201", b"1.2.840.10008.1.2.1.98", b"1.2.840.113619.5.2", b"", b"1.2",
)  # fmt: skip

Element = tuple[bytes, bytes, bytes]
"""Tag, representation and value."""


def _pick(rng: np.random.Generator, several: Any) -> Any:
    return several[int(rng.integers(len(several)))]


# DICOM


def in_dicom(content: bytes, rng: np.random.Generator) -> bytes:
    """One element of an explicit little-endian data set left out, doubled, moved, nested, or with other contents."""
    start = _start_of_data_set(content)
    elements, tail = _elements(content, start) if start else ([], b"")
    if not elements:
        return content
    if rng.random() < 0.1:
        return _with_syntax(content, _pick(rng, _SYNTAXES))
    k, other = (int(rng.integers(len(elements))) for _ in range(2))
    tag, representation, value = elements[k]
    choice = int(rng.integers(8))
    new: dict[int, Callable[[], list[Element]]] = {
        0: list,
        1: lambda: [elements[k]] * int(rng.integers(2, 40)),
        2: lambda: [(tag, representation, elements[other][2])],
        3: lambda: [(tag, representation, _pick(rng, _VALUES))],
        4: lambda: [(tag, _pick(rng, _REPRESENTATIONS), value)],
        5: lambda: [(struct.pack("<HH", *_pick(rng, _TAGS)), representation, value)],
        6: lambda: [(tag, b"SQ", _nested(elements[other], rng))],
        7: lambda: [elements[other], elements[k]],
    }
    elements[k : k + 1] = new[choice]()
    return content[:start] + b"".join(_written(one) for one in elements) + tail


def _start_of_data_set(content: bytes) -> int:
    """Where group 2 ends; 0 if this is no DICOM file that tells."""
    if content[128:_PREAMBLE] != b"DICM" or len(content) < _PREAMBLE + 12:
        return 0
    (length,) = struct.unpack_from("<L", content, _PREAMBLE + 8)
    start = _PREAMBLE + 12 + int(length)
    return start if start < len(content) else 0


def _elements(content: bytes, position: int) -> tuple[list[Element], bytes]:
    """Elements up to the first that cannot be followed, and what begins there."""
    found: list[Element] = []
    while position + 12 <= len(content):
        tag, representation = content[position : position + 4], content[position + 4 : position + 6]
        if representation in _LONG:
            length, value = struct.unpack_from("<L", content, position + 8)[0], position + 12
        else:
            length, value = struct.unpack_from("<H", content, position + 6)[0], position + 8
        if not representation.isalpha() or value + length > len(content):
            break
        found.append((tag, representation, content[value : value + length]))
        position = value + length
    return found, content[position:]


def _written(element: Element) -> bytes:
    tag, representation, value = element
    value += b"\0" * (len(value) % 2)
    if representation in _LONG:
        return tag + representation + struct.pack("<HL", 0, len(value)) + value
    value = value[:65_534]
    return tag + representation + struct.pack("<H", len(value)) + value


def _nested(element: Element, rng: np.random.Generator) -> bytes:
    """Items in items, with lengths or open, around an element."""
    inner = _written(element)
    for _ in range(int(_pick(rng, (1, 2, 3, 15, 17, 60)))):
        is_open = rng.random() < 0.5
        length = _UNDEFINED if is_open else len(inner)
        inner = _ITEM + struct.pack("<L", length) + inner + ((_ITEM_END + bytes(4)) if is_open else b"")
        if rng.random() < 0.5:
            inner = element[0] + b"SQ" + struct.pack("<HL", 0, _UNDEFINED) + inner + _SEQUENCE_END + bytes(4)
    return inner


def _with_syntax(content: bytes, syntax: bytes) -> bytes:
    """Another transfer syntax in group 2, whose length is right."""
    end = _start_of_data_set(content)
    elements, _ = _elements(content[:end], _PREAMBLE + 12)
    meta = b"".join(
        _written((tag, kind, syntax if tag == b"\x02\x00\x10\x00" else value)) for tag, kind, value in elements
    )
    return content[: _PREAMBLE + 8] + struct.pack("<L", len(meta)) + meta + content[end:]


# NIfTI

_FIRST: Final = {
    "dim": ("8h", 40), "datatype": ("h", 70), "bitpix": ("h", 72), "pixdim": ("8f", 76), "vox_offset": ("f", 108),
    "scale": ("2f", 112), "units": ("B", 123), "toffset": ("f", 136), "forms": ("2h", 252), "quatern": ("6f", 256),
    "affine": ("12f", 280), "magic": ("4s", 344), "extension": ("4B", 348), "esize": ("2i", 352),
}  # fmt: skip
_SECOND: Final = {
    "magic": ("4s", 4), "datatype": ("h", 12), "bitpix": ("h", 14), "dim": ("8q", 16), "pixdim": ("8d", 80),
    "vox_offset": ("q", 168), "scale": ("2d", 176), "toffset": ("d", 216), "forms": ("2i", 344), "quatern": ("6d", 352),
    "affine": ("12d", 400), "units": ("i", 500), "extension": ("4B", 540), "esize": ("2i", 544),
}  # fmt: skip
_WHOLE: Final = (-1, 0, 1, 2, 3, 4, 5, 7, 8, 16, 32, 64, 128, 255, 256, 512, 768, 1024, 1280, 1792, 2048, 2304, 32_767)
_REAL: Final = (0.0, -0.0, -1.0, 0.5, 1e-45, 1e-30, 3e38, -3e38, float("nan"), float("inf"), float("-inf"), 352.0, 1e9)


def in_nifti(content: bytes, rng: np.random.Generator) -> bytes:
    """One number of a header of NIfTI-1 or 2, of either byte order."""
    if content[:2] == b"\x1f\x8b":
        return _within_gzip(content, rng, in_nifti)
    order = ">" if content[:2] == b"\0\0" else "<"
    is_second = content[:4] in (struct.pack("<i", 540), struct.pack(">i", 540))
    form, at = _pick(rng, list((_SECOND if is_second else _FIRST).values()))
    kind, n = form[-1], int(form[:-1] or 1)
    one = struct.calcsize(f"{order}{kind}") if kind != "s" else n
    place = at + (int(rng.integers(n)) * one if kind != "s" else 0)
    if place + one > len(content):
        return content
    return content[:place] + _number(order, kind, rng) + content[place + one :]


def _number(order: str, kind: str, rng: np.random.Generator) -> bytes:
    if kind == "s":
        return bytes(_pick(rng, (b"n+1\0", b"ni1\0", b"n+2\0", b"ni2\0", b"\0\0\0\0", b"n+9\0")))
    if kind in "fd":
        return struct.pack(f"{order}{kind}", _pick(rng, _REAL))
    value = int(_pick(rng, (*_WHOLE, *((2**31 - 1, 2**31, 2**62) if kind == "q" else ()))))
    bits = 8 * struct.calcsize(f"{order}{kind}")
    return (value % 2**bits).to_bytes(bits // 8, "big" if order == ">" else "little")


def _within_gzip(content: bytes, rng: np.random.Generator, edit: Edit) -> bytes:
    try:
        plain = gzip.decompress(content)
    except Exception:  # noqa: BLE001  an earlier change may have done anything to it
        return content
    return gzip.compress(edit(plain, rng), 1, mtime=0)


# zip: its list of members, whatever it says of them

_LISTED: Final = {
    "version": ("<H", 6), "flags": ("<H", 8), "method": ("<H", 10), "crc": ("<L", 16), "packed": ("<L", 20),
    "size": ("<L", 24), "n_name": ("<H", 28), "n_extra": ("<H", 30), "n_comment": ("<H", 32), "disk": ("<H", 34),
    "attributes": ("<L", 38), "place": ("<L", 42),
}  # fmt: skip
_IN_PLACE: Final = {
    "flags": ("<H", 6), "method": ("<H", 8), "packed": ("<L", 18), "size": ("<L", 22), "n_name": ("<H", 26),
    "n_extra": ("<H", 28),
}  # fmt: skip
_AT_THE_END: Final = {"n": ("<H", 8), "of": ("<H", 10), "bytes": ("<L", 12), "place": ("<L", 16), "comment": ("<H", 20)}
_PARTS: Final = ((b"PK\x01\x02", _LISTED), (b"PK\x03\x04", _IN_PLACE), (b"PK\x05\x06", _AT_THE_END))
_CODES: Final = (0, 1, 8, 9, 12, 14, 20, 45, 64, 93, 95, 99, 0x800, 0xFFFF, 2**31, 0xFFFFFFFE, 0xFFFFFFFF, 0xA1FF0000)
_NAMES: Final = (b"../", b"/", b"C:\\", b"a\0b", b"\xff\xfe", "Müller".encode(), b"__MACOSX/", b".zip", b"\\")


def in_list_of_zip(content: bytes, rng: np.random.Generator) -> bytes:
    """One number or one name in the list of members, in a member's own header or in the end of a zip."""
    mark, fields = _pick(rng, _PARTS)
    places = [at for at in _places(content, mark) if at + 46 <= len(content) or mark == b"PK\x05\x06"]
    if not places:
        return content
    at = _pick(rng, places)
    if mark == b"PK\x01\x02" and rng.random() < 0.25:
        name = bytes(_pick(rng, _NAMES))
        return content[: at + 46] + name + content[at + 46 + len(name) :]
    form, offset = _pick(rng, list(fields.values()))
    size = struct.calcsize(form)
    value = struct.pack(form, int(_pick(rng, _CODES)) % 2 ** (8 * size))
    return content[: at + offset] + value + content[at + offset + size :]


def _places(content: bytes, mark: bytes) -> list[int]:
    found, at = list[int](), content.find(mark)
    while at >= 0 and len(found) < 300:
        found.append(at)
        at = content.find(mark, at + 4)
    return found


# safetensors, tables, keys with values


def in_safetensors(content: bytes, rng: np.random.Generator) -> bytes:
    """The header in JSON, whose length is right again."""
    if len(content) < 8:
        return content
    (n,) = struct.unpack_from("<Q", content)
    header = content[8 : 8 + n] if n < len(content) else b"{}"
    try:
        told = json.loads(header)
        name = _pick(rng, [*told, "new"])
        told[name] = _pick(rng, _TENSORS)
        new = json.dumps(told).encode()
    except (ValueError, TypeError, RecursionError):
        new = changed(header, rng)
    return struct.pack("<Q", len(new)) + new + content[8 + n :]


_TENSORS: Final = (
    {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, {"dtype": "F32", "shape": [], "data_offsets": [0, 4]},
    {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 24]},
    {"dtype": "Q9", "shape": [1], "data_offsets": []}, {"dtype": "F8_E4M3", "shape": [24], "data_offsets": [0, 24]},
    {"dtype": "F32", "shape": [-1], "data_offsets": [4, 0]},
    {"dtype": "BOOL", "shape": [24], "data_offsets": [0, 24]}, None, [], "x", {"format": "pt"}, {"a": [[[[1]]]]},
)  # fmt: skip
_CELLS: Final = (
    b"", b'""', b'"a,b"', b'"a\nb"', b'"', b"nan", b"NA", b"None", b"-0", b"1e400", b"1e-400", b"007", b"0x1F",
    b"1_000", "\uff11\uff12".encode(), "\u0663".encode(), b"=1+1", b"True", b"2020-13-45", b"\xe9", b" 1 ", b"9" * 5000,
    "\u202e\ufeff".encode(), b"[" * 3000, b"[1", b"1e3081000010",
)  # fmt: skip
_SIGNS: Final = ((b",", b";"), (b",", b"\t"), (b"\n", b"\r"), (b"\n", b"\r\n"), (b"\n", b""))
_ENCODINGS: Final = ("utf-16", "utf-8-sig", "latin-1", "utf-32-be", "cp037")


def in_cells(content: bytes, rng: np.random.Generator) -> bytes:
    """One cell or column of a table, its separator, its ends of lines, or its encoding."""
    choice = int(rng.integers(6))
    if choice == 0:
        return content.decode("utf-8", "replace").encode(_pick(rng, _ENCODINGS), "replace")
    if choice == 1:
        return content.replace(*_pick(rng, _SIGNS))
    separator = b"\t" if b"\t" in content else b","
    rows = [line.split(separator) for line in content.split(b"\n")]
    k = int(rng.integers(max(len(row) for row in rows)))
    if choice == 2:
        rows = [row[:k] + row[k + 1 :] for row in rows]
    elif choice == 3:
        rows = [row[: k + 1] * int(_pick(rng, (1, 2, 300))) + row[k + 1 :] for row in rows]
    else:
        row = _pick(rng, rows)
        row[min(k, len(row) - 1)] = _pick(rng, _CELLS)
    return b"\n".join(separator.join(row) for row in rows)


_SCALARS: Final = (
    b"[]", b"{}", b'""', b"-1", b"0", b"1e400", b"nan", b"inf", b"true", b"null", b"~", b"9" * 5000, b'"../../x"',
    b"1.5", b"2020-01-01", b"2020-01-01T00:00:00Z", b"[[[[[[1]]]]]]", b'["a", 1]', b"{a = 1}", b"{a: 1}",
    b"!!binary aGk=",
    b"!!set {a, b}", b"!!timestamp 2020-99-99", b"&x [*x]", b"*none", b"!!python/name:os.system", b"| \n  text",
    b"'''",
    b'"\\u0000"', b'"\\ud800"', b"0o777", b"1_0", b"12:30:45",
)  # fmt: skip


def in_keys(content: bytes, rng: np.random.Generator) -> bytes:
    """One value of a key in TOML, YAML or JSON of several lines, or a key once more."""
    lines = content.split(b"\n")
    with_value = [k for k, line in enumerate(lines) if b"=" in line or b":" in line]
    if not with_value:
        return content
    k = _pick(rng, with_value)
    sign = b"=" if b"=" in lines[k] else b":"
    key, _, _ = lines[k].partition(sign)
    new = key + sign + b" " + _pick(rng, _SCALARS)
    lines[k : k + 1] = [lines[k], new] if rng.random() < 0.2 else [b"  " + new] if rng.random() < 0.1 else [new]
    return b"\n".join(lines)
