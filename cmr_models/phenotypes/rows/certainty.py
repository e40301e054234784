"""Rows of what the short-axis network does not know: predicted overlap with an expert, intervals of EF."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cmr_models.phenotypes.phenotype import Phenotype, Value
from cmr_models.reasons import Missing

_RV, _MYOCARDIUM, _LV = range(3)
_LVEF_LOW, _LVEF_HIGH, _RVEF_LOW, _RVEF_HIGH = range(4)

Dice = npt.NDArray[np.float64]


def _overlap(dice: Dice, ed_frame: int, es_frame: int, structure: int) -> Value:
    value = float((dice[int(ed_frame), structure] + dice[int(es_frame), structure]) / 2)
    return value if np.isfinite(value) else Missing("structure_not_in_frame")


def _end(ef_pct: float, lacking: float, line: npt.NDArray[np.float64]) -> Value:
    return float(np.clip(ef_pct + line[0] + line[1] * lacking, 0, 100))


def _rv_overlap(dice: Dice, ed_frame: int, es_frame: int) -> Value:
    return _overlap(dice, ed_frame, es_frame, _RV)


def _myocardium_overlap(dice: Dice, ed_frame: int, es_frame: int) -> Value:
    return _overlap(dice, ed_frame, es_frame, _MYOCARDIUM)


def _lv_overlap(dice: Dice, ed_frame: int, es_frame: int) -> Value:
    return _overlap(dice, ed_frame, es_frame, _LV)


def _lvef_low(lvef_pct: float, overlap: float, lines: npt.NDArray[np.float64]) -> Value:
    return _end(lvef_pct, 1 - overlap, lines[_LVEF_LOW])


def _lvef_high(lvef_pct: float, overlap: float, lines: npt.NDArray[np.float64]) -> Value:
    return _end(lvef_pct, 1 - overlap, lines[_LVEF_HIGH])


def _rvef_low(rvef_pct: float, overlap: float, lines: npt.NDArray[np.float64]) -> Value:
    return _end(rvef_pct, 1 - overlap, lines[_RVEF_LOW])


def _rvef_high(rvef_pct: float, overlap: float, lines: npt.NDArray[np.float64]) -> Value:
    return _end(rvef_pct, 1 - overlap, lines[_RVEF_HIGH])


_WHAT = "Dice overlap with an expert to be expected of the %s, mean of end-diastole and end-systole"
_INTERVAL = (
    "%s end of the interval that holds nine of ten unseen patients' %s ejection fraction as an expert would draw it"
)
_DICE_INPUTS = ("dice_predicted", "ed_frame", "es_frame")

CERTAINTY: tuple[Phenotype, ...] = (
    Phenotype("rv_dice_predicted", "1", _WHAT % "right ventricle", _DICE_INPUTS, _rv_overlap, (0, 1)),
    Phenotype("myocardium_dice_predicted", "1", _WHAT % "LV myocardium", _DICE_INPUTS, _myocardium_overlap, (0, 1)),
    Phenotype("lv_dice_predicted", "1", _WHAT % "LV blood pool", _DICE_INPUTS, _lv_overlap, (0, 1)),
    Phenotype(
        "lvef_low_pct", "%", _INTERVAL % ("Lower", "LV"),
        ("lvef_pct", "lv_dice_predicted", "ef_error_lines"), _lvef_low, (0, 100),
    ),
    Phenotype(
        "lvef_high_pct", "%", _INTERVAL % ("Upper", "LV"),
        ("lvef_pct", "lv_dice_predicted", "ef_error_lines"), _lvef_high, (0, 100),
    ),
    Phenotype(
        "rvef_low_pct", "%", _INTERVAL % ("Lower", "RV"),
        ("rvef_pct", "rv_dice_predicted", "ef_error_lines"), _rvef_low, (0, 100),
    ),
    Phenotype(
        "rvef_high_pct", "%", _INTERVAL % ("Upper", "RV"),
        ("rvef_pct", "rv_dice_predicted", "ef_error_lines"), _rvef_high, (0, 100),
    ),
)  # fmt: skip
