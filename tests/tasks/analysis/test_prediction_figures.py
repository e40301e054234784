"""Figures of nested models, read back from their axes."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tasks.analysis import prediction_figures
from tasks.analysis.prediction_figures import calibration_of_sets, concordance_of_sets, net_benefit_of_sets
from tasks.report.drawing import MARKERS, QUIET, SERIES

NAN = math.nan
Read = Callable[[Callable[..., Any], pd.DataFrame], list[Axes] | None]


@pytest.fixture
def axes_of(monkeypatch: pytest.MonkeyPatch) -> Read:
    """The axes that a function draws; None where it draws none."""

    def paint(painter: Callable[[Figure], None], width: float, height: float) -> Figure:
        figure = Figure((width, height))
        painter(figure)
        return figure

    monkeypatch.setattr(prediction_figures, "draw", paint)

    def read(function: Callable[..., Any], table: pd.DataFrame) -> list[Axes] | None:
        figure = function(table)
        return None if figure is None else figure.axes

    return read


def _lines(axes: Axes) -> dict[str, list[list[float]]]:
    return {str(line.get_label()): np.asarray(line.get_xydata()).tolist() for line in axes.lines}


CONCORDANCE = pd.DataFrame(
    [
        ("age", "stroke", "concordance", 0.6, 0.55, 0.66, "ok"),
        ("age", "death", "concordance", 0.7, 0.65, 0.72, "ok"),
        ("age + heart", "death", "concordance", 0.8, 0.78, 0.81, "ok"),
        ("age", "death", "auc", 0.9, 0.8, 1.0, "ok"),
        ("all", "death", "concordance", NAN, NAN, NAN, "suppressed"),
        ("all", "stroke", "concordance", 0.9, 0.8, 0.95, "failed"),
    ],
    columns=["exposure", "outcome", "measure", "estimate", "ci_low", "ci_high", "status"],
)


def test_concordance_has_a_panel_an_outcome_and_a_row_a_set_with_its_interval(axes_of: Read) -> None:
    axes = axes_of(concordance_of_sets, CONCORDANCE)
    assert axes is not None
    stroke, death = axes
    assert [one.get_title() for one in axes] == ["Stroke", "Death"]
    assert [tick.get_text() for tick in death.get_yticklabels()] == ["age", "age + heart"]
    assert death.get_ylim() == (1.5, -0.5)
    (bars,) = death.containers
    assert np.asarray(bars[0].get_xydata()).tolist() == [[0.7, 0], [0.8, 1]]
    ends = [segment.tolist() for segment in bars[2][0].get_segments()]
    assert np.array(ends).tolist() == pytest.approx(np.array([[[0.65, 0], [0.72, 0]], [[0.78, 1], [0.81, 1]]]))
    assert [tuple(line.get_xdata()) for line in death.lines if line.get_color() == QUIET] == [(0.5, 0.5)]
    assert np.asarray(stroke.containers[0][0].get_xydata()).tolist() == [[0.6, 0]]
    assert tuple(death.figure.get_size_inches()) == (2.2 + 2 * 2.6, pytest.approx(2.4))
    assert axes_of(concordance_of_sets, CONCORDANCE.assign(status="failed")) is None


def test_six_outcomes_are_shown_in_lines_of_three(axes_of: Read) -> None:
    many = pd.concat([CONCORDANCE.iloc[:1].assign(outcome=f"o{k}") for k in range(8)])
    axes = axes_of(concordance_of_sets, many)
    assert axes is not None
    assert [one.get_title() for one in axes] == [f"O{k}" for k in range(6)]
    assert tuple(axes[0].figure.get_size_inches()) == (pytest.approx(2.2 + 3 * 2.6), pytest.approx(4.4))
    four = axes_of(concordance_of_sets, many[:4])
    assert four is not None
    assert [one.axison for one in four] == [True] * 4 + [False] * 2


def test_calibration_is_observed_along_predicted_risk_beside_the_perfect_line(axes_of: Read) -> None:
    table = pd.DataFrame(
        [("age", 0.1, 0.15), ("heart", 0.2, 0.1), ("age", 0.4, 0.6), ("age", 0.8, NAN), ("heart", 0.5, 0.45)],
        columns=["exposure", "predicted", "estimate"],
    ).assign(outcome="death", status="ok")
    table.loc[4, "status"] = "suppressed"
    axes = axes_of(calibration_of_sets, table)
    assert axes is not None
    lines = _lines(axes[0])
    assert lines["age"] == [[0.1, 0.15], [0.4, 0.6]]
    assert lines["heart"] == [[0.2, 0.1]]
    perfect = [line for line in axes[0].lines if line.get_color() == QUIET]
    assert np.asarray(perfect[0].get_xydata()).tolist() == [[0, 0], [0.6, 0.6]]  # to the highest of either
    assert (axes[0].get_xlabel(), axes[0].get_ylabel()) == ("Predicted risk", "Observed risk")
    assert [text.get_text() for text in axes[0].get_legend().get_texts()] == ["age", "heart"]
    assert [(line.get_color(), line.get_marker()) for line in axes[0].lines[:2]] == list(
        zip(SERIES[:2], MARKERS[:2], strict=True)
    )


def test_net_benefit_is_beside_treating_all_and_none(axes_of: Read) -> None:
    table = pd.DataFrame(
        [("age", 0.2, 0.03, -0.5), ("age", 0.1, 0.05, 0.04), ("heart", 0.1, 0.06, 0.04), ("heart", 0.2, 0.04, -0.5)],
        columns=["exposure", "threshold", "estimate", "treat_all"],
    ).assign(outcome="death", status="ok")
    axes = axes_of(net_benefit_of_sets, table)
    assert axes is not None
    lines = _lines(axes[0])
    assert lines["heart"] == [[0.1, 0.06], [0.2, 0.04]]
    assert lines["treat all"] == [[0.1, 0.04], [0.2, -0.02]]  # by threshold, and cut where it falls far below 0
    assert [tuple(line.get_ydata()) for line in axes[0].lines if line.get_color() == QUIET][1] == (0, 0)
    assert (axes[0].get_xlabel(), axes[0].get_ylabel()) == ("Threshold of risk", "Net benefit")
    assert axes_of(net_benefit_of_sets, table[:0]) is None
