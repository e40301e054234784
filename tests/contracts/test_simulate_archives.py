"""Archives as UK Biobank packages them: names, headers, geometry, manifest, faults, and dcm2niix on them."""

import io
import shutil
import subprocess
import zipfile

import nibabel as nib
import numpy as np
import pydicom
import pytest

from cmr_models.reasons import TABLE
from cmr_models.simulate import (
    FAULTS,
    Heart,
    HeartTraits,
    ImagingSettings,
    Packaging,
    simulate_study,
    ukb_archives,
)
from cmr_models.simulate.archive import unzipped

SETTINGS = ImagingSettings(n_frames=8, matrix=(64, 56), pixel_mm=5.0)
PLAIN = Packaging(manifest_name="manifest.cvs", spacing_tag=True)


@pytest.fixture(scope="module")
def study():
    rng = np.random.default_rng(5)
    return simulate_study(Heart(HeartTraits(), rng), SETTINGS, rng)


@pytest.fixture(scope="module")
def archives(study):
    return ukb_archives(study, eid="1000012", rng=np.random.default_rng(1), packaging=PLAIN)


def images_of(content):
    return [pydicom.dcmread(io.BytesIO(data)) for name, data in unzipped(content) if name.endswith(".dcm")]


def test_file_names_are_those_of_the_bulk_fields(archives):
    assert sorted(archives) == ["1000012_20208_2_0.zip", "1000012_20209_2_0.zip"]


def test_archives_are_the_same_for_the_same_seed_only(study, archives):
    def package(seed):
        return ukb_archives(study, eid="1000012", rng=np.random.default_rng(seed), packaging=PLAIN)

    assert package(1) == archives
    assert package(2) != archives


def test_every_file_holds_one_image_of_the_study(study, archives):
    sax = study["sax"].to_dataset()
    images = images_of(archives["1000012_20209_2_0.zip"])
    assert len(images) == sax.sizes["frame"] * sax.sizes["slice"]
    assert len({image.SOPInstanceUID for image in images}) == len(images)
    for image in images:
        k = int(image.SeriesDescription.rsplit("_b", 1)[1]) - 1
        frame = int(image.InstanceNumber) - 1
        assert np.array_equal(image.pixel_array, sax["intensity"][frame, k])
        assert np.allclose(image.ImagePositionPatient, sax["position_mm"][k], atol=1e-4)
        assert float(image.TriggerTime) == pytest.approx(float(sax["time_ms"][frame]), abs=1e-3)
        assert image.file_meta.MediaStorageSOPInstanceUID == image.SOPInstanceUID


def test_headers_are_valid_dicom(archives):
    image = images_of(archives["1000012_20208_2_0.zip"])[0]
    for element in image:
        if element.VR == "UI":
            assert all(pydicom.uid.UID(uid).is_valid for uid in np.atleast_1d(element.value))
        if element.VR == "DS" and element.value is not None:
            assert all(len(str(value)) <= 16 for value in np.atleast_1d(element.value))
    assert image.file_meta.TransferSyntaxUID == pydicom.uid.ExplicitVRLittleEndian
    tags = [element.tag for element in image]
    assert tags == sorted(tags)


def test_the_manifest_has_its_misspelling_and_its_shifted_columns(archives):
    with zipfile.ZipFile(io.BytesIO(archives["1000012_20209_2_0.zip"])) as archive:
        lines = archive.read("manifest.cvs").decode().splitlines()
        names = archive.namelist()
    assert "series discription" in lines[0]
    assert all(line.count(",") == lines[0].count(",") + 1 for line in lines[1:])
    assert {line.split(",")[0] for line in lines[1:]} == set(names) - {"manifest.cvs"}


def test_extra_series_can_be_packaged(study):
    packaging = Packaging(scout=True, inline_result=True, flow=True, mapping=True, repeat_slice=3, private_kb=4)
    made = ukb_archives(study, eid=7, rng=np.random.default_rng(0), packaging=packaging)
    names = {image.SeriesDescription for content in made.values() for image in images_of(content)}
    assert {"Thorax_Cor_Tra", "CINE_segmented_SAX_InlineVF", "CINE_segmented_LAX_4Ch"} <= names
    assert any(name.startswith("flow_250") for name in names)
    assert any(name.endswith("T1MAP") for name in names)
    assert len(images_of(made["7_20209_2_0.zip"])[0][0x0029, 0x1010].value) >= 4000


def test_all_planes_can_share_one_series(study):
    made = ukb_archives(study, eid=7, rng=np.random.default_rng(0), packaging=Packaging(one_series=True))
    images = images_of(made["7_20209_2_0.zip"])
    assert len({image.SeriesInstanceUID for image in images}) == 1
    assert sorted(int(image.InstanceNumber) for image in images) == list(range(1, len(images) + 1))


def test_a_study_without_views_is_refused(study):
    with pytest.raises(ValueError, match="has none of the views"):
        ukb_archives({}, eid=1, rng=np.random.default_rng(0))


def test_every_fault_names_a_reason_of_the_table():
    for fault in FAULTS.values():
        assert fault.expected == "" or TABLE[fault.expected].kind == fault.kind


@pytest.mark.parametrize("name", sorted(FAULTS))
def test_every_fault_changes_the_archive_and_is_repeatable(archives, name):
    first = FAULTS[name].apply(dict(archives), np.random.default_rng(3))
    second = FAULTS[name].apply(dict(archives), np.random.default_rng(3))
    assert first == second
    assert first != archives
    assert sorted(first) == sorted(archives)


@pytest.mark.skipif(shutil.which("dcm2niix") is None, reason="dcm2niix is not installed")
def test_dcm2niix_converts_every_plane_with_the_right_geometry(study, archives, tmp_path):
    for content in archives.values():
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            archive.extractall(tmp_path / "dicom")
    (tmp_path / "nifti").mkdir()
    done = subprocess.run(
        ["dcm2niix", "-z", "n", "-f", "%d", "-o", tmp_path / "nifti", tmp_path / "dicom"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    # The one remark that it makes of any cine of a single plane, a real scanner's included.
    remarks = [line for line in done.stdout.splitlines() if "Warning" in line or "Error" in line]
    assert {line for line in remarks if "appear to be a single slice" not in line} == set()
    sax = study["sax"].to_dataset()
    for k in range(sax.sizes["slice"]):
        volume = nib.load(tmp_path / "nifti" / f"CINE_segmented_SAX_b{k + 1}.nii")
        assert volume.shape == (56, 64, 1, 8)
        corner = np.array([-1, -1, 1]) * sax["position_mm"][k].to_numpy()
        ends = [volume.affine @ [0, row, 0, 1] for row in (0, 63)]
        assert min(np.abs(end[:3] - corner).max() for end in ends) < 0.01
        assert np.asarray(volume.dataobj).sum() == sax["intensity"][:, k].to_numpy().sum()
