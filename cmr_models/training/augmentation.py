"""Random geometry and scanners for training: parameters are drawn first, then applied to a batch.

Geometry: any rotation, mirror images, pixel size, shift, shear and smooth deformation, in one resampling.
Intensity: gamma, random tone curve, coil shading, blur, noise, and low spatial frequencies exchanged between
images (simulated and real).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from cmr_models.segmentation.crops import standardise

_LATTICE = 5
_Strength = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Augmentation:
    """How strongly to vary. Lengths in mm, angles in degrees; ``*_sd`` are standard deviations, ``*_chance``
    probabilities.
    """

    pixel_mm: float = 1.4
    pixel_log_sd: float = 0.13
    coarse_chance: float = 0.15
    coarse_pixel_mm: tuple[float, float] = (1.8, 2.4)
    shift_sd_mm: float = 13.0
    anywhere_chance: float = 0.12
    small_rotation_sd_deg: float = 20.0
    any_rotation_chance: float = 0.35
    mirror_chance: float = 0.25
    shear_sd: float = 0.07
    deformation_sd_mm: float = 2.5
    gamma_log_sd: float = 0.3
    curve_chance: float = 0.3
    shading_sd: float = 0.35
    blur_chance: float = 0.3
    noise_chance: float = 0.5
    noise_sd: float = 0.15
    spectrum_chance: float = 0.3

    def scale(self, strength: float) -> Augmentation:
        """The same variation ``strength`` times as strong: standard deviations and chances, not the pixel sizes."""
        varied = [name for name in vars(self) if "_sd" in name or name.endswith("_chance")]
        return replace(self, **{name: strength * getattr(self, name) for name in varied})


@dataclass(frozen=True)
class Geometry:
    """The geometry of the crops of a batch.

    Attributes:
        centre_px: (n, 2), row and column of the image in the middle of the crop.
        matrix: (n, 2, 2), image pixels for one crop pixel.
        bend_px: (n, 2, 5, 5), a smooth deformation on a coarse lattice.
    """

    centre_px: npt.NDArray[np.float64]
    matrix: npt.NDArray[np.float64]
    bend_px: npt.NDArray[np.float64]


def draw_geometry(
    rng: np.random.Generator,
    settings: Augmentation,
    heart_px: npt.NDArray[np.float64],
    pixel_mm: npt.NDArray[np.float64],
    shape: tuple[int, int],
) -> Geometry:
    """Random geometry for ``n`` images.

    Args:
        rng: source of chance.
        settings: how strongly to vary.
        heart_px: ``(n, 2)`` (row, col) around which to look; NaN for no heart: anywhere.
        pixel_mm: ``(n,)`` pixel size of the images.
        shape: rows and columns of the images.
    """
    n = len(pixel_mm)
    target_mm = settings.pixel_mm * np.exp(rng.normal(0, settings.pixel_log_sd, n))
    coarse = rng.random(n) < settings.coarse_chance
    target_mm = np.where(coarse, rng.uniform(*settings.coarse_pixel_mm, n), target_mm)
    centre = heart_px + rng.normal(0, settings.shift_sd_mm, (n, 2)) / pixel_mm[:, None]
    anywhere = (rng.random(n) < settings.anywhere_chance) | np.isnan(heart_px).any(1)
    centre = np.where(anywhere[:, None], rng.uniform(0.2, 0.8, (n, 2)) * np.array(shape), centre)
    matrix = _draw_matrices(rng, settings, n) * (target_mm / pixel_mm)[:, None, None]
    bend = rng.normal(0, settings.deformation_sd_mm, (n, 2, _LATTICE, _LATTICE)) / pixel_mm[:, None, None, None]
    return Geometry(centre, matrix, bend)


def crop_images(images: Tensor, geometry: Geometry, size: int, mode: str = "bilinear") -> Tensor:
    """Crops of images, in one resampling; zero outside.

    Args:
        images: (n, channel, row, col).
        geometry: of the ``n`` crops.
        size: rows and columns of a crop.
        mode: "bilinear" or "nearest".

    Returns:
        (n, channel, size, size).
    """
    return F.grid_sample(images, _grid(geometry, images.shape[-2:], size), mode=mode, align_corners=True)


def vary_scanner(
    rng: np.random.Generator,
    settings: Augmentation,
    crops: Tensor,
    strength: npt.NDArray[np.float64] | None = None,
) -> Tensor:
    """Crops as other scanners could have shown them, standardised.

    Args:
        rng: source of chance.
        settings: how strongly to vary.
        crops: ``(n, channel, size, size)``; the channels of one are slices of one scanner.
        strength: ``(n,)`` how strongly each is varied, relative to ``settings``; 1 if None.

    Returns:
        Crops of the same shape.
    """
    strength = np.ones(len(crops)) if strength is None else strength
    x = _scale_to_unit(standardise(crops))
    x = _change_tone(rng, settings, x, strength)
    x = _shade(rng, settings, x, strength)
    x = _mix_spectra(rng, settings, x, strength)
    x = _blur(rng, settings, x, strength)
    return standardise(_add_noise(rng, settings, x, strength))


def _draw_matrices(rng: np.random.Generator, settings: Augmentation, n: int) -> npt.NDArray[np.float64]:
    any_angle = rng.random(n) < settings.any_rotation_chance
    small = rng.normal(0, np.deg2rad(settings.small_rotation_sd_deg), n)
    angle = np.where(any_angle, rng.uniform(-np.pi, np.pi, n), small)
    mirror = np.where(rng.random(n) < settings.mirror_chance, -1.0, 1.0)
    shear = np.eye(2) + rng.normal(0, settings.shear_sd, (n, 2, 2))
    rotation = np.stack([np.cos(angle), -np.sin(angle) * mirror, np.sin(angle), np.cos(angle) * mirror], -1)
    return np.asarray(shear @ rotation.reshape(n, 2, 2))


def _grid(geometry: Geometry, shape: tuple[int, ...], size: int) -> Tensor:
    axis = torch.arange(size, dtype=torch.float32) - (size - 1) / 2
    offset = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), -1).reshape(1, -1, 2)  # (1, S*S, (row, col))
    matrix = torch.from_numpy(geometry.matrix).float()
    centre = torch.from_numpy(geometry.centre_px).float()
    bend = F.interpolate(torch.from_numpy(geometry.bend_px).float(), (size, size), mode="bicubic", align_corners=True)
    position = offset @ matrix.transpose(1, 2) + centre[:, None]
    position = position.view(-1, size, size, 2) + bend.permute(0, 2, 3, 1)
    extent = torch.tensor([shape[0] - 1, shape[1] - 1], dtype=torch.float32)
    return (2 * position / extent - 1).flip(-1)  # grid_sample wants (col, row)


def _scale_to_unit(x: Tensor) -> Tensor:
    low, high = x.amin((-2, -1), keepdim=True), x.amax((-2, -1), keepdim=True)
    return (x - low) / (high - low).clamp(min=1e-6)


def _change_tone(rng: np.random.Generator, settings: Augmentation, x: Tensor, strength: _Strength) -> Tensor:
    """Gamma, and for some images a random increasing tone curve."""
    n = len(x)
    gamma = torch.from_numpy(np.exp(rng.normal(0, settings.gamma_log_sd, n) * strength)).float().view(n, 1, 1, 1)
    x = x.clamp(min=1e-6) ** gamma
    knots = np.cumsum(rng.gamma(1.0, size=(n, 6)), axis=1)
    knots = np.concatenate([np.zeros((n, 1)), knots / knots[:, -1:]], axis=1)
    chosen = rng.random(n) < settings.curve_chance * strength
    knots[~chosen] = np.linspace(0, 1, 7)
    table = torch.from_numpy(knots).float()
    position = (x.flatten(1) * 6).clamp(0, 5.9999)
    below = position.long()
    low, high = table.gather(1, below), table.gather(1, below + 1)
    return (low + (high - low) * (position - below)).view_as(x)


def _shade(rng: np.random.Generator, settings: Augmentation, x: Tensor, strength: _Strength) -> Tensor:
    drawn = rng.normal(0, settings.shading_sd, (len(x), 1, 4, 4)) * strength[:, None, None, None]
    field = torch.from_numpy(drawn).float()
    return x * torch.exp(F.interpolate(field, x.shape[-2:], mode="bicubic", align_corners=True))


def _mix_spectra(rng: np.random.Generator, settings: Augmentation, x: Tensor, strength: _Strength) -> Tensor:
    """Amplitudes of low spatial frequencies taken partly from another image of the batch; phases kept.

    Reference: Yang & Soatto, FDA: Fourier domain adaptation for semantic segmentation, CVPR 2020.
    """
    n, size = len(x), x.shape[-1]
    share = np.where(rng.random(n) < settings.spectrum_chance * strength, rng.uniform(0.2, 1.0, n), 0.0)
    chosen = np.flatnonzero(share)
    if chosen.size == 0:
        return x
    other = torch.from_numpy(rng.permutation(n)[chosen])
    here = torch.fft.rfft2(x[chosen])
    amplitude, donor = here.abs(), torch.fft.rfft2(x[other]).abs()
    distance = torch.fft.fftfreq(size)[:, None].square() + torch.fft.rfftfreq(size)[None].square()
    radius = torch.from_numpy(rng.uniform(0.01, 0.05, len(chosen))).float().view(-1, 1, 1, 1)
    weight = torch.exp(-distance / radius.square()) * torch.from_numpy(share[chosen]).float().view(-1, 1, 1, 1)
    mixed = torch.polar(amplitude * (1 - weight) + donor * weight, here.angle())
    result = x.clone()
    result[chosen] = torch.fft.irfft2(mixed, s=x.shape[-2:])
    return result


def _blur(rng: np.random.Generator, settings: Augmentation, x: Tensor, strength: _Strength) -> Tensor:
    chosen = np.flatnonzero(rng.random(len(x)) < settings.blur_chance * strength)
    if chosen.size == 0:
        return x
    weight = float(rng.uniform(0.3, 1.0))
    kernel = torch.tensor([weight / 2, 1.0, weight / 2]) / (1 + weight)
    result = x.clone()
    planes = x[chosen].flatten(0, 1)[:, None]
    blurred = F.conv2d(planes, (kernel[:, None] * kernel[None])[None, None], padding=1)
    result[chosen] = blurred.view_as(x[chosen])
    return result


def _add_noise(rng: np.random.Generator, settings: Augmentation, x: Tensor, strength: _Strength) -> Tensor:
    sd = np.abs(rng.normal(0, settings.noise_sd, len(x))) * (rng.random(len(x)) < settings.noise_chance * strength)
    scale = torch.from_numpy(sd).float().view(-1, 1, 1, 1) * x.std(dim=(-2, -1), keepdim=True)
    noise = torch.from_numpy(rng.standard_normal(x.shape, dtype=np.float32))
    return x + noise * scale
