"""Settings of the convert stage."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from tasks.execution.settings import Section
from tasks.sources.archive import Limits

_MB = 2**20


class ConvertSettings(Section):
    """Which studies are kept."""

    frames_missing_max: float = Field(
        default=0.2, ge=0, le=1, description="share of missing frames that quarantines a study"
    )
    max_inflated_mb: int = Field(
        default=4096,
        gt=0,
        description="an archive that inflates beyond this is refused, as is one member beyond an eighth of it",
    )
    removed_max: float = Field(
        default=0.2, ge=0, le=1, description="a larger share of studies without source stops the run"
    )
    follow_links: bool = Field(
        default=False,
        description="whether links that lead out of the sources are followed; else they are counted as not taken",
    )

    @property
    def limits(self) -> Limits:
        """Bounds on zip archives; one member, which is held in memory whole, may have an eighth of all."""
        total = self.max_inflated_mb * _MB
        return Limits(max_member_bytes=total // 8, max_total_bytes=total)

    def that_decide(self) -> dict[str, Any]:
        """The settings that decide what is published, as plain values: part of every study's key."""
        return self.model_dump(exclude={"removed_max", "follow_links"})
