"""Users' tables: cells are text until a whole column is known to be numbers."""

import decimal
import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
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
    (tmp_path / "t.csv").write_bytes(b'\xef\xbb\xbf"participant, or eid",visit\n1,2\n')
    assert table_header(tmp_path / "t.csv") == ["participant, or eid", "visit"]


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


def test_exact_decimals_and_booleans_with_gaps_of_parquet_are_numbers_and_booleans(tmp_path: Path) -> None:
    cells = {
        "score": pa.array([None, decimal.Decimal("1.50"), decimal.Decimal("-0.25")]),
        "smoker": pa.array([None, True, False]),
        "centre": pa.array([decimal.Decimal(2), decimal.Decimal(2), None]),
    }
    pq.write_table(pa.table(cells), tmp_path / "people.parquet")
    table = read_user_table(tmp_path / "people.parquet")
    np.testing.assert_array_equal(table["score"], [np.nan, 1.5, -0.25])
    assert table["score"].dtype == np.float64
    assert table["smoker"].tolist() == [pd.NA, True, False]
    assert str(table["smoker"].dtype) == "boolean"
    assert table["centre"].tolist() == ["2", "2", None]  # a category, whatever holds it


def test_times_of_parquet_are_text_where_this_is_declared(tmp_path: Path) -> None:
    pd.DataFrame({"seen": pd.to_datetime(["2020-01-31", None]), "k": 1}).to_parquet(tmp_path / "people.parquet")
    table = read_user_table(tmp_path / "people.parquet", reading=Reading(types={"seen": "text"}))
    assert table["seen"].tolist() == ["2020-01-31", None]


# types of Parquet, and which column is which


def _parquet(folder: Path, **columns: Any) -> pd.DataFrame:
    pd.DataFrame(columns).to_parquet(folder / "t.parquet")
    return read_user_table(folder / "t.parquet", reading=Reading(missing_values=("-9", ".")))


def test_numbers_and_truth_of_parquet_are_plain_ones_with_missing_cells_too(tmp_path: Path) -> None:
    found = _parquet(
        tmp_path,
        whole=pd.array([1, None, -9], "Int64"),
        real=pd.array([1.5, -9.0, None], "Float64"),
        every=pd.array([4, 5, 6], "Int32"),
        truth=pd.array([True, None, False], "boolean"),
        sure=pd.array([True, False, True], "boolean"),
        plain=[True, False, True],
        words=["1", ".", " x "],
        day=pd.to_datetime(["2016-01-01"] * 3),
        small=np.array([1, 2, 3], np.int8),
    )
    for name, right in (("whole", [1.0, np.nan, np.nan]), ("real", [1.5, np.nan, np.nan]), ("every", [4.0, 5.0, 6.0])):
        assert found[name].dtype == np.float64
        np.testing.assert_array_equal(found[name], right)
    assert str(found["truth"].dtype) == "boolean"
    assert found["truth"].tolist()[::2] == [True, False]
    assert pd.isna(found["truth"][1])
    assert found["sure"].dtype == found["plain"].dtype == bool
    assert found["words"].tolist() == ["1", None, "x"]
    assert found["day"].tolist() == [pd.Timestamp("2016-01-01")] * 3
    assert found["small"].dtype == np.int8


def test_categories_of_pandas_are_what_they_hold_and_days_stay_days(tmp_path: Path) -> None:
    found = _parquet(
        tmp_path,
        words=pd.Categorical([" male", ".", "x"]),
        numbers=pd.Categorical([1.5, -9.0, None]),
        never=pd.to_datetime([None] * 3),
    )
    assert found["words"].tolist() == ["male", None, "x"]
    np.testing.assert_array_equal(found["numbers"], [1.5, np.nan, np.nan])
    assert found["never"].dtype.kind == "M"


def test_categories_of_parquet_stay_text_and_declared_numbers_become_them(tmp_path: Path) -> None:
    pd.DataFrame({"site": [1.0, 2.5, np.nan], "score": ["01", None, "2"], "n": [3, -9, 4]}).to_parquet(
        tmp_path / "t.parquet"
    )
    reading = Reading(types={"score": "number", "site": "text", "n": "text"}, missing_values=("-9",))
    found = read_user_table(tmp_path / "t.parquet", reading=reading)
    assert found["site"].tolist() == ["1", "2.5", None]
    np.testing.assert_array_equal(found["score"], [1.0, np.nan, 2.0])
    assert found["n"].tolist() == ["3", None, "4"]


def test_whole_numbers_are_integers_only_where_each_cell_is_there_and_written_as_one(tmp_path: Path) -> None:
    kinds = {
        ("1", "-2", "+3"): np.int64,
        ("1", "2.0"): np.float64,
        ("1", ""): np.float64,
        ("9" * 18, "1"): np.int64,
        ("9" * 19, "1"): np.float64,
        ("1e2", "3"): np.float64,
    }
    for cells, kind in kinds.items():
        found = _read(tmp_path, list(cells))
        assert found.dtype == kind, cells
        assert found[0] == float(cells[0])


def test_our_names_stand_for_the_columns_of_the_file_and_what_is_in_the_way_goes(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("eid,participant,visit,sex\n01.0,x,2.0,f\n7,y,3,m\n")
    found = read_user_table(tmp_path / "t.csv", {"participant": "eid", "gone": "nowhere"})
    assert found.to_dict("list") == {"participant": ["01", "7"], "visit": ["2", "3"], "sex": ["f", "m"]}
    by_reading = read_user_table(tmp_path / "t.csv", reading=Reading(columns={"gender": "sex"}))
    assert list(by_reading) == ["eid", "participant", "visit", "gender"]
    both = read_user_table(tmp_path / "t.csv", {"id": "eid"}, Reading(columns={"gender": "sex"}))
    assert list(both) == ["id", "participant", "visit", "sex"]
    (tmp_path / "t.csv").write_text("a,b,a \n1,2,3\n")
    with pytest.raises(UserMistake, match=r"more than one column is named \['a'\]"):
        read_user_table(tmp_path / "t.csv")
    with pytest.raises(UserMistake, match=r"more than one column is named \['c'\]"):
        read_user_table(tmp_path / "t.csv", {"c": "a"})


def test_only_columns_that_are_asked_for_are_read_and_rows_that_hold_nothing_go(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b,c\n1,x,\n,,\n2,,y\n,y,\n")
    assert read_user_table(tmp_path / "t.csv").index.tolist() == [0, 1, 2]
    found = read_user_table(tmp_path / "t.csv", usecols=lambda name: name in "ac")
    assert list(found) == ["a", "c"]
    np.testing.assert_array_equal(found["a"], [1, 2])
    assert found["c"].tolist() == [None, "y"]
    assert read_user_table(tmp_path / "t.csv", usecols=lambda _: False).shape == (4, 0)
    pd.DataFrame({"a": [1, 2], "b": [3, 4]}).to_parquet(tmp_path / "t.parquet")
    assert list(read_user_table(tmp_path / "t.parquet", usecols=lambda name: name == "b")) == ["b"]
    assert table_header(tmp_path / "t.parquet") == ["a", "b"]
    pd.DataFrame({"a": [1, 2, 1], "b": ["x ", None, "y"]}).to_parquet(tmp_path / "t.parquet")
    assert (column_words(tmp_path / "t.parquet", "a"), column_words(tmp_path / "t.parquet", "b")) == (
        {"1", "2"},
        {"x", "y"},
    )


def test_tabs_part_the_cells_of_files_that_say_so(tmp_path: Path) -> None:
    for name in ("t.tsv", "t.tab"):
        (tmp_path / name).write_text("a\tb\n1,5\t2\n")
        assert read_user_table(tmp_path / name).to_dict("list") == {"a": ["1,5"], "b": [2]}
    (tmp_path / "t.csv").write_text("a|b\n1|2\n")
    with pytest.raises(UserMistake, match="separated by bars"):
        read_user_table(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_text("one\n1\n")
    assert read_user_table(tmp_path / "t.csv")["one"].tolist() == [1]


def test_cells_that_are_not_as_declared_are_counted_among_all(tmp_path: Path) -> None:
    reading = Reading(types={"x": "number"}, missing_values=("NA",))
    with pytest.raises(UserMistake, match=r"people.csv: column x is declared as numbers, and 2 of 5 cells are not"):
        _read(tmp_path, ["1", "", "NA", "a", "b"], reading)
    assert _read(tmp_path, ["", "NA"], reading).isna().all()
    assert _read(tmp_path, ["True", "true", "x"]).tolist() == ["True", "true", "x"]
    assert _read(tmp_path, [" True", "FALSE "]).tolist() == [True, False]


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
    monkeypatch.setattr("tasks.state.user_tables._MOST_CELLS", (3, 0))
    assert table_header(path) == ["a", "b"]
    with pytest.raises(UserMistake, match="claims 4 cells"):
        read_user_table(path)


def test_a_table_of_two_hundred_thousand_columns_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("participant" + ",a" * 200_000 + "\n1\n")
    with pytest.raises(UserMistake, match="100,000 columns"):
        read_user_table(tmp_path / "a.csv")


def test_parquet_of_kilobytes_that_unpacks_to_gigabytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pd.DataFrame({"participant": ["x" * 10**6] * 400}).to_parquet(path, compression="zstd", use_dictionary=False)
    with pytest.raises(UserMistake, match="unpacks"):
        read_user_table(path)


# Parquet of others


def _foreign_parquet(folder: Path, **columns: Any) -> Path:
    path = folder / "people.parquet"
    pq.write_table(pa.table(columns), path, store_schema=False)
    return path


@pytest.mark.parametrize("rows", [[[1, 2]], [[1], [2, 3]], [{"a": 1}], [[]]])
def test_columns_of_lists_and_records_are_refused_by_their_names(rows: list[Any], tmp_path: Path) -> None:
    path = _foreign_parquet(tmp_path, participant=[str(k) for k in range(len(rows))], x=rows)
    with pytest.raises(UserMistake, match=r"columns \['x'\] hold lists or records"):
        read_user_table(path)
    assert read_user_table(path, usecols=lambda name: name == "participant").columns.tolist() == ["participant"]


def test_rows_that_take_no_bytes_are_refused_before_they_are_read(tmp_path: Path) -> None:
    path = _foreign_parquet(tmp_path, x=pa.array(np.zeros(20_000_000, np.int8)))
    assert 2**22 + 32 * path.stat().st_size < 20_000_000
    with pytest.raises(UserMistake, match="claims 20,000,000 cells"):
        read_user_table(path)


def test_half_a_million_people_in_thirty_columns_of_few_levels_are_read(tmp_path: Path) -> None:
    ids = np.random.default_rng(0).permutation(500_000)
    path = _foreign_parquet(tmp_path, participant=ids, **{f"x{k}": ids % 2 for k in range(30)})
    assert read_user_table(path, usecols=lambda name: name in ("participant", "x1")).shape == (500_000, 2)
    assert 2**22 + 32 * path.stat().st_size > 500_000 * 31


def test_a_long_text_that_is_written_once_is_not_repeated(tmp_path: Path) -> None:
    path = _foreign_parquet(tmp_path, participant=pa.array(["1"] * 400), x=pa.array(["x" * 10**6] * 400))
    assert path.stat().st_size < 100_000
    with pytest.raises(UserMistake, match="texts of the table unpack"):
        read_user_table(path)


@pytest.mark.parametrize("name", ["people.csv.gz", "people.csv.bz2", "people.zip", "people.csv.xz", "people.tar"])
def test_a_table_is_not_unpacked_whatever_its_name_says(name: str, tmp_path: Path) -> None:
    """A small file could fill the memory."""
    path = tmp_path / name
    path.write_text("participant,x\n1,2\n")
    assert read_user_table(path).to_dict("list") == {"participant": ["1"], "x": [2]}
    path.write_bytes(gzip.compress(b"participant,x\n1,2\n"))
    with pytest.raises(UserMistake, match="holds bytes that no text has"):
        read_user_table(path)


@pytest.mark.parametrize("header", ["," * 60_000, "x," * 60_000, '"\n",' + "x," * 60_000, "a\u00e9," * 60_000])
def test_columns_without_a_name_of_their_own_are_refused_before_they_take_minutes(header: str, tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text(f"{header}\n1\n")
    with pytest.raises(UserMistake, match="more than 5,000 columns have no name or that of another"):
        read_user_table(path)
    path.write_text(f"participant{',' * 200}\n1{',' * 200}\n")  # as spreadsheets leave behind
    assert len(read_user_table(path)) == 1


def test_a_first_line_that_never_ends_is_refused_though_it_has_ends_of_lines_in_quotes(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text('"participant\n' + "a,\n" * 2**20)
    with pytest.raises(UserMistake, match=r"first line without an end|cannot be read as a table"):
        read_user_table(path)
