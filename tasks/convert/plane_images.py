"""The images of one plane and one acquisition, and what is known of them: what conversion passes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy.typing as npt

from cmr_models.views.plane import Plane
from cmr_models.views.series_kind import SeriesFacts
from tasks.convert.phases import Cycle
from tasks.sources.dicom import Image

Order = Literal["time", "number", "unknown"]
"""How frames are ordered: by what means time; by their numbers, which the images confirm; not at all."""


@dataclass(frozen=True)
class PlaneImages:
    """Images of one plane and one acquisition.

    Attributes:
        images: all of them; ``cycle`` counts in these.
        facts: what the headers say of its kind.
        cycle: the frames in order.
        plane: its place; None if it cannot be placed.
        order: how the frames are ordered; settled for cines alone (:mod:`tasks.convert.frame_orders`).
        flags: reason codes of kind "flag".
        left_out: reason code, if it is no plane of its own.
    """

    images: list[Image]
    facts: SeriesFacts
    cycle: Cycle
    plane: Plane | None
    order: Order = "time"
    flags: tuple[str, ...] = ()
    left_out: str = ""

    @property
    def n_repeats(self) -> int:
        """Images that show a frame again."""
        return len(self.images) - self.cycle.n_valid

    @property
    def fault(self) -> str:
        """The reason code for which some of the pixels cannot be read rightly; empty if all can."""
        return next((image.fault for image in self.images if image.fault), "")


def shown(images: Sequence[Image], cycle: Cycle) -> list[npt.NDArray[Any]]:
    """Pixels of the frames that are there, in their order."""
    return [pixels for i in cycle.image if i >= 0 and (pixels := images[int(i)].pixels) is not None]
