"""The arterial input function (AIF) of a perfusion study.

- ``detection``: :func:`detect`, the blood of the ventricles in an input series.
- ``curve_features``: :func:`features` of an input curve, and the gates that it fails (:func:`failed_gates`).
- ``network_input``: the frames of a series as channels of one image.
- ``series_runner``: the runner of a network with that input.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cmr_models.aif.curve_features import failed_gates, features
    from cmr_models.aif.detection import detect

__all__ = [
    "detect",
    "failed_gates",
    "features",
]

_HOMES = {
    "detect": "detection",
    "failed_gates": "curve_features",
    "features": "curve_features",
}  # loaded when first asked for: they bring torch


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
