"""Shared fixtures: where the real scans lie."""

import os
from pathlib import Path

import pytest

_DATA = Path(os.environ.get("CMR_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real scans; tests that need it are skipped where it is absent."""
    if not _DATA.is_dir():
        pytest.skip(f"no real scans at {_DATA.name}; set CMR_TEST_DATA to their folder")
    return _DATA
