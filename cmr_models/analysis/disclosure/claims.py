"""What each published table and figure says: which cells it counts, and between which numbers each of them lies.

A *cell* is people of a population in a group: everybody, those measured, those with a phenotype, those asked about a
condition, those at risk. Whoever publishes numbers gives its claims about cells; :mod:`.audit` puts the claims of all
tables and figures of a release together. Which populations contain which is said here once, for all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from cmr_models.analysis.disclosure.masking import SUPPRESSED

Floats = npt.NDArray[np.float64]
Cell = tuple[str, str, str, str]
"""Population, grouping, group and what is counted of them (``n``, ``n_events``)."""
CELL = ("exposure", "outcome", "population", "group_by", "group", "what")
COLUMNS = (*CELL, "low", "high", "hidden", "small", "parts")
"""Claims: a cell, the least and the most that it may be, whether a table hides it, whether the reason tells that it is
small, and, of a sum, its parts: groups of its own grouping, or whole cells (:data:`Cell`)."""
EVERYBODY = ("overall", "all")
_AT_RISK = dict.fromkeys(("cox_age", "harrell_phenotype", "harrell_adjusted", "uno_adjusted", "calibration"), "at risk")
_POPULATIONS = {
    **_AT_RISK, "logistic": "asked", "auc": "told", "sensitivity": "told",
    "kaplan_meier": "followed",
}  # fmt: skip
"""Model -> population; of another model, people of its own."""
_SURELY_RARE = 4


class Within(NamedTuple):
    """People of the one population are among those of the other."""

    inner: str
    outer: str


CONTAINED = (
    Within("qc_pass|n_events", "studies measured|n"),
    Within("doubted people|n", "doubted|n"),
    Within("mean|n", "qc_pass|n_events"),
    Within("mean|n", "described|n"),
    Within("perfusion measured|n", "perfusion tried|n"),
    Within("perfusion value|n", "perfusion measured|n"),
    Within("mean|n", "perfusion value|n"),
    Within("adjusted_mean|n", "mean|n"),
    Within("told|n", "mean|n"),
    Within("asked|n", "mean|n"),
    Within("asked|n", "told|n"),
    Within("asked|n_events", "told|n_events"),
    Within("followed|n", "mean|n"),
    Within("at risk|n", "followed|n"),
    Within("at risk|n_events", "followed|n_events"),
    Within("curve|n_events", "followed|n_events"),
    *(
        Within(f"{inner}|{what}", f"{outer}|{what}")
        for inner, outer in (
            ("cox_age_imputed", "followed"), ("cox_age_complete", "cox_age_imputed"), ("cox_age_complete", "at risk"),
            ("cox_age_weighted", "cox_age_complete"),
        )
        for what in ("n", "n_events")
    ),
)  # fmt: skip
"""What of what, wherever two cells have the same group: the people of one population are people of the other."""


def nested_sets(sets: Mapping[str, Sequence[str]], primary: str) -> tuple[Within, ...]:
    """The people complete for more covariates are among those complete for fewer.

    Args:
        sets: name -> covariates.
        primary: the set whose populations have no name of their own.
    """
    names = {name: "" if name == primary else f", {name}" for name in sets}
    pairs = [(more, fewer) for more in sets for fewer in sets if more != fewer and set(sets[fewer]) <= set(sets[more])]
    found = [
        Within(f"{population}{names[more]}|{what}", f"{population}{names[fewer]}|{what}")
        for more, fewer in pairs
        for population in ("asked", "at risk")
        for what in ("n", "n_events")
    ]
    outer = {"asked": "told", "at risk": "followed"}
    return (
        *found,
        *(Within(f"{p}{names[name]}|{what}", f"{outer[p]}|{what}") for name in sets if name != primary
          for p in outer for what in ("n", "n_events")),
        *(Within(f"{p}{names[name]}|n", "mean|n") for name in sets if name != primary for p in outer),
    )  # fmt: skip


def limits_of(shown: npt.ArrayLike, rounded_to: npt.ArrayLike, threshold: int) -> tuple[Floats, Floats]:
    """The least and the most that counts may be that are shown; what is under the threshold is not, so 0 is 0.

    Args:
        shown: counts; NaN where hidden.
        rounded_to: the base they are rounded to, halves up; 1 or less: exact.
        threshold: the smallest number that may be published.
    """
    shown, base = np.broadcast_arrays(np.asarray(shown, np.float64), np.asarray(rounded_to, np.float64))
    exact = (base <= 1) | (shown == 0)
    low = np.where(exact, shown, np.maximum(np.ceil(shown - base / 2), threshold))
    high = np.where(exact, shown, np.ceil(shown + base / 2) - 1)
    hidden = np.isnan(shown)
    return np.where(hidden, 0.0, low), np.where(hidden, np.inf, high)


def part_of(inner: Cell, outer: Cell, exposure: str = "") -> list[dict[str, Any]]:
    """Claims that the people of one cell are among those of another, who are these and a hidden rest.

    Where it holds for one exposure or group alone; what always holds is a row of :data:`CONTAINED`.

    Args:
        inner: those who are among the others.
        outer: the others.
        exposure: of both.
    """
    population, group_by, group, what = outer
    # A population of each place: rests are known of some groups, and need not add up to that of everybody.
    beyond = f"{population} {what} beyond {inner[0]} {inner[3]}" + ("" if inner[1] == EVERYBODY[0] else f", {inner[2]}")
    place = {"exposure": exposure, "group_by": group_by, "group": group, "low": 0.0, "high": np.inf}
    whole = {"population": population, "what": what, "parts": (inner, (beyond, group_by, group, "n"))}
    return [place | {"population": beyond, "hidden": True}, place | whole]


def _one(shown: float, rounded_to: float, threshold: int) -> tuple[float, float]:
    low, high = limits_of(shown, rounded_to, threshold)
    return float(low), float(high)


def claims_of(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Claims from rows that need not say what is usual: about nobody's phenotype or outcome, of everybody, ``n``."""
    usual = {"exposure": "", "outcome": "", "group_by": EVERYBODY[0], "group": EVERYBODY[1], "what": "n",
             "hidden": False, "small": False, "parts": ()}  # fmt: skip
    return pd.DataFrame([{**usual, **row} for row in rows], columns=list(COLUMNS))


def together(*claims: pd.DataFrame) -> pd.DataFrame:
    """Claims of several publishers as one table."""
    return pd.concat([part for part in claims if len(part)] or [claims_of([])], ignore_index=True)


def estimates_say(name: str, table: pd.DataFrame, threshold: int) -> pd.DataFrame:
    """Claims of a table of estimates: people and events of every row, and of the groups that a gap compares.

    Args:
        name: of the table.
        table: as it is published.
        threshold: the smallest number that may be published.
    """
    if name == "survival_curves":
        return _curves_say(table, threshold)
    if name == "flow":
        return flow_says(table, threshold)
    if not {"exposure", "outcome", "model", "group", "n", "n_events", "se"} <= set(table) or "years" in table:
        return claims_of([])
    table = table[table["scale"] != "per_unit"].reset_index(drop=True)
    table = table.assign(population=_population(table), rounded_to=table.get("rounded_to", 1.0))
    gaps = (table["measure"] == "gap") & (table["model"] != "decomposition")
    parts = [_counted(table[(table["measure"] != "gap")], threshold), _gaps_say(table, gaps, threshold)]
    return together(*parts, _doubted_say(table, threshold))


def _doubted_say(table: pd.DataFrame, threshold: int) -> pd.DataFrame:
    """How many people are doubted: every row of a table says the same; NaN is a small number."""
    if "n_doubted" not in table or table.empty:
        return claims_of([])
    n, base = float(table["n_doubted"].iloc[0]), float(table["rounded_to"].iloc[0])
    low, high = _one(n, base, threshold) if np.isfinite(n) else (1.0, threshold - 1.0)
    return claims_of([{"population": "doubted people", "low": low, "high": high, "hidden": not np.isfinite(n)}])


def _population(table: pd.DataFrame) -> pd.Series:
    """The population of each row; sets of covariates that are not the first have people of their own, and so has every
    measure of a model that is not known here: events of one are all, of another those up to a horizon.
    """
    named = {within.inner.split("|")[0] for within in CONTAINED} | {within.outer.split("|")[0] for within in CONTAINED}
    own = (table["model"] + " " + table["measure"]).where(~table["model"].isin(named), table["model"])
    population = table["model"].map(_POPULATIONS).fillna(own)
    if "threshold" in table:  # of net benefit: those over it
        population = population + " " + table["threshold"].astype(str)
    if "covariate_set" not in table or table.empty:
        return population
    own = table["covariate_set"].astype(str)
    return population.where(own == own.iloc[0], population + ", " + own)


def _counted(table: pd.DataFrame, threshold: int) -> pd.DataFrame:
    suppressed = (table["status"] == SUPPRESSED).to_numpy(bool)
    n_hidden, events_hidden = table["n"].isna().to_numpy(bool), table["n_events"].isna().to_numpy(bool)
    told_small = suppressed & (table["reason"] == "small_cell").to_numpy(bool)
    counts_events = (table["measure"] != "mean").to_numpy(bool)
    small_events = told_small & (table["n"] > _SURELY_RARE * threshold).to_numpy(bool)
    small_events &= (table["measure"] != "proportion").to_numpy(bool)
    found = []
    for what, hidden, small in (
        ("n", n_hidden, told_small & n_hidden),
        ("n_events", events_hidden & suppressed & counts_events, small_events),
    ):
        low, high = limits_of(table[what], table["rounded_to"], threshold)
        cells = table[["exposure", "outcome", "population", "group_by", "group"]]
        said = {"low": low, "high": high, "hidden": hidden, "small": small, "parts": _no_parts(len(table))}
        found.append(cells.assign(what=what, **said))
    return pd.concat(found, ignore_index=True)


def _no_parts(n: int) -> npt.NDArray[np.object_]:
    """``(n,)`` claims that are not about a sum over some groups."""
    found = np.empty(n, object)
    found.fill(())
    return found


def _gaps_say(table: pd.DataFrame, gaps: pd.Series, threshold: int) -> pd.DataFrame:
    """A gap counts the people and events of all groups that it compares: those of its model with an estimate."""
    keys = ["exposure", "outcome", "model", "group_by"]
    ok = table[(table["status"] == "ok") & ~gaps]
    groups = {key: tuple(sorted(set(labels))) for key, labels in ok.groupby(keys, sort=False)["group"]}
    rows = []
    for row in table[gaps & table["n"].notna()].to_dict("records"):
        compared = groups.get(tuple(row[key] for key in keys), ())
        about = {key: row[key] for key in ("exposure", "outcome", "population", "group_by")}
        for what in ("n", "n_events") if compared else ():
            low, high = _one(row[what], row["rounded_to"], threshold)
            name = f"gap of {row['model']}"
            rows.append({**about, "group": name, "what": what, "low": low, "high": high, "parts": compared})
    return claims_of(rows)


def _curves_say(table: pd.DataFrame, threshold: int) -> pd.DataFrame:
    """People of each quartile, and the events up to the last point that its curve shows."""
    if table.empty:
        return claims_of([])
    keys = ["exposure", "outcome", "group_by", "group"]
    by = table.assign(rounded_to=table.get("rounded_to", 1.0)).groupby(keys, sort=False)
    shown = by.agg(n=("n", "max"), last=("n_events", "max"), rounded_to=("rounded_to", "max")).reset_index()
    rows = []
    for row in shown.to_dict("records"):
        about = {key: row[key] for key in keys}
        n, last = _one(row["n"], threshold, threshold), _one(row["last"], row["rounded_to"], threshold)
        rows.append({**about, "population": "followed", "low": n[0], "high": n[1], "hidden": np.isnan(row["n"])})
        end = {"low": last[0], "high": last[1] if np.isfinite(row["last"]) else 0.0}
        rows.append({**about, "population": "curve", "what": "n_events", **end})
    both = (("followed", "n"), ("followed", "n_events"), ("curve", "n_events"))
    rows += [
        {"exposure": exposure, "outcome": outcome, "population": p, "what": what, "low": 0.0, "high": np.inf}
        for exposure, outcome in sorted({(row["exposure"], row["outcome"]) for row in rows})
        for p, what in both
    ]
    return claims_of(rows)


def flow_says(table: pd.DataFrame, threshold: int) -> pd.DataFrame:
    """Claims of the flow of people: steps of one list add up to its people.

    Args:
        table: ``outcome, group_by, step, n`` and optionally ``status``, ``reason``, ``rounded_to``; NaN where hidden.
        threshold: the smallest number that may be published.
    """
    rows = []
    for row in table[table["group_by"] != EVERYBODY[0]].to_dict("records"):
        low, high = _one(row["n"], row.get("rounded_to", 1.0), threshold)
        of_people = row["group_by"] in ("first visits", "first visits, covariates")
        rows.append({
            "population": "qc_pass" if of_people else f"flow, {row['group_by']}",
            "group_by": f"{row['group_by']}, {row['outcome']}", "group": row["step"], "low": low, "high": high,
            "hidden": np.isnan(row["n"]), "small": np.isnan(row["n"]) and row.get("reason") == "small_cell",
        })  # fmt: skip
    return claims_of(rows)
