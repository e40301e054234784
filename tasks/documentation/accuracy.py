"""How well each network finds what others have drawn: the page of what ``benchmarks/drawn_hearts.py`` measured."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.documentation.long_axis_accuracy import long_axis_sections
from tasks.report.markdown import code, number, page, table

Figures = Mapping[str, Any]

_INTRO = """\
Every network on every data set at hand: `python -m benchmarks.drawn_hearts --model NAME`, and the same figures from
`python -m benchmarks.segmentation`. Found less drawn throughout; Dice is that of whole volumes, the mean over patients.
Each volume is segmented alone, as a pair of end-diastole and end-systole comes: neighbouring frames, which help in a
cine, do not help here.
"""
_SEEN = """\
`default` has seen none of these data sets in training.
"""
_CROSS_VALIDATED = """\
{name} was trained on ACDC's training patients: its rows of ACDC are cross-validation by patient (each network on the
patients that it has not seen); the others are of the network that ships.
"""
_OF_THEMSELVES = """\
`python -m benchmarks.certainty`, cross-validated on ACDC: mean absolute error of the predicted Dice of a volume, and
the share of patients whose ejection fraction lies in its interval, which is meant to hold nine of ten (median width,
points).
"""
_COUNTED = """\
Points: mean absolute error (bias; standard deviation of the error). A run counts the last slice at the base by its
part, if the network says it; `derive.basal_slices = "whole"` counts what is labelled.
"""
_BEYOND = """\
Where a ventricle ends is another question than where its border runs. Dice of the slices that the reference draws;
millilitres found in slices that it leaves empty, and drawn in slices in which nothing was found (mean a volume).
"""
_NOT_WHOLE = "Of ACDC's five folds, {folds} measured so far for {name}: its rows of ACDC hold those patients alone.\n"
_PUBLISHED = (
    (
        "CineMA, segmentation fine-tuned on the training patients of each data set",
        "0.887 (mean of three structures)", "3.33", "5.49",
        "Fu et al. 2025, arXiv 2506.00679. Tested on patients of the hospitals of its training, which"
        " `default` is not",
    ),
    (
        "nnU-Net, the same", "0.892 (mean of three structures)", "", "",
        "the same source",
    ),
    (
        "U-Net with a distance map, five folds of ACDC's 100 training patients",
        "0.922 at end-diastole, 0.888 at end-systole (mean of three structures)",
        "bias 0.4, limits of agreement 10.4", "bias 0.3, limits of agreement 18.3",
        "Dangi et al. 2019, 10.1002/mp.13853, table II: the same patients as ours; limits, not mean errors",
    ),
    (
        "two trained readers of the same scan", "", "coefficient of repeatability 2.8 to 10", "",
        "Gandy et al. 2008, 10.1002/jmri.21401: 15 healthy volunteers; the widest is another day on another scanner",
    ),
)  # fmt: skip
_STRUCTURES = {"lv": "LV", "myocardium": "Myocardium", "rv": "RV"}


def accuracy_of(results: Path) -> str:
    """The page of what ``drawn_hearts.json``, ``long_axis.json`` and ``certainty.json`` in the folder of results hold;
    nothing where they are absent.
    """
    files = (results / f"{name}.json" for name in ("drawn_hearts", "long_axis", "certainty"))
    return accuracy_page(*(json.loads(file.read_text(encoding="utf-8")) if file.exists() else {} for file in files))


def accuracy_page(
    measured: Mapping[str, Mapping[str, Any]],
    long_axis: Mapping[str, Mapping[str, Any]] | None = None,
    certainty: Mapping[str, Figures] | None = None,
) -> str:
    """The page of the three files of :func:`accuracy_of`: model -> its figures."""
    rows = [(name, row) for name, result in measured.items() for row in result["summary"]]
    whole = [(name, row) for name, row in rows if row["group"] == "all"]
    notes = [
        _NOT_WHOLE.format(folds=result["folds"], name=code(name))
        for name, result in measured.items()
        if 0 < result["folds"] < 5
    ]
    sax = [(name, row) for name, row in whole if row["view"] == "sax"]
    return page(
        "Accuracy of the networks",
        _INTRO,
        _SEEN,
        *(_CROSS_VALIDATED.format(name=code(name)) for name, result in measured.items() if result["folds"]),
        *notes,
        "## Short axis: Dice\n",
        _overlaps(sax),
        "## Ejection fractions\n\n" + _COUNTED,
        _ejection_fractions(sax),
        *_doubts(sax),
        *_said_of_themselves(certainty or {}),
        "## Slices beyond the heart\n\n" + _BEYOND,
        _end_errors(sax),
        "## By disease\n",
        _by_group([(name, row) for name, row in rows if row["group"] != "all"]),
        "## Volumes\n\nMillilitres: bias (standard deviation of the error).\n",
        _volumes(sax),
        "## 4-chamber view: Dice\n\nOne subject. The atria are not drawn.\n",
        _overlaps([(name, row) for name, row in whole if row["view"] == "lax_4c"]),
        *long_axis_sections(long_axis or {}),
        "## Published figures\n",
        table(("Who", "Dice", "LV EF, points", "RV EF, points", "What differs"), _PUBLISHED),
        "## The ten patients with the lowest Dice\n",
        "`--pictures FOLDER` draws them: the images are not ours to show.\n",
        table(("Network", "Data set", "View", "Patient", "Group", "Mean Dice"), _worst(measured)),
    )


def _overlaps(rows: Sequence[tuple[str, Figures]]) -> str:
    heads = [f"{name} {phase.upper()}" for name in _STRUCTURES.values() for phase in ("ed", "es")]
    cells = [
        (code(name), row["dataset"], row["vendor"], number(row["patients"]), *_dice(row), _beyond(row))
        for name, row in rows
    ]
    columns = ("Network", "Data set", "Scanner", "Patients", *heads, "of it beyond the drawn slices: LV, RV")
    return table(columns, cells)


def _dice(row: Figures) -> Iterator[str]:
    for name in _STRUCTURES:
        for phase in ("ed", "es"):
            yield _figure(row, f"{name}_dice_{phase}", "{:.3f}")


def _beyond(row: Figures) -> str:
    shares = (_figure(row, f"{name}_beyond_share", "{:.1%}") for name in ("lv", "rv"))
    return ", ".join(share or "-" for share in shares)


def _end_errors(rows: Sequence[tuple[str, Figures]]) -> str:
    """A row a structure and phase."""
    cells = [
        (
            code(name), row["dataset"], title, phase.upper(), _figure(row, f"{key}_within_dice_{phase}", "{:.3f}"),
            _figure(row, f"{key}_beyond_ml_{phase}", "{:.1f}"), _figure(row, f"{key}_missed_ml_{phase}", "{:.1f}"),
        )
        for name, row in rows
        for key, title in _STRUCTURES.items()
        for phase in ("ed", "es")
        if f"{key}_within_dice_{phase}" in row
    ]  # fmt: skip
    columns = ("Network", "Data set", "Structure", "Phase", "Dice within", "Found beyond, mL", "Drawn and missed, mL")
    return table(columns, cells)


def _ejection_fractions(rows: Sequence[tuple[str, Figures]]) -> str:
    cells = [
        (
            code(name), row["dataset"], number(row["patients"]),
            *(_error(row, _counted(row, of)) for of in ("lv", "rv")),
            *(_error(row, f"{of}ef_pct") for of in ("lv", "rv")),
        )
        for name, row in rows
        if "lvef_pct_bias" in row and row["patients"] > 1
    ]  # fmt: skip
    columns = ("Network", "Data set", "Patients", "LV EF of a run", "RV EF of a run", "LV EF, whole", "RV EF, whole")
    return table(columns, cells)


def _counted(row: Figures, ventricle: str) -> str:
    """The ejection fraction as a run counts it: by parts where the network says them."""
    by_parts = f"{ventricle}ef_parts_pct"
    return by_parts if f"{by_parts}_bias" in row else f"{ventricle}ef_pct"


def _doubts(rows: Sequence[tuple[str, Figures]]) -> Iterator[str]:
    for name, row in rows:
        if "doubted_of_large_errors" in row and row["patients"] > 1:
            yield (
                f"{code(name)}, {row['dataset']}: of the patients whose LV EF is off by more than five points,"
                f" {row['doubted_of_large_errors']:.0%} are doubted (`qc_ok` is false); of the others,"
                f" {row['passed_of_others']:.0%} pass.\n"
            )


def _said_of_themselves(measured: Mapping[str, Figures]) -> Iterator[str]:
    """How far predicted overlaps are off, and how many patients the intervals of ejection fractions hold."""
    if not measured:
        return
    yield "## What a network says of itself\n\n" + _OF_THEMSELVES
    rows = [
        (
            code(name), number(row["patients"]), *(f"{row[f'{of}_dice_absolute_error']:.3f}" for of in _STRUCTURES),
            *(f"{row[f'{of}ef_share_within']:.0%} ({row[f'{of}ef_median_width']:.0f})" for of in ("lv", "rv")),
        )
        for name, row in measured.items()
    ]  # fmt: skip
    titles = (f"Dice of {title}" for title in _STRUCTURES.values())
    yield table(("Network", "Patients", *titles, "LV EF within", "RV EF within"), rows)


def _by_group(rows: Sequence[tuple[str, Figures]]) -> str:
    cells = [
        (
            code(name), row["dataset"], row["group"], number(row["patients"]), *_dice(row),
            _error(row, "lvef_pct"), _error(row, "rvef_pct"),
        )
        for name, row in rows
    ]  # fmt: skip
    heads = [f"{name} {phase.upper()}" for name in _STRUCTURES.values() for phase in ("ed", "es")]
    return table(("Network", "Data set", "Group", "Patients", *heads, "LV EF", "RV EF"), cells)


def _volumes(rows: Sequence[tuple[str, Figures]]) -> str:
    columns = ("lvedv_ml", "lvesv_ml", "rvedv_ml", "rvesv_ml")
    cells = [
        (code(name), row["dataset"], *(_bias(row, column) for column in columns))
        for name, row in rows
        if "lvedv_ml_bias" in row and row["patients"] > 1
    ]
    return table(("Network", "Data set", "LV EDV", "LV ESV", "RV EDV", "RV ESV"), cells)


def _error(row: Figures, name: str) -> str:
    if f"{name}_absolute" not in row:
        return ""
    return f"{row[f'{name}_absolute']:.1f} ({row[f'{name}_bias']:+.1f}; {row[f'{name}_sd']:.1f})"


def _bias(row: Figures, name: str) -> str:
    return f"{row[f'{name}_bias']:+.1f} ({row[f'{name}_sd']:.1f})" if f"{name}_bias" in row else ""


def _figure(row: Figures, name: str, form: str) -> str:
    return form.format(row[name]) if name in row else ""


def _worst(measured: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, ...]]:
    for name, result in measured.items():
        for row in result["worst"]:
            yield code(name), row["dataset"], row["view"], row["patient"], row["group"], f"{row['dice']:.3f}"
