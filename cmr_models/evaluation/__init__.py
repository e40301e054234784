"""Measures of networks against a reference: pure functions of arrays, missing stays missing."""

from cmr_models.evaluation.agreement import (
    Estimate,
    bootstrapped,
    coefficient_of_variation_pct,
    landmark_distance_mm,
    mean_absolute_error,
    mean_error,
    resampled,
    root_mean_square_error,
)
from cmr_models.evaluation.overlap import dice, hausdorff_95_mm, intersection_over_union

__all__ = [
    "Estimate",
    "bootstrapped",
    "coefficient_of_variation_pct",
    "dice",
    "hausdorff_95_mm",
    "intersection_over_union",
    "landmark_distance_mm",
    "mean_absolute_error",
    "mean_error",
    "resampled",
    "root_mean_square_error",
]
