"""The boundary of a reader: any fault within becomes the documented error; those of the system pass if they may."""

import errno
import sqlite3
import zlib
from pathlib import Path

import pytest

from cmr_models.contracts.foreign import faults_as, read_text


class _DocumentedError(Exception):
    pass


@pytest.mark.parametrize("fault", [zlib.error(), RecursionError(), MemoryError(), KeyError("SMITH"), sqlite3.Error()])
def test_any_fault_is_the_documented_error_without_its_text(fault: Exception) -> None:
    with pytest.raises(_DocumentedError) as raised, faults_as(_DocumentedError):
        raise fault
    assert str(raised.value) == type(fault).__name__
    assert raised.value.__suppress_context__


def test_what_may_pass_passes() -> None:
    with pytest.raises(KeyError), faults_as(_DocumentedError, KeyError):
        raise KeyError("a")


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (OSError(errno.EIO, "disk"), OSError),
        (PermissionError(errno.EACCES, "no"), PermissionError),
        (OSError(errno.EINVAL, "a place before the beginning"), _DocumentedError),
        (OSError("image file is truncated"), _DocumentedError),
    ],
)
def test_an_error_of_the_disk_is_not_taken_for_damage(error: OSError, raised: type[Exception]) -> None:
    with pytest.raises(raised), faults_as(_DocumentedError, OSError):
        raise error


def test_the_end_of_the_command_passes() -> None:
    with pytest.raises(KeyboardInterrupt), faults_as(_DocumentedError):
        raise KeyboardInterrupt


def test_a_text_is_read_up_to_a_bound(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_bytes(b"\xef\xbb\xbfabc")
    assert read_text(path) == "abc"
    with pytest.raises(ValueError, match=r"a\.toml has more than 0 MB"):
        read_text(path, most_bytes=5)
