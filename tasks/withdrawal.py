"""Participants who withdrew: everything of theirs is deleted, and a receipt without identifiers of images is kept."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Final

from tasks.sources import safe_id
from tasks.store import Cohort, damaged_path, receipt_path

_TOLD_APART: Final = re.compile(r"(?P<participant>.+)\.[0-9a-f]{8}")


def read_withdrawn(path: Path) -> frozenset[str]:
    """Participant ids, one a line, as UK Biobank sends them; further columns and blank lines are ignored.

    Ids that cannot be part of a file name are there also as studies write them (:func:`tasks.sources.safe_id`).

    Raises:
        FileNotFoundError: if the list is not there: going on without it would keep what must go.
    """
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    listed = {line.split(",")[0].strip().strip('"') for line in lines if line.strip()}
    return frozenset(listed | {safe_id(name) for name in listed})


def has_withdrawn(participant: str, withdrawn: Collection[str]) -> bool:
    """Whether a participant, as studies name them, is on the list.

    Where two places name the same person, studies have a digest of the place added to the name.

    Args:
        participant: of a study.
        withdrawn: of :func:`read_withdrawn`.
    """
    told_apart = _TOLD_APART.fullmatch(participant)
    return participant in withdrawn or (told_apart is not None and told_apart["participant"] in withdrawn)


def delete_files(cohort: Cohort, studies: Iterable[str]) -> None:
    """Remove the published files, receipts and pages of ``studies``, of every model."""
    folder = cohort.root / "predictions"
    models = [model.name for model in sorted(folder.iterdir())] if folder.is_dir() else []
    for study in studies:
        for path in (cohort.study(study), *(cohort.prediction(model, study) for model in models)):
            path.unlink(missing_ok=True)
            receipt_path(path).unlink(missing_ok=True)
            damaged_path(path).unlink(missing_ok=True)
