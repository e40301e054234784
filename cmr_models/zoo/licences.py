"""What the licence of a network permits, in words: one that forbids commercial use is told as such."""

from __future__ import annotations

import re
from collections.abc import Mapping

NOT_STATED = "not stated"
_RESTRICTED = re.compile(r"(^|[^a-z])(nc|non[- ]?commercial|not for commercial|research (use )?only)([^a-z]|$)")


def is_non_commercial(licence: str) -> bool:
    """Whether a licence forbids commercial use, by its name: ``CC-BY-NC-SA-4.0``, ``research only``.

    Reference: Creative Commons, element NonCommercial, https://creativecommons.org/share-your-work/cclicenses/
    """
    return _RESTRICTED.search(licence.casefold()) is not None


def licence_words(licence: str) -> str:
    """The licence as text for a reader: ``CC-BY-NC-SA-4.0, not for commercial use``."""
    if not licence.strip():
        return NOT_STATED
    return f"{licence}, not for commercial use" if is_non_commercial(licence) else licence


def licences_words(licences: Mapping[str, str]) -> str:
    """The licences of the networks of one model, by view; told by view only where they differ."""
    words = {view: licence_words(licence) for view, licence in sorted(licences.items())}
    if len(set(words.values())) == 1:
        return next(iter(words.values()))
    return "; ".join(f"{view}: {text}" for view, text in words.items()) or NOT_STATED
