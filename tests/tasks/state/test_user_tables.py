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


@pytest.mark.parametrize(("cells", "right"), [
    (["True", "", "FALSE"], [True, None, False]),
    (["true", "true", "False"], [True, True, False]),
])  # fmt: skip
def test_truth_is_truth_with_missing_cells_too(tmp_path: Path, cells: list[str], right: list[bool | None]) -> None:
    found = _read(tmp_path, cells)
    assert pd.api.types.is_bool_dtype(found)
    assert [None if pd.isna(cell) else bool(cell) for cell in found] == right


@pytest.mark.parametrize("name", ["centre", "ethnicity", "smoking", "condition"])
def test_a_column_that_is_a_category_stays_one_whatever_its_codes(tmp_path: Path, name: str) -> None:
    (tmp_path / "t.csv").write_text(f"{name},age_years\n11010,50\n,51\n11011,52\n")
    table = read_user_table(tmp_path / "t.csv")
    assert table[name].tolist() == ["11010", None, "11011"]
    pd.DataFrame({name: [11010.0, np.nan], "x": 1}).to_parquet(tmp_path / "t.parquet")
    assert read_user_table(tmp_path / "t.parquet")[name].tolist() == ["11010", None]
    declared = read_user_table(tmp_path / "t.csv", reading=Reading(types={name: "number"}))
    np.testing.assert_array_equal(declared[name], [11010.0, np.nan, 11011.0])


def test_a_missing_value_is_one_in_numbers_of_parquet_too(tmp_path: Path) -> None:
    pd.DataFrame({"x": [1, -9, 3], "y": [0.5, -9.0, 2.0]}).to_parquet(tmp_path / "t.parquet")
    found = read_user_table(tmp_path / "t.parquet", reading=Reading(missing_values=("-9", "NA")))
    np.testing.assert_array_equal(found["x"], [1.0, np.nan, 3.0])
    np.testing.assert_array_equal(found["y"], [0.5, np.nan, 2.0])


def test_what_cannot_be_seen_is_no_part_of_a_name_or_a_level(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("participant\t,\u200bsex \n1\t,male\u00a0\n2,\u200bmale\n", encoding="utf-8")
    assert read_user_table(tmp_path / "t.csv").to_dict("list") == {"participant": ["1", "2"], "sex": ["male", "male"]}


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("t.csv", b"participant;visit\n1;2\n", "the columns are separated by semicolons; save it as CSV with commas"),
        ("t.csv", b"participant\tvisit\n1\t2\n", "separated by tabs"),
        ("t.xlsx", b"PK\x03\x04", "a spreadsheet cannot be read"),
        ("t.parquet", b"participant,visit\n1,2\n", "the file is no Parquet"),
        ("t.parquet", b"", "the file is no Parquet"),
    ],
)
def test_a_file_of_another_kind_is_told_in_a_line(tmp_path: Path, name: str, content: bytes, line: str) -> None:
    (tmp_path / name).write_bytes(content)
    for read in (table_header, read_user_table):
        with pytest.raises(UserMistake, match=line):
            read(tmp_path / name)


@pytest.mark.parametrize("name", ["a.csv", "a.parquet", "a.tsv"])
@pytest.mark.parametrize("content", [b"", b"\0" * 5000, b"PAR1" + b"\xff" * 40 + b"PAR1", b"a,b\n\xff\xfe\n", b'a\n"'])
def test_bytes_that_are_no_table_are_a_mistake_or_a_table(name: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    try:
        found = read_user_table(path)
    except UserMistake as mistake:
        assert str(mistake).startswith(f"{path}: ")  # noqa: PT017
    else:
        assert content == b'a\n"'
        assert list(found.columns) == ["a"]


def test_a_cell_with_an_exponent_that_overflows_is_text(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text("a\n1e3081000010\n")
    assert read_user_table(path)["a"].tolist() == ["1e3081000010"]


def test_a_table_that_is_larger_than_is_read_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    with path.open("wb") as file:
        file.write(b"participant\n1\n")
        file.truncate(20 * 2**30)
    with pytest.raises(UserMistake, match=r"20\.0 GB, more than the 4 GB"):
        read_user_table(path)


def test_a_parquet_that_claims_more_cells_than_is_read_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "people.parquet"
    pd.DataFrame({"a": [1, 2], "b": [3, 4]}).to_parquet(path)
    monkeypatch.setattr("tasks.state.user_tables._MOST_CELLS", 3)
    assert table_header(path) == ["a", "b"]
    with pytest.raises(UserMistake, match="claims 4 cells"):
        read_user_table(path)
