"""The report of a cohort: a static site that is made beside the old one and then replaces it as a whole."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from cmr_models.analysis.disclosure.claims import together
from cmr_models.phenotypes.states import STATES, states_of
from cmr_models.zoo.licences import licences_words
from tasks.derive.phenotype_tables import CURVES, with_state
from tasks.execution import shards
from tasks.inference.model_record import licences_of
from tasks.report import study_list
from tasks.report.counts import Counts, are_rounded
from tasks.report.flow import measured_states
from tasks.report.hidden_cells import hidden_on_page, told_beside
from tasks.report.index_page import counts_of, index_values, sentence_on_states
from tasks.report.methods import methods_text
from tasks.report.page_claims import PAGE, page_counted, page_counts, page_relates, page_says, safe_counts
from tasks.report.pages import appearance_digest, asset, clean_text, package_version, page_key, page_name, render
from tasks.report.perfusion_summary import perfusion_entries, perfusion_summary
from tasks.report.report_key import MANIFEST, read_manifest, report_key
from tasks.report.study_page import render_study_pages
from tasks.report.tables import (
    ESTIMATES,
    ReportInputs,
    ReportTables,
    read_estimates,
    read_tables,
    records,
    report_inputs,
)
from tasks.state.csv_text import csv_text
from tasks.state.disclosure_record import keep_released, released_counts
from tasks.state.ledger import open_ledger
from tasks.state.parquet_tables import read_table
from tasks.state.published_beside import REPORT, evaluations_beside, is_rounded, keep_beside
from tasks.state.runs import versions
from tasks.state.store import Cohort, digest, published_attributes
from tasks.state.user_tables import read_cells

if TYPE_CHECKING:
    from distributed import Client

_ASSETS = ("report.css", "study.js", "studies.js")
_PAGES_WORTH_A_CLUSTER = 100  # a page takes a third of a second, and a local cluster starts in some seconds
_HOLDS = {
    "associations": "Prevalent disease and each phenotype: odds ratios per SD and per unit",
    "hazards": "Incident disease and death: hazard ratios per SD and per unit",
    "discrimination": "Harrell and Uno concordance with intervals",
    "survival_curves": "Kaplan-Meier curves by quartile with numbers at risk",
    "fairness": "Every number by group, and the largest gaps",
    "distributions": "Phenotypes by sex beside published ranges",
    "quality": "Studies flagged by each rule",
    "hidden_cells": "What this page does not show, and why",
    "phenotypes_dictionary": "Data dictionary: definition, unit, inputs and UK Biobank field of every column",
}


Workers = Callable[[], AbstractContextManager["Client | None"]]
Watch = Callable[[int], AbstractContextManager[Callable[[int], None]]]


def render_report(
    cohort_dir: Path,
    settings: Mapping[str, Any],
    *,
    workers: Workers = contextlib.nullcontext,
    watch: Watch | None = None,
) -> Path:
    """Make ``reports/`` of a cohort: ``index.html`` to publish, ``studies/`` for internal use only.

    The site is made in ``reports.new`` and replaces the old one by renaming, so that no unfinished page is ever
    visible. Pages of studies that have not changed are kept, from the old site or from the draft of a killed run.
    Pages of removed studies are not.

    Args:
        cohort_dir: the cohort's folder.
        settings: the run's resolved settings as plain values; see :func:`tasks.report.tables.report_inputs`.
        workers: opens a Dask client for many study pages; without it, or for few pages, this process makes them.
        watch: opens a display of progress for a number of study pages; it is called with the number of new pages.

    Returns:
        Path of ``index.html``.
    """
    cohort = Cohort(cohort_dir)
    resolved = report_inputs(settings)
    _finish_interrupted_swap(cohort)
    key = report_key(cohort, resolved)
    tables = read_tables(cohort, resolved)
    draft = _draft_folder(cohort.reports.with_name("reports.new"))
    rows = study_list.list_rows(tables)
    pages, rule = _make_study_pages(cohort, resolved, tables, rows, draft, workers, watch or _no_progress)
    _write_index(cohort, resolved, tables, draft)
    _write_studies(tables, rows, pages, rule, draft)
    _write(draft / MANIFEST, json.dumps({"key": key, "pages": pages}, sort_keys=True))
    _swap(cohort)
    return cohort.reports / "index.html"


def methods_of(cohort_dir: Path, settings: Mapping[str, Any]) -> list[str]:
    """The methods paragraphs for the present state of a cohort; no row of a study is read.

    Args:
        cohort_dir: the cohort's folder.
        settings: as in :func:`render_report`.
    """
    cohort, resolved = Cohort(cohort_dir), report_inputs(settings)
    with open_ledger(cohort.ledger) as ledger:
        n_in = sum(entry.status != "retired" for entry in ledger.entries("convert").values())
        measured = [study for study, entry in ledger.entries("derive").items() if entry.status == "ok"]
        labelled = [study for study, entry in ledger.entries("segment").items() if entry.status == "ok"]
    states = _states(cohort)
    given = n_in == 0 and states is not None
    estimates = {name: table for name, table in read_estimates(cohort).items() if table is not None and len(table)}
    n_in = len(states) if given and states is not None else n_in
    known = [n_in, len(measured), *([] if states is None else states_of(states).value_counts())]
    rounded = are_rounded(estimates) or is_rounded(cohort, REPORT)
    counts = Counts.of(known, resolved.minimum_cell, rounded=rounded)
    return methods_text(
        resolved,
        estimates,
        _prediction_attributes(cohort, resolved, labelled),
        version=package_version(),
        n_in=counts.text(n_in),
        n_measured=counts.text(len(measured)),
        states="" if states is None else _states_sentence(states, counts),
        has_images=not given,
    )


def _states(cohort: Cohort) -> pd.DataFrame | None:
    """Status and state of every study; None before there is a table of phenotypes."""
    path = cohort.tables / "phenotypes.parquet"
    if not path.exists():
        return None
    columns = [name for name in ("status", "qc_ok") if name in pq.read_schema(path).names]
    return with_state(read_table(path, columns=columns))


def _states_sentence(states: pd.DataFrame, counts: Counts) -> str:
    return sentence_on_states(counts.text(int((states["status"] == "ok").sum())), measured_states(states, counts))


def _make_study_pages(
    cohort: Cohort,
    settings: ReportInputs,
    tables: ReportTables,
    rows: pd.DataFrame,
    draft: Path,
    workers: Workers,
    watch: Watch,
) -> tuple[dict[str, str], str]:
    """Keep or make the page of every chosen study; returns study -> key of its page, and how studies were chosen."""
    chosen, rule = study_list.studies_with_page(rows, settings.report.study_pages_max)
    units = _page_units(cohort, settings, tables, chosen, draft)
    _drop_other_pages(draft / "studies", units)
    old = read_manifest(cohort).get("pages", {})
    kept = {
        unit["study"]
        for unit in units
        if Path(unit["path"]).exists() or (old.get(unit["study"]) == unit["key"] and _carry_over(unit, cohort))
    }
    todo = [unit for unit in units if unit["study"] not in kept]
    made: set[str] = set()
    opened = workers() if len(todo) > _PAGES_WORTH_A_CLUSTER else contextlib.nullcontext()
    with opened as client, watch(len(todo)) if todo else _no_progress(0) as advance:
        for outcomes in shards.run(
            render_study_pages, todo, cohort.root, {"model": settings.model}, stage="report", client=client
        ):
            made |= {outcome.study for outcome in outcomes if outcome.status == "ok"}
            advance(len(outcomes))
    if failed := len(todo) - len(made):
        rule += f" {failed:,} pages could not be made; the next run tries again."
    return {unit["study"]: unit["key"] for unit in units if unit["study"] in kept | made}, rule


@contextlib.contextmanager
def _no_progress(_: int) -> Iterator[Callable[[int], None]]:
    yield lambda _: None


def _page_units(
    cohort: Cohort, settings: ReportInputs, tables: ReportTables, chosen: list[str], draft: Path
) -> list[shards.Unit]:
    """The inputs of each page, with a key that changes when they change."""
    studies = set(chosen)
    phenotypes, outcomes = tables.phenotypes, tables.outcomes
    measured = (
        {row["study"]: row for row in records(phenotypes[phenotypes["study"].isin(studies)])}
        if phenotypes is not None
        else {}
    )
    ended: dict[str, list[dict[str, Any]]] = {study: [] for study in chosen}
    for row in records(outcomes[outcomes["study"].isin(studies)]):
        flags, left_out = json.loads(row.pop("flags")), json.loads(row.pop("left_out"))
        ended[row["study"]].append({**row, "flags": flags, "left_out": left_out})
    curves, perfusion = _read_curves(cohort, chosen), perfusion_entries(cohort)
    units = []
    for study in chosen:
        row = measured.get(study, {})
        unit = {
            "study": study,
            **study_list.page_unit(row, row.get("sex")),
            "curve": curves.get(study, {}),
            "outcomes": ended[study],
            "perfusion": perfusion.get(study, ("", ""))[1],
        }
        key = digest({**unit, "look": appearance_digest(), "model": settings.model, "version": package_version()})
        units.append({**unit, "key": key, "path": str(draft / "studies" / page_name(study))})
    return units


def _read_curves(cohort: Cohort, studies: list[str]) -> dict[str, dict[str, list[float]]]:
    path = cohort.tables / "curves.parquet"
    if not path.exists() or not studies:
        return {}
    table = read_table(path, CURVES, filters=[("study", "in", studies)]).sort_values(["study", "frame"])
    columns = {name: table[name].to_numpy(float) for name in table.columns if name not in ("study", "frame")}
    names, begins = np.unique(table["study"].to_numpy(str), return_index=True)
    ends = np.append(begins, len(table))[1:]
    return {
        str(name): {column: values[begin:end].tolist() for column, values in columns.items()}
        for name, begin, end in zip(names, begins, ends, strict=True)
    }


def _drop_other_pages(folder: Path, units: list[shards.Unit]) -> None:
    """Remove pages from the draft of a killed run, except those with the right key."""
    keys = {Path(unit["path"]).name: unit["key"] for unit in units}
    for path in folder.iterdir():
        if path.name not in keys or page_key(path) != keys[path.name]:
            path.unlink()


def _carry_over(unit: shards.Unit, cohort: Cohort) -> bool:
    """Put an unchanged page into the draft, as a hard link where the file system has them; returns whether it did."""
    new = Path(unit["path"])
    old = cohort.reports / "studies" / new.name
    try:
        os.link(old, new)
    except FileNotFoundError:
        return False
    except OSError:
        shutil.copyfile(old, new)
    return True


def _write_index(cohort: Cohort, settings: ReportInputs, tables: ReportTables, draft: Path) -> None:
    known = counts_of(tables, settings.minimum_cell)
    counts, found = safe_counts(tables, known, released_counts(cohort.estimates, PAGE), evaluations_beside(cohort))
    values, figures = index_values(tables, settings, counts)
    for name in _ASSETS:
        _write(draft / "assets" / name, asset(name))
    for name, content in figures.files.items():
        _write(draft / "assets" / "figures" / f"{name}.svg", content)
    values["perfusion"] = perfusion_summary(tables.perfusion, counts)
    values["hidden_cells"] = pd.concat([hidden_on_page(values), told_beside(found)], ignore_index=True)
    values["files"] = _write_tables(cohort, tables, values, draft / "assets" / "tables")
    prediction = _prediction_attributes(cohort, settings, tables.measured.get("study", pd.Series(dtype=str)))
    if licences := licences_of(prediction):
        values["facts"].append(("Licence of the model", clean_text(licences_words(licences)), True))
    values["methods"] = methods_text(
        settings,
        tables.estimates,
        prediction,
        version=package_version(),
        n_in=values["flow"]["text"],
        n_measured=counts.text(len(tables.measured)),
        states=values["states_sentence"],
        has_images=tables.has_images,
    )
    values["versions"] = [(name, value) for name, value in versions().items() if name != "cmr-cohort"]
    shown = page_counts(tables, counts)
    keep_released(shown, cohort.estimates, PAGE)
    says = together(page_says(shown, settings.minimum_cell), page_relates(tables, counts))
    keep_beside(cohort, REPORT, page_counted(tables), says)
    _write(draft / "index.html", render("index.html.j2", root="", **values))


def _write_studies(tables: ReportTables, rows: pd.DataFrame, pages: Mapping[str, str], rule: str, draft: Path) -> None:
    columns = [{"title": title, "number": digits is not None} for _, title, digits in study_list.COLUMNS]
    reasons = study_list.reason_counts(tables.outcomes)
    page = render("studies.html.j2", root="../", rule=rule, columns=columns, reasons=reasons, states=STATES)
    _write(draft / "studies" / "index.html", page)
    _write(draft / "studies" / "rows.js", study_list.rows_script(rows, pages))


def _write_tables(
    cohort: Cohort, tables: ReportTables, values: Mapping[str, Any], folder: Path
) -> list[dict[str, Any]]:
    """Write the masked tables as CSV; returns name, content and number of rows of each."""
    frames = {name: tables.estimates[name] for name in ESTIMATES if name in tables.estimates}
    for name, columns in (
        ("distributions", ()),
        ("quality", ("stage", "code", "sentence", "flagged", "judged", "share")),
    ):
        if values[name]:
            frame = pd.DataFrame(values[name])
            frames[name] = frame[list(columns)] if columns else frame.drop(columns="suppressed")
    frames["hidden_cells"] = values["hidden_cells"]
    dictionary = cohort.tables / "phenotypes_dictionary.csv"
    if dictionary.exists():
        frames["phenotypes_dictionary"] = read_cells(dictionary)
    for name, frame in frames.items():
        _write(folder / f"{name}.csv", csv_text(frame))
    return [{"name": name, "holds": _HOLDS[name], "rows": len(frame)} for name, frame in frames.items()]


def _prediction_attributes(cohort: Cohort, settings: ReportInputs, studies: Iterable[str]) -> dict[str, Any]:
    """Attributes of the first prediction file of these studies: model, digests, licences; empty if there is none."""
    found = (published_attributes(cohort.prediction(settings.model, str(study))) for study in studies)
    return next((attributes for attributes in found if attributes), {})


def _draft_folder(folder: Path) -> Path:
    """The folder of the draft, with nothing but the study pages that a killed run had finished."""
    (folder / "studies").mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.name != "studies":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return folder


def _write(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode("utf-8", "replace") if isinstance(content, str) else content)


def _swap(cohort: Cohort) -> None:
    """Replace the report by the draft."""
    new, old = cohort.reports.with_name("reports.new"), cohort.reports.with_name("reports.old")
    shutil.rmtree(old, ignore_errors=True)
    if cohort.reports.exists():
        cohort.reports.rename(old)
    new.rename(cohort.reports)
    shutil.rmtree(old, ignore_errors=True)


def _finish_interrupted_swap(cohort: Cohort) -> None:
    """Put the old report back if a run was killed between the two renames."""
    old = cohort.reports.with_name("reports.old")
    if old.exists() and not cohort.reports.exists():
        old.rename(cohort.reports)
