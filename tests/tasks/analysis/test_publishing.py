"""The one order of every analysis: mask, q over the tests that were made, gate."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cmr_models.analysis.regressions import with_q
from cmr_models.estimates import tidy
from tasks.analysis.features import NO_FEATURES
from tasks.analysis.makers import MAKERS, Inputs
from tasks.analysis.publishing import Results, _doubted, publish_tables, results_key
from tasks.analysis.settings import AnalysisSettings
from tasks.analysis.spec_tables import SpecTables

_NOTHING = pd.DataFrame()
_TABLES = SpecTables(_NOTHING, _NOTHING, _NOTHING, flow=_NOTHING, features=NO_FEATURES)


def _rows(counts: dict[str, float]) -> pd.DataFrame:
    """Three tests of one family with p of 0.001, 0.01 and 0.1."""
    return tidy(
        {
            "exposure": "lvef_pct", "scale": "per_sd", "outcome": outcome, "model": "logistic", "measure": "odds_ratio",
            "group_by": "overall", "group": "all", "n": 900.0, "n_events": n_events, "estimate": 1.5, "se": 0.1,
            "minus_log10_p": float(k), "status": "ok",
        }
        for k, (outcome, n_events) in zip((3, 2, 1), counts.items(), strict=True)
    )  # fmt: skip


def _publish(folder: Path, counts: dict[str, float], monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    monkeypatch.setitem(MAKERS, "associations", lambda _: _rows(counts))  # type: ignore[misc]
    results = Results(folder, ("associations",), key=folder.name, siblings=True)
    assert results.outdated == ["associations"]
    publish_tables(results.outdated, results, Inputs(AnalysisSettings().study_spec(), _TABLES, _NOTHING), "digest")
    assert results.outdated == []
    return pd.read_parquet(folder / "associations.parquet").set_index("outcome")


def test_a_test_that_the_gate_hides_still_counts_in_its_family(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = _publish(tmp_path / "first", {"a": 90.0, "b": 80.0, "c": 70.0}, monkeypatch)
    assert before["q"].to_list() == pytest.approx([0.003, 0.015, 0.1])
    after = _publish(tmp_path / "second", {"a": 90.0, "b": 82.0, "c": 70.0}, monkeypatch)
    assert after.loc["b", "reason"] == "differencing"
    assert after.loc["b", ["estimate", "minus_log10_p", "q"]].isna().all()
    assert after.loc[["a", "c"], "q"].to_list() == pytest.approx([0.003, 0.1])  # of two tests: 0.002 and 0.1


def test_a_release_that_differs_by_few_from_any_earlier_one_is_rounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for key, n_events in (("first", 90.0), ("second", 50.0), ("third", 92.0), ("fourth", 92.0), ("fifth", 150.0)):
        counts = {"a": n_events, "b": 250.0}
        monkeypatch.setitem(MAKERS, "associations", lambda _, counts=counts: _rows({**counts, "c": 700.0}))  # type: ignore[misc]
        results = Results(tmp_path, ("associations",), key=key)
        publish_tables(results.outdated, results, Inputs(AnalysisSettings().study_spec(), _TABLES, _NOTHING), "digest")
        table = pd.read_parquet(tmp_path / "associations.parquet").set_index("outcome")
        found.append((table["n_events"].tolist(), table["rounded_to"].max()))
    # 92 events are two more than the 90 of the first release, though 42 more than those of the second.
    assert found == [
        ([90, 250, 700], 1), ([50, 250, 700], 1), ([90, 250, 700], 5), ([90, 250, 700], 5), ([150, 250, 700], 1)
    ]  # fmt: skip
    kept = pd.read_parquet(tmp_path / "released" / "associations.parquet")
    assert kept["release"].nunique() == 3  # the third and the fourth show what the first showed


def test_a_small_cell_is_masked_before_its_family_is_tested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = _publish(tmp_path / "only", {"a": 90.0, "b": 3.0, "c": 70.0}, monkeypatch)
    assert table.loc["b", "reason"] == "small_cell"
    assert table.loc[["a", "c"], "q"].to_list() == pytest.approx([0.002, 0.1])


def test_the_key_is_of_what_the_files_hold_and_what_is_asked(tmp_path: Path) -> None:
    for name, text in (("a", "1"), ("b", "1"), ("c", "2")):
        (tmp_path / name).write_text(text)
    keys = [results_key(1, [tmp_path / name], spec="x") for name in "abc"]
    assert keys[0] == keys[1] != keys[2]
    assert results_key(1, [tmp_path / "a"], spec="y") != keys[0] != results_key(2, [tmp_path / "a"], spec="x")


def test_rows_per_unit_have_the_q_of_their_own_set_of_covariates() -> None:
    per_sd = pd.concat(
        [
            _rows({"a": 90.0, "b": 80.0, "c": 70.0}).assign(covariate_set="full"),
            _rows({"c": 90.0, "b": 80.0, "a": 70.0}).assign(covariate_set="minimal"),
        ]
    )
    table = pd.concat([per_sd, per_sd.assign(scale="per_unit")], ignore_index=True)
    tested = with_q(table, table["covariate_set"])
    q = tested.set_index(["covariate_set", "outcome", "scale"])["q"]
    assert q["full", "a", "per_unit"] == pytest.approx(0.003)
    assert q["minimal", "a", "per_unit"] == pytest.approx(0.1)
    assert q["minimal", "c", "per_unit"] == pytest.approx(0.003)


@pytest.mark.parametrize(
    ("doubted", "n"), [(0, 0.0), (1, np.nan), (4, np.nan), (5, 5.0), (12, 10.0), (13, 15.0), (17, 15.0)]
)
def test_the_number_of_doubted_people_is_no_small_one_and_rounded_as_the_gate_rounds(doubted: int, n: float) -> None:
    people = pd.DataFrame({"doubted": [True] * doubted + [False] * 30})
    spec = AnalysisSettings().study_spec()
    spec = spec.model_copy(update={"disclosure": spec.disclosure.model_copy(update={"threshold": 5, "base": 5})})
    found = _doubted(Inputs(spec, _TABLES, people))
    assert found["doubted"] == "left_out"
    np.testing.assert_equal(found["n_doubted"], n)
    exact = Inputs(spec, _TABLES, people)
    exact.__dict__["count_base"] = None  # nothing in the analysis counts few
    np.testing.assert_equal(_doubted(exact)["n_doubted"], np.nan if 0 < doubted < 5 else doubted)
    taken = spec.model_copy(update={"include_doubted": True})
    assert _doubted(Inputs(taken, _TABLES, people.drop(columns="doubted"))) == {"doubted": "taken_in", "n_doubted": 0.0}
