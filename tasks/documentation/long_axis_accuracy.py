"""The part of the page of accuracy that ``benchmarks/long_axis.py`` measured: 2-, 3- and 4-chamber views."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tasks.report.markdown import code, table

_INTRO = """\
## Long-axis views

`python -m benchmarks.long_axis`. Every long-axis image of the training was simulated: none of these was seen.
"""
_VIEWS = {"lax_4c": "4-chamber", "lax_3c": "3-chamber", "lax_2c": "2-chamber"}
_STRUCTURES = {"lv": "LV", "myocardium": "Myocardium", "rv": "RV"}
_BORDERS = {
    "endocardium": "LV endocardium",
    "epicardium": "LV epicardium",
    "rv_free_wall": "RV free wall",
    "rv_septum": "RV septum",
}
_CHAMBERS = {
    "left ventricle": "LV",
    "left-ventricular myocardium": "Myocardium",
    "right ventricle": "RV",
    "left atrium": "LA",
    "right atrium": "RA",
    "ascending aorta": "Aorta",
}
_PHASES = ("ed", "es")

Measured = Mapping[str, Mapping[str, Any]]


def long_axis_sections(measured: Measured) -> Iterator[str]:
    """Sections of ``benchmarks/results/long_axis.json``: model -> its figures; none without any."""
    if not measured:
        return
    yield _INTRO
    yield "Dice with experts, and with contours that were made automatically; the change of the LV's area in percent.\n"
    yield _overlaps(measured)
    yield "Mean distance of the guide points to the border that was found, mm at end-diastole, end-systole.\n"
    yield _distances(measured)
    yield "Dice of the long axis and the short axis along the lines where the planes cross, all frames.\n"
    yield _crossings(measured)
    yield "Dice of simulated hearts of the biobank, whose atria and aorta are simpler than those of the training.\n"
    yield _simulated(measured)


def _overlaps(measured: Measured) -> str:
    heads = [f"{name} {phase.upper()}" for name in _STRUCTURES.values() for phase in _PHASES]
    cells = [
        (
            code(model), row["dataset"], _VIEWS[row["view"]], *_pairs(row, _STRUCTURES, "dice", "{:.3f}"),
            _figure(row, "area_change_drawn_pct", "{:.0f}"), _figure(row, "area_change_found_pct", "{:.0f}"),
        )
        for model, row in _rows(measured, "drawn", "guided")
    ]  # fmt: skip
    return table(("Network", "Data set", "View", *heads, "Area change drawn", "found"), cells)


def _distances(measured: Measured) -> str:
    cells = [
        (code(model), _VIEWS[row["view"]], *(_both(row, name) for name in _BORDERS))
        for model, row in _rows(measured, "guided")
    ]
    return table(("Network", "View", *_BORDERS.values()), cells)


def _crossings(measured: Measured) -> str:
    cells = [
        (
            code(model), _VIEWS[row["view"]], f"{row['points']:,}",
            *(_figure(row, f"{name}_dice", "{:.3f}") for name in _STRUCTURES),
        )
        for model, row in _rows(measured, "crossing")
    ]  # fmt: skip
    return table(("Network", "View", "Points", *_STRUCTURES.values()), cells)


def _simulated(measured: Measured) -> str:
    heads = [f"{name} {phase.upper()}" for name in _CHAMBERS.values() for phase in _PHASES]
    cells = [
        (code(model), _VIEWS[row["view"]], str(row["hearts"]), *_pairs(row, _CHAMBERS, "dice", "{:.2f}"))
        for model, row in _rows(measured, "simulated")
    ]
    return table(("Network", "View", "Hearts", *heads), cells)


def _rows(measured: Measured, *parts: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for model, found in measured.items():
        for part in parts:
            for row in found.get(part, ()):
                yield model, row


def _pairs(row: Mapping[str, Any], names: Mapping[str, str], figure: str, form: str) -> Iterator[str]:
    for name in names:
        for phase in _PHASES:
            yield _figure(row, f"{name}_{figure}_{phase}", form)


def _both(row: Mapping[str, Any], name: str) -> str:
    return ", ".join(found for phase in _PHASES if (found := _figure(row, f"{name}_mm_{phase}", "{:.1f}")))


def _figure(row: Mapping[str, Any], name: str, form: str) -> str:
    return form.format(row[name]) if name in row else ""
