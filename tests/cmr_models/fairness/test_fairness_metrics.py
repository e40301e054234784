"""Metrics by group by hand and against their closed forms; gaps, pairs, standardisation, decomposition."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from lifelines.datasets import load_lung
from scipy import stats

from cmr_models.analysis.accuracy_by_group import expected_events
from cmr_models.estimates import NotEstimableError
from cmr_models.fairness import disaggregate
from cmr_models.fairness.audit import audit
from cmr_models.fairness.gaps import permutation_gap
from cmr_models.fairness.group_concordance import group_concordance
from cmr_models.fairness.metrics import (
    area_under_curve,
    bias,
    bootstrapped,
    calibration_slope,
    concordance_index,
    events_over_expected,
    hazard_ratio,
    mean_of,
    observed_over_expected,
    sensitivity_above,
    sensitivity_at_specificity,
    specificity_below,
    threshold_at_specificity,
)
from cmr_models.fairness.standardisation import decompose_gap, standardisation_weights
from cmr_models.survival import concordance, fit_cox

_REFERENCES = Path(__file__).parents[4] / "shared/specs/stat_references.json"


@pytest.fixture
def people() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    n = 900
    group = rng.choice(["a", "b", "c"], n, p=[0.6, 0.3, 0.1]).astype(object)
    score = rng.standard_normal(n)
    risk = 1 / (1 + np.exp(1.5 - score))
    table = pd.DataFrame({"group": group, "score": score, "risk": risk, "y": (rng.random(n) < risk).astype(float)})
    table["sex"] = rng.choice(["f", "m"], n).astype(object)
    table["reference"] = 60 + 5 * rng.standard_normal(n)
    table["measured"] = table["reference"] + rng.standard_normal(n) + 2.0 * (group == "b")
    time = rng.exponential(1 / (0.1 * np.exp(0.8 * score)))
    return table.assign(exit=np.minimum(time, 5), event=(time <= 5).astype(float))


# metrics


def test_limits_of_agreement_by_hand() -> None:
    rows = pd.DataFrame({"m": [1.0, 2.0, 3.0, 6.0], "r": [0.0, 0.0, 0.0, 0.0]})
    found = bias("m", "r")(rows)
    sd = np.std([1, 2, 3, 6], ddof=1)
    assert found["estimate"] == 3.0
    assert found["ci_high"] - 3 == pytest.approx(stats.t.ppf(0.975, 3) * sd / 2)
    assert (found["loa_low"], found["loa_high"]) == pytest.approx((3 - 1.96 * sd, 3 + 1.96 * sd), abs=1e-3)
    assert found["mean_absolute_error"] == 3.0


def test_the_threshold_has_the_stated_specificity() -> None:
    score, outcome = np.arange(20.0), np.array([0.0] * 10 + [1.0] * 10)
    threshold = threshold_at_specificity(outcome, score, 0.9)
    rows = pd.DataFrame({"s": score, "y": outcome})
    assert specificity_below("y", "s", threshold)(rows)["estimate"] == 0.9
    assert sensitivity_above("y", "s", threshold)(rows)["estimate"] == 1.0


def test_a_share_of_one_has_an_error_all_the_same() -> None:
    rows = pd.DataFrame({"s": np.ones(20), "y": np.ones(20)})
    found = sensitivity_above("y", "s", 0.5)(rows)
    assert (found["estimate"], found["ci_high"]) == (1.0, pytest.approx(1.0))
    assert found["se"] > 0


def test_events_are_those_expected_of_a_calibrated_model(people: pd.DataFrame) -> None:
    found = observed_over_expected("y", "risk")(people)
    assert found["ci_low"] < 1 < found["ci_high"]
    assert calibration_slope("y", "risk")(people)["estimate"] == pytest.approx(1, abs=0.25)
    halved = observed_over_expected("y", "half")(people.assign(half=people["risk"] / 2))
    assert halved["estimate"] == pytest.approx(2 * found["estimate"])


def test_a_cox_model_expects_as_many_events_as_there_were(people: pd.DataFrame) -> None:
    entry = np.zeros(len(people))
    table = people.assign(entry=entry)
    fit = fit_cox(table, exit="exit", event="event", entry="entry", covariates=["score"], strata="sex")
    expected = expected_events(fit, table, exit="exit", entry="entry", strata=["sex"])
    assert expected.sum() == pytest.approx(table["event"].sum(), rel=1e-9)
    found = events_over_expected("event", "expected")(table.assign(expected=expected))
    assert found["estimate"] == pytest.approx(1.0)
    assert found["se"] == pytest.approx(table["event"].sum() ** -0.5)


def test_every_metric_has_a_row_for_everybody_each_group_and_each_intersection(people: pd.DataFrame) -> None:
    metrics = {
        "dice": mean_of("risk"),
        "ef_bias": bias("measured", "reference"),
        "auc": area_under_curve("y", "score"),
        "sensitivity": sensitivity_above("y", "score", 1.0),
        "calibration": observed_over_expected("y", "risk"),
        "c_index": concordance_index("exit", "event", "score"),
        "hazard_ratio": hazard_ratio("score", "exit", "event"),
    }
    table = audit(metrics, people, ["group", ["group", "sex"]], np.random.default_rng(0), events="y")
    rows = table[table["group"] != "max_gap"]
    for _, found in rows.groupby("metric"):
        assert len(found) == 1 + 3 + 6
        assert found.loc[found["group_by"] == "group x sex", "n"].sum() == len(people)
        ok = found["status"] == "ok"
        assert found.loc[ok, ["estimate", "se", "ci_low", "ci_high"]].notna().all(axis=None)
        assert (found.loc[~ok, "reason"] != "").all()


def test_the_bootstrap_agrees_with_the_closed_form(people: pd.DataFrame) -> None:
    boot = bootstrapped(lambda rows: float(rows["risk"].mean()), np.random.default_rng(0), n=300)(people)
    assert boot["se"] == pytest.approx(mean_of("risk")(people)["se"], rel=0.15)


def test_resamples_without_a_number_are_counted_and_too_many_fail_the_row(people: pd.DataFrame) -> None:
    few = people[people["y"] == 0].head(40)
    few = pd.concat([few, people[people["y"] == 1].head(5)])
    statistic = sensitivity_at_specificity("y", "score", 0.9, minimum=5)
    with pytest.raises(NotEstimableError, match="resamples have no number"):
        bootstrapped(statistic, np.random.default_rng(0), n=50)(few)
    kept = bootstrapped(statistic, np.random.default_rng(0), n=50, within="y")(few)
    assert kept["n_failed"] == 0


def test_the_age_adjusted_index_ignores_what_age_alone_explains() -> None:
    rng = np.random.default_rng(1)
    band = np.repeat(["old", "young"], 300)
    time = rng.exponential(np.where(band == "old", 1.0, 5.0))
    score = (band == "old") + 0.01 * rng.standard_normal(600)
    table = pd.DataFrame({"exit": time, "event": 1.0, "score": score, "band": band})
    raw = concordance_index("exit", "event", "score")(table)
    within = concordance_index("exit", "event", "score", within="band")(table)
    assert raw["estimate"] > 0.65
    assert within["estimate"] == pytest.approx(0.5, abs=0.05)


# gaps


def test_a_planted_gap_has_a_small_p_under_permutation_and_names_its_groups(people: pd.DataFrame) -> None:
    gap = permutation_gap(bias("measured", "reference"), people, ["group"], np.random.default_rng(0), n_permutations=99)
    assert gap.high == "b"
    assert gap.minus_log10_p == pytest.approx(2.0)
    assert gap.value > gap.null_q95
    by_sex = permutation_gap(
        bias("measured", "reference"), people, ["sex"], np.random.default_rng(0), n_permutations=99
    )
    assert by_sex.value < 1


def test_a_group_without_an_estimate_is_named_and_leaves_no_gap_of_zero(people: pd.DataFrame) -> None:
    table = people[(people["group"] == "a") | (people["y"] == 0)]
    rows = audit({"sensitivity": sensitivity_above("y", "score", 1.0)}, table, ["group"], np.random.default_rng(0))
    gap = rows[rows["group"] == "max_gap"].iloc[0]
    assert (gap["status"], gap["reason"]) == ("failed", "too_few_groups")
    assert np.isnan(gap["estimate"])
    assert gap["not_estimable"] == "b (too_few_cases); c (too_few_cases)"


def test_equivalence_is_claimed_within_the_margin_only(people: pd.DataFrame) -> None:
    wide = audit({"m": bias("measured", "reference")}, people, ["sex"], np.random.default_rng(0), margins={"m": 1.0})
    assert wide["equivalence_p"].iloc[-1] < 0.05
    groups = audit(
        {"m": bias("measured", "reference")}, people, ["group"], np.random.default_rng(0), margins={"m": 1.0}
    )
    assert groups["equivalence_p"].iloc[-1] > 0.5


def test_metrics_go_through_disaggregate_as_they_are(people: pd.DataFrame) -> None:
    table = disaggregate(area_under_curve("y", "score"), people, by=["group"], events="y")
    assert table["group"].tolist() == ["all", "a", "b", "c"]
    assert table["estimate"].between(0.5, 1).all()


# pairs


def test_cells_of_the_lung_trial_are_those_of_the_reference() -> None:
    lung = load_lung()
    table = group_concordance(lung["time"], lung["status"], lung["age"], lung["sex"])
    assert table["n_pairs"].tolist() == [8123, 6281, 3133, 2477]
    assert table["estimate"].round(6).tolist() == [0.554167, 0.598870, 0.467443, 0.518773]
    mean = (table["n_pairs"] * table["estimate"]).sum() / table["n_pairs"].sum()
    if _REFERENCES.exists():
        rows = {row["id"]: row for row in json.loads(_REFERENCES.read_text())["references"]}
        assert mean == pytest.approx(rows["xci_identity"]["expected"], abs=rows["xci_identity"]["tolerance"])
    assert mean == pytest.approx(0.5502398321175177, abs=1e-12)


def test_the_mean_over_pairs_is_the_index_with_delayed_entry_and_ties_too() -> None:
    rng = np.random.default_rng(2)
    entry = rng.integers(0, 10, 300).astype(float)
    exit = entry + rng.integers(1, 12, 300)
    event, risk, group = rng.random(300) < 0.4, rng.integers(0, 6, 300), rng.choice(["a", "b", "c"], 300)
    table = group_concordance(exit, event, risk, group, entry=entry)
    whole = concordance(exit, event, risk, entry=entry)
    assert (table["n_pairs"] * table["estimate"]).sum() / table["n_pairs"].sum() == pytest.approx(
        whole.value, abs=1e-12
    )
    assert table["n_pairs"].sum() == whole.n_pairs


def test_a_cell_without_pairs_says_so() -> None:
    table = group_concordance([1, 2, 3], [True, True, False], [3, 2, 1], ["a", "a", "b"])
    rows = table.set_index(["event_group", "other_group"])
    assert rows.loc[("b", "a"), "reason"] == "no_pairs"
    assert rows.loc[("a", "b"), "estimate"] == 1.0


# common covariates, parts of a gap


def test_standardised_means_differ_only_by_what_the_covariate_does_not_explain() -> None:
    band = np.repeat(["old", "young", "old", "young"], [80, 20, 20, 80])
    group = np.repeat(["a", "b"], 100)
    data = pd.DataFrame({"group": group, "band": band, "value": (band == "old") * 10.0 + (group == "a") * 1.0})
    weight, outside = standardisation_weights(data, "group", ["band"])
    table = disaggregate(mean_of("value", weight="w"), data.assign(w=weight), ["group"], overall=False)
    assert table["estimate"].diff().iloc[1] == pytest.approx(-1.0)
    assert outside == 0


def test_groups_without_a_common_cell_are_not_standardised() -> None:
    data = pd.DataFrame({"group": ["a"] * 60 + ["b"] * 60, "band": ["old"] * 60 + ["young"] * 60})
    with pytest.raises(NotEstimableError, match="no_overlap"):
        standardisation_weights(data, "group", ["band"])


def test_a_small_group_is_left_out_and_does_not_take_the_others_with_it() -> None:
    data = pd.DataFrame({"group": ["a"] * 60 + ["b"] * 60 + ["c"] * 3, "band": ["old"] * 123})
    weight, _ = standardisation_weights(data, "group", ["band"])
    assert weight[:120].tolist() == [1.0] * 120
    assert weight[120:].isna().all()


def test_the_parts_of_a_gap_add_up_and_find_what_was_planted() -> None:
    rng = np.random.default_rng(6)
    first = rng.random(4000) < 0.4
    bmi = 26 + 2 * first + rng.standard_normal(4000)
    ill = (rng.random(4000) < 0.1 + 0.2 * first).astype(float)
    data = pd.DataFrame({"bmi": bmi, "ill": ill, "group": np.where(first, "a", "b")})
    data["error"] = 0.5 * bmi + 2 * ill + 0.3 * first + 0.5 * rng.standard_normal(4000)
    parts = decompose_gap(
        data, "error", "group", ("a", "b"), {"acquisition": ["bmi"], "prevalence": ["ill"]}, rng, n_bootstrap=100
    ).set_index("component")
    assert parts["estimate"].iloc[:-1].sum() == pytest.approx(parts.loc["total", "estimate"], abs=1e-10)
    planted = {"acquisition": 1.0, "prevalence": 0.4, "model": 0.3}
    for name, value in planted.items():
        assert parts.loc[name, "estimate"] == pytest.approx(value, abs=4 * parts.loc[name, "se"])
        assert parts.loc[name, "ci_low"] < parts.loc[name, "estimate"] < parts.loc[name, "ci_high"]


def test_a_covariate_in_two_blocks_is_refused() -> None:
    data = pd.DataFrame({"x": [1.0], "v": [1.0], "g": ["a"]})
    with pytest.raises(ValueError, match="belongs to one block"):
        decompose_gap(data, "v", "g", ("a", "b"), {"one": ["x"], "two": ["x"]}, np.random.default_rng(0))
