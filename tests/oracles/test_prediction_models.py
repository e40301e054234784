"""Prediction: metrics against scikit-survival and hand-worked cases; learners and validation on known truth."""

import warnings

import numpy as np
import pandas as pd
import pytest

from cmr_models.estimates import NotEstimableError, tidy
from cmr_models.prediction import (
    LEARNERS,
    bootstrap_optimism,
    calibration,
    compare_auc,
    compare_brier,
    compare_concordance,
    d_calibration,
    decision_curve,
    group_folds,
    person_folds,
    time_auc,
    validate_nested,
    validation_rows,
)
from cmr_models.prediction.learners import Times
from cmr_models.survival import brier, concordance

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from sksurv.metrics import cumulative_dynamic_auc
    from sksurv.util import Surv


def _cohort(seed: int, n: int = 2000) -> pd.DataFrame:
    """Risk bends with ``a``, rises with ``b`` and with four of twenty features; ``true`` is the log hazard."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({"a": rng.normal(size=n), "b": rng.normal(size=n), "centre": rng.choice(["x", "y", "z"], n)})
    deep = pd.DataFrame(rng.normal(size=(n, 20)), columns=[f"f{j}" for j in range(20)])
    true = 0.5 * table["b"] + 0.6 * (table["a"] ** 2 - 1) / 1.4 + 0.4 * deep[["f0", "f1", "f2", "f3"]].sum(axis=1)
    time = rng.exponential(1 / (0.03 * np.exp(true)))
    censored = rng.uniform(3, 12, n)
    both = pd.concat([table, deep], axis=1)
    return both.assign(true=true, t=np.minimum(time, censored), d=time <= censored)


@pytest.fixture(scope="module")
def people() -> pd.DataFrame:
    return _cohort(1)


def _chance(table: pd.DataFrame, horizon: float, sharpen: float = 1.0) -> np.ndarray:
    return np.asarray(1 - np.exp(-0.03 * horizon * np.exp(sharpen * table["true"])))


@pytest.mark.parametrize("horizon", [2.0, 5.0])
def test_the_area_at_a_horizon_is_that_of_scikit_survival(people: pd.DataFrame, horizon: float) -> None:
    risk = np.round(people["b"], 1)
    outcome = Surv.from_arrays(people["d"], people["t"])
    theirs = cumulative_dynamic_auc(outcome, outcome, risk, [horizon])[0][0]
    assert time_auc(people["t"], people["d"], risk, horizon).auc == pytest.approx(theirs, abs=1e-9)


def test_the_error_of_the_area_is_that_of_the_bootstrap(people: pd.DataFrame) -> None:
    rng = np.random.default_rng(2)
    table = people.iloc[:800]
    t, d, r = (table[name].to_numpy() for name in ("t", "d", "b"))
    found = time_auc(t, d, r, 4.0)
    draws = [rng.integers(0, len(t), len(t)) for _ in range(300)]
    spread = np.std([time_auc(t[rows], d[rows], r[rows], 4.0).auc for rows in draws])
    assert found.se == pytest.approx(spread, rel=0.15)
    assert found.influence.sum() == pytest.approx(0, abs=1e-10)


def test_an_area_needs_cases_and_controls() -> None:
    with pytest.raises(NotEstimableError, match="no event by"):
        time_auc([5.0, 6.0], [1, 0], [1, 2], 1.0)
    with pytest.raises(NotEstimableError, match="too_few_controls"):
        time_auc([1.0, 2.0], [1, 1], [1, 2], 3.0)
    with pytest.raises(ValueError, match="finite"):
        time_auc([1.0, np.nan], [1, 1], [1, 2], 3.0)


def test_paired_differences_have_the_error_of_the_bootstrap(people: pd.DataFrame) -> None:
    table = people.iloc[:700]
    t, d = table["t"].to_numpy(), table["d"].to_numpy()
    full, part = table["true"].to_numpy(), table["b"].to_numpy()
    rng = np.random.default_rng(3)
    found = compare_concordance(t, d, full, part)
    assert found.difference == pytest.approx(concordance(t, d, full).value - concordance(t, d, part).value)
    draws = [rng.integers(0, len(t), len(t)) for _ in range(200)]
    apart = [compare_concordance(t[r], d[r], full[r], part[r]).difference for r in draws]
    assert found.se == pytest.approx(np.std(apart), rel=0.2)
    areas = compare_auc(t, d, full, part, 4.0)
    apart = [compare_auc(t[r], d[r], full[r], part[r], 4.0).difference for r in draws]
    assert areas.se == pytest.approx(np.std(apart), rel=0.2)


def test_a_prediction_is_no_better_than_itself(people: pd.DataFrame) -> None:
    t, d, risk = people["t"], people["d"], _chance(people, 4.0)
    for found in (compare_concordance(t, d, risk, 2 * risk), compare_brier(t, d, risk, risk, 4.0)):
        assert (found.difference, found.se, found.z) == (0, 0, 0)
    scored = compare_brier(t, d, risk, np.full(len(t), risk.mean()), 4.0)
    assert scored.first == pytest.approx(brier(t, d, 1 - risk, [4.0]).scores["brier"][0], abs=1e-12)
    assert scored.difference < 0


def test_true_risks_are_calibrated_and_sharpened_ones_are_not() -> None:
    table = _cohort(4, 6000)
    good = calibration(table["t"], table["d"], _chance(table, 5.0), 5.0)
    assert good.ratio_ci_low < 1 < good.ratio_ci_high
    assert abs(good.slope - 1) < 3 * good.slope_se
    assert good.ici < 0.015
    assert good.e50 <= good.e90
    sharp = calibration(table["t"], table["d"], _chance(table, 5.0, 2.0), 5.0)
    assert sharp.slope == pytest.approx(0.5, abs=0.06)
    assert sharp.ici > 3 * good.ici
    assert good.deciles["n"].sum() == 6000
    doubled = calibration(table["t"], table["d"], np.minimum(2 * _chance(table, 5.0), 1), 5.0)
    assert doubled.ratio < 0.75


def test_calibration_says_what_it_lacks() -> None:
    with pytest.raises(NotEstimableError, match="one predicted risk"):
        calibration([1.0, 2, 3], [1, 0, 0], [0.2, 0.2, 0.2], 2.0)
    with pytest.raises(NotEstimableError, match="nobody is observed"):
        calibration([1.0, 2, 3], [1, 0, 0], [0.1, 0.2, 0.2], 9.0)
    with pytest.raises(ValueError, match="between 0 and 1"):
        calibration([1.0, 2, 3], [1, 0, 0], [0.1, 0.2, 1.2], 2.0)


def test_survival_chances_at_true_times_are_uniform_and_wrong_ones_are_not() -> None:
    rng = np.random.default_rng(5)
    t, c = rng.exponential(size=4000), rng.exponential(2, 4000)
    seen = np.minimum(t, c)
    assert d_calibration(seen, t <= c, np.exp(-seen))["p"] > 0.01
    assert d_calibration(seen, t <= c, np.exp(-1.3 * seen))["minus_log10_p"] > 6


def test_net_benefit_without_censoring_is_that_of_the_counts() -> None:
    event_by_one, risk = np.array([1, 1, 0, 0, 0]), np.array([0.9, 0.1, 0.6, 0.2, 0.1])
    times = np.where(event_by_one, 0.5, 2.0)
    row = decision_curve(times, event_by_one, risk, 1.0, [0.5]).loc[0]
    assert row["net_benefit"] == pytest.approx(1 / 5 - 1 / 5 * 1)
    assert row["treat_all"] == pytest.approx(2 / 5 - 3 / 5)
    assert row["treated"] == pytest.approx(0.4)
    assert row["avoided"] == pytest.approx(20)
    none = decision_curve(times, event_by_one, risk, 1.0, [0.95]).loc[0]
    assert none["net_benefit"] == 0
    with pytest.raises(ValueError, match="thresholds"):
        decision_curve(times, event_by_one, risk, 1.0, [1.0])


def test_folds_keep_people_together_and_share_events() -> None:
    rng = np.random.default_rng(6)
    person = np.repeat(np.arange(100), 2)
    event = np.repeat(rng.random(100) < 0.2, 2)
    fold = person_folds(person, event, 5, rng)
    assert pd.Series(fold).groupby(person).nunique().max() == 1
    shares = pd.Series(event).groupby(fold).sum()
    assert shares.max() - shares.min() <= 2
    assert group_folds(["b", "a", "b"]).tolist() == [1, 0, 1]
    with pytest.raises(ValueError, match="two or more"):
        group_folds(["a", "a"])
    with pytest.raises(ValueError, match="folds must be"):
        person_folds([1, 2], [0, 1], 5, rng)


@pytest.mark.parametrize("learner", sorted(LEARNERS))
def test_each_learner_predicts_people_it_never_saw(learner: str, people: pd.DataFrame) -> None:
    fresh = _cohort(7, 3000)
    names = ["a", "b", "f0", "f1", "f2", "f3"]
    times = Times(np.full(len(people), -np.inf), people["t"].to_numpy(), people["d"].to_numpy())
    fitted = LEARNERS[learner](people[names].to_numpy(), times, np.random.default_rng(0))
    x = fresh[names].to_numpy()
    found = concordance(fresh["t"], fresh["d"], fitted.score(x)).value
    best = concordance(fresh["t"], fresh["d"], fresh["true"]).value
    straight = learner in ("cox", "ridge")
    assert found > best - (0.11 if straight else 0.06)
    assert found > 0.66
    risk = fitted.risk(x, 5.0)
    assert 0.75 < calibration(fresh["t"], fresh["d"], risk, 5.0).ratio < 1.3
    if not straight:
        linear = LEARNERS["cox"](people[names].to_numpy(), times, np.random.default_rng(0))
        assert found > concordance(fresh["t"], fresh["d"], linear.score(x)).value


def test_learners_take_delayed_entry(people: pd.DataFrame) -> None:
    rng = np.random.default_rng(8)
    entry = people["t"].to_numpy() * rng.uniform(0, 0.9, len(people))
    times = Times(entry, people["t"].to_numpy(), people["d"].to_numpy())
    for name in LEARNERS:
        fitted = LEARNERS[name](people[["a", "b"]].to_numpy(), times, np.random.default_rng(0))
        assert np.isfinite(fitted.risk(people[["a", "b"]].to_numpy(), 5.0)).all()


def test_each_set_adds_what_it_should_and_rows_are_tidy(people: pd.DataFrame) -> None:
    sets = {"b": ["b"], "and noise": ["b", "f10"]}
    fold = person_folds(np.arange(len(people)), people["d"], 3, np.random.default_rng(9))
    deep = [f"f{j}" for j in range(20)]
    validated = validate_nested(
        people, sets, exit="t", event="d", fold=fold, horizon=5.0, rng=np.random.default_rng(1), deep=deep
    )
    assert not validated.risk.isna().any().any()
    table = tidy(validation_rows(validated, outcome="death", learner="cox"))
    at = table.set_index(["exposure", "measure"])
    assert (table["status"] == "ok").all()
    assert abs(at.loc[("and noise", "concordance_gain"), "z"]) < 3.5
    assert at.loc[("deep features", "concordance_gain"), "ci_low"] > 0.02
    assert at.loc[("deep features", "brier_gain"), "ci_high"] < 0
    assert 0.85 < at.loc[("deep features", "calibration_slope"), "estimate"] < 1.15
    assert 0.6 < at.loc[("b", "concordance"), "estimate"] < at.loc[("deep features", "concordance"), "estimate"]


def test_deep_features_that_know_nothing_add_nothing() -> None:
    rng = np.random.default_rng(10)
    gains = []
    for seed in range(2):
        table = _cohort(20 + seed, 500)
        noise = pd.DataFrame(rng.normal(size=(500, 25)), columns=[f"n{j}" for j in range(25)])
        table = pd.concat([table, noise], axis=1)
        fold = person_folds(np.arange(500), table["d"], 3, rng)
        validated = validate_nested(
            table, {"b": ["b"]}, exit="t", event="d", fold=fold, horizon=5.0, rng=rng, deep=list(noise)
        )
        rows = tidy(validation_rows(validated, outcome="death", learner="cox")).set_index(["exposure", "measure"])
        gains.append(rows.loc[("deep features", "concordance_gain"), "estimate"])
    assert np.mean(gains) < 0.02


def test_a_centre_is_tested_by_the_others(people: pd.DataFrame) -> None:
    fold = group_folds(people["centre"])
    validated = validate_nested(
        people, {"b": ["b"]}, exit="t", event="d", fold=fold, horizon=5.0, rng=np.random.default_rng(2)
    )
    others = people[people["centre"] != "x"]
    times = Times(np.full(len(others), -np.inf), others["t"].to_numpy(), others["d"].to_numpy())
    fitted = LEARNERS["cox"](others[["b"]].to_numpy(), times, np.random.default_rng(0))
    here = (people["centre"] == "x").to_numpy()
    np.testing.assert_allclose(validated.risk.loc[here, "b"], fitted.risk(people.loc[here, ["b"]].to_numpy(), 5.0))


def test_optimism_is_found_where_there_are_many_predictors() -> None:
    rng = np.random.default_rng(11)
    n = 150
    x = rng.normal(size=(n, 15))
    times = Times(np.full(n, -np.inf), rng.exponential(size=n), rng.random(n) < 0.5)
    found = bootstrap_optimism(LEARNERS["cox"], x, times, resamples=25, rng=rng)
    assert found.apparent > 0.57
    assert found.optimism > 0.04
    assert found.corrected < found.apparent
    assert found.n_used + found.n_failed == 25


def test_impossible_validation_is_named(people: pd.DataFrame) -> None:
    call = {"exit": "t", "event": "d", "horizon": 5.0, "rng": np.random.default_rng(0)}
    with pytest.raises(ValueError, match="learner must be one of"):
        validate_nested(people, {"b": ["b"]}, fold=people["centre"], learner="magic", **call)
    with pytest.raises(ValueError, match="two folds or more"):
        validate_nested(people, {"b": ["b"]}, fold=np.zeros(len(people)), **call)
    with pytest.raises(ValueError, match="missing values"):
        validate_nested(people.assign(b=np.nan), {"b": ["b"]}, fold=people["centre"], **call)


def test_a_model_on_the_age_scale_predicts_the_years_after_entry() -> None:
    rng = np.random.default_rng(12)
    n = 1500
    table = pd.DataFrame({"b": rng.normal(size=n), "age": rng.uniform(50, 70, n)})
    # Gompertz: the hazard grows with age, and the risk of the next five years with age at entry.
    draw = rng.exponential(size=n)
    table["t"] = (
        table["age"] + np.log1p(draw * 0.1 / (0.002 * np.exp(0.1 * (table["age"] - 40) + 0.5 * table["b"]))) / 0.1
    )
    table["d"] = table["t"] < table["age"] + 9
    table["t"] = np.minimum(table["t"], table["age"] + 9)
    fold = person_folds(np.arange(n), table["d"], 3, rng)
    found = validate_nested(
        table, {"b": ["b"]}, exit="t", event="d", entry="age", fold=fold, horizon=5.0, rng=np.random.default_rng(0)
    )
    hazard = (
        0.002 * np.exp(0.5 * table["b"]) * (np.exp(0.1 * (table["age"] - 35)) - np.exp(0.1 * (table["age"] - 40))) / 0.1
    )
    assert np.corrcoef(found.risk["b"], -np.expm1(-hazard))[0, 1] > 0.95
    assert found.exit.max() <= 9 + 1e-9
    rows = tidy(validation_rows(found, outcome="death", learner="cox", rng=np.random.default_rng(1), n_bootstrap=20))
    at = rows.set_index("measure")
    assert (rows["status"] == "ok").all()
    clock = concordance(table["t"], table["d"], found.score["b"], entry=table["age"], strata=found.fold)
    assert at.loc["concordance", "estimate"] == pytest.approx(clock.value)
    assert at.loc["observed_over_expected", "ci_low"] < 1 < at.loc["observed_over_expected", "ci_high"]
    assert at.loc["integrated_brier", "estimate"] < at.loc["brier", "estimate"]
    for entry in ("t", "missing"):
        with pytest.raises(ValueError, match=r"leave at or before they enter|must be finite"):
            validate_nested(
                table.assign(missing=np.nan),
                {"b": ["b"]},
                exit="t",
                event="d",
                entry=entry,
                fold=fold,
                horizon=5.0,
                rng=rng,
            )


def test_errors_of_calibration_are_those_of_repeated_cohorts() -> None:
    ratios, indices, errors, index_errors = [], [], [], []
    for seed in range(25):
        rng = np.random.default_rng([13, seed])
        b = rng.normal(size=600)
        failing, censored = rng.exponential(1 / (0.05 * np.exp(0.7 * b))), rng.uniform(3, 12, 600)
        risk = -np.expm1(-5 * 0.05 * np.exp(0.7 * b) * 1.5)
        exits, events = np.minimum(failing, censored), failing <= censored
        found = calibration(exits, events, risk, 5.0, rng=rng if seed < 3 else None, n_bootstrap=15)
        ratios.append(found.ratio)
        indices.append(found.ici)
        errors.append(found.ratio_se)
        index_errors += [found.ici_se] if seed < 3 else []
    assert np.mean(errors) == pytest.approx(np.std(ratios), rel=0.35)
    assert np.mean(index_errors) == pytest.approx(np.std(indices), rel=0.5)
