"""The data contracts between the stages: what a cine study and a prediction hold, by dimension name and unit.

Arrays are always ``(frame, slice, row, col)``. Positions and directions are in the DICOM patient system (LPS, mm).
A pixel centre lies at

    position_mm[slice] + row_dir[slice] * col * pixel_mm[1] + col_dir[slice] * row * pixel_mm[0]

where ``row_dir`` runs along a row (increasing column index) and ``col_dir`` down a column, as in
ImageOrientationPatient, and ``pixel_mm`` is (row spacing, column spacing), as in PixelSpacing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

BACKGROUND, RV, MYOCARDIUM, LV, LA, RA, AORTA_ASCENDING, AORTA_DESCENDING = range(8)

LABEL_NAMES: Mapping[int, str] = {
    BACKGROUND: "background",
    RV: "right ventricle",
    MYOCARDIUM: "left-ventricular myocardium",
    LV: "left ventricle",
    LA: "left atrium",
    RA: "right atrium",
    AORTA_ASCENDING: "ascending aorta",
    AORTA_DESCENDING: "descending aorta",
}

SCAR, NO_REFLOW, EDEMA = 8, 9, 10

TISSUE_NAMES: Mapping[int, str] = {
    SCAR: "infarct scar",
    NO_REFLOW: "no-reflow (microvascular obstruction)",
    EDEMA: "oedema",
}
"""Parts of the left-ventricular wall that only references of late-enhancement and T2 images tell apart."""

VIEWS = ("sax", "lax_2c", "lax_3c", "lax_4c", "rvot", "aorta", "lge", "t2")

PERFUSION_STATES = ("rest", "stress", "unstated")
PERFUSION_ROLES = ("", "_pd", "_aif", "_aif_echo2", "_aif_pd")
PERFUSION_VIEWS = tuple(f"perfusion_{state}{role}" for state in PERFUSION_STATES for role in PERFUSION_ROLES)
"""First-pass series: of the myocardium (no suffix), its proton-density frames, and the same of the arterial input.

They are views like the others, but that their frames are heartbeats: ``time_ms`` runs over the bolus, and
``acquired_ms (frame, slice)`` has the time of each image.
"""

_VIEW_SHAPES: Mapping[str, tuple[str, ...]] = {
    "intensity": ("frame", "slice", "row", "col"),
    "frame_valid": ("frame", "slice"),
    "time_ms": ("frame",),
    "position_mm": ("slice", "xyz"),
    "row_dir": ("slice", "xyz"),
    "col_dir": ("slice", "xyz"),
    "pixel_mm": ("axis",),
}

_VIEW_ATTRIBUTES = ("slice_mm", "thickness_mm", "heart_rate_bpm")


def cine_view(
    intensity: npt.NDArray[np.uint16],
    *,
    time_ms: npt.ArrayLike,
    pixel_mm: npt.ArrayLike,
    position_mm: npt.ArrayLike,
    row_dir: npt.ArrayLike,
    col_dir: npt.ArrayLike,
    slice_mm: float,
    thickness_mm: float,
    heart_rate_bpm: float = float("nan"),
    frame_valid: npt.ArrayLike | None = None,
    **attributes: Any,
) -> xr.Dataset:
    """One view of a cine study.

    Args:
        intensity: ``(frame, slice, row, col)`` uint16, as stored on the scanner.
        time_ms: ``(frame,)`` delay after the R wave, starting at 0.
        pixel_mm: ``(2,)`` row and column spacing.
        position_mm: ``(slice, 3)`` centre of the first pixel, LPS.
        row_dir: ``(slice, 3)`` or ``(3,)`` unit vector along a row.
        col_dir: ``(slice, 3)`` or ``(3,)`` unit vector down a column.
        slice_mm: distance between plane centres along the normal; NaN for a single plane.
        thickness_mm: slice thickness.
        heart_rate_bpm: NaN when neither the RR interval nor the frame times give it.
        frame_valid: ``(frame, slice)``; False where the scanner sent no image (all True by default).
        **attributes: further plain values kept with the view.

    Returns:
        A Dataset that passes :func:`check_view`.
    """
    n_frames, n_slices = intensity.shape[:2]
    valid = np.ones((n_frames, n_slices), bool) if frame_valid is None else np.asarray(frame_valid, bool)
    values = {"intensity": intensity, "frame_valid": valid, "time_ms": np.asarray(time_ms, np.float64)}
    values |= {"position_mm": np.asarray(position_mm, np.float64).reshape(n_slices, 3)}
    values |= {"row_dir": _per_slice(row_dir, n_slices), "col_dir": _per_slice(col_dir, n_slices)}
    values |= {"pixel_mm": np.asarray(pixel_mm, np.float64)}
    numbers = {"slice_mm": slice_mm, "thickness_mm": thickness_mm, "heart_rate_bpm": heart_rate_bpm}
    attributes = {name: float(number) for name, number in numbers.items()} | attributes
    view = xr.Dataset({name: (_VIEW_SHAPES[name], value) for name, value in values.items()}, attrs=attributes)
    check_view(view)
    return view


def with_reference(
    view: xr.Dataset, labels: npt.NDArray[np.uint8] | None = None, landmark_px: npt.NDArray[np.float64] | None = None
) -> xr.Dataset:
    """The view with what people drew in it.

    Args:
        view: a cine view.
        labels: ``(frame, slice, row, col)`` codes of :data:`LABEL_NAMES` and :data:`TISSUE_NAMES`; frames in which
            nothing was drawn are all background.
        landmark_px: ``(frame, point, 2)`` (row, col); NaN where not marked.

    Returns:
        The view with ``labels`` and ``labelled (frame)``, and ``landmark_px (frame, point, axis)``.

    Raises:
        ValueError: if they do not lie on the view's grid.
    """
    shape = view["intensity"].shape
    if labels is not None:
        if labels.shape != shape:
            raise ValueError(f"labels of shape {labels.shape} do not lie on the view's grid {shape}")
        view = view.assign(labels=(_VIEW_SHAPES["intensity"], np.asarray(labels, np.uint8)))
        view = view.assign(labelled=("frame", labels.any(axis=(1, 2, 3))))
    if landmark_px is not None:
        if landmark_px.ndim != 3 or landmark_px.shape[0] != shape[0] or landmark_px.shape[2] != 2:
            raise ValueError(f"landmarks of shape {landmark_px.shape} are not ({shape[0]} frames, point, 2)")
        view = view.assign(landmark_px=(("frame", "point", "axis"), np.asarray(landmark_px, np.float64)))
    return view


REFERENCE_VARIABLES = ("labels", "labelled", "landmark_px")
"""What :func:`with_reference` adds; no stage but training and evaluation looks at it."""


def check_view(view: xr.Dataset) -> None:
    """Raise ValueError unless ``view`` is a cine view of the contract."""
    for name, dims in _VIEW_SHAPES.items():
        if name not in view:
            raise ValueError(f"a cine view needs {name} {dims}; it has {sorted(map(str, view.data_vars))}")
        if view[name].dims != dims:
            raise ValueError(f"{name} must have dims {dims}, got {view[name].dims}")
    if view["intensity"].dtype != np.uint16:
        raise ValueError(f"intensity must be uint16 as stored, got {view['intensity'].dtype}")
    missing = [name for name in _VIEW_ATTRIBUTES if name not in view.attrs]
    if missing:
        raise ValueError(f"a cine view needs the attributes {missing}")


def cine_study(views: Mapping[str, xr.Dataset], **attributes: Any) -> xr.DataTree:
    """A study: one node a view. ``attributes`` are plain values (participant, visit, source digests ...)."""
    unknown = sorted(set(views) - {*VIEWS, *PERFUSION_VIEWS})
    if unknown:
        raise ValueError(f"unknown views {unknown}; known are {(*VIEWS, *PERFUSION_VIEWS)}")
    for view in views.values():
        check_view(view)
    tree = xr.DataTree.from_dict({f"/{name}": view for name, view in views.items()})
    tree.attrs.update(attributes)
    return tree


def prediction(
    labels: Mapping[str, npt.NDArray[np.uint8]],
    judged: Mapping[str, npt.NDArray[np.bool_]] | None = None,
    **attributes: Any,
) -> xr.DataTree:
    """What one model says of one study, on the study's own grid.

    Args:
        labels: view -> ``(frame, slice, row, col)``.
        judged: view -> ``(frame, slice)``; False where there was no image to judge, so that background there means
            nothing (all True by default).
        **attributes: plain values kept with the prediction.
    """
    seen = judged or {}
    nodes = {
        f"/{view}": xr.Dataset(
            {
                "label": (_VIEW_SHAPES["intensity"], np.asarray(label, np.uint8)),
                "judged": (_VIEW_SHAPES["frame_valid"], seen.get(view, np.ones(label.shape[:2], bool))),
            }
        )
        for view, label in labels.items()
    }
    tree = xr.DataTree.from_dict(nodes)
    tree.attrs.update(attributes)
    return tree


def _per_slice(direction: npt.ArrayLike, n_slices: int) -> npt.NDArray[np.float64]:
    vectors = np.broadcast_to(np.asarray(direction, np.float64), (n_slices, 3))
    return np.ascontiguousarray(vectors)


DEATH = "death"


CONDITIONS = (
    "heart_failure",
    "atrial_fibrillation",
    "myocardial_infarction",
    "diabetes",
    "hypertension",
    "cancer",
    DEATH,
)
