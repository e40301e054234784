"""An identifier has one key, however a hospital, a spreadsheet, a study or a list of withdrawals writes it."""

import unicodedata
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmr_models.contracts.identifiers import (
    clean_identifier,
    identifier_key,
    identifier_keys,
    safe_id,
    study_key,
    with_keys,
)
from tasks.sources.withdrawn import has_withdrawn, read_withdrawn
from tasks.state.user_tables import read_user_table

_HOSPITAL = st.text(
    st.sampled_from("ABZabz0123456789 -_/\\.,;:#()+éüßöØ株") | st.characters(exclude_categories=("Cs", "Cc")),
    min_size=1,
    max_size=40,
).filter(lambda raw: bool(clean_identifier(raw)))


@given(_HOSPITAL)
def test_the_study_of_an_identifier_and_the_identifier_have_one_key(raw: str) -> None:
    assert identifier_key(safe_id(raw)) == identifier_key(raw)
    assert identifier_key(identifier_key(raw)) == identifier_key(raw)


@given(_HOSPITAL)
def test_what_cannot_be_seen_makes_no_other_person(raw: str) -> None:
    for spelling in (f"\ufeff{raw}", f"{raw}  ", f" {raw}\t", f"{raw}\u00a0", f"\u200b{raw}", f"{raw}\x00"):
        assert identifier_key(spelling) == identifier_key(raw)
    assert identifier_key(unicodedata.normalize("NFD", raw)) == identifier_key(raw)


@given(st.integers(1, 10**12))
def test_a_number_that_a_spreadsheet_made_a_decimal_is_the_number(number: int) -> None:
    assert identifier_key(f"{number}.0") == identifier_key(str(number)) == str(number)
    assert identifier_keys(pd.Series([float(number)]))[0] == str(number)
    assert identifier_keys(pd.Series([number]))[0] == str(number)


@pytest.mark.parametrize(
    ("one", "other"), [("0012", "12"), ("AB1", "ab1"), ("A-1", "A1"), ("A-1", "A_1"), ("A/1", "A-1"), ("1.0.0", "1")]
)
def test_two_spellings_that_may_be_two_people_stay_two(one: str, other: str) -> None:
    assert identifier_key(one) != identifier_key(other)


@settings(max_examples=40, deadline=None)
@given(st.lists(_HOSPITAL, min_size=1, max_size=6, unique_by=identifier_key))
def test_a_written_table_and_the_archive_name_the_same_people(tmp_path_factory: pytest.TempPathFactory, raw) -> None:
    path = tmp_path_factory.mktemp("people") / "people.csv"
    pd.DataFrame({"eid": raw, "visit": "2"}).to_csv(path, index=False, encoding="utf-8-sig")
    table = read_user_table(path, {"participant": "eid"})
    assert table["participant"].tolist() == [identifier_key(safe_id(name)) for name in raw]
    parquet = path.with_suffix(".parquet")
    pd.DataFrame({"participant": raw, "visit": "2"}).to_parquet(parquet)
    assert read_user_table(parquet)["participant"].tolist() == table["participant"].tolist()


@settings(max_examples=40, deadline=None)
@given(_HOSPITAL.filter(lambda raw: not set(raw) & set('";\n\r\x85\u2028\u2029')))
def test_a_person_on_the_list_of_withdrawals_has_withdrawn(tmp_path_factory: pytest.TempPathFactory, raw: str) -> None:
    path = tmp_path_factory.mktemp("list") / "withdrawn.csv"
    path.write_text(f'"{raw}",2020-01-01\r\n', encoding="utf-8-sig")
    assert has_withdrawn(safe_id(raw), read_withdrawn(path))
    assert not has_withdrawn(safe_id(f"{raw}-other"), read_withdrawn(path))


def test_a_study_id_has_the_key_of_its_participant_and_visit() -> None:
    assert study_key("1000001.0-2") == "1000001-2"
    assert study_key(f"{safe_id('B-1000009')}-0a1b2c3d") == f"{identifier_key('B-1000009')}-0a1b2c3d"


def test_a_row_without_participant_is_refused_and_counted() -> None:
    with pytest.raises(ValueError, match="people: 2 of 3 rows have no participant"):
        with_keys(pd.DataFrame({"participant": ["1", None, "  "], "visit": ["2"] * 3}), "people")


def test_a_list_that_is_not_utf8_is_refused_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "withdrawn.csv").write_bytes("Müller".encode("latin-1"))
    with pytest.raises(ValueError, match=r"withdrawn\.csv: .* not UTF-8"):
        read_withdrawn(tmp_path / "withdrawn.csv")
