"""Parts of the page of an analysis, of tables of a few rows."""

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tasks.analysis import page
from tasks.report.index_page import Figures

NAN = math.nan


def _row(**change: Any) -> dict[str, Any]:
    return {"status": "ok", "reason": "", "estimate": 0.71234, "ci_low": 0.6, "ci_high": 0.80061} | change


@pytest.mark.parametrize(
    ("row", "text"),
    [
        (_row(), "0.712 (0.600 to 0.801)"),
        (_row(ci_low=NAN), "0.712"),
        (_row(status="suppressed", reason="small_cell"), "small cell"),
        (_row(status="failed"), "failed"),
        (None, ""),
    ],
)
def test_a_cell_is_an_estimate_with_its_interval_or_why_there_is_none(row: dict[str, Any] | None, text: str) -> None:
    assert page._cell(row) == text


def test_a_row_of_prediction_is_a_set_and_outcome_in_the_tables_order_with_a_cell_a_measure() -> None:
    table = pd.DataFrame(
        [
            _row(outcome="stroke", exposure="age", measure="auc", n=1234.0, n_events=56.0, estimate=0.5),
            _row(outcome="death", exposure="age", measure="uno", n=900.0, n_events=80.0, estimate=0.6),
            _row(outcome="stroke", exposure="age", measure="concordance", n=1.0, n_events=1.0, ci_low=NAN),
        ]
    )
    rows = page._prediction_rows(table)
    assert [(row["outcome"], row["set"], row["n"], row["n_events"]) for row in rows] == [
        ("Stroke", "age", "1,234", "56"), ("Death", "age", "900", "80")
    ]  # fmt: skip
    assert rows[0]["cells"] == ["0.712", "", "0.500 (0.600 to 0.801)", *[""] * 9]
    assert rows[1]["cells"] == ["", "0.600 (0.600 to 0.801)", *[""] * 10]
    assert page._prediction_rows(None) == []


def test_exposures_that_the_network_has_seen_or_may_have_are_named_once_in_order() -> None:
    one = pd.DataFrame({"exposure": ["z", "b", "a"], "seen_in_training": ["yes", "unknown", "no"]})
    two = pd.DataFrame({"exposure": ["b"], "seen_in_training": ["unknown"]})
    seen = page._seen({"one": one, "two": two, "three": pd.DataFrame({"exposure": ["c"]})})
    assert seen == [{"exposure": "b", "seen": "unknown"}, {"exposure": "z", "seen": "yes"}]


def test_of_several_sets_of_covariates_the_primary_one_is_drawn() -> None:
    file: Any = SimpleNamespace(spec=SimpleNamespace(primary="full"))
    table = pd.DataFrame({"covariate_set": ["minimal", "full"], "estimate": [1.0, 2.0]})
    assert page._primary(table, file)["estimate"].tolist() == [2]
    alone = table.drop(columns="covariate_set")
    assert page._primary(alone, file) is alone


def test_a_scan_is_of_everybody_per_sd_and_its_line_is_that_of_bonferroni(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def keep(name: str) -> Any:
        def drawn(rows: pd.DataFrame, *given: Any, **more: Any) -> Any:
            asked[name] = (rows["exposure"].tolist(), *given, more)
            return "<svg/>" if name == "manhattan_interactive" else b'width="72pt" height="36pt"'

        return drawn

    for name in ("manhattan", "manhattan_interactive", "volcano", "forest"):
        monkeypatch.setattr(page, name, keep(name))
    table = pd.DataFrame(
        [("a", "per_sd", "overall", "ok"), ("b", "per_unit", "overall", "ok"), ("c", "per_sd", "sex", "ok"),
         ("d", "per_sd", "overall", "suppressed"), ("e", "per_sd", "overall", "ok")],
        columns=["exposure", "scale", "group_by", "status"],
    )  # fmt: skip
    figures = Figures()
    (scan,) = page._add_scan(figures, table, "hazards", "incident disease and death")
    told = {"threshold": pytest.approx(-math.log10(0.05 / 2)), "miami": True}
    assert asked["manhattan"] == asked["manhattan_interactive"] == (["a", "d", "e"], told)
    assert asked["volcano"] == asked["forest"]
    assert asked["volcano"][1].startswith("Hazard ratio per SD")
    assert list(figures.shown) == ["miami_hazards", "volcano_hazards", "forest_hazards"]
    assert "over 2 tests" in figures.shown["miami_hazards"]["caption"]
    assert (figures.shown["miami_hazards"]["width"], figures.shown["miami_hazards"]["height"]) == (96, 48)
    assert (scan["title"], str(scan["svg"])) == ("Incident disease and death", "<svg/>")
    page._add_scan(Figures(), table, "associations", "prevalent disease")
    assert asked["volcano"][1].startswith("Odds ratio per SD")
    assert page._add_scan(figures, table.assign(status="failed"), "hazards", "x") == []


def test_figures_of_prediction_are_those_of_the_tables_that_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("concordance_of_sets", "calibration_of_sets", "net_benefit_of_sets"):
        monkeypatch.setattr(page, name, lambda table, name=name: f"{name} {len(table)}".encode())
    figures = Figures()
    page._add_prediction(figures, {"prediction_decisions": pd.DataFrame({"a": [1, 2]}), "prediction": pd.DataFrame()})
    assert figures.files == {"prediction": b"concordance_of_sets 0", "prediction_decisions": b"net_benefit_of_sets 2"}
    assert np.array(["treating all" in figures.shown[name]["caption"] for name in figures.shown]).tolist() == [
        False, True
    ]  # fmt: skip
