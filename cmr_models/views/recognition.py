"""Which plane is which view of the heart: the short-axis stack, then the long-axis planes around its axis.

The stack is the largest family of parallel planes. Its normal is the heart's long axis; which end is
the apex follows from the body (it points left, forward and down). The long-axis planes are distinguished in
:mod:`cmr_models.views.long_axis`. Descriptions decide only where geometry does not.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from cmr_models.views import geometry, long_axis
from cmr_models.views.geometry import Vector
from cmr_models.views.long_axis import MotionMap
from cmr_models.views.plane import Plane

__all__ = ["TYPICAL_AXIS", "Plane", "Views", "recognise"]

TYPICAL_AXIS: Vector = geometry.unit((0.60, -0.62, -0.50))
"""Base to apex in LPS: left, anterior, inferior. Used for its sign; as a direction only without a stack."""

PARALLEL_DEG = 10.0
ROTATED_DEG = 2.0
BESIDE_A_VIEW_DEG = 20.0
"""The long-axis views are 60 degrees apart, so a plane is beside one of them at most."""
SINGLE_SAX_DEG = 35.0
_FEWEST_OF_A_STACK = 3
_OVERLAP = 0.9
"""Distance of planes, as a share of their thickness, under which they overlap."""


@dataclass
class Views:
    """What :func:`recognise` found; numbers are indices into its planes.

    Attributes:
        views: view -> planes, short axis from base to apex.
        excluded: plane -> reason code.
        flags: view -> reason codes of kind "flag".
        axis: ``(3,)`` long axis from base to apex, LPS.
    """

    views: dict[str, list[int]] = field(default_factory=dict)
    excluded: dict[int, str] = field(default_factory=dict)
    flags: dict[str, list[str]] = field(default_factory=dict)
    axis: Vector | None = None


def recognise(planes: Sequence[Plane], motion: MotionMap | None = None) -> Views:
    """Views among the cine planes of one study.

    Args:
        planes: cines only (see :mod:`cmr_models.views.series_kind`), in any order.
        motion: plane number -> ``(row, col)`` spread of its pixels over the cycle, on every
            :data:`cmr_models.views.long_axis.MOTION_STEP`-th pixel. It shows on which side the right ventricle lies.

    Returns:
        A view for every plane that has one, and a reason for every plane that has none.
    """
    found = Views()
    stack = _find_stack(planes)
    if stack:
        _place_stack(planes, stack, found)
    rest = [i for i in range(len(planes)) if i not in stack]
    found.axis = _long_axis(planes, stack, rest)
    _place_aorta(planes, rest, found)
    others = [i for i in rest if i not in found.views.get("aorta", [])]
    views, repeated = long_axis.distinguish(planes, others, found.views.get("sax", []), found.axis, motion)
    found.views.update({view: [i] for view, i in views.items()})
    found.excluded.update(dict.fromkeys(repeated, "series_repeated"))
    placed = set(itertools.chain.from_iterable(found.views.values())) | set(found.excluded)
    found.excluded.update({i: _why_unrecognised(planes, i, views.values()) for i in rest if i not in placed})
    return found


def _why_unrecognised(planes: Sequence[Plane], left: int, shown: Iterable[int]) -> str:
    """Why a plane has no view: it lies beside one of the long-axis views ``shown``, or is like none."""
    angles = [geometry.angle_between_axes_deg(planes[left].normal, planes[i].normal) for i in shown]
    return "series_parallel" if min(angles, default=90.0) <= BESIDE_A_VIEW_DEG else "series_unknown_view"


# the short-axis stack


def _find_stack(planes: Sequence[Plane]) -> list[int]:
    """The family of parallel planes with the most distinct places along their normal."""
    best: tuple[float, list[int]] = (0.0, [])
    for seed in planes:
        family = [
            i for i, p in enumerate(planes) if geometry.angle_between_axes_deg(p.normal, seed.normal) <= PARALLEL_DEG
        ]
        score = _stack_score(planes, family)
        if score > best[0]:
            best = (score, family)
    return best[1]


def _stack_score(planes: Sequence[Plane], family: list[int]) -> float:
    normal = planes[family[0]].normal
    alignment = abs(float(normal @ TYPICAL_AXIS))
    distinct = len(_by_place(planes, family, normal))
    across = sum(abs(float(p.normal @ normal)) < 0.5 for i, p in enumerate(planes) if i not in family)
    if distinct < 3 and alignment < math.cos(math.radians(SINGLE_SAX_DEG)):
        return 0.0
    if alignment < 0.3 and across < 2:
        return 0.0
    return distinct * (alignment + 0.2) + 0.5 * across


def _by_place(planes: Sequence[Plane], family: Sequence[int], axis: Vector) -> list[list[int]]:
    """Planes by place along ``axis``, sorted; those closer than 0.35 of their thickness share a place."""
    along = {i: float(planes[i].centre_mm @ axis) for i in family}
    groups: list[list[int]] = []
    for i in sorted(family, key=lambda i: along[i]):
        thickness = planes[i].thickness_mm
        closeness = max(1.0, 0.35 * thickness) if math.isfinite(thickness) else 1.0
        if groups and along[i] - along[groups[-1][0]] < closeness:
            groups[-1].append(i)
        else:
            groups.append([i])
    return groups


def _place_stack(planes: Sequence[Plane], stack: list[int], found: Views) -> None:
    axis = _towards_apex(_middle_normal(planes, stack))
    groups = _by_place(planes, _one_of_two_stacks(planes, stack, axis), axis)
    kept = [max(group, key=lambda i: planes[i].merit) for group in groups]
    repeats = set(stack) - set(kept)
    found.views["sax"] = kept
    found.excluded.update(dict.fromkeys(repeats, "series_repeated"))
    found.flags["sax"] = _stack_flags(planes, kept, axis, bool(repeats))


def _one_of_two_stacks(planes: Sequence[Plane], stack: list[int], axis: Vector) -> list[int]:
    """Of a stack that was planned anew and acquired again between the planes of the first, the one with more planes.

    Of two with as many, the later. Planes are two stacks if together they overlap and are not evenly spaced, while
    those before and those after some time are, at one distance, beside each other. A stack with a gap is one: its parts
    lie apart. So is one of which every other plane was acquired first: these do not overlap.
    """
    along = {i: float(planes[i].centre_mm @ axis) for i in stack}
    ordered = sorted(stack, key=lambda i: planes[i].acquired)
    together = geometry.spacing(list(along.values()))
    thickness_mm = min(planes[i].thickness_mm for i in stack)
    is_overlapping = bool(np.diff(sorted(along.values())).min(initial=np.inf) < _OVERLAP * thickness_mm)
    is_repeated_in_place = len(_by_place(planes, stack, axis)) < len(stack)
    if together.uniform or is_repeated_in_place or not is_overlapping:
        return stack
    for cut in range(_FEWEST_OF_A_STACK, len(ordered) - _FEWEST_OF_A_STACK + 1):
        early, late = ordered[:cut], ordered[cut:]
        if planes[early[-1]].acquired < planes[late[0]].acquired and _are_two_stacks(
            [along[i] for i in early], [along[i] for i in late]
        ):
            return late if len(late) >= len(early) else early
    return stack


def _are_two_stacks(early_mm: Sequence[float], late_mm: Sequence[float]) -> bool:
    """Whether both are evenly spaced, at one distance, and lie beside each other over half of the shorter at least."""
    first, second = geometry.spacing(early_mm), geometry.spacing(late_mm)
    shared_mm = min(max(early_mm), max(late_mm)) - max(min(early_mm), min(late_mm))
    shorter_mm = min(max(side) - min(side) for side in (early_mm, late_mm))
    is_one_distance = abs(first.slice_mm - second.slice_mm) <= geometry.UNIFORM_SPACING_TOLERANCE * first.slice_mm
    return first.uniform and second.uniform and is_one_distance and shared_mm >= shorter_mm / 2


def _stack_flags(planes: Sequence[Plane], kept: list[int], axis: Vector, repeated: bool) -> list[str]:
    uniform = geometry.spacing([float(planes[i].centre_mm @ axis) for i in kept]).uniform
    rotated = any(geometry.angle_between_axes_deg(planes[i].normal, axis) > ROTATED_DEG for i in kept) or any(
        geometry.angle_between_axes_deg(planes[i].row_dir, planes[kept[0]].row_dir) > ROTATED_DEG for i in kept
    )
    states = {
        "slice_gap": not uniform,
        "slice_repeated": repeated,
        "slice_rotated": rotated,
        "matrix_mixed": len({planes[i].shape for i in kept}) > 1,
        "slices_few": len(kept) < 6,
    }
    return [code for code, holds in states.items() if holds]


def _middle_normal(planes: Sequence[Plane], family: Sequence[int]) -> Vector:
    """The normal that deviates least from the others: one rotated plane does not move it."""
    normals = np.stack([planes[i].normal for i in family])
    return np.asarray(normals[int(np.argmax(np.abs(normals @ normals.T).sum(axis=1)))], np.float64)


def _towards_apex(axis: Vector) -> Vector:
    return axis if float(axis @ TYPICAL_AXIS) >= 0 else -axis


def _long_axis(planes: Sequence[Plane], stack: Sequence[int], rest: Sequence[int]) -> Vector:
    """From the stack; without one, the line in which long-axis planes meet; else the typical direction."""
    if stack:
        return _towards_apex(_middle_normal(planes, stack))
    if len(rest) >= 2:
        _, spread, directions = np.linalg.svd(np.stack([planes[i].normal for i in rest]))
        line = np.asarray(directions[-1], np.float64)
        if spread[1] > 0.3 and abs(float(line @ TYPICAL_AXIS)) > 0.5:
            return _towards_apex(line)
    return TYPICAL_AXIS


def _place_aorta(planes: Sequence[Plane], rest: Sequence[int], found: Views) -> None:
    """A transverse plane above the stack's base."""
    if "sax" not in found.views:
        return
    base = planes[found.views["sax"][0]].centre_mm
    transverse = [i for i in rest if abs(float(planes[i].normal[2])) > 0.9 and planes[i].centre_mm[2] > base[2] + 10.0]
    if transverse:
        best = max(transverse, key=lambda i: planes[i].merit)
        found.views["aorta"] = [best]
