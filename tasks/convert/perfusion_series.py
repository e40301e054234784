"""First-pass series of one study -> perfusion views: rest and stress, myocardium and arterial input, proton density."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr

from cmr_models.views import geometry
from cmr_models.views.geometry import Vector
from cmr_models.views.plane import Plane
from tasks.convert.beat_times import BeatTimes, beat_times
from tasks.convert.phases import Cycle
from tasks.convert.plane_images import PlaneImages
from tasks.convert.stack import assemble
from tasks.convert.values import is_received_otherwise, n_clipped
from tasks.sources.dicom import Image

_STATES = (
    ("stress", re.compile(r"stress|adenosin|regadenoson|dipyridamol|hyper[ae]?emi", re.IGNORECASE)),
    ("rest", re.compile(r"(^|[\W_])rest(ing)?([\W_]|$)", re.IGNORECASE)),
)
_AIF = re.compile(r"(^|[\W_])aif([\W_]|$)|arterial.?input", re.IGNORECASE)
_PD = re.compile(r"(^|[\W_])pdw?([\W_]|$)|proton.?dens", re.IGNORECASE)
_NUMBERS = ("inversion_ms", "phase_encodings", "echo_train_length")

_PD_FLIP_SHARE = 0.7
"""Proton-density frames are read with a flip of 5 degrees or so, saturated ones with 8 to 50 (Kellman 2017)."""

_SECOND_ECHO_SHARE = 1.3
_PARALLEL_DEG = 10.0
_SAME_PLACE_MM = 1.0
_TOWARDS_APEX = np.array([1.0, -1.0, -1.0]) / np.sqrt(3.0)
"""The heart points to the left, to the front and down (LPS), should no cine say where the apex is."""


@dataclass(frozen=True)
class PerfusionViews:
    """Views by name, and why members of ``groups`` were left out, by their place in it."""

    views: dict[str, xr.Dataset]
    excluded: dict[int, str]


@dataclass(frozen=True)
class _Run:
    """Images of one kind in one plane, over the beats."""

    group: int
    images: list[Image]
    times: BeatTimes
    members: PlaneImages
    plane: Plane


def perfusion_views(groups: Mapping[int, PlaneImages], apexward: Vector | None) -> PerfusionViews:
    """Views of the first-pass series of a study.

    Args:
        groups: planes that are first-pass series, by any number.
        apexward: from base to apex (LPS), if the cines say so.
    """
    runs: dict[str, list[_Run]] = defaultdict(list)
    for number, group in groups.items():
        if group.plane is not None:
            for name, images in _kinds(group).items():
                times = beat_times(images, group.facts.cycle_ms)
                runs[name].append(_Run(number, images, times, group, group.plane))
    as_received = is_received_otherwise([image for found in runs.values() for run in found for image in run.images])
    views, used, excluded = {}, set[int](), dict[int, str]()
    for name, found in sorted(runs.items()):
        chosen, left = _stack(found, apexward)
        views[name] = _view(chosen, name, as_received=as_received)
        used.update(run.group for run in chosen)
        excluded.update(left)
    excluded |= {number: "geometry_missing" for number, group in groups.items() if group.plane is None}
    return PerfusionViews(views, {number: why for number, why in excluded.items() if number not in used})


def _kinds(group: PlaneImages) -> dict[str, list[Image]]:
    """Images of one plane by the name of the view that they belong to."""
    words = group.facts.description
    state = next((name for name, pattern in _STATES if pattern.search(words)), "unstated")
    base = f"perfusion_{state}{'_aif' if _AIF.search(words) else ''}"
    flips = np.array([image.number("flip_angle_deg") for image in group.images])
    echoes = np.array([image.number("echo_time_ms") for image in group.images])
    delays = np.nan_to_num([image.number("inversion_ms") for image in group.images])
    is_pd = np.full(len(flips), bool(_PD.search(words))) | (flips < _PD_FLIP_SHARE * _usual(flips))
    is_pd |= (delays <= 0) & (delays > 0).any()
    is_second = echoes > _SECOND_ECHO_SHARE * np.nanmin(echoes) if np.isfinite(echoes).any() else np.zeros(len(echoes))
    kinds: dict[str, list[Image]] = defaultdict(list)
    for image, pd, second in zip(group.images, is_pd, is_second, strict=True):
        role = "_pd" if pd else "_echo2" if second and base.endswith("_aif") else ""
        if not (pd and second):  # the first echo is enough for the density
            kinds[base + role].append(image)
    return kinds


def _usual(values: npt.NDArray[np.float64]) -> float:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if finite.size else float("nan")


# planes -> stack


def _stack(runs: Sequence[_Run], apexward: Vector | None) -> tuple[list[_Run], dict[int, str]]:
    """One run a plane, parallel planes, base first; and why others were left out, by group."""
    leading = max(runs, key=lambda run: (sum(_parallel(run, other) for other in runs), len(run.images)))
    normal = leading.plane.normal
    towards = apexward if apexward is not None and abs(float(normal @ apexward)) > 0.5 else _TOWARDS_APEX
    axis = normal if float(normal @ towards) >= 0 else -normal
    left = {run.group: "series_unknown_view" for run in runs if not _parallel(run, leading)}
    chosen: list[_Run] = []
    for run in sorted(runs, key=lambda run: (-len(run.images), run.plane.acquired, run.group)):
        if run.group in left:
            continue
        if any(abs(float((run.plane.centre_mm - other.plane.centre_mm) @ axis)) < _SAME_PLACE_MM for other in chosen):
            left[run.group] = "series_repeated"
        else:
            chosen.append(run)
    return sorted(chosen, key=lambda run: float(run.plane.centre_mm @ axis)), left


def _parallel(first: _Run, second: _Run) -> bool:
    return geometry.angle_between_axes_deg(first.plane.normal, second.plane.normal) <= _PARALLEL_DEG


# stack -> view


def _view(runs: Sequence[_Run], name: str, *, as_received: bool) -> xr.Dataset:
    """A stack of runs. All perfusion views of a study are on one scale: input, wall and density are compared."""
    n_frames = max(len(run.images) for run in runs)
    starts = [float(run.times.time_ms[0]) for run in runs]
    start = min(starts) if np.isfinite(starts).all() else float("nan")
    members = [_member(run, n_frames, start) for run in runs]
    acquired = np.stack([member.cycle.time_ms for member in members], axis=1)
    axis = runs[0].plane.normal if len(runs) > 1 else None
    how = {run.times.how for run in runs}
    clipped = max(n_clipped(run.images) for run in runs)  # before assembly, which drops the pixels
    view = assemble(members, [], axis, as_received=as_received)
    is_as_stored = (view.attrs["intensity_offset"], view.attrs["intensity_scale"]) == (0, 1)
    view = view.assign(acquired_ms=(("frame", "slice"), acquired))
    facts = {number: runs[0].images[0].number(number) for number in _NUMBERS}
    if clipped and (view.attrs["rescale_varies"] or not is_as_stored):  # else seen in what is stored
        facts["clipped_pixels"] = clipped
    timed_by = how.pop() if len(how) == 1 else "mixed"
    return view.assign_attrs(state=name.split("_")[1], timed_by=timed_by, start_ms=start, **facts)


def _member(run: _Run, n_frames: int, start_ms: float) -> PlaneImages:
    """The run as a plane whose cycle is the bolus; beats that it lacks at the end are missing frames."""
    missing = n_frames - len(run.images)
    image = np.concatenate([run.times.order, np.full(missing, -1, np.intp)])
    time_ms = np.concatenate([run.times.time_ms - start_ms, np.full(missing, np.nan)])
    cycle = Cycle(image, time_ms, run.members.facts.cycle_ms, irregular=False)
    return PlaneImages(run.images, run.members.facts, cycle, run.plane)
