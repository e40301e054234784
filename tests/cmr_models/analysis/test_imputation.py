"""Imputation and participation: Rubin's rules by hand, observed values kept, biases that must go."""

import numpy as np
import pandas as pd
import pytest
from lifelines import NelsonAalenFitter
from scipy import stats
from sklearn.linear_model import LogisticRegression

from cmr_models.analysis.imputation import _draw_labels, impute, nelson_aalen, pool
from cmr_models.analysis.participation_weights import effective_size, inverse_probability_weights, raked_weights
from cmr_models.estimates import NotEstimableError


def test_rubin_by_hand() -> None:
    pooled = pool([1.0, 2.0, 3.0], [1.0, 1.0, 2.0])
    assert pooled.estimate == 2.0
    within, between = 2.0, 1.0 * (1 + 1 / 3)  # mean of 1, 1, 4; variance of 1, 2, 3
    assert pooled.se == pytest.approx(np.sqrt(within + between))
    assert pooled.fraction_missing == pytest.approx(between / (within + between))
    assert pooled.df == pytest.approx(2 / (between / (within + between)) ** 2)


def test_degrees_of_freedom_never_exceed_those_of_complete_data() -> None:
    assert pool([1.0, 1.01], [1.0, 1.0], df_complete=20).df < 20


def test_tables_that_agree_leave_the_standard_error_as_it_is() -> None:
    pooled = pool([0.5, 0.5], [0.2, 0.2])
    assert (pooled.se, pooled.fraction_missing, pooled.df) == (pytest.approx(0.2), 0.0, np.inf)


def test_a_completed_table_without_an_estimate_may_not_be_dropped() -> None:
    with pytest.raises(ValueError, match="every completed table"):
        pool([1.0, np.nan], [1.0, 1.0])


def test_nelson_aalen_is_that_of_lifelines_without_delayed_entry() -> None:
    rng = np.random.default_rng(0)
    times, events = rng.integers(1, 15, 80), rng.random(80) < 0.6
    peer = NelsonAalenFitter(nelson_aalen_smoothing=False).fit(times, events).cumulative_hazard_at_times(times)
    assert np.abs(nelson_aalen(times, events) - peer.to_numpy()).max() < 1e-12


def test_nelson_aalen_counts_only_the_time_at_risk() -> None:
    # At 2 the first two are at risk, at 4 the last two: the one who enters at 2 is not at risk of the event at 2.
    hazard = nelson_aalen([2, 4, 5], [1, 1, 0], [0, 1, 2])
    assert hazard.tolist() == pytest.approx([1 / 2, 1 / 2 + 1 / 2, 1 / 2])


@pytest.fixture
def gaps() -> pd.DataFrame:
    """x and the label g missing at random given y."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal(1500)
    y = x + rng.standard_normal(1500)
    table = pd.DataFrame({"x": x, "y": y, "g": np.where(x + rng.standard_normal(1500) > 0, "high", "low")})
    table["g"] = table["g"].astype(object)
    table.loc[rng.random(1500) < 1 / (1 + np.exp(-y)), "x"] = np.nan
    table.loc[rng.random(1500) < 0.2, "g"] = None
    return table


def test_observed_values_are_kept_and_gaps_filled_with_values_that_occur(gaps: pd.DataFrame) -> None:
    tables = impute(gaps, ["x", "y", "g"], np.random.default_rng(2), n_imputations=3)
    for table in tables:
        assert table[["x", "g"]].notna().all(axis=None)
        there = gaps["x"].notna()
        assert table.loc[there, "x"].tolist() == gaps.loc[there, "x"].tolist()
        assert set(table["x"]) <= set(gaps["x"].dropna())
        assert set(table["g"]) == {"high", "low"}
    assert not tables[0]["x"].equals(tables[1]["x"])


def test_a_mean_that_complete_cases_get_wrong_is_right_again(gaps: pd.DataFrame) -> None:
    tables = impute(gaps, ["x", "y", "g"], np.random.default_rng(3), n_imputations=5)
    means = [table["x"].mean() for table in tables]
    assert gaps["x"].mean() < -0.3
    assert abs(np.mean(means)) < 0.1


def test_the_same_seed_gives_the_same_tables(gaps: pd.DataFrame) -> None:
    one, two = (impute(gaps, ["x", "y", "g"], np.random.default_rng(4), n_imputations=2)[1] for _ in range(2))
    pd.testing.assert_frame_equal(one, two)


def test_a_column_with_next_to_nothing_in_it_is_not_imputed() -> None:
    table = pd.DataFrame({"x": [1.0] * 5 + [np.nan] * 20, "y": np.arange(25.0)})
    with pytest.raises(NotEstimableError, match="x has 5 values"):
        impute(table, ["x", "y"], np.random.default_rng(0))


def test_participation_weights_by_hand() -> None:
    # Of 40 young 20 took part, of 40 old 10: the weights are in the ratio 1 to 2.
    people = pd.DataFrame({"old": [0] * 40 + [1] * 40, "in": [True] * 20 + [False] * 20 + [True] * 10 + [False] * 30})
    weight = inverse_probability_weights(people, "in", ["old"], trim=1.0)
    assert len(weight) == 30
    assert weight.iloc[-1] / weight.iloc[0] == pytest.approx(2.0, rel=1e-5)
    assert weight.mean() == pytest.approx(1.0)


def test_raking_reaches_every_margin() -> None:
    rng = np.random.default_rng(0)
    people = pd.DataFrame({"sex": rng.choice(["f", "m"], 300, p=[0.6, 0.4]), "age": rng.choice(["y", "o"], 300)})
    margins = {"sex": {"f": 0.5, "m": 0.5}, "age": {"y": 0.3, "o": 0.7}}
    weight = raked_weights(people, margins)
    for name, shares in margins.items():
        found = weight.groupby(people[name]).sum() / weight.sum()
        assert found.to_dict() == pytest.approx(shares, abs=1e-6)
    assert effective_size(weight) < 300


def test_a_label_that_the_population_lacks_is_named() -> None:
    with pytest.raises(ValueError, match="sex: 1 labels of people have no share"):
        raked_weights(pd.DataFrame({"sex": ["f", "m", "x"]}), {"sex": {"f": 0.5, "m": 0.5}})


def test_the_spread_of_a_completed_mean_is_that_of_repeated_samples() -> None:
    # Half the values missing at random: the error of the mean must count the spread that was not seen.
    rng = np.random.default_rng(3)
    means, errors = [], []
    for _ in range(60):
        z = rng.normal(size=120)
        table = pd.DataFrame({"z": z, "x": 0.7 * z + rng.normal(size=120)})
        table.loc[rng.random(120) < 0.5, "x"] = np.nan
        filled = [one["x"] for one in impute(table, ["x", "z"], rng, n_imputations=5)]
        pooled = pool([x.mean() for x in filled], [x.std(ddof=1) / np.sqrt(120) for x in filled])
        means.append(pooled.estimate)
        errors.append(pooled.se)
    assert np.mean(errors) == pytest.approx(np.std(means, ddof=1), rel=0.2)


def test_a_product_predicts_what_depends_on_it() -> None:
    rng = np.random.default_rng(4)
    table = pd.DataFrame({"a": rng.normal(size=400), "b": rng.choice(["u", "v"], 400)})
    sign = np.where(table["b"] == "u", 1.0, -1.0)
    truth = table["a"] * sign + 0.1 * rng.normal(size=400)
    gone = rng.random(400) < 0.3
    table["x"] = truth.where(~gone)
    plain, crossed = (
        impute(table, ["x", "a", "b"], rng, n_imputations=2, products=products)[0]["x"][gone]
        for products in ((), [("a", "b")])
    )
    assert np.corrcoef(crossed, truth[gone])[0, 1] > 0.9 > 0.5 > np.corrcoef(plain, truth[gone])[0, 1]
    with pytest.raises(ValueError, match=r"columns \['c'\] are not in the table"):
        impute(table, ["x", "a"], rng, products=[("a", "c")])


# draw by draw


def _donor(x: np.ndarray, y: np.ndarray, at: np.ndarray, weight: np.ndarray, chance: np.ndarray) -> list[float]:
    """A straight line by weighted least squares, the ten whose own line is nearest, one of them by the weights."""
    design, wanted = (np.column_stack([np.ones(len(part)), part]) for part in (x, at))
    drawn = np.linalg.solve(design.T @ (design * weight[:, None]), design.T @ (weight * y))
    plain = design @ np.linalg.solve(design.T @ design, design.T @ y)
    found = []
    for target, u in zip(wanted @ drawn, chance, strict=True):
        near = np.argsort(np.abs(plain - target))[:10]
        share = np.cumsum(weight[near])
        found.append(float(y[near[np.flatnonzero(share >= u * share[-1])[0]]]))
    return found


def test_a_number_is_that_of_one_of_the_ten_nearest_by_their_weights() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(5, 3, 60)
    table = pd.DataFrame({"y": 2 * x + rng.normal(size=60), "x": x, "other": rng.normal(size=60)})
    table.loc[[3, 17, 40, 41], "y"] = np.nan
    known = table["y"].notna().to_numpy()
    table.loc[60] = [np.nan, x.min() - 9, 0.0]  # beyond everybody: the ten at the end
    known = np.append(known, False)
    tables = impute(table, ["y", "x"], np.random.default_rng(7), n_imputations=2, n_cycles=4)
    again = np.random.default_rng(7)
    for found in tables:
        again.choice(table.loc[known, "y"].to_numpy(), 5)
        weight = again.exponential(size=56)
        chance = again.random((5, 1))[:, 0]
        x_all = table["x"].to_numpy()
        expected = _donor(x_all[known], table.loc[known, "y"].to_numpy(), x_all[~known], weight, chance)
        np.testing.assert_allclose(found.loc[~known, "y"], expected)
        pd.testing.assert_frame_equal(found[known], table[known])
        pd.testing.assert_series_equal(found["other"], table["other"])


def test_labels_and_two_numbers_are_drawn_from_their_chances() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=80)
    score = x + rng.normal(size=80)
    for values in (np.select([score > 0.7, score < -0.7], ["c", "a"], "b").astype(object), (score > 0) * 5.0):
        table = pd.DataFrame({"g": values, "x": x})
        table.loc[[2, 30, 31, 66], "g"] = None
        known = table["g"].notna().to_numpy()
        (found, _) = impute(table, ["g", "x"], np.random.default_rng(3), n_imputations=2)
        again = np.random.default_rng(3)
        again.choice(table.loc[known, "g"].to_numpy(), 4)
        weight = again.exponential(size=76)
        design = np.column_stack([np.ones(80), (x - x.mean()) / x.std()])
        levels, codes = np.unique(table.loc[known, "g"].to_numpy(), return_inverse=True)
        model = LogisticRegression(C=1e3, max_iter=1000, fit_intercept=False)
        model.fit(design[known], codes, sample_weight=weight)
        share = model.predict_proba(design[~known]).cumsum(axis=1)
        expected = [levels[np.flatnonzero(u <= row)[0]] for u, row in zip(again.random(4), share, strict=True)]
        assert found.loc[~known, "g"].tolist() == expected
    one = pd.DataFrame({"g": ["a"] * 20 + [None] * 2, "x": np.arange(22.0)})
    assert set(impute(one, ["g", "x"], np.random.default_rng(0), n_imputations=2)[0]["g"]) == {"a"}


def test_columns_are_filled_in_turn_the_fewest_gaps_first_for_as_many_cycles_as_asked() -> None:
    rng = np.random.default_rng(2)
    table = pd.DataFrame({"y": rng.normal(size=50), "w": rng.normal(size=50), "x": rng.normal(size=50)})
    table.loc[:9, "y"] = np.nan
    table.loc[[8, 20, 21], "w"] = np.nan
    gap = {name: table[name].isna().to_numpy() for name in ("w", "y")}
    (found, _) = impute(table, ["y", "w", "x"], np.random.default_rng(5), n_imputations=2, n_cycles=3)
    again, filled = np.random.default_rng(5), table.copy()
    for name in ("w", "y"):
        filled.loc[gap[name], name] = again.choice(table.loc[~gap[name], name].to_numpy(), gap[name].sum())
    for _ in range(3):
        for name, others in (("w", ["y", "x"]), ("y", ["w", "x"])):
            missing, x = gap[name], filled[others].to_numpy()
            weight = again.exponential(size=(~missing).sum())
            chance = again.random((missing.sum(), 1))[:, 0]
            filled.loc[missing, name] = _donor(
                x[~missing], table.loc[~missing, name].to_numpy(), x[missing], weight, chance
            )
    pd.testing.assert_frame_equal(found, filled)


def test_ten_values_are_enough_to_learn_from_and_two_tables_to_pool() -> None:
    table = pd.DataFrame({"x": [float(k) for k in range(10)] + [np.nan] * 3, "y": np.arange(13.0)})
    assert len(impute(table, ["x", "y"], np.random.default_rng(0), n_imputations=2)) == 2
    usual, asked = (
        impute(table, ["x", "y"], np.random.default_rng(0), **given) for given in ({}, {"n_imputations": 20})
    )
    assert len(usual) == 20
    pd.testing.assert_frame_equal(usual[-1], asked[-1])
    with pytest.raises(NotEstimableError, match="x has 9 values"):
        impute(table.assign(x=table["x"].where(table["x"] != 4)), ["x", "y"], np.random.default_rng(0))
    with pytest.raises(ValueError, match="at least 2 of them, got 1"):
        impute(table, ["x", "y"], np.random.default_rng(0), n_imputations=1)
    with pytest.raises(ValueError, match=r"columns \['z'\] are not in the table"):
        impute(table, ["x", "z"], np.random.default_rng(0))
    for estimate, se, message in (
        ([1.0], [1.0], "at least 2 estimates"),
        ([1.0, 2], [1.0], "at least 2 estimates"),
        ([1.0, 2], [1.0, 0], "every completed table"),
        ([1.0, np.inf], [1.0, 1], "every completed table"),
    ):
        with pytest.raises(ValueError, match=message):
            pool(estimate, se)


def test_rubins_interval_has_the_degrees_of_freedom_of_barnard_and_rubin() -> None:
    pooled = pool([1.0, 2.0, 4.0], [1.0, 1.0, 2.0], df_complete=30)
    within, between = 2.0, 7 / 3 * 4 / 3  # mean of 1, 1, 4; variance of 1, 2, 4
    share = between / (within + between)
    old, seen = 2 / share**2, 31 / 33 * 30 * (1 - share)
    df = 1 / (1 / old + 1 / seen)
    assert (pooled.df, pooled.n_imputations) == (pytest.approx(df), 3)
    half = stats.t.ppf(0.975, df) * np.sqrt(within + between)
    assert (pooled.ci_low, pooled.ci_high) == (pytest.approx(7 / 3 - half), pytest.approx(7 / 3 + half))
    agreed = pool([0.5, 0.5], [0.2, 0.2], df_complete=30)
    assert agreed.df == pytest.approx(31 / 33 * 30)
    whole = pool([0.5, 0.5], [0.2, 0.2])
    assert (whole.ci_low, whole.ci_high) == (pytest.approx(0.5 - 1.959964 * 0.2), pytest.approx(0.5 + 1.959964 * 0.2))


def test_nelson_aalen_with_ties_and_late_entry_by_hand() -> None:
    # At 2 four of five are there (one enters then), two die; at 5 the two left, one dies.
    hazard = nelson_aalen([5, 2, 2, 9, 3], [1, 1, 1, 0, 0], [0, 1, 0, 2, 1])
    np.testing.assert_allclose(hazard, [2 / 4 + 1 / 2, 2 / 4, 2 / 4, 1 / 2, 2 / 4])
    with pytest.raises(ValueError, match="one length, got 2, 1, 2"):
        nelson_aalen([1, 2], [1])
    with pytest.raises(ValueError, match="1 rows leave at or before"):
        nelson_aalen([1, 2], [1, 0], [1, 0])


@pytest.mark.parametrize(("at", "label"), [(0.1001, "a"), (0.1004, "b")])
def test_the_ridge_on_labels_is_on_the_intercept_too(at: float, label: str) -> None:
    # One of ten is "a". With b the log odds of "b", 9 - 10 p(b) = b / 1000 gives p = 0.89978 and 0.10022 for "a": 0.1
    # without the ridge on b.
    known, ones = np.array(["a"] + ["b"] * 9, object), np.ones((10, 1))

    class _Fixed:
        def random(self, n: int) -> np.ndarray:
            return np.full(n, at)

    assert _draw_labels(known, np.ones(10), ones, np.ones((1, 1)), _Fixed()).tolist() == [label]  # type: ignore[arg-type]
