"""Sites that share sums: the fit of the pooled table, stratified by site."""

import numpy as np
import pandas as pd
import pytest

from cmr_models.estimates import NotEstimableError
from cmr_models.survival import CoxSite, fit_cox, fit_federated_cox


def _table(n: int = 300) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"x": rng.normal(size=n), "z": 1e3 * rng.normal(size=n) + 5e4})
    entry = rng.integers(40, 50, n).astype(float)
    table = table.assign(entry=entry, exit=entry + rng.integers(1, 9, n), event=rng.random(n) < 0.4)
    return table.assign(site=rng.choice(["a", "b", "c"], n))


def _sites(table: pd.DataFrame) -> list[CoxSite]:
    return [
        CoxSite(
            rows[["x", "z"]].to_numpy(), rows["exit"].to_numpy(), rows["event"].to_numpy(), rows["entry"].to_numpy()
        )
        for _, rows in table.groupby("site")
    ]


def test_sums_of_sites_are_the_pooled_fit_stratified_by_site() -> None:
    table = _table()
    pooled = fit_cox(table, exit="exit", event="event", entry="entry", covariates=["x", "z"], strata="site")
    shared = fit_federated_cox(_sites(table), ["x", "z"])
    columns = ["coef", "se", "robust_se", "ci_low", "ci_high", "z", "p"]
    np.testing.assert_allclose(shared.estimates[columns], pooled.estimates[columns], rtol=1e-6)
    assert shared.log_likelihood == pytest.approx(pooled.log_likelihood, rel=1e-10)
    assert shared.log_likelihood_null == pytest.approx(pooled.log_likelihood_null, rel=1e-10)
    assert (shared.n, shared.n_events) == (pooled.n, pooled.n_events)


def test_a_site_of_few_events_takes_no_part_and_says_so() -> None:
    with pytest.raises(ValueError, match="needs 5 events"):
        CoxSite(np.zeros((9, 1)), np.arange(9.0), np.arange(9) < 2)


def test_what_sites_cannot_estimate_together_has_a_reason() -> None:
    table = _table()
    with pytest.raises(NotEstimableError, match="collinear"):
        fit_federated_cox(_sites(table.assign(z=2 * table["x"])), ["x", "z"])
    with pytest.raises(NotEstimableError, match="constant_exposure"):
        fit_federated_cox(_sites(table.assign(z=7.0)), ["x", "z"])
    with pytest.raises(ValueError, match="every site needs the 1 columns"):
        fit_federated_cox(_sites(table), ["x"])
    with pytest.raises(ValueError, match="leave at or before they enter"):
        CoxSite(np.zeros((9, 1)), np.arange(9.0), np.ones(9, bool), np.arange(9.0))


def _rows(**change: object) -> CoxSite:
    given = {"x": np.arange(9.0)[:, None], "exit": np.arange(1, 10.0), "event": np.ones(9, bool), **change}
    return CoxSite(**given)  # type: ignore[arg-type]


def test_a_site_checks_its_rows_at_each_bound() -> None:
    few = np.arange(9) < 5
    assert _rows(event=few).totals()[:2] == (9, 5)
    with pytest.raises(ValueError, match="needs 5 events"):
        _rows(event=np.arange(9) < 4)
    assert _rows(event=np.arange(9) < 2, minimum_events=2).totals()[1] == 2
    _rows(exit=np.arange(9.0))
    for change, message in (
        ({"x": np.arange(9.0)}, r"x must be \(n, p\)"),
        ({"x": np.zeros((8, 1))}, r"x must be \(n, p\)"),
        ({"exit": np.arange(1, 9.0)}, r"x must be \(n, p\)"),
        ({"event": np.ones(8, bool)}, r"x must be \(n, p\)"),
        ({"entry": np.zeros(8)}, r"x must be \(n, p\)"),
        ({"x": np.full((9, 1), np.nan)}, "must be finite"),
        ({"exit": np.full(9, np.inf)}, "must be finite"),
        ({"exit": np.arange(9.0) - 1}, "1 times are negative"),
        ({"event": np.full(9, 2)}, "event must be 0 or 1"),
    ):
        with pytest.raises(ValueError, match=message):
            _rows(**change)


def test_breslows_ties_and_no_delay_are_those_of_the_pooled_fit_too() -> None:
    table = _table()
    parts = [rows for _, rows in table.groupby("site")]
    sites = [
        CoxSite(rows[["x", "z"]].to_numpy(), rows["exit"].to_numpy(), rows["event"].to_numpy(), ties="breslow")
        for rows in parts
    ]
    pooled = fit_cox(table, exit="exit", event="event", covariates=["x", "z"], strata="site", ties="breslow")
    shared = fit_federated_cox(sites, ["x", "z"])
    columns = ["coef", "se", "robust_se", "z", "minus_log10_p"]
    np.testing.assert_allclose(shared.estimates[columns], pooled.estimates[columns], rtol=1e-6)
    assert shared.estimates["term"].tolist() == ["x", "z"]


def test_a_constant_below_zero_and_an_infinite_term_are_seen_across_sites() -> None:
    table = _table()
    with pytest.raises(NotEstimableError, match="constant_exposure"):
        fit_federated_cox(_sites(table.assign(z=-7.3)), ["x", "z"])
    with pytest.raises(NotEstimableError, match="constant_exposure"):
        fit_federated_cox(_sites(table.assign(z=0.0)), ["x", "z"])
    nearly = table.assign(z=-5e3 + 1e-3 * table["z"])
    assert fit_federated_cox(_sites(nearly), ["x", "z"]).estimates["status"].tolist() == ["ok", "ok"]
    never = table.assign(z=((np.arange(300) % 7 == 0) & ~table["event"]).astype(float))
    found = fit_federated_cox(_sites(never), ["x", "z"]).estimates
    assert found["status"].tolist() == ["ok", "infinite"]
    assert found.loc[1, ["coef", "se", "robust_se", "p"]].isna().all()
    with pytest.raises(ValueError, match="every site needs the 2 columns"):
        fit_federated_cox([], ["x", "z"])
    mixed = [*_sites(table), _rows()]
    with pytest.raises(ValueError, match="every site needs the 2 columns"):
        fit_federated_cox(mixed, ["x", "z"])


def test_covariates_of_tiny_units_are_no_combination_of_each_other() -> None:
    table = _table().assign(x=lambda t: 1e-4 * t["x"], z=lambda t: 1e-7 * t["z"])
    pooled = fit_cox(table, exit="exit", event="event", entry="entry", covariates=["x", "z"], strata="site")
    shared = fit_federated_cox(_sites(table), ["x", "z"])
    np.testing.assert_allclose(shared.estimates[["coef", "se"]], pooled.estimates[["coef", "se"]], rtol=1e-5)
    with pytest.raises(NotEstimableError, match="collinear"):
        fit_federated_cox(_sites(table.assign(z=-3e6 * table["x"])), ["x", "z"])
