"""Whether a second model stays within the limits of the settings, overall and in every group that may be shown."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from cmr_models.analysis.disclosure.gate import GateRules
from cmr_models.analysis.disclosure.masking import round_counts
from tasks.evaluation.comparison_settings import CompareSettings
from tasks.evaluation.comparison_tables import VERDICTS

HOLDS, BROKEN, NOT_JUDGED = "holds", "broken", "not_judged"


class Counts(NamedTuple):
    """Studies of which the first model gives a phenotype, and those among them of which the second does not.

    ``of`` is the phenotype that loses the largest share; empty where none loses any.
    """

    measured: int
    lost: int
    of: str = ""


def judge(
    summary: pd.DataFrame,
    counts: Counts,
    speeds: tuple[float | None, float | None],
    limits: CompareSettings,
    rules: GateRules,
) -> pd.DataFrame:
    """Every limit with what was found: a table by the contract ``VERDICTS``.

    A limit without a number overall, or with a masked one, is not judged. Groups are judged where they are shown.

    Args:
        summary: after masking.
        counts: of studies that the second model loses.
        speeds: images/s of the first and of the second model; None where not recorded.
        limits: of the settings.
        rules: the smallest number of studies that may be told, and how counts are rounded.
    """
    rows: list[dict[str, Any]] = []
    for structure, allowed in limits.dice_min.items():
        chosen = summary[(summary["measure"] == "dice") & (summary["of"] == structure) & (summary["phase"] != "all")]
        rows += _rows("dice_min", structure, chosen, allowed, at_least=True)
    for phenotype, allowed in limits.bias_max.items():
        chosen = summary[(summary["measure"] == "bias") & (summary["of"] == phenotype)]
        rows += _rows("bias_max", phenotype, chosen, allowed, at_least=False)
    for phenotype, allowed in limits.agreement_max.items():
        ends = summary["measure"].isin(("loa_low", "loa_high")) & (summary["of"] == phenotype)
        rows += _rows("agreement_max", phenotype, summary[ends & (summary["group_by"] == "")], allowed, at_least=False)
    rows.append(_lost(counts, limits.lost_max, rules))
    if limits.speed_min > 0:
        first, second = speeds
        ratio = second / first if first and second else math.nan
        rows.append(_row("speed_min", "", ratio, limits.speed_min, ratio >= limits.speed_min))
    return pd.DataFrame(rows, columns=list(VERDICTS.names)).astype(VERDICTS.pandas_types)


def stops(verdicts: pd.DataFrame) -> pd.DataFrame:
    """The verdicts for which a promotion stops."""
    return verdicts[verdicts["verdict"] != HOLDS]


def _rows(limit: str, of: str, chosen: pd.DataFrame, allowed: float, *, at_least: bool) -> Iterator[dict[str, Any]]:
    overall = chosen[chosen["group_by"] == ""]
    known = np.isfinite(overall["value"].to_numpy(float))
    if not known.any():
        yield _row(limit, of, math.nan, allowed, holds=False)
    for row in [*overall[known].to_dict("records"), *chosen[chosen["group_by"] != ""].to_dict("records")]:
        if math.isfinite(row["value"]):
            holds = row["value"] >= allowed if at_least else abs(row["value"]) <= allowed
            about = {name: row[name] for name in ("view", "phase", "group_by", "group")}
            yield _row(limit, of, row["value"], allowed, holds) | about


def _lost(counts: Counts, allowed: float, rules: GateRules) -> dict[str, Any]:
    """The share of studies lost: of the counts as they are rounded, and none where few are lost, or few are not."""
    share = counts.lost / counts.measured if counts.measured else math.nan
    row = _row("lost_max", counts.of, share, allowed, share <= allowed)
    if any(0 < n < rules.threshold for n in (counts.lost, counts.measured - counts.lost)):
        return row | {"found": math.nan}
    lost, measured = round_counts([counts.lost, counts.measured], rules.base or 1)
    return row | {"found": lost / measured} if measured else row


def _row(limit: str, of: str, found: float, allowed: float, holds: bool) -> dict[str, Any]:
    verdict = NOT_JUDGED if math.isnan(found) else HOLDS if holds else BROKEN
    return {
        "limit": limit, "of": of, "view": "", "phase": "all", "group_by": "", "group": "all", "found": found,
        "allowed": allowed, "verdict": verdict,
    }  # fmt: skip
