"""When visits of one person began, by the headers of their images: it orders visits whose time no table tells.

These times stay within the process: no table, page or study file holds them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import pandas as pd

from cmr_models.contracts.identifiers import short_digest
from tasks.state.ledger import open_ledger
from tasks.state.store import Cohort

_SECONDS = len("YYYYMMDDhhmmss")


def earliest(times: Iterable[str]) -> str:
    """The earliest of times ``YYYYMMDDhhmmss``; of days alone (``YYYYMMDD``) only where there is no other."""
    return min(times, key=lambda time: (len(time) < _SECONDS, time))


def visit_times(cohort: Cohort, studies: pd.DataFrame) -> dict[str, str]:
    """Study -> when its first image was acquired (``YYYYMMDDhhmmss`` or ``YYYYMMDD``), of people with several studies.

    Args:
        cohort: whose ledger holds what the headers of the sources say.
        studies: ``study, participant, visit``.
    """
    repeated = studies[studies.duplicated("participant", keep=False)]
    if repeated.empty or not cohort.ledger.is_file():
        return {}
    visits = set(repeated["visit"])
    found: dict[str, list[str]] = defaultdict(list)
    with open_ledger(cohort.ledger, is_new=False) as ledger:
        for facts in ledger.source_facts():
            for uid, time in facts.get("begun", {}).items():
                if (visit := short_digest(uid)) in visits:
                    found[visit].append(time)
    pairs = zip(repeated["study"], repeated["visit"], strict=True)
    return {study: earliest(found[visit]) for study, visit in pairs if visit in found}


def with_visit_times(studies: pd.DataFrame, cohort: Cohort) -> pd.DataFrame:
    """``studies`` with the column ``acquired``, if headers tell when any of a person's several began."""
    times = visit_times(cohort, studies)
    return studies.assign(acquired=studies["study"].map(times)) if times else studies
