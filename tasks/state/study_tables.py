"""Tables with rows a study, in the order of studies: made whole, or from the published one and what has changed since.

Both ways give the same bytes: rows stand in groups of a fixed number, whatever they were put together from. What has
changed is known from the ledger (:mod:`tasks.state.revisions`); a published table is built on only if it is, byte by
byte, what this version wrote.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cmr_models.contracts import TableSpec
from cmr_models.contracts.checks import check_table
from tasks.state.ledger import Ledger, Outcome
from tasks.state.parquet_tables import table_metadata
from tasks.state.revisions import Made
from tasks.state.store import Cohort, digest, file_digest, publishing

ROWS_A_GROUP = 32_768
"""Rows that are encoded, and held, at a time."""

_STUDIES_AT_ONCE = 1_000

Rows = Callable[[Ledger, Sequence[Outcome]], pd.DataFrame]


@dataclass(frozen=True)
class StudyTable:
    """A table of which every row is about one study.

    Attributes:
        contract: what it holds; its path is that within the cohort.
        stages: whose outcomes its rows are made from; the last one has an outcome for every study of the table.
        rows: the rows of some studies, in the order of their outcomes at the last stage.
    """

    contract: TableSpec
    stages: tuple[str, ...]
    rows: Rows

    def path(self, cohort: Cohort) -> Path:
        """Where it is published."""
        return cohort.root / self.contract.path

    def publish(self, ledger: Ledger, cohort: Cohort, key: str = "") -> int:
        """Publish it as the ledger is: only the rows of studies that have changed since it was made are made again.

        Args:
            ledger: of the cohort.
            cohort: its folder.
            key: digest of all that it is made from, which it carries.

        Returns:
            The number of its rows.

        Raises:
            ContractError: if rows do not hold what the contract says.
        """
        path, now = self.path(cohort), ledger.revisions.now()
        made = ledger.revisions.made(self.contract.path)
        kind = _arrow_schema(self.contract, self.rows(ledger, []))
        if made is not None and made.value == _digest(path):
            changed = ledger.revisions.changed_since(made.revision, *self.stages)
            fresh = pa.concat_tables(list(self._tables(ledger, kind, changed)))
            tables = _merged(path, fresh, changed)
        else:
            tables = self._tables(ledger, kind)
        n_rows = _write(tables, path, kind.with_metadata(table_metadata(kind.metadata, key, self.contract)))
        ledger.revisions.note(self.contract.path, Made(_digest(path), now))
        return n_rows

    def _tables(self, ledger: Ledger, kind: pa.Schema, studies: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Rows as the ledger says, some hundred studies at a time; an empty table first."""
        yield kind.empty_table()
        outcomes = (o for o in ledger.outcomes(self.stages[-1], studies) if o.status != "retired")
        for part in _parts(outcomes, _STUDIES_AT_ONCE):
            frame = self.rows(ledger, part)
            check_table(frame, self.contract)
            yield pa.Table.from_pandas(frame, schema=kind, preserve_index=False).replace_schema_metadata(kind.metadata)


def _parts(outcomes: Iterable[Outcome], size: int) -> Iterator[list[Outcome]]:
    remaining = iter(outcomes)
    while part := list(islice(remaining, size)):
        yield part


def _digest(path: Path) -> str:
    """Digest of a published table and of the version that wrote it; empty if it is not there."""
    return digest([file_digest(path), version("cmr-cohort")]) if path.exists() else ""


def _arrow_schema(contract: TableSpec, empty: pd.DataFrame) -> pa.Schema:
    """The types of a table's columns: those of a row with a value in each, in pandas' types of a table without rows."""
    values = {"text": "", "integer": 0, "real": 0.0, "boolean": False}
    row = pd.DataFrame([{column.name: values[column.kind] for column in contract.columns}])
    return pa.Schema.from_pandas(row.astype(empty.dtypes), preserve_index=False)


def _merged(path: Path, fresh: pa.Table, changed: Collection[str]) -> Iterator[pa.Table]:
    """The published rows but those of ``changed`` studies, with the ``fresh`` ones in their place."""
    gone = pa.array(sorted(changed), pa.string())
    with pq.ParquetFile(path) as published:
        for number in range(published.num_row_groups):
            group = published.read_row_group(number)
            last = group.column("study")[-1].as_py()
            kept = group.filter(pc.invert(pc.is_in(group.column("study"), gone)))
            n_here = int(np.searchsorted(fresh.column("study").to_numpy(), last, side="right"))
            yield _in_order(kept, fresh.slice(0, n_here))
            fresh = fresh.slice(n_here)
    yield fresh


def _in_order(kept: pa.Table, fresh: pa.Table) -> pa.Table:
    """Two tables as one in the order of studies; the rows of each study come from one of them and stay together."""
    if not len(fresh):
        return kept
    both = pa.concat_tables([kept.replace_schema_metadata(fresh.schema.metadata), fresh])
    order = np.argsort(both.column("study").to_numpy(), kind="stable")
    return both.take(pa.array(order))


def _write(tables: Iterable[pa.Table], path: Path, kind: pa.Schema) -> int:
    """Write tables one after the other, regrouped into groups of :data:`ROWS_A_GROUP`; returns the rows."""
    n_rows = 0
    with publishing(path) as file, pq.ParquetWriter(file, kind, compression="zstd") as writer:
        waiting: list[pa.Table] = []
        for table in tables:
            n_rows += len(table)
            waiting.append(table.replace_schema_metadata(kind.metadata))
            while sum(map(len, waiting)) >= ROWS_A_GROUP:
                whole = pa.concat_tables(waiting)
                writer.write_table(whole.slice(0, ROWS_A_GROUP).combine_chunks(), row_group_size=ROWS_A_GROUP)
                waiting = [whole.slice(ROWS_A_GROUP)]
        rest = pa.concat_tables(waiting).combine_chunks()
        if len(rest):
            writer.write_table(rest, row_group_size=ROWS_A_GROUP)
    return n_rows
