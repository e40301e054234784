"""What a command checks in its first second, before any work: names in the settings and in a spec."""

from __future__ import annotations

from pathlib import Path

from flows.settings import CohortSettings
from tasks.analysis.names import check_profile, check_settings_names, check_spec_names, check_withdrawn
from tasks.execution.cluster import check_cluster_options


def check_user_names(settings: CohortSettings, config: Path | None = None, spec: Path | None = None) -> None:
    """Check every profile, column, phenotype, condition, covariate, group, table and spec that the user names.

    Models are checked by :func:`tasks.inference.segment_stage.network_digests`.

    Args:
        settings: of the cohort.
        config: the file that they come from, for messages.
        spec: an analysis spec, if the command has one; the section ``[analysis]`` is then not looked at.

    Raises:
        tasks.state.mistakes.UserMistake: a name is nowhere; the message is one line.
    """
    where = config.name if config else "the settings"
    check_profile(where, settings.compute.profile)
    check_cluster_options(settings.compute.profile, settings.compute.cluster)
    check_withdrawn(where, settings.withdrawn)
    if spec is not None:
        check_spec_names(spec, settings.directory)
        return
    files = (settings.participants, settings.outcomes)
    check_settings_names(where, settings.analysis, *files, settings.directory)
