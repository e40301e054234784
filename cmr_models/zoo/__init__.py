"""Networks with weights: embedded in the package, in a folder, or published; each has a model card.

- ``library``: :func:`load`, :func:`card`, :func:`save`, :func:`add` and :func:`available`.
- ``model_card``: :class:`ModelCard`, and its text.
- ``licences``: what a licence permits, in words.
- ``runner``: a network with its card, device and precision; all runners derive from ``NetworkRunner``.
- ``weights_file``: safetensors files, read with checks.
- ``published``: weights in a folder laid out like CineMA's hub.
- ``weight_transfer``: :func:`transfer` of weights to another network.
- ``process_memory``: whether the process keeps the memory that it frees.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cmr_models.zoo.library import CARD_FILE, WEIGHTS_FILE, add, available, card, load, save, shipped_names
    from cmr_models.zoo.model_card import ModelCard, card_text
    from cmr_models.zoo.published import HUB_PREFIX
    from cmr_models.zoo.weight_transfer import Transferred, transfer

__all__ = [
    "CARD_FILE",
    "HUB_PREFIX",
    "WEIGHTS_FILE",
    "ModelCard",
    "Transferred",
    "add",
    "available",
    "card",
    "card_text",
    "load",
    "save",
    "shipped_names",
    "transfer",
]

_HOMES = {
    "CARD_FILE": "library",
    "HUB_PREFIX": "published",
    "ModelCard": "model_card",
    "Transferred": "weight_transfer",
    "WEIGHTS_FILE": "library",
    "add": "library",
    "available": "library",
    "card": "library",
    "card_text": "model_card",
    "load": "library",
    "save": "library",
    "shipped_names": "library",
    "transfer": "weight_transfer",
}  # loaded when first asked for: some bring torch


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
