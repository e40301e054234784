"""The beating heart as tables of radii about its long axis, scaled so that its volumes are exactly those of its traits.

Heart frame (mm): origin at the centre of the mitral plane at end-diastole, ``x`` towards the middle of the
septum and the RV, ``y`` towards the diaphragm, ``z`` towards the apex. A point has a height ``u`` (0 at the mitral
plane, 1 at the endocardial apex; it moves with the wall) and an angle ``theta`` from ``x`` towards ``y``.
Every wall is a radius over ``(u, theta)``. A volume is a sum over a table; one look-up tells whether a point is inside.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter, gaussian_filter1d, maximum_filter1d

from cmr_models.simulate.details import HeartDetails
from cmr_models.simulate.motion import atrium_fill, systole_fraction, ventricle_fill
from cmr_models.simulate.traits import HeartTraits

FloatArray = npt.NDArray[np.float64]
Table = npt.NDArray[np.float32]

MYOCARDIAL_DENSITY_G_ML = 1.05
N_HEIGHTS, N_ANGLES = 192, 256
HEIGHT_MIN, HEIGHT_MAX = -0.34, 1.16
_CAP = 0.075  # thickness of the apex as a fraction of the cavity length
_WIDEST = 0.30  # height at which the LV cavity is widest
_ATRIAL_MIDDLE = 0.45  # where an atrium is widest, as a fraction of its length from the valve
_OUTFLOW = 0.15  # how far the RV reaches above the mitral plane, as a fraction of the cavity length

HEIGHTS = np.linspace(HEIGHT_MIN, HEIGHT_MAX, N_HEIGHTS)
ANGLES = np.arange(N_ANGLES) * 2 * np.pi / N_ANGLES
_DU = float(HEIGHTS[1] - HEIGHTS[0])
_DTHETA = 2 * np.pi / N_ANGLES


@dataclass(frozen=True)
class HeartState:
    """The heart at one phase. Tables are ``(height, angle)`` in mm, 0 outside the chamber."""

    phase: float
    base_z_mm: float
    length_mm: float
    endo: Table
    epi: Table
    inner: Table  # ``epi`` continued above the mitral plane: where the RV begins
    rv: Table  # outer radius of the RV cavity
    envelope: Table  # outer radius of the epicardial fat
    core: Table  # radius within which the LV cavity is free of trabeculae
    rv_core: Table  # the same for the RV
    la_radius_mm: float
    la_length_mm: float
    ra_radius_mm: float
    ra_length_mm: float
    tricuspid_z_mm: float
    twist_rad: float  # rotation of the apex against the base


class Heart:
    """A heart with exactly the volumes of its traits.

    Args:
        traits: size, function and shape.
        rng: random numbers for the texture and the small irregularities of the walls.
        details: what varies between patients beyond the traits; that of the simulated biobank by default.
    """

    def __init__(self, traits: HeartTraits, rng: np.random.Generator, details: HeartDetails | None = None) -> None:
        self.traits, self.details = traits, details or HeartDetails()
        self.seed = int(rng.integers(2**63))
        draw = np.random.default_rng(self.seed)
        self._wobble = draw.normal(0, [0.035, 0.022, 0.012]), draw.uniform(0, 2 * np.pi, (3, 2))
        self._rv_shape = draw.normal(0, 1, 7)
        self._trabeculae = _ridges(draw, 3.0, 3.0, 0.2) * traits.trabeculation
        self._rv_trabeculae = _ridges(draw, 4.0, 5.0, 0.1)
        self._wall_noise = 1 + 0.07 * _waves(draw, 14.0, 14.0)
        self._fat_noise = np.clip(0.55 + 0.75 * _waves(draw, 12.0, 10.0), 0, 2.5)
        self.papillaries = _papillaries(draw, traits.papillary_size)
        self.band_height = float(draw.uniform(0.45, 0.7)) if draw.random() < 0.7 else float("nan")

    @cached_property
    def _lv_shape(self) -> FloatArray:
        """LV cavity radius relative to its largest, ``(height, angle)``."""
        amplitudes, phases = self._wobble
        orders = np.arange(2, 5)
        overload = float(np.clip(self.traits.rvedv_ml / self.traits.lvedv_ml - 1.4, 0, 1.0))
        flattened = (
            -self.details.septum_flattening
            * overload
            * np.exp(-0.5 * (np.angle(np.exp(1j * ANGLES)) / 0.7) ** 2)[None, :]
        )
        wave = sum(
            a * np.cos(k * ANGLES[None, :] + p[0] + p[1] * HEIGHTS[:, None])
            for a, k, p in zip(amplitudes, orders, phases, strict=True)
        )
        return np.asarray(_lv_profile(HEIGHTS)[:, None] * (1 + wave + flattened))

    @cached_property
    def _wall_area(self) -> FloatArray:
        """``epi^2 - endo^2`` (mm2) at end-diastole: the wall at each height and angle, scaled to the mass."""
        traits = self.traits
        endo = self._endo(traits.lvedv_ml, traits.lv_length_mm)
        thickness = self._thickness_shape(float(endo.max()))
        volume = traits.lvm_g / MYOCARDIAL_DENSITY_G_ML * 1000
        linear = _volume_mm3(2 * endo * thickness, traits.lv_length_mm)
        square = _volume_mm3(thickness**2, traits.lv_length_mm)
        scale = (-linear + np.sqrt(linear**2 + 4 * square * volume)) / (2 * square)
        return np.asarray(2 * endo * thickness * scale + (thickness * scale) ** 2)

    def _thickness_shape(self, radius_mm: float) -> FloatArray:
        """Relative wall thickness: the septum is thicker, the apex thinner, an infarct thin."""
        traits = self.traits
        nominal = 0.32 * radius_mm
        outer = (radius_mm + nominal) * _lv_profile(HEIGHTS / (1 + _CAP))
        inner = radius_mm * _lv_profile(HEIGHTS)
        base = np.where((HEIGHTS >= 0) & (HEIGHTS <= 1 + _CAP), outer - inner, 0.0)[:, None]
        base = base * np.interp(HEIGHTS, [0.0, 0.35, 1.0], [1.0, 1.05, traits.apical_thickness])[:, None]
        swirl = np.deg2rad(traits.thickness_swirl_deg) * HEIGHTS[:, None]
        septal = 1 + (traits.septal_thickness - 1) * np.cos(ANGLES[None, :] + swirl)
        return np.asarray(
            base * self._wall_noise * np.maximum(septal, 0.45) * (1 - traits.infarct_depth * self.infarct)
        )

    @cached_property
    def infarct(self) -> FloatArray:
        """Weight 0..1 of the scarred sector."""
        away = np.angle(np.exp(1j * (ANGLES - np.deg2rad(self.traits.infarct_angle_deg))))
        sector = np.exp(-0.5 * (away / 0.65) ** 4)
        return np.asarray(sector[None, :] * np.interp(HEIGHTS, [0.1, 0.4, 1.0], [0.2, 1.0, 1.0])[:, None])

    def _endo(self, volume_ml: float, length_mm: float, moved: float = 0.0) -> FloatArray:
        """LV cavity radius with this volume, ``moved`` from end-diastole (0) to end-systole (1)."""
        closing = np.interp(HEIGHTS, [0.05, 0.45, 1.0], [0.0, 0.85, 1.0])[:, None]
        shape = self._lv_shape * (1 - self.details.squeeze * moved * closing)
        unit = _volume_mm3(shape**2, length_mm)
        return np.asarray(shape * float(np.sqrt(volume_ml * 1000 / unit)))

    @cached_property
    def _rv_crescent(self) -> tuple[FloatArray, FloatArray]:
        """Excess of the outer RV radius over the LV epicardium, relative to it, of an RV without an apex; weight of the
        outflow by angle.
        """
        a, b, c, d, e, _, g = self._rv_shape
        turn = np.deg2rad(self.traits.rv_swing_deg) + np.interp(HEIGHTS, [-0.3, 0.0, 0.3], [-0.75, -0.2, 0.0])
        angle = np.angle(np.exp(1j * (ANGLES[None, :] - turn[:, None])))
        centre, axes = (0.74 + 0.05 * a, 0.1 + 0.06 * b), (1.18 + 0.06 * c, 0.98 + 0.05 * d)
        round_wall = _ellipse_radius(angle, *centre, *axes)
        floor = _line_radius(angle, 1.2, 1.06 + 0.06 * e)
        front = _line_radius(angle, -0.55 + 0.1 * g, 1.5 + 0.12 * g)
        outer = (round_wall**-7 + floor**-7 + front**-7) ** (-1 / 7)
        excess = np.clip(outer - 1.0, 0, None)
        outflow = np.exp(-0.5 * ((np.angle(np.exp(1j * (ANGLES + 0.85)))) / 0.5) ** 2)
        return excess, outflow

    def _rv_taper(self, moved: float) -> FloatArray:
        """Relative thickness of the RV by height: it narrows above the valve and ends at its apex."""
        apex = self.details.rv_apex + 0.03 * self._rv_shape[5] - self.details.rv_shortening * moved
        taper = np.sqrt(np.clip(1 - (np.clip(HEIGHTS - 0.05, 0, None) / (apex - 0.05)) ** 2.2, 0, 1))
        return np.asarray(taper * np.interp(HEIGHTS, [-0.3, 0.0, 0.15], [0.78, 0.95, 1.0]))

    def _rv_excess(
        self, epi: FloatArray, volume_ml: float, length_mm: float, inflow_u: float, moved: float
    ) -> FloatArray:
        """RV thickness over the LV epicardium (mm), scaled to the volume."""
        excess, outflow = self._rv_crescent
        excess = excess * self._rv_taper(moved)[:, None]
        floor_u = inflow_u - (_OUTFLOW + inflow_u) * np.clip(1.6 * outflow - 0.25, 0, 1)
        inside = np.clip((HEIGHTS[:, None] - floor_u[None, :]) / _DU + 0.5, 0, 1)
        shape = excess * float(epi.max()) * np.sqrt(inside)
        shape = np.where(inside > 0.5, shape, 0.0)
        linear = _volume_mm3(2 * epi * shape, length_mm)
        square = _volume_mm3(shape**2, length_mm)
        scale = (-linear + np.sqrt(linear**2 + 4 * square * volume_ml * 1000)) / (2 * square)
        return np.asarray(shape * scale)

    def volumes_ml(self, phase: float) -> dict[str, float]:
        """True volumes (mL) at a phase: lv, rv, la, ra, myocardium (constant: muscle does not compress)."""
        traits = self.traits
        fill = float(ventricle_fill(phase, traits.heart_rate_bpm, traits.diastolic_fraction))
        atria = float(atrium_fill(phase, traits.heart_rate_bpm, traits.diastolic_fraction))
        return {
            "lv": traits.lvesv_ml + fill * (traits.lvedv_ml - traits.lvesv_ml),
            "rv": traits.rvesv_ml + fill * (traits.rvedv_ml - traits.rvesv_ml),
            "la": traits.la_min_ml + atria * (traits.la_max_ml - traits.la_min_ml),
            "ra": traits.ra_min_ml + atria * (traits.ra_max_ml - traits.ra_min_ml),
            "myocardium": traits.lvm_g / MYOCARDIAL_DENSITY_G_ML,
        }

    @property
    def end_systole(self) -> float:
        """Phase of the smallest LV."""
        return systole_fraction(self.traits.heart_rate_bpm)

    @cached_property
    def full_radius_mm(self) -> float:
        """The largest radius of the LV cavity at end-diastole."""
        return float(self._endo(self.traits.lvedv_ml, self.traits.lv_length_mm).max())

    @property
    def apex_z_mm(self) -> float:
        """Position of the epicardial apex, which does not move along the axis."""
        return self.traits.lv_length_mm * (1 + _CAP)

    @cached_property
    def reach(self) -> tuple[FloatArray, FloatArray]:
        """Heights (mm) along the axis, and the largest distance of the heart from the axis there in any frame (mm)."""
        heights_mm = HEIGHTS * self.traits.lv_length_mm
        window = 2 * int(16 / (_DU * self.traits.lv_length_mm)) + 1
        return heights_mm, maximum_filter1d(self.state(0.0).envelope.max(axis=1).astype(np.float64), window) + 8

    def state(self, phase: float) -> HeartState:
        """The heart at a phase of the cycle (0 end-diastole)."""
        traits, volumes = self.traits, self.volumes_ml(phase)
        moved = 1 - float(ventricle_fill(phase, traits.heart_rate_bpm, traits.diastolic_fraction))
        base_z = traits.mapse_mm * moved
        length = (self.apex_z_mm - base_z) / (1 + _CAP)
        endo = self._endo(volumes["lv"], length, moved)
        epi = np.sqrt(endo**2 + self._wall_area * (traits.lv_length_mm / length))
        inner = _extend_radius(epi)
        tricuspid = 2.0 + traits.tapse_mm * moved
        excess = self._rv_excess(inner, volumes["rv"], length, (tricuspid - base_z) / length, moved)
        rv = inner + excess
        la_length = 1.15 * traits.lv_length_mm**0.5 * traits.la_max_ml**0.25 + base_z
        ra_length = 1.1 * traits.lv_length_mm**0.5 * traits.ra_max_ml**0.25 + 0.7 * tricuspid
        return HeartState(
            phase=phase,
            base_z_mm=base_z,
            length_mm=length,
            endo=endo.astype(np.float32),
            epi=epi.astype(np.float32),
            inner=inner.astype(np.float32),
            rv=np.where(excess > 0, rv, 0.0).astype(np.float32),
            envelope=self._envelope(inner, excess).astype(np.float32),
            core=self._core(endo, length, moved).astype(np.float32),
            rv_core=(rv - excess * np.clip(self.details.rv_trabeculation * self._rv_trabeculae, 0, 0.45)).astype(
                np.float32
            ),
            la_radius_mm=_atrial_radius(volumes["la"], la_length),
            la_length_mm=la_length,
            ra_radius_mm=_atrial_radius(volumes["ra"], ra_length),
            ra_length_mm=ra_length,
            tricuspid_z_mm=tricuspid,
            twist_rad=float(np.deg2rad(traits.torsion_deg)) * moved,
        )

    def _core(self, endo: FloatArray, length_mm: float, moved: float) -> FloatArray:
        """Radius within which the cavity is free of trabeculae.

        It never becomes 0: where a hypertrophic ventricle almost closes, experts still draw the remaining blood.
        """
        rough = np.minimum(endo * (1 - self._trabecular_depth(moved)), self._compact_radius(endo, length_mm))
        return np.asarray(np.maximum(rough, self.details.clear_share * endo))

    def _compact_radius(self, endo: FloatArray, length_mm: float) -> FloatArray:
        """Radius of the cavity inside the layer of trabeculae that lines the whole wall.

        Experts draw the endocardium outside this layer, where the compact wall begins. The layer keeps its volume as
        the cavity shrinks: 1.4 mm at end-diastole become 2.5 mm at end-systole. A network that was trained on the
        expert contours of the Sunnybrook Cardiac Data draws the border at about the same distance from the blood.
        """
        full = self._endo(self.traits.lvedv_ml, self.traits.lv_length_mm)
        layer = full**2 - np.clip(full - self.details.lining_mm, 0, None) ** 2
        return np.asarray(np.sqrt(np.clip(endo**2 - layer * self.traits.lv_length_mm / length_mm, 0, None)))

    def _trabecular_depth(self, moved: float) -> FloatArray:
        reach = np.interp(HEIGHTS, [0.1, 0.3, 0.7, 1.0], [0.0, 0.09, 0.22, 0.40])[:, None]
        return np.clip(reach * self._trabeculae * (1 + 0.4 * moved), 0, 0.75)

    def _envelope(self, epi: FloatArray, excess: FloatArray) -> FloatArray:
        """Outer radius of the epicardial fat, which fills the grooves and covers the RV."""
        wall = np.where(excess > 0, self.details.rv_wall_mm, 0.6)
        outer = epi + excess + wall * np.clip(excess / 2, 0.2, 1)
        bridged = gaussian_filter1d(maximum_filter1d(outer, 41, axis=1, mode="wrap"), 12, axis=1, mode="wrap")
        groove = np.clip(bridged - outer, 0, None) * np.clip(0.35 + 0.5 * self.traits.fatness, 0, 0.9)
        layer = (0.8 + 5 * self.traits.fatness) * np.clip(0.2 + np.cos(ANGLES - 0.2), 0, 1)[None, :]
        return np.asarray(outer + groove + layer * self._fat_noise)


def lookup(heights: Table, angle_index: npt.NDArray[np.int32]) -> npt.NDArray[np.intp]:
    """Flat index into a ``(height, angle)`` table; heights outside the table are clamped (radius 0 there)."""
    row = np.clip((heights - np.float32(HEIGHT_MIN)) * np.float32(1 / _DU) + np.float32(0.5), 0, N_HEIGHTS - 1)
    return np.asarray(row.astype(np.int32) * N_ANGLES + angle_index)


def tilt_mm(x_mm: npt.NDArray[Any], y_mm: npt.NDArray[Any], base_tilt: float) -> npt.NDArray[Any]:
    """Shift of the valve plane towards the apex at (x, y), in mm: it differs between the aortic and the lateral side.

    The whole heart is sheared by this shift along the axis, which changes no volume.
    """
    return 30 * base_tilt * np.tanh((0.77 * x_mm - 0.64 * y_mm) / 30)


def atrial_profile(v: npt.NDArray[np.floating], middle: float = _ATRIAL_MIDDLE) -> npt.NDArray[np.floating]:
    """Squared relative radius of an atrium, widest at ``middle``, at a fraction ``v`` of its length from the valve."""
    return np.asarray(np.clip(1 - ((v - middle) / (1.01 - middle)) ** 2, 0, None))


def atrial_radius_share(middle: float) -> float:
    """Largest radius of an atrium that is widest at ``middle``, relative to one of the same volume and length."""
    v = np.linspace(0, 1, 400)
    areas = (float(np.trapezoid(atrial_profile(v, m), v)) for m in (_ATRIAL_MIDDLE, middle))
    usual, other = areas
    return float(np.sqrt(usual / other))


def _lv_profile(u: FloatArray) -> FloatArray:
    """Relative radius of a truncated ellipsoid, a little narrower at the mitral ring; 0 outside 0..1."""
    below = np.clip(1 - ((u - _WIDEST) / (1 - _WIDEST)) ** 2, 0, None) ** 0.5
    above = 1 - 0.10 * ((_WIDEST - u) / _WIDEST) ** 2
    return np.where((u < 0) | (u > 1), 0.0, np.where(u < _WIDEST, above, below))


def _extend_radius(epi: FloatArray) -> FloatArray:
    """The LV outer radius, continued above the mitral plane (aortic root) and rounded off beyond the apex."""
    first = int(np.searchsorted(HEIGHTS, 0.0))
    narrowing = np.interp(HEIGHTS[:first], [-0.3, 0.0], [0.62, 0.96])
    extended = epi.copy()
    extended[:first] = epi[first] * narrowing[:, None]
    return extended


def _ellipse_radius(angle: FloatArray, cx: float, cy: float, ax: float, ay: float) -> FloatArray:
    """Distance from the origin to an ellipse about (cx, cy) along each angle; the origin lies inside the ellipse."""
    ux, uy = np.cos(angle) / ax, np.sin(angle) / ay
    ox, oy = cx / ax, cy / ay
    square, linear, rest = ux**2 + uy**2, ux * ox + uy * oy, ox**2 + oy**2 - 1
    return np.asarray((linear + np.sqrt(linear**2 - square * rest)) / square)


def _line_radius(angle: FloatArray, normal: float, distance: float) -> FloatArray:
    """Distance from the origin to a straight line along each angle; large where the ray does not meet the line."""
    facing = np.cos(angle - normal)
    return np.where(facing > 0.1, distance / np.maximum(facing, 0.1), 20.0)


def _volume_mm3(radius_squared: FloatArray, length_mm: float) -> float:
    """Volume inside a radius table: the integral of r^2 / 2 over angle and height."""
    return float(radius_squared.sum() * 0.5 * _DTHETA * _DU * length_mm)


def _atrial_radius(volume_ml: float, length_mm: float) -> float:
    v = np.linspace(0, 1.01, 400)
    mean_area = float(np.trapezoid(atrial_profile(v)[v <= 1.0], v[v <= 1.0])) * np.pi
    return float(np.sqrt(volume_ml * 1000 / (mean_area * length_mm)))


def _waves(rng: np.random.Generator, sigma_height: float, sigma_angle: float) -> FloatArray:
    """Noise of unit SD over ``(height, angle)``, wrapped in angle."""
    noise = rng.normal(size=(N_HEIGHTS, N_ANGLES))
    smooth = gaussian_filter(noise, (sigma_height, sigma_angle), mode=("nearest", "wrap"))
    return np.asarray(smooth / smooth.std())


def _ridges(rng: np.random.Generator, sigma_height: float, sigma_angle: float, offset: float) -> FloatArray:
    """Depth of the rough places of a wall, ``(height, angle)``; 0 where it is smooth."""
    return np.clip(_waves(rng, sigma_height, sigma_angle) + offset, 0, 2.5)


def _papillaries(rng: np.random.Generator, size: float) -> FloatArray:
    """Papillary muscles, ``(lobe, 4)``: angle, height of the head, and, relative to the cavity's radius, distance from
    the axis and radius of the lobe.

    There are an anterolateral and an inferomedial group of one to three lobes each.
    """
    lobes = []
    for angle_deg in (-138.0, 98.0):
        centre = np.deg2rad(angle_deg) + rng.normal(0, 0.15)
        for _ in range(int(rng.integers(1, 4))):
            radius = size * rng.uniform(0.55, 1.0)
            lobes.append([centre + rng.normal(0, 0.17), rng.uniform(0.18, 0.45), rng.uniform(0.5, 0.8), radius])
    return np.array(lobes)
