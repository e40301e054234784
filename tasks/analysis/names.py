"""Every name in the settings and in a spec, checked against headers and dictionary before any work.

A name that is nowhere is a :class:`~tasks.state.mistakes.UserMistake` of one line: what, in which file under which
key, and the nearest name that there is.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq

from cmr_models.analysis.biobank import FIELDS, field_of, further_fields, parse_column, spec_fields
from cmr_models.analysis.model_spec import GAP_MODELS
from cmr_models.analysis.people import OUTCOME_KEYS
from cmr_models.analysis.spec import StudySpec
from cmr_models.analysis.visits import VISIT_DATE
from cmr_models.contracts.identifiers import KEYS
from cmr_models.contracts.names import nearest
from cmr_models.estimates.groups import INTERSECTION
from cmr_models.perfusion.phenotypes import PHENOTYPES as PERFUSION_PHENOTYPES
from cmr_models.phenotypes import PHENOTYPES
from tasks.analysis.settings import AnalysisSettings
from tasks.analysis.spec_file import SpecFile, read_spec
from tasks.execution.cluster import PROFILES
from tasks.state.mistakes import UserMistake
from tasks.state.store import Cohort
from tasks.state.user_tables import column_words, table_header

_DERIVED = ("age_band", "bmi_class")
_MAP = "; if it has another name there, write it under analysis.participant_columns"
_PEOPLE = (*KEYS, "age_years")


class Named(NamedTuple):
    """Names that a user wrote, and where.

    Attributes:
        where: file and key, ``cohort.toml, analysis.covariates``.
        what: what they name, ``column of people.csv``.
        names: as written.
        remedy: what to write instead.
        are_cells: whether the known names are cells of a table, which no message quotes.
    """

    where: str
    what: str
    names: Iterable[str]
    remedy: str = ""
    are_cells: bool = False


def check_settings_names(
    config: str, analysis: AnalysisSettings, participants: Path | None, outcomes: Path | None, cohort_dir: Path
) -> None:
    """Check every name in the section ``[analysis]``.

    Args:
        config: name of the settings file, for messages.
        analysis: the section.
        participants: the user's table of people, if there is one.
        outcomes: the user's table of conditions, if there is one.
        cohort_dir: the cohort's folder; the columns of its phenotype table count, if there is one.

    Raises:
        UserMistake: a table is not there, or a name is nowhere.
    """
    key = f"{config}, analysis"
    known = phenotype_names(cohort_dir)
    check_names(Named(f"{key}.phenotypes", "phenotype", analysis.phenotypes), known)
    # The default families name more phenotypes than an analysis may have.
    if "families" in analysis.model_fields_set:
        members = [name for names in analysis.families.values() for name in names]
        check_names(Named(f"{key}.families", "phenotype", members), known)
    _check_margins(key, analysis.margins, {*known, *analysis.phenotypes})
    people, told = set[str](), set[str]()
    if participants is not None:
        mapped = f"{key}.participant_columns"
        check_names(Named(mapped, "use of a column", analysis.participant_columns), _used_columns(analysis))
        people = _columns(participants, f"{config}, participants", analysis.participant_columns, mapped)
        check_names(Named(f"{config}, participants", f"column of {participants.name}", KEYS, _MAP), people)
    if outcomes is not None:
        mapped = f"{key}.outcome_columns"
        check_names(Named(mapped, "column of outcomes", analysis.outcome_columns), OUTCOME_KEYS)
        told = _columns(outcomes, f"{config}, outcomes", analysis.outcome_columns, mapped)
    if participants is not None and outcomes is not None:
        _check_people_columns(config, analysis, participants.name, people)
        remedy = _MAP.replace("participant", "outcome")
        check_names(Named(f"{config}, outcomes", f"column of {outcomes.name}", OUTCOME_KEYS, remedy), told)
        _check_conditions(key, analysis, outcomes)


def _check_people_columns(config: str, analysis: AnalysisSettings, table: str, people: set[str]) -> None:
    """Check the columns of people that the statistics need."""
    what = f"column of {table}"
    check_names(Named(f"{config}, participants", what, ["age_years"], _MAP), people)
    for key in ("covariates", "strata", "types"):
        check_names(Named(f"{config}, analysis.{key}", what, getattr(analysis, key)), people)
    groups = Named(f"{config}, analysis.group_by", what, _group_columns(analysis.group_by))
    check_names(groups, people | set(_DERIVED))


def _used_columns(analysis: AnalysisSettings) -> set[str]:
    """Our names of columns of people that something reads: those of this software, and those that the settings name."""
    named = {*analysis.covariates, *analysis.strata, *analysis.types, *_group_columns(analysis.group_by)}
    return {*_PEOPLE, VISIT_DATE, "sex", "height_cm", "weight_kg", *named} - set(_DERIVED)


def _check_margins(where: str, margins: Iterable[str], phenotypes: Collection[str]) -> None:
    """Check the keys of margins: ``model`` or ``model/phenotype``."""
    split = [key.partition("/") for key in margins]
    check_names(Named(f"{where}.margins", "model with gaps", [model for model, _, _ in split]), GAP_MODELS)
    named = [phenotype for _, slash, phenotype in split if slash]
    check_names(Named(f"{where}.margins", "phenotype", named), phenotypes)


def _check_conditions(key: str, analysis: AnalysisSettings, outcomes: Path) -> None:
    """Check the conditions that the user names; of the default ones, a cohort may lack some, but not all.

    A default one is not lacking if the table has it in other letters or with other signs between its words.
    """
    told = column_words(outcomes, analysis.outcome_columns.get("condition", "condition"))
    names: Collection[str] = analysis.conditions
    if "conditions" not in analysis.model_fields_set:
        alike = {_letters(word) for word in told}
        spelt_otherwise = [name for name in names if name not in told and _letters(name) in alike]
        names = spelt_otherwise or (() if told & set(names) else names)
    check_names(Named(f"{key}.conditions", f"condition in {outcomes.name}", names, are_cells=True), told)


def _letters(word: str) -> str:
    return re.sub(r"[\W_]", "", word.casefold())


def check_profile(config: str, profile: str) -> None:
    """Check the name of a profile of computing.

    Raises:
        UserMistake: it is none, and no address of a scheduler.
    """
    if "://" not in profile:
        check_names(Named(f"{config}, compute.profile", "profile", [profile]), PROFILES)


def check_withdrawn(config: str, withdrawn: Path | None) -> None:
    """Check that the list of people who withdrew is there.

    Raises:
        UserMistake: it is not.
    """
    if withdrawn is not None and not withdrawn.is_file():
        near = [path.name for path in sorted(withdrawn.parent.glob("*")) if path.is_file()]
        line = f"{config}, withdrawn: there is no file {withdrawn.name!r}{nearest(withdrawn.name, near)}"
        raise UserMistake(line)


def check_spec_names(spec_path: Path, cohort_dir: Path) -> None:
    """Check every table, column, field, phenotype and condition that an analysis spec names.

    Raises:
        UserMistake: a table is not there, or a name is nowhere.
        FileNotFoundError, ValueError: the spec cannot be read, see :func:`tasks.analysis.spec_file.read_spec`.
    """
    file = read_spec(spec_path)
    name = spec_path.name
    for key in ("ukb", "participants", "outcomes", "phenotypes", "withdrawn"):
        table = getattr(file.spec.tables, key)
        if table and not (file.folder / table).is_file():
            tables = [path.name for path in sorted((file.folder / table).parent.glob("*")) if path.is_file()]
            raise UserMistake(f"{name}, tables.{key}: there is no file {table!r}{nearest(Path(table).name, tables)}")
    phenotypes = _spec_phenotypes(file, cohort_dir)
    own = [row.name for row in file.spec.exposures if row.field is not None]
    features = file.spec.features
    if features.table:
        predictions = Cohort(cohort_dir).tables / "predictions"
        tables = [path.stem for path in sorted(predictions.glob("*.parquet"))]
        check_names(Named(f"{name}, features.table", "table of predictions", [features.table]), tables)
        columns = set(pq.read_schema(predictions / f"{features.table}.parquet").names)
        check_names(Named(f"{name}, features.columns", f"column of {features.table}", features.columns), columns)
        phenotypes |= columns
    exposures = [row.name for row in file.spec.exposures if row.field is None]
    check_names(Named(f"{name}, exposures", "phenotype", exposures), phenotypes)
    _check_margins(f"{name}, fairness", file.spec.fairness.margins, {*phenotypes, *own})
    _check_departures(file, name)
    people = _spec_people(file)
    for key, names in _spec_columns(file.spec):
        check_names(Named(f"{name}, {key}", "column of people", names), people | phenotypes | {*own, *_DERIVED})
    _check_spec_conditions(file, name)


def check_names(named: Named, known: Collection[str]) -> None:
    """Refuse the first name that is not known.

    Raises:
        UserMistake: with the nearest known name, or all of them if they are few.
    """
    for name in named.names:
        if name not in known:
            near = nearest(name, known, are_cells=named.are_cells)
            raise UserMistake(f"{named.where}: there is no {named.what} {name!r}{near}{named.remedy}")


def phenotype_names(cohort_dir: Path) -> set[str]:
    """Every phenotype of the dictionary, and the columns of the cohort's own table."""
    known = {row.name for row in PHENOTYPES} | {row.name for row in PERFUSION_PHENOTYPES}
    table = Cohort(cohort_dir).tables / "phenotypes.parquet"
    return known | (set(pq.read_schema(table).names) if table.exists() else set())


def _columns(path: Path, where: str, columns: dict[str, str], mapped: str) -> set[str]:
    """Our names of a table's columns.

    Raises:
        UserMistake: the table is not there, or a column that is mapped is not.
    """
    if not path.is_file():
        near = [other.name for other in sorted(path.parent.glob("*")) if other.is_file()]
        raise UserMistake(f"{where}: there is no file {path.name!r}{nearest(path.name, near)}")
    header = table_header(path)
    check_names(Named(mapped, f"column of {path.name}", columns.values()), header)
    ours = {their: our for our, their in columns.items()}
    return {ours.get(name, name) for name in header}


def _group_columns(group_by: Iterable[str]) -> list[str]:
    parts = [part for name in group_by for part in name.split(INTERSECTION)]
    further = ["height_cm", "weight_kg"] if "bmi_class" in parts else []
    return parts + further


def _spec_phenotypes(file: SpecFile, cohort_dir: Path) -> set[str]:
    table = file.spec.tables.phenotypes
    return set(table_header(file.path(table))) if table else phenotype_names(cohort_dir)


def _spec_people(file: SpecFile) -> set[str]:
    """Columns of the participants that the spec reads or builds; fields are checked against the export's header."""
    spec, tables = file.spec, file.spec.tables
    if not tables.ukb:
        path = file.path(tables.participants)
        header = table_header(path)
        ours = {their: our for our, their in tables.columns.items()}
        people = {ours.get(name, name) for name in header}
        check_names(Named(f"spec, tables.participants ({path.name})", "column", _PEOPLE), people)
        return people
    there = {str(column.field) for name in table_header(file.path(tables.ukb)) if (column := parse_column(name))}
    fields = sorted(spec_fields(spec))
    described = {str(number) for number in fields if field_of(number, further_fields(spec)) is not None}
    check_names(Named("spec, fields", "description of field", map(str, fields)), described | set(map(str, FIELDS)))
    wanted = list(map(str, fields))
    check_names(Named(f"spec, tables.ukb ({tables.ukb})", "column of field", wanted), there)
    return {*_PEOPLE, "nation", *spec.people}


def _spec_columns(spec: StudySpec) -> list[tuple[str, Iterable[str]]]:
    """Key -> columns that are named there."""
    return [
        *((f"covariate_sets.{name}", names) for name, names in spec.covariate_sets.items()),
        ("strata", spec.strata),
        ("types", spec.types),
        ("fairness.group_by", spec.fairness.group_by),
        *(("fairness.intersections", parts) for parts in spec.fairness.intersections),
        *((f"fairness.decompose.{name}", names) for name, names in spec.fairness.decompose.items()),
        ("fairness.quality", spec.fairness.quality),
        *(("fairness.agreement", (row.measured, row.reference)) for row in spec.fairness.agreement),
        *((f"prediction.steps.{name}", names) for name, names in spec.prediction.steps.items()),
        ("prediction.fold_by", [spec.prediction.fold_by] if spec.prediction.fold_by else []),
        ("participation.margins", spec.participation.margins),
        ("exclusions", [rule.column for rule in spec.exclusions if rule.column]),
    ]


def _check_departures(file: SpecFile, name: str) -> None:
    """Reasons are given for values that do differ from the registered spec."""
    differ = {row["path"] for row in file.departures}
    known = {path.rsplit(".", k)[0] for path in differ for k in range(path.count(".") + 1)}
    check_names(Named(f"{name}, departures", "departure at", [row.path for row in file.spec.departures]), known)


def _check_spec_conditions(file: SpecFile, name: str) -> None:
    tables = file.spec.tables
    if tables.ukb:
        return
    path = file.path(tables.outcomes)
    ours = {their: our for our, their in tables.columns.items()}
    told = {ours.get(column, column) for column in table_header(path)}
    check_names(Named(f"{name}, tables.outcomes ({path.name})", "column", OUTCOME_KEYS), told)
    column = next(column for column in table_header(path) if ours.get(column, column) == "condition")
    named = Named(f"{name}, conditions", f"condition in {path.name}", file.spec.conditions, are_cells=True)
    check_names(named, column_words(path, column))
