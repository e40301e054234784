"""Settings of the report."""

from __future__ import annotations

from pydantic import Field

from tasks.execution.settings import Section


class ReportSettings(Section):
    """What the site shows."""

    title: str = Field(default="Cardiac MR cohort", description="heading of the report")
    study_pages_max: int = Field(default=2000, ge=0, description="at most so many studies get a page of their own")
