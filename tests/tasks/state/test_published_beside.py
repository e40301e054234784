"""What publishers of one cohort keep of their numbers for each other, and read again."""

from pathlib import Path

import numpy as np
import pandas as pd

from cmr_models.analysis.disclosure.claims import claims_of, part_of
from tasks.state.published_beside import (
    ESTIMATES,
    REPORT,
    all_beside,
    comparison_name,
    evaluation_name,
    evaluations_beside,
    is_rounded,
    keep_beside,
    keep_studies,
    studies_of,
)
from tasks.state.store import Cohort

ROUNDED = {"exposure": "lvef_pct", "population": "evaluated net", "low": 18.0, "high": 22.0}
EXACT = {"exposure": "lvef_pct", "population": "described", "low": 20.0, "high": 20.0}


def _counted(population: str, *studies: str) -> dict[tuple[str, str], frozenset[str]]:
    return {(population, "lvef_pct"): frozenset(studies)}


def _has(*studies: str) -> pd.DataFrame:
    return pd.DataFrame({"lvef_pct": True, "lvm_g": False}, index=list(studies))


def test_claims_and_studies_are_read_as_they_were_kept(tmp_path: Path) -> None:
    cohort, name = Cohort(tmp_path), evaluation_name("net")
    sums = part_of(("evaluated net", "sex", "male", "n"), ("mean", "sex", "male", "n"), "lvef_pct")
    kept = claims_of([ROUNDED, *sums])
    keep_beside(cohort, name, _counted("evaluated net", "b-2", "a-2"), kept)
    found = evaluations_beside(cohort)
    pd.testing.assert_frame_equal(found.claims, kept, check_dtype=False)
    assert found.claims["parts"].iloc[2] == sums[1]["parts"]
    assert found.counted == _counted("evaluated net", "a-2", "b-2")


def test_each_publisher_reads_what_the_others_said(tmp_path: Path) -> None:
    cohort = Cohort(tmp_path)
    keep_studies(cohort, ESTIMATES, _has("a-2", "b-2"), "mean")
    keep_beside(cohort, REPORT, _counted("described", "a-2", "b-2", "c-2"), claims_of([EXACT]))
    for name in (evaluation_name("net"), comparison_name("old", "new")):
        keep_beside(cohort, name, _counted(name, "a-2"), claims_of([ROUNDED | {"population": name}]))
    estimates = pd.DataFrame({"exposure": ["lvef_pct", "lvef_pct", "lvm_g"], "outcome": ["", "death", ""]})
    cohort.estimates.mkdir()
    estimates.to_parquet(cohort.estimates / "fairness.parquet")
    found = all_beside(cohort, evaluation_name("net"), ["lvef_pct"])
    assert set(found.claims["population"]) == {"described", "comparison_old_vs_new"}
    assert {population for population, _ in found.counted} == {"mean", "described", "comparison_old_vs_new"}
    assert found.tables["fairness"].to_numpy().tolist() == [["lvef_pct", ""]]  # about the phenotype alone
    assert all_beside(cohort, "x", ["lvm_g"]).counted == {("mean", "lvm_g"): frozenset()}
    of_others = evaluations_beside(cohort)
    assert {population for population, _ in of_others.counted} == {"evaluation_net", "comparison_old_vs_new"}
    assert not of_others.tables
    # Tables of a person whom the page does not have are later than the page.
    keep_studies(cohort, ESTIMATES, _has("a-2", "d-2"), "mean")
    assert "described" not in {population for population, _ in all_beside(cohort, "x", ["lvef_pct"]).counted}


def test_numbers_between_two_others_are_rounded_ones(tmp_path: Path) -> None:
    cohort = Cohort(tmp_path)
    assert not is_rounded(cohort, REPORT)
    for claims, rounded in (([EXACT, EXACT | {"low": 0.0, "high": np.inf}], False), ([EXACT, ROUNDED], True)):
        keep_beside(cohort, REPORT, {}, claims_of(claims))
        assert is_rounded(cohort, REPORT) == rounded


def test_ids_are_those_of_the_ledger_however_they_are_written() -> None:
    assert studies_of(pd.Series(["12", "A1"]), pd.Series([2, "2"])) == ["12-2", "A1-2"]
