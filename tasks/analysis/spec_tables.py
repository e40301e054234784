"""The tables that a spec names, as the rows its models are fitted on."""

from __future__ import annotations

from collections.abc import Collection, Mapping
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
from cmr_models.analysis.matching import check_people, flow_row
from cmr_models.analysis.people import numbers_in, usable
from cmr_models.analysis.spec import StudySpec
from cmr_models.analysis.transforms import transform
from cmr_models.contracts.identifiers import KEYS, with_keys
from tasks.analysis.features import FeatureTable, read_features
from tasks.analysis.spec_file import SpecFile
from tasks.derive.perfusion_tables import perfusion_columns, perfusion_path, with_perfusion
from tasks.sources.visit_times import visit_times, with_visit_times
from tasks.sources.withdrawn import without_withdrawn
from tasks.state.parquet_tables import read_table
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


def read_tables(file: SpecFile, cohort_dir: Path | None, withdrawn: Collection[str] = ()) -> SpecTables:
    """Read the files, build participants and outcomes, leave out whom the spec excludes, transform the exposures.

    Args:
        file: the spec.
        cohort_dir: the cohort's folder, if there is one.
        withdrawn: keys of people who withdrew: no row of theirs is read.

    Raises:
        ValueError: a table lacks a column, or is not as the field dictionary says.
    """
    spec = file.spec
    participants, outcomes, steps = _people_tables(file, cohort_dir, withdrawn)
    phenotypes, left = _study_rows(file, cohort_dir, participants, withdrawn)
    features = read_features(file, cohort_dir)
    phenotypes = features.beside(phenotypes, [row.name for row in spec.exposures])
    participants = participants.drop(columns=[row.name for row in spec.exposures], errors="ignore")
    studies = with_keys(phenotypes[list(KEYS)], "phenotypes")
    check_people(studies, with_keys(participants[list(KEYS)], "participants"), spec.unmatched_max)
    participants, outcomes, excluded = exclude(participants, outcomes, spec.exclusions)
    phenotypes = _transformed(phenotypes, spec)
    kept = pd.MultiIndex.from_frame(with_keys(participants[list(KEYS)], "participants"))
    phenotypes = phenotypes[pd.MultiIndex.from_frame(studies).isin(kept)].reset_index(drop=True)
    flow = pd.concat([part for part in (left, excluded, steps) if len(part)], ignore_index=True)
    return SpecTables(phenotypes, participants, outcomes, flow, features)


def leave_out_withdrawn(
    tables: Mapping[str, pd.DataFrame], withdrawn: Collection[str]
) -> tuple[list[pd.DataFrame], pd.DataFrame]:
    """Tables without the rows of people who withdrew, and how many rows that were, as steps of the flow.

    Args:
        tables: what the rows of a table are -> the table, with ``participant``.
        withdrawn: keys of people.
    """
    left = [without_withdrawn(table, withdrawn) for table in tables.values()]
    counts = {what: len(table) - len(kept) for (what, table), kept in zip(tables.items(), left, strict=True)}
    rows = [flow_row("", "overall", f"{what} of people who withdrew, left out", n) for what, n in counts.items()]
    return left, pd.DataFrame(rows if withdrawn else [])


def _people_tables(
    file: SpecFile, cohort_dir: Path | None, withdrawn: Collection[str]
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Participants, outcomes, and the steps of their making, without people who withdrew."""
    spec, paths = file.spec, input_files(file, cohort_dir)
    if spec.tables.ukb:
        return _from_ukb(paths[0], spec, withdrawn)
    how = Reading(spec.tables.columns, spec.missing_values, spec.types)
    read = [read_user_table(path, reading=how) for path in paths[:2]]
    kinds = ("rows of participants", "rows of outcomes")
    (participants, outcomes), steps = leave_out_withdrawn(dict(zip(kinds, read, strict=True)), withdrawn)
    return participants, outcomes, steps


def _study_rows(
    file: SpecFile, cohort_dir: Path | None, participants: pd.DataFrame, withdrawn: Collection[str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Phenotypes, and how many studies are of people who withdrew."""
    spec = file.spec
    if not spec.tables.phenotypes and _all_from_fields(spec):
        names = [row.name for row in spec.exposures]
        # UK Biobank publishes the values that passed the checks of those who returned them.
        rows = participants[["participant", "visit", *names]].assign(status="ok", qc_ok=True)
        return rows, pd.DataFrame()
    (rows,), left = leave_out_withdrawn({"studies": _phenotype_rows(file, cohort_dir)}, withdrawn)
    return _with_own_fields(rows, participants, spec), left


def _transformed(phenotypes: pd.DataFrame, spec: StudySpec) -> pd.DataFrame:
    """Phenotypes with the exposures transformed, over the studies that take part."""
    takes_part = usable(phenotypes, include_doubted=spec.include_doubted)
    for row in spec.exposures:
        if row.name not in phenotypes:
            raise ValueError(f"exposure {row.name} is not a column of the phenotypes; they have {list(phenotypes)}")
    columns = {
        row.name: transform(numbers_in(phenotypes, row.name, "phenotypes").where(takes_part), row.transform)
        for row in spec.exposures
    }
    return phenotypes.assign(**columns)


def _measured_names(spec: StudySpec) -> list[str]:
    """Exposures that are measured on images."""
    return [row.name for row in spec.exposures if row.field is None]


def _phenotype_rows(file: SpecFile, cohort_dir: Path | None) -> pd.DataFrame:
    """The spec's own table, whose studies are measured if it has no ``status``, or the cohort's with its perfusion."""
    if file.spec.tables.phenotypes:
        how = Reading(missing_values=file.spec.missing_values, types=file.spec.types)
        own = read_user_table(file.path(file.spec.tables.phenotypes), reading=how)
        return own if "status" in own else own.assign(status="ok")
    if cohort_dir is None:
        raise ValueError("the spec names no `tables.phenotypes`; give --cohort")
    cohort = Cohort(cohort_dir)
    rows = with_perfusion(read_user_table(cohort.tables / "phenotypes.parquet"), cohort, _measured_names(file.spec))
    return with_visit_times(rows, cohort)


def told_times(cohort_dir: Path) -> dict[str, str]:
    """Times by headers of the studies of people who have several in the cohort's phenotypes."""
    path = Cohort(cohort_dir).tables / "phenotypes.parquet"
    if not path.is_file():
        return {}
    return visit_times(Cohort(cohort_dir), read_table(path, columns=["study", "participant", "visit"]))


def _all_from_fields(spec: StudySpec) -> bool:
    return all(row.field is not None for row in spec.exposures)


def _from_ukb(
    path: Path, spec: StudySpec, withdrawn: Collection[str]
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    wanted = spec_fields(spec)

    def is_wanted(name: str) -> bool:
        column = parse_column(name)
        return name in IDENTIFIERS if column is None else column.field in wanted

    missing = (*EMPTY_WORDS, *spec.missing_values)
    table = read_user_table(path, reading=Reading(missing_values=missing), usecols=is_wanted)
    identifier = next((name for name in IDENTIFIERS if name in table), "")
    left = without_withdrawn(table.rename(columns={identifier: "participant"}), withdrawn)
    counted = flow_row("", "overall", "rows of people who withdrew, left out", len(table) - len(left))
    data = FieldTable.of(left.rename(columns={"participant": identifier}))
    participants = build_participants(data, spec)
    built = build_outcomes(data, participants, spec)
    shown = participants.drop(columns=["entry_date", "birth_date"])
    steps = pd.concat([pd.DataFrame([counted] if withdrawn else []), built.flow], ignore_index=True)
    return shown, built.outcomes, steps


def _with_own_fields(phenotypes: pd.DataFrame, participants: pd.DataFrame, spec: StudySpec) -> pd.DataFrame:
    """Phenotypes with the exposures that come from UK Biobank fields beside them."""
    own = [row.name for row in spec.exposures if row.field is not None]
    if not own:
        return phenotypes.copy()
    keys = with_keys(phenotypes[list(KEYS)], "phenotypes")
    values = participants.set_index(["participant", "visit"])[own].reindex(pd.MultiIndex.from_frame(keys))
    return phenotypes.assign(**{name: values[name].to_numpy() for name in own})
