"""Which header value orders the frames of every cine of a study: what means time, unless the images speak against it.

What means time is believed. It gives way to another header value only where the images contradict it and support the
other: on most planes of the study, then on all that were timed by it, or on one plane. Image numbers say nothing of
time (PS3.3 C.7.6.1); they count where the images of the planes that have nothing else support them, taken together.

The rates of error of the images are measured in :mod:`cmr_models.views.frame_order`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache, cached_property
from typing import Final

import numpy as np

from cmr_models.views.frame_order import Evidence, Verdict, verdict_of, weigh_order
from tasks.convert.frame_times import frame_times
from tasks.convert.phases import Cycle, order
from tasks.convert.plane_images import PlaneImages, shown
from tasks.convert.timing import timing_of

_NUMBER: Final = "instance_number"

_CREATED: Final = "content_time"
"""When an image was made of the data (PS3.3 C.7.6.1), in the order of acquisition or not."""

_ENOUGH_PLANES: Final = 3
"""Planes that move confirm the numbers of those that show too little motion, if they are so many or every second."""


class _Candidate:
    """A plane and the header values by which its frames can be ordered, the most trustworthy first."""

    def __init__(self, plane: PlaneImages) -> None:
        self.plane = plane
        self.times = {times.name: times for times in frame_times(plane.images, plane.facts.cycle_ms)}
        self.evidence = cache(self._evidence)

    @cached_property
    def first(self) -> str:
        """The name of the header value that comes first; empty if there is none."""
        return next(iter(self.times), "")

    def others(self) -> list[str]:
        return list(self.times)[1:]

    def verdict(self, name: str) -> Verdict:
        return verdict_of([self.evidence(name)])

    def cycle(self, name: str) -> Cycle:
        if name == self.first:
            return self.plane.cycle
        return order(timing_of(self.plane.images, self.times[name], self.plane.cycle.n_frames))

    def settled(self, name: str, *flags: str) -> PlaneImages:
        """The plane in the order of ``name``."""
        by_number = name == _NUMBER
        flags = (*self.plane.flags, *(("order_by_number",) if by_number else ()), *flags)
        flags += ("trigger_unit",) if self.times[name].unit_ms != 1 else ()
        return replace(self.plane, cycle=self.cycle(name), order="number" if by_number else "time", flags=flags)

    def unsettled(self) -> PlaneImages:
        return replace(self.plane, order="unknown")

    def _evidence(self, name: str) -> Evidence:
        return weigh_order(shown(self.plane.images, self.cycle(name)))


def settle_orders(planes: Sequence[PlaneImages]) -> list[PlaneImages]:
    """The cines of a study, each in its order or with none.

    Args:
        planes: in the order of the header value that comes first (:mod:`tasks.convert.frame_times`).
    """
    groups: dict[str, list[int]] = defaultdict(list)
    candidates = [_Candidate(plane) for plane in planes]
    for i, candidate in enumerate(candidates):
        groups[candidate.first].append(i)
    settled = list(planes)
    for name, members in groups.items():
        settle = _by_number if name in (_NUMBER, "") else _by_time
        for i, plane in zip(members, settle([candidates[i] for i in members]), strict=True):
            settled[i] = plane
    return settled


# by what means time


def _by_time(members: Sequence[_Candidate]) -> Iterator[PlaneImages]:
    """Planes timed by one header value: all by it, unless the images of most planes know better, or of one plane."""
    better = _better_for_most(members)
    for member in members:
        name = member.first
        if better in member.times:
            yield member.settled(better, "order_contradicted")
        elif member.verdict(name) != "contradicted":
            yield member.settled(name)
        else:
            own = next((other for other in member.others() if member.verdict(other) == "supported"), "")
            if own:
                yield member.settled(own, "order_contradicted")
            else:
                yield member.unsettled() if name == _CREATED else member.settled(name, "order_doubtful")


def _better_for_most(members: Sequence[_Candidate]) -> str:
    """The header value that the images support where those of most planes contradict the first; empty if none is."""
    verdicts = [member.verdict(member.first) for member in members]
    if 2 * verdicts.count("contradicted") <= len(verdicts) - verdicts.count("silent"):
        return ""
    names = dict.fromkeys(name for member in members for name in member.others())
    return next((name for name in names if _together(members, name) == "supported"), "")


def _together(members: Sequence[_Candidate], name: str) -> Verdict:
    return verdict_of([member.evidence(name) for member in members if name in member.times])


# by numbers


def _by_number(members: Sequence[_Candidate]) -> Iterator[PlaneImages]:
    """Planes without anything that means time: by their numbers, if the images of these planes support them."""
    verdicts = [member.verdict(_NUMBER) if member.first else "contradicted" for member in members]
    n_speaking = len(verdicts) - verdicts.count("silent")
    is_enough = n_speaking >= min(_ENOUGH_PLANES, len(members) / 2)
    holds = is_enough and _together(members, _NUMBER) == "supported"
    for member, verdict in zip(members, verdicts, strict=True):
        is_told = verdict != "silent" or _is_monotone(member)
        yield member.settled(_NUMBER) if holds and verdict != "contradicted" and is_told else member.unsettled()


def _is_monotone(member: _Candidate) -> bool:
    """Whether the trigger times that are known, though not enough to order the frames, rise with the numbers."""
    trigger = np.array([image.number("trigger_ms") for image in member.plane.images])
    known = trigger[np.argsort(member.times[_NUMBER].values, kind="stable")]
    return bool((np.diff(known[np.isfinite(known)]) >= 0).all())
