"""Simulated first passes as ISMRMRD: read back by its own package, they are what was simulated, where DICOM puts it."""

import io
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from cmr_models.simulate.dicom import Session
from cmr_models.simulate.perfusion import MYOCARDIAL_SERIES, SimulatedScan, simulated_scan
from cmr_models.simulate.perfusion.dicom import encode_scan
from cmr_models.simulate.perfusion.ismrmrd import write_ismrmrd

START_S = 86340.0  # the first beat is ten seconds before midnight, the last after it
SESSION = Session("P1", "2.25.1", "2.25.2", "20200102", START_S, weight_kg=71.5, sex="F")
FRAMES, PD = 20, 3
GROUPS = {
    "myocardium": 3 * FRAMES,
    "myocardium_proton_density": 3 * PD,
    "aif": 2 * FRAMES,
    "aif_proton_density": PD,
}


@pytest.fixture(scope="module")
def scan() -> SimulatedScan:
    small = replace(MYOCARDIAL_SERIES, rows=80, cols=72, pixel_mm=3.2)
    return simulated_scan(np.random.default_rng(4), stress=True, frames=FRAMES, myocardium=small)


@pytest.fixture(scope="module")
def read(scan: SimulatedScan, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, list[Any]], Any]:
    """Images by group and the XML header, as the package reads them."""
    ismrmrd = pytest.importorskip("ismrmrd", reason="ismrmrd is not installed: pip install cmr-cohort[ismrmrd]")
    file = tmp_path_factory.mktemp("ismrmrd") / "scan.h5"
    write_ismrmrd(scan, file, SESSION, stress=True, start_s=50.0)
    with ismrmrd.Dataset(str(file), create_if_needed=False) as dataset:
        groups = [name for name in dataset.list() if name != "xml"]
        images = {g: [dataset.read_image(g, k) for k in range(dataset.number_of_images(g))] for g in groups}
        return images, ismrmrd.xsd.CreateFromDocument(dataset.read_xml_header())


def test_every_image_is_there_once(read: tuple[dict[str, list[Any]], Any]) -> None:
    images, _ = read
    assert {group: len(found) for group, found in images.items()} == GROUPS
    places = [
        (group, i.set, i.slice, i.contrast, i.repetition)  # one of each
        for group, found in images.items()
        for i in found
    ]
    assert len(set(places)) == sum(GROUPS.values())


def test_pixels_come_back_as_they_were_simulated(scan: SimulatedScan, read: tuple[dict[str, list[Any]], Any]) -> None:
    images, _ = read
    levels = list(scan.myocardium.values())
    for group, found in images.items():
        for image in found:
            assert image.set == int(group.startswith("aif"))
            one = scan.aif if image.set else levels[image.slice]
            if group.endswith("proton_density"):
                expected = one.proton_density[..., image.repetition]
            else:
                expected = one.images[image.contrast, ..., image.repetition - PD]
            assert image.data.dtype == np.float32
            np.testing.assert_array_equal(image.data[0, 0], expected)


def test_times_places_and_sequence_are_those_of_the_dicom_files(
    scan: SimulatedScan, read: tuple[dict[str, list[Any]], Any]
) -> None:
    files = encode_scan(np.random.default_rng(1), scan, SESSION, stress=True, start_s=50.0)
    headers = [pydicom.dcmread(io.BytesIO(content)) for _, content in files]
    dicom = {(int(h.SeriesNumber), int(h.InstanceNumber)): h for h in headers}
    images = [image for found in read[0].values() for image in found]
    assert sorted(dicom) == sorted((i.image_series_index, i.image_index) for i in images)
    for image in images:
        _agree(image, dicom[image.image_series_index, image.image_index])


def _agree(image: Any, header: pydicom.Dataset) -> None:
    clock = str(header.AcquisitionTime)
    seconds = int(clock[:2]) * 3600 + int(clock[2:4]) * 60 + float(clock[4:])
    assert image.acquisition_time_stamp == pytest.approx(seconds * 1000, abs=0.51)
    assert image.meta["SeriesDescription"] == header.SeriesDescription
    for name in ("EchoTime", "InversionTime", "FlipAngle", "RepetitionTime"):
        assert float(image.meta[name]) == pytest.approx(float(header[name].value), rel=1e-3)
    read_dir, phase_dir = (np.array(v[:], float) for v in (image.read_dir, image.phase_dir))
    np.testing.assert_allclose([*read_dir, *phase_dir], header.ImageOrientationPatient, atol=1e-5)
    np.testing.assert_allclose(image.slice_dir[:], np.cross(read_dir, phase_dir), atol=1e-6)
    cols, rows = image.matrix_size[:2]
    assert (rows, cols) == (header.Rows, header.Columns)
    pixel = np.array(image.field_of_view[:2]) / (cols, rows)
    np.testing.assert_allclose(pixel, header.PixelSpacing, rtol=1e-5)
    assert image.field_of_view[2] == pytest.approx(float(header.SliceThickness))
    corner = np.array(image.position[:]) - (cols - 1) / 2 * pixel[0] * read_dir - (rows - 1) / 2 * pixel[1] * phase_dir
    np.testing.assert_allclose(corner, np.array(header.ImagePositionPatient, float), atol=1e-3)


def test_stamps_follow_the_beats_and_begin_anew_at_midnight(
    scan: SimulatedScan, read: tuple[dict[str, list[Any]], Any]
) -> None:
    mid = sorted((i for i in read[0]["myocardium"] if i.slice == 1), key=lambda i: i.repetition)
    stamps_ms = np.array([i.acquisition_time_stamp for i in mid], float)
    day_ms = 86400 * 1000
    assert stamps_ms[0] == START_S * 1000 + 50000
    assert stamps_ms[-1] < stamps_ms[0]
    np.testing.assert_allclose((stamps_ms - stamps_ms[0]) % day_ms / 1000, scan.aif.time_s, atol=1e-3)


def test_the_xml_header_tells_the_visit_and_both_sequences(read: tuple[dict[str, list[Any]], Any]) -> None:
    header = read[1]
    assert header.subjectInformation.patientID == "P1"
    assert header.subjectInformation.patientWeight_kg == 71.5
    assert str(header.studyInformation.studyDate) == "2020-01-02"
    assert header.measurementInformation.frameOfReferenceUID == "2.25.2"
    myocardium, aif = header.encoding
    sizes = [(e.reconSpace.matrixSize.y, e.reconSpace.matrixSize.x) for e in (myocardium, aif)]
    assert sizes == [(80, 72), (64, 52)]
    assert myocardium.reconSpace.fieldOfView_mm.x == pytest.approx(72 * 3.2)
    assert myocardium.encodingLimits.slice.maximum == 2
    assert aif.encodingLimits.contrast.maximum == 1
    assert aif.encodingLimits.repetition.maximum == PD + FRAMES - 1
    assert (myocardium.encodingLimits.set.minimum, aif.encodingLimits.set.maximum) == (0, 1)


def test_a_file_that_exists_is_kept(scan: SimulatedScan, tmp_path: Path) -> None:
    pytest.importorskip("ismrmrd", reason="ismrmrd is not installed: pip install cmr-cohort[ismrmrd]")
    file = tmp_path / "scan.h5"
    file.write_text("older")
    with pytest.raises(FileExistsError):
        write_ismrmrd(scan, file, SESSION, stress=True)
    assert file.read_text() == "older"


def test_a_missing_package_is_told_with_its_extra(
    scan: SimulatedScan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ismrmrd", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install cmr-cohort\[ismrmrd\]"):
        write_ismrmrd(scan, tmp_path / "scan.h5", SESSION, stress=True)
    assert not list(tmp_path.iterdir())


def test_a_scan_without_myocardial_series_is_refused(scan: SimulatedScan, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one myocardial series, got none"):
        write_ismrmrd(replace(scan, myocardium={}), tmp_path / "scan.h5", SESSION, stress=True)
