"""A mistake of the user: what is wrong, where (file and key), and what to write instead, in one line."""

from __future__ import annotations


class UserMistake(ValueError):
    """Something that the user wrote cannot be used. The message is one line: what, where, what to write instead.

    Values of users' tables are never part of the message; names of columns, files and settings are.

    Args:
        message: the line.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))
