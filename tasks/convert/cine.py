"""The images of one study -> its cine views: select the cines, recognise their views, stack their planes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import xarray as xr

from cmr_models.reasons import StudyRejected
from cmr_models.views import series_kind
from cmr_models.views.recognition import Views, recognise
from cmr_models.views.series_kind import is_first_pass
from tasks.convert.frame_orders import settle_orders
from tasks.convert.header_words import kept_words
from tasks.convert.perfusion_series import perfusion_views
from tasks.convert.plane_images import PlaneImages
from tasks.convert.planes import motion, planes_of
from tasks.convert.stack import assemble
from tasks.sources.dicom import Image

_PROTOCOL: Final = (
    "rows", "columns", "pixel_mm", "thickness_mm", "echo_time_ms", "flip_angle_deg", "sequence_name", "cardiac_images",
)  # fmt: skip
"""Header values that cines of one study share, and cine scouts (coarser, quicker) do not."""

_SECONDARY: Final = "SECONDARY"


@dataclass(frozen=True)
class StudyViews:
    """Views by name, and the series left out: ``{"series", "description", "images", "reason"}`` each."""

    views: dict[str, xr.Dataset]
    excluded: list[dict[str, Any]]


def study_views(images: Sequence[Image], *, max_missing_fraction: float) -> StudyViews:
    """Cine views of the images of one study.

    Args:
        images: all images of the study, in any order.
        max_missing_fraction: more missing frames than this reject a short-axis stack, or leave out a long-axis plane.

    Raises:
        StudyRejected: ``no_dicom``, ``mixed_patients``, ``geometry_missing``, ``wrong_series``, ``frames_missing`` or
            ``order_unknown``; or the reason for which the pixels of a cine cannot be read rightly.
    """
    if not images:
        raise StudyRejected("no_dicom")
    _check_one_patient(images)
    groups = planes_of(images)
    excluded = _exclude_other_series(groups)
    groups = _in_order(groups, excluded)
    for i, group in enumerate(groups):
        if i not in excluded and group.plane is None:
            raise StudyRejected("geometry_missing", f"{len(group.images)} images of a cine cannot be placed.")
    cines = [i for i in range(len(groups)) if i not in excluded]
    planes = [plane for i in cines if (plane := groups[i].plane) is not None]
    found = recognise(planes, lambda i: motion(groups[cines[i]]))
    excluded.update({cines[i]: reason for i, reason in found.excluded.items()})
    views = _assemble(groups, cines, found, excluded, max_missing_fraction)
    views |= _perfusion(groups, excluded, found)
    if not views:
        counts = Counter(excluded.values())
        raise StudyRejected("wrong_series", ", ".join(f"{reason}: {n}" for reason, n in sorted(counts.items())))
    left_out = [(groups[i], reason, len(groups[i].images)) for i, reason in excluded.items()]
    repeats = [(groups[i], "image_repeated", groups[i].n_repeats) for i in cines if i not in excluded]
    return StudyViews(views, _excluded_rows([*left_out, *repeats]))


def _check_one_patient(images: Sequence[Image]) -> None:
    n_patients = len({person_of(spelling) for spelling in patient_spellings(images)})
    if n_patients > 1:
        raise StudyRejected("mixed_patients", f"{n_patients} patient ids.")


def patient_spellings(images: Iterable[Image]) -> set[str]:
    """The patient ids of one study as they are spelt, but for padding."""
    return {text for image in images if (text := image.text("patient_id"))}


def person_of(patient_id: str) -> str:
    """A patient id as images of one study are compared: case, spaces and leading zeros are the writer's choice."""
    return "".join(patient_id.split()).casefold().lstrip("0")


def _exclude_other_series(groups: Sequence[PlaneImages]) -> dict[int, str]:
    """Planes that are not cines, with the reason.

    A series that only its description calls a scout counts as a cine if it was acquired like the other cines of the
    study, or if there are no others. One that only its image type calls a result (copies and resampled cines of a
    workstation are SECONDARY, PS3.3 C.7.6.1.1.2) counts if there are no others.
    """
    reasons = {i: reason for i, group in enumerate(groups) if (reason := _reason(group))}
    protocols = {_protocol(group) for i, group in enumerate(groups) if i not in reasons}
    called_scouts = [
        i
        for i, reason in reasons.items()
        if reason == "series_scout" and series_kind.exclusion(replace(groups[i].facts, description="")) is None
    ]
    for i in called_scouts:
        if not protocols or _protocol(groups[i]) in protocols:
            del reasons[i]
    if len(reasons) == len(groups):
        reasons = {i: reason for i, reason in reasons.items() if not _is_secondary_cine(groups[i])}
    _check_readable(groups, reasons)
    return reasons


def _is_secondary_cine(group: PlaneImages) -> bool:
    """Whether a plane is a cine in all but that its image type says that it was made after the examination."""
    types = tuple(part for part in group.facts.image_type if part != _SECONDARY)
    is_cine = series_kind.exclusion(replace(group.facts, image_type=types)) is None
    return is_cine and group.plane is not None and not group.left_out and _SECONDARY in group.facts.image_type


def _in_order(groups: Sequence[PlaneImages], excluded: Collection[int]) -> list[PlaneImages]:
    """All planes, the cines among them in their order."""
    cines = [i for i in range(len(groups)) if i not in excluded]
    settled = dict(zip(cines, settle_orders([groups[i] for i in cines]), strict=True))
    return [
        replace(found, flags=(*found.flags, "cine_secondary")) if i in settled and _is_secondary_cine(group) else found
        for i, group in enumerate(groups)
        for found in (settled.get(i, group),)
    ]


def _check_readable(groups: Sequence[PlaneImages], reasons: dict[int, str]) -> None:
    """Give perfusion series whose pixels cannot be read rightly the reason for it.

    Raises:
        StudyRejected: with that reason, if it is a cine: a stack without some planes would be measured too small.
    """
    for i, group in enumerate(groups):
        if not group.fault:
            continue
        if i not in reasons:
            raise StudyRejected(group.fault, f"{len(group.images)} images of a cine.")
        if is_first_pass(group.facts, reasons[i]):
            reasons[i] = group.fault


def _reason(group: PlaneImages) -> str | None:
    return group.left_out or series_kind.exclusion(group.facts)


def _protocol(group: PlaneImages) -> tuple[bytes, ...]:
    return tuple(group.images[0].raw(name) for name in _PROTOCOL)


# planes -> views


def _assemble(
    groups: Sequence[PlaneImages],
    cines: Sequence[int],
    found: Views,
    excluded: dict[int, str],
    max_missing: float,
) -> dict[str, xr.Dataset]:
    views: dict[str, xr.Dataset] = {}
    for name, members in found.views.items():
        chosen = [groups[cines[i]] for i in members]
        missing = 1.0 - sum(g.cycle.n_valid for g in chosen) / sum(g.cycle.n_frames for g in chosen)
        n_unordered = sum(g.order == "unknown" for g in chosen)
        if missing <= max_missing and not n_unordered:
            flags = {*found.flags.get(name, []), *(flag for g in chosen for flag in g.flags)}
            views[name] = assemble(chosen, sorted(flags), found.axis)
        elif name == "sax" and n_unordered:
            raise StudyRejected("order_unknown", f"{n_unordered} of {len(chosen)} short-axis planes.")
        elif name == "sax":
            raise StudyRejected("frames_missing", f"{100 * missing:.0f} % of the short-axis frames.")
        else:
            reason = "order_unknown" if n_unordered else "frames_missing"
            excluded.update({cines[i]: reason for i in members})
    return views


def _perfusion(groups: Sequence[PlaneImages], excluded: dict[int, str], found: Views) -> dict[str, xr.Dataset]:
    """First-pass series as views of their own; ``excluded`` keeps those that became none."""
    first_pass = {i: groups[i] for i, reason in excluded.items() if is_first_pass(groups[i].facts, reason)}
    excluded.update({i: "series_short_run" for i, why in excluded.items() if why == "series_perfusion"})
    perfusion = perfusion_views(first_pass, found.axis)
    for i in first_pass:
        del excluded[i]
    excluded.update(perfusion.excluded)
    return perfusion.views


def _excluded_rows(excluded: Sequence[tuple[PlaneImages, str, int]]) -> list[dict[str, Any]]:
    """One row for the images of a series that were left out for one reason."""
    images: Counter[tuple[int, str, str]] = Counter()
    for group, reason, n_images in excluded:
        first = group.images[0]
        number = first.number("series_number")
        description = kept_words("series_description", first.text("series_description"))
        images[int(number) if np.isfinite(number) else -1, description, reason] += n_images
    return [
        {"series": series, "description": description, "images": n, "reason": reason}
        for (series, description, reason), n in sorted(images.items())
        if n
    ]
