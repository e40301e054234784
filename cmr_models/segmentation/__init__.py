"""Labels of the heart from images: crops, network, cleaning of what it drew."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cmr_models.segmentation.segmenter import (
        Segmenter,
        prepare,
        restore,
        segment_lax_4c,
        segment_sax,
        shared_segmenter,
    )

__all__ = [
    "Segmenter",
    "prepare",
    "restore",
    "segment_lax_4c",
    "segment_sax",
    "shared_segmenter",
]

_HOMES = {
    "Segmenter": "segmenter",
    "prepare": "segmenter",
    "restore": "segmenter",
    "segment_lax_4c": "segmenter",
    "segment_sax": "segmenter",
    "shared_segmenter": "segmenter",
}  # loaded when first asked for: they bring torch


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
