"""Folders of nnU-Net become model folders, which segment like our own."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nnunet_folders import LABELS, settings_2d, write_folder

from cmr_models import zoo
from cmr_models.imported.importing import import_model
from cmr_models.imported.segmenter import ImportedSegmenter
from cmr_models.segmentation import segment_lax_4c, segment_sax
from cmr_models.views.view_images import ViewImages


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    return import_model(write_folder(folder / "theirs"), "ours", folder)[0]


def _images(shape: tuple[int, ...] = (2, 3, 40, 36)) -> np.ndarray:
    return np.random.default_rng(0).uniform(1, 100, shape).astype(np.float32)


def test_the_card_says_where_the_network_comes_from_and_what_it_expects(model: Path) -> None:
    card = zoo.card(model)
    assert (card.task, card.licence, card.pixel_mm) == ("segment_sax", "CC0-1.0", 2.0)
    assert card.training_data == ("Dataset007_SAX (12 training cases)",)
    assert card.classes == ("background", "left ventricle", "left-ventricular myocardium", "right ventricle")
    assert card.source["labels"] == list(LABELS)
    assert card.source["format"] == "nnU-Net v2"
    assert len(card.source["files"]) == 4  # plans, data set, two folds
    assert len(card.source["digest"]) == 64
    assert card.plan["codes"] == [0, 3, 2, 1]
    assert card.plan["normalisation"] == "z_score"
    assert card.plan["mirror_axes"] == [0, 1]
    assert zoo.model_card.parse_card(zoo.card_text(card), "card") == card


def test_the_digest_of_the_source_changes_with_any_of_its_files(tmp_path: Path) -> None:
    one = import_model(write_folder(tmp_path / "a"), "a", tmp_path / "m")[1]
    same = import_model(write_folder(tmp_path / "b"), "b", tmp_path / "m")[1]
    other = import_model(write_folder(tmp_path / "c", mirror_axes=(0,)), "c", tmp_path / "m")[1]
    assert one.source["digest"] == same.source["digest"] != other.source["digest"]


def test_weights_are_stored_exactly_and_each_layer_once(model: Path) -> None:
    network, card = zoo.load(model, "segment_sax")
    theirs = torch.load(model.parent / "theirs/fold_1/checkpoint_final.pth", weights_only=False)["network_weights"]
    state = network.state_dict()
    name = "encoder.stages.1.0.convs.0.conv.weight"
    assert torch.equal(state[f"members.1.{name}"], theirs[name])
    assert card.config["n_members"] == 2
    assert not any("all_modules" in key for key in state)


def test_labels_are_the_most_probable_of_the_mean_over_folds(model: Path, tmp_path: Path) -> None:
    """By hand: patch and image are one window, so that nothing slides and nothing is resampled."""
    folder = write_folder(tmp_path / "theirs", settings=settings_2d(patch_size=[40, 36]), mirror_axes=None)
    target, _ = import_model(folder, "one", tmp_path)
    images = _images()
    network, _ = zoo.load(target)
    codes = np.array([0, 3, 2, 1])
    expected = np.empty(images.shape, np.uint8)
    for frame, volume in enumerate(images):
        normal = torch.from_numpy((volume - volume.mean()) / volume.std())
        with torch.inference_mode():
            expected[frame] = codes[network(normal[:, None]).argmax(1).numpy()]
    labels = segment_sax(images, 2.0, 8.0, model=target)
    assert (labels == expected).mean() > 0.999  # halves may decide a tie
    assert len(np.unique(labels)) > 1


def test_the_three_steps_give_what_segment_sax_gives(model: Path) -> None:
    images = _images()
    images[1, :, :6] = 0  # another part of the second frame is empty
    runner = ImportedSegmenter.load(model, "segment_sax")
    crops, places = runner.crops(ViewImages("sax", images, (1.5, 1.7), (0.0, 9.0, 18.0)))
    outputs = np.concatenate([runner.predict(crops[i : i + 1]) for i in range(len(crops))])
    labels = runner.labels(outputs, places, images.shape)
    assert (labels == segment_sax(images, (1.5, 1.7), 9.0, model=model)).all()
    assert not labels[1, :, :6].any()
    assert np.isfinite(outputs).all()


def test_frames_do_not_depend_on_each_other(model: Path) -> None:
    images = _images()
    images[1, :, :6] = 0
    both = segment_sax(images, 1.5, 9.0, model=model)
    for frame in (0, 1):
        alone = segment_sax(images[frame : frame + 1], 1.5, 9.0, model=model)
        assert (both[frame] == alone[0]).all()


def test_sizes_that_the_network_needs_are_asked_for(model: Path) -> None:
    with pytest.raises(ValueError, match="give pixel_mm"):
        segment_sax(_images(), None, 8.0, model=model)
    with pytest.raises(ValueError, match="give slice_mm"):
        segment_sax(_images(), 1.5, None, model=model)
    assert segment_sax(_images((1, 1, 40, 40)), 1.5, None, model=model).shape == (1, 1, 40, 40)
    with pytest.raises(ValueError, match="is a model for 'segment_sax'"):
        segment_lax_4c(_images(), 1.5, model=model)


@pytest.mark.parametrize(
    ("data_set", "labels", "view", "task"),
    [
        ("Dataset100_UKBB_SAX", LABELS, None, "segment_sax"),
        ("Dataset103_UKBB_LAX_4CH", LABELS, None, "segment_lax_4c"),
        ("Dataset101_LAX_2c", LABELS, None, "segment_lax_2c"),
        ("Dataset009_Hearts", LABELS, None, "segment_sax"),
        ("Dataset009_Hearts", {**LABELS, "RA": 4}, None, "segment_lax_4c"),
        ("Dataset100_UKBB_SAX", LABELS, "lax_4c", "segment_lax_4c"),
    ],
)
def test_the_view_is_that_of_the_data_set_unless_it_is_stated(
    tmp_path: Path, data_set: str, labels: dict[str, int], view: str | None, task: str
) -> None:
    folder = write_folder(tmp_path / "theirs", data_set=data_set, labels=labels, n_folds=1)
    assert import_model(folder, "m", tmp_path, view=view)[1].task == task


def test_a_licence_is_demanded_and_can_be_stated(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "theirs", licence=" ", n_folds=1)
    with pytest.raises(ValueError, match="states no licence"):
        import_model(folder, "m", tmp_path)
    assert not (tmp_path / "m").exists()
    assert import_model(folder, "m", tmp_path, licence="MIT")[1].licence == "MIT"
    (folder / "LICENSE").write_text("\n  Apache License, Version 2.0\nmore\n")
    assert import_model(folder, "n", tmp_path, licence="MIT")[1].licence == "Apache License, Version 2.0"


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"normalization_schemes": ["RGBTo01Normalization"]}, "normalisation RGBTo01"),
        ({"normalization_schemes": ["ZScoreNormalization"] * 2}, "takes 2 images"),
        ({"preprocessor_name": "Mine"}, "preprocessor of its own, Mine: its code would have to run"),
        ({"resampling_fn_data": "resample_torch_fornnunet"}, "resamples with resample_torch"),
        ({"previous_stage": "3d_lowres"}, "second stage of a cascade"),
        ({"spacing": [2.0]}, "spacing"),
        ({"patch_size": None}, "lacks what nnU-Net writes"),
        ({"inherits_from": "2d"}, "inherit from each other"),
    ],
)
def test_plans_that_cannot_be_followed_are_refused(tmp_path: Path, changes: dict[str, Any], fault: str) -> None:
    folder = write_folder(tmp_path / "theirs", n_folds=1)
    plans = json.loads((folder / "plans.json").read_text())
    plans["configurations"]["2d"].update(changes)
    (folder / "plans.json").write_text(json.dumps(plans))
    with pytest.raises(ValueError, match=fault):
        import_model(folder, "m", tmp_path)
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"dropout_op": "torch.nn.Dropout2d"}, "dropout, which is not supported"),
        ({"norm_op": "torch.nn.GroupNorm"}, "norm_op GroupNorm"),
        ({"nonlin_kwargs": {"negative_slope": 0.2}}, "negative_slope"),
        ({"features_per_stage": [4, 8, 16]}, "wrong shape"),
        ({"features_per_stage": [4, 8, 10**9]}, "must lie in 0 to"),
        ({"n_stages": 4, "features_per_stage": [4, 8, 8, 8]}, "do not fit|lacks what"),
    ],
)
def test_networks_that_are_not_those_of_the_weights_are_refused(
    tmp_path: Path, changes: dict[str, Any], fault: str
) -> None:
    folder = write_folder(tmp_path / "theirs", n_folds=1)
    plans = json.loads((folder / "plans.json").read_text())
    plans["configurations"]["2d"]["architecture"]["arch_kwargs"].update(changes)
    (folder / "plans.json").write_text(json.dumps(plans))
    with pytest.raises(ValueError, match=fault):
        import_model(folder, "m", tmp_path)


def test_a_network_class_of_other_people_is_not_imported(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "theirs", n_folds=1)
    text = (folder / "plans.json").read_text().replace("a.b.PlainConvUNet", "os.system")
    (folder / "plans.json").write_text(text)
    with pytest.raises(ValueError, match="network system, whose code would have to run"):
        import_model(folder, "m", tmp_path)


def test_plans_of_the_first_versions_are_read(tmp_path: Path) -> None:
    settings = settings_2d()
    arch = settings["architecture"]["arch_kwargs"]
    folder = write_folder(tmp_path / "theirs", n_folds=1, settings=settings)
    plans = json.loads((folder / "plans.json").read_text())
    own = plans["configurations"]["2d"]
    del own["architecture"]
    own |= {
        "UNet_class_name": "PlainConvUNet",
        "UNet_base_num_features": 4,
        "unet_max_num_features": 8,
        "n_conv_per_stage_encoder": arch["n_conv_per_stage"],
        "n_conv_per_stage_decoder": arch["n_conv_per_stage_decoder"],
        "conv_kernel_sizes": arch["kernel_sizes"],
        "pool_op_kernel_sizes": arch["strides"],
    }
    (folder / "plans.json").write_text(json.dumps(plans))
    card = import_model(folder, "m", tmp_path)[1]
    assert card.config["features"] == [4, 8, 8]


def test_labels_that_overlap_and_images_that_are_turned_are_refused(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "theirs", n_folds=1)
    about = json.loads((folder / "dataset.json").read_text())
    (folder / "dataset.json").write_text(json.dumps({**about, "labels": {"background": 0, "heart": [1, 2], "LV": 2}}))
    with pytest.raises(ValueError, match="regions that overlap"):
        import_model(folder, "m", tmp_path)
    (folder / "dataset.json").write_text(json.dumps(about))
    text = (folder / "plans.json").read_text().replace("SimpleITKIO", "SimpleITKIOWithReorient")
    (folder / "plans.json").write_text(text)
    with pytest.raises(ValueError, match="turns them"):
        import_model(folder, "m", tmp_path)


def test_folders_around_are_searched_and_what_is_no_nnunet_is_refused(tmp_path: Path) -> None:
    write_folder(tmp_path / "results/Dataset007/nnUNetTrainer__nnUNetPlans__2d", n_folds=1)
    assert import_model(tmp_path / "results", "m", tmp_path)[0] == tmp_path / "m"
    write_folder(tmp_path / "results/Dataset008/nnUNetTrainer__nnUNetPlans__2d", n_folds=1)
    with pytest.raises(ValueError, match="holds 2 models; give one of them: Dataset007"):
        import_model(tmp_path / "results", "n", tmp_path)
    with pytest.raises(FileExistsError, match="exists; give another --name"):
        import_model(tmp_path / "results/Dataset007", "m", tmp_path)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        import_model(tmp_path / "nowhere", "n", tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="is none of a folder of nnU-Net v2"):
        import_model(tmp_path / "empty", "n", tmp_path)
    for name in ("../up", "default", "", ".hidden", "a/b"):
        with pytest.raises(ValueError, match="is not one for a new model"):
            import_model(tmp_path / "results/Dataset007", name, tmp_path)


def test_folds_are_the_final_ones_and_the_fold_of_all_stands_in_for_none(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "theirs", n_folds=2)
    (folder / "fold_1/checkpoint_final.pth").rename(folder / "fold_1/checkpoint_best.pth")
    assert import_model(folder, "one", tmp_path)[1].config["n_members"] == 1
    (folder / "fold_0/checkpoint_final.pth").unlink()
    (folder / "fold_0").rmdir()
    assert import_model(folder, "best", tmp_path)[1].config["n_members"] == 1
    (folder / "fold_1").rename(folder / "fold_all")
    assert import_model(folder, "all", tmp_path)[1].config["n_members"] == 1
    (folder / "fold_all/checkpoint_best.pth").unlink()
    with pytest.raises(FileNotFoundError, match="has no fold_"):
        import_model(folder, "none", tmp_path)
