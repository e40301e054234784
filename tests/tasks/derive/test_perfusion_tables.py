"""Rows of the perfusion tables, and what goes into a study's summary, by hand."""

import json
import math

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from cmr_models.aha import Segments, statistics
from cmr_models.perfusion.phenotypes import QUANTITIES, StateResult
from cmr_models.reasons import Missing, StudyRejected
from tasks.derive.perfusion import _summary
from tasks.derive.perfusion_tables import (
    are_current,
    dictionary_csv,
    perfusion_columns,
    perfusion_path,
    perfusion_table,
    segment_table,
    with_perfusion,
    write_tables,
)
from tasks.state.ledger import Outcome, open_ledger
from tasks.state.store import Cohort

FLOW = "mbf_rest_ml_min_g"


def segment_row(segment, layer="all", median=1.5, pixels=7):
    return {"state": "rest", "quantity": "mbf_ml_min_g", "segment": segment, "layer": layer, "mean": 2.0,
            "median": median, "sd": 0.5, "min": 1.0, "max": 3.0, "pixels": pixels}  # fmt: skip


OUTCOMES = [
    Outcome("b-c-2", "perfusion", "ok", key="kb", summary={
        "phenotypes": {FLOW: 0.9, "mpr": 2.5}, "missing": {"mpr_lad": "segment_empty", "mpr": "undefined"},
        "limitations": {"stress": ["perfusion_no_pd", "aif_moved"], "rest": ["level_assumed"]},
        "segments": [segment_row(7), segment_row(3, "endo", None, 2)],
    }),
    Outcome("c-2", "perfusion", "absent", "no_perfusion", "none", "kc"),
    Outcome("a-3", "perfusion", "ok", key="ka", summary={
        "phenotypes": {FLOW: 1.1}, "missing": {}, "limitations": {"rest": [], "stress": []},
        "segments": [segment_row(1)],
    }),
]  # fmt: skip


def test_rows_are_in_the_order_of_studies_with_limits_by_state_and_reasons():
    table = perfusion_table(OUTCOMES)
    assert table["study"].tolist() == ["a-3", "b-c-2", "c-2"]
    assert table["participant"].tolist() == ["a", "b-c", "c"]
    assert table["visit"].tolist() == ["3", "2", "2"]
    assert table["key"].tolist() == ["ka", "kb", "kc"]
    assert table["limitations"].tolist() == ["", "rest:level_assumed;stress:perfusion_no_pd;stress:aif_moved", ""]
    assert table["qc_quantitative"].tolist()[:2] == [True, False]
    assert table["qc_quantitative"].isna().tolist() == [False, False, True]
    assert table["missing_reasons"].tolist() == [
        "{}", '{"mpr": "undefined", "mpr_lad": "segment_empty"}', '{"*": "no_perfusion"}'
    ]  # fmt: skip
    assert table[FLOW].tolist()[:2] == [1.1, 0.9]
    assert table[["status", "reason", "detail"]].iloc[2].tolist() == ["absent", "no_perfusion", "none"]


def test_segments_are_in_the_order_of_studies_and_of_the_outcome():
    table = segment_table(OUTCOMES)
    assert table["study"].tolist() == ["a-3", "b-c-2", "b-c-2"]
    assert table["segment"].tolist() == [1, 7, 3]
    assert table["median"].isna().tolist() == [False, False, True]
    assert table[["layer", "pixels"]].iloc[2].tolist() == ["endo", 2]


def test_the_dictionary_has_limits_units_and_references():
    rows = {line.split(",")[0]: line for line in dictionary_csv().splitlines()}
    assert rows[FLOW].startswith('mbf_rest_ml_min_g,mL/min/g,real,"Myocardial blood flow at rest: mean')
    assert rows[FLOW].endswith(",0.0,8.0,")
    assert rows["mpr_lad"].endswith(",0.0,10.0,Cerqueira et al. 2002")
    assert rows["qc_quantitative"].split(",")[:3] == ["qc_quantitative", "", "boolean"]


def test_measured_perfusion_joins_the_phenotypes_and_makes_a_visit_count(tmp_path):
    cohort = Cohort(tmp_path)
    with open_ledger(cohort.ledger) as ledger:
        ledger.record([*OUTCOMES, Outcome("d-2", "perfusion", "retired")])
        assert not are_current(ledger, cohort)
        assert write_tables(ledger, cohort) == 3
        assert are_current(ledger, cohort)
        ledger.record([Outcome("c-2", "perfusion", "absent", "no_perfusion", key="other")])
        assert not are_current(ledger, cohort)
    path = perfusion_path(cohort)
    assert pd.read_parquet(path)["study"].tolist() == ["a-3", "b-c-2", "c-2"]
    studies = ["c-2", "b-c-2", "x-2", "a-3"]
    phenotypes = pd.DataFrame(
        {"study": studies, "status": ["quarantined", "absent", "ok", "ok"], "lvef_pct": [1.0, 2, 3, 4]}
    )
    joined = with_perfusion(phenotypes, cohort, ["mpr", FLOW, "lvef_pct"])
    assert joined["study"].tolist() == studies
    assert joined["status"].tolist() == ["quarantined", "ok", "ok", "ok"]
    assert joined[FLOW].tolist() == pytest.approx([math.nan, 0.9, math.nan, 1.1], nan_ok=True)
    assert joined["mpr"].tolist() == pytest.approx([math.nan, 2.5, math.nan, math.nan], nan_ok=True)
    assert phenotypes["status"].tolist() == ["quarantined", "absent", "ok", "ok"]
    assert perfusion_columns(["lvef_pct", "mpr", FLOW]) == ["mpr", FLOW]
    with pytest.raises(FileNotFoundError, match="run perfusion first"):
        with_perfusion(phenotypes, Cohort(tmp_path / "elsewhere"), [FLOW])


# the summary of a study


def test_the_summary_rounds_numbers_and_says_why_others_are_missing():
    segment = np.zeros((1, 3, 4), np.uint8)
    segment[0, 0], segment[0, 1, :2], segment[0, 2, 3] = 4, 9, 12
    layer = np.where(segment > 0, np.where(np.arange(4) < 2, 1, 2), 0).astype(np.uint8)
    values = np.full((1, 3, 4), 1.234567)
    rows = statistics(values, Segments(segment, layer, ("",)))
    found = StateResult(dict.fromkeys(QUANTITIES, rows), {"peak_value": 4.5678912})
    maps = {"rest": xr.Dataset(attrs={"limitations": ["level_assumed"]})}
    why = StudyRejected("perfusion_clipped", "20 pixels")
    summary = _summary({"rest": found, "stress": Missing("perfusion_clipped")}, maps, {"stress": why})
    assert summary["phenotypes"][FLOW] == 1.23457
    assert summary["phenotypes"]["aif_rest_peak_mmol_l"] == 4.56789
    assert summary["missing"]["mbf_stress_ml_min_g"] == summary["missing"]["mpr"] == "perfusion_clipped"
    assert summary["missing"]["mbf_rest_lad_ml_min_g"] == "segment_empty"
    assert set(summary["missing"]).isdisjoint(summary["phenotypes"])
    assert summary["limitations"] == {"rest": ["level_assumed"], "stress": ["perfusion_clipped"]}
    flow = [row for row in summary["segments"] if row["quantity"] == "mbf_ml_min_g"]
    assert len(summary["segments"]) == 5 * len(flow)
    assert [(row["segment"], row["layer"], row["pixels"]) for row in flow] == [
        (4, "all", 4), (4, "endo", 2), (4, "epi", 2), (9, "all", 2), (9, "endo", 2), (12, "all", 1), (12, "epi", 1)
    ]  # fmt: skip
    assert (flow[0]["state"], flow[0]["median"], flow[0]["sd"]) == ("rest", 1.23457, 0)
    assert flow[1]["median"] is None
    json.dumps(summary, allow_nan=False)
