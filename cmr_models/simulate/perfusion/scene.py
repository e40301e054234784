"""A short-axis slice of a chest, as the fraction of each tissue in every pixel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
LEVELS = ("base", "mid", "apex")
SECTORS = {"base": 6, "mid": 6, "apex": 4}
_FIRST_SEGMENT = {"base": 1, "mid": 7, "apex": 13}


@dataclass(frozen=True)
class Anatomy:
    """Shapes in one slice, in mm. Coordinates have their origin at the centre of the LV; RV at -x, chest wall at -y.

    Attributes:
        level: base, mid or apex.
        centre_mm: (row, col) of the centre of the LV relative to the centre of the image.
        rotation_rad: rotation of the heart's coordinates in the image.
        mirrored: whether the image is mirrored.
        endo_mm: radius of the cavity.
        wall_mm: thickness of the wall.
        squeeze: ratio of the axes of the cavity.
        wobble: (4, 2) relative amplitude and phase of harmonics 2 to 5 of its outline.
        rv_mm: radius of the outer circle of the right ventricle.
        rv_offset_mm: (x, y) of the centre of this circle.
        papillary: (n, 3) x, y, radius, relative to ``endo_mm``.
        organs: (name, x, y, radius x, radius y) of the organs around the heart.
        body_mm: (x, y, radius x, radius y) of the chest.
        seed: random seed of the texture of the lungs.
    """

    level: str
    centre_mm: tuple[float, float]
    rotation_rad: float
    mirrored: bool
    endo_mm: float
    wall_mm: float
    squeeze: float
    wobble: Floats
    rv_mm: float
    rv_offset_mm: tuple[float, float]
    papillary: Floats
    organs: tuple[tuple[str, float, float, float, float], ...]
    body_mm: tuple[float, float, float, float]
    seed: int


def draw_anatomy(rng: np.random.Generator, level: str, *, any_orientation: bool = True) -> Anatomy:
    """Draw a chest, upright or, for training, with any quarter turn, tilt and mirror image."""
    size = {"base": 1.0, "mid": 0.92, "apex": 0.68}[level]
    endo, wall = size * rng.uniform(17.0, 29.0), rng.uniform(6.5, 12.5)
    epi = endo + wall
    rv = epi * rng.uniform(0.75, 1.15)
    quarter = int(rng.integers(4)) if any_orientation else 0
    n_papillary = int(rng.integers(0, 3)) if level != "apex" else 0
    around = rng.uniform(0, 2 * np.pi, n_papillary)
    share = rng.uniform(0.5, 0.75, n_papillary)
    return Anatomy(
        level=level,
        centre_mm=(float(rng.normal(0, 18)), float(rng.normal(0, 18))),
        rotation_rad=float(quarter * np.pi / 2 + rng.normal(0, 0.35)),
        mirrored=bool(any_orientation and rng.random() < 0.5),
        endo_mm=float(endo),
        wall_mm=float(wall),
        squeeze=float(rng.uniform(0.82, 1.2)),
        wobble=np.column_stack([rng.normal(0, [0.03, 0.025, 0.015, 0.012]), rng.uniform(0, 2 * np.pi, 4)]),
        rv_mm=float(rv),
        rv_offset_mm=(float(-epi * rng.uniform(0.62, 1.05)), float(epi * rng.uniform(-0.35, 0.2))),
        papillary=np.column_stack(
            [share * np.cos(around), share * np.sin(around), rng.uniform(0.13, 0.25, n_papillary)]
        ),
        organs=_draw_organs(rng, float(epi)),
        body_mm=(
            float(rng.normal(25, 12)),
            float(rng.uniform(10, 45)),
            float(rng.uniform(125, 190)),
            float(rng.uniform(85, 125)),
        ),
        seed=int(rng.integers(2**31)),
    )


def _draw_organs(rng: np.random.Generator, epi: float) -> tuple[tuple[str, float, float, float, float], ...]:
    """Draw liver and spleen below the heart, aorta behind it, atria and a part of the lung, each with some chance."""
    found = [
        ("liver", -rng.uniform(30, 90), epi + rng.uniform(25, 60), rng.uniform(50, 90), rng.uniform(20, 45), 0.6),
        ("spleen", rng.uniform(40, 85), epi + rng.uniform(10, 45), rng.uniform(15, 35), rng.uniform(10, 25), 0.4),
        ("aorta", rng.uniform(5, 60), epi + rng.uniform(14, 45), *[rng.uniform(8, 14)] * 2, 0.75),
        ("atrium_right", -1.1 * epi - rng.uniform(15, 40), rng.uniform(5, 45), *rng.uniform(10, 24, 2), 0.2),
        ("atrium_left", rng.uniform(-15, 25), epi + rng.uniform(12, 30), *rng.uniform(8, 22, 2), 0.15),
        ("lung", rng.uniform(-30, 30), -epi - rng.uniform(12, 30), *rng.uniform(6, 14, 2), 0.2),
    ]
    kept = [organ for organ in found if rng.random() < organ[5]]
    return tuple((str(o[0]), float(o[1]), float(o[2]), float(o[3]), float(o[4])) for o in kept)


@dataclass(frozen=True)
class Scene:
    """An :class:`Anatomy` on a grid.

    Attributes:
        share: (row, col) fraction of each tissue; the sum is at most 1, the rest is air.
        label: (row, col) uint8: 0 background, 1 RV, 2 myocardium, 3 LV.
        segment: (row, col) uint8: AHA segment, 1 to 16, in the direction of each pixel, also outside the myocardium.
        depth: (row, col) 0 at the endocardium, 1 at the epicardium, larger outside.
        heart: (row, col) how much breathing moves the pixel: 1 at the heart, decreasing to 0 at the chest wall.
        insertions_px: (2, 2) row and column where the RV meets the LV, anterior then inferior.
    """

    share: Mapping[str, Floats]
    label: npt.NDArray[np.uint8]
    segment: npt.NDArray[np.uint8]
    depth: Floats
    heart: Floats
    insertions_px: Floats


def render_scene(anatomy: Anatomy, rows: int, cols: int, pixel_mm: float) -> Scene:
    """Render a slice on a grid of ``rows`` by ``cols`` square pixels."""
    x, y = _heart_frame(anatomy, rows, cols, pixel_mm)
    angle, radius = np.arctan2(y, x), np.hypot(x, y * anatomy.squeeze)
    ripple = 1 + sum(a * np.cos(k * angle + p) for k, (a, p) in enumerate(anatomy.wobble, 2))
    endo = radius - anatomy.endo_mm * ripple
    depth = endo / anatomy.wall_mm
    rv = np.hypot(x - anatomy.rv_offset_mm[0], y - anatomy.rv_offset_mm[1]) - anatomy.rv_mm

    def inside(distance: npt.ArrayLike) -> Floats:
        return np.clip(0.5 - np.asarray(distance, np.float64) / pixel_mm, 0, 1)

    cavity, wall, right = inside(endo), inside(endo - anatomy.wall_mm), inside(rv)
    layers = [
        *_chest(anatomy, x, y, inside),
        ("muscle", inside(rv - 3.5)),
        ("muscle", inside(endo - anatomy.wall_mm - 2)),
    ]
    layers += [("rv", right), ("myocardium", wall), ("lv", cavity)]
    for px, py, size in anatomy.papillary * anatomy.endo_mm:
        layers.append(("myocardium", cavity * inside(np.hypot(x - px, y - py) - size)))
    return Scene(
        share=_composite(layers),
        label=_labels(cavity, wall, right),
        segment=_segments(anatomy, x, y),
        depth=depth,
        heart=np.clip(1.6 - np.hypot(x + 0.4 * anatomy.endo_mm, y) / (2.2 * (anatomy.endo_mm + anatomy.wall_mm)), 0, 1),
        insertions_px=_insertions(right, wall, angle),
    )


def _heart_frame(anatomy: Anatomy, rows: int, cols: int, pixel_mm: float) -> tuple[Floats, Floats]:
    down = (np.arange(rows)[:, None] - (rows - 1) / 2) * pixel_mm - anatomy.centre_mm[0]
    along = (np.arange(cols)[None, :] - (cols - 1) / 2) * pixel_mm - anatomy.centre_mm[1]
    along = -along if anatomy.mirrored else along
    c, s = np.cos(anatomy.rotation_rad), np.sin(anatomy.rotation_rad)
    return c * along + s * down, -s * along + c * down


def _chest(
    anatomy: Anatomy, x: Floats, y: Floats, inside: Callable[[npt.ArrayLike], Floats]
) -> list[tuple[str, Floats]]:
    """Layers of the chest: fat, muscle, lungs with vessels, mediastinum, organs; later ones cover earlier ones."""
    bx, by, wide, deep = anatomy.body_mm
    ring = (np.hypot((x - bx) / wide, (y - by) / deep) - 1) * deep
    rng = np.random.default_rng(anatomy.seed)
    fat, muscle = rng.uniform(8, 25), rng.uniform(8, 18)
    vessels = _texture(rng, x.shape) > rng.uniform(1.2, 1.9)
    lungs = inside(ring + fat + muscle)
    epi = anatomy.endo_mm + anatomy.wall_mm
    mediastinum = inside((np.hypot((x + 10) / (1.5 * epi + 15), (y - 15) / (1.1 * epi + 15)) - 1) * epi)
    layers = [("fat", inside(ring)), ("muscle", inside(ring + fat)), ("air", lungs)]
    layers += [("lung", lungs * vessels * rng.uniform(0.15, 0.5)), ("fat", lungs * mediastinum * rng.uniform(0, 0.5))]
    layers += [("muscle", lungs * mediastinum * rng.uniform(0.2, 0.7))]
    for name, ox, oy, rx, ry in anatomy.organs:
        distance = (np.hypot((x - ox) / rx, (y - oy) / ry) - 1) * min(rx, ry)
        layers.append((name, inside(ring + fat) * inside(distance)))
    return layers


def _texture(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    from scipy.ndimage import gaussian_filter

    noise = gaussian_filter(rng.normal(size=shape), 1.3)
    return np.asarray(noise / noise.std(), np.float64)


def _composite(layers: list[tuple[str, Floats]]) -> dict[str, Floats]:
    """Visible fraction of each tissue when later layers cover earlier ones."""
    share: dict[str, Floats] = {}
    for name, cover in layers:
        for other in share.values():
            other *= 1 - cover
        share[name] = share[name] + cover if name in share else cover.copy()
    return {name: value for name, value in share.items() if name != "air"}


def _labels(cavity: Floats, wall: Floats, right: Floats) -> npt.NDArray[np.uint8]:
    """Labels of each pixel; papillary muscles belong to the cavity, as in contours drawn by hand."""
    label = np.zeros(cavity.shape, np.uint8)
    label[right > 0.5] = 1
    label[wall > 0.5] = 2
    label[cavity > 0.5] = 3
    return label


def _segments(anatomy: Anatomy, x: Floats, y: Floats) -> npt.NDArray[np.uint8]:
    """AHA segments by direction. The septum, towards the RV, is sectors 2 and 3 of 6, or sector 2 of 4."""
    n = SECTORS[anatomy.level]
    towards_rv = np.arctan2(anatomy.rv_offset_mm[1], anatomy.rv_offset_mm[0])
    turned = np.mod(np.arctan2(y, x) - towards_rv, 2 * np.pi)  # grows from the septum to the anterior wall (-y)
    back = np.mod(-turned + 2 * np.pi / n * (2 if n == 6 else 1.5), 2 * np.pi)
    sector = np.minimum(back * n / (2 * np.pi), n - 1).astype(np.uint8)
    return np.asarray(_FIRST_SEGMENT[anatomy.level] + sector, np.uint8)


def _insertions(right: Floats, wall: Floats, angle: Floats) -> Floats:
    """Ends of the septum: the outermost RV pixels that touch the wall; NaN without such pixels."""
    rows, cols = np.nonzero((right > 0.5) & (wall > 0.02) & (wall < 0.98))
    if not rows.size:
        return np.full((2, 2), np.nan)
    turned = np.mod(angle[rows, cols], 2 * np.pi) - np.pi
    return np.array([[rows[i], cols[i]] for i in (int(np.argmax(turned)), int(np.argmin(turned)))], np.float64)
