"""Networks with damage anywhere are imported, or refused with the errors that the reader documents; never else."""

from __future__ import annotations

import contextlib
import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from foreign_networks import ENDING, PREPARING, inference, metadata, write_bundle
from nnunet_folders import write_folder

from cmr_models.imported.importing import import_model

CASES = int(os.environ.get("CMR_COHORT_FUZZ_CASES", "40"))
VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 3, 1e300, float("nan"), 10**40, "", "a", "$1", "$f()", "@device", "@network_def", "@a::b", "%x",
    [], [1], [[]], {}, {"_target_": "UNet"}, {"_target_": 3}, [3, 3, 3, 3], "\ud800", "batch", {"0": {"1": []}},
)  # fmt: skip


def _imports_or_refuses(source: Path, target: Path) -> bool:
    """Whether it was imported; its folder is there only then."""
    name = f"m{len(list(target.iterdir()))}"
    with contextlib.suppress(ValueError, FileNotFoundError):
        import_model(source, name, target)
        return True
    assert not (target / name).exists()
    return False


def _places(part: Any) -> Iterator[tuple[Any, Any]]:
    """Every container of a configuration, and a key in it."""
    for key, value in part.items() if isinstance(part, dict) else enumerate(part):
        yield part, key
        if isinstance(value, dict | list):
            yield from _places(value)


@pytest.mark.parametrize("name", ["configs/inference.json", "configs/metadata.json"])
def test_any_value_of_a_configuration_may_be_wrong(name: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    spacing = {"_target_": "Spacingd", "keys": "image", "pixdim": [1.5, 1.5, -1]}
    crop = {"_target_": "CropForegroundd", "keys": "image", "margin": 2}
    config = inference(preparing=(*PREPARING[:2], spacing, crop, *PREPARING[2:]), post=ENDING)
    source = write_bundle(tmp_path / "theirs", config)
    target = tmp_path / "models"
    target.mkdir()
    text = json.dumps(config if "inference" in name else metadata())
    imported = 0
    for _ in range(CASES):
        content = json.loads(text)
        places = list(_places(content))
        for _ in range(int(rng.integers(1, 3))):
            container, key = places[rng.integers(len(places))]
            container[key] = VALUES[rng.integers(len(VALUES))]
        (source / name).write_text(json.dumps(content))
        imported += _imports_or_refuses(source, target)
    assert 0 < imported < CASES


@pytest.mark.parametrize("name", ["plans.json", "dataset.json"])
def test_any_value_of_a_plan_may_be_wrong(name: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    source = write_folder(tmp_path / "theirs", n_folds=1)
    target = tmp_path / "models"
    target.mkdir()
    text = (source / name).read_text()
    for _ in range(CASES):
        content = json.loads(text)
        places = list(_places(content))
        container, key = places[rng.integers(len(places))]
        container[key] = VALUES[rng.integers(len(VALUES))]
        (source / name).write_text(json.dumps(content))
        _imports_or_refuses(source, target)


def _damaged(content: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(content)
    for _ in range(int(rng.integers(1, 6))):
        changed[rng.integers(len(changed))] = rng.integers(256)
    return bytes(changed[: int(rng.integers(1, len(changed)))] if rng.random() < 0.2 else changed)


def test_any_byte_of_an_archive_may_be_wrong(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    source = write_bundle(tmp_path / "theirs")
    file = tmp_path / "theirs.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(source.rglob("*")):
            archive.write(path, path.relative_to(source).as_posix())
    target = tmp_path / "models"
    target.mkdir()
    whole = file.read_bytes()
    for _ in range(CASES):
        file.write_bytes(_damaged(whole, rng))
        _imports_or_refuses(file, target)
    weights = source / "models/model.pt"
    whole = weights.read_bytes()
    for _ in range(CASES):
        weights.write_bytes(_damaged(whole, rng))
        _imports_or_refuses(source, target)


def test_any_byte_of_an_onnx_network_may_be_wrong(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    rng = np.random.default_rng(2)
    weights = {"w": rng.normal(size=(4, 1, 3, 3)), "b": rng.normal(size=4), "s": np.array([1, 1, 2, 2]),
               "h": np.array([1, 1, 0.5, 0.5])}  # fmt: skip
    make = onnx.helper.make_node
    nodes = [
        make("Resize", ["x", "", "s"], ["r"], mode="linear"),
        make("Conv", ["r", "w", "b"], ["c"], pads=[1, 1, 1, 1]),
        make("Constant", [], ["k"], value=onnx.numpy_helper.from_array(np.ones((1, 4, 1, 1), np.float32))),
        make("Add", ["c", "k"], ["a"]),
        make("Resize", ["a", "", "h"], ["y"], mode="nearest"),
    ]
    tensors = [onnx.numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in weights.items()]
    image = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 1, "h", "w"])
    output = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    graph = onnx.helper.make_graph(nodes, "g", [image], [output], tensors)
    file, target = tmp_path / "net.onnx", tmp_path / "models"
    target.mkdir()
    whole = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)]).SerializeToString()
    file.with_suffix(".toml").write_text(
        'labels = ["background", "LV", "MYO", "RV"]\nspacing_mm = "own"\nnormalisation = "none"\nsize_multiple = 16\n'
        'licence = "MIT"\n'
    )
    imported = 0
    for _ in range(CASES):
        file.write_bytes(_damaged(whole, rng))
        imported += _imports_or_refuses(file, target)
    assert 0 < imported < CASES
