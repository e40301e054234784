"""A graph of ONNX as data: values by hand, and what is refused."""

import json

import pytest
import torch

from cmr_models.nets import build
from cmr_models.nets.onnx_graph import Node, OnnxGraph, OnnxGraphConfig, graph_text


def _graph(nodes: list[Node], constants: dict[str, torch.Tensor], opset: int = 17) -> OnnxGraph:
    output = nodes[-1].outputs[0]
    made = build("OnnxGraph", graph=graph_text(nodes, constants, "x", output, opset))
    made.load_state_dict(constants)
    return made


def _one(op: str, x: torch.Tensor, *more: torch.Tensor, opset: int = 17, **attributes: object) -> torch.Tensor:
    constants = {f"c{i}": value for i, value in enumerate(more)}
    return _graph([Node(op, ("x", *constants), ("v",), attributes)], constants, opset)(x)


def test_a_convolution_and_a_sum_by_hand() -> None:
    """Image 1 2 3; weights 1 1 give 1+2, 2+3; twice that and 1 more: 7, 11."""
    nodes = [
        Node("Conv", ("x", "c0"), ("v0",), {"kernel_shape": [1, 2]}),
        Node("Mul", ("v0", "c1"), ("v1",), {}),
        Node("Add", ("v1", "c2"), ("v2",), {}),
    ]
    constants = {"c0": torch.ones(1, 1, 1, 2), "c1": torch.tensor(2.0), "c2": torch.ones(1)}
    assert _graph(nodes, constants)(torch.tensor([[[[1.0, 2, 3]]]])).flatten().tolist() == [7, 11]


def test_nearest_neighbours_by_hand() -> None:
    """Twice as many: half a pixel in, places -0.25, 0.25, 0.75, 1.25 are the pixels 0, 0, 1, 1."""
    x, twice = torch.tensor([[[[5.0, 7.0]]]]), torch.tensor([1.0, 1, 1, 2])
    empty = torch.zeros(0)
    assert _one("Resize", x, empty, twice, mode="nearest").flatten().tolist() == [5, 5, 7, 7]
    linear = _one("Resize", x, empty, twice, mode="linear")
    assert linear.flatten().tolist() == [5, 5.5, 6.5, 7]  # 5 + 2 * (0, .25, .75, 1)
    aligned = _one("Resize", x, empty, torch.tensor([1.0, 1, 1, 1.5]), mode="linear",
                   coordinate_transformation_mode="align_corners")  # fmt: skip
    assert aligned.flatten().tolist() == [5, 6, 7]


def test_older_softmax_is_one_over_all_later_axes() -> None:
    """Four equal values: each a quarter of all before opset 13, half of its axis since."""
    x = torch.zeros(1, 2, 2)
    assert _one("Softmax", x, opset=11, axis=1).unique().tolist() == [0.25]
    assert _one("Softmax", x, opset=13, axis=1).unique().tolist() == [0.5]


def test_shapes_are_computed_in_the_graph() -> None:
    """Shape (1, 1, 2, 3); its last two give 6 after a product, and the image becomes a row of six."""
    nodes = [
        Node("Shape", ("x",), ("v0",), {"start": 2}),
        Node("Slice", ("v0", "c0", "c1"), ("v1",), {}),
        Node("Slice", ("v0", "c1", "c2"), ("v2",), {}),
        Node("Mul", ("v1", "v2"), ("v3",), {}),
        Node("Reshape", ("x", "v3"), ("v4",), {}),
    ]
    constants = {"c0": torch.tensor([0]), "c1": torch.tensor([1]), "c2": torch.tensor([2])}
    assert _graph(nodes, constants)(torch.arange(6.0).reshape(1, 1, 2, 3)).tolist() == [0, 1, 2, 3, 4, 5]


def test_a_single_voxel_less_its_mean_is_nothing() -> None:
    """Networks that are deep for a small image have one at their bottom; what is added stays."""
    x, scale, added = torch.full((1, 2, 1, 1), 7.0), torch.ones(2), torch.tensor([0.5, -1.0])
    assert _one("InstanceNormalization", x, scale, added).flatten().tolist() == [0.5, -1.0]
    wide = torch.tensor([[[[1.0, 3.0]]]])
    assert _one("InstanceNormalization", wide, scale[:1], added[:1], epsilon=0.0).flatten().tolist() == [-0.5, 1.5]


def test_backward_slices_and_gates_by_hand() -> None:
    x = torch.tensor([[1.0, 2, 3, 4, 5]])
    backward = _one("Slice", x, torch.tensor([4]), torch.tensor([-100]), torch.tensor([1]), torch.tensor([-2]))
    assert backward.tolist() == [[5, 3, 1]]
    assert _one("PRelu", torch.tensor([-2.0, 3.0]), torch.tensor([0.25])).tolist() == [-0.5, 3]
    assert _one("Clip", x, torch.tensor(2.0), torch.tensor(4.0)).tolist() == [[2, 2, 3, 4, 4]]


@pytest.mark.parametrize(
    ("node", "fault"),
    [
        (Node("If", ("x",), ("y",), {}), "the operator If is not supported; known are"),
        (Node("Relu", ("x",), ("y",), {"alpha": 1.0}), "the operator Relu with alpha is not supported"),
        (Node("Resize", ("x",), ("y",), {"mode": "cubic"}), "the operator Resize with mode 'cubic'"),
        (Node("Relu", ("v7",), ("y",), {}), "the operator Relu uses v7, which is not computed before it"),
        (Node("Relu", ("x",), ("z",), {}), "the output y of the graph is not computed"),
    ],
)
def test_what_is_not_known_is_refused_by_its_name(node: Node, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        OnnxGraph(OnnxGraphConfig(graph=graph_text([node], {}, "x", "y", 17)))


@pytest.mark.parametrize("opset", [6, 25])
def test_other_versions_are_refused(opset: int) -> None:
    with pytest.raises(ValueError, match=f"opset {opset} and 1 nodes are not among 7 to 24"):
        _graph([Node("Relu", ("x",), ("y",), {})], {}, opset)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", '{"opset": 17}', json.dumps({"opset": 17, "input": "x", "output": "y", "nodes": [["Relu"]]})],
)
def test_damaged_descriptions_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="the description of the graph is damaged"):
        OnnxGraph(OnnxGraphConfig(graph=text))


@pytest.mark.parametrize(
    "node",
    [
        Node("Expand", ("c3", "c0"), ("v",), {}),
        Node("ConstantOfShape", ("c0",), ("v",), {}),
        Node("Pad", ("x", "c1"), ("v",), {}),
        Node("Resize", ("x", "", "", "c0"), ("v",), {"mode": "nearest"}),
        Node("Conv", ("x", "c2"), ("v",), {"pads": [10**6, 10**6, 10**6, 10**6]}),
        Node("ConvTranspose", ("x", "c2"), ("v",), {"strides": [10**6, 10**6]}),
        Node("MaxPool", ("x",), ("v",), {"kernel_shape": [1, 1], "pads": [10**6] * 4}),
    ],
)
def test_a_graph_cannot_fill_the_memory(node: Node) -> None:
    constants = {
        "c0": torch.tensor([1, 1, 10**6, 10**6]),
        "c1": torch.tensor([0, 0, 10**6, 10**6, 0, 0, 0, 0]),
        "c2": torch.ones(1, 1, 2, 2),
        "c3": torch.ones(1),
    }
    with pytest.raises(ValueError, match=rf"the node 0 \({node.op}\) cannot be computed: a value of the graph would"):
        _graph([node], constants)(torch.zeros(1, 1, 2, 2))


def test_a_fault_names_its_node() -> None:
    with pytest.raises(ValueError, match=r"the node 0 \(Reshape\) cannot be computed: shape"):
        _one("Reshape", torch.zeros(1, 1, 2, 2), torch.tensor([3]))
