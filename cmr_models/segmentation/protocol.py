"""The protocol of all runners of segmentation networks, for 2-D images and for volumes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from cmr_models.views.view_images import ViewImages

if TYPE_CHECKING:
    import torch

    from cmr_models.zoo import ModelCard


class CropPosition(Protocol):
    """Position of the crops of a view in its images."""

    def judged(self, shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
        """``(frame, slice)``: False where the network was given nothing to see, of ``shape`` (frame, slice, ...)."""
        ...

    def parameters(self) -> dict[str, Any]:
        """Plain values, which are stored beside the labels."""
        ...


PositionT = TypeVar("PositionT", bound=CropPosition)


class SegmentationRunner(Protocol[PositionT]):
    """A segmentation network that is ready to run: images to crops, crops to outputs, outputs to labels.

    The three steps are separate so that a pipeline can fill a batch with crops of several studies. ``predict`` may
    run in another thread than the other two.
    """

    @property
    def card(self) -> ModelCard:
        """The card of the model."""
        ...

    @property
    def device(self) -> torch.device:
        """The device that the network runs on."""
        ...

    @property
    def precision(self) -> torch.dtype:
        """The precision that the network computes in."""
        ...

    def batch_images(self, requested: int) -> int:
        """Crops in one forward pass, where the settings request ``requested``."""
        ...

    def crops(self, view_images: ViewImages) -> tuple[npt.NDArray[np.float32], PositionT]:
        """The network's inputs ``(n, 1, ...)`` for the images of one view, and where they lie."""
        ...

    def predict(self, crops: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        """Class probabilities ``(n, class, ...)`` of some crops; each one does not depend on the others."""
        ...

    def labels(
        self, outputs: npt.NDArray[Any], position: PositionT, shape: tuple[int, int, int, int]
    ) -> npt.NDArray[np.uint8]:
        """Labels ``(frame, slice, row, col)`` of ``shape`` on the study's own grid, from the outputs of all crops."""
        ...

    def labels_and_certainty(
        self, outputs: npt.NDArray[Any], position: PositionT, shape: tuple[int, int, int, int]
    ) -> tuple[npt.NDArray[np.uint8], dict[str, npt.NDArray[Any]]]:
        """As :meth:`labels`, with what the network does not know: arrays of a prediction file, as far as known."""
        ...
