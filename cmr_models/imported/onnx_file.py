"""An ONNX file: its graph as data and its weights; nothing in it is run but operators that we know.

Weights beside the file ("external data") are read from its own folder alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cmr_models.contracts.foreign import faults_as, read_text
from cmr_models.imported.found import Found, digests, first_words, is_licence_file, joined, stated_licence
from cmr_models.imported.names import codes_of
from cmr_models.imported.onnx_options import OnnxOptions, read_options
from cmr_models.imported.step_plan import StepPlan
from cmr_models.imported.step_segmenter import PREPROCESSING
from cmr_models.imported.steps import Space
from cmr_models.nets.onnx_graph import Node, OnnxGraph, OnnxGraphConfig, check_operator, graph_text

_MOST_BYTES = 2 * 2**30
_SUFFIX = ".onnx"
_DOMAINS = ("", "ai.onnx")
_FLOAT = 1
_PROBABILITIES = ("Softmax", "Sigmoid")
_ARGMAX, _CONSTANT = "ArgMax", "Constant"
_SAME_LABELS = ("Identity", "Cast", "Squeeze", "Unsqueeze")
_SAME_VALUES = ("Identity", "Transpose", "Cast", "Dropout", "Reshape", "Squeeze", "Unsqueeze")
_KINDS: Mapping[str, Callable[[Any], Tensor]] = {
    "f": lambda array: torch.from_numpy(array.astype(np.float32)),
    "i": lambda array: torch.from_numpy(array.astype(np.int64)),
    "u": lambda array: torch.from_numpy(array.astype(np.int64)),
    "b": lambda array: torch.from_numpy(array.astype(np.bool_)),
}


def is_onnx(source: Path) -> bool:
    """Whether a source is an ONNX file, or a folder with one."""
    return (source.is_file() and source.suffix == _SUFFIX) or (source.is_dir() and any(source.glob(f"*{_SUFFIX}")))


def read_onnx(source: Path, stated_labels: Mapping[str, int], options: Path | None = None) -> Found:
    """The network of an ONNX file.

    Args:
        source: the file, or a folder that holds exactly one.
        stated_labels: name of a label -> our code, where the user says what it means.
        options: TOML (:mod:`cmr_models.imported.onnx_options`); None for the file of the same name beside it.

    Raises:
        FileNotFoundError: if a file is missing.
        ModuleNotFoundError: if the package "onnx" is not installed.
        ValueError: if the file is damaged or hostile, an operator is not known, the options are wrong, or a label has
            an unknown name.
    """
    file = _one(source)
    settings = read_options(options or file.with_suffix(".toml"))
    codes = codes_of({name: i for i, name in enumerate(settings.labels)}, stated_labels)
    with faults_as(lambda kind: ValueError(f"{file} is no ONNX network, or damaged ({kind})"), ValueError, OSError,
                   ModuleNotFoundError):  # fmt: skip
        reader = _Reader(file, settings.output, settings.channels_last)
        text = graph_text(reader.nodes, reader.constants, "x", reader.output, reader.opset)
    with faults_as(lambda kind: ValueError(f"{file} cannot be computed ({kind})"), ValueError):
        try:
            n_channels = _tried(text, reader, settings)
            plan = settings.plan_for(reader.n_axes, codes, _activation(reader, n_channels))
        except ValueError as error:
            raise ValueError(f"{file}: {error}") from error
    if n_channels != len(codes) and (n_channels, len(codes)) != (1, 2):
        raise ValueError(f"{file} has {n_channels} output channels, the options {len(codes)} labels")
    return _found(file, reader, text, plan, settings, codes)


def _found(
    file: Path, reader: _Reader, text: str, plan: StepPlan, settings: OnnxOptions, codes: tuple[int, ...]
) -> Found:
    spacings = [mm for step in plan.steps if isinstance(step, Space) for mm in step.spacing_mm if mm > 0]
    told = settings.about.get("training_data") or ()
    return Found(
        kind="OnnxGraph",
        config={"graph": text},
        state=reader.constants,
        preprocessing=PREPROCESSING,
        plan=plan.table(),
        codes=codes,
        label_names=settings.labels,
        pixel_mm=min(spacings, default=0.0),
        size=max((*plan.windows.size, 0)),
        licence=_licence(settings.about, file),
        data_set=joined((settings.about.get("data_set"), file.stem)),
        training_data=(joined([told] if isinstance(told, str) else told) or "not stated",),
        source={
            "format": "ONNX",
            "opset": reader.opset,
            **digests({path.name: _sha256(path) for path in (file, *reader.beside)}),
        },
    )


class _Reader:
    """The graph of a file under our names.

    Attributes:
        nodes: those that the output needs, in order.
        constants: their weights and other fixed values.
        output: name of the output.
        opset: version of the operators.
        n_axes: axes of an image, 2 or 3.
        fixed: voxels along each axis; 0 where any number will do.
        beside: files of weights beside the file.
    """

    def __init__(self, file: Path, output: str, channels_last: bool = False) -> None:
        if file.stat().st_size > _MOST_BYTES:
            raise ValueError(f"{file} has more than {_MOST_BYTES // 2**30} GB")
        try:
            import onnx
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "the package 'onnx' is not installed; ONNX networks are read with it: pip install 'cmr-cohort[onnx]'"
            ) from error
        self._onnx: Any = onnx
        self._file = file
        self._channels_last = channels_last
        self.beside: list[Path] = []
        self._left = _MOST_BYTES
        model = onnx.ModelProto.FromString(file.read_bytes())
        self.opset = self._opset(model)
        graph = model.graph
        if model.functions or graph.sparse_initializer:
            raise ValueError(f"{file} has functions or sparse weights of its own, which are not supported")
        tensors = {tensor.name: tensor for tensor in graph.initializer}
        images = [value for value in graph.input if value.name not in tensors]
        self.n_axes, self.fixed = self._image(images)
        named = self._output_name([value.name for value in graph.output], output)
        wanted = self._before_argmax({name: node for node in graph.node for name in node.output}, named)
        self._names = {images[0].name: "image" if channels_last else "x"}
        self.constants: dict[str, Tensor] = {}
        self.nodes = self._needed_nodes(graph.node, wanted, tensors)
        self.output = self._names[wanted]
        if channels_last:
            self._turn_channels()

    def _opset(self, model: Any) -> int:
        versions = {entry.domain: entry.version for entry in model.opset_import}
        found = [versions[domain] for domain in _DOMAINS if domain in versions]
        if not found:
            raise ValueError(f"{self._file} is no ONNX network: it names no operators")
        return int(found[0])

    def _image(self, images: Sequence[Any]) -> tuple[int, tuple[int, ...]]:
        """Axes of the one image that the network takes, and how long they must be."""
        if len(images) != 1:
            raise ValueError(f"{self._file} takes {len(images)} inputs; only one image is supported")
        kind = images[0].type.tensor_type
        sizes = [int(dim.dim_value) for dim in kind.shape.dim]
        if kind.elem_type != _FLOAT or len(sizes) not in (4, 5):
            raise ValueError(f"{self._file} takes no image in float32 with two or three axes")
        spatial, channels = (sizes[1:-1], sizes[-1]) if self._channels_last else (sizes[2:], sizes[1])
        if sizes[0] > 1 or channels > 1 or (not self._channels_last and channels == 0 and sizes[-1] == 1):
            raise ValueError(
                f"{self._file} takes an input of {sizes} (0: any); only one image with one channel is supported, "
                "(1, 1, ...), or (1, ..., 1) with channels = 'last' in the options"
            )
        return len(spatial), tuple(spatial)

    def _before_argmax(self, makers: Mapping[str, Any], name: str) -> str:
        """The value of which a graph that ends in labels takes the largest channel; else the output itself."""
        channel = (-1, self.n_axes + 1) if self._channels_last else (1, -self.n_axes - 1)
        last = name
        while last in makers and makers[last].op_type in _SAME_LABELS:
            last = makers[last].input[0]
        if last not in makers or makers[last].op_type != _ARGMAX:
            return name
        axes = [attribute.i for attribute in makers[last].attribute if attribute.name == "axis"]
        return str(makers[last].input[0]) if (axes or [0])[0] in channel else name

    def _turn_channels(self) -> None:
        """The channel first on the outside, last within."""
        first = list(range(2, self.n_axes + 2))
        into = Node("Transpose", ("x",), ("image",), {"perm": [0, *first, 1]})
        out = Node("Transpose", (self.output,), ("turned",), {"perm": [0, self.n_axes + 1, *range(1, self.n_axes + 1)]})
        self.nodes, self.output = [into, *self.nodes, out], "turned"

    def _output_name(self, names: Sequence[str], stated: str) -> str:
        if stated and stated not in names:
            raise ValueError(f"{self._file} has no output {stated!r}; it has {', '.join(names)}")
        if not stated and len(names) != 1:
            raise ValueError(f"{self._file} has the outputs {', '.join(names)}; say which: output = ... in the options")
        return stated or names[0]

    def _needed_nodes(self, nodes: Sequence[Any], output: str, tensors: Mapping[str, Any]) -> list[Node]:
        needed, used = {output}, []
        for node in reversed(nodes):
            if needed & set(node.output):
                needed |= set(node.input)
                used.append(node)
        for name, tensor in tensors.items():
            if name in needed:
                self._constant(name, tensor)
        found = [self._node(node) for node in reversed(used)]
        return [node for node in found if node is not None]

    def _node(self, node: Any) -> Node | None:
        if node.domain not in _DOMAINS:
            raise ValueError(f"{self._file} has the operator {node.domain}.{node.op_type}, which is not supported")
        if node.op_type != _CONSTANT:
            check_operator(node.op_type, f"{self._file}: ")
        attributes = {attribute.name: self._attribute(node, attribute) for attribute in node.attribute}
        if node.op_type == _CONSTANT:
            self._put(node.output[0], np.asarray(next(iter(attributes.values()))))
            return None
        if node.op_type == "ConstantOfShape" and "value" in attributes:
            attributes["value"] = np.asarray(attributes["value"]).flatten()[0].item()
        if node.op_type == "Split":
            attributes["n_outputs"] = len(node.output)
        inputs = tuple(self._names[name] if name else "" for name in node.input)
        outputs = tuple(self._named(name) for name in node.output)
        return Node(node.op_type, inputs, outputs, attributes)

    def _attribute(self, node: Any, attribute: Any) -> Any:
        value = self._onnx.helper.get_attribute_value(attribute)
        if isinstance(value, bytes):
            return value.decode()
        if isinstance(value, int | float):
            return value
        if isinstance(value, self._onnx.TensorProto):
            return self._array(value)
        if all(isinstance(item, int | float) for item in value):
            return list(value)
        raise ValueError(f"{self._file} has {node.op_type} with {attribute.name}, which is not supported")

    def _named(self, name: str) -> str:
        if name in self._names:
            raise ValueError(f"{self._file} has two values of the name {name!r}")
        self._names[name] = f"v{len(self._names)}"
        return self._names[name]

    def _constant(self, name: str, tensor: Any) -> None:
        self._put(name, self._array(tensor))

    def _put(self, name: str, array: npt.NDArray[Any]) -> None:
        if name in self._names or array.dtype.kind not in _KINDS:
            raise ValueError(f"{self._file} has {name!r} twice, or with numbers of the type {array.dtype}")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ValueError(f"{self._file} holds values that are not finite in {name!r}")
        key = f"c{len(self.constants)}"
        self._names[name] = key
        self.constants[key] = _KINDS[array.dtype.kind](np.ascontiguousarray(array)).reshape(array.shape).clone()

    def _array(self, tensor: Any) -> npt.NDArray[Any]:
        if tensor.data_location == self._onnx.TensorProto.EXTERNAL:
            tensor.raw_data = self._beside(tensor)
            tensor.data_location = self._onnx.TensorProto.DEFAULT
        try:
            array: npt.NDArray[Any] = self._onnx.numpy_helper.to_array(tensor)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{self._file} has weights {tensor.name!r} that are damaged: {error}") from error
        return array

    def _beside(self, tensor: Any) -> bytes:
        """The bytes of a tensor that lie in another file of the folder."""
        about = {entry.key: entry.value for entry in tensor.external_data}
        name = about.get("location", "")
        path = self._file.parent / name
        if (
            not name
            or PurePosixPath(name).is_absolute()
            or "\\" in name
            or not path.resolve().is_relative_to(self._file.parent.resolve())
        ):
            raise ValueError(f"{self._file} has weights in {name[:80]!r}, which is not in its own folder")
        if not path.is_file():
            raise FileNotFoundError(f"{path} does not exist; {self._file.name} has its weights there")
        start = int(about.get("offset", 0))
        length = int(about.get("length", path.stat().st_size - start))
        self._left -= length
        if not 0 <= start <= start + length <= path.stat().st_size or self._left < 0:
            raise ValueError(f"{self._file} has weights of {length} bytes at {start}, which {name} does not have")
        self.beside += [] if path in self.beside else [path]
        with path.open("rb") as content:
            content.seek(start)
            packed: bytes = content.read(length)
        return packed


def _one(source: Path) -> Path:
    files = [source] if source.is_file() else sorted(source.glob(f"*{_SUFFIX}"))
    if len(files) > 1:
        raise ValueError(f"{source} holds {len(files)} networks; give one: {', '.join(file.name for file in files)}")
    return files[0]


def _activation(reader: _Reader, n_channels: int) -> str:
    """What makes probabilities of the output: "none" where the graph ends with that."""
    name = reader.output
    makers = {output: node for node in reader.nodes for output in node.outputs}
    while name in makers and makers[name].op in _SAME_VALUES:
        name = makers[name].inputs[0]
    if name in makers and makers[name].op in _PROBABILITIES:
        return "none"
    return "softmax" if n_channels > 1 else "sigmoid"


def _tried(text: str, reader: _Reader, settings: OnnxOptions) -> int:
    """Output channels of an image of zeros, whose number of voxels must not change."""
    size = settings.try_size(reader.n_axes)
    wrong = [(n, fixed) for n, fixed in zip(size, reader.fixed, strict=True) if fixed and n != fixed]
    if wrong:
        raise ValueError(f"it takes images of {list(reader.fixed)} voxels alone; say so with size or window")
    network = OnnxGraph(OnnxGraphConfig(graph=text))
    network.load_state_dict(reader.constants)
    with torch.inference_mode():
        output = network(torch.zeros(1, 1, *size))
    if output.ndim != len(size) + 2 or tuple(output.shape[2:]) != size or len(output) != 1:
        raise ValueError(f"its output for {size} voxels is {tuple(output.shape)}; it is no segmentation")
    return int(output.shape[1])


def _licence(about: Mapping[str, Any], file: Path) -> str:
    """What the options state, or the first words of a licence file beside the network."""
    beside = [path for path in sorted(file.parent.iterdir()) if is_licence_file(path.name) and path.is_file()]
    return stated_licence(about) or next((text for path in beside if (text := first_words(read_text(path)))), "")


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
