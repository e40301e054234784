"""What a name that is nowhere may have been meant as."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_MOST_LISTED = 12
_NEAR = 0.6
_NEARLY_WRITTEN = 0.8


def nearest(name: str, known: Iterable[str], *, are_cells: bool = False) -> str:
    """The end of a message on a name that is nowhere: the nearest that there is, else all if they are few.

    Args:
        name: as the user wrote it.
        known: the names that there are.
        are_cells: whether these are cells of a table, which no message quotes, but for the one that the user nearly
            wrote himself.
    """
    there = sorted(set(known))
    by_letters = {word.casefold(): word for word in there}
    cutoff = _NEARLY_WRITTEN if are_cells else _NEAR
    found = difflib.get_close_matches(name.casefold(), list(by_letters), n=1, cutoff=cutoff)
    if found:
        return f"; did you mean {by_letters[found[0]]!r}?"
    if are_cells:
        return f"; there are {len(there)} others"
    return f"; there are {', '.join(there)}" if 0 < len(there) <= _MOST_LISTED else ""
