"""The columns of an estimate, groups and indicators: each rule with a value by hand, at its bound and on both sides."""

import math

import numpy as np
import pandas as pd
import pytest

from cmr_models.estimates import (
    COLUMNS,
    NOT_ESTIMABLE,
    TEXT_COLUMNS,
    VALUE_COLUMNS,
    NotEstimableError,
    bootstrap_interval,
    failed,
    minus_log10_p,
    minus_log10_p_chi2,
    minus_log10_p_t,
    tidy,
    unit_of,
    wald,
    wald_concordance,
)
from cmr_models.estimates.design_matrix import (
    check_sizes,
    design_columns,
    independent_columns,
    is_infinite,
    numbers,
    orthogonal_basis,
    standard_columns,
    standardise,
    term_table,
)
from cmr_models.estimates.groups import age_band, bmi_class, intersection, labels, quantile_group, with_groups
from cmr_models.estimates.proportions import wilson_interval


def test_a_wald_row_is_scaled_before_it_is_exponentiated() -> None:
    row = wald(0.2, 0.05, ratio=True, scale=3.0)
    assert row["estimate"] == pytest.approx(math.exp(0.6))
    assert row["se"] == pytest.approx(0.15)
    assert (row["ci_low"], row["ci_high"]) == (
        pytest.approx(math.exp(0.6 - 1.959964 * 0.15)),
        pytest.approx(math.exp(0.6 + 1.959964 * 0.15)),
    )
    assert row["z"] == pytest.approx(4)
    assert row["minus_log10_p"] == pytest.approx(-math.log10(math.erfc(4 / math.sqrt(2))))
    plain = wald(0.9, 0.2, ratio=False, null=0.5)
    assert plain["estimate"] == 0.9
    assert plain["z"] == pytest.approx(2)
    assert plain["ci_low"] == pytest.approx(0.9 - 1.959964 * 0.2)
    assert np.isnan(wald(0.9, 0.0, ratio=False)["z"])
    assert math.isfinite(wald(1e4, 1.0, ratio=True)["estimate"])
    assert wald(-1e4, 1.0, ratio=True)["estimate"] == pytest.approx(math.exp(-700))


def test_a_concordance_of_none_or_all_keeps_to_its_bounds() -> None:
    none, everybody = wald_concordance(0.0, 0.1), wald_concordance(1.0, 0.1)
    assert (none["ci_low"], none["ci_high"]) == (0.0, pytest.approx(0.1959964))
    assert (everybody["ci_low"], everybody["ci_high"]) == (pytest.approx(1 - 0.1959964), 1.0)
    assert none["z"] == pytest.approx(-5)


def test_evidence_is_two_sided_and_has_no_sign() -> None:
    for z in (1.3, -1.3):
        assert minus_log10_p(z) == pytest.approx(-math.log10(math.erfc(1.3 / math.sqrt(2))))
        assert minus_log10_p_t(z, 1) == pytest.approx(-math.log10(1 - 2 * math.atan(1.3) / math.pi))  # Cauchy
    assert minus_log10_p(0.0) == pytest.approx(0, abs=1e-12)
    assert minus_log10_p_chi2(5.0, 2) == pytest.approx(2.5 / math.log(10))
    assert minus_log10_p_chi2(0.0, 3) == pytest.approx(0)
    assert minus_log10_p_chi2([2.0, 4.0], 2).tolist() == pytest.approx([1 / math.log(10), 2 / math.log(10)])  # type: ignore[arg-type]
    # Of 2 df the tail is exp(-x / 2) however far: beyond floats by the leading term.
    assert minus_log10_p_chi2(5000.0, 2) == pytest.approx(2500 / math.log(10))
    # Of 4 df exp(-x / 2) (1 + x / 2).
    assert minus_log10_p_chi2(4000.0, 4) == pytest.approx((2000 - math.log(2001)) / math.log(10), abs=1e-3)
    # Of 2 df Student's tail is (1 - t / √(2 + t²)) / 2 a side: 1 / (2 t²) far out.
    assert minus_log10_p_t(1e200, 2) == pytest.approx(400, abs=1e-6)
    # Half of it lies beyond 0 a side, and beyond 1 of 1 df a quarter; the expansion for far tails asks for no division.
    with np.errstate(all="raise"):
        assert minus_log10_p_t([0.0, 1.0], 1).tolist() == pytest.approx([0, math.log10(2)])  # type: ignore[arg-type]


def test_a_bootstrap_interval_places_the_kth_of_b_draws_at_k_over_b_and_one() -> None:
    draws = np.column_stack([np.arange(1, 80.0), -np.arange(1, 80.0)])
    np.testing.assert_allclose(bootstrap_interval(draws), [[2, -78], [78, -2]])


def test_rows_become_a_table_with_every_column_and_a_status() -> None:
    rows = [
        {"exposure": "lvm_g", "n": 5, "estimate": "1.5", "n_events": None},
        {"status": "failed", "reason": "no_data", "more": 7},
    ]
    table = tidy(rows, extra=("more",))
    assert list(table) == [*COLUMNS, "more"]
    assert table["status"].tolist() == ["ok", "failed"]
    assert table["reason"].tolist() == ["", "no_data"]
    assert table["exposure"].tolist() == ["lvm_g", ""]
    np.testing.assert_array_equal(table["n"], [5, np.nan])
    np.testing.assert_array_equal(table["estimate"], [1.5, np.nan])
    assert table[["n", "n_events", "estimate", "q"]].dtypes.eq(float).all()
    np.testing.assert_array_equal(table["more"], [np.nan, 7])
    assert failed("no_pairs") == {"status": "failed", "reason": "no_pairs"}
    assert len(tidy([])) == 0
    assert not {"n", "n_events", *VALUE_COLUMNS} & set(TEXT_COLUMNS)
    error = NotEstimableError("no_pairs", "of 3")
    assert (error.reason, error.detail, str(error)) == (
        "no_pairs",
        "of 3",
        f"no_pairs: {NOT_ESTIMABLE['no_pairs']} of 3",
    )
    assert str(NotEstimableError("no_pairs")) == f"no_pairs: {NOT_ESTIMABLE['no_pairs']}"
    with pytest.raises(KeyError, match="unknown reason 'tired'"):
        NotEstimableError("tired")


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("lvedv_ml", "mL"), ("lvedv_ml_m2", "mL/m²"), ("lvm_g", "g"), ("lvm_g_m2", "g/m²"), ("lvco_l_min", "L/min"),
        ("lvci_l_min_m2", "L/min/m²"), ("mbf_ml_min_g", "mL/min/g"), ("ecv_ml_g", "mL/g"), ("gd_mmol_l", "mmol/L"),
        ("lvef_pct", "%"), ("heart_rate_bpm", "1/min"), ("wall_mm", "mm"), ("cycle_ms", "ms"), ("age_years", "years"),
        ("sphericity", ""), ("m2", ""),
    ],
)  # fmt: skip
def test_the_unit_is_that_of_the_longest_suffix(name: str, unit: str) -> None:
    assert unit_of(name) == unit


def test_wilsons_interval_of_a_share_and_of_none() -> None:
    # Newcombe 1998, table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
    for k, n, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        assert wilson_interval(k, n) == (pytest.approx(low, abs=6e-5), pytest.approx(high, abs=6e-5))


# groups


def test_bands_begin_at_their_edge() -> None:
    assert age_band([50, 59.99, 60, np.nan, 62.5, 70], [60, 62.5]).tolist() == [
        "<60", "<60", "60-61.5", "unknown", ">=62.5", ">=62.5",
    ]  # fmt: skip
    assert age_band([54, 55, 64, 65, 74, 75, np.inf]).tolist() == [
        "<55", "55-64", "55-64", "65-74", "65-74", ">=75", "unknown",
    ]  # fmt: skip
    # 180 cm: 18.5, 25 and 30 kg/m² are 59.94, 81 and 97.2 kg.
    weights = np.array([59.9, 60, 80.9, 81.1, 97.1, 97.3, np.nan])
    expected = ["underweight", "normal", "normal", "overweight", "overweight", "obese", "unknown"]
    assert bmi_class(np.full(7, 180.0), weights).tolist() == expected
    table = pd.DataFrame({"age_years": [50.0, 70], "height_cm": [180.0, 180], "weight_kg": [60.0, np.nan]})
    found = with_groups(table, [60])
    assert found["age_band"].tolist() == ["<60", ">=60"]
    assert found["bmi_class"].tolist() == ["normal", "unknown"]
    assert list(table) == ["age_years", "height_cm", "weight_kg"]
    assert "bmi_class" not in with_groups(table[["age_years", "height_cm"]], [60])


def test_quantile_groups_keep_ties_together_and_the_missing_apart() -> None:
    # Of 1, 2, 2, 2, 9 the thirds are at ranks 4/3 and 8/3: 2 and 2; a value at an edge is in the upper group.
    assert quantile_group([9, 2, np.nan, 1, 2, 2], 3).tolist() == ["Q3", "Q3", "unknown", "Q1", "Q3", "Q3"]
    assert quantile_group([4, 1, 3, 2], 2).tolist() == ["Q2", "Q1", "Q2", "Q1"]  # the median is 2.5
    assert quantile_group([np.nan, np.nan]).tolist() == ["unknown", "unknown"]


def test_labels_are_texts_and_intersections_join_them() -> None:
    table = pd.DataFrame({"sex": ["f", None, "m"], "site": [1, 2, 3], "band": pd.Categorical(["a", "b", None])})
    assert labels(table["sex"]).tolist() == ["f", "unknown", "m"]
    assert intersection(table, ["sex", "site", "band"]).tolist() == ["f x 1 x a", "unknown x 2 x b", "m x 3 x unknown"]
    assert intersection(table, ["site"]).tolist() == ["1", "2", "3"]


# columns


def test_text_becomes_indicators_against_the_most_frequent_and_the_missing_stay_missing() -> None:
    table = pd.DataFrame({"s": ["b", "c", None, "c", "a"], "x": [1, 2, 3, 4, 5], "t": [True, False, True, True, True]})
    found = design_columns(table, ["x", "s", "t"])
    assert list(found) == ["x", "s=a", "s=b", "t"]
    np.testing.assert_array_equal(found["s=a"], [0, 0, np.nan, 0, 1])
    np.testing.assert_array_equal(found["s=b"], [1, 0, np.nan, 0, 0])
    assert found["t"].tolist() == [1, 0, 1, 1, 1]
    assert found.dtypes.eq(float).all()
    tied = pd.DataFrame({"s": ["b", "a", "c", "b", "a"]})
    assert list(design_columns(tied, ["s"])) == ["s=b", "s=c"]  # of two equals the first by name is the reference
    alone = pd.DataFrame({"s": ["a", None, "a"]})
    np.testing.assert_array_equal(design_columns(alone, ["s"])["s=a"], [1, np.nan, 1])
    nobody = pd.DataFrame({"s": pd.Series([None, None], dtype=object)})
    assert design_columns(nobody, ["s"]).isna().all(axis=None)
    plain = pd.DataFrame({"a": [1.0, 2], "b": [3.0, 4]})
    assert design_columns(plain, ["b", "a", "b"]).to_numpy().tolist() == [[3, 1], [4, 2]]
    assert design_columns(plain, "a").to_numpy().tolist() == [[1], [2]]


def test_the_first_of_several_dependent_columns_stays() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=50), rng.normal(size=50)
    values = np.column_stack([np.full(50, 1e9), a, 3 * a - 7, b, a + b, a * 1e-9, b + 1e-3 * rng.normal(size=50)])
    assert independent_columns(values).tolist() == [False, True, False, True, False, False, True]
    assert independent_columns(np.zeros((4, 1))).tolist() == [False]
    group = np.repeat([0, 1], 25)
    assert independent_columns(np.column_stack([group, a]), group).tolist() == [False, True]
    assert independent_columns(np.column_stack([group * 2.0, group + a, a]), group).tolist() == [False, True, False]


def test_columns_in_standard_units_have_the_spread_over_n() -> None:
    values = np.array([[1.0, 10, 5], [3, 10, 5.5], [8, 10, 0]])
    found = standard_columns(values)
    assert found.kept.tolist() == [True, False, True]
    np.testing.assert_allclose(found.centre, [4, 3.5])
    # Deviations -3, -1, 4 and 1.5, 2, -3.5.
    spread = np.array([math.sqrt(26 / 3), math.sqrt(18.5 / 3)])
    np.testing.assert_allclose(found.spread, spread)
    np.testing.assert_allclose(found.columns[:, 0], np.array([-3, -1, 4]) / spread[0])
    r = (-4.5 - 2 - 14) / math.sqrt(26 * 18.5)
    np.testing.assert_allclose(found.correlation, [[1, r], [r, 1]])
    assert found.basis is None
    assert found.apart.tolist() == [1, 1]
    columns, sds = standardise(values[:, [0, 2]])
    np.testing.assert_allclose(columns, found.columns)
    np.testing.assert_allclose(sds, spread)


def test_columns_that_nearly_depend_get_a_basis_without_correlation() -> None:
    rng = np.random.default_rng(1)
    a = rng.normal(size=400)
    found = standard_columns(np.column_stack([a, a + 1e-5 * rng.normal(size=400)]))
    assert found.kept.tolist() == [True, True]
    assert found.basis is not None
    turned = found.columns @ found.basis
    np.testing.assert_allclose(turned.T @ turned, 400 * np.eye(2), atol=1e-4)
    assert found.apart[1] == pytest.approx(1e-5, rel=0.2)
    basis = orthogonal_basis(np.array([[1.0, 0], [1, 2], [-1, 1], [-1, -3]]))
    turned = np.array([[1.0, 0], [1, 2], [-1, 1], [-1, -3]]) @ basis
    np.testing.assert_allclose(turned.T @ turned, 4 * np.eye(2), atol=1e-12)
    assert basis[1, 0] == 0


def test_a_coefficient_of_twelve_per_sd_or_without_an_error_is_infinite() -> None:
    coef, se = np.array([11.9, 12.0, -12.0, 1, 1, 1, np.nan]), np.array([1.0, 1, 1, 11.9, 12, 0, 1])
    assert is_infinite(coef, se).tolist() == [False, True, True, False, True, True, True]
    assert is_infinite(coef * 2, se, 0.5)[:4].tolist() == [False, True, True, False]


def test_a_term_is_told_per_unit_and_an_aliased_or_infinite_one_without_a_number() -> None:
    kept = np.array([True, False, True])
    found = term_table(["x", "one", "far"], kept, np.array([0.6, 40.0]), np.array([0.2, 1.0]), np.array([3.0, 2.0]))
    assert found["status"].tolist() == ["ok", "aliased", "infinite"]
    assert found.loc[0, ["coef", "se", "z"]].tolist() == pytest.approx([0.2, 0.2 / 3, 3])
    assert found.loc[0, "ci_low"] == pytest.approx(0.2 - 1.959964 * 0.2 / 3)
    assert found.loc[0, "ci_high"] == pytest.approx(0.2 + 1.959964 * 0.2 / 3)
    assert found.loc[1:, ["coef", "se", "ci_low", "z", "minus_log10_p"]].isna().all(axis=None)
    known = term_table(["x"], kept[:1], np.array([40.0]), np.array([1.0]), np.array([2.0]), np.array([False]))
    assert known.loc[0, ["coef", "status"]].tolist() == [20, "ok"]


def test_values_too_large_too_small_or_missing_are_refused_by_name() -> None:
    fine = np.array([[0.0, -9e99, 1.1e-100], [0, 1, -1e-101]])
    check_sizes(fine, ["a", "b", "c"], "covariates")
    for value, message in (
        (np.nan, r"missing values: \['b'\]"),
        (-1.1e100, r"squared: \['b'\]"),
        (np.inf, r"squared: \['b'\]"),
    ):
        with pytest.raises(ValueError, match=message):
            check_sizes(np.array([[0.0, value, 1], [0, 0, 1]]), ["a", "b", "c"], "covariates")
    with pytest.raises(ValueError, match=r"squared: \['c'\]"):
        check_sizes(fine * [1, 1, 0.1], ["a", "b", "c"], "covariates")
    assert numbers(pd.Series([1, None], dtype="Int64"), "x").tolist()[0] == 1
    for wrong in (["a"], [1j], pd.to_datetime(["2020-01-01"]), pd.DataFrame({"a": [1], "b": ["x"]})):
        with pytest.raises(ValueError, match="x must be numbers"):
            numbers(wrong, "x")
