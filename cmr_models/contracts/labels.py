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
