"""Selection of the estimates for the report: overall ratios, pairs with the strongest evidence, curves, groups."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from cmr_models.analysis.disclosure.masking import mask_curve

FEWEST_STEPS, FEWEST_CURVES = 3, 2
"""A figure of survival needs as many curves with as many steps each; a single drop tells nothing about time."""


def overall_ratios(table: pd.DataFrame) -> pd.DataFrame:
    """Odds or hazard ratios per SD of everybody together that have a number."""
    chosen = (table["scale"] == "per_sd") & (table["group_by"] == "overall") & (table["status"] == "ok")
    rows = table[chosen & table["measure"].isin(("odds_ratio", "hazard_ratio"))]
    return rows[rows["estimate"].gt(0) & rows["minus_log10_p"].notna()]


def leading_pairs(estimates: Mapping[str, pd.DataFrame], most: int) -> list[tuple[str, str]]:
    """At most ``most`` pairs (exposure, outcome): the strongest hazard ratio of each outcome, strongest first."""
    if "hazards" not in estimates:
        return []
    rows = overall_ratios(estimates["hazards"])
    best = rows.sort_values("minus_log10_p", ascending=False, kind="stable").drop_duplicates("outcome")
    return list(best[["exposure", "outcome"]].head(most).itertuples(index=False, name=None))


def survival_panels(
    estimates: Mapping[str, pd.DataFrame], minimum: int, most: int = 6
) -> list[tuple[str, str, pd.DataFrame]]:
    """Curves of the leading pairs that have enough events; what may not be shown of them is NaN."""
    if "survival_curves" not in estimates:
        return []
    curves = estimates["survival_curves"]
    pairs = leading_pairs(estimates, len(curves)) or _pairs_of(curves)
    panels = []
    for exposure, outcome in pairs:
        rows = curves[(curves["exposure"] == exposure) & (curves["outcome"] == outcome)]
        gated = [gate_curve(of_group, minimum) for _, of_group in rows.groupby("group", sort=True)]
        if sum(_count_steps(curve) >= FEWEST_STEPS for curve in gated) >= FEWEST_CURVES:
            panels.append((str(exposure), str(outcome), pd.concat(gated, ignore_index=True)))
    return panels[:most]


def _count_steps(curve: pd.DataFrame) -> int:
    """How often a curve, gated, falls from one point that is drawn to the next; it begins at 1."""
    drawn = np.r_[1.0, curve.sort_values("years", kind="stable")["estimate"].dropna()]
    return int((np.diff(drawn) < 0).sum())


def gate_curve(rows: pd.DataFrame, minimum: int) -> pd.DataFrame:
    """Mask the points of a curve that may not be shown: steps of fewer than ``minimum`` events, few people at risk."""
    rows = rows.sort_values("years", kind="stable").copy()
    rows.loc[rows["n_at_risk"].between(1, minimum - 1), "n_at_risk"] = np.nan
    counted = rows[rows["n_at_risk"].notna() & rows["n_events"].notna() & (rows["status"] == "ok")]
    counted = counted[~counted["years"].duplicated()]
    allowed = pd.Series(False, index=rows.index)
    if len(counted):
        events = np.maximum.accumulate(counted["n_events"].to_numpy(float))
        allowed[counted.index] = mask_curve(counted["years"], counted["n_at_risk"], events, minimum)
    rows.loc[~allowed, ["estimate", "se", "ci_low", "ci_high", "n_events"]] = np.nan
    return rows


def group_panels(
    fairness: pd.DataFrame, model: str, pairs: list[tuple[str, str]]
) -> list[tuple[tuple[str, str], pd.DataFrame]]:
    """Rows of one model by group, for each of ``pairs``, without the rows of gaps."""
    rows = fairness[(fairness["model"] == model) & (fairness["measure"] != "gap")]
    found = [(pair, rows[(rows["exposure"] == pair[0]) & (rows["outcome"] == pair[1])]) for pair in pairs]
    return [(pair, of_pair) for pair, of_pair in found if len(of_pair)]


def comparable(rows: pd.DataFrame) -> bool:
    """Whether in some grouping at least two groups have a number: else there is nothing to compare."""
    known = rows[rows["estimate"].notna() & (rows["group_by"] != "overall")]
    return bool((known.groupby("group_by")["group"].nunique() >= 2).any())


def gap_rows(fairness: pd.DataFrame, most: int) -> pd.DataFrame:
    """The gaps with the strongest evidence after correction, without those of raw means, which depend on body size."""
    rows = fairness[(fairness["measure"] == "gap") & (fairness["model"] != "mean")]
    rows = rows.sort_values("minus_log10_p", ascending=False, kind="stable", na_position="last")
    return rows.sort_values("q", kind="stable", na_position="last").head(most)


def _pairs_of(curves: pd.DataFrame) -> list[tuple[str, str]]:
    return list(curves[["exposure", "outcome"]].drop_duplicates().itertuples(index=False, name=None))
