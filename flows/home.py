"""Where libraries keep their files while a command runs: in the cohort, not in the home directory."""

from __future__ import annotations

import os
from pathlib import Path


def keep_out_of_the_home_directory(runs: Path) -> None:
    """Have Prefect and Matplotlib keep their files in ``runs``; the user's own settings of Prefect stay in force.

    Call it before they are imported. A home directory may be small, shared by all machines, not writable, or unknown.
    """
    folder = runs.resolve() / ".prefect"
    folder.mkdir(parents=True, exist_ok=True)
    profiles = Path(os.path.expanduser("~"), ".prefect", "profiles.toml")
    if "PREFECT_HOME" not in os.environ and profiles.is_file():
        os.environ.setdefault("PREFECT_PROFILES_PATH", str(profiles))
    os.environ.setdefault("PREFECT_HOME", str(folder))
    os.environ.setdefault("MPLCONFIGDIR", str(folder / "matplotlib"))
