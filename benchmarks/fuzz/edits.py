"""Changes of bytes that know a little of what they change: lengths, pieces, tokens, lines, and what is packed."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence

import numpy as np

Edit = Callable[[bytes, np.random.Generator], bytes]

_NUMBERS = (0, 1, 2, 127, 128, 255, 256, 32_767, 32_768, 65_535, 65_536, 2**31 - 1, 2**31, 2**32 - 1)
_FORMS = ("<B", "<H", ">H", "<L", ">L", "<d", "<f")
_TOKENS = (
    b"1e3081000010", b"nan", b"-inf", b"1e400", b"=HYPERLINK(1)", b"../..", b"\x00", b"\xff\xfe", b"[" * 3000,
    b"{" * 500, b'"', b"\n", b"\r", b",", b";", b"\t", b"&a [*a]", b"*a", b"? [1]", b"<<:",
    b"!!python/object:os.system",
    b"\xf0\x9f\x92\x94", b"\xef\xbb\xbf", b"9" * 400, b"0x1F", b"true", b"null", b"1.2.840.10008.1.2.1.99",
    b"1.2.840.10008.1.2.4.80", b"SQ", b"UN", b"\xfe\xff\x00\xe0\xff\xff\xff\xff", b"\xfe\xff\xdd\xe0", b"PK\x03\x04",
)  # fmt: skip


def edited(content: bytes, rng: np.random.Generator, others: Sequence[bytes], edits: Sequence[Edit]) -> bytes:
    """``content`` after one to six changes; ``others`` lend pieces, ``edits`` are those of its kind."""
    for _ in range(int(rng.integers(1, 7))):
        choice = rng.integers(0, 7 + 2 * len(edits))
        if choice >= 7:
            content = edits[(choice - 7) // 2](content, rng)
        elif choice == 6:
            content = _spliced(content, others[int(rng.integers(len(others)))], rng)
        else:
            content = _EVERYWHERE[choice](content, rng)
    return content


def _place(content: bytes, rng: np.random.Generator) -> int:
    """A place, more often near the beginning, where headers are, or the end."""
    near = rng.random()
    if near < 0.6:
        return int(rng.integers(0, min(len(content), 1200) + 1))
    if near < 0.75:
        return max(0, len(content) - int(rng.integers(0, 200)))
    return int(rng.integers(0, len(content) + 1))


def _flip(content: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(content)
    for _ in range(int(rng.integers(1, 9)) if changed else 0):
        changed[min(_place(content, rng), len(changed) - 1)] = int(rng.integers(256))
    return bytes(changed)


def _number(content: bytes, rng: np.random.Generator) -> bytes:
    """A number where a length or a count may be."""
    form, value = _FORMS[int(rng.integers(len(_FORMS)))], _NUMBERS[int(rng.integers(len(_NUMBERS)))]
    bits = 8 * struct.calcsize(form)
    packed = struct.pack(form, float(value) ** 9 if form[1] in "d" else value % 2**bits if form[1] in "BHL" else value)
    at = _place(content, rng)
    return content[:at] + packed + content[at + len(packed) :]


def _token(content: bytes, rng: np.random.Generator) -> bytes:
    at, token = _place(content, rng), _TOKENS[int(rng.integers(len(_TOKENS)))]
    return content[:at] + token + content[at + (len(token) if rng.random() < 0.5 else 0) :]


def _cut(content: bytes, rng: np.random.Generator) -> bytes:
    at = _place(content, rng)
    return content[:at] if rng.random() < 0.4 else content[:at] + content[at + int(rng.integers(1, 200)) :]


def _repeat(content: bytes, rng: np.random.Generator) -> bytes:
    at, n = _place(content, rng), int(rng.integers(1, 400))
    return content[:at] + content[at : at + n] * int(rng.integers(2, 5)) + content[at:]


def _line(content: bytes, rng: np.random.Generator) -> bytes:
    """Two lines exchanged, or one left out."""
    lines = content.split(b"\n")
    first, second = (int(rng.integers(len(lines))) for _ in range(2))
    lines[first], lines[second] = lines[second], lines[first]
    return b"\n".join(lines[:-1] if rng.random() < 0.2 else lines)


_EVERYWHERE: tuple[Edit, ...] = (_flip, _number, _token, _cut, _repeat, _line)


def changed(content: bytes, rng: np.random.Generator) -> bytes:
    """``content`` after one change that knows nothing of its format."""
    return _EVERYWHERE[int(rng.integers(len(_EVERYWHERE)))](content, rng)


def _spliced(content: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    return content[: _place(content, rng)] + other[_place(other, rng) :]


# what is packed: changed within, and packed again with a checksum that is right


def in_zip(content: bytes, rng: np.random.Generator) -> bytes:
    """One member of a zip changed; the zip as it is if it cannot be read."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {info.filename: archive.read(info) for info in archive.infolist()[:64]}
            methods = {info.filename: info.compress_type for info in archive.infolist()}
    except Exception:  # noqa: BLE001  an earlier change may have done anything to it
        return content
    if not members:
        return content
    name = sorted(members)[int(rng.integers(len(members)))]
    members[name] = _EVERYWHERE[int(rng.integers(5))](members[name], rng)
    if rng.random() < 0.1:
        del members[name]
    return zipped(members, methods)


def zipped(members: dict[str, bytes], methods: dict[str, int] | None = None) -> bytes:
    """A zip of ``members``; packed unless ``methods`` say otherwise."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, member in members.items():
            archive.writestr(zipfile.ZipInfo(name), member, (methods or {}).get(name, zipfile.ZIP_DEFLATED))
    return buffer.getvalue()


def in_gzip(content: bytes, rng: np.random.Generator) -> bytes:
    """A gzip stream changed within."""
    try:
        plain = gzip.decompress(content)
    except Exception:  # noqa: BLE001  an earlier change may have done anything to it
        return content
    return gzip.compress(_EVERYWHERE[int(rng.integers(5))](plain, rng), 1, mtime=0)


def in_png(content: bytes, rng: np.random.Generator) -> bytes:
    """One chunk of a PNG changed, its checksum right again."""
    if len(content) < 45:
        return content
    chunks, position = list[tuple[bytes, bytes]](), 8
    while position + 12 <= len(content) and len(chunks) < 64:
        (n,) = struct.unpack_from(">L", content, position)
        chunks.append((content[position + 4 : position + 8], content[position + 8 : position + 8 + n]))
        position += 12 + n
    k = int(rng.integers(len(chunks)))
    kind, data = chunks[k]
    chunks[k] = (kind, _EVERYWHERE[int(rng.integers(5))](data, rng)[: 2**16])
    return content[:8] + b"".join(
        struct.pack(">L", len(data)) + kind + data + struct.pack(">L", zlib.crc32(kind + data)) for kind, data in chunks
    )
