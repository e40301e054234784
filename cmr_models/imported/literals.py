"""The plain values of a MONAI configuration: references are followed, expressions are never run."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from typing import Any

_MOST_VALUES = 20_000
_DEEPEST = 40
_REFERENCE = re.compile(r"\$?@([A-Za-z_]\w*(?:(?:::|#)\w+)*)")
_LONGEST_LITERAL = 1000


class Literals:
    """Values of one configuration.

    MONAI's marks: ``$`` begins an expression of Python, ``@`` a reference to another entry, ``%`` text of another one.
    An expression that is a number, a list of numbers or a reference alone is read; any other would have to run.
    """

    def __init__(self, content: Mapping[str, Any], where: str) -> None:
        self._content = content
        self._where = where
        self._read = 0

    def has(self, name: str) -> bool:
        """Whether there is an entry of that name."""
        return self._content.get(name) is not None

    def value(self, raw: Any, what: str, depth: int = 0) -> Any:
        """``raw`` with its references followed; ``what`` names it for messages.

        Raises:
            ValueError: if code would have to run, or a reference leads nowhere or in a circle.
        """
        self._read += 1
        if depth > _DEEPEST or self._read > _MOST_VALUES:
            raise ValueError(f"{self._where} refers to itself, or is larger than any configuration, in {what}")
        if isinstance(raw, Mapping):
            return {str(key): self.value(item, what, depth + 1) for key, item in raw.items()}
        if isinstance(raw, list):
            return [self.value(item, what, depth + 1) for item in raw]
        return self._text(raw, what, depth) if isinstance(raw, str) else raw

    def entry(self, name: str) -> Any:
        """An entry as it stands, or the entry that it refers to; None if it is not there."""
        return self.follow(self._content.get(name), name)

    def follow(self, raw: Any, what: str) -> Any:
        """``raw``, or the entry that it refers to if it is a reference alone, as it stands there."""
        for _ in range(_DEEPEST):
            found = _REFERENCE.fullmatch(raw) if isinstance(raw, str) else None
            if not found:
                return raw
            raw = self._at(found[1], what)
        raise ValueError(f"{self._where} refers to itself in {what}")

    def _text(self, text: str, what: str, depth: int) -> Any:
        found = _REFERENCE.fullmatch(text)
        if found:
            return self.value(self._at(found[1], what), what, depth + 1)
        if text.startswith("$"):
            return self._literal(text, what)
        if text.startswith(("@", "%")):
            raise ValueError(f"{self._where} has {text[:60]!r} in {what}, which is neither a value nor a name of one")
        return text

    def _literal(self, text: str, what: str) -> Any:
        try:
            if len(text) > _LONGEST_LITERAL:
                raise ValueError("too long")
            found = ast.literal_eval(text[1:].strip())
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
            raise ValueError(f"{self._where} has the code {text[:60]!r} in {what}, which would have to run") from error
        return list(found) if isinstance(found, tuple) else found

    def _at(self, path: str, what: str) -> Any:
        found: Any = self._content
        for part in re.split("::|#", path):
            if isinstance(found, Mapping) and part in found:
                found = found[part]
            elif isinstance(found, list) and part.isdigit() and int(part) < len(found):
                found = found[int(part)]
            else:
                raise ValueError(f"{self._where} refers to {path!r} in {what}, which is not there")
        return found
