"""Hearts that somebody has drawn, one folder of ``CMR_TEST_DATA`` a data set; what is absent is left out.

No short-axis image of these has trained the embedded network. Sunnybrook's have: they are measured by folds
(:mod:`benchmarks.segmentation`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import nibabel
import numpy as np
import numpy.typing as npt
import pydicom

from benchmarks.guide_points import filled, guide_contours, guide_masks, sax_planes
from cmr_models.contracts import LV, MYOCARDIUM, RV
from tasks.training.drawn_volumes import DrawnVolume, drawn_volumes

STRUCTURES = {"lv": LV, "myocardium": MYOCARDIUM, "rv": RV}
_GUIDED_PHASES = {"ed": 0, "es": 9}
_AUTOFD = np.array([0, LV, MYOCARDIUM, 0, RV], np.uint8)
_MNMS2 = np.array([0, LV, MYOCARDIUM, RV], np.uint8)


class Reference(NamedTuple):
    """A volume, and who has drawn what in it.

    Attributes:
        dataset: as ``docs/accuracy.md`` calls it.
        vendor: of the scanner; "" if the data set does not tell.
        view: "sax" or "lax_4c".
        volume: images and labels.
        structures: those that were drawn.
        known: ``(slice, row, col)``: where what was not drawn is background.
    """

    dataset: str
    vendor: str
    view: str
    volume: DrawnVolume
    structures: tuple[str, ...]
    known: npt.NDArray[np.bool_]


def references(data: Path) -> Iterator[Reference]:
    """Every drawn volume in the folders of ``data`` that are there."""
    sources = {
        "acdc_training": acdc,
        "mnms2_001": mnms2,
        "autofd_nifti": autofd,
        "dicom_study": guided,
        "rvsc_09": rvsc,
    }
    for name, read in sources.items():
        if (data / name).is_dir():
            yield from read(data / name)


def acdc(folder: Path) -> Iterator[Reference]:
    """ACDC, Dijon (Bernard et al. 2018): drawn by experts; Siemens 1.5 and 3 T."""
    for volume in drawn_volumes(folder):
        yield _whole("ACDC", "Siemens", "sax", volume)


def mnms2(folder: Path) -> Iterator[Reference]:
    """M&Ms-2 (Martin-Isla et al. 2023), one subject: short axis and 4-chamber view, drawn by experts."""
    for short, view in {"SA": "sax", "LA": "lax_4c"}.items():
        for phase in ("ed", "es"):
            file = folder / f"{folder.name.removeprefix('mnms2_')}_{short}_{phase.upper()}.nii.gz"
            image = nibabel.load(file)
            drawn = nibabel.load(file.with_name(file.name.replace(".nii.gz", "_gt.nii.gz")))
            labels = _MNMS2[np.asarray(drawn.dataobj).astype(int)]
            yield _whole("M&Ms-2", "", view, _volume(folder.name, phase, image, labels))


def autofd(folder: Path) -> Iterator[Reference]:
    """AutoFD: end-diastole, labels made by an atlas, not by hand; on another grid."""
    for case in sorted(path for path in folder.iterdir() if path.is_dir()):
        image = nibabel.load(case / "sa_ED.nii.gz")
        codes = on_grid(nibabel.load(case / "seg_sa_ED.nii.gz"), image)
        volume = _volume(case.name, "ed", image, _AUTOFD[np.maximum(codes, 0)])
        yield _whole("AutoFD (atlas)", "", "sax", volume)._replace(known=_turned(codes >= 0))


def guided(folder: Path) -> Iterator[Reference]:
    """One study with guide points of biv-me, made automatically; planes without contours are unknown."""
    planes = sax_planes(folder / "patient1")
    spacing = (*(float(size) for size in planes[0][0].PixelSpacing), np.nan)
    for phase, frame in _GUIDED_PHASES.items():
        points = guide_contours(folder / "guidepoints" / f"GPFile_{frame:03d}.txt")
        images = np.stack([plane[frame].pixel_array for plane in planes]).astype(np.float32)
        labels, known = np.zeros(images.shape, np.uint8), np.zeros(images.shape, bool)
        for k, plane in enumerate(planes):
            for name, mask in guide_masks(points, plane[frame]).items():
                labels[k][mask] = STRUCTURES[name]
                known[k] = True
        volume = DrawnVolume("patient1", phase, "", images, labels, spacing)
        yield Reference("biv-me (guide points)", "Siemens", "sax", volume, tuple(STRUCTURES), known)


def rvsc(folder: Path) -> Iterator[Reference]:
    """RVSC (Petitjean et al. 2015), one patient: right ventricles of single images, drawn by experts."""
    for contour in sorted((folder / "P09contours-manual").glob("*-icontour-manual.txt")):
        header = pydicom.dcmread(folder / "P09dicom" / f"{'-'.join(contour.name.split('-')[:2])}.dcm")
        labels = RV * filled(np.loadtxt(contour), header.pixel_array.shape).astype(np.uint8)
        spacing = (*(float(size) for size in header.PixelSpacing), np.nan)
        volume = DrawnVolume(
            contour.name[:8], "ed", "", header.pixel_array.astype(np.float32)[None], labels[None], spacing
        )
        yield Reference("RVSC", "Siemens", "sax", volume, ("rv",), np.ones(labels[None].shape, bool))


def on_grid(labels: Any, image: Any) -> npt.NDArray[np.int_]:
    """Labels at the voxel centres of ``image`` by nearest neighbour in the world; -1 outside."""
    voxels = np.stack(np.meshgrid(*map(np.arange, image.shape[:3]), indexing="ij"), -1).reshape(-1, 3)
    world = nibabel.affines.apply_affine(image.affine, voxels)
    there = np.rint(nibabel.affines.apply_affine(np.linalg.inv(labels.affine), world)).astype(int)
    inside = ((there >= 0) & (there < labels.shape[:3])).all(1)
    values = np.full(len(voxels), -1)
    values[inside] = np.asarray(labels.dataobj).squeeze()[tuple(there[inside].T)]
    return values.reshape(image.shape[:3])


def _whole(dataset: str, vendor: str, view: str, volume: DrawnVolume) -> Reference:
    """A volume in which all three structures were drawn wherever they are."""
    return Reference(dataset, vendor, view, volume, tuple(STRUCTURES), np.ones(volume.labels.shape, bool))


def _volume(patient: str, phase: str, image: Any, labels: npt.NDArray[np.uint8]) -> DrawnVolume:
    """Of a NIfTI image ``(column, row, slice)``."""
    col_mm, row_mm, slice_mm = (float(size) for size in image.header.get_zooms()[:3])
    images = np.asarray(image.dataobj, np.float32).reshape(image.shape[:3])
    return DrawnVolume(
        patient, phase, "", _turned(images), _turned(labels.reshape(images.shape)), (row_mm, col_mm, slice_mm)
    )


def _turned(volume: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """``(slice, row, column)`` of ``(column, row, slice)``."""
    return np.ascontiguousarray(volume.T)
