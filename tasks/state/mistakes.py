"""A mistake of the user: what is wrong, where (file and key), and what to write instead, in one line."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping


class UserMistake(ValueError):
    """Something that the user wrote cannot be used. The message is one line: what, where, what to write instead.

    Values of users' tables are never part of the message; names of columns, files and settings are.

    Args:
        message: the line.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


@contextlib.contextmanager
def faults_in_files(files: Mapping[str, str]) -> Iterator[None]:
    """Faults that were found in tables of the user, as mistakes that name the file.

    Args:
        files: name of a table, with which the messages about it begin (``participants: ...``) -> name of its file.

    Raises:
        UserMistake: within, a ValueError was raised that begins with the name of a table.
    """
    try:
        yield
    except ValueError as error:
        table, _, fault = str(error).partition(": ")
        if isinstance(error, UserMistake) or table not in files:
            raise
        raise UserMistake(f"{files[table]}: {fault}") from error
