"""What a user may choose: one ``cohort.toml``, checked here, saved resolved beside every run.

Paths in the file are relative to the file. Environment variables override it: ``CMR_COHORT_COMPUTE__PROFILE=slurm``.
"""

from __future__ import annotations

import errno
import tomllib
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from cmr_models.contracts.bounded_toml import load_toml
from cmr_models.contracts.foreign import faults_as, read_text
from cmr_models.contracts.names import nearest
from tasks.analysis.settings import AnalysisSettings
from tasks.convert.settings import ConvertSettings
from tasks.derive.settings import DeriveSettings
from tasks.evaluation.comparison_settings import CompareSettings
from tasks.execution.settings import ComputeSettings
from tasks.inference.settings import SegmentSettings
from tasks.report.settings import ReportSettings
from tasks.state.access import Access
from tasks.state.mistakes import UserMistake
from tasks.state.store import Cohort

_FILE = "cohort.toml"


def _exists(path: Path) -> bool:
    """Whether something is at ``path``; a name that no file can have is nowhere."""
    try:
        return path.exists()
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        return False


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
    metrics: Path | None = Field(
        default=None,
        description="text file (.prom) for Prometheus' node exporter, written after every command that writes",
    )
    access: Access = Field(
        default="owner",
        description="who may enter the cohort's folder and read what is in it: owner, group or everyone",
    )
    convert: ConvertSettings = ConvertSettings()
    segment: SegmentSettings = SegmentSettings()
    derive: DeriveSettings = DeriveSettings()
    compute: ComputeSettings = ComputeSettings()
    analysis: AnalysisSettings = AnalysisSettings()
    report: ReportSettings = ReportSettings()
    compare: CompareSettings = CompareSettings()

    @field_validator("directory", mode="before")
    @classmethod
    def _directory_is_named(cls, directory: Any) -> Any:
        if directory == "":
            raise ValueError("is empty; name the folder of the cohort")
        return directory

    @property
    def cohort(self) -> Cohort:
        """The cohort's folder."""
        return Cohort(self.directory)

    @field_validator("sources")
    @classmethod
    def _sources_exist(cls, sources: tuple[Path, ...]) -> tuple[Path, ...]:
        for source in sources:
            if not _exists(source):
                near = nearest(source.name, (path.name for path in source.parent.glob("*")))
                meant = near if "mean" in near else "; check the path, it is relative to the settings file"
                raise ValueError(f"there is no {source.name!r} in {source.parent}{meant}")
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
        UserMistake: if the file is not UTF-8.
        FileNotFoundError: if there is no such file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no settings file {path}; see `cmr-cohort run --help`")
    with faults_as(partial(_unreadable, path), UserMistake, ValidationError, tomllib.TOMLDecodeError, OSError):
        return CohortSettings(**_content(path, profile))


def settings_file(directory: Path | None) -> Path | None:
    """The settings of a cohort that is named by its folder: ``cohort.toml`` in it, or beside it and naming it.

    Args:
        directory: the cohort's folder, or that of its settings file; None for none.

    Returns:
        None if there is no such file.
    """
    if directory is None:
        return None
    if (directory / _FILE).is_file():
        return directory / _FILE
    beside = directory.resolve().parent / _FILE
    is_its = beside.is_file() and read_settings(beside).directory.resolve() == directory.resolve()
    return beside if is_its else None


def _unreadable(path: Path, kind: str) -> UserMistake:
    return UserMistake(f"{path}: the settings cannot be read ({kind}); see `cmr-cohort run --help`")


def _content(path: Path, profile: str | None) -> dict[str, Any]:
    """What the file says, its relative paths made absolute."""
    try:
        content = load_toml(read_text(path))
    except UnicodeDecodeError:
        raise UserMistake(f"{path}: the settings are not UTF-8; save the file as UTF-8 text") from None
    here = path.resolve().parent
    for name in ("directory", "participants", "outcomes", "withdrawn", "metrics"):
        if isinstance(content.get(name), str) and content[name]:
            content[name] = here / content[name]
    if isinstance(sources := content.get("sources", []), list | str):
        named = [sources] if isinstance(sources, str) else sources
        content["sources"] = [here / source if isinstance(source, str) else source for source in named]
    if profile and isinstance(content.get("compute", {}), dict):
        content["compute"] = content.get("compute", {}) | {"profile": profile}
    return content
