"""Signed distances (mm, positive inside) to what lies at the base of the heart: atria, veins, great vessels, leaflets.

All take points in the frame of the heart (:mod:`cmr_models.simulate.anatomy`).
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from cmr_models.simulate.anatomy import HeartState, atrial_profile, atrial_radius_share
from cmr_models.simulate.details import HeartDetails, vessel_ends

FloatArray = npt.NDArray[np.float64]
Image = npt.NDArray[np.float32]

_LA_CENTRE, _LA_ASPECT = (-9.0, 8.0), (1.12, 0.9)
_RA_CENTRE, _RA_ASPECT = (47.0, 14.0), (0.92, 1.1)
_FAR = np.float32(-9)


class Points(Protocol):
    """Heart coordinates of points, with the long axis sheared."""

    @property
    def x(self) -> Image: ...
    @property
    def y(self) -> Image: ...
    @property
    def z(self) -> Image: ...


def atria_inside(points: Points, state: HeartState, details: HeartDetails) -> tuple[Image, Image]:
    """Right and left atrium."""
    base = details.base
    (left_wide, right_wide), (left_long, right_long) = base.atrial_width, base.atrial_length
    left_mm, right_mm = base.atrial_shift_mm
    la = _atrium(
        points, (_LA_CENTRE[0] + left_mm, _LA_CENTRE[1]), _LA_ASPECT, state.base_z_mm - 1,
        state.la_length_mm * left_long, state.la_radius_mm * left_wide, base.atrial_middle,
    )  # fmt: skip
    ra = _atrium(
        points, (_RA_CENTRE[0] + right_mm, _RA_CENTRE[1]), _RA_ASPECT, state.tricuspid_z_mm - 1,
        state.ra_length_mm * right_long, state.ra_radius_mm * right_wide, base.atrial_middle,
    )  # fmt: skip
    if base.atrial_septum_mm:
        ra = np.minimum(ra, -la - np.float32(base.atrial_septum_mm))
    return ra, la


def _atrium(
    points: Points,
    centre: tuple[float, float],
    aspect: tuple[float, float],
    valve_z_mm: float,
    length_mm: float,
    radius_mm: float,
    middle: float,
) -> Image:
    v = (np.float32(valve_z_mm) - points.z) * np.float32(1 / length_mm)
    scale = np.sqrt(aspect[0] * aspect[1])
    across = np.hypot(
        (points.x - np.float32(centre[0])) * np.float32(scale / aspect[0]),
        (points.y - np.float32(centre[1])) * np.float32(scale / aspect[1]),
    )
    share = np.float32(atrial_radius_share(middle))
    radius = np.float32(radius_mm) * share * np.sqrt(atrial_profile(v, middle).astype(np.float32))
    inside = np.where(radius > 0, radius - across, _FAR)
    return np.asarray(np.minimum(inside, v * np.float32(length_mm)), np.float32)


def veins_inside(points: Points, state: HeartState, details: HeartDetails) -> Image:
    """Pulmonary veins, which meet at the roof of the left atrium."""
    roof = np.array([
        _LA_CENTRE[0] + details.base.atrial_shift_mm[0], _LA_CENTRE[1],
        state.base_z_mm - 0.8 * state.la_length_mm * details.base.atrial_length[0],
    ])  # fmt: skip
    inside = np.full_like(points.x, _FAR)
    for start, end, radius in details.base.veins:
        vein = np.float32(radius) - segment_distance(points, roof + start, roof + end)
        inside = np.maximum(inside, vein)
    return inside


def outflow_tubes(state: HeartState, details: HeartDetails) -> list[tuple[FloatArray, FloatArray, float]]:
    """Aortic root and pulmonary trunk: start, end, radius (mm)."""
    z, size = state.base_z_mm, float(state.inner.max()) / 35
    rv_top = z - 0.12 * state.length_mm
    aorta, trunk = vessel_ends(details)
    return [
        (_root_start(state, size), aorta, details.aorta_mm),
        (np.array([30.0, -38.0, rv_top]) * [size, size, 1], trunk, details.pulmonary_mm),
    ]


def aorta_inside(points: Points, state: HeartState, details: HeartDetails) -> Image:
    """Aortic root with its sinuses, and ascending aorta."""
    start, end, radius = outflow_tubes(state, details)[0]
    inside = np.float32(radius) - segment_distance(points, start, end)
    if details.base.ascending_mm is not None:
        arch = end + np.array(details.base.ascending_mm)
        inside = np.maximum(inside, np.float32(radius) - segment_distance(points, end, arch))
    if details.base.sinus > 1:
        along = (end - start) / np.linalg.norm(end - start)
        middle = start + (4 + details.base.outflow_mm + 0.8 * radius) * along
        sinuses = np.float32(radius * details.base.sinus) - segment_distance(points, middle, middle + 3 * along)
        inside = np.maximum(inside, sinuses)
    return np.asarray(inside, np.float32)


def _root_start(state: HeartState, size: float) -> FloatArray:
    return np.array([9.0, -11.0, state.base_z_mm + 4]) * [size, size, 1]


def appendages_inside(points: Points, state: HeartState, details: HeartDetails) -> tuple[Image, Image]:
    """Left and right atrial appendage.

    The left one lies beside the pulmonary trunk, the right one before the aortic root.
    """
    z, (left_mm, right_mm) = state.base_z_mm, details.appendage_mm
    left = left_mm - segment_distance(points, np.array([-18.0, -12.0, z - 16]), np.array([-8.0, -44.0, z - 10]))
    right = right_mm - segment_distance(points, np.array([46.0, 0.0, z - 22]), np.array([40.0, -26.0, z - 18]))
    return (
        left if left_mm else np.full_like(points.x, _FAR),
        right if right_mm else np.full_like(points.x, _FAR),
    )


def orifices_inside(points: Points, state: HeartState, details: HeartDetails) -> Image:
    """The openings of mitral and tricuspid valve, where no wall lies between the blood of atrium and ventricle."""
    mitral = np.minimum(
        np.float32(0.85 * float(state.endo.max())) - np.hypot(points.x, points.y),
        4 - np.abs(points.z - np.float32(state.base_z_mm)),
    )
    x, y = _RA_CENTRE[0] + details.base.atrial_shift_mm[1], _RA_CENTRE[1]
    tricuspid = np.minimum(
        np.float32(14) - np.hypot(points.x - np.float32(x), points.y - np.float32(y)),
        4 - np.abs(points.z - np.float32(state.tricuspid_z_mm)),
    )
    return np.asarray(np.maximum(mitral, tricuspid), np.float32)


def mitral_leaflets(points: Points, state: HeartState, details: HeartDetails, closed: bool) -> Image:
    """The two leaflets of the mitral valve: a tent over the ring, or a funnel into the ventricle."""
    half = np.float32(details.base.leaflet_mm / 2)
    ring = float(state.endo.max()) * 0.95
    away = np.hypot(points.x, points.y) / np.float32(ring)
    below = points.z - np.float32(state.base_z_mm)
    if closed:
        surface = np.abs(below - np.float32(0.14 * ring) * np.clip(1 - away, 0, 1))
        return np.where(away < 1, half - surface, _FAR)
    length = np.float32(0.75 * ring * details.base.leaflet_open)
    down = below / max(length, np.float32(1))
    lies = np.float32(1) - np.float32(0.65) * down  # radius of the funnel, which narrows towards its free edge
    surface = np.abs(away - lies) * np.float32(ring * 0.8)
    return np.where((down > 0) & (down < 1), half - surface, _FAR)


def tricuspid_leaflets(points: Points, state: HeartState, details: HeartDetails, right_ventricle: Image) -> Image:
    """The closed tricuspid valve: a curved sheet across the inflow of the right ventricle."""
    half = np.float32(details.base.leaflet_mm / 2)
    centre = _RA_CENTRE[0] + details.base.atrial_shift_mm[1]
    bulge = np.clip(1 - np.hypot(points.x - np.float32(centre), points.y - np.float32(_RA_CENTRE[1])) / 24, 0, 1)
    surface = np.abs(points.z - np.float32(state.tricuspid_z_mm) - 5 * bulge)
    return np.asarray(np.minimum(half - surface, right_ventricle + 2), np.float32)


def segment_distance(points: Points, start: FloatArray, end: FloatArray) -> Image:
    """Distance to the line from ``start`` to ``end``."""
    axis = (end - start).astype(np.float32)
    px, py = points.x - np.float32(start[0]), points.y - np.float32(start[1])
    pz = points.z - np.float32(start[2])
    share = np.clip((px * axis[0] + py * axis[1] + pz * axis[2]) * np.float32(1 / (axis @ axis)), 0, 1)
    return np.asarray(np.sqrt((px - share * axis[0]) ** 2 + (py - share * axis[1]) ** 2 + (pz - share * axis[2]) ** 2))
