"""A network that an ONNX file describes: its graph as data, computed node by node by our own operators.

The graph is JSON, the weights are safetensors; no code of the file's authors is in either. Values have the names "v0",
"v1" ..., constants "c0", "c1" ..., which are those of the weights.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from cmr_models.nets.onnx_operators import CHOICES, OPERATORS

OLDEST_OPSET, NEWEST_OPSET = 7, 24
_MOST_NODES = 5000
_DTYPES = {"float": torch.float32, "int": torch.int64, "bool": torch.bool}


class Node(NamedTuple):
    """One operator: its name, the names of its inputs ("" where one is left out) and outputs, its attributes."""

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class OnnxGraphConfig:
    """Settings of :class:`OnnxGraph`.

    Attributes:
        graph: JSON that :func:`graph_text` wrote.
    """

    graph: str


class OnnxGraph(nn.Module):
    """The network of a graph.

    Raises:
        ValueError: if the graph is damaged, has operators or attributes that are not known, or uses a value before it
            is computed.
    """

    def __init__(self, config: OnnxGraphConfig) -> None:
        super().__init__()
        try:
            content = json.loads(config.graph)
            self.opset = int(content["opset"])
            self._input, self._output = str(content["input"]), str(content["output"])
            self._nodes = tuple(
                Node(str(op), tuple(inputs), tuple(outputs), attributes)
                for op, inputs, outputs, attributes in content["nodes"]
            )
            constants = {str(name): (str(kind), tuple(shape)) for name, kind, shape in content["constants"]}
            for name, (kind, shape) in constants.items():
                self.register_buffer(name, torch.zeros(shape, dtype=_DTYPES[kind]))
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise ValueError(f"the description of the graph is damaged: {type(error).__name__}") from error
        check_nodes(self._nodes, {self._input, *constants}, self._output, self.opset)
        self._last_uses = _last_uses(self._nodes, self._output)

    def forward(self, x: Tensor) -> Tensor:
        """The output of the graph for its one input."""
        values: dict[str, Tensor] = {self._input: x, **dict(self.named_buffers())}
        for i, node in enumerate(self._nodes):
            inputs = [values[name] if name else None for name in node.inputs]
            try:
                made = OPERATORS[node.op][0](inputs, node.attributes, self.opset)
            except (RuntimeError, IndexError, KeyError, TypeError, ValueError) as error:
                raise ValueError(f"the node {i} ({node.op}) cannot be computed: {_first_line(error)}") from error
            values |= zip(node.outputs, made if isinstance(made, tuple) else (made,), strict=False)
            for name in self._last_uses[i]:
                values.pop(name, None)
        return values[self._output]


def graph_text(
    nodes: Sequence[Node], constants: Mapping[str, Tensor], input_name: str, output_name: str, opset: int
) -> str:
    """The JSON of a graph, without the values of its constants."""
    described = [[name, kind_of(value), list(value.shape)] for name, value in constants.items()]
    content = {
        "opset": opset,
        "input": input_name,
        "output": output_name,
        "constants": described,
        "nodes": [[node.op, list(node.inputs), list(node.outputs), dict(node.attributes)] for node in nodes],
    }
    return json.dumps(content, separators=(",", ":"))


def kind_of(value: Tensor) -> str:
    """The name of the type of a constant."""
    return next(name for name, dtype in _DTYPES.items() if dtype == value.dtype)


def check_operator(op: str, where: str = "") -> None:
    """Raise ValueError for an operator that is not known; ``where`` is put before the message."""
    if op not in OPERATORS:
        raise ValueError(f"{where}the operator {op} is not supported; known are {', '.join(sorted(OPERATORS))}")


def check_nodes(nodes: Sequence[Node], known: set[str], output: str, opset: int) -> None:
    """Raise ValueError unless every node is of a known kind and has inputs that are there before it."""
    if not OLDEST_OPSET <= opset <= NEWEST_OPSET or len(nodes) > _MOST_NODES:
        raise ValueError(
            f"opset {opset} and {len(nodes)} nodes are not among {OLDEST_OPSET} to {NEWEST_OPSET} and {_MOST_NODES}"
        )
    there = set(known)
    for node in nodes:
        check_operator(node.op)
        unknown = sorted(set(node.attributes) - set(OPERATORS[node.op][1]))
        wrong = [
            f"{name} {value!r}" for name, value in node.attributes.items()
            if value not in CHOICES.get((node.op, name), (value,))
        ]  # fmt: skip
        if unknown or wrong:
            raise ValueError(f"the operator {node.op} with {', '.join(unknown + wrong)} is not supported")
        missing = [name for name in node.inputs if name and name not in there]
        if missing:
            raise ValueError(f"the operator {node.op} uses {missing[0]}, which is not computed before it")
        there |= set(node.outputs)
    if output not in there:
        raise ValueError(f"the output {output} of the graph is not computed")


def _last_uses(nodes: Sequence[Node], output: str) -> list[list[str]]:
    """Names of the values that no node needs after each node."""
    seen = {output}
    last: list[list[str]] = []
    for node in reversed(nodes):
        names = [name for name in dict.fromkeys((*node.inputs, *node.outputs)) if name and name not in seen]
        seen |= set(names)
        last.append(names)
    return last[::-1]


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
