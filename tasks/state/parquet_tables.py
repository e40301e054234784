"""Published tables: parquet files that carry the key of what they were made from."""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.state.store import publish_bytes

_KEY = b"cmr_cohort_key"


def publish_table(table: pd.DataFrame, path: Path, key: str = "") -> None:
    """Publish ``table`` without its index at ``path``, whole or not at all.

    Args:
        table: what to publish.
        path: the parquet file.
        key: digest of all that the table was made from, for :func:`table_key`; ``""``: it carries none.
    """
    content = _text_where_untyped(pa.Table.from_pandas(table, preserve_index=False))
    if key:
        content = content.replace_schema_metadata({**(content.schema.metadata or {}), _KEY: key.encode()})
    buffer = io.BytesIO()
    pq.write_table(content, buffer, compression="zstd")
    publish_bytes(buffer.getvalue(), path)


def _text_where_untyped(content: pa.Table) -> pa.Table:
    """The table with columns without any value as text: an untyped one cannot be filtered."""
    for k, field in enumerate(content.schema):
        if pa.types.is_null(field.type):
            content = content.set_column(k, field.with_type(pa.string()), content.column(k).cast(pa.string()))
    return content


def table_key(path: Path) -> str | None:
    """The key that a published table carries; None if it carries none or is not there."""
    if not path.exists():
        return None
    key = (pq.read_schema(path).metadata or {}).get(_KEY)
    return key.decode() if key is not None else None
