"""The organs around the heart: chest wall, fat, lungs, liver, stomach, spleen, spine and the great vessels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.ndimage import zoom

from cmr_models.simulate.anatomy import ANGLES, HEIGHTS, Heart
from cmr_models.simulate.details import HeartDetails, vessel_ends
from cmr_models.simulate.planes import Pose, heart_pose
from cmr_models.simulate.settings import Contrast

Image = npt.NDArray[np.float32]
FloatArray = npt.NDArray[np.float64]


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], grain_px: float) -> Image:
    """Smooth noise of unit SD with a correlation length of about ``grain_px`` pixels."""
    coarse = tuple(int(np.ceil(n / grain_px)) + 3 for n in shape)
    noise = rng.standard_normal(coarse, dtype=np.float32)
    fine = zoom(noise, [(n + 2 * grain_px) / c for n, c in zip(shape, coarse, strict=True)], order=1)
    cut: Image = fine[: shape[0], : shape[1]]
    return cut / max(float(cut.std()), 1e-6)


class Body:
    """The chest and upper abdomen of one person, at rest.

    Args:
        heart: tells the size of the person and the position of the heart.
        rng: random numbers for the shapes of the organs.
    """

    def __init__(self, heart: Heart, rng: np.random.Generator) -> None:
        traits = heart.traits
        self.pose: Pose = heart_pose(traits)
        self.seed = int(rng.integers(2**63))
        draw = np.random.default_rng(self.seed)
        bmi = traits.weight_kg / (traits.height_cm / 100) ** 2
        self.fat_mm = float(np.clip((bmi - 16) * (1.5 if traits.sex == "F" else 1.1) * draw.uniform(0.7, 1.3), 4, 45))
        self.inner_mm = np.array([128.0, 88.0]) * (traits.height_cm / 172) ** 0.7 * draw.normal(1, 0.04, 2)
        self.wall_mm = draw.uniform(14, 22)
        self.waves = draw.normal(0, 0.022, (3, 6, 3)), draw.uniform(0, 2 * np.pi, (3, 6))
        self.dome = draw.normal([-52.0, 14.0, 8.0], 5)
        self.stomach = draw.normal([75.0, -8.0, -88.0], [12, 14, 12]), draw.normal([42.0, 40.0, 38.0], 6)
        self.spleen = draw.normal([108.0, 45.0, -75.0], 8), draw.normal([28.0, 40.0, 42.0], 5)
        self.left_lobe_mm = draw.normal(52, 18)
        self.mediastinal_fat = float(np.clip(traits.fatness * draw.uniform(0.6, 1.4), 0.1, 1.1))
        self.rib_edge, self.rib_marrow = draw.uniform(0.04, 0.15), draw.uniform(0.3, 1.0)
        self.shelf = self._heart_shelf(heart)
        self.gas = draw.uniform(0, 1)
        self.vessels = self._vessels(heart, draw)
        self.fat_pads = heart.details.fat_pads

    def _vessels(self, heart: Heart, rng: np.random.Generator) -> list[tuple[FloatArray, FloatArray, float]]:
        """The great vessels beyond the heart, which do not move, as capsules (start, end, radius)."""
        pose = self.pose
        aortic_end, pulmonary_end = vessel_ends(heart.details)
        root = pose.to_patient(aortic_end)
        ascending = heart.details.base.ascending_mm
        arch = root + (np.array([-10.0, -4.0, 46.0]) if ascending is None else pose.axes @ np.array(ascending))
        top = arch + np.array([22.0, 32.0, 22.0])
        desc = np.array([24.0, 58.0, arch[2] + 5]) + rng.normal(0, 3, 3)
        pulmonary = pose.to_patient(pulmonary_end)
        fork = pulmonary + np.array([2.0, 32.0, 26.0])
        atrium = pose.to_patient(np.array([46.0, 10.0, -36.0]))
        left = pose.to_patient(np.array([-10.0, 8.0, -40.0]))
        aorta = rng.normal(15, 1.5) + heart.details.aorta_mm - HeartDetails().aorta_mm
        return [
            (root, arch, aorta),
            (arch, top, aorta * 0.95),
            (top, desc, aorta * 0.85),
            (desc, np.array([8.0, 62.0, -260.0]), aorta * 0.8),
            (pulmonary, fork, heart.details.pulmonary_mm),
            (fork, fork + np.array([52.0, 22.0, -4.0]), 9.5),
            (fork, fork + np.array([-62.0, 20.0, -6.0]), 9.5),
            (atrium + np.array([-4.0, 4.0, 10.0]), atrium + np.array([-14.0, 4.0, 120.0]), 9.5),
            (atrium + np.array([0.0, 8.0, -8.0]), np.array([-22.0, 30.0, -240.0]), 11.0),
            (left, left + np.array([48.0, 26.0, 10.0]), 6.5),
            (left, left + np.array([42.0, 32.0, -16.0]), 6.0),
            (left, left + np.array([-55.0, 26.0, 6.0]), 6.5),
            (left, left + np.array([-52.0, 34.0, -18.0]), 6.0),
        ]

    def paint(
        self, points_mm: FloatArray, contrast: Contrast, pixel_mm: float, rng: np.random.Generator
    ) -> tuple[Image, Image]:
        """Water signal and fat signal (without sign) at points ``(row, col, 3)`` in patient coordinates."""
        x, y, s = self._warped(points_mm)
        canvas = _Canvas(x.shape, pixel_mm, contrast, rng)
        wall = self._torso(x, y)
        canvas.layer(wall, contrast.muscle, 1.0)
        canvas.fat_layer(wall - 1.6, 0.7)
        uneven = 3.0 * smooth_noise(rng, x.shape, 40 / pixel_mm)
        canvas.layer(wall - self.fat_mm - uneven, contrast.muscle, 3.0)
        seam = 0.9 - np.abs(wall - self.fat_mm - 0.4 * self.wall_mm + uneven)
        canvas.fat_layer(seam, 1.0, 0.8)
        self._ribs(canvas, wall, x, y, s)
        cavity = wall - self.fat_mm - self.wall_mm
        canvas.fat_layer(cavity - 1.0, 1.2)
        strands = 0.5 - np.abs(smooth_noise(rng, x.shape, 9 / pixel_mm)) * 5
        canvas.layer(np.minimum(strands, cavity - 3), contrast.muscle, 1.0)
        self._lungs(canvas, cavity, x, y, s)
        self._pericardial_fat(canvas, cavity, x, y, s)
        self._abdomen(canvas, cavity, x, y, s)
        self._spine(canvas, x, y, s)
        self._great_vessels(canvas, x, y, s)
        return canvas.water, canvas.fat

    def _warped(self, points_mm: FloatArray) -> tuple[Image, Image, Image]:
        """Shift each coordinate by a few long waves (about 3 mm), so that no organ has a regular shape."""
        points = points_mm.astype(np.float32)
        waves, phases = self.waves
        moved = []
        for axis in range(3):
            shift = np.zeros(points.shape[:2], np.float32)
            for k in range(6):
                shift += np.sin(points @ waves[axis, k].astype(np.float32) * (1 + k / 2) + np.float32(phases[axis, k]))
            moved.append(points[..., axis] + np.float32(1.6) * shift)
        return moved[0], moved[1], moved[2]

    def _torso(self, x: Image, y: Image) -> Image:
        """Depth under the skin (mm, positive inside); the skin is a superellipse in the axial plane."""
        half = self.inner_mm + self.wall_mm + self.fat_mm
        reach = (np.abs(x / half[0]) ** 2.6 + np.abs((y - 4) / half[1]) ** 2.6) ** (1 / 2.6)
        return np.asarray(
            ((1 - reach) * np.where(reach > 0, np.hypot(x, y) / np.maximum(reach, 0.2), half[1])).astype(np.float32)
        )

    def _ribs(self, canvas: _Canvas, wall: Image, x: Image, y: Image, s: Image) -> None:
        """Oblique bars of marrow with dark edges inside the chest wall, and the sternum."""
        depth = wall - self.fat_mm - 0.55 * self.wall_mm
        slope = s + np.float32(0.45) * y + np.float32(0.15) * np.abs(x)
        along = np.abs(np.mod(slope, 27.0) - 13.5) - 5.5
        rib = np.maximum(along, np.abs(depth) - 5.0)
        canvas.layer(-(rib - 1.2), self.rib_edge, 0.5)
        canvas.layer(-rib, self.rib_marrow * canvas.contrast.bone, 2.0)
        between = np.maximum(7.5 - along, np.abs(depth + 1.0) - 0.9)
        canvas.fat_layer(-between, 1.0, 0.7)
        sternum = np.maximum(np.abs(x) - 17, np.maximum(np.abs(depth) - 6.0, y + 20))
        canvas.layer(-(sternum - 1.5), 0.05, 0.5)
        canvas.layer(-sternum, canvas.contrast.bone, 1.0)

    def diaphragm(self, x: Image, y: Image) -> Image:
        """Height of the diaphragm (mm, towards the head): a higher right dome, a plane under the heart, a low rim."""
        right, _, left = self.dome
        centre, plane = self.shelf
        dome = 14 * np.exp(-0.5 * (((x - right) / 48) ** 2 + ((y - 5) / 55) ** 2))
        dome += left * np.exp(-0.5 * (((x - 80) / 40) ** 2 + ((y - 15) / 45) ** 2))
        rim = 60 * np.clip((x / self.inner_mm[0]) ** 2 + (y / self.inner_mm[1]) ** 2 - 0.45, 0, None)
        far = centre[2] + dome - rim
        near = plane[0] + plane[1] * x + plane[2] * y - 1.5
        weight = np.exp(-((((x - centre[0]) / 55) ** 2 + ((y - centre[1]) / 48) ** 2) ** 2))
        return np.asarray(weight * near + (1 - weight) * far, np.float32)

    def _heart_shelf(self, heart: Heart) -> tuple[FloatArray, FloatArray]:
        """Centre and coefficients of the plane on which the heart rests, through its inferior wall at end-diastole."""
        state = heart.state(0.0)
        quarter = len(ANGLES) // 4
        rows = [int(np.argmin(np.abs(HEIGHTS - u))) for u in (0.15, 0.45, 0.75)]
        corner = int(0.8 * quarter)
        wall = [(state.epi[k, quarter], ANGLES[quarter], HEIGHTS[k]) for k in rows]
        wall += [(state.rv[k, corner], ANGLES[corner], HEIGHTS[k]) for k in rows[:2] if state.rv[k, corner] > 0]
        local = np.array([(r * np.cos(a), r * np.sin(a), u * state.length_mm) for r, a, u in wall])
        points = self.pose.to_patient(local)
        design = np.column_stack([np.ones(len(points)), points[:, :2]])
        penalty = np.diag([0.0, 400.0, 400.0])  # keeps the slopes small
        centred = design - np.array([0.0, *points[:, :2].mean(axis=0)])
        fit = np.linalg.solve(centred.T @ centred + penalty, centred.T @ points[:, 2])
        fit[0] -= fit[1:] @ points[:, :2].mean(axis=0)
        return points.mean(axis=0), fit

    def _lungs(self, canvas: _Canvas, cavity: Image, x: Image, y: Image, s: Image) -> None:
        middle = np.float32(8.0) + np.float32(0.22) * (-y) * (y < 0)
        half_width = np.float32(7 + 12 * self.mediastinal_fat) + np.clip((y + 10) * 0.25, 0, 14)
        half_width = half_width + np.clip(-s - 10, 0, 40) * np.float32(0.5 * self.mediastinal_fat)
        side = np.abs(x - middle) - half_width
        above = s - self.diaphragm(x, y)
        lung = np.minimum(np.minimum(side, cavity - 3.5), above - 2.0)
        canvas.layer(lung, canvas.contrast.lung, 0.4)
        grain = smooth_noise(canvas.rng, x.shape, 2.6 / canvas.pixel_mm + 0.6)
        hilum = np.exp(-0.5 * (np.abs(np.abs(x - middle) - half_width) / 40) ** 2)
        specks = np.clip(grain * (0.75 + 0.35 * hilum) - 1.75, 0, 0.8) * np.clip(lung / 4, 0, 1)
        canvas.water += np.asarray(specks * canvas.contrast.vessel, np.float32)

    def _pericardial_fat(self, canvas: _Canvas, cavity: Image, x: Image, y: Image, s: Image) -> None:
        if not self.fat_pads:
            return
        local = self.pose.to_heart(np.stack([x, y, s], axis=-1).astype(np.float64)).astype(np.float32)
        lobes = 3.5 * smooth_noise(canvas.rng, x.shape, 16 / canvas.pixel_mm)
        inside = np.full(x.shape, -99.0, np.float32)
        for pad in self.fat_pads:
            ends = np.array(pad.centre_mm), np.array(pad.axes_mm)
            inside = np.maximum(inside, _ellipsoid(local[..., 0], local[..., 1], local[..., 2], *ends))
        canvas.fat_layer(np.minimum(inside + lobes, cavity), 0.6)

    def _abdomen(self, canvas: _Canvas, cavity: Image, x: Image, y: Image, s: Image) -> None:
        contrast = canvas.contrast
        under = np.minimum(self.diaphragm(x, y) - s, cavity)
        canvas.layer(under + 2.0, contrast.muscle, 0.5)
        canvas.fat_layer(under, 2.0)
        gut = np.minimum(under - 35, np.abs(smooth_noise(canvas.rng, x.shape, 18 / canvas.pixel_mm)) * 14 - 5)
        canvas.layer(gut, contrast.stomach, 4.0)
        canvas.layer(gut - 3, contrast.stomach_content * 0.7, 6.0)
        centre, axes = self.spleen
        canvas.layer(np.minimum(_ellipsoid(x, y, s, centre, axes), under - 2), contrast.spleen, 1.0)
        edge = self.left_lobe_mm - np.clip((y + 20) * 0.35, -20, 40) - x
        liver = np.minimum(np.minimum(under - 0.8, edge * 0.75), np.float32(135) - under * 0.9 - np.clip(x + 10, 0, 90))
        canvas.layer(liver, contrast.liver, 1.6)
        veins = np.clip(0.22 - np.abs(smooth_noise(canvas.rng, x.shape, 13 / canvas.pixel_mm)), 0, 0.2) * 4
        veins = veins * (smooth_noise(canvas.rng, x.shape, 22 / canvas.pixel_mm) > 0.5) * np.clip(liver / 8, 0, 1)
        canvas.water += np.asarray(veins * max(contrast.vessel - contrast.liver, 0), np.float32)
        centre, axes = self.stomach
        stomach = np.minimum(_ellipsoid(x, y, s, centre, axes), under - 1.5)
        canvas.layer(stomach, contrast.stomach, 1.0)
        content = stomach - 3.5
        canvas.layer(content, contrast.stomach_content, 5.0)
        if self.gas > 0.4:
            canvas.layer(np.minimum(content, -(y - (centre[1] - 30 + 40 * self.gas))), 0.02, 0.3)

    def _spine(self, canvas: _Canvas, x: Image, y: Image, s: Image) -> None:
        contrast = canvas.contrast
        muscle = 40 - np.hypot((np.abs(x) - 34) * 1.1, y - 104)
        canvas.layer(np.minimum(muscle, 100 + 0 * x), contrast.muscle, 2.5)
        body = 20 - np.hypot(x, (y - 76) * 1.15)
        disc = np.abs(np.mod(s, 28.0) - 14.0) - 11.0
        canvas.layer(body + 1.5, 0.06, 0.5)
        canvas.layer(np.minimum(body, -disc + 1), contrast.bone, 1.5)
        canvas.layer(10 - np.hypot(x, y - 104), contrast.fluid, 1.0)
        canvas.layer(5.5 - np.hypot(x, y - 104), 0.35, 1.0)

    def _great_vessels(self, canvas: _Canvas, x: Image, y: Image, s: Image) -> None:
        contrast = canvas.contrast
        inside = np.full(x.shape, -99.0, np.float32)
        for start, end, radius in self.vessels:
            inside = np.maximum(inside, radius - _capsule(x, y, s, start, end))
        canvas.layer(inside + 1.6, contrast.muscle, 0.5)
        canvas.layer(inside, contrast.blood * 0.96, 1.2)


class _Canvas:
    """Water and fat signals. Later organs cover earlier ones; edges are one pixel wide."""

    def __init__(self, shape: tuple[int, ...], pixel_mm: float, contrast: Contrast, rng: np.random.Generator) -> None:
        self.water, self.fat = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        self.pixel_mm, self.contrast, self.rng = pixel_mm, contrast, rng
        size = (shape[0], shape[1])
        self.texture = contrast.texture * (
            0.6 * smooth_noise(rng, size, 4 / pixel_mm + 0.5) + 0.8 * smooth_noise(rng, size, 16 / pixel_mm)
        )

    def cover(self, inside_mm: npt.NDArray[np.floating], opacity: float = 1.0) -> Image:
        """Fraction of each pixel inside a surface, from the signed distance to it."""
        ramp = np.asarray(inside_mm, np.float32) * np.float32(1 / self.pixel_mm) + np.float32(0.5)
        return np.asarray(np.clip(ramp, 0, 1) * np.float32(opacity))

    def layer(self, inside_mm: npt.NDArray[np.floating], signal: float, roughness: float) -> None:
        """Paint water with this signal."""
        cover = self.cover(inside_mm)
        self.water += cover * (np.float32(signal) * (1 + np.float32(roughness) * self.texture) - self.water)
        self.fat -= cover * self.fat

    def fat_layer(self, inside_mm: npt.NDArray[np.floating], roughness: float, opacity: float = 1.0) -> None:
        """Paint fat."""
        cover = self.cover(inside_mm, opacity)
        self.fat += cover * (np.float32(self.contrast.fat) * (1 + np.float32(roughness) * self.texture) - self.fat)
        self.water -= cover * self.water


def _ellipsoid(x: Image, y: Image, s: Image, centre: FloatArray, axes: FloatArray) -> Image:
    reach = np.sqrt(
        ((x - centre[0]) / axes[0]) ** 2 + ((y - centre[1]) / axes[1]) ** 2 + ((s - centre[2]) / axes[2]) ** 2
    )
    return np.asarray((1 - reach) * axes.min(), np.float32)


def _capsule(x: Image, y: Image, s: Image, start: FloatArray, end: FloatArray) -> Image:
    """Distance to a line segment (mm)."""
    axis = (end - start).astype(np.float32)
    px, py, ps = x - np.float32(start[0]), y - np.float32(start[1]), s - np.float32(start[2])
    share = np.clip((px * axis[0] + py * axis[1] + ps * axis[2]) / np.float32(axis @ axis), 0, 1)
    return np.asarray(np.sqrt((px - share * axis[0]) ** 2 + (py - share * axis[1]) ** 2 + (ps - share * axis[2]) ** 2))
