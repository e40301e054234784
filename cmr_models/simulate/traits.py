"""Volumes, function and shape of the heart of one simulated person, drawn from published ranges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np

from cmr_models.phenotypes.body_size import body_surface_m2

Sex = Literal["F", "M"]


@dataclass(frozen=True)
class HeartTraits:
    """One heart. The heart that is built from these traits has exactly these volumes.

    ``lv_slenderness`` and the three ``vigour`` factors are relative to the values expected from size and ejection
    fraction, so that the heart stays plausible when the volumes are changed (``dataclasses.replace``).
    """

    sex: Sex = "M"
    age_years: float = 60.0
    height_cm: float = 176.0
    weight_kg: float = 82.0
    heart_rate_bpm: float = 64.0
    lvedv_ml: float = 160.0
    lvef_pct: float = 59.0
    lvm_g: float = 103.0
    rvedv_ml: float = 175.0
    rvef_pct: float = 55.0
    la_max_ml: float = 73.0
    la_min_ml: float = 29.0
    ra_max_ml: float = 90.0
    ra_min_ml: float = 50.0
    lv_slenderness: float = 1.0
    mapse_vigour: float = 1.0
    tapse_vigour: float = 1.0
    torsion_vigour: float = 1.0
    septal_thickness: float = 1.12
    thickness_swirl_deg: float = 0.0
    apical_thickness: float = 0.85
    infarct_depth: float = 0.0
    infarct_angle_deg: float = 120.0
    papillary_size: float = 0.20
    trabeculation: float = 0.8
    rv_swing_deg: float = 0.0
    base_tilt: float = 0.17
    axis_left_deg: float = 0.0
    axis_down_deg: float = 0.0
    roll_deg: float = 0.0
    fatness: float = 0.4
    diastolic_fraction: float = 0.72

    @property
    def lvesv_ml(self) -> float:
        """End-systolic LV volume (mL)."""
        return self.lvedv_ml * (1 - self.lvef_pct / 100)

    @property
    def rvesv_ml(self) -> float:
        """End-systolic RV volume (mL)."""
        return self.rvedv_ml * (1 - self.rvef_pct / 100)

    @property
    def lv_length_mm(self) -> float:
        """Length of the LV cavity at end-diastole (mm). A larger heart is also rounder."""
        return float(92 * (self.lvedv_ml / 150) ** 0.36 * self.lv_slenderness)

    @property
    def mapse_mm(self) -> float:
        """Descent of the mitral plane (mm): about 13 in health, proportional to the ejection fraction."""
        return float(np.clip(13.5 * self.lvef_pct / 60 * self.mapse_vigour, 2.5, 19))

    @property
    def tapse_mm(self) -> float:
        """Descent of the tricuspid plane (mm): about 20 in health."""
        return float(np.clip(20 * self.rvef_pct / 56 * self.tapse_vigour, 5, 28))

    @property
    def torsion_deg(self) -> float:
        """Rotation of the apex against the base (degrees): about 15 in health."""
        return float(np.clip(15 * self.lvef_pct / 60 * self.torsion_vigour, 1, 28))

    @property
    def bsa_m2(self) -> float:
        """Body surface area (m²)."""
        return body_surface_m2(self.height_cm, self.weight_kg)


class _Norm(NamedTuple):
    """Mean and SD in healthy people of one sex, and the body surface area to which the means belong."""

    bsa_m2: float
    lvedv_ml: tuple[float, float]
    lvef_pct: tuple[float, float]
    lvm_g: tuple[float, float]
    rvef_pct: tuple[float, float]
    la_max_ml: tuple[float, float]
    la_ef_pct: tuple[float, float]
    ra_max_ml: tuple[float, float]
    ra_ef_pct: tuple[float, float]


# Petersen 2017, doi 10.1186/s12968-017-0327-9: midpoint and width / 3.92 of the 95 % intervals of healthy
# UK Biobank people.
_NORMS: Mapping[str, _Norm] = {
    "M": _Norm(2.0, (164, 28), (58.5, 5.4), (103, 20), (55, 5), (73, 18), (60, 7), (93, 26), (40.5, 8.9)),
    "F": _Norm(1.75, (125, 19), (60.5, 4.8), (70, 12), (57.5, 5.4), (63, 15), (61.5, 6.4), (70, 16), (47, 8)),
}


class _Effect(NamedTuple):
    """Typical effect of a disease: factors on sizes, additive points on fractions."""

    lvedv: float = 1.0
    lvef: float = 0.0
    lvm: float = 1.0
    rvedv: float = 1.0
    rvef: float = 0.0
    la: float = 1.0
    ra: float = 1.0
    la_ef: float = 0.0
    heart_rate: float = 0.0
    infarct: float = 0.0
    septum: float = 0.0


DISEASES: Mapping[str, _Effect] = {
    "heart_failure": _Effect(lvedv=1.3, lvef=-20, lvm=1.2, rvef=-8, la=1.3, ra=1.2, la_ef=-12, heart_rate=6),
    "myocardial_infarction": _Effect(lvedv=1.15, lvef=-11, lvm=1.05, la=1.08, infarct=0.5),
    "atrial_fibrillation": _Effect(lvef=-4, la=1.4, ra=1.35, la_ef=-18, heart_rate=6),
    "hypertension": _Effect(lvm=1.14, la=1.05, septum=0.05),
    "diabetes": _Effect(lvedv=0.95, lvm=1.03, heart_rate=4),
    "hypertrophic": _Effect(lvedv=0.9, lvef=6, lvm=1.7, la=1.25, septum=0.35),
    "dilated": _Effect(lvedv=1.6, lvef=-28, lvm=1.3, rvef=-10, la=1.3),
    "rv_overload": _Effect(lvedv=0.9, rvedv=1.4, rvef=-12, ra=1.4),
    "cancer": _Effect(lvm=0.95, heart_rate=4),
}


def sample_traits(
    rng: np.random.Generator,
    *,
    sex: Sex,
    age_years: float,
    height_cm: float,
    weight_kg: float,
    disease: Sequence[str] = (),
    severity: float = 1.0,
) -> HeartTraits:
    """Draw the heart of a person.

    Args:
        rng: source of all randomness.
        sex: "F" or "M".
        age_years: volumes fall 3 % and mass 1 % a decade from 55, atria grow 3 %.
        height_cm: with ``weight_kg`` sets the body surface area, to which the sizes are proportional.
        weight_kg: as above; it also determines the fat of the chest wall and around the heart.
        disease: names of :data:`DISEASES`.
        severity: 0 no effect, 1 the typical effect of each disease.

    Returns:
        Traits, each within the range of living hearts.

    Raises:
        ValueError: for an unknown sex or disease.

    Reference:
        Petersen 2017 and Kawel-Boehm 2020 as in ``_NORMS``; ageing after Petersen 2017, table 5.
    """
    if sex not in _NORMS:
        raise ValueError(f"sex must be one of {sorted(_NORMS)}, got {sex!r}")
    unknown = sorted(set(disease) - set(DISEASES))
    if unknown:
        raise ValueError(f"unknown diseases {unknown}; known are {sorted(DISEASES)}")
    healthy = _draw_healthy(rng, sex, age_years, height_cm, weight_kg)
    sick = healthy
    for name in disease:
        sick = _apply(sick, DISEASES[name], severity * rng.uniform(0.6, 1.4))
    return _finish(rng, sick)


def _draw_healthy(
    rng: np.random.Generator, sex: Sex, age_years: float, height_cm: float, weight_kg: float
) -> HeartTraits:
    norm, decades = _NORMS[sex], (age_years - 55) / 10
    size = body_surface_m2(height_cm, weight_kg) / norm.bsa_m2
    shared = rng.normal()  # big hearts are big throughout
    lvedv = _draw_size(rng, norm.lvedv_ml, size, shared, 0.85) * (1 - 0.03 * decades)
    lvef = rng.normal(*norm.lvef_pct)
    rvef = rng.normal(*norm.rvef_pct)
    stroke_ml = lvedv * lvef / 100 * rng.normal(1.0, 0.03)
    la_max = _draw_size(rng, norm.la_max_ml, size, shared, 0.4) * (1 + 0.03 * decades)
    ra_max = _draw_size(rng, norm.ra_max_ml, size, shared, 0.4)
    return HeartTraits(
        sex=sex,
        age_years=age_years,
        height_cm=height_cm,
        weight_kg=weight_kg,
        heart_rate_bpm=float(np.clip(rng.normal(63, 9), 42, 105)),
        lvedv_ml=lvedv,
        lvef_pct=lvef,
        lvm_g=_draw_size(rng, norm.lvm_g, size, shared, 0.7) * (1 - 0.01 * decades),
        rvedv_ml=stroke_ml / (rvef / 100),
        rvef_pct=rvef,
        la_max_ml=la_max,
        la_min_ml=la_max * (1 - float(np.clip(rng.normal(*norm.la_ef_pct), 30, 80)) / 100),
        ra_max_ml=ra_max,
        ra_min_ml=ra_max * (1 - float(np.clip(rng.normal(*norm.ra_ef_pct), 20, 70)) / 100),
        septal_thickness=rng.normal(1.12, 0.07),
        thickness_swirl_deg=rng.normal(0, 25),
        apical_thickness=rng.normal(0.85, 0.1),
        papillary_size=float(np.clip(rng.normal(0.20, 0.04), 0.10, 0.30)),
        trabeculation=float(np.clip(rng.normal(0.8, 0.25), 0.2, 1.6)),
        rv_swing_deg=rng.normal(0, 7),
        base_tilt=float(np.clip(rng.normal(0.17, 0.05), 0.05, 0.3)),
        axis_left_deg=rng.normal(0, 7),
        axis_down_deg=rng.normal(0, 9),
        roll_deg=rng.normal(0, 8),
        fatness=float(np.clip((weight_kg / (height_cm / 100) ** 2 - 17) / 20 + rng.normal(0, 0.1), 0.05, 1.2)),
        diastolic_fraction=float(np.clip(rng.normal(0.74 - 0.03 * decades, 0.05), 0.55, 0.88)),
    )


def _draw_size(
    rng: np.random.Generator, norm: tuple[float, float], size: float, shared: float, loading: float
) -> float:
    """Draw a size at this body surface area; the SD is reduced because body size explains part of it."""
    mean, sd = norm
    z = loading * shared + np.sqrt(1 - loading**2) * rng.normal()
    return float(mean * size * np.exp(0.8 * sd / mean * z))


def _apply(traits: HeartTraits, effect: _Effect, severity: float) -> HeartTraits:
    """Add a disease to a heart; ``severity`` acts on factors as a power and on points as a multiple."""

    def grow(value: float, factor: float) -> float:
        return value * float(factor**severity)

    lvef = float(np.clip(traits.lvef_pct + severity * effect.lvef, 12, 82))
    rvef = float(np.clip(traits.rvef_pct + severity * effect.rvef, 15, 75))
    lvedv = grow(traits.lvedv_ml, effect.lvedv)
    # No shunt: the right heart pumps what the left does.
    rvedv = traits.rvedv_ml * (lvedv * lvef / rvef) / (traits.lvedv_ml * traits.lvef_pct / traits.rvef_pct)
    la_max = grow(traits.la_max_ml, effect.la)
    la_ef = np.clip(100 * (1 - traits.la_min_ml / traits.la_max_ml) + severity * effect.la_ef, 12, 80)
    return replace(
        traits,
        lvedv_ml=lvedv,
        lvef_pct=lvef,
        lvm_g=grow(traits.lvm_g, effect.lvm),
        rvedv_ml=grow(rvedv, effect.rvedv),
        rvef_pct=rvef,
        la_max_ml=la_max,
        la_min_ml=la_max * (1 - float(la_ef) / 100),
        ra_max_ml=grow(traits.ra_max_ml, effect.ra),
        ra_min_ml=grow(traits.ra_min_ml, effect.ra),
        heart_rate_bpm=traits.heart_rate_bpm + severity * effect.heart_rate,
        infarct_depth=float(np.clip(traits.infarct_depth + severity * effect.infarct, 0, 0.65)),
        septal_thickness=traits.septal_thickness + severity * effect.septum,
    )


def _finish(rng: np.random.Generator, traits: HeartTraits) -> HeartTraits:
    """Limit the traits to plausible values, and draw length and motion relative to size and function."""
    lvedv = float(np.clip(traits.lvedv_ml, 55, 420))
    lvef = float(np.clip(traits.lvef_pct, 12, 82))
    rvef = float(np.clip(traits.rvef_pct, 15, 75))
    stroke_ml = lvedv * lvef / 100
    return replace(
        traits,
        lvedv_ml=lvedv,
        lvef_pct=lvef,
        lvm_g=float(np.clip(traits.lvm_g, 38, 330)),
        rvedv_ml=float(np.clip(traits.rvedv_ml, max(60.0, 1.15 * stroke_ml), 420)),
        rvef_pct=rvef,
        lv_slenderness=float(np.clip(rng.normal(1, 0.045), 0.85, 1.15)),
        mapse_vigour=float(rng.normal(1, 0.12)),
        tapse_vigour=float(rng.normal(1, 0.12)),
        torsion_vigour=float(rng.normal(1, 0.25)),
        infarct_angle_deg=float(rng.choice([-60.0, 20.0, 100.0, 170.0]) + rng.normal(0, 15)),
        rv_swing_deg=float(np.clip(traits.rv_swing_deg, -18, 18)),
    )
