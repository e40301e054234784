"""Competing causes by hand: incidence with ties, Gray's test with a weight, and the counts both stand on."""

import math

import numpy as np
import pytest

from cmr_models.estimates import NotEstimableError
from cmr_models.survival import cumulative_incidence, gray_test

# Eight people, unsorted: two die of cause 1 at 1; two of cause 2 at 2, when one is lost; one of each at 3; one is lost
# at 4.
EXIT = [3, 1, 2, 4, 2, 1, 3, 2]
CAUSE = [1, 1, 2, 0, 0, 1, 2, 2]


def test_incidence_and_its_variance_with_ties_are_those_of_grays_formula() -> None:
    curve = cumulative_incidence(EXIT, CAUSE)
    assert curve.time.tolist() == [1, 2, 3]
    assert curve.n_at_risk.tolist() == [8, 6, 3]
    assert curve.n_events.tolist() == [2, 0, 1]
    np.testing.assert_allclose(curve.incidence, [1 / 4, 1 / 4, 1 / 4 + 1 / 2 / 3])
    # Survival 3/4, 1/2, 1/6; noise 6/7 * 2/64 of cause 1, (3/4)² * 4/5 * 2/36 of cause 2, (1/2)²/9 of each at 3.
    # At 3 those of 1 answer by (1 + (1/4 - 5/12) / (3/4))² = 49/81, those of 2 by ((1/4 - 5/12) / (1/2))² = 1/9.
    variance = [3 / 112, 3 / 112, 49 / 81 * 3 / 112 + 1 / 9 / 40 + 1 / 36]
    np.testing.assert_allclose(curve.se**2, variance)
    reach = 1.959964 * curve.se / (curve.incidence * -np.log(curve.incidence))
    np.testing.assert_allclose(curve.ci_low, curve.incidence ** np.exp(reach), rtol=1e-5)
    np.testing.assert_allclose(curve.ci_high, curve.incidence ** np.exp(-reach), rtol=1e-5)


def test_incidence_of_the_other_cause_begins_without_an_interval() -> None:
    curve = cumulative_incidence(EXIT, CAUSE, 2)
    np.testing.assert_allclose(curve.incidence, [0, 3 / 4 / 3, 1 / 4 + 1 / 2 / 3])
    assert np.isnan(curve.ci_low).tolist() == [True, False, False]
    # At 2: those of cause 1 at 1 answer by ((0 - 1/4) / (3/4))² = 1/9, those of cause 2 by 1.
    assert curve.se[1] ** 2 == pytest.approx(3 / 112 / 9 + 1 / 40)
    incidence, low, high = curve.at([0.5, 1, 1.9, 2, 2.9, 3, 9])
    np.testing.assert_allclose(incidence, [0, 0, 0, 1 / 4, 1 / 4, 5 / 12, 5 / 12])
    assert np.isnan(low).tolist() == np.isnan(high).tolist() == [True, True, True, False, False, False, False]
    assert low[3] == curve.ci_low[1] < high[3] == curve.ci_high[1]


def test_when_nobody_is_left_incidence_keeps_its_last_noise_and_loses_its_interval() -> None:
    # Survival 1/2, 0. At 2 the first death answers by (1 + (1/2 - 1) / (1/2))² = 0, the last by 1: (1/2)²/1.
    curve = cumulative_incidence([2, 1], [1, 1])
    np.testing.assert_allclose(curve.incidence, [0.5, 1])
    np.testing.assert_allclose(curve.se, [0.5, 0.5])
    assert np.isnan(curve.ci_high).tolist() == [False, True]
    # A last death of the other cause takes survival to 0 and leaves no noise of its own.
    curve = cumulative_incidence([2, 1], [2, 1])
    np.testing.assert_allclose(curve.incidence, [0.5, 0.5])
    np.testing.assert_allclose(curve.se, [0.5, 0.5])
    assert (curve.ci_low[0], curve.ci_high[1]) == (
        pytest.approx(0.5 ** math.exp(1.959964 / math.log(2)), rel=1e-4),
        pytest.approx(0.5 ** math.exp(-1.959964 / math.log(2)), rel=1e-4),
    )


def _gray(rows: list[tuple[float, int, int]], n_groups: int, rho: float) -> float:
    """Chi-squared by cmprsk's ``crst``, one time and one group after the other; rows are time, cause, group."""
    groups, pooled = range(n_groups), 0.0
    s, f, z = [1.0] * n_groups, [0.0] * n_groups, np.zeros(n_groups)
    steps, running = [], np.zeros((n_groups, n_groups))
    for time in sorted({t for t, cause, _ in rows if cause}):
        at_risk = [sum(t >= time and g == k for t, _, g in rows) for k in groups]
        d1, d2 = ([sum(row == (time, cause, k) for row in rows) for k in groups] for cause in (1, 2))
        h = np.array([at_risk[k] / s[k] if at_risk[k] else 0.0 for k in groups])
        weight, deaths = (1 - pooled) ** rho, sum(d1)
        risk = h * (1 - np.array(f))
        z += [weight * (d1[k] - deaths * risk[k] / risk.sum()) if at_risk[k] else 0.0 for k in groups]
        a = np.array([[weight * h[i] * ((i == k) - h[k] / h.sum()) for k in groups] for i in groups])
        running = running + a * deaths / (h.sum() * (1 - pooled))
        pooled += deaths / h.sum()
        for k in filter(at_risk.__getitem__, groups):
            new = s[k] * (1 - (d1[k] + d2[k]) / at_risk[k])
            left = (1 - pooled) / new if new > 0 else 0.0
            noise = _noise(s[k], h.sum(), at_risk[k], deaths, d2[k])
            steps.append((k, a[:, k], running[:, k], left, noise))
            f[k] += s[k] * d1[k] / at_risk[k]
            s[k] = new
    variance = np.zeros((n_groups, n_groups))
    for k, now, until, left, (of_cause, of_others) in steps:
        ahead = running[:, k] - until
        variance += of_cause * np.outer(now + (1 - left) * ahead, now + (1 - left) * ahead)
        variance += of_others * np.outer(left * ahead, left * ahead)
    return float(z[:-1] @ np.linalg.pinv(variance[:-1, :-1]) @ z[:-1])


def _noise(survival: float, total: float, at_risk: int, deaths: int, others: int) -> tuple[float, float]:
    """Variance of the increments of the cause (under the pooled hazard) and of the other causes, ties corrected."""
    tied = 1 - (deaths - 1) / (total * survival - 1) if deaths > 1 else 1.0
    tied_others = 1 - (others - 1) / (at_risk - 1) if others > 1 else 1.0
    return tied * survival * deaths / (total * at_risk), tied_others * survival**2 * others / at_risk**2


def _tied(seed: int, n: int, n_groups: int) -> list[tuple[float, int, int]]:
    rng = np.random.default_rng(seed)
    group = rng.integers(0, n_groups, n)
    times = rng.geometric(0.1 + 0.05 * group)
    return list(zip(times.astype(float).tolist(), rng.integers(0, 3, n).tolist(), group.tolist(), strict=True))


@pytest.mark.parametrize(
    ("seed", "n", "n_groups", "rho"), [(0, 40, 2, 0.0), (1, 60, 3, 1.0), (2, 30, 2, 1.0), (3, 50, 3, 0.5)]
)
def test_grays_test_with_ties_and_weights_is_that_of_cmprsk_in_loops(
    seed: int, n: int, n_groups: int, rho: float
) -> None:
    rows = _tied(seed, n, n_groups)
    times, codes, groups = zip(*rows, strict=True)
    found = gray_test(times, codes, groups, rho=rho)
    assert found.chi2 == pytest.approx(_gray(rows, n_groups, rho), rel=1e-9)
    assert found.df == n_groups - 1


def test_what_cannot_be_compared_or_read_is_named() -> None:
    with pytest.raises(NotEstimableError, match="too_few_groups"):
        gray_test(EXIT, CAUSE, ["a"] * 8)
    for wrong in ({"group": [None, *"abababa"]}, {"group": list("abababab"), "strata": [None, *"xxxxxxx"]}):
        with pytest.raises(ValueError, match="no missing labels"):
            gray_test(EXIT, CAUSE, **wrong)
    for wrong in ({"group": list("abab")}, {"group": list("abababab"), "strata": list("xx")}):
        with pytest.raises(ValueError, match="length of exit, 8"):
            gray_test(EXIT, CAUSE, **wrong)
    with pytest.raises(NotEstimableError, match="no event of cause 3"):
        cumulative_incidence(EXIT, CAUSE, 3)
    for exit_, code, cause, message in (
        ([1, 2], [1], 1, "one length over 0"),
        ([], [], 1, "one length over 0"),
        ([[1.0, 2.0]], [[1, 1]], 1, "one length over 0"),
        ([1, np.inf], [1, 1], 1, "exit must be finite"),
        ([1, -1], [1, 1], 1, "1 times are negative"),
        ([1, 2], [1, 1.5], 1, "whole numbers"),
        ([1, 2], [1, -1], 1, "whole numbers"),
        ([1, 2], [1, np.nan], 1, "whole numbers"),
        ([1, 2], [1, np.inf], 1, "whole numbers"),
        ([1, 2], [1, 1], 0, "cause must be a code over 0"),
        ([1, 2], [1, 1], 1.5, "cause must be a code over 0"),
    ):
        with pytest.raises(ValueError, match=message):
            cumulative_incidence(exit_, code, cause)
