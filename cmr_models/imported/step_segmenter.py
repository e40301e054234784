"""Labels by imported networks that are prepared step by step; every frame, or image, is prepared by itself.

Labels are not cleaned.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from cmr_models import zoo
from cmr_models.imported.frames import filled_up, forward_of, inside, slice_distance_mm
from cmr_models.imported.step_plan import StepPlan, step_plan_of
from cmr_models.imported.steps import Geometry, Space, Undo, run_back, run_steps
from cmr_models.imported.windows import run_windows
from cmr_models.views.view_images import ViewImages
from cmr_models.zoo.runner import LabelsAlone, NetworkRunner

PREPROCESSING = "steps"
"""Of the card of a network that :class:`StepSegmenter` runs."""

Array = npt.NDArray[np.float32]

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])


class PreparedPlace(NamedTuple):
    """Where one prepared image lies.

    Attributes:
        shape: voxels of the network's input.
        spacing_mm: their size.
        undos: the ways back.
    """

    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    undos: tuple[Undo, ...]


class PreparedPlaces(NamedTuple):
    """Where the network's inputs lie in a view: one place a frame, or an image."""

    places: tuple[PreparedPlace, ...]

    def judged(self, shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
        """``(frame, slice)``: True everywhere, for the network sees whole images."""
        return np.ones(shape[:2], bool)

    def parameters(self) -> dict[str, Any]:
        """Plain values of the first input, kept beside the labels; others may differ where images are cropped."""
        first = self.places[0]
        return {"spacing_mm": first.spacing_mm, "shape": first.shape}


class StepSegmenter(LabelsAlone, NetworkRunner):
    """A network in three steps: :meth:`crops`, :meth:`predict`, :meth:`labels`.

    In float32 unless another precision is named, since the network was judged by its authors in that.
    """

    def __init__(self, network: nn.Module, card: zoo.ModelCard, device: str = "auto", precision: str = "auto") -> None:
        super().__init__(network, card, device, "fp32" if precision == "auto" else precision)
        self.plan = step_plan_of(card.plan, f"the card of {card.name}")
        self._forward = forward_of(self.network.to(self.device), self.device, self.precision)

    def batch_images(self, requested: int) -> int:
        """Inputs at a time: one, for they differ in size."""
        return 1

    def crops(self, view_images: ViewImages) -> tuple[Array, PreparedPlaces]:
        """The network's input of each frame, or image, ``(n, 1, ...)``, and where it lies.

        Those that are smaller than the largest are filled up with NaN.
        """
        spacing_mm = (self._slice_mm(view_images), *view_images.pixel_mm)
        directions = None if view_images.directions is None else _LPS_TO_RAS @ view_images.directions
        images = view_images.images
        units = images if len(self.plan.axes) == 3 else images.reshape(-1, *images.shape[2:])
        found = [self._prepared(unit, spacing_mm, directions) for unit in units]
        return filled_up([seen.numpy() for seen, _ in found]), PreparedPlaces(tuple(place for _, place in found))

    def predict(self, crops: Array) -> Array:
        """Probabilities, or the network's output, ``(n, channel, ...)``; zero where a crop is NaN."""
        found = []
        for crop in crops:
            seen = torch.from_numpy(crop[inside(crop)])
            output = self._output(seen)
            found.append(_activated(output, self.plan.activation) if self.plan.activated_first else output)
        outputs = np.zeros((len(crops), len(found[0]), *crops.shape[2:]), np.float32)
        for target, output in zip(outputs, found, strict=True):
            target[(slice(None), *map(slice, output.shape[1:]))] = output.numpy()
        return outputs

    def labels(
        self, outputs: npt.NDArray[Any], position: PreparedPlaces, shape: tuple[int, int, int, int]
    ) -> npt.NDArray[np.uint8]:
        """Labels ``(frame, slice, row, col)`` of ``shape`` on the study's own grid."""
        labels = [
            self._labels(self._on_grid(output, place)) for output, place in zip(outputs, position.places, strict=True)
        ]
        return np.stack(labels).reshape(shape)

    def labels_and_certainty(
        self, outputs: npt.NDArray[Any], position: PreparedPlaces, shape: tuple[int, int, int, int]
    ) -> tuple[npt.NDArray[np.uint8], dict[str, npt.NDArray[Any]]]:
        """The labels alone: of this kind of network it is not known how its outputs tell what it does not know."""
        return self.labels(outputs, position, shape), {}

    def probabilities(self, volume: npt.NDArray[Any], spacing_mm: tuple[float, float, float]) -> Array:
        """Class probabilities ``(class, slice, row, col)`` of one volume ``(slice, row, col)``.

        All are zero where the steps cut the image off.
        """
        offset_mm = tuple(i * spacing_mm[0] for i in range(len(volume)))
        crops, position = self.crops(ViewImages("", volume[None], spacing_mm[1:], offset_mm))
        found = [
            self._on_grid(output, place) for output, place in zip(self.predict(crops), position.places, strict=True)
        ]
        whole = found[0] if len(self.plan.axes) == 3 else np.stack(found, axis=1)
        return np.concatenate([1 - whole, whole]) if len(whole) == 1 else whole

    def _prepared(
        self, unit: npt.NDArray[Any], spacing_mm: tuple[float, ...], directions: npt.NDArray[np.float64] | None
    ) -> tuple[Tensor, PreparedPlace]:
        axes = self.plan.axes
        image = torch.from_numpy(np.ascontiguousarray(np.asarray(unit, np.float32).transpose(axes)))[None]
        own = spacing_mm[-len(axes) :]
        turned = directions[:, list(axes)] if directions is not None and len(axes) == 3 else None
        seen, place, undos = run_steps(image, Geometry(tuple(own[axis] for axis in axes), turned), self.plan.steps)
        return seen[0].contiguous(), PreparedPlace(tuple(seen.shape[1:]), place.spacing_mm, undos)

    def _output(self, seen: Tensor) -> Tensor:
        """The network's output ``(channel, ...)`` of ``(1, ...)``."""
        axis = self.plan.slice_axis
        if axis < 0:
            return run_windows(seen, self._forward, self.plan.windows)
        slices = [run_windows(part, self._forward, self.plan.windows) for part in seen.unbind(axis + 1)]
        return torch.stack(slices, axis + 1)

    def _on_grid(self, output: npt.NDArray[Any], place: PreparedPlace) -> Array:
        """Probabilities ``(class, [slice,] row, col)`` on the image's own grid."""
        own = torch.from_numpy(output[(slice(None), *map(slice, place.shape))])
        back = run_back(own, place.undos, self.plan.interpolation)
        active = back if self.plan.activated_first else _activated(back, self.plan.activation)
        order = np.argsort(self.plan.axes)
        return active.permute(0, *(int(axis) + 1 for axis in order)).numpy()

    def _labels(self, probabilities: Array) -> npt.NDArray[np.uint8]:
        is_one = len(probabilities) == 1
        chosen = probabilities[0] >= self.plan.threshold if is_one else probabilities.argmax(axis=0)
        labels: npt.NDArray[np.uint8] = np.array(self.plan.codes, np.uint8)[chosen.astype(int)]
        return labels

    def _slice_mm(self, view_images: ViewImages) -> float:
        """Of a single slice that of the plan, or what leaves it as it is."""
        return slice_distance_mm(view_images, single_slice_mm(self.plan, max(view_images.pixel_mm)))


def single_slice_mm(plan: StepPlan, otherwise: float) -> float:
    """The distance of slices that a plan resamples to; ``otherwise`` if it does not, or after turning the axes."""
    spacings = [step for step in plan.steps if isinstance(step, Space)]
    if len(plan.axes) < 3 or not spacings:
        return otherwise
    wanted = spacings[0].spacing_mm[plan.axes.index(0)]
    return wanted if wanted > 0 else otherwise


def _activated(output: Tensor, activation: str) -> Tensor:
    if activation == "softmax":
        return torch.softmax(output, 0)
    return torch.sigmoid(output) if activation == "sigmoid" else output
