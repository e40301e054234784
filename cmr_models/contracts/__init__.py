"""The contracts between the stages: what every published file and table holds, as rows that are checked.

Files: :mod:`~cmr_models.contracts.studies` (``STUDY``, ``cine_view``, ``cine_study``) and
:mod:`~cmr_models.contracts.predictions` (``SEGMENTATION``, ``OUTPUT``, ``PERFUSION``, ``prediction``);
all are in :mod:`~cmr_models.contracts.files` (``FILES``).
Tables: :mod:`~cmr_models.contracts.tables` (estimates, predictions; others are where they are written).
:mod:`~cmr_models.contracts.rows`: the types of rows. :mod:`~cmr_models.contracts.checks`: the checks.
:mod:`~cmr_models.contracts.labels`: codes of structures. :mod:`~cmr_models.contracts.conditions`: outcomes.

Positions and directions are in the DICOM patient system (LPS, mm); images are ``(frame, slice, row, col)``.
"""

from cmr_models.contracts.conditions import CONDITIONS, DEATH
from cmr_models.contracts.files import FILES, check_published, check_readable
from cmr_models.contracts.labels import (
    AORTA_ASCENDING,
    AORTA_DESCENDING,
    BACKGROUND,
    EDEMA,
    LA,
    LABEL_NAMES,
    LV,
    MYOCARDIUM,
    NO_REFLOW,
    RA,
    RV,
    SCAR,
    SLICE_ANSWERS,
    TISSUE_NAMES,
    VENTRICLES,
    VIEW_LABELS,
)
from cmr_models.contracts.predictions import OUTPUT, PERFUSION, SEGMENTATION, prediction
from cmr_models.contracts.rows import (
    ArraySpec,
    AttributeSpec,
    ColumnSpec,
    ContractError,
    FileSpec,
    NewerSchemaError,
    TableSpec,
)
from cmr_models.contracts.studies import (
    PERFUSION_ROLES,
    PERFUSION_STATES,
    PERFUSION_VIEWS,
    REFERENCE_VARIABLES,
    STUDY,
    VIEWS,
    check_view,
    cine_study,
    cine_view,
    with_reference,
)

__all__ = [
    "AORTA_ASCENDING",
    "AORTA_DESCENDING",
    "BACKGROUND",
    "CONDITIONS",
    "DEATH",
    "EDEMA",
    "FILES",
    "LA",
    "LABEL_NAMES",
    "LV",
    "MYOCARDIUM",
    "NO_REFLOW",
    "OUTPUT",
    "PERFUSION",
    "PERFUSION_ROLES",
    "PERFUSION_STATES",
    "PERFUSION_VIEWS",
    "RA",
    "REFERENCE_VARIABLES",
    "RV",
    "SCAR",
    "SEGMENTATION",
    "SLICE_ANSWERS",
    "STUDY",
    "TISSUE_NAMES",
    "VENTRICLES",
    "VIEWS",
    "VIEW_LABELS",
    "ArraySpec",
    "AttributeSpec",
    "ColumnSpec",
    "ContractError",
    "FileSpec",
    "NewerSchemaError",
    "TableSpec",
    "check_published",
    "check_readable",
    "check_view",
    "cine_study",
    "cine_view",
    "prediction",
    "with_reference",
]
