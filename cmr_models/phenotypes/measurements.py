"""What the phenotypes and the quality rules start from: the measurements of one study, by name."""

from __future__ import annotations

from typing import NamedTuple


class Measurement(NamedTuple):
    """One row.

    Attributes:
        name: key in what :func:`cmr_models.phenotypes.study.measure` returns.
        unit: of the value; "1" for labels and booleans.
        dims: ``()`` for one number.
        text: what it is.
        missing: reason code that stands in its place when its view, or the person's size, is not known.
    """

    name: str
    unit: str
    dims: tuple[str, ...]
    text: str
    missing: str = "view_missing"


_LANDMARKS = ("frame", "point", "axis")

MEASUREMENTS: tuple[Measurement, ...] = (
    Measurement("body_height_cm", "cm", (), "standing height", "body_size_unknown"),
    Measurement("body_weight_kg", "kg", (), "weight", "body_size_unknown"),
    Measurement("cycle_ed", "frame", (), "end-diastolic frame of the short axis"),
    Measurement("cycle_es", "frame", (), "end-systolic frame of the short axis"),
    Measurement("cycle_ed_at_start", "1", (), "whether end-diastole lies at the start or end of the cine"),
    Measurement("frame_order_agrees", "1", (), "whether the images agree with the times by which they were ordered"),
    Measurement("stack_order_agrees", "1", (), "whether labels and geometry agree on where the base of the stack is"),
    Measurement("scan_heart_rate_bpm", "1/min", (), "heart rate during the short-axis cine"),
    Measurement("time_ms", "ms", ("frame",), "delay of each short-axis frame after the R wave"),
    Measurement("lv_ml", "mL", ("frame",), "volume of the LV blood pool"),
    Measurement("myocardium_ml", "mL", ("frame",), "volume of the LV myocardium"),
    Measurement("rv_ml", "mL", ("frame",), "volume of the RV blood pool"),
    Measurement("sax_ed", "1", ("slice", "row", "col"), "short-axis labels at end-diastole, sorted along the axis"),
    Measurement("sax_es", "1", ("slice", "row", "col"), "short-axis labels at end-systole, sorted along the axis"),
    Measurement(
        "dice_predicted",
        "1",
        ("frame", "structure"),
        "overlap with an expert to be expected: of RV, myocardium, LV",
        "certainty_unpredicted",
    ),
    Measurement(
        "ef_error_lines",
        "points",
        ("end", "term"),
        "offset and slope of the ends of the intervals of LV EF and RV EF, from the overlap that the ventricle lacks",
        "certainty_unpredicted",
    ),
    Measurement("la_cm2", "cm²", ("frame",), "area of the left atrium in the four-chamber view"),
    Measurement("ra_cm2", "cm²", ("frame",), "area of the right atrium in the four-chamber view"),
    Measurement("lax_4c", "1", ("frame", "row", "col"), "four-chamber labels of the frames that have an image"),
    Measurement("lax_4c_ed", "1", ("row", "col"), "four-chamber labels at end-diastole"),
    Measurement("lax_2c_landmark_mm", "mm", _LANDMARKS, "hinges and apex, two-chamber view", "landmarks_unpredicted"),
    Measurement("lax_4c_landmark_mm", "mm", _LANDMARKS, "hinges and apex, four-chamber view", "landmarks_unpredicted"),
)
"""Every measurement; a row of the table of phenotypes may need no other input."""
