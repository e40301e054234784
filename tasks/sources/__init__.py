"""What an archive holds: files found, grouped into studies, and read.

:mod:`~tasks.sources.listing`: ``inventory``, from files and folders to studies.
:mod:`~tasks.sources.archive`: zips, within limits. :mod:`~tasks.sources.manifest`: the manifests of UK Biobank.
:mod:`~tasks.sources.dicom`: DICOM headers and pixels. :mod:`~tasks.sources.nifti_names`: names of NIfTI files.
:mod:`~tasks.sources.public_layouts`, :mod:`~tasks.sources.public_facts`: files and tables of public data sets.
"""

from cmr_models.contracts.identifiers import safe_id
from tasks.sources.listing import Inventory, SourceUnit, inventory

__all__ = [
    "Inventory",
    "SourceUnit",
    "inventory",
    "safe_id",
]
