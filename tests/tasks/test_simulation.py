"""A simulated cohort without images: tables as the pipeline would write them, and a report that says what it is."""

import json

import numpy as np
import pandas as pd
import pytest

from cmr_models.simulate.planted import CohortSettings
from flows.settings import read_settings
from tasks.derive.phenotype_tables import PHENOTYPE_TABLE
from tasks.report import methods_of, render_report
from tasks.simulation import SimulationSettings, measured_table, write_measured_cohort
from tasks.state.parquet_tables import read_table


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulated")
    settings = SimulationSettings(people=400, cohort=CohortSettings(failure_share=0.1), seed=7)
    assert write_measured_cohort(folder, settings) == 400
    return folder


def test_the_table_holds_what_its_contract_says_and_close_to_the_truth(simulated):
    table = read_table(simulated / "cohort/tables/phenotypes.parquet", PHENOTYPE_TABLE)
    truth = pd.read_parquet(simulated / "truth.parquet")
    both = table.merge(truth, on="participant", suffixes=("", "_true"))
    measured = both[both["status"] == "ok"]
    assert len(table) == 400
    assert set(table["state"]) <= {"passed", "doubted", "set_aside"}
    assert 20 <= (table["state"] == "set_aside").sum() <= 60  # a tenth fails
    assert np.corrcoef(measured["lvef_pct"], measured["lvef_pct_true"])[0, 1] > 0.95
    assert both.loc[both["status"] != "ok", "lvef_pct"].isna().all()


def test_a_number_that_is_not_simulated_is_missing_with_a_reason(simulated):
    table = pd.read_parquet(simulated / "cohort/tables/phenotypes.parquet")
    row = table[table["status"] == "ok"].iloc[0]
    assert np.isnan(row["la_area_max_cm2"])
    assert json.loads(row["missing_reasons"])["la_area_max_cm2"] == "not_simulated"
    assert pd.isna(row["qc_sax_slices"])  # needs labels
    assert row["qc_edv"]


def test_rules_are_applied_to_simulated_numbers():
    row = {"study": "1-2", "participant": "1", "visit": 2, "status": "ok", "reason": "", "lvedv_ml": 150.0,
           "lvef_pct": 60.0, "lvsv_ml": 90.0, "rvsv_ml": 90.0}  # fmt: skip
    differing = {**row, "study": "2-2", "rvsv_ml": 40.0}  # 50 mL apart, over 35 % of the mean
    implausible = {**row, "study": "3-2", "lvedv_ml": 900.0}
    table = measured_table(pd.DataFrame([implausible, differing, row]))
    assert table["state"].tolist() == ["passed", "doubted", "set_aside"]
    assert table["qc_reasons"].tolist()[:2] == ["", "stroke_volumes_differ"]
    assert table["reason"].tolist()[2] == "edv_implausible"


def test_the_report_of_a_cohort_without_images_says_so(simulated):
    settings = read_settings(simulated / "cohort.toml")
    resolved = settings.model_dump(mode="json")
    page = render_report(simulated / "cohort", resolved).read_text()
    assert "Simulated measurements of 400 people, without images" in page
    assert "this cohort has no images of them" in page
    assert "Studies in the archive" not in page
    methods = methods_of(simulated / "cohort", resolved)
    assert methods[0].startswith("The table of phenotypes of 400 studies was given")
    assert not any("segmented" in paragraph for paragraph in methods)
