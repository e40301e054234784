"""A small cohort on disk for tests of the report: phantom hearts, a ledger, tables and estimates, with given texts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from cmr_models.contracts import LA, LV, MYOCARDIUM, RA, RV, cine_study, cine_view, prediction
from cmr_models.estimates import COLUMNS, TEXT_COLUMNS
from tasks.derive.phenotype_tables import write_tables
from tasks.state.ledger import Outcome, open_ledger
from tasks.state.store import Cohort, publish
from tasks.state.zarr_encoding import encode_tree

FRAMES, SLICES, SIDE = 8, 6, 64


@dataclass(frozen=True)
class Texts:
    """Texts from outside that are shown on pages."""

    study: str = "1000012-2"
    title: str = "A cohort"
    condition: str = "heart_failure"
    centre: str = "north"
    detail: str = "found in the test"
    model: str = "default"


def phantom(rng: np.random.Generator) -> tuple[xr.DataTree, dict[str, npt.NDArray[np.uint8]]]:
    """Concentric discs that contract, and a crescent beside them; short axis and 4-chamber view with labels."""
    row, col = np.mgrid[:SIDE, :SIDE] - SIDE / 2
    radius = np.hypot(row, col)
    labels = {
        "sax": np.zeros((FRAMES, SLICES, SIDE, SIDE), np.uint8),
        "lax_4c": np.zeros((FRAMES, 1, SIDE, SIDE), np.uint8),
    }
    for frame in range(FRAMES):
        pool = 10 - 3 * np.sin(np.pi * frame / FRAMES)
        for z in range(SLICES):
            labels["sax"][frame, z] = _disc(radius, col, pool - z)
        four = _disc(radius, col, pool)
        four[(row > 16) & (np.abs(col - 6) < 8)] = LA
        four[(row > 16) & (np.abs(col + 12) < 8)] = RA
        labels["lax_4c"][frame, 0] = four
    return cine_study({name: _view(label, rng) for name, label in labels.items()}, key="study key"), labels


def _disc(radius: npt.NDArray[np.float64], col: npt.NDArray[np.float64], pool: float) -> npt.NDArray[np.uint8]:
    label = np.zeros(radius.shape, np.uint8)
    label[(radius < 20) & (col < -4)] = RV
    label[radius < 13] = MYOCARDIUM
    label[radius < pool] = LV
    return label


def _view(label: npt.NDArray[np.uint8], rng: np.random.Generator) -> xr.Dataset:
    bright = np.asarray([60, 300, 120, 320, 310, 305])[label] + rng.normal(0, 12, label.shape)
    slices = label.shape[1]
    return cine_view(
        np.clip(bright, 0, 4095).astype(np.uint16),
        time_ms=np.arange(FRAMES) * 100.0,
        pixel_mm=(1.8, 1.8),
        position_mm=np.c_[np.zeros((slices, 2)), 10.0 * np.arange(slices)],
        row_dir=(1, 0, 0),
        col_dir=(0, 1, 0),
        slice_mm=10.0 if slices > 1 else float("nan"),
        thickness_mm=8.0,
        heart_rate_bpm=75.0,
    )


def write_cohort(root: Path, *, people: int = 40, images: int = 2, texts: Texts = Texts()) -> dict[str, Any]:
    """Write a cohort under ``root``; returns the resolved settings of its report.

    The first study is called ``texts.study``. The last five were quarantined at conversion, for four different reasons.
    """
    cohort = Cohort(root / "cohort")
    rng = np.random.default_rng(3)
    studies = [texts.study, *(f"{2000000 + k}-2" for k in range(1, people))]
    with open_ledger(cohort.ledger) as ledger:
        for k, study in enumerate(studies):
            ledger.record(_outcomes(study, k, people, texts, rng))
        write_tables(ledger, cohort)
    tree, labels = phantom(rng)
    for study in studies[:images]:
        publish(encode_tree(tree), cohort.study(study))
        publish(
            encode_tree(
                prediction(
                    labels,
                    key="prediction key",
                    model=texts.model,
                    weights={"sax": "ef" * 32},
                    licences={"sax": "CC-BY-NC-SA-4.0"},
                )
            ),
            cohort.prediction("default", study),
        )
    participants = root / "participants.csv"
    _participants(studies).to_csv(participants, index=False)
    for name, table in estimates(texts).items():
        cohort.estimates.mkdir(parents=True, exist_ok=True)
        table.to_parquet(cohort.estimates / f"{name}.parquet", index=False)
    return {
        "participants": str(participants),
        "outcomes": str(root / "outcomes.csv"),
        "segment": {"model": "default"},
        "analysis": {"minimum_cell": 5, "covariates": ["sex", "height_cm"], "seed": 1},
        "report": {"title": texts.title, "study_pages_max": 2000},
    }


def _outcomes(study: str, k: int, people: int, texts: Texts, rng: np.random.Generator) -> list[Outcome]:
    if k >= people - 5:
        reason = ("zip_corrupt", "no_dicom", "no_dicom", "wrong_series", "dicom_corrupt")[k - people + 5]
        upstream = [Outcome(study, stage, "quarantined", "upstream", reason) for stage in ("segment", "derive")]
        return [Outcome(study, "convert", "quarantined", reason, texts.detail, f"c{k}"), *upstream]
    ed_ml = 150 + 25 * rng.standard_normal()
    ef = 60 + 5 * rng.standard_normal()
    curve = ed_ml * (1 - ef / 100 * np.sin(np.pi * np.arange(FRAMES) / FRAMES))
    numbers = {"lvedv_ml": ed_ml, "lvef_pct": ef, "lvesv_ml": ed_ml * (1 - ef / 100), "lvm_g": 100.0 + k}
    summary = {
        "phenotypes": {**numbers, "ed_frame": 0.0, "es_frame": 4.0, "heart_rate_bpm": 75.0},
        "missing": {},
        "quality": {"qc_stroke_volumes": k % 6 != 0, "qc_sax_slices": True},
        "quality_reasons": ["stroke_volumes_differ"] if k % 6 == 0 else [],
        "curves": {
            "time_ms": [100.0 * frame for frame in range(FRAMES)],
            "lv_ml": curve.tolist(),
            "rv_ml": (curve * 1.05).tolist(),
            "myocardium_ml": [95.0] * FRAMES,
        },
    }
    flags = {"views": {"sax": {"flags": ["slice_gap"] if k == 1 else []}}, "excluded": []}
    return [
        Outcome(study, "convert", "ok", key=f"c{k}", summary=flags),
        Outcome(study, "segment", "ok", key=f"s{k}"),
        Outcome(study, "derive", "ok", key=f"d{k}", summary=summary),
    ]


def _participants(studies: list[str]) -> pd.DataFrame:
    split = [study.rpartition("-") for study in studies]
    sexes = ["female", "male"] * len(studies)
    rows = [{"participant": p, "visit": v, "sex": sex} for (p, _, v), sex in zip(split, sexes, strict=False)]
    return pd.DataFrame(rows)


def estimates(texts: Texts) -> dict[str, pd.DataFrame]:
    """One table of each kind as the statistics stages write them: masked, with failed fits as rows."""
    ratios = [
        {
            "exposure": name,
            "scale": "per_sd",
            "outcome": outcome,
            "estimate": estimate,
            "minus_log10_p": p,
            "q": q,
        }
        for name, outcome, estimate, p, q in (
            ("lvef_pct", texts.condition, 0.55, 6.0, 0.0001),
            ("lvedv_ml", texts.condition, 1.3, 1.2, 0.2),
            ("lvef_pct", "death", 0.7, 3.0, 0.004),
        )
    ]
    failed = {"exposure": "lvm_g", "scale": "per_sd", "outcome": "cancer", "status": "suppressed", "n_events": np.nan,
              "reason": "small_cell", "estimate": np.nan, "minus_log10_p": np.nan, "q": np.nan}  # fmt: skip
    logistic = {"model": "logistic", "measure": "odds_ratio"}
    cox = {"model": "cox_age", "measure": "hazard_ratio"}
    concordance = {
        "scale": "absolute",
        "measure": "concordance",
        "estimate": 0.7,
        "minus_log10_p": 4.0,
        "q": 0.01,
    }
    return {
        "associations": _table([{**logistic, **row} for row in (*ratios, failed)]),
        "hazards": _table([{**cox, **row} for row in (*ratios, failed)]),
        "discrimination": _table(
            {**concordance, "exposure": "lvef_pct", "outcome": texts.condition, "model": model}
            for model in ("harrell_phenotype", "harrell_adjusted", "uno_adjusted")
        ),
        "survival_curves": _survival(texts),
        "fairness": _fairness(texts, {**cox, "exposure": "lvef_pct", "outcome": texts.condition, "scale": "per_sd"}),
    }


def _table(rows: Any, extra: tuple[str, ...] = ()) -> pd.DataFrame:
    common: Mapping[str, Any] = {
        "unit": "%", "group_by": "overall", "group": "all", "n": 35.0, "n_events": 12.0, "se": 0.1, "ci_low": 0.5,
        "ci_high": 1.4, "z": 3.0, "family": "left_ventricle", "status": "ok", "reason": "", "spec_digest": "cd" * 16,
    }  # fmt: skip
    table = pd.DataFrame([{**common, **row} for row in rows])
    return table[[*COLUMNS, *extra]].astype(dict.fromkeys(TEXT_COLUMNS, "str"))


def _survival(texts: Texts) -> pd.DataFrame:
    rows = [
        {"exposure": "lvef_pct", "outcome": texts.condition, "scale": "absolute", "model": "kaplan_meier",
         "measure": "survival", "group_by": "quartile", "group": f"Q{q}", "years": float(year), "n": 40.0,
         "n_at_risk": 40.0 - 5 * year, "n_events": 6.0 * year, "estimate": 1 - 0.03 * q * year,
         "ci_low": 1 - 0.04 * q * year, "ci_high": 1 - 0.02 * q * year, "minus_log10_p": np.nan, "q": np.nan}
        for q in range(1, 5)
        for year in range(6)
    ]  # fmt: skip
    return _table(rows, ("years", "n_at_risk"))


def _fairness(texts: Texts, about: Mapping[str, Any]) -> pd.DataFrame:
    blank = {"estimate": np.nan, "ci_low": np.nan, "ci_high": np.nan, "minus_log10_p": np.nan, "q": np.nan}
    groups = [
        {"group_by": "overall", "group": "all", "estimate": 0.6, "minus_log10_p": 2.0, "q": np.nan},
        {"group_by": "sex", "group": "female", "estimate": 0.5, "minus_log10_p": 2.0, "q": np.nan},
        {"group_by": "sex", "group": "male", "estimate": 0.7, "minus_log10_p": 2.0, "q": np.nan},
        {"group_by": "centre", "group": texts.centre, "estimate": 0.65, "minus_log10_p": 1.0, "q": np.nan},
        {"group_by": "centre", "group": "south", "n": np.nan, "n_events": np.nan, "status": "suppressed",
         "reason": "small_cell", **blank},
        {"group_by": "sex", "group": "max_gap", "measure": "gap", "estimate": 0.34, "minus_log10_p": 1.4, "q": 0.04,
         "gap_groups": "male - female", "null_q95": 0.3, "not_estimable": ""},
    ]  # fmt: skip
    filled = [{"gap_groups": "", "null_q95": np.nan, "not_estimable": "", **about, **row} for row in groups]
    return _table(filled, ("gap_groups", "null_q95", "not_estimable"))
