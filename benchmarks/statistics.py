"""Speed of the statistics, compared with the named peer on the same data in the same run.

    python -m benchmarks.statistics [--repeats 3] [--only NAME ...] [--out benchmarks/results/statistics.json]

Everything runs on one thread, and the table shows processor seconds, so that a busy machine changes little. Ours is
the fastest of the repeats, the peer runs once. A peer that would take hours is timed on a sample of the work, and the
time is scaled.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from cmr_models.association import scan
from cmr_models.survival import concordance, fit_cox

_COX_PEOPLE, _COX_TERMS, _ROBUST_PEOPLE = 100_000, 20, 20_000
_SCAN_PEOPLE, _SCAN_EXPOSURES, _SCAN_OUTCOMES, _SCAN_COVARIATES = 70_000, 100, 1_500, 12
_DRAWN_AT_ONCE, _PEER_FITS, _TIMES_HERE, _FOREST_PEER = 100, 3, 6, 5_000


def main() -> None:
    """Run the benchmark, print the table, write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", nargs="*", choices=sorted(_CASES), help="run only these cases")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "statistics.json")
    arguments = parser.parse_args()
    results: dict[str, dict[str, float]] = {}
    for name, case in _CASES.items():
        if not arguments.only or name in arguments.only:
            with threadpool_limits(1):
                results[name] = case(arguments.repeats)
            print(name, " ".join(f"{key}={value:.4g}" for key, value in results[name].items()), flush=True)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")


def cohort(n: int, terms: int, *, daily: bool) -> pd.DataFrame:
    """People with ten years of follow-up and 3 % events; times in whole days, or without ties."""
    rng = np.random.default_rng(20)
    table = pd.DataFrame(rng.normal(size=(n, terms)), columns=[f"x{j}" for j in range(terms)])
    hazard = 0.0032 * np.exp(0.3 * table["x0"] - 0.2 * table["x1"])
    time_years = rng.exponential(1 / hazard)
    censored = rng.uniform(8, 12, n)
    exit_days = np.minimum(time_years, censored) * 365.25
    exit_days = np.ceil(exit_days) if daily else exit_days
    return table.assign(exit=exit_days, event=(time_years <= censored).astype(int))


def cox_distinct(repeats: int) -> dict[str, float]:
    """Cox model against lifelines, without ties."""
    return _cox(repeats, daily=False)


def cox_daily(repeats: int) -> dict[str, float]:
    """Cox model against lifelines, with ties (times in days)."""
    return _cox(repeats, daily=True)


def _cox(repeats: int, *, daily: bool) -> dict[str, float]:
    from lifelines import CoxPHFitter

    table = cohort(_COX_PEOPLE, _COX_TERMS, daily=daily)
    terms = [f"x{j}" for j in range(_COX_TERMS)]
    ours, fit = _time(lambda: fit_cox(table, exit="exit", event="event", covariates=terms), repeats)
    theirs, other = _time(lambda: CoxPHFitter().fit(table, "exit", "event"), 1)
    apart = float(np.abs(fit.estimates["coef"].to_numpy() - other.params_.to_numpy()).max())
    return _compare_with_peer(ours, theirs, largest_difference=apart)


def cox_robust(repeats: int) -> dict[str, float]:
    """Cox model with robust standard errors against lifelines, without ties."""
    from lifelines import CoxPHFitter

    table = cohort(_ROBUST_PEOPLE, 5, daily=False)
    terms = [f"x{j}" for j in range(5)]
    ours, fit = _time(lambda: fit_cox(table, exit="exit", event="event", covariates=terms), repeats)
    theirs, other = _time(lambda: CoxPHFitter().fit(table, "exit", "event", robust=True), 1)
    apart = np.abs(fit.estimates["robust_se"].to_numpy() / other.standard_errors_.to_numpy() - 1).max()
    return _compare_with_peer(ours, theirs, largest_relative_difference=float(apart))


def harrell(repeats: int) -> dict[str, float]:
    """Harrell's C with its standard error against that of lifelines without; half of the people have the event."""
    from lifelines.utils import concordance_index

    rng = np.random.default_rng(21)
    time_, event, risk = rng.exponential(size=100_000), rng.random(100_000) < 0.5, rng.normal(size=100_000)
    ours, found = _time(lambda: concordance(time_, event, risk), repeats)
    theirs, other = _time(lambda: concordance_index(time_, -risk, event), 1)
    return _compare_with_peer(ours, theirs, largest_difference=abs(found.value - other))


def uno(repeats: int) -> dict[str, float]:
    """Uno's C with its standard error against that of scikit-survival without; 3 % of the people have the event."""
    from sksurv.metrics import concordance_index_ipcw
    from sksurv.util import Surv

    table = cohort(_COX_PEOPLE, 2, daily=False)
    risk = table["x0"].to_numpy()
    outcome = Surv.from_arrays(table["event"].astype(bool), table["exit"])
    tau = 8 * 365.25
    ours, found = _time(lambda: concordance(table["exit"], table["event"], risk, method="uno", tau=tau), repeats)
    theirs, other = _time(lambda: concordance_index_ipcw(outcome, outcome, risk, tau=tau), 1)
    return _compare_with_peer(ours, theirs, largest_difference=abs(found.value - other[0]))


def scan_logistic(repeats: int) -> dict[str, float]:
    """The whole phenome scan against a loop of statsmodels fits, whose time is scaled."""
    import statsmodels.api as sm

    rng = np.random.default_rng(22)
    z = rng.normal(size=(_SCAN_PEOPLE, _SCAN_COVARIATES))
    x = rng.normal(size=(_SCAN_PEOPLE, _SCAN_EXPOSURES)) + 0.3 * z[:, [0]]
    y = np.concatenate([_cases(z, x, rng) for _ in range(_SCAN_OUTCOMES // _DRAWN_AT_ONCE)], axis=1)
    ours, found = _time(lambda: scan(x, y, z, family="logistic"), 1)
    design = np.column_stack([np.ones(_SCAN_PEOPLE), z])
    theirs, fits = _time(
        lambda: [sm.Logit(y[:, j], np.column_stack([design, x[:, j]])).fit(disp=0) for j in range(_PEER_FITS)], 1
    )
    rows = found.set_index(["outcome", "exposure"])["z"]
    wald = [abs(rows[f"y{j + 1}", f"x{j + 1}"] - fit.tvalues[-1]) for j, fit in enumerate(fits)]
    pairs = _SCAN_EXPOSURES * _SCAN_OUTCOMES
    return _compare_with_peer(ours, theirs * pairs / _PEER_FITS, largest_difference_from_wald_z=max(wald))


def _cases(z: np.ndarray, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Outcomes ``(person, outcome)`` of 0.3 to 10 % of the people."""
    share = rng.uniform(0.003, 0.1, _DRAWN_AT_ONCE)
    intercept = np.log(share / (1 - share))
    chance = 1 / (1 + np.exp(-(intercept + 0.3 * z[:, [0]] + 0.02 * x[:, [0]])))
    return (rng.random(chance.shape) < chance).astype(np.uint8)


def scan_cox(repeats: int) -> dict[str, float]:
    """The Cox scan on a few outcomes with 3 % events against a loop of our own Cox fits; both times are scaled."""
    rng = np.random.default_rng(23)
    z = pd.DataFrame(rng.normal(size=(_SCAN_PEOPLE, _SCAN_COVARIATES))).add_prefix("z")
    x = pd.DataFrame(rng.normal(size=(_SCAN_PEOPLE, _SCAN_EXPOSURES))).add_prefix("x")
    hazard, censored = 0.003 * np.exp(0.3 * z["z0"] + 0.02 * x["x0"]), rng.uniform(8, 12, _SCAN_PEOPLE)
    failing = rng.exponential(1 / hazard.to_numpy()[:, None], (_SCAN_PEOPLE, _TIMES_HERE))
    outcomes = {
        f"y{j}": pd.DataFrame({"exit": np.minimum(failing[:, j], censored), "event": failing[:, j] <= censored})
        for j in range(_TIMES_HERE)
    }
    ours, found = _time(lambda: scan(x, outcomes, z, family="cox"), 1)
    table = pd.concat([z, x[["x0"]], outcomes["y0"]], axis=1)
    theirs, fit = _time(lambda: fit_cox(table, exit="exit", event="event", covariates=[*z, "x0"]), 1)
    apart = abs(found["z"].iloc[0] - fit.estimates["z"].iloc[-1])
    pairs = _SCAN_EXPOSURES * _SCAN_OUTCOMES
    return _compare_with_peer(ours * _SCAN_OUTCOMES / _TIMES_HERE, theirs * pairs, difference_from_wald_z=apart)


def forest(repeats: int) -> dict[str, float]:
    """A survival forest on a full cohort; that of scikit-survival on a fourteenth of the people, not scaled for it."""
    from sksurv.ensemble import RandomSurvivalForest
    from sksurv.util import Surv

    from cmr_models.prediction import LEARNERS
    from cmr_models.prediction.learners import Times

    table = cohort(_SCAN_PEOPLE, 20, daily=True)
    x, n = table[[f"x{j}" for j in range(20)]].to_numpy(), _FOREST_PEER
    times = Times(np.full(len(x), -np.inf), table["exit"].to_numpy(), table["event"].to_numpy() == 1)
    ours, _ = _time(lambda: LEARNERS["forest"](x, times, np.random.default_rng(0)), 1)
    months = np.ceil(times.exit[:n] / 30.4)
    outcome = Surv.from_arrays(times.event[:n], months)
    peer = RandomSurvivalForest(n_estimators=10, min_samples_leaf=100, low_memory=True, random_state=0)
    theirs, _ = _time(lambda: peer.fit(x[:n], outcome), 1)
    return _compare_with_peer(ours, theirs * 10, peer_people=n, peer_trees_scaled_to=100)


def _time(work: Callable[[], Any], repeats: int) -> tuple[float, Any]:
    """Run ``work`` several times; returns processor seconds of the fastest run, and the result."""
    seconds: list[float] = []
    for _ in range(repeats):
        start = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = work()
        seconds.append(time.process_time() - start)
    return min(seconds), found


def _compare_with_peer(ours_s: float, theirs_s: float, **more: float) -> dict[str, float]:
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"ours_s": ours_s, "peer_s": theirs_s, "times_faster": theirs_s / ours_s, "peak_mb": peak_mb, **more}


_CASES = {
    "cox_distinct": cox_distinct,
    "cox_daily": cox_daily,
    "cox_robust": cox_robust,
    "harrell": harrell,
    "uno": uno,
    "scan_logistic": scan_logistic,
    "scan_cox": scan_cox,
    "forest": forest,
}


if __name__ == "__main__":
    main()
