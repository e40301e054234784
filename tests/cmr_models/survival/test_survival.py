"""Survival by hand, and what happens to data that cannot be fitted."""

import numpy as np
import pandas as pd
import pytest

from cmr_models.estimates import NotEstimableError
from cmr_models.survival import concordance, fit_cox, kaplan_meier


def _table(n: int = 200, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({"x": rng.normal(size=n), "z": rng.normal(size=n)})
    return table.assign(
        entry=rng.uniform(50, 60, n), exit=rng.uniform(61, 70, n), event=(rng.random(n) < 0.3).astype(int)
    )


def _fit(table: pd.DataFrame, *covariates: str) -> pd.DataFrame:
    return fit_cox(table, exit="exit", event="event", entry="entry", covariates=covariates).estimates.set_index("term")


def test_kaplan_meier_by_hand() -> None:
    curve = kaplan_meier([1, 2, 2, 3, 5], [1, 1, 0, 1, 0])
    assert curve.time.tolist() == [1, 2, 3]
    assert curve.n_at_risk.tolist() == [5, 4, 2]
    np.testing.assert_allclose(curve.survival, [0.8, 0.6, 0.3])
    assert curve.median == 3
    assert curve.at([0.5, 2.9, 9])[0].tolist() == pytest.approx([1.0, 0.6, 0.3])
    assert curve.at_risk([0.5, 2, 2.5, 6]).tolist() == [5, 4, 2, 0]
    assert curve.events_until([0, 2, 5]).tolist() == [0, 2, 3]


def test_somebody_who_enters_at_an_event_is_not_at_risk_of_it() -> None:
    curve = kaplan_meier([2, 4, 4], [1, 1, 0], entry=[0, 2, 1])
    assert curve.n_at_risk.tolist() == [2, 2]
    np.testing.assert_allclose(curve.survival, [0.5, 0.25])


def test_concordance_by_hand() -> None:
    # Pairs: (1,2) (1,3) (1,4) (2,3) (2,4); the event at 2 against the censoring at 2 counts.
    index = concordance([1, 2, 2, 3], [1, 1, 0, 0], [4, 2, 3, 2])
    assert (index.n_pairs, index.concordant, index.discordant, index.tied_risk) == (5, 3, 1, 1)
    assert index.value == pytest.approx(3.5 / 5)


def test_delayed_entry_takes_pairs_away() -> None:
    # The third enters after the first event, so only two pairs remain.
    index = concordance([1, 2, 3], [1, 1, 0], [3, 2, 1], entry=[0, 0, 1])
    assert (index.n_pairs, index.value) == (2, 1.0)


def test_the_jackknife_error_of_concordance_is_that_of_the_bootstrap() -> None:
    rng = np.random.default_rng(1)
    n = 250
    risk = rng.normal(size=n)
    time = rng.exponential(np.exp(-risk))
    event = rng.random(n) < 0.6
    draws = [concordance(time[i], event[i], risk[i]).value for i in (rng.integers(0, n, n) for _ in range(400))]
    assert concordance(time, event, risk).se == pytest.approx(np.std(draws), rel=0.15)


def test_a_constant_covariate_is_named_and_leaves_the_others_alone() -> None:
    table = _table().assign(centre="Reading", one=1e9)
    alone, beside = _fit(table, "x"), _fit(table, "centre", "one", "x")
    assert beside.loc["one", "status"] == "aliased"
    assert beside.loc["centre=Reading", "status"] == "aliased"
    assert beside.loc["x", "coef"] == pytest.approx(alone.loc["x", "coef"], rel=1e-9)


def test_of_two_collinear_covariates_the_first_stays() -> None:
    terms = _fit(_table().assign(y=lambda t: 3 * t["x"] - 7), "x", "z", "y")
    assert terms["status"].tolist() == ["ok", "ok", "aliased"]


def test_a_covariate_on_a_huge_scale_keeps_its_z() -> None:
    table = _table()
    assert _fit(table.assign(x=table["x"] * 1e12 + 5), "x").loc["x", "z"] == pytest.approx(
        _fit(table, "x").loc["x", "z"], rel=1e-6
    )


def test_an_indicator_without_events_is_infinite_and_the_exposure_is_still_estimated() -> None:
    table = _table().assign(rare=lambda t: ((t.index % 20 == 0) & (t["event"] == 0)).astype(float))
    terms = _fit(table, "rare", "x")
    assert terms.loc["rare", "status"] == "infinite"
    assert np.isnan(terms.loc["rare", "coef"])
    assert terms.loc["x", "status"] == "ok"
    assert terms.loc["x", "coef"] == pytest.approx(_fit(table, "x").loc["x", "coef"], abs=0.05)


def test_five_events_and_twenty_covariates_end_in_a_status_or_a_reason() -> None:
    rng = np.random.default_rng(2)
    table = _table(40).assign(event=[1] * 5 + [0] * 35, **{f"c{k}": rng.normal(size=40) for k in range(20)})
    names = [f"c{k}" for k in range(20)]
    try:
        status = set(_fit(table, *names)["status"])
    except NotEstimableError as error:
        status = {error.reason}
    assert status & {"infinite", "not_converged"}


def test_no_events_is_a_reason_not_a_number() -> None:
    with pytest.raises(NotEstimableError, match="too_few_cases"):
        _fit(_table().assign(event=0), "x")


def test_nothing_that_varies_is_a_reason() -> None:
    with pytest.raises(NotEstimableError, match="constant_exposure"):
        _fit(_table().assign(x=1.0), "x")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"exit": 1.0}, "200 rows leave at or before they enter"),
        ({"event": 2}, "event must be 0 or 1"),
        ({"x": np.nan}, r"missing values: \['x'\]"),
        ({"exit": np.nan}, "must be finite"),
    ],
)
def test_impossible_input_is_refused_by_name(change: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _fit(_table().assign(**change), "x")


def test_a_missing_column_is_named() -> None:
    with pytest.raises(ValueError, match=r"covariates \['bmi'\] are not columns"):
        _fit(_table(), "bmi")


def test_uno_refuses_delayed_entry() -> None:
    with pytest.raises(ValueError, match="no delayed entry"):
        concordance([1, 2], [1, 0], [1, 2], entry=[0, 0], method="uno")


def test_no_comparable_pair_is_a_reason() -> None:
    with pytest.raises(NotEstimableError, match="no_pairs"):
        concordance([1, 2], [0, 0], [1, 2])
