"""STROBE and TRIPOD+AI, filled in as far as a run knows: what was done, with which number, in which file.

Items are named in our own words; their numbers are those of the statements. What only people can write is left to them,
and says so.

Reference:
    STROBE: von Elm 2007, 10.1371/journal.pmed.0040296. TRIPOD+AI: Collins 2024, 10.1136/bmj-2023-078378.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from cmr_models.analysis.spec import OutcomeDefinition, StudySpec
from tasks.analysis.spec_file import SpecFile
from tasks.report.markdown import table
from tasks.state.parquet_tables import read_table

_BY_HAND = "to be written by the authors"

Item = tuple[str, str, Callable[["Facts"], str]]


@dataclass(frozen=True)
class Facts:
    """What a run can fill in.

    Attributes:
        file: the spec.
        tables: published tables by name.
    """

    file: SpecFile
    tables: Mapping[str, pd.DataFrame]

    @classmethod
    def of(cls, file: SpecFile, folder: Path) -> Facts:
        """The facts of a folder of results."""
        return cls(file, {path.stem: read_table(path) for path in sorted(folder.glob("*.parquet"))})

    @property
    def spec(self) -> StudySpec:
        """The spec."""
        return self.file.spec

    def at(self, *names: str) -> str:
        """The files of those tables that there are."""
        found = [f"`{name}.parquet`" for name in names if name in self.tables]
        return ", ".join(found) if found else "not run yet"

    def n(self, step: str) -> str:
        """People at a step of the flow, as published."""
        flow = self.tables.get("flow", pd.DataFrame(columns=["step", "outcome", "n"]))
        found = flow.loc[(flow["step"] == step) & (flow["outcome"] == ""), "n"]
        return f"{found.iloc[0]:.0f}" if len(found) and pd.notna(found.iloc[0]) else "a suppressed number of"


def strobe(facts: Facts) -> str:
    """The STROBE checklist (cohort studies) as Markdown."""
    return _page("STROBE, cohort study", _STROBE, facts)


def tripod_ai(facts: Facts) -> str:
    """The TRIPOD+AI checklist as Markdown."""
    return _page("TRIPOD+AI", _TRIPOD, facts)


def _page(title: str, items: Sequence[Item], facts: Facts) -> str:
    rows = [(number, what, fill(facts)) for number, what, fill in items]
    by_hand = sum(answer == _BY_HAND for _, _, answer in rows)
    intro = (
        f"Analysis `{facts.spec.name}`, spec digest `{facts.file.digest}`. Filled in by the run: {len(rows) - by_hand}"
        f" of {len(rows)} items; the others say *{_BY_HAND}*. Files lie beside this page.\n"
    )
    return "\n".join((f"# {title}\n", intro, table(("Item", "About", "Here"), rows)))


def _by_hand(_: Facts) -> str:
    return _BY_HAND


def _sources(facts: Facts) -> str:
    names = [_definition(outcome) for outcome in facts.spec.outcomes] or [", ".join(facts.spec.conditions)]
    return "; ".join(names)


def _definition(outcome: OutcomeDefinition) -> str:
    sources = ", ".join(
        f"{source.kind} {'/'.join(source.codes)}{f' field {source.field}' if source.field else ''}".strip()
        for source in outcome.sources
    )
    listed = f", code list {outcome.code_list}" if outcome.code_list else ""
    return f"{outcome.name} ({sources}{listed})"


def _dates(facts: Facts) -> str:
    dates = facts.spec.dates
    if dates is None:
        return "entry and exit as the outcome table gives them"
    ends = "; ".join(
        f"{register}: " + ", ".join(f"{nation} {day}" for nation, day in days.items())
        for register, days in dates.censoring.items()
    )
    return f"entry: imaging visit (field {dates.entry_field}, instance {facts.spec.instance}); records end {ends}"


def _eligibility(facts: Facts) -> str:
    rules = "; ".join(rule.name for rule in facts.spec.exclusions) or "none"
    return f"first imaging visit; excluded: {rules}; numbers: {facts.at('flow')}"


def _variables(facts: Facts) -> str:
    exposures = ", ".join(f"{row.name} ({row.transform})" for row in facts.spec.exposures)
    return f"exposures {exposures}; outcomes {_sources(facts)}"


def _covariates(facts: Facts) -> str:
    sets = "; ".join(f"{name}: {', '.join(names)}" for name, names in facts.spec.covariate_sets.items())
    strata = f"; strata {', '.join(facts.spec.strata)}" if facts.spec.strata else ""
    return f"age, and {sets}; primary: {facts.spec.primary}{strata}"


def _missing(facts: Facts) -> str:
    n = facts.spec.missing.imputations
    imputed = f"; {n} imputations by chained equations beside them ({facts.at('hazards_imputed')})" if n else ""
    return f"complete cases of each model{imputed}"


def _sensitivity(facts: Facts) -> str:
    windows = facts.spec.windows
    washout = f"; follow-up from day {windows.incident_from_days}" if windows.incident_from_days else ""
    return (
        f"covariate sets, imputation, participation weights: {facts.at('hazards_imputed', 'hazards_weighted')}{washout}"
    )


def _participants(facts: Facts) -> str:
    return f"{facts.n('participants')} people came, {facts.n('analysed')} are analysed; {facts.at('flow')}"


def _outcome_data(facts: Facts) -> str:
    hazards = facts.tables.get("hazards")
    if hazards is None:
        return facts.at("hazards")
    rows = hazards[(hazards["scale"] == "per_sd") & (hazards["covariate_set"] == facts.spec.primary)]
    largest = rows.groupby("outcome", sort=False)["n_events"].max()
    counts = ", ".join(f"{name} {n:.0f}" if pd.notna(n) else f"{name} not published" for name, n in largest.items())
    return f"events: {counts}"


def _fairness(facts: Facts) -> str:
    fairness = facts.spec.fairness
    groups = ", ".join((*fairness.group_by, *(" x ".join(parts) for parts in fairness.intersections)))
    margins = ", ".join(f"{name} {margin:g}" for name, margin in fairness.margins.items()) or "none stated"
    return f"by {groups}; margins of equivalence: {margins}; {facts.at('fairness', 'fairness_prediction')}"


def _evaluation(facts: Facts) -> str:
    plan = facts.spec.prediction
    apparent = "adjusted models of `discrimination.parquet` are apparent: tested on those they were fitted to"
    if not plan.steps:
        return apparent
    folds = f"each group of {plan.fold_by} by the others" if plan.fold_by else f"{plan.folds} folds of people"
    sets = "; ".join(f"{name}: {', '.join(columns)}" for name, columns in plan.steps.items())
    return f"nested sets ({sets}), {plan.learner}, {folds}; features of a network as a cross-fitted score; {apparent}"


def _performance(facts: Facts) -> str:
    files = facts.at("prediction", "prediction_calibration", "prediction_decisions", "discrimination")
    return f"{files}; by group: {facts.at('fairness_prediction', 'group_pairs')}{_seen(facts)}"


def _seen(facts: Facts) -> str:
    """Names of exposures from a network that has seen people of the cohort, or may have."""
    named = {
        (str(row.exposure), str(row.seen_in_training))
        for table in facts.tables.values()
        if "seen_in_training" in table
        for row in table[["exposure", "seen_in_training"]].drop_duplicates().itertuples()
        if row.seen_in_training in ("yes", "unknown")
    }
    if not named:
        return ""
    listed = ", ".join(f"{name} ({word})" for name, word in sorted(named))
    return f"; from a network whose training may overlap this cohort: {listed}"


def _protocol(facts: Facts) -> str:
    registered = facts.file.registered_digest
    if not registered:
        return "spec in `spec.json`; no registered spec is named"
    unexplained = sum(not row["why"] for row in facts.file.departures)
    return (
        f"registered spec `{registered}`; {len(facts.file.departures)} departures, {unexplained} without a reason:"
        " `spec.json`"
    )


def _gate(facts: Facts) -> str:
    rules = facts.spec.disclosure
    base = f", rounded to {rules.base}" if rules.base else ""
    return f"numbers under {rules.threshold} are masked{base}: `disclosure_record.json`"


_STROBE: tuple[Item, ...] = (
    ("1", "title and abstract", _by_hand),
    ("2", "background", _by_hand),
    ("3", "objectives and hypotheses", _by_hand),
    ("4", "design", lambda facts: f"prospective cohort from the imaging visit; {_protocol(facts)}"),
    ("5", "setting, places, dates", _dates),
    ("6", "eligibility, follow-up", _eligibility),
    ("7", "definitions of variables", _variables),
    ("8", "sources of the data", lambda facts: f"measured by the pipeline; {_covariates(facts)}"),
    ("9", "bias", _sensitivity),
    ("10", "size of the study", lambda facts: f"all of the imaging cohort: {facts.n('analysed')} people"),
    ("11", "quantitative variables", _variables),
    ("12a", "statistical methods, confounding", _covariates),
    ("12b", "subgroups and interactions", _fairness),
    ("12c", "missing data", _missing),
    ("12d", "loss to follow-up", _dates),
    ("12e", "sensitivity analyses", _sensitivity),
    ("13", "people at each step", _participants),
    ("14", "people's characteristics, missing data", lambda facts: facts.at("flow", "fairness_measurement")),
    ("15", "outcome events", _outcome_data),
    ("16", "main results", lambda facts: facts.at("associations", "hazards")),
    ("17", "other analyses", lambda facts: facts.at("discrimination", "fairness", "group_pairs", "decomposition")),
    ("18", "key results", _by_hand),
    ("19", "limitations", _by_hand),
    ("20", "interpretation", _by_hand),
    ("21", "generalisability", lambda facts: f"participation weights: {facts.at('hazards_weighted')}"),
    ("22", "funding", _by_hand),
)

_TRIPOD: tuple[Item, ...] = (
    ("1", "title", _by_hand),
    ("2", "abstract", _by_hand),
    ("3", "background, inequalities", _by_hand),
    ("4", "objectives", _by_hand),
    ("5", "data sources and dates", _dates),
    ("6", "participants, eligibility", _eligibility),
    ("7", "preparation of the data", lambda facts: f"{_gate(facts)}; resolved settings in `spec.json`"),
    ("8", "outcome", _sources),
    ("9", "predictors", lambda facts: f"{_variables(facts)}; {_covariates(facts)}"),
    ("10", "sample size", _outcome_data),
    ("11", "missing data", _missing),
    ("12", "analytical methods", lambda facts: f"Cox on the age scale, entered at imaging; {_covariates(facts)}"),
    ("13", "class imbalance", lambda _: "none was corrected: no resampling, no reweighing"),
    ("14", "fairness, methods", _fairness),
    ("15", "output of the model", lambda facts: f"hazard ratio: {facts.at('hazards', 'discrimination')}"),
    ("16", "training and evaluation", _evaluation),
    ("17", "ethics", _by_hand),
    ("18", "open science", lambda facts: f"{_protocol(facts)}; code: this package, versions in `runs/`"),
    ("19", "patient and public involvement", _by_hand),
    ("20", "participants, flow", _participants),
    ("21", "development of the model, numbers", _outcome_data),
    ("22", "specification of the model", lambda facts: facts.at("hazards")),
    ("23", "performance", _performance),
    ("24", "updating of the model", lambda _: "none"),
    ("25", "interpretation, fairness", _by_hand),
    ("26", "limitations", _by_hand),
    ("27", "usability", _by_hand),
)  # fmt: skip
