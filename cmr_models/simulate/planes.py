"""Position of the heart in the body, and the image planes that an operator plans."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cmr_models.simulate.anatomy import Heart
from cmr_models.simulate.settings import ImagingSettings
from cmr_models.simulate.traits import HeartTraits

FloatArray = npt.NDArray[np.float64]

# Middle of the LV in the body (LPS mm, origin in the middle of the chest) and its axes in a typical adult.
_LV_CENTRE_MM = np.array([42.0, -28.0, 0.0])
_APEX_DIR = np.array([0.68, -0.54, -0.50])
_SEPTUM_DIR = np.array([-0.66, -0.74, -0.10])

# Angle of the long-axis planes about the axis, from the septum towards the diaphragm (degrees).
LAX_ANGLE_DEG = {"lax_2c": 78.0, "lax_3c": 138.0, "lax_4c": 12.0}


@dataclass(frozen=True)
class Pose:
    """Position and orientation of the heart: ``patient = origin + axes @ heart``."""

    origin_mm: FloatArray  # (3,)
    axes: FloatArray  # (3, 3), columns x, y, z of the heart

    def to_patient(self, points_mm: FloatArray) -> FloatArray:
        """Patient coordinates ``(..., 3)`` of points in heart coordinates."""
        return np.asarray(self.origin_mm + points_mm @ self.axes.T)

    def to_heart(self, points_mm: FloatArray) -> FloatArray:
        """Heart coordinates ``(..., 3)`` of points in patient coordinates."""
        return np.asarray((points_mm - self.origin_mm) @ self.axes)


@dataclass(frozen=True)
class Planes:
    """A stack of planes: first pixel centre, directions and spacing, as in :func:`cmr_models.contracts.cine_view`."""

    position_mm: FloatArray  # (slice, 3)
    row_dir: FloatArray  # (slice, 3)
    col_dir: FloatArray  # (slice, 3)
    pixel_mm: float
    shape: tuple[int, int]
    thickness_mm: float

    @property
    def normal(self) -> FloatArray:
        """Unit normals, ``(slice, 3)``."""
        return np.cross(self.row_dir, self.col_dir)

    def points(self, k: int) -> FloatArray:
        """Patient coordinates ``(row, col, 3)`` of the pixel centres of plane ``k``."""
        rows, cols = np.arange(self.shape[0]) * self.pixel_mm, np.arange(self.shape[1]) * self.pixel_mm
        return np.asarray(
            self.position_mm[k] + rows[:, None, None] * self.col_dir[k] + cols[None, :, None] * self.row_dir[k]
        )


def heart_pose(traits: HeartTraits) -> Pose:
    """Position and orientation of a person's heart."""
    z = _rotate(_APEX_DIR / np.linalg.norm(_APEX_DIR), np.array([0.0, 0, 1]), traits.axis_left_deg)
    flat = np.cross(z, np.array([0.0, 0, 1]))
    z = _rotate(z, flat / np.linalg.norm(flat), -traits.axis_down_deg)
    x = _SEPTUM_DIR - (_SEPTUM_DIR @ z) * z
    x = _rotate(x / np.linalg.norm(x), z, traits.roll_deg)
    y = np.cross(z, x)
    origin = _LV_CENTRE_MM - 0.5 * traits.lv_length_mm * z
    return Pose(origin, np.stack([x, y, z], axis=1))


def sax_planes(heart: Heart, settings: ImagingSettings, rng: np.random.Generator) -> Planes:
    """A short-axis stack from above the base to beyond the apex, base first."""
    pose = heart_pose(heart.traits)
    normal = tilt(pose.axes[:, 2], settings.tilt_deg, rng)
    first = -0.5 * settings.slice_mm + rng.normal(0, 1.0)  # the second slice begins at the mitral plane
    reach = heart.apex_z_mm + 0.1 * settings.slice_mm - first
    n_slices = settings.n_slices or int(np.ceil(reach / settings.slice_mm)) + 1
    heights = first + settings.slice_mm * np.arange(n_slices)
    middle = heart.apex_z_mm / 2
    centre = pose.to_patient(np.array([12.0, 0.0, middle]))
    centres = centre + (heights - middle)[:, None] * normal
    return plan_planes(centres, normal, settings, settings.thickness_mm, rng)


def lax_plane(heart: Heart, view: str, settings: ImagingSettings, rng: np.random.Generator) -> Planes:
    """A 2-, 3- or 4-chamber plane."""
    pose = heart_pose(heart.traits)
    angle = np.deg2rad(LAX_ANGLE_DEG[view] + rng.normal(0, settings.turn_deg))
    along = pose.axes @ np.array([np.cos(angle), np.sin(angle), 0.0])
    normal = tilt(np.cross(along, pose.axes[:, 2]), settings.tilt_deg, rng)
    centre = (
        pose.to_patient(np.array([0.0, 0.0, 0.25 * heart.apex_z_mm])) + rng.normal(0, settings.turn_deg / 3) * normal
    )
    return plan_planes(centre[None], normal, settings, settings.lax_thickness_mm, rng)


def plan_planes(
    centres: FloatArray,
    normal: FloatArray,
    settings: ImagingSettings,
    thickness_mm: float,
    rng: np.random.Generator,
) -> Planes:
    """Planes about ``centres``, oriented as on a scanner: rows run left or posterior, columns run down."""
    row, col = in_plane_directions(normal, settings.rotation_deg)
    jitter = rng.uniform(-1, 1, 2) * settings.centre_jitter_mm
    shape, pixel = settings.matrix, settings.pixel_mm
    corner = (jitter[0] - (shape[1] - 1) * pixel / 2) * row + (jitter[1] - (shape[0] - 1) * pixel / 2) * col
    n = len(centres)
    return Planes(
        centres + corner,
        np.broadcast_to(row, (n, 3)).copy(),
        np.broadcast_to(col, (n, 3)).copy(),
        pixel,
        shape,
        thickness_mm,
    )


def in_plane_directions(normal: FloatArray, rotation_deg: float) -> tuple[FloatArray, FloatArray]:
    """Row and column direction of a plane: columns run posterior on axial planes, otherwise down."""
    down = np.array([0.0, 1, 0]) if abs(normal[2]) > 0.75 else np.array([0.0, 0, -1])
    col = down - (down @ normal) * normal
    col = _rotate(col / np.linalg.norm(col), normal, rotation_deg)
    row = np.cross(col, normal)
    if row @ np.array([1.0, 0.5, 0]) < 0:
        row = -row
    return row, col


def tilt(normal: FloatArray, tilt_deg: float, rng: np.random.Generator) -> FloatArray:
    """Tilt a unit vector at random, by an angle of the order of ``tilt_deg``."""
    off = normal + np.tan(np.deg2rad(tilt_deg)) * rng.normal(0, 0.7, 3)
    return np.asarray(off / np.linalg.norm(off))


def _rotate(vector: FloatArray, axis: FloatArray, angle_deg: float) -> FloatArray:
    """Rotate a vector about an axis (Rodrigues' formula)."""
    angle = np.deg2rad(angle_deg)
    return np.asarray(
        vector * np.cos(angle) + np.cross(axis, vector) * np.sin(angle) + axis * (axis @ vector) * (1 - np.cos(angle))
    )
