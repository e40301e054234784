"""Cox regression against R's published results and closed forms, and against the other engines on random data."""

import warnings

import numpy as np
import pandas as pd
import pytest

from cmr_models.survival import check_proportional_hazards, concordance, fit_cox, log_rank

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import statsmodels.api as sm
    from lifelines import CoxPHFitter
    from lifelines.datasets import load_lung, load_rossi, load_stanford_heart_transplants
    from sksurv.datasets import load_veterans_lung_cancer

ROSSI_TERMS = ["fin", "age", "race", "wexp", "mar", "paro", "prio"]
TOY6 = pd.DataFrame({"t": [9, 1, 1, 6, 6, 8], "d": [1, 1, 0, 1, 1, 0], "x": [0, 1, 1, 1, 0, 0]})


@pytest.fixture(scope="module")
def rossi() -> pd.DataFrame:
    return load_rossi()


@pytest.fixture(scope="module")
def lung() -> pd.DataFrame:
    return load_lung()


@pytest.fixture(scope="module")
def veteran() -> pd.DataFrame:
    table, outcome = load_veterans_lung_cancer()
    return table.assign(
        status=outcome["Status"], time=outcome["Survival_in_days"], trt=(table["Treatment"] == "test").astype(float)
    )


def _random(seed: int = 0, n: int = 300) -> pd.DataFrame:
    """Ties, delayed entry, weights, strata and clusters at once."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(rng.normal(size=(n, 3)), columns=["a", "b", "c"])
    entry = rng.integers(0, 10, n)
    follow_up = 1 + rng.geometric(0.06, n)
    return table.assign(
        entry=entry,
        exit=entry + follow_up,
        event=rng.random(n) < 0.6,
        weight=rng.uniform(0.5, 3, n),
        stratum=rng.integers(0, 3, n),
        family=rng.integers(0, 80, n),
    )


def test_rossi_breslow_coefficients_are_those_of_r(rossi: pd.DataFrame) -> None:
    fit = fit_cox(rossi, exit="week", event="arrest", covariates=ROSSI_TERMS, ties="breslow")
    r = [-0.37902189, -0.05724593, 0.31412977, -0.1511146, -0.43278257, -0.08498284, 0.09111154]
    np.testing.assert_allclose(fit.estimates["coef"], r, atol=1e-6)


def test_rossi_efron_coefficients_are_those_of_a_third_engine(rossi: pd.DataFrame) -> None:
    fit = fit_cox(rossi, exit="week", event="arrest", covariates=ROSSI_TERMS)
    recorded = [-0.3794222, -0.0574377, 0.3138998, -0.1497957, -0.4337039, -0.0848711, 0.0914971]
    np.testing.assert_allclose(fit.estimates["coef"], recorded, atol=2e-6)


def test_rossi_concordance_within_strata_is_as_in_r(rossi: pd.DataFrame) -> None:
    terms = [name for name in ROSSI_TERMS if name != "wexp"]
    fit = fit_cox(rossi, exit="week", event="arrest", covariates=terms, strata="wexp")
    index = concordance(rossi["week"], rossi["arrest"], fit.linear_predictor, strata=rossi["wexp"])
    assert index.value == pytest.approx(0.6124492, abs=1e-6)


def test_rossi_log_rank_is_as_published(rossi: pd.DataFrame) -> None:
    test = log_rank(rossi["week"], rossi["arrest"], rossi["race"])
    assert test.chi2 == pytest.approx(0.576101713683918, abs=1e-8)
    assert test.df == 1


def test_lung_wald_statistic_is_as_in_r(lung: pd.DataFrame) -> None:
    fit = fit_cox(lung, exit="time", event="status", covariates=["age", "sex"])
    coef = fit.estimates["coef"].to_numpy()
    assert coef @ np.linalg.solve(fit.covariance, coef) == pytest.approx(13.47, abs=0.006)


def test_lung_by_sex_alone_is_as_in_r(lung: pd.DataFrame) -> None:
    fit = fit_cox(lung, exit="time", event="status", covariates=["sex"])
    row = fit.estimates.loc[0]
    ratio = 2 * (fit.log_likelihood - fit.log_likelihood_null)
    np.testing.assert_allclose(
        [row["coef"], row["se"], ratio, row["z"] ** 2], [-0.531, 0.1672, 10.63, 10.09], atol=0.006
    )
    assert log_rank(lung["time"], lung["status"], lung["sex"]).chi2 == pytest.approx(10.33, abs=0.006)


def test_breslow_has_its_closed_form() -> None:
    fit = fit_cox(TOY6, exit="t", event="d", covariates=["x"], ties="breslow")
    assert fit.estimates.loc[0, "coef"] == pytest.approx(np.log(1.5 + np.sqrt(33) / 2), abs=1e-7)


def test_the_proportional_hazards_test_has_its_closed_form() -> None:
    fit = fit_cox(TOY6, exit="t", event="d", covariates=["x"], ties="breslow")
    tests = check_proportional_hazards(fit, "identity").set_index("term")
    assert tests.loc["x", "chi2"] == pytest.approx(0.300497438574, abs=1e-8)
    assert tests.index[-1] == "GLOBAL"
    assert tests.loc["GLOBAL", "chi2"] == pytest.approx(0.300497438574, abs=1e-8)


@pytest.mark.skip(reason="regression_zph_rank_old: the approximation of R's survival before version 3 is not offered")
def test_the_old_approximation_of_the_proportional_hazards_test() -> None: ...


def test_stanford_heart_in_intervals_is_as_in_r() -> None:
    table = load_stanford_heart_transplants()
    terms = ["age", "year", "surgery", "transplant"]
    fit = fit_cox(table, entry="start", exit="stop", event="event", covariates=terms)
    np.testing.assert_allclose(fit.estimates["coef"], [0.0272, -0.1463, -0.6372, -0.0103], atol=1e-3)
    np.testing.assert_allclose(fit.estimates["se"], [0.0137, 0.0705, 0.3672, 0.3138], atol=1e-3)


def test_veteran_karnofsky_is_as_in_r(veteran: pd.DataFrame) -> None:
    table = veteran.rename(columns={"Karnofsky_score": "karno", "Age_in_years": "age"})
    fit = fit_cox(table, exit="time", event="status", covariates=["karno", "age", "trt"])
    assert fit.estimates.loc[0, "coef"] == pytest.approx(-0.034443897, abs=1e-6)


def test_veteran_log_rank_of_four_groups_is_as_published(veteran: pd.DataFrame) -> None:
    test = log_rank(veteran["time"], veteran["status"], veteran["Celltype"])
    assert (test.chi2, test.df) == (pytest.approx(25.4037003457854, abs=1e-8), 3)
    assert test.p == pytest.approx(1.27124593900609e-05, abs=1e-8)


@pytest.mark.parametrize("weights", [None, "weight"])
@pytest.mark.parametrize("strata", [None, "stratum"])
def test_weights_strata_and_entry_agree_with_lifelines(weights: str | None, strata: str | None) -> None:
    table, terms = _random(), ["a", "b", "c"]
    ours = fit_cox(table, entry="entry", exit="exit", event="event", covariates=terms, weights=weights, strata=strata)
    used = [*terms, "entry", "exit", "event", *filter(None, (weights, strata))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = CoxPHFitter().fit(
            table[used],
            "exit",
            "event",
            entry_col="entry",
            weights_col=weights,
            strata=[strata] if strata else None,
            fit_options={"precision": 1e-12},
        )
    np.testing.assert_allclose(ours.estimates["coef"], theirs.params_, atol=1e-8)
    assert ours.log_likelihood == pytest.approx(theirs.log_likelihood_, abs=1e-8)
    if weights is None:  # with weights, theirs is the sandwich
        np.testing.assert_allclose(ours.estimates["se"], theirs.standard_errors_, atol=1e-8)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({}, {"robust": True}),
        ({"cluster": "family"}, {"cluster_col": "family"}),
        ({"weights": "weight", "cluster": "family"}, {"weights_col": "weight", "cluster_col": "family"}),
        ({"weights": "weight", "strata": "stratum"}, {"weights_col": "weight", "strata": ["stratum"], "robust": True}),
    ],
)
def test_the_sandwich_agrees_with_lifelines_where_no_times_tie(ours: dict[str, str], theirs: dict[str, object]) -> None:
    table, terms = _random(1, 150), ["a", "b", "c"]
    table["exit"] = table["exit"] + np.random.default_rng(2).random(len(table))
    fit = fit_cox(table, exit="exit", event="event", covariates=terms, **ours)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        other = CoxPHFitter().fit(
            table[[*terms, "exit", "event", *ours.values()]],
            "exit",
            "event",
            fit_options={"precision": 1e-12},
            **theirs,
        )
    np.testing.assert_allclose(fit.estimates["robust_se"], other.standard_errors_, atol=1e-7)


def test_the_clustered_sandwich_with_breslow_ties_agrees_with_statsmodels() -> None:
    table, terms = _random(3), ["a", "b", "c"]
    fit = fit_cox(table, exit="exit", event="event", covariates=terms, cluster="family", ties="breslow")
    model = sm.PHReg(table["exit"], table[terms], status=table["event"].astype(int), ties="breslow")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        other = model.fit(groups=table["family"].to_numpy())
    np.testing.assert_allclose(fit.estimates["coef"], other.params, atol=1e-8)
    np.testing.assert_allclose(fit.estimates["robust_se"], other.bse, atol=1e-8)


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_the_sandwich_is_made_of_the_answers_to_each_weight(ties: str) -> None:
    table, terms = _random(4, 60), ["a", "b"]

    def coef(weights: np.ndarray) -> np.ndarray:
        fit = fit_cox(
            table.assign(weight=weights),
            entry="entry",
            exit="exit",
            event="event",
            covariates=terms,
            weights="weight",
            ties=ties,
        )
        return fit.estimates["coef"].to_numpy()

    step, ones = 1e-4, np.ones(60)
    unit = np.eye(60) * step
    answers = np.array([(coef(ones + row) - coef(ones - row)) / (2 * step) for row in unit])
    fit = fit_cox(table, entry="entry", exit="exit", event="event", covariates=terms, ties=ties)
    np.testing.assert_allclose(fit.robust_covariance, answers.T @ answers, rtol=1e-5, atol=1e-8)
