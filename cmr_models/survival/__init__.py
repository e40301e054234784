"""Time to event: regression, discrimination and curves."""

from cmr_models.survival.cox import CoxFit, fit_cox
from cmr_models.survival.discrimination import Concordance, concordance
from cmr_models.survival.kaplan_meier import KaplanMeier, kaplan_meier

__all__ = ["Concordance", "CoxFit", "KaplanMeier", "concordance", "fit_cox", "kaplan_meier"]
