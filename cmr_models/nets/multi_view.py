"""The images of a study as networks take them: view to tensor, checked and padded, and where they are real.

Images are (batch, channel, x, y, z) for ``sax`` and (batch, channel, x, y) for long-axis views.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from cmr_models.nets.vit import TokenConfig


def prepare(images: Mapping[str, Tensor], config: TokenConfig, in_chans: int) -> dict[str, Tensor]:
    """The images in the order of ``config.views``, zero-padded at the end of each axis to the model's size.

    Raises:
        ValueError: no view, an unknown view, a wrong number of axes or channels, an image larger than the
            model's size, integers, or batches that differ.
    """
    unknown = sorted(set(images) - set(config.views))
    if unknown or not images:
        raise ValueError(f"need at least one of the views {tuple(config.views)}, got {sorted(images)}")
    for view, image in images.items():
        _check_image(view, image, config.image_size(view), in_chans)
    if len({image.shape[0] for image in images.values()}) > 1:
        raise ValueError(f"views differ in batch size: { ({v: i.shape[0] for v, i in images.items()}) }")
    return {view: pad_to(images[view], config.image_size(view)) for view in config.views if view in images}


def pad_to(image: Tensor, size: tuple[int, ...]) -> Tensor:
    """(B, C, ...) padded with zeros at the end of each axis to ``size``, as the published pipeline pads."""
    missing = [wanted - have for wanted, have in zip(size, image.shape[2:], strict=True)]
    if not any(missing):
        return image
    return F.pad(image, [amount for axis in reversed(missing) for amount in (0, axis)])


def crop_to(image: Tensor, size: tuple[int, ...]) -> Tensor:
    """The first ``size`` voxels of each axis of (B, C, ...): undoes :func:`pad_to`."""
    for axis, length in enumerate(size, start=2):
        image = image.narrow(axis, 0, length)
    return image


def real_tokens(images: Mapping[str, Tensor], config: TokenConfig, n_slices: Tensor | None) -> dict[str, Tensor] | None:
    """Which tokens stand for scanned slices rather than padding.

    Args:
        images: padded images, as :func:`prepare` returns them.
        config: settings of the network; short-axis tokens must not span slices.
        n_slices: (B,) scanned short-axis slices of each sample, or None: padding is then seen as black image,
            as by the published networks.

    Returns:
        (B, 1, grid) float a view, 1 where real; None where ``n_slices`` is None.
    """
    if n_slices is None:
        return None
    if "sax" not in images:
        raise ValueError(f"n_slices describes the view sax, but only {sorted(images)} are given; leave it out")
    _check_n_slices(n_slices, images["sax"], config)
    real: dict[str, Tensor] = {}
    for view, image in images.items():
        real[view] = image.new_ones((image.shape[0], 1, *config.grid(view)), dtype=torch.float32)
    real["sax"] = real["sax"] * real_slices(n_slices, images["sax"].shape[-1], images["sax"].device)
    return real


def real_slices(n_slices: Tensor, depth: int, device: torch.device) -> Tensor:
    """(B, 1, 1, 1, Z) float: 1 at the first ``n_slices`` (B,) slices, 0 at the padding after them."""
    position = torch.arange(depth, device=device)
    return (position < n_slices.to(device)[:, None]).float()[:, None, None, None]


def _check_image(view: str, image: Tensor, size: tuple[int, ...], in_chans: int) -> None:
    axes = "x, y, z" if len(size) == 3 else "x, y"
    if image.ndim != 2 + len(size) or image.shape[1] != in_chans or 0 in image.shape:
        raise ValueError(f"{view} must be (batch, {in_chans}, {axes}), got {tuple(image.shape)}")
    if not image.is_floating_point():
        raise ValueError(f"{view} must be floating point, scaled to 0..1, got {image.dtype}")
    if any(have > most for have, most in zip(image.shape[2:], size, strict=True)):
        raise ValueError(
            f"{view} is {tuple(image.shape[2:])}, larger than the model's {size}; crop it, or use "
            "cmr_models.nets.windows.run_in_windows"
        )


def _check_n_slices(n_slices: Tensor, image: Tensor, config: TokenConfig) -> None:
    if config.footprint("sax")[2] != 1:
        raise ValueError(f"n_slices needs tokens of one slice; the footprint is {config.footprint('sax')}")
    if n_slices.shape != image.shape[:1]:
        raise ValueError(f"n_slices must be ({image.shape[0]},), one a sample, got {tuple(n_slices.shape)}")
    if torch.compiler.is_compiling():
        return  # the values are not known while tracing
    if n_slices.min() < 1 or n_slices.max() > image.shape[-1]:
        raise ValueError(f"n_slices must lie in 1..{image.shape[-1]}, got {n_slices.tolist()}")
