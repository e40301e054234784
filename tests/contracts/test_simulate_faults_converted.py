"""Every simulated fault ends, through the converter, in the reason code or flag that its table row promises."""

import nibabel as nib
import numpy as np
import pytest

from cmr_models.simulate import FAULTS, Heart, HeartTraits, ImagingSettings, Packaging, simulate_study, ukb_archives
from cmr_models.simulate.faults import NIFTI_FAULTS
from tasks import sources
from tasks.convert import conversion


@pytest.fixture(scope="module")
def archives():
    rng = np.random.default_rng(0)
    settings = ImagingSettings(n_frames=20, matrix=(64, 56), pixel_mm=5.0, sub_planes=1)
    study = simulate_study(Heart(HeartTraits(), rng), settings, rng)
    return ukb_archives(study, eid="1000012", rng=rng, packaging=Packaging(scout=True))


def convert(files, folder):
    for name, content in files.items():
        (folder / name).write_bytes(content)
    (unit,) = sources.inventory([folder]).units
    return conversion.convert_study(unit, str(folder / "cohort"), {})


@pytest.mark.parametrize("name", sorted(FAULTS))
def test_a_fault_ends_in_its_reason(archives, tmp_path, name):
    fault = FAULTS[name]
    outcome = convert(fault.apply(dict(archives), np.random.default_rng(1)), tmp_path)
    if fault.kind == "quarantined":
        assert (outcome.status, outcome.reason) == ("quarantined", fault.expected)
        return
    assert outcome.status == "ok"
    told = {flag for view in outcome.summary["views"].values() for flag in view["flags"]}
    told |= {row["reason"] for row in outcome.summary["excluded"]} | set(outcome.summary["flags"])
    assert fault.expected in told | {""}


def test_an_undamaged_archive_is_converted_without_flags(archives, tmp_path):
    outcome = convert(archives, tmp_path)
    assert outcome.status == "ok"
    assert set(outcome.summary["views"]) == {"sax", "lax_2c", "lax_3c", "lax_4c"}
    assert all(view["flags"] == [] for view in outcome.summary["views"].values())


def test_a_corrupt_nifti_file_cannot_be_loaded(tmp_path):
    path = tmp_path / "scan.nii"
    nib.save(nib.Nifti1Image(np.zeros((8, 8, 4), np.int16), np.eye(4)), path)
    damaged = NIFTI_FAULTS["corrupt_nifti"].apply({"scan.nii": path.read_bytes()}, np.random.default_rng(0))
    path.write_bytes(damaged["scan.nii"])
    with pytest.raises(nib.filebasedimages.ImageFileError, match="Cannot work out file type"):
        np.asarray(nib.load(path).dataobj)
