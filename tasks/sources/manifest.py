"""The manifest of a UK Biobank zip, read only to be compared with what the zip holds.

It is often called ``manifest.cvs``, and its dates hold a comma that shifts the columns after them; so only the first
column, the file names, is looked at, and images are grouped by their headers alone.
"""

from __future__ import annotations

from collections.abc import Collection

_NAMES = ("manifest.csv", "manifest.cvs")


def is_manifest(name: str) -> bool:
    """Whether a member's name is that of a manifest."""
    return name.rsplit("/", 1)[-1].lower() in _NAMES


def disagrees(manifest: bytes, names: Collection[str]) -> bool:
    """Whether the manifest lists other files than ``names`` (DICOM members of the same zip)."""
    lines = manifest.decode("latin-1").splitlines()[1:]
    listed = {line.split(",", 1)[0].strip().strip('"') for line in lines}
    return {name for name in listed if name.lower().endswith(".dcm")} != set(names)
