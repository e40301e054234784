"""Who withdrew is found however studies have to write the name."""

from pathlib import Path

import pandas as pd
import pytest
from dicom_factory import files, sax, write_files

from flows import planning
from flows.settings import CohortSettings
from tasks.convert.convert_stage import CONVERT
from tasks.convert.settings import ConvertSettings
from tasks.execution.stage import Planned, run_in_process
from tasks.maintenance import withdrawal
from tasks.maintenance.withdrawal import withdraw, withdraw_now, withdrawn_studies
from tasks.report.pages import page_name
from tasks.sources import inventory
from tasks.sources.withdrawn import has_withdrawn, read_withdrawn
from tasks.state.ledger import Ledger, Outcome, open_ledger
from tasks.state.mistakes import UserMistake
from tasks.state.parquet_tables import publish_table, table_key
from tasks.state.store import Cohort, damaged_path, receipt_path


def test_a_withdrawn_name_is_found_under_every_spelling_of_a_study(tmp_path: Path) -> None:
    for folder in ("one/001", "two/001"):
        write_files(tmp_path / folder, [("001_SA_ED.nii.gz", b"")])
    write_files(tmp_path / "odd", files(sax(1), patient="A B/1"))
    write_files(tmp_path / "other", files(sax(1), patient="0011", study_uid="1.2.9"))
    (tmp_path / "withdrawn.csv").write_text('"001"\nA B/1,2020\n\n')
    withdrawn = read_withdrawn(tmp_path / "withdrawn.csv")
    participants = [unit["participant"] for unit in inventory([tmp_path]).units]
    assert len(participants) == 4
    assert [name for name in participants if not has_withdrawn(name, withdrawn)] == ["0011"]


def _cohort_of(root: Path, studies: list[str]) -> Cohort:
    """Studies with whatever a cohort may hold of them; the content does not matter here."""
    cohort = Cohort(root / "cohort")
    for study in studies:
        for path in (cohort.study(study), cohort.prediction("default", study), cohort.prediction("sex-x", study)):
            write_files(path.parent, [(path.name, b""), (receipt_path(path).name, b"")])
        for report in ("reports", "reports.new"):
            write_files(cohort.root / report / "studies", [(page_name(study), b"")])
    rows = pd.DataFrame({"study": studies, "value": 1.0})
    for name in ("phenotypes", "predictions/sex-x", "evaluations/default/cases"):
        publish_table(rows, cohort.tables / f"{name}.parquet", "key")
    publish_table(pd.DataFrame({"value": [1.0]}), cohort.estimates / "hazards.parquet", "key")
    with open_ledger(cohort.ledger) as ledger:
        for stage in ("convert", "derive", "predict sex-x"):
            ledger.record(Outcome(study, stage, "ok", summary={"values": {"age": 60}}) for study in studies)
        ledger.record([Outcome("2-2", "convert", "retired", "source_removed")])
    return cohort


def test_who_withdrew_leaves_everything_also_when_the_source_had_vanished(tmp_path: Path) -> None:
    cohort = _cohort_of(tmp_path, ["1-2", "2-2", "3-2"])
    (tmp_path / "withdrawn.csv").write_text("1\n2\n")
    settings = CohortSettings(
        directory=cohort.root, withdrawn=tmp_path / "withdrawn.csv", convert=ConvertSettings(removed_max=1)
    )
    with open_ledger(cohort.ledger) as ledger:
        planned = planning.plan(CONVERT, settings, ledger).planned
        assert planned.removed == {"1-2": "withdrawn", "2-2": "withdrawn", "3-2": "source_removed"}
        withdraw(cohort, ledger, withdrawn_studies(planned))
        for stage in ("derive", "predict sex-x"):
            left = {outcome.study: (outcome.status, outcome.summary) for outcome in ledger.outcomes(stage)}
            assert left["1-2"] == left["2-2"] == ("retired", {})
            assert left["3-2"][0] == "ok"
        ledger.record([Outcome(study, "convert", "retired", "withdrawn") for study in ("1-2", "2-2")])
        assert planning.plan(CONVERT, settings, ledger).planned.removed == {"3-2": "source_removed"}
    assert {path.name[:3] for path in cohort.root.rglob("*-2.*")} == {"3-2"}
    tables = {path: pd.read_parquet(path) for path in cohort.tables.rglob("*.parquet")}
    assert len(tables) == 4
    assert {name for table in tables.values() if "study" in table for name in table["study"]} == {"3-2"}
    assert [table_key(path) for path in tables if path.stem == "hazards"] == ["key"]
    assert {table_key(path) for path in tables if path.stem != "hazards"} == {None}


_LISTS = {
    "byte-order mark": b"\xef\xbb\xbf1001\n1002\n",
    "lines of Windows": b"1001\r\n1002\r\n",
    "no last line end": b"1001\n1002",
    "quotes, spaces, blank lines": b'"1001"\n\n  1002 \n',
    "further columns": b"1001,2020-01-01\n1002;x\n",
    "a heading": b"eid\n1001\n1002\n",
    "a mark before quotes": b'\xef\xbb\xbf"1001",2020-01-01\n"1002",2020-01-01\n',
}


@pytest.mark.parametrize("how", _LISTS)
def test_everybody_on_the_list_is_found_the_first_and_the_last_too(how: str, tmp_path: Path) -> None:
    (tmp_path / "withdrawn.csv").write_bytes(_LISTS[how])
    withdrawn = read_withdrawn(tmp_path / "withdrawn.csv")
    named = {name: has_withdrawn(name, withdrawn) for name in ("1001", "1002", "1003", "100", "10010")}
    assert named == {"1001": True, "1002": True, "1003": False, "100": False, "10010": False}


def test_outcomes_at_convert_are_left_to_be_retired_last_and_only_stages_that_knew_the_study_are(
    tmp_path: Path,
) -> None:
    cohort = _cohort_of(tmp_path, ["1-2", "3-2"])
    with open_ledger(cohort.ledger) as ledger:
        ledger.forget("derive", ["1-2"])
        withdraw(cohort, ledger, ["1-2", "9-2"])
        assert ledger.entries("convert")["1-2"].status == "ok"
        assert set(ledger.entries("derive")) == {"3-2"}
        assert ledger.entries("predict sex-x")["1-2"][:2] == ("retired", "withdrawn")
    for path in (cohort.study("3-2"), cohort.prediction("sex-x", "3-2"), cohort.reports / "studies" / page_name("3-2")):
        assert path.exists()


def test_what_goes_goes_before_the_ledger_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cohort = _cohort_of(tmp_path, ["1-2", "3-2"])
    calls: list[str] = []
    unlink, record = Path.unlink, Ledger.record
    monkeypatch.setattr(Path, "unlink", lambda path, **how: (calls.append(f"file {path.name}"), unlink(path, **how))[1])
    monkeypatch.setattr(
        withdrawal, "publish_table", lambda table, path: calls.append(f"table {path.stem} of {list(table['study'])}")
    )
    monkeypatch.setattr(Ledger, "record", lambda ledger, rows: (calls.append("ledger"), record(ledger, rows))[1])
    with open_ledger(cohort.ledger) as ledger:
        withdraw(cohort, ledger, [])
        assert calls == []
        withdraw(cohort, ledger, ["1-2"])
    kinds = [call.split()[0] for call in calls]
    assert kinds == sorted(kinds, key=["file", "table", "ledger"].index)
    assert [call for call in calls if call.startswith("table")] == [
        f"table {name} of ['3-2']" for name in ("cases", "phenotypes", "sex-x")
    ]
    assert kinds.count("ledger") == 2  # derive and predict
    of_study = [call for call in calls if call.startswith(("file 1-2.z", "file 1-2.r"))]
    names = ["1-2.zarr.zip", "1-2.rejected.json", "1-2.zarr.zip.damaged"]
    assert of_study == [f"file {name}" for name in names * 3]  # the study, and two models
    assert calls.count(f"file {page_name('1-2')}") == 2


def test_files_put_aside_as_damaged_go_as_well(tmp_path: Path) -> None:
    cohort = _cohort_of(tmp_path, ["1-2"])
    put_aside = [damaged_path(cohort.study("1-2")), damaged_path(cohort.prediction("default", "1-2"))]
    for path in put_aside:
        path.touch()
    with open_ledger(cohort.ledger) as ledger:
        withdraw(cohort, ledger, ["1-2"])
    assert not any(path.exists() for path in put_aside)
    assert table_key(cohort.estimates / "hazards.parquet") == "key"


def test_only_those_who_withdrew_are_told_from_the_plan() -> None:
    planned = Planned([], removed={"2-2": "source_removed", "1-2": "withdrawn", "0-2": "withdrawn"})
    assert withdrawn_studies(planned) == ["1-2", "0-2"]


def test_a_participant_who_is_withdrawn_at_once_stays_out_also_without_a_list(tmp_path: Path) -> None:
    for patient in ("7", "8"):
        write_files(tmp_path / "archive" / patient, files(sax(1), patient=patient, study_uid=f"1.2.{patient}"))
    settings = CohortSettings(directory=tmp_path / "cohort", sources=(tmp_path / "archive",))
    cohort = settings.cohort
    with open_ledger(cohort.ledger) as ledger:
        run_in_process(planning.plan(CONVERT, settings, ledger), ledger, cohort)
        (study,) = (name for name in ledger.entries("convert") if name.startswith("7-"))
        with pytest.raises(UserMistake, match="nothing was changed"):
            withdraw_now(cohort, ledger, ["70"])
        assert not cohort.withdrawn.exists()
        assert withdraw_now(cohort, ledger, [" 7.0 "]) == [study]
        assert not cohort.study(study).exists()
        assert ledger.entries("convert")[study][:2] == ("retired", "withdrawn")
        assert list(pd.read_parquet(cohort.tables / "studies.parquet")["participant"]) == ["8"]
        work = planning.plan(CONVERT, settings, ledger)
        assert work.waiting(ledger) == ([], [])
        assert [unit["participant"] for unit in work.planned.units] == ["8"]
    cohort.ledger.unlink()  # what was told is not lost with it
    with open_ledger(cohort.ledger) as ledger:
        assert [unit["participant"] for unit in planning.plan(CONVERT, settings, ledger).planned.units] == ["8"]
    assert cohort.withdrawn.read_text() == "7\n"
