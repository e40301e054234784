"""From the first-pass series of one study to its flow maps, AHA segments and numbers, in one file."""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from cmr_models.contracts import LABEL_NAMES, PERFUSION_ROLES, PERFUSION_STATES
from cmr_models.perfusion.chain import measure, models
from cmr_models.perfusion.phenotypes import State, StateResult, phenotypes
from cmr_models.reasons import Missing, StudyRejected
from tasks.derive.perfusion_stage import MODEL, PERFUSION, VIEW_PREFIX
from tasks.execution.shards import Unit
from tasks.execution.stage import done_before, each_study, publish_or_reject
from tasks.state import store
from tasks.state.ledger import Outcome

_DECIMALS = 5


def perfusion_chunk(units: Sequence[Unit], cohort: str, settings: dict[str, Any]) -> list[Outcome]:
    """Outcomes of ``units``, with numbers and segments as their summaries: the work of one Dask task."""
    return each_study(measure_study, PERFUSION.name, units, cohort, settings)


def measure_study(unit: Unit, cohort: str, settings: dict[str, Any]) -> Outcome:
    """One study: its flow maps and numbers published with the right key, or a receipt that says why not."""
    places = store.Cohort(Path(cohort))
    path = places.prediction(MODEL, unit["study"])
    done = done_before(PERFUSION, unit["study"], path, (unit["key"],))
    if done is not None:
        return done
    study_path = places.study(unit["study"])
    return publish_or_reject(
        PERFUSION, unit, path, lambda: _measure_states(perfusion_series(study_path, unit["study_key"]), unit)
    )


def perfusion_series(path: Path, study_key: str) -> dict[str, dict[str, xr.Dataset]]:
    """State -> role -> view, for the states that have a series of the myocardium or of the input."""
    if store.published_key(path) != study_key:
        raise StudyRejected("file_unreadable", "The study file has changed since planning; run again.")
    try:
        with store.reading_tree(path) as study:
            views = {name: node.to_dataset().load() for name, node in study.children.items() if _is_perfusion(name)}
    except zipfile.BadZipFile as error:
        raise StudyRejected("file_unreadable", "A member of the study is damaged.") from error
    states = {
        state: {role: views[name] for role in PERFUSION_ROLES if (name := f"perfusion_{state}{role}") in views}
        for state in PERFUSION_STATES
    }
    return {state: roles for state, roles in states.items() if roles}


def _is_perfusion(name: str) -> bool:
    return name.startswith(VIEW_PREFIX)


def _measure_states(states: Mapping[str, Mapping[str, xr.Dataset]], unit: Unit) -> xr.DataTree:
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
        chain_version=PERFUSION.version,
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
