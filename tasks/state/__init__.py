"""The state of a cohort on disk: published files, tables, ledger, runs.

:mod:`~tasks.state.store`: ``Cohort`` (where everything lies); publish and read files.
:mod:`~tasks.state.zarr_encoding`: ``encode_tree``, from a tree to the bytes of a file.
:mod:`~tasks.state.parquet_tables`: ``publish_table``, ``read_table``, ``table_key``.
:mod:`~tasks.state.ledger`: ``Ledger``, how every study stands at every stage.
:mod:`~tasks.state.runs`: the record of a run, and the lock of a cohort.
:mod:`~tasks.state.user_tables`: the tables of participants and outcomes that a user brings.
:mod:`~tasks.state.disclosure_record`: what the disclosure gate has released.
"""
