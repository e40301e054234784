"""Competing risks against R's cmprsk on its own simulated data, scikit-survival, and the definitions in loops."""

import math
import warnings

import numpy as np
import pandas as pd
import pytest

from cmr_models.survival import cumulative_incidence, fit_cox, fit_fine_gray, gray_test

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from sksurv.datasets import load_bmt
    from sksurv.nonparametric import cumulative_incidence_competing_risks

_EXPONENTIAL = np.cumsum([math.log(2) ** i / math.factorial(i) for i in range(1, 17)])


def _scrambled(seed: int, count: int) -> list[int]:
    """R's ``set.seed``: a linear congruential generator, 50 numbers thrown away."""
    values = []
    for step in range(50 + count):
        seed = (69069 * seed + 1) % 2**32
        if step >= 50:
            values.append(seed)
    return values


class _Marsaglia:
    """R's generator ``"Marsaglia-Multicarry"``, the default when cmprsk's tests were recorded."""

    def __init__(self, seed: int) -> None:
        self.first, self.second = _scrambled(seed, 2)

    def uniform(self) -> float:
        self.first = (36969 * (self.first & 65535) + (self.first >> 16)) % 2**32
        self.second = (18000 * (self.second & 65535) + (self.second >> 16)) % 2**32
        return (((self.first << 16) % 2**32) ^ (self.second & 65535)) * 2.328306437080797e-10


class _Mersenne:
    """R's default generator since 1.7."""

    def __init__(self, seed: int) -> None:
        self.bits = np.random.MT19937()
        state = self.bits.state
        state["state"] = {"key": np.array(_scrambled(seed, 625)[1:], np.uint32), "pos": 624}
        self.bits.state = state

    def uniform(self) -> float:
        return int(self.bits.random_raw()) * 2.3283064365386963e-10

    def below(self, limit: int) -> int:
        """R's ``sample`` since 3.6, by rejection."""
        while True:
            value = int(self.uniform() * 65536) & ((1 << math.ceil(math.log2(limit))) - 1)
            if value < limit:
                return value


def _exponential(generator: _Marsaglia | _Mersenne) -> float:
    """R's ``rexp`` (Ahrens & Dieter 1972)."""
    whole, u = 0.0, 2 * generator.uniform()
    while u <= 1:
        whole, u = whole + _EXPONENTIAL[0], 2 * u
    u -= 1
    if u <= _EXPONENTIAL[0]:
        return whole + u
    smallest = min(generator.uniform(), generator.uniform())
    for limit in _EXPONENTIAL[1:]:
        if u <= limit:
            break
        smallest = min(smallest, generator.uniform())
    return whole + smallest * _EXPONENTIAL[0]


@pytest.fixture(scope="module")
def recorded() -> pd.DataFrame:
    """``set.seed(2)`` of cmprsk's tests: time, group, code, stratum of 100 people."""
    generator = _Marsaglia(2)
    times = [_exponential(generator) for _ in range(100)]
    columns = {name: [int(k * generator.uniform()) for _ in range(100)] for name, k in _KINDS.items()}
    return pd.DataFrame({"time": times, **columns})


_KINDS = {"group": 3, "code": 3, "stratum": 2}


def _by_hand(table: pd.DataFrame, coef: np.ndarray, terms: list[str]) -> np.ndarray:
    """The sandwich of Fine & Gray in loops over people."""
    t, code, x = table["t"].to_numpy(), table["e"].to_numpy(), table[terms].to_numpy()
    n, p = x.shape
    g = [np.prod([1 - ((t == u) & (code == 0)).sum() / (t >= u).sum() for u in np.unique(t[t < s])]) for s in t]
    risk = np.exp(x @ coef)

    def weight(i: int, j: int) -> float:
        """Of person i at the exit of j."""
        return 1.0 if t[i] >= t[j] else (g[j] / g[i] if code[i] == 2 else 0.0)

    deaths = np.flatnonzero(code == 1)
    weights = {j: np.array([weight(i, j) for i in range(n)]) for j in deaths}
    total = {j: weights[j] @ risk for j in deaths}
    mean = {j: (weights[j] * risk) @ x / total[j] for j in deaths}
    bread = np.zeros((p, p))
    eta = np.zeros((n, p))
    for j in deaths:
        apart = x - mean[j]
        bread += (apart * (weights[j] * risk)[:, None]).T @ apart / total[j]
        eta -= apart * (weights[j] * risk)[:, None] / total[j]
        eta[j] += apart[j]
    psi = np.zeros((n, p))
    for i in np.flatnonzero(code == 0):
        q = np.zeros(p)
        for k in np.flatnonzero((code == 2) & (t < t[i])):
            for j in deaths[t[deaths] >= t[i]]:
                q += (x[k] - mean[j]) * weights[j][k] * risk[k] / total[j]
        present = (t >= t[i]).sum()
        psi[i] += q / present
        psi[t >= t[i]] -= q / present**2
    inverse = np.linalg.inv(bread)
    return inverse @ (eta + psi).T @ (eta + psi) @ inverse


def _random(seed: int, n: int = 80) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(rng.normal(size=(n, 2)), columns=["a", "b"])
    return table.assign(t=rng.geometric(0.08, n).astype(float), e=rng.integers(0, 3, n))


def test_incidence_and_its_variance_are_those_of_r(recorded: pd.DataFrame) -> None:
    for cause, incidence, variance in (
        (1, [0.2352861, 0.3287068, 0.4247898, 0.4247898], [0.002062112, 0.002957844, 0.004170634, 0.004170634]),
        (2, [0.2567862, 0.3931580, 0.4631781, 0.4911861], [0.002190305, 0.003273248, 0.004004514, 0.004369940]),
    ):
        curve = cumulative_incidence(recorded["time"], recorded["code"], cause)
        at = np.searchsorted(curve.time, [1, 2, 3, 4], "right") - 1
        np.testing.assert_allclose(curve.incidence[at], incidence, atol=6e-8)
        np.testing.assert_allclose(curve.se[at] ** 2, variance, atol=6e-10)


def test_grays_test_in_strata_is_that_of_r(recorded: pd.DataFrame) -> None:
    columns = recorded["time"], recorded["code"], recorded["group"]
    first, second = (gray_test(*columns, cause, strata=recorded["stratum"]) for cause in (1, 2))
    assert (first.chi2, first.p, first.df) == (pytest.approx(3.393977, abs=1e-6), pytest.approx(0.1832345, abs=1e-7), 2)
    assert (second.chi2, second.p) == (pytest.approx(1.989511, abs=1e-6), pytest.approx(0.3698139, abs=1e-7))


def test_grays_test_of_two_groups_is_that_of_r(recorded: pd.DataFrame) -> None:
    rows = recorded[recorded["group"] != 1]
    first, second = (gray_test(rows["time"], rows["code"], rows["group"], c, strata=rows["stratum"]) for c in (1, 2))
    assert (first.chi2, second.chi2) == (pytest.approx(3.5151549, abs=1e-7), pytest.approx(0.1400145, abs=1e-7))


def test_the_example_of_rs_crr_has_its_proper_and_its_naive_error() -> None:
    generator = _Mersenne(10)
    times = [_exponential(generator) for _ in range(200)]
    codes = [generator.below(3) for _ in range(200)]
    draws = np.array([generator.uniform() for _ in range(600)]).reshape(3, 200).T
    table = pd.DataFrame(draws, columns=["x1", "x2", "x3"]).assign(t=times, e=codes)
    fit = fit_fine_gray(table, exit="t", event="e", cause=1, covariates=["x1", "x2", "x3"])
    second = fit.estimates.set_index("term").loc["x2"]
    assert second["se"] == pytest.approx(0.3812, abs=6e-5)
    assert second["naive_se"] == pytest.approx(0.4014, abs=6e-5)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_sandwich_with_ties_is_that_of_the_definition(seed: int) -> None:
    table = _random(seed)
    fit = fit_fine_gray(table, exit="t", event="e", cause=1, covariates=["a", "b"])
    expected = _by_hand(table, fit.estimates["coef"].to_numpy(), ["a", "b"])
    np.testing.assert_allclose(fit.covariance, expected, rtol=1e-6)


def test_without_another_cause_it_is_cox_with_its_sandwich() -> None:
    table = _random(2).assign(e=lambda t: (t["e"] == 1).astype(int))
    ours = fit_fine_gray(table, exit="t", event="e", cause=1, covariates=["a", "b"])
    cox = fit_cox(table, exit="t", event="e", covariates=["a", "b"], ties="breslow")
    np.testing.assert_allclose(ours.estimates["coef"], cox.estimates["coef"], atol=1e-9)
    np.testing.assert_allclose(ours.estimates["se"], cox.estimates["robust_se"], atol=1e-9)
    np.testing.assert_allclose(ours.estimates["naive_se"], cox.estimates["se"], atol=1e-9)


def test_without_censoring_another_cause_is_a_person_who_never_leaves() -> None:
    table = _random(3).assign(e=lambda t: np.maximum(t["e"], 1))
    ours = fit_fine_gray(table, exit="t", event="e", cause=1, covariates=["a", "b"])
    forever = table.assign(t=table["t"].where(table["e"] == 1, 1e6), e=(table["e"] == 1).astype(int))
    cox = fit_cox(forever, exit="t", event="e", covariates=["a", "b"], ties="breslow")
    np.testing.assert_allclose(ours.estimates["coef"], cox.estimates["coef"], atol=1e-9)
    np.testing.assert_allclose(ours.estimates["se"], cox.estimates["robust_se"], atol=1e-9)


def test_bone_marrow_incidence_is_as_published() -> None:
    _, outcome = load_bmt()
    status, time = (outcome[name] for name in outcome.dtype.names)
    found = [cumulative_incidence(time, status, cause).at([72])[0][0] for cause in (1, 2)]
    np.testing.assert_allclose(found, [0.27283899, 0.48126955], atol=1e-7)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_incidence_with_ties_agrees_with_scikit_survival(seed: int) -> None:
    table = _random(seed)
    curve = cumulative_incidence(table["t"], table["e"], 1)
    theirs = cumulative_incidence_competing_risks(
        table["e"].to_numpy(), table["t"].to_numpy(), conf_type="log-log", var_type="Aalen"
    )
    at = np.searchsorted(theirs[0], curve.time)
    np.testing.assert_allclose(curve.incidence, theirs[1][1][at], atol=1e-12)


def test_incidence_of_all_causes_is_one_less_survival() -> None:
    table = _random(5)
    parts = [cumulative_incidence(table["t"], table["e"], cause) for cause in (1, 2)]
    together = cumulative_incidence(table["t"], table["e"] > 0)
    np.testing.assert_allclose(parts[0].incidence + parts[1].incidence, together.incidence, atol=1e-12)


def test_grays_test_holds_its_level() -> None:
    rng = np.random.default_rng(6)
    draws = [
        gray_test(rng.exponential(size=120), rng.integers(0, 3, 120), rng.integers(0, 3, 120)).p < 0.05
        for _ in range(300)
    ]
    assert 0.02 < np.mean(draws) < 0.09
