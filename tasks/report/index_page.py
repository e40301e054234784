"""The page to publish: its facts, figures and tables, numbered in the order in which they appear."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pandas as pd

from cmr_models.phenotypes.quality import RULES
from tasks.report import flow
from tasks.report.counts import Counts, are_rounded
from tasks.report.distributions import FEWEST_BINNED, distribution_counts, distribution_figure, distribution_rows
from tasks.report.estimate_figures import Q_LEVEL, QUANTILES, forest, group_comparison, survival, volcano
from tasks.report.methods import doubted_sentence
from tasks.report.naming import band_words, full_name, group_words, reason_words, short_name, words
from tasks.report.pages import MISSING, clean_text, number
from tasks.report.perfusion_summary import perfusion_counts
from tasks.report.selection import FEWEST_CURVES, FEWEST_STEPS, gap_rows, group_panels, leading_pairs, survival_panels
from tasks.report.tables import ReportInputs, ReportTables, records
from tasks.sources.listing import unpack_advice

CONTENTS = (
    ("flow", "Cohort flow"),
    ("phenotypes", "Phenotypes"),
    ("associations", "Prevalent disease"),
    ("risk", "Incident disease and death"),
    ("fairness", "By group"),
    ("quality", "Quality control"),
    ("methods", "Methods"),
    ("tables", "Tables"),
)
_TABLE_ROWS, _GAP_ROWS, _DISCRIMINATION_ROWS = 25, 20, 30
_PHENOTYPES_PER_OUTCOME = 3
_GROUP_PAIRS = 3
_DISCRIMINATION_MODELS = {
    "harrell_phenotype": "Harrell C, phenotype",
    "harrell_adjusted": "Harrell C, adjusted",
    "uno_adjusted": "Uno C, adjusted",
}
_GROUP_MODELS = {
    "cox_age": ("Hazard ratio per SD", True),
    "harrell_phenotype": ("Harrell C of the phenotype alone", False),
    "adjusted_mean": ("Mean adjusted to common age, sex and body size", False),
    "qc_pass": ("Proportion of studies that were measured", False),
}
_SIZE = re.compile(rb'width="([0-9.]+)pt" height="([0-9.]+)pt"')


class Figures:
    """Figures of one page: numbered as they are added; files by name; sentences on those with nothing to show."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.shown: dict[str, dict[str, Any]] = {}
        self.left_out: list[str] = []

    def add(self, name: str, content: bytes | None, caption: str) -> None:
        """Add a figure, unless there was nothing to draw."""
        if content is None:
            return
        size = _SIZE.search(content)
        width, height = (round(float(value) * 4 / 3) for value in size.groups()) if size else (900, 500)
        number = len(self.shown) + 1
        self.files[name] = content
        self.shown[name] = {
            "name": name,
            "number": number,
            "caption": caption,
            "alt": caption.split(". ")[0],
            "width": width,
            "height": height,
        }


def index_values(tables: ReportTables, settings: ReportInputs, counts: Counts) -> tuple[dict[str, Any], Figures]:
    """Values of the template, and its figures.

    Args:
        tables: what the page is made from.
        settings: of the report.
        counts: how counts are shown.
    """
    figures = Figures()
    minimum, described = settings.minimum_cell, tables.described
    steps = flow.cohort_flow(tables.steps, counts, tables.phenotypes)
    states = flow.measured_states(tables.phenotypes, counts)
    _add_distributions(figures, tables, counts)
    _add_estimates(figures, tables, minimum)
    flags = flow.flag_counts(tables.outcomes, tables.phenotypes, RULES)
    groups = _add_groups(figures, tables, minimum)
    values = {
        "title": clean_text(settings.report.title),
        "contents": CONTENTS,
        "flow": steps,
        "first_box": _first_box(tables),
        "has_images": tables.has_images,
        "not_taken": list(tables.not_taken.items()),
        "unpack": unpack_advice(tables.not_taken),
        "described": described_sentence(tables, counts),
        "left_before_analysis": flow.left_before_analysis(tables.people_flow, counts),
        "abstract": _abstract(steps, states, tables, counts),
        "facts": _facts(steps, states, tables, settings, counts),
        "states_sentence": sentence_on_states(counts.text(len(tables.measured)), states),
        "rounded": counts.rounded,
        "doubted": doubted_sentence(tables.estimates).strip(),
        "absent": _absent(tables),
        "minimum": minimum,
        "hidden": f"< {minimum}",
        "distributions": _distribution_rows(tables, counts) if len(described) else [],
        "ratios": {name: _ratio_rows(tables, name, minimum) for name in ("associations", "hazards")},
        "discrimination_models": list(_DISCRIMINATION_MODELS.values()),
        "discrimination": _discrimination_rows(tables, minimum),
        "gaps": _gap_table(tables),
        "group_blocks": groups,
        "quality": _quality_rows(flow.quality_table(flags, counts)),
        "shown_of": _row_limits(tables),
        "tables": _table_numbers(),
        "figures": figures.shown,
        "figures_left_out": figures.left_out,
        "group_figures": [figures.shown[name] for name in figures.shown if name.startswith("group_")],
    }
    return values, figures


def counts_of(tables: ReportTables, minimum: int) -> Counts:
    """How every count on the page is shown: rounded if the estimates are, or if any of them would tell a small one."""
    flags = flow.flag_counts(tables.outcomes, tables.phenotypes, RULES)
    known = [
        *flow.flow_counts(tables.steps, tables.phenotypes),
        *distribution_counts(tables.described),
        *flags["n_judged"].astype(float),
        *perfusion_counts(tables.perfusion).values(),
    ]
    if tables.people_flow is not None:
        known += tables.people_flow["n"].astype(float).tolist()
    return Counts.of(known, minimum, rounded=are_rounded(tables.estimates))


def _table_numbers() -> dict[str, int]:
    names = ("distributions", "associations", "hazards", "discrimination", "gaps", "quality")
    return {name: k for k, name in enumerate(names, start=1)}


def _absent(tables: ReportTables) -> dict[str, str]:
    names = (
        "phenotypes",
        "participants",
        "associations",
        "hazards",
        "discrimination",
        "survival_curves",
        "fairness",
    )
    return {name: tables.absent.get(name, "") for name in names}


def _abstract(steps: Mapping[str, Any], states: list[dict[str, Any]], tables: ReportTables, counts: Counts) -> str:
    text = f"The archive holds {steps['text']} studies."
    if not tables.has_images:
        text = f"The table of phenotypes holds {steps['text']} studies; this cohort has no images of them."
    text += f" {sentence_on_states(counts.text(len(tables.measured)), states)}"
    pairs = len(tables.estimates.get("associations", ())) + len(tables.estimates.get("hazards", ()))
    if pairs:
        text += " Phenotypes were tested against prevalent disease, incident disease and death, and every estimate "
        text += "was repeated by group."
    return text


def sentence_on_states(measured: str, states: list[dict[str, Any]]) -> str:
    """How many studies were measured, and how many of them passed, in a sentence; counts have passed the gate."""
    if not states:
        return "No study was measured."
    texts = {row["code"]: row["text"] for row in states}
    if texts["doubted"] == "0":
        return f"{measured} were measured, and all of them passed quality control."
    if set(texts.values()) == {flow.NOT_SHOWN}:
        return f"{measured} were measured; how many of them passed is not shown."
    if flow.NOT_SHOWN in texts.values():
        few = "doubted" if texts["passed"] == flow.NOT_SHOWN else "passed"
        return f"{measured} were measured, of which {texts[few]} {'are ' if few == 'doubted' else ''}{few}."
    return f"{measured} were measured, of which {texts['passed']} passed and {texts['doubted']} are doubted."


def _facts(
    steps: Mapping[str, Any],
    states: list[dict[str, Any]],
    tables: ReportTables,
    settings: ReportInputs,
    counts: Counts,
) -> list[tuple[str, str, bool]]:
    facts = [
        (_first_box(tables), f"{steps['text']}", False),
        ("Measured", counts.text(len(tables.measured)), False),
    ]
    facts += [(f"of these, {row['title']}", row["text"], False) for row in states]
    facts += [(name, text, False) for name, text in flow.totals_left(steps, counts).items()]
    pairs = tables.estimates.get("hazards")
    if pairs is not None:
        facts.append(("Outcomes", f"{pairs['outcome'].nunique():,}", False))
    if tables.has_images:
        facts.append(("Segmentation model", clean_text(settings.model), True))
    return facts


def _first_box(tables: ReportTables) -> str:
    return "Studies in the archive" if tables.has_images else "Studies in the table"


def _add_distributions(figures: Figures, tables: ReportTables, counts: Counts) -> None:
    described, minimum = tables.described, counts.minimum
    if len(described):
        figures.add(
            "distributions",
            distribution_figure(described, counts),
            "Distribution of the phenotypes by sex, beside published ranges. Shaded band and dashed line: 95 % "
            "interval and mean of healthy people (Table 1). Below each distribution: median (dot), quartiles (bar) and "
            f"10th to 90th percentile (line), each shown where at least {minimum} people lie on either side. Bins hold "
            f"at least {minimum} people. Where fewer than {FEWEST_BINNED} people were measured, mean (diamond) and "
            "mean ± 1.96 SD (line) are shown instead of the distribution.",
        )


def _distribution_rows(tables: ReportTables, counts: Counts) -> list[dict[str, Any]]:
    """Rows of the table of distributions; each says, like every table of estimates, what was done with doubted ones."""
    done = "taken_in" if tables.include_doubted else "left_out"
    about = {"doubted": done, "n_doubted": _doubted_count(tables, counts)}
    return [row | about for row in distribution_rows(tables.described, counts)]


def _doubted_count(tables: ReportTables, counts: Counts) -> str:
    states = {row["code"]: row["text"] for row in flow.measured_states(tables.phenotypes, counts)}
    return states.get("doubted", "0")


def described_sentence(tables: ReportTables, counts: Counts) -> str:
    """What the numbers of groups of people did with studies that are doubted."""
    n = _doubted_count(tables, counts)
    if n == "0":
        return "No study is doubted."
    n = "some" if n == flow.NOT_SHOWN else n
    return f"{'They take in' if tables.include_doubted else 'They leave out'} {n} studies that are doubted."


def _add_estimates(figures: Figures, tables: ReportTables, minimum: int) -> None:
    filled = f"Filled: q < {Q_LEVEL} within the family of tests."
    intervals = f"95 % intervals. Blue: q < {Q_LEVEL} within the family of tests. In brackets: number of"
    associations, hazards = tables.estimates.get("associations"), tables.estimates.get("hazards")
    if associations is not None:
        title = "Odds ratio per SD of the phenotype (95 % interval, log scale)"
        figures.add("volcano", volcano(associations, "Odds ratio per SD of the phenotype (log scale)"),
                    f"Phenotypes and prevalent disease: effect and evidence. {filled}")  # fmt: skip
        figures.add("forest", forest(associations, title), f"Odds ratios of prevalent disease. {intervals} cases.")
    if hazards is not None:
        title = "Hazard ratio per SD of the phenotype (95 % interval, log scale)"
        figures.add("hazards_volcano", volcano(hazards, "Hazard ratio per SD of the phenotype (log scale)"),
                    f"Phenotypes, incident disease and death: effect and evidence. {filled}")  # fmt: skip
        figures.add(
            "hazards",
            forest(hazards, title),
            f"Hazard ratios of incident disease and death. {intervals} events.",
        )
    figures.add(
        "survival",
        survival(survival_panels(tables.estimates, minimum)),
        f"Kaplan-Meier curves of each outcome by {_quantile_word(tables)} of the phenotype with the strongest "
        f"evidence, with 95 % bands, where at least {FEWEST_CURVES} curves have {FEWEST_STEPS} steps or more. Each "
        f"step of a curve stands for at least {minimum} events. Numbers at "
        f"risk are rounded to multiples of {minimum}; ≥ means that only the number at a later time may be shown, a dot "
        "that no number may be shown. Deaths from other causes are censored.",
    )


def _quantile_word(tables: ReportTables) -> str:
    """The word for the groups of the survival curves: quartile, or what the settings ask for."""
    curves = tables.estimates.get("survival_curves")
    return QUANTILES.get(0 if curves is None else curves["group"].nunique(), "group")


def _add_groups(figures: Figures, tables: ReportTables, minimum: int) -> list[dict[str, Any]]:
    """Add figures of every number by group; returns the same numbers as tables."""
    fairness = tables.estimates.get("fairness")
    if fairness is None:
        return []
    leading = leading_pairs(tables.estimates, _GROUP_PAIRS)
    blocks = []
    for model, (title, ratio) in _GROUP_MODELS.items():
        pairs = {
            "qc_pass": [("", "")],
            "adjusted_mean": [(name, "") for name in ("lvef_pct", "lvedv_ml", "rvef_pct")],
        }
        panels = group_panels(fairness, model, pairs.get(model, leading))
        named = [(_pair_title(pair, title), rows) for pair, rows in panels]
        figure = group_comparison(named, title, ratio=ratio)
        figures.add(f"group_{model}", figure, _group_caption(model, title))
        if figure is None and named:
            figures.left_out.append(f"{title}: no two groups have enough people or events to be compared.")
        blocks += [
            {"title": title if name == title else f"{title}: {name}", "rows": _group_rows(rows, minimum)}
            for name, rows in named
        ]
    return blocks


def _pair_title(pair: tuple[str, str], title: str) -> str:
    exposure, outcome = pair
    if not exposure:
        return title
    return f"{short_name(exposure)}, {words(outcome).lower()}" if outcome else short_name(exposure)


def _group_caption(model: str, title: str) -> str:
    text = f"{title}, by group, with 95 % intervals. Dashed line: everybody."
    if model == "harrell_phenotype":
        text += " Groups differ in the range of their ages, so a lower value does not mean a worse measurement."
    text += " Where a group has no number, the reason is given; groupings and pairs without any number to compare are "
    return text + "left out."


def _ratio_rows(tables: ReportTables, name: str, minimum: int) -> list[dict[str, str]]:
    table = tables.estimates.get(name)
    if table is None:
        return []
    rows = table[(table["scale"] == "per_sd") & (table["group_by"] == "overall")]
    rows = rows.sort_values("minus_log10_p", ascending=False, kind="stable", na_position="last").head(_TABLE_ROWS)
    return [_estimate_cells(row, minimum) for row in records(rows)]


def _estimate_cells(row: Mapping[str, Any], minimum: int) -> dict[str, str]:
    """One row of estimates as text; a suppressed count is always shown as suppressed."""
    hidden = f"< {minimum}" if row["reason"] == "small_cell" else "hidden"
    suppressed = row["status"] == "suppressed"
    digits = 3 if row["measure"] in ("concordance", "proportion", "survival") else 2
    return {
        "exposure": full_name(row["exposure"]),
        "outcome": words(row["outcome"]),
        "group": band_words(row["group"]),
        "n": _count(row["n"], hidden if suppressed else "withheld"),
        "n_events": _count(row["n_events"], hidden) if suppressed else number(row["n_events"], 0),
        "estimate": number(row["estimate"], digits),
        "interval": _interval(row, digits),
        "evidence": number(row["minus_log10_p"], 1),
        "q": _q(row["q"]),
        "status": "" if row["status"] == "ok" else reason_words(row["reason"] or row["status"]),
    }


def _count(value: float, withheld: str) -> str:
    """A count, or why it is not shown. Every row has a count, so a missing one was withheld."""
    return withheld if pd.isna(value) else number(value, 0)


def _interval(row: Mapping[str, Any], digits: int) -> str:
    if pd.isna(row["ci_low"]) or pd.isna(row["ci_high"]):
        return MISSING
    return f"{number(row['ci_low'], digits)} to {number(row['ci_high'], digits)}"


def _q(value: float) -> str:
    if pd.isna(value):
        return MISSING
    return f"{value:.3f}" if value >= 0.001 else "<0.001"


def _discrimination_rows(tables: ReportTables, minimum: int) -> list[dict[str, Any]]:
    table = tables.estimates.get("discrimination")
    if table is None:
        return []
    shown = table[(table["group_by"] == "overall") & table["model"].isin(_DISCRIMINATION_MODELS)]
    rows = []
    for outcome, exposure in _discriminating_pairs(shown):
        of_pair = shown[(shown["outcome"] == outcome) & (shown["exposure"] == exposure)]
        by_model = {row["model"]: row for row in records(of_pair)}
        first = _estimate_cells(next(iter(by_model.values())), minimum)
        cells = [_concordance_cell(by_model.get(model), minimum) for model in _DISCRIMINATION_MODELS]
        rows.append({**{name: first[name] for name in ("outcome", "exposure", "n", "n_events")}, "cells": cells})
    return rows


def _discriminating_pairs(rows: pd.DataFrame) -> list[tuple[str, str]]:
    """(outcome, exposure): for each outcome, the phenotypes with the highest concordance on their own, best first."""
    alone = rows[rows["model"] == "harrell_phenotype"].sort_values("estimate", ascending=False, kind="stable")
    best = alone.groupby("outcome", sort=False).head(_PHENOTYPES_PER_OUTCOME)
    order = {outcome: k for k, outcome in enumerate(rows["outcome"].drop_duplicates())}
    best = best.sort_values("outcome", key=lambda column: column.map(order), kind="stable")
    return list(best[["outcome", "exposure"]].itertuples(index=False, name=None))[:_DISCRIMINATION_ROWS]


def _concordance_cell(row: Mapping[str, Any] | None, minimum: int) -> dict[str, Any]:
    if row is None:
        return {"text": MISSING, "muted": True}
    cells = _estimate_cells(row, minimum)
    if cells["status"]:
        return {"text": cells["status"], "muted": True}
    return {"text": f"{cells['estimate']} ({cells['interval']})", "muted": False}


def _gap_table(tables: ReportTables) -> list[dict[str, Any]]:
    fairness = tables.estimates.get("fairness")
    if fairness is None:
        return []
    titles = {"logistic": "Odds ratio per SD", "cox_age": "Hazard ratio per SD", **_DISCRIMINATION_MODELS,
              "mean": "Mean", "adjusted_mean": "Adjusted mean", "qc_pass": "Proportion measured"}  # fmt: skip
    return [
        {
            "model": titles.get(row["model"], words(row["model"])),
            "exposure": full_name(row["exposure"]) if row["exposure"] else "",
            "outcome": words(row["outcome"]),
            "group_by": group_words(row["group_by"]),
            "gap": number(row["estimate"], 3),
            "between": band_words(row.get("gap_groups") or ""),
            "null": number(row.get("null_q95"), 3),
            "evidence": number(row["minus_log10_p"], 1),
            "q": _q(row["q"]),
            "without": band_words(row.get("not_estimable") or "").replace(";", ", "),
            "found": bool(row["q"] < Q_LEVEL),
        }
        for row in records(gap_rows(fairness, _GAP_ROWS))
    ]


def _group_rows(rows: pd.DataFrame, minimum: int) -> list[dict[str, Any]]:
    cells: list[dict[str, Any]] = []
    for group_by, of_grouping in rows.groupby("group_by", sort=False):
        for k, row in enumerate(records(of_grouping)):
            heading = group_words(str(group_by)) if k == 0 else ""
            cells.append({**_estimate_cells(row, minimum), "heading": heading})
    return cells


def _quality_rows(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            **row,
            "hidden": pd.isna(row["n_events"]),
            "judged": number(row["n"], 0),
            "share": MISSING if pd.isna(row["share"]) else f"{100 * row['share']:.1f} %",
        }
        for row in rows
    ]


def _row_limits(tables: ReportTables) -> dict[str, str]:
    limits = {
        "associations": _TABLE_ROWS,
        "hazards": _TABLE_ROWS,
        "discrimination": _DISCRIMINATION_ROWS,
        "gaps": _GAP_ROWS,
    }
    texts = {}
    for name, limit in limits.items():
        table = tables.estimates.get("fairness" if name == "gaps" else name)
        n = 0 if table is None else _row_count(table, name)
        if name == "discrimination" and n:
            texts[name] = f", of the {_PHENOTYPES_PER_OUTCOME} phenotypes with the highest concordance for each outcome"
            continue
        texts[name] = f", {limit} of {n:,}" if n > limit else ""
    return texts


def _row_count(table: pd.DataFrame, name: str) -> int:
    if name == "gaps":
        return int(((table["measure"] == "gap") & (table["model"] != "mean")).sum())
    overall = table[table["group_by"] == "overall"]
    if name == "discrimination":
        return len(overall[["outcome", "exposure"]].drop_duplicates())
    return int((overall["scale"] == "per_sd").sum())
