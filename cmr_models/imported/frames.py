"""What the runners of imported networks share: volumes of several sizes in one array, sizes in space, precision."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from cmr_models.views.view_images import ViewImages

_CENTRE_MM = 1e-3


def filled_up(volumes: Sequence[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
    """``(n, 1, ...)`` of the size of the largest; smaller ones are filled up with NaN."""
    largest = np.max([volume.shape for volume in volumes], axis=0)
    together = np.full((len(volumes), 1, *largest), np.nan, np.float32)
    for target, volume in zip(together, volumes, strict=True):
        target[(0, *map(slice, volume.shape))] = volume
    return together


def inside(crop: npt.NDArray[np.float32]) -> tuple[slice, ...]:
    """The part of ``(1, ...)`` before the first NaN of each axis, with its first axis."""
    volume = np.isfinite(crop[0])
    others = [tuple(other for other in range(volume.ndim) if other != axis) for axis in range(volume.ndim)]
    return (slice(None), *(slice(int(volume.any(axis=other).sum())) for other in others))


def slice_distance_mm(view_images: ViewImages, alone_mm: float) -> float:
    """Distance of neighbouring slices; ``alone_mm`` of a single one."""
    gaps = np.abs(np.diff(np.sort(view_images.offset_mm)))
    gaps = gaps[gaps > _CENTRE_MM]
    return float(np.median(gaps)) if gaps.size else alone_mm


def forward_of(network: nn.Module, device: torch.device, precision: torch.dtype) -> Callable[[Tensor], Tensor]:
    """The network as a function from the CPU to float32 on the CPU."""

    def forward(patch: Tensor) -> Tensor:
        lower = precision != torch.float32
        autocast = torch.autocast(device.type, precision) if lower else contextlib.nullcontext()
        with torch.inference_mode(), autocast:
            return network(patch.to(device)).float().cpu()  # type: ignore[no-any-return]

    return forward
