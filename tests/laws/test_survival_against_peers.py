"""On random data full of ties, with delayed entry and strata: the numbers of other software, or of the definition."""

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmr_models.estimates import NotEstimableError
from cmr_models.survival import (
    brier,
    check_proportional_hazards,
    concordance,
    cumulative_incidence,
    fit_cox,
    fit_fine_gray,
    kaplan_meier,
)

SEEDS = st.integers(0, 10_000)


def _people(seed: int, n: int = 70, *, longest: int = 12) -> pd.DataFrame:
    """Whole years, so that most times are shared; ``e`` has two causes, ``d`` is any."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({"x": rng.normal(size=n), "z": rng.normal(size=n) * 1e3, "b": rng.integers(0, 2, n)})
    entry = rng.integers(0, 4, n)
    cause = rng.choice([0, 1, 2], n, p=[0.5, 0.3, 0.2])
    return table.assign(
        entry=entry.astype(float),
        t=(entry + rng.integers(1, longest, n)).astype(float),
        e=cause,
        d=(cause > 0).astype(int),
        centre=rng.choice(["a", "b"], n),
        w=rng.uniform(0.2, 3, n),
    )


def _cox(table: pd.DataFrame, **options: Any) -> pd.DataFrame:
    options = {"exit": "t", "event": "d", "covariates": ["x", "z", "b"], **options}
    return fit_cox(table, **options).estimates.set_index("term")


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS, strata=st.booleans())
def test_cox_with_efrons_ties_is_that_of_lifelines(seed: int, strata: bool) -> None:
    from lifelines import CoxPHFitter

    table = _people(seed)
    ours = _cox(table, entry="entry", strata="centre" if strata else None)
    columns = ["x", "z", "b", "t", "d", "entry", *(["centre"] if strata else [])]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = CoxPHFitter().fit(
            table[columns].assign(z=table["z"] / 1e3),
            "t",
            "d",
            entry_col="entry",
            strata=["centre"] if strata else None,
            fit_options={"precision": 1e-12},
        )
    scale = np.array([1.0, 1e3, 1.0])
    np.testing.assert_allclose(ours["coef"] * scale, peer.params_[["x", "z", "b"]], atol=1e-6)
    np.testing.assert_allclose(ours["se"] * scale, peer.standard_errors_[["x", "z", "b"]], rtol=1e-5)


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS, ties=st.sampled_from(["efron", "breslow"]))
def test_cox_is_that_of_statsmodels(seed: int, ties: Any) -> None:
    from statsmodels.duration.hazard_regression import PHReg

    table = _people(seed)
    fit = fit_cox(table, exit="t", event="d", covariates=["x", "b"], ties=ties)
    peer = PHReg(table["t"], table[["x", "b"]], status=table["d"], ties=ties).fit()
    np.testing.assert_allclose(fit.estimates["coef"], peer.params, atol=1e-6)
    np.testing.assert_allclose(fit.estimates["se"], peer.bse, rtol=1e-5)
    assert fit.log_likelihood == pytest.approx(peer.llf, abs=1e-6)


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS, size=st.sampled_from([1e-6, 1e6, 7.0]))
def test_the_size_of_weights_changes_the_error_of_the_information_alone(seed: int, size: float) -> None:
    table = _people(seed)
    plain, scaled = (_cox(table.assign(w=table["w"] * by), weights="w", entry="entry") for by in (1.0, size))
    np.testing.assert_allclose(scaled[["coef", "robust_se"]], plain[["coef", "robust_se"]], rtol=1e-6)
    np.testing.assert_allclose(scaled["se"] * np.sqrt(size), plain["se"], rtol=1e-6)


@settings(max_examples=10, deadline=None)
@given(seed=SEEDS)
def test_likelihood_with_weights_is_that_of_repeated_rows(seed: int) -> None:
    table = _people(seed).assign(w=lambda t: 1 + t.index % 3)
    options: dict[str, Any] = {"exit": "t", "event": "d", "covariates": ["x"], "ties": "breslow"}
    fit = fit_cox(table, weights="w", **options)
    repeated = fit_cox(table.loc[table.index.repeat(table["w"])], **options)
    assert fit.log_likelihood == pytest.approx(repeated.log_likelihood, rel=1e-10)
    assert fit.log_likelihood_null == pytest.approx(repeated.log_likelihood_null, rel=1e-10)


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS, apart=st.sampled_from([1e-3, 1e-4, 1e-5]))
def test_nearly_dependent_columns_give_what_their_difference_gives(seed: int, apart: float) -> None:
    table = _people(seed).assign(shadow=lambda t: t["x"] + apart * t["z"] / 1e3)
    near = _cox(table, covariates=["x", "shadow"])
    far = _cox(table.assign(z=table["z"] / 1e3), covariates=["x", "z"])
    assert near.loc["shadow", "coef"] * apart == pytest.approx(far.loc["z", "coef"], rel=1e-4, abs=1e-5)
    assert near.loc["shadow", "z"] == pytest.approx(far.loc["z", "z"], rel=1e-4, abs=1e-5)
    assert near.loc["x", "coef"] + near.loc["shadow", "coef"] == pytest.approx(far.loc["x", "coef"], abs=1e-4)


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS)
def test_five_events_and_twenty_covariates_have_coefficients_that_are_a_maximum_or_a_status(seed: int) -> None:
    rng = np.random.default_rng(seed)
    names = [f"c{k}" for k in range(20)]
    table = pd.DataFrame(rng.normal(size=(60, 20)), columns=names).assign(t=rng.permutation(60) + 1.0, d=0)
    table.loc[:4, "d"] = 1
    try:
        fit = fit_cox(table, exit="t", event="d", covariates=names)
    except NotEstimableError as error:
        assert error.reason == "not_converged"  # noqa: PT017
        return
    ok = fit.estimates["status"] == "ok"
    assert fit.estimates.loc[~ok, ["coef", "se", "p"]].isna().all(axis=None)
    assert fit.estimates.loc[ok, ["coef", "se", "p"]].notna().all(axis=None)
    if ok.all():
        gradient = fit.likelihood.derivatives(fit.standard_coef).gradient
        assert np.abs(gradient).max() < 1e-4


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS)
def test_proportional_hazards_tests_do_not_see_units_or_the_order_of_terms(seed: int) -> None:
    table = _people(seed)
    first, second = (
        check_proportional_hazards(fit_cox(changed, exit="t", event="d", entry="entry", covariates=names)).set_index(
            "term"
        )
        for changed, names in ((table, ["x", "z"]), (table.assign(x=table["x"] * 1e6 + 7), ["z", "x"]))
    )
    np.testing.assert_allclose(
        first.loc[["x", "z", "GLOBAL"], "chi2"], second.loc[["x", "z", "GLOBAL"], "chi2"], rtol=1e-5
    )


def _pairs(table: pd.DataFrame) -> tuple[float, float, float]:
    """Comparable, concordant and tied pairs, by the definition."""
    comparable = concordant = tied = 0.0
    for i in table.itertuples():
        if not i.d:
            continue
        for j in table.itertuples():
            later = j.t > i.t or (j.t == i.t and not j.d)
            if later and j.entry < i.t and j.Index != i.Index:
                comparable, tied = comparable + 1, tied + (i.x == j.x)
                concordant += i.x > j.x
    return comparable, concordant, tied


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS)
def test_concordance_counts_the_pairs_of_its_definition(seed: int) -> None:
    table = _people(seed, 40).assign(x=lambda t: t["x"].round(0))
    found = concordance(table["t"], table["d"], table["x"], entry=table["entry"])
    assert (found.n_pairs, found.concordant, found.tied_risk) == _pairs(table)


@settings(max_examples=5, deadline=None)
@given(seed=SEEDS)
def test_the_error_of_concordance_is_that_of_leaving_each_person_out(seed: int) -> None:
    table = _people(seed, 60)
    whole = concordance(table["t"], table["d"], table["x"])
    one_less = [
        concordance(rest["t"], rest["d"], rest["x"]).value for rest in (table.drop(index=i) for i in table.index)
    ]
    jackknife = np.sqrt(((np.array(one_less) - whole.value) ** 2).sum())
    assert whole.se == pytest.approx(jackknife, rel=0.1)


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS)
def test_kaplan_meier_with_delayed_entry_is_that_of_lifelines(seed: int) -> None:
    from lifelines import KaplanMeierFitter

    table = _people(seed)
    ours = kaplan_meier(table["t"], table["d"], table["entry"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = KaplanMeierFitter().fit(table["t"], table["d"], entry=table["entry"])
    np.testing.assert_allclose(ours.survival, peer.survival_function_at_times(ours.time), atol=1e-12)


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS)
def test_cumulative_incidence_is_that_of_scikit_survival_and_its_causes_add_up(seed: int) -> None:
    from sksurv.nonparametric import cumulative_incidence_competing_risks

    table = _people(seed)
    times, peer = cumulative_incidence_competing_risks(table["e"].to_numpy(), table["t"].to_numpy())
    found = [cumulative_incidence(table["t"], table["e"], cause).at(times)[0] for cause in (1, 2)]
    np.testing.assert_allclose(found, peer[1:], atol=1e-12)
    survival = kaplan_meier(table["t"], table["d"]).at(times)[0]
    np.testing.assert_allclose(np.sum(found, axis=0), 1 - survival, atol=1e-12)


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS)
def test_brier_scores_are_those_of_scikit_survival(seed: int) -> None:
    from sksurv.metrics import brier_score
    from sksurv.util import Surv

    # Without ties between deaths and censorings, where the two conventions part.
    table = _people(seed).assign(t=lambda t: t["t"] + 0.5 * (1 - t["d"]))
    chance = np.random.default_rng(seed).random((len(table), 3))
    outcome = Surv.from_arrays(table["d"] == 1, table["t"])
    times = np.quantile(table["t"], [0.3, 0.5, 0.7]) + np.array([0.1, 0.2, 0.3])
    ours = brier(table["t"], table["d"], chance, times).scores["brier"]
    np.testing.assert_allclose(ours, brier_score(outcome, outcome, chance, times)[1], rtol=1e-10)


@settings(max_examples=10, deadline=None)
@given(seed=SEEDS)
def test_fine_gray_without_competing_events_is_cox_with_its_sandwich(seed: int) -> None:
    table = _people(seed)
    ours = fit_fine_gray(table, exit="t", event="d", cause=1, covariates=["x", "b"]).estimates
    cox = _cox(table, covariates=["x", "b"], ties="breslow")
    np.testing.assert_allclose(ours[["coef", "se", "naive_se"]], cox[["coef", "robust_se", "se"]], rtol=1e-6)


@settings(max_examples=10, deadline=None)
@given(seed=SEEDS)
def test_fine_gray_without_censoring_is_cox_in_which_other_causes_never_leave(seed: int) -> None:
    table = _people(seed).assign(e=lambda t: t["e"].clip(lower=1))
    ours = fit_fine_gray(table, exit="t", event="e", cause=1, covariates=["x", "b"]).estimates
    held = table.assign(t=table["t"].where(table["e"] == 1, 99.0), d=(table["e"] == 1).astype(int))
    cox = _cox(held, covariates=["x", "b"], ties="breslow")
    np.testing.assert_allclose(ours[["coef", "se"]], cox[["coef", "robust_se"]], rtol=1e-6)
