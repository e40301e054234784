"""Concordance by hand: which pairs count, with which weight, and how much each person moves it."""

import math

import numpy as np
import pytest

from cmr_models.estimates import NotEstimableError
from cmr_models.survival import concordance
from cmr_models.survival.ordered_pairs import sum_pairs

# Unsorted: dead at 1, 3, 3 and 6; lost at 2, 3 and 7.
EXIT = np.array([3.0, 7, 1, 3, 2, 6, 3])
EVENT = np.array([1, 0, 1, 1, 0, 1, 0])
RISK = np.array([5.0, 1, 4, 1, 6, 2, 5])


def _pairs(
    weight: dict[int, float], entry: list[float] | None = None, strata: str = "aaaaaaa"
) -> tuple[float, float, np.ndarray]:
    """Value, error and influence from every pair one by one; ``weight`` of each event that counts."""
    all_, won = np.zeros(7), np.zeros(7)
    for i, w in weight.items():
        for j in range(7):
            later = EXIT[j] > EXIT[i] or (EXIT[j] == EXIT[i] and not EVENT[j])
            there = entry is None or entry[j] < EXIT[i]
            if later and there and strata[i] == strata[j]:
                share = 1.0 if RISK[i] > RISK[j] else 0.5 if RISK[i] == RISK[j] else 0.0
                for k in (i, j):
                    all_[k] += w
                    won[k] += w * share
    value = won.sum() / all_.sum()
    influence = (won - value * all_) / (all_.sum() / 2)
    return value, math.sqrt((influence**2).sum()), influence


def test_pairs_by_hand_with_ties_of_time_and_of_risk() -> None:
    found = concordance(EXIT, EVENT, RISK)
    # The dead of 1 (risk 4) against all six: 1, 1, 2 lower. Those of 3 (5 and 1) against the lost of 3 (5), of 7 (1),
    # the dead of 6 (2): 5 wins twice and ties, 1 ties once. The dead of 6 against 7: wins.
    assert (found.n_pairs, found.concordant, found.discordant, found.tied_risk) == (13, 6, 5, 2)
    assert found.value == pytest.approx(7 / 13)
    value, se, influence = _pairs({0: 1, 2: 1, 3: 1, 5: 1})
    assert value == pytest.approx(7 / 13)
    assert found.se == pytest.approx(se)
    np.testing.assert_allclose(found.influence, influence)


def test_late_comers_are_compared_with_later_events_only() -> None:
    entry = [0.0, 3, 0.5, 1, 1.5, 2, 0]
    found = concordance(EXIT, EVENT, RISK, entry=entry)
    # At 1 only the first and the last are there; at 3 (who enters then is not) 6 and the lost of 3; at 6 that of 7.
    assert found.n_pairs == 2 + 2 * 2 + 1
    value, se, influence = _pairs({0: 1, 2: 1, 3: 1, 5: 1}, entry)
    assert (found.value, found.se) == (pytest.approx(value), pytest.approx(se))
    np.testing.assert_allclose(found.influence, influence)
    early = concordance(EXIT, EVENT, RISK, entry=np.full(7, -5.0))
    np.testing.assert_allclose(early.influence, concordance(EXIT, EVENT, RISK).influence)


def test_pairs_are_made_within_strata_and_added_up() -> None:
    strata = "bababab"
    found = concordance(EXIT, EVENT, RISK, strata=list(strata), entry=[0, 0, 0, 0, 0, 0, 0.5])
    value, se, influence = _pairs({0: 1, 2: 1, 3: 1, 5: 1}, [0, 0, 0, 0, 0, 0, 0.5], strata)
    assert (found.value, found.se) == (pytest.approx(value), pytest.approx(se))
    np.testing.assert_allclose(found.influence, influence)
    # b: the dead of 3 (5) against that lost then; of 1 (4) against 3, 2 and 3. a: of 3 (1) against 7 and 6; of 6
    # against 7.
    assert found.n_pairs == 1 + 3 + 2 + 1


def test_events_at_tau_or_later_do_not_count() -> None:
    for tau, counted in ((6.0, {0, 2, 3}), (6.1, {0, 2, 3, 5}), (3.0, {2})):
        found = concordance(EXIT, EVENT, RISK, tau=tau)
        assert found.value == pytest.approx(_pairs(dict.fromkeys(counted, 1.0))[0])
    with pytest.raises(NotEstimableError, match="no_pairs"):
        concordance(EXIT, EVENT, RISK, tau=1.0)
    with pytest.raises(ValueError, match="tau must be a time, got nan"):
        concordance(EXIT, EVENT, RISK, tau=float("nan"))


def test_unos_events_weigh_by_the_chance_to_be_seen_before_them() -> None:
    # Uncensored: 5/6 after 2 (one of six), after 3 one of three (the dead of 3 left out): 5/9, 0 after 7.
    weight = {2: 1.0, 0: (6 / 5) ** 2, 3: (6 / 5) ** 2, 5: (9 / 5) ** 2}
    found = concordance(EXIT, EVENT, RISK, method="uno")
    value, se, influence = _pairs(weight)
    assert (found.value, found.se) == (pytest.approx(value), pytest.approx(se))
    np.testing.assert_allclose(found.influence, influence)
    assert found.n_pairs == 13
    short = concordance(EXIT, EVENT, RISK, method="uno", tau=6.0)
    assert short.value == pytest.approx(_pairs({k: w for k, w in weight.items() if k != 5})[0])
    # Nobody can be seen beyond the time at which all who were left are lost.
    assert concordance([1, 2, 2], [1, 0, 0], [3, 2, 1], method="uno").value == 1.0


def test_all_won_or_all_lost_has_no_error_and_one_half_has() -> None:
    for sign, value in ((1, 1.0), (-1, 0.0)):
        found = concordance([1, 2, 3], [1, 1, 0], [sign * risk for risk in (3, 2, 1)])
        assert found.value == value
        assert np.isnan(found.se)
    assert concordance([1, 2, 3], [1, 1, 0], [2, 1, 2]).se > 0


def test_impossible_columns_are_named() -> None:
    for change, message in (
        ({"exit": EXIT[:6]}, "vectors of one length"),
        ({"event": EVENT[:6]}, "vectors of one length"),
        ({"entry": np.zeros(6)}, "vectors of one length"),
        ({"exit": EXIT[:, None], "event": EVENT[:, None], "risk": RISK[:, None]}, "vectors of one length"),
        ({"exit": np.where(EXIT == 7, np.inf, EXIT)}, "must be finite; drop"),
        ({"risk": np.where(RISK == 6, np.nan, RISK)}, "must be finite; drop"),
        ({"entry": [np.nan, *np.zeros(6)]}, "must be finite; drop"),
        ({"entry": [3.0, *np.zeros(6)]}, "1 rows leave at or before they enter"),
        ({"exit": EXIT - 2}, "1 times are negative"),
        ({"method": "c"}, "method must be 'harrell' or 'uno'"),
        ({"method": "uno", "entry": np.zeros(7)}, "no delayed entry"),
        ({"strata": list("aaaaaa")}, "7 labels, none missing"),
        ({"strata": [None, *"aaaaaa"]}, "7 labels, none missing"),
    ):
        with pytest.raises(ValueError, match=message):
            concordance(**{"exit": EXIT, "event": EVENT, "risk": RISK, **change})
    assert concordance(EXIT - 1, EVENT, RISK).n_pairs == 13


def test_sums_over_pairs_are_those_of_two_loops_whatever_the_keys() -> None:
    rng = np.random.default_rng(0)
    for n_left, n_right, top in ((5, 9, 4), (40, 3, 1000), (0, 4, 3), (4, 0, 3), (1, 1, 1)):
        left_key, right_key = rng.integers(0, top, n_left), rng.integers(0, top, n_right)
        left_score, right_score = rng.integers(0, 4, n_left), rng.integers(0, 4, n_right)
        weight = rng.uniform(0.5, 2, n_left)
        found = sum_pairs(left_key, left_score, weight, right_key, right_score)
        later = left_key[:, None] < right_key
        apart = np.sign(left_score[:, None] - right_score)
        for name, sign in (("lower", 1), ("tied", 0), ("higher", -1)):
            np.testing.assert_allclose(getattr(found, name), (later & (apart == sign)).sum(axis=1))
        np.testing.assert_allclose(found.weight_above, weight @ (later & (apart == 1)))
        np.testing.assert_allclose(found.weight_tied, weight @ (later & (apart == 0)))
        np.testing.assert_allclose(found.weight, weight @ later)
