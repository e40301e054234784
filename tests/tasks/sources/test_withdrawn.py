"""People who withdrew are found by any spelling of their name, and nobody else is."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cmr_models.contracts.identifiers import identifier_key
from tasks.sources.withdrawn import has_withdrawn, newly_withdrawn, read_withdrawn, withdrawn_people, without_withdrawn
from tasks.state.ledger import Entry, Outcome, open_ledger
from tasks.state.mistakes import UserMistake
from tasks.state.store import Cohort


def _list(folder: Path, text: str, name: str = "withdrawn.csv", encoding: str = "utf-8") -> Path:
    (folder / name).write_bytes(text.encode(encoding))
    return folder / name


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("\ufeff12\n13\n", {"12", "13"}), ('\ufeff"12",2020-01-01\n', {"12"}), ("12.0\n 13 \n\n", {"12", "13"}),
        ('"14",2020-01-01\n15', {"14", "15"}),
        ("0012\n", {"0012"}), ("\n\n", set()), ("", set()), ("16\tx\n", {"16"}),
    ],
)  # fmt: skip
def test_names_are_the_first_cells_without_marks_blanks_and_decimals(
    text: str, names: set[str], tmp_path: Path
) -> None:
    found = read_withdrawn(_list(tmp_path, text))
    assert names <= found
    assert {name for name in ("0012", "12", "13", "14", "15", "16", "2020-01-01", "x") if name in found} == names


def test_a_cell_with_semicolons_or_tabs_is_taken_whole_and_by_its_first_part(tmp_path: Path) -> None:
    withdrawn = read_withdrawn(_list(tmp_path, "17;2020\n"))
    assert has_withdrawn("17", withdrawn)
    assert has_withdrawn("17;2020", withdrawn)
    assert not has_withdrawn("2020", withdrawn)


def test_a_list_that_is_not_there_or_is_no_text_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_withdrawn(tmp_path / "nowhere.csv")
    with pytest.raises(UserMistake, match="not UTF-8"):
        read_withdrawn(_list(tmp_path, "J\u00f6rg\n", encoding="latin-1"))


@pytest.mark.parametrize(
    ("participant", "withdrew"),
    [
        ("12", True), ("12.0", True), (" 12 ", True), ("12.0123abcd", True),
        ("0012", False), ("112", False), ("1", False), ("12.0123abc", False), ("12.0123abcde", False),
        ("12.0123ABCD", False), ("13.0123abcd", False), (".0123abcd", False),
    ],
)  # fmt: skip
def test_a_participant_may_have_a_digest_of_eight_digits_added(participant: str, withdrew: bool) -> None:
    assert has_withdrawn(participant, frozenset({"12"})) is withdrew


def test_studies_are_withdrawn_until_they_are_retired_for_that_reason() -> None:
    entries = {
        "12-2": Entry("ok", "", "k", "k"), "12-3": Entry("retired", "withdrawn", "", ""),
        "12.0123abcd-2": Entry("quarantined", "zip_corrupt", "", ""), "13-12": Entry("ok", "", "k", "k"),
        "14-2-2": Entry("retired", "source_removed", "", ""), "15-2": Entry("ok", "withdrawn", "", ""),
    }  # fmt: skip
    assert newly_withdrawn(entries, {"12", identifier_key("14-2"), "15"}) == ["12-2", "12.0123abcd-2", "14-2-2", "15-2"]
    assert newly_withdrawn(entries, set()) == []


def test_who_withdrew_is_on_a_list_or_was_deleted_for_that_reason(tmp_path: Path) -> None:
    cohort = Cohort(tmp_path / "cohort")
    lists = [_list(tmp_path, "12\n", "a.csv"), None, _list(tmp_path, "13\n", "b.csv")]
    assert withdrawn_people(cohort.root, *lists) == {"12", "13"}
    assert not cohort.ledger.exists()
    with open_ledger(cohort.ledger) as ledger:
        ledger.record([
            Outcome("14-2", "convert", "retired", "withdrawn"), Outcome("15-2", "convert", "retired", "source_removed"),
            Outcome("16-2", "convert", "quarantined", "withdrawn"), Outcome("17-2", "derive", "retired", "withdrawn"),
        ])  # fmt: skip
    assert withdrawn_people(cohort.root, *lists) == {"12", "13", "14"}
    assert withdrawn_people(None, lists[0]) == {"12"}
    assert withdrawn_people(None) == frozenset()


def test_rows_of_people_who_withdrew_leave_a_table_and_the_others_stay_in_order() -> None:
    table = pd.DataFrame(
        {"participant": [13, 12, None, 12.0, 14], "eid": ["12"] * 5, "x": range(5)}, index=[9, 8, 7, 6, 5]
    )
    found = without_withdrawn(table, {"12"})
    assert found["x"].tolist() == [0, 2, 4]
    assert found.index.tolist() == [0, 1, 2]
    assert without_withdrawn(table, {"12"}, "eid").empty
    assert without_withdrawn(table, {"12"}, "nowhere") is table
    assert without_withdrawn(table, frozenset()) is table
    text = pd.DataFrame({"participant": np.array(["12.0", "0012", "12.0123abcd", "x"], object)})
    assert without_withdrawn(text, {"12"})["participant"].tolist() == ["0012", "x"]
