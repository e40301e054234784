"""The perfusion stage on a cohort of one: what is published, tabled, shown, and joined to the statistics."""

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from dicom_factory import files, lax, sax, write_files

from benchmarks.perfusion_stage import write_patient
from cmr_models.perfusion.phenotypes import PHENOTYPES, QUANTITIES
from cmr_models.perfusion.wall import reliable_pixels
from cmr_models.simulate.measured import example_tables
from cmr_models.simulate.perfusion import MYOCARDIAL_SERIES
from cmr_models.simulate.planted import CohortSettings as Planted
from flows import planning
from flows.settings import CohortSettings
from tasks.analysis.by_settings import UserFiles, associate, estimates_key, risk
from tasks.analysis.settings import AnalysisSettings
from tasks.convert.convert_stage import CONVERT
from tasks.derive.perfusion import perfusion_chunk
from tasks.derive.perfusion_stage import PERFUSION
from tasks.derive.perfusion_tables import are_current, dictionary_csv, perfusion_path, with_perfusion
from tasks.execution.stage import run_in_process
from tasks.report.counts import Counts
from tasks.report.perfusion_section import WINDOWS, perfusion_section
from tasks.report.perfusion_summary import perfusion_summary
from tasks.report.tables import read_perfusion
from tasks.state.ledger import Ledger, open_ledger
from tasks.state.store import Cohort, load_tree

FLOW = "mbf_rest_ml_min_g"
COARSE = replace(MYOCARDIAL_SERIES, rows=96, cols=96, pixel_mm=2.4)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> CohortSettings:
    """A converted and perfused cohort of one person with one slice at rest and under stress."""
    folder = tmp_path_factory.mktemp("perfused")
    list(write_patient(folder / "archive", 1, 78, levels=("mid",), myocardium=COARSE, frames=40))
    settings = CohortSettings(directory=folder / "cohort", sources=(folder / "archive",))
    with open_ledger(settings.cohort.ledger) as ledger:
        for stage in (CONVERT, PERFUSION):
            run_in_process(planning.plan(stage, settings, ledger), ledger, settings.cohort)
    return settings


@pytest.fixture
def cohort(settings: CohortSettings) -> Cohort:
    return settings.cohort


@pytest.fixture
def study(cohort: Cohort) -> str:
    (name,) = pd.read_parquet(perfusion_path(cohort))["study"]
    assert name.startswith("perf001-")
    return str(name)


@pytest.fixture
def ledger(cohort: Cohort) -> Iterator[Ledger]:
    with open_ledger(cohort.ledger) as opened:
        yield opened


def test_the_study_has_a_row_and_what_it_lacks_has_a_reason(cohort: Cohort) -> None:
    (row,) = pd.read_parquet(perfusion_path(cohort)).to_dict("records")
    assert row["status"] == "ok", row["detail"]
    assert 0.3 < row[FLOW] < 1.8
    assert row["mpr"] > 1.0
    assert row["limitations"] == "rest:level_assumed;stress:level_assumed"
    missing = pd.read_json(io.StringIO(row["missing_reasons"]), typ="series")
    blank = {phenotype.name for phenotype in PHENOTYPES if np.isnan(row[phenotype.name])}
    assert blank == set(missing.index)
    assert missing["mbf_unstated_ml_min_g"] == "state_missing"


def test_only_segments_of_the_slice_have_rows(cohort: Cohort) -> None:
    segments = pd.read_parquet(cohort.tables / "perfusion_segments.parquet")
    assert set(segments["segment"]) == set(range(7, 13))
    assert set(segments["quantity"]) == set(QUANTITIES)
    assert (segments["pixels"] > 0).all()


def test_the_dictionary_names_every_column_in_order(cohort: Cohort) -> None:
    columns = list(pd.read_parquet(perfusion_path(cohort)).columns)
    assert list(pd.read_csv(io.StringIO(dictionary_csv()))["name"]) == columns
    assert (cohort.tables / "perfusion_dictionary.csv").read_text() == dictionary_csv()


def test_the_tables_vouch_for_the_ledger(cohort: Cohort, ledger: Ledger) -> None:
    assert are_current(ledger, cohort)


def test_the_file_holds_maps_on_the_grid_of_the_series(cohort: Cohort, study: str, ledger: Ledger) -> None:
    tree = load_tree(cohort.prediction("perfusion", study))
    for state in ("rest", "stress"):
        maps = tree[f"perfusion_{state}"]
        assert maps["mbf_ml_min_g"].shape == (1, 96, 96)
        used = reliable_pixels(maps["label"].values, maps["segment"].values)  # pixels at a border may not enhance
        assert np.isfinite(maps["mbf_ml_min_g"].values[used]).mean() > 0.95
    assert tree.attrs["key"] == ledger.entries("perfusion")[study].key


def test_done_again_the_file_is_read_and_not_made(settings: CohortSettings, study: str, ledger: Ledger) -> None:
    work = planning.plan(PERFUSION, settings, ledger)
    assert work.waiting(ledger) == ([], [])
    path = settings.cohort.prediction("perfusion", study)
    before = path.stat().st_mtime_ns
    (again,) = perfusion_chunk(work.planned.units, str(settings.directory), {})
    assert again.summary["phenotypes"] == next(iter(ledger.outcomes("perfusion"))).summary["phenotypes"]
    assert path.stat().st_mtime_ns == before


def test_a_study_that_changed_since_it_was_planned_is_set_aside(
    settings: CohortSettings, study: str, ledger: Ledger
) -> None:
    (unit,) = planning.plan(PERFUSION, settings, ledger).planned.units
    elsewhere = {**unit, "key": "another", "study_key": "another"}
    path = settings.cohort.prediction("perfusion", study)
    content = path.read_bytes()
    (outcome,) = perfusion_chunk([elsewhere], str(settings.directory), {})
    path.write_bytes(content)
    assert (outcome.status, outcome.reason) == ("quarantined", "file_unreadable")


def test_the_section_of_the_page_has_maps_bulls_eyes_curves_and_limits(cohort: Cohort, study: str) -> None:
    section = perfusion_section(cohort, study)
    assert section is not None
    assert [row["name"] for row in section["maps"]] == list(WINDOWS)
    assert section["columns"] == ["Stress", "Rest"]
    assert len(section["curves"]) == 2
    assert section["bulls_eyes"]
    assert "level" in str(section["limitations"]).lower()
    assert perfusion_section(cohort, "nobody-1") is None


def test_the_summary_counts_and_hides_small_numbers(cohort: Cohort, tmp_path: Path) -> None:
    summary = perfusion_summary(read_perfusion(cohort, frozenset()), Counts(5))
    assert summary is not None
    assert "< 5" in str(summary)
    assert perfusion_summary(read_perfusion(Cohort(tmp_path), frozenset()), Counts(5)) is None


# statistics


def perfusion_table_of(cohort: Cohort) -> pd.DataFrame:
    return pd.read_parquet(perfusion_path(cohort)).query("status == 'ok'")


def test_perfusion_columns_join_the_phenotypes_only_where_they_are_wanted(
    cohort: Cohort, study: str, tmp_path: Path
) -> None:
    phenotypes = pd.DataFrame({"study": [study, "x-1"], "status": ["quarantined", "ok"], "lvef_pct": [np.nan, 60.0]})
    assert with_perfusion(phenotypes, cohort, ["lvef_pct"]) is phenotypes
    joined = with_perfusion(phenotypes, cohort, ["lvef_pct", FLOW])
    assert list(joined["status"]) == ["ok", "ok"]
    assert joined[FLOW].notna().tolist() == [True, False]
    verdict = perfusion_table_of(cohort)["qc_quantitative"].iloc[0]
    assert joined["qc_ok"].tolist() == [verdict, pd.NA]  # of the perfusion, where the cine was not measured
    with pytest.raises(FileNotFoundError, match="run perfusion first"):
        with_perfusion(phenotypes, Cohort(tmp_path), [FLOW])


def test_flow_is_associated_and_carries_risk_like_any_phenotype(tmp_path: Path) -> None:
    planted = Planted(hazard_factor=6.0, prevalence_factor=2.0)
    phenotypes, participants, outcomes = example_tables(150, np.random.default_rng(0), planted)
    flow = phenotypes[["study", "status"]].assign(**{FLOW: phenotypes["lvef_pct"] / 60}, qc_quantitative=True)
    (tmp_path / "tables").mkdir()
    phenotypes.to_parquet(tmp_path / "tables" / "phenotypes.parquet")
    flow.to_parquet(tmp_path / "tables" / "perfusion.parquet")
    participants.to_csv(tmp_path / "participants.csv", index=False)
    outcomes.to_csv(tmp_path / "outcomes.csv", index=False)
    settings = AnalysisSettings(
        phenotypes=(FLOW, "lvef_pct"),
        conditions=("heart_failure", "death"),
        covariates=("sex",),
        permutations=19,
    )
    files = UserFiles(tmp_path / "participants.csv", tmp_path / "outcomes.csv")
    for stage, table in ((associate, "associations"), (risk, "hazards")):
        assert stage(tmp_path, settings, files)["status"] == "done"
        rows = pd.read_parquet(tmp_path / "tables" / "estimates" / f"{table}.parquet")
        scaled = rows[rows["scale"] == "per_sd"] if (rows["scale"] == "per_sd").any() else rows
        ours, theirs = (scaled[scaled["exposure"] == name]["estimate"].to_numpy() for name in (FLOW, "lvef_pct"))
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    before = estimates_key(tmp_path, settings, files)
    flow.assign(**{FLOW: 1.0}).to_parquet(tmp_path / "tables" / "perfusion.parquet")
    assert estimates_key(tmp_path, settings, files) != before


def test_a_series_left_out_that_is_called_perfusion_scout_is_no_perfusion(tmp_path: Path) -> None:
    scout = replace(lax(0, 99), frames=1, header={"SeriesDescription": "perfusion_scout"})
    write_files(tmp_path / "archive", files([*sax(), scout]))
    chosen = CohortSettings(directory=tmp_path / "cohort", sources=(tmp_path / "archive",))
    with open_ledger(chosen.cohort.ledger) as ledger:
        run_in_process(planning.plan(CONVERT, chosen, ledger), ledger, chosen.cohort)
        (converted,) = ledger.outcomes(CONVERT.name)
        assert [series["description"] for series in converted.summary["excluded"]] == ["perfusion scout"]
        run_in_process(planning.plan(PERFUSION, chosen, ledger), ledger, chosen.cohort)
        (entry,) = ledger.entries(PERFUSION.name).values()
        assert (entry.status, entry.reason) == ("absent", "no_perfusion")
        assert planning.plan(PERFUSION, chosen, ledger).count(ledger, chosen.cohort) == 0
