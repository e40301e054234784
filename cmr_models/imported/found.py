"""What a reader finds in the files of another tool: a network, its weights, and what they tell of themselves."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

_ELSEWHERE = re.compile(r"^(see|refer|as in|in)\b", re.IGNORECASE)
_LICENCE_FILE = re.compile(r"licen[cs]e[^/]*", re.IGNORECASE)
_TWO_LINES = ("Apache License",)
_LONGEST = 200


@dataclass(frozen=True)
class Found:
    """A network of another tool.

    Attributes:
        kind: of :func:`cmr_models.nets.build`.
        config: its settings.
        state: its weights.
        preprocessing: of the card.
        plan: of the card: how images become its input.
        codes: our code of each label.
        label_names: the source's name of each label.
        pixel_mm: pixel size that it works at; 0 for that of the images.
        size: of its window; 0 for whole images.
        licence: as the source states it; "" if it does not.
        data_set: names that may tell the view.
        training_data: what the source tells of the training data.
        source: format, version and digests, for the card.
    """

    kind: str
    config: Mapping[str, Any]
    state: Mapping[str, Tensor]
    preprocessing: str
    plan: Mapping[str, Any]
    codes: tuple[int, ...]
    label_names: tuple[str, ...]
    pixel_mm: float
    size: int
    licence: str
    data_set: str
    training_data: tuple[str, ...]
    source: Mapping[str, Any]


def stated_licence(about: Mapping[str, Any]) -> str:
    """The licence that a description states itself; "" if it states none, or that it lies elsewhere."""
    for name in ("licence", "license"):
        text = one_line(about.get(name))
        if text and not _ELSEWHERE.match(text):
            return text
    return ""


def is_licence_file(name: str) -> bool:
    """Whether a file is called like a licence."""
    return _LICENCE_FILE.fullmatch(name) is not None


def first_words(text: str) -> str:
    """The name of a licence from its text: the first line that is not empty, and its version where that is the next."""
    lines = [one_line(line) for line in text.splitlines() if line.strip()]
    return ", ".join(lines[: 2 if lines[0] in _TWO_LINES else 1])[:_LONGEST] if lines else ""


def one_line(value: Any) -> str:
    """What a person wrote, on one line of at most 200 characters."""
    return " ".join(str(value or "").split())[:_LONGEST]


def digests(files: Mapping[str, str]) -> dict[str, Any]:
    """One digest of all files, and theirs; ``files`` is name -> SHA-256, no paths: those are named after people."""
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(files.items()))
    return {
        "digest": hashlib.sha256(lines.encode()).hexdigest(),
        "files": [f"{name} {digest}" for name, digest in sorted(files.items())],
    }


def joined(items: Iterable[Any]) -> str:
    """The items that are not empty, with commas between."""
    return ", ".join(one_line(item) for item in items if one_line(item))
