"""Settings of the derive stage."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tasks.execution.settings import Section


class DeriveSettings(Section):
    """How volumes are counted."""

    basal_slices: Literal["whole", "parts"] = Field(
        default="whole",
        description="the last slice at the base counts whole where at least half of it is ventricle, else not at all"
        " (UK Biobank, SCMR), or by its part under the valve",
    )
