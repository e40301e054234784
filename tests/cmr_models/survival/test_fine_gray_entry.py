"""Fine and Gray's model with delayed entry: the weighted rows written out, and what it should be without delay."""

import numpy as np
import pandas as pd
import pytest

from cmr_models.estimates import NotEstimableError
from cmr_models.survival import fit_cause_pair, fit_cox, fit_fine_gray


def _table(seed: int, n: int = 90) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({"x": rng.normal(size=n), "b": rng.integers(0, 2, n), "person": np.arange(n)})
    entry = np.where(np.arange(n) < 40, 0.0, rng.integers(0, 5, n))
    return table.assign(entry=entry, t=entry + rng.integers(1, 12, n), e=rng.choice([0, 1, 2], n))


def _curve_before(at: float, table: pd.DataFrame, which: str) -> float:
    """By the definition: the censoring curve just before ``at``, or the chance to have entered before it."""
    value = 1.0
    if which == "G":
        for u in sorted(set(table.loc[table["e"] == 0, "t"])):
            if u < at:
                there = ((table["entry"] < u) & (table["t"] >= u)).sum()
                value *= 1 - ((table["t"] == u) & (table["e"] == 0)).sum() / there
        return value
    for u in sorted(set(table["entry"])):
        if u >= at:
            there = ((table["entry"] <= u) & (table["t"] > u)).sum()
            value *= 1 - (table["entry"] == u).sum() / there
    return value


def _written_out(table: pd.DataFrame) -> pd.DataFrame:
    """One row a person and stretch of constant weight, as R's ``finegray`` makes them."""
    last = float(table["t"].max())
    rows = []
    for person in table.to_dict("records"):
        rows.append({**person, "w": 1.0, "d": int(person["e"] == 1)})
        if person["e"] != 2:
            continue
        own = _curve_before(person["t"], table, "G") * _curve_before(person["t"], table, "H")
        for end in np.arange(person["t"] + 1, last + 1):
            weight = _curve_before(end, table, "G") * _curve_before(end, table, "H") / own
            if weight > 0:
                rows.append({**person, "entry": end - 1, "t": end, "w": weight, "d": 0})
    return pd.DataFrame(rows)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_delayed_entry_is_the_weighted_cox_model_of_the_rows_written_out(seed: int) -> None:
    table = _table(seed)
    ours = fit_fine_gray(table, exit="t", event="e", cause=1, covariates=["x", "b"], entry="entry")
    rows = _written_out(table)
    options = {"covariates": ["x", "b"], "weights": "w", "cluster": "person", "ties": "breslow"}
    cox = fit_cox(rows, exit="t", event="d", entry="entry", **options)
    np.testing.assert_allclose(ours.estimates["coef"], cox.estimates["coef"], rtol=1e-6)
    np.testing.assert_allclose(ours.estimates["se"], cox.estimates["robust_se"], rtol=1e-6)
    assert ours.log_likelihood == pytest.approx(cox.log_likelihood, rel=1e-9)


def test_entry_at_the_start_changes_no_coefficient() -> None:
    table = _table(3).assign(entry=0.0)
    options = {"exit": "t", "event": "e", "cause": 1, "covariates": ["x", "b"]}
    plain, from_zero = fit_fine_gray(table, **options), fit_fine_gray(table, entry="entry", **options)
    np.testing.assert_allclose(from_zero.estimates["coef"], plain.estimates["coef"], rtol=1e-9)


def test_the_pair_of_models_takes_delayed_entry_too() -> None:
    table = _table(5)
    options = {"exit": "t", "covariates": ["x", "b"], "entry": "entry"}
    pair = fit_cause_pair(table, event="e", cause=1, **options)
    cox = fit_cox(table.assign(d=table["e"] == 1), event="d", **options)
    by_model = pair.estimates.set_index(["model", "term"])["coef"]
    np.testing.assert_allclose(by_model["cause_specific"], cox.estimates["coef"])
    fine_gray = fit_fine_gray(table, event="e", cause=1, **options)
    np.testing.assert_allclose(by_model["fine_gray"], fine_gray.estimates["coef"])
    assert pair.other_causes is not None


def test_impossible_entries_and_a_while_without_anybody_are_named() -> None:
    table = _table(4)
    options = {"exit": "t", "event": "e", "cause": 1, "covariates": ["x"]}
    with pytest.raises(ValueError, match="leave at or before they enter"):
        fit_fine_gray(table.assign(entry=table["t"]), entry="entry", **options)
    early, late = table.assign(entry=0.0), table.assign(entry=50.0, t=table["t"] + 50)
    with pytest.raises(NotEstimableError, match="nobody is under observation for a while"):
        fit_fine_gray(pd.concat([early, late]), entry="entry", **options)


def test_columns_that_are_not_there_or_twice_are_named() -> None:
    table = _table(4)
    options = {"exit": "t", "event": "e", "cause": 1, "covariates": ["x"], "entry": "entry"}
    for name in ("exit", "event", "entry"):
        with pytest.raises(ValueError, match=r"columns \['when'\] are not in the table"):
            fit_fine_gray(table, **{**options, name: "when"})
    with pytest.raises(ValueError, match=r"more than one column named \['t'\]"):
        fit_fine_gray(pd.concat([table, table[["t"]]], axis=1), **options)


def test_a_while_without_anybody_after_the_last_event_of_the_cause_takes_nothing_away() -> None:
    rng = np.random.default_rng(6)
    early = pd.DataFrame({"x": rng.normal(size=40), "entry": 0.0, "t": rng.permutation(40) + 1.0})
    # Other causes come after all of the cause, so that nobody with one is still counted at an event of the cause.
    early = early.assign(e=np.where(early["t"] <= 25, rng.choice([0, 1], 40), 2))
    late = pd.DataFrame({"x": rng.normal(size=5), "entry": 90.0, "t": 95.0, "e": 0})
    table = pd.concat([early, late], ignore_index=True)
    found = fit_fine_gray(table, exit="t", event="e", cause=1, covariates=["x"], entry="entry").estimates
    cox = fit_cox(early.assign(d=early["e"] == 1), exit="t", event="d", covariates=["x"], ties="breslow").estimates
    np.testing.assert_allclose(found["coef"], cox["coef"], rtol=1e-6)
