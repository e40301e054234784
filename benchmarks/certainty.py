"""How a network's certainty is to be read: lines from what it expects of itself to what experts find, for its card.

    python -m benchmarks.drawn_hearts --model NAME --rows ROWS.csv
    python -m benchmarks.certainty ROWS.csv --model NAME [--card FILE] [--out FILE]

Fitted on patients whom the network has not seen; what is printed is measured on patients whom the lines have not seen
either (five folds by patient), and put beside those of other models in ``--out`` (``docs/accuracy.md`` is made of it).
``--card`` puts the lines of all patients into that card.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import statsmodels.api as sm

from benchmarks.drawn_data import STRUCTURES
from benchmarks.kept_results import keep_beside_others
from cmr_models.segmentation.certainty import Lines
from cmr_models.zoo.model_card import card_text, parse_card

_RESULTS = Path(__file__).parent / "results" / "certainty.json"
_FOLDS = 5
_ENDS = {"low": 0.05, "high": 0.95}
_LARGE_ERROR = 5.0  # points of LV EF


def main() -> None:
    """Fit, cross-validate, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=Path)
    parser.add_argument("--model", default="default", help="whose rows they are")
    parser.add_argument("--dataset", default="ACDC")
    parser.add_argument("--card", type=Path)
    parser.add_argument("--out", type=Path, default=_RESULTS)
    arguments = parser.parse_args()
    rows = pd.read_csv(arguments.rows, keep_default_na=True)
    rows = rows[(rows["dataset"] == arguments.dataset) & (rows["view"] == "sax")]
    measured = cross_validated(rows)
    print(json.dumps(measured, indent=1))
    keep_beside_others(arguments.out, arguments.model, measured)
    if arguments.card:
        card = parse_card(arguments.card.read_text(encoding="utf-8"), str(arguments.card))
        lines = {name: tuple(round(value, 4) for value in line) for name, line in fitted(rows).items()}
        arguments.card.write_text(card_text(replace(card, certainty=lines)), encoding="utf-8")


def fitted(rows: pd.DataFrame) -> Lines:
    """The lines of these volumes: least squares for overlaps, quantile regression for the ends of intervals."""
    lines: dict[str, tuple[float, float]] = {}
    for name in STRUCTURES:
        known = rows.dropna(subset=[f"{name}_expected_dice"])
        slope, offset = np.polyfit(known[f"{name}_expected_dice"], known[f"{name}_dice"], 1)
        lines[f"dice_{name}"] = (float(offset), float(slope))
    for name in ("lv", "rv"):
        errors = errors_of(rows, name, lines)
        design = sm.add_constant(errors[["lacking"]])
        for end, quantile in _ENDS.items():
            offset, slope = sm.QuantReg(errors["drawn_less_found"], design).fit(q=quantile).params
            lines[f"{name}ef_{end}"] = (float(offset), float(slope))
    return lines


def errors_of(rows: pd.DataFrame, name: str, lines: Lines) -> pd.DataFrame:
    """Patient -> drawn less found EF in points, as a run finds it, and the overlap that the ventricle is predicted to
    lack.
    """
    table = rows.pivot(index="patient", columns="phase")
    columns = {"drawn": f"{name}_drawn_ml", "found": f"{name}_{'parts' if f'{name}_parts_ml' in rows else 'found'}_ml"}
    ef = {of: 100 * (1 - table[column]["es"] / table[column]["ed"]) for of, column in columns.items()}
    overlap = _predicted(table[f"{name}_expected_dice"], lines[f"dice_{name}"]).mean(axis=1, skipna=False)
    return pd.DataFrame({"drawn_less_found": ef["drawn"] - ef["found"], "lacking": 1 - overlap}).dropna()


def cross_validated(rows: pd.DataFrame) -> dict[str, Any]:
    """Errors of predicted overlaps and what the intervals of EF hold, of patients outside each fit."""
    patients = np.array(sorted(rows["patient"].unique()))
    folds = np.random.default_rng(0).permutation(len(patients)) % _FOLDS
    overlaps: dict[str, list[np.ndarray[Any, Any]]] = {name: [] for name in STRUCTURES}
    intervals: dict[str, list[pd.DataFrame]] = {"lv": [], "rv": []}
    for fold in range(_FOLDS):
        is_out = rows["patient"].isin(patients[folds == fold])
        lines = fitted(rows[~is_out])
        for name in STRUCTURES:
            out = rows[is_out].dropna(subset=[f"{name}_expected_dice"])
            predicted = _predicted(out[f"{name}_expected_dice"], lines[f"dice_{name}"])
            overlaps[name].append((predicted - out[f"{name}_dice"]).to_numpy())
        for name in intervals:
            intervals[name].append(_held(errors_of(rows[is_out], name, lines), name, lines))
    result: dict[str, Any] = {"patients": len(patients)}
    for name, errors in overlaps.items():
        result[f"{name}_dice_absolute_error"] = round(float(np.abs(np.concatenate(errors)).mean()), 4)
    for name, parts in intervals.items():
        result |= _of_intervals(pd.concat(parts), name)
    return result


def _predicted(expected: Any, line: Any) -> Any:
    return (line[0] + line[1] * expected).clip(0, 1)


def _held(errors: pd.DataFrame, name: str, lines: Mapping[str, Any]) -> pd.DataFrame:
    ends = {end: lines[f"{name}ef_{end}"][0] + lines[f"{name}ef_{end}"][1] * errors["lacking"] for end in _ENDS}
    return errors.assign(**ends)


def _of_intervals(rows: pd.DataFrame, name: str) -> dict[str, float]:
    error = rows["drawn_less_found"]
    width = rows["high"] - rows["low"]
    large = error.abs() > _LARGE_ERROR
    wide = width > width.median()
    figures = {
        "share_within": ((error >= rows["low"]) & (error <= rows["high"])).mean(),
        "median_width": width.median(),
        "large_error_share_wide": large[wide].mean(),
        "large_error_share_narrow": large[~wide].mean(),
    }
    return {f"{name}ef_{key}": round(float(value), 3) for key, value in figures.items()}


if __name__ == "__main__":
    main()
