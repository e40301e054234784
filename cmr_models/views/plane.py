"""One image plane of a study: where it lies, how complete it is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from cmr_models.views import geometry
from cmr_models.views.geometry import Vector


@dataclass(frozen=True)
class Plane:
    """All images of one plane in one series.

    Attributes:
        position_mm: ``(3,)`` centre of the first pixel, LPS.
        row_dir: ``(3,)`` unit vector along a row.
        col_dir: ``(3,)`` unit vector down a column.
        pixel_mm: row and column spacing.
        shape: rows and columns.
        n_frames: images there are.
        n_expected: images there should be.
        acquired: sortable date and time; later is larger.
        description: tie-breaker only.
        thickness_mm: NaN if unknown.
        is_real_time: one beat of a real-time cine: coarser than a cine over many beats.
    """

    position_mm: Vector
    row_dir: Vector
    col_dir: Vector
    pixel_mm: tuple[float, float]
    shape: tuple[int, int]
    n_frames: int
    n_expected: int
    acquired: str = ""
    description: str = ""
    thickness_mm: float = math.nan
    is_real_time: bool = False

    @cached_property
    def normal(self) -> Vector:
        return geometry.normal(self.row_dir, self.col_dir)

    @cached_property
    def centre_mm(self) -> Vector:
        return geometry.centre(self.position_mm, self.row_dir, self.col_dir, self.pixel_mm, self.shape)

    @property
    def merit(self) -> tuple[bool, float, str]:
        """Sorts repeats: cines over many beats before real-time cines, the most complete, then the latest."""
        return (not self.is_real_time, self.n_frames / max(1, self.n_expected), self.acquired)
