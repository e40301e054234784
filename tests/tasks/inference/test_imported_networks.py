"""The segment stage with an imported nnU-Net: the labels of ``segment_sax``, however the studies are grouped."""

from pathlib import Path

import numpy as np
import pytest
from foreign_networks import PREPARING, inference, write_bundle
from nnunet_folders import write_folder

from cmr_models.contracts import cine_study, cine_view
from cmr_models.imported.importing import import_model
from cmr_models.segmentation import segment_sax
from tasks.inference.segment_stage import segment_units
from tasks.inference.segmentation import segment_chunk
from tasks.state import store
from tasks.state.ledger import Entry
from tasks.state.store import Cohort
from tasks.state.zarr_encoding import encode_tree

SHAPES = {"1-2": (2, 3, 40, 36), "2-2": (1, 2, 30, 44), "3-2": (3, 1, 32, 32)}


def _view(study: str) -> tuple[np.ndarray, object]:
    images = np.random.default_rng(int(study[0])).integers(1, 800, SHAPES[study]).astype(np.uint16)
    n_frames, n_slices = images.shape[:2]
    return images, cine_view(
        images,
        time_ms=np.arange(n_frames) * 40.0,
        pixel_mm=(1.8, 1.6),
        position_mm=np.arange(n_slices)[:, None] * [0, 0, 9.0],
        row_dir=(1, 0, 0),
        col_dir=(0, 1, 0),
        slice_mm=9.0,
        thickness_mm=8.0,
        frame_valid=None,
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    return import_model(write_folder(folder / "theirs", n_folds=1), "imported", folder)[0]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that wants slices of 9 mm, resampled pixels, and its images cropped to what is not black."""
    spacing = {"_target_": "Spacingd", "keys": "image", "pixdim": [1.5, 1.5, -1]}
    crop = {"_target_": "CropForegroundd", "keys": "image", "source_key": "image", "margin": 1}
    folder = tmp_path_factory.mktemp("models")
    source = write_bundle(folder / "theirs", inference(preparing=(*PREPARING[:2], spacing, crop, *PREPARING[2:])))
    return import_model(source, "imported", folder)[0]


@pytest.mark.parametrize("kind", ["model", "bundle"])
def test_the_stage_stores_what_segment_sax_says(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    model: Path = request.getfixturevalue(kind)
    cohort, entries = Cohort(tmp_path), {}
    for study in SHAPES:
        key = store.digest([study])
        store.publish(encode_tree(cine_study({"sax": _view(study)[1]}, key=key)), cohort.study(study))
        entries[study] = Entry("ok", "", key, key)
    settings = {"model": str(model)}
    outcomes = segment_chunk(segment_units(entries, settings), str(tmp_path), settings)
    assert [outcome.status for outcome in outcomes] == ["ok"] * 3
    for study in SHAPES:
        with store.reading_tree(cohort.prediction("imported", study)) as tree:
            labels = tree["sax"]["label"].values
        assert (labels == segment_sax(_view(study)[0], (1.8, 1.6), 9.0, model=model)).all()
        assert len(np.unique(labels)) > 1


def test_a_network_of_the_two_chamber_view_labels_that_view_alone(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "theirs", n_folds=1, data_set="Dataset101_UKBB_LAX_2CH")
    model = import_model(folder, "two", tmp_path)[0]
    cohort, key = Cohort(tmp_path / "cohort"), store.digest(["3-2"])
    views = {"sax": _view("1-2")[1], "lax_2c": _view("3-2")[1]}
    store.publish(encode_tree(cine_study(views, key=key)), cohort.study("3-2"))
    settings = {"model": str(model)}
    units = segment_units({"3-2": Entry("ok", "", key, key)}, settings)
    assert [outcome.status for outcome in segment_chunk(units, str(cohort.root), settings)] == ["ok"]
    with store.reading_tree(cohort.prediction("two", "3-2")) as tree:
        assert list(tree.children) == ["lax_2c"]
        assert len(np.unique(tree["lax_2c"]["label"].values)) > 1


def test_a_network_that_wants_its_images_turned_sees_them_so(tmp_path: Path) -> None:
    """Rows run to the left and columns to the back, as scanners store them: to the right and front they are flipped."""
    turned = {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"}
    plain = import_model(write_bundle(tmp_path / "a", inference()), "plain", tmp_path)[0]
    asked = import_model(
        write_bundle(tmp_path / "b", inference(preparing=(*PREPARING[:2], turned, *PREPARING[2:]))), "asked", tmp_path
    )[0]
    cohort, key = Cohort(tmp_path / "cohort"), store.digest(["1-2"])
    images, view = _view("1-2")
    store.publish(encode_tree(cine_study({"sax": view}, key=key)), cohort.study("1-2"))
    settings = {"model": str(asked)}
    assert [outcome.status for outcome in segment_chunk(
        segment_units({"1-2": Entry("ok", "", key, key)}, settings), str(cohort.root), settings
    )] == ["ok"]  # fmt: skip
    with store.reading_tree(cohort.prediction("asked", "1-2")) as tree:
        labels = tree["sax"]["label"].values
    flipped = np.ascontiguousarray(images[:, :, ::-1, ::-1])
    assert (labels[:, :, ::-1, ::-1] == segment_sax(flipped, (1.8, 1.6), 9.0, model=plain)).all()
    assert (labels != segment_sax(images, (1.8, 1.6), 9.0, model=plain)).any()
