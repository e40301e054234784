"""Imported ONNX networks against onnxruntime.

Measured with onnxruntime 1.32.0 on six networks in three opsets, by both exporters of torch 2.13: the largest
difference of a probability is 8e-7, all labels are equal; single operators agree within 1e-5.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cmr_models import zoo
from cmr_models.imported.importing import import_model
from cmr_models.imported.monai_network import monai_network
from cmr_models.imported.onnx_file import _Reader
from cmr_models.imported.step_segmenter import StepSegmenter
from cmr_models.nets import build
from cmr_models.nets.onnx_graph import OnnxGraph, OnnxGraphConfig, graph_text

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(600)]


class _Mixed(nn.Module):
    """What other networks have: shapes computed in the graph, a gate, several pools and paddings."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(1, 8, 3, padding=1, padding_mode="replicate")
        self.b = nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=4)
        self.norm = nn.GroupNorm(2, 8)
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 8), nn.Hardtanh(0, 1))
        self.up = nn.ConvTranspose2d(8, 8, 3, 2, 1, 1)
        self.out = nn.Conv2d(24, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        fine = nn.functional.silu(self.a(x))
        coarse = self.norm(self.b(nn.functional.avg_pool2d(nn.functional.pad(fine, (1, 1, 1, 1), "reflect"), 3, 1)))
        coarse = coarse * self.gate(coarse)[:, :, None, None]
        nearest = nn.functional.interpolate(coarse, size=fine.shape[2:], mode="nearest")
        first, second = self.up(coarse).chunk(2, 1)
        both = torch.cat([fine, nearest, first.clamp(-1, 1), nn.functional.elu(second)], 1)
        return torch.softmax(self.out(both), 1)


def _network(target: str, n_dims: int, **arguments: Any) -> nn.Module:
    """One of our own, whose layers those of other people have, too."""
    definition = {"_target_": target, "spatial_dims": n_dims, "in_channels": 1, "out_channels": 4, **arguments}
    kind, config, _ = monai_network(definition, "here")
    torch.manual_seed(0)
    made = build(kind, **config).eval()
    for parameter in made.parameters():
        parameter.data = torch.randn_like(parameter) * 0.3
    return made


DYNUNET = {"kernel_size": [[3, 3, 1], 3, 3], "strides": [1, [2, 2, 1], 2], "upsample_kernel_size": [[2, 2, 1], 2],
           "filters": [4, 8, 8]}  # fmt: skip
NETWORKS: Mapping[str, Any] = {
    "unet": lambda: _network("UNet", 2, channels=[4, 8, 8], strides=[2, 2], num_res_units=1),
    "attention": lambda: _network("AttentionUnet", 2, channels=[4, 8, 8], strides=[2, 2]),
    "pooled": lambda: _network("BasicUNet", 2, features=[4, 4, 8, 8, 16, 4], upsample="nontrainable", norm="batch"),
    "mixed": lambda: _seeded(_Mixed()),
    "volume": lambda: _network("DynUNet", 3, **DYNUNET),
    "sums": lambda: _network("SegResNet", 3, init_filters=8, blocks_down=[1, 1, 1], blocks_up=[1, 1]),
}


def _seeded(network: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for parameter in network.parameters():
        parameter.data = torch.randn_like(parameter) * 0.3
    return network.eval()


def _exported(network: nn.Module, file: Path, n_dims: int, opset: int, *, dynamo: bool = False) -> Path:
    names = {2 + axis: f"d{axis}" for axis in range(n_dims)}
    image = torch.randn(1, 1, *(32, 32, 16)[:n_dims])
    if dynamo:
        pytest.importorskip("onnxscript", reason="onnxscript is not installed")
        shapes = (dict.fromkeys(names, torch.export.Dim.AUTO),)
        torch.onnx.export(network, (image,), file, dynamo=True, opset_version=opset, dynamic_shapes=shapes)
    else:
        torch.onnx.export(
            network, (image,), file, dynamo=False, opset_version=opset, input_names=["x"], dynamic_axes={"x": names}
        )
    return file


OPTIONS = """
labels = ["background", "LV", "MYO", "RV"]
spacing_mm = "own"
normalisation = "z_score"
size_multiple = 16
licence = "CC0-1.0"
"""


@pytest.mark.parametrize(
    ("name", "opset", "dynamo"),
    [
        *itertools.product(NETWORKS, (11, 17), (False,)),
        *(pytest.param(name, 18, True, marks=pytest.mark.slow) for name in NETWORKS),
    ],
)
def test_a_network_computes_what_onnxruntime_computes(name: str, opset: int, dynamo: bool, tmp_path: Path) -> None:
    n_dims = 3 if name in ("volume", "sums") else 2
    file = _exported(NETWORKS[name](), tmp_path / "net.onnx", n_dims, opset, dynamo=dynamo)
    (tmp_path / "net.toml").write_text(OPTIONS)
    model, card = import_model(file, "ours", tmp_path / "models")
    runner = StepSegmenter(*zoo.load(model))
    volume = np.random.default_rng(0).normal(100, 20, (16, 48, 32)).astype(np.float32)
    ours = runner.probabilities(volume, (2.0, 1.0, 1.0))

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    normal = (volume - volume.mean()) / volume.std()
    slices = (volume - volume.mean((1, 2), keepdims=True)) / volume.std((1, 2), keepdims=True)
    seen = normal[None, None] if n_dims == 3 else slices[:, None]
    outputs = [session.run(None, {session.get_inputs()[0].name: part[None].astype(np.float32)})[0][0] for part in seen]
    logits = torch.from_numpy(outputs[0] if n_dims == 3 else np.stack(outputs, 1))
    theirs = (logits if name == "mixed" else torch.softmax(logits, 0)).numpy()
    difference, equal = np.abs(ours - theirs).max(), (ours.argmax(0) == theirs.argmax(0)).mean()
    print(f"{name} {opset}: {difference:.2g}, {100 * equal:.3f} %")
    middle = theirs.mean((1, 2, 3), keepdims=True)  # random weights may leave one label everywhere
    assert len(np.unique((theirs - middle).argmax(0))) == 4
    assert ((ours - middle).argmax(0) == (theirs - middle).argmax(0)).mean() > 0.999
    assert card.plan["activation"] == ("none" if name == "mixed" else "softmax")
    assert difference < 1e-3
    assert equal > 0.999


def _single(
    op: str, shape: Sequence[int], constants: Sequence[Any] = (), opset: int = 17, n_outputs: int = 1, **attributes: Any
) -> tuple[Any, Any]:
    """A graph of one operator on an image, and its inputs."""
    names = ["x", *(f"k{i}" if value is not None else "" for i, value in enumerate(constants))]
    tensors = [
        onnx.numpy_helper.from_array(np.asarray(value), f"k{i}")
        for i, value in enumerate(constants)
        if value is not None
    ]
    node = onnx.helper.make_node(op, names, [f"y{i}" for i in range(n_outputs)], **attributes)
    image = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)
    outputs = [onnx.helper.make_tensor_value_info(f"y{n_outputs - 1}", onnx.TensorProto.FLOAT, None)]
    graph = onnx.helper.make_graph([node], "g", [image], outputs, tensors)
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=8), shape


F32 = np.float32
W = np.random.default_rng(1).normal(size=(4, 1, 3, 3)).astype(F32)
UP = np.random.default_rng(2).normal(size=(1, 4, 3, 2)).astype(F32)
IMAGE = (1, 1, 11, 14)
RESIZES = [
    ("Resize", IMAGE, (None, np.array([1, 1, sy, sx], F32)), {"mode": mode, "coordinate_transformation_mode": place})
    for (sy, sx), mode, place in itertools.product(
        ((2, 1.5), (0.6, 3)), ("nearest", "linear"), ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
    )
]
SINGLES: Sequence[tuple[str, Sequence[int], Sequence[Any], Mapping[str, Any]]] = [
    ("Conv", IMAGE, (W, np.ones(4, F32)), {"pads": [1, 0, 2, 1], "strides": [2, 1]}),
    ("Conv", IMAGE, (W,), {"auto_pad": "SAME_UPPER", "strides": [2, 2], "dilations": [1, 1]}),
    ("Conv", IMAGE, (W,), {"auto_pad": "SAME_LOWER", "strides": [2, 3]}),
    ("Conv", IMAGE, (W,), {"dilations": [2, 1], "pads": [2, 1, 2, 1]}),
    ("ConvTranspose", IMAGE, (UP,), {"strides": [2, 3], "pads": [1, 0, 0, 1], "output_padding": [1, 2]}),
    ("MaxPool", IMAGE, (), {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [2, 0, 1, 1]}),
    ("MaxPool", IMAGE, (), {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}),
    ("AveragePool", IMAGE, (), {"kernel_shape": [3, 3], "pads": [1, 1, 1, 0]}),
    ("AveragePool", IMAGE, (), {"kernel_shape": [3, 3], "pads": [1, 1, 1, 0], "count_include_pad": 1}),
    ("Pad", IMAGE, (np.array([0, 0, 2, 1, 0, 0, 0, 3]),), {"mode": "reflect"}),
    ("Pad", IMAGE, (np.array([0, 0, 2, 1, 0, 0, 0, 3]),), {"mode": "edge"}),
    ("Pad", IMAGE, (np.array([0, 0, 2, -1, 0, 0, -3, 3]), np.array(0.5, F32)), {"mode": "constant"}),
    ("Slice", IMAGE, (np.array([9, 1]), np.array([-100, 2**31]), np.array([2, 3]), np.array([-2, 3])), {}),
    ("Softmax", (1, 3, 4, 5), (), {"axis": 1}),
    ("Transpose", IMAGE, (), {"perm": [0, 2, 3, 1]}),
    ("PRelu", (1, 3, 4, 5), (np.array([[[0.1]], [[0.2]], [[0.3]]], F32),), {}),
    ("Clip", IMAGE, (None, np.array(0.2, F32)), {}),
    ("ReduceMean", IMAGE, (), {"axes": [2, 3], "keepdims": 0}),
    ("DepthToSpace", (1, 8, 3, 4), (), {"blocksize": 2}),
    ("DepthToSpace", (1, 8, 3, 4), (), {"blocksize": 2, "mode": "CRD"}),
    ("Gather", IMAGE, (np.array([[0, -1], [2, 3]]),), {"axis": 3}),
    ("LeakyRelu", IMAGE, (), {"alpha": 0.3}),
    ("HardSigmoid", IMAGE, (), {"alpha": 0.3}),
    ("Selu", IMAGE, (), {}),
    ("Tile", IMAGE, (np.array([1, 2, 1, 3]),), {}),
    ("Flatten", (1, 3, 4, 5), (), {"axis": 2}),
    ("Resize", IMAGE, (None, None, np.array([1, 1, 7, 20])), {"mode": "linear"}),
    ("Resize", IMAGE, (None, np.array([1, 1, 2, 2], F32)), {"mode": "nearest", "nearest_mode": "floor"}),
    ("Resize", IMAGE, (None, np.array([1, 1, 1.7, 2], F32)), {"mode": "nearest", "nearest_mode": "ceil"}),
    *RESIZES,
]


def _both(model: Any, shape: Sequence[int], tmp_path: Path) -> tuple[np.ndarray, np.ndarray]:
    file = tmp_path / "one.onnx"
    onnx.save(model, file)
    x = np.random.default_rng(3).normal(size=shape).astype(F32)
    theirs = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
    for value in model.graph.input:
        value.type.tensor_type.shape.dim[1].dim_value = 1  # the reader takes one channel; operators are asked with more
    onnx.save(model, file)
    reader = _Reader(file, "")
    network = OnnxGraph(OnnxGraphConfig(graph=graph_text(
        reader.nodes, reader.constants, "x", reader.output, reader.opset)))  # fmt: skip
    network.load_state_dict(reader.constants)
    return network(torch.from_numpy(x)).numpy(), theirs


@pytest.mark.parametrize("case", SINGLES, ids=lambda case: f"{case[0]}-{sorted(case[3].items())}")
def test_an_operator_computes_what_onnxruntime_computes(case: Any, tmp_path: Path) -> None:
    op, shape, constants, attributes = case
    ours, theirs = _both(*_single(op, shape, constants, **attributes), tmp_path)
    assert ours.shape == theirs.shape
    assert np.allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize(
    ("op", "constants", "opset", "attributes"),
    [
        ("Softmax", (), 11, {"axis": 1}),
        ("Upsample", (np.array([1, 1, 2, 3], F32),), 9, {"mode": "linear"}),
        ("Upsample", (np.array([1, 1, 2, 3], F32),), 9, {"mode": "nearest"}),
        ("Resize", (np.array([1, 1, 2, 1.5], F32),), 10, {"mode": "nearest"}),
        ("Resize", (np.array([1, 1, 2, 1.5], F32),), 10, {"mode": "linear"}),
        ("Pad", (), 10, {"pads": [0, 0, 1, 2, 0, 0, 3, 4], "value": 0.5}),
        ("Slice", (), 9, {"starts": [1, -5], "ends": [9, -1], "axes": [2, 3]}),
        ("Clip", (), 10, {"min": -0.5, "max": 0.5}),
        ("ReduceMean", (), 13, {"axes": [-1]}),
    ],
)
def test_operators_of_older_opsets_compute_what_they_did(
    op: str, constants: Sequence[Any], opset: int, attributes: Mapping[str, Any], tmp_path: Path
) -> None:
    ours, theirs = _both(*_single(op, (1, 3, 11, 14), constants, opset, **attributes), tmp_path)
    assert ours.shape == theirs.shape
    assert np.allclose(ours, theirs, atol=1e-5)
