"""Published tables carry the key of what they were made from, and nothing else changes on the way."""

import dataclasses
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from cmr_models.contracts import ColumnSpec, ContractError, NewerSchemaError, TableSpec
from tasks.state.parquet_tables import publish_table, read_table, table_key

CONTRACT = TableSpec(
    "tables/table.parquet",
    "a row a study",
    (ColumnSpec("study", "text", "", "study id"), ColumnSpec("lvef_pct", "real", "%", "ejection fraction", (0, 100))),
)

TABLE = pd.DataFrame({"study": ["1000012-2", "1000020-2"], "lvef_pct": [61.5, float("nan")]}, index=[7, 3])


def test_a_table_is_read_as_it_was_published_and_tells_its_key(tmp_path: Path) -> None:
    publish_table(TABLE, tmp_path / "table.parquet", "abc")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "table.parquet"), TABLE.reset_index(drop=True))
    assert table_key(tmp_path / "table.parquet") == "abc"


def test_a_table_without_a_key_or_none_at_all_has_none(tmp_path: Path) -> None:
    publish_table(TABLE, tmp_path / "table.parquet")
    assert table_key(tmp_path / "table.parquet") is None
    assert table_key(tmp_path / "another.parquet") is None


def test_the_same_table_has_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        publish_table(TABLE.copy(), tmp_path / name, "abc")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_an_empty_table_can_be_filtered_by_its_text(tmp_path: Path) -> None:
    publish_table(
        pd.DataFrame({"study": pd.Series(dtype="str"), "x": pd.Series(dtype="float64")}), tmp_path / "t.parquet"
    )
    assert pd.read_parquet(tmp_path / "t.parquet", filters=[("study", "in", ["a"])]).empty


def test_a_table_that_breaks_its_contract_is_neither_published_nor_read(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    broken = TABLE.assign(lvef_pct=[161.5, 60.0])
    message = "the column lvef_pct of tables/table.parquet must lie within 0 and 100, 1 values do not"
    with pytest.raises(ContractError, match=message):
        publish_table(broken, path, contract=CONTRACT)
    assert not path.exists()
    publish_table(broken, path)
    for columns in (None, ["lvef_pct"]):
        with pytest.raises(ContractError, match=message):
            read_table(path, CONTRACT, columns=columns)
    with pytest.raises(ContractError, match=r"table.parquet lacks the columns \['lvesv_ml'\]; run the stage"):
        read_table(path, CONTRACT, columns=["lvesv_ml"])


def test_a_table_with_a_contract_has_the_bytes_of_one_without(tmp_path: Path) -> None:
    publish_table(TABLE, tmp_path / "a", "abc")
    publish_table(TABLE, tmp_path / "b", "abc", CONTRACT)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    pd.testing.assert_frame_equal(read_table(tmp_path / "b", CONTRACT), TABLE.reset_index(drop=True))


def test_a_table_of_a_newer_version_says_to_update(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    newer = dataclasses.replace(CONTRACT, schema=2)
    publish_table(TABLE, path, "abc", newer)
    assert pq.read_schema(path).metadata[b"cmr_cohort_schema"] == b"2"
    assert len(read_table(path, newer)) == 2
    message = r"the table table.parquet was written by a newer version .* \(schema 2, this one reads 1\): update"
    with pytest.raises(NewerSchemaError, match=message):
        read_table(path, CONTRACT)
    with pytest.raises(NewerSchemaError, match=message):
        table_key(path)


def test_rows_and_columns_are_read_as_they_are_asked_for_and_only_those_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    publish_table(pd.DataFrame({"study": ["b", "a", "c"], "lvef_pct": [50.0, 161.0, 60.0], "n": [1, 2, 3]}), path, "k")
    assert read_table(path, filters=[("n", ">", 1)])["study"].tolist() == ["a", "c"]
    assert list(read_table(path, columns=["n", "study"])) == ["n", "study"]
    assert read_table(path, CONTRACT, columns=["study", "n"])["n"].tolist() == [1, 2, 3]  # lvef_pct is not looked at
    with pytest.raises(ContractError, match="lvef_pct"):
        read_table(path, CONTRACT, columns=["study", "lvef_pct"])
    with pytest.raises(ContractError, match=r"unknown are \['n'\]"):
        read_table(path, CONTRACT)
    with pytest.raises(FileNotFoundError):
        read_table(tmp_path / "none.parquet")


def test_a_column_without_any_value_is_text_and_the_others_keep_their_types(tmp_path: Path) -> None:
    table = pd.DataFrame({"a": [1, 2], "nothing": [None, None], "b": ["x", None], "late": [None, None]})
    publish_table(table, tmp_path / "t.parquet", "k")
    kinds = {field.name: str(field.type) for field in pq.read_schema(tmp_path / "t.parquet")}
    assert kinds == {"a": "int64", "nothing": "string", "b": "string", "late": "string"}
    assert pq.read_table(tmp_path / "t.parquet").column("nothing").null_count == 2
    assert pq.ParquetFile(tmp_path / "t.parquet").metadata.row_group(0).column(0).compression == "ZSTD"


def test_the_key_and_the_version_stand_beside_what_pandas_says(tmp_path: Path) -> None:
    publish_table(TABLE, tmp_path / "both", "abc", dataclasses.replace(CONTRACT, schema=2))
    publish_table(TABLE, tmp_path / "none", contract=CONTRACT)
    both, none = (set(pq.read_schema(tmp_path / name).metadata) for name in ("both", "none"))
    assert both == {b"pandas", b"cmr_cohort_key", b"cmr_cohort_schema"}
    assert none == {b"pandas"}
    odd = pq.read_table(tmp_path / "none").replace_schema_metadata({b"cmr_cohort_schema": b"two"})
    pq.write_table(odd, tmp_path / "odd")
    with pytest.raises(ContractError, match="the table odd has the schema version 'two'"):
        read_table(tmp_path / "odd")
