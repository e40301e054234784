"""The statistics stages on files: what is written, gated, keyed, and when nothing is done."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cmr_models.analysis.model_spec import GAP_MODELS
from cmr_models.contracts.identifiers import short_digest
from cmr_models.estimates import COLUMNS
from cmr_models.simulate.measured import example_tables
from cmr_models.simulate.planted import CohortSettings
from tasks.analysis.by_settings import (
    TABLES,
    UserFiles,
    associate,
    estimates_key,
    is_current,
    people_flow_path,
    people_line,
    risk,
    spec_digest,
)
from tasks.analysis.settings import AnalysisSettings
from tasks.state.ledger import Outcome, SourceFile, open_ledger
from tasks.state.mistakes import UserMistake
from tasks.state.parquet_tables import publish_table, table_key

_COHORT = CohortSettings(hazard_factor=6.0, prevalence_factor=2.0)


def _settings() -> AnalysisSettings:
    return AnalysisSettings(
        phenotypes=("lvef_pct", "lvm_g"),
        conditions=("heart_failure", "hypertension", "death"),
        covariates=("sex",),
        permutations=49,
    )


def _files(folder: Path) -> UserFiles:
    return UserFiles(folder / "participants.csv", folder / "outcomes.csv")


def _write(folder: Path, n: int = 150, seed: int = 0) -> AnalysisSettings:
    phenotypes, participants, outcomes = example_tables(n, np.random.default_rng(seed), _COHORT)
    (folder / "tables").mkdir(parents=True, exist_ok=True)
    phenotypes.to_parquet(folder / "tables" / "phenotypes.parquet")
    participants.to_csv(folder / "participants.csv", index=False)
    outcomes.to_csv(folder / "outcomes.csv", index=False)
    return _settings()


def _tables(folder: Path) -> dict[str, pd.DataFrame]:
    paths = sorted((folder / "tables" / "estimates").glob("*.parquet"))
    return {path.stem: pd.read_parquet(path) for path in paths}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cohort")
    settings = _write(folder)
    assert associate(folder, settings, _files(folder))["status"] == "done"
    assert risk(folder, settings, _files(folder))["status"] == "done"
    return folder


def test_every_table_has_the_columns_of_the_contract(finished: Path) -> None:
    tables = _tables(finished)
    assert set(tables) == {name for names in TABLES.values() for name in names}
    for table in tables.values():
        assert tuple(table.columns[: len(COLUMNS)]) == COLUMNS
        assert set(table["status"]) <= {"ok", "failed", "suppressed"}
        assert table["spec_digest"].eq(spec_digest(_settings())).all()


def test_a_row_has_a_number_if_and_only_if_it_is_ok(finished: Path) -> None:
    for table in _tables(finished).values():
        assert (table["estimate"].notna() == (table["status"] == "ok")).all()
        assert ((table["reason"] == "") == (table["status"] == "ok")).all()


def test_there_is_a_row_for_every_pair_and_both_scales(finished: Path) -> None:
    hazards = _tables(finished)["hazards"]
    keys = hazards.groupby(["exposure", "outcome", "scale"]).size()
    assert keys.to_dict() == dict.fromkeys(keys.index, 1)
    assert len(keys) == 2 * 3 * 2
    assert hazards["status"].eq("ok").any()


def test_no_small_cell_is_in_any_file(finished: Path) -> None:
    for table in _tables(finished).values():
        for name in ("n", "n_events"):
            assert not table[name].between(1, 4).any()
        assert not (table["n"] - table["n_events"]).between(1, 4).any()
    curves = _tables(finished)["survival_curves"]
    assert not curves["n_at_risk"].between(1, 4).any()
    shown = curves[curves["status"] == "ok"].groupby(["exposure", "outcome", "group"])["n_events"]
    assert not shown.diff().between(1, 4).any()


def test_numbers_at_risk_are_rounded_and_stand_at_thinned_points_too(finished: Path) -> None:
    curves = _tables(finished)["survival_curves"]
    assert (curves["n_at_risk"].dropna() % 5 == 0).all()
    thinned = curves[(curves["status"] == "suppressed") & curves["years"].notna()]
    assert thinned["n_at_risk"].notna().any()
    assert thinned[["estimate", "n_events"]].isna().all(axis=None)


def test_there_is_a_gap_for_every_grouping_and_it_names_who_is_not_in_it(finished: Path) -> None:
    fairness = _tables(finished)["fairness"]
    gaps = fairness[fairness["group"] == "max_gap"]
    assert set(gaps["group_by"]) == {"sex", "age_band", "bmi_class", "ethnicity", "centre"}
    failed = gaps[gaps["status"] == "failed"]
    assert failed["estimate"].isna().all()
    assert (gaps.loc[gaps["group_by"] == "ethnicity", "not_estimable"] != "").all()


def test_every_model_with_gaps_may_have_a_margin(finished: Path) -> None:
    fairness = _tables(finished)["fairness"]
    models = set(fairness.loc[fairness["measure"] == "gap", "model"])
    assert models == {"logistic", "cox_age", "harrell_phenotype", "mean", "adjusted_mean", "qc_pass"}
    assert models < set(GAP_MODELS)


def test_adjusted_concordance_is_given_again_by_group_by_the_model_of_all(finished: Path) -> None:
    tables = _tables(finished)
    keys = ["exposure", "outcome", "model"]
    overall = tables["discrimination"].set_index(keys)["estimate"]
    rows = tables["fairness"][tables["fairness"]["model"].isin(["harrell_adjusted", "uno_adjusted"])]
    again = rows[rows["group_by"] == "overall"].set_index(keys)["estimate"]
    pd.testing.assert_series_equal(again, overall.reindex(again.index))
    sexes = rows[(rows["group_by"] == "sex") & (rows["status"] == "ok") & (rows["measure"] == "concordance")]
    assert set(sexes["model"]) == {"harrell_adjusted", "uno_adjusted"}
    both = sexes.groupby(keys)["estimate"].agg(["min", "max", "size"])
    assert (both.loc[both["size"] == 2, "min"] < both.loc[both["size"] == 2, "max"]).all()


def test_a_second_run_does_nothing(finished: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (finished / "tables" / "estimates").iterdir()}
    assert associate(finished, _settings(), _files(finished))["status"] == "current"
    assert risk(finished, _settings(), _files(finished))["status"] == "current"
    assert before == {path: path.stat().st_mtime_ns for path in (finished / "tables" / "estimates").iterdir()}


def test_the_same_inputs_give_the_same_bytes(finished: Path, tmp_path: Path) -> None:
    settings = _write(tmp_path)
    associate(tmp_path, settings, _files(tmp_path))
    risk(tmp_path, settings, _files(tmp_path))
    folder = finished / "tables" / "estimates"
    for ours in sorted(path for path in folder.rglob("*") if path.is_file()):
        assert (tmp_path / "tables" / "estimates" / ours.relative_to(folder)).read_bytes() == ours.read_bytes()


def test_a_changed_input_or_setting_changes_the_key(tmp_path: Path) -> None:
    settings = _write(tmp_path, n=60)
    key = estimates_key(tmp_path, settings, _files(tmp_path))
    assert estimates_key(tmp_path, settings.model_copy(update={"seed": 1}), _files(tmp_path)) != key
    elsewhere = UserFiles(tmp_path / "people.csv", tmp_path / "outcomes.csv")
    shutil.copy(tmp_path / "participants.csv", tmp_path / "people.csv")
    assert estimates_key(tmp_path, settings, elsewhere) == key
    _write(tmp_path, n=60, seed=1)
    assert estimates_key(tmp_path, settings, _files(tmp_path)) != key


@pytest.mark.parametrize("name", ["participants.csv", "outcomes.csv", "tables/phenotypes.parquet", "gone.csv"])
def test_every_table_that_an_analysis_reads_is_in_its_key(tmp_path: Path, name: str) -> None:
    settings = _write(tmp_path, n=60)
    (tmp_path / "gone.csv").write_text("7\n")
    files = replace(_files(tmp_path), withdrawn=tmp_path / "gone.csv")
    before = estimates_key(tmp_path, settings, files)
    if name.endswith("parquet"):
        pd.read_parquet(tmp_path / name).iloc[1:].to_parquet(tmp_path / name)
    else:
        (tmp_path / name).write_text((tmp_path / name).read_text() + "8\n")
    assert estimates_key(tmp_path, settings, files) != before


def test_the_perfusion_table_is_in_the_key_of_an_analysis_of_perfusion_alone(tmp_path: Path) -> None:
    settings = _write(tmp_path, n=60)
    of_flow = settings.model_copy(update={"phenotypes": ("lvm_g", "mbf_rest_ml_min_g")})
    keys = []
    for content in ("first", "second"):
        (tmp_path / "tables" / "perfusion.parquet").write_text(content)
        keys.append([estimates_key(tmp_path, asked, _files(tmp_path)) for asked in (settings, of_flow)])
    assert keys[0][0] == keys[1][0]
    assert keys[0][1] != keys[1][1]


def test_a_missing_table_is_made_again(tmp_path: Path) -> None:
    settings = _write(tmp_path, n=60)
    associate(tmp_path, settings, _files(tmp_path))
    assert is_current(tmp_path, settings, _files(tmp_path), "associate")
    assert not is_current(tmp_path, settings, _files(tmp_path), "risk")
    published = tmp_path / "tables" / "estimates" / "associations.parquet"
    assert table_key(published) == estimates_key(tmp_path, settings, _files(tmp_path))
    published.unlink()
    assert associate(tmp_path, settings, _files(tmp_path))["status"] == "done"


def test_without_participants_the_stages_are_skipped_with_a_sentence(tmp_path: Path) -> None:
    for stage in (associate, risk):
        result = stage(tmp_path, AnalysisSettings(), UserFiles())
        assert result["status"] == "skipped"
        assert "no participants and outcomes" in result["reason"]


def test_foreign_column_names_are_mapped(tmp_path: Path) -> None:
    settings = _write(tmp_path, n=60)
    path = tmp_path / "participants.csv"
    table = pd.read_csv(path, dtype=str).rename(columns={"participant": "eid", "age_years": "p21003_i2"})
    table.to_csv(path, index=False)
    with pytest.raises(ValueError, match=r"participants.csv: columns \['participant', 'age_years'\] are missing"):
        associate(tmp_path, settings, _files(tmp_path))
    mapped = settings.model_copy(update={"participant_columns": {"participant": "eid", "age_years": "p21003_i2"}})
    assert associate(tmp_path, mapped, _files(tmp_path))["status"] == "done"


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    settings = _write(tmp_path, n=60).model_copy(update={"covariates": ("sex", "cholesterol")})
    with pytest.raises(ValueError, match=r"participants.csv: columns \['cholesterol'\] are missing"):
        associate(tmp_path, settings, _files(tmp_path))


def test_identifiers_that_a_spreadsheet_made_decimal_are_the_same_people(tmp_path: Path, finished: Path) -> None:
    settings = _write(tmp_path)
    for name in ("participants.csv", "outcomes.csv"):
        table = pd.read_csv(tmp_path / name)
        table[["participant", "visit"]] = table[["participant", "visit"]].astype(float)
        table.to_csv(tmp_path / name, index=False)
    assert associate(tmp_path, settings, _files(tmp_path))["status"] == "done"
    pd.testing.assert_frame_equal(_tables(tmp_path)["associations"], _tables(finished)["associations"])


def _spoilt(folder: Path, name: str, column: str, value: str) -> AnalysisSettings:
    settings = _write(folder, n=60)
    table = pd.read_csv(folder / name, dtype=str)
    table.loc[:1, column] = value
    table.to_csv(folder / name, index=False)
    return settings


def test_text_where_numbers_should_be_is_named_without_quoting_anybody(tmp_path: Path) -> None:
    settings = _spoilt(tmp_path / "a", "participants.csv", "age_years", "sixty")
    with pytest.raises(ValueError, match=r"participants.csv: 2 of 60 values of age_years are not numbers"):
        associate(tmp_path / "a", settings, _files(tmp_path / "a"))
    settings = _spoilt(tmp_path / "b", "outcomes.csv", "exit_years", "2021-03-04")
    with pytest.raises(ValueError, match=r"outcomes.csv: 2 of 60 values of exit_years are not numbers \(years\)"):
        risk(tmp_path / "b", settings, _files(tmp_path / "b"))


def test_a_table_about_other_people_is_refused(tmp_path: Path) -> None:
    settings = _write(tmp_path, n=60)
    table = pd.read_csv(tmp_path / "participants.csv").assign(visit=7)
    table.to_csv(tmp_path / "participants.csv", index=False)
    line = r"participants.csv: 60 of 60 people with a study have no row; 60 are listed under another visit"
    with pytest.raises(UserMistake, match=line):
        associate(tmp_path, settings, _files(tmp_path))


def test_a_cohort_without_phenotypes_says_what_to_run(tmp_path: Path) -> None:
    settings = _write(tmp_path, n=60)
    (tmp_path / "tables" / "phenotypes.parquet").unlink()
    with pytest.raises(FileNotFoundError, match="run derive first"):
        risk(tmp_path, settings, _files(tmp_path))


def test_every_table_says_how_many_doubted_people_it_left_or_took(tmp_path: Path) -> None:
    settings = _write(tmp_path)
    path = tmp_path / "tables" / "phenotypes.parquet"
    phenotypes = pd.read_parquet(path)
    doubted = (phenotypes["status"] == "ok") & (np.arange(len(phenotypes)) % 5 == 0)
    phenotypes.assign(qc_ok=~doubted).to_parquet(path)
    n = {}
    for choice, word in ((False, "left_out"), (True, "taken_in")):
        associate(tmp_path, settings.model_copy(update={"include_doubted": choice}), _files(tmp_path))
        table = _tables(tmp_path)["associations"]
        assert table["doubted"].eq(word).all()
        assert table["n_doubted"].eq(5 * round(doubted.sum() / 5)).all()
        n[word] = table["n"].max()
    assert n["taken_in"] > n["left_out"]
    flow = pd.read_parquet(tmp_path / "tables" / "people_flow.parquet")
    assert flow.loc[flow["step"] == "doubted, taken in", "n"].tolist() == [doubted.sum()]
    assert f"{len(phenotypes)} people" in people_line(tmp_path)


def test_people_who_withdrew_are_in_no_analysis_however_their_names_are_written(tmp_path: Path) -> None:
    settings = _write(tmp_path)
    phenotypes = pd.read_parquet(tmp_path / "tables" / "phenotypes.parquet")
    gone = phenotypes.loc[phenotypes["status"] == "ok", "participant"].iloc[:7].tolist()
    written = [
        gone[0],
        f"{gone[1]}.0",
        f'"{gone[2]}"',
        f" {gone[3]}",
        f"{gone[4]},2020",
        f"{gone[5]};x",
        f"{gone[6]}\t",
    ]
    (tmp_path / "withdrawn.csv").write_text("\ufeff" + "\n".join(written) + "\n")
    files = UserFiles(tmp_path / "participants.csv", tmp_path / "outcomes.csv", tmp_path / "withdrawn.csv")
    associate(tmp_path, settings, _files(tmp_path))
    assert not is_current(tmp_path, settings, files, "associate")
    associate(tmp_path, settings, files)
    flow = pd.read_parquet(tmp_path / "tables" / "people_flow.parquet").set_index(["group_by", "step"])["n"].to_dict()
    assert flow["overall", "studies of people who withdrew, left out"] == 7
    assert flow["overall", "rows of participants of people who withdrew, left out"] == 7
    assert flow["visits", "first visit"] == len(phenotypes) - 7
    assert "studies of people who withdrew, left out: 7" in people_line(tmp_path)


def test_people_whom_the_cohort_deleted_are_in_no_analysis_without_the_list(tmp_path: Path) -> None:
    settings = _write(tmp_path, n=60)
    study = pd.read_parquet(tmp_path / "tables" / "phenotypes.parquet")["study"].iloc[0]
    with open_ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.record([Outcome(study, "convert", "retired", "withdrawn")])
    associate(tmp_path, settings, _files(tmp_path))
    flow = pd.read_parquet(tmp_path / "tables" / "people_flow.parquet").set_index(["group_by", "step"])["n"].to_dict()
    assert flow["visits", "first visit"] == 59


@pytest.mark.parametrize("empty", ["participants.csv", "outcomes.csv"])
def test_a_table_without_rows_is_an_error(tmp_path: Path, empty: str) -> None:
    settings = _write(tmp_path, n=60)
    header = (tmp_path / empty).read_text().splitlines()[0]
    (tmp_path / empty).write_text(header + "\n")
    with pytest.raises(UserMistake, match=f"{empty}: 60 of 60 people with a study have no row; the table has no rows"):
        associate(tmp_path, settings, _files(tmp_path))


def test_tables_of_other_people_are_told_by_the_kind_of_their_identifiers(tmp_path: Path) -> None:
    settings = _write(tmp_path, n=60)
    table = pd.read_csv(tmp_path / "participants.csv", dtype=str)
    table["participant"] = "Xy-" + table["participant"].str[:4]
    table = table.drop_duplicates("participant")
    table.to_csv(tmp_path / "participants.csv", index=False)
    with pytest.raises(UserMistake) as caught:
        associate(tmp_path, settings, _files(tmp_path))
    line = str(caught.value)
    assert line.startswith("participants.csv: 60 of 60 people with a study have no row")
    assert "column participant is written like 'Aa_9999', that of the studies like '9999999'" in line
    assert not set(table["participant"]) & set(line.split("'"))


def test_studies_of_one_day_are_ordered_by_their_headers_and_the_others_counted(tmp_path: Path) -> None:
    """Two people have a second StudyInstanceUID of the day; the headers tell the order of one of them."""
    settings = _write(tmp_path)
    files = _files(tmp_path)
    phenotypes = pd.read_parquet(tmp_path / "tables/phenotypes.parquet").astype({"participant": str})
    phenotypes["study"] = phenotypes["participant"] + "-2"
    participants = pd.read_csv(files.participants, dtype=str)
    names = phenotypes["participant"].iloc[:2].tolist()
    first, second = (short_digest(uid) for uid in ("1.2.3", "1.2.4"))
    rows, people = [], []
    for name, visits in ((names[0], [first, second]), (names[1], ["aaaaaaaa", "bbbbbbbb"])):
        own = phenotypes[phenotypes["participant"] == name]
        rows += [own.assign(visit=visit, study=f"{name}-{visit}") for visit in visits]
        people += [participants[participants["participant"] == name].assign(visit=visit) for visit in visits]
    rest = phenotypes[~phenotypes["participant"].isin(names)].astype({"visit": str})
    pd.concat([rest, *rows]).to_parquet(tmp_path / "tables/phenotypes.parquet", index=False)
    pd.concat([participants[~participants["participant"].isin(names)], *people]).to_csv(files.participants, index=False)
    key = estimates_key(tmp_path, settings, files)
    begun = {"1.2.3": "20200301100000", "1.2.4": "20200301110000"}
    facts = {"studies": [[uid, names[0]] for uid in begun], "begun": begun}
    with open_ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.remember_sources([SourceFile("a.zip", 1, 1, facts)], forget_others=True)
    assert estimates_key(tmp_path, settings, files) != key
    assert associate(tmp_path, settings, files)["status"] == "done"
    flow = (
        pd.read_parquet(tmp_path / "tables/people_flow.parquet")
        .set_index(["outcome", "group_by", "step"])["n"]
        .sort_index()
    )
    assert flow["", "visits"].to_dict() == {
        "first visit": 149, "later visit, left out": 1, "order of visits unknown, left out": 2,
    }  # fmt: skip
    assert flow["", "overall", "first of several studies of one day"] == 1
    assert "visits order of visits unknown, left out: 2" in people_line(tmp_path)
    published = b"".join(path.read_bytes() for path in (tmp_path / "tables").rglob("*.parquet"))
    assert b"20200301" not in published


def test_the_line_on_people_names_the_losses_that_there_were_and_no_other_step(tmp_path: Path) -> None:
    assert people_line(tmp_path) == ""
    steps = [
        ("", "visits", "first visit", 90), ("", "visits", "later visit, left out", 4),
        ("", "studies", "measured", 80), ("", "studies", "not measured", 10), ("", "studies", "doubted, left out", 0),
        ("death", "follow-up", "not measured", 7),
    ]  # fmt: skip
    table = pd.DataFrame(steps, columns=["outcome", "group_by", "step", "n"])
    publish_table(table.astype({"n": float}), people_flow_path(tmp_path), "key", None)
    assert people_line(tmp_path) == "90 people; visits later visit, left out: 4; studies not measured: 10"
