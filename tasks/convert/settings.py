"""Settings of the convert stage."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from tasks.execution.settings import Section
from tasks.sources.limits import Limits

_MB = 2**20
_LATER = ("max_decoded_mb", "max_ratio")


class ConvertSettings(Section):
    """Which studies are kept."""

    frames_missing_max: float = Field(
        default=0.2, ge=0, le=1, description="share of missing frames that quarantines a study"
    )
    max_inflated_mb: int = Field(
        default=4096,
        gt=0,
        description="a study whose files, those in archives inflated, are larger than this is refused, as is one member"
        " beyond an eighth of it",
    )
    max_decoded_mb: int = Field(
        default=2048,
        gt=0,
        description="a study whose pixels take more than this is refused; one file beyond a quarter of it is left out",
    )
    max_ratio: float = Field(
        default=200.0,
        gt=1,
        description="a study that inflates or decodes to more than this many times the size of its files is refused",
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
        """Bounds on one study; one member, which is held in memory whole, may have an eighth of all."""
        total, decoded = self.max_inflated_mb * _MB, self.max_decoded_mb * _MB
        return Limits(
            max_member_bytes=total // 8,
            max_total_bytes=total,
            max_decoded_bytes=decoded,
            max_image_bytes=decoded // 4,
            max_ratio=self.max_ratio,
        )

    def that_decide(self) -> dict[str, Any]:
        """The settings that decide what is published, as plain values: part of every study's key.

        Settings of later versions are part of it where they are not as the versions before behaved.
        """
        return self.model_dump(
            exclude={"removed_max", "follow_links", *(name for name in _LATER if self._has_default(name))}
        )

    def _has_default(self, name: str) -> bool:
        return bool(getattr(self, name) == type(self).model_fields[name].default)
