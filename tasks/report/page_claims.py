"""What the page to publish says of numbers of studies and people, and whether it tells a small one beside the tables.

The page is drawn from the same functions as it is looked at: the flow, the states of measured studies, the quality
rules, Table 1 and the bins of its figure, the perfusion section, and whom the joins of the statistics left out.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from cmr_models.analysis.disclosure.audit import audit
from cmr_models.analysis.disclosure.claims import EVERYBODY, claims_of, limits_of, together
from cmr_models.analysis.disclosure.gate import differs_by_few
from cmr_models.analysis.disclosure.means import MEAN_COLUMNS
from cmr_models.analysis.disclosure.people_counted import counted_of, differ_by_few
from cmr_models.contracts.identifiers import study_key
from tasks.derive.perfusion_stage import PERFUSION
from tasks.report import flow
from tasks.report.bin_claims import BY_BIN, bins_drawn, bins_relate
from tasks.report.counts import Counts
from tasks.report.distributions import SHOWN, bins_name, shown_means, table_counts
from tasks.report.perfusion_summary import LIMITED, MEASURED, QUANTITATIVE, TRIED, perfusion_summary
from tasks.report.quality_claims import BY_RULE, JUDGED, flags_relate, flags_shown
from tasks.report.tables import ReportTables
from tasks.state.published_beside import Beside

_log = logging.getLogger("cmr_cohort")

PAGE = "report_page"
Row = dict[str, Any]


def page_counts(tables: ReportTables, counts: Counts) -> pd.DataFrame:
    """Every number of the page: its cell, ``n`` (NaN where hidden), ``small`` (told to be) and ``rounded_to``."""
    steps = flow.cohort_flow(tables.steps, counts, tables.phenotypes)
    rows = [
        *_of_flow(steps, len(tables.measured), counts),
        *_of_joins(flow.left_before_analysis(tables.people_flow, counts)),
        *flags_shown(tables, steps, counts),
        *_of_table_1(tables, counts),
        *(bins_drawn(tables.described, counts) if len(tables.described) else ()),
        *_of_perfusion(tables, counts),
    ]
    found = claims_of([{**row, "low": np.nan, "high": np.nan} for row in rows])
    texts = [str(row["text"]) for row in rows]
    shown = [float(text.replace(",", "")) if text[:1].isdigit() else np.nan for text in texts]
    rounded_to = float(counts.minimum if counts.rounded else 1)
    small = [text.startswith("<") for text in texts]
    return found.assign(n=np.array(shown, float), small=small, rounded_to=rounded_to)


def page_says(numbers: pd.DataFrame, minimum: int) -> pd.DataFrame:
    """Claims of the numbers of :func:`page_counts`."""
    low, high = limits_of(numbers["n"], numbers["rounded_to"], minimum)
    return numbers.drop(columns=["n", "rounded_to"]).assign(low=low, high=high, hidden=numbers["n"].isna())


def page_relates(tables: ReportTables, counts: Counts) -> pd.DataFrame:
    """Claims of what is part of what on the page, and adds up, though no number says so."""
    steps = flow.cohort_flow(tables.steps, counts, tables.phenotypes)["steps"]
    rows = [
        *flags_relate(tables),
        *(bins_relate(tables.described, counts) if len(tables.described) else ()),
        *_perfusion_relates(next((step for step in steps if step["title"] == PERFUSION.title), None)),
    ]
    return claims_of(rows)


def page_counted(tables: ReportTables) -> dict[tuple[str, str], frozenset[str]]:
    """The studies of Table 1 with each phenotype."""
    described = tables.described
    if not len(described):
        return {}
    has = described[[name for name in SHOWN if name in described]].notna()
    return counted_of(has.set_axis(described["study"].map(study_key)), "described")


def safe_counts(
    tables: ReportTables, counts: Counts, earlier: list[pd.DataFrame], others: Beside | None = None
) -> tuple[Counts, pd.DataFrame]:
    """How the page shows its counts so that none is determined beside the tables, nor by an earlier page.

    They are rounded if an exact one is determined, or differs by few from that of an earlier page; and what is
    determined all the same is not shown.

    Args:
        tables: what the page is made from, with the published estimates.
        counts: as they would be shown without regard to other tables.
        earlier: numbers of earlier pages, as they were published.
        others: evaluations and comparisons that are published of the cohort.

    Returns:
        The counts, and what all tables and the page say of hidden cells.
    """
    minimum = counts.minimum
    if minimum < 2:
        return counts, audit({}, minimum)
    others = others or Beside()
    # Bins that are drawn are those of the minimum; what it hides is compared too.
    exact = [page_counts(tables, Counts(most)) for most in (1, minimum)]
    differs = any(differs_by_few(now, before, minimum).any() for now in exact for before in earlier)
    if differs or _differ_by_few(tables, others, minimum):
        counts = replace(counts, rounded=True)
    found = _told(tables, counts, others)
    if found["determined"].any():
        counts = replace(counts, rounded=True)
        found = _told(tables, counts, others)
    while found["determined"].any():
        wrong = found[found["determined"].astype(bool)]
        names = {_part_of(row, counts.withheld) for row in wrong.to_dict("records")}
        if names <= counts.withheld:
            _log.warning("the report's page: %d hidden numbers can still be worked out from it and the tables; look at"
                         " reports/assets/tables/hidden_cells.csv before you publish it", len(wrong))  # fmt: skip
            break
        counts = replace(counts, withheld=counts.withheld | names)
        found = _told(tables, counts, others)
    return counts, found


def _differ_by_few(tables: ReportTables, others: Beside, minimum: int) -> bool:
    """Whether Table 1 has a few people more or fewer than an evaluation."""
    described = tables.described
    if not len(described):
        return False
    sexes = described["sex"] if "sex" in described else pd.Series(None, index=described.index, dtype=object)
    groups = pd.DataFrame({"sex": sexes.to_numpy(object)}, index=described["study"].map(study_key))
    return differ_by_few(page_counted(tables), others.counted, groups, minimum)


def _told(tables: ReportTables, counts: Counts, others: Beside) -> pd.DataFrame:
    """What the page, evaluations, and the tables about people and phenotypes alone say of hidden cells."""
    alone = {name: table[table["outcome"] == ""] for name, table in tables.estimates.items() if "outcome" in table}
    page = pd.DataFrame(shown_means(tables.described, counts), columns=list(MEAN_COLUMNS))
    figures = together(page_says(page_counts(tables, counts), counts.minimum), page_relates(tables, counts))
    beside = replace(others, tables=alone).relate(figures, page_counted(tables), counts.minimum)
    found = audit({**alone, PAGE: page}, counts.minimum, figures=together(figures, beside))
    return found.assign(determined=found["determined"].astype(bool))


def _part_of(row: Mapping[Any, Any], withheld: Collection[str]) -> str:
    """The part of the page that is not shown if a cell is determined: a phenotype (first its bins), a list, a rule."""
    if row["group_by"] == BY_BIN and bins_name(row["exposure"]) not in withheld:
        return bins_name(row["exposure"])
    if row["group_by"] == BY_RULE:
        return flow.rule_name(row["group"]) if row["population"] == JUDGED else flow.FLAGGED
    return str(row["exposure"] or row["population"])


def _of_flow(steps: Mapping[str, Any], n_measured: int, counts: Counts) -> Iterator[Row]:
    """Of each stage those who came, were made, and left, and why these left."""
    went_on = {step["title"]: step["text"] for step in steps["steps"]}
    for step in steps["steps"]:
        stage = step["title"]
        yield {"population": stage, "text": went_on.get(step["after"], steps["text"])}
        yield {"population": stage, "group_by": "ended", "group": "ok", "text": step["text"]}
        for kind in step["left"]:
            why = flow.left_name(stage, kind["title"])
            yield {"population": kind["title"], "group_by": "stage", "group": stage, "text": kind["text"]}
            yield {"population": stage, "group_by": "ended", "group": kind["title"], "text": kind["text"]}
            yield {"population": why, "text": kind["text"]}
            for reason in kind["reasons"]:
                yield {"population": why, "group_by": "reason", "group": reason["code"], "text": reason["text"]}
        if "states" in step:
            yield {"population": "studies measured", "text": counts.text(n_measured)}
            for state in step["states"]:
                about = {"group_by": "state", "group": state["code"], "text": state["text"]}
                yield {"population": "studies measured", **about}
                if state["code"] == flow.DOUBTED:
                    yield {"population": flow.DOUBTED, "text": state["text"]}
    for title, text in flow.totals_left(steps, counts).items():
        yield {"population": title, "text": text}


def _of_joins(rows: list[dict[str, str]]) -> Iterator[Row]:
    """Steps of one list add up; of those of everybody each is for itself."""
    for row in rows:
        if row["counted"]:
            about = {"group_by": "step", "group": row["step"], "text": row["n"]}
            yield {"population": flow.joined_name(row["counted"]), **about}


def _of_table_1(tables: ReportTables, counts: Counts) -> Iterator[Row]:
    """People with a phenotype by sex; if the sexes are all, and are shown, they add up to all."""
    for name, group, text in table_counts(tables.described, counts) if len(tables.described) else ():
        by, label = ("overall", "all") if group == EVERYBODY[1] else ("sex", group)
        yield {"exposure": name, "population": "described", "group_by": by, "group": label, "text": text}


def _of_perfusion(tables: ReportTables, counts: Counts) -> Iterator[Row]:
    """Studies with a first-pass series, those measured, with and without a limitation, and with each value."""
    shown = perfusion_summary(tables.perfusion, counts)
    if shown is None:
        return
    yield {"population": TRIED, "text": shown["n"]}
    yield {"population": MEASURED, "text": shown["measured"]}
    for group, text in ((LIMITED, shown["limited"]), (QUANTITATIVE, flow.NOT_SHOWN)):
        yield {"population": MEASURED, "group_by": "limitation", "group": group, "text": text}
    for row in shown["rows"]:
        yield {"exposure": row["name"], "population": "perfusion value", "text": row["n"]}


def _perfusion_relates(step: Mapping[str, Any] | None) -> Iterator[Row]:
    """The flow, where it shows the stage, counts the same studies: those measured, and those set aside with them."""
    if step is None:
        return
    ended = [(step["title"], "ended", group, "n") for group in ("ok", *(kind["title"] for kind in step["left"]))]
    limits = {"low": 0.0, "high": np.inf}
    yield limits | {"population": MEASURED, "parts": (ended[0],)}
    yield limits | {"population": TRIED, "parts": tuple(cell for cell in ended if cell[2] in ("ok", "Set aside"))}
