"""What a Cox fit says of itself: likelihoods by hand, units, whose error is shown, and whose column is whose."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from cmr_models.survival import fit_cox

# Two strata, late entry, two deaths at 4 in the first, weights; x is no small number.
TABLE = pd.DataFrame(
    {
        "entry": [0.0, 1, 0, 2, 0, 0, 1, 0],
        "t": [4.0, 4, 6, 5, 3, 2, 7, 9],
        "d": [1, 1, 0, 1, 1, 1, 1, 0],
        "x": [1000.0, 1003, 1001, 1002, 1000, 1004, 1001, 1002],
        "s": ["q", "q", "q", "q", "p", "p", "p", "p"],
        "w": [1.0, 2, 1, 3, 1, 1, 2, 1],
        "f": [1, 2, 1, 3, 4, 4, 5, 6],
    },
    index=[8, 3, 5, 1, 0, 9, 4, 2],
)
TIMES = {"exit": "t", "event": "d", "entry": "entry"}


def test_the_null_likelihood_is_one_over_the_weight_at_risk_with_efrons_share_of_ties() -> None:
    fit = fit_cox(TABLE, covariates=["x"], strata="s", weights="w", **TIMES)
    # q: at 4 all four are there (1 + 2 + 1 + 3); the two deaths (1 + 2) share a weight of 3/2 a term, the second less
    # half of them; at 5 those of weight 1 and 3. p: at 2 and 3 and 7 of 1, 1, 2, 1.
    by_hand = -1.5 * (math.log(7) + math.log(7 - 1.5)) - 3 * math.log(4)
    by_hand += -math.log(5) - math.log(4) - 2 * math.log(3)
    assert fit.log_likelihood_null == pytest.approx(by_hand)
    assert fit.log_likelihood >= fit.log_likelihood_null
    assert (fit.n, fit.n_events) == (8, 6)
    plain = fit_cox(TABLE, covariates=["x"], ties="breslow", **TIMES)
    # At 2 all but the one who comes then.
    there = [((TABLE["entry"] < t) & (TABLE["t"] >= t)).sum() for t in (2, 3, 4, 4, 5, 7)]
    assert there == [7, 7, 6, 6, 4, 2]
    assert plain.log_likelihood_null == pytest.approx(-sum(map(math.log, there)))


def test_a_fit_is_in_the_units_of_its_columns_and_centred_at_their_means() -> None:
    table = TABLE.assign(z=[3.0, 1, 4, 1, 5, 9, 2, 6])
    fit = fit_cox(table, covariates=["x", "z"], **TIMES)
    coef = fit.estimates["coef"].to_numpy()
    assert fit.centre.to_dict() == pytest.approx({"x": table["x"].mean(), "z": table["z"].mean()})
    np.testing.assert_allclose(fit.linear_predictor, (table[["x", "z"]] - table[["x", "z"]].mean()) @ coef, atol=1e-9)
    np.testing.assert_allclose(np.sqrt(np.diag(fit.covariance)), fit.estimates["se"])
    np.testing.assert_allclose(np.sqrt(np.diag(fit.robust_covariance)), fit.estimates["robust_se"])
    scaled = fit_cox(table.assign(x=table["x"] / 10, z=table["z"] + 7), covariates=["x", "z"], **TIMES)
    np.testing.assert_allclose(scaled.covariance.loc["x", "z"], 10 * fit.covariance.loc["x", "z"])
    np.testing.assert_allclose(scaled.robust_covariance.loc["x", "x"], 100 * fit.robust_covariance.loc["x", "x"])
    assert scaled.log_likelihood == pytest.approx(fit.log_likelihood)


@pytest.mark.parametrize(
    ("options", "robust"),
    [({}, False), ({"weights": "w"}, False), ({"weights": "half"}, True), ({"cluster": "f"}, True)],
)
def test_the_error_that_is_shown_is_robust_where_weights_are_no_counts_or_rows_depend(
    options: dict[str, str], robust: bool
) -> None:
    fit = fit_cox(TABLE.assign(half=TABLE["w"] / 2), covariates=["x"], **options, **TIMES)
    row = fit.estimates.iloc[0]
    se = row["robust_se" if robust else "se"]
    assert fit.robust is robust
    assert row["z"] == pytest.approx(row["coef"] / se)
    assert row["ci_low"] == pytest.approx(row["coef"] - 1.959964 * se, rel=1e-5)
    assert row["ci_high"] == pytest.approx(row["coef"] + 1.959964 * se, rel=1e-5)
    assert row["p"] == pytest.approx(2 * stats.norm.sf(abs(row["z"])))
    assert row["minus_log10_p"] == pytest.approx(-math.log10(row["p"]))
    assert abs(row["robust_se"] - row["se"]) > 1e-6


def test_weights_that_are_counts_are_rows_and_their_size_moves_no_coefficient() -> None:
    rows = TABLE.loc[TABLE.index.repeat(TABLE["w"].astype(int))]
    weighted = fit_cox(TABLE, covariates=["x"], weights="w", ties="breslow", **TIMES)
    repeated = fit_cox(rows, covariates=["x"], ties="breslow", **TIMES)
    assert weighted.log_likelihood == pytest.approx(repeated.log_likelihood)
    assert weighted.estimates.loc[0, "se"] == pytest.approx(repeated.estimates.loc[0, "se"])
    tenfold = fit_cox(TABLE.assign(w=TABLE["w"] * 10), covariates=["x"], weights="w", ties="breslow", **TIMES)
    assert tenfold.estimates.loc[0, "coef"] == pytest.approx(weighted.estimates.loc[0, "coef"])
    assert tenfold.estimates.loc[0, "se"] == pytest.approx(weighted.estimates.loc[0, "se"] / math.sqrt(10))
    assert tenfold.estimates.loc[0, "robust_se"] == pytest.approx(weighted.estimates.loc[0, "robust_se"])


def test_indicators_belong_to_their_covariate_even_if_its_name_has_the_sign() -> None:
    table = TABLE.assign(**{"a=b": list("uvuvwwuv"), "c=d": [1.0, 5, 2, 2, 3, 1, 4, 2], "one": 1.0})
    fit = fit_cox(table, covariates=["a=b", "one", "c=d"], strata=["s", "d"], exit="t", event="d")
    assert fit.covariate_of.to_dict() == {"a=b=v": "a=b", "a=b=w": "a=b", "c=d": "c=d"}
    assert fit.estimates["term"].tolist() == ["a=b=v", "a=b=w", "one", "c=d"]
    # Strata are numbered by their sorted labels: p0, p1, q0, q1.
    assert fit.observed["stratum"].tolist() == [3, 3, 2, 3, 1, 1, 1, 0]
    plain = fit_cox(TABLE, covariates=["x"], strata="s", cluster="f", **TIMES)
    assert plain.observed["stratum"].tolist() == [1, 1, 1, 1, 0, 0, 0, 0]
    assert plain.observed["cluster"].tolist() == [0, 1, 0, 2, 3, 3, 4, 5]
    assert np.isinf(fit.observed["entry"]).all()


def test_times_at_their_bounds_are_taken() -> None:
    zero = TABLE.assign(t=TABLE["t"] - 2)
    assert fit_cox(zero, exit="t", event="d", covariates=["x"]).n == 8
    with pytest.raises(ValueError, match="1 times are negative"):
        fit_cox(zero.assign(t=zero["t"] - 0.5), exit="t", event="d", covariates=["x"])
    with pytest.raises(ValueError, match="1 rows leave at or before they enter; t must be after entry"):
        fit_cox(TABLE.assign(entry=[0.0, 4, 0, 2, 0, 0, 1, 0]), covariates=["x"], **TIMES)
    for change in (
        {"t": np.where(TABLE["t"] == 9, np.inf, TABLE["t"])},
        {"entry": np.where(TABLE["t"] == 9, np.nan, 0)},
    ):
        with pytest.raises(ValueError, match="t, d, entry must be finite"):
            fit_cox(TABLE.assign(**change), covariates=["x"], **TIMES)
    for weight in (0.0, -1.0, np.inf):
        with pytest.raises(ValueError, match="w must be finite and over 0"):
            fit_cox(TABLE.assign(w=np.where(TABLE["t"] == 9, weight, 1)), covariates=["x"], weights="w", **TIMES)


def test_a_fit_that_is_printed_shows_nobody() -> None:
    table = pd.DataFrame({"t": [1.0, 2, 3, 4, 5, 6], "d": [1, 1, 0, 1, 1, 0], "x": [7.25, 1, 3, 2, 5, 4]})
    fit = fit_cox(table, exit="t", event="d", covariates=["x"])
    assert "7.25" not in repr(fit)
    assert "observed" not in repr(fit)
