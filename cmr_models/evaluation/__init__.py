"""How well the outputs of networks agree with a reference: functions of arrays, in which missing values stay missing.

``overlap`` compares labels (Dice, Hausdorff distance), ``agreement`` numbers (errors with bootstrap intervals),
``classes`` predicted classes. ``cases`` measures one study, ``summary`` many studies, overall and by group.
``two_models`` compares the labels of two models for one study.
``reference_codes`` translates the label codes of public data sets.
"""

from cmr_models.evaluation.agreement import (
    BlandAltman,
    Estimate,
    bootstrapped,
    coefficient_of_variation_pct,
    landmark_distance_mm,
    limits_of_agreement,
    mean_absolute_error,
    mean_error,
    resampled,
    root_mean_square_error,
)
from cmr_models.evaluation.overlap import dice, hausdorff_95_mm, intersection_over_union

__all__ = [
    "BlandAltman",
    "Estimate",
    "bootstrapped",
    "coefficient_of_variation_pct",
    "dice",
    "hausdorff_95_mm",
    "intersection_over_union",
    "landmark_distance_mm",
    "limits_of_agreement",
    "mean_absolute_error",
    "mean_error",
    "resampled",
    "root_mean_square_error",
]
