"""Tables or pages made in one go: what is to be made, and whether there is anything to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class TableWork:
    """Tables or pages made in one go from other tables.

    Attributes:
        stage: its name.
        is_current: whether what is published was made from just these inputs and settings.
        make: makes and publishes it; returns a line on what came of it.
        why_not: why there is nothing to make, if so.
    """

    stage: str
    is_current: Callable[[], bool]
    make: Callable[[], str]
    why_not: str = ""
