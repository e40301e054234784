"""The page beside the tables, and beside the page before: what it shows exactly, rounds, or leaves out."""

import numpy as np
import pandas as pd
import pytest

from tasks.report import page_claims
from tasks.report.counts import Counts
from tasks.report.distributions import distribution_rows
from tasks.report.flow import cohort_flow, joined_name, left_before_analysis, totals_left
from tasks.report.page_claims import page_counts, page_says, safe_counts
from tasks.report.tables import ReportTables

STEPS = pd.DataFrame(columns=["study", "stage", "status", "reason", "flags"], dtype=object)


def _tables(women: int, men: int, people_women: float = np.nan) -> ReportTables:
    """Measured women and men, and a table of estimates by sex of some of the women."""
    n = women + men
    phenotypes = pd.DataFrame({
        "study": [f"s{k}" for k in range(n)], "status": "ok", "qc_ok": True,
        "sex": np.where(np.arange(n) < women, "female", "male"), "lvedv_ml": np.linspace(120, 180, n),
    })  # fmt: skip
    row = {"exposure": "lvedv_ml", "outcome": "", "scale": "absolute", "model": "mean", "measure": "mean",
           "group_by": "sex", "group": "female", "n": people_women, "n_events": np.nan, "estimate": 150.0, "se": 3.0,
           "status": "ok", "reason": "", "rounded_to": 1.0}  # fmt: skip
    estimates = {} if np.isnan(people_women) else {"fairness": pd.DataFrame([row])}
    return ReportTables(STEPS, STEPS, phenotypes, None, estimates, {})


@pytest.mark.parametrize(("people_women", "rounded"), [(30.0, False), (27.0, True), (24.0, False)])
def test_a_page_that_counts_few_more_than_a_table_is_rounded(people_women: float, rounded: bool) -> None:
    """30 women on the page and 27 in the table are three whom the table leaves out; of 30 rounded, one to five."""
    counts, found = safe_counts(_tables(30, 50, people_women), Counts(5), [])
    assert counts.rounded == rounded
    assert not found["determined"].any()


@pytest.mark.parametrize(("before", "rounded"), [(30, False), (31, True), (34, True), (35, False), (26, True)])
def test_a_page_that_differs_by_few_from_the_one_before_is_rounded(before: int, rounded: bool) -> None:
    earlier = page_counts(_tables(before, 50), Counts(5))
    counts, _ = safe_counts(_tables(30, 50), Counts(5), [earlier])
    assert counts.rounded == rounded


def test_what_the_page_counts_and_between_which_numbers() -> None:
    shown = page_counts(_tables(3, 52), Counts(5, rounded=True)).set_index("group")
    assert shown.loc["female", ["n", "small"]].tolist() == pytest.approx([np.nan, True], nan_ok=True)
    assert np.isnan(shown.loc["male", "n"])  # or the women would be the rest of all
    claims = page_says(shown.reset_index(), 5).set_index("group")
    described = claims[claims["population"] == "described"]
    assert described.loc["all", ["low", "high"]].tolist() == [53, 57]  # 55 rounded
    assert claims.loc["female", ["low", "high", "hidden"]].tolist() == [0, np.inf, True]


def test_what_is_determined_all_the_same_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    told = pd.DataFrame([{"exposure": "lvedv_ml", "population": "described", "group_by": "sex", "determined": True}])
    monkeypatch.setattr(page_claims, "_told", lambda _, counts, __: told[: 0 if counts.withheld else 1])
    tables = _tables(30, 50)
    counts, _ = safe_counts(tables, Counts(5), [])
    assert (counts.rounded, counts.withheld) == (True, {"lvedv_ml"})
    rows = [row for row in distribution_rows(tables.described, counts) if row["phenotype"].startswith("LV end-dia")]
    assert [(row["n"], row["mean"], row["suppressed"]) for row in rows] == [("not shown", "–", True)] * 2


def test_lists_that_are_withheld_are_not_in_the_flow() -> None:
    steps = pd.DataFrame({"study": list("abcdefghijkl"), "stage": "convert", "status": ["ok"] * 5 + ["quarantined"] * 7,
                          "reason": ""})  # fmt: skip
    shown = cohort_flow(steps, Counts(5))
    (step,) = shown["steps"]
    assert (step["left"][0]["text"], totals_left(shown, Counts(5))["Set aside"]) == ("7", "7")
    counts = Counts(5, withheld=frozenset({f"{step['title']}: Set aside"}))
    hidden = cohort_flow(steps, counts)
    assert (hidden["steps"][0]["left"][0]["text"], hidden["steps"][0]["left"][0]["reasons"]) == ("not shown", [])
    assert totals_left(hidden, counts)["Set aside"] == "not shown"
    joins = pd.DataFrame({"outcome": "", "group_by": "studies", "step": ["with a row", "without"], "n": [50.0, 9.0]})
    assert len(left_before_analysis(joins, Counts(5))) == 2
    assert not left_before_analysis(joins, Counts(5, withheld=frozenset({joined_name("studies")})))
