"""Time to event: regression, discrimination and curves.

- ``fit_cox``: Cox regression with delayed entry; on it ``baseline_hazard``, ``predict_survival``, ``predict_risk``,
  ``check_proportional_hazards``, ``fit_spline``, ``fit_interaction``; ``ridge_path``, ``lasso_path`` with a penalty.
- ``fit_fine_gray``, ``fit_cause_pair``, ``cumulative_incidence``, ``gray_test``: competing causes.
- ``kaplan_meier``, ``log_rank``, ``restricted_mean``, ``restricted_mean_difference``: curves and their comparison.
- ``concordance``, ``brier``: how well a score or a risk predicts.
- ``fit_federated_cox``, ``CoxSite``: the Cox model over sites that share sums, never rows.
"""

from cmr_models.survival.aalen_johansen import CumulativeIncidence, cumulative_incidence
from cmr_models.survival.baseline import baseline_hazard, linear_predictor, predict_risk, predict_survival
from cmr_models.survival.brier_score import BrierScore, brier
from cmr_models.survival.cause_pair import CausePair, fit_cause_pair
from cmr_models.survival.cox import CoxFit, fit_cox
from cmr_models.survival.discrimination import Concordance, concordance
from cmr_models.survival.federated import CoxSite, FederatedCox, fit_federated_cox
from cmr_models.survival.fine_gray import FineGrayFit, fit_fine_gray
from cmr_models.survival.gray import CurveTest, gray_test
from cmr_models.survival.interaction import Interaction, fit_interaction
from cmr_models.survival.log_rank_test import log_rank
from cmr_models.survival.penalised import Path, lasso_path, ridge_path
from cmr_models.survival.product_limit import KaplanMeier, kaplan_meier
from cmr_models.survival.proportional_hazards import check_proportional_hazards
from cmr_models.survival.restricted_mean_time import (
    RestrictedMean,
    RestrictedMeanDifference,
    restricted_mean,
    restricted_mean_difference,
)
from cmr_models.survival.splines import Bend, default_knots, fit_spline, restricted_cubic

__all__ = [
    "Bend",
    "BrierScore",
    "CausePair",
    "Concordance",
    "CoxFit",
    "CoxSite",
    "CumulativeIncidence",
    "CurveTest",
    "FederatedCox",
    "FineGrayFit",
    "Interaction",
    "KaplanMeier",
    "Path",
    "RestrictedMean",
    "RestrictedMeanDifference",
    "baseline_hazard",
    "brier",
    "check_proportional_hazards",
    "concordance",
    "cumulative_incidence",
    "default_knots",
    "fit_cause_pair",
    "fit_cox",
    "fit_federated_cox",
    "fit_fine_gray",
    "fit_interaction",
    "fit_spline",
    "gray_test",
    "kaplan_meier",
    "lasso_path",
    "linear_predictor",
    "log_rank",
    "predict_risk",
    "predict_survival",
    "restricted_cubic",
    "restricted_mean",
    "restricted_mean_difference",
    "ridge_path",
]
