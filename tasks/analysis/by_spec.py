"""An analysis by its spec: tables through the gate, with all that vouches for them.

They lie in ``tables/analyses/<name>/<digest>/``. One folder holds one spec's results: ``*.parquet``, ``spec.json``
(resolved, with digest and departures), ``disclosure_record.json`` (what the gate did, in the form of ACRO),
``strobe.md`` and ``tripod_ai.md``. Another spec of the same name has another digest and another folder; its tables are
compared with those already there, so that two releases do not give a few people away by subtraction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from cmr_models.analysis.accuracy_by_group import decomposition_rows, measurement_audit, pair_rows, prediction_audit
from cmr_models.analysis.disclosure.gate import Gate, GateRules
from cmr_models.analysis.estimates_by_group import fairness_rows
from cmr_models.analysis.nested_models import (
    Predicted,
    PredictionPlan,
    calibration_rows,
    decision_rows,
    predict_outcomes,
    prediction_rows,
)
from cmr_models.analysis.people import AnalysisSpec, analysis_people
from cmr_models.analysis.regressions import association_rows, discrimination_rows, hazard_rows, overall_family, with_q
from cmr_models.analysis.sensitivity import imputed_hazards, weighted_hazards
from cmr_models.analysis.survival_curves import curve_rows
from tasks.analysis.by_settings import ONE_CURVE
from tasks.analysis.checklists import Facts, strobe, tripod_ai
from tasks.analysis.features import features_path, with_leakage
from tasks.analysis.page import render_analysis
from tasks.analysis.spec_file import SpecFile, as_json, read_spec
from tasks.analysis.spec_tables import SpecTables, input_files, read_tables
from tasks.state.disclosure_record import keep_record
from tasks.state.parquet_tables import publish_table, table_key
from tasks.state.store import Cohort, digest, digest_bytes, publish_bytes

VERSION = 2

Stage = Literal["associate", "risk", "fairness"]
STAGES: Mapping[Stage, tuple[str, ...]] = {
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
# Tables of curves: the column along which they run, and those that name one.
_CURVES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "survival_curves": ("years", ONE_CURVE),
    "prediction_decisions": ("threshold", ("exposure", "outcome")),
}
_UNTESTED = ("flow", *_CURVES, "fairness", "decomposition", "prediction_calibration")


@dataclass(frozen=True)
class _Inputs:
    file: SpecFile
    tables: SpecTables
    people: pd.DataFrame
    models: AnalysisSpec

    @property
    def plan(self) -> PredictionPlan:
        """What the spec predicts; without features that it leaves out."""
        spec, features = self.file.spec, self.tables.features
        given = spec.prediction.model_dump(include=set(_PLANNED))
        excluded = features.seen and spec.features.seen == "exclude"
        columns = () if excluded else features.columns
        return PredictionPlan(
            **given,
            features=columns,
            minimum_events=spec.minimum_events,
            minimum_cell=spec.disclosure.threshold,
            seed=spec.seed,
        )

    @cached_property
    def predicted(self) -> list[Predicted]:
        """The nested models, which three tables show."""
        conditions = self.file.spec.prediction.outcomes or self.models.conditions
        return predict_outcomes(self.people, self.tables.outcomes, conditions, self.plan)


_PLANNED = ("steps", "horizon_years", "learner", "folds", "fold_by", "thresholds", "resamples")


def analysis_folder(cohort_dir: Path, file: SpecFile) -> Path:
    """Where the results of a spec lie."""
    return Cohort(cohort_dir).tables / "analyses" / file.spec.name / file.digest[:12]


def run_spec(stage: Stage, spec_path: Path, cohort_dir: Path) -> dict[str, Any]:
    """Run one stage of a spec.

    Args:
        stage: ``associate`` (prevalent disease), ``risk`` (time to events) or ``fairness`` (all of it by group).
        spec_path: ``analysis.yaml``.
        cohort_dir: the cohort's folder: phenotypes are read and results written there.

    Returns:
        ``{"status": "done" | "current", "folder": ..., "counts": {table: {row status: rows}}, "departures": n}``.

    Raises:
        FileNotFoundError: a file that the spec names, or the phenotype table, is not there.
        ValueError: a table is not as the spec or the field dictionary says.
    """
    file = read_spec(spec_path)
    folder = analysis_folder(cohort_dir, file)
    key = _key(file, cohort_dir)
    names = [name for name in STAGES[stage] if _wanted(name, file)]
    todo = [name for name in names if table_key(folder / f"{name}.parquet") != key]
    if todo:
        _make(todo, file, cohort_dir, folder, key)
    counts = {name: _counts(pd.read_parquet(folder / f"{name}.parquet")) for name in names}
    status = "done" if todo else "current"
    return {"status": status, "folder": folder, "counts": counts, "departures": len(file.departures)}


def _make(names: list[str], file: SpecFile, cohort_dir: Path, folder: Path, key: str) -> None:
    tables = read_tables(file, cohort_dir)
    models = file.spec.models(file.spec.covariate_sets[file.spec.primary])
    inputs = _Inputs(file, tables, _people(tables, file, models), models)
    publish_bytes(as_json(file), folder / "spec.json")
    gate = Gate(GateRules(file.spec.disclosure.threshold, file.spec.disclosure.base), file.digest)
    for name in names:
        made = with_leakage(_MAKERS[name](inputs), tables.features, file.spec.features.seen)
        if name in _CURVES:
            released = _released_curve(gate, name, made)
        else:
            released = gate.table(name, made, earlier=_earlier(folder, name), sensitive=_sensitive(file, made))
        released["spec_digest"] = file.digest
        keep_record(gate, folder)
        publish_table(_tested(released, name, inputs.models), folder / f"{name}.parquet", key)
    facts = Facts.of(file, folder)
    publish_bytes(strobe(facts).encode(), folder / "strobe.md")
    publish_bytes(tripod_ai(facts).encode(), folder / "tripod_ai.md")
    render_analysis(file, folder)


def _released_curve(gate: Gate, name: str, made: pd.DataFrame) -> pd.DataFrame:
    along, one = _CURVES[name]
    return gate.curve(name, made.rename(columns={along: "years"}), one).rename(columns={"years": along})


def _key(file: SpecFile, cohort_dir: Path) -> str:
    features = features_path(file, cohort_dir)
    files = [*input_files(file, cohort_dir), *([features] if features else [])]
    contents = [digest_bytes(path.read_bytes()) for path in files]
    return digest({"version": VERSION, "inputs": contents, "spec": file.digest})


def _people(tables: SpecTables, file: SpecFile, models: AnalysisSpec) -> pd.DataFrame:
    """Rows of the models, with every covariate and column that any set, margin or audit of the spec names."""
    spec = file.spec
    named = {name for names in spec.covariate_sets.values() for name in names} | set(spec.participation.margins)
    named |= {name for names in spec.fairness.decompose.values() for name in names}
    named |= {name for names in spec.prediction.steps.values() for name in names}
    named |= {spec.prediction.fold_by} if spec.prediction.fold_by else set()
    audited = {name for row in spec.fairness.agreement for name in (row.measured, row.reference)}
    audited |= set(spec.fairness.quality)
    people = analysis_people(tables.phenotypes, tables.participants, models)
    further = [name for name in sorted(named | audited) if name not in people]
    for table in (tables.participants, tables.phenotypes):
        here = [name for name in further if name in table and name not in people]
        if here:
            columns = table[["participant", "visit", *here]].astype({"participant": str, "visit": str})
            people = people.merge(columns, on=["participant", "visit"], how="left", validate="one_to_one")
    missing = [name for name in further if name not in people and name not in tables.features.columns]
    if missing:
        raise ValueError(f"the spec names columns {missing}, which neither participants nor phenotypes have")
    return tables.features.beside(people, tables.features.columns)


def _sets(inputs: _Inputs) -> Iterator[tuple[str, AnalysisSpec]]:
    """The primary set of covariates, then the others."""
    spec = inputs.file.spec
    for name in [spec.primary, *(name for name in spec.covariate_sets if name != spec.primary)]:
        yield name, spec.models(spec.covariate_sets[name])


def _each_set(
    make: Callable[[pd.DataFrame, pd.DataFrame, AnalysisSpec], pd.DataFrame], inputs: _Inputs
) -> pd.DataFrame:
    made = [make(inputs.people, inputs.tables.outcomes, models).assign(covariate_set=n) for n, models in _sets(inputs)]
    return pd.concat(made, ignore_index=True)


def _decomposition(inputs: _Inputs) -> pd.DataFrame:
    fairness = inputs.file.spec.fairness
    errors = {f"{row.measured} error": inputs.people[row.measured] - inputs.people[row.reference]
              for row in fairness.agreement}  # fmt: skip
    values = [*errors, *inputs.models.phenotypes]
    return decomposition_rows(inputs.people.assign(**errors), inputs.models, fairness.decompose, values)


def _measurement(inputs: _Inputs) -> pd.DataFrame:
    fairness = inputs.file.spec.fairness
    agreement = [(row.measured, row.reference, row.margin or np.nan) for row in fairness.agreement]
    return measurement_audit(
        inputs.people,
        inputs.models,
        agreement=agreement,
        quality=fairness.quality,
        permutations=fairness.permutations,
    )


def _imputed(inputs: _Inputs) -> pd.DataFrame:
    missing, rng = inputs.file.spec.missing, np.random.default_rng([inputs.file.spec.seed, 4])
    return imputed_hazards(
        inputs.people,
        inputs.tables.outcomes,
        inputs.models,
        rng,
        n_imputations=missing.imputations,
        n_cycles=missing.cycles,
    )


def _prediction(inputs: _Inputs) -> pd.DataFrame:
    specificity = inputs.file.spec.fairness.specificity
    return prediction_audit(inputs.people, inputs.tables.outcomes, inputs.models, specificity=specificity)


def _weighted(inputs: _Inputs) -> pd.DataFrame:
    margins = inputs.file.spec.participation.margins
    return weighted_hazards(inputs.people, inputs.tables.outcomes, inputs.models, margins)


_MAKERS: Mapping[str, Callable[[_Inputs], pd.DataFrame]] = {
    "flow": lambda inputs: inputs.tables.flow,
    "associations": lambda inputs: _each_set(association_rows, inputs),
    "hazards": lambda inputs: _each_set(hazard_rows, inputs),
    "discrimination": lambda inputs: discrimination_rows(inputs.people, inputs.tables.outcomes, inputs.models),
    "survival_curves": lambda inputs: curve_rows(inputs.people, inputs.tables.outcomes, inputs.models),
    "hazards_imputed": _imputed,
    "hazards_weighted": _weighted,
    "fairness": lambda inputs: fairness_rows(inputs.people, inputs.tables.outcomes, inputs.models),
    "fairness_prediction": _prediction,
    "fairness_measurement": _measurement,
    "group_pairs": lambda inputs: pair_rows(inputs.people, inputs.tables.outcomes, inputs.models),
    "decomposition": _decomposition,
    "prediction": lambda inputs: prediction_rows(inputs.predicted, inputs.plan),
    "prediction_calibration": lambda inputs: calibration_rows(inputs.predicted, inputs.plan),
    "prediction_decisions": lambda inputs: decision_rows(inputs.predicted, inputs.plan),
}


_PREDICTED = ("prediction", "prediction_calibration", "prediction_decisions")


def _wanted(name: str, file: SpecFile) -> bool:
    optional = {
        "hazards_imputed": file.spec.missing.imputations > 0,
        "hazards_weighted": bool(file.spec.participation.margins),
        "decomposition": bool(file.spec.fairness.decompose),
    }
    optional |= dict.fromkeys(_PREDICTED, bool(file.spec.prediction.steps))
    return optional.get(name, True)


def _tested(table: pd.DataFrame, name: str, models: AnalysisSpec) -> pd.DataFrame:
    """``q`` after the gate, over what is published: within the declared families, and within a set of covariates."""
    if name in _UNTESTED:
        return table
    family = overall_family(table, models)
    if "covariate_set" in table:
        family = table["covariate_set"] + "/" + family
    if name.startswith("fairness"):
        gap = table["measure"] == "gap"
        family = (table["model"] + "/" + table["group_by"]).where(gap, "")
        tested = with_q(table, family)
        tested.loc[~gap, "q"] = np.nan
        return tested
    return with_q(table, family)


def _earlier(folder: Path, name: str) -> dict[str, pd.DataFrame]:
    """The same table of other specs of this name."""
    others = sorted(folder.parent.glob(f"*/{name}.parquet"))
    return {path.parent.name: pd.read_parquet(path) for path in others if path.parent != folder}


def _sensitive(file: SpecFile, table: pd.DataFrame) -> bool:
    named = {row.name for row in file.spec.outcomes if row.sensitive}
    return bool(named & set(table["outcome"])) if "outcome" in table else False


def _counts(table: pd.DataFrame) -> dict[str, int]:
    return {str(status): int(n) for status, n in table["status"].value_counts().sort_index().items()}
