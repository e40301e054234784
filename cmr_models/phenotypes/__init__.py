"""Image phenotypes: from one study's labels to its table of numbers.

:mod:`~cmr_models.phenotypes.study`: ``derive``, from labels to phenotypes; ``measure``, what they start from.
:mod:`~cmr_models.phenotypes.measurements`: the declared names of those measurements.
:mod:`~cmr_models.phenotypes.table`: ``PHENOTYPES``, ``evaluate``, ``dictionary``; the rows lie in ``rows``, by organ.
:mod:`~cmr_models.phenotypes.phenotype`: ``Phenotype``, the type of a row.
:mod:`~cmr_models.phenotypes.volumes`, :mod:`~cmr_models.phenotypes.cardiac_cycle`,
:mod:`~cmr_models.phenotypes.long_axis_function`, :mod:`~cmr_models.phenotypes.body_size`: how they are measured.
:mod:`~cmr_models.phenotypes.quality`: the rules that a study must satisfy.
:mod:`~cmr_models.phenotypes.states`: passed, doubted, set aside, absent.
:mod:`~cmr_models.phenotypes.reference_ranges`: published ranges of healthy people.
"""

from cmr_models.phenotypes.phenotype import Phenotype, Value
from cmr_models.phenotypes.rows.ventricles import MYOCARDIAL_DENSITY_G_ML
from cmr_models.phenotypes.study import Derived, derive, measure
from cmr_models.phenotypes.table import PHENOTYPES, dictionary, evaluate

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
