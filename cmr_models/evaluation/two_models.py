"""Two models on one study: overlap of their labels, and which numbers can differ between them at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr

from cmr_models.contracts import AORTA_ASCENDING, AORTA_DESCENDING, LA, LV, MYOCARDIUM, RA, RV
from cmr_models.evaluation.cases import Labels, Row, overlap_rows
from cmr_models.phenotypes import PHENOTYPES
from cmr_models.phenotypes.cardiac_cycle import find_cycle
from cmr_models.phenotypes.volumes import volume_curves

STRUCTURES: Mapping[str, tuple[int, ...]] = {
    "lv": (LV,), "myocardium": (MYOCARDIUM,), "rv": (RV,), "la": (LA,), "ra": (RA,),
    "aorta_ascending": (AORTA_ASCENDING,), "aorta_descending": (AORTA_DESCENDING,),
}  # fmt: skip
"""Structure -> its codes, in the order of tables."""

_OF_SCANNER_AND_PERSON = frozenset(
    ("body_height_cm", "body_weight_kg", "scan_heart_rate_bpm", "lax_2c_landmark_mm", "lax_4c_landmark_mm", "time_ms")
)
"""Measurements that do not come from labels; landmarks are those of a network of their own."""


class Segmented(NamedTuple):
    """One view as one model labelled it: ``label (frame, slice, row, col)``, ``judged (frame, slice)``."""

    label: Labels
    judged: npt.NDArray[np.bool_]


def phenotypes_from_labels() -> dict[str, str]:
    """Name -> unit of the phenotypes that depend on labels: only these can differ between two models.

    Numbers of frames are left out: they run round the cycle, so that a difference of them means nothing.
    """
    depends: set[str] = set()
    rows = {row.name: row for row in PHENOTYPES}
    for name, row in rows.items():
        if any(part in depends if part in rows else part not in _OF_SCANNER_AND_PERSON for part in row.inputs):
            depends.add(name)
    return {name: rows[name].unit for name in rows if name in depends and rows[name].unit != "frame"}


def cycle_frames(sax: Segmented, view: xr.Dataset) -> dict[str, int]:
    """``ed`` and ``es`` frames that the labels of the short axis tell; none where they show no ventricle.

    Args:
        sax: labels.
        view: geometry, times and ``frame_valid``.

    Raises:
        StudyRejected: ``single_plane`` if the planes do not span a volume.
    """
    lv_ml = volume_curves(sax.label, view.assign(frame_valid=view["frame_valid"] & sax.judged))["lv_ml"].values
    if not np.nansum(lv_ml) > 0:
        return {}
    cycle = find_cycle(lv_ml)
    frames = {"ed": cycle.ed_frame}
    return frames if cycle.es_frame is None else frames | {"es": cycle.es_frame}


def frames_of_view(frames: Mapping[str, int], n_sax: int, n_frames: int) -> dict[str, int]:
    """The frames of another view at the same shares of the cycle."""
    return {phase: round(frame / n_sax * n_frames) % n_frames for phase, frame in frames.items()}


def label_rows(
    first: Segmented, second: Segmented, view: xr.Dataset, name: str, frames: Mapping[str, int]
) -> list[Row]:
    """Dice and Hausdorff distance of each structure between two models, at end-diastole, end-systole and on average.

    Both measures are symmetric in the models. Slices that one of them did not judge take no part. A structure that only
    one has counts as Dice 0 and has no distance.

    Args:
        first: labels of one model.
        second: of the other, of the same shape.
        view: geometry.
        name: of the view.
        frames: phase (``ed``, ``es``) -> frame; where both are one frame, it is ``ed``.
    """
    labelled = [side.label * side.judged[:, :, None, None] for side in (first, second)]
    present = {
        structure: codes for structure, codes in STRUCTURES.items() if any(np.isin(x, codes).any() for x in labelled)
    }
    phases: dict[int, str] = {}
    for phase in sorted(frames):
        phases.setdefault(frames[phase], phase)
    if not present or not phases:
        return []
    drawn = view.assign(
        labels=(("frame", "slice", "row", "col"), first.label),
        labelled=("frame", np.isin(np.arange(len(first.label)), list(phases))),
    )
    judged = first.judged & second.judged & view["frame_valid"].values
    rows = overlap_rows(second.label, judged, drawn, name, phases, present)
    return [row for row in rows if row["measure"] != "iou"]
