"""The page of a comparison of two models: numbers that may leave the site, with their limits."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd

from cmr_models.analysis.disclosure.gate import GateRules
from cmr_models.analysis.disclosure.masking import SUPPRESSED, round_counts
from cmr_models.evaluation.two_models import STRUCTURES
from cmr_models.reasons import TABLE
from cmr_models.zoo.licences import licences_words
from tasks.evaluation.comparison_limits import BROKEN, HOLDS, NOT_JUDGED
from tasks.evaluation.release import missing_text
from tasks.report.naming import band_words, full_name, group_words
from tasks.report.pages import MISSING, clean_text, render
from tasks.report.pages import number as shown
from tasks.report.tables import records

LIMIT_TITLES: Final = {
    "dice_min": "Dice, at least",
    "bias_max": "Mean difference, at most ±",
    "agreement_max": "Limit of agreement, at most ±",
    "lost_max": "Share of studies lost, at most",
    "speed_min": "Speed of B by that of A, at least",
}
_STRUCTURES: Final = {
    "lv": "LV blood pool", "myocardium": "LV myocardium", "rv": "RV blood pool", "la": "Left atrium",
    "ra": "Right atrium", "aorta_ascending": "Ascending aorta", "aorta_descending": "Descending aorta",
}  # fmt: skip
_VIEWS: Final = {"sax": "short axis", "lax_2c": "2-chamber", "lax_3c": "3-chamber", "lax_4c": "4-chamber"}
_HIDDEN: Final = "hidden"
_VERDICTS: Final = {HOLDS: "holds", BROKEN: "broken", NOT_JUDGED: "not judged"}
_BY_GROUP: Final = (("dice", "lv"), ("dice", "myocardium"), ("dice", "rv"), ("bias", "lvef_pct"), ("bias", "rvef_pct"))
"""What the tables by group show; everything else by group stands in the published tables."""


class ModelFacts(NamedTuple):
    """What a page says of a model: its name, the licence of each view's weights, images/s (NaN if not recorded)."""

    name: str
    licences: Mapping[str, str]
    images_per_s: float

    @property
    def licence(self) -> str:
        """The licence in words."""
        return licences_words(self.licences)

    @property
    def speed(self) -> str:
        """Images/s as text."""
        return f"{self.images_per_s:,.0f} images/s" if math.isfinite(self.images_per_s) else "not recorded"


def render_page(
    models: Sequence[ModelFacts],
    summary: pd.DataFrame,
    verdicts: pd.DataFrame,
    rules: GateRules,
    unpredicted: Mapping[str, int],
) -> str:
    """The page, from what has passed the gate.

    Args:
        models: A and B.
        summary: by the contract ``COMPARISON``.
        verdicts: by the contract ``VERDICTS``.
        rules: the smallest number of studies that may be shown, and how counts are rounded.
        unpredicted: model -> studies without a prediction of it.
    """
    overall = summary[summary["group_by"] == ""]
    return render(
        "compare.html.j2",
        root="",
        models=[{"letter": letter, **_model(facts)} for letter, facts in zip("AB", models, strict=True)],
        sentence=verdict_sentence(verdicts),
        verdicts=list(verdict_rows(verdicts)),
        phenotypes=list(_phenotype_rows(overall)),
        labels=list(_label_rows(overall)),
        unpaired=", ".join(full_name(str(of)) for of in _unpaired(overall)),
        groups=list(_group_blocks(summary)),
        group_titles=[_title(measure, of) for measure, of in _BY_GROUP],
        minimum=rules.threshold,
        unpredicted={name: _count(n, rules) for name, n in unpredicted.items() if n},
    )


def verdict_sentence(verdicts: pd.DataFrame) -> str:
    """Whether B may take the place of A, in one sentence."""
    counts = verdicts["verdict"].value_counts()
    broken, unjudged = int(counts.get(BROKEN, 0)), int(counts.get(NOT_JUDGED, 0))
    if not broken + unjudged:
        return f"Every limit holds ({len(verdicts)} judged): B may take the place of A."
    parts = [f"{n} {what}" for n, what in ((broken, "broken"), (unjudged, "cannot be judged")) if n]
    return f"B does not take the place of A: of {len(verdicts)} limits, {' and '.join(parts)}."


def name_of_limit(row: Mapping[str, Any]) -> str:
    """What a verdict is about: ``Dice, LV blood pool, short axis, ED``."""
    what = _STRUCTURES.get(row["of"]) or (full_name(row["of"]) if row["of"] else "")
    phase = "" if row["phase"] == "all" else str(row["phase"]).upper()
    return ", ".join(part for part in (what, _VIEWS.get(row["view"], row["view"]), phase) if part)


def _model(facts: ModelFacts) -> dict[str, str]:
    return {"name": clean_text(facts.name), "licence": clean_text(facts.licence), "speed": facts.speed}


def _count(n: int, rules: GateRules) -> str:
    shown = float(round_counts(n, rules.base or 1))
    return f"fewer than {rules.threshold}" if n < rules.threshold else f"{shown:,.0f}"


def verdict_rows(verdicts: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """All limits overall, and those of groups that stop a promotion."""
    told = verdicts[(verdicts["group_by"] == "") | (verdicts["verdict"] != HOLDS)]
    for row in records(told):
        is_hidden = np.isnan(row["found"]) and row["verdict"] != NOT_JUDGED
        digits = 1 if row["limit"] in ("bias_max", "agreement_max") else 3
        yield {
            "limit": LIMIT_TITLES[row["limit"]],
            "of": name_of_limit(row),
            "group": f"{group_words(row['group_by'])}: {band_words(row['group'])}" if row["group_by"] else "all",
            "found": _HIDDEN if is_hidden else shown(row["found"], digits),
            "allowed": f"{row['allowed']:g}",
            "verdict": _VERDICTS[row["verdict"]],
            "stops": row["verdict"] != HOLDS,
        }


def _unpaired(overall: pd.DataFrame) -> list[str]:
    """Phenotypes that no study has by both models: a view was not acquired, or one of them does not label it."""
    bias = overall[overall["measure"] == "bias"]
    return [str(of) for of in bias.loc[(bias["status"] != SUPPRESSED) & ~bias["value"].notna(), "of"]]


def _phenotype_rows(overall: pd.DataFrame) -> Iterator[dict[str, Any]]:
    pairs = overall[overall["measure"].isin(("bias", "loa_low", "loa_high"))]
    for of, rows in pairs[~pairs["of"].isin(_unpaired(overall))].groupby("of", sort=False):
        by_measure = {row["measure"]: row for row in records(rows)}
        bias = by_measure["bias"]
        yield {
            "name": full_name(str(of)),
            "unit": bias["unit"],
            "n": _n(bias),
            "cells": [_interval(by_measure[name], 1 if bias["unit"] != "g/mL" else 2) for name in by_measure],
            "missing": missing_words(bias),
        }


def _label_rows(overall: pd.DataFrame) -> Iterator[dict[str, Any]]:
    found = overall[overall["measure"].isin(("dice", "hd95"))]
    views = sorted(found["view"].unique(), key=lambda view: (view != "sax", view))
    for view, of in itertools.product(views, STRUCTURES):
        rows = found[(found["view"] == view) & (found["of"] == of)]
        if rows.empty:
            continue
        known = {(row["measure"], row["phase"]): row for row in records(rows)}
        dice = known["dice", "all"]
        wanted = [("dice", "ed", 3), ("dice", "es", 3), ("hd95", "ed", 1), ("hd95", "es", 1)]
        yield {
            "name": _STRUCTURES[of],
            "view": _VIEWS.get(view, view),
            "n": _n(dice),
            "cells": [_interval(known[m, p], digits) if (m, p) in known else MISSING for m, p, digits in wanted],
            "missing": missing_words(dice),
        }


def _group_blocks(summary: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """A table a grouping; of Dice the mean of end-diastole and end-systole in the short axis."""
    chosen = summary[(summary["phase"] == "all") & summary["view"].isin(("", "sax"))]
    for by in [name for name in chosen["group_by"].unique() if name]:
        rows = chosen[chosen["group_by"] == by]
        lines = []
        for group in sorted(rows["group"].unique()):
            known = {(row["measure"], row["of"]): row for row in records(rows[rows["group"] == group])}
            cells = [_group_cell(known, measure, of) for measure, of in _BY_GROUP]
            of_dice = known.get(("dice", "lv"))
            lines.append({"group": band_words(group), "n": _n(of_dice) if of_dice else MISSING, "cells": cells})
        is_hidden = all(cell in (_HIDDEN, MISSING) for line in lines for cell in line["cells"])
        yield {"title": group_words(by), "rows": lines, "is_hidden": is_hidden}


def _group_cell(known: Mapping[tuple[str, str], dict[str, Any]], measure: str, of: str) -> str:
    row = known.get((measure, of))
    if row is None:
        return MISSING
    if measure == "dice":
        return _interval(row, 3)
    low, high = known["loa_low", of], known["loa_high", of]
    limits = f" [{shown(low['value'])} to {shown(high['value'])}]" if math.isfinite(low["value"]) else ""
    return f"{_interval(row, 1)}{limits}"


def _title(measure: str, of: str) -> str:
    return f"Dice, {_STRUCTURES[of]}" if measure == "dice" else f"{full_name(of)}, B − A [limits]"


def _interval(row: Mapping[str, Any], digits: int) -> str:
    if row["status"] == SUPPRESSED:
        return _HIDDEN
    if not math.isfinite(row["value"]):
        return MISSING
    if not math.isfinite(row["ci_low"]):
        return shown(row["value"], digits)
    return f"{shown(row['value'], digits)} ({shown(row['ci_low'], digits)} to {shown(row['ci_high'], digits)})"


def _n(row: Mapping[str, Any]) -> str:
    return f"{row['n']:,.0f}" if np.isfinite(row["n"]) else _HIDDEN


def missing_words(row: Mapping[str, Any]) -> str:
    """How many studies lack the number, and why, with the sentences of the codes where there are any."""
    text = missing_text(row["n_missing"], row["reasons"])
    return ", ".join(
        " ".join(TABLE[word].sentence.rstrip(".").lower() if word in TABLE else word for word in part.split(" "))
        for part in text.split(", ")
    )
