"""Images at the ends of a short-axis stack that show atria and great vessels, and no ventricle.

The valve planes descend through the slices as the ventricles contract: a slice that shows a ventricle at end-diastole
may show an atrium at end-systole. One image alone does not tell them apart; areas over the cycle do. All rules take
areas ``(frame, slice)`` in pixels, slices in order from either end; which end is the base,
:mod:`cmr_models.views.base_apex` tells from ``heart_px``, all that was taken for heart. Without, the left pool has to
tell.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cmr_models.views.base_apex import base_is_first

Areas = npt.NDArray[np.integer]
Flags = npt.NDArray[np.bool_]

_ENCLOSED = 0.4  # half, less a fifth for the thinner wall of the base: docs/adr/022
_CLOSING_WALL_MM = 13.0
"""A healthy wall at end-systole; next to hypertrophic ones, drawn basal slices had 0.4 of theirs."""
_FEWEST_SLICES = 5
_CONTRACTED, _GROWN = 0.92, 1.02
_LEFT = 0.15  # of a slice's full pool; in the real study some pixels of it came and went at end-systole
_APICAL = 0.12
"""Share of the largest slice under which a right ventricle is an apex, whose area says little."""


class _Cycle(NamedTuple):
    """Facts about the stack from its left ventricle."""

    full: int  # frame
    empty: int  # frame
    middle: slice  # slices that both ventricles fill in all frames
    base_first: bool
    late: Flags  # (frame,): nearer end-systole than end-diastole
    n_slices: int  # with a left ventricle


def atrial_slices(lv_px: Areas, heart_px: Areas | None = None) -> Flags:
    """``(slice,)``: slices at the basal end whose left pool is larger when the others' is smallest.

    Without two frames, five slices and a contraction, no slice is marked.
    """
    atrial = np.zeros(lv_px.shape[1], bool)
    cycle = _cycle_of(lv_px, heart_px)
    if cycle is None or not _contracts(lv_px, cycle):
        return atrial
    for k in _inwards(lv_px, cycle.base_first)[: cycle.n_slices // 3]:
        if lv_px[cycle.empty, k] <= _GROWN * lv_px[cycle.full, k]:
            break
        atrial[k] = True
    return atrial


def left_by_lv(lv_px: Areas, heart_px: Areas | None = None) -> Flags:
    """``(frame, slice)``: basal slices that the left ventricle fills when full, and has left as it contracts.

    The tricuspid ring descends further than the mitral one, so no right ventricle is left there either, but for the
    outflow tract near its valve. Without two frames, five slices and a contraction, no slice is marked.
    """
    left = np.zeros(lv_px.shape, bool)
    cycle = _cycle_of(lv_px, heart_px)
    if cycle is None or not _contracts(lv_px, cycle):
        return left
    reached = [k for k in _inwards(lv_px, cycle.base_first) if lv_px[cycle.full, k]]
    for k in reached[: cycle.n_slices // 3]:
        left[:, k] = cycle.late & (lv_px[:, k] < _LEFT * lv_px[cycle.full, k])
    return left


def not_enclosed(lv_px: Areas, wall_px: Areas, pixel_mm: float) -> Flags:
    """``(frame, slice)``: images at the ends of each frame's run whose left pool is not half enclosed by myocardium.

    A basal slice counts where myocardium surrounds at least half of the blood (Schulz-Menger et al. 2020,
    doi:10.1186/s12968-020-00610-6). The wall around a pool is its area over the perimeter of a disc as large as the
    pool; the next slice inwards says how thick a wall that closes would be, if a little too thick, as walls are thinner
    at the base. Where that one is hypertrophic, a share of a healthy one's thickness is enough.
    """
    found = np.zeros(lv_px.shape, bool)
    with np.errstate(divide="ignore", invalid="ignore"):
        thickness_px = wall_px / (2 * np.sqrt(np.pi * lv_px))
    wanted_px = _ENCLOSED * np.minimum(thickness_px, _CLOSING_WALL_MM / pixel_mm)
    for frame, present in enumerate(lv_px > 0):
        run = np.flatnonzero(present)
        if run.size < _FEWEST_SLICES:
            continue
        for inwards in (run, run[::-1]):
            for k, following in itertools.pairwise(inwards[: run.size // 3 + 1]):
                if thickness_px[frame, k] >= wanted_px[frame, following]:
                    break
                found[frame, k] = True
    return found


def resting_rv(rv_px: Areas, lv_px: Areas, heart_px: Areas | None = None) -> Flags:
    """``(frame, slice)``: where what was taken for a right ventricle takes no part in its contraction.

    The right base descends further than the left one, so a right ventricle shrinks more in basal slices than in those
    of the middle. From either end inwards, slices that shrink by less than half as much are something else: large
    ones at the apex always, at the base in the contracted half of the cycle, and always where even the full left
    ventricle does not reach. No slice is marked where the slices of the middle do not contract either (why, and what it
    does to real hearts: `docs/adr/021-a-right-ventricle-contracts.md`).
    """
    rest = np.zeros(rv_px.shape, bool)
    cycle = _cycle_of(lv_px, heart_px)
    if cycle is None or not _contracts(rv_px, cycle):
        return rest
    middle = rv_px[:, cycle.middle].sum(axis=1)
    limit = (1 + middle[cycle.empty] / middle[cycle.full]) / 2
    resting = rv_px[cycle.empty] > limit * rv_px[cycle.full]
    beyond_lv = lv_px[cycle.full] == 0
    for k in itertools.takewhile(resting.__getitem__, _inwards(rv_px, cycle.base_first)[: cycle.n_slices // 2]):
        rest[:, k] = cycle.late | beyond_lv[k]
    large = rv_px[cycle.full] > _APICAL * rv_px[cycle.full].max()
    for k in itertools.takewhile(resting.__getitem__, _inwards(rv_px, not cycle.base_first)[: cycle.n_slices // 3]):
        rest[:, k] = large[k]
    return rest


def _cycle_of(lv_px: Areas, heart_px: Areas | None) -> _Cycle | None:
    run = np.flatnonzero(lv_px.any(axis=0))
    if len(lv_px) < 2 or run.size < _FEWEST_SLICES:
        return None
    middle = slice(int(run[run.size // 4]), int(run[-(run.size // 4) - 1]) + 1)
    pool = lv_px[:, middle].sum(axis=1)
    full, empty = int(pool.argmax()), int(pool.argmin())
    base_first = base_is_first(lv_px, lv_px if heart_px is None else heart_px)
    return _Cycle(full, empty, middle, base_first, 2 * pool < pool[full] + pool[empty], run.size)


def _contracts(area_px: Areas, cycle: _Cycle) -> bool:
    middle = area_px[:, cycle.middle].sum(axis=1)
    return bool(middle[cycle.full] > 0 and middle[cycle.empty] <= _CONTRACTED * middle[cycle.full])


def _inwards(area_px: Areas, from_first: bool) -> list[int]:
    """Slices that hold anything in any frame, from the first inwards or from the last."""
    run = np.flatnonzero(area_px.any(axis=0)).tolist()
    return run if from_first else run[::-1]
