"""Predicting who will have the event: models, validation and what each set of predictors adds."""

from cmr_models.prediction.calibration_curve import Calibration, calibration, d_calibration
from cmr_models.prediction.compare import Comparison, compare_auc, compare_brier, compare_concordance
from cmr_models.prediction.decision import decision_curve
from cmr_models.prediction.dynamic_auc import TimeAuc, time_auc
from cmr_models.prediction.folds import group_folds, person_folds
from cmr_models.prediction.learners import LEARNERS, Learner
from cmr_models.prediction.nested import Validated, validate_nested, validation_rows
from cmr_models.prediction.optimism import Optimism, bootstrap_optimism

__all__ = [
    "LEARNERS",
    "Calibration",
    "Comparison",
    "Learner",
    "Optimism",
    "TimeAuc",
    "Validated",
    "bootstrap_optimism",
    "calibration",
    "compare_auc",
    "compare_brier",
    "compare_concordance",
    "d_calibration",
    "decision_curve",
    "group_folds",
    "person_folds",
    "time_auc",
    "validate_nested",
    "validation_rows",
]
