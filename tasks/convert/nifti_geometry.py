"""Where the voxels of a NIfTI file lie, from a header whose fields may contradict each other.

The size of a voxel is stated twice: by ``pixdim`` and by the lengths of the columns of the sform. They are compared:

1. Both agree within 1 %: taken.
2. All columns have length one, or all of ``pixdim`` is one (the value of a field that nobody set): the other is taken,
   flagged ``affine_without_scale`` or ``pixdim_unset``. All files of ACDC are of the first sort.
3. Only one is a heart's (:func:`is_plausible`): taken, flagged ``spacing_disagrees``.
4. Both are, or none is: refused, ``spacing_contradictory`` or ``geometry_implausible``.

Signs of ``pixdim`` are left out. The way the volume lies in the body is stated twice as well, by the sform and by the
qform. Of those that are usable, the sform is taken, unless it is an atlas's or nobody set it (columns of length one
along the axes) and the other is not.

What is taken must be a heart's in the unit that the file states. Where it is one only in another unit, or only with
another axis as that of the slices, that is taken and flagged. Metres, millimetres and micrometres are too far apart for
two of them to fit.

Reference: nifti1.h (https://nifti.nimh.nih.gov): the three methods of orientation, ``pixdim``, ``xyzt_units``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from nibabel.spatialimages import HeaderDataError

from cmr_models.reasons import StudyRejected
from cmr_models.views import geometry
from cmr_models.views.geometry import Vector

Matrix = npt.NDArray[np.float64]

PIXEL_MM: Final = (0.3, 4.5)
"""In plane. Cine has 0.7 to 2.5 mm, networks' input up to 4."""
MOST_PLANE_MM: Final = 30.0
"""Distance between planes: 5 to 12 mm for cine, up to 25 mm for late enhancement and sparse stacks."""
LEAST_PLANE_MM: Final = 3.0
LEAST_STACK_MM: Final = 40.0
"""Planes may lie closer than 3 mm where the stack still spans half of a ventricle, which is 70 to 110 mm long."""
MOST_STACK_MM: Final = 300.0
MOST_PIXEL_RATIO: Final = 2.5
MOST_SIDE_RATIO: Final = 3.0
"""Longer to shorter side of an image; frames in place of rows make more."""

_AGREE: Final = 0.01
_ONE: Final = 1e-3
_DIRECTION: Final = 0.035  # 2 degrees
_UNITS: Final = {1: 1000.0, 2: 1.0, 3: 1e-3}
"""Code of ``xyzt_units`` -> mm."""
_SPACE_BITS: Final = 7
_SCANNER: Final = (1, 2)
"""Codes of coordinates of the scanner or aligned with it; greater ones are an atlas's."""
_RAS_TO_LPS: Final = np.diag([-1.0, -1.0, 1.0])


class Placement(NamedTuple):
    """Where voxels lie (LPS, mm), once the axes are in the order ``axes``.

    Attributes:
        axes: the file's spatial axes in the order column, row, slice.
        columns_mm: ``(3, 3)``, a column is the way from a voxel to the next along one of those axes.
        voxel_mm: size along those axes.
        origin_mm: centre of the first voxel.
        is_oriented: whether the header says how the volume lies in the body.
        flags: codes of what was decided.
    """

    axes: tuple[int, int, int]
    columns_mm: Matrix
    voxel_mm: Vector
    origin_mm: Vector
    is_oriented: bool
    flags: tuple[str, ...]


class _Sizes(NamedTuple):
    """Size of a voxel in the file's own unit, and what was decided to get it."""

    voxel: Vector
    flags: tuple[str, ...]


def place(header: Any, shape: Sequence[int]) -> Placement:
    """Where the voxels of a file lie.

    Args:
        header: nibabel's, unchecked: its repairs (a voxel size of zero becomes one) would hide what is wrong.
        shape: of the array: three axes of space, and frames.

    Raises:
        StudyRejected: ``geometry_missing``, ``geometry_implausible``, ``spacing_contradictory`` or ``axes_exchanged``.
    """
    size = (int(shape[0]), int(shape[1]), int(shape[2]))
    unit_code = int(header["xyzt_units"]) & _SPACE_BITS
    header, signs = _with_signs(header)
    _check_frames_are_last(header, shape, unit_code)
    affine, has_code, flags = _orientation(header, size)
    columns = _RAS_TO_LPS @ affine[:3, :3]
    lengths = np.linalg.norm(columns, axis=0)
    sizes = _decide_sizes(lengths, np.asarray(header["pixdim"][1:4], np.float64), size, unit_code)
    factor, axes, more = _fit(sizes.voxel, size, unit_code)
    is_oriented = has_code and not ("affine_without_scale" in sizes.flags and _is_bare(affine))
    found = {*signs, *flags, *sizes.flags, *more, *(() if is_oriented else ("orientation_unstated",))}
    order = list(axes)
    return Placement(
        axes,
        (columns * (sizes.voxel / lengths * factor))[:, order],
        sizes.voxel[order] * factor,
        _RAS_TO_LPS @ affine[:3, 3] * factor,
        is_oriented,
        tuple(sorted(found)),
    )


def is_plausible(voxel_mm: npt.ArrayLike, shape: Sequence[int]) -> bool:
    """Whether an array ``(column, row, slice)`` with such voxels can show a heart.

    Of a single plane, the third size says nothing.
    """
    col_mm, row_mm, slice_mm = (float(mm) for mm in np.asarray(voxel_mm, np.float64))
    if not (_within(col_mm, PIXEL_MM) and _within(row_mm, PIXEL_MM)):
        return False
    sides = (col_mm * shape[0], row_mm * shape[1])
    if max(col_mm, row_mm) > MOST_PIXEL_RATIO * min(col_mm, row_mm) or max(sides) > MOST_SIDE_RATIO * min(sides):
        return False
    return shape[2] == 1 or _is_stack(slice_mm, shape[2])


def _is_stack(slice_mm: float, n_slices: int) -> bool:
    extent_mm = n_slices * slice_mm
    if not (0 < slice_mm <= MOST_PLANE_MM and extent_mm <= MOST_STACK_MM):
        return False
    return n_slices < 3 or slice_mm >= LEAST_PLANE_MM or extent_mm >= LEAST_STACK_MM


def _within(value: float, bounds: tuple[float, float]) -> bool:
    return bounds[0] <= value <= bounds[1]


def _with_signs(header: Any) -> tuple[Any, list[str]]:
    """A copy with sizes that are positive, and a handedness that is 1 unless it is negative (as nifti1_io.c has it)."""
    signed = header.copy()
    pixdim = signed["pixdim"]
    flags = ["pixdim_negative"] if (pixdim[1:4] < 0).any() else []
    pixdim[1:4] = np.abs(pixdim[1:4])
    pixdim[0] = -1.0 if pixdim[0] < 0 else 1.0
    return signed, flags


def _check_frames_are_last(header: Any, shape: Sequence[int], unit_code: int) -> None:
    """Refuse frames along the first axis: images are a heart's only without it.

    Raises:
        StudyRejected: ``axes_exchanged``.
    """
    if len(shape) < 4 or min(shape) < 2:
        return
    pixdim = np.asarray(header["pixdim"], np.float64)
    as_stated = (int(shape[0]), int(shape[1]), int(shape[2]))
    others = (int(shape[1]), int(shape[2]), int(shape[3]))
    if _fits_some_order(pixdim[1:4], as_stated, unit_code):
        return
    if any(_fits(voxel, others, unit_code) for voxel in (pixdim[1:4], pixdim[2:5])):
        raise StudyRejected(
            "axes_exchanged", f"{shape[0]} columns, of {shape[1]} x {shape[2]} x {shape[3]} voxels each."
        )


# orientation


def _orientation(header: Any, shape: tuple[int, int, int]) -> tuple[Matrix, bool, list[str]]:
    """Affine (RAS), whether the file states it, and flags."""
    stated = list(_stated(header))
    found = [(code, affine) for code, affine in stated if affine is not None and _is_usable(affine)]
    square = [(code, affine) for code, affine in found if _is_square(affine)]
    found = square or found
    flags = ["affine_unusable"] if len(found) < len(stated) else []
    if not found:
        return _without_code(header, shape), False, []
    (code, affine), (other_code, other) = found[0], found[-1]
    if _same_directions(affine, other):
        return affine, True, flags
    if _is_bare(affine):
        return other, True, ["affine_without_scale"]
    if code not in _SCANNER and other_code in _SCANNER:
        affine = other
    return affine, True, ["orientation_disagrees"]


def _stated(header: Any) -> Iterator[tuple[int, Matrix | None]]:
    """Code and affine of the sform and of the qform, where their codes say that they hold; None if it is none."""
    for name, read in (("sform_code", header.get_sform), ("qform_code", header.get_qform)):
        if int(header[name]) <= 0:
            continue
        try:
            affine = np.asarray(read(), np.float64)
        except (ValueError, HeaderDataError):  # no quaternion, or no voxel size
            affine = None
        yield int(header[name]), affine


def _is_bare(affine: Matrix) -> bool:
    """Columns of length one along the axes: what software writes that knows neither size nor orientation."""
    return bool(np.allclose(np.abs(affine[:3, :3]), np.eye(3), atol=_ONE))


def _is_square(affine: Matrix) -> bool:
    """Whether rows and columns of the images are at right angles."""
    first, second, _ = (affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)).T
    return geometry.orthonormal(first, second)


def _is_usable(affine: Matrix) -> bool:
    """Finite, with three axes of which none lies in the plane of the others (within 30 degrees)."""
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite(affine).all() or not (lengths > 0).all():
        return False
    return bool(abs(np.linalg.det(affine[:3, :3] / lengths)) >= 0.5)


def _without_code(header: Any, shape: tuple[int, int, int]) -> Matrix:
    """What is assumed where no code is set, as nibabel does: first axis to the left, the middle at the origin.

    Raises:
        StudyRejected: ``geometry_missing`` if a code is set after all, or voxels have no size.
    """
    voxel = np.asarray(header["pixdim"][1:4], np.float64)
    has_size = bool(np.isfinite(voxel).all() and (voxel > 0).all())
    if not has_size or int(header["sform_code"]) > 0 or int(header["qform_code"]) > 0:
        raise StudyRejected("geometry_missing", "No affine of the header is finite with three axes.")
    affine = np.diag([*(voxel * (-1.0, 1.0, 1.0)), 1.0])
    affine[:3, 3] = -affine[:3, :3] @ ((np.asarray(shape) - 1) / 2)
    return affine


def _same_directions(first: Matrix, second: Matrix) -> bool:
    units = [affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0) for affine in (first, second)]
    return bool(np.abs(units[0] - units[1]).max() <= _DIRECTION)


# size


def _decide_sizes(by_affine: Vector, by_pixdim: Vector, shape: tuple[int, int, int], unit_code: int) -> _Sizes:
    """The rules 1 to 4 of this module."""
    known = bool(np.isfinite(by_pixdim).all() and (by_pixdim > 0).all())
    if not known:
        return _Sizes(by_affine, ("pixdim_unset",))
    counted = slice(0, 2 if shape[2] == 1 else 3)  # a single plane has no distance to the next
    if np.allclose(by_affine[counted], by_pixdim[counted], rtol=_AGREE, atol=0.0):
        return _Sizes(by_affine, ())
    fits = [_fits(by_affine, shape, unit_code), _fits(by_pixdim, shape, unit_code)]
    if _is_unset(by_affine) and fits[1]:
        return _Sizes(by_pixdim, ("affine_without_scale",))
    if _is_unset(by_pixdim) and fits[0]:
        return _Sizes(by_affine, ("pixdim_unset",))
    if all(fits):
        raise StudyRejected("spacing_contradictory", f"{_text(by_affine)} by the affine, {_text(by_pixdim)} by pixdim.")
    if not any(fits):
        raise StudyRejected("geometry_implausible", f"{_text(by_affine)} by the affine, {_text(by_pixdim)} by pixdim.")
    return _Sizes(by_affine if fits[0] else by_pixdim, ("spacing_disagrees",))


def _is_unset(voxel: Vector) -> bool:
    return bool(np.abs(voxel - 1.0).max() <= _ONE)


def _fits(voxel: Vector, shape: tuple[int, int, int], unit_code: int) -> bool:
    return any(is_plausible(voxel * factor, shape) for factor in _units(unit_code))


def _fits_some_order(voxel: Vector, shape: tuple[int, int, int], unit_code: int) -> bool:
    try:
        _fit(voxel, shape, unit_code)
    except StudyRejected:
        return False
    return True


def _units(unit_code: int) -> list[float]:
    """Millimetres a unit: the stated one first, millimetres where none is stated."""
    stated = _UNITS.get(unit_code, 1.0)
    return [stated, *(factor for factor in _UNITS.values() if factor != stated)]


def _fit(voxel: Vector, shape: tuple[int, int, int], unit_code: int) -> tuple[float, tuple[int, int, int], list[str]]:
    """Unit and order of axes in which the voxels are a heart's: as stated, else in another unit, else in another order.

    Raises:
        StudyRejected: ``geometry_implausible``.
    """
    stated, *others = _units(unit_code)
    if is_plausible(voxel * stated, shape):
        return stated, (0, 1, 2), []
    for factor in others:
        if is_plausible(voxel * factor, shape):
            return factor, (0, 1, 2), ["unit_corrected"]
    for axes in ((1, 2, 0), (0, 2, 1)):
        if is_plausible(voxel[list(axes)] * stated, [shape[k] for k in axes]):
            return stated, axes, ["axes_permuted"]
    raise StudyRejected("geometry_implausible", f"{_text(voxel * stated)} mm, {shape[0]} x {shape[1]} x {shape[2]}.")


def _text(voxel: Vector) -> str:
    return " x ".join(f"{size:.4g}" for size in voxel)
