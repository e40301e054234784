"""The inputs of the report: ledger, phenotypes, participants, estimates; and why one of them is missing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from sys import intern
from typing import Any

import pandas as pd

from cmr_models.contracts import TableSpec
from cmr_models.contracts.checks import check_table
from cmr_models.contracts.identifiers import study_key
from cmr_models.contracts.tables import ESTIMATE_TABLE
from cmr_models.phenotypes.states import states_of
from tasks.convert.convert_stage import CONVERT
from tasks.derive.derive_stage import DERIVE
from tasks.derive.perfusion_tables import PERFUSION_TABLE, perfusion_path
from tasks.derive.phenotype_tables import PHENOTYPE_TABLE, with_state
from tasks.execution.plan import present_studies
from tasks.report.settings import ReportSettings
from tasks.sources.withdrawn import withdrawn_people, without_withdrawn
from tasks.stages import STAGES
from tasks.state.ledger import Outcome, open_ledger
from tasks.state.parquet_tables import read_table
from tasks.state.store import Cohort, model_name
from tasks.state.user_tables import read_user_table

MAIN_STAGES = DERIVE.lineage
"""The way of a cine from the archive to its phenotypes: every study ends somewhere on it."""

_OUTCOME_COLUMNS = ("study", "stage", "status", "reason", "detail", "key", "flags", "left_out")
_FILES = ("participants", "outcomes", "withdrawn")
ESTIMATES = ("associations", "hazards", "discrimination", "survival_curves", "fairness")


@dataclass(frozen=True)
class ReportInputs:
    """What the report needs of a run's resolved settings, beside its own section.

    Attributes:
        report: its own section.
        model: name of the model whose labels are measured and shown.
        minimum_cell: the smallest count that may be published.
        participants: the user's table of people.
        outcomes: the user's table of conditions.
        withdrawn: the list of people who withdrew.
        include_doubted: whether numbers of people take in doubted studies.
        columns: our name -> the participants' table's, where they differ.
        resolved: all settings, as plain values.
    """

    report: ReportSettings = field(default_factory=ReportSettings)
    model: str = "default"
    minimum_cell: int = 5
    participants: Path | None = None
    outcomes: Path | None = None
    withdrawn: Path | None = None
    include_doubted: bool = False
    columns: Mapping[str, str] = field(default_factory=dict)
    resolved: Mapping[str, Any] = field(default_factory=dict)


def report_inputs(resolved: Mapping[str, Any]) -> ReportInputs:
    """The report's part of resolved settings, given as plain values; what is left out keeps its default."""
    analysis = resolved.get("analysis", {})
    paths = {name: Path(resolved[name]) for name in _FILES if resolved.get(name)}
    return ReportInputs(
        report=ReportSettings(**resolved.get("report", {})),
        model=model_name(str(resolved.get("segment", {}).get("model", ReportInputs.model))),
        minimum_cell=int(analysis.get("minimum_cell", ReportInputs.minimum_cell)),
        include_doubted=bool(analysis.get("include_doubted", ReportInputs.include_doubted)),
        columns=dict(analysis.get("participant_columns", {})),
        resolved=dict(resolved),
        **paths,
    )


@dataclass(frozen=True)
class ReportTables:
    """The tables of one report; one that is not there is None and has a sentence in ``absent``.

    ``outcomes`` are those of the main stages, ``steps`` (study, stage, status, reason) those of every stage of a run,
    ``people_flow`` (outcome, group_by, step, n) whom the joins of the statistics kept and left out, ``perfusion`` the
    table of the perfusion stage, ``not_taken``
    (ending -> n) the files of the sources that are part of no study. ``include_doubted``: whether numbers of people
    take in doubted studies.
    """

    outcomes: pd.DataFrame
    steps: pd.DataFrame
    phenotypes: pd.DataFrame | None
    participants: pd.DataFrame | None
    estimates: Mapping[str, pd.DataFrame]
    absent: Mapping[str, str]
    people_flow: pd.DataFrame | None = None
    perfusion: pd.DataFrame | None = None
    not_taken: Mapping[str, int] = field(default_factory=dict)
    include_doubted: bool = False

    @property
    def has_images(self) -> bool:
        """Whether images of any study were read; without them a table of phenotypes was given."""
        return len(self.outcomes) > 0 or self.phenotypes is None

    @property
    def described(self) -> pd.DataFrame:
        """Those of the measured studies whose numbers are shown for groups: doubted ones only if they are taken in."""
        if self.phenotypes is None:
            return pd.DataFrame()
        passed = ("passed", "doubted") if self.include_doubted else ("passed",)
        return self.phenotypes[states_of(self.phenotypes).isin(passed)]

    @property
    def measured(self) -> pd.DataFrame:
        """Phenotypes of the studies that ended well, with ``sex`` where the cohort knows it."""
        if self.phenotypes is None:
            return pd.DataFrame()
        return self.phenotypes[self.phenotypes["status"] == "ok"]


def read_tables(cohort: Cohort, settings: ReportInputs) -> ReportTables:
    """Everything the report is made from."""
    absent: dict[str, str] = {}
    withdrawn = withdrawn_people(cohort.root, settings.withdrawn)
    participants = _participants(settings, absent)
    phenotypes = _phenotypes(cohort, withdrawn)
    if phenotypes is None:
        absent["phenotypes"] = "No study has been measured yet: `cmr-cohort derive` writes the table of phenotypes."
    else:
        phenotypes = _with_sex(phenotypes, participants)
    estimates = read_estimates(cohort)
    absent |= {name: _why_no_estimates(settings) for name, table in estimates.items() if table is None}
    absent |= {name: _EMPTY for name, table in estimates.items() if table is not None and table.empty}
    return ReportTables(
        outcomes=_without(_outcomes(cohort), withdrawn),
        steps=_without(_steps(cohort, phenotypes), withdrawn),
        phenotypes=phenotypes,
        participants=participants,
        estimates={name: table for name, table in estimates.items() if table is not None and len(table)},
        absent=absent,
        people_flow=_read_if_there(cohort.tables / "people_flow.parquet", None),
        perfusion=read_perfusion(cohort, withdrawn),
        not_taken=read_not_taken(cohort),
        include_doubted=settings.include_doubted,
    )


def read_not_taken(cohort: Cohort) -> dict[str, int]:
    """Ending -> how many files of the sources are part of no study."""
    if not cohort.ledger.exists():
        return {}
    with open_ledger(cohort.ledger) as ledger:
        return ledger.not_taken()


def read_perfusion(cohort: Cohort, withdrawn: frozenset[str]) -> pd.DataFrame | None:
    """The table of perfusion without people who withdrew; None if there is none."""
    table = _read_if_there(perfusion_path(cohort), PERFUSION_TABLE)
    return None if table is None else without_withdrawn(table, withdrawn)


def _without(studies: pd.DataFrame, withdrawn: frozenset[str]) -> pd.DataFrame:
    """Rows of studies, those of people who withdrew left out."""
    named = studies.assign(participant=studies["study"].str.rpartition("-")[0]) if len(studies) else studies
    return without_withdrawn(named, withdrawn).drop(columns="participant", errors="ignore")


def read_estimates(cohort: Cohort) -> dict[str, pd.DataFrame | None]:
    """Every table of estimates; None for one that is not there."""
    return {name: _read_if_there(cohort.estimates / f"{name}.parquet", ESTIMATE_TABLE) for name in ESTIMATES}


_EMPTY = "The analysis ran, but no combination of phenotype, condition and group could be tested."


def _why_no_estimates(settings: ReportInputs) -> str:
    if settings.participants is None:
        return "No table of participants is configured (participants in the settings), so nothing was tested."
    if settings.outcomes is None:
        return "No table of outcomes is configured (outcomes in the settings), so nothing was tested."
    return "The analysis has not been run on this cohort yet: type cmr-cohort associate, then cmr-cohort risk."


def _phenotypes(cohort: Cohort, withdrawn: frozenset[str]) -> pd.DataFrame | None:
    """The table of phenotypes, with the state of each study, without people who withdrew; None if it is not there."""
    found = _read_if_there(cohort.tables / "phenotypes.parquet", None)
    if found is None:
        return None
    table = with_state(found)
    check_table(table, PHENOTYPE_TABLE)
    return without_withdrawn(table, withdrawn)


def _read_if_there(path: Path, contract: TableSpec | None) -> pd.DataFrame | None:
    return read_table(path, contract) if path.exists() else None


def _participants(settings: ReportInputs, absent: dict[str, str]) -> pd.DataFrame | None:
    path = settings.participants
    if path is None or not path.exists():
        absent["participants"] = "No table of participants is configured, so there are no results by group."
        return None
    table = read_user_table(path, settings.columns)
    missing = [settings.columns.get(name, name) for name in ("participant", "visit", "sex") if name not in table]
    if missing:
        absent["participants"] = f"The table of participants lacks {missing}; map its columns in the settings."
        return None
    study = table["participant"].astype(str) + "-" + table["visit"].astype(str)
    return pd.DataFrame({"study": study, "sex": _sex(table["sex"])}).drop_duplicates("study")


def _sex(column: pd.Series) -> pd.Series:
    """``male`` or ``female`` from words or UK Biobank's code (field 31: 0 female, 1 male); else missing."""
    known = {"male": "male", "m": "male", "1": "male", "1.0": "male"}
    known |= {"female": "female", "f": "female", "0": "female", "0.0": "female"}
    return column.astype("str").str.strip().str.lower().map(known)


def _with_sex(phenotypes: pd.DataFrame, participants: pd.DataFrame | None) -> pd.DataFrame:
    if participants is None:
        return phenotypes.assign(sex=None)
    sexes = participants.set_index("study")["sex"]
    return phenotypes.assign(sex=phenotypes["study"].map(study_key).map(sexes))


def _outcomes(cohort: Cohort) -> pd.DataFrame:
    """How every study ended at every stage: one row each; retired ones left out."""
    found = [pd.DataFrame([], columns=list(_OUTCOME_COLUMNS))]
    if cohort.ledger.exists():
        with open_ledger(cohort.ledger) as ledger:
            for stage in MAIN_STAGES:  # a table a stage: rows as tuples take many times its memory
                told = ledger.with_parts(stage, *(("views", "excluded") if stage == CONVERT.name else ()))
                rows = [_outcome_row(outcome) for outcome in told if outcome.status != "retired"]
                found.append(pd.DataFrame(rows, columns=list(_OUTCOME_COLUMNS)))
    return pd.concat(found, ignore_index=True)


def _steps(cohort: Cohort, phenotypes: pd.DataFrame | None) -> pd.DataFrame:
    """How every study stands at every stage of a run; retired ones left out.

    Where no study went through a stage, the studies are those of a table of phenotypes that was given.
    """
    rows = []
    if cohort.ledger.exists():
        with open_ledger(cohort.ledger) as ledger:
            for stage in (stage.name for stage in STAGES if not stage.on_demand):
                present = present_studies(ledger.entries(stage))
                rows += [(study, stage, entry.status, entry.reason) for study, entry in present.items()]
    if not rows and phenotypes is not None:
        given = phenotypes[["study", "status", "reason"]].itertuples(index=False)
        rows = [(study, DERIVE.name, status, reason) for study, status, reason in given]
    return pd.DataFrame(rows, columns=["study", "stage", "status", "reason"])


def _outcome_row(outcome: Outcome) -> tuple[Any, ...]:
    """How a study ended, with flags and left out series, which convert alone tells."""
    views = outcome.summary.get("views", {}).values()
    flags = {str(flag).split(":")[0] for view in views for flag in view.get("flags", [])}
    left_out = [str(series.get("reason", "")) for series in outcome.summary.get("excluded", [])]
    return (
        *(getattr(outcome, name) for name in _OUTCOME_COLUMNS[:6]),
        intern(json.dumps(sorted(flags))),
        intern(json.dumps(sorted(left_out))),
    )


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table by column name."""
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]
