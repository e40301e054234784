"""The state of a cohort on disk: published files, ledger, tables, runs."""
