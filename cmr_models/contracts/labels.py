"""The codes of labels: structures of the heart, and parts of its wall."""

from __future__ import annotations

from collections.abc import Mapping

BACKGROUND, RV, MYOCARDIUM, LV, LA, RA, AORTA_ASCENDING, AORTA_DESCENDING = range(8)

LABEL_NAMES: Mapping[int, str] = {
    BACKGROUND: "background",
    RV: "right ventricle",
    MYOCARDIUM: "left-ventricular myocardium",
    LV: "left ventricle",
    LA: "left atrium",
    RA: "right atrium",
    AORTA_ASCENDING: "ascending aorta",
    AORTA_DESCENDING: "descending aorta",
}

VIEW_LABELS: Mapping[str, tuple[int, ...]] = {
    "sax": (RV, MYOCARDIUM, LV),
    "lax_2c": (MYOCARDIUM, LV, LA),
    "lax_3c": (RV, MYOCARDIUM, LV, LA, AORTA_ASCENDING),
    "lax_4c": (RV, MYOCARDIUM, LV, LA, RA),
}
"""View -> the structures that are drawn in it."""

SCAR, NO_REFLOW, EDEMA = 8, 9, 10

TISSUE_NAMES: Mapping[int, str] = {
    SCAR: "infarct scar",
    NO_REFLOW: "no-reflow (microvascular obstruction)",
    EDEMA: "oedema",
}
"""Parts of the left-ventricular wall that only references of late-enhancement and T2 images distinguish."""

VENTRICLES = (RV, LV)
"""Codes of the ventricles, in the order of every array with the dimension ``ventricle``. The wall goes with the LV."""

(
    WHOLE, TRANSITION, NOTHING_FOUND, UNCERTAIN, BEYOND_VALVE, UNDER_HALF, OPEN, ATRIUM, APART, WITHOUT_LV, RESTING,
    LEFT_BY_LV,
) = range(12)  # fmt: skip
NOT_JUDGED = 255

SLICE_ANSWERS: Mapping[int, str] = {
    WHOLE: "ventricle",
    TRANSITION: "transition",
    NOTHING_FOUND: "slice_nothing_found",
    UNCERTAIN: "slice_uncertain",
    BEYOND_VALVE: "slice_beyond_valve",
    UNDER_HALF: "slice_under_half",
    OPEN: "slice_open",
    ATRIUM: "slice_atrium",
    APART: "slice_apart",
    WITHOUT_LV: "slice_without_lv",
    RESTING: "slice_resting",
    LEFT_BY_LV: "slice_left_by_lv",
    NOT_JUDGED: "not_judged",
}
"""Whether an image shows a ventricle: wholly, partly (the valve cuts the slice, and at least half of it is ventricle),
or why it is left out, as a code of :data:`cmr_models.reasons.TABLE`."""
