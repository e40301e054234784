"""Status codes of the pixels of a perfusion map."""

from __future__ import annotations

from typing import NamedTuple


class Status(NamedTuple):
    """One row; ``measured`` says whether the maps hold numbers there, else they are NaN."""

    code: int
    name: str
    measured: bool
    sentence: str


OK = 0
OUTSIDE, NOT_FINITE, NOT_ENHANCING = 1, 2, 3
CLIPPED, AT_BOUND, NOT_CONVERGED, POOR_FIT = 4, 5, 6, 7

STATUS: tuple[Status, ...] = (
    Status(OK, "ok", True, "Fitted."),
    Status(OUTSIDE, "outside", False, "Outside the region asked for."),
    Status(NOT_FINITE, "not_finite", False, "A frame is missing or not finite."),
    Status(NOT_ENHANCING, "not_enhancing", False, "The curve does not rise above its noise after arrival."),
    Status(CLIPPED, "clipped", True, "Several frames stand at the highest value of the series: flow is too low."),
    Status(AT_BOUND, "at_bound", True, "Flow or a volume stands at its bound."),
    Status(NOT_CONVERGED, "not_converged", True, "The fit still moved when it was stopped."),
    Status(POOR_FIT, "poor_fit", True, "The model misses the curve by more than a quarter of its peak."),
)
