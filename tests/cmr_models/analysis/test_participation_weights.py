"""Weights of those who took part, by hand: odds, trimming, margins and what they refuse."""

import numpy as np
import pandas as pd
import pytest

from cmr_models.analysis.participation_weights import effective_size, inverse_probability_weights, raked_weights
from cmr_models.estimates import NotEstimableError


def _everybody() -> pd.DataFrame:
    """Of 40 young 20 took part, of 60 old 15; not in order, and with an index of their own."""
    table = pd.DataFrame({"old": [0] * 40 + [1] * 60, "in": [1] * 20 + [0] * 20 + [1] * 15 + [0] * 45, "one": 3.0})
    return table.sample(frac=1, random_state=0)


def test_weights_are_one_over_the_chance_to_take_part() -> None:
    everybody = _everybody()
    weight = inverse_probability_weights(everybody, "in", ["one", "old"], trim=1.0)
    inside = everybody[everybody["in"] == 1]
    assert weight.index.tolist() == inside.index.tolist()
    # Chances 1/2 and 1/4: weights 2 and 4, mean (20 * 2 + 15 * 4) / 35 = 20/7.
    np.testing.assert_allclose(weight, np.where(inside["old"] == 1, 4, 2) / (20 / 7), rtol=1e-6)
    assert weight.name == "weight"


def test_weights_over_the_trimming_point_become_it() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=400)
    everybody = pd.DataFrame({"x": x, "in": rng.random(400) < 1 / (1 + np.exp(-x))})
    whole = inverse_probability_weights(everybody, "in", ["x"], trim=1.0)
    cut = inverse_probability_weights(everybody, "in", ["x"], trim=0.8)
    limit = np.quantile(whole, 0.8)
    by_hand = np.minimum(whole, limit)
    np.testing.assert_allclose(cut, by_hand / by_hand.mean())
    usual = inverse_probability_weights(everybody, "in", ["x"])
    by_hand = np.minimum(whole, np.quantile(whole, 0.99))
    np.testing.assert_allclose(usual, by_hand / by_hand.mean())
    # The chances add up to those who took part.
    slope = np.polyfit(x[everybody["in"]], np.log(whole / whole.min() - 0.999), 1)[0]
    assert slope < 0


def test_participation_that_a_covariate_tells_or_that_all_share_has_no_weights() -> None:
    everybody = _everybody()
    told = everybody.assign(told=((everybody["in"] == 0) & (everybody["old"] == 1)).astype(float))
    with pytest.raises(NotEstimableError, match=r"separation.*told"):
        inverse_probability_weights(told, "in", ["told", "old"])
    with pytest.raises(NotEstimableError, match="too_few_controls"):
        inverse_probability_weights(everybody.assign(**{"in": 1}), "in", ["old"])


def test_raking_one_margin_is_a_ratio_and_two_meet_both() -> None:
    people = pd.DataFrame({"sex": ["m", "f", "m", "m", "f"], "age": [1, 1, 2, 2, 2]}, index=[4, 2, 0, 9, 7])
    found = raked_weights(people, {"sex": {"f": 0.7, "m": 0.3}})
    np.testing.assert_allclose(found, [0.5, 1.75, 0.5, 0.5, 1.75])
    assert found.index.tolist() == [4, 2, 0, 9, 7]
    both = raked_weights(people, {"sex": {"f": 0.7, "m": 0.3}, "age": {"1": 0.4, "2": 0.6}})
    assert both[[2, 7]].sum() / both.sum() == pytest.approx(0.7)
    assert both[[4, 2]].sum() / both.sum() == pytest.approx(0.4)
    assert both.mean() == pytest.approx(1)
    # Of the cells f1, m1, f2, m2 with 1, 1, 1, 2 people: the odds ratio of the seed (2) is kept.
    cells = both[2] * both[[0, 9]].sum() / (both[4] * both[7])
    assert cells == pytest.approx(2)


def test_margins_that_do_not_fit_are_named() -> None:
    people = pd.DataFrame({"sex": ["m", "f", "m"], "age": ["y", "y", "o"]})
    for margins, message in (
        ({"sex": {"f": 1.0}}, r"sex: .*labels"),
        ({"sex": {"f": 0.4, "m": 0.4, "x": 0.2}}, r"sex: .*labels.*'x'"),
        ({"sex": {"f": 0.5, "m": 0.50001}}, "shares sum to 1.00001, not to 1"),
        ({"sex": {"f": 0.5, "m": 0.49999}}, "not to 1"),
    ):
        with pytest.raises(ValueError, match=message):
            raked_weights(people, margins)
    # A digit too few is no mistake: thirds of 0.333333 sum to 0.999999.
    thirds = pd.DataFrame({"site": ["a", "b", "c", "c"]})
    found = raked_weights(thirds, {"site": {"a": 0.3333333, "b": 0.3333333, "c": 0.3333333}})
    np.testing.assert_allclose(found, [4 / 3, 4 / 3, 2 / 3, 2 / 3])
    with pytest.raises(ValueError, match="did not settle in 1 cycles"):
        raked_weights(people, {"sex": {"f": 0.5, "m": 0.5}, "age": {"y": 0.5, "o": 0.5}}, limit=1)


def test_the_effective_size_is_kishs() -> None:
    assert effective_size([1, 1, 1, 1]) == 4
    assert effective_size([1, 3]) == pytest.approx(16 / 10)
