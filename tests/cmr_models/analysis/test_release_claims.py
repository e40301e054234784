"""What tables and figures say together that none says alone, by hand."""

import numpy as np
import pandas as pd
import pytest

from cmr_models.analysis.disclosure.audit import audit
from cmr_models.analysis.disclosure.bounds import Statements, told_by
from cmr_models.analysis.disclosure.claims import CONTAINED, Within, claims_of, estimates_say, limits_of, nested_sets

NAN = np.nan


def _row(model: str, n: float, events: float, **more: object) -> dict[str, object]:
    usual = {
        "exposure": "lvm_g", "outcome": "stroke", "scale": "per_sd", "measure": "odds_ratio", "group_by": "overall",
        "group": "all", "estimate": 1.5, "se": 0.1, "status": "ok", "reason": "", "rounded_to": 1.0,
    }  # fmt: skip
    return {**usual, "model": model, "n": n, "n_events": events, **more}


def _found(*tables: pd.DataFrame, **options: object) -> dict[tuple[str, str, str], tuple[float, float, bool]]:
    found = audit({f"table {k}": table for k, table in enumerate(tables)}, 5, **options)  # type: ignore[arg-type]
    return {(row["population"], row["group"], row["cell"]): (row["low"], row["high"], bool(row["determined"]))
            for row in found.to_dict("records")}  # fmt: skip


def test_limits_of_counts_as_they_are_shown() -> None:
    low, high = limits_of([44, 45, 5, 0, NAN], [1, 5, 5, 5, 5], 5)
    assert low.tolist() == [44, 43, 5, 0, 0]
    assert high.tolist() == [44, 47, 7, 0, np.inf]


@pytest.mark.parametrize(
    ("many", "base", "told"),
    [(97.0, 1.0, (3, 3, True)), (96.0, 1.0, (4, 4, True)), (95.0, 5.0, (1, 9, False))],
)
def test_two_sets_of_covariates_tell_how_many_lack_one(
    many: float, base: float, told: tuple[float, float, bool]
) -> None:
    """100 people are complete for few covariates, 97 for many: three lack one."""
    rows = [
        _row("logistic", 100.0, 40.0, covariate_set="few", rounded_to=base),
        _row("logistic", many, 40.0, covariate_set="many", rounded_to=base),
    ]
    contained = (*CONTAINED, *nested_sets({"few": ("sex",), "many": ("sex", "bmi")}, "few"))
    assert _found(pd.DataFrame(rows), contained=contained)["asked", "all", "n less asked, many n"] == told
    assert not _found(pd.DataFrame(rows))  # who does not know which set is part of which


def test_what_contradicts_itself_is_not_said_to_be_safe() -> None:
    """Twelve men and women among ten people: nothing follows, and the hidden group is to be looked at."""
    rows = [
        _row("logistic", 10.0, 6.0),
        _row("logistic", 12.0, 6.0, group_by="sex", group="Men"),
        _row("logistic", NAN, NAN, group_by="sex", group="Women", status="suppressed", reason="secondary"),
    ]
    low, high, determined = _found(pd.DataFrame(rows))["asked", "Women", "n"]
    assert np.isnan([low, high]).all()
    assert not determined


def test_only_sets_that_hold_one_another_are_nested() -> None:
    sets = {"few": ("sex",), "many": ("bmi", "sex"), "other": ("centre",)}
    found = nested_sets(sets, "few")
    assert Within("asked, many|n", "asked|n") in found
    assert Within("at risk, many|n_events", "at risk|n_events") in found
    assert Within("asked, other|n", "asked|n") not in found
    assert Within("asked, other|n", "told|n") in found


def test_the_sets_of_a_table_are_populations_of_their_own() -> None:
    table = pd.DataFrame([_row("cox_age", 50.0, 10.0, covariate_set=name) for name in ("few", "many")])
    assert estimates_say("hazards", table, 5)["population"].tolist() == ["at risk", "at risk, many"] * 2


@pytest.mark.parametrize(("everybody", "told"), [(42.0, (1, 1, True)), (44.0, (1, 3, False))])
def test_the_flow_beside_the_number_of_people(everybody: float, told: tuple[float, float, bool]) -> None:
    """Of 42 first visits 40 are measured: the two that are told small are one and one. Of 44 they are one to three."""
    people = _row("qc_pass", everybody, 40.0, exposure="", outcome="", measure="proportion", scale="absolute")
    steps = {"measured": (40.0, ""), "doubted, left out": (NAN, "small_cell"), "not measured": (NAN, "small_cell")}
    flow = pd.DataFrame([
        {"outcome": "", "group_by": "first visits", "step": step, "n": n, "reason": reason}
        for step, (n, reason) in steps.items()
    ])  # fmt: skip
    found = audit({"fairness": pd.DataFrame([people]), "flow": flow}, 5)
    hidden = found[found["group"] == "not measured"].to_dict("records")
    assert [(row["low"], row["high"], bool(row["determined"])) for row in hidden] == [told]
    assert not audit({"flow": flow}, 5)["determined"].any()


def test_the_last_points_of_curves_leave_events_to_the_total() -> None:
    """Four curves end after five events each, the model counts 22: at least two come after the last points."""
    points = [
        {"exposure": "lvm_g", "outcome": "stroke", "group_by": "quartile", "group": f"Q{k}", "years": year, "n": 20.0,
         "n_events": events, "rounded_to": 1.0}
        for k in range(1, 5) for year, events in ((0.0, 0.0), (1.0, 5.0), (2.0, NAN))
    ]  # fmt: skip
    tables = {"survival_curves": pd.DataFrame(points), "hazards": pd.DataFrame([_row("cox_age", 80.0, 22.0)])}
    found = audit(tables, 5)
    (row,) = found[found["cell"] == "n_events less curve n_events"].query("group == 'all'").to_dict("records")
    assert row["low"] == 2
    assert not row["determined"]  # how many there are of those without all covariates, nobody is told


def test_a_figure_and_a_table_together_tell_what_neither_does() -> None:
    """A page shows 44 measured studies and 43 men with the phenotype; all of them are shown to have it."""
    page = claims_of([
        {"exposure": "lvm_g", "population": "described", "group_by": "sex", "group": "male", "low": 43, "high": 43},
        {"exposure": "lvm_g", "population": "described", "group_by": "sex", "group": "female", "low": 0, "high": np.inf,
         "hidden": True, "small": True},
        {"exposure": "lvm_g", "population": "described", "low": 43, "high": 50},
    ])  # fmt: skip
    assert not audit({}, 5, figures=page)["determined"].any()  # one to four women
    both = pd.concat([page, claims_of([{"exposure": "lvm_g", "population": "described", "low": 44, "high": 44}])])
    found = audit({}, 5, figures=both)
    assert found.loc[found["determined"].astype(bool), ["group", "low", "high"]].to_numpy().tolist() == [
        ["female", 1, 1]
    ]


def test_statements_that_contradict_each_other_tell_nothing() -> None:
    statements = Statements()
    statements.within("a", 1, 4)
    statements.within("b", 5, np.inf)
    statements.within("c", 0, np.inf)
    statements.total("c", ["a", "b"])
    good = statements.system([{"a": 1.0}])
    statements.within("c", 3, 3)
    assert told_by([statements.system([{"a": 1.0}])], 5) == [None]
    (told,) = told_by([good], 5)
    assert told is not None
    assert told.of(0) == (1, 4, False)
    # By the limits alone nothing is wrong, but three of which every two are one cannot be: halves of people.
    odd = Statements()
    for name in ("x", "y", "z", "t"):
        odd.within(name, 0, 1 if name != "t" else 4)
    for two in ("xy", "yz", "xz"):
        odd.sums.append((dict.fromkeys(two, 1.0), 1.0, 1.0))
    odd.total("t", ["x", "y", "z"])
    assert told_by([odd.system([{"t": 1.0}])], 5) == [None]


def test_a_count_that_only_whole_people_determine() -> None:
    """a + b = 3 and a = b + c with c one or two: a is two and b is one; c is one of two numbers anyhow."""
    statements = Statements()
    for name, limits in {"a": (0, 9), "b": (0, 9), "c": (1, 2), "s": (3, 3)}.items():
        statements.within(name, *limits)
    statements.total("s", ["a", "b"])
    statements.total("a", ["b", "c"])
    (told,) = told_by([statements.system([{"a": 1.0}, {"b": 1.0}, {"c": 1.0}])], 5)
    assert told is not None
    assert [told.of(k) for k in range(3)] == [(2, 2, True), (1, 1, True), (1, 2, True)]


def test_measures_of_one_model_may_count_other_events() -> None:
    """Twelve events in all and seven up to the horizon do not contradict each other."""
    rows = [_row("cox", 80.0, 12.0, measure="concordance"), _row("cox", 80.0, 7.0, measure="auc")]
    claims = estimates_say("prediction", pd.DataFrame(rows), 5)
    assert claims["population"].tolist() == ["cox concordance", "cox auc"] * 2
    treated = pd.DataFrame(
        [_row("cox", 80.0, n, measure="net_benefit", threshold=t) for n, t in ((12.0, 0.1), (7.0, 0.3))]
    )
    assert estimates_say("prediction_decisions", treated, 5)["population"].nunique() == 2


def test_a_total_may_have_parts_of_which_nothing_else_is_said() -> None:
    statements = Statements()
    statements.within("all", 12, 12)
    statements.within("men", 9, 9)
    statements.total("all", ["men", "women"])
    tightened = statements.system([{"women": 1.0}]).tightened()
    assert tightened is not None
    assert [float(limit[0]) for limit in tightened.outer] == [3.0, 3.0]


def test_the_doubted_people_of_tables_are_among_the_doubted_studies_of_the_page() -> None:
    """Of thirteen doubted studies twelve are a person's first: one is not. A number that is hidden is a small one."""
    page = claims_of([{"population": "doubted", "low": 13.0, "high": 13.0}])
    table = pd.DataFrame([_row("logistic", 100.0, 40.0, n_doubted=12.0)])
    found = _found(table, figures=page)
    assert found["doubted", "all", "n less doubted people n"] == (1, 1, True)
    hidden = _found(table.assign(n_doubted=NAN), figures=page)
    assert hidden["doubted people", "all", "n"] == (1, 4, False)
