"""Competing causes by hand: incidence with ties, Gray's test with a weight, and the counts both stand on."""

import math

import numpy as np
import pytest

from cmr_models.estimates import NotEstimableError
from cmr_models.survival import cumulative_incidence, gray_test

# Eight people, unsorted: two die of cause 1 at 1; two of cause 2 at 2, when one is lost; one of each at 3; one lost at 4.
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
    """Chi-squared by cmprsk's ``crst`` in plain loops; rows are time, cause, group."""
    at_risk = [sum(g == k for _, _, g in rows) for k in range(n_groups)]
    s, f, pooled = [1.0] * n_groups, [0.0] * n_groups, 0.0
    z = [0.0] * n_groups
    answers: list[dict[str, list[list[float]]]] = []
    running = [[0.0] * n_groups for _ in range(n_groups)]
    groups = range(n_groups)
    for time in sorted({t for t, _, _ in rows}):
        d1 = [sum(t == time and c == 1 and g == k for t, c, g in rows) for k in groups]
        d2 = [sum(t == time and c == 2 and g == k for t, c, g in rows) for k in groups]
        if sum(d1) + sum(d2):
            h = [at_risk[k] / s[k] if at_risk[k] else 0.0 for k in groups]
            risk = [h[k] * (1 - f[k]) for k in groups]
            weight = (1 - pooled) ** rho
            for k in groups:
                if at_risk[k]:
                    z[k] += weight * (d1[k] - sum(d1) * risk[k] / sum(risk))
            a = [[weight * h[i] * ((i == k) - h[k] / sum(h)) for k in groups] for i in groups]
            for i in groups:
                for k in groups:
                    running[i][k] += a[i][k] * sum(d1) / (sum(h) * (1 - pooled))
            after = pooled + sum(d1) / sum(h)
            noise1, noise2, left = [0.0] * n_groups, [0.0] * n_groups, [0.0] * n_groups
            for k in groups:
                if not at_risk[k]:
                    continue
                new = s[k] * (1 - (d1[k] + d2[k]) / at_risk[k])
                left[k] = (1 - after) / new if new > 0 else 0.0
                tied = 1 - (sum(d1) - 1) / (sum(h) * s[k] - 1) if sum(d1) > 1 else 1.0
                noise1[k] = tied * s[k] * sum(d1) / (sum(h) * at_risk[k])
                tied = 1 - (d2[k] - 1) / (at_risk[k] - 1) if d2[k] > 1 else 1.0
                noise2[k] = tied * s[k] ** 2 * d2[k] / at_risk[k] ** 2 if new > 0 else 0.0
                f[k] += s[k] * d1[k] / at_risk[k]
                s[k] = new
            pooled = after
            c = [list(line) for line in running]
            answers.append({"a": a, "c": c, "left": [left], "noise1": [noise1], "noise2": [noise2]})
        for t, _, g in rows:
            at_risk[g] -= t == time
    variance = np.zeros((n_groups, n_groups))
    for at in answers:
        for k in groups:
            left, noise1, noise2 = (at[name][0][k] for name in ("left", "noise1", "noise2"))
            ahead = [running[i][k] - at["c"][i][k] for i in groups]
            one = np.array([at["a"][i][k] + (1 - left) * ahead[i] for i in groups])
            two = np.array([left * ahead[i] for i in groups])
            variance += np.outer(one, one) * noise1 + np.outer(two, two) * noise2
    score = np.array(z[:-1])
    return float(score @ np.linalg.pinv(variance[:-1, :-1]) @ score)


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
