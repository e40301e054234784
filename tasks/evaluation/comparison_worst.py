"""The studies on which two models differ most, with pictures: individual-level data, for internal review."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from contourpy import LineType, contour_generator
from matplotlib.figure import Figure
from PIL import Image, ImageDraw

from cmr_models.contracts import LV, MYOCARDIUM, RV
from cmr_models.evaluation import limits_of_agreement
from tasks.report.drawing import BLUE, INK, QUIET, VERMILION, draw
from tasks.report.naming import full_name, short_name
from tasks.report.pages import clean_text, render
from tasks.report.pages import number as shown
from tasks.state.store import Cohort, reading_tree

_COLOURS: Final = (BLUE, VERMILION)
_WIDTHS: Final = (4, 2)  # of outlines in pixels: where both are the same, the first is seen beside the second
_TILE_PX: Final = 220
_MARGIN_PX: Final = 12  # of the image, around both models' labels
_SLICES: Final = 4
_OUTLINES: Final = ((RV,), (MYOCARDIUM, LV), (LV,))
_PLOTTED: Final = ("lvef_pct", "rvef_pct", "lvedv_ml", "lvesv_ml", "lvm_g", "rvedv_ml")
_TABLED: Final = ("lvef_pct", "rvef_pct", "lvedv_ml", "lvesv_ml", "lvm_g")

Labels = npt.NDArray[np.uint8]


def worst_studies(cases: pd.DataFrame, comparable: Sequence[str], n: int) -> list[str]:
    """The ``n`` studies with the lowest Dice in the short axis, mean over structures, ED and ES; the worst first.

    Args:
        cases: by the contract ``COMPARED``.
        comparable: studies with labels of both models.
        n: at most so many.
    """
    chosen = cases[(cases["measure"] == "dice") & (cases["view"] == "sax") & (cases["phase"] == "all")]
    means = chosen[chosen["study"].isin(comparable)].groupby("study")["value"].mean().dropna()
    return [str(study) for study in means.sort_values(kind="stable").index[:n]]


def render_worst(
    cohort: Cohort, names: tuple[str, str], cases: pd.DataFrame, frames: Mapping[str, Mapping[str, int]]
) -> str:
    """The page of single studies.

    Args:
        cohort: with studies and predictions.
        names: of the predictions of A and B.
        cases: by the contract ``COMPARED``.
        frames: the studies to show -> their ED and ES frame.
    """
    return render(
        "compare_studies.html.j2",
        root="../",
        names=[clean_text(name) for name in names],
        plots=[_plot(cases, name) for name in _PLOTTED if _pairs(cases, name).shape[0] > 1],
        studies=[_study(cohort, names, cases, study, found) for study, found in frames.items()],
        tabled=[short_name(name) for name in _TABLED],
    )


def outlined(
    intensity: npt.NDArray[Any], labels: Sequence[Labels], pixel_mm: tuple[float, float], window: tuple[float, float]
) -> Image.Image:
    """One image with the outlines of RV, wall and LV pool by each model, in the model's colour.

    Args:
        intensity: ``(row, col)``.
        labels: ``(row, col)`` of each model.
        pixel_mm: row and column spacing; the tile has square millimetres.
        window: intensities that are black and white.
    """
    low, high = window
    grey = np.clip((intensity.astype(np.float64) - low) * 255 / max(high - low, 1.0), 0, 255).astype(np.uint8)
    height_mm, width_mm = (n * mm for n, mm in zip(grey.shape, pixel_mm, strict=True))
    scale = _TILE_PX / max(height_mm, width_mm)
    size = max(1, round(width_mm * scale)), max(1, round(height_mm * scale))
    tile = Image.fromarray(grey).resize(size, Image.Resampling.BICUBIC).convert("RGB")
    pen = ImageDraw.Draw(tile)
    by_px = np.array([size[0] / grey.shape[1], size[1] / grey.shape[0]])
    for label, colour, width in zip(labels, _COLOURS, _WIDTHS, strict=True):
        for codes in _OUTLINES:
            for line in _border(np.isin(label, codes)):
                pen.line([tuple(point) for point in (line + 0.5) * by_px], fill=colour, width=width)
    return tile


def most_different(first: Labels, second: Labels, n: int) -> list[int]:
    """The ``n`` slices of ``(slice, row, col)`` with the most pixels labelled otherwise, in the order of the stack."""
    different = (first != second).sum(axis=(1, 2))
    return sorted(np.argsort(-different, kind="stable")[:n].tolist())


def _border(mask: npt.NDArray[np.bool_]) -> list[npt.NDArray[np.float64]]:
    """Borders as (col, row), midway between pixels inside and outside."""
    padded = np.pad(mask, 1).astype(np.float64)
    lines: Any = contour_generator(z=padded, line_type=LineType.Separate).lines(0.5)
    return [line - 1 for line in lines]


def _study(
    cohort: Cohort, names: tuple[str, str], cases: pd.DataFrame, study: str, frames: Mapping[str, int]
) -> dict[str, Any]:
    rows = cases[cases["study"] == study]
    dice = rows[(rows["measure"] == "dice") & (rows["view"] == "sax") & (rows["phase"] != "all")]
    told = {(row["of"], row["phase"]): row["value"] for row in dice.to_dict("records")}
    values = rows[rows["measure"] == "agreement"].set_index("of")
    return {
        "study": clean_text(study),
        "dice": ", ".join(f"{of} {phase.upper()} {shown(value, 2)}" for (of, phase), value in told.items()),
        "values": [[shown(values.loc[name, side]) for name in _TABLED] for side in ("first", "second")],
        "pictures": _pictures(cohort, names, study, frames),
    }


def _pictures(cohort: Cohort, names: tuple[str, str], study: str, frames: Mapping[str, int]) -> list[dict[str, str]]:
    with reading_tree(cohort.study(study)) as tree:
        view = tree["sax"].to_dataset().load()
    labels = []
    for name in names:
        with reading_tree(cohort.prediction(name, study)) as tree:
            labels.append(np.asarray(tree["sax"]["label"].values, np.uint8))
    box = _box(labels)
    window = _window(view)
    row_mm, col_mm = (float(mm) for mm in view["pixel_mm"].values)
    found = []
    for phase, frame in frames.items():
        for k in most_different(labels[0][frame], labels[1][frame], _SLICES):
            pixels = view["intensity"].values[frame, k][box]
            tile = outlined(pixels, [side[frame, k][box] for side in labels], (row_mm, col_mm), window)
            title = f"{phase.upper()}, slice {k + 1} of {labels[0].shape[1]}"
            found.append({"title": title, "image": _data_uri(tile)})
    return found


def _window(view: xr.Dataset) -> tuple[float, float]:
    pixels = view["intensity"].values[view["frame_valid"].values]
    low, high = np.percentile(pixels, (0.5, 99.6))
    return float(low), float(high)


def _box(labels: Sequence[Labels]) -> tuple[slice, slice]:
    """Rows and columns that hold the labels of both models in any frame, with a margin."""
    anywhere = np.any([(side > 0).any(axis=(0, 1)) for side in labels], axis=0)
    sides = []
    for axis, size in enumerate(anywhere.shape):
        at = np.flatnonzero(anywhere.any(axis=1 - axis))
        sides.append(slice(max(0, int(at.min()) - _MARGIN_PX), min(size, int(at.max()) + 1 + _MARGIN_PX)))
    return sides[0], sides[1]


def _data_uri(tile: Image.Image) -> str:
    content = io.BytesIO()
    tile.save(content, "WEBP", quality=80, method=2)
    return "data:image/webp;base64," + base64.b64encode(content.getvalue()).decode()


# differences of every study


def _pairs(cases: pd.DataFrame, name: str) -> npt.NDArray[np.float64]:
    """``(study, 2)`` values by A and B, where both are known."""
    rows = cases[(cases["measure"] == "agreement") & (cases["of"] == name)]
    pairs = rows[["first", "second"]].to_numpy(float)
    return pairs[np.isfinite(pairs).all(axis=1)]


def _plot(cases: pd.DataFrame, name: str) -> dict[str, str]:
    """Differences against means, with bias and limits of agreement."""
    pairs = _pairs(cases, name)
    unit = str(cases.loc[cases["of"] == name, "unit"].iloc[0])
    limits = limits_of_agreement(pairs[:, 1], pairs[:, 0])

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        axes.scatter(pairs.mean(axis=1), pairs[:, 1] - pairs[:, 0], s=12, color=BLUE, alpha=0.6, linewidths=0)
        axes.axhline(0, color=QUIET, linewidth=0.6)
        for estimate, style in ((limits.bias, "-"), (limits.low, "--"), (limits.high, "--")):
            axes.axhline(estimate.value, color=INK, linewidth=1, linestyle=style)
            axes.axhspan(estimate.ci_low, estimate.ci_high, color=INK, alpha=0.08, linewidth=0)
        axes.set_title(short_name(name))
        axes.set_xlabel(f"Mean of A and B ({unit})")
        axes.set_ylabel(f"B − A ({unit})")

    content = base64.b64encode(draw(paint, 3.5, 2.6)).decode()
    return {"title": full_name(name), "image": f"data:image/svg+xml;base64,{content}"}
