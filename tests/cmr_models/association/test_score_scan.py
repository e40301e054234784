"""The scans by hand: Pearson's test, a line through three points, the log-rank test; and every form of input."""

import math

import numpy as np
import pandas as pd
import pytest

from cmr_models.association import scan


def test_a_line_through_three_points_has_one_degree_of_freedom() -> None:
    # x 0, 1, 2 and y 0, 2, 1: slope 1/2, residuals -1/2, 1, -1/2 of one degree, Σ(x - 1)² = 2; t = 1/√3: p 2/3.
    row = scan([2.0, 0, 1, 7], [1.0, 0, 2, np.nan], None, family="linear").loc[0]
    assert (row["exposure"], row["outcome"], row["n"], row["status"]) == ("x1", "y1", 3, "ok")
    assert np.isnan(row["n_cases"])
    assert row["coef"] == pytest.approx(0.5)
    assert row["se"] == pytest.approx(math.sqrt(1.5 / 2))
    assert row["z"] == pytest.approx(1 / math.sqrt(3))
    assert row["minus_log10_p"] == pytest.approx(-math.log10(2 / 3))
    two = scan([2.0, 0, 1], [1.0, 0, np.nan], None, family="linear").loc[0]
    assert (two["reason"], two["n"]) == ("too_few_people", 2)
    assert scan([2.0, 0, 1], [np.nan] * 3, None, family="linear").loc[0, "reason"] == "no_data"
    assert scan([2.0, 0, 1, 5], [3.0, 3, 3, np.nan], None, family="linear").loc[0, "reason"] == "constant_exposure"
    assert scan([4.0, 4, 4], [1.0, 0, 2], None, family="linear").loc[0, "reason"] == "constant_exposure"
    assert scan([1.0, 2, 4], [3.0, 5, 9], None, family="linear").loc[0, "reason"] == "exact_fit"


def test_a_two_by_two_table_has_pearsons_chi_squared() -> None:
    # 4 of 10 and 5 of 20 ill, and three who do not belong to the comparison.
    x = np.array([3.0] * 10 + [1.0] * 20 + [9.0, 1, 3])
    y = np.array([1] * 4 + [0] * 6 + [1] * 5 + [0] * 15 + [np.nan] * 3)
    row = scan(x, y, None, family="logistic").loc[0]
    chi2 = 30 * (4 * 15 - 6 * 5) ** 2 / (10 * 20 * 9 * 21)
    assert row["z"] == pytest.approx(math.sqrt(chi2))
    # One step: U / V with U = 4 - 10 * 9/30 and V = 10 * 20 / 30 * 0.3 * 0.7, two units apart.
    assert row["coef"] == pytest.approx((4 - 3) / (200 / 30 * 0.21) / 2)
    assert row["se"] == pytest.approx(1 / math.sqrt(200 / 30 * 0.21) / 2)
    assert (row["n"], row["n_cases"]) == (30, 9)
    assert row["minus_log10_p"] == pytest.approx(-math.log10(math.erfc(math.sqrt(chi2 / 2))))
    for outcome, reason in ((0 * y, "too_few_cases"), (0 * y + 1, "too_few_controls")):
        assert scan(x, outcome, None, family="logistic").loc[0, "reason"] == reason


def test_a_binary_exposure_of_times_is_the_log_rank_test() -> None:
    # The third enters at the first death, the last too late for any; one lacks the event.
    frame = pd.DataFrame({"exit": [1.0, 2, 3, 4, 9, 2], "event": [1, 1, 0, 1, 0, np.nan], "entry": [0, 0, 1, 0, 5, 0]})
    x = np.array([0.0, 1, 1, 0, 1, 1])
    row = scan(x, {"d": frame}, None, family="cox").loc[0]
    # x of those at risk: at 1 the first, second and fourth (1/3), of them 0 dies; at 2 second, third, fourth (2/3), 1
    # dies; at 4 the fourth alone.
    u, v = (0 - 1 / 3) + (1 - 2 / 3), 2 / 9 + 2 / 9
    assert row["z"] == pytest.approx(u / math.sqrt(v), abs=1e-12)
    assert row["se"] == pytest.approx(1 / math.sqrt(v))
    assert (row["n"], row["n_cases"], row["outcome"]) == (5, 3, "d")
    swapped = scan(x, {"d": frame.assign(event=[0, 1, 0, 1, 0, np.nan])}, None, family="cox").loc[0]
    assert swapped["coef"] == pytest.approx((1 - 2 / 3) / (2 / 9))
    assert swapped["n_cases"] == 2


def test_every_form_of_table_is_read_and_named() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 2)), rng.normal(size=(40, 70))
    frame = pd.DataFrame(x, columns=["a", "b"])
    named = scan(frame, pd.DataFrame(y, columns=[f"o{k}" for k in range(70)]), x[:, :0], family="linear")
    plain = scan(x.tolist(), y.tolist(), None, family="linear")
    assert list(named) == list(plain)
    assert named["exposure"].tolist() == ["a", "b"] * 70
    assert named["outcome"].tolist() == [f"o{k}" for k in range(70) for _ in range(2)]
    assert plain["exposure"].tolist() == ["x1", "x2"] * 70
    assert plain["outcome"].tolist() == [f"y{k + 1}" for k in range(70) for _ in range(2)]
    np.testing.assert_allclose(named["z"], plain["z"])
    for k in (0, 63, 64, 69):
        slope = np.polyfit(x[:, 1], y[:, k], 1)[0]
        alone = plain[plain["outcome"] == f"y{k + 1}"].iloc[1]
        assert alone["coef"] == pytest.approx(slope)
    series = scan(frame["a"], pd.Series(y[:, 0]), pd.Series(x[:, 1]), family="linear").loc[0]
    both = np.linalg.lstsq(np.column_stack([np.ones(40), x]), y[:, 0], rcond=None)[0]
    assert series["coef"] == pytest.approx(both[1])
    for empty in (scan(x[:, :0], y, None, family="linear"), scan(x, y[:, :0], None, family="linear")):
        assert len(empty) == 0
        assert list(empty) == list(named)


def test_impossible_tables_are_named() -> None:
    x, y = np.arange(6.0)[:, None], np.array([0.0, 1, 0, 1, 1, 0])
    for change, message in (
        ({"exposures": np.zeros((0, 1))}, "of one person at least"),
        ({"exposures": np.zeros((6, 1, 1))}, "people, columns"),
        ({"exposures": np.where(x == 3, np.inf, x)}, r"exposures have missing or infinite values: \['x1'\]"),
        ({"covariates": np.where(x == 3, np.nan, x)}, r"covariates have missing or infinite values: \['z1'\]"),
        ({"covariates": x[:5]}, "same number of rows, got 6 and 5"),
        ({"outcomes": y[:5]}, "for 6 people"),
        ({"outcomes": y.reshape(6, 1, 1)}, "for 6 people"),
        ({"outcomes": np.where(y == 1, 2, y)}, r"0 or 1 or missing: \['y1'\]"),
        ({"outcomes": np.where(y == 1, np.inf, y), "family": "linear"}, r"finite or missing: \['y1'\]"),
        ({"outcomes": {"y": y}}, "must be a table, got a mapping"),
        ({"family": "poisson"}, "family must be"),
        ({"outcomes": {"t": pd.DataFrame({"exit": [1.0] * 5, "event": 1})}, "family": "cox"}, "and 6 rows"),
        ({"outcomes": {"t": pd.DataFrame({"exit": [1.0] * 6})}, "family": "cox"}, "needs columns exit and event"),
        ({"outcomes": {"t": pd.DataFrame({"exit": [np.inf] * 6, "event": 1})}, "family": "cox"}, "infinite times"),
        ({"outcomes": {"t": pd.DataFrame({"exit": y - 0.5, "event": 1})}, "family": "cox"}, "3 times are negative"),
        ({"outcomes": {"t": pd.DataFrame({"exit": y, "event": 1, "entry": 0.0})}, "family": "cox"}, "3 rows leave"),
        ({"outcomes": {"t": pd.DataFrame({"exit": [1.0] * 6, "event": 2})}, "family": "cox"}, "event must be 0 or 1"),
    ):
        with pytest.raises(ValueError, match=message):
            scan(**{"exposures": x, "outcomes": y, "covariates": None, "family": "logistic", **change})
    early = scan(x, {"t": pd.DataFrame({"exit": y, "event": 1, "entry": -1.0})}, None, family="cox")
    assert early["status"].tolist() == ["ok"]
