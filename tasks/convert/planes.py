"""The images of one study -> its planes: what was acquired at one place in one series, frames in order."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from cmr_models.views import geometry, series_kind
from cmr_models.views.long_axis import MOTION_STEP
from cmr_models.views.plane import Plane
from cmr_models.views.series_kind import SeriesFacts
from tasks.convert.phases import Cycle, Timing, order, without_repeats
from tasks.convert.values import differing_scales
from tasks.sources.dicom import Image

_POSITION_STEP_MM = 0.1
_DIRECTION_STEP = 1e-3
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


@dataclass(frozen=True)
class PlaneImages:
    """One plane of one series: images, kind of series, frames in order, and its place if it can be placed."""

    images: list[Image]
    facts: SeriesFacts
    cycle: Cycle
    plane: Plane | None

    @property
    def fault(self) -> str:
        """The reason code for which some of the pixels cannot be read rightly; empty if all can."""
        return next((image.fault for image in self.images if image.fault), "")


def planes_of(images: Sequence[Image]) -> list[PlaneImages]:
    """Planes of every series, in an order that depends on nothing but the headers."""
    groups: dict[tuple[Any, ...], list[Image]] = defaultdict(list)
    places: dict[tuple[bytes, bytes], tuple[int, ...]] = {}
    for image in images:
        spelling = (image.raw("position_mm"), image.raw("orientation"))
        if spelling not in places:
            places[spelling] = _place(*spelling)
        series = (image.raw("series_uid"), image.raw("series_number"))
        has_pixels = image.pixels is not None or bool(image.fault)
        groups[*series, places[spelling], image.raw("rows"), image.raw("columns"), not has_pixels].append(image)
    orientations: dict[tuple[bytes, bytes], set[Any]] = defaultdict(set)
    for uid, number, place, *_ in groups:
        orientations[uid, number].add(place[3:])
    timings = {key: _timing(group) for key, group in groups.items()}
    expected = _Expected([len(without_repeats(timing)) for timing in timings.values()])
    ordered = sorted(groups.items(), key=lambda item: repr(item[0]))
    return [
        _plane_images(group, expected.timing(group[0], timings[key]), len(orientations[key[0], key[1]]))
        for key, group in ordered
    ]


class _Expected:
    """Frames a plane should have: as its header says unless all planes agree on fewer, else as most have."""

    def __init__(self, counts: Sequence[int]) -> None:
        cines = Counter(n for n in counts if n >= series_kind.MIN_CINE_FRAMES)
        self._usual = cines.most_common(1)[0][0] if cines else 0
        self._all_agree = len(cines) == 1 and sum(cines.values()) >= 3

    def timing(self, first: Image, timing: Timing) -> Timing:
        """``timing`` of the plane of ``first``, with the frames that it should have."""
        declared = first.number("cardiac_images")
        is_unknown = self._all_agree or not 0 < declared <= 1000
        return replace(timing, n_expected=self._usual if is_unknown else int(declared))


def _place(position: bytes, orientation: bytes) -> tuple[int, ...]:
    """Position and orientation in steps finer than planes differ and coarser than headers are spelt."""
    try:
        mm = [float(part) for part in position.strip(b" \x00").split(b"\\")]
        directions = [float(part) for part in orientation.strip(b" \x00").split(b"\\")]
    except ValueError:
        return ()
    if len(mm) != 3 or len(directions) != 6 or not np.isfinite([*mm, *directions]).all():
        return ()
    return (*(round(x / _POSITION_STEP_MM) for x in mm), *(round(x / _DIRECTION_STEP) for x in directions))


def _plane_images(images: list[Image], timing: Timing, n_orientations: int) -> PlaneImages:
    cycle = order(timing)
    first = images[int(cycle.image[cycle.image >= 0][0])]
    types = tuple(part.strip().upper() for part in first.text("image_type").split("\\"))
    facts = SeriesFacts(
        description=f"{first.text('series_description')} {first.text('protocol_name')}",
        sequence_name=first.text("sequence_name"),
        image_type=(*types, "SECONDARY") if _is_capture(first) else types,
        modality=first.text("modality") or "MR",
        has_colour=first.pixels is None and not first.fault,
        n_frames=cycle.n_valid if first.pixels is not None else max(cycle.n_valid, _declared_frames(first)),
        n_orientations=n_orientations,
        trigger_span_ms=_span(timing.trigger_ms),
        cycle_ms=timing.cycle_ms,
        acquisition_span_ms=_span(np.array([clock_ms(image.text("acquisition_time")) for image in images])),
    )
    return PlaneImages(images, facts, cycle, _plane(first, cycle, facts))


def _timing(images: Sequence[Image]) -> Timing:
    cycles = [image.number("nominal_interval_ms") for image in images]
    return Timing(
        trigger_ms=np.array([image.number("trigger_ms") for image in images]),
        instance=np.array([image.number("instance_number") for image in images]),
        acquired=tuple(_acquisition_time(image) for image in images),
        cycle_ms=_cycle_ms(cycles, images[0].number("heart_rate_bpm")),
    )


def _cycle_ms(intervals_ms: Sequence[float], heart_rate_bpm: float) -> float:
    plausible = [x for x in intervals_ms if series_kind.is_plausible_cycle(x)]
    if plausible:
        return float(np.median(plausible))
    from_rate = 60_000 / heart_rate_bpm if heart_rate_bpm > 0 else float("nan")
    return from_rate if series_kind.is_plausible_cycle(from_rate) else float("nan")


def _acquisition_time(image: Image) -> str:
    date = image.text("acquisition_date") or image.text("series_date")
    time = image.text("acquisition_time") or image.text("series_time")
    number = image.number("series_number")
    return f"{date} {time:<14} {number if np.isfinite(number) else 0:09.0f}"


def clock_ms(text: str) -> float:
    """Time of day from DICOM's HHMMSS.FFFFFF; NaN if it is not a time."""
    match = re.fullmatch(r"(\d{2})(\d{2})(\d{2}(?:\.\d+)?)", text)
    if match is None:
        return float("nan")
    return 1000.0 * (3600 * int(match[1]) + 60 * int(match[2]) + float(match[3]))


def _is_capture(image: Image) -> bool:
    """Whether it is of a class of secondary capture and has no place in the body: a picture of a screen or of a result.

    Some archives keep cines as multi-frame secondary captures (PS3.3 A.8.3 and A.8.4), with their place.
    """
    is_placed = all(image.raw(name) for name in ("position_mm", "orientation", "pixel_mm"))
    return image.text("sop_class").startswith(_SECONDARY_CAPTURE) and not is_placed


def _declared_frames(image: Image) -> int:
    """Frames of a multi-frame file that was not taken apart."""
    declared = image.number("frames")
    return int(declared) if 0 < declared < 100_000 else 1


def _span(values: Any) -> float:
    finite = values[np.isfinite(values)]
    return float(np.ptp(finite)) if len(finite) > 1 else float("nan")


def _plane(first: Image, cycle: Cycle, facts: SeriesFacts) -> Plane | None:
    """None if the images cannot be placed."""
    position, orientation, pixel_mm = (first.numbers(name) for name in ("position_mm", "orientation", "pixel_mm"))
    if len(position) != 3 or len(orientation) != 6 or len(pixel_mm) != 2:
        return None
    row_dir, col_dir = np.array(orientation[:3]), np.array(orientation[3:])
    if not np.isfinite(position).all() or not all(0.05 < mm < 20.0 for mm in pixel_mm):
        return None
    if not geometry.orthonormal(row_dir, col_dir):
        return None
    return Plane(
        position_mm=np.array(position),
        row_dir=geometry.unit(row_dir),
        col_dir=geometry.unit(col_dir),
        pixel_mm=(pixel_mm[0], pixel_mm[1]),
        shape=(first.integer("rows"), first.integer("columns")),
        n_frames=cycle.n_valid,
        n_expected=cycle.n_frames,
        acquired=_acquisition_time(first),
        description=facts.description,
        thickness_mm=first.number("thickness_mm"),
    )


def motion(group: PlaneImages) -> npt.NDArray[np.float32]:
    """Spread of each pixel over the cycle, from every second frame and pixel: enough to see what moves."""
    shown = group.cycle.image[group.cycle.image >= 0][::2]
    images = [image for i in shown if (image := group.images[int(i)]).pixels is not None]
    frames = [image.pixels for image in images if image.pixels is not None]
    coarse = np.stack([frame[::MOTION_STEP, ::MOTION_STEP] for frame in frames]).astype(np.float32)
    scales = differing_scales(images)
    if scales is not None:
        coarse = (coarse * scales[:, 0, None, None] + scales[:, 1, None, None]).astype(np.float32)
    return np.asarray(coarse.std(axis=0))
