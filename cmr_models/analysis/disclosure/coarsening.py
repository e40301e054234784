"""Numbers given so coarsely that one person more or less does not show: steps, means, counts that lie close together.

A mean of n people moves by at most a few SD / n when one of them leaves, and a survival curve by 1 / n. Two releases,
or two tables of people of whom one is not in the other, give that person's value back if their numbers are finer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from cmr_models.analysis.disclosure.masking import round_counts
from cmr_models.estimates import Z95, wald, wald_concordance

Floats = npt.NDArray[np.float64]

_MEANS = ("mean", "bias")
_SHARES = ("proportion", "proportion_by_tenth", "net_benefit")
RATIOS, CONCORDANCE = ("odds_ratio", "hazard_ratio"), "concordance"
OVER_EXPECTED = "observed_over_expected"
_NULL_OF_AREAS = {"area_under_curve": 0.5, "auc": 0.5, "auc_gain": 0.0}
"""Shares of all pairs of a case and another, and differences of two: measure -> its value where there is no effect."""
_STEPS_OF_SE = 20.0
"""The step of a standard error is a twentieth of it or the next nice number: two digits."""
_STEP_OF_LOG_P, _STEP_OF_P = 0.2, 0.05
_PEOPLE_A_STEP = 2.0
"""A step is what two people move a mean by, if each lies an SD from it; or a survival curve, if each has an event."""


def nice_step(at_least: npt.ArrayLike) -> Floats:
    """The smallest of 1, 2, 5, 10, 20 ... times a power of ten that is not under ``at_least``; NaN for NaN and 0."""
    wanted = np.asarray(at_least, np.float64)
    wanted = np.where(wanted > 0, wanted, np.nan)
    power = 10.0 ** np.floor(np.log10(wanted))
    share = wanted / power
    return np.asarray(power * np.select([share <= 1, share <= 2, share <= 5], [1.0, 2.0, 5.0], 10.0), np.float64)


def to_step(values: npt.ArrayLike, step: npt.ArrayLike) -> Floats:
    """``values`` at the nearest multiple of ``step``; as they are where there is no step."""
    values, step = np.asarray(values, np.float64), np.asarray(step, np.float64)
    rounded = np.round(np.round(values / np.where(step > 0, step, 1.0)) * step, 12)
    return np.asarray(np.where(step > 0, rounded, values), np.float64)


def step_of_mean(n: npt.ArrayLike, sd: npt.ArrayLike) -> Floats:
    """The step of a mean of ``n`` people, in the unit of ``sd``."""
    n, sd = np.asarray(n, np.float64), np.asarray(sd, np.float64)
    return nice_step(_PEOPLE_A_STEP * sd / np.where(n > 0, n, np.nan))


def step_of_share(n: npt.ArrayLike) -> Floats:
    """The step of a share or of survival among ``n`` people."""
    n = np.asarray(n, np.float64)
    return nice_step(_PEOPLE_A_STEP / np.where(n > 0, n, np.nan))


def coarsen(table: pd.DataFrame, base: int | None) -> pd.DataFrame:
    """Means, shares, their gaps and the SD of ratios in steps of two people.

    The standard error and interval of a mean are those of the coarse SD and of the count as it is published, as they
    would tell the exact ones. A share of the counts of its row is not touched: it says what they say.

    Args:
        table: estimates that the gate has masked, with exact counts.
        base: of the counts; None where they are exact.
    """
    if not {"measure", "scale", "se"} <= set(table):
        return table
    table = table.reset_index(drop=True)
    step = np.full(len(table), np.nan)
    ok = (table["status"] == "ok").to_numpy(bool)
    means = np.flatnonzero(ok & (table["measure"].isin(_MEANS) & (table["se"] > 0) & table["n"].notna()).to_numpy(bool))
    step[means] = _coarsen_means(table, means, base)
    shares = np.flatnonzero(ok & table["measure"].isin(_SHARES).to_numpy(bool))
    step[shares] = step_of_share(_people_of_share(table.loc[shares]))
    other = shares[~is_share_of_counts(table.loc[shares])]
    for name in _columns(table, ("estimate", "se", "ci_low", "ci_high", "predicted", "treat_all")):
        table.loc[other, name] = to_step(table.loc[other, name], step[other])
    if "component" in table:
        table = _coarsen_components(table)
    return _coarsen_gaps(_coarsen_units(table), pd.Series(step, table.index).dropna())


def coarsen_fractions(table: pd.DataFrame, base: int) -> pd.DataFrame:
    """``table`` with numbers that are fractions of counts given so that they do not tell the exact ones.

    An area under a curve is a whole number over twice the cases times the others: of the counts that are rounded to
    what is published, mostly one alone explains all its digits. The error of events over expected ones is one over the
    root of the events. So areas have steps of their variance, logs of events over expected ones steps of two events,
    and standard errors two digits; those of events over expected ones are made to fit the published count. Concordances
    are shares of the pairs that their times make comparable, whose number tells no count of people.

    Args:
        table: estimates with exact counts.
        base: of the counts, as they will be published.
    """
    if not {"measure", "scale", "se", "n_events", "z"} <= set(table):
        return table
    table, steps = table.reset_index(drop=True), dict[int, float]()
    known = (table["status"] == "ok") & (table["se"] > 0) & (table["n_events"] > 0)
    rows = np.flatnonzero((known & table["measure"].isin((*_NULL_OF_AREAS, OVER_EXPECTED))).to_numpy(bool)).tolist()
    for row, values in zip(rows, table.loc[rows].to_dict("records"), strict=True):
        steps[row], told = _fraction(values, base)
        for name in [name for name in told if not pd.isna(values[name])]:
            table.loc[row, name] = told[name]
    return _coarsen_gaps(table, pd.Series(steps, dtype=float))


def _fraction(row: Mapping[Any, Any], base: int) -> tuple[float, dict[str, float]]:
    """The step of a row, and its coarse values."""
    measure, se, events = str(row["measure"]), float(row["se"]), float(row["n_events"])
    ratio = measure == OVER_EXPECTED
    step = float(nice_step((_PEOPLE_A_STEP if ratio else 1.0) * min(se**2, se)))
    value = float(to_step(np.log(row["estimate"]) if ratio else row["estimate"], step))
    se *= float(np.sqrt(events / max(float(round_counts(events, base)), 1.0))) if ratio else 1.0
    se = float(to_step(se, nice_step(se / _STEPS_OF_SE)))
    return step, wald(value, se, ratio=ratio, null=0.0 if ratio else _NULL_OF_AREAS[measure])


def coarsen_ratios(table: pd.DataFrame) -> pd.DataFrame:
    """Ratios and concordances in steps that two people make, with the intervals and tests of the steps.

    A person who lies an SD from the mean and has the event moves the log of a ratio by its variance, and a concordance
    by its standard error over the root of the events. So two releases in full tell how many SDs the one whom they
    differ by lies off. All rows are coarse: those that stay as they were would tell of whom he is not.

    Args:
        table: estimates with exact standard errors.

    Reference:
        Cook & Weisberg 1982, Residuals and Influence in Regression, chapter 5 (one-step influence).
    """
    table = table.reset_index(drop=True)
    unit, told, steps = _sd_of_units(table), dict[int, dict[str, float]](), dict[int, float]()
    tested = table["measure"].isin((*RATIOS, CONCORDANCE)) & (table["status"] == "ok") & table["z"].notna()
    chosen = np.flatnonzero(tested & (table["scale"] != "per_unit")).tolist()
    for row, values in zip(chosen, table.loc[chosen].to_dict("records"), strict=True):
        ratio, se = values["measure"] in RATIOS, float(values["se"])
        moved = min(se**2, se) if ratio else se / np.sqrt(values["n_events"])
        steps[row] = float(nice_step(_PEOPLE_A_STEP * moved))
        value = float(to_step(np.log(values["estimate"]) if ratio else values["estimate"], steps[row]))
        se = float(to_step(se, nice_step(se / 2 * (moved / se) ** 2)))
        if not ratio:
            told[row] = wald_concordance(value, se)
            continue
        wider = float(np.log(values["ci_high"] / values["estimate"]) / values["se"] / Z95)  # than normal: pooled ones
        for own, sd in {row: 1.0, **unit.get(row, {})}.items():
            told[own] = wald(value, se * wider, ratio=True, scale=1 / sd) | {"se": se / sd, "z": value / se}
    coarse = pd.DataFrame.from_dict(told, orient="index")
    table.loc[coarse.index, list(coarse)] = coarse
    return _coarsen_tests_of_gaps(_coarsen_gaps(table, pd.Series(steps, dtype=float)), list(steps))


def _sd_of_units(table: pd.DataFrame) -> dict[int, dict[int, float]]:
    """Row of a ratio per SD -> its row per unit, and the SD that the two standard errors tell."""
    keys = _columns(table, ("exposure", "outcome", "model", "measure", "group_by", "group", "covariate_set"))
    names = {"per_sd": "row", "per_unit": "own"}
    parts = [table[table["scale"] == scale].reset_index(names=name) for scale, name in names.items()]
    both = parts[0].merge(parts[1], on=keys, suffixes=("", "_unit"))
    found = zip(both["row"], both["own"], both["se"] / both["se_unit"], strict=True)
    return {int(row): {int(own): float(sd)} for row, own, sd in found}


def _coarsen_tests_of_gaps(table: pd.DataFrame, rows: list[int]) -> pd.DataFrame:
    """p of the gaps between ``rows``: what is left of it, a person does not show in."""
    models = table.loc[rows, "model"].unique()
    gaps = ((table["measure"] == "gap") & table["model"].isin(models)).to_numpy(bool)
    for name, step in (("minus_log10_p", _STEP_OF_LOG_P), ("equivalence_p", _STEP_OF_P)):
        if name in table:
            table.loc[gaps, name] = to_step(table.loc[gaps, name], step)
    return table


def is_share_of_counts(table: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """``(n,)`` whether the estimate of a row is its events over its people."""
    n, events, share = (table[name].to_numpy(float) for name in ("n", "n_events", "estimate"))
    return np.asarray(np.abs(share * n - events) < 1e-6, bool)


def _people_of_share(table: pd.DataFrame) -> Floats:
    """Of how many people an estimate is a share: of all, or if the counts are not its parts, of those with events."""
    whole = is_share_of_counts(table) | (table["measure"] != "proportion").to_numpy(bool)
    return np.asarray(np.where(whole, table["n"], table["n_events"]), np.float64)


def _coarsen_means(table: pd.DataFrame, rows: npt.NDArray[np.intp], base: int | None) -> Floats:
    """Set the coarse means of ``rows`` in ``table``, with what is made of their SDs; returns the steps."""
    n = table["n"].to_numpy(float)[rows]
    shown = n if base is None else round_counts(n, base)
    se = table["se"].to_numpy(float)[rows]
    sd = se * np.sqrt(n)
    step = step_of_mean(n, sd)
    mean, coarse_se = to_step(table["estimate"].to_numpy(float)[rows], step), to_step(sd, step) / np.sqrt(shown)
    before = table["estimate"].to_numpy(float)[rows]
    for name in ("ci_low", "ci_high"):
        table.loc[rows, name] = mean + (table[name].to_numpy(float)[rows] - before) * coarse_se / se
    table.loc[rows, "estimate"], table.loc[rows, "se"] = mean, coarse_se
    for name in _columns(table, ("loa_low", "loa_high", "loa_se", "mean_absolute_error")):
        table.loc[rows, name] = to_step(table[name].to_numpy(float)[rows], step)
    return step


def _coarsen_units(table: pd.DataFrame) -> pd.DataFrame:
    """Ratios per unit, made of those per SD and a coarse SD: the two of them tell the SD to who compares releases."""
    if not (table["scale"] == "per_unit").any():
        return table
    keys = _columns(table, ("exposure", "outcome", "model", "measure", "group_by", "group", "covariate_set"))
    per_sd = table[table["scale"] == "per_sd"].drop_duplicates(keys).set_index(keys)
    rows = np.flatnonzero((table["scale"] == "per_unit") & (table["status"] == "ok"))
    partner = per_sd.reindex(pd.MultiIndex.from_frame(table.loc[rows, keys]))
    se, n = partner["se"].to_numpy(float), partner["n"].to_numpy(float)
    sd = se / table["se"].to_numpy(float)[rows]
    told = to_step(sd, step_of_mean(n, sd))
    for name in ("estimate", "ci_low", "ci_high"):
        table.loc[rows, name] = partner[name].to_numpy(float) ** (1 / told)
    table.loc[rows, "se"] = se / told
    return table


def _coarsen_components(table: pd.DataFrame) -> pd.DataFrame:
    """Parts of a difference of means: in the steps of a mean with their standard error; their shares as shares."""
    n = table["n"].to_numpy(float)
    step = step_of_mean(n, table["se"].to_numpy(float) * np.sqrt(n))
    for name in _columns(table, ("estimate", "se", "ci_low", "ci_high")):
        table[name] = to_step(table[name], step)
    return table.assign(share=to_step(table["share"], step_of_share(n))) if "share" in table else table


def _coarsen_gaps(table: pd.DataFrame, step: pd.Series) -> pd.DataFrame:
    """Gaps in the widest step of the groups they compare."""
    keys = _columns(table, ("exposure", "outcome", "model", "group_by"))
    widest = table.loc[step.index, keys].assign(step=step).groupby(keys, dropna=False)["step"].max()
    gaps = np.flatnonzero((table["measure"] == "gap") & table["model"].isin(table.loc[step.index, "model"]))
    found = widest.reindex(pd.MultiIndex.from_frame(table.loc[gaps, keys])).to_numpy(float)
    for name in _columns(table, ("estimate", "se", "ci_low", "ci_high", "null_q95")):
        table.loc[gaps, name] = to_step(table.loc[gaps, name].to_numpy(float), found)
    return table


def _columns(table: pd.DataFrame, names: Sequence[str]) -> list[str]:
    return [name for name in names if name in table]


def lie_close(counts: npt.ArrayLike, minimum: int) -> bool:
    """Whether two of ``counts`` differ by 1 to ``minimum - 1``, so that their difference is a small cell."""
    found = np.asarray(counts, np.float64)
    gaps = np.diff(np.unique(found[np.isfinite(found)]))
    return bool(((gaps > 0) & (gaps < minimum)).any())
