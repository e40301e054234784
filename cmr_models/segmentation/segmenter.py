"""Labels of the heart in short-axis and long-axis cines by a trained 2-D network.

A study goes through four steps, so that a pipeline can fill batches from several studies:
:meth:`Segmenter.locate` finds the heart in a few whole images, :func:`prepare` cuts one crop an image,
:meth:`Segmenter.probabilities` gives class probabilities, :func:`.restoring.restore` puts labels on the grid of the
study. :func:`segment_sax`, :func:`segment_lax_2c`, :func:`segment_lax_3c` and :func:`segment_lax_4c` do the four for
one study.
"""

from __future__ import annotations

import functools
import itertools
import os
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from cmr_models import zoo
from cmr_models.contracts import BACKGROUND, VIEW_LABELS
from cmr_models.imported.runners import RUNNERS
from cmr_models.imported.segmenter import ImportedSegmenter
from cmr_models.imported.step_segmenter import StepSegmenter
from cmr_models.segmentation.certainty import (
    STRUCTURES,
    checked_lines,
    expected_dice,
    expected_slice_dice,
    predicted_dice,
)
from cmr_models.segmentation.crops import CropWindow, crop, standardise
from cmr_models.segmentation.localisation import coarse_view, locate_heart, spread_images, supposed_pixel_mm
from cmr_models.segmentation.restoring import restore, restore_with_answers
from cmr_models.views.view_images import ViewImages
from cmr_models.zoo.runner import NetworkRunner

PixelSize = float | tuple[float, float] | None

_BATCH = 16  # larger ones leave a processor's cache: 154 images/s by 16 and 125 by 64, one core
_FEW_IMAGES = 3


class Segmenter(NetworkRunner):
    """A network ready to run: loaded once, used for many studies.

    Batches are filled up to one size, so that an image's result does not depend on its neighbours. A processor segments
    a third more images a second in a process that keeps the memory that it has freed; the user of this class sets that
    (:func:`cmr_models.zoo.process_memory.keep_freed_memory`).
    """

    TASK = "segment_sax"

    def __init__(self, network: nn.Module, card: zoo.ModelCard, device: str = "auto", precision: str = "auto") -> None:
        super().__init__(network, card, device, precision)
        self._hidden = torch.from_numpy(_hidden_classes(card)).to(self.device)
        fused = _fuse(self.network)
        self.network = fused.to(self.device, self.precision, memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def channels(self) -> int:
        """Slices that the network looks at: 1, or 3 with the one before and the one after."""
        return int(self.card.config.get("in_channels", 1))

    def probabilities(self, crops: Tensor, batch_images: int = _BATCH) -> Tensor:
        """Class probabilities of standardised crops.

        Args:
            crops: ``(n, channel, size, size)`` of :func:`prepare`.
            batch_images: images a forward pass; the last one is filled up with zeros.

        Returns:
            ``(n, class, size, size)`` float32, on the CPU.
        """
        n_classes = int(self.card.config["n_classes"])
        result = torch.empty(len(crops), n_classes, *crops.shape[2:])
        for start in range(0, len(crops), batch_images):
            part = crops[start : start + batch_images]
            batch = torch.zeros(batch_images, *crops.shape[1:])
            batch[: len(part)] = part
            result[start : start + batch_images] = self._forward(batch)[: len(part)]
        return result

    def locate(self, images: npt.NDArray[np.generic], pixel_mm: PixelSize) -> CropWindow:
        """Find the window of a study's crops in a few whole images, spread over slices and frames.

        Args:
            images: ``(frame, slice, row, col)``.
            pixel_mm: pixel size, or (row, col); None if unknown: then it is guessed from the field of view
                and the size of the heart.

        Returns:
            The window of the crops; if nothing looks like a heart, the middle of the image.
        """
        return self.locate_with_confidence(images, pixel_mm)[0]

    def locate_with_confidence(self, images: npt.NDArray[np.generic], pixel_mm: PixelSize) -> tuple[CropWindow, float]:
        """As :meth:`locate`, and the network's confidence that a heart is there, from 0 to 1."""
        whole = torch.from_numpy(spread_images(images))
        sizes = [_pair(pixel_mm)] if pixel_mm is not None else supposed_pixel_mm(images.shape[2:])
        found = []
        steps_mm = (2.0, 1.5) if len(whole) <= _FEW_IMAGES else (2.0,)
        for size_mm, step_mm in itertools.product(sizes, steps_mm):
            view = coarse_view(images.shape[2:], size_mm, step_mm)
            seen = self._forward(standardise(crop(whole, view)[:, None]).expand(-1, self.channels, -1, -1))
            found.append(locate_heart(seen.numpy(), view, size_mm, self.card, known_mm=pixel_mm is not None))
        return max(found, key=lambda item: item[1])

    def batch_images(self, requested: int) -> int:
        """Crops in one forward pass: as many as requested."""
        return requested

    def crops(self, view_images: ViewImages) -> tuple[npt.NDArray[np.float32], CropWindow]:
        """The network's input ``(frame * slice, channel, size, size)``, one crop an image, and where the crops lie."""
        window = self.locate(view_images.images, view_images.pixel_mm)
        window = replace(window, slice_mm=view_images.slice_mm)
        return prepare(view_images.images, window, self.channels).numpy(), window

    def predict(self, crops: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Class probabilities of crops, in batches that suit the device."""
        batch_images = len(crops) if self.device.type == "cuda" else min(len(crops), _BATCH)
        return self.probabilities(torch.from_numpy(crops), batch_images=batch_images).numpy()

    def labels(
        self, outputs: npt.NDArray[Any], position: CropWindow, shape: tuple[int, int, int, int]
    ) -> npt.NDArray[np.uint8]:
        """Labels on the study's own grid, from the outputs of the crops of :meth:`crops`."""
        return restore(torch.from_numpy(outputs), position, shape, self.card)

    def labels_and_certainty(
        self, outputs: npt.NDArray[Any], position: CropWindow, shape: tuple[int, int, int, int]
    ) -> tuple[npt.NDArray[np.uint8], dict[str, npt.NDArray[Any]]]:
        """As :meth:`labels`, with ``slice_confidence``, the answers of :class:`.restoring.Restored` and, if the card
        has its lines, ``predicted_dice``.

        Structures are those of :data:`cmr_models.segmentation.certainty.STRUCTURES`. Values are in hundredths: further
        digits would depend on how many threads have multiplied.
        """
        restored = restore_with_answers(torch.from_numpy(outputs), position, shape, self.card)
        sums = restored.sums[:, : len(STRUCTURES)]
        found = {"slice_confidence": np.round(expected_slice_dice(sums, shape[1]), 2)}
        if self.card.certainty:
            lines = checked_lines(self.card.certainty, self.card.name)
            found["predicted_dice"] = np.round(predicted_dice(expected_dice(sums, shape[1]), lines), 2)
        return restored.labels, {**found, **restored.answers}

    def _forward(self, batch: Tensor) -> Tensor:
        with torch.inference_mode():
            placed = batch.to(self.device, self.precision).contiguous(memory_format=torch.channels_last)
            logits = self.network(placed).float()
            if self._hidden.any():
                logits = logits.masked_fill(self._hidden[:, None, None], -torch.inf)
            return torch.softmax(logits, dim=1).cpu()


def _hidden_classes(card: zoo.ModelCard) -> npt.NDArray[np.bool_]:
    """``(class,)``: the classes of a network of several views that the view of its card does not show."""
    codes = np.arange(int(card.config["n_classes"]))
    shown = VIEW_LABELS.get(card.task.removeprefix("segment_"))
    return np.zeros(len(codes), bool) if shown is None else ~np.isin(codes, (BACKGROUND, *shown))


def segment_sax(
    images: npt.NDArray[np.generic],
    pixel_mm: PixelSize,
    slice_mm: float | None,
    model: str | os.PathLike[str] = "default",
) -> npt.NDArray[np.uint8]:
    """Right ventricle, myocardium and left ventricle in short-axis images.

    Args:
        images: ``(frame, slice, row, col)``, any real type; one frame and one slice are enough. Slices in
            order, from base to apex or back; from 20 frames on they are taken as consecutive times and smoothed
            over neighbours.
        pixel_mm: pixel size in mm, or (row, col) sizes; None if unknown.
        slice_mm: distance between slices in mm; None or NaN if unknown. The default network works slice by
            slice.
        model: "default" or a model folder (:func:`cmr_models.zoo.load`), also of an imported network; that one needs
            ``pixel_mm``, and ``slice_mm`` if it sees volumes.

    Returns:
        ``labels`` uint8 of the same shape: 0 background, 1 RV, 2 myocardium, 3 LV (papillary muscles
        included). A constant image has only background.

    Raises:
        ValueError: if the array is not 4-D, empty, not real or not finite, or a size in mm is not positive or lacking.
    """
    _check_images(images)
    _check_sizes(pixel_mm, slice_mm)
    return _segment(images, pixel_mm, slice_mm, os.fspath(model), "sax")


def segment_lax_4c(
    images: npt.NDArray[np.generic], pixel_mm: PixelSize, model: str | os.PathLike[str] = "default"
) -> npt.NDArray[np.uint8]:
    """Ventricles and atria in 4-chamber images.

    Args:
        images: ``(frame, slice, row, col)``, any real type; usually one slice.
        pixel_mm: as in :func:`segment_sax`.
        model: as in :func:`segment_sax`.

    Returns:
        ``labels`` uint8 of the same shape: 0 background, 1 RV, 2 myocardium, 3 LV, 4 LA, 5 RA.

    Raises:
        ValueError: as :func:`segment_sax`.
    """
    return _segment_lax(images, pixel_mm, model, "lax_4c")


def segment_lax_2c(
    images: npt.NDArray[np.generic], pixel_mm: PixelSize, model: str | os.PathLike[str] = "default"
) -> npt.NDArray[np.uint8]:
    """Left ventricle and left atrium in 2-chamber images.

    Arguments and errors as :func:`segment_lax_4c`.

    Returns:
        ``labels`` uint8 of the same shape: 0 background, 2 myocardium, 3 LV, 4 LA.
    """
    return _segment_lax(images, pixel_mm, model, "lax_2c")


def segment_lax_3c(
    images: npt.NDArray[np.generic], pixel_mm: PixelSize, model: str | os.PathLike[str] = "default"
) -> npt.NDArray[np.uint8]:
    """Ventricles, left atrium and aorta in 3-chamber images.

    Arguments and errors as :func:`segment_lax_4c`.

    Returns:
        ``labels`` uint8 of the same shape: 0 background, 1 RV, 2 myocardium, 3 LV (with its outflow tract), 4 LA,
        6 ascending aorta (from its valve).
    """
    return _segment_lax(images, pixel_mm, model, "lax_3c")


def _segment_lax(
    images: npt.NDArray[np.generic], pixel_mm: PixelSize, model: str | os.PathLike[str], view: str
) -> npt.NDArray[np.uint8]:
    _check_images(images)
    _check_sizes(pixel_mm, None)
    return _segment(images, pixel_mm, None, os.fspath(model), view)


def prepare(images: npt.NDArray[np.generic], window: CropWindow, channels: int = 1) -> Tensor:
    """Standardised crops ``(frame * slice, channel, size, size)`` of ``images (frame, slice, row, col)``.

    With three channels, the first and last are the slices before and after; at an end of the stack it is itself.
    """
    flat = torch.from_numpy(np.ascontiguousarray(images.reshape(-1, *images.shape[2:]), np.float32))
    crops = standardise(crop(flat, window)[:, None])
    if channels == 1:
        return crops
    stack = crops.view(*images.shape[:2], *crops.shape[2:])
    beside = torch.cat([stack[:, :1], stack, stack[:, -1:]], dim=1)
    return torch.stack([beside[:, :-2], stack, beside[:, 2:]], dim=2).flatten(0, 1)


def _segment(
    images: npt.NDArray[np.generic], pixel_mm: PixelSize, slice_mm: float | None, model: str, view: str
) -> npt.NDArray[np.uint8]:
    task = f"segment_{view}"
    shape = (images.shape[0], images.shape[1], images.shape[2], images.shape[3])
    preprocessing = zoo.card(model, task).preprocessing
    if preprocessing in RUNNERS:
        imported: Any = _shared_imported(model, task, preprocessing)
        volumes, places = imported.crops(_in_space(images, pixel_mm, slice_mm, view, imported))
        labels: npt.NDArray[np.uint8] = imported.labels(imported.predict(volumes), places, shape)
    else:
        segmenter = shared_segmenter(model, task)
        window = replace(segmenter.locate(images, pixel_mm), slice_mm=slice_mm)
        probabilities = segmenter.probabilities(prepare(images, window, segmenter.channels))
        labels = restore(probabilities, window, shape, segmenter.card)
    labels[images.max(axis=(2, 3)) == images.min(axis=(2, 3))] = 0
    return labels


@functools.lru_cache(maxsize=8)
def shared_segmenter(model: str, task: str) -> Segmenter:
    """The segmenter of a model, loaded once a process."""
    return Segmenter.load(model, task)


@functools.lru_cache(maxsize=4)
def _shared_imported(model: str, task: str, preprocessing: str) -> ImportedSegmenter | StepSegmenter:
    return RUNNERS[preprocessing].load(model, task)


def _in_space(
    images: npt.NDArray[np.generic],
    pixel_mm: PixelSize,
    slice_mm: float | None,
    view: str,
    imported: ImportedSegmenter | StepSegmenter,
) -> ViewImages:
    """The images with the sizes that an imported network needs."""
    if pixel_mm is None:
        raise ValueError(f"{imported.card.name} works at a fixed pixel size; give pixel_mm")
    n_slices = images.shape[1]
    if n_slices == 1:
        return ViewImages(view, images, _pair(pixel_mm))
    if slice_mm is None or np.isnan(slice_mm):
        raise ValueError(f"{imported.card.name} sees {n_slices} slices as one volume; give slice_mm")
    return ViewImages(view, images, _pair(pixel_mm), tuple(i * slice_mm for i in range(n_slices)))


def _fuse(network: nn.Module) -> nn.Module:
    """The network with each batch normalisation folded into the convolution before it."""
    for module in network.modules():
        if not isinstance(module, nn.Sequential):
            continue
        for i in range(len(module) - 1):
            convolution, normalisation = module[i], module[i + 1]
            if isinstance(convolution, nn.Conv2d) and isinstance(normalisation, nn.BatchNorm2d):
                module[i], module[i + 1] = fuse_conv_bn_eval(convolution, normalisation), nn.Identity()
    return network


def _pair(pixel_mm: float | tuple[float, float]) -> tuple[float, float]:
    row_mm, col_mm = np.broadcast_to(np.asarray(pixel_mm, float), 2)
    return float(row_mm), float(col_mm)


def _check_images(images: npt.NDArray[np.generic]) -> None:
    if not isinstance(images, np.ndarray) or images.ndim != 4:
        shape = getattr(images, "shape", type(images).__name__)
        raise ValueError(f"images must be an array (frame, slice, row, col), got {shape}; add axes of length 1")
    if images.size == 0:
        raise ValueError(f"images are empty: shape {images.shape}; give at least one frame, slice, row and column")
    if images.dtype.kind not in "buif":
        raise ValueError(f"images must have a real type, got {images.dtype}; take the magnitude")
    if images.dtype.kind == "f" and not np.isfinite(images).all():
        n_bad = int((~np.isfinite(images)).sum())
        raise ValueError(f"images hold {n_bad} values that are not finite; replace or leave out those frames")


def _check_sizes(pixel_mm: PixelSize, slice_mm: float | None) -> None:
    if pixel_mm is not None:
        sizes = np.asarray(pixel_mm, float)
        if sizes.size not in (1, 2) or not np.isfinite(sizes).all() or (sizes <= 0).any():
            raise ValueError(f"pixel_mm must be one or two positive numbers or None, got {pixel_mm}")
    if slice_mm is not None and not np.isnan(slice_mm) and slice_mm <= 0:
        raise ValueError(f"slice_mm must be positive, or None if unknown, got {slice_mm}")
