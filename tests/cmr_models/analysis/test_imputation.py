"""Imputation and participation: Rubin's rules by hand, observed values kept, biases that must go."""

import numpy as np
import pandas as pd
import pytest
from lifelines import NelsonAalenFitter

from cmr_models.analysis.imputation import impute, nelson_aalen, pool
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
