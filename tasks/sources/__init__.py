"""What a source holds: zips, DICOM, NIfTI, public data sets; found, listed and read."""

from tasks.sources.listing import SourceUnit, inventory, safe_id

__all__ = [
    "SourceUnit",
    "inventory",
    "safe_id",
]
