"""Imported MONAI bundles against MONAI, which builds their network and runs their own configuration.

Measured with MONAI 1.6.1: outputs of all six networks are equal to the last bit; of ten whole bundles, the largest
difference of a probability is 2.4e-6, and all labels are equal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from foreign_networks import ENDING, PREPARING, inference, metadata, write_bundle

from cmr_models import zoo
from cmr_models.imported.importing import import_model
from cmr_models.imported.monai_network import monai_network
from cmr_models.imported.step_segmenter import StepSegmenter
from cmr_models.nets import build
from cmr_models.views.view_images import ViewImages
from cmr_models.zoo.weights_file import load_strictly

pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.timeout(600),
]

FOR_TRAINING = ("skip_layers", "deep_supervision_heads")
NETWORKS: Sequence[Mapping[str, Any]] = (
    {"_target_": "UNet", "spatial_dims": 2, "channels": [4, 8, 16], "strides": [2, 2], "num_res_units": 2},
    {"_target_": "UNet", "spatial_dims": 3, "channels": [4, 8, 8, 16], "strides": [[2, 2, 1], 2, 2], "norm": "batch",
     "act": "relu"},
    {"_target_": "monai.networks.nets.UNet", "spatial_dims": 2, "channels": [8, 8, 16], "strides": [1, 2],
     "num_res_units": 1, "norm": ["group", {"num_groups": 4}], "act": ["leakyrelu", {"negative_slope": 0.2}],
     "adn_ordering": "ADN", "kernel_size": 5, "up_kernel_size": [3, 5], "bias": False},
    {"_target_": "AttentionUnet", "spatial_dims": 2, "channels": [4, 8, 16], "strides": [2, 2]},
    {"_target_": "AttentionUnet", "spatial_dims": 3, "channels": [4, 8, 16], "strides": [2, 2]},
    {"_target_": "BasicUNet", "spatial_dims": 2, "features": [4, 4, 8, 8, 16, 4]},
    {"_target_": "BasicUNet", "spatial_dims": 3, "features": [4, 4, 8, 8, 16, 4], "upsample": "nontrainable",
     "norm": "batch"},
    {"_target_": "BasicUNetPlusPlus", "spatial_dims": 2, "features": [4, 4, 8, 8, 16, 6]},
    {"_target_": "BasicUNetPlusPlus", "spatial_dims": 3, "features": [4, 4, 8, 8, 16, 6], "upsample": "nontrainable"},
    {"_target_": "DynUNet", "spatial_dims": 3, "kernel_size": [[3, 3, 1], [3, 3, 3], 3, 3],
     "strides": [[1, 1, 1], [2, 2, 1], 2, 2], "upsample_kernel_size": [[2, 2, 1], 2, 2], "filters": [4, 8, 12, 16]},
    {"_target_": "DynUNet", "spatial_dims": 2, "kernel_size": [3, 3, 3], "strides": [1, 2, 2],
     "upsample_kernel_size": [2, 2], "res_block": True, "trans_bias": True, "deep_supervision": True,
     "norm_name": "batch"},
    {"_target_": "SegResNet", "spatial_dims": 3, "init_filters": 8},
    {"_target_": "SegResNet", "spatial_dims": 2, "init_filters": 8, "upsample_mode": "deconv", "norm": "instance",
     "blocks_down": [1, 2, 2], "blocks_up": [1, 2]},
)  # fmt: skip


def _theirs(network: Mapping[str, Any]) -> torch.nn.Module:
    """MONAI's own network with random weights, also of its normalisation."""
    nets = pytest.importorskip("monai.networks.nets", reason="MONAI is not installed")
    torch.manual_seed(0)
    arguments = {key: value for key, value in network.items() if key != "_target_"}
    made = getattr(nets, network["_target_"].rpartition(".")[2])(**arguments).eval()
    for parameter in made.parameters():
        parameter.data = torch.randn_like(parameter) * 0.3
    for module in made.modules():
        if getattr(module, "running_mean", None) is not None:
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    return made


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: f"{network['_target_']}-{network['spatial_dims']}")
def test_a_network_computes_what_monai_computes(network: Mapping[str, Any]) -> None:
    network = {"in_channels": 1, "out_channels": 4, **network}
    theirs = _theirs(network)
    kind, config, multiples = monai_network(network, "here")
    ours = build(kind, **config).eval()
    state = {key: value for key, value in theirs.state_dict().items() if not key.startswith(FOR_TRAINING)}
    load_strictly(ours, state, "theirs")
    image = torch.randn(2, 1, *[multiple * n for multiple, n in zip(multiples, (3, 5, 2), strict=False)])
    if "Basic" in network["_target_"]:
        image = torch.randn(2, 1, *[33, 32, 18][: network["spatial_dims"]])  # odd numbers of voxels, too
    with torch.inference_mode():
        expected = theirs(image)
        expected = expected[-1] if isinstance(expected, list) else expected
        assert torch.allclose(ours(image), expected, atol=1e-5)
    assert float(expected.std()) > 1e-3


BEFORE = PREPARING[:2]
AFTER = {"_target_": "EnsureTyped", "keys": "image"}
BACK_NEAREST = ({**ENDING[0]}, {**ENDING[1], "nearest_interp": True}, *ENDING[2:])
ONE_CHANNEL = (
    {"_target_": "Activationsd", "keys": "pred", "sigmoid": True},
    ENDING[1],
    {"_target_": "AsDiscreted", "keys": "pred", "threshold": 0.543},
)
UNET_3D = {
    "_target_": "UNet", "spatial_dims": 3, "in_channels": 1, "out_channels": 4, "channels": [4, 8, 16],
    "strides": [2, 2], "num_res_units": 1,
}  # fmt: skip
UNET_2D = {**UNET_3D, "spatial_dims": 2}
SEGRESNET = {"_target_": "SegResNet", "spatial_dims": 3, "in_channels": 1, "out_channels": 4, "init_filters": 8,
             "blocks_down": [1, 1, 1], "blocks_up": [1, 1]}  # fmt: skip
DYNUNET = {"_target_": "DynUNet", "spatial_dims": 2, "in_channels": 1, "out_channels": 1, "kernel_size": [3, 3, 3],
           "strides": [1, 2, 2], "upsample_kernel_size": [2, 2], "filters": [4, 8, 8]}  # fmt: skip


def _transform(name: str, **arguments: Any) -> dict[str, Any]:
    return {"_target_": f"{name}d", "keys": "image", **arguments}


def _sliding(size: Sequence[int], **arguments: Any) -> dict[str, Any]:
    return {"_target_": "SlidingWindowInferer", "roi_size": list(size), "sw_batch_size": 2, **arguments}


BUNDLES: Mapping[str, tuple[Mapping[str, Any], Sequence[Mapping[str, Any]], Mapping[str, Any], Sequence[Any]]] = {
    "slices": (UNET_2D, PREPARING[:3], {"_target_": "SliceInferer", "roi_size": [32, 32], "spatial_dim": 2}, ENDING),
    "turned": (
        UNET_3D,
        (*BEFORE, _transform("Orientation", axcodes="RAS"),
         _transform("Spacing", pixdim=[1.5, 2.0, 4.0], mode="bilinear"),
         _transform("ScaleIntensityRange", a_min=20, a_max=80, b_min=0.0, b_max=1.0, clip=True), AFTER),
        _sliding((16, 16, 8), overlap=0.5, mode="gaussian"),
        ENDING,
    ),
    "foreground": (
        SEGRESNET,
        (*BEFORE, _transform("CropForeground", source_key="image", margin=2, k_divisible=4),
         _transform("Spacing", pixdim=[2.5, 2.5, -1], mode=["bilinear"]),
         _transform("NormalizeIntensity", nonzero=True, channel_wise=True)),
        _sliding((24, 20, 12), overlap=0.25, padding_mode="replicate"),
        BACK_NEAREST,
    ),
    "percentiles": (
        UNET_3D,
        (*BEFORE, _transform("ResizeWithPadOrCrop", spatial_size=[32, 40, 8]),
         _transform("ScaleIntensityRangePercentiles", lower=2, upper=98, b_min=-1, b_max=1, clip=True)),
        {"_target_": "SimpleInferer"},
        ENDING,
    ),
    "resized": (
        UNET_3D,
        (*BEFORE, _transform("Resize", spatial_size=[24, 48, 8], mode="trilinear"), _transform("NormalizeIntensity")),
        {"_target_": "SimpleInferer"},
        ENDING,
    ),
    "area": (
        UNET_3D,
        (*BEFORE, _transform("Resize", spatial_size=[24, 48, 8]), _transform("ScaleIntensity", minv=-1, maxv=1)),
        {"_target_": "SimpleInferer"},
        ENDING,
    ),
    "flat": (
        {**UNET_3D, "strides": [[2, 2, 1], [2, 2, 1]]},  # seven slices need no eighth
        (*BEFORE, _transform("Resize", spatial_size=[24, 48, -1]), _transform("NormalizeIntensity")),
        {"_target_": "SimpleInferer"},
        ENDING,
    ),
    "labels first": (
        UNET_3D,
        (*BEFORE, _transform("Resize", spatial_size=[24, 48, 8], mode="nearest"), _transform("NormalizeIntensity")),
        {"_target_": "SimpleInferer"},
        (BACK_NEAREST[0], BACK_NEAREST[2], BACK_NEAREST[1]),
    ),
    "cut": (
        {"_target_": "BasicUNet", "spatial_dims": 2, "in_channels": 1, "out_channels": 4,
         "features": [4, 4, 8, 8, 16, 4]},
        (*BEFORE, _transform("CenterSpatialCrop", roi_size=[32, -1]),
         _transform("SpatialPad", spatial_size=[40, 48], method="end"),
         _transform("ScaleIntensityRange", a_min=0, a_max=50)),
        {"_target_": "SimpleInferer"},
        ENDING,
    ),
    "image": (
        DYNUNET,
        (*BEFORE, _transform("Spacing", pixdim=[2.0, 2.5]), _transform("NormalizeIntensity"),
         _transform("DivisiblePad", k=4)),
        _sliding((28, 32)),
        ONE_CHANNEL,
    ),
}  # fmt: skip
AFFINES = {
    "slices": np.diag([1.6, 1.8, 6.0, 1.0]),
    "turned": np.array([[0, -1.8, 0, 5], [1.6, 0, 0, -3], [0, 0, -6.0, 9], [0, 0, 0, 1]], float),
}
SHAPE = (38, 44, 7)
IMAGES = ("image", "cut")
ONE = {"network_data_format": {"outputs": {"pred": {"channel_def": {"0": "LV"}}}}}


def _volume(name: str) -> np.ndarray:
    """``(x, y, z)``: smooth blobs on noise, empty at the borders."""
    rng = np.random.default_rng(0)
    shape = SHAPE[:2] if name in IMAGES else SHAPE
    grid = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    blob = 60 * np.exp(-4 * sum(axis**2 for axis in grid))
    volume = (blob + rng.uniform(1, 40, shape)).astype(np.float32)
    volume[:5] = 0
    volume[:, -4:] = 0
    return volume


def _by_monai(config: Mapping[str, Any], network: torch.nn.Module, file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities ``(class, x, y[, z])`` and labels, by the bundle's own configuration."""
    bundle = pytest.importorskip("monai.bundle", reason="MONAI is not installed")
    parser = bundle.ConfigParser({**config, "device": "cpu"})
    data = parser.get_parsed_content("preprocessing")({"image": str(file)})
    with torch.inference_mode():
        data["pred"] = parser.get_parsed_content("inferer")(data["image"][None], network)[0]
    steps = parser.get_parsed_content("postprocessing").transforms[:3]
    found = []
    for step in steps:
        data = step(data)
        found.append(np.asarray(data["pred"]))
    return found[1], found[2][0]


@pytest.mark.parametrize("name", BUNDLES)
def test_a_bundle_labels_what_monai_labels(name: str, tmp_path: Path) -> None:
    network, preparing, inferer, post = BUNDLES[name]
    theirs = _theirs(network)
    config = inference(network, preparing, inferer, post)
    about = metadata(**(ONE if name == "image" else {}))
    source = write_bundle(tmp_path / "theirs", config, about, state=theirs.state_dict())
    volume, affine = _volume(name), AFFINES.get(name, AFFINES["slices"])
    nib.save(nib.Nifti1Image(volume, affine), tmp_path / "image.nii.gz")
    probabilities, labels = _by_monai(config, theirs, tmp_path / "image.nii.gz")

    model, card = import_model(source, "ours", tmp_path)
    runner = StepSegmenter(*zoo.load(model))
    whole = volume[..., None] if name in IMAGES else volume
    images = whole.transpose(2, 1, 0)[None]  # frame, slice, row (y), column (x)
    spacing = nib.affines.voxel_sizes(affine)
    directions = (affine[:3, :3] / spacing)[:, ::-1] * np.array([-1.0, -1.0, 1.0])[:, None]
    view = ViewImages(
        "sax", images, (spacing[1], spacing[0]), tuple(i * spacing[2] for i in range(images.shape[1])), None, directions
    )
    crops, places = runner.crops(view)
    outputs = runner.predict(crops)
    ours = runner.labels(outputs, places, images.shape)[0].transpose(2, 1, 0)
    on_grid = np.stack([runner._on_grid(*pair) for pair in zip(outputs, places.places, strict=True)])
    on_grid = on_grid[0].transpose(0, 2, 1) if name in IMAGES else on_grid[0].transpose(0, 3, 2, 1)

    expected = np.array(card.plan["codes"])[labels.astype(int)].reshape(ours.shape)
    if name == "labels first":  # what comes back is labels already
        probabilities, on_grid = labels, on_grid.argmax(axis=0)
    difference = float(np.abs(on_grid - probabilities).max())
    equal = float((ours == expected).mean())
    print(f"{name}: {difference:.2g}, {100 * equal:.3f} %")
    assert np.ptp(probabilities) > 0.05
    assert len(np.unique(labels)) > 1
    assert difference < 1e-3
    assert equal > 0.999
