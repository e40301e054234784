"""The images of one study -> its planes: what was acquired in one plane in one go, frames in order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from cmr_models.views import geometry, series_kind
from cmr_models.views.frame_order import frames_per_beat
from cmr_models.views.long_axis import MOTION_STEP
from cmr_models.views.plane import Plane
from cmr_models.views.series_kind import SeriesFacts
from tasks.convert.acquisitions import Acquisition, acquisitions_of
from tasks.convert.beats import middle_beat
from tasks.convert.frame_times import clock_ms
from tasks.convert.phases import Cycle, Timing, order, without_repeats
from tasks.convert.plane_images import PlaneImages, shown
from tasks.convert.timing import acquisition_time, timing_of
from tasks.convert.values import differing_scales
from tasks.sources.dicom import Image

_PARTS = ("PHASE", "REAL", "IMAGINARY")  # Complex Image Component (PS3.3 C.8.13.3.1.1), but the magnitude
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


def planes_of(images: Sequence[Image]) -> list[PlaneImages]:
    """Planes of every series, in an order that depends on nothing but the headers.

    Frames are in the order of the header value that comes first; the images are not asked yet.
    """
    acquisitions = acquisitions_of(images)
    timings = [timing_of(acquisition.images) for acquisition in acquisitions]
    expected = _Expected([len(without_repeats(timing)) for timing in timings])
    planes = []
    for acquisition, timing in zip(acquisitions, timings, strict=True):
        whole = replace(timing, n_expected=expected.frames(acquisition, timing))
        planes += _planes(acquisition, whole)
    return planes


class _Expected:
    """Frames a plane should have: as its header says unless all planes agree on fewer, else as most have."""

    def __init__(self, counts: Sequence[int]) -> None:
        cines = Counter(n for n in counts if n >= series_kind.MIN_CINE_FRAMES)
        self._usual = cines.most_common(1)[0][0] if cines else 0
        self._all_agree = len(cines) == 1 and sum(cines.values()) >= 3

    def frames(self, acquisition: Acquisition, timing: Timing) -> int:
        """Frames that the plane of ``acquisition`` should have; a header that counts several beats says nothing."""
        declared = acquisition.images[0].number("cardiac_images")
        is_unknown = self._all_agree or not 0 < declared <= 1000
        return self._usual if is_unknown or acquisition.beat else int(declared)


def _planes(acquisition: Acquisition, timing: Timing) -> list[PlaneImages]:
    """The plane of an acquisition; of a real-time cine the plane of one beat, and what is left out for it."""
    found = _plane_images(acquisition, timing)
    if acquisition.beat == "other":
        return [replace(found, left_out="series_other_beat")]
    if acquisition.beat == "one":
        return [_of_one_beat(found)]
    reason = series_kind.exclusion(found.facts)
    if reason == "series_real_time" and (cut := _cut_one_beat(acquisition, timing)):
        return cut
    if not reason and _runs_on(found):
        return [replace(found, left_out="series_cycle_unknown")]
    return [found]


def _plane_images(acquisition: Acquisition, timing: Timing) -> PlaneImages:
    images, cycle = acquisition.images, order(timing)
    first = images[int(cycle.image[cycle.image >= 0][0])]
    types = tuple(part.strip().upper() for part in first.text("image_type").split("\\"))
    types += tuple(part for part in (first.text("complex_component").upper(),) if part in _PARTS)
    facts = SeriesFacts(
        description=f"{first.text('series_description')} {first.text('protocol_name')}",
        sequence_name=first.text("sequence_name"),
        image_type=(*types, "SECONDARY") if _is_capture(first) else types,
        modality=first.text("modality") or "MR",
        has_colour=first.pixels is None and not first.fault,
        n_frames=cycle.n_valid if first.pixels is not None else max(cycle.n_valid, _declared_frames(first)),
        n_orientations=acquisition.n_orientations,
        trigger_span_ms=_span(timing.trigger_ms),
        cycle_ms=timing.cycle_ms,
        acquisition_span_ms=_span(np.array([clock_ms(image.text("acquisition_time")) for image in images])),
    )
    found = PlaneImages(images, facts, cycle, _plane(images, first, cycle, facts))
    return replace(found, flags=("frame_repeated",)) if cycle.n_valid < _n_acquired(images) else found


def _n_acquired(images: Sequence[Image]) -> int:
    """Images without copies of the same one."""
    return len({(acquisition_time(image), image.raw("instance_number")) for image in images})


# one beat of several


def _of_one_beat(found: PlaneImages) -> PlaneImages:
    plane = None if found.plane is None else replace(found.plane, is_real_time=True)
    return replace(found, plane=plane, flags=(*found.flags, "beat_chosen"))


def _cut_one_beat(acquisition: Acquisition, timing: Timing) -> list[PlaneImages]:
    """The plane of one whole beat, and the other beats as left out; nothing if no beat is whole."""
    kept = middle_beat(timing.trigger_ms, timing.cycle_ms)
    if len(kept) < series_kind.MIN_CINE_FRAMES:
        return []
    chosen = set(kept.tolist())
    beat = acquisition._replace(images=[acquisition.images[i] for i in kept])
    rest = acquisition._replace(images=[image for i, image in enumerate(acquisition.images) if i not in chosen])
    measured = _plane_images(beat, timing_of(beat.images))
    others = _plane_images(rest, timing_of(rest.images))
    return [_of_one_beat(measured), replace(others, left_out="series_other_beat")]


def _runs_on(found: PlaneImages) -> bool:
    """Whether a cine whose RR interval no header states shows several beats, as its images tell."""
    return not np.isfinite(found.facts.cycle_ms) and frames_per_beat(shown(found.images, found.cycle)) > 0


# place


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


def _usual(images: Sequence[Image], first: Image, name: str) -> tuple[float, ...]:
    """The median of each number, where software wrote other ones for every frame; else those of ``first``."""
    if len({image.raw(name) for image in images}) == 1:
        return first.numbers(name)
    rows = [numbers for image in images if len(numbers := image.numbers(name)) == len(first.numbers(name))]
    return tuple(np.median(np.array(rows), axis=0).tolist())


def _plane(images: Sequence[Image], first: Image, cycle: Cycle, facts: SeriesFacts) -> Plane | None:
    """None if the images cannot be placed."""
    position, orientation = (_usual(images, first, name) for name in ("position_mm", "orientation"))
    pixel_mm = first.numbers("pixel_mm")
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
        acquired=acquisition_time(first),
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
