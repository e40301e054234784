"""Perfusion on the page to publish, of a table written by hand."""

import numpy as np
import pandas as pd
import pytest

from tasks.derive.perfusion_tables import PERFUSION_TABLE, perfusion_path, perfusion_table
from tasks.report.counts import Counts
from tasks.report.perfusion_summary import perfusion_counts, perfusion_entries, perfusion_summary
from tasks.report.tables import read_perfusion
from tasks.state.ledger import Outcome, open_ledger
from tasks.state.parquet_tables import publish_table
from tasks.state.store import Cohort


def publish(tmp_path, *groups):
    """A cohort with ``n`` studies for each (n, status, reason, numbers, limitations)."""
    cohort = Cohort(tmp_path)
    found = [
        Outcome(f"{at}{k}-2", "perfusion", status, reason, key="k", summary={
            "phenotypes": {name: values[k] for name, values in numbers.items()}, "limitations": {"rest": limits},
        })
        for at, (n, status, reason, numbers, limits) in enumerate(groups)
        for k in range(n)
    ]  # fmt: skip
    table: pd.DataFrame = perfusion_table(found)
    publish_table(table, perfusion_path(cohort), "key", PERFUSION_TABLE)
    return cohort


def summary_of(cohort, minimum):
    """The section, alone on a page: rounded if one of its counts is small, or two differ by few."""
    table = read_perfusion(cohort, frozenset())
    return perfusion_summary(table, Counts.of(perfusion_counts(table).values(), minimum))


def test_counts_means_and_spreads_are_of_the_measured_and_small_ones_are_hidden(tmp_path):
    flow = [0.5, 1.0, 1.5, 1.0, 1.0, 1.0]
    cohort = publish(
        tmp_path,
        (6, "ok", "", {"mbf_rest_ml_min_g": flow, "mpr": [2.0] * 6}, ["level_assumed"]),
        (3, "ok", "", {"mpr": [3.0, 3.0, 4.0], "mpr_lad": [9.0, 9.0, 9.0], "ps_rest_ml_min_g": [1.0] * 3}, []),
        (
            2,
            "quarantined",
            "perfusion_clipped",
            {"mpr": [90.0, 90.0]},
            ["level_assumed"],
        ),  # set aside: none of it counts
        (4, "quarantined", "upstream", {}, []),
        (7, "absent", "no_perfusion", {}, []),
    )
    found = summary_of(cohort, 5)
    # 11 tried, 9 measured, 6 of them limited: two and three could be had by subtraction, so all are rounded.
    assert (found["n"], found["measured"], found["limited"]) == ("10", "10", "5")
    rest, reserve, lad = found["rows"]
    assert rest == {
        "title": "Myocardial blood flow at rest",
        "name": "mbf_rest_ml_min_g",
        "unit": "mL/min/g",
        "n": "5",
        "mean": "1.00",
        "sd": "0.40",  # 0.32 of six: in steps of 0.2
    }
    # six of 2, 3, 3 and 4: mean 22/9; squares about it 6 x 0.198 + 2 x 0.309 + 2.420, of eight: SD 0.73
    assert (reserve["title"], reserve["n"], reserve["mean"], reserve["sd"]) == (
        "Myocardial perfusion reserve",
        "10",
        "2.40",  # in steps of 0.2, as two people move the mean by 0.16
        "0.80",
    )
    assert (lad["n"], lad["mean"], lad["sd"]) == ("< 5", "–", "–")


@pytest.mark.parametrize(("last", "mean"), [(4.0, "2.40"), (5.0, "–")])
def test_a_value_that_dominates_is_not_told_by_mean_and_spread(tmp_path, last, mean):
    """Six of 2 and two of 3: beside 5, nine of eleven parts of the squares are its own; beside 4, four of six."""
    cohort = publish(tmp_path, (9, "ok", "", {"mpr": [2.0] * 6 + [3.0, 3.0, last]}, []))
    (row,) = summary_of(cohort, 5)["rows"]
    assert (row["n"], row["mean"]) == ("9", mean)
    assert (row["sd"] == "–") == (mean == "–")


@pytest.mark.parametrize(("n", "text", "mean"), [(4, "< 5", "–"), (5, "5", "1.00")])
def test_the_smallest_count_that_may_be_shown_is_shown(tmp_path, n, text, mean):
    cohort = publish(tmp_path, (n, "ok", "", {"mbf_rest_ml_min_g": [1.0] * n}, []))
    found = summary_of(cohort, 5)
    assert (found["n"], found["measured"], found["limited"], found["rows"][0]["mean"]) == (text, text, "0", mean)


def test_where_nobody_had_a_first_pass_there_is_no_section(tmp_path):
    assert summary_of(Cohort(tmp_path), 5) is None
    cohort = publish(tmp_path, (7, "absent", "no_perfusion", {}, []), (2, "quarantined", "upstream", {}, []))
    assert summary_of(cohort, 5) is None


def test_entries_are_those_of_studies_with_a_file_or_a_reason_for_none(tmp_path):
    cohort = Cohort(tmp_path)
    assert perfusion_entries(cohort) == {}
    with open_ledger(cohort.ledger) as ledger:
        ledger.record([
            Outcome("a-2", "perfusion", "ok", key="ka"),
            Outcome("b-2", "perfusion", "quarantined", "perfusion_clipped", key="kb"),
            Outcome("c-2", "perfusion", "absent", "no_perfusion", key="kc"),
            Outcome("d-2", "perfusion", "quarantined", "upstream"),
            Outcome("e-2", "derive", "ok", key="ke"),
        ])  # fmt: skip
    assert perfusion_entries(cohort) == {"a-2": ("ok", "ka"), "b-2": ("quarantined", "kb")}


def test_one_measured_person_has_no_spread(tmp_path):
    cohort = publish(tmp_path, (1, "ok", "", {"mpr": [2.0]}, []))
    with np.errstate(invalid="ignore"):
        (row,) = summary_of(cohort, 1)["rows"]
    assert (row["n"], row["mean"], row["sd"]) == ("1", "2.00", "–")
