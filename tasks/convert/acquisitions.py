"""The images of one study -> acquisitions: what lies in one plane, is of one kind and was taken in one go.

Labels are believed only as far as the images bear them out: a SeriesInstanceUID may be shared by many planes, or
differ from frame to frame; positions are spelt with more or fewer digits.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from cmr_models.views.series_kind import LONGEST_CYCLE_MS, MIN_CINE_FRAMES, cycle_from, is_called_perfusion
from tasks.convert.frame_times import FrameTimes, clock_ms, frame_times
from tasks.sources.dicom import Image

_SAME_PLACE: Final = 0.125
"""Images of one plane lie closer to each other than this share of their thickness, within the next two limits."""

_SAME_PLACE_MM: Final = (0.3, 1.0)
"""Headers are spelt to 0.1 mm at worst; some software writes a place of its own for every frame, up to 0.5 mm away."""

_SAME_THICKNESS: Final = 0.05
"""Thicknesses differ less, as a share, that are one and spelt otherwise."""

_SAME_DIRECTION: Final = 1e-2
"""Components of their directions differ less (0.6 degrees)."""

_SAME_ECHO: Final = 0.05
"""Echo times of one echo differ less, as a share; those of a multi-echo readout differ by a third and more."""

_SAME_BREATH_MS: Final = 60_000.0
"""Images of one acquisition without a common series are taken closer together: a breath-hold lasts under 30 s."""

_RESTART: Final = 0.5
"""The time after the R wave falls back by more than this share of its span: another acquisition or beat begins."""

WHOLE_BEAT: Final = 0.9
"""A beat with less than this share of the frames of a beat is not whole."""

_SAME_STEP: Final = 0.5
"""Frames that complete a cine lie between the others: further from the next than this share of the usual step."""

_KIND: Final = 4
"""The complex component and the first three values of an image type say what an image is; others, how it was made."""

_PROTOCOL: Final = (
    "thickness_mm", "echo_time_ms", "flip_angle_deg", "cardiac_images", "repetition_time_ms", "inversion_ms",
)  # fmt: skip


class Acquisition(NamedTuple):
    """Images of one plane, one kind and one go.

    Attributes:
        images: in any order.
        n_orientations: how many directions the planes of their series have.
        beat: "one" for the beat that is measured of several that follow each other, "other" for the rest.
    """

    images: list[Image]
    n_orientations: int
    beat: Literal["", "one", "other"] = ""


def acquisitions_of(images: Sequence[Image]) -> list[Acquisition]:
    """Acquisitions in an order that depends on nothing but the headers."""
    places = _places(images)
    sites: dict[tuple[Any, ...], dict[str, list[Image]]] = defaultdict(lambda: defaultdict(list))
    orientations: dict[str, set[int]] = defaultdict(set)
    for image in images:
        place, orientation = places[_spelling(image)]
        series = _series(image)
        orientations[series].add(orientation)
        site = (
            place,
            orientation,
            image.integer("rows"),
            image.integer("columns"),
            image.pixels is None and not image.fault,
            _type(image),
        )
        sites[site][series].append(image)
    wholes: dict[tuple[Any, ...], list[list[Image]]] = defaultdict(list)
    for (*where, types), parts in sites.items():
        wholes[*where, types[:_KIND]] += _whole(list(parts.values()))
    found = [
        Acquisition(run, max(len(orientations[_series(image)]) for image in run), beat)
        for alike in wholes.values()
        for whole in _of_all_types(alike)
        for run, beat in _runs(whole)
    ]
    return sorted(found, key=lambda acquisition: min(_header_key(image) for image in acquisition.images))


def _series(image: Image) -> str:
    return image.text("series_uid") or f"number {image.text('series_number')}"


def _header_key(image: Image) -> tuple[bytes, ...]:
    names = ("series_uid", "series_number", "position_mm", "orientation", "acquisition_time", "instance_number")
    return tuple(image.raw(name) for name in names)


# one place

_Spelling = tuple[bytes, bytes, float]
"""Position and orientation as they are written, and thickness."""


def _spelling(image: Image) -> _Spelling:
    thickness = image.number("thickness_mm")
    return image.raw("position_mm"), image.raw("orientation"), thickness if np.isfinite(thickness) else 0.0


def _places(images: Iterable[Image]) -> dict[_Spelling, tuple[int, int]]:
    """Number of the place and of the orientation by their spellings; -1 for what cannot be placed."""
    spellings = sorted({_spelling(image) for image in images})
    directions = _alike([spelling[1] for spelling in spellings], 6, _SAME_DIRECTION)
    found: dict[_Spelling, tuple[int, int]] = {}
    first = 0
    for group_mm in _thicknesses(spellings):
        members = [i for i, spelling in enumerate(spellings) if spelling[2] in group_mm]
        tolerance_mm = float(np.clip(_SAME_PLACE * group_mm[0], *_SAME_PLACE_MM))
        positions = _alike([spellings[i][0] for i in members], 3, tolerance_mm)
        for i, position in zip(members, positions, strict=True):
            found[spellings[i]] = (position if position < 0 else position + first, directions[i])
        first += max(positions) + 1
    return found


def _thicknesses(spellings: Iterable[_Spelling]) -> list[list[float]]:
    """The thicknesses there are, those together that differ by their spelling alone, the thinnest first."""
    groups: list[list[float]] = []
    for thickness_mm in sorted({spelling[2] for spelling in spellings}):
        if groups and thickness_mm <= (1 + _SAME_THICKNESS) * groups[-1][-1]:
            groups[-1].append(thickness_mm)
        else:
            groups.append([thickness_mm])
    return groups


def _alike(spellings: Sequence[bytes], length: int, tolerance: float) -> list[int]:
    """Numbers of vectors by what they are written as: those within a tolerance of each other, in chains, share one."""
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import cKDTree  # for most studies a few planes: loaded where it is needed

    vectors = [_vector(spelling, length) for spelling in spellings]
    placed = [i for i, vector in enumerate(vectors) if vector is not None]
    numbers = np.full(len(spellings), -1)
    if placed:
        tree = cKDTree(np.array([vectors[i] for i in placed]))
        near = tree.sparse_distance_matrix(tree, tolerance, p=np.inf, output_type="coo_matrix")
        near.data[:] = 1.0  # a distance of zero would be no link
        numbers[placed] = connected_components(near, directed=False)[1]
    return [int(number) for number in numbers]


def _vector(spelling: bytes, length: int) -> npt.NDArray[np.float64] | None:
    try:
        values = np.array([float(part) for part in spelling.strip(b" \x00").split(b"\\")])
    except ValueError:
        return None
    return values if len(values) == length and np.isfinite(values).all() else None


def _type(image: Image) -> tuple[str, ...]:
    component = image.text("complex_component").upper()
    return (component, *(part.strip().upper() for part in image.text("image_type").split("\\")))


# one series, though its label may differ from frame to frame


def _whole(parts: Sequence[list[Image]]) -> Iterator[list[Image]]:
    """Series of one place as they are, and what belongs together of those that hold only a part of a cycle."""
    fragments: dict[tuple[Any, ...], list[list[Image]]] = defaultdict(list)
    for part in parts:
        if len(parts) > 1 and _is_fragment(part):
            fragments[_protocol(part[0])].append(part)
        else:
            yield part
    for alike in fragments.values():
        yield from _joined(alike)


def _is_fragment(part: Sequence[Image]) -> bool:
    declared = part[0].number("cardiac_images")
    return len(part) < MIN_CINE_FRAMES or len(part) < min(declared, 1000)


def _protocol(image: Image) -> tuple[Any, ...]:
    """How an image was taken; numbers in a description may count the frames."""
    words = (re.sub(r"\d+", "#", image.text(name).casefold()) for name in ("series_description", "sequence_name"))
    return (*(" ".join(text.split()) for text in words), *(f"{image.number(name):.4g}" for name in _PROTOCOL))


def _joined(parts: Sequence[list[Image]]) -> Iterator[list[Image]]:
    """Parts with one series number, or (numbers differ too) taken in one breath; others stay as they are."""
    numbered: dict[float, list[list[Image]]] = defaultdict(list)
    for part in parts:
        numbered[part[0].number("series_number")].append(part)
    single = [number for number, same in numbered.items() if np.isnan(number) or len(same) == 1]
    alone = [part for number in single for part in numbered.pop(number)]
    for same in numbered.values():
        yield [image for part in same for image in part]
    yield from _in_one_breath(alone)


def _in_one_breath(parts: Sequence[list[Image]]) -> Iterator[list[Image]]:
    """Parts of less than a cycle each, joined where their clocks follow each other closely, or are not known."""
    unknown = [image for part in parts if np.isnan(_clock(part[0])) for image in part]
    if unknown:
        yield unknown
    breath: list[Image] = []
    known = [part for part in parts if not np.isnan(_clock(part[0]))]
    for part in sorted(known, key=lambda part: _clock(part[0])):
        if breath and _clock(part[0]) - _clock(breath[-1]) >= _SAME_BREATH_MS:
            yield breath
            breath = []
        breath = [*breath, *part]
    if breath:
        yield breath


def _of_all_types(parts: Sequence[list[Image]]) -> Sequence[list[Image]]:
    """``parts`` of one place as they are, or as one cine if they differ in their image type and complete each other."""
    if len({_type(part[0]) for part in parts}) == 1:
        return parts
    together = [image for part in parts for image in part]
    times = _first_times(together)
    if times is None or times.how not in ("delay", "position"):
        return parts
    steps = np.diff(np.sort(times.values))
    return [together] if float(steps.min()) > _SAME_STEP * float(np.median(steps)) else parts


def _clock(image: Image) -> float:
    found = clock_ms(image.text("acquisition_time"))
    return found if np.isfinite(found) else clock_ms(image.text("series_time"))


# one go


def _runs(images: list[Image]) -> Iterator[tuple[list[Image], Literal["", "one", "other"]]]:
    """The acquisitions within one series and place: echoes apart, and repeats of the whole cycle apart.

    A first pass is left whole: its echoes and its proton-density frames are told apart where it is read.
    """
    if is_called_perfusion(f"{images[0].text('series_description')} {images[0].text('protocol_name')}"):
        yield images, ""
        return
    for echo in _echoes(images):
        runs = _between_restarts(echo)
        if not _follow_each_other(runs):
            yield from ((run, "") for run in runs)
            continue
        chosen = _middle_beat(runs)
        yield from ((run, "one" if i == chosen else "other") for i, run in enumerate(runs))


def _follow_each_other(runs: Sequence[list[Image]]) -> bool:
    """Whether runs are beats of one acquisition: each begins within the longest cycle after the one before."""
    starts = np.sort([min(_clock(image) for image in run) for run in runs])
    return len(runs) > 1 and bool((np.diff(starts) > 0).all() and (np.diff(starts) < LONGEST_CYCLE_MS).all())


def _middle_beat(runs: Sequence[list[Image]]) -> int:
    """The middle one of the whole beats: away from the approach to steady state, and from the end of the breath."""
    most = max(len(run) for run in runs)
    whole = [i for i, run in enumerate(runs) if len(run) >= WHOLE_BEAT * most]
    return whole[len(whole) // 2]


def _echoes(images: list[Image]) -> list[list[Image]]:
    times = np.array([image.number("echo_time_ms") for image in images])
    if not np.isfinite(times).all() or float(np.ptp(times)) <= _SAME_ECHO * float(times.max()):
        return [images]
    ranked = np.argsort(times, kind="stable")
    steps = np.diff(times[ranked]) > _SAME_ECHO * times[ranked][:-1]
    return [[images[int(i)] for i in part] for part in np.split(ranked, np.flatnonzero(steps) + 1)]


def _between_restarts(images: list[Image]) -> list[list[Image]]:
    """Cut where the time after the R wave starts again, in the order in which the images were taken."""
    if len(images) < 2 * MIN_CINE_FRAMES:
        return [images]
    times = _first_times(images)
    if times is None or times.how not in ("delay", "position"):
        return [images]
    clock = np.array([_clock(image) for image in images])
    taken = np.array([image.number("acquisition_number") for image in images])
    numbers = np.array([image.number("instance_number") for image in images])
    for within in (times.values, numbers):
        runs = _cut(times.values, np.lexsort((within, np.nan_to_num(taken), np.nan_to_num(clock))))
        if _are_repeats([times.values[run] for run in runs]):
            return [[images[int(i)] for i in run] for run in runs]
    return [images]


def _first_times(images: Sequence[Image]) -> FrameTimes | None:
    cycle_ms = cycle_from([image.number("nominal_interval_ms") for image in images], images[0].number("heart_rate_bpm"))
    return next(iter(frame_times(images, cycle_ms)), None)


def _cut(times: npt.NDArray[np.float64], order: npt.NDArray[np.intp]) -> list[npt.NDArray[np.intp]]:
    falls = np.diff(times[order]) < -_RESTART * float(np.ptp(times))
    return np.split(order, np.flatnonzero(falls) + 1)


def _are_repeats(runs: Sequence[npt.NDArray[np.float64]]) -> bool:
    """Whether each of several runs shows the same part of the cycle in order of time.

    Parts that complete each other are one cine; what falls back within a run was not numbered in order of time.
    """
    if len(runs) < 2 or min(len(run) for run in runs) < MIN_CINE_FRAMES:
        return False
    if any((np.diff(run) < 0).any() for run in runs):
        return False
    shared = min(float(run.max()) for run in runs) - max(float(run.min()) for run in runs)
    return shared > _RESTART * min(float(np.ptp(run)) for run in runs)
