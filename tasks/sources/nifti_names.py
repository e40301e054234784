"""What the name of a NIfTI file says: patient, view, phase, and whether it is an image at all.

ACDC (``patient001_frame01.nii.gz``, ``patient001_4d.nii.gz``), M&Ms (``A0S9V9_sa.nii.gz``), M&Ms-2
(``001_SA_ED.nii.gz``, ``001_LA_ED.nii.gz``), MyoPS (``myops_training_101_C0.nii.gz``), EMIDEC
(``Case_N006/Images/Case_N006.nii.gz``), CineMA (``sax_ed.nii.gz``, ``lax_4c_t.nii.gz``) and ukbb_cardiac
names (``sa_ED.nii.gz``, ``la_4ch.nii.gz``, ``seg_sa.nii.gz``).
"""

from __future__ import annotations

import re
from typing import NamedTuple

_LABELS = frozenset(("gt", "seg", "segmentation", "label", "labels", "mask", "masks", "pred", "prediction", "scribble"))
_SHORT = frozenset(("sa", "sax"))
_LONG = frozenset(("la", "lax"))
_CHAMBERS = {
    "2c": "lax_2c",
    "2ch": "lax_2c",
    "3c": "lax_3c",
    "3ch": "lax_3c",
    "4c": "lax_4c",
    "4ch": "lax_4c",
}
_PHASES = frozenset(("ed", "es", "t", "4d", "cine"))
_FRAME = re.compile(r"frame\d+")
_MYOPS = re.compile(r"(?P<patient>myops_(?:training|test)_\d+)_(?P<what>C0|DE|T2|gd)", re.IGNORECASE)
_MYOPS_VIEWS = {"c0": "sax", "de": "lge", "t2": "t2"}
_EMIDEC = re.compile(r"(?:^|/)(?P<patient>Case_[A-Z]\d+)/(?P<what>Images|Contours)/(?P=patient)$", re.IGNORECASE)


class NiftiName(NamedTuple):
    """Parts of a name. ``view`` is empty if the name does not tell it (then geometry must)."""

    patient: str
    view: str
    phase: str
    is_image: bool


def parse_name(name: str) -> NiftiName:
    """Parts of the file name ``name``, which may have its folders before it; labels are not images."""
    stem = re.sub(r"\.(nii(\.gz)?|hdr|img)$", "", name, flags=re.IGNORECASE)
    if match := _EMIDEC.search(stem):
        return NiftiName(match["patient"], "lge", "", match["what"].lower() == "images")
    stem = stem.rsplit("/", 1)[-1]
    if match := _MYOPS.fullmatch(stem):
        what = match["what"].lower()
        return NiftiName(match["patient"], _MYOPS_VIEWS.get(what, ""), "", what in _MYOPS_VIEWS)
    words = stem.split("_")
    lower = [word.lower() for word in words]
    first = next((i for i, word in enumerate(lower) if _is_known(word)), len(words))
    rest = set(lower[first:])
    phase = next((word for word in lower[first:] if word in _PHASES or _FRAME.fullmatch(word)), "")
    return NiftiName("_".join(words[:first]), _view(rest), phase, not rest & _LABELS)


def _is_known(word: str) -> bool:
    known = word in _LABELS | _SHORT | _LONG | _PHASES or word in _CHAMBERS
    return known or _FRAME.fullmatch(word) is not None


def _view(words: set[str]) -> str:
    if words & _SHORT:
        return "sax"
    chambers = [_CHAMBERS[word] for word in words if word in _CHAMBERS]
    if chambers:
        return chambers[0]
    return "lax_4c" if words & _LONG else ""
