"""What varies between the hearts of hospital patients beyond size and function: shape at end-systole, fat, vessels.

The defaults are what all hearts of the simulated biobank share.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from cmr_models.simulate.base_details import BaseDetails, sample_base_details
from cmr_models.simulate.traits import HeartTraits

Point = tuple[float, float, float]


@dataclass(frozen=True)
class FatPad:
    """An ellipsoid of pericardial fat, in the frame of the heart (:mod:`cmr_models.simulate.anatomy`)."""

    centre_mm: Point
    axes_mm: Point


@dataclass(frozen=True)
class HeartDetails:
    """Shape, motion and surroundings of one heart; lengths in mm, brightness relative to the blood of the LV.

    Attributes:
        lining_mm: thickness of the trabeculae that line the whole LV cavity at end-diastole.
        clear_share: part of the cavity's radius that is free of trabeculae, however small the cavity becomes.
        lining_blood: part of blood in the lining.
        squeeze: how much more the LV closes from its middle to its apex than at its base at end-systole, 0 to 1.
        papillary_volume: 0, papillary muscles shrink with the cavity; 1, they keep their thickness and fill it.
        septum_flattening: of a septum that is pushed by an RV much larger than the LV.
        rv_apex: height at which the RV ends at end-diastole.
        rv_shortening: by how much that moves towards the base at end-systole.
        rv_wall_mm: thickness of the free wall of the RV.
        rv_trabeculation: depth of its trabeculae.
        atrial_wall_mm: thickness of the walls of the atria.
        vessel_wall_mm: of aorta and pulmonary trunk.
        aorta_mm: radius of the aortic root.
        pulmonary_mm: radius of the pulmonary trunk.
        root_shift_mm: of the aorta, across the long axis.
        trunk_shift_mm: of the pulmonary trunk.
        right_blood: brightness of the blood in the RV and the right atrium.
        left_atrial_blood: of that in the left atrium.
        vessel_blood: of that in aorta and pulmonary trunk.
        appendage_mm: radii of the left and the right atrial appendage; 0 for none in the picture.
        fat_strands: how dark the strands in the fat of the heart are.
        fat_pads: pericardial fat.
        base: atria, veins, aortic root and leaflets.
    """

    lining_mm: float = 1.0
    clear_share: float = 0.68
    lining_blood: float = 0.2
    squeeze: float = 0.0
    papillary_volume: float = 0.0
    septum_flattening: float = 0.12
    rv_apex: float = 0.93
    rv_shortening: float = 0.0
    rv_wall_mm: float = 2.4
    rv_trabeculation: float = 0.2
    atrial_wall_mm: float = 2.2
    vessel_wall_mm: float = 1.6
    aorta_mm: float = 13.0
    pulmonary_mm: float = 13.5
    root_shift_mm: tuple[float, float] = (0.0, 0.0)
    trunk_shift_mm: tuple[float, float] = (0.0, 0.0)
    right_blood: float = 1.0
    left_atrial_blood: float = 0.98
    vessel_blood: float = 1.0
    appendage_mm: tuple[float, float] = (0.0, 0.0)
    fat_strands: float = 0.22
    fat_pads: tuple[FatPad, ...] = ()
    base: BaseDetails = field(default_factory=BaseDetails)


def vessel_ends(details: HeartDetails) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Where aortic root and pulmonary trunk leave the moving heart, in its frame (mm)."""
    (ax, ay), (px, py) = details.root_shift_mm, details.trunk_shift_mm
    return np.array([14.0 + ax, -20.0 + ay, -26.0]), np.array([26.0 + px, -42.0 + py, -30.0])


def sample_details(rng: np.random.Generator, traits: HeartTraits) -> HeartDetails:
    """Draw the details of a hospital patient: wider than any one study, so that a network meets every kind.

    A ventricle that empties well closes from the middle to the apex. The wall of an RV under load is thick.
    """
    vigour = float(np.clip((traits.lvef_pct - 50) / 25, 0, 1))
    loaded = traits.rvedv_ml > 1.4 * traits.lvedv_ml
    return HeartDetails(
        lining_mm=float(rng.uniform(0.2, 1.9)),
        clear_share=float(rng.uniform(0.35, 0.75)),
        lining_blood=float(rng.uniform(0.1, 0.6)),
        squeeze=float((0.2 + 0.65 * vigour) * rng.random() ** 0.6),
        papillary_volume=float(rng.uniform(0, 1)),
        septum_flattening=float(rng.uniform(0.1, 0.4)),
        rv_apex=float(np.clip(rng.normal(0.86, 0.11), 0.5, 1.0)),
        rv_shortening=float(rng.uniform(0, 0.25)),
        rv_wall_mm=float(rng.uniform(3.0, 8.0) if loaded else rng.uniform(1.5, 6.0)),
        rv_trabeculation=float(rng.uniform(0.05, 0.35)),
        atrial_wall_mm=float(rng.uniform(0.7, 2.4)),
        vessel_wall_mm=float(rng.uniform(0.7, 2.0)),
        aorta_mm=float(rng.uniform(10.5, 18)),
        pulmonary_mm=float(rng.uniform(10.5, 18)),
        root_shift_mm=(float(rng.normal(0, 4)), float(rng.normal(0, 4))),
        trunk_shift_mm=(float(rng.normal(0, 5)), float(rng.normal(0, 5))),
        right_blood=float(rng.uniform(0.72, 1.12)),
        left_atrial_blood=float(rng.uniform(0.75, 1.08)),
        vessel_blood=float(rng.uniform(0.75, 1.25)),
        appendage_mm=(float(rng.uniform(0, 15)), float(rng.uniform(0, 17))),
        fat_strands=float(rng.uniform(0, 0.18)),
        fat_pads=_sample_fat_pads(rng, traits.lv_length_mm),
    )


def sample_long_axis_details(rng: np.random.Generator, traits: HeartTraits) -> HeartDetails:
    """As :func:`sample_details`, with the base that a long-axis plane shows; the RV reaches almost to the apex."""
    return replace(
        sample_details(rng, traits),
        rv_apex=float(np.clip(rng.normal(0.93, 0.08), 0.6, 1.02)),
        rv_shortening=float(rng.uniform(0, 0.15)),
        base=sample_base_details(rng),
    )


def _sample_fat_pads(rng: np.random.Generator, length_mm: float) -> tuple[FatPad, ...]:
    """Fat in front of the apex, in front of the RV, and between RV and diaphragm, each in some hearts."""
    places = (((12, 0, 1.08), 0.7), ((35, -48, 0.55), 0.6), ((55, -12, 0.75), 0.6), ((30, 38, 0.7), 0.4))
    pads = []
    for (x, y, height), chance in places:
        if rng.random() > chance:
            continue
        centre = np.array([x, y, height * length_mm]) + rng.normal(0, 11, 3)
        axes = rng.uniform(14, 42, 3)
        pads.append(FatPad(_point(centre), _point(axes)))
    return tuple(pads)


def _point(values: npt.NDArray[np.float64]) -> Point:
    x, y, z = (float(value) for value in values)
    return x, y, z
