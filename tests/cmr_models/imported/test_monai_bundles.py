"""MONAI bundles become model folders, which segment like our own; ``oracles/test_bundles_monai.py`` asks MONAI."""

from __future__ import annotations

import json
import os
import pickle
import stat
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from foreign_networks import CHANNELS, ENDING, PREPARING, SLICES, UNET, inference, metadata, random_state, write_bundle

from cmr_models import zoo
from cmr_models.imported import bundle_files
from cmr_models.imported.importing import import_model
from cmr_models.segmentation import segment_lax_4c, segment_sax

IMAGES = np.random.default_rng(0).uniform(1, 100, (2, 3, 32, 32)).astype(np.float32)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    return import_model(write_bundle(folder / "ventricular_short_axis"), "ours", folder)[0]


def _zipped(folder: Path, file: Path, prefix: str = "bundle/") -> Path:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, prefix + path.relative_to(folder).as_posix())
    return file


def test_the_card_says_where_the_network_comes_from_and_what_it_expects(model: Path) -> None:
    card = zoo.card(model)
    assert (card.task, card.kind, card.licence, card.preprocessing) == (
        "segment_sax", "MonaiUNet", "MIT License", "steps",
    )  # fmt: skip
    assert card.classes == ("background", "left ventricle", "left-ventricular myocardium", "right ventricle")
    assert card.training_data == ("a hospital",)
    assert (card.source["format"], card.source["authors"]) == ("MONAI bundle", "A. Person")
    assert card.source["labels"] == list(CHANNELS.values())
    assert [line.split()[0] for line in card.source["files"]] == [
        "configs/inference.json", "configs/metadata.json", "models/model.pt",
    ]  # fmt: skip
    assert card.plan["codes"] == [0, 3, 2, 1]
    assert card.plan["steps"]["1"] == {"step": "scale_intensity", "lowest": 0.0, "highest": 1.0}
    assert zoo.model_card.parse_card(zoo.card_text(card), "card") == card


def test_labels_are_the_most_probable_of_every_slice_of_a_volume(model: Path) -> None:
    """By hand: a window as large as the image, columns first, intensities scaled over the volume."""
    network, _ = zoo.load(model)
    codes = np.array([0, 3, 2, 1])
    expected = np.empty(IMAGES.shape, np.uint8)
    for frame, volume in enumerate(IMAGES):
        scaled = torch.from_numpy((volume - volume.min()) / (volume.max() - volume.min()))
        with torch.inference_mode():
            expected[frame] = codes[network(scaled.transpose(1, 2)[:, None]).argmax(1).numpy()].transpose(0, 2, 1)
    labels = segment_sax(IMAGES, 1.5, 8.0, model=model)
    assert (labels == expected).mean() > 0.999
    assert len(np.unique(labels)) > 1


def test_frames_do_not_depend_on_each_other(model: Path) -> None:
    both = segment_sax(IMAGES, 1.5, 9.0, model=model)
    assert (both[1] == segment_sax(IMAGES[1:], 1.5, 9.0, model=model)[0]).all()
    with pytest.raises(ValueError, match="is a model for 'segment_sax'"):
        segment_lax_4c(IMAGES, 1.5, model=model)


def test_cropped_frames_of_several_sizes_share_an_array(tmp_path: Path) -> None:
    """Each frame is cropped to its own box; what lies outside is background."""
    preparing = (*PREPARING, {"_target_": "CropForegroundd", "keys": "image", "source_key": "image", "k_divisible": 4})
    images = IMAGES.copy()
    images[0, :, :8] = images[0].min()
    images[1, :, :, 20:] = images[1].min()
    source = write_bundle(tmp_path / "theirs", inference(preparing=preparing[:3] + preparing[4:]))
    model = import_model(source, "ours", tmp_path)[0]
    labels = segment_sax(images, 1.5, 9.0, model=model)
    assert not labels[0, :, :8].any()
    assert not labels[1, :, :, 20:].any()
    for frame in (0, 1):
        assert (labels[frame] == segment_sax(images[frame : frame + 1], 1.5, 9.0, model=model)[0]).all()


def test_whole_images_are_padded_to_what_the_network_can_halve(tmp_path: Path) -> None:
    source = write_bundle(tmp_path / "theirs", inference(inferer={"_target_": "SimpleInferer"}))
    model, card = import_model(source, "ours", tmp_path)
    assert card.plan["steps"]["2"] == {"step": "pad", "shape": [0], "multiple": [4, 4], "before": True}
    assert segment_sax(IMAGES[..., :30, :27], 1.5, 8.0, model=model).shape == (2, 3, 30, 27)


def test_an_axis_that_the_network_does_not_halve_is_not_padded(tmp_path: Path) -> None:
    network = {**UNET, "spatial_dims": 3, "strides": [[2, 2, 1], [2, 2, 1]]}
    source = write_bundle(tmp_path / "theirs", inference(network, inferer={"_target_": "SimpleInferer"}))
    model, card = import_model(source, "ours", tmp_path)
    assert card.plan["steps"]["2"]["multiple"] == [4, 4, 1]  # columns, rows, slices
    assert segment_sax(IMAGES, 1.5, 8.0, model=model).shape == IMAGES.shape
    basic = {"_target_": "BasicUNet", "spatial_dims": 2, "in_channels": 1, "out_channels": 4, "features": [4] * 6}
    source = write_bundle(tmp_path / "basic", inference(basic, inferer={"_target_": "SimpleInferer"}))
    assert len(import_model(source, "any_size", tmp_path)[1].plan["steps"]) == 1


def test_windows_must_be_those_that_the_network_can_halve(tmp_path: Path) -> None:
    odd = write_bundle(tmp_path / "odd", inference(inferer={**SLICES, "roi_size": [32, 30]}))
    with pytest.raises(ValueError, match=r"a window of \[32, 30\] voxels, which must be multiples of \[4, 4\]"):
        import_model(odd, "ours", tmp_path)
    rows = write_bundle(tmp_path / "rows", inference(inferer={**SLICES, "roi_size": [-1, 16]}))
    model, card = import_model(rows, "whole_rows", tmp_path)
    assert card.plan["steps"]["2"]["multiple"] == [4, 1, 1]  # columns are seen whole, rows and slices are not
    assert segment_sax(IMAGES[..., :30, :27], 1.5, 8.0, model=model).shape == (2, 3, 30, 27)


def test_an_archive_gives_what_its_folder_gives(model: Path, tmp_path: Path) -> None:
    file = _zipped(model.parent / "ventricular_short_axis", tmp_path / "short_axis.zip")
    card = import_model(file, "packed", tmp_path)[1]
    other = zoo.card(model)
    assert (card.digest, card.source, card.plan) == (other.digest, other.source, other.plan)
    assert card.licence == "MIT License"


def test_references_and_plain_expressions_are_values(tmp_path: Path) -> None:
    config = inference()
    config |= {"size": "$(32, 32)", "n": 4, "key": "image", "more": {"channels": [4, 8, "@eight"]}, "eight": 8}
    config["network_def"] |= {"out_channels": "@n", "channels": "@more::channels", "strides": "$[2, 2]"}
    config["inferer"]["roi_size"] = "@size"
    config["preprocessing"]["transforms"] = ["@first", *config["preprocessing"]["transforms"][1:]]
    config["first"] = {"_target_": "LoadImaged", "keys": "@key"}
    source = write_bundle(tmp_path / "theirs", config, state=random_state(UNET))
    card = import_model(source, "ours", tmp_path)[1]
    assert (card.config["channels"], card.plan["windows"]["size"]) == ([4, 8, 8], [32, 32])


def test_yaml_says_the_same_as_json(tmp_path: Path) -> None:
    source = write_bundle(tmp_path / "theirs")
    text = (source / "configs/inference.json").read_text()
    (source / "configs/inference.json").unlink()
    (source / "configs/inference.yaml").write_text(text)
    assert import_model(source, "ours", tmp_path)[1].config["channels"] == [4, 8, 8]


def _config(**changes: Any) -> dict[str, Any]:
    return {**inference(), **changes}


def _preparing(*transforms: Mapping[str, Any]) -> dict[str, Any]:
    return inference(preparing=(*PREPARING, *transforms))


@pytest.mark.parametrize(
    ("config", "fault"),
    [
        (_config(network_def={**UNET, "_target_": "SwinUNETR"}), "network SwinUNETR, whose code would have to run"),
        (_config(network_def={**UNET, "_target_": "scripts.nets.UNet"}), "network scripts.nets.UNet, whose code"),
        (_config(network_def={**UNET, "_target_": "$os.system"}), "has the code '\\$os.system' in network_def"),
        (_config(network_def="$torch.jit.load('a')"), "whose code would have to run"),
        (_config(network_def=None, network="$@net_def.to(@device)"), "whose code would have to run"),
        (_config(network_def={**UNET, "channels": "$[4 * i for i in (1, 2, 2)]"}), "which would have to run"),
        (_config(network_def={**UNET, "channels": "@nowhere"}), "refers to 'nowhere' in network_def, which is not"),
        (_config(network_def={**UNET, "channels": "@a"}, a="@b", b="@a"), "refers to itself"),
        (_config(network_def={**UNET, "channels": "%other.json::a"}), "is neither a value nor a name"),
        (_config(network_def={**UNET, "act": "$torch.nn.ReLU"}), "has the code '\\$torch.nn.ReLU'"),
        (_config(network_def={**UNET, "norm": "localresponse"}), "norm localresponse, which is not supported"),
        (_config(network_def={**UNET, "depth": 3}), "a network with depth, which is not supported"),
        (_config(network_def={**UNET, "in_channels": 2}), "a network of 2 images a case"),
        (_config(network_def={**UNET, "channels": [4, 8, 16]}), "wrong shape: model"),
        (_config(network_def={**UNET, "channels": [4, 8, 10**9]}), "must lie in 0 to"),
        (_config(network_def={**UNET, "strides": [2]}), "3 levels need 2 strides, got 1"),
        (_config(network_def={**UNET, "channels": None}), "lacks what MONAI writes"),
        (_config(preprocessing=None), "has no preprocessing"),
        (_config(preprocessing="$@my.transform()"), "whose code would have to run"),
        (
            _preparing({"_target_": "Lambdad", "func": "$lambda x: x"}),
            "prepares images with Lambdad, which",
        ),
        (_preparing({"_target_": "scripts.Mine"}), "the transform scripts.Mine, whose code would have to run"),
        (_preparing({"_target_": "CropForegroundd", "select_fn": "$lambda x: f(x)"}), "which would have to run"),
        (_preparing({"_target_": "Spacingd", "pixdim": [1, 1, 1], "mode": 3}), "Spacing with mode 3"),
        (_preparing({"_target_": "Spacingd", "pixdim": [1, 1, 1], "diagonal": True}), "Spacing with diagonal True"),
        (_preparing({"_target_": "Spacingd", "pixdim": "$monai.x"}), "has the code '\\$monai.x' in Spacing"),
        (_preparing({"_target_": "Resized", "spatial_size": [8, 8]}), "not one number for each of 3 axes"),
        (_preparing({"_target_": "Orientationd", "axcodes": "XYZ"}), "an orientation is three letters"),
        (_preparing({"_target_": "CastToTyped", "dtype": "uint8"}), "CastToType with dtype 'uint8'"),
        (_preparing({"_target_": "ScaleIntensityd", "wild": 1}), "ScaleIntensity with wild, which is not supported"),
        (_config(inferer={"_target_": "SaliencyInferer"}), "the inferer SaliencyInferer, which is not supported"),
        (_config(inferer={**SLICES, "padding_mode": "reflect"}), "padding_mode 'reflect', which is not supported"),
        (_config(inferer={**SLICES, "overlap": 1.5}), "windows overlap by 0 to 1"),
        (inference(post=({"_target_": "KeepLargestConnectedComponentd"},)), "treats the output with KeepLargest"),
        (inference(post=({"_target_": "Activationsd", "sigmoid": True},)), "makes labels that overlap of 4 outputs"),
        (inference(post=(*ENDING[:1], ENDING[2], ENDING[1])), "interpolates labels linearly"),
    ],
)
def test_what_only_code_could_tell_or_is_not_known_is_refused(
    tmp_path: Path, config: dict[str, Any], fault: str
) -> None:
    source = write_bundle(tmp_path / "theirs", config, state=random_state(UNET))
    with pytest.raises(ValueError, match=fault):
        import_model(source, "ours", tmp_path)
    assert not (tmp_path / "ours").exists()


def test_names_of_labels_are_needed_and_can_be_stated(tmp_path: Path) -> None:
    outputs = {"outputs": {"pred": {"channel_def": {"0": "background", "1": "x", "2": "myo", "3": "RV"}}}}
    source = write_bundle(tmp_path / "a", about=metadata(network_data_format=outputs))
    with pytest.raises(ValueError, match="the label 'x' has an unknown name"):
        import_model(source, "ours", tmp_path)
    assert import_model(source, "ours", tmp_path, labels={"x": 3})[1].plan["codes"] == [0, 3, 2, 1]
    bare = write_bundle(tmp_path / "b", about=metadata(network_data_format={}))
    with pytest.raises(ValueError, match="the label '1' has an unknown name"):
        import_model(bare, "bare", tmp_path)
    assert import_model(bare, "bare", tmp_path, labels={"1": 1, "2": 2, "3": 3})[1].plan["codes"] == [0, 1, 2, 3]
    outputs["outputs"]["pred"]["channel_def"].pop("3")
    few = write_bundle(tmp_path / "c", about=metadata(network_data_format=outputs))
    with pytest.raises(ValueError, match=r"a network of 4 outputs, metadata\.json the labels"):
        import_model(few, "few", tmp_path)


def test_a_licence_is_demanded_and_can_be_stated(tmp_path: Path) -> None:
    source = write_bundle(tmp_path / "theirs", licence="")
    with pytest.raises(ValueError, match="states no licence"):
        import_model(source, "ours", tmp_path)
    assert import_model(source, "a", tmp_path, licence="MIT")[1].licence == "MIT"
    (source / "docs").mkdir()
    (source / "docs/LICENSE").write_text("\n    Apache License\n    Version 2.0, January 2004\n")
    assert import_model(source, "b", tmp_path)[1].licence == "Apache License, Version 2.0, January 2004"
    (source / "configs/metadata.json").write_text(json.dumps(metadata(license="CC-BY-4.0")))
    assert import_model(source, "c", tmp_path)[1].licence == "CC-BY-4.0"


def test_a_single_output_is_one_structure(tmp_path: Path) -> None:
    """Above a threshold it is there: weights of zero leave the bias, sigmoid(1) = 0.73."""
    network = {**UNET, "out_channels": 1, "num_res_units": 0}
    state = {key: torch.zeros_like(value) for key, value in random_state(network).items()}
    state["model.2.conv.bias"] += 1.0
    for threshold, expected in ((0.7, 3), (0.75, 0)):
        post = (
            {"_target_": "Activationsd", "sigmoid": True},
            ENDING[1],
            {"_target_": "AsDiscreted", "threshold": threshold},
        )
        about = metadata(network_data_format={"outputs": {"pred": {"channel_def": {"0": "LV"}}}})
        name = f"m{expected}"
        source = write_bundle(tmp_path / f"theirs{expected}", inference(network, post=post), about, state=state)
        model, card = import_model(source, name, tmp_path)
        assert card.classes == ("background", "left ventricle")
        assert np.unique(segment_sax(IMAGES, 1.5, 8.0, model=model)).tolist() == [expected]


class _Runs:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.system, ("exit 3",)


def test_weights_with_code_are_refused(tmp_path: Path) -> None:
    source = write_bundle(tmp_path / "theirs")
    for content in ({"model": _Runs()}, {**random_state(UNET), "x": _Runs()}):
        with (source / "models/model.pt").open("wb") as file:
            pickle.dump(content, file)
        with pytest.raises(ValueError, match="code would have to run to open it"):
            import_model(source, "ours", tmp_path)
    torch.save(torch.nn.Conv2d(1, 1, 1), source / "models/model.pt")
    with pytest.raises(ValueError, match="code would have to run to open it"):
        import_model(source, "ours", tmp_path)
    torch.save({**random_state(UNET), "epoch": 3}, source / "models/model.pt")
    with pytest.raises(ValueError, match="weights that are no tensors: epoch"):
        import_model(source, "ours", tmp_path)
    torch.save({"state_dict": random_state(UNET), "epoch": 3}, source / "models/model.pt")
    assert import_model(source, "ours", tmp_path)[1].kind == "MonaiUNet"


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    state = random_state(UNET)
    state["model.0.conv.unit0.conv.weight"][0] = torch.nan
    with pytest.raises(ValueError, match=r"values that are not finite in model\.0\.conv\.unit0\.conv\.weight"):
        import_model(write_bundle(tmp_path / "theirs", state=state), "ours", tmp_path)
    assert not (tmp_path / "ours").exists()


def test_torchscript_and_packed_records_are_refused(tmp_path: Path) -> None:
    source = write_bundle(tmp_path / "theirs")
    weights = source / "models/model.pt"
    content = weights.read_bytes()
    for entry, how, fault in (
        ("model/code/a.py", zipfile.ZIP_STORED, "is TorchScript, whose code would have to run"),
        ("model/data/99", zipfile.ZIP_DEFLATED, "has packed records, which torch does not write"),
    ):
        weights.write_bytes(content)
        with zipfile.ZipFile(weights, "a") as archive:
            archive.writestr(entry, b"0" * 1000, how)
        with pytest.raises(ValueError, match=fault):
            import_model(source, "ours", tmp_path)
    weights.rename(source / "models/model.ts")
    with pytest.raises(FileNotFoundError, match=r"models/model\.pt, the weights alone; models/model\.ts would"):
        import_model(source, "ours", tmp_path)


def test_links_that_lead_out_of_a_folder_are_refused(tmp_path: Path) -> None:
    source = write_bundle(tmp_path / "theirs")
    (source / "models/model.pt").rename(tmp_path / "elsewhere.pt")
    (source / "models/model.pt").symlink_to(tmp_path / "elsewhere.pt")
    with pytest.raises(ValueError, match="is a link that leads out of the bundle"):
        import_model(source, "ours", tmp_path)


def _entry(name: str, mode: int = 0) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.external_attr = mode << 16
    return entry


@pytest.mark.parametrize(
    ("entries", "fault"),
    [
        ([_entry("../../up")], "a name that leads out of the archive"),
        ([_entry("/etc/passwd")], "a name that leads out of the archive"),
        ([_entry("C:/a")], "a name that leads out of the archive"),
        ([_entry("b/models/link", stat.S_IFLNK | 0o777)], "which is a link or a device"),
        ([_entry("b/two"), _entry("b/two")], "holds two files of one name"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_hostile_archives_are_refused(tmp_path: Path, entries: Sequence[zipfile.ZipInfo], fault: str) -> None:
    file = _zipped(write_bundle(tmp_path / "theirs"), tmp_path / "theirs.zip")
    with zipfile.ZipFile(file, "a") as archive:
        for entry in entries:
            archive.writestr(entry, "../../../etc/passwd")
    with pytest.raises(ValueError, match=fault):
        import_model(file, "ours", tmp_path)


def test_bombs_are_refused_before_they_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_bundle(tmp_path / "theirs")
    (source / "models/model.pt").write_bytes(bytes(2**25))  # 32 MB of zeros take 32 kB
    with pytest.raises(ValueError, match="inflates to more than 200 times its size"):
        import_model(_zipped(source, tmp_path / "a.zip"), "ours", tmp_path)
    monkeypatch.setattr(bundle_files, "_MOST_BYTES", 2**20)
    with pytest.raises(ValueError, match=r"has more than 10000 files or \d+ GB"):
        import_model(tmp_path / "a.zip", "ours", tmp_path)
    (source / "configs/metadata.json").write_text(" " * (2**20 + 1))
    with pytest.raises(ValueError, match="has more than 1 MB"):
        import_model(source, "ours", tmp_path)


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    source = write_bundle(tmp_path / "theirs")
    packed = _zipped(source, tmp_path / "theirs.zip")
    packed.write_bytes(packed.read_bytes().replace(b"PK\x01\x02", b"PK\x01\x03"))
    with pytest.raises(ValueError, match=r"is no zip archive, or damaged|is none of"):
        import_model(packed, "ours", tmp_path)
    for name, content in (("configs/inference.json", "[1]"), ("configs/inference.json", "{"), ("models/model.pt", "")):
        (source / name).write_text(content)
        with pytest.raises(ValueError, match=r"must hold a mapping|is damaged"):
            import_model(source, "ours", tmp_path)
    (source / "configs/inference.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no configs/inference.json"):
        import_model(source, "ours", tmp_path)


def test_the_second_names_of_a_dynunet_must_be_those_of_its_layers(tmp_path: Path) -> None:
    network = {"_target_": "DynUNet", "spatial_dims": 2, "in_channels": 1, "out_channels": 4, "filters": [4, 8, 8],
               "kernel_size": [3, 3, 3], "strides": [1, 2, 2], "upsample_kernel_size": [2, 2]}  # fmt: skip
    state = random_state(network)
    names = {
        "skip_layers.downsample.": "input_block.",
        "skip_layers.upsample.": "upsamples.1.",
        "skip_layers.next_layer.downsample.": "downsamples.0.",
        "skip_layers.next_layer.upsample.": "upsamples.0.",
        "skip_layers.next_layer.next_layer.": "bottleneck.",
    }
    double = {second + key.removeprefix(first): value for second, first in names.items() for key, value in state.items()
              if key.startswith(first)}  # fmt: skip
    assert len(double) == len(state) - 2  # all but the last convolution
    source = write_bundle(tmp_path / "theirs", inference(network), state={**state, **double})
    assert import_model(source, "ours", tmp_path)[1].kind == "MonaiDynUNet"
    double["skip_layers.downsample.conv1.conv.weight"] = torch.ones(4, 1, 3, 3)
    torch.save({**state, **double}, source / "models/model.pt")
    with pytest.raises(ValueError, match=r"which is not the layer input_block\.conv1\.conv\.weight"):
        import_model(source, "other", tmp_path)
