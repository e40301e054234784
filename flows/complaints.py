"""What went wrong, in one line: what, where, and what to do. The traceback is in the log of the run."""

from __future__ import annotations

import contextlib
import dis
import errno
import os
import re
import shutil
import sqlite3
import tomllib
import traceback
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from cmr_models.contracts.bounded_toml import load_toml
from cmr_models.contracts.names import nearest
from flows.exit_status import ExitStatus
from tasks.state.mistakes import UserMistake

FAILED, USED_WRONGLY = ExitStatus.FAILED, ExitStatus.USED_WRONGLY
TRACEBACK = "CMR_COHORT_TRACEBACK"
"""Environment variable; where it is set, an error ends the command with Python's traceback."""

_OURS = ("flows", "tasks", "cmr_models")
_RAISE = dis.opmap["RAISE_VARARGS"]


class OneLine(click.ClickException):
    """One line on standard error, and an exit status."""

    def __init__(self, line: str, exit_code: int) -> None:
        super().__init__(" ".join(line.split()))
        self.exit_code = exit_code  # type: ignore[misc]  # click reads it of the instance


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """Whatever is raised within ends the command with one line."""
    try:
        yield
    except (click.ClickException, click.exceptions.Exit, click.Abort):
        raise
    except Exception as error:
        if os.environ.get(TRACEBACK):
            raise
        raise complaint(error) from error


def complaint(error: Exception) -> OneLine:
    """``error`` as a line; what a user can mend has status 2, all else 1."""
    if isinstance(error, UserMistake):
        return OneLine(str(error), USED_WRONGLY)
    for kind, describe in _KINDS.items():
        if isinstance(error, kind):
            line, status = describe(error)
            return OneLine(line + _noted(error), status)
    return OneLine(_unforeseen(error) + _noted(error), FAILED)


def of_models(error: Exception) -> OneLine:
    """A model or predictions that are not there (status 2), or cannot be used (1)."""
    wrong = isinstance(error, FileNotFoundError | UserMistake)
    return OneLine(str(error), USED_WRONGLY if wrong else FAILED)


def _noted(error: BaseException) -> str:
    return "".join(f" ({note})" for note in getattr(error, "__notes__", ()) if note.startswith("traceback in "))


def _of_system(error: Any) -> tuple[str, int]:
    where = error.filename if error.filename is not None else error.filename2
    place = f"{where}: " if where else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"{place}the disk is full, {error.strerror}{_free(where)}; make room, then type the same command again",
            FAILED,
        )
    if error.errno == errno.EROFS:
        return f"{place}the file system is read-only; mount it for writing or give another folder", FAILED
    if isinstance(error, PermissionError):
        return f"{place}not permitted ({error.strerror}); change the permissions or give another folder", FAILED
    if isinstance(error, NotADirectoryError | FileExistsError):
        return f"{place}is a file, a folder is needed; give another path", USED_WRONGLY
    if isinstance(error, FileNotFoundError) and error.errno is None:
        return str(error), USED_WRONGLY
    return f"{place}{error.strerror or error}", FAILED


def _free(where: Any) -> str:
    """Free space where a file could not be written."""
    folder = next((f for f in Path(str(where)).absolute().parents if f.is_dir()), None) if where else None
    return f" ({shutil.disk_usage(folder).free / 2**20:.1f} MB free)" if folder else ""


def _of_ledger(error: Any) -> tuple[str, int]:
    if "full" in str(error):
        return "ledger.sqlite: the disk is full; make room, then type the same command again", FAILED
    return (
        f"ledger.sqlite cannot be used ({error}); if it is damaged, move it away and type `cmr-cohort verify`,"
        " which makes it anew from the files",
        FAILED,
    )


def of_settings(error: Any, path: Path | None = None) -> list[str]:
    """A line for every fault of settings: file and line, key, fault, and the nearest key there is."""
    from cmr_models.analysis.spec import StudySpec
    from flows.settings import CohortSettings

    model = StudySpec if error.title == StudySpec.__name__ else CohortSettings
    faults = error.errors()
    unknown = [item for item in faults if item["type"] == "extra_forbidden"]
    return [_fault(item, path, model) for item in unknown or faults]  # a misspelt key is missing as well


def _fault(item: Any, path: Path | None, model: Any) -> str:
    keys = [str(key) for key in item["loc"]]
    fault = str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "extra_forbidden":
        fault = f"there is no such setting{_nearest(keys, model)}"
    elif item["type"] == "missing":
        fault = "is missing"
    elif item["type"] == "path_type":
        fault = "is no path; write it in quotes"
    elif item["type"] in ("model_type", "model_attributes_type"):
        fault = f"is a section; write [{'.'.join(keys)}] and its keys below it"
    elif item["type"] in ("literal_error", "enum"):
        choices = re.findall(r"'([^']*)'", item["ctx"]["expected"])
        fault = f"there is no {item['input']!r}{nearest(str(item['input']), choices)} (choose {', '.join(choices)})"
    return f"{_place(path, keys)}{'.'.join(keys)}{': ' if keys else ''}{fault}"


def _place(path: Path | None, keys: Sequence[str]) -> str:
    """File and line of the last of ``keys`` that is there."""
    if path is None or not path.is_file():
        return ""
    rows = path.read_text(encoding="utf-8", errors="replace").splitlines()
    for key in reversed(keys):
        written = re.compile(rf"""\s*\[*["']?{re.escape(key)}["']?\s*[=\]:]""")
        if found := next((n for n, row in enumerate(rows, 1) if written.match(row)), 0):
            return f"{path}, line {found}: "
    return f"{path}: "


_MOST_WORK = 10**8
"""Lines times characters of settings that are read once a line."""


def line_of_toml(error: tomllib.TOMLDecodeError, path: Path) -> int:
    """The line of a fault; of a bracket or quote that is never closed, the line where it opens; 0 if it has none."""
    if told := re.search(r"at line (\d+)", str(error)):
        return int(told[1])
    text = path.read_text(encoding="utf-8")
    rows = text.splitlines()
    if len(rows) * len(text) > _MOST_WORK:
        return 0
    for n in range(len(rows), 0, -1):
        with contextlib.suppress(tomllib.TOMLDecodeError):
            load_toml("\n".join(rows[: n - 1]))
            return n
    return 1


def _nearest(keys: Sequence[str], model: Any) -> str:
    for key in keys[:-1]:
        field = model.model_fields.get(key)
        model = field.annotation if field is not None else None
        if not hasattr(model, "model_fields"):
            return ""
    return nearest(keys[-1], model.model_fields) or f"; there are {', '.join(sorted(model.model_fields))}"


def _of_settings(error: Any) -> tuple[str, int]:
    return f"{error.title}: {'; '.join(of_settings(error))}", USED_WRONGLY


def _plain(error: Exception) -> tuple[str, int]:
    """What a ``raise`` of ours says. A library's message may quote a cell of a table, so only its place is told."""
    return (str(error) or type(error).__name__ if _is_raised_by_us(error) else _unforeseen(error)), FAILED


def _is_raised_by_us(error: Exception) -> bool:
    """Whether a ``raise`` statement of this package made the error, not a function that it called."""
    last = error.__traceback__
    if last is None:
        return True
    while last.tb_next is not None:
        last = last.tb_next
    code = last.tb_frame.f_code
    is_ours = last.tb_frame.f_globals.get("__name__", "").split(".")[0] in _OURS
    return is_ours and 0 <= last.tb_lasti < len(code.co_code) and code.co_code[last.tb_lasti] == _RAISE


def _of_toml(error: Exception) -> tuple[str, int]:
    return f"not valid TOML: {error}", USED_WRONGLY


def _unforeseen(error: Exception) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return (
        f"an error of this software, {type(error).__name__} at {Path(frame.filename).name}:{frame.lineno};"
        f" please report it. With {TRACEBACK}=1 the command shows where it came from"
    )


def _kinds() -> dict[type[Exception], Callable[[Any], tuple[str, int]]]:
    from pydantic import ValidationError

    return {
        ValidationError: _of_settings,
        tomllib.TOMLDecodeError: _of_toml,
        OSError: _of_system,
        sqlite3.Error: _of_ledger,
        zipfile.BadZipFile: _plain,
        ValueError: _plain,
        RuntimeError: _plain,
    }


_KINDS = _kinds()
