"""How the left ventricle shortens along its axis, from the mitral hinges and the apex of one long-axis view.

Reference: Fu et al., Communications Medicine 2026: length from the middle of the hinges to the apex, shortening
over the cycle, and MAPSE as the mean way of the two hinges between the frames of extreme length. Here pixels have
their true size, frames without landmarks stay missing, and missing is never zero.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cmr_models.reasons import Missing


def axis_length_mm(landmark_px: npt.NDArray[np.floating], pixel_mm: tuple[float, float]) -> npt.NDArray[np.float64]:
    """Length of the long axis in every frame.

    Args:
        landmark_px: ``(frame, 3, 2)`` (row, col) of the two mitral hinges and the apex; NaN where missing.
        pixel_mm: row and column spacing.

    Returns:
        ``(frame,)`` mm; NaN where a landmark is missing.
    """
    points_mm = np.asarray(landmark_px, np.float64) * np.asarray(pixel_mm)
    base = points_mm[:, :2].mean(axis=1)
    return np.asarray(np.linalg.norm(base - points_mm[:, 2], axis=1))


def long_axis_function(
    landmark_px: npt.NDArray[np.floating], pixel_mm: tuple[float, float]
) -> dict[str, float | Missing]:
    """Longest and shortest axis, shortening and MAPSE.

    Args:
        landmark_px: as for :func:`axis_length_mm`.
        pixel_mm: as for :func:`axis_length_mm`.

    Returns:
        ``axis_max_mm``, ``axis_min_mm``, ``axis_shortening_pct``, ``mapse_mm``; :class:`Missing` with
        ``landmarks_missing`` where no frame has all three landmarks, ``single_frame`` where only one has.
    """
    length = axis_length_mm(landmark_px, pixel_mm)
    names = ("axis_max_mm", "axis_min_mm", "axis_shortening_pct", "mapse_mm")
    known = int(np.isfinite(length).sum())
    if known < 2:
        return dict.fromkeys(names, Missing("single_frame" if known else "landmarks_missing"))
    longest, shortest = int(np.nanargmax(length)), int(np.nanargmin(length))
    way_mm = (landmark_px[longest, :2] - landmark_px[shortest, :2]) * np.asarray(pixel_mm)
    shortening = (length[longest] - length[shortest]) / length[longest] if length[longest] > 0 else np.nan
    values = (length[longest], length[shortest], 100 * shortening, np.linalg.norm(way_mm, axis=1).mean())
    return {
        name: float(value) if np.isfinite(value) else Missing("undefined")
        for name, value in zip(names, values, strict=True)
    }
