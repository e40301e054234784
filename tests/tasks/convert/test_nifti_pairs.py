"""NIfTI in two files is what the same image is in one, through the whole conversion."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from cmr_models.reasons import StudyRejected
from tasks.convert.conversion import convert_shard
from tasks.convert.convert_stage import planned_units
from tasks.convert.nifti import read_volume
from tasks.convert.nifti_pairs import joined
from tasks.sources import inventory
from tasks.sources.limits import Budget
from tasks.state import store

_AFFINE = np.diag([-1.5, -1.25, -8.0, 1.0])
_VALUES = np.random.default_rng(5).integers(0, 900, (9, 8, 6), dtype=np.int16)
_LABELS = np.where(_VALUES > 700, 3, 2).astype(np.uint8)  # pools within a wall


def _put(folder: Path, name: str, values: np.ndarray, kind: type) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    nib.save(kind(values, _AFFINE), folder / name)


def test_a_pair_and_its_labels_become_the_study_that_a_single_file_becomes(tmp_path: Path) -> None:
    for patient, kind, ending in (("one", nib.Nifti1Image, "nii"), ("two", nib.Nifti1Pair, "hdr")):
        _put(tmp_path / patient, f"sax_ed.{ending}", _VALUES, kind)
        _put(tmp_path / patient, f"sax_ed_gt.{ending}", _LABELS, kind)
    found = inventory([tmp_path])
    convert_shard(planned_units(found.units, {}), str(tmp_path / "cohort"), {})
    one, two = (store.load_tree(store.Cohort(tmp_path / "cohort").study(f"{p}-1"))["sax"] for p in ("one", "two"))
    assert dict(found.not_taken) == {}
    np.testing.assert_array_equal(two["intensity"].values[0], _VALUES.T)
    for name in ("intensity", "labels", "position_mm", "pixel_mm"):
        np.testing.assert_array_equal(two[name].values, one[name].values)


@pytest.mark.parametrize("kind", [nib.Nifti1Pair, nib.Nifti2Pair])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("start", [0, 64])
def test_numbers_of_a_pair_begin_where_the_header_says_in_the_second_file(kind: type, order: str, start: int) -> None:
    header = kind.header_class(endianness=order)
    header.set_data_dtype(np.int16)
    image = kind(_VALUES.astype(f"{order}i2"), _AFFINE, header)
    image.header["vox_offset"] = start
    image.header["magic"] = b"ni2" if kind is nib.Nifti2Pair else b"ni1"
    block, cells = image.header.binaryblock, bytes(start) + _VALUES.astype(f"{order}i2").tobytes("F")
    content = joined({"sax_ed.HDR": block, "sax_ed.IMG": cells})
    assert list(content) == ["sax_ed.HDR"]
    np.testing.assert_array_equal(read_volume(content["sax_ed.HDR"], Budget(n_packed=10**6)).values[0], _VALUES.T)


def test_a_header_that_is_not_of_nifti_is_refused() -> None:
    analyze = nib.AnalyzeImage(_VALUES, _AFFINE).header.binaryblock
    for header in (analyze, b"", b"ENVI\ndescription", analyze[:100]):
        with pytest.raises(StudyRejected, match="nifti_corrupt"):
            joined({"sax_ed.hdr": header, "sax_ed.img": _VALUES.tobytes("F")})


def test_one_file_of_a_pair_alone_is_no_nifti(tmp_path: Path) -> None:
    _put(tmp_path, "sax_ed.hdr", _VALUES, nib.Nifti1Pair)
    (tmp_path / "sax_ed.img").unlink()
    found = inventory([tmp_path])
    assert (found.units, dict(found.not_taken)) == ([], {".hdr": 1})
