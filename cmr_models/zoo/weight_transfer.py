"""From the pretrained autoencoder to a downstream network: which weights go over, and how.

The rules are those of the published code (Fu et al., Communications Medicine 2026): decoder, heads, masks and
position embeddings stay behind, and so do views that the new network lacks; more input channels than the
pretrained stem has (end-diastole and end-systole, several sequences) repeat its kernel.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor, nn

from cmr_models.nets.vit import VIEWS

_LEFT_BEHIND = ("mask", "decoder", "_head", "dec_linear", "pos_embed")
_MADE_NEW = ("pos_embed", "dec_", "decoder", "_head")


class Transferred(NamedTuple):
    """Keys of the downstream network that were filled, and keys that keep their initial values."""

    loaded: tuple[str, ...]
    new: tuple[str, ...]


def transfer(
    state: Mapping[str, Tensor], network: nn.Module, *, divide: bool = False, freeze: bool = False
) -> Transferred:
    """Fill ``network`` in place with what it can take over from pretrained weights.

    Args:
        state: of a :class:`cmr_models.nets.cinema.CineMA` with at least the views of ``network``.
        network: a ``ConvViT`` or ``ConvUNetR``.
        divide: divide a repeated stem by the number of repeats, so that activations keep their size; False as
            published, where they about double for two frames.
        freeze: stop the gradients of what was taken over.

    Returns:
        The keys taken over and those left as initialised.

    Raises:
        ValueError: if the weights lack something that the network should take over, or a shape does not fit.
    """
    target = network.state_dict()
    kept = {key: value for key, value in state.items() if key in target and _goes_over(key, target)}
    fitted = {key: _repeat(key, value, target[key], divide) for key, value in kept.items()}
    new = tuple(key for key in target if key not in fitted)
    lacking = [key for key in new if not any(part in key for part in _MADE_NEW)]
    if lacking or not fitted:
        some = ", ".join(lacking[:12])
        raise ValueError(f"the pretrained weights lack {len(lacking)} of the keys to take over: {some}")
    network.load_state_dict({**target, **fitted})
    if freeze:
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(parameter.requires_grad and name not in fitted)
    return Transferred(tuple(fitted), new)


def _goes_over(key: str, target: Mapping[str, Tensor]) -> bool:
    """True if the published rules transfer ``key`` to a network with the keys ``target``."""
    if any(part in key for part in _LEFT_BEHIND):
        return False
    used = {view for view in VIEWS if any(f".{view}." in name for name in target)}
    return not any(f".{view}." in key for view in VIEWS if view not in used)


def _repeat(key: str, value: Tensor, target: Tensor, divide: bool) -> Tensor:
    if value.shape == target.shape:
        return value
    stem = ".conv_blocks.0.patch_embed.conv.weight" in key
    repeats = target.shape[1] // value.shape[1] if stem else 0
    if stem and repeats > 1 and target.shape == (value.shape[0], repeats * value.shape[1], *value.shape[2:]):
        tiled = value.repeat(1, repeats, *(1 for _ in value.shape[2:]))
        return tiled / repeats if divide else tiled
    raise ValueError(f"{key} is {tuple(value.shape)} in the pretrained weights and {tuple(target.shape)} here")
