"""The tables that a spec names, as the rows its models are fitted on."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pandas as pd

from cmr_models.analysis.biobank import (
    EMPTY_WORDS,
    IDENTIFIERS,
    FieldTable,
    build_outcomes,
    build_participants,
    parse_column,
    spec_fields,
)
from cmr_models.analysis.exclusions import exclude
from cmr_models.analysis.matching import check_people
from cmr_models.analysis.people import usable
from cmr_models.analysis.spec import StudySpec
from cmr_models.analysis.transforms import transform
from cmr_models.contracts.identifiers import KEYS, with_keys
from tasks.analysis.features import FeatureTable, read_features
from tasks.analysis.spec_file import SpecFile
from tasks.derive.perfusion_tables import perfusion_columns, perfusion_path, with_perfusion
from tasks.state.store import Cohort
from tasks.state.user_tables import Reading, read_user_table


class SpecTables(NamedTuple):
    """Inputs of an analysis.

    Attributes:
        phenotypes: one row a study, exposures transformed.
        participants: one row a person and visit, after the exclusions.
        outcomes: one row a person and condition, after the exclusions.
        features: of a network.
        flow: ``outcome, group_by, group, step, n``: who came, who was left out and why; before the disclosure gate.
    """

    phenotypes: pd.DataFrame
    participants: pd.DataFrame
    outcomes: pd.DataFrame
    flow: pd.DataFrame
    features: FeatureTable


def input_files(file: SpecFile, cohort_dir: Path | None) -> list[Path]:
    """Every file that the numbers are made from.

    Raises:
        FileNotFoundError: one is not there.
        ValueError: phenotypes are needed and neither the spec nor a cohort has them.
    """
    tables = file.spec.tables
    named = [file.path(name) for name in (tables.ukb, tables.participants, tables.outcomes, tables.phenotypes) if name]
    if tables.phenotypes or _all_from_fields(file.spec):
        return named
    if cohort_dir is None:
        raise ValueError("the spec has exposures without a field and no `tables.phenotypes`; give --cohort")
    path = Cohort(cohort_dir).tables / "phenotypes.parquet"
    if not path.exists():
        raise FileNotFoundError("tables/phenotypes.parquet does not exist; run derive first")
    if not perfusion_columns(_measured_names(file.spec)):
        return [*named, path]
    perfusion = perfusion_path(Cohort(cohort_dir))
    if not perfusion.exists():
        raise FileNotFoundError("tables/perfusion.parquet does not exist; run perfusion first")
    return [*named, path, perfusion]


def read_tables(file: SpecFile, cohort_dir: Path | None) -> SpecTables:
    """Read the files, build participants and outcomes, leave out whom the spec excludes, transform the exposures.

    Raises:
        ValueError: a table lacks a column, or is not as the field dictionary says.
    """
    spec = file.spec
    paths = input_files(file, cohort_dir)
    if spec.tables.ukb:
        participants, outcomes, steps = _from_ukb(paths[0], spec)
    else:
        how = Reading(spec.tables.columns, spec.missing_values, spec.types)
        participants, outcomes = (read_user_table(path, reading=how) for path in paths[:2])
        steps = pd.DataFrame()
    if spec.tables.phenotypes or not _all_from_fields(spec):
        phenotypes = _with_own_fields(_phenotype_rows(file, cohort_dir), participants, spec)
    else:
        names = [row.name for row in spec.exposures]
        phenotypes = participants[["participant", "visit", *names]].assign(status="ok")
    features = read_features(file, cohort_dir)
    phenotypes = features.beside(phenotypes, [row.name for row in spec.exposures])
    participants = participants.drop(columns=[row.name for row in spec.exposures], errors="ignore")
    studies, people = (with_keys(table[list(KEYS)], "the table") for table in (phenotypes, participants))
    check_people(studies, people, spec.unmatched_max)
    participants, outcomes, left = exclude(participants, outcomes, spec.exclusions)
    for row in spec.exposures:
        if row.name not in phenotypes:
            raise ValueError(f"exposure {row.name} is not a column of the phenotypes; they have {list(phenotypes)}")
        measured = phenotypes[row.name].where(usable(phenotypes, include_doubted=spec.include_doubted))
        phenotypes[row.name] = transform(measured, row.transform)
    kept = pd.MultiIndex.from_frame(with_keys(participants[list(KEYS)], "participants"))
    rows = pd.MultiIndex.from_frame(with_keys(phenotypes[list(KEYS)], "phenotypes")).isin(kept)
    flow = pd.concat([left, steps], ignore_index=True) if len(steps) else left
    return SpecTables(phenotypes[rows].reset_index(drop=True), participants, outcomes, flow, features)


def _measured_names(spec: StudySpec) -> list[str]:
    """Exposures that are measured on images."""
    return [row.name for row in spec.exposures if row.field is None]


def _phenotype_rows(file: SpecFile, cohort_dir: Path | None) -> pd.DataFrame:
    """The spec's own table, or the cohort's with the perfusion columns that the spec names."""
    if file.spec.tables.phenotypes:
        return read_user_table(file.path(file.spec.tables.phenotypes))
    if cohort_dir is None:
        raise ValueError("the spec names no `tables.phenotypes`; give --cohort")
    cohort = Cohort(cohort_dir)
    return with_perfusion(read_user_table(cohort.tables / "phenotypes.parquet"), cohort, _measured_names(file.spec))


def _all_from_fields(spec: StudySpec) -> bool:
    return all(row.field is not None for row in spec.exposures)


def _from_ukb(path: Path, spec: StudySpec) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    wanted = spec_fields(spec)

    def is_wanted(name: str) -> bool:
        column = parse_column(name)
        return name in IDENTIFIERS if column is None else column.field in wanted

    missing = (*EMPTY_WORDS, *spec.missing_values)
    data = FieldTable.of(read_user_table(path, reading=Reading(missing_values=missing), usecols=is_wanted))
    participants = build_participants(data, spec)
    built = build_outcomes(data, participants, spec)
    shown = participants.drop(columns=["entry_date", "birth_date"])
    return shown, built.outcomes, built.flow


def _with_own_fields(phenotypes: pd.DataFrame, participants: pd.DataFrame, spec: StudySpec) -> pd.DataFrame:
    """Phenotypes with the exposures that come from UK Biobank fields beside them."""
    own = [row.name for row in spec.exposures if row.field is not None]
    if not own:
        return phenotypes.copy()
    keys = with_keys(phenotypes[list(KEYS)], "phenotypes")
    values = participants.set_index(["participant", "visit"])[own].reindex(pd.MultiIndex.from_frame(keys))
    return phenotypes.assign(**{name: values[name].to_numpy() for name in own})
