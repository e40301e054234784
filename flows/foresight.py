"""What a run would do, and why, without doing it; and what it would take, from what the cohort has measured.

Stages are planned one after the other, as a run does. What a stage will have to do because the stage before will make
something is foreseen: at most so many, as a study may come out as it was, or not come through.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows import planning
from flows.settings import CohortSettings
from tasks.execution.causes import KINDS, SAME_AGAIN, Cause, causes
from tasks.execution.forecast import StageForecast, forecast, share_passing, total
from tasks.execution.stage import StageWork
from tasks.execution.stopwatch import workers_of
from tasks.stages import FIRST, STAGES
from tasks.state.ledger import Entry, Ledger, LookedAt, open_ledger, path_digest
from tasks.state.mistakes import UserMistake

_PILOT = (
    "take a pilot: `cmr-cohort shard plan DIR --size 20` and `cmr-cohort shard run DIR --index 0` bring 20 studies"
    " through, and `cmr-cohort plan` then foretells the others"
)


@dataclass(frozen=True)
class StageView:
    """What one stage would have to do.

    Attributes:
        work: its plan.
        entries: study -> how it stands at the stage.
        waiting: study -> why it is to be worked on.
        foreseen: the same, of studies that wait for the stage before.
        without_work: how many outcomes are recorded without any work.
        writes_tables: whether its tables are not current.
    """

    work: StageWork
    entries: Mapping[str, Entry]
    waiting: Mapping[str, Cause]
    foreseen: Mapping[str, Cause]
    without_work: int
    writes_tables: bool

    @property
    def to_do(self) -> dict[str, Cause]:
        """Study -> why, of all that will be worked on as far as can be foreseen."""
        return {**self.foreseen, **self.waiting}

    def why(self) -> dict[str, int]:
        """Kind of the cause -> number of studies, in the order of :data:`tasks.execution.causes.KINDS`."""
        counts = Counter(cause.kind for cause in self.to_do.values())
        return {kind: counts[kind] for kind in KINDS if counts[kind]}


@dataclass(frozen=True)
class Foresight:
    """What a run would do: the stages, then the tables and pages by name, with whether they would be made."""

    settings: CohortSettings
    stages: Sequence[StageView]
    made: Mapping[str, bool]
    forecasts: Sequence[StageForecast]
    not_measured: Sequence[str]

    @property
    def is_nothing(self) -> bool:
        """Whether a run would find nothing to do."""
        todo = any(view.to_do or view.without_work or view.writes_tables for view in self.stages)
        return not todo and not any(self.made.values())


def foresee(settings: CohortSettings, measured: Path | None = None) -> Foresight:
    """What ``run`` would do with these settings; nothing is done.

    Args:
        settings: of the cohort.
        measured: folder of another cohort whose speeds are taken.
    """
    with _looked_at(settings) as ledger:
        views = stage_views(settings, ledger)
        made = _made(settings, views)
        with contextlib.ExitStack() as stack:
            other = measured and stack.enter_context(open_ledger(measured / "ledger.sqlite", is_new=False))
            forecasts, not_measured = _forecasts(settings, views, made, other or ledger, measured or settings.directory)
    return Foresight(settings, views, made, forecasts, not_measured)


def _made(settings: CohortSettings, views: Sequence[StageView]) -> dict[str, bool]:
    """Whether statistics and report would be made; empty for a part of the cohort, which has none."""
    if not planning.is_of_all():
        return {}
    changes = any(view.without_work or view.why().keys() - SAME_AGAIN for view in views)
    works = (planning.plan_associate(settings), planning.plan_risk(settings), planning.plan_report(settings))
    return {work.stage: not work.why_not and (changes or not work.is_current()) for work in works}


@contextlib.contextmanager
def _looked_at(settings: CohortSettings) -> Iterator[Ledger]:
    """The ledger of the cohort, to be looked at; an empty one where there is none yet."""
    if settings.cohort.ledger.exists():
        with open_ledger(settings.cohort.ledger, is_new=False, kind=LookedAt) as ledger:
            yield ledger
        return
    with tempfile.TemporaryDirectory() as folder, open_ledger(Path(folder) / "ledger.sqlite") as ledger:
        yield ledger


def stage_views(settings: CohortSettings, ledger: Ledger) -> list[StageView]:
    """What every stage of a run would have to do, in order."""
    views: dict[str, StageView] = {}
    for stage in STAGES:
        if stage.on_demand:
            continue
        work = planning.plan(stage, settings, ledger)
        entries, waiting = ledger.entries(stage.name), _waiting(work, ledger)
        _, outcomes = work.waiting(ledger)
        before = views[stage.upstream.name].to_do if stage.upstream else {}
        views[stage.name] = StageView(
            work,
            entries,
            waiting,
            {
                study: cause
                for study, cause in before.items()
                if _follows(study, cause, entries, optional=stage.optional)
            },
            len(outcomes),
            not work.tables_are_current(ledger, settings.cohort),
        )
    return list(views.values())


def _waiting(work: StageWork, ledger: Ledger) -> dict[str, Cause]:
    """Study -> why it is to be worked on."""
    selection = planning.chosen()
    if selection is not None and selection.forced:
        return {unit["study"]: Cause("forced") for unit in work.planned.units}
    return causes(work, ledger)


def _follows(study: str, cause: Cause, entries: Mapping[str, Entry], *, optional: bool) -> bool:
    """Whether a stage will have something to do for a study that the stage before makes anew.

    What is made again and was done comes out as it was. Of an optional stage nothing is known of a new study.
    """
    done = study in entries and entries[study].status == "ok"
    return done if optional else not (done and cause.kind in SAME_AGAIN)


def _forecasts(
    settings: CohortSettings, views: Sequence[StageView], made: Mapping[str, bool], ledger: Ledger, measured: Path
) -> tuple[list[StageForecast], list[str]]:
    """What each stage that has something to do will take, and names of those that cannot be foretold."""
    speeds, workers = ledger.speeds(), workers_of(settings.compute)
    counts: dict[str, Counter[str]] = {}
    for stage, status, _, n in ledger.counts():
        counts.setdefault(stage, Counter())[status] += n
    found, unknown = [], []
    expected = {view.work.stage.name: _expected(view, counts) for view in views}
    changed = {study for view in views for study, cause in view.to_do.items() if cause.kind not in SAME_AGAIN}
    n_pages = min(len(changed), settings.report.study_pages_max) if made.get("report") else 0
    for name, n in {**expected, "report": n_pages}.items():
        costs = _page_costs(measured) if name == "report" else ledger.costs(name)
        known = forecast(name, n, speeds, costs, profile=workers.profile, workers=workers.n) if n else None
        if known:
            found.append(known)
        elif n:
            unknown.append(name)
    return found, unknown


def _expected(view: StageView, counts: Mapping[str, Counter[str]]) -> int:
    """How many studies a stage will work on: those that wait, and what the stage before passes on."""
    stage = view.work.stage
    foreseen = [study for study in view.foreseen if study not in view.waiting]
    before = share_passing(counts.get(stage.upstream.name, {})) if stage.upstream else 1.0
    return len(view.waiting) + round(before * len(foreseen))


def _page_costs(cohort: Path) -> list[tuple[float, float, float]]:
    return [(0.0, 0.0, float(path.stat().st_size)) for path in sorted((cohort / "reports/studies").glob("*-*.html"))]


# as text and as plain values


def plain(found: Foresight) -> dict[str, Any]:
    """As plain values, for other programs."""
    workers = workers_of(found.settings.compute)
    stages = [
        {
            "stage": view.work.stage.name,
            "studies": len({unit["study"] for unit in view.work.planned.units} | view.to_do.keys()),
            "to_do": len(view.to_do),
            "why": view.why(),
            "foreseen": len(view.foreseen.keys() - view.waiting.keys()),
            "without_work": view.without_work,
            "leaving": dict(sorted(Counter(view.work.planned.removed.values()).items())),
            "tables": view.writes_tables or bool(view.to_do),
        }
        for view in found.stages
    ]
    return {
        "nothing_to_do": found.is_nothing,
        "stages": stages,
        "made": dict(found.made),
        "forecast": {
            "profile": workers.profile,
            "workers": workers.n,
            "stages": [one.plain() for one in found.forecasts],
            "total": total(found.forecasts) if found.forecasts and not found.not_measured else None,
            "not_measured": list(found.not_measured),
        },
    }


def lines(found: Foresight) -> Iterator[str]:
    """As lines for a reader."""
    if found.is_nothing:
        yield f"nothing to do: {planning.what_is_current()}"
        return
    for view in found.stages:
        yield _stage_line(view)
    if not found.made:
        yield "statistics and report: left to the next run of the whole cohort"
    for name, is_made in found.made.items():
        yield f"{name:<10} {'made anew' if is_made else 'current, or not asked for'}"
    yield from _forecast_lines(found)


def _stage_line(view: StageView) -> str:
    n = len(view.to_do)
    parts = [f"{count:,} {kind}" for kind, count in view.why().items()]
    if waits := len(view.foreseen.keys() - view.waiting.keys()):
        parts.append(f"of these {waits:,} at most, after the stage before")
    if leaving := Counter(view.work.planned.removed.values()):
        parts += [f"{count:,} leave the cohort ({reason})" for reason, count in sorted(leaving.items())]
    if others := view.without_work - leaving.total():
        parts.append(f"{others:,} recorded without work")
    told = f": {', '.join(parts)}" if parts else ""
    return f"{view.work.stage.name:<10} {_studies(n)}{told}"


def _studies(n: int) -> str:
    return f"{n:,} studies" if n > 1 else "1 study" if n else "no study"


def _forecast_lines(found: Foresight) -> Iterator[str]:
    workers = workers_of(found.settings.compute)
    where = f"{workers.profile}, {workers.n} worker{'s' if workers.n > 1 else ''}"
    if found.not_measured:
        names = ", ".join(found.not_measured)
        yield f"no forecast of {names}: nothing is measured yet with the profile {workers.profile}; {_PILOT}"
    if not found.forecasts:
        return
    yield f"forecast ({where}; statistics are not foretold, they depend on people and conditions):"
    yield f"{'':<10} {'studies':>9} {'time':>9} {'core-h':>9} {'GPU-h':>7} {'memory':>9} {'disk':>9}"
    for one in found.forecasts:
        yield _forecast_line(one.stage, f"{one.studies:,}", one.plain())
    if not found.not_measured:
        yield _forecast_line("all", "", total(found.forecasts))


def _forecast_line(name: str, studies: str, values: Mapping[str, Any]) -> str:
    disk_gb, memory_gb = values["disk_mb"] / 1e3, values["memory_mb"] / 1e3
    return (
        f"{name:<10} {studies:>9} {_clock(values['seconds']):>9} {values['core_hours']:>9.2f}"
        f" {values['gpu_hours']:>7.2f} {memory_gb:>6.1f} GB {disk_gb:>6.2f} GB"
    )


def _clock(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


# one study


def explain(settings: CohortSettings, study: str) -> list[dict[str, Any]]:
    """How one study stands at every stage, and why there is something to do for it.

    Raises:
        UserMistake: if there is no such study.
    """
    with _looked_at(settings) as ledger:
        views, rows = stage_views(settings, ledger), ledger.rows(study)
        seen = ledger.sources()
    if not rows and not any(study in view.to_do for view in views):
        raise UserMistake(f"no study is called {study}; tables/studies.parquet has their names: participant-visit")
    told = []
    for view in views:
        cause = view.to_do.get(study)
        outcome, attempts, finished = rows.get(view.work.stage.name, (None, 0, ""))
        told.append(
            {
                "stage": view.work.stage.name,
                "status": outcome.status if outcome else "",
                "reason": outcome.reason if outcome else "",
                "to_do": cause is not None,
                "why": cause.kind if cause else "",
                "changes": {name: list(pair) for name, pair in cause.changes.items()} if cause else {},
                "attempts": attempts,
                "finished": finished,
                "seconds": outcome.seconds if outcome else 0.0,
                "host": outcome.host if outcome else "",
            }
        )
    told[0]["files_changed"] = _files_changed(views[0], study, seen)
    return told


def _files_changed(first: StageView, study: str, seen: Mapping[str, Any]) -> int:
    """Files of a study that are new, or have another size or time than when they were last seen."""
    units = [unit for unit in first.work.planned.units if unit["study"] == study] if first.work.stage is FIRST else []
    files = [(seen.get(path_digest(path)), size, time) for unit in units for path, size, time in unit["files"]]
    return sum(known is None or (known.size, known.mtime_ns) != (size, time) for known, size, time in files)


def explained_lines(told: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What :func:`explain` found, for a reader."""
    for stage in told:
        status = " ".join(filter(None, (stage["status"] or "not done yet", stage["reason"])))
        attempts = f", tried {stage['attempts']} times, last {stage['finished']}" if stage["attempts"] else ""
        yield f"{stage['stage']:<10} {status}{attempts}"
        if not stage["to_do"]:
            continue
        yield f"{'':<10} to do, {stage['why']}: {KINDS[stage['why']]}"
        if n := stage.get("files_changed"):
            yield f"{'':<10} {n} of its files are new, or have another size or time"
        for name, (before, now) in stage["changes"].items():
            yield f"{'':<10} {name}: {before} -> {now}"
