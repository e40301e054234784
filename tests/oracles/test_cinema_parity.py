"""CineMA's networks against what the published implementation returns for the same weights and inputs."""

import json
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cmr_models.nets import build
from cmr_models.nets.heatmap import published_coordinates, soft_argmax

_PARITY = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "parity.py"))
_FOLDER: Path = _PARITY["FOLDER"]
_SMALL = (
    "seg_sax_tiny",
    "seg_lax4c_tiny",
    "heatmap_lax2c_tiny",
    "seg_multi_tiny",
    "cls_sax_tiny",
    "reg_lax4c_tiny",
    "coord_lax2c_tiny",
    "mae_features_tiny",
    "mae_forward_tiny",
    "unet_lax4c",
    "resnet50_lax4c",
)

pytestmark = pytest.mark.skipif(
    not _FOLDER.is_dir(), reason="no parity fixtures beside the checkout; set CMR_PARITY to their folder"
)


@pytest.mark.parametrize("name", _SMALL)
def test_outputs_are_those_of_the_published_network(name: str) -> None:
    seed, cases = _PARITY["read_cases"]()
    net = _PARITY["make_network"](seed, cases[name])
    ours = _PARITY["outputs"](net, seed, name, cases[name])
    worst = _PARITY["excess"](ours, _FOLDER, name, cases[name])
    assert max(worst.values()) <= 1.0, worst


def test_every_case_has_the_published_keys_shapes_and_order() -> None:
    _, cases = _PARITY["read_cases"]()
    for name, case in cases.items():
        with torch.device("meta"):
            net = build(case["kind"], **case["config"])
        ours = [(key, list(value.shape)) for key, value in net.state_dict().items()]
        assert ours == [(key, shape) for key, shape in case["state_dict"].items()], name
        assert sum(parameter.numel() for parameter in net.parameters()) == case["n_params"], name


def test_position_embeddings_have_the_published_sums() -> None:
    _, cases = _PARITY["read_cases"]()
    case = cases["mae_forward_tiny"]
    state = build(case["kind"], **case["config"]).state_dict()
    for key, expected in case["pos_embed_sum_sumsq"].items():
        values = state[key].double()
        np.testing.assert_allclose([values.sum(), values.square().sum()], expected, rtol=1e-6)


def test_the_heatmap_decoder_gives_the_published_whole_pixels() -> None:
    manifest: dict[str, Any] = json.loads((_FOLDER / "manifest.json").read_text())
    expected = manifest["soft_argmax"]
    noise = _PARITY["make_generator"](manifest["seed"], "soft_argmax").random(expected["input_shape"])
    heatmaps = torch.from_numpy(noise.astype(np.float32))
    assert published_coordinates(heatmaps).tolist() == expected["coords"]
    assert soft_argmax(heatmaps, expected["beta"]).long().tolist() == expected["coords"]
