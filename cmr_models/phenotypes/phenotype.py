"""What one row of the table of phenotypes holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cmr_models.reasons import Missing

Value = float | Missing


@dataclass(frozen=True)
class Phenotype:
    """One row: the number ``function(*inputs)``.

    Attributes:
        name: column name, with its unit.
        unit: as printed.
        definition: what it is, in words.
        inputs: names of measurements or of earlier rows.
        function: from the inputs to a number, or to :class:`Missing`.
        valid: lowest and highest value that can be a heart's, for checks and axes.
        ukb_field: UK Biobank field of the same quantity, if there is one.
        reference: where the definition comes from.
        integer: whether it counts something.
        indexed: whether a version divided by body surface area is made.
    """

    name: str
    unit: str
    definition: str
    inputs: tuple[str, ...]
    function: Callable[..., Value]
    valid: tuple[float, float]
    ukb_field: int | None = None
    reference: str = ""
    integer: bool = False
    indexed: bool = False
