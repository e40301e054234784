"""Cohorts with planted small cells, as tables and a ledger, and their release as a run makes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from cmr_models.simulate.measured import example_tables
from tasks.analysis.by_settings import UserFiles, associate, risk
from tasks.analysis.settings import AnalysisSettings
from tasks.derive import perfusion_tables
from tasks.derive.phenotype_tables import write_tables
from tasks.evaluation.cohort import EvaluateSettings, evaluate
from tasks.report import render_report
from tasks.state import store
from tasks.state.ledger import Outcome, open_ledger
from tasks.state.store import Cohort
from tasks.state.zarr_encoding import encode_tree

PHENOTYPES = ("lvef_pct", "lvedv_ml")
NETWORK = "regressor"
Quality = Callable[[int], dict[str, bool]]


def draw(n: int, seed: int) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Phenotypes, participants and outcomes of ``n`` measured people."""
    phenotypes, participants, outcomes = example_tables(3 * n, np.random.default_rng(seed))
    phenotypes = phenotypes[phenotypes["status"] == "ok"].iloc[:n].reset_index(drop=True)
    own = participants["participant"].isin(phenotypes["participant"])
    participants = participants[own].reset_index(drop=True)
    for name in ("height_cm", "weight_kg"):
        participants[name] = participants[name].fillna(170.0 if name == "height_cm" else 75.0)
    return phenotypes, participants, outcomes.copy()


def _kept(_: int) -> dict[str, bool]:
    return {"qc_sax_slices": True}


def write(
    folder: Path,
    phenotypes: pd.DataFrame,
    participants: pd.DataFrame,
    outcomes: pd.DataFrame,
    reasons: Sequence[str] = (),
    quality: Quality = _kept,
) -> Cohort:
    """The user's tables, the ledger and the table of phenotypes of a cohort.

    Args:
        folder: of all.
        phenotypes: a row a measured person.
        participants: the user's.
        outcomes: the user's.
        reasons: of studies that are set aside, one each.
        quality: place of a person -> quality rule and whether it is kept.
    """
    participants.to_csv(folder / "participants.csv", index=False)
    outcomes.to_csv(folder / "outcomes.csv", index=False)
    cohort = Cohort(folder / "cohort")
    cohort.ledger.unlink(missing_ok=True)
    with open_ledger(cohort.ledger) as ledger:
        for k, row in enumerate(phenotypes.to_dict("records")):
            ledger.record(_measured(row, quality(k)))
        for k, reason in enumerate(reasons):
            study = f"900000{k}-2"
            later = [Outcome(study, stage, "quarantined", "upstream", reason) for stage in ("segment", "derive")]
            ledger.record([Outcome(study, "convert", "quarantined", reason, "", f"x{k}"), *later])
        write_tables(ledger, cohort)
    return cohort


def _measured(row: dict[str, Any], quality: dict[str, bool]) -> list[Outcome]:
    study = f"{row['participant']}-{row['visit']}"
    names = ("lvedv_ml", "lvesv_ml", "lvef_pct", "lvm_g", "heart_rate_bpm")
    summary = {
        "phenotypes": {**{name: float(row[name]) for name in names}, "ed_frame": 0.0, "es_frame": 4.0},
        "missing": {}, "quality": quality, "curves": {},
        "quality_reasons": [name for name, kept in quality.items() if not kept],
    }  # fmt: skip
    flags = {"views": {"sax": {"flags": []}}, "excluded": []}
    return [
        Outcome(study, "convert", "ok", key="c", summary=flags),
        Outcome(study, "segment", "ok", key="s"),
        Outcome(study, "derive", "ok", key="d", summary=summary),
    ]


def write_perfusion(cohort: Cohort, measured: int, failed: int, limited: int, *, of: Sequence[str]) -> None:
    """First passes of the first studies of ``of``: some measured, of them some with a limitation, and some failed."""
    found = []
    for k, study in enumerate(of):
        if k < measured:
            numbers = {"mpr": 2.0 + 0.1 * (k % 7), "mbf_rest_ml_min_g": 0.8 + 0.02 * (k % 5)}
            limits = {"rest": ["level_assumed"] if k < limited else []}
            found.append(
                Outcome(study, "perfusion", "ok", key="p", summary={"phenotypes": numbers, "limitations": limits})
            )
        elif k < measured + failed:
            found.append(Outcome(study, "perfusion", "quarantined", "perfusion_clipped", key="p"))
        else:
            found.append(Outcome(study, "perfusion", "absent", "no_perfusion", key="p"))
    with open_ledger(cohort.ledger) as ledger:
        ledger.record(found)
        perfusion_tables.write_tables(ledger, cohort)


def publish(folder: Path, minimum: int = 5) -> Path:
    """Statistics and report, as a run makes them."""
    settings = AnalysisSettings(
        phenotypes=PHENOTYPES, conditions=("hypertension", "death"), covariates=("sex",), group_by=("sex", "centre"),
        permutations=9, minimum_cell=minimum,
    )  # fmt: skip
    files = UserFiles(folder / "participants.csv", folder / "outcomes.csv")
    for stage in (associate, risk):
        stage(folder / "cohort", settings, files)
    report = {"participants": str(files.participants), "outcomes": str(files.outcomes), "report": {"title": "Attacked"},
              "analysis": {"minimum_cell": minimum}}  # fmt: skip
    render_report(folder / "cohort", report)
    return folder / "cohort"


def publish_evaluation(folder: Path, references: pd.DataFrame, minimum: int = 5) -> None:
    """An evaluation of a network that reads an ejection fraction, of the studies that have a reference.

    Args:
        folder: of :func:`write`.
        references: ``study``, ``lvef_pct``; what the network says is one point more or less.
        minimum: the smallest number of studies that may be shown.
    """
    cohort = Cohort(folder / "cohort")
    tree = xr.DataTree.from_dict({"/answer": xr.Dataset({"value": ("class", np.ones(1))})})
    tree.attrs.update(key="k", study_key="s", task="regression_ef", classes=[])
    store.publish(encode_tree(tree), cohort.prediction(NETWORK, str(references["study"].iloc[0])))
    off = np.where(np.arange(len(references)) % 2, 1.0, -1.0)
    said = references.assign(status="ok", reason="", ef=references["lvef_pct"] + off).drop(columns="lvef_pct")
    (cohort.tables / "predictions").mkdir(parents=True, exist_ok=True)
    said.to_parquet(cohort.tables / "predictions" / f"{NETWORK}.parquet")
    references.to_csv(folder / "references.csv", index=False)
    evaluate(cohort, EvaluateSettings(
        predictions=NETWORK, reference=folder / "references.csv", participants=folder / "participants.csv",
        group_by=("sex",), minimum_cell=minimum, resamples=100,
    ))  # fmt: skip
