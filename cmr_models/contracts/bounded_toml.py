"""TOML of others within bounds: a key of twenty thousand parts takes a gigabyte, its tables lie in each other."""

from __future__ import annotations

import re
import tomllib
from typing import Any, Final

_MOST_TEXT: Final = 2**20
_MOST_PARTS: Final = 16
"""Parts of a dotted key; settings have four at most."""

_QUOTED: Final = re.compile(
    r'"""(?:\\.|[^\\])*?(?:"""|\Z)' r"|'''.*?(?:'''|\Z)" r'|"(?:\\.|[^"\\\n])*+"?' r"|'[^'\n]*+'?" r"|\#[^\n]*+",
    re.DOTALL,
)
_LONG_KEY: Final = re.compile(rf"(?<![\w-])(?:[\w-]++|'')(?:[ \t]*+\.[ \t]*+(?:[\w-]++|'')){{{_MOST_PARTS},}}")


def load_toml(text: str) -> dict[str, Any]:
    """The plain values that ``text`` stands for.

    Raises:
        tomllib.TOMLDecodeError: it is no TOML, or larger or deeper than any that a person writes.
    """
    if len(text) > _MOST_TEXT:
        raise tomllib.TOMLDecodeError(f"it has more than {_MOST_TEXT:,} characters")
    if _LONG_KEY.search(_QUOTED.sub("''", text)):
        raise tomllib.TOMLDecodeError(f"a key has more than {_MOST_PARTS} parts")
    return tomllib.loads(text)
