"""What the ledger keeps for a forecast: how fast a stage worked, and by which recipes it was asked to work."""

from __future__ import annotations

from dataclasses import dataclass

from cmr_models.contracts import ColumnSpec, TableSpec


@dataclass(frozen=True)
class Speed:
    """One time that a stage worked.

    Attributes:
        stage: its name.
        began: when (UTC).
        host: of the process that gave out the work.
        profile: where the work ran.
        workers: processes that worked at the same time.
        cores: of each worker.
        gpus: of each worker.
        studies: that were brought through; of the report, pages.
        seconds: from the beginning to the last result.
        first_studies: of them, those of the first result.
        first_seconds: until that: the start of workers and the loading of networks are in it.
    """

    stage: str
    began: str
    host: str
    profile: str
    workers: int
    cores: int
    gpus: int
    studies: int
    seconds: float
    first_studies: int
    first_seconds: float


SPEEDS = TableSpec(
    "ledger.sqlite, table speeds",
    "a row a time that a stage worked; forecasts are made of them",
    (
        ColumnSpec("stage", "text", "", "name of the stage"),
        ColumnSpec("began", "text", "", "when it began (UTC)"),
        ColumnSpec("host", "text", "", "of the process that gave out the work"),
        ColumnSpec("profile", "text", "", "where the work ran"),
        ColumnSpec("workers", "integer", "1", "processes that worked at the same time"),
        ColumnSpec("cores", "integer", "1", "processor cores of a worker"),
        ColumnSpec("gpus", "integer", "1", "GPUs of a worker"),
        ColumnSpec("studies", "integer", "1", "studies, or pages of the report, that were made"),
        ColumnSpec("seconds", "real", "s", "from the beginning to the last result"),
        ColumnSpec("first_studies", "integer", "1", "of the first result"),
        ColumnSpec("first_seconds", "real", "s", "until the first result, starting and loading included"),
    ),
)
"""How fast stages worked."""

RECIPES = TableSpec(
    "ledger.sqlite, table recipes",
    "a row a way in which a stage was asked to work; a change is explained by them",
    (
        ColumnSpec("stage", "text", "", "name of the stage"),
        ColumnSpec(
            "recipe", "text", "", "what of a key is the same for all studies: version, settings, weights (JSON)"
        ),
        ColumnSpec("used", "text", "", "when it was asked for last (UTC)"),
    ),
)
"""By which recipes stages were asked to work."""
