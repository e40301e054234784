"""Perfusion: from the first-pass series of a study to its flow maps, AHA segments and numbers, in one file."""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from cmr_models.contracts import LABEL_NAMES, PERFUSION_ROLES, PERFUSION_STATES
from cmr_models.perfusion.chain import VERSION as CHAIN_VERSION
from cmr_models.perfusion.chain import measure, models
from cmr_models.perfusion.phenotypes import State, StateResult, phenotypes
from cmr_models.reasons import Missing, StudyRejected
from tasks.execution import shards
from tasks.execution.shards import Unit
from tasks.state import store
from tasks.state.ledger import Entry, Outcome, Status
from tasks.state.zarr_encoding import encode_tree

STAGE = "perfusion"
MODEL = "perfusion"
"""Folder of the published files beside those of the segmentation models."""

MENTION = '"perfusion_'
"""What stands in the summary of a converted study that has perfusion views."""

_DECIMALS = 5


def perfusion_units(studies: Mapping[str, Entry], with_series: Collection[str]) -> tuple[list[Unit], list[Outcome]]:
    """What there is to measure, and outcomes of studies without a first-pass series, which cost nothing.

    Args:
        studies: study -> how it stands at the convert stage; only "ok" is looked at.
        with_series: studies that have perfusion views.
    """
    converted = {study: entry for study, entry in sorted(studies.items()) if entry.status == "ok"}
    known = frozenset(with_series)
    units = [
        {"study": study, "key": perfusion_key(entry.key), "study_key": entry.key}
        for study, entry in converted.items()
        if study in known
    ]
    return units, [
        Outcome(study, STAGE, "absent", "no_perfusion", wanted=entry.key)
        for study, entry in converted.items()
        if study not in known
    ]


def perfusion_key(study_key: str) -> str:
    """Key of a perfusion file: of what, by which code and weights."""
    return store.digest({"study": study_key, "version": CHAIN_VERSION, "models": models()})


def perfusion_chunk(units: Sequence[Unit], cohort: str, settings: dict[str, Any]) -> list[Outcome]:
    """Outcomes of ``units``, with numbers and segments as their summaries: the work of one Dask task."""
    return [shards.attempt(_one, unit, cohort, settings, stage=STAGE) for unit in units]


def summary_of(tree: xr.DataTree) -> dict[str, Any]:
    """What the tables need of a published file."""
    found: dict[str, Any] = json.loads(tree.attrs["summary"])
    return found


def _one(unit: Unit, cohort: str, settings: dict[str, Any]) -> Outcome:
    places = store.Cohort(Path(cohort))
    path = places.prediction(MODEL, unit["study"])
    done = _done_before(path, unit)
    if done is not None:
        return done
    try:
        tree = _measured(perfusion_series(places.study(unit["study"]), unit["study_key"]), unit)
    except StudyRejected as rejected:
        outcome = shards.rejected_outcome(unit["study"], STAGE, rejected, key=unit["key"])
        store.publish_rejection(
            path, key=unit["key"], status=outcome.status, reason=outcome.reason, detail=outcome.detail
        )
        return outcome
    published = store.publish(encode_tree(tree), path)
    return Outcome(unit["study"], STAGE, "ok", key=unit["key"], summary={**summary_of(tree), **published._asdict()})


def _done_before(path: Path, unit: Unit) -> Outcome | None:
    if store.published_key(path) == unit["key"]:
        with store.open_tree(path) as tree:
            summary = {**summary_of(tree), **store.as_published(path)._asdict()}
        return Outcome(unit["study"], STAGE, "ok", key=unit["key"], summary=summary)
    receipt = store.rejection(path)
    if receipt is None or receipt["key"] != unit["key"]:
        return None
    status: Status = "absent" if receipt["status"] == "absent" else "quarantined"
    return Outcome(unit["study"], STAGE, status, receipt["reason"], receipt["detail"], unit["key"])


def perfusion_series(path: Path, study_key: str) -> dict[str, dict[str, xr.Dataset]]:
    """State -> role -> view, for the states that have a series of the myocardium or of the input."""
    if store.published_key(path) != study_key:
        raise StudyRejected("file_unreadable", "The study is not there as it was planned; run again.")
    try:
        with store.open_tree(path) as study:
            views = {name: node.to_dataset().load() for name, node in study.children.items() if _is_perfusion(name)}
    except zipfile.BadZipFile as error:
        raise StudyRejected("file_unreadable", "A member of the study is damaged.") from error
    states = {
        state: {role: views[name] for role in PERFUSION_ROLES if (name := f"perfusion_{state}{role}") in views}
        for state in PERFUSION_STATES
    }
    return {state: roles for state, roles in states.items() if roles}


def _is_perfusion(name: str) -> bool:
    return name.startswith("perfusion_")


def _measured(states: Mapping[str, Mapping[str, xr.Dataset]], unit: Unit) -> xr.DataTree:
    """The file of one study; a state that cannot be measured is left out of it with its reason."""
    maps: dict[str, xr.Dataset] = {}
    results: dict[Any, StateResult | Missing] = {}
    rejected: dict[str, StudyRejected] = {}
    for state, roles in states.items():
        try:
            measured = measure(roles)
        except StudyRejected as why:
            rejected[state], results[state] = why, Missing(why.reason)
            continue
        maps[state] = measured.maps
        results[state] = StateResult(measured.segments, measured.aif)
    if not maps:
        raise next(iter(rejected.values()))
    tree = xr.DataTree.from_dict({f"/perfusion_{state}": dataset for state, dataset in maps.items()})
    tree.attrs.update(
        key=unit["key"],
        study_key=unit["study_key"],
        model=MODEL,
        chain_version=CHAIN_VERSION,
        weights=models(),
        classes={str(code): LABEL_NAMES[code] for code in range(4)},
        summary=json.dumps(_summary(results, maps, rejected), sort_keys=True),
    )
    return tree


def _summary(
    results: Mapping[State, StateResult | Missing],
    maps: Mapping[str, xr.Dataset],
    rejected: Mapping[str, StudyRejected],
) -> dict[str, Any]:
    values = phenotypes(results)
    limits = {state: list(dataset.attrs["limitations"]) for state, dataset in maps.items()}
    return {
        "phenotypes": {name: round(v, _DECIMALS) for name, v in values.items() if not isinstance(v, Missing)},
        "missing": {name: v.reason for name, v in values.items() if isinstance(v, Missing)},
        "limitations": limits | {state: [why.reason] for state, why in rejected.items()},
        "segments": [row for state, found in results.items() for row in _segment_rows(state, found)],
    }


def _segment_rows(state: str, found: StateResult | Missing) -> list[dict[str, Any]]:
    if isinstance(found, Missing):
        return []
    return [
        {"state": state, "quantity": quantity, **{str(name): _plain(value) for name, value in row.items()}}
        for quantity, rows in found.segments.items()
        for row in rows[rows["pixels"] > 0].to_dict("records")
    ]


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return value
    if isinstance(value, int | np.integer):
        return int(value)
    return round(float(value), _DECIMALS) if math.isfinite(value) else None
