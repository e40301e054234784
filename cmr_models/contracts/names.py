"""What a name that is nowhere may have been meant as."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_MOST_LISTED = 12


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a message on a name that is nowhere: the nearest that there is, else all if they are few.

    Args:
        name: as the user wrote it.
        known: the names that there are.
    """
    there = sorted(set(known))
    by_letters = {word.casefold(): word for word in there}
    found = difflib.get_close_matches(name.casefold(), list(by_letters), n=1, cutoff=0.6)
    if found:
        return f"; did you mean {by_letters[found[0]]!r}?"
    return f"; there are {', '.join(there)}" if 0 < len(there) <= _MOST_LISTED else ""
