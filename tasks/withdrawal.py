"""Participants who withdrew: everything of theirs is deleted, and a receipt without identifiers of images is kept."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tasks.store import Cohort, damaged_path, receipt_path


def read_withdrawn(path: Path) -> frozenset[str]:
    """Participant ids, one a line, as UK Biobank sends them; further columns and blank lines are ignored.

    Raises:
        FileNotFoundError: if the list is not there: going on without it would keep what must go.
    """
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    return frozenset(line.split(",")[0].strip().strip('"') for line in lines if line.strip())


def delete_files(cohort: Cohort, studies: Iterable[str]) -> None:
    """Remove the published files, receipts and pages of ``studies``, of every model."""
    folder = cohort.root / "predictions"
    models = [model.name for model in sorted(folder.iterdir())] if folder.is_dir() else []
    for study in studies:
        for path in (cohort.study(study), *(cohort.prediction(model, study) for model in models)):
            path.unlink(missing_ok=True)
            receipt_path(path).unlink(missing_ok=True)
            damaged_path(path).unlink(missing_ok=True)
