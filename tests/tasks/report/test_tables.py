"""What the report reads: settings, sexes, outcomes of every stage, and a sentence for each table that is not there."""

import json

import pandas as pd
import pytest

from tasks.report.tables import (
    MAIN_STAGES,
    ReportTables,
    _outcome_row,
    _outcomes,
    _sex,
    _steps,
    read_tables,
    records,
    report_inputs,
)
from tasks.state.ledger import Outcome, open_ledger
from tasks.state.store import Cohort


def test_settings_that_are_left_out_keep_their_defaults(tmp_path):
    plain = report_inputs({})
    assert (plain.model, plain.minimum_cell, plain.participants, plain.outcomes, plain.columns) == (
        "default",
        5,
        None,
        None,
        {},
    )
    told = report_inputs(
        {"participants": str(tmp_path / "p.csv"), "outcomes": "", "segment": {"model": str(tmp_path / "nets" / "mine")},
         "analysis": {"minimum_cell": 10, "participant_columns": {"sex": "p31"}}, "report": {"title": "T"}}
    )  # fmt: skip
    assert (told.minimum_cell, told.columns, told.outcomes) == (10, {"sex": "p31"}, None)
    assert told.participants == tmp_path / "p.csv"
    assert told.model.startswith("mine")
    assert (told.report.title, told.resolved["analysis"]["minimum_cell"]) == ("T", 10)


def test_sexes_are_words_letters_or_the_codes_of_uk_biobank():
    given = pd.Series(["Male", " m ", "1", 1.0, "FEMALE", "f", 0, "0.0", "2", None, "x"], dtype=object)
    assert _sex(given).where(lambda s: s.notna(), None).tolist() == ["male"] * 4 + ["female"] * 4 + [None] * 3


def summary(flags, reasons):
    return {
        "views": {name: {"flags": each} for name, each in flags.items()},
        "excluded": [{"reason": r} for r in reasons],
    }


def test_an_outcome_has_its_flags_once_and_every_series_that_was_left_out():
    found = _outcome_row(
        Outcome("a-2", "convert", "ok", "", "", "k", summary=summary(
            {"sax": ["slice_gap:3", "phase_gap"], "lax_4c": ["phase_gap"], "lax_2c": []},
            ["series_scout", "series_phase_contrast", "series_scout"],
        ))
    )  # fmt: skip
    assert found[:6] == ("a-2", "convert", "ok", "", "", "k")
    assert json.loads(found[6]) == ["phase_gap", "slice_gap"]
    assert json.loads(found[7]) == ["series_phase_contrast", "series_scout", "series_scout"]
    assert _outcome_row(Outcome("a-2", "segment", "ok"))[6:] == ("[]", "[]")


@pytest.fixture
def cohort(tmp_path):
    cohort = Cohort(tmp_path)
    with open_ledger(cohort.ledger) as ledger:
        ledger.record([
            Outcome("b-2", "convert", "ok", key="kb"),
            Outcome("a-2", "convert", "quarantined", "zip_corrupt", "cut", "ka"),
            Outcome("c-2", "convert", "retired", "source_removed"),
            Outcome("c-2", "segment", "retired", "source_removed"),
            Outcome("b-2", "segment", "absent", "no_sax", "none", "kb"), Outcome("b-2", "perfusion", "ok", key="kp"),
        ])  # fmt: skip
    return cohort


def test_outcomes_are_of_the_main_stages_and_steps_of_all_without_retired_studies(cohort):
    assert MAIN_STAGES == ("convert", "segment", "derive")
    outcomes = _outcomes(cohort).sort_values(["stage", "study"])
    assert outcomes[["study", "stage", "status", "reason", "detail", "key"]].to_numpy().tolist() == [
        ["a-2", "convert", "quarantined", "zip_corrupt", "cut", "ka"], ["b-2", "convert", "ok", "", "", "kb"],
        ["b-2", "segment", "absent", "no_sax", "none", "kb"],
    ]  # fmt: skip
    steps = _steps(cohort, None)
    assert sorted(map(tuple, steps.to_numpy().tolist())) == [
        ("a-2", "convert", "quarantined", "zip_corrupt"), ("b-2", "convert", "ok", ""), ("b-2", "perfusion", "ok", ""),
        ("b-2", "segment", "absent", "no_sax"),
    ]  # fmt: skip


def test_where_no_study_went_through_a_stage_the_steps_are_those_of_a_given_table(cohort, tmp_path):
    given = pd.DataFrame(
        {"study": ["x-1", "y-1"], "status": ["ok", "absent"], "reason": ["", "no_sax"], "lvef_pct": [60.0, None]}
    )
    assert _steps(Cohort(tmp_path / "nobody"), given).to_numpy().tolist() == [
        ["x-1", "derive", "ok", ""], ["y-1", "derive", "absent", "no_sax"]
    ]  # fmt: skip
    assert len(_steps(cohort, given)) == 4
    assert list(_steps(Cohort(tmp_path / "nobody"), None)) == ["study", "stage", "status", "reason"]
    assert len(_outcomes(Cohort(tmp_path / "nobody"))) == 0


def write_phenotypes(cohort, studies):
    """Only what the report needs of an older table: no state, no reason."""
    from tasks.derive.phenotype_tables import phenotype_table
    from tasks.state.parquet_tables import publish_table

    summary = {"phenotypes": {"lvef_pct": 60.0}, "missing": {}, "quality": {}, "quality_reasons": []}
    outcomes = [Outcome(study, "derive", status, summary=summary) for study, status in studies.items()]
    publish_table(phenotype_table(outcomes, {}), cohort.tables / "phenotypes.parquet", "k")


def test_measured_people_have_their_sex_by_the_key_of_their_study(cohort, tmp_path):
    write_phenotypes(cohort, {"0012-2": "ok", "13-2": "ok", "14-2": "absent", "15-2": "ok"})
    people = tmp_path / "participants.csv"
    people.write_text("eid,instance,p31\n13,2,0\n0012,2,1\n15,2,9\n12,2,0\n")
    columns = {"participant": "eid", "visit": "instance", "sex": "p31"}
    tables = read_tables(
        cohort, report_inputs({"participants": str(people), "analysis": {"participant_columns": columns}})
    )
    measured = tables.measured.set_index("study")["sex"]
    assert measured.where(measured.notna(), None).to_dict() == {"0012-2": "male", "13-2": "female", "15-2": None}
    assert "participants" not in tables.absent
    assert "no table of outcomes" in tables.absent["hazards"].lower()
    assert tables.has_images


def test_what_is_not_there_says_why(cohort, tmp_path):
    tables = read_tables(cohort, report_inputs({}))
    assert tables.phenotypes is None
    assert tables.measured.empty
    assert "No study has been measured yet" in tables.absent["phenotypes"]
    assert "no results by group" in tables.absent["participants"]
    assert all("No table of participants" in tables.absent[name] for name in ("associations", "hazards", "fairness"))
    people = tmp_path / "participants.csv"
    people.write_text("participant,visit,height_cm\n1,2,180\n")
    lacking = read_tables(cohort, report_inputs({"participants": str(people), "outcomes": str(people)}))
    assert "lacks ['sex']" in lacking.absent["participants"]
    assert "has not been run" in lacking.absent["associations"]
    mapped = {"participants": str(people), "analysis": {"participant_columns": {"sex": "p31"}}}
    assert "lacks ['p31']" in read_tables(cohort, report_inputs(mapped)).absent["participants"]
    gone = read_tables(cohort, report_inputs({"participants": str(tmp_path / "nowhere.csv")}))
    assert "No table of participants is configured" in gone.absent["participants"]


def test_without_images_a_table_of_phenotypes_was_given(tmp_path):
    cohort = Cohort(tmp_path)
    write_phenotypes(cohort, {"1-2": "ok"})
    assert not read_tables(cohort, report_inputs({})).has_images


@pytest.mark.parametrize(("include", "described"), [(False, ["1-2"]), (True, ["1-2", "2-2"])])
def test_numbers_of_groups_are_of_those_who_passed_and_of_doubted_ones_only_if_taken_in(include, described):
    phenotypes = pd.DataFrame(
        {"study": ["1-2", "2-2", "3-2"], "status": ["ok", "ok", "quarantined"], "qc_ok": [True, False, None]}
    )
    nothing = pd.DataFrame()
    tables = ReportTables(nothing, nothing, phenotypes, None, {}, {}, include_doubted=include)
    assert tables.described["study"].tolist() == described
    assert tables.measured["study"].tolist() == ["1-2", "2-2"]
    assert ReportTables(nothing, nothing, None, None, {}, {}).described.empty
    chosen = report_inputs({"analysis": {"include_doubted": include}})
    assert chosen.include_doubted is include


def test_records_are_rows_by_name():
    assert records(pd.DataFrame({"a": [1, 2], 3: ["x", None]})) == [{"a": 1, "3": "x"}, {"a": 2, "3": None}]
