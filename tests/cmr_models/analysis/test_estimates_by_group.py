"""By group: adjusted scores are those of everybody, and gaps are of what groups can be compared by."""

import math

import numpy as np
import pandas as pd
import pytest

from cmr_models.analysis.estimates_by_group import _residual, fairness_rows, with_q_of_gaps
from cmr_models.analysis.model_spec import AnalysisSpec
from cmr_models.analysis.people import analysis_outcome, analysis_people, at_risk_rows, complete_rows
from cmr_models.analysis.regressions import discrimination_rows
from cmr_models.simulate.measured import example_tables
from cmr_models.survival import concordance, fit_cox

SPEC = AnalysisSpec(
    phenotypes=("lvef_pct",), conditions=("heart_failure",), covariates=("sex", "height_cm"), permutations=19
)
_ADJUSTED = ("harrell_adjusted", "uno_adjusted")


@pytest.fixture(scope="module")
def tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    phenotypes, participants, outcomes = example_tables(3000, np.random.default_rng(2))
    return analysis_people(phenotypes, participants, SPEC), outcomes


@pytest.fixture(scope="module")
def fairness(tables: tuple[pd.DataFrame, pd.DataFrame]) -> pd.DataFrame:
    return fairness_rows(*tables, SPEC)


def test_every_metric_and_estimate_is_there_by_every_grouping(fairness: pd.DataFrame) -> None:
    by_group = fairness[(fairness["group_by"] != "overall") & (fairness["group"] != "max_gap")]
    models = {"logistic", "cox_age", "harrell_phenotype", *_ADJUSTED, "mean", "adjusted_mean", "qc_pass"}
    found = set(by_group[["model", "group_by"]].itertuples(index=False, name=None))
    assert found == {(model, name) for model in models for name in SPEC.group_by}
    assert by_group.loc[by_group["model"].isin(_ADJUSTED), "status"].eq("ok").mean() > 0.45


def test_a_group_is_scored_by_the_one_model_of_everybody(
    tables: tuple[pd.DataFrame, pd.DataFrame], fairness: pd.DataFrame
) -> None:
    people, outcomes = tables
    needed = ("age_years", *SPEC.covariates, "lvef_pct")
    rows = complete_rows(at_risk_rows(analysis_outcome(people, outcomes, "heart_failure")), needed)
    terms = (*SPEC.covariates, "lvef_pct")
    by_age = fit_cox(rows, exit="exit_years", event="event", entry="entry_years", covariates=terms)
    since = fit_cox(rows, exit="follow_up_years", event="event", covariates=("age_years", *terms))
    women = (rows["sex"] == "female").to_numpy()
    of_women = rows[women]
    expected = {
        "harrell_adjusted": concordance(
            of_women["exit_years"], of_women["event"], by_age.linear_predictor[women], entry=of_women["entry_years"]
        ),
        "uno_adjusted": concordance(
            of_women["follow_up_years"], of_women["event"], since.linear_predictor[women], method="uno", tau=5.0
        ),
    }
    found = fairness[fairness["group"] == "female"].set_index("model")
    for model, index in expected.items():
        assert found.loc[model, "estimate"] == pytest.approx(index.value, abs=1e-12)
        assert found.loc[model, "se"] == pytest.approx(index.se, abs=1e-12)


def test_where_everybody_has_no_model_every_group_says_why(tables: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    strict = SPEC.model_copy(update={"minimum_events_per_term": 1e6})
    rows = discrimination_rows(*tables, strict, by=("sex",))
    adjusted = rows[rows["model"].isin(_ADJUSTED)]
    assert len(adjusted) == 2 * 3
    assert adjusted["reason"].eq("too_few_per_term").all()
    assert rows.loc[rows["model"] == "harrell_phenotype", "status"].eq("ok").all()


def test_gaps_are_told_of_every_model_but_the_adjusted_scores(fairness: pd.DataFrame) -> None:
    gaps = fairness[fairness["group"] == "max_gap"]
    models = {"logistic", "cox_age", "harrell_phenotype", "mean", "adjusted_mean", "qc_pass"}
    assert set(gaps["model"]) == models
    assert gaps.loc[gaps["status"] == "ok", "q"].notna().all()


# values by hand


def _made() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Site a 12 people, b 20, c 30 (and four of d): mass 1 higher in b, 3 in c; two studies of a, six of c failed."""
    site = np.repeat(["a", "b", "c", "d"], [12, 20, 30, 4])
    n = len(site)
    rng = np.random.default_rng(0)
    people = pd.DataFrame({"participant": [f"p{k}" for k in range(n)], "visit": "2", "site": site})
    people = people.assign(
        measured=True,
        age_years=rng.uniform(45, 75, n),
        sex=rng.choice(["f", "m"], n),
        height_cm=rng.normal(170, 8, n),
        lvm_g=np.select([site == "b", site == "c"], [91.0, 93.0], 90.0) + rng.normal(0, 2, n),
    )
    people.loc[[3, 5, 40, 41, 42, 43, 44, 45], "measured"] = False
    people.loc[~people["measured"], "lvm_g"] = np.nan
    people["group site"], people["group sex"] = people["site"], people["sex"]
    outcomes = people[["participant", "visit"]].assign(
        condition="death", prevalent=0, entry_years=people["age_years"], exit_years=people["age_years"] + 5,
        event=(np.arange(n) % 3 == 0).astype(int), cause=0,
    )  # fmt: skip
    return people.sample(frac=1, random_state=0), outcomes


MADE = AnalysisSpec(
    phenotypes=("lvm_g",), conditions=("death",), covariates=(), group_by=("site", "sex"), permutations=99,
    minimum_cell=5,
    margins={"qc_pass": 0.3, "mean/lvm_g": 4.0},
)  # fmt: skip


@pytest.fixture(scope="module")
def made() -> pd.DataFrame:
    return fairness_rows(*_made(), MADE)


def _row(table: pd.DataFrame, model: str, group: str, group_by: str = "site") -> pd.Series:
    chosen = (table["model"] == model) & (table["group"] == group) & (table["group_by"] == group_by)
    (row,) = [row for _, row in table[chosen].iterrows()]
    return row


def test_means_are_of_the_measured_with_their_standard_error_and_no_test(made: pd.DataFrame) -> None:
    people, _ = _made()
    for group, n in (("b", 20), ("c", 24)):
        values = people.loc[people["measured"] & (people["site"] == group), "lvm_g"]
        row = _row(made, "mean", group)
        assert len(values) == row["n"] == n
        se = np.sqrt(((values - values.mean()) ** 2).sum() / (n - 1) / n)
        found = row[["estimate", "se", "ci_low", "ci_high"]].astype(float)
        np.testing.assert_allclose(
            found, [values.mean(), se, values.mean() - 1.959964 * se, values.mean() + 1.959964 * se], rtol=1e-6
        )
        assert row[["z", "minus_log10_p", "q"]].isna().all()
        assert row[["exposure", "unit", "scale", "measure"]].tolist() == ["lvm_g", "g", "absolute", "mean"]
    whole = _row(made, "mean", "all", "overall")
    assert whole["estimate"] == pytest.approx(people["lvm_g"].mean())
    assert whole["n"] == 58
    # Four of d are too few to show, and the ten of a go with them: else the total would give them back.
    assert _row(made, "mean", "d")[["status", "reason"]].tolist() == ["suppressed", "small_cell"]
    assert _row(made, "mean", "a")[["status", "reason"]].tolist() == ["suppressed", "secondary"]


def test_adjusted_means_are_what_age_sex_and_size_do_not_explain_and_by_sex_keep_the_sex(made: pd.DataFrame) -> None:
    people, _ = _made()
    rows = people[people["measured"]]
    for group_by, with_sex in (("site", True), ("sex", False)):
        terms = {"age": rows["age_years"], "height": rows["height_cm"]}
        terms |= {"age2": (rows["age_years"] - rows["age_years"].mean()) ** 2}
        terms |= {"height2": (rows["height_cm"] - rows["height_cm"].mean()) ** 2}
        terms |= {"sex": (rows["sex"] == "f").astype(float)} if with_sex else {}
        x = np.column_stack([np.ones(len(rows)), *terms.values()])
        y = rows["lvm_g"].to_numpy()
        rest = pd.Series(y - x @ np.linalg.lstsq(x, y, rcond=None)[0] + y.mean(), rows.index)
        for group in ("b", "c") if with_sex else ("f", "m"):
            own = rest[rows[group_by] == group]
            row = _row(made, "adjusted_mean", group, group_by)
            assert row["estimate"] == pytest.approx(own.mean())
            assert row["se"] == pytest.approx(own.std(ddof=1) / np.sqrt(len(own)))


def test_shares_that_pass_are_of_everybody_with_wilsons_interval(made: pd.DataFrame) -> None:
    row = _row(made, "qc_pass", "c")
    # 24 of 30, of whom six failed: no small number.
    assert row[["n", "n_events", "measure", "scale", "exposure"]].tolist() == [30, 24, "proportion", "absolute", ""]
    assert row["estimate"] == 0.8
    assert row["se"] == pytest.approx(np.sqrt(0.8 * 0.2 / 30))
    z2 = 1.959964**2
    middle, half = (0.8 + z2 / 60) / (1 + z2 / 30), np.sqrt(z2 * (0.16 / 30 + z2 / 3600)) / (1 + z2 / 30)
    assert (row["ci_low"], row["ci_high"]) == (pytest.approx(middle - half), pytest.approx(middle + half))
    # Two of a failed: a small cell.
    assert _row(made, "qc_pass", "a")["status"] == "suppressed"


def test_gaps_compare_published_groups_only_and_say_which_are_not(made: pd.DataFrame) -> None:
    shown = {group: _row(made, "mean", group) for group in "abcd"}
    published = {group: row["estimate"] for group, row in shown.items() if row["status"] == "ok"}
    gap = _row(made, "mean", "max_gap")
    assert gap["estimate"] == pytest.approx(max(published.values()) - min(published.values()))
    high, low = max(published, key=published.__getitem__), min(published, key=published.__getitem__)
    assert gap["gap_groups"] == f"{high} - {low}"
    assert gap["not_estimable"] == "; ".join(group for group in "abcd" if group not in published)
    assert "d" in gap["not_estimable"]
    assert gap["n"] == sum(shown[group]["n"] for group in published)
    assert (gap["measure"], gap["margin"]) == ("gap", 4.0)
    assert gap["minus_log10_p"] == pytest.approx(np.log10(100))  # no permutation of 99 reaches it
    assert gap["null_q95"] < gap["estimate"]
    errors = np.hypot(*(shown[group]["se"] for group in (high, low)))
    from_pair = 0.5 * (1 + math.erf((gap["estimate"] - 4) / errors / math.sqrt(2)))
    assert gap["equivalence_p"] >= from_pair - 1e-9
    adjusted = _row(made, "adjusted_mean", "max_gap", "sex")
    pair = [_row(made, "adjusted_mean", group, "sex")["estimate"] for group in ("f", "m")]
    assert adjusted["estimate"] == pytest.approx(abs(pair[0] - pair[1]))
    assert np.isnan(adjusted["margin"])
    shares = _row(made, "qc_pass", "max_gap")
    assert shares[["estimate", "gap_groups"]].tolist() == [pytest.approx(1 - 24 / 30), "b - c"]
    assert (shares["exposure"], shares["margin"], shares["n"]) == ("", 0.3, 50)
    hidden = _row(made, "qc_pass", "max_gap", "sex")
    assert hidden[["reason", "not_estimable"]].tolist() == ["too_few_groups", "f; m"]
    assert np.isnan(hidden["margin"])


def test_gaps_of_ratios_are_of_logs(fairness: pd.DataFrame) -> None:
    for model in ("cox_age", "logistic"):
        groups = fairness[(fairness["model"] == model) & (fairness["group_by"] == "sex") & (fairness["status"] == "ok")]
        logs = np.log(groups.loc[groups["group"] != "max_gap", "estimate"])
        gap = groups[groups["group"] == "max_gap"]
        assert len(logs) == 2
        assert gap["estimate"].tolist() == [pytest.approx(logs.max() - logs.min())]
    assert "per_unit" not in set(fairness["scale"])
    gaps = fairness[fairness["group"] == "max_gap"]
    assert not gaps["model"].isin(_ADJUSTED).any()
    assert "overall" not in set(gaps["group_by"])


def test_only_gaps_are_tested_within_their_model_and_grouping() -> None:
    rows = [
        ("mean", "sex", "max_gap", 0.01, "lvm_g"), ("mean", "sex", "f", 0.001, "lvm_g"),
        ("mean", "sex", "max_gap", 0.04, "lvef_pct"), ("mean", "site", "max_gap", 0.3, "lvm_g"),
        ("auc", "sex", "max_gap", 0.5, "lvm_g"),
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["model", "group_by", "group", "p", "exposure"])
    table = table.assign(minus_log10_p=-np.log10(table["p"]), scale="absolute", outcome="", q=np.nan)
    found = with_q_of_gaps(table, "fairness/")
    np.testing.assert_allclose(found["q"], [0.02, np.nan, 0.04, 0.3, 0.5])
    assert found["family"].tolist() == [
        "fairness/mean/sex",
        "",
        "fairness/mean/sex",
        "fairness/mean/site",
        "fairness/auc/sex",
    ]


def test_means_of_too_few_people_and_adjustments_of_too_few_rows_are_none() -> None:
    people, outcomes = _made()
    one = people.assign(**{"group site": np.where(people["participant"] == "p0", "lone", "rest"), "group sex": "x"})
    spec = MADE.model_copy(update={"minimum_cell": 1})
    found = fairness_rows(one, outcomes, spec)
    assert _row(found, "mean", "lone")["reason"] == "too_few_people"
    assert _row(found, "qc_pass", "lone")["reason"] == "too_few_people"
    assert _row(found, "mean", "max_gap")["reason"] == "too_few_groups"
    # Five terms (sex, age, height and two squares): 2 * 5 + 2 rows at least, of those with every covariate; sex, that
    # has a square of its own, is another column: 2 * 6 + 2.
    for n, reasons in ((14, {""}), (13, {"no_data"})):
        kept = people[people["measured"]].iloc[:n]
        table = fairness_rows(
            kept.assign(**{"group sex": "x"}), outcomes, spec.model_copy(update={"group_by": ("sex",)})
        )
        adjusted = table[(table["model"] == "adjusted_mean") & (table["group_by"] == "overall")]
        assert set(adjusted["reason"]) == reasons


@pytest.mark.parametrize(("n", "known"), [(5, False), (6, True)])
def test_a_phenotype_is_adjusted_where_people_are_twice_as_many_as_terms_and_two(n: int, known: bool) -> None:
    table = pd.DataFrame({"age_years": [50.0, 61, 55, 70, 64, 58][:n], "lvm_g": [90.0, 120, 80, 150, 99, 101][:n]})
    table.loc[n] = [np.nan, 100.0]  # without an age nobody is adjusted
    found = _residual(table, "lvm_g", ["age_years"])  # age and its square are two terms
    assert found.notna().tolist() == [known] * n + [False]
    if known:
        age = table["age_years"].to_numpy()[:n]
        design = np.column_stack([np.ones(n), age, (age - age.mean()) ** 2])
        values = table["lvm_g"].to_numpy()[:n]
        left = values - design @ np.linalg.lstsq(design, values, rcond=None)[0]
        np.testing.assert_allclose(found[:n], left + values.mean())
