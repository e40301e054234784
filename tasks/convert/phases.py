"""Which image of a plane is which frame of the cycle: by trigger time, gaps left open, repeats settled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cmr_models.views.series_kind import is_plausible_cycle

IRREGULAR_FRACTION = 0.10
"""Frame intervals that differ more than this from their median are irregular."""


@dataclass(frozen=True)
class Timing:
    """Images of one plane in time.

    Attributes:
        trigger_ms: ``(image,)`` delay after the R wave; NaN where unknown.
        instance: ``(image,)`` number within the series.
        acquired: ``(image,)`` sortable time; a repeat of the same delay with the larger one wins.
        cycle_ms: RR interval from the header; NaN if unknown.
        n_expected: frames of a complete cycle, from the header; 0 if unknown.
    """

    trigger_ms: npt.NDArray[np.float64]
    instance: npt.NDArray[np.float64]
    acquired: tuple[str, ...]
    cycle_ms: float
    n_expected: int = 0


@dataclass(frozen=True)
class Cycle:
    """Frames of one plane: ``image[k]`` is the image of frame ``k``, or -1; ``time_ms[k]`` its delay."""

    image: npt.NDArray[np.intp]
    time_ms: npt.NDArray[np.float64]
    cycle_ms: float
    irregular: bool

    @property
    def n_frames(self) -> int:
        return len(self.image)

    @property
    def n_valid(self) -> int:
        return int((self.image >= 0).sum())


def order(timing: Timing) -> Cycle:
    """Images of one plane in the order of the cycle."""
    kept = without_repeats(timing)
    n_expected = max(timing.n_expected, len(kept))
    trigger = timing.trigger_ms[kept]
    has_times = _are_times(trigger)
    if len(kept) == n_expected:
        return _complete(timing, kept, has_times)
    slots = _slots_by_time(timing, kept, n_expected) if has_times else None
    if slots is None:
        slots = _slots_by_instance(timing.instance[kept], n_expected)
    image = np.full(n_expected, -1, np.intp)
    image[slots] = kept
    interval = _interval_ms(timing, trigger, n_expected)
    cycle_ms = timing.cycle_ms if is_plausible_cycle(timing.cycle_ms) else interval * n_expected
    return Cycle(image, _steps(n_expected, interval), cycle_ms, not has_times)


def resample(cycle: Cycle, n_frames: int) -> Cycle:
    """The image nearest in phase for each of ``n_frames``: for planes with another number of frames."""
    nearest = np.round(np.arange(n_frames) * cycle.n_frames / n_frames).astype(np.intp) % cycle.n_frames
    interval = cycle.cycle_ms / n_frames
    return Cycle(cycle.image[nearest], _steps(n_frames, interval), cycle.cycle_ms, cycle.irregular)


def _are_times(trigger_ms: npt.NDArray[np.float64]) -> bool:
    """Whether trigger times are all there and not all the same."""
    return len(trigger_ms) > 1 and bool(np.isfinite(trigger_ms).all()) and float(np.ptp(trigger_ms)) > 1.0


def _steps(n_frames: int, interval_ms: float) -> npt.NDArray[np.float64]:
    return np.arange(n_frames, dtype=np.float64) * np.float64(interval_ms)


def without_repeats(timing: Timing) -> npt.NDArray[np.intp]:
    """Images sorted by time (by number where times are missing or all the same); of a repeat, the latest."""
    trigger, instance = timing.trigger_ms, timing.instance
    place = np.round(trigger, 1) if _are_times(trigger) else instance
    ranked = sorted(range(len(place)), key=lambda i: (place[i], timing.acquired[i], instance[i]))
    if not np.isfinite(place).all():
        return np.array(ranked, np.intp)
    last = {place[i]: i for i in ranked}
    return np.array([last[key] for key in sorted(last)], np.intp)


def _complete(timing: Timing, kept: npt.NDArray[np.intp], has_times: bool) -> Cycle:
    trigger = timing.trigger_ms[kept]
    n = len(kept)
    if not has_times:
        cycle_ms = timing.cycle_ms if is_plausible_cycle(timing.cycle_ms) else float("nan")
        return Cycle(kept, _steps(n, cycle_ms / n), cycle_ms, n > 1)
    gaps = np.diff(trigger)
    middle = float(np.median(gaps))
    irregular = bool(np.any(np.abs(gaps - middle) > IRREGULAR_FRACTION * middle))
    cycle_ms = timing.cycle_ms if is_plausible_cycle(timing.cycle_ms) else middle * n
    return Cycle(kept, trigger - trigger[0], cycle_ms, irregular)


def _interval_ms(timing: Timing, trigger: npt.NDArray[np.float64], n_expected: int) -> float:
    """The usual step between neighbouring frames: half the gaps may be longer without moving it."""
    gaps = np.diff(trigger)
    if gaps.size and np.isfinite(gaps).all() and gaps.min() > 0:
        return float(np.median(gaps[gaps <= 1.5 * gaps.min()]))
    return timing.cycle_ms / n_expected if is_plausible_cycle(timing.cycle_ms) else float("nan")


def _slots_by_time(timing: Timing, kept: npt.NDArray[np.intp], n_expected: int) -> npt.NDArray[np.intp] | None:
    """Frame numbers from trigger times; None if they do not fall on a grid.

    Scanners start the grid at 0, half a step or one step. Only the last is ambiguous (first frame missing, or
    grid from one step); the image's own number decides it.
    """
    trigger = timing.trigger_ms[kept]
    interval = _interval_ms(timing, trigger, n_expected)
    if not interval > 0:
        return None
    steps = np.round((trigger - trigger[0]) / interval).astype(np.intp)
    first = _first_slot(trigger[0] / interval, timing.instance[kept], steps, n_expected)
    slots = steps + first
    fits = slots[-1] < n_expected and len(np.unique(slots)) == len(slots)
    return slots if fits else None


def _first_slot(start: float, instance: npt.NDArray[np.float64], steps: npt.NDArray[np.intp], n_expected: int) -> int:
    latest = n_expected - 1 - int(steps[-1])
    number = int(instance[0] - 1) % n_expected if np.isfinite(instance[0]) else 0
    likely = {int(start + 0.25), max(0, int(start - 0.75))}
    slot = number if number in likely else min(likely)
    return max(0, min(slot, latest))


def _slots_by_instance(instance: npt.NDArray[np.float64], n_expected: int) -> npt.NDArray[np.intp]:
    if np.isfinite(instance).all():
        slots = ((instance - 1) % n_expected).astype(np.intp)
        if np.all(np.diff(slots) > 0):
            return slots
    return np.arange(len(instance), dtype=np.intp)
