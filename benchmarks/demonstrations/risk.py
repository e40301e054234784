"""Systemic disease and mortality from images: what is planted in a simulated cohort is found again, by group.

Disease (prevalent) and death (in follow-up) depend on true phenotypes of the heart with the ratios of :data:`PLANTED`;
cancer depends on none and is the control. In the whole cohort the ratios are estimated from phenotypes measured with
error; in the imaged part, disease and death are predicted from images, everybody by a model that never saw them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, PredefinedSplit, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.demonstrations import cinema, risk_page
from benchmarks.demonstrations.imaged_people import VOLUMES, components, image_volumes, images_of
from cmr_models.analysis.people import analysis_outcome, at_risk_rows
from cmr_models.association import fit_logistic
from cmr_models.estimates import NotEstimableError
from cmr_models.estimates.design_matrix import complete_design
from cmr_models.fairness import disaggregate, max_gap
from cmr_models.fairness.metrics import Metric, area_under_curve, concordance_index
from cmr_models.prediction import person_folds, validate_nested
from cmr_models.simulate.cohort import SimulatedCohort, simulate_cohort
from cmr_models.simulate.measured import measure_phenotypes
from cmr_models.simulate.planted import CohortSettings
from cmr_models.survival import fit_cox

COVARIATES = ("age_years", "sex", "height_cm", "weight_kg", "systolic_mmhg", "smoking", "deprivation")
PLANTED = {
    "hypertension": ("lvm_g", 2.5),
    "diabetes": ("lvsv_ml", 0.4),
    "death": ("lvef_pct", 0.5),
}
"""Condition -> phenotype, and odds ratio (of death: hazard ratio) per SD of the true phenotype."""
CONTROL = ("cancer", "lvm_g")
GROUPS = ("sex", "age_band")
FEATURES, IMAGE_VOLUMES, TRUTH = "CineMA features", "volumes of the segmentation", "true phenotypes"

_FOLDS, _HORIZON_YEARS = 5, 5.0
_NUMBERS = ("estimate", "ci_low", "ci_high")


@dataclass(frozen=True)
class Extent:
    """How many people, how many of them imaged, how many features."""

    people: int = 5000
    imaged: int = 1000
    components: int = 48


QUICK = Extent(400, 60, 4)


def run(work: Path, root: Path, *, quick: bool = False) -> None:
    """Simulate, image, train what is missing of the networks, predict; write results, table and figure."""
    extent = QUICK if quick else Extent()
    cohort = simulate_cohort(extent.people, np.random.default_rng(11), settings())
    people = cohort.truth.assign(visit=cohort.truth["visit"].astype(str), age_band=_age_band(cohort.truth["age_years"]))
    seen = people.head(extent.imaged).reset_index(drop=True)
    images = images_of(seen, 12, work / f"people_{extent.imaged}")
    networks = cinema.networks(work, quick=quick)
    volumes = image_volumes(networks.segmenter, images["sax"])
    features = components(networks.autoencoder, networks.unlabelled, images, extent.components)
    seen = pd.concat([seen, volumes, features], axis=1)
    results = {
        "extent": asdict(extent),
        "planted": {condition: list(what) for condition, what in PLANTED.items()},
        "agreement": _agreement(seen),
        "found": _estimate_planted(cohort, _measure(cohort, people), seen),
        "found_by_group": _estimate_by_group(cohort, _measure(cohort, people)),
        "predicted": _predict(cohort, seen, list(features)),
    }
    risk_page.write(results, root)


def settings() -> CohortSettings:
    """A cohort with many events, so that a thousand people suffice, and without missing values."""
    ratios = {condition: {phenotype: ratio} for condition, (phenotype, ratio) in PLANTED.items()}
    return CohortSettings(
        hazard_ratios={"death": ratios.pop("death")}, odds_ratios=ratios, hazard_factor=8.0, prevalence_factor=2.0,
        missing_share=0.0, failure_share=0.0,
    )  # fmt: skip


def _age_band(age_years: pd.Series) -> pd.Series:
    return pd.cut(age_years, [0, 60, 70, 200], right=False, labels=["under 60", "60 to 69", "70 and over"]).astype(str)


def _agreement(seen: pd.DataFrame) -> dict[str, float]:
    """Correlation of what is measured in images with the truth."""
    true = seen["lvedv_ml"], seen["lvesv_ml"], seen["lvef_pct"], seen["lvm_g"], seen["rvedv_ml"]
    pairs = zip(VOLUMES, true, strict=True)
    return {name: round(float(np.corrcoef(seen[name], truth)[0, 1]), 3) for name, truth in pairs}


# what was planted, found again


def _measure(cohort: SimulatedCohort, people: pd.DataFrame) -> pd.DataFrame:
    """Everybody, with phenotypes measured with error in place of the true ones."""
    measured = measure_phenotypes(cohort.truth, np.random.default_rng(13), settings()).drop(columns="visit")
    return people.drop(columns=[c for c in measured if c in people and c != "participant"]).merge(measured)


def _estimate_by_group(cohort: SimulatedCohort, whole: pd.DataFrame) -> list[dict[str, Any]]:
    """The planted ratio in each group of the whole cohort: it was planted alike in all."""
    rows = []
    for condition, (phenotype, planted) in PLANTED.items():
        outcome = analysis_outcome(whole, cohort.outcomes, condition)
        scale = float(whole[phenotype].std())
        for grouping in GROUPS:
            for group, part in outcome.groupby(grouping):
                found = _ratio(part, condition, phenotype, scale, without=grouping)
                about = {"condition": condition, "phenotype": phenotype, "planted": planted}
                rows.append({**about, "group_by": grouping, "group": str(group), **found})
    return rows


def _estimate_planted(cohort: SimulatedCohort, whole: pd.DataFrame, seen: pd.DataFrame) -> list[dict[str, Any]]:
    conditions = {**{condition: phenotype for condition, (phenotype, _) in PLANTED.items()}, CONTROL[0]: CONTROL[1]}
    rows = []
    for condition, phenotype in conditions.items():
        planted = PLANTED[condition][1] if condition in PLANTED else 1.0
        sources = {"measured, whole cohort": (whole, phenotype)}
        if f"image_{phenotype}" in VOLUMES:
            sources["from images, imaged part"] = (seen, f"image_{phenotype}")
        for source, (table, column) in sources.items():
            outcome = analysis_outcome(table, cohort.outcomes, condition)
            estimate = _ratio(outcome, condition, column, float(table[column].std()))
            rows.append(
                {"condition": condition, "phenotype": phenotype, "planted": planted, "source": source, **estimate}
            )
    return rows


def _ratio(table: pd.DataFrame, condition: str, column: str, scale: float, without: str = "") -> dict[str, Any]:
    """Odds ratio of disease, or hazard ratio of death on the age scale, per ``scale`` of ``column``."""
    scaled = table.assign(per_sd=(table[column] - table[column].mean()) / scale)
    covariates = ["per_sd", *(name for name in COVARIATES if name != without)]
    if condition == "death":
        scaled = at_risk_rows(scaled)
        covariates.remove("age_years")  # is the time scale
        fit: Any = fit_cox(scaled, entry="entry_years", exit="exit_years", event="event", covariates=covariates)
        n_events = int(scaled["event"].sum())
    else:
        fit = fit_logistic(scaled, outcome="prevalent", covariates=covariates)
        n_events = int(scaled["prevalent"].sum())
    row = fit.estimates.set_index("term").loc["per_sd"]
    ratio, low, high = (round(float(np.exp(row[name])), 3) for name in ("coef", "ci_low", "ci_high"))
    return {"ratio": ratio, "ci_low": low, "ci_high": high, "n": len(scaled), "n_events": n_events}


# what images tell of people whom the model never saw


def _predict(cohort: SimulatedCohort, seen: pd.DataFrame, features: Sequence[str]) -> list[dict[str, Any]]:
    rows = []
    for condition in (*PLANTED, CONTROL[0]):
        table = analysis_outcome(seen, cohort.outcomes, condition)
        rng = np.random.default_rng(14)
        if condition == "death":
            table = at_risk_rows(table).reset_index(drop=True)
            table = table.assign(years=table["exit_years"] - table["entry_years"])
            table["fold"] = person_folds(table["participant"], table["event"], _FOLDS, rng)
            scores, metric = _survival_scores(table, features, rng), _concordance
        else:
            table = table.reset_index(drop=True)
            table["fold"] = person_folds(table["participant"], table["prevalent"], _FOLDS, rng)
            scores, metric = _disease_scores(table, condition, features), _area
        for name, score in scores.items():
            rows += _by_group(table.assign(score=score), condition, str(name), metric())
    return rows


def _area() -> Metric:
    return area_under_curve("prevalent", "score")


def _concordance() -> Metric:
    return concordance_index("years", "event", "score", within="fold")


def _columns(condition: str, features: Sequence[str]) -> dict[str, list[str]]:
    planted = PLANTED[condition][0] if condition in PLANTED else CONTROL[1]
    return {"covariates": [], TRUTH: [planted], IMAGE_VOLUMES: list(VOLUMES), FEATURES: list(features)}


def _disease_scores(table: pd.DataFrame, condition: str, features: Sequence[str]) -> pd.DataFrame:
    """Chance of prevalent disease of each person by a ridge-penalised logistic model of the other folds."""
    scores = {}
    for name, more in _columns(condition, features).items():
        x = complete_design(table, [*COVARIATES, *more]).to_numpy(float)
        plain = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
        penalties = {"logisticregression__C": list(np.logspace(-4, 1, 6))}
        model = GridSearchCV(plain, penalties, cv=5, scoring="neg_log_loss")  # inside the training folds
        split = PredefinedSplit(table["fold"])
        scores[name] = cross_val_predict(model, x, table["prevalent"], cv=split, method="predict_proba")[:, 1]
    return pd.DataFrame(scores)


def _survival_scores(table: pd.DataFrame, features: Sequence[str], rng: np.random.Generator) -> pd.DataFrame:
    """Log relative hazard of death of each person by Cox models of the other folds."""
    sets = {name: [*COVARIATES, *more] for name, more in _columns("death", features).items() if name != FEATURES}
    shared: dict[str, Any] = {"exit": "years", "event": "event", "fold": table["fold"], "horizon": _HORIZON_YEARS}
    plain = validate_nested(table, sets, rng=rng, **shared).score
    deep = validate_nested(
        table, {"covariates": COVARIATES}, rng=rng, deep=features, deep_name=FEATURES, **shared
    ).score
    return plain.assign(**{FEATURES: deep[FEATURES]})


def _by_group(table: pd.DataFrame, condition: str, name: str, metric: Metric) -> list[dict[str, Any]]:
    """The measure overall and by group, and the largest gap of each grouping beside what chance gives."""
    event = "event" if condition == "death" else "prevalent"
    found = disaggregate(metric, table, GROUPS, events=event)
    found = found.reindex(columns=[*found, *(name for name in (*_NUMBERS, "se") if name not in found)])
    rows = []
    for grouping in ("overall", *GROUPS):
        part = found[found["group_by"] == grouping]
        gap = {} if grouping == "overall" else _gap(part)
        for row in part.to_dict("records"):
            numbers = {key: _known(row[key]) for key in _NUMBERS}
            about: dict[str, Any] = {key: row[key] for key in ("group_by", "group", "status", "reason")}
            about |= {key: int(row[key]) for key in ("n", "n_events")}
            rows.append({"condition": condition, "predictors": name, **about, **numbers, **gap})
    return rows


def _gap(part: pd.DataFrame) -> dict[str, Any]:
    try:
        largest = max_gap(part["group"].tolist(), part["estimate"], part["se"], np.random.default_rng(0))
    except NotEstimableError as error:
        return {"gap": None, "gap_by_chance_q95": None, "gap_reason": error.reason}
    return {"gap": round(largest.value, 3), "gap_by_chance_q95": round(largest.null_q95, 3)}


def _known(value: float) -> float | None:
    return round(float(value), 3) if np.isfinite(value) else None
