"""Who is at risk at which event time: written out for a few people, counted for more than small numbers hold."""

import numpy as np
import pytest

from cmr_models.survival.ordered_pairs import sum_pairs
from cmr_models.survival.risk_sets import make_risk_sets

# Unsorted; two strata; ties; late entry, one at an event time, one that begins and ends between two events.
ENTRY = np.array([0.0, 2, 0, 1, 3.5, 0, 0])
EXIT = np.array([4.0, 6, 2, 4, 3.9, 9, 4])
EVENT = np.array([1, 1, 1, 1, 0, 0, 0], bool)
WEIGHT = np.array([1.0, 2, 0.5, 3, 1, 4, 1])


_EFRON = [(0, 0, 0.5), (1, 0, 2), (1, 0.5, 2), (2, 0, 2)]
_BRESLOW = [(0, 0, 0.5), (1, 0, 4), (2, 0, 2)]


@pytest.mark.parametrize(("ties", "terms"), [("efron", _EFRON), ("breslow", _BRESLOW)])
def test_risk_sets_of_a_few_people_written_out(ties: str, terms: list[tuple[int, float, float]]) -> None:
    (at,) = make_risk_sets(ENTRY, EXIT, EVENT, np.zeros(7, int), WEIGHT, ties)  # type: ignore[arg-type]
    assert at.times.tolist() == [2, 4, 6]
    assert list(zip(at.term_at, at.term_share, at.term_weight, strict=True)) == terms
    # (entry, exit]: at 2 those of 4, 2, 4 (from 1), 9 and 4; at 4 all those of 4, of 6 and 9; at 6 two.
    there = [{0, 2, 3, 5, 6}, {0, 1, 3, 5, 6}, {1, 5}]
    rows = at.rows.tolist()
    assert set(rows) == {0, 1, 2, 3, 5, 6}  # the fifth is there at no event
    relative, values = WEIGHT[rows], EXIT[rows][:, None]
    sums = at.at_risk(relative, values)
    np.testing.assert_allclose(sums[:, 0], [WEIGHT[list(who)].sum() for who in there])
    np.testing.assert_allclose(sums[:, 1], [(WEIGHT * EXIT)[list(who)].sum() for who in there])
    np.testing.assert_allclose(at.weight, relative)
    assert sorted(rows[k] for k in at.dead) == [0, 1, 2, 3]
    np.testing.assert_array_equal(at.times[at.dead_at], EXIT[[rows[k] for k in at.dead]])
    by_time = np.array([1.0, 10, 100])
    assert dict(zip(rows, at.during(by_time), strict=True)) == {0: 11, 1: 110, 2: 1, 3: 11, 5: 111, 6: 11}
    summed = at.over_terms(np.array([share + 1 for _, share, _ in terms]))
    np.testing.assert_allclose(summed, [1, 2.5, 1] if ties == "efron" else [1, 1, 1])


def test_each_stratum_with_an_event_has_its_own_and_those_from_the_start_are_at_risk_throughout() -> None:
    stratum = np.array([1, 0, 1, 0, 2, 0, 1])
    first, second = make_risk_sets(np.full(7, -np.inf), EXIT, EVENT, stratum, WEIGHT, "efron")
    assert (first.times.tolist(), second.times.tolist()) == ([4, 6], [2, 4])
    assert (sorted(first.rows), sorted(second.rows)) == ([1, 3, 5], [0, 2, 6])
    assert not first.enters_late
    np.testing.assert_allclose(first.at_risk(first.weight, np.zeros((3, 0)))[:, 0], [2 + 3 + 4, 2 + 4])
    np.testing.assert_allclose(second.at_risk(second.weight, np.zeros((3, 0)))[:, 0], [1 + 0.5 + 1, 1 + 1])
    assert make_risk_sets(ENTRY, EXIT, EVENT & False, stratum, WEIGHT, "efron") == []
    assert make_risk_sets(ENTRY, EXIT, EVENT & False, 0 * stratum, WEIGHT, "efron") == []


def test_more_times_than_sixteen_bits_number_are_kept_apart() -> None:
    n = 2**16 + 50
    order = np.random.default_rng(0).permutation(n)
    times, entry = order + 1.0, np.where(order % 3 == 0, order * 0.5, -1.0)
    (at,) = make_risk_sets(entry, times, np.ones(n, bool), np.zeros(n, int), np.ones(n), "efron")
    sums = at.at_risk(np.ones(n), times[at.rows][:, None])
    here = np.sort(entry)
    expected = np.searchsorted(here, np.arange(1, n + 1), "left") - np.arange(n)
    np.testing.assert_array_equal(sums[:, 0], expected)
    found = sum_pairs(2 * order[:3], np.zeros(3, np.int64), np.ones(3), 2 * order, np.zeros(n, np.int64))
    np.testing.assert_array_equal(found.tied, n - 1 - order[:3])
