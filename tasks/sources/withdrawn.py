"""The list of participants who withdrew, and whose studies these are."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

from tasks.sources.listing import safe_id
from tasks.state.ledger import Entry

_DISAMBIGUATED: Final = re.compile(r"(?P<participant>.+)\.[0-9a-f]{8}")


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
    disambiguated = _DISAMBIGUATED.fullmatch(participant)
    return participant in withdrawn or (disambiguated is not None and disambiguated["participant"] in withdrawn)


def newly_withdrawn(entries: Mapping[str, Entry], withdrawn: Collection[str]) -> list[str]:
    """Studies of people on the list, also those whose source vanished before, until they are retired as withdrawn.

    Args:
        entries: study -> how it stands at the convert stage.
        withdrawn: of :func:`read_withdrawn`.
    """
    return [
        study
        for study, entry in entries.items()
        if (entry.status, entry.reason) != ("retired", "withdrawn")
        and has_withdrawn(study.rpartition("-")[0], withdrawn)
    ]
