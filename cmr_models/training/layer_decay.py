"""Parameter groups for fine-tuning: layers near the image learn slower, vectors have no weight decay.

Reference: Fu et al., Communications Medicine 2026, after Bao et al., BEiT, ICLR 2022. The published code gives groups
to pretrained networks only, so that its other runs fall back on the optimiser's own weight decay; here all get them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any

from torch import nn

_BLOCK = re.compile(r"^encoder\.blocks\.(\d+)\.")


def layer_of(name: str, depth: int) -> int:
    """Layer of a parameter: 0 for tokenisers, fusion and class token, i + 1 for encoder block i, else ``depth`` + 1."""
    if name.startswith("enc_") or name == "encoder.cls_token":
        return 0
    block = _BLOCK.match(name)
    return int(block.group(1)) + 1 if block else depth + 1


def parameter_groups(
    network: nn.Module, *, weight_decay: float, layer_decay: float = 1.0, depth: int = 0
) -> list[dict[str, Any]]:
    """Groups for an optimiser; multiply each one's rate by its ``lr_scale``.

    Args:
        network: whose trainable parameters are grouped.
        weight_decay: of everything but vectors and scalars (biases, normalisation), which have none.
        layer_decay: ``lr_scale`` is ``layer_decay`` to the power of the layers between it and the head.
        depth: blocks of the encoder.

    Returns:
        One dict a layer and kind: ``params``, ``weight_decay``, ``lr_scale``.

    Raises:
        ValueError: if ``layer_decay`` is not in (0, 1].
    """
    if not 0 < layer_decay <= 1:
        raise ValueError(f"layer_decay must lie in (0, 1], got {layer_decay}")
    grouped: dict[tuple[int, bool], list[nn.Parameter]] = defaultdict(list)
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            grouped[layer_of(name, depth), parameter.ndim > 1].append(parameter)
    return [
        {
            "params": parameters,
            "weight_decay": weight_decay if decays else 0.0,
            "lr_scale": layer_decay ** (depth + 1 - layer),
        }
        for (layer, decays), parameters in sorted(grouped.items(), key=lambda item: item[0])
    ]
