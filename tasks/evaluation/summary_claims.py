"""What a published summary of an evaluation says, and of which studies: claims, as those of tables and of the page."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pandas as pd

from cmr_models.analysis.disclosure.claims import EVERYBODY, Cell, claims_of, limits_of, part_of
from cmr_models.analysis.disclosure.gate import GateRules
from cmr_models.analysis.disclosure.masking import SUPPRESSED
from cmr_models.contracts.identifiers import study_key
from cmr_models.estimates import Z95

_MEASURE = ("measure", "of", "view", "phase")
_OF_PAIRS = ("mae", "rmse", "bias", "loa_low", "loa_high", "class_accuracy", "class_mcc")
"""Measures of a quantity told twice: all are of the same studies."""
_NO_MEANS = (
    "rmse", "loa_low", "loa_high", "class_mcc", "f1_macro", "mcc", "auc_macro", "auc", "sensitivity_at_90_specificity",
    "specificity_at_90_sensitivity", "repeat_cv_predicted", "repeat_cv_reference",
)  # fmt: skip
"""Measures that are no mean of a number of each study."""
DOUBTED: Cell = ("studies measured", "state", "doubted", "n")


def studies_counted(cases: pd.DataFrame, name: str) -> dict[tuple[str, str], frozenset[str]]:
    """The studies of an evaluation, of each quantity that is told twice: with both numbers, and all of them.

    Args:
        cases: rows of :mod:`cmr_models.evaluation.cases`, with ``study``.
        name: of the evaluation.
    """
    if "measure" not in cases:
        return {}
    pairs = cases[cases["measure"] == "agreement"]
    keys = pairs["study"].map(study_key)
    both = np.isfinite(pairs["predicted"].to_numpy(float)) & np.isfinite(pairs["reference"].to_numpy(float))
    found = {}
    for key, rows in pairs.groupby(["of", "view", "phase"], sort=False).indices.items():
        of, view, phase = map(str, cast("tuple[str, str, str]", key))
        with_both, _, every = _populations(name, view, phase)
        found[with_both, of] = frozenset(keys.iloc[rows][both[rows]])
        found[every, of] = frozenset(keys.iloc[rows])
    return found


def _populations(name: str, view: str, phase: str) -> tuple[str, str, str]:
    """Names of those with a value, those without one, and all of them."""
    where = "".join(f" {part}" for part in (name, view, "" if phase == "all" else phase) if part)
    return f"evaluated{where}", f"missing{where}", f"looked at{where}"


def summary_says(table: pd.DataFrame, rules: GateRules, name: str = "") -> pd.DataFrame:
    """Claims of a published summary: in every group, studies with a value and without one, and all of them."""
    rows: list[dict[str, Any]] = []
    for exposure, row in zip(exposures_of(table), table.to_dict("records"), strict=True):
        group_by = row["group_by"] or EVERYBODY[0]
        where = (row["view"], row["phase"]) if row["measure"] in _OF_PAIRS else ("", "")
        named = _populations(name, *where)
        place = {"exposure": exposure, "group_by": group_by, "group": row["group"]}
        for population, column in zip(named, ("n", "n_missing"), strict=False):
            low, high = limits_of(row[column], rules.base or 1, rules.threshold)
            limits = {"low": float(low), "high": float(high), "hidden": bool(np.isnan(row[column]))}
            rows.append(place | limits | {"population": population})
        parts = tuple((population, group_by, row["group"], "n") for population in named[:2])
        rows.append(place | {"population": named[2], "low": 0.0, "high": np.inf, "parts": parts})
    return claims_of([*rows, *_doubted_says(table, rules, name)])


def _doubted_says(table: pd.DataFrame, rules: GateRules, name: str) -> list[dict[str, Any]]:
    """Claims of how many of the studies are doubted: some of all the cohort's."""
    if "n_doubted" not in table or table.empty:
        return []
    n = float(table["n_doubted"].iloc[0])
    low, high = limits_of(n, rules.base or 1, rules.threshold)
    own: Cell = (f"doubted {name}", *DOUBTED[1:])
    limits = {"low": float(low), "high": float(high), "hidden": bool(np.isnan(n))}
    return [{"population": own[0], "group_by": own[1], "group": own[2], **limits}, *part_of(own, DOUBTED)]


def exposures_of(table: pd.DataFrame) -> list[str]:
    """What the studies of each row have: a quantity told twice by its name, as in tables; else the measure."""
    pairs = table["measure"].isin(_OF_PAIRS)
    return table["of"].where(pairs, measures_of(table)).astype(str).tolist()


def measures_of(table: pd.DataFrame) -> list[str]:
    """What each row measures, of what, where and when."""
    found: list[str] = table[list(_MEASURE)].astype(str).agg(" ".join, axis=1).tolist() if len(table) else []
    return found


def summary_means(table: pd.DataFrame, rules: GateRules) -> pd.DataFrame:
    """The values that are means, as rows of means; those of hidden groups could be the rest of everybody."""
    rows = table[~table["measure"].isin(_NO_MEANS)]
    reach = (rows["ci_high"] - rows["ci_low"]) / (2 * Z95)
    return pd.DataFrame({
        "exposure": measures_of(rows), "model": "evaluation", "measure": "mean",
        "group_by": rows["group_by"].replace("", EVERYBODY[0]).to_numpy(), "group": rows["group"].to_numpy(),
        "n": rows["n"].to_numpy(float), "estimate": rows["value"].to_numpy(float),
        "se": (rows["sd"] / np.sqrt(rows["n"])).fillna(reach).to_numpy(float),
        "status": np.where(rows["value"].notna() & rows["n"].notna(), "ok", SUPPRESSED),
        "rounded_to": float(rules.base or 1),
    })  # fmt: skip
