"""Motion correction of a first-pass series: each frame is registered to its image in a low-rank model of the series.

Passing contrast changes the image far more than breathing moves it, so frames cannot be registered to one another.
The model of rank one explains the passage through the chambers, not the motion; as frames come into line its rank is
raised. First the heart as a whole is shifted, then a smooth displacement field takes up the rest.

Before the bolus there is little to see, and a model made of those frames as well would explain them wherever they lie:
they are put, together, where mixtures of the later frames explain them best. So is proton density.

Reference: the idea of Hamy et al., Respiratory motion correction in dynamic MRI using robust data decomposition
registration, Med Image Anal 2014;18:301; the local solution is that of Lucas & Kanade, IJCAI 1981.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter, map_coordinates

from cmr_models.aif.network_input import check_series

Floats = npt.NDArray[np.float32]

_RANKS = (1, 1, 2, 2, 3, 3, 4, 4)
_SMOOTHING_PX = (2.5, 2.0, 2.0, 1.5, 1.5, 1.2, 1.0, 1.0)
_OWN_ROUNDS = 2  # after slices have moved together, each goes on for itself
_OWN_RANK = 4
_FIELD_RANKS = (4, 5)
_STILL_RANKS = {"before": 10, "density": 6}  # measured: fewer do not show the faint edges before the bolus
_REACH = 0.035  # of the image's side, searched for an image of another contrast
_ARRIVED = 0.15  # of the largest change, above which contrast has arrived
_LEAST_LATER = 12
_STEP_PX = 2.0  # the largest shift of one step: beyond it the linear approximation does not hold


def correct(series: npt.ArrayLike, *, deformable: bool = True) -> tuple[Floats, Floats]:
    """Bring all frames to the mean position.

    Args:
        series: (row, col, frame) magnitudes of one slice.
        deformable: refine the shift of the heart by a smooth field.

    Returns:
        ``corrected (row, col, frame)``, and ``displacement (2, row, col, frame)`` in pixels, by row and column: the
        corrected image at a place is the measured one at that place plus the displacement.

    Raises:
        ValueError: if ``series`` is not a series of at least 12 frames that change.
    """
    return correct_together([series], deformable=deformable)[0]


def correct_together(planes: Sequence[npt.ArrayLike], *, deformable: bool = True) -> list[tuple[Floats, Floats]]:
    """As :func:`correct`, for slices read in the same beats: the heart's shift is first sought in all of them.

    Args:
        planes: series as of :func:`correct`, with as many frames each; frames of one number lie in one breath.
        deformable: refine the shift of the heart by a smooth field.

    Raises:
        ValueError: as :func:`correct`, or if the numbers of frames differ.
    """
    slices = [np.ascontiguousarray(np.moveaxis(check_series(plane), 2, 0)) for plane in planes]
    if len({len(frames) for frames in slices}) > 1:
        raise ValueError(f"slices must have the same number of frames, got {[len(frames) for frames in slices]}")
    weights = [_heart(frames) for frames in slices]
    shifts = _estimate_shifts(slices, weights)
    return [_finish_correction(*one, deformable=deformable) for one in zip(slices, weights, shifts, strict=True)]


def _finish_correction(frames: Floats, weight: Floats, shift: Floats, *, deformable: bool) -> tuple[Floats, Floats]:
    """Corrected series and displacement, frames last, from the shift of the heart ``(frame, 2)``."""
    shift = _place_first_frames(frames, shift, weight)
    displacement = np.broadcast_to(shift.T[:, :, None, None], (2, *frames.shape)).astype(np.float32)
    if deformable:
        displacement = _refine_field(frames, displacement, weight)
    displacement -= displacement.mean(axis=1, keepdims=True)
    corrected = _sample(frames, displacement, order=3)  # the linear one mixes blood into the wall
    return np.moveaxis(corrected, 0, 2), np.moveaxis(displacement, 1, 3)


def offset_of(image: npt.ArrayLike, corrected: npt.ArrayLike) -> Floats:
    """Offset of the heart in an image of another contrast, as proton density, from its position in a corrected series.

    Args:
        image: (row, col).
        corrected: (row, col, frame), of the same grid.

    Returns:
        ``(2,)`` pixels, by row and column: :func:`shift_frames` by it brings the image onto the series.

    Raises:
        ValueError: if ``corrected`` is not a series of at least 12 frames that change, or of another grid.
    """
    frames = np.ascontiguousarray(np.moveaxis(check_series(corrected), 2, 0))
    still = np.asarray(image, np.float32)
    if still.shape != frames.shape[1:]:
        raise ValueError(f"the image is {still.shape}, the series {frames.shape[1:]}; use one grid")
    weight = _heart(frames)
    smooth = gaussian_filter(frames, (0, 1.0, 1.0))
    return _best_offset(gaussian_filter(still, 1.0), _principal_images(smooth, weight, _STILL_RANKS["density"]), weight)


def shift_frames(series: npt.ArrayLike, shift_px: npt.ArrayLike) -> Floats:
    """Each frame of ``series (row, col, frame)`` at its places plus ``shift_px (2, frame)``, by row and column."""
    frames = np.ascontiguousarray(np.moveaxis(np.asarray(series, np.float32), 2, 0))
    shift = np.asarray(shift_px, np.float32)[:, :, None, None]
    return np.moveaxis(_sample(frames, np.broadcast_to(shift, (2, *frames.shape)), order=3), 0, 2)


def _heart(frames: Floats) -> Floats:
    """(row, col) weight, 1 where contrast passes, falling off around: the heart and great vessels."""
    spread = gaussian_filter(frames, (1, 1.5, 1.5)).std(axis=0)
    passes = (spread > 0.35 * np.quantile(spread, 0.98)).astype(np.float32)
    near = gaussian_filter(passes, 0.05 * max(spread.shape))
    return np.asarray(np.clip(near / (0.5 * near.max()), 0, 1), np.float32)


def _estimate_shifts(slices: list[Floats], weights: list[Floats]) -> list[Floats]:
    """(frame, 2) pixels by which the heart is off in each slice, by registration to models of growing rank."""
    shared = np.zeros((len(slices[0]), 2), np.float32)
    for rank, sigma in zip(_RANKS, _SMOOTHING_PX, strict=True):
        terms = [_motion_equations(f, shared, w, rank, sigma) for f, w in zip(slices, weights, strict=True)]
        shared = _step(shared, np.sum(terms, axis=0, dtype=np.float32))
    own = [shared.copy() for _ in slices]
    for _ in range(_OWN_ROUNDS if len(slices) > 1 else 0):
        parts = zip(slices, own, weights, strict=True)
        own = [_step(s, _motion_equations(f, s, w, _OWN_RANK, _SMOOTHING_PX[-1])) for f, s, w in parts]
    return own


def _motion_equations(frames: Floats, shift: Floats, weight: Floats, rank: int, sigma: float) -> Floats:
    """(5, frame) sums over a slice of its frames' equations of motion, in units of what the model leaves."""
    smooth = gaussian_filter(frames, (0, sigma, sigma))
    moved = _sample(smooth, np.broadcast_to(shift.T[:, :, None, None], (2, *frames.shape)))
    model = _low_rank(moved, weight, rank)
    down, along = np.gradient(model, axis=1), np.gradient(model, axis=2)
    left = model - moved
    scale = max(float(np.median(np.abs(left))), 1e-20)
    pairs = ((down, down), (down, along), (along, along), (down, left), (along, left))
    return np.stack([np.einsum("frc,frc,rc->f", a / scale, b / scale, weight) for a, b in pairs])


def _step(shift: Floats, terms: Floats) -> Floats:
    """``shift (frame, 2)`` after the step that the equations ask for, to first order; its median stays 0."""
    dd, da, aa, dl, al = terms
    step = np.stack(_solve(dd, da, aa, dl, al, np.full(len(shift), 1e-6, np.float32)), axis=1)
    taken = shift + np.clip(step, -_STEP_PX, _STEP_PX)
    return np.asarray(taken - np.median(taken, axis=0), np.float32)


def _place_first_frames(frames: Floats, shift: Floats, weight: Floats) -> Floats:
    """``shift (frame, 2)`` with the frames before the bolus put where the later ones explain their mean best."""
    n = _frames_before(frames, weight)
    if n < 2 or len(frames) - n < _LEAST_LATER:
        return shift
    smooth = gaussian_filter(frames, (0, 1.0, 1.0))
    moved = _sample(smooth, np.broadcast_to(shift.T[:, :, None, None], (2, *frames.shape)))
    span = _principal_images(moved[n:], weight, _STILL_RANKS["before"])
    shift[:n] += _best_offset(moved[:n].mean(axis=0), span, weight)
    return np.asarray(shift - np.median(shift, axis=0), np.float32)


def _frames_before(frames: Floats, weight: Floats) -> int:
    """Number of frames before the first in which a tenth of the heart has changed."""
    first = np.median(frames[:4], axis=0)
    change = np.abs(gaussian_filter(frames, (0, 2, 2)) - first)[:, weight > 0.5]
    course = np.quantile(change, 0.9, axis=1)
    usual = course[:4].mean()
    return int(np.argmax(course > usual + _ARRIVED * (course.max() - usual)))


def _principal_images(frames: Floats, weight: Floats, rank: int) -> Floats:
    """(rank, row * col) images, orthonormal under ``weight``, whose mixtures come nearest to the frames."""
    weighted = frames.reshape(len(frames), -1) * np.sqrt(weight).ravel()
    _, modes = np.linalg.eigh(weighted @ weighted.T)
    images = modes[:, -rank:].T @ weighted
    return np.asarray(images / np.maximum(np.linalg.norm(images, axis=1, keepdims=True), 1e-20), np.float32)


def _best_offset(image: Floats, span: Floats, weight: Floats) -> Floats:
    """(2,) pixels by which ``image (row, col)`` is off: least of what no mixture explains, to a share of a pixel."""
    reach = max(2, round(_REACH * max(image.shape)))
    steps = np.arange(-reach, reach + 1, dtype=np.float32)
    places = np.stack(np.meshgrid(steps, steps, indexing="ij")).reshape(2, -1)
    unexplained = _unexplained_energy(image, places, span, weight)
    best = places[:, int(np.argmin(unexplained))]
    near = np.stack(np.meshgrid(*[np.arange(-0.75, 0.76, 0.25, dtype=np.float32)] * 2, indexing="ij")).reshape(2, -1)
    finer = best[:, None] + near
    return np.asarray(finer[:, int(np.argmin(_unexplained_energy(image, finer, span, weight)))], np.float32)


def _unexplained_energy(image: Floats, places: Floats, span: Floats, weight: Floats) -> Floats:
    """(place,) share of the image's weighted energy that lies outside the span when it is moved by each place."""
    there = _sample(
        np.broadcast_to(image, (places.shape[1], *image.shape)),
        np.broadcast_to(places[:, :, None, None], (2, places.shape[1], *image.shape)),
    )
    weighted = there.reshape(len(there), -1) * np.sqrt(weight).ravel()
    energy = (weighted**2).sum(axis=1)
    return np.asarray(1 - ((weighted @ span.T) ** 2).sum(axis=1) / np.maximum(energy, 1e-20), np.float32)


def _solve(dd: Floats, da: Floats, aa: Floats, dl: Floats, al: Floats, ridge: Floats) -> tuple[Floats, Floats]:
    """Solution of symmetric systems of two equations, with ``ridge`` times their mean diagonal added."""
    lift = np.asarray(ridge * (dd + aa) / 2 + 1e-20, np.float32)
    dd, aa = dd + lift, aa + lift
    determinant = dd * aa - da**2
    return (aa * dl - da * al) / determinant, (dd * al - da * dl) / determinant


def _low_rank(moved: Floats, weight: Floats, rank: int) -> Floats:
    """The frames as mixtures of ``rank`` images beside the mean, fitted where ``weight`` is."""
    flat = moved.reshape(len(moved), -1)
    mean = flat.mean(axis=0)
    inside = weight.ravel() > 0.3
    deviation = flat - mean
    _, modes = np.linalg.eigh(deviation[:, inside] @ deviation[:, inside].T)
    course = modes[:, -rank:]  # (frame, rank), orthonormal
    return np.asarray((course @ (course.T @ deviation) + mean).reshape(moved.shape), np.float32)


def _refine_field(frames: Floats, displacement: Floats, weight: Floats) -> Floats:
    """``displacement (2, frame, row, col)`` refined by local steps, smoothed over a tenth of the image."""
    reach = 0.05 * max(frames.shape[1:])
    smooth = gaussian_filter(frames, (0, 1.0, 1.0))
    for rank in _FIELD_RANKS:
        moved = _sample(smooth, displacement)
        model = _low_rank(moved, weight, rank)
        down, along = np.gradient(model, axis=1), np.gradient(model, axis=2)
        left = model - moved
        products = (down * down, down * along, along * along, down * left, along * left)
        local = [gaussian_filter(product, (0, reach, reach)) for product in products]
        ridge = 0.3 * (local[0] + local[2]).mean(axis=(1, 2), keepdims=True) / np.maximum(local[0] + local[2], 1e-20)
        step = np.stack(_solve(local[0], local[1], local[2], local[3], local[4], np.asarray(ridge, np.float32)))
        displacement = displacement + gaussian_filter(np.clip(step, -1, 1) * weight, (0, 0, reach / 2, reach / 2))
    return np.asarray(displacement, np.float32)


def _sample(frames: Floats, displacement: Floats, order: int = 1) -> Floats:
    """Each frame at its places plus ``displacement (2, frame, row, col)``, by splines of an order."""
    rows, cols = frames.shape[1:]
    grid = np.stack(np.meshgrid(np.arange(rows), np.arange(cols), indexing="ij")).astype(np.float32)
    out = np.empty_like(frames)
    for frame, image in enumerate(frames):
        map_coordinates(image, grid + displacement[:, frame], out[frame], order=order, mode="nearest")
    return out
