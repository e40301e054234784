"""Estimates of the main tables: on whom, per what, how many were left out, and each rule on both sides of its bound."""

import numpy as np
import pandas as pd
import pytest

from cmr_models.analysis.model_spec import AnalysisSpec
from cmr_models.analysis.regressions import (
    association_rows,
    discrimination_rows,
    hazard_rows,
    overall_family,
    with_q,
)
from cmr_models.association import fit_logistic
from cmr_models.survival import concordance, fit_cox

SPEC = AnalysisSpec(
    phenotypes=("lvef_pct", "lvm_g"),
    conditions=("heart_failure", "death"),
    covariates=("sex",),
    group_by=("sex",),
    minimum_events=3,
    minimum_events_per_term=0,
    horizon_years=6,
)

UNITS = {"lvef_pct": "%", "lvm_g": "g"}


def _tables(n: int = 90) -> tuple[pd.DataFrame, pd.DataFrame]:
    """People and outcomes, neither sorted. A low fraction is a risk, a large mass too; the ill have other values.

    Twelve people are prevalent, of them one without a fraction and one without a sex; one more left on the day they
    came. Ages at entry differ.
    """
    rng = np.random.default_rng(11)
    sex = np.where(np.arange(n) % 3 == 0, "male", "female").astype(object)
    people = pd.DataFrame(
        {
            "participant": [f"p{k:03d}" for k in range(n)],
            "visit": "2",
            "age_years": rng.uniform(45, 75, n),
            "sex": sex,
            "lvef_pct": rng.normal(60, 4, n),
            "lvm_g": rng.normal(90, 15, n),
        }
    )
    prevalent = np.arange(n) < 12
    people.loc[prevalent, "lvef_pct"] -= 25
    hazard = np.exp(-0.15 * (people["lvef_pct"] - 60) + 0.04 * (people["lvm_g"] - 90))
    years, lost = rng.exponential(20 / hazard), rng.uniform(1, 12, n)
    event = (years < lost) & ~prevalent
    people.loc[3, "lvef_pct"] = np.nan
    people.loc[5, "sex"] = None
    people["group sex"] = people["sex"].fillna("unknown")
    outcomes = people[["participant", "visit"]].assign(
        condition="heart_failure",
        prevalent=prevalent.astype(int),
        entry_years=people["age_years"],
        exit_years=people["age_years"] + np.where(event, years, lost),
        event=event.astype(int),
        cause=0,
    )
    outcomes.loc[20, "exit_years"] = outcomes.loc[20, "entry_years"]
    outcomes.loc[20, "event"] = 0
    death = outcomes.assign(condition="death", prevalent=0, event=(np.arange(n) % 4 == 0).astype(int))
    death.loc[20, "event"] = 0
    both = pd.concat([outcomes, death])
    return people.sample(frac=1, random_state=1), both.sample(frac=1, random_state=2)


@pytest.fixture(scope="module")
def tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    return _tables()


def _complete(
    tables: tuple[pd.DataFrame, pd.DataFrame], exposure: str, condition: str = "heart_failure"
) -> pd.DataFrame:
    people, outcomes = tables
    chosen = outcomes[outcomes["condition"] == condition]
    rows = people.merge(chosen, on=["participant", "visit"])
    return rows[rows[[exposure, "sex"]].notna().all(axis=1)]


def _at_risk(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[(rows["prevalent"] == 0) & (rows["exit_years"] > rows["entry_years"])]


def _one(table: pd.DataFrame, **wanted: str) -> pd.Series:
    wanted = {"exposure": "lvef_pct", "outcome": "heart_failure", "group": "all", **wanted}
    (row,) = [row for _, row in table.iterrows() if all(row[name] == value for name, value in wanted.items())]
    return row


@pytest.mark.parametrize("exposure", ["lvef_pct", "lvm_g"])
def test_a_hazard_ratio_per_sd_is_that_per_unit_to_the_power_of_the_sd_of_those_at_risk(
    tables: tuple[pd.DataFrame, pd.DataFrame], exposure: str
) -> None:
    found = hazard_rows(*tables, SPEC, by=("sex",))
    rows = _at_risk(_complete(tables, exposure))
    sd = float(np.sqrt(((rows[exposure] - rows[exposure].mean()) ** 2).sum() / (len(rows) - 1)))
    fit = fit_cox(rows, exit="exit_years", event="event", entry="entry_years", covariates=["sex", exposure])
    term = fit.estimates.iloc[-1]
    per_unit, per_sd = (_one(found, exposure=exposure, scale=scale) for scale in ("per_unit", "per_sd"))
    assert per_unit["estimate"] == pytest.approx(np.exp(term["coef"]))
    assert per_unit["se"] == pytest.approx(term["se"])
    assert per_sd["estimate"] == pytest.approx(np.exp(term["coef"] * sd))
    for row in (per_unit, per_sd):
        assert row["se"] == pytest.approx(np.log(row["ci_high"] / row["ci_low"]) / (2 * 1.959964), rel=1e-6)
        assert row["estimate"] == pytest.approx(np.sqrt(row["ci_high"] * row["ci_low"]))
        assert row["z"] == pytest.approx(np.log(row["estimate"]) / row["se"])
        assert (row["n"], row["n_events"]) == (len(rows), rows["event"].sum())
        assert (row["model"], row["measure"], row["unit"]) == ("cox_age", "hazard_ratio", UNITS[exposure])
    # Of a group: its own people, the SD of everybody.
    women = rows[rows["sex"] == "female"]
    own = fit_cox(women, exit="exit_years", event="event", entry="entry_years", covariates=[exposure]).estimates.iloc[
        -1
    ]
    of_women = _one(found, exposure=exposure, scale="per_sd", group="female")
    assert of_women["estimate"] == pytest.approx(np.exp(own["coef"] * sd))
    assert (of_women["n"], of_women["group_by"]) == (len(women), "sex")


def test_the_number_left_out_is_that_of_complete_people_not_at_risk(tables: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    found = hazard_rows(*tables, SPEC, by=("sex",))
    # 12 prevalent less two incomplete, and the one of no follow-up; by sex: every third is male, numbers 3 and 5 lack a
    # value, so of 0 to 11 three men (0, 6, 9) and seven women, and number 20 is a woman.
    excluded = {group: _one(found, scale="per_sd", group=group)["n_excluded"] for group in ("all", "male", "female")}
    assert excluded == {"all": 11, "male": 3, "female": 8}
    by_mass = {group: _one(found, exposure="lvm_g", scale="per_unit", group=group)["n_excluded"] for group in excluded}
    assert by_mass == {"all": 12, "male": 4, "female": 8}
    of_death = _one(found, outcome="death", scale="per_sd")
    assert of_death["n_excluded"] == 1
    odds = association_rows(*tables, SPEC, by=("sex",))
    assert set(odds["n_excluded"]) == {0}
    assert set(discrimination_rows(*tables, SPEC)["n_excluded"]) == {11, 12, 1}


def test_odds_ratios_are_about_everybody_adjusted_for_age_and_death_has_none(
    tables: tuple[pd.DataFrame, pd.DataFrame],
) -> None:
    spec = SPEC.model_copy(update={"phenotypes": ("lvm_g",), "strata": ("centre",)})
    people, outcomes = tables
    people = people.assign(centre=np.where(people["participant"].str[-1].isin(list("0123")), "a", "b"))
    found = association_rows(people, outcomes, spec)
    assert set(found["outcome"]) == {"heart_failure"}
    rows = _complete((people, outcomes), "lvm_g")
    term = fit_logistic(rows, outcome="prevalent", covariates=["age_years", "centre", "sex", "lvm_g"]).estimates.iloc[
        -1
    ]
    row = _one(found, exposure="lvm_g", scale="per_unit")
    assert row["estimate"] == pytest.approx(np.exp(term["coef"]))
    assert row["se"] == pytest.approx(term["se"])
    assert (row["n"], row["n_events"], row["model"], row["measure"]) == (89, 11, "logistic", "odds_ratio")
    sd = rows["lvm_g"].std(ddof=1)
    assert _one(found, exposure="lvm_g", scale="per_sd")["estimate"] == pytest.approx(row["estimate"] ** sd)


def test_strata_have_hazards_of_their_own_and_people_are_ranked_within_them(
    tables: tuple[pd.DataFrame, pd.DataFrame],
) -> None:
    people, outcomes = tables
    people = people.assign(centre=np.where(people["participant"].str[-1].isin(list("0123")), "a", "b"))
    spec = SPEC.model_copy(update={"strata": ("centre",), "phenotypes": ("lvm_g",)})
    rows = _at_risk(_complete((people, outcomes), "lvm_g"))
    options = {"event": "event", "strata": "centre"}
    by_age = fit_cox(rows, exit="exit_years", entry="entry_years", covariates=["sex", "lvm_g"], **options)
    hazard = _one(hazard_rows(people, outcomes, spec), exposure="lvm_g", scale="per_unit")
    assert hazard["estimate"] == pytest.approx(np.exp(by_age.estimates["coef"].iloc[-1]))
    rows = rows.assign(follow_up=rows["exit_years"] - rows["entry_years"])
    since = fit_cox(rows, exit="follow_up", covariates=["age_years", "sex", "lvm_g"], **options)
    found = discrimination_rows(people, outcomes, spec)
    harrell = concordance(
        rows["exit_years"], rows["event"], by_age.linear_predictor, entry=rows["entry_years"], strata=rows["centre"]
    )
    uno = concordance(
        rows["follow_up"], rows["event"], since.linear_predictor, method="uno", tau=6, strata=rows["centre"]
    )
    for model, index in (("harrell_adjusted", harrell), ("uno_adjusted", uno)):
        row = _one(found, exposure="lvm_g", model=model)
        assert (row["estimate"], row["se"]) == (pytest.approx(index.value), pytest.approx(index.se))
        assert (row["scale"], row["measure"]) == ("absolute", "concordance")


def test_a_protective_phenotype_and_a_harmful_one_both_rank_above_one_half(
    tables: tuple[pd.DataFrame, pd.DataFrame],
) -> None:
    found = discrimination_rows(*tables, SPEC, by=("sex",))
    for exposure, sign in (("lvef_pct", -1), ("lvm_g", 1)):
        rows = _at_risk(_complete(tables, exposure))
        for group, own in (("all", rows), ("male", rows[rows["sex"] == "male"])):
            index = concordance(own["exit_years"], own["event"], sign * own[exposure], entry=own["entry_years"])
            row = _one(found, exposure=exposure, model="harrell_phenotype", group=group)
            assert (row["estimate"], row["se"]) == (pytest.approx(index.value), pytest.approx(index.se))
        assert _one(found, exposure=exposure, model="harrell_phenotype")["estimate"] > 0.55
    # Of death the ratios are near 1: 0.94 and 1.56 per SD; either side of 1 decides.
    for exposure, sign in (("lvef_pct", -1), ("lvm_g", 1)):
        rows = _at_risk(_complete(tables, exposure, "death"))
        index = concordance(rows["exit_years"], rows["event"], sign * rows[exposure], entry=rows["entry_years"])
        row = _one(found, exposure=exposure, model="harrell_phenotype", outcome="death")
        assert row["estimate"] == pytest.approx(index.value)
    # Where everybody has no model the phenotype is taken as it is.
    strict = SPEC.model_copy(update={"minimum_events_per_term": 1e6})
    row = _one(discrimination_rows(*tables, strict), model="harrell_phenotype")
    rows = _at_risk(_complete(tables, "lvef_pct"))
    plain = concordance(rows["exit_years"], rows["event"], rows["lvef_pct"], entry=rows["entry_years"]).value
    assert row["estimate"] == pytest.approx(plain)
    assert plain < 0.5


def _reason(found: pd.DataFrame, model: str) -> str:
    return str(found.loc[found["model"] == model, "reason"].iloc[0])


def test_too_few_of_any_kind_are_those_under_the_bound_and_not_at_it(tables: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    people, outcomes = tables
    spec = SPEC.model_copy(update={"phenotypes": ("lvm_g",), "conditions": ("heart_failure",)})
    rows = _at_risk(_complete(tables, "lvm_g"))
    events = int(rows["event"].sum())
    assert events < len(rows) - events
    made = {"hazard": hazard_rows, "odds": association_rows, "rank": discrimination_rows}
    models = {
        "hazard": ["cox_age"],
        "odds": ["logistic"],
        "rank": ["harrell_phenotype", "harrell_adjusted", "uno_adjusted"],
    }
    for kind, count in (("hazard", events), ("odds", 11), ("rank", events)):
        for minimum, reason in ((count, ""), (count + 1, "too_few_cases")):
            found = made[kind](people, outcomes, spec.model_copy(update={"minimum_events": minimum}))
            assert {_reason(found, model) for model in models[kind]} == {reason}
    # Two terms with a finite coefficient (sex, mass), three with age.
    for kind, model, per_term in (
        ("hazard", "cox_age", events / 2),
        ("odds", "logistic", 11 / 3),
        ("rank", "uno_adjusted", events / 3),
        ("rank", "harrell_adjusted", events / 2),
    ):
        for least, reason in ((per_term, ""), (per_term + 1e-6, "too_few_per_term")):
            found = made[kind](people, outcomes, spec.model_copy(update={"minimum_events_per_term": least}))
            assert _reason(found, model) == reason, (kind, least)


def test_few_controls_and_few_of_either_are_counted_on_the_smaller_side(
    tables: tuple[pd.DataFrame, pd.DataFrame],
) -> None:
    people, outcomes = tables
    ill = outcomes.assign(prevalent=1 - outcomes["prevalent"], event=0)
    spec = SPEC.model_copy(update={"phenotypes": ("lvm_g",), "conditions": ("heart_failure",)})
    for minimum, reason in ((11, ""), (12, "too_few_controls")):
        found = association_rows(people, ill, spec.model_copy(update={"minimum_events": minimum}))
        assert _reason(found, "logistic") == reason
    for least, reason in ((11 / 3, ""), (11 / 3 + 1e-6, "too_few_per_term")):
        found = association_rows(people, ill, spec.model_copy(update={"minimum_events_per_term": least}))
        assert _reason(found, "logistic") == reason
    nobody = hazard_rows(people, outcomes.assign(prevalent=1), spec)
    assert _reason(nobody, "cox_age") == "no_data"
    flat = hazard_rows(people.assign(lvm_g=90.0), outcomes, spec)
    assert _reason(flat, "cox_age") == "constant_exposure"
    copied = people.assign(lvm_g=np.where(people["sex"] == "male", 2.0, 1.0))
    assert _reason(hazard_rows(copied, outcomes, spec), "cox_age") == "collinear"
    told = people.assign(
        lvm_g=people["participant"]
        .map(outcomes[outcomes["condition"] == "heart_failure"].set_index("participant")["event"])
        .astype(float)
    )
    assert _reason(hazard_rows(told, outcomes, spec), "cox_age") == "separation"


def test_a_term_that_is_aliased_is_no_term_to_pay_for(tables: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    people, outcomes = tables
    spec = SPEC.model_copy(
        update={"phenotypes": ("lvm_g",), "conditions": ("heart_failure",), "covariates": ("sex", "one")}
    )
    events = int(_at_risk(_complete(tables, "lvm_g"))["event"].sum())
    found = hazard_rows(
        people.assign(one=1.0), outcomes, spec.model_copy(update={"minimum_events_per_term": events / 2})
    )
    assert _reason(found, "cox_age") == ""


def test_only_people_with_every_covariate_but_without_other_phenotypes_take_part(
    tables: tuple[pd.DataFrame, pd.DataFrame],
) -> None:
    found = hazard_rows(*tables, SPEC)
    # 90 less the one without sex and (at risk) twelve: eleven prevalent with a sex, one without follow-up.
    assert _one(found, exposure="lvm_g", scale="per_sd")["n"] == 90 - 1 - 12
    assert _one(found, exposure="lvef_pct", scale="per_sd")["n"] == 90 - 2 - 11


def _tests(*rows: tuple[str, str, str, str, str, float]) -> pd.DataFrame:
    names = ["exposure", "outcome", "model", "scale", "group", "p"]
    table = pd.DataFrame(rows, columns=names).assign(group_by="sex", q=np.nan)
    return table.assign(minus_log10_p=-np.log10(table["p"]))


def test_q_is_that_of_the_tests_of_a_family_and_the_same_per_unit() -> None:
    table = _tests(
        ("a", "x", "cox", "per_unit", "f", 0.01),
        ("b", "x", "cox", "per_sd", "f", 0.04),
        ("a", "x", "cox", "per_sd", "f", 0.01),
        ("c", "x", "cox", "per_sd", "f", np.nan),
        ("a", "x", "cox", "per_sd", "m", 0.03),
        ("b", "x", "cox", "per_unit", "f", 0.04),
        ("a", "x", "roc", "absolute", "f", 0.2),
    )
    family = pd.Series(["one"] * 6 + ["two"])
    found = with_q(table, family)
    # Three tests of family one: 0.01 * 3, 0.03 * 3/2, 0.04 * 3/3; per unit is the same test, NaN is none.
    np.testing.assert_allclose(found["q"], [0.03, 0.04, 0.03, np.nan, 0.04, 0.04, 0.2])
    assert found["family"].tolist() == ["one", "one", "one", "", "one", "one", "two"]
    assert table["q"].isna().all()


def test_q_per_unit_is_that_of_its_own_set_of_covariates() -> None:
    table = pd.concat(
        [
            _tests(("a", "x", "cox", "per_sd", "f", p), ("a", "x", "cox", "per_unit", "f", p)).assign(
                covariate_set=name
            )
            for name, p in (("few", 0.02), ("many", 0.5))
        ],
        ignore_index=True,
    )
    np.testing.assert_allclose(with_q(table, table["covariate_set"])["q"], [0.02, 0.02, 0.5, 0.5])


def test_the_family_of_a_row_is_its_model_and_the_declared_one_of_its_phenotype() -> None:
    table = pd.DataFrame({"model": ["cox_age", "logistic", "cox_age"], "exposure": ["lvm_g", "rvef_pct", "new"]})
    assert overall_family(table, AnalysisSpec()).tolist() == [
        "cox_age/left_ventricle",
        "logistic/right_ventricle",
        "cox_age/other",
    ]
