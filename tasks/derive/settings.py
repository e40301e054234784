"""Settings of the derive stage."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tasks.execution.settings import Section


class DeriveSettings(Section):
    """How volumes are counted."""

    basal_slices: Literal["whole", "parts"] = Field(
        default="parts",
        description="the last slice at the base counts by its part under the valve, or whole where at least half of it"
        " is ventricle, else not at all (UK Biobank, SCMR)",
    )
