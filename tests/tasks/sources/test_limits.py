"""Five kilobytes do not become gigabytes: what is read and decoded of a study is bounded, whatever its files claim."""

import gzip
import json
import struct
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless

from benchmarks.fuzz import seeds
from cmr_models.reasons import StudyRejected
from tasks.convert.conversion import convert_study
from tasks.convert.nifti import read_volume
from tasks.convert.settings import ConvertSettings
from tasks.sources import inventory
from tasks.sources.dicom import read_header, read_images
from tasks.sources.dicom.by_pydicom import header_with_pydicom
from tasks.sources.dicom.codestreams import bare, codestream_shape, unpacked_size
from tasks.sources.limits import Budget, Limits, read_file

_MB = 2**20
_MEASURE = """
import json, resource, sys
from pathlib import Path
from tasks.convert.conversion import convert_study
from tasks.convert.settings import ConvertSettings
from tasks.sources import inventory
import tasks.sources.dicom.by_pydicom, tasks.convert.nifti, tasks.convert.landmark_images  # noqa
def peak():
    return int(next(l for l in open("/proc/self/status") if l.startswith("VmHWM")).split()[1])
before = peak()
folder = Path(sys.argv[1])
reasons = [
    convert_study({**unit, "key": "k"}, str(folder.parent / "out"), ConvertSettings().model_dump()).reason
    for unit in inventory([folder]).units
]
print(json.dumps({"reasons": reasons, "grown_mb": (peak() - before) // 1024}))
"""


def _measured(folder: Path) -> tuple[list[str], int]:
    """Reasons of the studies in a folder, and by how many MB the process that converts them grew."""
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, str(folder)], capture_output=True, text=True, timeout=120, check=True
    )
    found = json.loads(done.stdout)
    return found["reasons"], found["grown_mb"]


# the budget


def test_bytes_and_pixels_are_taken_from_the_budget_of_the_study_until_it_is_spent() -> None:
    budget = Budget(Limits(max_total_bytes=100, max_decoded_bytes=60, max_image_bytes=40), n_packed=10)
    budget.inflate(60)
    budget.inflate(40)
    with pytest.raises(StudyRejected, match="study_too_large"):
        budget.inflate(1)
    budget.decode(40)
    budget.decode(20)
    with pytest.raises(StudyRejected, match=r"study_too_large.*max_decoded_mb"):
        budget.decode(1)
    assert (budget.holds(40), budget.holds(41)) == (True, False)


def test_what_expands_more_than_any_image_does_is_refused_beyond_the_free_bytes() -> None:
    budget = Budget(Limits(free_bytes=100, max_ratio=3), n_packed=10)
    assert budget.left_to_inflate == 100 + 3 * 10
    budget.decode(130)
    with pytest.raises(StudyRejected, match="from 10 bytes, as no image does"):
        budget.decode(1)


def test_files_that_are_too_large_together_are_refused_before_they_are_read(tmp_path: Path) -> None:
    with pytest.raises(StudyRejected, match=r"5000 MB; 4096 MB are permitted .convert.max_inflated_mb"):
        Budget(n_packed=5000 * _MB)
    path = tmp_path / "a"
    path.write_bytes(bytes(11))
    assert read_file(path, 11) == bytes(11)
    with pytest.raises(StudyRejected, match="study_too_large"):
        read_file(path, 10)


def test_the_settings_become_limits_and_leave_the_keys_of_studies_as_they_were() -> None:
    settings = ConvertSettings(max_inflated_mb=80, max_decoded_mb=40, max_ratio=7)
    limits = settings.limits
    assert (limits.max_total_bytes, limits.max_member_bytes) == (80 * _MB, 10 * _MB)
    assert (limits.max_decoded_bytes, limits.max_image_bytes, limits.max_ratio) == (40 * _MB, 10 * _MB, 7)
    assert ConvertSettings().that_decide() == {"frames_missing_max": 0.2, "max_inflated_mb": 4096}
    assert settings.that_decide() == {
        "frames_missing_max": 0.2, "max_inflated_mb": 80, "max_decoded_mb": 40, "max_ratio": 7,
    }  # fmt: skip


# codestreams


@pytest.mark.parametrize("syntax", [JPEGLSLossless, JPEG2000Lossless])
def test_a_codestream_says_how_many_pixels_it_holds(syntax: str) -> None:
    ds = seeds.image(side=48)
    ds.Rows, ds.Columns = 36, 64  # as many pixels as 48 x 48
    ds.compress(syntax)
    start = 12 + 8  # a table with one offset, and the tag and length of the first fragment
    assert codestream_shape(ds.PixelData[start:]) == (36, 64, 1)


@pytest.mark.parametrize(
    "frame", [b"", b"\xff\xd8", b"\xff\xd8\xff\xe0\x00\x02", b"\xff\x4f\xff\x51\x00", b"\x00" * 80]
)
def test_a_codestream_that_does_not_say_is_damaged(frame: bytes) -> None:
    with pytest.raises(ValueError, match="codestream"):
        codestream_shape(frame)


def test_packed_runs_are_counted_as_the_standard_says() -> None:
    three_bytes, nothing, run_of_128 = bytes([2, 7, 8, 9]), bytes([128]), bytes([129, 5])
    assert unpacked_size(three_bytes + nothing + run_of_128) == 3 + 0 + 128


@pytest.mark.parametrize(("name", "content"), seeds.codestream_bombs())
def test_a_codestream_is_not_decoded_unless_the_header_says_the_same_and_it_fits(name: str, content: bytes) -> None:
    (image,) = read_images(content)
    assert image.pixels is None
    assert image.fault == ("image_too_large" if "header" in name else "pixel_data_contradict")


# whole studies, in a process of their own


def _of_jpeg_ls(folder: Path) -> None:
    for k, (_, content) in enumerate(seeds.codestream_bombs(side=16_000)):
        (folder / f"{k}.dcm").write_bytes(content)


def _deflated(folder: Path) -> None:
    (folder / "a.dcm").write_bytes(seeds.deflated_bomb(1024 * _MB))


def _deflated_behind_group_2(folder: Path) -> None:
    (folder / "a.dcm").write_bytes(seeds.deflated_bomb(1024 * _MB, group_2_bytes=3000))


def _pngs(folder: Path) -> None:
    place = folder / "landmark/training/lax_2c/images"
    place.mkdir(parents=True)
    content = seeds.png_bomb(8192)
    for k in range(30):
        (place / f"0001__{k:02}.png").write_bytes(content)


def _niftis(folder: Path) -> None:
    content = gzip.compress(seeds.nifti()[0][:352] + bytes(600 * _MB))
    for k in range(3):
        (folder / f"p_sax_frame{k}.nii.gz").write_bytes(content)


def _sparse(folder: Path) -> None:
    with (folder / "a.dcm").open("wb") as file:
        file.write(bytes(128) + b"DICM")
        file.truncate(20 * 2**30)


def _zip_of_jpeg_ls(folder: Path) -> None:
    with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for k, (_, content) in enumerate(seeds.codestream_bombs(side=10_000) * 4):
            archive.writestr(f"{k}.dcm", content)


@pytest.mark.parametrize(
    "make",
    [_of_jpeg_ls, _deflated, _deflated_behind_group_2, _pngs, _niftis, _sparse, _zip_of_jpeg_ls],
)
def test_small_files_that_claim_gigabytes_take_little_memory(make: object, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    make(folder)  # type: ignore[operator]
    reasons, grown_mb = _measured(folder)
    assert len(reasons) == 1
    assert reasons[0] in (
        "study_too_large", "image_too_large", "pixel_data_contradict", "nifti_too_large", "dicom_corrupt", "no_dicom",
    )  # fmt: skip
    assert grown_mb < 700


def test_a_legal_deflated_file_beyond_the_first_bytes_is_a_study(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(seeds.long_deflated())
    (unit,) = inventory([tmp_path]).units
    assert unit["participant"] == "P1"
    (image,) = read_images(seeds.long_deflated())
    assert image.pixels is not None
    assert image.pixels.shape == (256, 256)


@pytest.mark.parametrize("content", [seeds.odd_group_2(), b"\0" * 128 + b"DICM" + bytes(70_000)])
def test_a_damaged_header_keeps_no_other_study_from_being_found(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "good").mkdir()
    (tmp_path / "good/a.dcm").write_bytes(seeds.dicom()[0])
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/b.dcm").write_bytes(content)
    units = inventory([tmp_path]).units
    assert len(units) == 2
    outcomes = {
        unit["participant"]: convert_study({**unit, "key": "k"}, str(tmp_path / "out"), ConvertSettings().model_dump())
        for unit in units
    }
    assert "P1" in outcomes
    assert {outcome.reason for name, outcome in outcomes.items() if name != "P1"} == {"dicom_corrupt"}


def test_three_series_of_a_hundred_perfusion_frames_fit_with_room(tmp_path: Path) -> None:
    pixels = np.zeros((300, 256, 256), np.uint16)
    limits = ConvertSettings().limits
    Budget(limits, n_packed=pixels.nbytes).decode(pixels.nbytes)
    assert pixels.nbytes * 10 < limits.max_decoded_bytes


def test_a_codestream_in_a_box_before_the_image_is_what_is_decoded() -> None:
    """Boxes before the codestream could show one size and hold another."""
    shown, hidden = b"\xff\x4f\xff\x51" + bytes(8) + b"shown", b"\xff\x4f\xff\x51" + bytes(8) + b"hidden"
    assert bare(b"\0\0\0\x0cjP  " + shown + hidden) == shown + hidden
    assert bare(shown) == shown


def test_frames_of_one_pixel_count_two_kilobytes_each() -> None:
    content = seeds.dicom_bytes(seeds.image(side=1, n_frames=50_000))
    with pytest.raises(StudyRejected, match="decodes to 98 MB"):
        read_images(content, Budget(n_packed=1000))


def test_scaled_numbers_count_as_the_eight_bytes_that_they_become() -> None:
    volume = nib.Nifti1Image(np.zeros((1000, 1000, 9), np.uint8), np.eye(4))
    content = bytearray(volume.to_bytes())
    content[112:120] = struct.pack("<ff", 1.5, 0.25)
    packed = gzip.compress(bytes(content), 9)  # some 9 kB; as doubles 72,000,000 bytes
    with pytest.raises(StudyRejected, match="decodes to 69 MB"):
        read_volume(packed, Budget(n_packed=len(packed)))


def test_empty_members_of_a_gzip_take_time_by_their_number_not_its_square() -> None:
    content = gzip.compress(b"", mtime=0) * 200_000
    start = time.process_time()
    with pytest.raises(StudyRejected) as caught:
        read_volume(content, Budget(n_packed=len(content)))
    assert caught.value.reason == "nifti_corrupt"
    assert time.process_time() - start < 5.0


# elements of headers


def test_elements_are_taken_from_the_budget_until_it_is_spent() -> None:
    budget = Budget(Limits(free_elements=5), n_packed=7)
    budget.parse(12)
    with pytest.raises(StudyRejected, match="far more elements"):
        budget.parse()


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless])
@pytest.mark.parametrize("is_open", [True, False])
def test_empty_items_are_counted_before_they_are_made(syntax: str, is_open: bool) -> None:
    content = seeds.empty_items(3000, is_open=is_open, syntax=syntax)
    for read in (read_images, read_header):
        assert read(content, Budget(n_packed=len(content)))
        is_direct = syntax == ExplicitVRLittleEndian or read is read_header  # pydicom reads only compressed pixels
        if is_open or not is_direct:  # else its length tells where it ends
            with pytest.raises(StudyRejected, match="far more elements"):
                read(content, Budget(Limits(free_elements=2900)))


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless])
def test_empty_elements_are_counted(syntax: str) -> None:
    with pytest.raises(StudyRejected, match="far more elements"):
        read_header(seeds.empty_elements(3000, syntax), Budget(Limits(free_elements=2900)))


def _zip_of(content: bytes, n: int, path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for k in range(n):
            archive.writestr(f"{k}.dcm", content)
    return path


_HOSTILE_HEADERS = {
    "items in a header that is cut off": (lambda: seeds.empty_items(8100, is_open=True, syntax=RLELossless), 2000),
    "elements": (lambda: seeds.empty_elements(8100), 4000),
    "deflated": (lambda: seeds.deflated_bomb(4 * _MB), 5000),
}


@pytest.mark.parametrize("name", _HOSTILE_HEADERS)
def test_headers_of_a_hostile_archive_do_not_hold_up_the_others(name: str, tmp_path: Path) -> None:
    make, n = _HOSTILE_HEADERS[name]
    _zip_of(make(), n, tmp_path / "bad.zip")
    _zip_of(seeds.dicom()[0], 1, tmp_path / "good.zip")
    start = time.process_time()
    units = {unit["participant"]: unit for unit in inventory([tmp_path]).units}
    assert time.process_time() - start < 15.0
    assert len(units) == 2
    bad = next(unit for name, unit in units.items() if name != "P1")
    outcome = convert_study({**bad, "key": "k"}, str(tmp_path / "out"), ConvertSettings().model_dump())
    assert outcome.reason in ("study_too_large", "dicom_corrupt", "zip_bomb")
    assert time.process_time() - start < 30.0


def _with_an_unknown_representation(content: bytes) -> bytes:
    """Which the direct reader leaves to pydicom."""
    return content.replace(b"\x08\x00\x08\x00CS", b"\x08\x00\x08\x00ZZ")


_SMALL_AND_HOSTILE = {
    "items": lambda: seeds.empty_items(8100, is_open=True, syntax=RLELossless),
    "items for pydicom": lambda: _with_an_unknown_representation(
        seeds.empty_items(8100, is_open=True, syntax=RLELossless)
    ),
    "deflated": lambda: seeds.deflated_bomb(4 * _MB),
}


@pytest.mark.parametrize("name", _SMALL_AND_HOSTILE)
def test_many_small_hostile_archives_are_looked_at_in_little_time_each(name: str, tmp_path: Path) -> None:
    """Some took 1.5 s each; a look at 10,000 of them would have held up everybody for hours."""
    content = _SMALL_AND_HOSTILE[name]()
    for k in range(12):
        _zip_of(content, 25, tmp_path / f"{k}.zip")
    inventory([tmp_path / "0.zip"])  # pydicom is loaded
    start = time.process_time()
    assert inventory([tmp_path]).units
    assert time.process_time() - start < 12 * 0.5


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
def test_the_header_of_a_compressed_image_is_read_without_pydicom(syntax: str) -> None:
    content = seeds.dicom_bytes(seeds.image(3), syntax)
    budget = Budget()
    header = read_header(content, budget)
    assert header is not None
    names = ("patient_id", "study_uid", "series_number", "instance_number", "rows", "trigger_ms", "position_mm")
    assert [header.text(name) for name in names[:4]] == ["P1", "1.2.3", "1", "4"]
    by_pydicom = header_with_pydicom(content, Budget())
    assert [header.text(name) for name in names] == [by_pydicom.text(name) for name in names]
    budget.parse(budget.limits.free_elements - 100)  # it took fewer than a hundred of them


def test_the_first_bytes_tell_the_study_though_they_end_inside_a_sequence() -> None:
    content = seeds.empty_items(9000, is_open=True)[:65_536]
    budget = Budget()
    header = read_header(content, budget)
    assert header is not None
    assert header.text("study_uid") == "1.2.3"
    budget.parse(budget.limits.free_elements - 9000)  # each item was passed once


def test_a_million_empty_items_take_little_time_and_memory(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.dcm").write_bytes(seeds.empty_items(1_000_000, is_open=True, syntax=RLELossless))
    start = time.monotonic()
    reasons, grown_mb = _measured(folder)
    assert (reasons, grown_mb < 300) == (["study_too_large"], True)
    assert time.monotonic() - start < 40.0
