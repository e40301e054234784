"""The convert stage: from the raw archive to one study file a visit."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.convert import reference_table, study_table
from tasks.convert.settings import ConvertSettings
from tasks.execution import plan
from tasks.execution.shards import Unit
from tasks.execution.stage import EntryPoint, KeysOf, Planned, Planning, Recipe, Stage, StageTable
from tasks.sources import Inventory, SourceUnit, inventory
from tasks.sources.listing import not_taken_line
from tasks.sources.withdrawn import has_withdrawn, listed_people, newly_withdrawn
from tasks.state import store
from tasks.state.ledger import Ledger

if TYPE_CHECKING:
    import xarray as xr

VERSION = 3
"""Raise when the same source would give another file: every study is then converted again."""

PERFUSION_VERSION = 1
"""The same for perfusion views; part of the key of studies that have some, so that no other study is done again."""

NIFTI_VERSION = 2
"""The same for NIfTI. All such sources are read again; only studies in whose header something was decided
(:data:`tasks.convert.nifti.HEADER_FLAGS`) get another key, so that later stages do not do the rest again."""

UNREAD = "series_perfusion"
"""Reason with which converters that could not read perfusion left such series out; today's uses other reasons."""


def study_key(source_digest: str, settings: ConvertSettings) -> str:
    """Key of a study: what it was made from, by which converter, with which settings."""
    return _study_keys(settings.that_decide(), VERSION).digest(source_digest)


def perfusion_key(key: str, version: int = PERFUSION_VERSION) -> str:
    """Key of a study with perfusion views, from its key without."""
    return store.digest({"study": key, "perfusion": version})


def nifti_key(key: str, version: int = NIFTI_VERSION) -> str:
    """Key of a source of NIfTI files, and of a study made of one whose header had to be decided on."""
    return store.digest({"study": key, "nifti": version})


def _study_keys(settings: Mapping[str, Any], version: int) -> store.DigestTemplate:
    return store.DigestTemplate({"source": store.HOLE, "converter": version, "settings": settings})


def recipe_of(_stage: Stage, planning: Planning) -> dict[str, Any]:
    """What of the planned keys is the same for all studies."""
    return _recipe(planning.settings)


def _recipe(settings: ConvertSettings) -> dict[str, Any]:
    return {
        "version": VERSION,
        "version_nifti": NIFTI_VERSION,
        "version_perfusion": PERFUSION_VERSION,
        "settings": settings.that_decide(),
    }


def planned_keys(recipe: Mapping[str, Any]) -> KeysOf:
    """Keys that planning would ask for by a recipe: without and with perfusion series that were once left out."""
    studies = _study_keys(recipe["settings"], recipe["version"])

    def keys(unit: Mapping[str, Any]) -> tuple[str, str]:
        key = studies.digest(unit["fingerprint"])
        key = nifti_key(key, recipe["version_nifti"]) if unit["kind"] == "nifti" else key
        return key, perfusion_key(key, recipe["version_perfusion"])

    return keys


def convert_units(stage: Stage, planning: Planning) -> Planned:
    """A unit for every study in the archive whose participant has not withdrawn.

    Raises:
        RuntimeError: if too many studies have lost their source.
    """
    settings: ConvertSettings = planning.settings
    ledger = planning.ledger
    known = ledger.sources_with_facts()
    found = inventory(planning.sources, known, settings.limits, follow_links=settings.follow_links)
    ledger.remember_sources(found.files, forget_others=planning.whole_archive, not_taken=found.left)
    withdrawn = listed_people(planning.cohort.root, planning.withdrawn)
    planned = planned_units(found.units, settings.model_dump(), unread_perfusion(ledger))
    units = [unit for unit in planned if not has_withdrawn(unit["participant"], withdrawn)]
    entries = ledger.entries(stage.name)
    removed = dict.fromkeys(newly_withdrawn(entries, withdrawn), "withdrawn")
    if planning.whole_archive:
        present = {study: entry for study, entry in entries.items() if study not in removed}
        vanished = plan.removed_studies(units, present)
        plan.check_removal(vanished, plan.present_studies(present), allowed=settings.removed_max)
        removed |= dict.fromkeys(vanished, "source_removed")
    return Planned(units, removed=removed, notes=_notes(found, planned, withdrawn))


def _notes(found: Inventory, planned: Sequence[Unit], withdrawn: frozenset[str]) -> list[str]:
    """What no row of a table says: files that no study has, studies of one day, people on the list of withdrawals."""
    notes = []
    if found.left:
        notes.append(not_taken_line(found.not_taken))
    if found.n_same_day:
        notes.append(f"{found.n_same_day} people have several studies of one day, each a visit of its own")
    if withdrawn:
        n = sum(has_withdrawn(unit["participant"], withdrawn) for unit in planned)
        notes.append(f"{n} studies in the sources are of people on the list of withdrawals")
    return notes


def planned_units(units: Iterable[SourceUnit], settings: Mapping[str, Any], unread: Collection[str] = ()) -> list[Unit]:
    """Units with the key that planning compares: these files, this converter, these settings.

    Files are identified by path, size and time, so that planning reads none of them; the key of the published study
    comes from their content (:func:`study_key`), so that a file that was only touched is read once and not converted
    again.

    Args:
        units: what the archive holds.
        settings: plain values of :class:`ConvertSettings`.
        unread: studies whose perfusion series an earlier converter left out; only these are converted again.
    """
    keys = planned_keys(_recipe(ConvertSettings(**settings)))
    return [{**unit, "key": keys(unit)[unit["study"] in unread]} for unit in units]


def unread_perfusion(ledger: Ledger) -> frozenset[str]:
    """Studies whose perfusion series an earlier converter left out, or that it rejected for having nothing else."""
    return frozenset(ledger.with_series_left_out(CONVERT.name, UNREAD))


def summary_of(study: xr.DataTree) -> dict[str, Any]:
    """Small plain values of a converted study for the tables: its views and what was left out."""
    views = {name: _view_summary(node.to_dataset()) for name, node in study.children.items()}
    lists = {name: list(study.attrs.get(name, [])) for name in ("excluded", "flags")}
    names = [name for name in ("facts", "reference_faults") if name in study.attrs]
    reference: dict[str, Any] = {name: study.attrs[name] for name in names}
    return {"source_digest": study.attrs["source_digest"], "views": views, **lists, **reference}


def _view_summary(view: xr.Dataset) -> dict[str, Any]:
    frames, slices, rows, cols = view["intensity"].shape
    return {
        "frames": frames,
        "slices": slices,
        "rows": rows,
        "cols": cols,
        "pixel_mm": [round(float(mm), 5) for mm in view["pixel_mm"].values],
        "slice_mm": _plain(view.attrs["slice_mm"]),
        "thickness_mm": _plain(view.attrs["thickness_mm"]),
        "heart_rate_bpm": _plain(view.attrs["heart_rate_bpm"]),
        "frames_missing": int((~view["frame_valid"].values.astype(bool)).sum()),
        "flags": list(view.attrs.get("flags", [])),
        **_reference_summary(view),
    }


def _reference_summary(view: xr.Dataset) -> dict[str, Any]:
    """In which frames people drew, if they did."""
    found: dict[str, Any] = {}
    if "labelled" in view:
        found["labelled_frames"] = np.flatnonzero(view["labelled"].values).tolist()
    if "landmark_px" in view:
        found["marked_frames"] = np.flatnonzero(np.isfinite(view["landmark_px"].values).all(axis=(1, 2))).tolist()
    return found


def _plain(value: float) -> float | None:
    return round(float(value), 4) if math.isfinite(value) else None


def _study_folder(cohort: store.Cohort, _model: str) -> Mapping[str, Any]:
    return {CONVERT.name: cohort.root / "studies"}


CONVERT = Stage(
    name="convert",
    title="Converted from the archive",
    version=VERSION,
    work=EntryPoint("tasks.convert.conversion:convert_shard"),
    settings=ConvertSettings,
    units=convert_units,
    recipe=Recipe(recipe_of, planned_keys),
    summary=summary_of,
    folders=_study_folder,
    tables=(
        StageTable(study_table.write_study_table, study_table.is_current),
        StageTable(reference_table.write_reference_table, reference_table.is_current),
    ),
)
