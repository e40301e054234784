"""One gate for everything that is published: masking, rounding, comparison with what was published before, a record.

The record has the fields of ACRO's (Python package ``acro``), so that a checker's tools read it: one entry an output
with status ``pass``, ``fail`` (cells were masked) or ``review`` (a person has to look), what was masked and why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from cmr_models.analysis.disclosure.coarsening import coarsen, is_share_of_counts
from cmr_models.analysis.disclosure.dominance import DOMINATED
from cmr_models.analysis.disclosure.masking import SUPPRESSED, mask_curve, mask_small_cells, round_counts
from cmr_models.estimates import VALUE_COLUMNS
from cmr_models.estimates.proportions import wilson_interval

Bools = npt.NDArray[np.bool_]

DIFFERENCED = "differencing"
COUNTS = ("n", "n_events", "n_at_risk", "n_pairs")
IDENTITY = ("exposure", "outcome", "scale", "model", "metric", "measure", "group_by", "group", "component", "step",
            "covariate_set", "years", "threshold", "population", "what", "of", "view", "phase")  # fmt: skip
"""Columns that name a row of a published table, where it has them."""
_FEWEST_DEGREES = 10  # of freedom left in a model: with fewer, its residuals give people away
_ACRO_VERSION = "0.4"


@dataclass(frozen=True)
class GateRules:
    """What may be published.

    Attributes:
        threshold: the smallest number of people or events; UK Biobank 5, ONS longitudinal study 10, NHS hospital data 8
            (which masks 1 to 7) with base 5.
        base: counts are rounded to multiples of it; None: not rounded.
    """

    threshold: int = 5
    base: int | None = None

    def __post_init__(self) -> None:
        if self.threshold < 1 or (self.base is not None and self.base < 2):
            raise ValueError(f"threshold must be at least 1 and base at least 2, got {self.threshold}, {self.base}")


@dataclass
class Gate:
    """Releases tables, and records what it did to each.

    Attributes:
        rules: what may be published.
        spec_digest: of the analysis.
        entries: one an output, in order.
    """

    rules: GateRules
    spec_digest: str = ""
    entries: list[dict[str, Any]] = field(default_factory=list)

    def mask(self, table: pd.DataFrame) -> pd.DataFrame:
        """``table`` with its small cells masked, and the cells that would give them back; nothing is recorded.

        A second time changes nothing: :meth:`table` takes tables that are masked already.
        """
        return mask_small_cells(table, self.rules.threshold, values=_values_of(table))

    def table(
        self,
        name: str,
        table: pd.DataFrame,
        *,
        earlier: Mapping[str, pd.DataFrame] | None = None,
        sensitive: bool = False,
    ) -> pd.DataFrame:
        """A table as it may be published.

        Args:
            name: of the output.
            table: rows with ``n`` and, where there are any, ``n_events``; masked already or not.
            earlier: digest -> the same table as published by other runs.
            sensitive: a person is to look at it whatever it shows.

        Returns:
            A copy: small cells masked, and cells that would give them back; cells that, rounded as they are published,
            differ from an earlier publication by fewer than ``threshold`` people masked (reason ``differencing``);
            means coarse enough not to show one person; counts rounded.
        """
        masked = self.mask(table if "n_events" in table else table.assign(n_events=np.nan))
        few = _few_degrees(masked)
        differenced = self._find_differences(masked, earlier or {})
        masked = hide(masked, differenced | few, np.where(differenced, DIFFERENCED, "small_cell"))
        masked = hide(masked, _gaps_of_hidden(masked), np.full(len(masked), "secondary", object))
        released = coarsen(masked, self.rules.base) if self.rules.threshold > 1 else masked
        released = released if self.rules.base is None else _round_table(released, self.rules.base)
        released = released if "n_events" in table else released.drop(columns="n_events")
        self._record(name, released, sensitive, "table")
        return released

    def curve(self, name: str, points: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
        """Survival or incidence curves as they may be drawn: steps of at least ``threshold`` events.

        Args:
            name: of the output.
            points: ``years, n_at_risk, n_events`` (cumulative), ``estimate`` ...; ascending times within ``by``.
            by: columns that name a curve.

        Returns:
            A copy in which points that may not be shown are masked (as all that the table masked already), and counts
            rounded to ``base``; numbers at risk, without one, to ``threshold``.
        """
        released = points.reset_index(drop=True)
        if "status" not in released:
            released = released.assign(status="ok", reason="")
        shown = released[released["status"] == "ok"]
        hidden = np.zeros(len(released), bool)
        for _, rows in shown.groupby(list(by), sort=False):
            allowed = mask_curve(rows["years"], rows["n_at_risk"], rows["n_events"], self.rules.threshold)
            hidden[rows.index[~allowed]] = True
        released = hide(released, hidden, np.full(len(released), "small_cell", object))
        released = coarsen(released, self.rules.base) if self.rules.threshold > 1 else released
        for column in sorted(set(COUNTS) & set(released)):
            base = self.rules.base or (self.rules.threshold if column == "n_at_risk" else None)
            released[column] = released[column] if base is None else round_counts(released[column], base)
        self._record(name, released, False, "survival plot")
        return released

    def amend(self, name: str, released: pd.DataFrame) -> None:
        """Record an output again, of which more was hidden because of what other outputs show."""
        (before,) = [entry for entry in self.entries if entry["uid"] == name]
        self.entries.remove(before)
        self._record(name, released, "sensitive phenotype" in before["comments"], before["properties"]["method"])

    def acro(self, timestamp: str = "", files: Mapping[str, str] | None = None) -> dict[str, Any]:
        """The record as ACRO writes ``results.json``.

        Args:
            timestamp: of the run.
            files: output -> its file.
        """
        results = {}
        for k, entry in enumerate(self.entries):
            file = {"name": (files or {}).get(entry["uid"], entry["uid"]), "sdc": entry["sdc"]}
            shown = {key: value for key, value in entry.items() if key != "sdc"}
            results[f"output_{k}"] = {**shown, "files": [file], "timestamp": timestamp}
        return {"version": _ACRO_VERSION, "results": results}

    def _find_differences(self, masked: pd.DataFrame, earlier: Mapping[str, pd.DataFrame]) -> Bools:
        close = np.zeros(len(masked), bool)
        for before in earlier.values():
            close |= differs_by_few(self._rounded(masked), self._rounded(before), self.rules.threshold)
        return close

    def _rounded(self, table: pd.DataFrame) -> pd.DataFrame:
        """``table`` with its counts as they are published."""
        base, names = self.rules.base, sorted(set(COUNTS) & set(table))
        return table if base is None else table.assign(**{name: round_counts(table[name], base) for name in names})

    def _entry(self, name: str, released: pd.DataFrame, kind: str, n_masked: int) -> dict[str, Any]:
        reasons = released["reason"][released["status"] == SUPPRESSED]
        counts = {str(reason): int(n) for reason, n in reasons.value_counts().sort_index().items()}
        cells = [[int(row), 0] for row in reasons.index if reasons[row] != DOMINATED]
        dominated = [[int(row), 0] for row in reasons.index if reasons[row] == DOMINATED]
        told = "; ".join(f"{reason}: {n} rows" for reason, n in counts.items())
        summary = f"fail; {told}" if n_masked else "pass"
        sdc = {
            "summary": {"suppressed": n_masked > 0, "threshold": len(cells), "negative": 0, "missing": 0,
                        "p-ratio": 0, "nk-rule": len(dominated), "all-values-are-same": 0},
            "cells": {"threshold": cells, "negative": [], "missing": [], "p-ratio": [], "nk-rule": dominated,
                      "all-values-are-same": []},
        }  # fmt: skip
        return {
            "uid": name,
            "type": "table" if kind == "table" else "survival plot",
            "properties": {
                "method": kind,
                "threshold": self.rules.threshold,
                "rounding_base": self.rules.base,
                "spec_digest": self.spec_digest,
                "rows": len(released),
                "reasons": counts,
            },
            "command": f"Gate.{'table' if kind == 'table' else 'curve'}({name!r})",
            "summary": summary,
            "outcome": {},
            "comments": [],
            "exception": "Masked before release." if n_masked else "",
            "sdc": sdc,
        }

    def _record(self, name: str, released: pd.DataFrame, sensitive: bool, kind: str) -> None:
        n_masked = int((released["status"] == SUPPRESSED).sum())
        entry = self._entry(name, released, kind, n_masked)
        differenced = entry["properties"]["reasons"].get(DIFFERENCED, 0)
        status = "review" if sensitive or differenced else "fail" if n_masked else "pass"
        comments = [f"{differenced} cells differ from an earlier release by a small number"] if differenced else []
        comments += ["sensitive phenotype"] if sensitive else []
        self.entries.append({**entry, "status": status, "comments": comments})


def differs_by_few(table: pd.DataFrame, before: pd.DataFrame, threshold: int) -> Bools:
    """``(n,)`` whether a cell's count differs from the same cell's in another publication by 1 to ``threshold - 1``.

    Two publications whose people overlap, such as before and after an exclusion, give the few in between by
    subtraction; so do people without the event.
    """
    keys = [name for name in IDENTITY if name in table and name in before]
    if not keys or before.duplicated(keys).any():
        raise ValueError(f"cells cannot be matched by {keys}; the earlier table has several rows for a cell")
    earlier = before.set_index(keys)
    at = earlier.index.get_indexer(pd.MultiIndex.from_frame(table[keys]) if len(keys) > 1 else pd.Index(table[keys[0]]))
    close = np.zeros(len(table), bool)
    for name in ("n", "n_events", "rest"):
        now, then = _count(table, name), _count(earlier, name)
        change = np.abs(now - np.where(at >= 0, then[at], np.nan))
        close |= (change > 0) & (change < threshold)
    return close


def follows_closely(table: pd.DataFrame, before: pd.DataFrame, threshold: int) -> Bools:
    """``(n,)`` whether a row has another estimate than in an earlier publication, of about as many people.

    Both publications may be rounded, so that a difference of few shows as one of up to twice ``threshold``.
    """
    keys = [name for name in IDENTITY if name in table and name in before]
    earlier = before.drop_duplicates(keys).set_index(keys)
    at = earlier.index.get_indexer(pd.MultiIndex.from_frame(table[keys]) if len(keys) > 1 else pd.Index(table[keys[0]]))
    known = at >= 0
    then = {name: np.where(known, _count(earlier, name)[at], np.nan) for name in ("n", "estimate")}
    near = ~(np.abs(_count(table, "n") - then["n"]) >= 2 * threshold)
    same = np.isclose(_count(table, "estimate"), then["estimate"], rtol=1e-9, atol=0)
    return np.asarray(known & near & ~same, bool)


def _count(table: pd.DataFrame, name: str) -> npt.NDArray[np.float64]:
    if name == "rest":
        return _count(table, "n") - _count(table, "n_events")
    return table[name].to_numpy(float) if name in table else np.full(len(table), np.nan)


def _gaps_of_hidden(table: pd.DataFrame) -> Bools:
    """Gaps between two groups of which one is hidden: with the estimate of the other they would give its estimate."""
    found = np.zeros(len(table), bool)
    if not {"measure", "gap_groups"} <= set(table):
        return found
    keys = [name for name in ("exposure", "outcome", "model", "group_by") if name in table]
    hidden = table[(table["status"] == SUPPRESSED) & (table["measure"] != "gap")]
    groups = {key: set(rows["group"]) for key, rows in hidden.groupby(keys)}
    gaps = np.flatnonzero((table["measure"] == "gap") & (table["status"] == "ok"))
    for row, key in zip(gaps, table.iloc[gaps][keys].itertuples(index=False, name=None), strict=True):
        between = str(table["gap_groups"].iloc[row])
        found[row] = any(between.startswith(f"{g} - ") or between.endswith(f" - {g}") for g in groups.get(key, ()))
    return found


def _few_degrees(table: pd.DataFrame) -> Bools:
    if "residual_df" not in table:
        return np.zeros(len(table), bool)
    return np.asarray((table["residual_df"] < _FEWEST_DEGREES) & (table["status"] == "ok"), bool)


def _values_of(table: pd.DataFrame) -> list[str]:
    """Columns of numbers that are about the people of the row."""
    further = (
        "predicted",
        "treat_all",
        "loa_low",
        "loa_high",
        "loa_se",
        "mean_absolute_error",
        "share",
        "n_failed",
        "null_q95",
        "equivalence_p",
        "value",
        "sd",
    )
    return [name for name in (*VALUE_COLUMNS, *further, "n_at_risk", "n_pairs") if name in table]


def hide(table: pd.DataFrame, rows: Bools, reason: npt.NDArray[np.str_]) -> pd.DataFrame:
    """Mask rows altogether, and the counts of their like so that no total gives them back."""
    table = table.copy()
    columns = [name for name in dict.fromkeys((*COUNTS, *_values_of(table))) if name in table]
    table.loc[rows, columns] = np.nan
    table.loc[rows, "status"] = SUPPRESSED
    table.loc[rows, "reason"] = reason[rows]
    return table


def _round_table(table: pd.DataFrame, base: int) -> pd.DataFrame:
    """Counts to multiples of ``base``; shares of them from the rounded counts, since they would give the exact ones."""
    table = table.reset_index(drop=True)
    shares = np.zeros(len(table), bool)
    if {"measure", "estimate"} <= set(table):
        shares = (table["measure"] == "proportion").to_numpy(bool) & (table["status"] == "ok").to_numpy(bool)
        shares &= is_share_of_counts(table)
    for name in set(COUNTS) & set(table):
        table[name] = round_counts(table[name], base)
    counts = table[["n", "n_events"]].to_numpy(float) if shares.any() else np.zeros((len(table), 2))
    for row in np.flatnonzero(shares & (counts[:, 0] > 0)):
        n, k = float(counts[row, 0]), float(min(counts[row]))
        low, high = wilson_interval(k, round(n))
        se = float(np.sqrt(k / n * (1 - k / n) / n))
        table.loc[row, ["estimate", "se", "ci_low", "ci_high"]] = (k / n, se, low, high)
    return table
