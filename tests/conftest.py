"""Shared fixtures: the folder of the real images."""

import os
from pathlib import Path

import pytest

_DATA = Path(os.environ.get("CMR_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real images; tests that need it are skipped where it does not exist."""
    if not _DATA.is_dir():
        pytest.skip(f"there are no real images in {_DATA.name}; set CMR_TEST_DATA to their folder")
    return _DATA
