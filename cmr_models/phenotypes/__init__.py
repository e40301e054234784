"""Image phenotypes: measurements of a study, and the table of numbers made from them."""

from cmr_models.phenotypes.study import Derived, derive, measure
from cmr_models.phenotypes.table import MYOCARDIAL_DENSITY_G_ML, PHENOTYPES, Phenotype, Value, dictionary, evaluate

__all__ = [
    "MYOCARDIAL_DENSITY_G_ML",
    "PHENOTYPES",
    "Derived",
    "Phenotype",
    "Value",
    "derive",
    "dictionary",
    "evaluate",
    "measure",
]
