"""The contracts of prediction files: labels, what other networks say, and the results of perfusion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from cmr_models.contracts.labels import BACKGROUND, LABEL_NAMES, LV, MYOCARDIUM, RV, SLICE_ANSWERS
from cmr_models.contracts.rows import ArraySpec, AttributeSpec, FileSpec, GroupSpec
from cmr_models.contracts.studies import IMAGE_DIMS, PERFUSION_STATES, VIEWS

_KEYS = (
    AttributeSpec("key", "text", "", "digest of all that the file was made from"),
    AttributeSpec("study_key", "text", "", "key of the study"),
    AttributeSpec("model", "text", "", "name of the model"),
)
_PRECISION = AttributeSpec("precision", "text", "", "number format in which the network ran: float32 or bfloat16")

SEGMENTATION = FileSpec(
    title="a segmentation",
    path="predictions/<model>/ab/cd/<participant>-<visit>.zarr.zip",
    writer="segmenter_version",
    groups=(
        GroupSpec(
            VIEWS,
            "A segmented view, on the study's own grid",
            (
                ArraySpec("label", IMAGE_DIMS, "uint8", "1", "structure of the heart", codes=LABEL_NAMES),
                ArraySpec(
                    "judged", ("frame", "slice"), "bool", "1",
                    "false where there was no image to judge; background there means nothing",
                ),
                ArraySpec(
                    "slice_confidence", ("frame", "slice", "structure"), "float64", "1",
                    "overlap that the probabilities of the network let expect, of RV, myocardium, LV in the slice; NaN"
                    " where none was found",
                    (0.0, 1.0), required=False,
                ),
                ArraySpec(
                    "predicted_dice", ("frame", "structure"), "float64", "1",
                    "overlap with an expert to be expected: of RV, myocardium, LV; NaN where none was found",
                    (0.0, 1.0), required=False,
                ),
                ArraySpec(
                    "slice_answer", ("frame", "slice", "ventricle"), "uint8", "1",
                    "whether the image shows a ventricle (RV, LV): wholly, partly, or why it is left out",
                    codes=SLICE_ANSWERS, required=False,
                ),
                ArraySpec(
                    "slice_share", ("frame", "slice", "ventricle"), "float64", "1",
                    "part of the slice that is ventricle (RV, LV), under its valve; a slice counts from a half on",
                    (0.0, 1.0), required=False,
                ),
                ArraySpec(
                    "answer_confidence", ("frame", "slice", "ventricle"), "float64", "1",
                    "probability of the learned answer (ventricle, transition or none); NaN where none was learned",
                    (0.0, 1.0), required=False,
                ),
            ),
        ),
    ),
    attributes=(
        *_KEYS,
        AttributeSpec("weights", "table", "", "view -> digest of the network's weights"),
        AttributeSpec(
            "licences", "table", "", "view -> licence of the network's weights; empty if not stated", required=False
        ),
        _PRECISION,
        AttributeSpec(
            "certainty", "table", "", "view -> the lines of the network's card from its certainty to its errors",
            required=False,
        ),
        AttributeSpec(
            "valves", "table", "", "valve -> the long-axis views in which its plane was found", required=False
        ),
        AttributeSpec(
            "slice_answers", "table", "", "code -> answer of a slice, or why it is left out", required=False
        ),
        AttributeSpec("classes", "table", "", "code -> name of the structure"),
        AttributeSpec("segmenter_version", "integer", "1", "version of the segment stage"),
        AttributeSpec("grids", "table", "", "view -> where the pixels of the network lay on the study's"),
    ),
)  # fmt: skip
"""The contract of what the segment stage publishes."""

_POINTS = ("frame", "point", "axis")
_FEATURE = ArraySpec(
    "feature", ("frame", "token?", "channel"), "float32", "1",
    "features of the encoder; frame 0 is end-diastole, frame 1 end-systole", required=False,
)  # fmt: skip

OUTPUT = FileSpec(
    title="an output of a network",
    path="predictions/<task>-<model>/ab/cd/<participant>-<visit>.zarr.zip",
    writer="predictor_version",
    groups=(
        GroupSpec(
            VIEWS,
            "A view: landmarks, or the features of its tokens",
            (
                ArraySpec(
                    "landmark_px", _POINTS, "float64", "pixel",
                    "(row, col) on the study's pixels, sub-pixel: two hinges, apex; NaN without image",
                    required=False,
                ),
                ArraySpec(
                    "landmark_published_px", _POINTS, "float64", "pixel",
                    "the same, truncated to whole pixels of the network's grid, as the published code does",
                    required=False,
                ),
                ArraySpec(
                    "confidence", ("frame", "point"), "float64", "1",
                    "peak of the heatmap; NaN for networks of coordinates", (0.0, 1.0), required=False,
                ),
                _FEATURE,
            ),
        ),
        GroupSpec(("cls",), "Class token of all views together", (_FEATURE,)),
        GroupSpec(
            ("answer",),
            "A class or a quantity of the study",
            (
                ArraySpec(
                    "probability", ("class",), "float64", "1", "in the order of the attribute classes",
                    (0.0, 1.0 + 1e-6), required=False,
                ),
                ArraySpec("value", (), "float64", "of the quantity", "the quantity", required=False),
            ),
        ),
    ),
    attributes=(
        *_KEYS,
        AttributeSpec("task", "text", "", "task of the network, as its card names it"),
        AttributeSpec("weights", "table", "", "digest of the network's weights"),
        _PRECISION,
        AttributeSpec("views", "list", "", "views of the study that the network saw"),
        AttributeSpec("classes", "list", "", "names of the classes; empty for other networks"),
        AttributeSpec("predictor_version", "integer", "1", "version of the predict stage"),
        AttributeSpec("summary", "table", "", "values of the study, and why others are missing"),
    ),
)  # fmt: skip
"""The contract of what the predict stage publishes."""

_MAP = ("slice", "row", "col")
_FIT_STATUS = {
    0: "ok", 1: "outside", 2: "not finite", 3: "not enhancing", 4: "clipped", 5: "at bound", 6: "not converged",
    7: "poor fit", 255: "not fitted",
}  # fmt: skip
PERFUSION = FileSpec(
    title="a perfusion result",
    path="predictions/perfusion/ab/cd/<participant>-<visit>.zarr.zip",
    writer="chain_version",
    groups=(
        GroupSpec(
            tuple(f"perfusion_{state}" for state in PERFUSION_STATES),
            "A measured state: rest, stress or unstated",
            (
                ArraySpec("mbf_ml_min_g", _MAP, "float32", "mL/min/g", "myocardial blood flow; NaN where not fitted"),
                ArraySpec("ps_ml_min_g", _MAP, "float32", "mL/min/g", "permeability-surface product"),
                ArraySpec("vb_ml_g", _MAP, "float32", "mL/g", "blood volume"),
                ArraySpec("visf_ml_g", _MAP, "float32", "mL/g", "interstitial volume"),
                ArraySpec("delay_s", _MAP, "float32", "s", "delay from the arterial input to the tissue"),
                ArraySpec(
                    "status", _MAP, "uint8", "1",
                    "how the fit of each pixel ended (`cmr_models.perfusion.STATUS`)", codes=_FIT_STATUS,
                ),
                ArraySpec(
                    "label", _MAP, "uint8", "1", "structure of the heart",
                    codes={code: LABEL_NAMES[code] for code in (BACKGROUND, RV, MYOCARDIUM, LV)},
                ),
                ArraySpec("segment", _MAP, "uint8", "1", "AHA segment 1 to 16; 0 outside the wall", (0, 16)),
                ArraySpec("layer", _MAP, "uint8", "1", "1 inner, 2 outer half of the wall; 0 outside it", (0, 2)),
                ArraySpec("aif_mask", ("aif_row", "aif_col"), "uint8", "1", "1 where the input was measured", (0, 1)),
                ArraySpec("time_s", ("time",), "float64", "s", "times of the two curves"),
                ArraySpec("aif_mmol_l", ("time",), "float64", "mmol/L", "gadolinium in the blood: the arterial input"),
                ArraySpec(
                    "tissue_mmol_l", ("segment_16", "time"), "float32", "mmol/L",
                    "mean gadolinium of each segment; NaN where it has no pixel",
                ),
            ),
            (
                AttributeSpec("limitations", "list", "", "reason codes of what limits the numbers"),
                AttributeSpec("aif", "table", "", "features of the arterial input"),
                AttributeSpec("slices_without_segments", "list", "", "why each slice has none; empty if it has"),
                AttributeSpec("grid_s", "real", "s", "distance in time of the fitted curves"),
                AttributeSpec("state", "text", "", "rest, stress or unstated"),
                AttributeSpec("pixel_mm", "list", "mm", "row spacing, column spacing"),
            ),
        ),
    ),
    attributes=(
        *_KEYS,
        AttributeSpec("chain_version", "integer", "1", "version of the chain of measurement"),
        AttributeSpec("weights", "table", "", "digests of the networks' weights"),
        AttributeSpec("classes", "table", "", "code -> name of the structure"),
        AttributeSpec("summary", "text", "", "numbers of the study for the tables, as JSON"),
    ),
)  # fmt: skip
"""The contract of what the perfusion stage publishes."""


_OF_VENTRICLES = ("frame", "slice", "ventricle")
_CERTAINTY_DIMS = {
    "slice_confidence": ("frame", "slice", "structure"),
    "predicted_dice": ("frame", "structure"),
    **dict.fromkeys(("slice_answer", "slice_share", "answer_confidence"), _OF_VENTRICLES),
}


def prediction(
    labels: Mapping[str, npt.NDArray[np.uint8]],
    judged: Mapping[str, npt.NDArray[np.bool_]] | None = None,
    certainties: Mapping[str, Mapping[str, npt.NDArray[Any]]] | None = None,
    **attributes: Any,
) -> xr.DataTree:
    """The output of one model for one study, on the study's own grid.

    Args:
        labels: view -> ``(frame, slice, row, col)``.
        judged: view -> ``(frame, slice)``; False where there was no image to judge, so that background there means
            nothing (all True by default).
        certainties: view -> name -> ``slice_confidence``, ``predicted_dice``, ``slice_answer`` and what belongs to it,
            of the networks that say it.
        **attributes: plain values kept with the prediction.
    """
    seen = judged or {}
    nodes = {
        f"/{view}": xr.Dataset(
            {
                "label": (IMAGE_DIMS, np.asarray(label, np.uint8)),
                "judged": (("frame", "slice"), seen.get(view, np.ones(label.shape[:2], bool))),
            }
        )
        for view, label in labels.items()
    }
    for view, found in (certainties or {}).items():
        for name, values in found.items():
            nodes[f"/{view}"][name] = (_CERTAINTY_DIMS[name], values)
    tree = xr.DataTree.from_dict(nodes)
    tree.attrs.update(attributes)
    return tree
