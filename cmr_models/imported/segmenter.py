"""Labels by imported nnU-Nets: every frame is a volume of its own, and the labels are not cleaned.

A 2-D network sees slice after slice of the same volume, as nnU-Net does; intensities are scaled over all slices.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from cmr_models import zoo
from cmr_models.imported import volumes
from cmr_models.imported.frames import filled_up, forward_of, inside, slice_distance_mm
from cmr_models.imported.plan import plan_of
from cmr_models.imported.sliding_window import slide
from cmr_models.imported.volumes import Place
from cmr_models.views.view_images import ViewImages
from cmr_models.zoo.runner import LabelsAlone, NetworkRunner

PREPROCESSING = "nnunet"
"""Of the card of a network that :class:`ImportedSegmenter` runs."""


class FramePlaces(NamedTuple):
    """Where the network's volumes lie in a view: one place a frame."""

    places: tuple[Place, ...]

    def judged(self, shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
        """``(frame, slice)``: True everywhere, for the network sees whole images."""
        return np.ones(shape[:2], bool)

    def parameters(self) -> dict[str, Any]:
        """Plain values of the first frame, kept beside the labels; boxes of other frames may differ."""
        first = self.places[0]
        return {"spacing_mm": first.seen_mm, "shape": first.seen_shape, "box": first.box}


class ImportedSegmenter(LabelsAlone, NetworkRunner):
    """An nnU-Net in three steps: :meth:`crops`, :meth:`predict`, :meth:`labels`.

    In float32 unless another precision is named, since the network was judged by its authors in that.
    """

    def __init__(self, network: nn.Module, card: zoo.ModelCard, device: str = "auto", precision: str = "auto") -> None:
        super().__init__(network, card, device, "fp32" if precision == "auto" else precision)
        self.plan = plan_of(card.plan, f"the card of {card.name}")
        self.network.to(self.device)
        self._members: Sequence[nn.Module] = list(self.network.members.children())  # type: ignore[union-attr]

    def batch_images(self, requested: int) -> int:
        """Volumes at a time: one, for they differ in size."""
        return 1

    def crops(self, view_images: ViewImages) -> tuple[npt.NDArray[np.float32], FramePlaces]:
        """The network's input of each frame, ``(frame, 1, a, b, c)``, and where it lies.

        Frames that are smaller than the largest, since more of their border is zero, are filled up with NaN.
        """
        spacing_mm = (self._slice_mm(view_images), *view_images.pixel_mm)
        found = [volumes.to_network(frame, spacing_mm, self.plan) for frame in view_images.images]
        return filled_up([seen for seen, _ in found]), FramePlaces(tuple(place for _, place in found))

    def predict(self, crops: npt.NDArray[np.float32]) -> npt.NDArray[np.float16]:
        """Logits ``(n, class, a, b, c)``, the mean over the folds; zero where a crop is NaN."""
        n_classes = len(self.plan.codes)
        outputs = np.zeros((len(crops), n_classes, *crops.shape[2:]), np.float16)
        for crop, output in zip(crops, outputs, strict=True):
            part = inside(crop)
            output[part] = self._logits(torch.from_numpy(crop[part])).numpy()
        return outputs

    def labels(
        self, outputs: npt.NDArray[Any], position: FramePlaces, shape: tuple[int, int, int, int]
    ) -> npt.NDArray[np.uint8]:
        """Labels ``(frame, slice, row, col)`` of ``shape`` on the study's own grid."""
        labels = np.zeros(shape, np.uint8)
        for frame, (output, place) in enumerate(zip(outputs, position.places, strict=True)):
            part = (slice(None), *map(slice, place.seen_shape))
            labels[frame] = volumes.labels(output[part], place, self.plan)
        return labels

    def probabilities(
        self, volume: npt.NDArray[Any], spacing_mm: tuple[float, float, float]
    ) -> npt.NDArray[np.float32]:
        """Class probabilities ``(class, slice, row, col)`` of one volume ``(slice, row, col)``."""
        seen, place = volumes.to_network(volume, spacing_mm, self.plan)
        return volumes.probabilities(self.predict(seen[None, None])[0], place, self.plan)

    def _logits(self, volume: Tensor) -> Tensor:
        """Logits of ``(1, a, b, c)``: each fold slides over it by itself, as in nnU-Net."""
        total: Tensor | None = None
        for member in self._members:
            forward = forward_of(member, self.device, self.precision)
            logits = slide(volume, forward, self.plan.patch_size, self.plan.mirror_axes, len(self.plan.codes))
            total = logits if total is None else total + logits
        if total is None:
            raise ValueError(f"{self.card.name} has no networks")
        return total / len(self._members) if len(self._members) > 1 else total

    def _slice_mm(self, view_images: ViewImages) -> float:
        """Of a single slice that of the plan, or what leaves it as it is."""
        in_plan = self.plan.spacing_mm[self.plan.transpose.index(0)] if len(self.plan.spacing_mm) == 3 else None
        return slice_distance_mm(view_images, in_plan or max(view_images.pixel_mm))
