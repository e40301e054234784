"""The training patients of ACDC, as they are downloaded: voxel sizes and volumes of what the experts drew."""

import gzip
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from cmr_models.phenotypes.volumes import volume_curves
from cmr_models.views.base_apex import judge_stack_order
from tasks.convert.nifti import nifti_views
from tasks.convert.reference_labels import with_labels
from tasks.sources.limits import Budget
from tasks.sources.public_facts import facts_of

_CODES = {"rv_ml": 1, "myocardium_ml": 2, "lv_ml": 3}
"""Of ACDC's labels, which are the package's too."""


def _patients(real_data: Path) -> list[Path]:
    folders = sorted((real_data / "acdc_training").glob("patient*"))
    if not folders:
        pytest.skip("the training patients of ACDC are not beside the checkout")
    return folders


def _converted(folder: Path) -> tuple[xr.Dataset, dict[str, int]]:
    contents = {path.name: path.read_bytes() for path in sorted(folder.glob("*.nii.gz"))}
    labels = {name: content for name, content in contents.items() if "_gt" in name}
    images = {name: content for name, content in contents.items() if name not in labels}
    facts, _ = facts_of("acdc", [str(path) for path in sorted(folder.glob("*.nii.gz"))], folder.name)
    found = with_labels(
        nifti_views(images, Budget(n_packed=10**7)), labels, images, "acdc", facts, Budget(n_packed=10**7)
    )
    assert found.faults == []
    return found.views["sax"], found.frames


def _by_hand(path: Path) -> Iterator[tuple[str, float, tuple[float, float, float]]]:
    """Volume of each structure in mL: voxels counted in the file's bytes times ``pixdim``; no reader of NIfTI."""
    content = gzip.decompress(path.read_bytes())
    (bits,) = struct.unpack_from("<h", content, 72)
    mm = struct.unpack_from("<3f", content, 80)
    (offset,) = struct.unpack_from("<f", content, 108)
    assert bits == 8
    voxels = np.frombuffer(content, np.uint8, offset=int(offset))
    for name, code in _CODES.items():
        yield name, float((voxels == code).sum()) * mm[0] * mm[1] * mm[2] / 1000.0, mm


def _check_patient(folder: Path) -> None:
    view, frames = _converted(folder)
    curves = volume_curves(view["labels"].values, view)
    names = sorted(path for path in folder.glob("*_gt.nii.gz"))
    ed_first = [frames["ed_frame"], frames["es_frame"]]
    info = dict(line.split(": ") for line in (folder / "Info.cfg").read_text().splitlines() if ": " in line)
    paths = {int(path.name[len(folder.name) + 6 :][:2]): path for path in names}
    for frame, key in zip(ed_first, ("ED", "ES"), strict=True):
        for name, wanted_ml, mm in _by_hand(paths[int(info[key])]):
            np.testing.assert_allclose([*view["pixel_mm"].values[::-1], view.attrs["slice_mm"]], mm, rtol=1e-4)
            assert float(curves[name][frame]) == pytest.approx(wanted_ml, rel=0.01)
    assert view.attrs["flags"][-2:] == ["affine_without_scale", "orientation_unstated"]
    order = judge_stack_order(view["labels"].values)
    assert order.base_first
    assert not order.is_doubtful


@pytest.mark.data
def test_volumes_of_some_acdc_patients_are_those_of_voxels_times_pixdim(real_data: Path) -> None:
    for folder in _patients(real_data)[::25]:
        _check_patient(folder)


@pytest.mark.data
@pytest.mark.slow
def test_volumes_of_all_acdc_patients_are_those_of_voxels_times_pixdim(real_data: Path) -> None:
    folders = _patients(real_data)
    assert len(folders) == 100
    for folder in folders:
        _check_patient(folder)
