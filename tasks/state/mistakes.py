"""The one exception for what a user can mend: a wrong name, path, file or setting."""

from __future__ import annotations


class UserMistake(ValueError):
    """A mistake of the user, told in one line."""
