"""Some studies alone: who is meant by a name, and that nobody else is worked on, retired or forgotten."""

import os
from pathlib import Path

import pytest
from dicom_factory import files, sax, write_files

from flows import planning
from flows.settings import CohortSettings
from tasks.convert.convert_stage import CONVERT
from tasks.execution.selection import Selection, forget_made
from tasks.execution.stage import run_in_process
from tasks.inference.segment_stage import SEGMENT
from tasks.state.ledger import Ledger, Outcome, open_ledger
from tasks.state.mistakes import UserMistake


@pytest.mark.parametrize(
    ("studies", "participants", "held"),
    [
        (["1-2"], [], ["1-2"]),
        ([], ["1"], ["1-2", "1-3"]),
        ([], ["12.0"], ["12-2"]),  # as a spreadsheet writes it
        (["12-2"], ["1"], ["1-2", "1-3", "12-2"]),
        (["1"], [], ["1-2", "1-3"]),  # a list does not say which it names
        ([], [], ["1-2", "1-3", "12-2"]),
    ],
)
def test_a_selection_holds_the_studies_that_are_named(
    studies: list[str], participants: list[str], held: list[str]
) -> None:
    selection = Selection.of(studies, participants)
    assert [study for study in ("1-2", "1-3", "12-2") if selection.holds(study)] == held


def test_a_list_names_studies_or_participants_and_a_name_of_nobody_is_told(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("\ufeff1-2\r\n\n 12 \n")
    selection = Selection.of([], [], [tmp_path / "list.txt"])
    assert [study for study in ("1-2", "1-3", "12-2", "13-2") if selection.holds(study)] == ["1-2", "12-2"]
    selection.check({"1-2", "12-2"})
    # A name of a list may be a person's: its line is told, and goes to logs of jobs in its place.
    with pytest.raises(UserMistake, match=r"list\.txt, line 3: no study is called so;"):
        selection.check({"1-2", "13-2"})
    (tmp_path / "list.txt").write_text("\n")
    with pytest.raises(UserMistake, match=r"the list of studies is empty"):
        Selection.of([], [], [tmp_path / "list.txt"])


@pytest.fixture
def settings(tmp_path: Path) -> CohortSettings:
    for k, patient in enumerate(("7", "8", "9")):
        write_files(tmp_path / "archive" / patient, files(sax(1), patient=patient, study_uid=f"1.2.{k}"))
    return CohortSettings(directory=tmp_path / "cohort", sources=(tmp_path / "archive",))


def _convert(settings: CohortSettings, ledger: Ledger, selection: Selection | None) -> list[str]:
    """Studies that were worked on."""
    with planning.only(selection):
        work = planning.plan(CONVERT, settings, ledger)
        if selection is not None and selection.forced:
            forget_made(work, ledger, settings.cohort, "")
        units, _ = work.waiting(ledger)
        run_in_process(work, ledger, settings.cohort)
    return [unit["participant"] for unit in units]


def test_one_study_alone_is_worked_on_and_again_only_if_forced(settings: CohortSettings) -> None:
    with open_ledger(settings.cohort.ledger) as ledger:
        assert _convert(settings, ledger, Selection.of([], ["8"])) == ["8"]
        assert len(ledger.entries("convert")) == 1
        assert _convert(settings, ledger, None) == ["7", "9"]
        (study,) = (name for name in ledger.entries("convert") if name.startswith("8-"))
        before = settings.cohort.study(study)
        content = before.read_bytes()
        os.utime(before, (0, 0))
        assert _convert(settings, ledger, Selection.of([study], [])) == []
        assert before.stat().st_mtime == 0
        assert _convert(settings, ledger, Selection.of([study], [], forced=True)) == ["8"]
        assert before.stat().st_mtime > 0
        assert before.read_bytes() == content
        assert _convert(settings, ledger, Selection(forced=True)) == ["7", "8", "9"]


def test_nobody_else_is_retired_because_one_study_was_named(settings: CohortSettings, tmp_path: Path) -> None:
    with open_ledger(settings.cohort.ledger) as ledger:
        _convert(settings, ledger, None)
        ledger.record(Outcome(study, SEGMENT.name, "ok") for study in ledger.entries("convert"))
        for path in (tmp_path / "archive/9").iterdir():
            path.unlink()
        _convert(settings, ledger, Selection.of([], ["8"]))
        assert {entry.status for entry in ledger.entries("convert").values()} == {"ok"}
        with (
            planning.only(Selection.of([], ["nobody"])),
            pytest.raises(UserMistake, match="no study is called 'nobody'"),
        ):
            planning.plan(CONVERT, settings, ledger)
        forget_made(planning.plan(SEGMENT, settings, ledger), ledger, settings.cohort, "default")
        assert ledger.entries(SEGMENT.name) == {}
        assert len(ledger.entries("convert")) == 3


def test_what_was_planned_to_count_is_carried_out_once(settings: CohortSettings) -> None:
    with open_ledger(settings.cohort.ledger), planning.planned_once():
        assert planning.count(settings) > 0
    with planning.planned_once(), open_ledger(settings.cohort.ledger) as ledger:
        planning.count(settings)
        first = planning.plan(CONVERT, settings, ledger)
        assert planning.plan(CONVERT, settings, ledger) is not first
        assert len(first.planned.units) == 3
