"""Users' tables: cells are text until a whole column is known to be numbers."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tasks.state.mistakes import UserMistake
from tasks.state.user_tables import Reading, column_words, read_user_table, table_header


def _read(folder: Path, cells: list[str], reading: Reading | None = None) -> pd.Series:
    path = folder / "people.csv"
    path.write_text("x,y\n" + "".join(f'"{cell}",1\n' for cell in cells), encoding="utf-8")
    return read_user_table(path, reading=reading)["x"]


@pytest.mark.parametrize(
    ("cells", "right"),
    [
        (["1", "2", "3"], [1, 2, 3]),
        (["1", "", "3"], [1.0, np.nan, 3.0]),
        (["1.5", "-2e-3", ".5", "4."], [1.5, -0.002, 0.5, 4.0]),
        (["", ""], [np.nan, np.nan]),
    ],
)
def test_a_column_of_numbers_is_numbers(tmp_path: Path, cells: list[str], right: list[float]) -> None:
    found = _read(tmp_path, cells)
    assert pd.api.types.is_numeric_dtype(found)
    np.testing.assert_array_equal(found, right)


@pytest.mark.parametrize(
    "odd",
    [".", "NA", "nan", "inf", "None", "<5", "12,5", "1e400", "-1e999999999", "1_000", "0x1F", "١٢", "007", "12 mmHg"],
)
def test_one_odd_cell_leaves_the_column_as_it_is_written(tmp_path: Path, odd: str) -> None:
    assert _read(tmp_path, ["1", odd, "3"]).tolist() == ["1", odd, "3"]


@pytest.mark.parametrize("word", ["None", "NA", "null", "NaN", "n/a"])
def test_a_level_stays_a_level(tmp_path: Path, word: str) -> None:
    assert _read(tmp_path, [word, "current", ""]).tolist() == [word, "current", None]


def test_words_that_the_user_lists_are_missing(tmp_path: Path) -> None:
    found = _read(tmp_path, ["1", ".", "-9", "4"], Reading(missing_values=(".", "-9")))
    np.testing.assert_array_equal(found, [1.0, np.nan, np.nan, 4.0])


def test_a_declared_column_is_what_it_is_declared_as(tmp_path: Path) -> None:
    assert _read(tmp_path, ["0", "1", "2"], Reading(types={"x": "text"})).tolist() == ["0", "1", "2"]
    np.testing.assert_array_equal(_read(tmp_path, ["01", "10"], Reading(types={"x": "number"})), [1, 10])
    with pytest.raises(UserMistake, match=r"column x is declared as numbers, and 1 of 3 cells are not") as caught:
        _read(tmp_path, ["1", "secret", "3"], Reading(types={"x": "number"}))
    assert "secret" not in str(caught.value)


def test_a_number_of_parquet_that_is_declared_text_is_a_category(tmp_path: Path) -> None:
    pd.DataFrame({"x": [0.0, 1.0, np.nan], "y": [1, 1, 1]}).to_parquet(tmp_path / "t.parquet")
    found = read_user_table(tmp_path / "t.parquet", reading=Reading(types={"x": "text"}))
    assert found["x"].tolist() == ["0", "1", None]


def test_a_mark_at_the_beginning_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"\xef\xbb\xbfparticipant,visit\n1,2\n,,\n".replace(b",,", b","))
    assert table_header(tmp_path / "t.csv") == ["participant", "visit"]
    assert read_user_table(tmp_path / "t.csv").to_dict("list") == {"participant": ["1"], "visit": ["2"]}


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "is empty"),
        ("a,b\n\u00fc,1\n".encode("latin-1"), "is not UTF-8"),
        (b"a,b\n1,2\n1,2,3\n", "more cells than"),
    ],
)
def test_a_file_that_is_no_table_is_refused_in_a_line(tmp_path: Path, content: bytes, complaint: str) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(UserMistake, match=complaint):
        read_user_table(tmp_path / "t.csv")


def test_words_of_a_column_are_those_of_its_cells(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("condition,x\nNA ,1\nNone,2\nNone,3\n")
    assert column_words(tmp_path / "t.csv", "condition") == {"NA", "None"}
