"""The table of phenotypes: what each number means, what it is made from, and the function that makes it.

A phenotype is one function and one row. A function takes its inputs by position, in the order of ``inputs``,
each a measurement of :func:`cmr_models.phenotypes.study.measure` or the name of an earlier row; it is not called
when one of them is missing, and the reason is handed on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cmr_models.phenotypes.body_size import body_surface_m2
from cmr_models.phenotypes.cardiac_cycle import smooth_cycle
from cmr_models.phenotypes.long_axis_function import long_axis_function
from cmr_models.reasons import Missing

# Reference: Kawel-Boehm et al. 2020, doi:10.1186/s12968-020-00683-3 (and UK Biobank's own field 24105)
MYOCARDIAL_DENSITY_G_ML = 1.05
# Rates of change need some thirty frames a second; below this number the peak is cut off.
MIN_FRAMES_RATE = 20

_BAI = "Bai et al. 2020, doi:10.1038/s41591-020-1009-y"
_PETERSEN = "Petersen et al. 2017, doi:10.1186/s12968-017-0327-9"
_INLINE = "UK Biobank category 133"
_FU = "Fu et al. 2026, doi:10.1038/s43856-026-01636-0"

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


def _same(value: float) -> Value:
    return value


def _at_frame(curve: npt.NDArray[np.float64], frame: int) -> Value:
    return float(curve[int(frame)])


def _difference(larger: float, smaller: float) -> Value:
    return larger - smaller


def _percent_of(part: float, whole: float) -> Value:
    return 100.0 * part / whole if whole > 0 else Missing("undefined")


def _ratio(numerator: float, denominator: float) -> Value:
    return numerator / denominator if denominator > 0 else Missing("undefined")


def _mass(myocardium_ml: npt.NDArray[np.float64], ed_frame: int) -> Value:
    return float(myocardium_ml[int(ed_frame)]) * MYOCARDIAL_DENSITY_G_ML


def _output(stroke_ml: float, heart_rate_bpm: float) -> Value:
    return stroke_ml * heart_rate_bpm / 1000.0


def _body_surface(height_cm: float, weight_kg: float) -> Value:
    if not (100 <= height_cm <= 250 and 25 <= weight_kg <= 350):
        return Missing("body_size_implausible")
    return float(body_surface_m2(height_cm, weight_kg))


def _largest(curve: npt.NDArray[np.float64]) -> Value:
    return float(np.nanmax(curve))


def _smallest(curve: npt.NDArray[np.float64]) -> Value:
    return float(np.nanmin(curve))


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


def _mapse(landmark_mm: npt.NDArray[np.float64]) -> Value:
    return long_axis_function(landmark_mm, (1.0, 1.0))["mapse_mm"]


def _axis_shortening(landmark_mm: npt.NDArray[np.float64]) -> Value:
    return long_axis_function(landmark_mm, (1.0, 1.0))["axis_shortening_pct"]


_MEASURED: tuple[Phenotype, ...] = (
    Phenotype(
        "ed_frame", "frame",
        "End-diastole: frame (from 0) of the largest LV volume near the start or end of the cine",
        ("cycle_ed",), _same, (0, 999), integer=True,
    ),
    Phenotype(
        "es_frame", "frame", "End-systole: frame (from 0) of the smallest LV volume",
        ("cycle_es",), _same, (0, 999), integer=True,
    ),
    Phenotype(
        "heart_rate_bpm", "1/min", "Heart rate during the short-axis cine",
        ("scan_heart_rate_bpm",), _same, (30, 150), 22426, _INLINE,
    ),
    Phenotype("height_cm", "cm", "Standing height", ("body_height_cm",), _same, (100, 250), 50),
    Phenotype("weight_kg", "kg", "Weight", ("body_weight_kg",), _same, (25, 350), 21002),
    Phenotype(
        "bsa_m2", "m²", "Body surface area, 0.007184 x weight^0.425 x height^0.725",
        ("height_cm", "weight_kg"), _body_surface, (0.8, 4.0), 22427, "Du Bois and Du Bois 1916",
    ),
    Phenotype(
        "lvedv_ml", "mL", "LV blood pool at end-diastole, papillary muscles as labelled",
        ("lv_ml", "ed_frame"), _at_frame, (30, 500), 24100, _BAI, indexed=True,
    ),
    Phenotype(
        "lvesv_ml", "mL", "LV blood pool at end-systole",
        ("lv_ml", "es_frame"), _at_frame, (5, 400), 24101, _BAI, indexed=True,
    ),
    Phenotype(
        "lvsv_ml", "mL", "LV stroke volume: end-diastolic less end-systolic volume",
        ("lvedv_ml", "lvesv_ml"), _difference, (5, 250), 24102, _BAI, indexed=True,
    ),
    Phenotype(
        "lvef_pct", "%", "LV ejection fraction: stroke volume over end-diastolic volume",
        ("lvsv_ml", "lvedv_ml"), _percent_of, (5, 90), 24103, _BAI,
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
        ("rv_ml", "ed_frame"), _at_frame, (30, 500), 24106, _BAI, indexed=True,
    ),
    Phenotype(
        "rvesv_ml", "mL", "RV blood pool at the LV's end-systole",
        ("rv_ml", "es_frame"), _at_frame, (5, 400), 24107, _BAI, indexed=True,
    ),
    Phenotype(
        "rvsv_ml", "mL", "RV stroke volume: end-diastolic less end-systolic volume",
        ("rvedv_ml", "rvesv_ml"), _difference, (5, 250), 24108, _BAI, indexed=True,
    ),
    Phenotype(
        "rvef_pct", "%", "RV ejection fraction: stroke volume over end-diastolic volume",
        ("rvsv_ml", "rvedv_ml"), _percent_of, (5, 90), 24109, _BAI,
    ),
    Phenotype(
        "lv_mass_to_volume_g_ml", "g/mL", "LV mass over LV end-diastolic volume",
        ("lvm_g", "lvedv_ml"), _ratio, (0.2, 4.0), reference=_PETERSEN,
    ),
    Phenotype(
        "lv_peak_ejection_ml_s", "mL/s", "Steepest fall of the smoothed LV volume curve",
        ("lv_ml", "time_ms"), _peak_ejection, (50, 2000),
    ),
    Phenotype(
        "lv_peak_filling_ml_s", "mL/s", "Steepest rise of the smoothed LV volume curve",
        ("lv_ml", "time_ms"), _peak_filling, (50, 2000),
    ),
    Phenotype(
        "la_area_max_cm2", "cm²", "Largest left-atrial area in the four-chamber view",
        ("la_cm2",), _largest, (3, 80), indexed=True,
    ),
    Phenotype(
        "la_area_min_cm2", "cm²", "Smallest left-atrial area in the four-chamber view",
        ("la_cm2",), _smallest, (1, 80), indexed=True,
    ),
    Phenotype(
        "ra_area_max_cm2", "cm²", "Largest right-atrial area in the four-chamber view",
        ("ra_cm2",), _largest, (3, 80), indexed=True,
    ),
    Phenotype(
        "ra_area_min_cm2", "cm²", "Smallest right-atrial area in the four-chamber view",
        ("ra_cm2",), _smallest, (1, 80), indexed=True,
    ),
    Phenotype(
        "lax_2c_mapse_mm", "mm",
        "Mitral annular plane systolic excursion: mean way of both hinges between the frames of the longest and the "
        "shortest long axis, two-chamber view",
        ("lax_2c_landmark_mm",), _mapse, (0, 40), reference=_FU,
    ),
    Phenotype(
        "lax_2c_axis_shortening_pct", "%",
        "Shortening of the long axis (middle of the mitral hinges to the apex) over the cycle, two-chamber view",
        ("lax_2c_landmark_mm",), _axis_shortening, (0, 50), reference=_FU,
    ),
    Phenotype(
        "lax_4c_mapse_mm", "mm",
        "Mitral annular plane systolic excursion: mean way of both hinges between the frames of the longest and the "
        "shortest long axis, four-chamber view",
        ("lax_4c_landmark_mm",), _mapse, (0, 40), reference=_FU,
    ),
    Phenotype(
        "lax_4c_axis_shortening_pct", "%",
        "Shortening of the long axis (middle of the mitral hinges to the apex) over the cycle, four-chamber view",
        ("lax_4c_landmark_mm",), _axis_shortening, (0, 50), reference=_FU,
    ),
)  # fmt: skip

_INDEXED_FIELD = {"lvco_l_min": 22425}


def _indexed(row: Phenotype) -> Phenotype:
    return Phenotype(
        name=f"{row.name}_m2",
        unit=f"{row.unit}/m²",
        definition=f"{row.definition}; divided by body surface area",
        inputs=(row.name, "bsa_m2"),
        function=_ratio,
        valid=(row.valid[0] / 3.0, row.valid[1]),
        ukb_field=_INDEXED_FIELD.get(row.name),
        reference=row.reference,
    )


PHENOTYPES: tuple[Phenotype, ...] = (*_MEASURED, *(_indexed(row) for row in _MEASURED if row.indexed))


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
