"""Whether a folder is a cohort, and whether there is anything at the sources: looked at before anything is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tasks.sources.listing import archives_at, holds_a_scan, unpack_advice
from tasks.state.mistakes import UserMistake
from tasks.state.store import Cohort

_FILES = ("studies/??/??/*.zarr.zip", "studies/??/??/*.rejected.json")


def is_cohort(cohort: Cohort) -> bool:
    """Whether there is a ledger, studies of which a lost one can be rebuilt, or a table of phenotypes."""
    return (
        cohort.ledger.is_file()
        or (cohort.tables / "phenotypes.parquet").is_file()
        or any(True for pattern in _FILES for _ in cohort.root.glob(pattern))
    )


def check_cohort(cohort: Cohort) -> None:
    """A command on a cohort needs one; nothing is written into another folder.

    Raises:
        UserMistake: if the folder is no cohort.
    """
    check_folder(cohort)
    if not is_cohort(cohort):
        raise UserMistake(
            f"{cohort.root} is not a cohort (there is no ledger.sqlite); give --cohort the folder that"
            " `cmr-cohort convert` or `cmr-cohort run` has made"
        )


def check_folder(cohort: Cohort) -> None:
    """A cohort is a folder.

    Raises:
        UserMistake: if it is a file, or in a file.
    """
    for path in (cohort.root, *cohort.root.absolute().parents):
        if path.exists() and not path.is_dir():
            raise UserMistake(f"directory: {path} is a file; the cohort needs a folder of its own, give another path")


def check_sources(sources: Sequence[Path], cohort: Cohort) -> None:
    """There must be something to convert.

    Raises:
        UserMistake: if no source is named, or none holds a file that may be a scan.
    """
    if not sources:
        raise UserMistake(
            "sources: none is named; write the folders of your archive into the settings: sources = ['archive']"
        )
    if not any(holds_a_scan(source) for source in sources) and not is_cohort(cohort):
        packed = sum((Counter(archives_at(source)) for source in sources), Counter[str]())
        raise UserMistake(
            f"sources: there is no image in {', '.join(map(str, sources))};"
            f" {unpack_advice(packed) or 'give the folder of the DICOM files, zips or NIfTI'}"
        )
