"""Published tables carry the key of what they were made from, and nothing else changes on the way."""

from pathlib import Path

import pandas as pd

from tasks.state.parquet_tables import publish_table, table_key

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
