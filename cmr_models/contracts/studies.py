"""The contract of a study file: its views, their arrays and attributes, and the makers of both.

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

from cmr_models.contracts.checks import check_array, check_attributes
from cmr_models.contracts.labels import LABEL_NAMES, TISSUE_NAMES
from cmr_models.contracts.rows import ArraySpec, AttributeSpec, ContractError, FileSpec, GroupSpec

VIEWS = ("sax", "lax_2c", "lax_3c", "lax_4c", "rvot", "aorta", "lge", "t2")

PERFUSION_STATES = ("rest", "stress", "unstated")
PERFUSION_ROLES = ("", "_pd", "_aif", "_aif_echo2", "_aif_pd")
PERFUSION_VIEWS = tuple(f"perfusion_{state}{role}" for state in PERFUSION_STATES for role in PERFUSION_ROLES)
"""First-pass series: of the myocardium (no suffix), its proton-density frames, and the same of the arterial input.

They are views like the others, but that their frames are heartbeats: ``time_ms`` runs over the bolus, and
``acquired_ms (frame, slice)`` has the time of each image.
"""

IMAGE_DIMS = ("frame", "slice", "row", "col")
_UNIT_VECTOR = (-1.01, 1.01)
_REFERENCE_CODES = {**LABEL_NAMES, **TISSUE_NAMES}

VIEW_ARRAYS = (
    ArraySpec("intensity", IMAGE_DIMS, "uint16", "1", "pixels as stored by the scanner"),
    ArraySpec(
        "frame_valid", ("frame", "slice"), "bool", "1",
        "false where the scanner sent no image; the pixels there mean nothing",
    ),
    ArraySpec("time_ms", ("frame",), "float64", "ms", "delay after the R wave; NaN if unknown"),
    ArraySpec("position_mm", ("slice", "xyz"), "float64", "mm", "centre of the first pixel, patient system (LPS)"),
    ArraySpec("row_dir", ("slice", "xyz"), "float64", "1", "unit vector along a row", _UNIT_VECTOR),
    ArraySpec("col_dir", ("slice", "xyz"), "float64", "1", "unit vector down a column", _UNIT_VECTOR),
    ArraySpec("pixel_mm", ("axis",), "float64", "mm", "row spacing, column spacing", (0.0, 1000.0)),
)  # fmt: skip
"""What every view of a study has."""

REFERENCE_ARRAYS = (
    ArraySpec(
        "labels", IMAGE_DIMS, "uint8", "1", "what people drew; all background in frames in which nothing was drawn",
        codes=_REFERENCE_CODES, required=False,
    ),
    ArraySpec("labelled", ("frame",), "bool", "1", "whether anything was drawn in the frame", required=False),
    ArraySpec(
        "landmark_px", ("frame", "point", "axis"), "float64", "pixel",
        "(row, col) of landmarks that people marked; NaN where not marked", required=False,
    ),
)  # fmt: skip
"""What public data sets bring with their views; no stage but training and evaluation looks at it."""

_ACQUIRED_MS = ArraySpec(
    "acquired_ms", ("frame", "slice"), "float64", "ms", "time of each image since the first; time_ms is its median"
)

VIEW_ATTRIBUTES = (
    AttributeSpec("slice_mm", "real", "mm", "distance between planes along the normal, measured; NaN for one plane"),
    AttributeSpec("thickness_mm", "real", "mm", "slice thickness; NaN if unknown"),
    AttributeSpec("heart_rate_bpm", "real", "1/min", "heart rate; NaN if unknown"),
    AttributeSpec("flags", "list", "", "reason codes of what is unusual about the view", required=False),
    AttributeSpec(
        "intensity_offset",
        "real",
        "1",
        "stored value = (scanner's - offset) / scale, a whole number; mostly 0",
        required=False,
    ),
    AttributeSpec("intensity_scale", "real", "1", "see intensity_offset; mostly 1", required=False),
    AttributeSpec("rescale_slope", "real", "1", "DICOM rescale slope; 1 if the file has none", required=False),
    AttributeSpec("rescale_intercept", "real", "1", "DICOM rescale intercept; 0 if the file has none", required=False),
    AttributeSpec(
        "rescale_varies",
        "boolean",
        "1",
        "whether images differed in these two; then scanner's values are rescaled ones, and these two are 1 and 0",
        required=False,
    ),
    AttributeSpec("series_numbers", "list", "", "DICOM series number of each plane; -1 if unknown", required=False),
    AttributeSpec("series_descriptions", "list", "", "DICOM series descriptions, sorted", required=False),
    AttributeSpec("manufacturer", "text", "", "of the scanner", required=False),
    AttributeSpec("manufacturer_model", "text", "", "of the scanner", required=False),
    AttributeSpec("scanning_sequence", "text", "", "DICOM scanning sequence", required=False),
    AttributeSpec("sequence_variant", "text", "", "DICOM sequence variant", required=False),
    AttributeSpec("scan_options", "text", "", "DICOM scan options", required=False),
    AttributeSpec("sequence_name", "text", "", "DICOM sequence name", required=False),
    AttributeSpec("repetition_time_ms", "real", "ms", "repetition time; NaN if unknown", required=False),
    AttributeSpec("echo_time_ms", "real", "ms", "echo time; NaN if unknown", required=False),
    AttributeSpec("flip_angle_deg", "real", "degree", "flip angle; NaN if unknown", required=False),
    AttributeSpec("field_strength_t", "real", "T", "field strength; NaN if unknown", required=False),
    AttributeSpec("frame_names", "list", "", "names of the frames where files name them (ED, ES)", required=False),
)
"""What every view of a study says of itself."""

_PERFUSION_ATTRIBUTES = (
    AttributeSpec("state", "text", "", "rest, stress or unstated"),
    AttributeSpec("timed_by", "text", "", "how frames were timed: trigger, clock, heart_rate, unknown, or mixed"),
    AttributeSpec("start_ms", "real", "ms", "time of the first image on the scanner's clock; NaN if unknown"),
    AttributeSpec(
        "clipped_pixels",
        "real",
        "1",
        "pixels at the largest storable value in three frames or more, where images had scales of their own; else 0",
        required=False,
    ),
    AttributeSpec("inversion_ms", "real", "ms", "saturation delay; NaN if unknown", required=False),
    AttributeSpec("phase_encodings", "real", "1", "phase-encoding steps; NaN if unknown", required=False),
    AttributeSpec("echo_train_length", "real", "1", "echoes a shot; NaN if unknown", required=False),
)

STUDY = FileSpec(
    title="a study",
    path="studies/ab/cd/<participant>-<visit>.zarr.zip",
    writer="converter_version",
    groups=(
        GroupSpec(VIEWS, "A view", (*VIEW_ARRAYS, *REFERENCE_ARRAYS), VIEW_ATTRIBUTES),
        GroupSpec(
            PERFUSION_VIEWS,
            "A first-pass perfusion series",
            (*VIEW_ARRAYS, _ACQUIRED_MS),
            (*VIEW_ATTRIBUTES, *_PERFUSION_ATTRIBUTES),
        ),
    ),
    attributes=(
        AttributeSpec("participant", "text", "", "participant id"),
        AttributeSpec("visit", "text", "", "visit"),
        AttributeSpec("key", "text", "", "digest of all that the file was made from"),
        AttributeSpec("source_kind", "text", "", "ukb, zip, dicom, nifti or landmarks"),
        AttributeSpec("source_digest", "text", "", "digest of the source files"),
        AttributeSpec("converter_version", "integer", "1", "version of the convert stage"),
        AttributeSpec("excluded", "list", "", "series that were left out, each with its reason"),
        AttributeSpec("flags", "list", "", "reason codes of what is unusual about the study"),
        AttributeSpec("height_cm", "real", "cm", "height, as the scanner's operator entered it", required=False),
        AttributeSpec("weight_kg", "real", "kg", "weight, as the scanner's operator entered it", required=False),
        AttributeSpec("facts", "table", "", "what a public data set says of the case", required=False),
        AttributeSpec("reference_faults", "list", "", "references that were left out, and why", required=False),
    ),
)
"""The contract of a study file."""

_DIMS: Mapping[str, tuple[str, ...]] = {spec.name: spec.dims for spec in VIEW_ARRAYS}
# In memory a view may carry more than its file: training adds windows, evaluation adds predictions.
_REQUIRED_ATTRIBUTES = tuple(spec for spec in VIEW_ATTRIBUTES if spec.required)


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
    view = xr.Dataset({name: (_DIMS[name], value) for name, value in values.items()}, attrs=attributes)
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
        view = view.assign(labels=(IMAGE_DIMS, np.asarray(labels, np.uint8)))
        view = view.assign(labelled=("frame", labels.any(axis=(1, 2, 3))))
    if landmark_px is not None:
        if landmark_px.ndim != 3 or landmark_px.shape[0] != shape[0] or landmark_px.shape[2] != 2:
            raise ValueError(f"landmarks of shape {landmark_px.shape} are not ({shape[0]} frames, point, 2)")
        view = view.assign(landmark_px=(("frame", "point", "axis"), np.asarray(landmark_px, np.float64)))
    return view


REFERENCE_VARIABLES = tuple(spec.name for spec in REFERENCE_ARRAYS)
"""What :func:`with_reference` adds; no stage but training and evaluation looks at it."""


def check_view(view: xr.Dataset) -> None:
    """Raise ContractError unless ``view`` has the arrays and attributes of a cine view; it may have more."""
    for spec in VIEW_ARRAYS:
        if spec.name not in view:
            has = sorted(map(str, view.data_vars))
            raise ContractError(f"a cine view needs {spec.name} {spec.dims}; it has {has}")
        check_array(view[spec.name].variable, spec, "a cine view")
    check_attributes(view.attrs, _REQUIRED_ATTRIBUTES, "a cine view")


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


def _per_slice(direction: npt.ArrayLike, n_slices: int) -> npt.NDArray[np.float64]:
    vectors = np.broadcast_to(np.asarray(direction, np.float64), (n_slices, 3))
    return np.ascontiguousarray(vectors)
