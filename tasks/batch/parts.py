"""Studies into shards: each with its files, with what the cohort knows of it, and with the body sizes of its people."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from cmr_models.contracts.identifiers import study_key
from tasks.batch.shard_plan import Part
from tasks.derive.derive_stage import BodySize
from tasks.execution.shards import Unit
from tasks.state.ledger import Ledger

_HEAD = "participant,visit,height_cm,weight_kg\n"


def parts_of(
    studies: Sequence[str], units: Mapping[str, Unit], ledger: Ledger, sizes: Mapping[str, BodySize], size: int
) -> list[Part]:
    """``studies`` in their order, ``size`` a shard.

    Args:
        studies: for which some stage has something to do.
        units: study -> its unit at the first stage, where that has something to do.
        ledger: of the cohort.
        sizes: of :func:`tasks.derive.derive_stage.read_body_sizes`.
        size: studies a shard.
    """
    shards = [studies[start : start + size] for start in range(0, len(studies), size)]
    return [
        Part(
            [units[study] for study in shard if study in units],
            [outcome for study in shard for outcome, _, _ in ledger.rows(study).values()],
            _table(shard, sizes),
        )
        for shard in shards
    ]


def _table(studies: Sequence[str], sizes: Mapping[str, BodySize]) -> str:
    rows = [_row(key, sizes[key]) for study in studies if (key := study_key(study)) in sizes]
    return _HEAD + "".join(rows) if rows else ""


def _row(key: str, size: BodySize) -> str:
    participant, _, visit = key.rpartition("-")
    return ",".join([participant, visit, *("" if math.isnan(value) else repr(value) for value in size)]) + "\n"
