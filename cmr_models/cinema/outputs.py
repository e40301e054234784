"""Outputs of CineMA's networks for a study, other than labels: classes, quantities, landmarks, features.

Classes, quantities and features are of end-diastole and end-systole, landmarks of every frame. A view that a study
lacks is left out. A stack that is longer than the network's input is cut into windows, whose outputs are averaged as
published: classes as probabilities, quantities as they are (Fu et al., Communications Medicine 2026).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cmr_models.cinema import grid
from cmr_models.cinema.grid import Array, Grid
from cmr_models.cinema.network import CinemaNetwork
from cmr_models.nets.heatmap import published_coordinates, soft_argmax
from cmr_models.nets.windows import window_starts
from cmr_models.reasons import StudyRejected
from cmr_models.views.view_images import ViewImages

Images = dict[str, npt.NDArray[np.float32]]
Tokens = Literal["mean", "all"]

_OVERLAP = 0.5
_FRAMES_AT_ONCE = 16


@dataclass(frozen=True)
class Phases:
    """End-diastole and end-systole as fractions of the cycle, so that views with other frame counts share them."""

    ed: float
    es: float

    def frames(self, n_frames: int) -> list[int]:
        """The frames nearest to both phases, of ``n_frames`` a cycle."""
        return [round(phase * n_frames) % n_frames for phase in (self.ed, self.es)]


@dataclass(frozen=True)
class Landmarks:
    """Landmarks of one view, on its own pixels.

    Attributes:
        px: ``(frame, point, 2)`` (row, col), sub-pixel.
        published_px: the same as the published code decodes them: truncated to whole pixels of the network's grid.
        confidence: ``(frame, point)`` peak of the heatmap; NaN for coordinates.
    """

    px: npt.NDArray[np.float64]
    published_px: npt.NDArray[np.float64]
    confidence: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Features:
    """Features at end-diastole and end-systole.

    Attributes:
        cls: ``(2, channel)`` class token.
        tokens: view -> ``(2, channel)`` mean over tokens, or ``(2, token, channel)``.
    """

    cls: npt.NDArray[np.float32]
    tokens: Mapping[str, npt.NDArray[np.float32]]


def class_probabilities(
    network: CinemaNetwork, images_by_view: Mapping[str, ViewImages], phases: Phases
) -> npt.NDArray[np.float64]:
    """``(class,)`` probabilities, which sum to 1."""
    outputs = [_run(network, images)["out"].softmax(1) for images in two_phase_windows(network, images_by_view, phases)]
    return np.asarray(torch.stack(outputs).mean(0)[0].double().numpy())


def quantity(network: CinemaNetwork, images_by_view: Mapping[str, ViewImages], phases: Phases) -> float:
    """The regressed quantity in its own unit: standardised output x sd + mean of the card.

    Raises:
        ValueError: if the card does not say what the output means.
    """
    target = network.card.target
    if not {"mean", "sd"} <= set(target):
        raise ValueError(f"the card of {network.card.name} lacks target.mean and target.sd; add them")
    outputs = [_run(network, images)["out"][0, 0] for images in two_phase_windows(network, images_by_view, phases)]
    return float(torch.stack(outputs).mean()) * target["sd"] + target["mean"]


def features(
    network: CinemaNetwork, images_by_view: Mapping[str, ViewImages], phases: Phases, tokens: Tokens = "mean"
) -> Features:
    """Features of both phases by the autoencoder's encoder; of windows of a long stack, the mean.

    Raises:
        ValueError: if all tokens are asked for of a stack that needs windows: they have no common grid.
    """
    by_phase = [_features_of(network, images_by_view, phases, index, tokens) for index in (0, 1)]
    cls = np.concatenate([phase.pop("cls")[:, 0] for phase in by_phase])
    return Features(cls, {view: np.concatenate([phase[view] for phase in by_phase]) for view in by_phase[0]})


def landmarks(network: CinemaNetwork, view_images: ViewImages) -> Landmarks:
    """Landmarks of every frame of the first slice of a long-axis view.

    Args:
        network: of the family landmark_heatmap or landmark_coordinate.
        view_images: a view of the network.
    """
    box, _ = network.place(view_images)
    frames, has_contrast = _frames(view_images, box, slice(None))
    inputs = grid.pad(frames[..., 0], network.size(view_images.view))[:, None]
    parts = [
        _decode(network, view_images.view, inputs[i : i + _FRAMES_AT_ONCE])
        for i in range(0, len(inputs), _FRAMES_AT_ONCE)
    ]
    exact, whole, peaks = (torch.cat(part).double().numpy() for part in zip(*parts, strict=True))
    missing = ~has_contrast
    px, published = (grid.to_study_px(xy, box) for xy in (exact, whole))
    for values in (px, published, peaks):
        values[missing] = np.nan
    return Landmarks(px, published, peaks)


def _run(network: CinemaNetwork, images: Images, method: str = "forward") -> dict[str, Tensor]:
    """The outputs of the network by name, finite everywhere.

    Raises:
        StudyRejected: ``output_not_finite`` if a value is not finite.
    """
    outputs = network.run(images, method)
    broken = sorted(name for name, value in outputs.items() if not value.isfinite().all())
    if broken:
        raise StudyRejected("output_not_finite", f"In {', '.join(broken)} of {network.card.name}.")
    return outputs


def _decode(network: CinemaNetwork, view: str, batch: Array) -> tuple[Tensor, Tensor, Tensor]:
    """Sub-pixel and published (x, y) of ``(frame, point, 2)``, and confidence ``(frame, point)``."""
    outputs = _run(network, {view: batch})
    if network.card.family == "landmark_heatmap":
        heatmaps = outputs[view].sigmoid()
        exact, whole = soft_argmax(heatmaps), published_coordinates(heatmaps).float()
        return exact.unflatten(1, (-1, 2)), whole.unflatten(1, (-1, 2)), heatmaps.flatten(2).amax(-1)  # type: ignore[no-untyped-call]
    x, y = network.size(view)
    exact = outputs["out"].unflatten(1, (-1, 2)) * torch.tensor([x, y], dtype=torch.float32)  # type: ignore[no-untyped-call]
    return exact, exact.trunc(), torch.full(exact.shape[:2], torch.nan)


def _frames(view_images: ViewImages, box: Grid, which: slice | list[int]) -> tuple[Array, npt.NDArray[np.bool_]]:
    """The chosen frames of a scan, scaled, ``(frame, x, y, z)``, and which have contrast; of a long axis one slice."""
    images = view_images.images[which] if view_images.view == "sax" else view_images.images[which, :1]
    return grid.normalise(grid.apply(images, box))


def two_phase_windows(network: CinemaNetwork, images_by_view: Mapping[str, ViewImages], phases: Phases) -> list[Images]:
    """End-diastole and end-systole as the two channels of each view: one batch of one a window."""
    views = {view: _phase_frames(network, view_images, phases) for view, view_images in images_by_view.items()}
    return _windows(network, {view: frames[None] for view, frames in views.items()})


def _features_of(
    network: CinemaNetwork, images_by_view: Mapping[str, ViewImages], phases: Phases, index: int, tokens: Tokens
) -> dict[str, npt.NDArray[np.float32]]:
    """``cls (1, 1, channel)`` and the tokens of each view at one phase."""
    views = {view: _phase_frames(network, view_images, phases)[index] for view, view_images in images_by_view.items()}
    windows = _windows(network, {view: frame[None, None] for view, frame in views.items()})
    if tokens == "all" and len(windows) > 1:
        raise ValueError(f"all tokens of a stack of {len(windows)} windows have no common grid; ask for their mean")
    found = [_run(network, images, "features") for images in windows]
    kept = [{name: v if name == "cls" or tokens == "all" else v.mean(1) for name, v in one.items()} for one in found]
    return {name: np.asarray(torch.stack([one[name] for one in kept]).mean(0).numpy()) for name in kept[0]}


def _phase_frames(network: CinemaNetwork, view_images: ViewImages, phases: Phases) -> Array:
    """``(2, x, y[, z])`` padded to the model, deeper where the stack is.

    Raises:
        StudyRejected: ``image_flat`` if a frame has no contrast in the box around the heart.
    """
    box, _ = network.place(view_images)
    which = phases.frames(len(view_images.images))
    frames, has_contrast = _frames(view_images, box, which)
    if not has_contrast.all():
        raise StudyRejected("image_flat", f"Frame {which[int(np.argmin(has_contrast))]} of {view_images.view}.")
    return grid.pad(frames if view_images.view == "sax" else frames[..., 0], network.size(view_images.view))


def _windows(network: CinemaNetwork, images: Images) -> list[Images]:
    """``images`` once, or once for each window of a short axis that is deeper than the model."""
    if "sax" not in images:
        return [images]
    depth = network.size("sax")[2]
    starts = window_starts(images["sax"].shape[-1], depth, _OVERLAP)
    return [{**images, "sax": images["sax"][..., start : start + depth]} for start in starts]
