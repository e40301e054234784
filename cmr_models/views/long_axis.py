"""Which long-axis plane is which view: by its turn around the heart's axis and by what it cuts.

A long-axis plane contains the axis, so it appears as a line to someone who looks along it. The 2-, 3- and
4-chamber lines meet in the axis of the left ventricle, 60 degrees apart (they cut opposite walls of the
17-segment model, Cerqueira 2002, Circulation 105:539); planes through the right ventricle pass it by. Which
of the three is which follows from the side on which the right ventricle lies: the 4-chamber plane cuts both
ventricles. That side shows in the motion of the short-axis images around the axis; without them it is taken
to be the patient's right. Descriptions count only where this leaves the choice nearly open.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cmr_models.views import geometry
from cmr_models.views.geometry import Vector
from cmr_models.views.plane import Plane

MotionMap = Callable[[int], npt.NDArray[np.floating]]

MOTION_STEP = 2
"""Motion is looked at on every second pixel of every second row."""

PATIENT_LEFT: Vector = np.array([1.0, 0.0, 0.0])

TURN_DEG: Mapping[str, float] = {"lax_4c": 0.0, "lax_2c": 60.0, "lax_3c": 120.0}
"""Turn from the direction away from the right ventricle, towards anterior-superior, modulo 180 degrees."""

RVOT_TURN_DEG = 92.0
"""Turn of the right ventricle's outflow plane, which is nearly sagittal, from the patient's left."""

SAME_VIEW_DEG = 15.0
SAME_VIEW_MM = 12.0
MAX_TILT_DEG = 30.0

_MOTION_RING_MM = (30.0, 80.0)
_MOTION_TURN_DEG = 8.0
"""Measured: 3 degrees in one real study, 13 to 21 in simulated hearts; the views are 60 apart."""
_MIN_ASYMMETRY = 0.08
_TURN_SD_DEG, _TILT_SD_DEG, _MISS_SD_MM = 15.0, 12.0, 3.0
_UNASSIGNED_COST, _WORD_BONUS, _LEFT_WEIGHT = 8.0, 4.0, 0.02

_WORDS: Mapping[str, re.Pattern[str]] = {
    "lax_2c": re.compile(r"(?<!\d)2.?ch|vla|2.?chamber", re.IGNORECASE),
    "lax_3c": re.compile(r"(?<!\d)3.?ch|lvot|3.?chamber", re.IGNORECASE),
    "lax_4c": re.compile(r"(?<!\d)4.?ch|hla|4.?chamber", re.IGNORECASE),
}


@dataclass(frozen=True)
class _Trace:
    """A long-axis plane seen along the axis: a line with unit normal and offset, in (left, forward-up) mm."""

    index: int
    turn_deg: float
    tilt_deg: float
    normal: Vector
    offset_mm: float
    words: str


@dataclass(frozen=True)
class _Frame:
    """Coordinates across the axis: directions left and forward-up, and the point where both are zero."""

    left: Vector
    up: Vector
    origin_mm: Vector


def distinguish(
    planes: Sequence[Plane],
    candidates: Sequence[int],
    stack: Sequence[int],
    axis: Vector,
    motion: MotionMap | None = None,
) -> tuple[dict[str, int], list[int]]:
    """Long-axis views among ``candidates``.

    Args:
        planes: all planes of the study.
        candidates: those outside the stack.
        stack: the short-axis planes from base to apex; may be empty.
        axis: ``(3,)`` unit vector from base to apex.
        motion: see :func:`cmr_models.views.recognition.recognise`.

    Returns:
        View -> plane, and the planes that repeat one of them.
    """
    frame = _frame(planes, stack or candidates, axis)
    traces = _traces(planes, candidates, axis, frame)
    chosen, point = _assign(traces, 0.0)
    if motion is not None and point is not None and stack:
        away_deg = _away_from_right_ventricle_deg(planes, stack, frame, point, motion)
        if away_deg is not None:
            chosen, point = _assign(traces, away_deg)
    views: dict[str, int] = {}
    repeated: list[int] = []
    taken: set[int] = set()
    for view, trace in chosen.items():
        same = [t for t in traces if t.index not in taken and _same_view(t, trace, chosen)]
        views[view], others = _best(planes, same)
        repeated += others
        taken |= {t.index for t in same}
    right = _right_outflow([t for t in traces if t.index not in taken], point)
    if right:
        views["rvot"], others = _best(planes, right)
        repeated += others
    return views, repeated


def _best(planes: Sequence[Plane], same: Sequence[_Trace]) -> tuple[int, list[int]]:
    best = max((t.index for t in same), key=lambda i: planes[i].merit)
    return best, [t.index for t in same if t.index != best]


def _frame(planes: Sequence[Plane], reference: Sequence[int], axis: Vector) -> _Frame:
    left, up = geometry.perpendicular_basis(axis, PATIENT_LEFT)
    middle = np.mean([planes[i].centre_mm for i in reference], axis=0) if len(reference) else np.zeros(3)
    return _Frame(left, up, np.asarray(middle, np.float64))


def _traces(planes: Sequence[Plane], candidates: Sequence[int], axis: Vector, frame: _Frame) -> list[_Trace]:
    traces = []
    for i in candidates:
        plane = planes[i]
        tilt = 90.0 - geometry.angle_between_axes_deg(plane.normal, axis)
        if tilt > MAX_TILT_DEG:
            continue
        across = np.array([plane.normal @ frame.left, plane.normal @ frame.up])
        length = float(np.hypot(*across))
        turn = math.degrees(math.atan2(float(across[0]), -float(across[1]))) % 180.0
        offset = float((plane.centre_mm - frame.origin_mm) @ plane.normal) / length
        traces.append(_Trace(i, turn, tilt, across / length, offset, plane.description))
    return traces


def _away_from_right_ventricle_deg(
    planes: Sequence[Plane], stack: Sequence[int], frame: _Frame, point: Vector, motion: MotionMap
) -> float | None:
    """Direction from the right to the left ventricle, from what moves around ``point``; None if unclear.

    In a ring that leaves out most of the left ventricle, the right one is what moves most. Its centre of
    motion lies a little behind the trace of the 4-chamber plane, which the constant accounts for.
    """
    inner = list(stack[1:-1]) or list(stack)
    sums = [_asymmetry(planes[i], motion(i), frame, point) for i in inner]
    mean = complex(np.mean([value for value in sums if value is not None] or [0.0]))
    if abs(mean) < _MIN_ASYMMETRY:
        return None
    return math.degrees(math.atan2(mean.imag, mean.real)) - 180.0 + _MOTION_TURN_DEG


def _asymmetry(plane: Plane, moved: npt.NDArray[np.floating], frame: _Frame, point: Vector) -> complex | None:
    """Mean direction of what moves in the ring around ``point``, between 0 (all round) and 1 (one side)."""
    rows, cols = (np.arange(n) * MOTION_STEP for n in moved.shape)
    corner = plane.position_mm - frame.origin_mm
    x, y = (
        corner @ along
        + (plane.col_dir @ along) * plane.pixel_mm[0] * rows[:, None]
        + (plane.row_dir @ along) * plane.pixel_mm[1] * cols[None, :]
        for along in (frame.left, frame.up)
    )
    offset = (x - point[0]) + 1j * (y - point[1])
    distance = np.abs(offset)
    ring = (distance > _MOTION_RING_MM[0]) & (distance < _MOTION_RING_MM[1])
    total = float(moved[ring].sum())
    return complex((moved[ring] * offset[ring] / distance[ring]).sum() / total) if total > 0 else None


def _turn_between_deg(first: float, second: float) -> float:
    return abs((first - second + 90.0) % 180.0 - 90.0)


def _same_view(trace: _Trace, chosen: _Trace, views: Mapping[str, _Trace]) -> bool:
    """A repeat of ``chosen``: nearly the same line, and not itself the plane of another view."""
    if trace is chosen:
        return True
    if any(trace is other for other in views.values()):
        return False
    close = _turn_between_deg(trace.turn_deg, chosen.turn_deg) <= SAME_VIEW_DEG
    sign = math.copysign(1.0, float(trace.normal @ chosen.normal))
    return close and abs(sign * trace.offset_mm - chosen.offset_mm) <= SAME_VIEW_MM


def _assign(traces: Sequence[_Trace], away_deg: float) -> tuple[dict[str, _Trace], Vector | None]:
    """The cheapest way to give each view one plane or none, and the point in which the lines meet."""
    turns = {view: turn + away_deg for view, turn in TURN_DEG.items()}
    options: list[list[_Trace | None]] = [
        [None, *(t for t in traces if _turn_between_deg(t.turn_deg, turn) <= 45.0)] for turn in turns.values()
    ]
    best: tuple[float, dict[str, _Trace], Vector | None] = (math.inf, {}, None)
    for combination in itertools.product(*options):
        chosen = {view: trace for view, trace in zip(turns, combination, strict=True) if trace is not None}
        if len({t.index for t in chosen.values()}) < len(chosen):
            continue
        cost, point = _cost(chosen, turns)
        if cost < best[0]:
            best = (cost, chosen, point)
    return best[1], best[2]


def _cost(chosen: Mapping[str, _Trace], turns: Mapping[str, float]) -> tuple[float, Vector | None]:
    cost = _UNASSIGNED_COST * (len(turns) - len(chosen))
    for view, trace in chosen.items():
        cost += (_turn_between_deg(trace.turn_deg, turns[view]) / _TURN_SD_DEG) ** 2
        cost += (trace.tilt_deg / _TILT_SD_DEG) ** 2
        cost -= _WORD_BONUS * bool(_WORDS[view].search(trace.words))
    if len(chosen) < 2:
        return cost, None
    traces = list(chosen.values())
    point, miss_mm = geometry.common_point([t.normal for t in traces], [t.offset_mm for t in traces])
    return cost + (miss_mm / _MISS_SD_MM) ** 2 - _LEFT_WEIGHT * float(point[0]), point


def _right_outflow(rest: Sequence[_Trace], point: Vector | None) -> list[_Trace]:
    """The right ventricle's outflow plane, which passes right of the left ventricle's axis, and its repeats."""
    candidates = [t for t in rest if _turn_between_deg(t.turn_deg, RVOT_TURN_DEG) <= 30.0 and _passes_right(t, point)]
    if not candidates:
        return []
    best = min(candidates, key=lambda t: _turn_between_deg(t.turn_deg, RVOT_TURN_DEG))
    return [t for t in candidates if _same_view(t, best, {})]


def _passes_right(trace: _Trace, point: Vector | None) -> bool:
    """Whether the line crosses the horizontal through ``point`` on the patient's right of it."""
    if point is None or abs(float(trace.normal[0])) < 0.2:
        return point is None
    crossing = (trace.offset_mm - float(trace.normal[1]) * float(point[1])) / float(trace.normal[0])
    return crossing < float(point[0]) - 5.0
