"""Risk prediction models: who will have the event, how well that is predicted, what each set of predictors adds.

- ``LEARNERS``, ``Learner``: ways to fit a model; ``person_folds``, ``group_folds``: who is tested by whom.
- ``validate_nested``, ``validation_rows``: sets of predictors, each added to the last, tested on people left out.
- ``bootstrap_optimism``: how much better a model looks on its own people, by Harrell's bootstrap (from Python only).
- ``calibration``, ``d_calibration``, ``decision_curve``, ``time_auc``: measures of one model at a horizon.
- ``compare_concordance``, ``compare_auc``, ``compare_brier``: two models on the same people.
"""

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
