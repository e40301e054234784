"""Settings of the simulated scanner: resolution, contrast and artefacts."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np


@dataclass(frozen=True)
class Contrast:
    """Signal of each tissue in a bSSFP image, blood = 1. Fat is out of phase, so its borders with water are dark."""

    blood: float = 1.0
    myocardium: float = 0.30
    fat: float = 1.05
    muscle: float = 0.20
    lung: float = 0.035
    liver: float = 0.30
    vessel: float = 0.75
    spleen: float = 0.42
    stomach: float = 0.28
    stomach_content: float = 0.9
    bone: float = 0.38
    fluid: float = 1.15
    scar: float = 0.33
    fat_phase: float = -1.0
    texture: float = 0.06
    blood_texture: float = 0.05


@dataclass(frozen=True)
class ImagingSettings:
    """One imaging protocol. Defaults follow UK Biobank (Petersen 2016, doi 10.1186/s12968-016-0227-4)."""

    matrix: tuple[int, int] = (208, 192)
    pixel_mm: float = 1.8269
    thickness_mm: float = 8.0
    slice_mm: float = 10.0
    n_frames: int = 50
    n_slices: int | None = None  # None: as many as cover the heart
    lax_thickness_mm: float = 6.0
    sub_planes: int = 3
    noise: float = 0.022  # SD of the complex noise, blood = 1
    bias: float = 0.6  # log of the coil's brightness from the chest wall to 100 mm deeper
    breath_shift_mm: float = 1.2
    ghosting: float = 0.015
    off_resonance: float = 0.2  # depth of the banding at the edge of the field
    blur_px: float = 0.5
    acquired_fraction: float = 1.0  # sampled k-space per axis; the rest is zero-filled
    rotation_deg: float = 0.0
    centre_jitter_mm: float = 8.0
    tilt_deg: float = 1.0  # error of the planned plane
    turn_deg: float = 3.0  # error of the angle of a long-axis plane about the axis
    circular_field: bool = False
    scale: float = 420.0  # stored value of blood
    contrast: Contrast = field(default_factory=Contrast)

    def randomise(self, rng: np.random.Generator) -> ImagingSettings:
        """Draw another scanner and operator (domain randomisation); other settings stay as they are."""
        pixel_mm = float(np.exp(rng.uniform(np.log(0.8), np.log(2.2))))
        return replace(
            self,
            pixel_mm=pixel_mm,
            thickness_mm=float(rng.uniform(6, 10)),
            slice_mm=float(rng.uniform(8, 12)),
            lax_thickness_mm=float(rng.uniform(5, 8)),
            noise=float(np.exp(rng.uniform(np.log(0.006), np.log(0.06)))),
            bias=float(rng.uniform(0.0, 1.8)),
            breath_shift_mm=float(rng.uniform(0, 3)),
            ghosting=float(rng.choice([0.0, rng.uniform(0, 0.06)])),
            off_resonance=float(rng.choice([0.0, rng.uniform(0, 0.7)])),
            blur_px=float(rng.uniform(0.25, 0.9)),
            acquired_fraction=float(rng.choice([1.0, rng.uniform(0.5, 1.0)])),
            rotation_deg=float(rng.normal(0, 18)),
            centre_jitter_mm=float(rng.uniform(5, 30)),
            tilt_deg=float(rng.uniform(0, 8)),
            circular_field=bool(rng.random() < 0.25),
            contrast=random_contrast(rng),
        )


def random_contrast(rng: np.random.Generator) -> Contrast:
    """Draw tissue signals from the range of 1.5 T and 3 T scanners of several vendors."""
    myocardium = float(rng.uniform(0.16, 0.52))
    return Contrast(
        blood=1.0,
        myocardium=myocardium,
        fat=float(rng.uniform(0.55, 1.5)),
        muscle=float(myocardium * rng.uniform(0.5, 1.0)),
        lung=float(rng.uniform(0.01, 0.09)),
        liver=float(np.clip(rng.normal(0.33, 0.1), 0.12, 0.7)),
        vessel=float(rng.uniform(0.5, 1.0)),
        spleen=float(np.clip(rng.normal(0.42, 0.12), 0.15, 0.8)),
        stomach=float(rng.uniform(0.15, 0.4)),
        stomach_content=float(rng.choice([rng.uniform(0.02, 0.1), rng.uniform(0.2, 1.3)])),
        bone=float(rng.uniform(0.2, 0.7)),
        fluid=float(rng.uniform(0.8, 1.3)),
        scar=float(myocardium * rng.uniform(0.9, 1.3)),
        fat_phase=float(rng.choice([-1.0, -1.0, rng.uniform(-1, 1)])),
        texture=float(rng.uniform(0.02, 0.14)),
        blood_texture=float(rng.uniform(0.02, 0.14)),
    )
