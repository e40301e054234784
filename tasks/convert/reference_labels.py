"""The label files of one case -> labels on the grids of its views, or the reason why they were left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr

from cmr_models.contracts import with_reference
from cmr_models.contracts.foreign import faults_as
from cmr_models.evaluation.reference_codes import CODES, is_pool_in_wall, translate_codes
from cmr_models.reasons import StudyRejected
from cmr_models.views.geometry import Vector
from tasks.convert.nifti import Volume, read_volume
from tasks.sources.limits import Budget
from tasks.sources.nifti_names import parse_name

_SAME_PLACE_MM: Final = 0.5
_SAME_FRAME: Final = 0.01
"""Mean difference, as a share of the range of intensities, under which two images are one."""
_SHARED_GRID: Final = {"myops": ("sax", "lge", "t2"), "emidec": ("lge",)}
_EXPECTS_LABELS: Final = frozenset(("acdc", "mnms", "mnms2", "emidec", "myops", "rescan"))


class Referenced(NamedTuple):
    """Views with labels, the reasons for those left out (``{"file", "reason", "detail"}``), and the phases found."""

    views: dict[str, xr.Dataset]
    faults: list[dict[str, str]]
    frames: dict[str, int]


class _Fault(ValueError):
    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason, self.detail = reason, detail


def with_labels(
    views: Mapping[str, xr.Dataset],
    labels: Mapping[str, bytes],
    images: Mapping[str, bytes],
    data_set: str,
    facts: Mapping[str, Any],
    budget: Budget,
) -> Referenced:
    """Put the labels of one case beside its images.

    Args:
        views: cine views of the case.
        labels: content of the label files, by name and folders.
        images: content of the image files, to find single frames again in a cine.
        data_set: whose codes the labels have.
        facts: of the case; ``ed_frame`` and ``es_frame`` count in the set's whole cine.
        budget: of the study.
    """
    found = dict(views)
    faults: list[dict[str, str]] = []
    frames: dict[str, int] = {}
    drawn: dict[str, npt.NDArray[np.uint8]] = {}
    for name in sorted(labels):
        try:
            with faults_as(partial(_Fault, "label_corrupt"), _Fault, StudyRejected):
                phases = _add(name, labels, images, data_set, found, drawn, budget)
        except _Fault as fault:
            faults.append({"file": name.rsplit("/", 1)[-1], "reason": fault.reason, "detail": fault.detail})
        else:
            frames |= phases
    for view, values in drawn.items():
        found[view] = with_reference(found[view], values)
    if not labels and data_set in _EXPECTS_LABELS:
        faults.append({"file": "", "reason": "label_missing", "detail": ""})
    return Referenced(found, faults, frames or _stated_frames(views, facts))


def _add(
    name: str,
    labels: Mapping[str, bytes],
    images: Mapping[str, bytes],
    data_set: str,
    views: Mapping[str, xr.Dataset],
    drawn: dict[str, npt.NDArray[np.uint8]],
    budget: Budget,
) -> dict[str, int]:
    """Draw one label file into the views it is of; returns the frames of its phase, if it has one."""
    parsed = parse_name(name)
    targets = [view for view in _SHARED_GRID.get(data_set, (parsed.view or "sax",)) if view in views]
    if not targets:
        raise _Fault("label_grid_mismatch", "There is no image of its view.")
    volume = _read(labels[name], budget)
    if not volume.values.any():
        raise _Fault("label_missing", "The file has no label in it.")
    if _is_one_hot(volume.values):
        raise _Fault("label_channels", f"{len(volume.values)} channels of zeros and ones.")
    phases: dict[str, int] = {}
    for target in targets:
        view = views[target]
        codes = _translate(_on_grid(volume, view, extra_slices=data_set == "ukbb"), data_set)
        frames = _frames(parsed.phase, codes, view, _twin(name, images), budget)
        values = drawn.setdefault(target, np.zeros(view["intensity"].shape, np.uint8))
        values[frames] = codes
        if target == "sax" and parsed.phase in ("ed", "es"):
            phases[f"{parsed.phase}_frame"] = frames[0]
    return phases


def _read(content: bytes, budget: Budget) -> Volume:
    try:
        return read_volume(content, budget)
    except StudyRejected as rejected:
        if rejected.reason == "study_too_large":
            raise
        unread = "label_corrupt" if rejected.reason.startswith("nifti_") else "label_grid_mismatch"
        reason = "label_channels" if rejected.reason == "nifti_unsupported" else unread
        raise _Fault(reason, rejected.detail) from None


def _is_one_hot(values: npt.NDArray[Any]) -> bool:
    """Whether what lies along the axis of frames are classes: masks of which no two share a voxel, as beats do."""
    drawn = values != 0
    several = np.count_nonzero(drawn.any(axis=(1, 2, 3))) > 1
    return bool(several and (values[drawn] == 1).all() and drawn.sum(axis=0).max() == 1)


def _translate(values: npt.NDArray[Any], data_set: str) -> npt.NDArray[np.uint8]:
    try:
        codes = translate_codes(values, data_set)
    except ValueError as error:
        raise _Fault("label_class_unknown", str(error)) from None
    n_codes = len(np.unique(codes[codes > 0]))
    if n_codes == 1:
        raise _Fault("label_class_single", f"{data_set} has {len(CODES[data_set])}.")
    if not is_pool_in_wall(codes):
        raise _Fault("label_codes_exchanged")
    return codes


def _on_grid(volume: Volume, view: xr.Dataset, *, extra_slices: bool) -> npt.NDArray[Any]:
    """``(frame, slice, row, col)`` of the volume in the order of the view's slices; a plane is found by its place."""
    shape = view["intensity"].shape
    volume = _turned(volume, view["row_dir"].values[0], view["col_dir"].values[0])
    same_plane = (
        volume.values.shape[2:] == shape[2:]
        and np.allclose(volume.pixel_mm, view["pixel_mm"].values, rtol=0.01)
        and np.allclose(volume.row_dir, view["row_dir"].values[0], atol=0.01)
        and np.allclose(volume.col_dir, view["col_dir"].values[0], atol=0.01)
    )
    if not same_plane or (volume.values.shape[1] != shape[1] and not extra_slices):
        raise _Fault("label_grid_mismatch", f"Labels {volume.values.shape[1:]}, image {shape[1:]}.")
    way_mm = np.linalg.norm(volume.position_mm[None] - view["position_mm"].values[:, None], axis=-1)
    if (way_mm.min(axis=1) > _SAME_PLACE_MM).any():
        raise _Fault("label_grid_mismatch", f"Planes are {way_mm.min(axis=1).max():.1f} mm apart.")
    return volume.values[:, way_mm.argmin(axis=1)]


def _turned(volume: Volume, row_dir: Vector, col_dir: Vector) -> Volume:
    """The same voxels with rows and columns in the order and direction nearest to those of the image."""
    if abs(float(volume.row_dir @ row_dir)) < abs(float(volume.row_dir @ col_dir)):
        volume = replace(
            volume,
            values=np.swapaxes(volume.values, 2, 3),
            row_dir=volume.col_dir,
            col_dir=volume.row_dir,
            pixel_mm=volume.pixel_mm[::-1],
        )
    row_mm, col_mm = volume.pixel_mm
    if float(volume.col_dir @ col_dir) < 0:
        shift = volume.col_dir * (row_mm * (volume.values.shape[2] - 1))
        volume = replace(
            volume,
            values=volume.values[:, :, ::-1],
            position_mm=volume.position_mm + shift,
            col_dir=-volume.col_dir,
        )
    if float(volume.row_dir @ row_dir) < 0:
        shift = volume.row_dir * (col_mm * (volume.values.shape[3] - 1))
        volume = replace(
            volume,
            values=volume.values[:, :, :, ::-1],
            position_mm=volume.position_mm + shift,
            row_dir=-volume.row_dir,
        )
    return volume


def _frames(
    phase: str, codes: npt.NDArray[np.uint8], view: xr.Dataset, twin: bytes | None, budget: Budget
) -> list[int]:
    """The view's frames that the label's frames are of."""
    n_frames = view.sizes["frame"]
    if codes.shape[0] == n_frames:
        return list(range(n_frames))
    names = list(view.attrs.get("frame_names", []))
    if codes.shape[0] != 1:
        raise _Fault("label_frame_unmatched", f"{codes.shape[0]} labelled frames, {n_frames} in the image.")
    if phase in names:
        return [names.index(phase)]
    if phase.startswith("frame") and 1 <= int(phase[5:]) <= n_frames and not names:
        return [int(phase[5:]) - 1]
    if twin is None:
        raise _Fault("label_frame_unmatched", f"{phase or 'a single frame'} of {n_frames}.")
    return [_same_image(twin, view, budget)]


def _same_image(content: bytes, view: xr.Dataset, budget: Budget) -> int:
    """The frame of a cine that a single image is."""
    images = _on_grid(_read(content, budget), view, extra_slices=False)
    if len(images) > 1:
        raise _Fault("label_frame_unmatched", f"One labelled frame, {len(images)} in its image.")
    image = images[0].astype(np.float64)
    scale, offset = float(view.attrs["intensity_scale"]), float(view.attrs["intensity_offset"])
    spread = float(np.ptp(image)) or 1.0
    apart = [
        np.abs(frame.astype(np.float64) * scale + offset - image).mean() / spread for frame in view["intensity"].values
    ]
    best = int(np.argmin(apart))
    if apart[best] > _SAME_FRAME:
        raise _Fault("label_frame_unmatched", f"The nearest frame differs by {100 * apart[best]:.0f} %.")
    return best


def _twin(name: str, images: Mapping[str, bytes]) -> bytes | None:
    """The image that a label file was drawn on."""
    return images.get(name.replace("_gt", ""))


def _stated_frames(views: Mapping[str, xr.Dataset], facts: Mapping[str, Any]) -> dict[str, int]:
    """End-diastole and end-systole as the data set states them, where the short axis is its whole cine.

    Where files hold single frames (``frame_names``), it is the frame of that name.
    """
    view = views.get("sax")
    if view is None:
        return {}
    names = list(view.attrs.get("frame_names", []))
    found = {}
    for name in ("ed_frame", "es_frame"):
        stated = facts.get(name)
        called = [
            k
            for k, frame in enumerate(names)
            if frame == name[:2] or (stated is not None and _frame_number(frame) == stated)
        ]
        if names and called:
            found[name] = called[0]
        elif not names and stated is not None and stated < view.sizes["frame"] > 1:
            found[name] = int(stated)
    return found


def _frame_number(frame_name: str) -> int | None:
    return int(frame_name[5:]) - 1 if frame_name.startswith("frame") else None
