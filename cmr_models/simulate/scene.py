"""One image plane through a beating heart: the body is painted once, the heart again for every frame."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cmr_models import contracts
from cmr_models.simulate.anatomy import (
    N_ANGLES,
    Heart,
    HeartState,
    lookup,
    tilt_mm,
)
from cmr_models.simulate.base_shapes import (
    aorta_inside,
    appendages_inside,
    atria_inside,
    mitral_leaflets,
    orifices_inside,
    outflow_tubes,
    segment_distance,
    tricuspid_leaflets,
    veins_inside,
)
from cmr_models.simulate.body import Body, Image, smooth_noise
from cmr_models.simulate.settings import Contrast

FloatArray = npt.NDArray[np.float64]
Labels = npt.NDArray[np.uint8]

_MARGIN_MM = 12.0
_VESTIBULE = 0.76  # radius of the blood at the mitral valve, relative to the heart's there


class Scene:
    """A plane of a heart in a body.

    Args:
        heart: the heart.
        body: the organs around it.
        points_mm: ``(row, col, 3)`` patient coordinates of the pixel centres.
        normal: ``(3,)`` unit normal of the plane.
        thickness_mm: slice thickness, averaged over ``sub_planes``.
        pixel_mm: pixel size; edges are one pixel wide.
        contrast: signals of the tissues.
        sub_planes: number of planes that are averaged through the thickness.
        rng: random numbers for the textures.
    """

    def __init__(
        self,
        heart: Heart,
        body: Body,
        points_mm: FloatArray,
        normal: FloatArray,
        thickness_mm: float,
        pixel_mm: float,
        contrast: Contrast,
        sub_planes: int,
        rng: np.random.Generator,
    ) -> None:
        self.heart, self.contrast, self.pixel_mm = heart, contrast, np.float32(pixel_mm)
        self.water, self.fat = body.paint(points_mm, contrast, pixel_mm, rng)
        local = body.pose.to_heart(points_mm).astype(np.float32)
        self.box = _heart_box(local, heart)
        rows, cols = self.box
        step = (body.pose.axes.T @ normal).astype(np.float32)
        offsets = (np.arange(sub_planes) - (sub_planes - 1) / 2) * thickness_mm / sub_planes
        cut = local[rows, cols]
        self.centre = _Polar(cut, heart.traits.base_tilt)
        self._cut, self._step = cut, step
        if self.empty:
            return
        stacked = cut[None] + offsets.astype(np.float32)[:, None, None, None] * step
        self.planes = self.centre if sub_planes == 1 else _Polar(stacked, heart.traits.base_tilt)
        size = (cut.shape[0], cut.shape[1])
        grain = (14.0 / pixel_mm, 5.0 / pixel_mm + 0.5)
        self._swirls = [smooth_noise(rng, size, g) for g in (*grain, *grain)]
        strands = np.abs(smooth_noise(rng, size, 4.5 / pixel_mm + 0.6))
        self._fat_signal = np.asarray(
            contrast.fat * np.clip(1 - heart.details.fat_strands * strands, 0.2, 1), np.float32
        )
        self._spots = np.clip(1.6 * smooth_noise(rng, size, 4.0 / pixel_mm + 0.5) - 1.5, 0, 0.9)
        self._muscle = 1 + contrast.texture * 0.8 * smooth_noise(rng, size, 3.5 / pixel_mm + 0.6)

    @property
    def empty(self) -> bool:
        """Whether the plane does not meet the heart."""
        return self.centre.r.size == 0

    def draw(self, state: HeartState) -> tuple[Image, Image]:
        """Water and fat signal ``(row, col)`` at one phase."""
        water, fat = self.water.copy(), self.fat.copy()
        if self.empty:
            return water, fat
        painter = _Painter(self.planes, water[self.box], fat[self.box], self.pixel_mm)
        self._paint_heart(painter, state)
        water[self.box] = painter.water_mean()
        fat[self.box] = painter.fat_mean()
        return water, fat

    def labels(self, state: HeartState, view: str) -> Labels:
        """Labels ``(row, col)`` of the structures that are drawn in ``view``, at the middle of the slice."""
        out = np.zeros(self.water.shape, np.uint8)
        if not self.empty:
            out[self.box] = label_points(self.centre, state, self.heart, view)
        return out

    def drawn_labels(self, state: HeartState) -> Labels:
        """Labels ``(row, col)`` as a reader draws them (:func:`reader_labels`)."""
        out = np.zeros(self.water.shape, np.uint8)
        if not self.empty:
            out[self.box] = reader_labels(self.centre, state, self.heart)
        return out

    def drawn_shares(self, state: HeartState, length_mm: float, n_planes: int = 5) -> FloatArray:
        """Part of a slab of ``length_mm`` about the slice in which a reader draws each ventricle.

        Args:
            state: of the heart.
            length_mm: along the normal.
            n_planes: through the slab, evenly spaced, in which it is asked what a reader draws.

        Returns:
            ``(ventricle,)``, as in :data:`cmr_models.contracts.VENTRICLES`.
        """
        if self.empty:
            return np.zeros(len(contracts.VENTRICLES))
        offsets = (np.arange(n_planes) - (n_planes - 1) / 2) * length_mm / n_planes
        planes = (
            _Polar(self._cut + np.float32(offset) * self._step, self.heart.traits.base_tilt) for offset in offsets
        )
        drawn = [reader_labels(plane, state, self.heart) for plane in planes]
        return np.array([np.mean([(labels == code).any() for labels in drawn]) for code in contracts.VENTRICLES])

    def _paint_heart(self, painter: _Painter, state: HeartState) -> None:
        contrast, geometry, details = self.contrast, painter.geometry, self.heart.details
        blood = np.float32(contrast.blood) * self._flow(state.phase)
        muscle = np.float32(contrast.myocardium) * self._muscle
        at = geometry.at(state)
        r, u = geometry.r, at.u
        ends = np.minimum(geometry.z + np.float32(0.24 * state.length_mm), self.heart.apex_z_mm + 3 - geometry.z)
        sac = np.minimum(np.take(state.envelope, at.index) - r, ends)
        painter.water_layer(sac + np.float32(1.3), muscle * np.float32(0.6))
        painter.fat_layer(sac, self._fat_signal)
        if geometry.top_mm < max(state.tricuspid_z_mm, state.base_z_mm) + 20:
            self._paint_atria(painter, state, blood, muscle)
            self._paint_outflow(painter, state, blood, muscle)
        rv_outer, inner = np.take(state.rv, at.index), np.take(state.inner, at.index)
        aside = r - inner + np.where(u > 0, np.float32(20), np.float32(0))
        rv = np.minimum(rv_outer - r, aside)
        if not details.base.is_plain:
            rv = np.where(u < 0, np.minimum(rv, -aorta_inside(geometry, state, details)), rv)
        painter.water_layer(np.where(rv_outer > 0, rv + np.float32(details.rv_wall_mm), -9), muscle)
        right = blood * np.float32(details.right_blood)
        painter.water_layer(rv, np.float32(0.55) * right + np.float32(0.45) * muscle)
        rough = self._spots * np.clip(np.float32(1.1) - rv * np.float32(1 / 16), 0, 1)
        painter.water_layer(np.minimum(np.take(state.rv_core, at.index) - r, rv), right + rough * (muscle - right))
        self._paint_moderator_band(painter, state, rv, muscle)
        if details.base.is_plain:
            vestibule = np.minimum(np.float32(_VESTIBULE) * inner - r, geometry.z - np.float32(state.base_z_mm - 9))
            painter.water_layer(np.where(u < 0.05, vestibule, -9), blood)
        epi, endo = np.take(state.epi, at.index), np.take(state.endo, at.index)
        painter.water_layer(np.where(epi > 0, epi - r, -9), muscle)
        inside = np.where(endo > 0, endo - r, -9)
        share = np.float32(details.lining_blood)
        painter.water_layer(inside, share * blood + (1 - share) * muscle)
        rough = self._spots * np.clip(np.float32(1.3) * u - np.float32(0.1) - inside * np.float32(1 / 20), 0, 1)
        core = np.minimum(np.take(state.core, at.index) - r, inside)
        painter.water_layer(core, blood + rough * (muscle - blood))
        self._paint_papillaries(painter, state, at, inside, muscle)
        if details.base.is_plain:
            self._paint_mitral_valve(painter, state, blood, muscle)
        else:
            self._paint_leaflets(painter, state, rv, blood, muscle)

    def _paint_atria(self, painter: _Painter, state: HeartState, blood: Image, muscle: Image) -> None:
        details = self.heart.details
        ra, la = atria_inside(painter.geometry, state, details)
        left, right = appendages_inside(painter.geometry, state, details)
        wall = np.float32(details.atrial_wall_mm)
        if details.base.veins:
            left = np.maximum(left, veins_inside(painter.geometry, state, details))
        for inside, brightness in (
            (np.maximum(ra, right), details.right_blood * details.base.right_atrial_blood),
            (np.maximum(la, left), details.left_atrial_blood),
        ):
            painter.water_layer(inside + wall, muscle)
            painter.water_layer(inside, blood * np.float32(brightness))

    def _paint_outflow(self, painter: _Painter, state: HeartState, blood: Image, muscle: Image) -> None:
        """Paint aortic root and pulmonary trunk, which move with the base."""
        geometry, details = painter.geometry, self.heart.details
        _, (start, end, radius) = outflow_tubes(state, details)
        trunk = radius - segment_distance(geometry, start, end)
        for inside in (aorta_inside(geometry, state, details), trunk):
            painter.water_layer(inside + np.float32(details.vessel_wall_mm), muscle)
            painter.water_layer(inside, blood * np.float32(details.vessel_blood))

    def _paint_papillaries(
        self, painter: _Painter, state: HeartState, at: _Heights, inside: Image, muscle: Image
    ) -> None:
        """Paint papillary muscles, which are free near the base and join the wall towards the apex."""
        geometry = painter.geometry
        near = np.flatnonzero(inside > -1)
        u, endo = at.u.flat[near], np.take(state.endo, at.index.flat[near])
        x, y = geometry.x.flat[near], geometry.y.flat[near]
        kept = self.heart.details.papillary_volume
        reach = np.float32(float(state.endo.max()) ** (1 - kept) * float(self.heart.full_radius_mm) ** kept)
        body = np.full(near.shape, -9, np.float32)
        for angle, head, depth, radius in self.heart.papillaries.astype(np.float32):
            turned = angle + np.float32(state.twist_rad) * (np.float32(0.6) + np.float32(0.4) * u)
            climb = np.clip((u - head) / np.float32(0.45), 0, 1.2)
            away = (depth + (np.float32(0.98) - depth) * climb) * endo
            size = radius * reach * (np.float32(0.8) + np.float32(0.35) * climb)
            lobe = size - np.hypot(x - away * np.cos(turned), y - away * np.sin(turned))
            lobe = np.minimum(lobe, (u - head) * np.float32(state.length_mm))
            body = np.maximum(body, lobe)
        body = np.minimum(np.minimum(body, inside.flat[near]), (np.float32(0.93) - u) * 90)
        painter.water_at(near, body, np.broadcast_to(muscle, inside.shape).flat[near])

    def _paint_moderator_band(self, painter: _Painter, state: HeartState, rv: Image, muscle: Image) -> None:
        height = self.heart.band_height
        if not np.isfinite(height):
            return
        z = state.base_z_mm + height * state.length_mm
        size = float(state.inner.max())
        start, end = np.array([0.8 * size, 0.2 * size, z - 8]), np.array([1.75 * size, -0.3 * size, z + 10])
        near = np.flatnonzero(rv > -1)
        inside = np.float32(2.4) - segment_distance(select_points(painter.geometry, near), start, end)
        signal = np.broadcast_to(muscle, rv.shape).flat[near]
        painter.water_at(near, np.minimum(inside, rv.flat[near]), signal)

    def _paint_mitral_valve(self, painter: _Painter, state: HeartState, blood: Image, muscle: Image) -> None:
        if not 0.02 < state.phase < self.heart.end_systole + 0.03:
            return
        geometry = painter.geometry
        above = np.abs(geometry.z - np.float32(state.base_z_mm) - 3.0) - np.float32(0.9)
        radius = np.float32(float(state.endo.max()) * 0.9) - geometry.r
        painter.water_layer(np.minimum(-above, radius), np.float32(0.45) * blood + np.float32(0.55) * muscle)

    def _paint_leaflets(
        self, painter: _Painter, state: HeartState, right_ventricle: Image, blood: Image, muscle: Image
    ) -> None:
        """Paint the leaflets: in systole closed, in diastole those of the mitral valve hang into the ventricle."""
        details, closed = self.heart.details, 0.02 < state.phase < self.heart.end_systole + 0.05
        share = np.float32(details.base.leaflet_blood)
        signal = share * blood + (1 - share) * muscle
        painter.water_layer(orifices_inside(painter.geometry, state, details), blood)
        painter.water_layer(mitral_leaflets(painter.geometry, state, details, closed), signal)
        if closed:
            painter.water_layer(tricuspid_leaflets(painter.geometry, state, details, right_ventricle), signal)

    def _flow(self, phase: float) -> Image:
        """Uneven signal of flowing blood, periodic over the cycle."""
        a, b, c, d = self._swirls
        turn = 2 * np.pi * phase
        mixed = (a * np.float32(np.cos(turn)) + c * np.float32(np.sin(turn))) + np.float32(0.7) * (
            b * np.float32(np.cos(2 * turn)) + d * np.float32(np.sin(2 * turn))
        )
        return np.asarray(np.clip(1 + np.float32(self.contrast.blood_texture) * mixed, 0.3, 1.3))


class _Heights:
    """Heights of a set of points at one phase, and their index into the tables of the heart."""

    def __init__(self, u: Image, index: npt.NDArray[np.intp]) -> None:
        self.u, self.index = u, index


class _Polar:
    """Points in cylindrical coordinates about the long axis: what does not change with the phase."""

    def __init__(self, local_mm: Image, base_tilt: float) -> None:
        self.x, self.y, z = (np.ascontiguousarray(local_mm[..., k]) for k in range(3))
        self.z = z - tilt_mm(self.x, self.y, base_tilt).astype(np.float32)
        self.top_mm = float(self.z.min()) if self.z.size else 0.0
        self.r = np.hypot(self.x, self.y)
        turn = np.arctan2(self.y, self.x) * np.float32(N_ANGLES / (2 * np.pi)) + np.float32(N_ANGLES + 0.5)
        self.angle_index = np.mod(turn, N_ANGLES).astype(np.int32)

    def at(self, state: HeartState) -> _Heights:
        """Heights of the points and their index into the tables of ``state``."""
        u = (self.z - np.float32(state.base_z_mm)) * np.float32(1 / state.length_mm)
        return _Heights(u, lookup(u, self.angle_index))


def select_points(geometry: _Polar, where: npt.NDArray[np.intp]) -> _Points:
    """Cartesian coordinates of the points ``where`` (flat index)."""
    return _Points(geometry.x.flat[where], geometry.y.flat[where], geometry.z.flat[where])


class _Points(NamedTuple):
    """Heart coordinates, with the long axis sheared."""

    x: Image
    y: Image
    z: Image


class _Painter:
    """Water and fat of a set of sub-planes. Later chambers cover earlier ones."""

    def __init__(self, geometry: _Polar, water: Image, fat: Image, pixel_mm: np.float32) -> None:
        self.geometry, self.pixel_mm = geometry, pixel_mm
        self.water = np.broadcast_to(water, geometry.r.shape).copy()
        self.fat = np.broadcast_to(fat, geometry.r.shape).copy()

    def _cover(self, inside_mm: Image) -> Image:
        cover = inside_mm * (1 / self.pixel_mm)
        cover += np.float32(0.5)
        return np.clip(cover, 0, 1, out=cover)

    def water_layer(self, inside_mm: Image, signal: Image) -> None:
        """Paint water inside a surface at this signed distance."""
        cover = self._cover(inside_mm)
        self.water += cover * (signal - self.water)
        self.fat -= cover * self.fat

    def water_at(self, where: npt.NDArray[np.intp], inside_mm: Image, signal: Image) -> None:
        """Paint water on the points ``where`` (flat index) only."""
        cover = self._cover(inside_mm)
        water, fat = self.water.reshape(-1), self.fat.reshape(-1)
        water[where] += cover * (signal - water[where])
        fat[where] *= 1 - cover

    def fat_layer(self, inside_mm: Image, signal: Image) -> None:
        """Paint fat."""
        cover = self._cover(inside_mm)
        self.fat += cover * (signal - self.fat)
        self.water -= cover * self.water

    def water_mean(self) -> Image:
        """Water signal, averaged through the slice."""
        return self.water if self.water.ndim == 2 else self.water.mean(axis=0)

    def fat_mean(self) -> Image:
        """Fat signal, averaged through the slice."""
        return self.fat if self.fat.ndim == 2 else self.fat.mean(axis=0)


def label_points(geometry: _Polar, state: HeartState, heart: Heart, view: str) -> Labels:
    """Label of each point: the chamber in which it lies, of those that are drawn in ``view``."""
    at, r, shown = geometry.at(state), geometry.r, contracts.VIEW_LABELS[view]
    labels = np.zeros(r.shape, np.uint8)
    right = (np.take(state.rv, at.index) > r) & (np.take(state.inner, at.index) <= r)
    if contracts.LA in shown:
        ra, la = atria_inside(geometry, state, heart.details)
        labels[ra > 0] = contracts.RA
        labels[la > 0] = contracts.LA
        base, above_mm = heart.details.base, np.float32(state.base_z_mm) - geometry.z
        aorta = (aorta_inside(geometry, state, heart.details) > 0) & (above_mm >= 0)
        labels[aorta] = np.where(above_mm[aorta] < base.outflow_mm, contracts.LV, contracts.AORTA_ASCENDING)
        if not base.is_plain:
            right &= ~aorta
    labels[right] = contracts.RV
    labels[np.take(state.epi, at.index) > r] = contracts.MYOCARDIUM
    labels[np.take(state.endo, at.index) > r] = contracts.LV
    labels[~np.isin(labels, shown)] = contracts.BACKGROUND
    return labels


_STILL_DRAWN_MM = 7.0
"""How far above the tricuspid valve the right ventricle is still drawn: a slice is thick, and leaflets bulge.

With it the most basal slice with a left ventricle has a right one in half of the cases (ACDC: 82 % at end-diastole, 38
% at end-systole), and the next slice always (100 and 98 %); without, in a quarter, and in three quarters.
"""


def reader_labels(geometry: _Polar, state: HeartState, heart: Heart) -> Labels:
    """Labels of a short-axis plane as readers draw them where it cuts the valves.

    The left ventricle is drawn, as a whole pool, where half of the pool or more is surrounded by muscle, else it is
    not; the right one where most of it lies below the tricuspid valve or little above, and not where the plane shows
    the outflow tract beside the atrium.

    Reference: Petersen et al. 2017, 10.1186/s12968-017-0327-9 (basal slice: at least 50 % of the blood surrounded).
    """
    labels = label_points(geometry, state, heart, "sax")
    at = geometry.at(state)
    pool = labels == contracts.LV
    above = (at.u < 0) & (geometry.r < np.float32(_VESTIBULE) * np.take(state.inner, at.index))
    if above.sum() > pool.sum():
        labels[pool | (labels == contracts.MYOCARDIUM)] = contracts.BACKGROUND
    elif pool.any():
        labels[above] = contracts.LV
    right = labels == contracts.RV
    if 2 * (right & (geometry.z > state.tricuspid_z_mm - _STILL_DRAWN_MM)).sum() < right.sum():
        labels[right] = contracts.BACKGROUND
    return labels


def _heart_box(local_mm: Image, heart: Heart) -> tuple[slice, slice]:
    """Rows and columns that the heart can reach: the ventricles in any frame, and the atria."""
    x, y, z = local_mm[..., 0], local_mm[..., 1], local_mm[..., 2]
    reach_mm = np.interp(z, *heart.reach, left=0.0, right=0.0)
    ventricles = np.hypot(x, y) < reach_mm
    size = (heart.traits.lvedv_ml / 150) ** 0.3
    lower = np.array([-48 * size, -62 * size, -75], np.float32) - _MARGIN_MM
    upper = np.array([85 * size, 55 * size, 36], np.float32) + _MARGIN_MM
    inside = ventricles | ((local_mm > lower) & (local_mm < upper)).all(axis=-1)
    return _extent(np.asarray(inside.any(axis=1))), _extent(np.asarray(inside.any(axis=0)))


def _extent(touched: npt.NDArray[np.bool_]) -> slice:
    where = np.flatnonzero(touched)
    return slice(int(where[0]), int(where[-1]) + 1) if where.size else slice(0, 0)
