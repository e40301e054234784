"""The table of phenotypes: what each number means, what it is made from, and the function that makes it.

The rows lie by organ in :mod:`cmr_models.phenotypes.rows`; a phenotype is one function and one row. A function takes
its inputs by position, in the order of ``inputs``, each a measurement of
:mod:`cmr_models.phenotypes.measurements` or the name of an earlier row. It is not called when an input is missing:
the phenotype is then missing for the same reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from cmr_models.phenotypes.measurements import MEASUREMENTS
from cmr_models.phenotypes.phenotype import Phenotype, Value
from cmr_models.phenotypes.rows.arithmetic import divide
from cmr_models.phenotypes.rows.atria import ATRIA
from cmr_models.phenotypes.rows.certainty import CERTAINTY
from cmr_models.phenotypes.rows.cycle_and_body import CYCLE_AND_BODY
from cmr_models.phenotypes.rows.long_axis import LONG_AXIS
from cmr_models.phenotypes.rows.ventricles import VENTRICLES
from cmr_models.reasons import Missing

_INDEXED_FIELD = {"lvco_l_min": 22425}


def _index(row: Phenotype) -> Phenotype:
    return Phenotype(
        name=f"{row.name}_m2",
        unit=f"{row.unit}/m²",
        definition=f"{row.definition}; divided by body surface area",
        inputs=(row.name, "bsa_m2"),
        function=divide,
        valid=(row.valid[0] / 3.0, row.valid[1]),
        ukb_field=_INDEXED_FIELD.get(row.name),
        reference=row.reference,
    )


def check_inputs(rows: Iterable[Phenotype]) -> None:
    """Raise ValueError if a row needs what is neither a measurement nor an earlier row."""
    known = {row.name for row in MEASUREMENTS}
    for row in rows:
        unknown = sorted(set(row.inputs) - known)
        if unknown:
            raise ValueError(
                f"the phenotype {row.name} needs {unknown}, which are neither measurements"
                " (cmr_models/phenotypes/measurements.py) nor earlier rows; check the spelling and the order"
            )
        known.add(row.name)


_MEASURED = (*CYCLE_AND_BODY, *VENTRICLES, *ATRIA, *LONG_AXIS, *CERTAINTY)

PHENOTYPES: tuple[Phenotype, ...] = (*_MEASURED, *(_index(row) for row in _MEASURED if row.indexed))
"""Every phenotype, in the order of the columns of the published table."""

check_inputs(PHENOTYPES)


def evaluate(measurements: Mapping[str, Any]) -> dict[str, Value]:
    """Every phenotype of the table, in its order.

    Args:
        measurements: name -> value, or :class:`Missing` with the reason.

    Returns:
        Name -> finite number, or :class:`Missing`.

    Raises:
        KeyError: if a row needs a measurement that is not there at all.
    """
    known: dict[str, Any] = dict(measurements)
    values: dict[str, Value] = {}
    for row in PHENOTYPES:
        values[row.name] = known[row.name] = _evaluate_row(row, known)
    return values


def _evaluate_row(row: Phenotype, known: Mapping[str, Any]) -> Value:
    inputs = [known[name] for name in row.inputs]
    missing = next((value for value in inputs if isinstance(value, Missing)), None)
    return missing if missing is not None else row.function(*inputs)


def dictionary() -> Iterator[dict[str, Any]]:
    """The rows as plain values, for the data dictionary."""
    for row in PHENOTYPES:
        yield {
            "name": row.name,
            "unit": row.unit,
            "type": "integer" if row.integer else "number",
            "definition": row.definition,
            "inputs": " ".join(row.inputs),
            "valid_low": row.valid[0],
            "valid_high": row.valid[1],
            "ukb_field": row.ukb_field,
            "reference": row.reference,
        }
