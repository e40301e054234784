"""Labels of the heart from 2-D images.

- ``segmenter``: :func:`segment_sax`, :func:`segment_lax_2c`, :func:`segment_lax_3c` and :func:`segment_lax_4c`, and the
  runner :class:`Segmenter` in its steps.
- ``protocol``: what every runner of a segmentation network offers.
- ``restoring``: from class probabilities to labels on the study's own grid.
- ``certainty``: what a network expects of its own labels.
- ``localisation``: where the heart lies and how large it is.
- ``crops``: square crops at a fixed pixel size, standardised intensity, and the way back.
- ``cleaning``: which connected pieces of a segmentation can be the heart.
- ``end_slices``: which images at the ends of a short-axis stack show no ventricle.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cmr_models.segmentation.restoring import restore
    from cmr_models.segmentation.segmenter import (
        Segmenter,
        prepare,
        segment_lax_2c,
        segment_lax_3c,
        segment_lax_4c,
        segment_sax,
        shared_segmenter,
    )

__all__ = [
    "Segmenter",
    "prepare",
    "restore",
    "segment_lax_2c",
    "segment_lax_3c",
    "segment_lax_4c",
    "segment_sax",
    "shared_segmenter",
]

_HOMES = {
    "Segmenter": "segmenter",
    "prepare": "segmenter",
    "restore": "restoring",
    "segment_lax_2c": "segmenter",
    "segment_lax_3c": "segmenter",
    "segment_lax_4c": "segmenter",
    "segment_sax": "segmenter",
    "shared_segmenter": "segmenter",
}  # loaded when first asked for: they bring torch


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
