"""Time to event: regression, discrimination and curves."""

from cmr_models.survival.baseline import baseline_hazard, predict_survival
from cmr_models.survival.brier_score import BrierScore, brier
from cmr_models.survival.cox import CoxFit, fit_cox
from cmr_models.survival.cumulative_incidence import CumulativeIncidence, cumulative_incidence
from cmr_models.survival.discrimination import Concordance, concordance
from cmr_models.survival.fine_gray import FineGrayFit, fit_fine_gray
from cmr_models.survival.gray import CurveTest, gray_test
from cmr_models.survival.kaplan_meier import KaplanMeier, kaplan_meier
from cmr_models.survival.log_rank import log_rank
from cmr_models.survival.proportional_hazards import check_proportional_hazards

__all__ = [
    "BrierScore",
    "Concordance",
    "CoxFit",
    "CumulativeIncidence",
    "CurveTest",
    "FineGrayFit",
    "KaplanMeier",
    "baseline_hazard",
    "brier",
    "check_proportional_hazards",
    "concordance",
    "cumulative_incidence",
    "fit_cox",
    "fit_fine_gray",
    "gray_test",
    "kaplan_meier",
    "log_rank",
    "predict_survival",
]
