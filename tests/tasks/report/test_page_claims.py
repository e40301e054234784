"""The page beside the tables, and beside the page before: what it shows exactly, rounds, or leaves out."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from cmr_models.analysis.disclosure.audit import audit
from cmr_models.analysis.disclosure.claims import together
from cmr_models.perfusion.phenotypes import PHENOTYPES
from cmr_models.phenotypes.quality import RULES
from tasks.report import distributions, page_claims
from tasks.report.counts import Counts
from tasks.report.distributions import distribution_rows
from tasks.report.flow import (
    cohort_flow,
    flag_counts,
    joined_name,
    left_before_analysis,
    measured_states,
    quality_table,
    totals_left,
)
from tasks.report.index_page import sentence_on_states
from tasks.report.page_claims import page_counts, page_relates, page_says, safe_counts
from tasks.report.tables import ReportTables
from tasks.state.published_beside import Beside

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


# perfusion, rules and bins


def _perfusion(measured: int, failed: int, limited: int) -> pd.DataFrame:
    n = measured + failed
    status = np.where(np.arange(n) < measured, "ok", "quarantined")
    return pd.DataFrame({
        "study": [f"s{k}" for k in range(n)], "status": status, "reason": "perfusion_clipped",
        "qc_quantitative": [k >= limited for k in range(n)], "mpr": 2.0,
        **{row.name: np.nan for row in PHENOTYPES if row.name != "mpr"},
    })  # fmt: skip


def _determined(tables: ReportTables, counts: Counts) -> set[tuple[str, str]]:
    found = page_claims._told(tables, counts, Beside())
    return set(found.loc[found["determined"], ["population", "cell"]].itertuples(index=False, name=None))


@pytest.mark.parametrize(
    ("measured", "failed", "limited", "told"),
    [
        (44, 1, 20, {("perfusion tried", "n less perfusion measured n")}),  # one failed
        (44, 9, 20, set()),
        (4, 1, 0, set()),  # of five, "< 5" are measured: one to four failed
        (44, 9, 41, {("perfusion measured", "n")}),  # three have no limitation
    ],
)
def test_first_passes_that_failed_or_have_no_limitation_are_few(
    measured: int, failed: int, limited: int, told: set[tuple[str, str]]
) -> None:
    tables = replace(_tables(50, 50), perfusion=_perfusion(measured, failed, limited))
    assert _determined(tables, Counts(5)) == told
    counts, _ = safe_counts(tables, Counts(5), [])
    assert counts.rounded == bool(told)
    assert not counts.withheld


def test_the_flow_counts_the_same_first_passes_as_their_section() -> None:
    """The flow says that nine were set aside, the section that 44 were measured, and not how many were tried."""
    steps = [(f"s{k}", "perfusion", "ok" if k < 44 else "quarantined", "" if k < 44 else "perfusion_clipped")
             for k in range(53)]  # fmt: skip
    table = pd.DataFrame(steps, columns=["study", "stage", "status", "reason"])
    tables = replace(_tables(50, 50), steps=table, perfusion=_perfusion(44, 9, 20))
    counts = Counts(5, withheld=frozenset({"perfusion tried"}))
    says = page_says(page_counts(tables, counts), 5)
    found = audit({}, 5, figures=together(says, page_relates(tables, counts)))
    tried = found[(found["population"] == "perfusion tried") & (found["cell"] == "n")]
    assert says.query("population == 'perfusion tried'")["hidden"].all()
    assert [53, 53] in tried[["low", "high"]].to_numpy().tolist()
    earlier = page_counts(replace(tables, perfusion=_perfusion(43, 10, 20)), Counts(5))
    assert safe_counts(tables, Counts(5), [earlier])[0].rounded  # 44 measured, and 43 before


def _flagged(slices: int, heart_rate: int) -> ReportTables:
    """A hundred measured studies, of which the first break one rule and the last another."""
    tables = _tables(50, 50)
    at = np.arange(100)
    phenotypes = tables.phenotypes.assign(qc_sax_slices=at >= slices, qc_heart_rate=at < 100 - heart_rate)  # type: ignore[union-attr]
    return replace(
        tables, phenotypes=phenotypes.assign(qc_ok=phenotypes["qc_sax_slices"] & phenotypes["qc_heart_rate"])
    )


@pytest.mark.parametrize(("slices", "rounded"), [(1, True), (5, False), (0, False)])
def test_who_is_doubted_and_breaks_no_other_rule_breaks_the_one_that_few_break(slices: int, rounded: bool) -> None:
    """Twelve break the rule on heart rates; of 13 doubted ones one breaks the other, of 12 none, of 17 five."""
    tables = _flagged(slices, 12)
    rows = quality_table(flag_counts(tables.outcomes, tables.phenotypes, RULES), Counts(5))
    assert {row["code"]: row["flagged"] for row in rows} == {
        "lv_slices_few": "< 5" if slices == 1 else str(slices), "heart_rate_implausible": "12"
    }  # fmt: skip
    counts, found = safe_counts(tables, Counts(5), [])
    assert counts.rounded == rounded
    assert not found["determined"].any()


def test_the_doubted_are_at_most_the_flags_of_all_rules() -> None:
    """Thirteen doubted, twelve for one rule: the hidden other one is broken by one at least, and by four at most."""
    tables = _flagged(3, 12)
    found = page_claims._told(tables, Counts(5, withheld=frozenset({"rule: lv_slices_few"})), Beside())
    (hidden,) = found[(found["group"] == "lv_slices_few") & (found["cell"] == "n_events")].to_dict("records")
    assert hidden["low"] == 3  # fifteen less twelve


def test_a_rule_or_all_flags_that_are_withheld_are_not_in_the_table() -> None:
    flags = pd.DataFrame([("derive", "lv_slices_few", 9.0, 100.0), ("derive", "es_timing", 12.0, 100.0)],
                         columns=["stage", "code", "n_flagged", "n_judged"])  # fmt: skip
    for withheld, texts in (("rule: es_timing", ["9", "not shown"]), ("flags of all rules", ["not shown"] * 2)):
        rows = quality_table(flags, Counts(5, withheld=frozenset({withheld})))
        assert [row["flagged"] for row in rows] == texts
        assert [row["share"] == row["share"] for row in rows] == [text == "9" for text in texts]


def _bins(n_others: int) -> ReportTables:
    """177 men of 100 to 200 ml, and women and people of unknown sex of 90 to 140 ml or, one woman, of 160."""
    tables = _tables(3, 177 + n_others)
    sex = np.r_[["female"] * 3, [None] * n_others, ["male"] * 177].astype(object)
    volumes = np.r_[np.full(2, 120.0), 160.0, np.linspace(90, 140, n_others), np.linspace(100, 200, 177)]
    return replace(tables, phenotypes=tables.phenotypes.assign(sex=sex, lvedv_ml=volumes))  # type: ignore[union-attr]


def test_bins_of_the_men_tell_no_small_number_and_beside_bins_of_all_they_do(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not _determined(_bins(60), Counts(5))
    monkeypatch.setattr(distributions, "drawn_groups", lambda _: ["female", "male", "all"])
    found = page_claims._told(_bins(60), Counts(5), Beside())
    told = found[found["determined"]]
    assert ("others: bins 16 to 16", 1, 1) in set(told[["group", "low", "high"]].itertuples(index=False, name=None))
    counts, found = safe_counts(_bins(60), Counts(5), [])
    assert counts.rounded
    assert not found["determined"].any()


def test_bins_that_still_tell_a_small_number_are_not_drawn_and_then_the_phenotype_is_not_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = pd.DataFrame([{"exposure": "lvedv_ml", "population": "described", "group_by": "sex x bin",
                          "group": "male x 3", "determined": True}])  # fmt: skip
    tables = _bins(60)
    for rounds, withheld in ((1, {"bins of lvedv_ml"}), (2, {"bins of lvedv_ml", "lvedv_ml"})):
        monkeypatch.setattr(page_claims, "_told", lambda _, c, __, n=rounds: told[: int(len(c.withheld) < n)])
        counts, _ = safe_counts(tables, Counts(5), [])
        assert counts.withheld == withheld
        assert not distributions.drawn_bins(tables.described, "lvedv_ml", counts)
        (men,) = [row for row in distribution_rows(tables.described, counts)
                  if (row["phenotype"], row["group"]) == ("LV end-diastolic volume", "Men")]  # fmt: skip
        assert men["suppressed"] == (rounds == 2)


def test_states_that_are_withheld_are_told_as_such() -> None:
    tables = _flagged(9, 12)
    states = measured_states(tables.phenotypes, Counts(5, withheld=frozenset({"studies measured"})))
    assert [row["text"] for row in states] == ["not shown", "not shown"]
    assert sentence_on_states("100", states) == "100 were measured; how many of them passed is not shown."


def test_a_bin_that_differs_by_few_from_the_page_before_is_rounded() -> None:
    """One man leaves and another comes, at the other end of the volumes: their number is the same, two bins are not."""
    tables = _bins(60)
    earlier = page_counts(tables, Counts(5))
    phenotypes = tables.phenotypes
    assert phenotypes is not None
    assert not safe_counts(tables, Counts(5), [earlier])[0].rounded
    at = phenotypes.index[phenotypes["lvedv_ml"].sub(150).abs().argmin()]
    moved = phenotypes.assign(lvedv_ml=phenotypes["lvedv_ml"].where(phenotypes.index != at, 158.0))
    assert safe_counts(replace(tables, phenotypes=moved), Counts(5), [earlier])[0].rounded
