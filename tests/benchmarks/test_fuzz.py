"""Any bytes give a result or the documented error of their reader: a short run of `make fuzz`, and its own parts."""

import gzip
import io
import mmap
import time
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pydicom
import pytest

from benchmarks.fuzz import seeds
from benchmarks.fuzz.__main__ import counts
from benchmarks.fuzz.cases import TooLongError, content_of, run_case
from benchmarks.fuzz.edits import Edit, in_gzip, in_png, in_zip
from benchmarks.fuzz.formats import in_cells, in_dicom, in_keys, in_list_of_zip, in_nifti, in_safetensors
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


def _of(edit: Edit, content: bytes, n: int = 60) -> list[bytes]:
    return [edit(content, np.random.default_rng(k)) for k in range(n)]


def _readable(content: bytes) -> pydicom.Dataset | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return pydicom.dcmread(io.BytesIO(content), force=True)
        except Exception:  # noqa: BLE001  it is damaged on purpose
            return None


def test_one_element_of_a_dicom_file_is_another_and_all_lengths_are_right() -> None:
    whole = seeds.dicom()[0]
    changed = _of(in_dicom, whole)
    assert len(set(changed)) > 50
    n_meta = len(seeds.dicom_bytes_of_meta(whole))
    same_encoding = [one for one in changed if one[:n_meta] == whole[:n_meta]]
    files = [ds for one in same_encoding if (ds := _readable(one)) is not None]
    assert len(files) > 40  # others have another encoding, or an odd representation
    before = {element.tag: element.value for element in pydicom.dcmread(io.BytesIO(whole))}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        differ = [len(before.keys() ^ set(ds.keys())) for ds in files]
    assert np.median(differ) <= 2


def test_one_number_of_a_nifti_header_is_another() -> None:
    for whole in (seeds.nifti()[0], gzip.compress(seeds.nifti()[0], mtime=0)):
        plain = seeds.nifti()[0]
        for changed in _of(in_nifti, whole):
            there = gzip.decompress(changed) if whole is not plain else changed
            at = [k for k in range(len(plain)) if plain[k] != there[k]]
            assert len(there) == len(plain)
            assert not at or (at[-1] - at[0] < 8 and at[-1] < 360)


def test_the_list_of_a_zip_and_the_header_of_weights_are_changed_and_the_rest_is_not() -> None:
    archive = seeds.archives()[1]
    changed = _of(in_list_of_zip, archive)
    assert len(set(changed)) > 30
    assert all(
        len(one) == len(archive) and sum(a != b for a, b in zip(one, archive, strict=True)) < 12 for one in changed
    )
    weights = seeds.safetensors()[0]
    for one in _of(in_safetensors, weights):
        n = int.from_bytes(one[:8], "little")
        assert one[8 + n :] == weights[8 + int.from_bytes(weights[:8], "little") :]


def test_one_cell_or_key_is_another() -> None:
    table = b"a,b\n1,2\n3,4"
    changed = _of(in_cells, table, 300)
    assert b"a\n1\n3" in changed  # without its second column
    assert b"a;b\n1;2\n3;4" in changed
    assert any(one.startswith(b"\xff\xfea\x00") for one in changed)
    assert b"a = true\nb: 2" in _of(in_keys, b"a = 1\nb: 2", 300)
    assert b"a = 1\nb: 2\nb: ~" in _of(in_keys, b"a = 1\nb: 2", 900)
    assert in_keys(b"none", np.random.default_rng(1)) == b"none"


def _waits(content: bytes, _folder: Path) -> None:
    time.sleep(0.3)


def _works(content: bytes, _folder: Path) -> None:
    while True:
        pass


def test_a_reader_hangs_by_the_time_of_the_processor_and_not_by_the_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy machine the clock runs on while nothing is computed."""
    monkeypatch.setattr("benchmarks.fuzz.cases.SECONDS", 0.1)
    assert run_case(Reader("DICOM header", 1, lambda: [b"a"], _works), 1, 0, tmp_path) == "hang"
    assert run_case(Reader("DICOM header", 1, lambda: [b"a"], _waits), 1, 0, tmp_path) == ""
