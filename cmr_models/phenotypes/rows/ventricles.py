"""Rows of the left and right ventricle: volumes, ejection, mass, rates of filling."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cmr_models.phenotypes.cardiac_cycle import smooth_cycle
from cmr_models.phenotypes.phenotype import Phenotype, Value
from cmr_models.phenotypes.rows.arithmetic import divide, percent_of, subtract, take_frame
from cmr_models.reasons import Missing

# Reference: Kawel-Boehm et al. 2020, doi:10.1186/s12968-020-00683-3 (and UK Biobank's own field 24105)
MYOCARDIAL_DENSITY_G_ML = 1.05
# Rates of change need some thirty frames a second; below this number the peak is cut off.
MIN_FRAMES_RATE = 20

_BAI = "Bai et al. 2020, doi:10.1038/s41591-020-1009-y"
_PETERSEN = "Petersen et al. 2017, doi:10.1186/s12968-017-0327-9"


def _mass(myocardium_ml: npt.NDArray[np.float64], ed_frame: int) -> Value:
    return float(myocardium_ml[int(ed_frame)]) * MYOCARDIAL_DENSITY_G_ML


def _rv_ejection(stroke_ml: float, ed_ml: float) -> Value:
    """Missing where the ventricle was found larger at end-systole: that is no ejection, and no heart's."""
    return percent_of(stroke_ml, ed_ml) if stroke_ml >= 0 else Missing("rv_larger_at_es")


def _output(stroke_ml: float, heart_rate_bpm: float) -> Value:
    return stroke_ml * heart_rate_bpm / 1000.0


def _peak_ejection(lv_ml: npt.NDArray[np.float64], time_ms: npt.NDArray[np.float64]) -> Value:
    rate = _rate_ml_s(lv_ml, time_ms)
    return rate if isinstance(rate, Missing) else float(-np.nanmin(rate))


def _peak_filling(lv_ml: npt.NDArray[np.float64], time_ms: npt.NDArray[np.float64]) -> Value:
    rate = _rate_ml_s(lv_ml, time_ms)
    return rate if isinstance(rate, Missing) else float(np.nanmax(rate))


def _rate_ml_s(
    volume_ml: npt.NDArray[np.float64], time_ms: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64] | Missing:
    """Slope over neighbouring frames of the smoothed curve; not taken across the end of the cine."""
    if np.isfinite(volume_ml).sum() < MIN_FRAMES_RATE:
        return Missing("few_frames")
    if not (np.isfinite(time_ms).all() and (np.diff(time_ms) > 0).all()):
        return Missing("time_unknown")
    rate: npt.NDArray[np.float64] = np.gradient(smooth_cycle(volume_ml), time_ms / 1000.0)
    return rate


VENTRICLES: tuple[Phenotype, ...] = (
    Phenotype(
        "lvedv_ml", "mL", "LV blood pool at end-diastole, papillary muscles as labelled",
        ("lv_ml", "ed_frame"), take_frame, (30, 500), 24100, _BAI, indexed=True,
    ),
    Phenotype(
        "lvesv_ml", "mL", "LV blood pool at end-systole",
        ("lv_ml", "es_frame"), take_frame, (5, 400), 24101, _BAI, indexed=True,
    ),
    Phenotype(
        "lvsv_ml", "mL", "LV stroke volume: end-diastolic less end-systolic volume",
        ("lvedv_ml", "lvesv_ml"), subtract, (5, 250), 24102, _BAI, indexed=True,
    ),
    Phenotype(
        "lvef_pct", "%", "LV ejection fraction: stroke volume over end-diastolic volume",
        ("lvsv_ml", "lvedv_ml"), percent_of, (5, 90), 24103, _BAI,
    ),
    Phenotype(
        "lvm_g", "g", "LV mass: myocardium at end-diastole x 1.05 g/mL",
        ("myocardium_ml", "ed_frame"), _mass, (20, 400), 24105, _BAI, indexed=True,
    ),
    Phenotype(
        "lvco_l_min", "L/min", "LV cardiac output: stroke volume x heart rate",
        ("lvsv_ml", "heart_rate_bpm"), _output, (0.5, 20), 24104, _BAI, indexed=True,
    ),
    Phenotype(
        "rvedv_ml", "mL", "RV blood pool at the LV's end-diastole",
        ("rv_ml", "ed_frame"), take_frame, (30, 500), 24106, _BAI, indexed=True,
    ),
    Phenotype(
        "rvesv_ml", "mL", "RV blood pool at the LV's end-systole",
        ("rv_ml", "es_frame"), take_frame, (5, 400), 24107, _BAI, indexed=True,
    ),
    Phenotype(
        "rvsv_ml", "mL", "RV stroke volume: end-diastolic less end-systolic volume",
        ("rvedv_ml", "rvesv_ml"), subtract, (5, 250), 24108, _BAI, indexed=True,
    ),
    Phenotype(
        "rvef_pct", "%", "RV ejection fraction: stroke volume over end-diastolic volume",
        ("rvsv_ml", "rvedv_ml"), _rv_ejection, (5, 90), 24109, _BAI,
    ),
    Phenotype(
        "lv_mass_to_volume_g_ml", "g/mL", "LV mass over LV end-diastolic volume",
        ("lvm_g", "lvedv_ml"), divide, (0.2, 4.0), reference=_PETERSEN,
    ),
    Phenotype(
        "lv_peak_ejection_ml_s", "mL/s", "Steepest fall of the smoothed LV volume curve",
        ("lv_ml", "time_ms"), _peak_ejection, (50, 2000),
    ),
    Phenotype(
        "lv_peak_filling_ml_s", "mL/s", "Steepest rise of the smoothed LV volume curve",
        ("lv_ml", "time_ms"), _peak_filling, (50, 2000),
    ),
)  # fmt: skip
