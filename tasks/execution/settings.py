"""Settings as every stage declares them, and those of the computing itself."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    """One section of ``cohort.toml``: checked when it is read, never changed afterwards, no unknown key."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ComputeSettings(Section):
    """Where the work runs; it changes no result."""

    profile: str = Field(
        default="in-process", description="in-process, local, cuda, slurm, kubernetes or a scheduler address"
    )
    workers: int | None = Field(
        default=None,
        gt=0,
        description="worker processes, GPUs or jobs; by default one a core or GPU, or one job",
    )
    studies_per_shard: int = Field(default=200, gt=0, description="studies a Prefect task")
    studies_per_chunk: int = Field(default=4, gt=0, description="studies a Dask task")
    set_aside_max: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="share of the studies that may be quarantined; above it a command ends with exit status 3",
    )
    failing_max: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="share of the studies of a stage, of at least 20, that may fail without a reason of their own (file"
        " unreadable, unexpected error, worker lost); beyond it the stage stops",
    )
    study_seconds_max: float | None = Field(
        default=None,
        gt=0,
        description="time that a study may take at a stage; beyond it its process ends, and the study is tried alone."
        " By default 50 times the measured median, at least 10 minutes; an hour where nothing is measured",
    )
    cluster: dict[str, Any] = Field(default_factory=dict, description="keyword arguments of the Dask cluster")

    @property
    def cluster_settings(self) -> dict[str, Any]:
        """What :func:`tasks.execution.cluster.open_client` takes beside the profile."""
        return {"workers": self.workers, **self.cluster}
