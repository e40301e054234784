"""Hazard ratios under other assumptions: each is the Cox model of the rows it says it is about."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from cmr_models.analysis.imputation import impute
from cmr_models.analysis.model_spec import AnalysisSpec
from cmr_models.analysis.sensitivity import imputed_hazards, weighted_hazards
from cmr_models.survival import fit_cox

SPEC = AnalysisSpec(
    phenotypes=("lvm_g",), conditions=("death",), covariates=("systolic",), minimum_events=3, minimum_events_per_term=0
)
MARGINS = {"sex": {"f": 0.7, "m": 0.3}}


def _tables(n: int = 80) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two are prevalent, one has no phenotype, one no age, one no sex; ten (of those at risk) no blood pressure."""
    rng = np.random.default_rng(3)
    people = pd.DataFrame(
        {"participant": [f"p{k}" for k in range(n)], "visit": "2", "age_years": rng.uniform(45, 70, n)}
    )
    people = people.assign(
        sex=np.where(np.arange(n) % 4 == 0, "f", "m"),
        centre=np.where(np.arange(n) % 2 == 0, "a", "b"),
        systolic=rng.normal(140, 15, n),
        lvm_g=rng.normal(90, 15, n),
    )
    years, lost = rng.exponential(9 * np.exp(-0.03 * (people["lvm_g"] - 90))), rng.uniform(2, 9, n)
    outcomes = people[["participant", "visit"]].assign(
        condition="death",
        prevalent=(np.arange(n) < 2).astype(int),
        entry_years=people["age_years"],
        exit_years=people["age_years"] + np.minimum(years, lost),
        event=(years < lost).astype(int),
        cause=0,
    )
    people.loc[2, "lvm_g"] = np.nan
    people.loc[3, "age_years"] = np.nan
    people.loc[7, "sex"] = None
    people.loc[range(10, 30, 2), "systolic"] = np.nan
    return people, outcomes.sample(frac=1, random_state=0)


@pytest.fixture(scope="module")
def tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    return _tables()


def _rows(tables: tuple[pd.DataFrame, pd.DataFrame]) -> pd.DataFrame:
    people, outcomes = tables
    rows = people.merge(outcomes, on=["participant", "visit"])
    return rows[(rows["prevalent"] == 0) & rows["lvm_g"].notna() & rows["age_years"].notna()].reset_index(drop=True)


OPTIONS = {"exit": "exit_years", "event": "event", "entry": "entry_years", "covariates": ["systolic", "lvm_g"]}


def test_a_weighted_ratio_has_the_weights_of_the_labelled_and_the_robust_error(
    tables: tuple[pd.DataFrame, pd.DataFrame],
) -> None:
    (row,) = weighted_hazards(*tables, SPEC, MARGINS).to_dict("records")
    # Weights are made of all 79 with a sex (20 f, 59 m), fitted on those at risk with all values.
    rows = _rows(tables).dropna(subset=["systolic", "sex"])
    weight = np.where(rows["sex"] == "f", 0.7 / (20 / 79), 0.3 / (59 / 79))
    fit = fit_cox(rows.assign(w=weight), weights="w", **OPTIONS)
    term, sd = fit.estimates.iloc[-1], rows["lvm_g"].std(ddof=1)
    assert row["estimate"] == pytest.approx(np.exp(term["coef"] * sd))
    assert row["se"] == pytest.approx(term["robust_se"] * sd)
    assert row["ci_low"] == pytest.approx(np.exp((term["coef"] - 1.959964 * term["robust_se"]) * sd), rel=1e-6)
    assert (row["n"], row["n_events"]) == (len(rows), rows["event"].sum())
    named = ("exposure", "unit", "scale", "outcome", "model", "measure", "group_by", "group")
    assert [row[name] for name in named] == [
        "lvm_g", "g", "per_sd", "death", "cox_age_weighted", "hazard_ratio", "overall", "all",
    ]  # fmt: skip


def test_strata_and_covariates_are_those_of_the_spec(tables: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    spec = SPEC.model_copy(update={"strata": ("centre",)})
    (row,) = weighted_hazards(*tables, spec, MARGINS).to_dict("records")
    rows = _rows(tables).dropna(subset=["systolic", "sex"])
    weight = np.where(rows["sex"] == "f", 0.7 / (20 / 79), 0.3 / (59 / 79))
    term = fit_cox(rows.assign(w=weight), weights="w", strata="centre", **OPTIONS).estimates.iloc[-1]
    assert row["estimate"] == pytest.approx(np.exp(term["coef"] * rows["lvm_g"].std(ddof=1)))


def test_an_imputed_ratio_is_rubins_of_the_completed_tables(tables: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    found = imputed_hazards(*tables, SPEC, np.random.default_rng(8), n_imputations=3, n_cycles=2).set_index("model")
    rows = _rows(tables)
    complete = rows.dropna(subset=["systolic"])
    term, sd = fit_cox(complete, **OPTIONS).estimates.iloc[-1], complete["lvm_g"].std(ddof=1)
    alone = found.loc["cox_age_complete"]
    assert alone["estimate"] == pytest.approx(np.exp(term["coef"] * sd))
    assert alone["se"] == pytest.approx(term["se"] * sd)
    assert (alone["n"], alone["n_events"]) == (len(complete), complete["event"].sum())

    # The hazard of everybody over the time at risk, by hand: deaths over those under observation, from entry to exit.
    deaths = sorted(rows.loc[rows["event"] == 1, "exit_years"])
    at_risk = [((rows["entry_years"] < t) & (rows["exit_years"] >= t)).sum() for t in deaths]
    hazard = [
        sum(1 / n for t, n in zip(deaths, at_risk, strict=True) if row["entry_years"] < t <= row["exit_years"])
        for _, row in rows.iterrows()
    ]
    own = ["age_years", "systolic", "lvm_g"]
    filled = impute(
        rows.assign(hazard=hazard), [*own, "event", "hazard"], np.random.default_rng(8),
        n_imputations=3, n_cycles=2, products=[(name, "hazard") for name in own],
    )  # fmt: skip
    terms = [fit_cox(one, **OPTIONS).estimates.iloc[-1] for one in filled]
    sd = rows["lvm_g"].std(ddof=1)
    coef, se = (np.array([term[name] for term in terms]) * sd for name in ("coef", "se"))
    within, between = (se**2).mean(), coef.var(ddof=1) * 4 / 3
    pooled = found.loc["cox_age_imputed"]
    assert pooled["estimate"] == pytest.approx(np.exp(coef.mean()), rel=1e-6)
    assert pooled["se"] == pytest.approx(np.sqrt(within + between), rel=1e-6)
    assert pooled["fraction_missing"] == pytest.approx(between / (within + between), rel=1e-4)
    df = 2 / pooled["fraction_missing"] ** 2
    z = coef.mean() / pooled["se"]
    assert pooled["z"] == pytest.approx(z, rel=1e-6)
    assert pooled["minus_log10_p"] == pytest.approx(-np.log10(2 * stats.t.sf(abs(z), df)), rel=1e-3)
    reach = stats.t.ppf(0.975, df) * pooled["se"]
    assert pooled["ci_high"] == pytest.approx(np.exp(coef.mean() + reach), rel=1e-4)
    assert pooled["ci_low"] == pytest.approx(np.exp(coef.mean() - reach), rel=1e-4)
    assert (pooled["n"], pooled["n_events"]) == (len(rows), rows["event"].sum())


def test_where_nothing_is_missing_imputing_changes_nothing(tables: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    people, outcomes = tables
    people = people.assign(systolic=people["systolic"].fillna(140.0))
    found = imputed_hazards(people, outcomes, SPEC, np.random.default_rng(0), n_imputations=2).set_index("model")
    columns = ["estimate", "se", "ci_low", "ci_high", "z", "minus_log10_p", "n", "n_events"]
    np.testing.assert_allclose(
        found.loc["cox_age_imputed", columns].astype(float), found.loc["cox_age_complete", columns].astype(float)
    )
    assert found.loc["cox_age_imputed", "fraction_missing"] == 0


def test_what_cannot_be_estimated_says_why_at_its_bound(tables: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    rows = _rows(tables)
    complete, everybody = (int(part["event"].sum()) for part in (rows.dropna(subset=["systolic"]), rows))
    assert complete < everybody

    def reasons(**change: object) -> dict[str, str]:
        spec = SPEC.model_copy(update=change)
        table = imputed_hazards(*tables, spec, np.random.default_rng(0), n_imputations=2, n_cycles=1)
        return dict(zip(table["model"].str.removeprefix("cox_age_"), table["reason"], strict=True))

    assert reasons(minimum_events=complete) == {"complete": "", "imputed": ""}
    assert reasons(minimum_events=complete + 1) == {"complete": "too_few_cases", "imputed": ""}
    assert reasons(minimum_events=everybody + 1) == {"complete": "too_few_cases", "imputed": "too_few_cases"}
    assert reasons(minimum_events_per_term=complete / 2) == {"complete": "", "imputed": ""}
    assert reasons(minimum_events_per_term=complete / 2 + 0.01) == {"complete": "too_few_per_term", "imputed": ""}
    people, outcomes = tables
    for values, reason in (
        (90.0, "collinear"),
        (people["participant"].map(outcomes.set_index("participant")["event"]), "separation"),
    ):
        table = weighted_hazards(people.assign(lvm_g=values), outcomes, SPEC, MARGINS)
        assert table["reason"].tolist() == [reason]
    few = imputed_hazards(people.assign(systolic=np.nan), outcomes, SPEC, np.random.default_rng(0), n_imputations=2)
    assert few[["model", "status", "reason"]].to_numpy().tolist() == [["cox_age_imputed", "failed", "too_few_people"]]
    assert few["n"].tolist() == [len(rows)]
