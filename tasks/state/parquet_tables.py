"""Published tables: parquet files that hold what their contract says and carry the key of what they were made from."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from cmr_models.contracts import TableSpec
from cmr_models.contracts.checks import check_column, check_table, check_version
from cmr_models.contracts.rows import ContractError
from tasks.state.store import publish_bytes

_KEY = b"cmr_cohort_key"
_SCHEMA = b"cmr_cohort_schema"


def publish_table(table: pd.DataFrame, path: Path, key: str = "", contract: TableSpec | None = None) -> None:
    """Publish ``table`` without its index at ``path``, whole or not at all.

    Args:
        table: what to publish.
        path: the parquet file.
        key: digest of all that the table was made from, for :func:`table_key`; ``""``: it carries none.
        contract: what the table must hold; None if its columns are not fixed.

    Raises:
        ContractError: if it does not hold that.
    """
    if contract is not None:
        check_table(table, contract)
    content = _text_where_untyped(pa.Table.from_pandas(table, preserve_index=False))
    content = content.replace_schema_metadata(table_metadata(content.schema.metadata, key, contract))
    buffer = io.BytesIO()
    pq.write_table(content, buffer, compression="zstd")
    publish_bytes(buffer.getvalue(), path)


def table_metadata(
    metadata: Mapping[bytes, bytes] | None, key: str, contract: TableSpec | None = None
) -> dict[bytes, bytes]:
    """What a table says of itself: ``metadata``, its key if it has one, and the version of its contract."""
    added = {_KEY: key.encode()} if key else {}
    if contract is not None and contract.schema > 1:
        added[_SCHEMA] = str(contract.schema).encode()
    return {**(metadata or {}), **added}


def _text_where_untyped(content: pa.Table) -> pa.Table:
    """The table with columns without any value as text: an untyped one cannot be filtered."""
    for k, field in enumerate(content.schema):
        if pa.types.is_null(field.type):
            content = content.set_column(k, field.with_type(pa.string()), content.column(k).cast(pa.string()))
    return content


def table_key(path: Path) -> str | None:
    """The key that a published table carries; None if it carries none or is not there.

    Raises:
        ContractError: if a newer version of the package wrote the table.
    """
    if not path.exists():
        return None
    metadata = pq.read_schema(path).metadata or {}
    _check_schema(metadata, path, None)
    key = metadata.get(_KEY)
    return key.decode() if key is not None else None


def read_table(
    path: Path, contract: TableSpec | None = None, *, columns: Sequence[str] | None = None, filters: Any = None
) -> pd.DataFrame:
    """A published table, checked against its contract.

    Args:
        path: the parquet file.
        contract: what it must hold; None if its columns are not fixed: only its version is then checked.
        columns: read these alone.
        filters: of rows, as :func:`pandas.read_parquet` takes them.

    Raises:
        FileNotFoundError: if it is not there.
        ContractError: if it does not hold what its contract says, or a newer version of the package wrote it.
    """
    found = pq.read_schema(path)
    _check_schema(found.metadata or {}, path, contract)
    absent = [name for name in columns or () if name not in found.names]
    if absent:
        raise ContractError(f"{path.name} lacks the columns {absent}; run the stage that writes it again")
    table = pd.read_parquet(path, columns=None if columns is None else list(columns), filters=filters)
    if contract is not None and columns is None:
        check_table(table, contract)
    elif contract is not None:
        for column in (column for column in contract.columns if column.name in table):
            check_column(table[column.name], column, contract.path)
    return table


def _check_schema(metadata: dict[bytes, bytes], path: Path, contract: TableSpec | None) -> None:
    found = metadata.get(_SCHEMA, b"1").decode()
    ours = 1 if contract is None else contract.schema
    check_version(int(found) if found.isdecimal() else found, ours, f"the table {path.name}")
