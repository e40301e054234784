"""Disease against phenotype: logistic regression, scans of many phenotypes, multiplicity."""

from cmr_models.association.firth import FirthFit, fit_firth_logistic
from cmr_models.association.logistic import LogisticFit, fit_logistic
from cmr_models.association.multiplicity import benjamini_hochberg
from cmr_models.association.refit import refit_hits
from cmr_models.association.roc_area import DeLong, delong
from cmr_models.association.score_scan import scan

__all__ = [
    "DeLong",
    "FirthFit",
    "LogisticFit",
    "benjamini_hochberg",
    "delong",
    "fit_firth_logistic",
    "fit_logistic",
    "refit_hits",
    "scan",
]
