"""ONNX networks become model folders, which segment like our own; the oracles ask onnxruntime."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cmr_models import zoo
from cmr_models.contracts import bounded_toml
from cmr_models.imported import onnx_file
from cmr_models.imported.importing import import_model
from cmr_models.imported.onnx_options import read_options
from cmr_models.segmentation import segment_sax

OPTIONS = {
    "labels": '["background", "LV", "MYO", "RV"]',
    "spacing_mm": '"own"',
    "normalisation": '"none"',
    "size_multiple": "1",
    "licence": '"CC0-1.0"',
}
IMAGES = np.array([[[[1.0, 4.0], [6.0, 9.0]]]], np.float32)  # one frame, one slice, two rows


def _write_options(file: Path, **changes: str) -> Path:
    entries = {**OPTIONS, **changes}
    file.write_text("\n".join(f"{key} = {value}" for key, value in entries.items() if value))
    return file


@pytest.fixture
def onnx() -> Any:
    return pytest.importorskip("onnx", reason="onnx is not installed")


def _model(
    onnx: Any, *, weight: Any = None, bias: Any = None, nodes: Sequence[Any] = (),
    shape: Sequence[Any] = (1, 1, "h", "w"), outputs: Sequence[str] = ("y",), opset: int = 17,
) -> Any:  # fmt: skip
    """Four channels of one pixel: minus (x - 0, 4, 6, 9) squared without its x², so that the nearest one wins."""
    at = np.array([0, 4, 6, 9], np.float32)
    weight = (2 * at).reshape(4, 1, 1, 1) if weight is None else weight
    bias = -(at**2) if bias is None else bias
    nodes = nodes or [onnx.helper.make_node("Conv", ["x", "w", "b"], ["y"], kernel_shape=[1, 1])]
    tensors = [onnx.numpy_helper.from_array(np.asarray(a, np.float32), n) for a, n in ((weight, "w"), (bias, "b"))]
    image = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, list(shape))
    named = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in outputs]
    graph = onnx.helper.make_graph(list(nodes), "g", [image], named, tensors)
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=8)


def _written(onnx: Any, folder: Path, **changes: Any) -> Path:
    folder.mkdir(exist_ok=True)
    onnx.save(_model(onnx, **changes), folder / "net.onnx")
    _write_options(folder / "net.toml")
    return folder / "net.onnx"


def test_a_network_of_one_pixel_labels_by_hand(onnx: Any, tmp_path: Path) -> None:
    """The values 1, 4, 6 and 9 are nearest to 0, 4, 6 and 9: background, LV, myocardium, RV."""
    model, card = import_model(_written(onnx, tmp_path / "theirs"), "ours", tmp_path)
    assert segment_sax(IMAGES, 1.5, None, model=model).tolist() == [[[[0, 3], [2, 1]]]]
    assert (card.kind, card.licence, card.task) == ("OnnxGraph", "CC0-1.0", "segment_sax")
    assert card.source["labels"] == ["background", "LV", "MYO", "RV"]
    assert (card.source["format"], card.source["opset"]) == ("ONNX", 17)
    assert zoo.model_card.parse_card(zoo.card_text(card), "card") == card
    network, _ = zoo.load(model)
    assert {key: value.shape for key, value in network.state_dict().items()} == {"c0": (4, 1, 1, 1), "c1": (4,)}


def test_a_folder_with_one_network_is_that_network(onnx: Any, tmp_path: Path) -> None:
    file = _written(onnx, tmp_path / "theirs")
    assert import_model(tmp_path / "theirs", "ours", tmp_path)[1].kind == "OnnxGraph"
    (tmp_path / "theirs/other.onnx").write_bytes(file.read_bytes())
    with pytest.raises(ValueError, match=r"holds 2 networks; give one: net.onnx, other.onnx"):
        import_model(tmp_path / "theirs", "other", tmp_path)


def test_the_package_that_reads_it_is_named_where_it_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    (tmp_path / "net.onnx").write_bytes(b"")
    _write_options(tmp_path / "net.toml")
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'cmr-cohort\[onnx\]'"):
        import_model(tmp_path / "net.onnx", "ours", tmp_path)


def test_options_may_lie_elsewhere_and_are_demanded(onnx: Any, tmp_path: Path) -> None:
    file = _written(onnx, tmp_path / "theirs")
    options = file.with_suffix(".toml").rename(tmp_path / "how.toml")
    with pytest.raises(FileNotFoundError, match="an ONNX network does not tell its labels, spacing_mm"):
        import_model(file, "ours", tmp_path)
    assert import_model(file, "ours", tmp_path, options=options)[1].kind == "OnnxGraph"
    _write_options(options, licence="")
    with pytest.raises(ValueError, match="states no licence"):
        import_model(file, "free", tmp_path, options=options)
    (file.parent / "LICENSE").write_text("MIT License\n")
    assert import_model(file, "free", tmp_path, options=options)[1].licence == "MIT License"


def test_images_are_prepared_as_the_options_say(onnx: Any, tmp_path: Path) -> None:
    """Divided by the maximum, times nine again by weights of nine times the usual: the same labels."""
    at = np.array([0, 4, 6, 9], np.float32) / 9
    file = _written(onnx, tmp_path / "theirs", weight=(2 * at).reshape(4, 1, 1, 1), bias=-(at**2))
    for i, changes in enumerate((
        {"normalisation": '"maximum"'},
        {"normalisation": "{range = [0, 9]}"},
        {"normalisation": '"maximum"', "size_multiple": "8"},
        {"normalisation": '"maximum"', "size_multiple": "", "size": "[6, 5]"},
        {"normalisation": '"maximum"', "size_multiple": "", "window": "[2, 1]", "gaussian": "true"},
        {"normalisation": '"maximum"', "volume": "true", "axes": '["col", "row"]'},
        {"normalisation": '"maximum"', "activation": '"none"'},
    )):  # fmt: skip
        _write_options(file.with_suffix(".toml"), **changes)
        model = import_model(file, f"m{i}", tmp_path)[0]
        assert segment_sax(IMAGES, 1.5, None, model=model).tolist() == [[[[0, 3], [2, 1]]]], changes


def test_pixels_are_resampled_to_the_size_of_the_options(onnx: Any, tmp_path: Path) -> None:
    """Of seven rows of 1 mm it sees 0, 3 and 6: background, RV, RV; row 2 is two thirds of the way from 0 to 3."""
    file = _written(onnx, tmp_path / "theirs")
    _write_options(file.with_suffix(".toml"), spacing_mm="[3.0, 3.0]")
    model, card = import_model(file, "ours", tmp_path)
    assert card.pixel_mm == 3.0
    images = np.repeat(np.array([0.0, 0, 0, 9, 9, 9, 9], np.float32), 7).reshape(1, 1, 7, 7)
    labels = segment_sax(images, 1.0, None, model=model)
    assert labels[0, 0, :, 0].tolist() == [0, 0, 1, 1, 1, 1, 1]


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"labels": ""}, "has no labels"),
        ({"normalisation": ""}, "has no normalisation"),
        ({"spacing_mm": ""}, "has no spacing_mm"),
        ({"size_multiple": ""}, "must have one of size_multiple, size, window"),
        ({"size": "[4, 4]"}, "must have one of size_multiple, size, window"),
        ({"code": '"x"'}, "has unknown entries"),
        ({"labels": '["background"]'}, "labels must be the names"),
        ({"labels": '["background", "LV", "LV"]'}, "has one name twice"),
    ],
)
def test_options_that_are_missing_or_unknown_are_refused(tmp_path: Path, changes: dict[str, str], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        read_options(_write_options(tmp_path / "net.toml", **changes))


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"normalisation": '"best"'}, "normalisation must be one of z_score"),
        ({"normalisation": "{range = [1]}"}, "normalisation must be one of"),
        ({"spacing_mm": "[1.0]"}, "spacing_mm must be 2 positive numbers"),
        ({"spacing_mm": "[1.0, -1.0]"}, "spacing_mm must be 2 positive numbers"),
        ({"size_multiple": "0"}, "size_multiple must be a whole number"),
        ({"axes": '["row", "row"]'}, "axes must order"),
        ({"activation": '"relu"'}, "activation must be one of"),
        ({"overlap": "2.0", "size_multiple": "", "window": "[2, 2]"}, "windows overlap by 0 to 1"),
        ({"overlap": '"a"', "size_multiple": "", "window": "[2, 2]"}, "could not convert|wrong type"),
    ],
)
def test_wrong_options_are_refused(tmp_path: Path, changes: dict[str, str], fault: str) -> None:
    options = read_options(_write_options(tmp_path / "net.toml", **changes))
    with pytest.raises(ValueError, match=fault):
        options.plan_for(2, (0, 3, 2, 1), "softmax")


def test_other_inputs_and_outputs_are_refused(onnx: Any, tmp_path: Path) -> None:
    for changes, fault in (
        ({"shape": (1, 2, "h", "w")}, "takes an input of"),
        ({"shape": (2, 1, "h", "w")}, "takes an input of"),
        ({"shape": (1, "h", "w", 1)}, "takes an input of"),
        ({"shape": (1, 1, "w")}, "takes no image in float32"),
        ({"shape": (1, 1, 64, 64)}, "takes images of"),
        ({"outputs": ("y", "x")}, "has the outputs y, x; say which"),
        ({"opset": 6}, "opset 6 and 1 nodes are not among"),
        ({"nodes": [onnx.helper.make_node("Conv", ["x", "w", "b"], ["y"], strides=[2, 2])]}, "it is no segmentation"),
        ({"nodes": [onnx.helper.make_node("Loop", ["x", "w", "b"], ["y"])]}, "the operator Loop is not supported"),
        ({"nodes": [onnx.helper.make_node("Conv", ["x", "w"], ["y"], domain="mine")]}, "has the operator mine.Conv"),
        ({"bias": np.full(4, np.nan)}, "holds values that are not finite in 'b'"),
        ({"weight": np.ones((3, 1, 1, 1)), "bias": np.ones(3)}, "has 3 output channels, the options 4 labels"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=fault):
            import_model(_written(onnx, tmp_path / "theirs", **changes), "ours", tmp_path)


def test_control_flow_is_refused_by_its_name(onnx: Any, tmp_path: Path) -> None:
    """Its branches are graphs of their own."""
    branch = onnx.helper.make_graph(
        [onnx.helper.make_node("Constant", [], ["o"], value_float=1.0)], "b", [],
        [onnx.helper.make_tensor_value_info("o", onnx.TensorProto.FLOAT, [])],
    )  # fmt: skip
    nodes = [onnx.helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch)]
    with pytest.raises(ValueError, match="the operator If is not supported; known are"):
        import_model(_written(onnx, tmp_path / "theirs", nodes=nodes), "ours", tmp_path)


def test_what_is_no_network_is_refused(onnx: Any, tmp_path: Path) -> None:
    file = _written(onnx, tmp_path / "theirs")
    whole = file.read_bytes()
    for content in (b"", b"abc", whole[: len(whole) // 2], whole.replace(b"Conv", b"\xff\xfe\xfd\xfc")):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=r"net\.onnx"):
            import_model(file, "ours", tmp_path)


def test_a_node_that_ends_in_probabilities_is_not_activated_again(onnx: Any, tmp_path: Path) -> None:
    nodes = [
        onnx.helper.make_node("Conv", ["x", "w", "b"], ["a"]),
        onnx.helper.make_node("Transpose", ["a"], ["t"], perm=[0, 2, 3, 1]),
        onnx.helper.make_node("Softmax", ["t"], ["s"], axis=3),
        onnx.helper.make_node("Transpose", ["s"], ["y"], perm=[0, 3, 1, 2]),
    ]
    card = import_model(_written(onnx, tmp_path / "theirs", nodes=nodes), "ours", tmp_path)[1]
    assert card.plan["activation"] == "none"


def test_what_lies_before_the_largest_channel_is_taken(onnx: Any, tmp_path: Path) -> None:
    nodes = [
        onnx.helper.make_node("Conv", ["x", "w", "b"], ["a"]),
        onnx.helper.make_node("ArgMax", ["a"], ["l"], axis=1, keepdims=0),
        onnx.helper.make_node("Cast", ["l"], ["y"], to=1),
    ]
    model, card = import_model(_written(onnx, tmp_path / "theirs", nodes=nodes), "ours", tmp_path)
    assert segment_sax(IMAGES, 1.5, None, model=model).tolist() == [[[[0, 3], [2, 1]]]]
    assert card.plan["activation"] == "softmax"
    nodes[1] = onnx.helper.make_node("ArgMax", ["a"], ["l"], axis=2, keepdims=0)
    with pytest.raises(ValueError, match="the operator ArgMax is not supported"):
        import_model(_written(onnx, tmp_path / "theirs", nodes=nodes), "other", tmp_path)


def test_channels_may_come_last(onnx: Any, tmp_path: Path) -> None:
    """As TensorFlow exports it: turned to the front before the convolution, and back behind it."""
    nodes = [
        onnx.helper.make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]),
        onnx.helper.make_node("Conv", ["t", "w", "b"], ["a"]),
        onnx.helper.make_node("Transpose", ["a"], ["s"], perm=[0, 2, 3, 1]),
        onnx.helper.make_node("Softmax", ["s"], ["y"], axis=3),
    ]
    file = _written(onnx, tmp_path / "theirs", nodes=nodes, shape=(1, "h", "w", 1))
    _write_options(file.with_suffix(".toml"), channels='"last"')
    model, card = import_model(file, "ours", tmp_path)
    assert segment_sax(IMAGES, 1.5, None, model=model).tolist() == [[[[0, 3], [2, 1]]]]
    assert card.plan["activation"] == "none"
    _write_options(file.with_suffix(".toml"), channels='"middle"')
    with pytest.raises(ValueError, match="channels must be 'first' or 'last'"):
        import_model(file, "other", tmp_path)


def test_a_graph_that_a_card_cannot_hold_is_refused(onnx: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or else the next command could not read it."""
    file = _written(onnx, tmp_path / "theirs")
    monkeypatch.setattr(bounded_toml, "_MOST_TEXT", 800)
    with pytest.raises(ValueError, match=r"the card of .*net\.onnx is not valid TOML: it has more than 800 characters"):
        import_model(file, "ours", tmp_path)
    assert not (tmp_path / "ours").exists()


def _external(onnx: Any, folder: Path, entries: Mapping[str, Any]) -> Path:
    file = _written(onnx, folder)
    model = onnx.load(file)
    tensor = model.graph.initializer[0]
    packed = tensor.raw_data
    (folder / "weights.bin").write_bytes(b"before" + packed)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in {"location": "weights.bin", "offset": 6, "length": len(packed), **entries}.items():
        tensor.external_data.add(key=key, value=str(value))
    file.write_bytes(model.SerializeToString())
    return file


def test_weights_beside_the_file_are_read_and_counted_in_its_digest(onnx: Any, tmp_path: Path) -> None:
    model, card = import_model(_external(onnx, tmp_path / "theirs", {}), "ours", tmp_path)
    assert segment_sax(IMAGES, 1.5, None, model=model).tolist() == [[[[0, 3], [2, 1]]]]
    assert [line.split()[0] for line in card.source["files"]] == ["net.onnx", "weights.bin"]


@pytest.mark.parametrize(
    ("entries", "fault"),
    [
        ({"location": "../weights.bin"}, "which is not in its own folder"),
        ({"location": "/etc/passwd"}, "which is not in its own folder"),
        ({"location": "link.bin"}, "which is not in its own folder"),
        ({"location": ""}, "which is not in its own folder"),
        ({"length": 10**9}, "weights of 1000000000 bytes at 6, which weights.bin does not have"),
        ({"offset": -1}, "weights of 16 bytes at -1"),
        ({"length": 4}, r"net\.onnx"),
    ],
)
def test_weights_elsewhere_are_refused(onnx: Any, tmp_path: Path, entries: Mapping[str, Any], fault: str) -> None:
    (tmp_path / "weights.bin").write_bytes(bytes(100))
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs/link.bin").symlink_to(tmp_path / "weights.bin")
    with pytest.raises(ValueError, match=fault):
        import_model(_external(onnx, tmp_path / "theirs", entries), "ours", tmp_path)


def test_files_beyond_reason_are_refused(onnx: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = _written(onnx, tmp_path / "theirs")
    monkeypatch.setattr(onnx_file, "_MOST_BYTES", 10)
    with pytest.raises(ValueError, match="has more than 0 GB"):
        import_model(file, "ours", tmp_path)


def test_constants_of_nodes_are_weights(onnx: Any, tmp_path: Path) -> None:
    three = onnx.numpy_helper.from_array(np.full((1, 4, 1, 1), 3.0, np.float32))
    nodes = [
        onnx.helper.make_node("Conv", ["x", "w", "b"], ["a"]),
        onnx.helper.make_node("Constant", [], ["k"], value=three),
        onnx.helper.make_node("Mul", ["a", "k"], ["y"]),
        onnx.helper.make_node("Tanh", ["a"], ["not_needed"]),
    ]
    model = import_model(_written(onnx, tmp_path / "theirs", nodes=nodes), "ours", tmp_path)[0]
    network, _ = zoo.load(model)
    assert network(torch.full((1, 1, 1, 1), 2.0)).flatten().tolist() == [0, 0, -36, -135]  # 3 * (2 x a - a * a)
