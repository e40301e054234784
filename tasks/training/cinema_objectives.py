"""What each task learns: its network's outputs, its loss, and the measure that early stopping watches.

A target is, a sample: labels (x, y[, z]); a class; a value; or landmarks (n, 2) in pixels (x, y). Pretraining has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from cmr_models.evaluation import classes, dice, mean_absolute_error
from cmr_models.nets.heatmap import soft_argmax
from cmr_models.training.task_losses import (
    classification_loss,
    coordinate_loss,
    gaussian_heatmaps,
    heatmap_loss,
    segmentation_loss,
)
from tasks.training.cinema_batches import Samples
from tasks.training.cinema_settings import FinetuningSettings

Images = Mapping[str, Tensor]
_CINEMA_KINDS = ("CineMA", "ConvViT", "ConvUNetR")


def network_config(settings: FinetuningSettings, n_frames: int) -> dict[str, Any]:
    """All settings of the network: the given ones, its views, its outputs, its input channels."""
    config = dict(settings.config)
    if settings.kind in _CINEMA_KINDS:
        config["views"] = list(settings.views)
    else:
        config["in_chans"] = n_frames
    if settings.kind == "UNet":
        config["n_dims"] = 3 if settings.views[0] == "sax" else 2
    if settings.kind == "ConvViT":
        config["n_frames"] = n_frames
    if settings.family != "pretrain":
        config["out_chans"] = _n_outputs(settings)
    return config


def batch_loss(network: nn.Module, settings: FinetuningSettings, images: Images, target: Tensor, seed: int) -> Tensor:
    """The loss of a batch; ``seed`` draws the masks of pretraining."""
    if settings.family == "pretrain":
        return network(images, generator=torch.Generator().manual_seed(seed))[0]
    output, view = network(images), settings.views[0]
    match settings.family:
        case "segmentation":
            return segmentation_loss(output[view], target)
        case "classification":
            return classification_loss(output, target)
        case "regression":
            return nn.functional.mse_loss(output[:, 0].float(), target.float())
        case "landmark_heatmap":
            return heatmap_loss(output[view], gaussian_heatmaps(target, _plane(images[view])))
        case _:
            return coordinate_loss(_points(output.float(), images[view]), target)


def predict(network: nn.Module, settings: FinetuningSettings, images: Images) -> npt.NDArray[np.generic]:
    """Labels, class probabilities, standardised values, or landmarks (B, n, 2) in pixels."""
    output, view = network(images), settings.views[0]
    match settings.family:
        case "segmentation":
            found = output[view].argmax(1)
        case "classification":
            found = output.float().softmax(1)
        case "regression":
            found = output[:, 0].float()
        case "landmark_heatmap":
            found = soft_argmax(output[view].float().sigmoid()).unflatten(1, (-1, 2))  # type: ignore[no-untyped-call]
        case _:
            found = _points(output.float(), images[view])
    return found.cpu().numpy()


def predict_samples(
    network: nn.Module, settings: FinetuningSettings, samples: Samples, scaling: Mapping[str, float]
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Outputs and targets of all samples, values in their own unit; the network is left in evaluation mode."""
    network.eval()
    device = next(network.parameters()).device
    outputs, targets = [], []
    with torch.inference_mode():
        for index in range(len(samples)):
            images, target = samples.sample(index, np.random.default_rng(index))
            batch = {view: torch.from_numpy(image)[None].to(device) for view, image in images.items()}
            outputs.append(predict(network, settings, batch)[0])
            targets.append(target)
    found = np.stack(outputs)
    return (found * scaling["sd"] + scaling["mean"] if settings.family == "regression" else found), np.stack(targets)


def score(family: str, outputs: npt.NDArray[Any], target: npt.NDArray[Any]) -> float:
    """The measure that early stopping watches, higher is better; NaN where it is not defined.

    Mean Dice, MCC, minus the mean absolute error, minus the mean distance in pixels.
    """
    if family == "segmentation":
        labels = range(1, int(target.max()) + 1)
        overlaps = [dice(a == k, t == k) for a, t in zip(outputs, target, strict=True) for k in labels]
        known = [value for value in overlaps if np.isfinite(value)]
        return float(np.mean(known)) if known else float("nan")
    if family == "classification":
        return classes.matthews(classes.confusion(outputs.argmax(1), target.astype(int), outputs.shape[1]))
    if family == "regression":
        return -mean_absolute_error(outputs, target)
    return -float(np.linalg.norm(outputs - target, axis=-1).mean())


def _n_outputs(settings: FinetuningSettings) -> int:
    if settings.family == "regression":
        return 1
    if not settings.classes:
        raise ValueError(f"the task {settings.task!r} needs `classes`: the names of its labels, classes or landmarks")
    return len(settings.classes) * (2 if settings.family == "landmark_coordinate" else 1)


def _plane(image: Tensor) -> tuple[int, int]:
    return int(image.shape[2]), int(image.shape[3])


def _points(fractions: Tensor, image: Tensor) -> Tensor:
    """Landmarks (B, n, 2) in pixels from fractions of width and height (B, 2 n)."""
    pairs: Tensor = fractions.unflatten(1, (-1, 2))  # type: ignore[no-untyped-call]
    return pairs * torch.tensor(_plane(image), dtype=torch.float32, device=fractions.device)
