"""Time of the disclosure gate on a release of the size of a biobank's, on one core.

    python -m benchmarks.disclosure [--exposures 82] [--outcomes 30] [--people 5000] [--out FILE]

Phenotypes, conditions and groups are drawn so that some centres and conditions count few; the counts of every model are
masked and rounded as for a release, and then looked at together. Nothing is fitted: the estimates do not matter here.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path

import numpy as np
import pandas as pd

from cmr_models.analysis.disclosure.audit import hide_determined
from cmr_models.analysis.disclosure.gate import Gate, GateRules

_MODELS = ("logistic", "cox_age", "harrell_phenotype", "harrell_adjusted", "uno_adjusted")
_MEASURES = {"logistic": "odds_ratio", "cox_age": "hazard_ratio"}
_GROUPINGS = {"sex": 2, "age_band": 4, "bmi_class": 5, "ethnicity": 6, "centre": 22}
_MINIMUM = 5


def main() -> None:
    """Draw a release, look at it, print and write the times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--exposures", type=int, default=82)
    parser.add_argument("--outcomes", type=int, default=30)
    parser.add_argument("--people", type=int, default=5000)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "disclosure.json")
    arguments = parser.parse_args()
    found = measure(arguments.exposures, arguments.outcomes, arguments.people)
    print(" ".join(f"{name}={value:.6g}" for name, value in found.items()), flush=True)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")


def measure(exposures: int, outcomes: int, people: int) -> dict[str, float]:
    """Processor seconds of masking and of the look at all tables, the memory, and how much was looked at and hidden."""
    made = release(exposures, outcomes, people, np.random.default_rng(4))
    started = time.process_time()
    gate = Gate(GateRules(_MINIMUM, _MINIMUM))
    tables = {name: gate.table(name, table).assign(rounded_to=float(_MINIMUM)) for name, table in made.items()}
    masked = time.process_time()
    hidden, found = hide_determined(tables, {}, _MINIMUM)
    looked = time.process_time()
    before, after = (
        {name: int((t["status"] == "suppressed").sum()) for name, t in ts.items()} for ts in (tables, hidden)
    )
    return {
        "exposures": exposures,
        "outcomes": outcomes,
        "people": people,
        "rows": sum(len(table) for table in tables.values()),
        "hidden_cells": len(found),
        "hidden_rows_before": sum(before.values()),
        "hidden_rows_after": sum(after.values()),
        "determined_after": int(found["determined"].astype(bool).sum()),
        "seconds_masking": masked - started,
        "seconds_audit": looked - masked,
        "memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


def release(exposures: int, outcomes: int, people: int, rng: np.random.Generator) -> dict[str, pd.DataFrame]:
    """Tables before the gate: associations, hazards and every number by group."""
    groups = _draw_groups(people, rng)
    has = _draw_missing(exposures, people, rng)
    parts = [_means(groups, has)]
    for k in range(outcomes):
        share = 10 ** rng.uniform(-2.8, -0.7)
        ill, event = rng.random(people) < share / 2, rng.random(people) < share
        parts.append(_of_outcome(f"outcome_{k}", groups, has, ill, event))
    by_group = pd.concat(parts, ignore_index=True)
    everybody = by_group[by_group["group_by"] == "overall"]
    made = {
        "associations": everybody[everybody["model"] == "logistic"],
        "hazards": everybody[everybody["model"] == "cox_age"],
        "fairness": by_group,
    }
    return {name: table.reset_index(drop=True) for name, table in made.items()}


def _draw_groups(people: int, rng: np.random.Generator) -> dict[tuple[str, str], np.ndarray]:
    found = {("overall", "all"): np.ones(people, bool)}
    for name, n in _GROUPINGS.items():
        shares = np.geomspace(1, 200, n)
        label = rng.choice(n, size=people, p=shares / shares.sum())
        found |= {(name, f"{name}_{k}"): label == k for k in range(n) if (label == k).any()}
    return found


def _draw_missing(exposures: int, people: int, rng: np.random.Generator) -> np.ndarray:
    """``(people, exposures)``: who has a phenotype; those of one view are missing together."""
    views = rng.random((people, 6)) > rng.uniform(0.001, 0.1, 6)
    own = rng.random((people, exposures)) > rng.choice([0.0, 0.0, 0.002], exposures)
    return np.asarray(views[:, np.arange(exposures) % 6] & own)


def _means(groups: dict[tuple[str, str], np.ndarray], has: np.ndarray) -> pd.DataFrame:
    rows = [
        _row(f"phenotype_{j}", "", "mean", "mean", key, float(n), np.nan)
        for key, inside in groups.items()
        for j, n in enumerate(has[inside].sum(axis=0).tolist())
    ]
    return pd.DataFrame(rows)


def _of_outcome(
    outcome: str, groups: dict[tuple[str, str], np.ndarray], has: np.ndarray, ill: np.ndarray, event: np.ndarray
) -> pd.DataFrame:
    rows = []
    for key, inside in groups.items():
        sets = {True: inside, False: inside & ~ill}
        counts = {asked: has[chosen].sum(axis=0) for asked, chosen in sets.items()}
        cases = {asked: has[chosen & (ill if asked else event)].sum(axis=0) for asked, chosen in sets.items()}
        for model in _MODELS:
            asked, measure = model == "logistic", _MEASURES.get(model, "concordance")
            for j in range(has.shape[1]):
                n, events = float(counts[asked][j]), float(cases[asked][j])
                rows.append(_row(f"phenotype_{j}", outcome, model, measure, key, n, events))
    return pd.DataFrame(rows)


def _row(
    exposure: str, outcome: str, model: str, measure: str, key: tuple[str, str], n: float, events: float
) -> dict[str, object]:
    about = {"exposure": exposure, "outcome": outcome, "model": model, "measure": measure}
    fitted = min(events, n - events) >= 10 or measure == "mean"
    numbers = dict.fromkeys(("estimate", "se", "ci_low", "ci_high"), 1.0 if fitted else np.nan)
    ended = {"status": "ok" if fitted else "failed", "reason": "" if fitted else "too_few_cases"}
    scale = "absolute" if measure in ("mean", "concordance") else "per_sd"
    counts = {"group_by": key[0], "group": key[1], "n": n, "n_events": events}
    return {**about, "scale": scale, **counts, **numbers, **ended}


if __name__ == "__main__":
    main()
