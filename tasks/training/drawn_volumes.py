"""Short-axis volumes in which experts drew every structure, in the folders of the ACDC challenge.

Reference: Bernard et al., Deep learning techniques for automatic MRI cardiac multi-structures segmentation and
diagnosis: is the problem solved?, IEEE Transactions on Medical Imaging 2018, 10.1109/TMI.2018.2837502.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import nibabel
import numpy as np
import numpy.typing as npt

from cmr_models.contracts import LV
from tasks.training.segmentation_data import ImagePool

SIDE = 256
"""Rows and columns of the images of a pool."""
_Value = TypeVar("_Value", bound=np.generic)


class DrawnVolume(NamedTuple):
    """One phase of one patient.

    Attributes:
        patient: name of the folder.
        phase: "ed" or "es".
        group: of the patients, as ``Info.cfg`` calls it.
        images: (slice, row, col).
        labels: (slice, row, col): 0 background, 1 RV, 2 myocardium, 3 LV.
        spacing_mm: row, column, slice.
    """

    patient: str
    phase: str
    group: str
    images: npt.NDArray[np.float32]
    labels: npt.NDArray[np.uint8]
    spacing_mm: tuple[float, float, float]


def drawn_volumes(folder: Path) -> Iterator[DrawnVolume]:
    """End-diastole and end-systole of each ``patient*`` in ``folder``.

    Raises:
        FileNotFoundError: if there is no patient, or one lacks a file.
    """
    patients = sorted(path for path in folder.glob("patient*") if path.is_dir())
    if not patients:
        raise FileNotFoundError(f"no patient* in {folder}; give the folder that holds patient001, patient002 ...")
    for patient in patients:
        facts = _facts(patient / "Info.cfg")
        for phase in ("ed", "es"):
            stem = f"{patient.name}_frame{int(facts[phase.upper()]):02d}"
            image, labels = (_read(patient / f"{stem}{end}.nii.gz") for end in ("", "_gt"))
            col_mm, row_mm, slice_mm = (float(size) for size in image.header.get_zooms()[:3])
            yield DrawnVolume(
                patient.name, phase, facts["Group"], np.asarray(image.dataobj, np.float32).T,
                np.asarray(labels.dataobj).astype(np.uint8).T, (row_mm, col_mm, slice_mm),
            )  # fmt: skip


def drawn_pool(folder: Path) -> ImagePool:
    """Each slice of :func:`drawn_volumes`, cut around the heart of its volume, with the slices before and after it."""
    parts: list[tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]] = []
    heart_px: list[npt.NDArray[np.float64]] = []
    pixel_mm: list[float] = []
    patient: list[str] = []
    neighbours = []
    for volume in drawn_volumes(folder):
        n, first = len(volume.images), len(patient)
        centre = np.array([axis.mean() for axis in np.nonzero(volume.labels == LV)[1:]])
        corner = np.round(centre).astype(int) - SIDE // 2
        parts.append((square(volume.images, corner), square(volume.labels, corner)))
        heart_px += [centre - corner] * n
        pixel_mm += [volume.spacing_mm[0]] * n
        patient += [volume.patient] * n
        neighbours.append(first + np.clip(np.arange(n)[:, None] + [-1, 1], 0, n - 1))
    images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return ImagePool(
        images=images, possible=np.left_shift(np.uint8(1), labels), heart_px=np.array(heart_px),
        pixel_mm=np.array(pixel_mm), patient=tuple(patient), neighbours=np.concatenate(neighbours),
    )  # fmt: skip


def square(volume: npt.NDArray[_Value], corner: npt.NDArray[np.int_]) -> npt.NDArray[_Value]:
    """``(slice, SIDE, SIDE)`` of ``volume`` from ``corner`` on, zero outside it."""
    result = np.zeros((len(volume), SIDE, SIDE), volume.dtype)
    here = tuple(slice(max(0, c), max(0, min(n, c + SIDE))) for c, n in zip(corner, volume.shape[1:], strict=True))
    there = tuple(slice(part.start - c, part.stop - c) for part, c in zip(here, corner, strict=True))
    result[:, *there] = volume[:, *here]
    return result


def _read(file: Path) -> Any:
    return nibabel.load(file)


def _facts(file: Path) -> dict[str, str]:
    """The lines ``key: value`` of a patient's ``Info.cfg``."""
    lines = (line.partition(":") for line in file.read_text().splitlines())
    return {key.strip(): value.strip() for key, _, value in lines}
