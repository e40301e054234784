"""What the table of quality rules says: of the studies that a rule could judge, how many break it.

Whoever breaks a rule is doubted or set aside, and whoever is doubted breaks a rule: so the flags are bounded by numbers
of the flow, and bound them. What is stated holds for the studies of the page, as one who attacks it may guess it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from cmr_models.analysis.disclosure.claims import EVERYBODY, Cell, part_of
from cmr_models.phenotypes.quality import RULES
from cmr_models.phenotypes.states import states_of
from tasks.convert.convert_stage import CONVERT
from tasks.derive.derive_stage import DERIVE
from tasks.report import flow
from tasks.report.counts import Counts
from tasks.report.tables import ReportTables

BY_RULE = "rule"
JUDGED = "judged"
Row = dict[str, Any]
Bools = npt.NDArray[np.bool_]


def flags_shown(tables: ReportTables, steps: Mapping[str, Any], counts: Counts) -> Iterator[Row]:
    """Studies judged by each rule and those that break it, as they are shown, and the numbers of the flow beside them.

    Args:
        tables: of the page.
        steps: of :func:`.flow.cohort_flow`.
        counts: how counts are shown.
    """
    flags = flow.flag_counts(tables.outcomes, tables.phenotypes, RULES)
    for row in flow.quality_table(flags, counts):
        place = {"population": JUDGED, "group_by": BY_RULE, "group": row["code"]}
        yield place | {"text": flow.NOT_SHOWN if pd.isna(row["n"]) else f"{row['n']:.0f}"}
        yield place | {"what": "n_events", "text": row["flagged"]}
    for name, text in _in_the_flow(tables, steps, counts).items():
        yield {"population": name, "group_by": BY_RULE, "group": EVERYBODY[1], "text": text}


def flags_relate(tables: ReportTables) -> Iterator[Row]:
    """Claims of which studies are among which, where it is so: those judged, those that break a rule, the doubted."""
    flags = flow.flag_counts(tables.outcomes, tables.phenotypes, RULES)
    for code in flags.loc[flags["stage"] == CONVERT.name, "code"]:
        yield from part_of(_of_rule(code, "n"), _all(CONVERT.title))
    if tables.phenotypes is None:
        return
    sets = _sets(tables.phenotypes)
    broken = dict(_broken(tables.phenotypes))
    for code, (judged, breaks) in broken.items():
        for inner, people in ((_of_rule(code, "n"), judged), (_of_rule(code, "n_events"), breaks)):
            outer = next((name for name, others in sets.items() if not (people & ~others).any()), None)
            if outer is not None and people.any():
                yield from part_of(inner, _all(outer))
    yield _sum(_MEASURED_OR_NOT, (_all("measured"), _all("set aside")))
    yield _sum(_DOUBTED_OR_NOT, (_all(flow.DOUBTED), _all("set aside")))
    flagging = {code: breaks for code, (_, breaks) in broken.items() if (breaks & sets[flow.DOUBTED]).any()}
    if flagging and not (sets[flow.DOUBTED] & ~np.logical_or.reduce(list(flagging.values()))).any():
        yield _sum(flow.FLAGGED, tuple(_of_rule(code, "n_events") for code in flagging))
        yield from part_of(_all(flow.DOUBTED), _all(flow.FLAGGED))


_MEASURED_OR_NOT, _DOUBTED_OR_NOT = "measured or set aside", "doubted or set aside"


def _sets(phenotypes: pd.DataFrame) -> dict[str, Bools]:
    """Sets of studies whose numbers the flow tells, each of those that it is part of after it."""
    states = states_of(phenotypes)
    doubted, aside, measured = (
        states.isin(names).to_numpy(bool) for names in (["doubted"], ["set_aside"], ["passed", "doubted"])
    )
    return {
        flow.DOUBTED: doubted, "set aside": aside, _DOUBTED_OR_NOT: doubted | aside, "measured": measured,
        _MEASURED_OR_NOT: measured | aside,
    }  # fmt: skip


def _broken(phenotypes: pd.DataFrame) -> Iterator[tuple[str, tuple[Bools, Bools]]]:
    """Code of a rule, and the studies that it could judge, and those that break it."""
    for rule in RULES:
        if rule.column in phenotypes:
            kept = phenotypes[rule.column].astype("boolean")
            yield rule.code, (kept.notna().to_numpy(bool), kept.eq(other=False).fillna(value=False).to_numpy(bool))


def _in_the_flow(tables: ReportTables, steps: Mapping[str, Any], counts: Counts) -> dict[str, str]:
    """Numbers of the flow, by the names of :func:`_sets`, as text."""
    by_title = {step["title"]: step for step in steps["steps"]}
    states = {row["code"]: row["text"] for row in flow.measured_states(tables.phenotypes, counts)}
    derived = by_title.get(DERIVE.title, {"left": []})
    aside = next((kind["text"] for kind in derived["left"] if kind["title"] == "Set aside"), "0")
    converted = {CONVERT.title: by_title[CONVERT.title]["text"]} if CONVERT.title in by_title else {}
    return {
        "measured": counts.text(len(tables.measured)), flow.DOUBTED: states.get("doubted", "0"), "set aside": aside,
        **converted,
    }  # fmt: skip


def _of_rule(code: str, what: str) -> Cell:
    return JUDGED, BY_RULE, code, what


def _all(population: str) -> Cell:
    return population, BY_RULE, EVERYBODY[1], "n"


def _sum(population: str, parts: tuple[Cell, ...]) -> Row:
    place = {"population": population, "group_by": BY_RULE, "group": EVERYBODY[1]}
    return place | {"low": 0.0, "high": np.inf, "parts": parts}
