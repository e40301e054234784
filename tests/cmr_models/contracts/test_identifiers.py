"""Identifiers letter by letter: what is kept, what is replaced, what is never shown."""

import hashlib

import numpy as np
import pandas as pd
import pytest

from cmr_models.contracts.identifiers import (
    clean_identifier,
    identifier_key,
    identifier_keys,
    loose_keys,
    safe_id,
    shape_of,
    short_digest,
    study_key,
    with_keys,
)


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("\ufeff 12\t", "12"),
        ("a\nb", "a b"),
        ("a  b", "a  b"),
        ("\u200ba\u200d", "a"),
        ("u\u0308", "\u00fc"),
        ("  ", ""),
        ("\u00a0x\u00a0y", "x y"),
        ("a\x00b", "ab"),
    ],
)
def test_what_cannot_be_seen_goes_and_every_blank_is_one_kind(raw: str, clean: str) -> None:
    assert clean_identifier(raw) == clean


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("1000012", "1000012"), ("_a.b", "_a.b"), ("A" * 64, "A" * 64), (" 7 ", "7"), ("1.2.840", "1.2.840"),
        # else the safe letters, 32 at most, and a digest of all of it
        ("A" * 65, "A" * 32 + "." + _digest("A" * 65)), (".a", "a." + _digest(".a")), ("A-1", "A_1." + _digest("A-1")),
        ("//a  b//", "a_b." + _digest("//a  b//")), ("\u00fc\u00f6", "id." + _digest("\u00fc\u00f6")),
        ("x" * 31 + "/yz", "x" * 31 + "_." + _digest("x" * 31 + "/yz")),
    ],
)  # fmt: skip
def test_a_name_is_safe_or_its_safe_letters_and_a_digest(raw: str, name: str) -> None:
    assert safe_id(raw) == name
    assert identifier_key(raw) == name


def test_a_digest_has_eight_digits_and_takes_any_text() -> None:
    assert short_digest("abc") == _digest("abc")
    assert len(short_digest("\udcff")) == 8


@pytest.mark.parametrize(
    ("raw", "key"),
    [
        ("12.0", "12"),
        ("12.000", "12"),
        ("0012.0", "0012"),
        ("12.", "12."),
        ("12.5", "12.5"),
        ("1.0.0", "1.0.0"),
        ("x.0", "x.0"),
        (" 3.0 ", "3"),
    ],
)
def test_a_whole_number_is_one_with_or_without_its_zeros(raw: str, key: str) -> None:
    assert identifier_key(raw) == key


def test_cells_of_every_type_become_keys_and_blank_ones_none() -> None:
    cells = pd.Series([12, 12.0, np.float64(7), 1.5, " 12 ", "  ", "\ufeff", None, np.nan, True, "007"], dtype=object)
    cells.index = pd.Index(range(20, 9, -1))
    found = identifier_keys(cells)
    assert found.tolist() == ["12", "12", "7", "1.5", "12", None, None, None, None, "True", "007"]
    assert found.index.tolist() == cells.index.tolist()
    assert identifier_keys(pd.Series([3, 1], dtype="Int64")).tolist() == ["3", "1"]
    assert identifier_keys(pd.Series([3, None], dtype="Int64")).tolist() == ["3", None]
    assert identifier_keys(pd.Series(["b", "a", "b"], dtype="category")).tolist() == ["b", "a", "b"]


def test_the_last_hyphen_of_a_study_parts_person_and_visit() -> None:
    assert study_key("1000001-2.0") == "1000001-2"
    assert study_key("a.12345678-0a") == "a.12345678-0a"
    assert study_key("x-y-2") == f"x_y.{_digest('x-y')}-2"


def test_keys_are_put_into_a_copy_and_rows_without_are_counted_by_column() -> None:
    table = pd.DataFrame({"participant": [1.0, 2.0], "visit": ["2.0", " 3"], "x": [5, 6]}, index=[4, 2])
    found = with_keys(table, "people")
    assert found.to_numpy().tolist() == [["1", "2", 5], ["2", "3", 6]]
    assert found.index.tolist() == [4, 2]
    assert table["participant"].tolist() == [1.0, 2.0]
    with pytest.raises(ValueError, match="people: 1 of 2 rows have no visit; fill it in"):
        with_keys(table.assign(visit=["2", " "]), "people")


def test_loose_keys_are_without_case_zeros_signs_and_the_digest() -> None:
    raw = pd.Series(["00AB-12_3", "ab12 3", "A_1.0a1b2c3d", "A_1.0A1B2C3D", "a1.0a1b2c3", "000"])
    assert loose_keys(raw).tolist() == ["ab123", "ab123", "a1", "a10a1b2c3d", "a10a1b2c3", ""]


def test_the_shape_of_most_identifiers_is_shown_and_no_letter_of_one() -> None:
    assert shape_of(pd.Series(["B-1000009", "C-2000008", "7", None])) == "A-9999999"
    assert shape_of(pd.Series(["\u00d8sk #1/a_b.c d"])) == "Aaa ?9/a_a.a a"
    assert shape_of(pd.Series(["A_1.0a1b2c3d"])) == "A_9"
    assert shape_of(pd.Series(["1" * 30])) == "9" * 24
    assert shape_of(pd.Series([None, None])) == ""
