"""Survival curves by phenotype quartile, thinned and rounded until they may be published."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from cmr_models.analysis.disclosure.coarsening import step_of_share, to_step
from cmr_models.analysis.disclosure.masking import SUPPRESSED, mask_curve, mask_last_steps, round_counts
from cmr_models.analysis.model_spec import AnalysisSpec
from cmr_models.analysis.people import analysis_outcome, at_risk_rows, complete_rows
from cmr_models.estimates import failed, tidy, unit_of
from cmr_models.estimates.groups import quantile_group
from cmr_models.survival import kaplan_meier

CURVE_COLUMNS = ("years", "n_at_risk")
_NO_NUMBERS = {"n_events": np.nan, "n_at_risk": np.nan}
_HIDDEN = {"n_events": np.nan, "estimate": np.nan, "ci_low": np.nan, "ci_high": np.nan, "status": SUPPRESSED,
           "reason": "small_cell"}  # fmt: skip


def curve_rows(people: pd.DataFrame, outcomes: pd.DataFrame, spec: AnalysisSpec) -> pd.DataFrame:
    """Kaplan-Meier curves in years since imaging, by quantile group of each phenotype, for each condition.

    Deaths from other causes are censored: 1 - survival is the risk where nobody dies of anything else.

    Args:
        people: of :func:`cmr_models.analysis.people.analysis_people`.
        outcomes: the outcome table.
        spec: groups, step and the smallest number that may be published.

    Returns:
        Estimates with ``years`` and ``n_at_risk``, gated: points that would show fewer than ``minimum_cell`` events
        since the last published point or up to the end, or so few at risk, are rows with status ``suppressed``. People
        and numbers at risk are rounded to multiples of ``minimum_cell``, and survival to a step of two people; the
        number at risk is there wherever it is 0 or at least ``minimum_cell``, at thinned points too.
    """
    records: list[dict[str, Any]] = []
    for condition in spec.conditions:
        table = at_risk_rows(analysis_outcome(people, outcomes, condition))
        for exposure in spec.phenotypes:
            rows = complete_rows(table, (exposure,))
            quantile = quantile_group(rows[exposure], spec.curve_groups)
            groups = [f"Q{k + 1}" for k in range(spec.curve_groups)]
            curves = [_curve(rows[quantile == group], spec) for group in groups]
            curves = _hide_last_steps(curves, int(rows["event"].sum()), spec.minimum_cell)
            for group, points in zip(groups, curves, strict=True):
                records += [{**_about(exposure, condition, group), **point} for point in points]
    return tidy(records, extra=CURVE_COLUMNS)


def _about(exposure: str, condition: str, group: str) -> dict[str, Any]:
    return {
        "exposure": exposure,
        "unit": unit_of(exposure),
        "scale": "absolute",
        "outcome": condition,
        "model": "kaplan_meier",
        "measure": "survival",
        "group_by": "quartile",
        "group": group,
    }


def _curve(rows: pd.DataFrame, spec: AnalysisSpec) -> list[dict[str, Any]]:
    if rows.empty:
        return [{"n": 0.0, **_NO_NUMBERS, **failed("no_data")}]
    if len(rows) < spec.minimum_cell:
        return [{"n": np.nan, **_NO_NUMBERS, "status": SUPPRESSED, "reason": "small_cell"}]
    curve = kaplan_meier(rows["follow_up_years"], rows["event"])
    years = _grid(rows["follow_up_years"].to_numpy(float), spec)
    survival, low, high = curve.at(years)
    at_risk, events = curve.at_risk(years), curve.events_until(years)
    allowed = mask_curve(years, at_risk, events, spec.minimum_cell)
    n = float(round_counts(len(rows), spec.minimum_cell))
    if spec.minimum_cell > 1:
        survival, low, high = (to_step(values, step_of_share(n)) for values in (survival, low, high))
    countable = (at_risk == 0) | (at_risk >= spec.minimum_cell)
    shown = np.where(countable, round_counts(at_risk, spec.minimum_cell), np.nan)
    return [
        {
            "n": n,
            "years": float(years[k]),
            "n_at_risk": float(shown[k]),
            "n_events": float(events[k]) if allowed[k] else np.nan,
            "estimate": float(survival[k]) if allowed[k] else np.nan,
            "ci_low": float(low[k]) if allowed[k] else np.nan,
            "ci_high": float(high[k]) if allowed[k] else np.nan,
            "status": "ok" if allowed[k] else SUPPRESSED,
            "reason": "" if allowed[k] else "small_cell",
        }
        for k in range(len(years))
    ]


def _hide_last_steps(curves: list[list[dict[str, Any]]], total: int, minimum: int) -> list[list[dict[str, Any]]]:
    """The curves of one pair without last steps that would show, beside the total of events, how few came after."""
    stay = mask_last_steps([np.array([point["n_events"] for point in points]) for points in curves], total, minimum)
    return [
        [
            point if kept or point["status"] != "ok" else {**point, **_HIDDEN}
            for point, kept in zip(points, of_curve, strict=True)
        ]
        for points, of_curve in zip(curves, stay, strict=True)
    ]


def _grid(follow_up_years: npt.NDArray[np.float64], spec: AnalysisSpec) -> npt.NDArray[np.float64]:
    """Multiples of the step from 0 to the last one that ``minimum_cell`` people reached: where the last of all was seen
    is about one person.
    """
    end = np.sort(follow_up_years)[-spec.minimum_cell]
    return np.asarray(np.arange(int(end / spec.curve_step_years) + 1) * spec.curve_step_years, np.float64)
