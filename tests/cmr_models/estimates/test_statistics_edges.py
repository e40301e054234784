"""Data that cannot be estimated: a status with a reason, or a clear error, never a silent number."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cmr_models.association import delong, fit_firth_logistic, scan
from cmr_models.estimates import NotEstimableError
from cmr_models.fairness import disaggregate
from cmr_models.survival import (
    brier,
    check_proportional_hazards,
    concordance,
    cumulative_incidence,
    fit_cox,
    fit_fine_gray,
    gray_test,
    kaplan_meier,
    log_rank,
)


def _table(n: int = 120, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({"x": rng.normal(size=n), "z": rng.normal(size=n)})
    return table.assign(
        t=rng.exponential(5, n) + 0.1,
        d=rng.integers(0, 2, n),
        e=rng.integers(0, 3, n),
        w=rng.uniform(0.5, 2, n),
        centre=rng.choice(["a", "b", "c"], n),
    )


def _cox(table: pd.DataFrame, *covariates: str, **options: Any) -> pd.DataFrame:
    return fit_cox(table, exit="t", event="d", covariates=covariates, **options).estimates.set_index("term")


def test_weights_of_one_change_nothing_and_doubled_weights_are_doubled_rows() -> None:
    table = _table()
    plain = _cox(table, "x", "z", ties="breslow")
    ones = _cox(table.assign(w=1.0), "x", "z", ties="breslow", weights="w")
    pd.testing.assert_frame_equal(ones, plain)
    doubled = _cox(pd.concat([table, table]), "x", "z", ties="breslow")
    twice = _cox(table.assign(w=2.0), "x", "z", ties="breslow", weights="w")
    np.testing.assert_allclose(twice[["coef", "se"]], doubled[["coef", "se"]], rtol=1e-9)


def test_a_row_twice_in_one_cluster_leaves_the_robust_error() -> None:
    table = _table().assign(person=lambda t: np.arange(len(t)))
    once = _cox(table, "x", ties="breslow", cluster="person")
    twice = _cox(pd.concat([table, table]), "x", ties="breslow", cluster="person")
    assert twice.loc["x", "robust_se"] == pytest.approx(once.loc["x", "robust_se"], rel=1e-9)
    assert once.loc["x", "z"] == pytest.approx(once.loc["x", "coef"] / once.loc["x", "robust_se"])


def test_an_aliased_and_an_infinite_term_have_no_error_of_either_kind() -> None:
    table = _table().assign(one=1.0, rare=lambda t: ((t.index % 9 == 0) & (t["d"] == 0)).astype(float))
    terms = _cox(table, "one", "rare", "x")
    assert terms["status"].tolist() == ["aliased", "infinite", "ok"]
    assert terms.loc[["one", "rare"], ["coef", "se", "robust_se", "z", "p"]].isna().all(axis=None)


def test_the_indicators_of_one_text_are_tested_together() -> None:
    fit = fit_cox(_table(), exit="t", event="d", covariates=["x", "centre"])
    tests = check_proportional_hazards(fit)
    assert tests["term"].tolist() == ["x", "centre", "GLOBAL"]
    assert tests["df"].tolist() == [1, 2, 3]
    assert (tests["p"] > 0).all()


def test_terms_without_a_coefficient_have_no_test_of_proportional_hazards() -> None:
    table = _table().assign(one=1.0, rare=lambda t: ((t.index % 9 == 0) & (t["d"] == 0)).astype(float))
    tests = check_proportional_hazards(fit_cox(table, exit="t", event="d", covariates=["one", "rare", "x"]))
    status = tests.set_index("term")["status"]
    assert status.to_dict() == {"one": "aliased", "rare": "infinite", "x": "ok", "GLOBAL": "ok"}
    assert tests.set_index("term").loc["GLOBAL", "df"] == 1


def test_a_coefficient_that_changes_sign_is_found_and_a_constant_one_is_not() -> None:
    rng = np.random.default_rng(1)
    n = 2000
    x, other = rng.integers(0, 2, n), rng.normal(size=n)
    early, late = rng.exponential(np.exp(-1.5 * x)), 0.5 + rng.exponential(np.exp(1.5 * x))
    table = pd.DataFrame({"x": x, "other": other, "t": np.where(early < 0.5, early, late), "d": 1})
    tests = check_proportional_hazards(fit_cox(table, exit="t", event="d", covariates=["x", "other"])).set_index("term")
    assert tests.loc["x", "p"] < 1e-6
    assert tests.loc["other", "p"] > 1e-3


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({"w": 0.0}, {"weights": "w"}, "w must be finite and over 0"),
        ({"w": np.nan}, {"weights": "w"}, "w must be finite and over 0"),
        ({"centre": None}, {"cluster": "centre"}, "centre has missing values"),
        ({}, {"ties": "exact"}, "ties must be 'efron' or 'breslow'"),
        ({}, {"cluster": "family"}, r"columns \['family'\] are not in the table"),
        ({"x": np.inf}, {}, "covariates must be finite"),
        ({"x": 1e200}, {}, "units that can be squared"),
        ({"x": pd.Timestamp("2020-01-01")}, {}, "'x' holds dates"),
        ({"x": 1j}, {}, "'x' holds complex numbers"),
        ({"t": pd.Timestamp("2020-01-01")}, {}, "t must be numbers"),
        ({"centre": None}, {"strata": "centre"}, "centre must not be missing"),
    ],
)
def test_impossible_options_of_cox_are_refused(change: dict[str, Any], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _cox(_table().assign(**change), "x", **options)


def test_numbers_without_a_type_are_not_taken_for_a_category() -> None:
    table = _table()
    with pytest.raises(ValueError, match="'x' holds numbers as objects"):
        _cox(table.assign(x=table["x"].astype(object)), "x")
    with pytest.raises(ValueError, match="2 columns named 'x'"):
        _cox(pd.concat([table, table[["x"]]], axis=1), "x")


def test_what_does_not_vary_within_strata_is_aliased_and_one_cluster_gives_no_robust_error() -> None:
    table = _table().assign(level=lambda t: t["centre"].map({"a": 1.0, "b": 2.0, "c": 5.0}))
    assert _cox(table, "level", "x", strata="centre")["status"].tolist() == ["aliased", "ok"]
    with pytest.raises(NotEstimableError, match=r"constant_exposure.*within the strata"):
        _cox(table, "level", strata="centre")
    with pytest.raises(NotEstimableError, match=r"too_few_groups.*all rows are of one family"):
        _cox(table.assign(family="a"), "x", cluster="family")


@pytest.mark.parametrize("kind", ["boolean", "Int64", "Float64", "category"])
def test_types_of_pandas_are_read_and_their_missing_values_seen(kind: str) -> None:
    table = _table()
    event = (table["d"] == 1).astype(kind) if kind == "boolean" else table["d"].astype(kind)
    time = table["t"].astype("Float64")
    typed = concordance(time, event, table["x"].astype("Float64"))
    assert typed.value == concordance(table["t"], table["d"], table["x"]).value
    np.testing.assert_array_equal(kaplan_meier(time, event).survival, kaplan_meier(table["t"], table["d"]).survival)
    typed = fit_firth_logistic(table[["x"]].astype("Float64"), event).estimates
    pd.testing.assert_frame_equal(typed, fit_firth_logistic(table[["x"]], table["d"]).estimates)
    assert delong(event, table["x"]) == delong(table["d"], table["x"])
    missing = event.where(table.index > 3)
    for call in (lambda: kaplan_meier(time, missing), lambda: concordance(time, missing, table["x"])):
        with pytest.raises(ValueError, match="missing values"):
            call()
    with pytest.raises(ValueError, match="must be finite"):
        kaplan_meier(time.where(table.index > 3), event)


def test_missing_values_of_pandas_are_people_outside_the_comparison() -> None:
    table = _table()
    missing = table["d"].astype("Int64").where(table.index > 9)
    found = scan(table[["x"]], missing.to_frame("d"), None, family="logistic")
    alone = scan(table.loc[10:, ["x"]], table.loc[10:, ["d"]], None, family="logistic")
    np.testing.assert_allclose(found[["n", "coef", "z"]], alone[["n", "coef", "z"]], rtol=1e-9)
    times = pd.DataFrame({"exit": table["t"].astype("Float64"), "event": missing})
    found = scan(table[["x"]], {"d": times}, None, family="cox")
    alone = scan(table.loc[10:, ["x"]], {"d": times.loc[10:].astype(float)}, None, family="cox")
    np.testing.assert_allclose(found[["n", "coef", "z"]], alone[["n", "coef", "z"]], rtol=1e-9)


def test_a_score_that_never_fails_has_no_error() -> None:
    table = _table()
    assert np.isnan(delong(table["d"], table["d"]).se)
    assert np.isnan(concordance(table["t"], table["d"], -table["t"]).se)
    assert concordance(table["t"], table["d"], 0 * table["t"]).value == 0.5
    assert delong(table["d"], table["d"], table["x"]).paired.se > 0


def test_brier_scores_end_with_the_follow_up() -> None:
    table, chance = _table(), np.full(120, 0.5)
    with pytest.raises(ValueError, match="within the follow-up"):
        brier(table["t"], table["d"], chance, [1e6])
    with pytest.raises(ValueError, match="within the follow-up"):
        brier(table["t"], table["d"], chance, [-1.0])
    with pytest.raises(ValueError, match="one at least"):
        brier(table["t"], table["d"], np.zeros((120, 0)), [])


def test_an_exact_fit_and_a_null_model_at_infinity_are_no_tests() -> None:
    table = _table()
    found = scan(table[["x"]], pd.DataFrame({"y": 2 * table["x"] + 1}), None, family="linear")
    assert found["reason"].tolist() == ["exact_fit"]
    few = {"y": pd.DataFrame({"exit": table["t"], "event": table.index < 5})}
    many = np.random.default_rng(3).normal(size=(120, 40))
    found = scan(table[["x"]], few, many, family="cox")
    assert set(found["reason"]) <= {"separation", "not_converged", "collinear"}
    assert found[["coef", "se", "z"]].isna().all(axis=None)


def test_a_group_whose_number_is_undefined_is_no_ok_row() -> None:
    table = _table()
    rows = disaggregate(
        lambda people: {"estimate": people["x"].mean() if len(people) > 60 else np.nan}, table, "centre"
    )
    assert rows["status"].tolist() == ["ok"] + ["failed"] * 3
    assert set(rows["reason"][1:]) == {"undefined"}
    empty = disaggregate(lambda people: {"estimate": people["x"].mean()}, table[:0], ["centre"])
    assert empty["reason"].tolist() == ["no_data"]
    with pytest.raises(ValueError, match="event must be 0 or 1"):
        disaggregate(lambda people: {}, table.assign(d=np.nan), ["centre"], events="d")


def test_an_unknown_transform_of_time_is_refused() -> None:
    fit = fit_cox(_table(), exit="t", event="d", covariates=["x"])
    with pytest.raises(ValueError, match="transform must be one of"):
        check_proportional_hazards(fit, "sqrt")  # type: ignore[arg-type]
    shifted = _table().assign(t=lambda t: t["t"] - 1, start=-2.0)
    early = fit_cox(shifted, exit="t", event="d", entry="start", covariates=["x"])
    with pytest.raises(ValueError, match="event times over 0"):
        check_proportional_hazards(early, "log")


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda t: fit_fine_gray(t, exit="t", event="e", cause=7, covariates=["x"]), "too_few_cases"),
        (lambda t: fit_fine_gray(t.assign(x=2.0), exit="t", event="e", cause=1, covariates=["x"]), "constant_exposure"),
        (lambda t: cumulative_incidence(t["t"], 0 * t["e"]), "too_few_cases"),
        (lambda t: gray_test(t["t"], t["e"], 0 * t["e"]), "too_few_groups"),
        (lambda t: log_rank(t["t"], t["d"], 0 * t["d"]), "too_few_groups"),
        (lambda t: log_rank(t["t"], 0 * t["d"], t["centre"]), "too_few_cases"),
        (lambda t: fit_firth_logistic(t[["x"]], 0 * t["d"]), "too_few_cases"),
        (lambda t: fit_firth_logistic(t[["x"]], 0 * t["d"] + 1), "too_few_controls"),
        (lambda t: fit_firth_logistic(0 * t[["x"]], t["d"]), "constant_exposure"),
        (lambda t: delong(t.index == 0, t["x"]), "too_few_cases"),
        (lambda t: delong(t.index != 0, t["x"]), "too_few_controls"),
        (lambda t: concordance(t["t"], t["d"], t["x"], strata=t.index), "no_pairs"),
    ],
)
def test_what_cannot_be_estimated_has_a_reason(call: Callable[[pd.DataFrame], object], reason: str) -> None:
    with pytest.raises(NotEstimableError, match=reason):
        call(_table())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda t: fit_fine_gray(t, exit="t", event="w", cause=1, covariates=["x"]), "whole numbers"),
        (lambda t: fit_fine_gray(t, exit="t", event="e", cause=0, covariates=["x"]), "cause must be a code over 0"),
        (lambda t: fit_fine_gray(t.assign(x=np.nan), exit="t", event="e", cause=1, covariates=["x"]), "missing values"),
        (lambda t: cumulative_incidence(t["t"] * np.nan, t["e"]), "exit must be finite"),
        (lambda t: gray_test(t["t"], t["e"], [None] * len(t)), "no missing labels"),
        (lambda t: concordance(t["t"], t["e"], t["x"]), "event must be 0 or 1"),
        (lambda t: concordance(t["t"], t["d"].where(t["x"] > 0), t["x"]), "event must be 0 or 1"),
        (lambda t: kaplan_meier(t["t"], t["d"] + 1), "event must be 0 or 1"),
        (lambda t: kaplan_meier(-t["t"], t["d"]), "120 times are negative"),
        (lambda t: fit_cox(t.assign(t=-1.0), exit="t", event="d", covariates=["x"]), "120 times are negative"),
        (lambda t: cumulative_incidence(t["t"] - 99, t["e"]), "120 times are negative"),
        (lambda t: brier(t["t"], t["d"], np.full(len(t), 1.5), [2.0]), "between 0 and 1"),
        (lambda t: brier(t["t"], t["d"], np.full((len(t), 2), 0.5), [2.0]), "people, times"),
        (lambda t: fit_firth_logistic(t[["x"]], t["e"]), "y must be 0 or 1"),
        (lambda t: fit_firth_logistic(t[["x"]] * np.nan, t["d"]), "X must be finite"),
        (lambda t: delong(t["d"], t["x"] * np.nan), "scores finite"),
        (lambda t: scan(t[["x"]], t[["e"]], t[["z"]], family="logistic"), r"0 or 1 or missing: \['e'\]"),
        (lambda t: scan(t[["x"]] * np.nan, t[["d"]], t[["z"]], family="logistic"), r"exposures have missing .*\['x'\]"),
        (lambda t: scan(t[["x"]], t[["d"]], t[["z"]].iloc[1:], family="linear"), "same number of rows"),
        (lambda t: scan(t[["x"]], t[["d"]], t[["z"]], family="poisson"), "family must be"),
        (lambda t: scan(t[["centre"]], t[["d"]], None, family="linear"), "exposures must be numbers"),
        (lambda t: scan(t[["x"]][:0], t[["d"]][:0], None, family="linear"), "one person at least"),
        (lambda t: concordance(t["t"], t["d"], t["x"], tau=np.nan), "tau must be a time"),
        (lambda t: fit_fine_gray(t, exit="t", event="e", cause="1", covariates=["x"]), "cause must be a code"),
        (lambda t: kaplan_meier(pd.to_timedelta(t["t"]), t["d"]), "exit must be numbers"),
        (lambda t: kaplan_meier(t["t"], t["centre"]), "event must be numbers"),
        (lambda t: scan(t[["x"]], t[["d"]], t[["z"]], family="cox"), "must map each name to a frame"),
        (lambda t: scan(t[["x"]], {"d": t[["d"]]}, t[["z"]], family="cox"), "needs columns exit and event"),
    ],
)
def test_impossible_input_is_named(call: Callable[[pd.DataFrame], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(_table())


def test_a_scan_says_why_a_pair_has_no_test() -> None:
    table = _table()
    exposures = table[["x"]].assign(one=3.0, z2=table["z"] * 2 - 1, big=table["x"] * 1e9 + 1e3)
    outcomes = pd.DataFrame(
        {"ok": table["d"], "never": 0, "always": 1, "nobody": np.nan, "separated": (table["z"] > 0).astype(int)}
    )
    found = scan(exposures, outcomes, table[["z"]], family="logistic").set_index(["outcome", "exposure"])
    assert found.loc["ok", "reason"].to_dict() == {"x": "", "one": "constant_exposure", "z2": "collinear", "big": ""}
    assert found.loc[("ok", "big"), "z"] == pytest.approx(found.loc[("ok", "x"), "z"], rel=1e-6)
    for outcome, reason in {"never": "too_few_cases", "always": "too_few_controls", "nobody": "no_data"}.items():
        assert set(found.loc[outcome, "reason"]) == {reason}
    assert set(found.loc["separated", "reason"]) == {"not_converged"}
    failed = found[found["status"] == "failed"]
    assert failed[["coef", "se", "z", "minus_log10_p"]].isna().all(axis=None)


def test_a_linear_scan_says_why_a_pair_has_no_test() -> None:
    table = _table()
    outcomes = pd.DataFrame({"flat": np.full(len(table), 4.2), "few": table["x"].where(table.index < 3)})
    found = scan(table[["x"]], outcomes, table[["z"]], family="linear").set_index("outcome")
    assert found["reason"].to_dict() == {"flat": "constant_exposure", "few": "too_few_people"}


def test_five_events_and_twenty_covariates_end_in_a_status_or_a_reason_with_competing_causes() -> None:
    rng = np.random.default_rng(2)
    table = _table(40).assign(e=[1] * 5 + [2] * 5 + [0] * 30, **{f"c{k}": rng.normal(size=40) for k in range(20)})
    names = [f"c{k}" for k in range(20)]
    try:
        status = set(fit_fine_gray(table, exit="t", event="e", cause=1, covariates=names).estimates["status"])
    except NotEstimableError as error:
        status = {error.reason}
    assert status & {"infinite", "not_converged"}


def test_ties_everywhere_are_estimated() -> None:
    table = _table().assign(t=1.0)
    assert _cox(table, "x").loc["x", "status"] == "ok"
    fine_gray = fit_fine_gray(table, exit="t", event="e", cause=1, covariates=["x"])
    assert np.isfinite(fine_gray.estimates.loc[0, "se"])
    with pytest.raises(NotEstimableError, match="no_pairs"):
        concordance(table["t"], np.ones(len(table)), table["x"])
