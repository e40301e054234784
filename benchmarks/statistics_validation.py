"""Whether the statistics recover planted effects: coverage, type I error, false discoveries, power, level.

    python -m benchmarks.statistics_validation [--replicates 400] [--people 70000] [--only NAME ...] [--out FILE]

One simulated cohort of full size, and many small ones for each important model. Every proportion is given with its
number of replicates, so that its sampling error is known. Results are written after each experiment; a stopped run can
be continued with ``--only``.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from cmr_models.analysis.imputation import impute, nelson_aalen, pool
from cmr_models.analysis.participation_weights import inverse_probability_weights
from cmr_models.association import fit_logistic, scan
from cmr_models.association.multiplicity import benjamini_hochberg
from cmr_models.fairness.audit import audit
from cmr_models.fairness.metrics import bias, concordance_index, hazard_ratio
from cmr_models.fairness.standardisation import decompose_gap
from cmr_models.simulate.cohort import SimulatedCohort, simulate_cohort
from cmr_models.simulate.measured import measure_phenotypes
from cmr_models.simulate.planted import CohortSettings, GroupGap
from cmr_models.survival import fit_cox, fit_fine_gray

Rows = list[dict[str, Any]]
_Z95 = float(stats.norm.ppf(0.975))
_ADJUSTED = ("sex", "systolic_mmhg", "bmi", "smoking", "deprivation")
_BUSY = CohortSettings(missing_share=0.0, hazard_factor=5.0, prevalence_factor=2.0)
_INDEPENDENT = ("lvef_pct", "lvm_g", "lvedv_ml", "heart_rate_bpm")
_LEVEL, _Q = 0.05, 0.05


def main() -> None:
    """Run the experiments, print their results and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicates", type=int, default=400)
    parser.add_argument("--people", type=int, default=70_000, help="size of the one large cohort")
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--only", nargs="*", choices=sorted(_EXPERIMENTS))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "statistics_validation.json")
    given = parser.parse_args()
    results = json.loads(given.out.read_text()) if given.only and given.out.exists() else {}
    for name, experiment in _EXPERIMENTS.items():
        if given.only and name not in given.only:
            continue
        started = time.process_time()
        n = given.people if name == "large_cohort" else given.replicates
        rows = experiment(n, np.random.default_rng([given.seed, *name.encode()]))
        results[name] = {"n": n, "seed": given.seed, "cpu_s": round(time.process_time() - started, 1), "rows": rows}
        for row in rows:
            print(name, row, flush=True)
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")


def large_cohort(people: int, rng: np.random.Generator) -> Rows:
    """Every planted hazard and odds ratio in one cohort of full size, at the default incidence."""
    settings = CohortSettings(missing_share=0.0)
    cohort = simulate_cohort(people, rng, settings)
    rows = []
    for condition, table in _by_condition(cohort):
        for model, planted in (("cox_age", settings.hazard_ratios), ("logistic", settings.odds_ratios)):
            for exposure, ratio in planted.get(condition, {}).items():
                fitted = _fit(model, table, exposure, float(cohort.truth[exposure].std(ddof=1)))
                low, high = (fitted[0] + side * _Z95 * fitted[1] for side in (-1, 1))
                row = {"model": model, "outcome": condition, "exposure": exposure, "planted": ratio}
                row |= {"n_events": int(table[_OUTCOME[model]].sum()), "estimate": float(np.exp(fitted[0]))}
                rows.append(
                    {**row, "ci_low": float(np.exp(low)), "ci_high": float(np.exp(high)),
                     "covered": bool(low <= np.log(ratio) <= high)}
                )  # fmt: skip
    return rows


def ratios(replicates: int, rng: np.random.Generator) -> Rows:
    """Coverage of planted ratios and type I error where there is none (cancer), 3,000 people each."""
    inside: dict[str, list[bool]] = {}
    rejected: dict[str, list[bool]] = {}
    for _ in range(replicates):
        cohort = simulate_cohort(3000, rng, _BUSY)
        sd = cohort.truth.std(ddof=1, numeric_only=True)
        for condition, table in _by_condition(cohort):
            for model, planted in (("cox_age", _BUSY.hazard_ratios), ("logistic", _BUSY.odds_ratios)):
                for exposure, ratio in planted.get(condition, {}).items():
                    coef, se = _fit(model, table, exposure, float(sd[exposure]))
                    inside.setdefault(model, []).append(abs(coef - np.log(ratio)) <= _Z95 * se)
                for exposure in _INDEPENDENT if condition == "cancer" else ():
                    coef, se = _fit(model, table, exposure, 1.0)
                    rejected.setdefault(model, []).append(abs(coef / se) > _Z95)
    rows = [_share_row(f"{model}: coverage of 95 % intervals", inside[model], 0.95, 0.93, 0.97) for model in inside]
    return rows + [_share_row(f"{model}: type I error", rejected[model], _LEVEL, 0.04, 0.06) for model in rejected]


def fine_gray(replicates: int, rng: np.random.Generator) -> Rows:
    """Coverage of a planted subdistribution hazard ratio, 1,000 people each, independent censoring.

    A cohort gives only one coefficient, so there are five times as many cohorts: the sampling error must be smaller
    than the accepted range.
    """
    inside, rejected = [], []
    for _ in range(5 * replicates):
        table = _draw_competing(1000, 0.5, rng)
        terms = fit_fine_gray(table, exit="exit", event="cause", cause=1, covariates=["x", "z"]).estimates
        terms = terms.set_index("term")
        inside.append(abs(terms.loc["x", "coef"] - 0.5) <= _Z95 * terms.loc["x", "se"])
        rejected.append(abs(terms.loc["z", "coef"] / terms.loc["z", "se"]) > _Z95)
    return [
        _share_row("fine_gray: coverage of 95 % intervals", inside, 0.95, 0.93, 0.97),
        _share_row("fine_gray: type I error", rejected, _LEVEL, 0.04, 0.06),
    ]


def false_discoveries(replicates: int, rng: np.random.Generator) -> Rows:
    """Benjamini-Hochberg over a scan: 40 correlated exposures, 10 of them with an effect, 5 binary outcomes."""
    proportions, found = [], []
    for _ in range(replicates):
        x = np.column_stack([_draw_correlated(2000, 10, rng), _draw_correlated(2000, 30, rng)])
        covariates = pd.DataFrame({"age": rng.standard_normal(2000)})
        score = 0.12 * x[:, :10].sum(axis=1) / 2 + 0.3 * covariates["age"].to_numpy()
        y = (rng.random((2000, 5)) < 1 / (1 + np.exp(2 - score[:, None]))).astype(float)
        exposures = pd.DataFrame(x, columns=[f"x{j}" for j in range(40)])
        outcomes = pd.DataFrame(y, columns=[f"y{j}" for j in range(5)])
        table = scan(exposures, outcomes, covariates, family="logistic")
        hit = benjamini_hochberg(table["minus_log10_p"].to_numpy(float)) <= _Q
        true = table["exposure"].str[1:].astype(int).to_numpy() < 10
        proportions.append(float((hit & ~true).sum() / max(hit.sum(), 1)))
        found.append(float((hit & true).sum() / true.sum()))
    rate, error = float(np.mean(proportions)), float(np.std(proportions, ddof=1) / np.sqrt(replicates))
    row = {"what": f"false discovery rate at q = {_Q}", "value": rate, "se": error, "replicates": replicates}
    return [
        {**row, "expected": 0.75 * _Q, "low": 0.0, "high": _Q, "met": rate <= _Q},
        {"what": "share of true effects found", "value": float(np.mean(found)), "replicates": replicates},
    ]


def fairness_gaps(replicates: int, rng: np.random.Generator) -> Rows:
    """Power for a planted gap, level without a gap, and level of the claim of equivalence.

    The gaps are one point of ejection fraction in one of six groups (3 % of people), and a phenotype that predicts
    nothing in women (concordance, hazard ratio). The expected power is that of the homogeneity test (noncentral
    chi-squared) at the mean standard errors of the runs with a gap.
    """
    error = GroupGap("ethnicity", "black", ef_bias_pct=1.0)
    blind = GroupGap("sex", "female", effect_factor=0.0)
    cases = (
        ("ef_bias", "ethnicity", error, "black"),
        ("concordance", "sex", blind, "female"),
        ("hazard_ratio", "sex", blind, "female"),
    )
    rows: Rows = []
    for name, by, planted, group in cases:
        present = [_gap(name, by, planted, rng) for _ in range(replicates)]
        absent = [_gap(name, by, None, rng) for _ in range(replicates)]
        power = float(np.mean([_stated_power(values, errors) for values, errors in [_average(present)]]))
        caught = [run["p"] <= _LEVEL and group in run["groups"] for run in present]
        rows.append(_power_row(f"{name} by {by}: planted gap found and its group named", caught, power))
        level = [run["p"] <= _LEVEL for run in absent]
        rows.append(_share_row(f"{name} by {by}: absent gap called one", level, _LEVEL, 0.0, 0.08))
    return rows + _equivalence(replicates, rng)


def imputation(replicates: int, rng: np.random.Generator) -> Rows:
    """Cox with a covariate missing at random given the outcome and another covariate, 800 people each.

    It is missing in many people (about 45 %, more than half of those with the event) or in few (about 12 %).
    """
    rows: Rows = []
    for amount, intercept in (("many gaps", -1.0), ("few gaps", -3.0)):
        found: dict[str, list[tuple[float, float]]] = {"complete cases": [], "multiple imputation": []}
        for _ in range(replicates):
            table = _draw_with_gaps(800, rng, intercept)
            found["complete cases"].append(_cox(table.dropna(), "x"))
            found["multiple imputation"].append(_fit_imputed(table, rng))
        for name, fits in found.items():
            coef, se = np.array(fits).T
            inside = list(np.abs(coef - 0.5) <= _Z95 * se)
            limits = (0.93, 0.97) if name == "multiple imputation" else (None, None)
            row = _share_row(f"{name}, {amount}: coverage of 95 % intervals", inside, 0.95, *limits)
            rows.append({**row, "bias": float(coef.mean() - 0.5), "mean_se": float(se.mean())})
    return rows


def decomposition(replicates: int, rng: np.random.Generator) -> Rows:
    """Coverage of each part of a planted gap: acquisition 0.4, prevalence 0.3, model 0.5."""
    planted = {"acquisition": 0.4, "prevalence": 0.3, "model": 0.5, "total": 1.2}
    inside: dict[str, list[bool]] = {name: [] for name in planted}
    for _ in range(replicates):
        group = rng.random(1500) < 0.3
        bmi = 26 + 2 * group + 4 * rng.standard_normal(1500)
        disease = (rng.random(1500) < 0.1 + 0.1 * group).astype(float)
        error = 0.2 * bmi + 3 * disease + 0.5 * group + 2 * rng.standard_normal(1500)
        data = pd.DataFrame(
            {"error": error, "bmi": bmi, "disease": disease, "group": np.where(group, "a", "b").astype(object)}
        )
        blocks = {"acquisition": ["bmi"], "prevalence": ["disease"]}
        parts = decompose_gap(data, "error", "group", ("a", "b"), blocks, rng, n_bootstrap=200)
        for row in parts.to_dict("records"):
            inside[row["component"]].append(row["ci_low"] <= planted[row["component"]] <= row["ci_high"])
    return [_share_row(f"{name}: coverage", found, 0.95, 0.91, 0.98) for name, found in inside.items()]


def participation(replicates: int, rng: np.random.Generator) -> Rows:
    """Mean of a trait in everybody, estimated from participants with and without weights, 4,000 people each."""
    raw, weighted = [], []
    for _ in range(replicates):
        age, ill = rng.standard_normal(4000), (rng.random(4000) < 0.3).astype(float)
        people = pd.DataFrame({"age": age, "ill": ill, "trait": age + ill + rng.standard_normal(4000)})
        people["scanned"] = rng.random(4000) < 1 / (1 + np.exp(1 + 0.5 * age + ill))
        weight = inverse_probability_weights(people, "scanned", ["age", "ill"], trim=1.0)
        chosen = people.loc[people["scanned"], "trait"]
        raw.append(float(chosen.mean() - people["trait"].mean()))
        weighted.append(float(weight @ chosen / weight.sum() - people["trait"].mean()))
    named = {"bias without weights": raw, "bias with participation weights": weighted}
    return [
        {"what": name, "value": float(np.mean(v)), "se": float(stats.sem(v)), "replicates": len(v)}
        for name, v in named.items()
    ]


_OUTCOME = {"cox_age": "event", "logistic": "prevalent"}


def _by_condition(cohort: SimulatedCohort) -> Iterator[tuple[str, pd.DataFrame]]:
    truth = cohort.truth.assign(bmi=cohort.truth["weight_kg"] / (cohort.truth["height_cm"] / 100) ** 2)
    for condition, rows in cohort.outcomes.groupby("condition", sort=True):
        columns = ["participant", "prevalent", "event", "entry_years", "exit_years"]
        yield str(condition), truth.merge(rows[columns], on="participant", validate="one_to_one")


def _fit(model: str, table: pd.DataFrame, exposure: str, sd: float) -> tuple[float, float]:
    """Log ratio per SD and its standard error."""
    if model == "logistic":
        terms = fit_logistic(table, outcome="prevalent", covariates=["age_years", *_ADJUSTED, exposure]).estimates
    else:
        free = table[table["prevalent"] == 0]
        fit = fit_cox(free, exit="exit_years", event="event", entry="entry_years", covariates=[*_ADJUSTED, exposure])
        terms = fit.estimates
    return float(terms["coef"].iloc[-1]) * sd, float(terms["se"].iloc[-1]) * sd


def _draw_competing(n: int, coef: float, rng: np.random.Generator) -> pd.DataFrame:
    """Two causes; the first has a proportional subdistribution hazard (Fine & Gray 1999, section 5)."""
    x, z = rng.standard_normal(n), rng.standard_normal(n)
    ever = 1 - 0.6 ** np.exp(coef * x)
    first = rng.random(n) < ever
    u = rng.random(n)
    inner = 1 - (1 - u * ever) ** np.exp(-coef * x)
    time_first = -np.log(1 - inner / 0.4)
    time_other = rng.exponential(1, n)
    failing = np.where(first, time_first, time_other)
    censored = rng.uniform(0.5, 4, n)
    cause = np.where(failing <= censored, np.where(first, 1, 2), 0)
    return pd.DataFrame({"exit": np.minimum(failing, censored), "cause": cause, "x": x, "z": z})


def _draw_correlated(n: int, k: int, rng: np.random.Generator) -> np.ndarray:
    shared = rng.standard_normal((n, 1))
    return np.asarray(np.sqrt(0.3) * shared + np.sqrt(0.7) * rng.standard_normal((n, k)))


def _gap(name: str, by: str, planted: GroupGap | None, rng: np.random.Generator) -> dict[str, Any]:
    settings = CohortSettings(missing_share=0.0, hazard_factor=4.0, noise_sd=0.4, failure_share=0.0, gap=planted)
    cohort = simulate_cohort(4000, rng, settings)
    metric, ratio, data = _metric(name, cohort, settings, rng)
    if (
        planted is None
    ):  # with permuted labels there is no gap of any kind, not even because the phenotype varies more in a group
        data = data.assign(**{by: rng.permutation(data[by].to_numpy())})
    table = audit({name: metric}, data, [by], rng, ratios=[name] if ratio else [])
    gap = table[table["group"] == "max_gap"].iloc[0]
    cells = table[(table["group_by"] == by) & (table["group"] != "max_gap") & (table["status"] == "ok")]
    values = np.log(cells["estimate"]) if ratio else cells["estimate"]
    named = dict(zip(cells["group"], zip(values, cells["se"], strict=True), strict=True))
    return {"p": 10 ** -float(gap["minus_log10_p"]), "groups": str(gap["gap_groups"]).split(" - "), "cells": named}


def _metric(
    name: str, cohort: SimulatedCohort, settings: CohortSettings, rng: np.random.Generator
) -> tuple[Callable[[pd.DataFrame], Any], bool, pd.DataFrame]:
    if name == "ef_bias":
        measured = measure_phenotypes(cohort.truth, rng, settings)
        return bias("measured", "lvef_pct"), False, cohort.truth.assign(measured=measured["lvef_pct"])
    data = dict(_by_condition(cohort))["heart_failure"].assign(risk=lambda t: -t["lvef_pct"])
    data = data[data["prevalent"] == 0]
    if name == "concordance":
        return concordance_index("exit_years", "event", "risk", entry="entry_years"), False, data
    return hazard_ratio("risk", "exit_years", "event", entry="entry_years", covariates=["systolic_mmhg"]), True, data


def _average(runs: Rows) -> tuple[np.ndarray, np.ndarray]:
    """Mean estimate and root mean square of the standard errors of each group over the runs."""
    names = sorted({name for run in runs for name in run["cells"]})
    cells = [np.array([run["cells"][name] for run in runs if name in run["cells"]]) for name in names]
    return np.array([c[:, 0].mean() for c in cells]), np.array([np.sqrt((c[:, 1] ** 2).mean()) for c in cells])


def _stated_power(values: np.ndarray, errors: np.ndarray) -> float:
    weight = errors**-2.0
    noncentral = float((weight * (values - weight @ values / weight.sum()) ** 2).sum())
    df = len(values) - 1
    return float(stats.ncx2.sf(stats.chi2.ppf(1 - _LEVEL, df), df, noncentral))


def _equivalence(replicates: int, rng: np.random.Generator) -> Rows:
    """Two one-sided tests; where the true gap equals the margin, they may claim equivalence in 5 % of the runs."""
    claimed: dict[str, list[bool]] = {"no gap": [], "a gap of the margin": []}
    for _ in range(replicates):
        for name, shift in (("no gap", 0.0), ("a gap of the margin", 1.0)):
            group = np.repeat(["a", "b"], 400).astype(object)
            data = pd.DataFrame({"group": group, "reference": np.zeros(800)})
            data["measured"] = 3 * rng.standard_normal(800) + shift * (group == "a")
            table = audit({"bias": bias("measured", "reference")}, data, ["group"], rng, margins={"bias": 1.0})
            claimed[name].append(float(table["equivalence_p"].iloc[-1]) <= _LEVEL)
    none = _share_row("equivalence claimed, no gap", claimed["no gap"], float("nan"), None, None)
    at = _share_row("equivalence claimed, a gap of the margin", claimed["a gap of the margin"], _LEVEL, 0.0, 0.08)
    return [none, at]


def _draw_with_gaps(n: int, rng: np.random.Generator, intercept: float = -1.0) -> pd.DataFrame:
    z = rng.standard_normal(n)
    x = 0.5 * z + rng.standard_normal(n)
    failing = rng.exponential(1 / (0.1 * np.exp(0.5 * x + 0.3 * z)))
    censored = rng.uniform(2, 8, n)
    table = pd.DataFrame({"exit": np.minimum(failing, censored), "event": (failing <= censored).astype(float)})
    table = table.assign(x=x, z=z)
    missing = rng.random(n) < 1 / (1 + np.exp(-intercept - 1.2 * table["event"] - 0.5 * z))
    table.loc[missing, "x"] = np.nan
    return table


def _cox(table: pd.DataFrame, term: str) -> tuple[float, float]:
    terms = fit_cox(table, exit="exit", event="event", covariates=["z", "x"]).estimates.set_index("term")
    return float(terms.loc[term, "coef"]), float(terms.loc[term, "se"])


def _fit_imputed(table: pd.DataFrame, rng: np.random.Generator) -> tuple[float, float]:
    table = table.assign(hazard=nelson_aalen(table["exit"], table["event"]))
    columns, products = ["x", "z", "event", "hazard"], [("z", "hazard")]
    fits = [_cox(one, "x") for one in impute(table, columns, rng, n_imputations=10, products=products)]
    pooled = pool([coef for coef, _ in fits], [se for _, se in fits])
    # Half the interval over the normal quantile, so that the t interval is what is judged.
    return pooled.estimate, (pooled.ci_high - pooled.ci_low) / 2 / _Z95


def _share_row(what: str, found: list[bool], expected: float, low: float | None, high: float | None) -> dict[str, Any]:
    share = float(np.mean(found))
    row: dict[str, Any] = {"what": what, "value": share, "replicates": len(found)}
    row["se"] = float(np.sqrt(share * (1 - share) / len(found)))
    if low is None or high is None:
        return row
    return {**row, "expected": expected, "low": low, "high": high, "met": bool(low <= share <= high)}


def _power_row(what: str, found: list[bool], stated: float) -> dict[str, Any]:
    """Met where the proportion found is at least the expected power less three standard errors."""
    error = np.sqrt(stated * (1 - stated) / len(found))
    return _share_row(what, found, stated, float(max(stated - 3 * error - 0.02, 0)), 1.0)


_EXPERIMENTS: dict[str, Callable[[int, np.random.Generator], Rows]] = {
    "large_cohort": large_cohort,
    "ratios": ratios,
    "fine_gray": fine_gray,
    "false_discoveries": false_discoveries,
    "fairness_gaps": fairness_gaps,
    "imputation": imputation,
    "decomposition": decomposition,
    "participation": participation,
}

if __name__ == "__main__":
    main()
