"""Images larger than a network's input: overlapping windows, their outputs averaged.

The published evaluation does this with half a window of overlap: probabilities are averaged, then logged
(labels, classes) or turned back into logits (heatmaps); scalars are averaged as they are.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

Transform = Callable[[Tensor], Tensor]

COMBINE: Mapping[str, tuple[Transform, Transform]] = {  # (to what is averaged, back)
    "softmax": (lambda x: x.float().softmax(1), lambda p: p.clamp_min(1e-12).log()),
    "sigmoid": (lambda x: x.float().sigmoid(), lambda p: p.clamp(1e-7, 1 - 1e-7).logit()),
    "mean": (lambda x: x.float(), lambda x: x),
}


def run_in_windows(
    net: nn.Module,
    images: Mapping[str, Tensor],
    *,
    view: str,
    window: tuple[int, ...],
    combine: str,
    overlap: float = 0.5,
) -> Tensor | dict[str, Tensor]:
    """``net(images)`` where ``images[view]`` may be larger than the network takes: 18 slices for 16.

    Args:
        net: takes a dict of view to tensor; returns one of view to logits at image size, or (B, out).
        images: view to (B, C, X, Y[, Z]); only ``view`` is cut into windows, the others go along whole.
        view: the view to cut.
        window: voxels of a window along each axis of ``view``; axes that fit are not cut.
        combine: "softmax" (labels, classes), "sigmoid" (heatmaps) or "mean" (scalars, coordinates).
        overlap: share of a window, 0 to below 1, that the next one repeats.

    Returns:
        As ``net``; where there was more than one window, the combined output (for "softmax" log probabilities).

    Raises:
        ValueError: unknown ``view`` or ``combine``, a window with the wrong number of axes, a wrong overlap.
    """
    _check(images, view, window, combine, overlap)
    size = tuple(images[view].shape[2:])
    starts = [window_starts(length, limit, overlap) for length, limit in zip(size, window, strict=True)]
    corners = list(itertools.product(*starts))
    if len(corners) == 1:
        return net(images)  # type: ignore[no-any-return]
    forward, back = COMBINE[combine]
    total: dict[str, Tensor] = {}
    count = images[view].new_zeros((1, 1, *size), dtype=torch.float32)
    for corner in corners:
        output = net({**images, view: _cut(images[view], corner, window)})
        _cut(count, corner, window).add_(1.0)
        for name, value in (output if isinstance(output, dict) else {"": output}).items():
            part = forward(value)
            if name not in total:
                total[name] = part.new_zeros((*part.shape[:2], *size)) if name == view else torch.zeros_like(part)
            (_cut(total[name], corner, window) if name == view else total[name]).add_(part)
    combined = {name: back(value / (count if name == view else len(corners))) for name, value in total.items()}
    return combined.get("", combined)


def window_starts(length: int, window: int, overlap: float) -> list[int]:
    """Where windows begin along an axis: evenly stepped, the last one moved back to end with the axis."""
    if length <= window:
        return [0]
    step = max(1, int(window * (1 - overlap)))
    return sorted({min(start, length - window) for start in range(0, length - window + step, step)})


def _cut(image: Tensor, corner: tuple[int, ...], window: tuple[int, ...]) -> Tensor:
    """The window of (B, C, ...) at ``corner``, as a view of it; shorter where the image is."""
    for axis, (start, length) in enumerate(zip(corner, window, strict=True), start=2):
        image = image.narrow(axis, start, min(length, image.shape[axis]))
    return image


def _check(images: Mapping[str, Tensor], view: str, window: tuple[int, ...], combine: str, overlap: float) -> None:
    if view not in images:
        raise ValueError(f"no image of the view {view!r} to cut; got {sorted(images)}")
    if images[view].ndim != 2 + len(window) or min(window) < 1:
        raise ValueError(f"{view} is {tuple(images[view].shape)}; a window {window} must name each spatial axis")
    if combine not in COMBINE:
        raise ValueError(f"combine must be one of {sorted(COMBINE)}, got {combine!r}")
    if not 0.0 <= overlap < 1.0:
        raise ValueError(f"overlap must be at least 0 and below 1, got {overlap}")
