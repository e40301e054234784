"""Position and size of the heart, from class probabilities over whole images."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from cmr_models.contracts import LV, MYOCARDIUM
from cmr_models.segmentation.crops import CropWindow
from cmr_models.zoo import ModelCard

_MAX_IMAGES = 12
_STRIDE = 32
_MAX_VIEW_PX = 256
_FIELDS_OF_VIEW_MM = (340.0, 240.0, 170.0)
_EPICARDIAL_MM = 74.0
_SMOOTHING_MM = 6.0
_CENTRAL_SD = 0.25


def spread_images(images: npt.NDArray[np.generic], n: int = _MAX_IMAGES) -> npt.NDArray[np.float32]:
    """At most ``n`` images ``(image, row, col)`` float32, spread over slices, of the first frame and one a
    third on.
    """
    n_frames, n_slices = images.shape[:2]
    frames = sorted({0, n_frames // 3})
    per_frame = max(1, n // len(frames))
    slices = np.unique(np.linspace(0, n_slices - 1, min(per_frame, n_slices)).round().astype(int))
    return np.ascontiguousarray(images[np.ix_(frames, slices)].reshape(-1, *images.shape[2:]), np.float32)


def coarse_view(shape: tuple[int, ...], pixel_mm: tuple[float, float], step_mm: float) -> CropWindow:
    """The whole image at ``step_mm`` (coarser if it is very large), as a square whose side the network accepts."""
    extent_mm = max(n * size for n, size in zip(shape, pixel_mm, strict=True))
    step_mm = max(step_mm, extent_mm / _MAX_VIEW_PX)
    size = int(np.ceil(extent_mm / step_mm / _STRIDE)) * _STRIDE
    centre = ((shape[0] - 1) / 2, (shape[1] - 1) / 2)
    return CropWindow(centre, (step_mm / pixel_mm[0], step_mm / pixel_mm[1]), size)


def supposed_pixel_mm(shape: tuple[int, ...]) -> list[tuple[float, float]]:
    """Pixel sizes to try when none is known: those of usual fields of view."""
    return [(extent / max(shape), extent / max(shape)) for extent in _FIELDS_OF_VIEW_MM]


def locate_heart(
    probabilities: npt.NDArray[np.float32],
    view: CropWindow,
    pixel_mm: tuple[float, float],
    card: ModelCard,
    known_mm: bool,
) -> tuple[CropWindow, float]:
    """The crop around the heart, and the network's confidence that a heart is there.

    Args:
        probabilities: ``(image, class, row, col)`` over ``view``.
        view: of :func:`coarse_view`.
        pixel_mm: pixel size of the image, known or supposed.
        card: the model's card: its pixel size and crop size.
        known_mm: whether ``pixel_mm`` is known; if not, the crop is scaled so that the left ventricle has
            the usual size.

    Returns:
        The window of the crops, and a confidence from 0 to 1.
    """
    step_mm = view.step_px[0] * pixel_mm[0]
    heart = 1 - probabilities[:, 0]
    together = ndimage.gaussian_filter(heart.mean(axis=0), _SMOOTHING_MM / step_mm) * _central(view.size)
    peak = np.unravel_index(int(together.argmax()), together.shape)
    pieces, _ = ndimage.label(together > 0.3 * together[peak])
    piece = pieces == pieces[peak]
    rows, cols = np.nonzero(piece)
    middle = (0.5 * (rows.min() + rows.max()), 0.5 * (cols.min() + cols.max()))
    if together[peak] < 0.02:
        middle = ((view.size - 1) / 2, (view.size - 1) / 2)
    centre = tuple(
        c + s * (m - (view.size - 1) / 2) for c, s, m in zip(view.centre_px, view.step_px, middle, strict=True)
    )
    scale = 1.0 if known_mm else _relative_size(probabilities, piece, step_mm)
    steps = (card.pixel_mm * scale / pixel_mm[0], card.pixel_mm * scale / pixel_mm[1])
    return CropWindow((float(centre[0]), float(centre[1])), steps, card.size), _confidence(probabilities, piece)


def _central(size: int) -> npt.NDArray[np.float64]:
    """Prior weight of each place: operators put the heart near the middle of the image."""
    offset = (np.arange(size) - (size - 1) / 2) / (_CENTRAL_SD * size)
    one_axis = np.exp(-0.5 * offset**2)
    return np.asarray(one_axis[:, None] * one_axis[None])


def _relative_size(probabilities: npt.NDArray[np.float32], piece: npt.NDArray[np.bool_], step_mm: float) -> float:
    """Epicardial diameter over the usual one; 1 while within the variation of hearts."""
    ventricle = (probabilities[:, [MYOCARDIUM, LV]].sum(axis=1) > 0.5) & piece
    area_mm2 = np.quantile(ventricle.sum((1, 2)), 0.75) * step_mm**2
    if area_mm2 == 0:
        return 1.0
    ratio = 2 * np.sqrt(area_mm2 / np.pi) / _EPICARDIAL_MM
    return float(np.clip(ratio / np.clip(ratio, 0.8, 1.25), 0.5, 2.0))


def _confidence(probabilities: npt.NDArray[np.float32], piece: npt.NDArray[np.bool_]) -> float:
    """Mean over images of the probability of heart inside it, times the fraction of images that show any."""
    inside = probabilities.transpose(0, 2, 3, 1)[:, piece]
    heart = inside[..., 1:].max(axis=-1)
    found = heart > 0.5
    return float(heart[found].mean() * found.any(axis=1).mean()) if found.any() else 0.0
