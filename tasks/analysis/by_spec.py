"""An analysis by its spec: published tables, with the documents that describe them.

They lie in ``tables/analyses/<name>/<digest>/``. One folder holds one spec's results: ``*.parquet``, ``spec.json``
(resolved, with digest and departures), ``disclosure_record.json`` (what the gate did, in the form of ACRO),
``strobe.md`` and ``tripod_ai.md``. Another spec of the same name has another digest and another folder; its tables are
compared with those already there, so that two releases do not give a few people away by subtraction.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from cmr_models.analysis.spec import StudySpec
from tasks.analysis.checklists import Facts, strobe, tripod_ai
from tasks.analysis.features import features_path
from tasks.analysis.makers import Inputs
from tasks.analysis.page import render_analysis
from tasks.analysis.publishing import Results, publish_tables, results_key
from tasks.analysis.spec_file import SpecFile, as_json, read_spec
from tasks.analysis.spec_tables import input_files, read_tables, told_times
from tasks.sources.withdrawn import withdrawn_people
from tasks.state.mistakes import faults_in_files
from tasks.state.published_beside import evaluations_beside, keep_studies
from tasks.state.store import Cohort, publish_bytes

VERSION = 5

Part = Literal["associate", "risk", "fairness"]
TABLES: Mapping[Part, tuple[str, ...]] = {
    "associate": ("flow", "associations"),
    "risk": (
        "flow",
        "hazards",
        "discrimination",
        "survival_curves",
        "hazards_imputed",
        "hazards_weighted",
        "prediction",
        "prediction_calibration",
        "prediction_decisions",
    ),
    "fairness": ("flow", "fairness", "fairness_prediction", "fairness_measurement", "group_pairs", "decomposition"),
}
_PREDICTED = ("prediction", "prediction_calibration", "prediction_decisions")


def analysis_folder(cohort_dir: Path, file: SpecFile) -> Path:
    """Where the results of a spec lie."""
    return Cohort(cohort_dir).tables / "analyses" / file.spec.name / file.digest[:12]


def run_spec(part: Part, spec_path: Path, cohort_dir: Path, withdrawn: Path | None = None) -> dict[str, Any]:
    """Run one part of a spec.

    Args:
        part: ``associate`` (prevalent disease), ``risk`` (time to events) or ``fairness`` (all of it by group).
        spec_path: ``analysis.yaml``.
        cohort_dir: the cohort's folder: phenotypes are read and results written there.
        withdrawn: list of people who withdrew, beside that of the spec and those whom the cohort has deleted.

    Returns:
        ``{"status": "done" | "current", "folder": ..., "counts": {table: {row status: rows}}, "departures": n}``.

    Raises:
        FileNotFoundError: a file that the spec names, or the phenotype table, is not there.
        ValueError: a table is not as the spec or the field dictionary says.
    """
    file = read_spec(spec_path)
    names = tuple(name for name in TABLES[part] if _is_asked_for(name, file.spec))
    own = file.path(file.spec.tables.withdrawn) if file.spec.tables.withdrawn else None
    gone = withdrawn_people(cohort_dir, withdrawn, own)
    results = Results(analysis_folder(cohort_dir, file), names, _key(file, cohort_dir, gone), siblings=True)
    outdated = results.outdated
    if outdated:
        with faults_in_files(_files(file)):
            inputs = Inputs.of(file.spec, read_tables(file, cohort_dir, gone))
            publish_bytes(as_json(file), results.folder / "spec.json")
            cohort, publisher = Cohort(cohort_dir), f"analysis_{file.digest}"
            publish_tables(outdated, results, inputs, file.digest, evaluations_beside(cohort))
            keep_studies(cohort, publisher, inputs.has_phenotype, publisher)
        _publish_documents(file, results.folder)
    return {
        "status": "done" if outdated else "current",
        "folder": results.folder,
        "counts": results.counts,
        "departures": len(file.departures),
    }


def _publish_documents(file: SpecFile, folder: Path) -> None:
    """The checklists and the page of the tables that are there."""
    facts = Facts.of(file, folder)
    publish_bytes(strobe(facts).encode(), folder / "strobe.md")
    publish_bytes(tripod_ai(facts).encode(), folder / "tripod_ai.md")
    render_analysis(file, folder)


def _files(file: SpecFile) -> dict[str, str]:
    """The files of the tables, by the names that messages begin with."""
    tables = file.spec.tables
    people = {name: getattr(tables, name) or tables.ukb for name in ("participants", "outcomes")}
    return {**people, "phenotypes": tables.phenotypes or "tables/phenotypes.parquet", "the table": tables.ukb}


def _key(file: SpecFile, cohort_dir: Path, withdrawn: frozenset[str]) -> str:
    features = features_path(file, cohort_dir)
    files = [*input_files(file, cohort_dir), *([features] if features else [])]
    more: dict[str, Any] = {"withdrawn": sorted(withdrawn)} if withdrawn else {}
    if not file.spec.tables.phenotypes and (times := told_times(cohort_dir)):
        more["acquired"] = times
    return results_key(VERSION, files, spec=file.digest, **more)


def _is_asked_for(name: str, spec: StudySpec) -> bool:
    """Whether a spec has what an optional table is made from."""
    optional = {
        "hazards_imputed": spec.missing.imputations > 0,
        "hazards_weighted": bool(spec.participation.margins),
        "decomposition": bool(spec.fairness.decompose),
        **dict.fromkeys(_PREDICTED, bool(spec.prediction.steps)),
    }
    return optional.get(name, True)
