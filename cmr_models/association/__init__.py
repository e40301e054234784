"""Disease against phenotype: one regression, scans of many phenotypes over many outcomes, multiplicity.

- ``fit_logistic``, ``fit_firth_logistic``: one outcome on its covariates; Firth's penalty where cases separate.
- ``scan``: every exposure against every outcome by score tests; ``refit_hits``: the pairs that matter fitted again. No
  command calls them: they are for scans of your own from Python, over a cluster by ``tasks.analysis.scan_shards``.
- ``federated_scan``, ``Site``: the same scan over sites that share sums, never rows.
- ``benjamini_hochberg``, ``step_up``, ``bonferroni``, ``effective_tests``, ``empirical_null``: what each test is worth
  among many; ``adjust`` adds it to the table of a scan.
- ``delong``: area under the ROC curve and the difference of two areas.
"""

from cmr_models.association.firth import FirthFit, fit_firth_logistic
from cmr_models.association.logistic import LogisticFit, fit_logistic
from cmr_models.association.multiplicity import (
    EffectiveTests,
    EmpiricalNull,
    adjust,
    benjamini_hochberg,
    bonferroni,
    effective_tests,
    empirical_null,
    step_up,
)
from cmr_models.association.refit import refit_hits
from cmr_models.association.roc_area import DeLong, delong
from cmr_models.association.score_scan import scan
from cmr_models.association.score_scan_federated import Site, federated_scan

__all__ = [
    "DeLong",
    "EffectiveTests",
    "EmpiricalNull",
    "FirthFit",
    "LogisticFit",
    "Site",
    "adjust",
    "benjamini_hochberg",
    "bonferroni",
    "delong",
    "effective_tests",
    "empirical_null",
    "federated_scan",
    "fit_firth_logistic",
    "fit_logistic",
    "refit_hits",
    "scan",
    "step_up",
]
