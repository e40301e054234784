"""What must hold of survival estimates whatever the data."""

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from cmr_models.survival import concordance, fit_cox, kaplan_meier


def _people(seed: int, n: int = 80) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({"x": rng.normal(size=n), "z": rng.normal(size=n)})
    entry = rng.integers(50, 60, n)
    return table.assign(entry=entry, exit=entry + rng.integers(1, 12, n), event=rng.random(n) < 0.5)


def _coef(table: pd.DataFrame) -> np.ndarray:
    fit = fit_cox(table, exit="exit", event="event", entry="entry", covariates=["x", "z"])
    return fit.estimates["coef"].to_numpy()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_the_order_of_people_does_not_matter(seed: int) -> None:
    table = _people(seed)
    shuffled = table.sample(frac=1, random_state=seed)
    np.testing.assert_allclose(_coef(shuffled), _coef(table), atol=1e-8)
    ours = concordance(table["exit"], table["event"], table["x"], entry=table["entry"])
    theirs = concordance(shuffled["exit"], shuffled["event"], shuffled["x"], entry=shuffled["entry"])
    assert np.isclose(ours.value, theirs.value)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), shift=st.floats(-40, 40), scale=st.floats(0.01, 100))
def test_the_clock_does_not_matter_to_cox(seed: int, shift: float, scale: float) -> None:
    table = _people(seed)
    clock = table.assign(entry=(table["entry"] + shift) * scale, exit=(table["exit"] + shift) * scale)
    np.testing.assert_allclose(_coef(clock), _coef(table), atol=1e-7)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_two_copies_as_strata_give_the_same_coefficients(seed: int) -> None:
    table = _people(seed)
    doubled = pd.concat([table.assign(copy="a"), table.assign(copy="b")])
    fit = fit_cox(doubled, exit="exit", event="event", entry="entry", covariates=["x", "z"], strata=["copy"])
    np.testing.assert_allclose(fit.estimates["coef"], _coef(table), atol=1e-7)


@settings(deadline=None)
@given(seed=st.integers(0, 10_000))
def test_a_reversed_score_has_the_complement_of_the_concordance(seed: int) -> None:
    table = _people(seed)
    forward = concordance(table["exit"], table["event"], table["x"], entry=table["entry"])
    backward = concordance(table["exit"], table["event"], -table["x"], entry=table["entry"])
    assert np.isclose(forward.value + backward.value, 1)
    assert np.isclose(forward.se, backward.se)


@settings(deadline=None)
@given(seed=st.integers(0, 10_000))
def test_survival_falls_from_one_and_stays_within_its_interval(seed: int) -> None:
    table = _people(seed)
    curve = kaplan_meier(table["exit"], table["event"], table["entry"])
    assert (np.diff(np.concatenate([[1.0], curve.survival])) <= 0).all()
    known = np.isfinite(curve.ci_low)
    assert (curve.ci_low[known] <= curve.survival[known]).all()
    assert (curve.survival[known] <= curve.ci_high[known]).all()
