"""Concordance, Brier score and ROC areas against published values, brute force, bootstrap and the other engines."""

import os
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cmr_models.association import delong
from cmr_models.survival import brier, concordance, fit_cox, kaplan_meier, predict_survival

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from sklearn.metrics import roc_auc_score
    from sksurv.datasets import load_gbsg2
    from sksurv.metrics import brier_score, integrated_brier_score
    from sksurv.util import Surv


@pytest.fixture(scope="module")
def gbsg2() -> pd.DataFrame:
    table, outcome = load_gbsg2()
    numbers = {
        "horTh": (table["horTh"] == "yes").astype(float),
        "menostat": (table["menostat"] == "Post").astype(float),
        "tgrade": table["tgrade"].astype(str).str.len().astype(float),
    }
    return table.assign(**numbers, time=outcome["time"], event=outcome["cens"])


def _pairs_in_loops(
    time: np.ndarray, event: np.ndarray, risk: np.ndarray, entry: np.ndarray
) -> tuple[float, float, tuple[int, int, int]]:
    n = len(time)
    in_all, won, counts = np.zeros(n), np.zeros(n), [0, 0, 0]
    for i in np.flatnonzero(event):
        later = (time > time[i]) | ((time == time[i]) & ~event)
        for j in np.flatnonzero(later & (entry < time[i])):
            points = float(risk[i] > risk[j]) + 0.5 * float(risk[i] == risk[j])
            for k in (i, j):
                in_all[k] += 1
                won[k] += points
            counts = [counts[0] + 1, counts[1] + int(points == 1), counts[2] + int(points == 0.5)]
    value = won.sum() / in_all.sum()
    influence = (won - value * in_all) / (in_all.sum() / 2)
    return float(value), float(np.sqrt((influence**2).sum())), (counts[0], counts[1], counts[2])


@pytest.mark.parametrize("seed", range(6))
def test_concordance_is_that_of_all_pairs_in_loops(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = 50
    entry = rng.integers(0, 10, n) + 0.5 * (seed % 2) * rng.integers(0, 2, n)
    time, event, risk = entry + rng.integers(1, 15, n), rng.random(n) < 0.5, rng.integers(0, 6, n).astype(float)
    for start in (entry, np.full(n, -np.inf)):
        ours = concordance(time, event, risk, entry=start)
        value, se, counts = _pairs_in_loops(time, event, risk, start)
        assert ours.value == pytest.approx(value, abs=1e-12)
        assert ours.se == pytest.approx(se, abs=1e-12)
        assert (ours.n_pairs, ours.concordant, ours.tied_risk) == counts


def test_concordance_in_strata_pools_their_pairs() -> None:
    rng = np.random.default_rng(7)
    time, event, risk = rng.exponential(size=90), rng.random(90) < 0.6, rng.normal(size=90)
    label = rng.integers(0, 3, 90)
    parts = [concordance(time[label == k], event[label == k], risk[label == k]) for k in range(3)]
    whole = concordance(time, event, risk, strata=label)
    assert whole.concordant == sum(part.concordant for part in parts)
    assert whole.n_pairs == sum(part.n_pairs for part in parts)


def test_the_error_of_unos_index_is_that_of_the_bootstrap() -> None:
    rng = np.random.default_rng(8)
    n = 250
    risk = rng.normal(size=n)
    time, limit = rng.exponential(np.exp(-risk)), rng.exponential(2, n)
    exit, event = np.minimum(time, limit), time <= limit
    draws = [rng.integers(0, n, n) for _ in range(300)]
    values = [concordance(exit[i], event[i], risk[i], method="uno", tau=2.0).value for i in draws]
    assert concordance(exit, event, risk, method="uno", tau=2.0).se == pytest.approx(np.std(values), rel=0.2)


def test_brier_score_of_a_cox_model_is_as_published(gbsg2: pd.DataFrame) -> None:
    terms = ["age", "estrec", "horTh", "menostat", "pnodes", "progrec", "tgrade", "tsize"]
    fit = fit_cox(gbsg2, exit="time", event="event", covariates=terms)
    found = brier(gbsg2["time"], gbsg2["event"], predict_survival(fit, [1825.0]), [1825.0])
    assert found.scores.loc[0, "brier"] == pytest.approx(0.208817407492645, abs=3e-6)


def test_brier_score_of_the_nottingham_index_is_as_published(gbsg2: pd.DataFrame) -> None:
    index = 0.02 * gbsg2["tsize"] + 1 + gbsg2["tgrade"]
    group = np.digitize(index, [3.4, np.nextafter(5.4, 6)])
    times = 365.0 * np.arange(1, 6)
    predicted = np.empty((len(gbsg2), 5))
    for g in np.unique(group):
        rows = gbsg2[group == g]
        predicted[group == g] = kaplan_meier(rows["time"], rows["event"]).at(times)[0]
    found = brier(gbsg2["time"], gbsg2["event"], predicted, times).scores["brier"]
    r = [0.0762922458520448, 0.182536421174199, 0.220017747254941, 0.234133800146671, 0.233822955042198]
    np.testing.assert_allclose(found, r, atol=1e-7)


def test_brier_score_and_its_integral_agree_with_scikit_survival() -> None:
    rng = np.random.default_rng(9)
    time, event = np.ceil(rng.exponential(8, 200)), rng.random(200) < 0.6
    times = np.arange(1.0, 13.0)
    predicted = np.exp(-np.outer(rng.uniform(0.02, 0.2, 200), times))
    ours = brier(time, event, predicted, times)
    outcome = Surv.from_arrays(event, time)
    np.testing.assert_allclose(ours.scores["brier"], brier_score(outcome, outcome, predicted, times)[1], atol=1e-12)
    assert ours.ibs == pytest.approx(integrated_brier_score(outcome, outcome, predicted, times), abs=1e-12)


def test_the_scaled_brier_score_of_the_common_curve_is_zero() -> None:
    rng = np.random.default_rng(10)
    time, event = rng.exponential(8, 100), rng.random(100) < 0.6
    curve = kaplan_meier(time, event).at([2.0, 4.0])[0]
    assert brier(time, event, np.tile(curve, (100, 1)), [2.0, 4.0]).scaled_ibs == pytest.approx(0, abs=1e-12)


def test_rossi_baseline_hazard_with_ties_agrees_with_the_sum_of_martingale_residuals(gbsg2: pd.DataFrame) -> None:
    fit = fit_cox(gbsg2, exit="time", event="event", covariates=["age", "pnodes"], ties="breslow")
    survival = predict_survival(fit, gbsg2["time"])
    expected = -np.log(np.diag(survival))
    assert expected.sum() == pytest.approx(gbsg2["event"].sum(), rel=1e-9)


def test_an_area_under_the_curve_and_its_error_are_those_of_the_definition() -> None:
    rng = np.random.default_rng(11)
    y = rng.integers(0, 2, 120)
    a, b = rng.normal(size=120).round(1) + 0.6 * y, rng.normal(size=120) + 0.3 * y
    kernel = [np.sign(score[y == 1][:, None] - score[y == 0][None, :]) / 2 + 0.5 for score in (a, b)]
    by_case, by_control = (np.array([k.mean(axis=axis) for k in kernel]) for axis in (1, 0))
    covariance = np.cov(by_case) / by_case.shape[1] + np.cov(by_control) / by_control.shape[1]
    found = delong(y, a, b)
    assert found.a.auc == pytest.approx(roc_auc_score(y, a), abs=1e-12)
    assert found.a.se == pytest.approx(np.sqrt(covariance[0, 0]), abs=1e-12)
    contrast = np.array([1.0, -1.0])
    assert found.paired is not None
    assert found.paired.se == pytest.approx(np.sqrt(contrast @ covariance @ contrast), abs=1e-12)
    assert found.paired.z == pytest.approx((found.a.auc - roc_auc_score(y, b)) / found.paired.se, abs=1e-9)


def test_asah_interval_is_as_in_r() -> None:
    path = Path(os.environ.get("CMR_STATISTICS_DATA", "")) / "asah.csv"
    if not path.is_file():
        pytest.skip("aSAH (113 rows) ships with R's pROC only; set CMR_STATISTICS_DATA to a folder with asah.csv")
    table = pd.read_csv(path)
    area = delong(table["outcome"] == "Poor", table["ndka"]).a
    expected = [0.501244999271703, 0.611957994579946, 0.722670989888189]
    np.testing.assert_allclose([area.ci_low, area.auc, area.ci_high], expected, atol=1e-7)
