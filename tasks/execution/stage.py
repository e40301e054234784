"""A stage: what it makes of every study, how, and where the results lie.

A stage is one frozen :class:`Stage`; all of them stand in :data:`tasks.stages.STAGES`. Planning, the runs, ``status``,
``verify``, withdrawal and the report iterate over that tuple and know no stage by name. The rules that every stage
shares are here: when a study is done (:func:`done_before`), and how a result or a rejection is published
(:func:`publish_or_reject`).
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from cmr_models.reasons import TRANSIENT, StudyRejected
from tasks.execution import plan, shards
from tasks.execution.settings import Section
from tasks.execution.shards import Unit, Work
from tasks.state import store
from tasks.state.ledger import Entry, Ledger, Outcome, Status
from tasks.state.store import Cohort
from tasks.state.zarr_encoding import encode_tree

if TYPE_CHECKING:
    import xarray as xr

_FAMILY = " "  # stands between the name of a stage and that of one of its models


class NoSettings(Section):
    """A stage without settings."""


@dataclass(frozen=True)
class Planning:
    """What a stage may look at when it plans.

    Attributes:
        cohort: the cohort's folder.
        ledger: how every study stands.
        settings: of the stage, an instance of its settings model.
        sources: files and folders of the raw archive.
        withdrawn: list of participants who withdrew, if there is one.
        participants: the user's table of people, if there is one.
        participant_columns: our name -> the table's, where they differ.
        model: the model that the user named for segmentation; empty if none was named.
        whole_archive: whether ``sources`` are the whole archive, so that a study without source leaves the cohort.
    """

    cohort: Cohort
    ledger: Ledger
    settings: Any
    sources: Sequence[Path] = ()
    withdrawn: Path | None = None
    participants: Path | None = None
    participant_columns: Mapping[str, str] = field(default_factory=dict)
    model: str = ""
    whole_archive: bool = True


class Planned(NamedTuple):
    """What a stage should make.

    Attributes:
        units: one a study, each with ``study`` and ``key``: the key that the result must carry.
        settled: outcomes that need no work, such as that of a study without the modality.
        removed: study -> reason, of studies that leave the cohort, beside those that left at the stage before.
        notes: lines on what was not taken and who meets no row: counts without any identifier.
    """

    units: Sequence[Unit]
    settled: Sequence[Outcome] = ()
    removed: Mapping[str, str] = {}
    notes: Sequence[str] = ()


KeysOf = Callable[[Mapping[str, Any]], tuple[str, ...]]
"""Keys that a unit may carry."""


@dataclass(frozen=True)
class Recipe:
    """What of the keys of a stage is the same for all studies, so that a change of it can be told from one of a study.

    Attributes:
        of: as plain values, given what planning may look at. Names that begin with ``version`` are versions of the
            code, :data:`MODEL_PARTS` are networks, all others settings.
        keys: gives, by any recipe, the keys that a unit would carry: one of them is its own by the recipe of today.
    """

    of: Callable[[Stage, Planning], dict[str, Any]]
    keys: Callable[[Mapping[str, Any]], KeysOf]


MODEL_PARTS = ("model", "weights")
"""Parts of a recipe that say which network it is."""


@dataclass(frozen=True)
class StageTable:
    """Tables of a stage that are published together.

    Attributes:
        write: publishes them from the ledger.
        is_current: whether the published ones were made from the ledger as it is.
    """

    write: Callable[[Ledger, Cohort], object]
    is_current: Callable[[Ledger, Cohort], bool]


@dataclass(frozen=True)
class EntryPoint:
    """A function by its name, ``package.module:function``, that is imported when it is called.

    So the driver plans stages without loading their networks, and a worker gets a name and not an object.
    """

    name: str

    def __call__(self, units: Sequence[Unit], cohort: str, settings: dict[str, Any]) -> list[Outcome]:
        module, _, function = self.name.partition(":")
        outcomes: list[Outcome] = getattr(import_module(module), function)(units, cohort, settings)
        return outcomes


@dataclass(frozen=True)
class Stage:
    """One step over all studies.

    Attributes:
        name: in the ledger, in messages and as a section of ``cohort.toml``.
        title: as the cohort flow of the report shows the studies that went through.
        version: part of every key; raise it when the same input would give another result.
        work: ``work(units, cohort, settings) -> outcomes`` of a chunk of studies, for a Dask worker: an
            :class:`EntryPoint`, a module-level function, or a ``partial`` of one.
        upstream: the stage whose results it takes; None for the first.
        settings: the model of its settings.
        units: plans it; :func:`upstream_units` if None.
        recipe: of its keys; that of :func:`upstream_units` if None.
        summary: what the ledger keeps of a published file, for the tables.
        folders: name in the ledger -> folder of its published files, given the cohort and the segmentation model;
            empty where a stage publishes tables only.
        tables: its tables.
        optional: shown in the cohort flow only if some study went through.
        on_demand: not part of ``run``; its full name in the ledger has the model after ``name``.
    """

    name: str
    title: str
    version: int
    work: Work
    upstream: Stage | None = None
    settings: type[Section] = NoSettings
    units: Callable[[Stage, Planning], Planned] | None = None
    recipe: Recipe | None = None
    summary: Callable[[xr.DataTree], dict[str, Any]] = lambda _tree: {}
    folders: Callable[[Cohort, str], Mapping[str, Path]] = lambda _cohort, _model: {}
    tables: tuple[StageTable, ...] = ()
    optional: bool = False
    on_demand: bool = False

    @property
    def lineage(self) -> tuple[str, ...]:
        """Names of the stages from the first to this one."""
        return (*(self.upstream.lineage if self.upstream else ()), self.name)

    def owns(self, name: str) -> bool:
        """Whether ``name``, of a stage in the ledger, is this stage or, if it runs on demand, one of its models."""
        return name == self.name or (self.on_demand and name.startswith(self.name + _FAMILY))


@dataclass(frozen=True)
class StageWork:
    """A stage with all that it should make now; see :class:`Planned` for the parts.

    Attributes:
        missing: studies whose published file is not there although the ledger has it.
        recipe: gives that by which the units were planned; only what there is to do needs it.
    """

    stage: Stage
    settings: Mapping[str, Any]
    planned: Planned
    upstream: Mapping[str, Entry]
    missing: Collection[str] = frozenset()
    recipe: Callable[[], Mapping[str, Any]] = dict

    def waiting(self, ledger: Ledger) -> tuple[list[Unit], list[Outcome]]:
        """Units to work on, and outcomes to record without any work."""
        name, entries = self.stage.name, ledger.entries(self.stage.name)
        failed = plan.upstream_failures(name, self.upstream, entries)
        settled = plan.unrecorded(self.planned.settled, entries)
        left = [Outcome(study, name, "retired", reason) for study, reason in self.planned.removed.items()]
        return plan.units_to_do(self.planned.units, entries, self.missing), failed + settled + left

    def count(self, ledger: Ledger, cohort: Cohort) -> int:
        """How much there is to do; 0 if every study and table is current."""
        units, outcomes = self.waiting(ledger)
        return len(units) + len(outcomes) + (not self.tables_are_current(ledger, cohort))

    def tables_are_current(self, ledger: Ledger, cohort: Cohort) -> bool:
        """Whether the published tables were made from the ledger as it is."""
        return all(table.is_current(ledger, cohort) for table in self.stage.tables)

    def write_tables(self, ledger: Ledger, cohort: Cohort) -> None:
        """Publish the stage's tables from the ledger."""
        for table in self.stage.tables:
            table.write(ledger, cohort)

    def check_balance(self, ledger: Ledger) -> Mapping[str, Entry]:
        """How every study stands; see :func:`tasks.execution.plan.check_balance`."""
        entries = ledger.entries(self.stage.name)
        studies = {unit["study"] for unit in self.planned.units} | self.upstream.keys()
        plan.check_balance(self.stage.name, studies, entries)
        return entries


def plan_stage(stage: Stage, planning: Planning) -> StageWork:
    """What ``stage`` should make of every study, and of which studies it has nothing to make."""
    upstream = planning.ledger.entries(stage.upstream.name) if stage.upstream else {}
    planned = (stage.units or upstream_units)(stage, planning)
    entries = planning.ledger.entries(stage.name)
    retired = plan.retired_upstream(upstream, entries)
    planned = planned._replace(removed={**retired, **planned.removed})
    return StageWork(
        stage,
        planning.settings.model_dump(),
        planned,
        plan.present_studies(upstream),
        missing_files(stage, planning, entries),
        partial(recipe_of(stage).of, stage, planning),
    )


def missing_files(stage: Stage, planning: Planning, entries: Mapping[str, Entry]) -> frozenset[str]:
    """Studies that ended well at ``stage`` and whose published file is no longer there."""
    model = store.model_name(getattr(planning.settings, "model", planning.model))
    folder = None if stage.on_demand else stage.folders(planning.cohort, model).get(stage.name)
    if folder is None:
        return frozenset()
    ended_well = (study for study, entry in entries.items() if entry.status == "ok")
    return frozenset(study for study in ended_well if not os.path.exists(store.published_in(folder, study)))


def run_in_process(work: StageWork, ledger: Ledger, cohort: Cohort) -> None:
    """Bring every study through a stage in this process, without Prefect: the same units, work and tables as a flow."""
    units, outcomes = work.waiting(ledger)
    ledger.record(outcomes)
    ledger.record(work.stage.work(units, str(cohort.root), dict(work.settings)))
    work.check_balance(ledger)
    work.write_tables(ledger, cohort)


def recipe_of(stage: Stage) -> Recipe:
    """The recipe of a stage."""
    return stage.recipe or Recipe(_upstream_recipe, _upstream_keys)


def _upstream_recipe(stage: Stage, planning: Planning) -> dict[str, Any]:
    return {"version": stage.version, "stage": stage.name, "settings": planning.settings.model_dump(mode="json")}


def _upstream_keys(recipe: Mapping[str, Any]) -> KeysOf:
    keys = store.DigestTemplate([store.HOLE, recipe["stage"], recipe["version"], recipe["settings"]])
    return lambda unit: (keys.digest(unit["upstream_key"]),)


def upstream_units(stage: Stage, planning: Planning) -> Planned:
    """A unit for every study that the stage before brought through, with that study's key as ``upstream_key``."""
    recipe = _upstream_recipe(stage, planning)
    keys = _upstream_keys(recipe)
    units = [{"study": study, "upstream_key": entry.key} for study, entry in entries_ok(stage, planning.ledger).items()]
    return Planned([{**unit, "key": keys(unit)[0]} for unit in units])


def entries_ok(stage: Stage, ledger: Ledger) -> dict[str, Entry]:
    """Studies that the stage before brought through, in the order of their ids."""
    if stage.upstream is None:
        raise ValueError(f"stage {stage.name!r} has no stage before it; give it units of its own")
    entries = ledger.entries(stage.upstream.name)
    return {study: entry for study, entry in sorted(entries.items()) if entry.status == "ok"}


def each_study(
    one: shards.One, stage: str, units: Sequence[Unit], cohort: str, settings: dict[str, Any]
) -> list[Outcome]:
    """``one(unit, cohort, settings)`` for every study of a chunk, as the ``work`` of a stage."""
    return [shards.attempt(one, unit, cohort, settings, stage=stage) for unit in units]


def done_before(stage: Stage, study: str, path: Path, keys: Collection[str], name: str = "") -> Outcome | None:
    """The outcome of an earlier run, if its file or its receipt is there and carries one of ``keys``.

    Args:
        stage: whose result it is.
        study: study id.
        path: where the result is published.
        keys: what it may carry.
        name: of the stage in the ledger, if it is not ``stage.name``.
    """
    name, key = name or stage.name, store.published_key(path)
    if key is not None and key in keys:
        summary = _summary_of(stage, path)
        return None if summary is None else Outcome(study, name, "ok", key=key, summary=summary)
    receipt = store.rejection(path)
    if receipt is None or receipt["key"] not in keys or receipt["reason"] in TRANSIENT:
        return None
    return Outcome(study, name, receipt_status(receipt), receipt["reason"], receipt["detail"], receipt["key"])


def _summary_of(stage: Stage, path: Path) -> dict[str, Any] | None:
    """What the ledger keeps of a published file; None if it is damaged or breaks its contract, and is made again."""
    try:
        with store.reading_tree(path) as tree:
            return {**stage.summary(tree), **store.as_published(path)._asdict()}
    except zipfile.BadZipFile:
        return None
    except StudyRejected as rejected:
        if rejected.reason != "contract_broken":
            raise
        return None


def publish_or_reject(
    stage: Stage, unit: Mapping[str, Any], path: Path, make: Callable[[], xr.DataTree], name: str = ""
) -> Outcome:
    """Make the result of one study and publish it at ``path``, or a receipt beside it that says why there is none.

    Args:
        stage: whose result it is.
        unit: ``study`` and ``key``.
        path: where to publish.
        make: gives the tree, with its key among the attributes, or raises :class:`StudyRejected`.
        name: of the stage in the ledger, if it is not ``stage.name``.
    """
    try:
        return publish(stage, unit["study"], path, make(), name)
    except StudyRejected as rejected:
        return reject(unit, path, rejected, name or stage.name)


def publish(stage: Stage, study: str, path: Path, tree: xr.DataTree, name: str = "") -> Outcome:
    """Publish the result of one study at ``path``."""
    summary, key = stage.summary(tree), str(tree.attrs["key"])
    encoded = encode_tree(tree)
    del tree  # not held while the file is put together
    summary = {**summary, **store.publish(encoded, path)._asdict()}
    return Outcome(study, name or stage.name, "ok", key=key, summary=summary)


def reject(unit: Mapping[str, Any], path: Path, rejected: StudyRejected, name: str) -> Outcome:
    """The outcome of a rejection, its receipt published unless a later run may end otherwise."""
    outcome = shards.rejected_outcome(unit["study"], name, rejected, key=unit["key"])
    publish_receipt(outcome, path)
    return outcome


def publish_receipt(outcome: Outcome, path: Path) -> None:
    """Record beside ``path`` why there is no file; nothing for a transient reason, of which a new attempt is made."""
    if outcome.status != "ok" and outcome.reason not in TRANSIENT:
        store.publish_rejection(
            path, key=outcome.key, status=outcome.status, reason=outcome.reason, detail=outcome.detail
        )


def receipt_status(receipt: Mapping[str, str]) -> Status:
    """The status that a receipt stands for."""
    return "absent" if receipt["status"] == "absent" else "quarantined"
