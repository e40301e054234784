"""The Cox scan, the refit of hits and the multiplicity of tests against per-pair fits and R's definitions."""

import warnings

import numpy as np
import pandas as pd
import pytest

from cmr_models.association import fit_firth_logistic, scan
from cmr_models.association.multiplicity import adjust, bonferroni, effective_tests, empirical_null, step_up
from cmr_models.association.refit import approximate_firth, refit_hits
from cmr_models.estimates import NotEstimableError
from cmr_models.survival import fit_cox

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from statsmodels.duration.hazard_regression import PHReg
    from statsmodels.stats.multitest import multipletests


@pytest.fixture(scope="module")
def people() -> dict[str, pd.DataFrame]:
    rng = np.random.default_rng(1)
    n = 4000
    z = pd.DataFrame({"age": rng.normal(60, 8, n), "sex": rng.integers(0, 2, n), "bmi": rng.normal(27, 4, n)})
    x = pd.DataFrame(rng.normal(size=(n, 3)) * [1, 1e-3, 50] + [0, 1, -300], columns=["a", "b", "c"])
    x["b"] += 1e-4 * z["age"]
    failing = np.ceil(rng.exponential(30 / np.exp(0.05 * (z["age"] - 60) + 0.15 * x["a"])) * 4)
    censored = np.ceil(rng.uniform(8, 40, n))
    frame = pd.DataFrame({"exit": np.minimum(failing, censored), "event": (failing <= censored).astype(float)})
    women = frame.assign(event=frame["event"].mask(z["sex"] == 1))
    late = frame.assign(entry=np.floor(rng.uniform(0, 1, n) * frame["exit"]))
    return {"x": x, "z": z, "all": frame, "women": women, "late": late}


@pytest.mark.parametrize("name", ["all", "women", "late"])
def test_the_cox_scan_is_the_score_test_of_each_pair(people: dict[str, pd.DataFrame], name: str) -> None:
    x, z, frame = people["x"], people["z"], people[name]
    table = scan(x, {name: frame}, z, family="cox").set_index("exposure")
    here = frame["event"].notna()
    entry = frame["entry"][here] + 1e-9 if "entry" in frame else None
    names = ["age", "bmi"] if name == "women" else ["age", "sex", "bmi"]
    covariates = ((z[names] - z[names].mean()) / z[names].std())[here]
    args = {"status": frame["event"][here], "ties": "efron"} | ({} if entry is None else {"entry": entry})
    null = PHReg(frame["exit"][here], covariates, **args).fit()
    for exposure in x:
        unit = (x[exposure][here] - x[exposure].mean()) / x[exposure].std()
        full = PHReg(frame["exit"][here], np.column_stack([covariates, unit]), **args)
        at_null = np.append(null.params, 0.0)
        score, information = full.score(at_null), -full.hessian(at_null)
        expected = score[-1] / np.sqrt(1 / np.linalg.inv(information)[-1, -1])
        assert table.loc[exposure, "z"] == pytest.approx(expected, abs=1e-4 * 0.1)
        assert table.loc[exposure, "n_cases"] == frame["event"].sum()


def test_the_cox_scan_says_why_there_is_no_number(people: dict[str, pd.DataFrame]) -> None:
    x, z, frame = people["x"], people["z"], people["all"]
    x = x.assign(flat=3.0, same=z["age"] * 2 - 5)
    outcomes = {"good": frame, "none": frame.assign(event=0), "empty": frame.assign(event=np.nan)}
    table = scan(x, outcomes, z, family="cox").set_index(["outcome", "exposure"])
    assert table.loc[("good", "flat"), "reason"] == "constant_exposure"
    assert table.loc[("good", "same"), "reason"] == "collinear"
    assert set(table.loc["none", "reason"]) == {"too_few_cases"}
    assert set(table.loc["empty", "reason"]) == {"no_data"}
    assert table.loc["none", "z"].isna().all()
    with pytest.raises(ValueError, match="leave at or before they enter"):
        scan(x, {"bad": frame.assign(entry=frame["exit"])}, z, family="cox")
    with pytest.raises(ValueError, match="negative"):
        scan(x, {"bad": frame.assign(exit=-1.0)}, z, family="cox")


def test_a_refitted_time_is_its_own_cox_model(people: dict[str, pd.DataFrame]) -> None:
    x, z, outcomes = people["x"], people["z"], {"late": people["late"]}
    table = refit_hits(scan(x, outcomes, z, family="cox"), x, outcomes, z, family="cox", threshold=3)
    row = table.iloc[0]
    joint = people["late"].assign(**z, a=x["a"])
    times = {"exit": "exit", "event": "event", "entry": "entry"}
    full = fit_cox(joint, **times, covariates=[*z, "a"])
    null = fit_cox(joint, **times, covariates=[*z])
    assert row["method"] == "likelihood_ratio"
    assert row["coef"] == pytest.approx(full.estimates["coef"].iloc[-1], abs=1e-8)
    assert row["z"] ** 2 == pytest.approx(2 * (full.log_likelihood - null.log_likelihood), rel=1e-8)
    assert set(table["method"].iloc[1:]) == {"score"}


def test_a_refitted_disease_is_firths_and_survives_separation() -> None:
    rng = np.random.default_rng(2)
    n = 600
    x, z = pd.DataFrame({"a": rng.normal(size=n)}), pd.DataFrame({"z": rng.normal(size=n)})
    y = pd.DataFrame({"y": (x["a"] > 2).astype(float)})
    row = refit_hits(scan(x, y, z, family="logistic"), x, y, z, family="logistic", threshold=3).iloc[0]
    own = fit_firth_logistic(z.assign(x=x["a"]), y["y"], terms=["x"]).estimates.set_index("term").loc["x"]
    assert row["coef"] == pytest.approx(own["coef"])
    assert row["ci_low"] > 0
    assert np.isfinite(row["minus_log10_p"])


def test_frozen_covariates_give_nearly_firths_estimate() -> None:
    rng = np.random.default_rng(3)
    n = 5000
    z, x = rng.normal(size=(n, 3)), rng.normal(size=n)
    y = (rng.random(n) < 1 / (1 + np.exp(4.5 - 0.4 * x - 0.5 * z[:, 0]))).astype(float)
    exact = fit_firth_logistic(np.column_stack([z, x]), y, terms=["x4"]).estimates.set_index("term").loc["x4"]
    nearly = approximate_firth(x, y, z)
    assert nearly.coef == pytest.approx(exact["coef"], rel=0.03)
    assert nearly.se == pytest.approx(exact["se"], rel=0.03)
    assert nearly.minus_log10_p == pytest.approx(exact["minus_log10_p"], rel=0.05)
    with pytest.raises(NotEstimableError, match="collinear"):
        approximate_firth(z[:, 0] * 2 + 1, y, z)


def test_frozen_nothing_is_firth_exactly() -> None:
    rng = np.random.default_rng(4)
    x = rng.normal(size=80)
    y = (x + rng.normal(size=80) > 1).astype(float)
    exact = fit_firth_logistic(x, y).estimates.iloc[0]
    nearly = approximate_firth(x, y, np.zeros((80, 0)))
    np.testing.assert_allclose(
        [nearly.coef, nearly.se, nearly.ci_low, nearly.ci_high, nearly.chi2],
        exact[["coef", "se", "ci_low", "ci_high", "chi2"]].astype(float),
        rtol=1e-5,
    )


def test_step_up_rules_are_those_of_statsmodels_where_p_does_not_underflow() -> None:
    p = np.random.default_rng(5).beta(0.3, 2, 40)
    scores = -np.log10(np.append(p, np.nan))
    for dependent, name in ((False, "fdr_bh"), (True, "fdr_by")):
        expected = multipletests(p, method=name)[1]
        np.testing.assert_allclose(10 ** -step_up(scores, dependent=dependent)[:-1], expected, rtol=1e-12)
    np.testing.assert_allclose(10 ** -bonferroni(scores)[:-1], np.minimum(p * 40, 1), rtol=1e-12)
    assert np.isnan(step_up(scores)[-1])


def test_evidence_beyond_floats_keeps_its_order_after_adjustment() -> None:
    table = pd.DataFrame({"minus_log10_p": [5000.0, 4000.0, 1.0], "family": ["f", "f", "g"]})
    adjusted = adjust(table, ["family"], effective=2.0)
    np.testing.assert_allclose(adjusted["minus_log10_q_bh"], [5000 - np.log10(2), 4000, 1.0])
    assert (adjusted["q"] > 0).all()
    np.testing.assert_allclose(adjusted["minus_log10_p_effective"], [5000, 4000, 1] - np.log10(2))


def test_effective_tests_of_copies_and_of_strangers() -> None:
    rng = np.random.default_rng(6)
    q, _ = np.linalg.qr(rng.normal(size=(200, 6)) - 0.0)
    q = q - q.mean(axis=0)
    strangers = np.linalg.qr(q)[0]
    strangers = strangers - strangers.mean(axis=0)
    assert effective_tests(strangers).li_ji == pytest.approx(6, abs=0.2)
    copies = np.column_stack([strangers[:, 0]] * 5)
    assert effective_tests(copies) == (1.0, 1.0)
    with pytest.raises(ValueError, match="no exposure varies"):
        effective_tests(np.ones((5, 2)))


def test_negative_controls_give_back_the_bias_put_in() -> None:
    rng = np.random.default_rng(7)
    se = rng.uniform(0.05, 0.3, 4000)
    coef = rng.normal(0.1, np.sqrt(0.15**2 + se**2))
    null = empirical_null(coef, se)
    assert null.mean == pytest.approx(0.1, abs=0.01)
    assert null.sd == pytest.approx(0.15, abs=0.01)
    z, _ = null.calibrate(coef, se)
    assert np.mean(np.abs(z) > 1.96) == pytest.approx(0.05, abs=0.012)


def test_controls_without_bias_leave_p_as_it_is() -> None:
    null = empirical_null([-0.1, 0.1, -0.05, 0.05, 0.0], [0.2] * 5)
    assert null.sd == 0.0
    assert null.mean == pytest.approx(0.0)
    with pytest.raises(NotEstimableError, match="needs five"):
        empirical_null([0.1], [0.2])
