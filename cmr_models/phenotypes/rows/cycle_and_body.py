"""Rows of the heart cycle and of body size: what later rows of every organ need."""

from __future__ import annotations

from cmr_models.phenotypes.body_size import body_surface_m2
from cmr_models.phenotypes.phenotype import Phenotype, Value
from cmr_models.phenotypes.rows.arithmetic import keep
from cmr_models.reasons import Missing

_INLINE = "UK Biobank category 133"


def _body_surface(height_cm: float, weight_kg: float) -> Value:
    if not (100 <= height_cm <= 250 and 25 <= weight_kg <= 350):
        return Missing("body_size_implausible")
    return float(body_surface_m2(height_cm, weight_kg))


CYCLE_AND_BODY: tuple[Phenotype, ...] = (
    Phenotype(
        "ed_frame", "frame",
        "End-diastole: frame (from 0) of the largest LV volume near the start or end of the cine",
        ("cycle_ed",), keep, (0, 999), integer=True,
    ),
    Phenotype(
        "es_frame", "frame", "End-systole: frame (from 0) of the smallest LV volume",
        ("cycle_es",), keep, (0, 999), integer=True,
    ),
    Phenotype(
        "heart_rate_bpm", "1/min", "Heart rate during the short-axis cine",
        ("scan_heart_rate_bpm",), keep, (30, 150), 22426, _INLINE,
    ),
    Phenotype("height_cm", "cm", "Standing height", ("body_height_cm",), keep, (100, 250), 50),
    Phenotype("weight_kg", "kg", "Weight", ("body_weight_kg",), keep, (25, 350), 21002),
    Phenotype(
        "bsa_m2", "m²", "Body surface area, 0.007184 x weight^0.425 x height^0.725",
        ("height_cm", "weight_kg"), _body_surface, (0.8, 4.0), 22427, "Du Bois and Du Bois 1916",
    ),
)  # fmt: skip
