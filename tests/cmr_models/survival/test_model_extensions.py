"""What is built on the Cox model, by hand or against the plain model of the same rows."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from cmr_models.estimates import NotEstimableError
from cmr_models.survival import (
    baseline_hazard,
    check_proportional_hazards,
    default_knots,
    fit_cause_pair,
    fit_cox,
    fit_fine_gray,
    fit_interaction,
    fit_spline,
    lasso_path,
    linear_predictor,
    predict_risk,
    predict_survival,
    restricted_cubic,
    ridge_path,
)


def _table(n: int = 70, seed: int = 5) -> pd.DataFrame:
    """Late entry, ties of the times, unequal columns, three causes, an index of its own."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({"x": rng.normal(2, 3, n), "z": rng.normal(-1, 0.4, n), "b": rng.integers(0, 2, n)})
    entry = rng.integers(0, 3, n).astype(float)
    table = table.assign(entry=entry, t=entry + rng.geometric(0.15, n), e=rng.choice([0, 1, 1, 2, 4], n))
    return table.assign(
        d=(table["e"] == 1).astype(int), s=rng.choice(["u", "v"], n), w=rng.uniform(0.5, 2, n)
    ).set_index(pd.Index(rng.permutation(n) * 3))


OPTIONS = {"exit": "t", "event": "d", "entry": "entry"}

# splines


@pytest.mark.parametrize(
    ("count", "shares"),
    [
        (3, [0.10, 0.5, 0.90]),
        (4, [0.05, 0.35, 0.65, 0.95]),
        (5, [0.05, 0.275, 0.5, 0.725, 0.95]),
        (6, [0.05, 0.23, 0.41, 0.59, 0.77, 0.95]),
        (7, [0.025, 0.1833, 0.3417, 0.5, 0.6583, 0.8167, 0.975]),
    ],
)
def test_knots_are_at_the_quantiles_of_harrells_table(count: int, shares: list[float]) -> None:
    np.testing.assert_allclose(default_knots(np.arange(10_001) / 10_000, count), shares, atol=1e-12)


def test_knots_that_coincide_or_do_not_ascend_are_refused() -> None:
    with pytest.raises(ValueError, match="coincide"):
        default_knots([1, 1, 1, 1, 1, 2], 4)
    for count in (2, 8):
        with pytest.raises(ValueError, match=r"knots must be one of \[3, 4, 5, 6, 7\]"):
            default_knots(np.arange(99), count)
    for knots in ([1, 2], [1, 2, 2], [2, 1, 3], [[1, 2, 3]]):
        with pytest.raises(ValueError, match="three or more, ascending"):
            restricted_cubic([1.0], knots)


def test_the_basis_with_unequal_knots_by_hand() -> None:
    # Knots 0, 1, 3, 7; at 4: cubes 64, 27, 1, 0. First bend (64 - 1 * 7/4) / 49, second (27 - 1 * 6/4) / 49.
    found = restricted_cubic([4.0, 8.0, -1.0], [0, 1, 3, 7])
    np.testing.assert_allclose(found[0], [4, (64 - 7 / 4) / 49, (27 - 6 / 4) / 49])
    # At 8: cubes 512, 343, 125, 1: 512 - 125 * 7/4 + 1 * 3/4, 343 - 125 * 6/4 + 1 * 2/4.
    np.testing.assert_allclose(found[1], [8, (512 - 125 * 7 / 4 + 3 / 4) / 49, (343 - 125 * 6 / 4 + 2 / 4) / 49])
    assert found[2].tolist() == [-1, 0, 0]


@pytest.mark.parametrize("weights", [None, "w"])
def test_a_spline_is_the_cox_model_of_its_columns_and_its_test_that_of_the_bends(weights: str | None) -> None:
    table = _table()
    found = fit_spline(
        table, "x", knots=[-2, 1, 3, 6], reference=1.5, at=[0.0, 5.0], covariates=["z"], weights=weights, **OPTIONS
    )
    basis = restricted_cubic(table["x"], [-2, 1, 3, 6])
    wide = table.assign(**{f"s{j}": basis[:, j] for j in range(3)})
    fit = fit_cox(wide, covariates=["z", "s0", "s1", "s2"], weights=weights, **OPTIONS)
    straight = fit_cox(wide, covariates=["z", "s0"], weights=weights, **OPTIONS)
    assert found.chi2 == pytest.approx(2 * (fit.log_likelihood - straight.log_likelihood))
    assert (found.df, found.reference) == (2, 1.5)
    assert found.p == pytest.approx(math.exp(-found.chi2 / 2))  # chi-squared of 2 df
    assert found.minus_log10_p == pytest.approx(-math.log10(found.p))
    apart = restricted_cubic([0.0, 5.0], [-2, 1, 3, 6]) - restricted_cubic([1.5], [-2, 1, 3, 6])
    coef = fit.estimates["coef"].to_numpy()[1:]
    names = ["s0", "s1", "s2"]
    covariance = (fit.robust_covariance if weights else fit.covariance).loc[names, names].to_numpy()
    value, se = apart @ coef, np.sqrt(np.diag(apart @ covariance @ apart.T))
    np.testing.assert_allclose(found.curve["value"], [0, 5])
    np.testing.assert_allclose(found.curve["log_hazard_ratio"], value)
    np.testing.assert_allclose(found.curve["se"], se)
    np.testing.assert_allclose(found.curve["ci_low"], value - 1.959964 * se, rtol=1e-6)
    np.testing.assert_allclose(found.curve["ci_high"], value + 1.959964 * se, rtol=1e-6)


def test_a_spline_without_wishes_has_four_knots_the_median_and_the_inner_98_percent() -> None:
    table = _table()
    found = fit_spline(table, "x", **OPTIONS)
    np.testing.assert_allclose(found.knots, np.quantile(table["x"], [0.05, 0.35, 0.65, 0.95]))
    assert found.reference == np.median(table["x"])
    assert found.df == 2
    grid = found.curve["value"].to_numpy()
    np.testing.assert_allclose([grid[0], grid[-1], len(grid)], [*np.quantile(table["x"], [0.01, 0.99]), 100])
    np.testing.assert_allclose(np.diff(grid), (grid[-1] - grid[0]) / 99)
    with pytest.raises(ValueError, match="x must be finite"):
        fit_spline(table.assign(x=table["x"].where(table.index != 3)), "x", **OPTIONS)


def test_a_spline_of_too_few_values_is_collinear() -> None:
    with pytest.raises(NotEstimableError, match="collinear"):
        fit_spline(_table(), "b", knots=[-1, 0.5, 2], **OPTIONS)


# interaction


@pytest.mark.parametrize("weights", [None, "w"])
def test_an_interaction_is_the_product_of_two_columns_and_its_reri_by_the_delta_method(weights: str | None) -> None:
    table = _table()
    found = fit_interaction(table, "x", "b", covariates=["z"], weights=weights, **OPTIONS)
    wide = table.assign(xb=table["x"] * table["b"])
    fit = fit_cox(wide, covariates=["z", "x", "b", "xb"], weights=weights, **OPTIONS)
    null = fit_cox(table, covariates=["z", "x", "b"], weights=weights, **OPTIONS)
    term = fit.estimates.iloc[3]
    assert (found.coef, found.se) == (
        pytest.approx(term["coef"]),
        pytest.approx(term["robust_se" if weights else "se"]),
    )
    assert found.chi2 == pytest.approx(2 * (fit.log_likelihood - null.log_likelihood))
    assert found.p == pytest.approx(2 * stats.norm.sf(math.sqrt(found.chi2)))
    assert found.minus_log10_p == pytest.approx(-math.log10(found.p))
    a, b, ab = fit.estimates["coef"].to_numpy()[1:]
    assert found.reri == pytest.approx(math.exp(a + b + ab) - math.exp(a) - math.exp(b) + 1)
    names = ["x", "b", "xb"]
    covariance = (fit.robust_covariance if weights else fit.covariance).loc[names, names].to_numpy()
    slope = np.array([math.exp(a + b + ab) - math.exp(a), math.exp(a + b + ab) - math.exp(b), math.exp(a + b + ab)])
    se = math.sqrt(slope @ covariance @ slope)
    assert found.reri_se == pytest.approx(se)
    assert (found.reri_ci_low, found.reri_ci_high) == (
        pytest.approx(found.reri - 1.959964 * se, rel=1e-5),
        pytest.approx(found.reri + 1.959964 * se, rel=1e-5),
    )
    assert found.reri_minus_log10_p == pytest.approx(-math.log10(2 * stats.norm.sf(abs(found.reri / se))))


def test_an_interaction_that_cannot_be_estimated_says_why() -> None:
    table = _table()
    with pytest.raises(NotEstimableError, match="collinear"):
        fit_interaction(table.assign(c=1 - table["b"]), "b", "c", **OPTIONS)
    told = table.assign(c=((table["b"] == 1) & (table["d"] == 0)).astype(float))
    with pytest.raises(NotEstimableError):
        fit_interaction(told.assign(a=np.where(told["c"] == 1, 1.0, told["b"] * 0.5 + told["z"])), "c", "a", **OPTIONS)


# baseline and prediction


def test_the_baseline_hazard_of_each_stratum_is_at_mean_covariates() -> None:
    table = _table().assign(t=lambda t: t["t"] + np.arange(len(t)) / 1000)  # no ties
    fit = fit_cox(table, covariates=["x", "z"], strata="s", **OPTIONS)
    coef = fit.estimates["coef"].to_numpy()
    eta = (table[["x", "z"]] - table[["x", "z"]].mean()).to_numpy() @ coef
    np.testing.assert_allclose(fit.linear_predictor, eta)
    found = baseline_hazard(fit)
    for code, name in enumerate(["u", "v"]):
        own = (table["s"] == name).to_numpy()
        times = np.sort(table.loc[own & (table["d"] == 1), "t"])
        there = [own & (table["entry"] < t).to_numpy() & (table["t"] >= t).to_numpy() for t in times]
        hazard = [1 / np.exp(eta[at]).sum() for at in there]
        rows = found[found["stratum"] == code]
        np.testing.assert_allclose(rows["time"], times)
        np.testing.assert_allclose(rows["hazard"], hazard)
        np.testing.assert_allclose(rows["cumulative_hazard"], np.cumsum(hazard))
        survival = predict_survival(fit, [0.0, times[0], times[2] - 1e-6])
        np.testing.assert_allclose(survival[own, 0], 1)
        np.testing.assert_allclose(survival[own, 1], np.exp(-hazard[0] * np.exp(eta[own])))
        np.testing.assert_allclose(survival[own, 2], np.exp(-sum(hazard[:2]) * np.exp(eta[own])))
    assert found.index.tolist() == list(range(len(found)))
    with pytest.raises(ValueError, match="without strata"):
        predict_risk(fit, table, [1.0])


def test_a_stratum_without_events_has_no_baseline_and_no_prediction() -> None:
    table = _table().assign(d=lambda t: t["d"].where(t["s"] == "u", 0))
    fit = fit_cox(table, covariates=["x"], strata="s", **OPTIONS)
    assert set(baseline_hazard(fit)["stratum"]) == {0}
    survival = predict_survival(fit, [3.0])[:, 0]
    assert np.isnan(survival).tolist() == (table["s"] == "v").tolist()
    alone = table.assign(s=table["s"].where(np.arange(70) != 3, "w"), d=table["d"].where(np.arange(70) != 3, 1))
    fit = fit_cox(alone, covariates=["x"], strata="s", **OPTIONS)
    baseline, eta = baseline_hazard(fit), fit.linear_predictor[3]
    assert baseline.loc[baseline["stratum"] == 2, ["time", "hazard"]].to_numpy().tolist() == [
        [alone["t"].iloc[3], pytest.approx(math.exp(-eta))]
    ]


def test_other_people_are_placed_by_their_own_values_and_an_unknown_text_is_the_reference() -> None:
    table = _table().assign(site=lambda t: np.where(t["z"] > -0.7, "p", np.where(t["x"] > 2, "q", "r")))
    fit = fit_cox(table, covariates=["x", "site"], **OPTIONS)
    terms = fit.estimates.set_index("term")["coef"]
    levels = sorted(term.removeprefix("site=") for term in terms.index if "=" in term)
    (reference,) = set("pqr") - set(levels)
    new = pd.DataFrame({"site": [levels[1], "elsewhere", reference, levels[0]], "x": [1.0, 4, 4, -2]})
    shares = {level: (table["site"] == level).mean() for level in levels}
    base = -terms["x"] * table["x"].mean() - sum(terms[f"site={level}"] * shares[level] for level in levels)
    by_hand = base + terms["x"] * new["x"] + np.array([terms[f"site={levels[1]}"], 0, 0, terms[f"site={levels[0]}"]])
    np.testing.assert_allclose(linear_predictor(fit, new), by_hand)
    curve = baseline_hazard(fit)
    until = curve.loc[curve["time"] <= 5, "cumulative_hazard"].iloc[-1]
    risk = predict_risk(fit, new, [0.0, 5.0])
    np.testing.assert_allclose(risk, np.column_stack([np.zeros(4), 1 - np.exp(-until * np.exp(by_hand))]))
    far = pd.DataFrame({"site": reference, "x": np.array([1.0, -1.0]) * 1e9 * np.sign(terms["x"])})
    np.testing.assert_allclose(predict_risk(fit, far, [5.0])[:, 0], [1, 0], atol=1e-300)
    with pytest.raises(ValueError, match="covariate 'x' is not a column"):
        linear_predictor(fit, new[["site"]])
    for column in ("x", "site"):
        with pytest.raises(ValueError, match="must be finite"):
            linear_predictor(fit, new.assign(**{column: new[column].where(new.index > 0)}))


# proportional hazards


def _zph(table: pd.DataFrame, transform: str) -> list[float]:
    """Chi-squared of x, z and both by R's score test in plain sums, without ties or entry."""
    fit = fit_cox(table, exit="t", event="d", covariates=["x", "z"], ties="breslow")
    x, t = table[["x", "z"]].to_numpy(), table["t"].to_numpy()
    risk = np.exp(x @ fit.estimates["coef"].to_numpy())
    deaths = np.sort(t[table["d"] == 1])
    before = {u: float(np.prod([1 - 1 / (t >= v).sum() for v in deaths[deaths < u]])) for u in deaths}
    g = {
        "km": [1 - before[u] for u in deaths],
        "identity": list(deaths),
        "log": list(np.log(deaths)),
        "rank": [(t < u).sum() + 1.0 for u in deaths],
    }[transform]
    centred = np.array(g) - np.mean(g)
    u, information = np.zeros(2), np.zeros((4, 4))
    for at, weight in zip(deaths, centred, strict=True):
        there = t >= at
        share = risk[there] / risk[there].sum()
        mean = share @ x[there]
        variance = (x[there] - mean).T @ ((x[there] - mean) * share[:, None])
        u += weight * (x[np.flatnonzero(t == at)[0]] - mean)
        information += np.kron([[1, weight], [weight, weight**2]], variance)
    found = []
    for tested in ([0], [1], [0, 1]):
        rows = [0, 1, *(2 + k for k in tested)]
        score = np.array([0, 0, *u[tested]])
        found.append(float(score @ np.linalg.solve(information[np.ix_(rows, rows)], score)))
    return found


@pytest.mark.parametrize("transform", ["km", "identity", "log", "rank"])
def test_the_test_of_proportional_hazards_is_the_score_test_in_plain_sums(transform: str) -> None:
    table = _table().assign(t=lambda t: t["t"] + np.arange(len(t)) / 1000)
    fit = fit_cox(table, exit="t", event="d", covariates=["x", "z"])
    found = check_proportional_hazards(fit, transform)  # type: ignore[arg-type]
    np.testing.assert_allclose(found["chi2"], _zph(table, transform), rtol=1e-6)
    assert found["df"].tolist() == [1, 1, 2]
    np.testing.assert_allclose(found["p"], stats.chi2.sf(found["chi2"], [1, 1, 2]))
    np.testing.assert_allclose(found["minus_log10_p"], -np.log10(found["p"]))


def test_tied_exits_share_their_mean_rank() -> None:
    table = pd.DataFrame({"t": [3.0, 1, 3, 2, 3, 5], "d": [1, 1, 0, 1, 1, 0], "x": [1.0, 3, 2, 0, 4, 1]})
    fit = fit_cox(table, exit="t", event="d", covariates=["x"])
    ranked = fit_cox(table.assign(t=[4.0, 1, 4, 2, 4, 6]), exit="t", event="d", covariates=["x"])
    found = check_proportional_hazards(fit, "rank")["chi2"]
    np.testing.assert_allclose(found, check_proportional_hazards(ranked, "identity")["chi2"])


# causes


def test_the_pair_of_causes_is_one_table_of_three_models() -> None:
    table = _table()
    pair = fit_cause_pair(table, exit="t", event="e", cause=1, covariates=["x", "z"])
    assert pair.estimates.index.tolist() == list(range(6))
    assert pair.estimates["model"].tolist() == ["cause_specific"] * 2 + ["other_causes"] * 2 + ["fine_gray"] * 2
    own = fit_cox(table, exit="t", event="d", covariates=["x", "z"]).estimates
    others = fit_cox(table.assign(o=table["e"].isin([2, 4])), exit="t", event="o", covariates=["x", "z"]).estimates
    for name, fit in (("cause_specific", own), ("other_causes", others)):
        rows = pair.estimates[pair.estimates["model"] == name]
        np.testing.assert_allclose(rows["coef"], fit["coef"])
        np.testing.assert_allclose(rows["se"], fit["se"])
    fine_gray = fit_fine_gray(table, exit="t", event="e", cause=1, covariates=["x", "z"])
    counts = table["e"].value_counts()
    assert (fine_gray.n, fine_gray.n_events, fine_gray.n_competing) == (70, counts[1], counts[2] + counts[4])
    assert fine_gray.log_likelihood > fine_gray.log_likelihood_null
    alone = fit_cause_pair(table.assign(e=table["d"]), exit="t", event="e", cause=1, covariates=["x"])
    assert alone.other_causes is None
    assert alone.estimates["model"].tolist() == ["cause_specific", "fine_gray"]


# penalties


def test_a_ridge_path_maximises_what_it_says_per_sd_and_person() -> None:
    table = _table()
    found = ridge_path(table.assign(one=1.0), covariates=["x", "one", "z"], penalties=[0.3, 0.02], **OPTIONS)
    assert list(found.coef) == ["x", "z"]
    assert found.penalty.tolist() == [0.3, 0.02]
    assert found.best == 1
    assert np.isnan(found.deviance).all()
    sd = table[["x", "z"]].std(ddof=0).to_numpy()
    for k, penalty in enumerate([0.3, 0.02]):
        at = found.coef.iloc[k].to_numpy()

        def value(coef: np.ndarray, penalty: float = penalty) -> float:
            eta, total = table[["x", "z"]].to_numpy() @ coef, 0.0
            for t in np.unique(table.loc[table["d"] == 1, "t"]):
                dead = ((table["t"] == t) & (table["d"] == 1)).to_numpy()
                there = ((table["entry"] < t) & (table["t"] >= t)).to_numpy()
                for j in range(dead.sum()):
                    total -= math.log(np.exp(eta[there]).sum() - j / dead.sum() * np.exp(eta[dead]).sum())
                total += eta[dead].sum()
            return total / len(table) - penalty / 2 * float(((coef * sd) ** 2).sum())

        for step in ([1e-3, 0], [-1e-3, 0], [0, 1e-2], [0, -1e-2]):
            assert value(at) > value(at + step)
        slope = [(value(at + h) - value(at - h)) / 2e-5 for h in ([1e-5, 0], [0, 1e-5])]
        np.testing.assert_allclose(slope, 0, atol=1e-7)
        unpenalised = len(table) * (value(at) + penalty / 2 * float(((at * sd) ** 2).sum()))
        assert found.log_likelihood[k] == pytest.approx(unpenalised)


def test_a_path_refuses_what_it_cannot_take_at_its_bounds() -> None:
    table = _table()
    for penalties in ([], [0.0], [-1.0], [np.nan], [np.inf], [[1.0]]):
        with pytest.raises(ValueError, match="penalties must be over 0"):
            ridge_path(table, covariates=["x"], penalties=penalties, **OPTIONS)
    for change, message in (
        ({"x": np.nan}, "missing values"),
        ({"t": np.inf}, "must be finite"),
        ({"entry": np.nan}, "must be finite"),
        ({"entry": table["t"]}, "after entry"),
        ({"d": 2}, "event must be 0 or 1"),
    ):
        with pytest.raises(ValueError, match=message):
            ridge_path(table.assign(**change), covariates=["x"], penalties=[1.0], **OPTIONS)
    with pytest.raises(ValueError, match="70 times are negative"):
        ridge_path(table.assign(t=-1.0), exit="t", event="d", covariates=["x"], penalties=[1.0])
    with pytest.raises(ValueError, match=r"columns \['when'\] are not in the table"):
        ridge_path(table, exit="when", event="d", covariates=["x"], penalties=[1.0])
    with pytest.raises(NotEstimableError, match="too_few_cases"):
        ridge_path(table.assign(d=0), covariates=["x"], penalties=[1.0], **OPTIONS)
    with pytest.raises(NotEstimableError, match="constant_exposure"):
        ridge_path(table.assign(x=3.0), covariates=["x"], penalties=[1.0], **OPTIONS)
    for ratio in (0.0, 1.01):
        with pytest.raises(ValueError, match="l1_ratio must be over 0 and at most 1"):
            lasso_path(table, exit="t", event="d", covariates=["x"], l1_ratio=ratio)


def test_a_lasso_path_begins_with_nothing_and_tells_its_likelihood() -> None:
    table = _table()
    found = lasso_path(table, exit="t", event="d", covariates=["x", "z"], n_penalties=7)
    assert list(found.coef) == ["x", "z"]
    assert found.best == len(found.coef) - 1 == len(found.penalty) - 1
    assert (np.diff(found.penalty) < 0).all()
    assert found.penalty[1] == pytest.approx(found.penalty[0] / 100 ** (1 / 6))  # seven to a hundredth, evenly of logs
    np.testing.assert_allclose(found.coef.iloc[0], 0, atol=1e-9)
    assert found.log_likelihood[0] == pytest.approx(
        fit_cox(table, exit="t", event="d", covariates=["x"]).log_likelihood_null
    )
    assert np.isnan(found.deviance).all()
