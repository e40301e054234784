"""What a user may choose: one ``cohort.toml``, checked here, saved resolved beside every run.

Paths in the file are relative to the file. Environment variables override it: ``CMR_COHORT_COMPUTE__PROFILE=slurm``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from tasks.analysis.settings import AnalysisSettings
from tasks.state.store import Cohort


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ConvertSettings(_Section):
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


class SegmentSettings(_Section):
    """Which network, in which precision."""

    model: str = Field(default="default", min_length=1, description="name in the zoo, or a folder with weights")
    batch_images: int = Field(default=64, gt=0, description="images a forward pass")
    precision: str = Field(
        default="auto", pattern="^(auto|fp32|bf16)$", description="auto: bf16 where the device has it"
    )
    padding: Literal["black", "masked"] = Field(
        default="black", description="of stacks shorter than CineMA's input: black slices, as published, or left out"
    )


class ComputeSettings(_Section):
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
    cluster: dict[str, Any] = Field(default_factory=dict, description="keyword arguments of the Dask cluster")

    @property
    def cluster_settings(self) -> dict[str, Any]:
        """What :func:`tasks.execution.cluster.open_client` takes beside the profile."""
        return {"workers": self.workers, **self.cluster}


class ReportSettings(_Section):
    """What the site shows."""

    title: str = Field(default="Cardiac MR cohort", description="heading of the report")
    study_pages_max: int = Field(default=2000, ge=0, description="at most so many studies get a page of their own")


class CohortSettings(BaseSettings):
    """All of ``cohort.toml``."""

    model_config = SettingsConfigDict(env_prefix="CMR_COHORT_", env_nested_delimiter="__", extra="forbid", frozen=True)

    directory: Path = Field(description="the cohort's folder; everything that is made lies in it")
    sources: tuple[Path, ...] = Field(
        default=(), description="UK Biobank zips, DICOM folders, NIfTI, or folders of any of them"
    )
    participants: Path | None = Field(
        default=None,
        description="table of people (CSV); without it nothing is indexed to body size and there are no statistics",
    )
    outcomes: Path | None = Field(
        default=None, description="table of conditions (CSV); without it there are no statistics"
    )
    withdrawn: Path | None = Field(
        default=None, description="list of participants, one a line, of whom everything is deleted"
    )
    convert: ConvertSettings = ConvertSettings()
    segment: SegmentSettings = SegmentSettings()
    compute: ComputeSettings = ComputeSettings()
    analysis: AnalysisSettings = AnalysisSettings()
    report: ReportSettings = ReportSettings()

    @property
    def cohort(self) -> Cohort:
        """The cohort's folder."""
        return Cohort(self.directory)

    @field_validator("sources")
    @classmethod
    def _sources_exist(cls, sources: tuple[Path, ...]) -> tuple[Path, ...]:
        missing = [source.name for source in sources if not source.exists()]
        if missing:
            raise ValueError(f"sources {missing} are not there; check the paths (they are relative to the file)")
        return sources

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return env_settings, init_settings


def read_settings(path: Path, profile: str | None = None) -> CohortSettings:
    """The settings in the TOML file at ``path``, its relative paths made absolute; ``profile`` overrides the file's.

    Raises:
        pydantic.ValidationError: if a value is out of bounds or a key unknown.
        FileNotFoundError: if there is no such file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no settings at {path}; see `cmr-cohort run --help`")
    content = TomlConfigSettingsSource(CohortSettings, path)()
    here = path.resolve().parent
    for name in ("directory", "participants", "outcomes", "withdrawn"):
        if content.get(name):
            content[name] = here / content[name]
    content["sources"] = [here / source for source in content.get("sources", [])]
    if profile:
        content["compute"] = content.get("compute", {}) | {"profile": profile}
    return CohortSettings(**content)
