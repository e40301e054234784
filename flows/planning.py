"""What should be there: for every stage the studies it should have brought through, and with which keys."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from flows.progress import stage_progress
from flows.settings import CohortSettings
from flows.stages import StageWork, TableWork
from tasks import report
from tasks.analysis import by_settings
from tasks.convert import conversion, reference_table, study_table
from tasks.derive import derivation, perfusion, perfusion_tables, phenotype_tables
from tasks.execution import plan
from tasks.execution.cluster import open_client
from tasks.inference import segmentation
from tasks.maintenance.withdrawal import has_withdrawn, newly_withdrawn, read_withdrawn, withdraw
from tasks.sources import inventory
from tasks.state.ledger import Entry, Ledger, open_ledger
from tasks.state.store import Cohort


def resolved_settings(settings: CohortSettings) -> dict[str, Any]:
    """All settings as plain values, those that were not given with their defaults."""
    return settings.model_dump(mode="json")


def count(settings: CohortSettings) -> int:
    """How much there is to do in all; 0 if every file, table and page is as wanted."""
    if not settings.cohort.ledger.exists():
        return 1
    with open_ledger(settings.cohort.ledger) as ledger:
        n_studies = sum(work(settings, ledger).count(ledger) for work in (converted, segmented, derived, perfused))
    tables = [work(settings) for work in (associations, hazards, site)]
    return n_studies + sum(not work.why_not and not work.is_current() for work in tables)


def converted(settings: CohortSettings, ledger: Ledger, whole_archive: bool = True) -> StageWork:
    """A study for everyone in the archive who has not withdrawn."""
    plain = settings.convert.model_dump(exclude={"removed_max"})
    limits = conversion.ConvertSettings.from_plain(plain).limits
    found = inventory(settings.sources, ledger.sources(), limits)
    ledger.remember_sources(found.files, forget_others=whole_archive)
    withdrawn = read_withdrawn(settings.withdrawn) if settings.withdrawn else frozenset()
    unread = conversion.with_unread_perfusion(ledger)
    planned = conversion.planned_units(found.units, plain, unread)
    units = [unit for unit in planned if not has_withdrawn(unit["participant"], withdrawn)]
    entries = ledger.entries("convert")
    left = dict.fromkeys(newly_withdrawn(entries, withdrawn), "withdrawn")
    withdraw(settings.cohort, ledger, left)
    if whole_archive:
        present = {study: entry for study, entry in entries.items() if study not in left}
        removed = plan.gone(units, present)
        plan.check_removal(removed, plan.there(present), allowed=settings.convert.removed_max)
        left |= dict.fromkeys(removed, "source_removed")
    return StageWork(
        "convert",
        conversion.convert_shard,
        units,
        plain,
        write_tables=lambda: _write_study_tables(ledger, settings.cohort),
        tables_are_current=lambda: (
            study_table.is_current(ledger, settings.cohort) and reference_table.is_current(ledger, settings.cohort)
        ),
        removed=left,
    )


def _write_study_tables(ledger: Ledger, cohort: Cohort) -> None:
    study_table.write_study_table(ledger, cohort)
    reference_table.write_reference_table(ledger, cohort)


def segmented(settings: CohortSettings, ledger: Ledger) -> StageWork:
    """A prediction for every study."""
    studies = ledger.entries("convert")
    plain = settings.segment.model_dump()
    return StageWork(
        "segment",
        segmentation.segment_chunk,
        segmentation.segment_units(studies, plain),
        plain,
        write_tables=lambda: None,
        tables_are_current=lambda: True,
        upstream=ended(studies),
        removed=retired(studies, ledger.entries("segment")),
    )


def derived(settings: CohortSettings, ledger: Ledger) -> StageWork:
    """Phenotypes for every prediction."""
    predictions = ledger.entries("segment")
    sizes = (
        derivation.read_body_sizes(settings.participants, settings.analysis.participant_columns)
        if settings.participants
        else {}
    )
    return StageWork(
        "derive",
        derivation.derive_chunk,
        derivation.derive_units(
            predictions,
            model=measured_model(settings, ledger),
            body_sizes=sizes,
            landmarks=derivation.landmark_sources(ledger),
        ),
        {},
        write_tables=lambda: phenotype_tables.write_tables(ledger, settings.cohort),
        tables_are_current=lambda: phenotype_tables.are_current(ledger, settings.cohort),
        upstream=ended(predictions),
        removed=retired(predictions, ledger.entries("derive")),
    )


def measured_model(settings: CohortSettings, ledger: Ledger) -> str:
    """Whose labels are measured and shown: the model that the settings name, else the one that segmented last."""
    named = "model" in settings.segment.model_fields_set
    last = "" if named else ledger.last_model(segmentation.STAGE)
    return last or segmentation.model_name(settings.segment.model)


def perfused(settings: CohortSettings, ledger: Ledger) -> StageWork:
    """Flow maps for every study with a first-pass series."""
    studies = ledger.entries("convert")
    units, settled = perfusion.perfusion_units(studies, ledger.mentioned("convert", perfusion.MENTION))
    return StageWork(
        perfusion.STAGE,
        perfusion.perfusion_chunk,
        units,
        {},
        write_tables=lambda: perfusion_tables.write_tables(ledger, settings.cohort),
        tables_are_current=lambda: perfusion_tables.are_current(ledger, settings.cohort),
        upstream=ended(studies),
        settled=settled,
        removed=retired(studies, ledger.entries(perfusion.STAGE)),
    )


def ended(upstream: Mapping[str, Entry]) -> dict[str, Entry]:
    """Studies that the stage before has, without the retired."""
    return {study: entry for study, entry in upstream.items() if entry.status != "retired"}


def retired(upstream: Mapping[str, Entry], entries: Mapping[str, Entry]) -> dict[str, str]:
    """Studies that were retired at the stage before and not yet here."""
    return {
        study: upstream[study].reason
        for study, entry in entries.items()
        if entry.status != "retired" and study in upstream and upstream[study].status == "retired"
    }


def associations(settings: CohortSettings) -> TableWork:
    """Estimates of prevalent disease."""
    return _estimates(settings, "associate", by_settings.associate)


def hazards(settings: CohortSettings) -> TableWork:
    """Estimates of incident disease and death, discrimination, curves and fairness."""
    return _estimates(settings, "risk", by_settings.risk)


def site(settings: CohortSettings) -> TableWork:
    """The report."""
    plain = shown(settings)
    return TableWork(
        "report",
        is_current=lambda: report.is_current(settings.directory, plain),
        make=lambda: str(
            report.render_report(
                settings.directory,
                plain,
                workers=partial(open_client, settings.compute.profile, settings.compute.cluster_settings),
                watch=partial(stage_progress, "report"),
            )
        ),
    )


def shown(settings: CohortSettings) -> dict[str, Any]:
    """Resolved settings for the report: the model is the one whose labels the cohort's phenotypes come from."""
    plain = resolved_settings(settings)
    if settings.cohort.ledger.exists():
        with open_ledger(settings.cohort.ledger) as ledger:
            plain["segment"]["model"] = measured_model(settings, ledger)
    return plain


def _estimates(settings: CohortSettings, stage: by_settings.Part, make: Callable[..., dict[str, Any]]) -> TableWork:
    given = (settings.directory, settings.analysis, by_settings.UserFiles(settings.participants, settings.outcomes))
    return TableWork(
        stage,
        is_current=lambda: by_settings.is_current(*given, stage),
        make=lambda: _line(make(*given)),
        why_not=_missing_tables(settings),
    )


def _missing_tables(settings: CohortSettings) -> str:
    missing = [name for name in ("participants", "outcomes") if getattr(settings, name) is None]
    return f"no {' and '.join(missing)} in the settings" if missing else ""


def _line(result: Mapping[str, Any]) -> str:
    counts = "; ".join(f"{table}: {sum(rows.values())} rows" for table, rows in result["counts"].items())
    return f"{result['status']} {result['reason']}{counts}".strip()
