"""Any bytes give a result or the documented error of their reader: a short run of `make fuzz`, and its own parts."""

import gzip
import io
import mmap
import zipfile
from pathlib import Path

import numpy as np
import pytest

from benchmarks.fuzz import seeds
from benchmarks.fuzz.__main__ import counts
from benchmarks.fuzz.cases import TooLongError, content_of, run_case
from benchmarks.fuzz.edits import in_gzip, in_png, in_zip
from benchmarks.fuzz.pool import run_all
from benchmarks.fuzz.readers import READERS, Reader

_CASES_A_SHARE = 16


def test_any_bytes_give_a_result_or_the_documented_error() -> None:
    """In processes of their own: the first cases are what ended one before."""
    shares = {reader.name: len(reader.seeds()) + _CASES_A_SHARE * reader.share for reader in READERS}
    assert sum(shares.values()) > 2000
    assert run_all(shares, seed=7, first=0, n_processes=2) == []


def test_a_case_follows_from_seed_reader_and_number() -> None:
    reader = READERS[1]
    assert content_of(reader, 1, 0) == seeds.dicom()[0]
    assert content_of(reader, 1, 99) == content_of(reader, 1, 99)
    assert content_of(reader, 1, 99) != content_of(reader, 2, 99)
    assert content_of(reader, 1, 99) != content_of(reader, 1, 100)


def test_cases_are_divided_by_shares_and_none_is_without() -> None:
    two = [Reader("a", 3, list, print), Reader("b", 1, list, print)]
    assert counts(two, 400) == {"a": 300, "b": 100}
    assert counts(two, 1) == {"a": 1, "b": 1}


def _broken(content: bytes, _folder: Path) -> None:
    raise KeyError("not documented")


def _slow(content: bytes, _folder: Path) -> None:
    raise TooLongError


def _greedy(content: bytes, _folder: Path) -> bytes:
    """New memory, whatever this process has freed and kept."""
    with mmap.mmap(-1, 600 * 2**20) as area:
        for at in range(0, len(area), mmap.PAGESIZE):
            area[at] = 1
    return b""


@pytest.mark.parametrize(("read", "kind"), [(_broken, "KeyError at test_fuzz.py"), (_slow, "hang"), (_greedy, " MB")])
def test_what_is_not_documented_is_found(read: object, kind: str, tmp_path: Path) -> None:
    reader = Reader("DICOM header", 1, lambda: [b"a"], read)  # type: ignore[arg-type]
    assert kind in run_case(reader, 1, 0, tmp_path)


def test_documented_errors_are_none(tmp_path: Path) -> None:
    assert run_case(Reader("DICOM header", 1, lambda: [b"a"], _broken, (KeyError,)), 1, 0, tmp_path) == ""


def test_what_is_packed_is_changed_within_and_packed_again() -> None:
    rng = np.random.default_rng(1)
    (whole, *_), (grey, *_) = seeds.archives(), seeds.png()
    changed = [in_zip(whole, rng) for _ in range(5)]
    assert all(zipfile.ZipFile(io.BytesIO(one)).testzip() is None for one in changed)
    assert len({*changed, whole}) > 3
    packed = gzip.compress(bytes(range(200)))
    assert gzip.decompress(in_gzip(packed, rng)) != bytes(range(200))
    assert in_png(grey, rng)[:8] == grey[:8]
    assert (in_zip(b"no zip", rng), in_gzip(b"none", rng), in_png(b"none", rng)) == (b"no zip", b"none", b"none")
