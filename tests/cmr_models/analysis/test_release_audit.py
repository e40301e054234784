"""What all tables together say of hidden cells, by hand; and that nothing is determined after the gate."""

import numpy as np
import pandas as pd
import pytest

from cmr_models.analysis.disclosure import bounds
from cmr_models.analysis.disclosure.audit import Known, audit, hide_determined
from cmr_models.analysis.disclosure.bounds import Statements, is_determined
from cmr_models.analysis.disclosure.small_cells import counts_of_few
from cmr_models.analysis.model_spec import AnalysisSpec

NAN = np.nan


def _rows(model: str, measure: str, counts: dict[str, tuple[float, float, str]], base: float = 1.0) -> pd.DataFrame:
    """Group -> people, events, reason; the first group is everybody."""
    rows = [
        {"group": group, "group_by": "overall" if group == "all" else "site", "n": n, "n_events": events,
         "status": "suppressed" if reason else "ok", "reason": reason}
        for group, (n, events, reason) in counts.items()
    ]  # fmt: skip
    return pd.DataFrame(rows).assign(
        exposure="lvef_pct", outcome="stroke", model=model, measure=measure, scale="per_sd", estimate=1.5, se=0.1,
        rounded_to=base,
    )  # fmt: skip


def _bounds(found: pd.DataFrame) -> dict[tuple[str, str], tuple[float, float]]:
    return {(row["group"], row["cell"]): (row["low"], row["high"]) for row in found.to_dict("records")}


def test_a_programme_gives_the_least_and_the_most() -> None:
    statements = Statements()
    for name in ("a", "b", "c"):
        statements.within(name, 0, np.inf)
    statements.within("a", 1, 4)
    statements.within("b", 5, np.inf)
    statements.within("c", 8, 8)
    statements.total("c", ["a", "b"])  # a + b = 8
    assert statements.system([{"a": 1.0}, {"b": 1.0}, {"a": 1.0, "b": 1.0}]).ranges() == [(1, 3), (5, 7), (8, 8)]
    statements.at_least({"a": 1.0}, 5)
    with pytest.raises(ValueError, match="no counts fulfil all statements"):
        statements.system([{"a": 1.0}]).ranges()


def test_halves_of_people_are_no_solution() -> None:
    """Of three counts every two are at most 1 together: without halves (three of them are 1.5) all are at most 1."""
    statements = Statements()
    for name in ("a", "b", "c"):
        statements.within(name, 0, np.inf)
    for two in ("ab", "bc", "ac"):
        statements.at_least(dict.fromkeys(two, -1.0), -1)
    assert statements.system([dict.fromkeys("abc", 1.0)]).ranges() == [(0, 1)]


def test_what_was_solved_before_is_not_solved_again(monkeypatch: pytest.MonkeyPatch) -> None:
    tables, known = {"hazards": _rows("cox_age", "hazard_ratio", EXACT)}, Known()
    found = audit(tables, 5, known)
    monkeypatch.setattr(bounds, "milp", None)
    pd.testing.assert_frame_equal(audit(tables, 5, known), found)


@pytest.mark.parametrize(
    ("low", "high", "told"), [(1, 1, True), (1, 2, True), (3, 4, True), (1, 3, False), (0, 1, False), (4, 5, False)]
)
def test_a_cell_is_determined_if_it_is_one_of_two_small_numbers(low: float, high: float, told: bool) -> None:
    assert is_determined(low, high, 5) == told


EXACT = {"all": (96.0, 20.0, ""), "a": (90.0, 20.0, ""), "b": (NAN, NAN, "small_cell"), "c": (NAN, NAN, "secondary")}


def test_a_sum_of_groups_tells_how_many_are_hidden_and_rounding_does_not() -> None:
    # 96 less 90 are six in b and c; no event is among them.
    found = audit({"hazards": _rows("cox_age", "hazard_ratio", EXACT)}, 5)
    assert _bounds(found)["c", "n"] == (2, 5)
    assert _bounds(found)["c", "n_events"] == (0, 0)
    rounded = EXACT | {"all": (95.0, 20.0, ""), "a": (90.0, 20.0, "")}
    found = audit({"hazards": _rows("cox_age", "hazard_ratio", rounded, base=5.0)}, 5)
    assert _bounds(found)["b", "n"][1] - _bounds(found)["b", "n"][0] >= 2


def test_two_tables_together_tell_what_neither_does() -> None:
    """Hidden in one model, a count of the same people is shown in another."""
    hidden = _rows("cox_age", "hazard_ratio", EXACT)
    shown = _rows("harrell_phenotype", "concordance", EXACT | {"c": (5.0, 0.0, "")})
    assert not audit({"hazards": hidden}, 5)["determined"].astype(bool).any()
    found = audit({"hazards": hidden, "discrimination": shown}, 5)
    assert _bounds(found)["b", "n"] == (1, 1)
    assert found["determined"].astype(bool).any()


def test_those_asked_less_those_at_risk_are_the_cases() -> None:
    asked = _rows("logistic", "odds_ratio", {"all": (96.0, NAN, "small_cell"), "a": (46.0, 0.0, ""),
                                             "b": (50.0, NAN, "small_cell")})  # fmt: skip
    at_risk = _rows("cox_age", "hazard_ratio", {"all": (94.0, 20.0, ""), "a": (46.0, 10.0, ""), "b": (48.0, 10.0, "")})
    found = audit({"associations": asked, "hazards": at_risk}, 5)
    assert _bounds(found)["all", "left out"] == (2, 2)
    assert _bounds(found)["b", "n_events"] == (1, 2)  # told small, and no more than were left out


def test_what_is_determined_is_hidden_until_nothing_is() -> None:
    hidden = _rows("cox_age", "hazard_ratio", EXACT)
    shown = _rows("harrell_phenotype", "concordance", EXACT | {"c": (5.0, 0.0, "")})
    tables, found = hide_determined({"discrimination": shown}, {"hazards": hidden}, 5)
    assert not found["determined"].astype(bool).any()
    sites = tables["discrimination"].query("group_by == 'site'")
    assert sites[["n", "n_events", "estimate"]].isna().all(axis=None)
    assert set(sites["reason"]) == {"secondary"}
    assert tables["discrimination"].query("group_by == 'overall'")["n"].tolist() == [96]


def test_the_mean_of_one_who_is_not_shown_is_told_by_exact_means_and_not_by_coarse_ones() -> None:
    """44 people with a mean of 144.049245, of whom 43 men have 144.1: the woman has 141.9."""
    counts = {"all": (44.0, NAN, ""), "men": (43.0, NAN, ""), "women": (NAN, NAN, "small_cell")}
    exact = _rows("mean", "mean", counts).assign(outcome="", scale="absolute", estimate=[144.049245, 144.1, NAN])
    exact["se"] = 29.8 / np.sqrt(exact["n"])
    (row,) = audit({"fairness": exact}, 5).query("cell == 'mean'").to_dict("records")
    # The audit takes means to be as coarse as the gate makes them: SD 29.8 of 44 is a step of 2: +-44 +-43 about 142.
    assert row["low"] < 141.9 - 29.8 < 141.9 + 29.8 < row["high"]
    assert not row["determined"]


SPEC = AnalysisSpec(phenotypes=("lvm_g",), conditions=("death",), covariates=(), group_by=("sex",), minimum_cell=5)


def _people(n: int, women: int, unmeasured: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    people = pd.DataFrame({"participant": [str(k) for k in range(n)], "visit": "2", "age_years": 60.0})
    people = people.assign(measured=True, doubted=False, lvm_g=90.0)
    people["group sex"] = np.where(np.arange(n) < women, "female", "male")
    people.loc[n - unmeasured :, "lvm_g"] = NAN
    outcomes = people[["participant", "visit"]].assign(
        condition="death", prevalent=0, entry_years=60.0, exit_years=65.0, event=np.arange(n) % 2, cause=0
    )
    return people, outcomes


@pytest.mark.parametrize(
    ("women", "unmeasured", "few"),
    [
        (20, 0, False),  # 20 women and 40 men, ten and twenty events
        (4, 0, True),
        (5, 0, True),  # two of the five have the event
        (20, 2, True),  # two of the men lack the phenotype
        (20, 10, False),  # ten do: thirty men are left, fifteen with the event
    ],
)
def test_few_are_counted_in_a_group_or_between_two_populations(women: int, unmeasured: int, few: bool) -> None:
    assert counts_of_few(*_people(60, women, unmeasured), SPEC) == few


@pytest.mark.parametrize(("events", "few"), [(3, True), (5, False)])
def test_events_of_those_without_a_covariate_are_those_of_the_curves_less_those_of_the_models(
    events: int, few: bool
) -> None:
    """Ten of a hundred have no systolic pressure: curves count their events, models do not, and both are shown."""
    people, outcomes = _people(100, 50, 0)
    people["systolic_mmhg"] = np.where(np.arange(100) >= 90, NAN, 120.0)
    # 20 women and 15 men of those complete, and of the other ten, who are men, some have the event.
    event = np.r_[np.arange(50) < 20, np.arange(40) < 15, np.arange(10) < events]
    outcomes["event"] = event.astype(int)
    spec = SPEC.model_copy(update={"covariates": ("systolic_mmhg",)})
    assert counts_of_few(people, outcomes, spec) == few
    # The models may as well be without it, and a second set of covariates have it.
    assert counts_of_few(people, outcomes, SPEC, [("age_years", "systolic_mmhg")]) == few


@pytest.mark.parametrize(
    ("without_mass", "stroke", "fibrillation", "few"),
    [(10, 44, 38, False), (7, 44, 38, True), (10, 44, 40, True), (10, 44, 0, False)],
)
def test_phenotypes_and_conditions_are_compared_with_each_other(
    without_mass: int, stroke: int, fibrillation: int, few: bool
) -> None:
    """Of 60, the last ten lack an ejection fraction; of the first 50, some were asked about each condition.

    Seven without a mass are three fewer than those without the other; of 44 asked about stroke, 40 about fibrillation.
    """
    people, outcomes = _people(60, 20, without_mass)
    people["lvef_pct"] = np.where(np.arange(60) < 50, 60.0, NAN)
    asked = {"stroke": stroke, "fibrillation": fibrillation}
    every = [outcomes, *(outcomes.iloc[:n].assign(condition=name) for name, n in asked.items())]
    spec = SPEC.model_copy(update={"phenotypes": ("lvm_g", "lvef_pct"), "conditions": ("death", *asked)})
    assert counts_of_few(people, pd.concat(every), spec) == few
