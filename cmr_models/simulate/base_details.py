"""What varies at the base of the heart, as long-axis planes show it: atria, pulmonary veins, aortic root, leaflets.

The defaults are what all hearts of the simulated biobank share.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Point = tuple[float, float, float]
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class BaseDetails:
    """Shape and signal of the base; lengths in mm in the frame of the heart, brightness relative to the blood of the
    LV; pairs are left and right.

    Attributes:
        atrial_middle: where the atria are widest, as a part of their length from the valve.
        atrial_width: of the atria, relative to those of the simulated biobank.
        atrial_length: the same along the axis.
        atrial_shift_mm: of the atria towards the RV.
        atrial_septum_mm: thickness of the wall between the atria; 0 lets them overlap.
        right_atrial_blood: brightness of the blood in the right atrium, relative to that in the RV.
        veins: pulmonary veins: start in the left atrium, end, relative to the middle of its roof; and the radius.
        outflow_mm: length of the LV outflow tract above the mitral plane, up to the aortic valve.
        sinus: radius of the aortic sinuses, relative to the root; 1 for none.
        ascending_mm: from the end of the aortic root to the arch; None as in the simulated biobank.
        leaflet_mm: thickness of the leaflets of mitral and tricuspid valve; 0 for those of the simulated biobank.
        leaflet_blood: part of blood in their signal: they move, and a slice is thicker than they are.
        leaflet_open: how far the leaflets point into the ventricle in diastole, as a part of their length.
    """

    atrial_middle: float = 0.45
    atrial_width: tuple[float, float] = (1.0, 1.0)
    atrial_length: tuple[float, float] = (1.0, 1.0)
    atrial_shift_mm: tuple[float, float] = (0.0, 0.0)
    atrial_septum_mm: float = 0.0
    right_atrial_blood: float = 1.0
    veins: tuple[tuple[Point, Point, float], ...] = ()
    outflow_mm: float = 0.0
    sinus: float = 1.0
    ascending_mm: Point | None = None
    leaflet_mm: float = 0.0
    leaflet_blood: float = 0.45
    leaflet_open: float = 0.0

    @property
    def is_plain(self) -> bool:
        """Whether this is the base of the simulated biobank."""
        return self == BaseDetails()


def sample_base_details(rng: np.random.Generator) -> BaseDetails:
    """Draw a base: wider than any one study, so that a network meets every kind.

    The ascending aorta leaves the root within 45 degrees of the long axis, mostly in the 3-chamber plane.
    """
    large = float(rng.uniform(0.0, 0.45)) if rng.random() < 0.35 else 0.0
    tilt, aside = np.deg2rad(rng.uniform(-5, 45)), np.deg2rad(rng.normal(0, 15))
    across = np.array([np.cos(aside - 0.82), np.sin(aside - 0.82)]) * np.sin(tilt)
    ascending = rng.uniform(35, 60) * np.array([*across, -np.cos(tilt)])
    return BaseDetails(
        atrial_middle=float(rng.uniform(0.24, 0.48)),
        atrial_width=(float(rng.uniform(0.95, 1.35) + large), float(rng.uniform(0.9, 1.3) + large * rng.random())),
        atrial_length=(float(rng.uniform(0.9, 1.4) + large), float(rng.uniform(0.9, 1.35) + large * rng.random())),
        atrial_shift_mm=(float(rng.normal(2, 4)), float(rng.normal(-8, 5))),
        atrial_septum_mm=float(rng.uniform(0.6, 3.0)),
        right_atrial_blood=float(rng.uniform(0.8, 1.35)),
        veins=_sample_veins(rng),
        outflow_mm=float(rng.uniform(0, 11)),
        sinus=float(rng.uniform(1.0, 1.35)),
        ascending_mm=_point(ascending),
        leaflet_mm=float(rng.uniform(0.6, 2.0)),
        leaflet_blood=float(rng.uniform(0.15, 0.85)),
        leaflet_open=float(rng.uniform(0.2, 1.0)),
    )


_VEINS = (((-14, -8, 4), (-48, -16, -4)), ((-16, 10, 8), (-52, 22, -2)), ((14, -6, 2), (52, 2, -18)),
          ((14, 10, 4), (48, 28, -14)))  # fmt: skip
"""Left upper and lower, right upper and lower: start and end."""


def _sample_veins(rng: np.random.Generator) -> tuple[tuple[Point, Point, float], ...]:
    veins = []
    for start, end in _VEINS:
        if rng.random() < 0.8:
            begin = np.array(start) + rng.normal(0, 3, 3)
            veins.append((_point(begin), _point(np.array(end) + rng.normal(0, 9, 3)), float(rng.uniform(4, 9))))
    return tuple(veins)


def _point(values: FloatArray) -> Point:
    x, y, z = (float(value) for value in values)
    return x, y, z
