"""Style of all figures of the report, and drawing them as deterministic SVG."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from tasks.report.pages import clean_text

INK, QUIET, LINE, WASH = "#1b1f24", "#5b6570", "#d4d9de", "#eef1f4"
# Colours of Okabe and Ito, which people with any kind of colour vision can distinguish.
ORANGE, SKY, GREEN, BLUE, VERMILION, PURPLE = "#e69f00", "#56b4e9", "#009e73", "#0072b2", "#d55e00", "#cc79a7"
SERIES = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, INK, QUIET)
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "d")
SEX_COLOURS = {"female": VERMILION, "male": BLUE}
QUARTILE_COLOURS = {"Q1": "#9ecae1", "Q2": "#56a0d3", "Q3": "#1f6fb2", "Q4": "#08306b"}

_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "cmr-cohort",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.sans-serif": ["Helvetica Neue", "Helvetica", "Arial", "Liberation Sans", "DejaVu Sans"],
    "font.size": 8.5,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 8.5,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.width": 0.8,
    "ytick.major.width": 0.8,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "text.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.4,
}


def draw(painter: Callable[[Figure], None], width: float, height: float) -> bytes:
    """Draw one figure as SVG; the same input gives the same bytes.

    Args:
        painter: function that draws on a figure.
        width: inches.
        height: inches.
    """
    style: Any = _STYLE
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        matplotlib.rcdefaults()  # whatever a file of the user's or of the working directory says
        matplotlib.rcParams.update(style)
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(figure)
        painter(figure)
        content = io.BytesIO()
        figure.savefig(content, format="svg", metadata={"Date": None, "Creator": None})
    return content.getvalue()


def label(value: object, longest: int = 48) -> str:
    """Text for a figure: one line, without characters that XML forbids, of at most ``longest`` characters."""
    text = clean_text(value)
    return text if len(text) <= longest else text[: longest - 1] + "…"


def ratio_axis(axes: Axes, low: float, high: float) -> None:
    """Set a logarithmic axis of ratios with plain numbers as ticks, and a line at no effect."""
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    ticks = [tick for tick in _RATIO_TICKS if low <= tick <= high]
    if len(ticks) > 6:
        ticks = [tick for tick in ticks if tick in _RATIO_TICKS_FEW]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.axvline(1, color=QUIET, linewidth=0.8, zorder=0)


_RATIO_TICKS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 1, 1.1, 1.25, 1.5, 2, 3, 5, 10, 20)
_RATIO_TICKS_FEW = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20)


def stripes(axes: Axes, count: int) -> None:
    """Draw a light band behind every second row of a forest plot."""
    for row in range(0, count, 2):
        axes.axhspan(row - 0.5, row + 0.5, color=WASH, linewidth=0, zorder=-2)


def intervals(
    axes: Axes,
    ends: npt.NDArray[np.float64],
    y: npt.NDArray[np.float64],
    colours: Sequence[str],
    limits: tuple[float, float],
    *,
    size: float = 18,
) -> None:
    """Draw estimates with intervals, ``ends (row, 3)``: low, estimate, high. An end beyond ``limits`` is an arrow."""
    low, estimate, high = np.clip(ends, *limits).T
    axes.hlines(y, low, high, colors=list(colours), linewidth=1.3, zorder=2)
    axes.scatter(estimate, y, s=size, c=list(colours), marker="s", linewidths=0, zorder=3)
    for at, marker, beyond in ((low, "<", ends[:, 0] < limits[0]), (high, ">", ends[:, 2] > limits[1])):
        if beyond.any():
            shown = [colour for colour, is_beyond in zip(colours, beyond, strict=True) if is_beyond]
            axes.scatter(at[beyond], y[beyond], s=16, c=shown, marker=marker, linewidths=0, clip_on=False)
