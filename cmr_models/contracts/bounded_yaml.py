"""YAML of others within bounds: aliases that repeat each other make gigabytes of three hundred bytes."""

from __future__ import annotations

from typing import Any, Final

import yaml

_MOST_NODES: Final = 100_000
_MOST_TEXT: Final = 2**20
_LONGEST_VALUE: Final = 2**16
"""Characters of one value: reading ``1:1:1...``, a number of base 60, takes their square."""


class TooManyNodesError(yaml.YAMLError):  # type: ignore[misc]  # yaml has no types
    """The text stands for more values than any settings have, or for endless ones."""

    def __init__(self) -> None:
        super().__init__(f"it stands for more than {_MOST_NODES} values; write it without aliases")


def load_yaml(text: str, loader: type[yaml.SafeLoader] = yaml.SafeLoader) -> Any:
    """The plain values that ``text`` stands for; ``loader`` is a kind of ``SafeLoader``.

    Raises:
        yaml.YAMLError: it is no YAML, larger than any that a person writes, or :class:`TooManyNodesError`.
    """
    if len(text) > _MOST_TEXT:
        raise yaml.YAMLError(f"it has more than {_MOST_TEXT} characters")
    reader = loader(text)
    try:
        node = reader.get_single_node()
        if node is None:
            return None
        if _size(node, {}) > _MOST_NODES:
            raise TooManyNodesError
        return reader.construct_document(node)
    finally:
        reader.dispose()


def _size(node: yaml.Node, known: dict[int, int]) -> int:
    """How many values a node stands for, aliases counted each time; ``known`` has those of the nodes before."""
    if isinstance(node, yaml.ScalarNode):
        return 1 if len(node.value) <= _LONGEST_VALUE else _MOST_NODES + 1
    if id(node) not in known:
        known[id(node)] = _MOST_NODES + 1  # what it is within itself
        inner = [part for item in node.value for part in (item if isinstance(item, tuple) else (item,))]
        known[id(node)] = 1 + sum(_size(part, known) for part in inner)
    return known[id(node)]
