"""Labels by CineMA's segmentation networks: volumes of the short axis, images of the four-chamber view.

As published, each frame stands alone and the labels are not cleaned. A stack that is longer than the network's input
is cut into windows that overlap by half, and their probabilities are averaged (Fu et al., Communications Medicine
2026).
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from cmr_models.cinema import grid
from cmr_models.cinema.grid import Grid
from cmr_models.cinema.network import CinemaNetwork
from cmr_models.nets.windows import window_starts
from cmr_models.views.view_images import ViewImages
from cmr_models.zoo.runner import LabelsAlone

Padding = Literal["black", "masked"]

_OVERLAP = 0.5
_GPU_SHARE = 4  # a volume takes the memory of many images


class VolumePlacement(NamedTuple):
    """Position of the network's volumes in a view.

    Attributes:
        grid: the network's voxels in the view.
        starts: first network slice of each window.
        depth: network slices a window; 0 for long-axis views.
        has_contrast: of each frame, or of each image of a long-axis view; the box of others is one grey.
    """

    grid: Grid
    starts: tuple[int, ...]
    depth: int
    has_contrast: npt.NDArray[np.bool_]

    def judged(self, shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
        """``(frame, slice)``: False where the network was given nothing to see, of ``shape`` (frame, slice, ...)."""
        if self.depth == 0:
            return self.has_contrast.reshape(shape[:2])
        return np.repeat(self.has_contrast[:, None], shape[1], axis=1)

    def parameters(self) -> dict[str, Any]:
        """Plain values, kept beside the labels."""
        return {**self.grid.parameters(), "starts": self.starts, "depth": self.depth}


class CinemaSegmenter(LabelsAlone, CinemaNetwork):
    """A segmentation network in three steps: :meth:`crops`, :meth:`predict`, :meth:`labels`."""

    padding: Padding = "black"

    def pad(self, padding: Padding) -> None:
        """Choose how the network treats the slices that fill up a short stack; long-axis views have none.

        Raises:
            ValueError: for an unknown choice, or "masked" of a network that cannot leave slices out.
        """
        if padding not in ("black", "masked"):
            raise ValueError(f"padding must be 'black' or 'masked', got {padding!r}")
        if padding == "masked" and self.card.kind != "ConvUNetR":
            raise ValueError(f"{self.card.name} is a {self.card.kind}; only ConvUNetR can ignore padding")
        self.padding = padding

    def batch_images(self, requested: int) -> int:
        """Volumes in one forward pass; a processor gains nothing from more than one."""
        return max(1, requested // _GPU_SHARE) if self.device.type == "cuda" else 1

    def crops(self, view_images: ViewImages) -> tuple[npt.NDArray[np.float32], VolumePlacement]:
        """The network's inputs, and where they lie: ``(frame x window, 1, x, y, z)``, or ``(frame x slice, 1, x, y)``.

        On a GPU, where studies share a batch, a short stack is filled up to the network's depth here. Elsewhere the
        network does that, and leaves out what it computes only for those slices.
        """
        box, _ = self.place(view_images)
        size = self.size(view_images.view)
        if view_images.view != "sax":
            flat = view_images.images.reshape(-1, 1, *view_images.images.shape[2:])
            frames, has_contrast = grid.normalise(grid.apply(flat, box))
            return grid.pad(frames[..., 0], size)[:, None], VolumePlacement(box, (0,), 0, has_contrast)
        frames, has_contrast = grid.normalise(grid.apply(view_images.images, box))
        starts = tuple(window_starts(frames.shape[3], size[2], _OVERLAP))
        depth = size[2] if self.device.type == "cuda" else min(frames.shape[3], size[2])
        windows = np.stack([grid.pad(frames[..., s : s + depth], (*size[:2], depth)) for s in starts], axis=1)
        return windows.reshape(-1, 1, *size[:2], depth), VolumePlacement(box, starts, size[2], has_contrast)

    def predict(self, crops: npt.NDArray[np.float32]) -> npt.NDArray[np.float16]:
        """Class probabilities ``(n, class, x, y[, z])``, in half precision to keep whole studies in memory."""
        masked = self.padding == "masked" and crops.ndim == 5
        outputs = self.run({self.card.views[0]: crops}, n_slices=_n_imaged(crops) if masked else None)
        logits = outputs.get(self.card.views[0], outputs.get("out"))
        if logits is None:
            raise ValueError(f"{self.card.name} has the outputs {sorted(outputs)}, not {self.card.views[0]!r}")
        return np.asarray(logits.softmax(1).half().numpy())

    def labels(
        self, outputs: npt.NDArray[Any], position: VolumePlacement, shape: tuple[int, int, int, int]
    ) -> npt.NDArray[np.uint8]:
        """Labels ``(frame, slice, row, col)`` on the study's own grid, from the outputs of all :meth:`crops`."""
        n_frames, n_slices, *image = shape
        labels = np.zeros(shape, np.uint8)
        x, y, n_planes = position.grid.shape
        if position.depth == 0:
            for i, output in enumerate(outputs):
                volume = output[:, :x, :y, None].astype(np.float32)
                labels[divmod(i, n_slices)] = grid.restore(volume, position.grid, (image[0], image[1]))[0]
            return labels
        by_frame = outputs.reshape(n_frames, len(position.starts), *outputs.shape[1:])
        for frame, windows in enumerate(by_frame):
            volume = average_windows(windows[:, :, :x, :y], position.starts, n_planes)
            labels[frame] = grid.restore(volume, position.grid, (image[0], image[1]))
        return labels


def _n_imaged(volumes: npt.NDArray[np.float32]) -> torch.Tensor:
    """``(n,)`` slices up to the last one that is not black, at least one, of ``(n, 1, x, y, z)``."""
    imaged = np.asarray((volumes != 0).any(axis=(1, 2, 3)))  # (n, z)
    last = imaged.shape[1] - imaged[:, ::-1].argmax(axis=1)
    return torch.from_numpy(np.where(imaged.any(axis=1), last, 1))


def average_windows(windows: npt.NDArray[Any], starts: tuple[int, ...], n_planes: int) -> npt.NDArray[np.float32]:
    """``(window, class, x, y, z)`` to their mean over windows, ``(class, x, y, n_planes)``."""
    total = np.zeros((*windows.shape[1:4], n_planes), np.float32)
    count = np.zeros(n_planes, np.float32)
    for start, window in zip(starts, windows, strict=True):
        part = slice(start, min(start + window.shape[-1], n_planes))
        total[..., part] += window[..., : part.stop - part.start]
        count[part] += 1
    return np.asarray(total / count, np.float32)
