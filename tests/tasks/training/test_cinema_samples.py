"""What a study teaches: drawn labels and landmarks on the network's grid, windows of deep stacks, inference's box."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from cmr_models import zoo
from cmr_models.cinema import grid, placement
from cmr_models.cinema.network import CinemaNetwork
from cmr_models.contracts import cine_study, cine_view, prediction
from cmr_models.nets import build
from tasks.state import store
from tasks.state.zarr_encoding import encode_tree
from tasks.training.cinema_samples import StudySamples, read_view_images
from tasks.training.cinema_settings import FinetuningSettings

CONFIG = {"size": "tiny", "sax_size": [32, 32, 4], "lax_size": [32, 32], "enc_conv_chans": [8, 8]}
SEGMENT = FinetuningSettings(
    task="segment_sax", kind="ConvUNetR", config=CONFIG | {"dec_chans": [8] * 5}, classes=("background", "lv")
)
LANDMARKS = FinetuningSettings(
    task="landmark_heatmap", kind="ConvUNetR", config=CONFIG | {"dec_chans": [8] * 5}, views=("lax_2c",),
    classes=("a", "b"),
)  # fmt: skip
ROW = pd.DataFrame({"study": ["a-2"], "split": ["train"]})


def _view(n_slices: int, n_frames: int = 3) -> xr.Dataset:
    """A view of which every slice is brighter than the one before."""
    images = np.random.default_rng(0).integers(0, 99, (n_frames, n_slices, 36, 36))
    return cine_view(
        (images + 100 * np.arange(n_slices)[:, None, None]).astype(np.uint16),
        time_ms=40.0 * np.arange(n_frames), pixel_mm=(1, 1), position_mm=np.arange(n_slices)[:, None] * [0, 0, 10.0],
        row_dir=(1, 0, 0), col_dir=(0, 1, 0), slice_mm=10.0, thickness_mm=8.0,
    )  # fmt: skip


def _labels(n_slices: int) -> np.ndarray:
    """In frame 1 alone, the left ventricle: of slice k the first k + 4 columns."""
    labels = np.zeros((3, n_slices, 36, 36), np.uint8)
    for k in range(n_slices):
        labels[1, k, :, : k + 4] = 1
    return labels


Put = Callable[..., store.Cohort]


@pytest.fixture
def put(tmp_path: Path) -> Put:
    """Publishes one study, and what a model said of it."""

    def publish(views: dict[str, Any], said: xr.DataTree | None = None) -> store.Cohort:
        place = store.Cohort(tmp_path)
        store.publish(encode_tree(cine_study(views, key="k")), place.study("a-2"))
        if said is not None:
            store.publish(encode_tree(said), place.prediction("teacher", "a-2"))
        return place

    return publish


def _drawn(labels: np.ndarray) -> xr.Dataset:
    view = _view(labels.shape[1])
    return view.assign(labels=(view["intensity"].dims, labels))


@pytest.mark.parametrize("source", ["", "teacher"])
def test_labels_are_learned_where_they_are_drawn_or_said(put: Put, source: str) -> None:
    labels = _labels(4)
    place = put({"sax": _drawn(labels)}) if source == "" else put({"sax": _view(4)}, prediction({"sax": labels}))
    sample = StudySamples(place, ROW, SEGMENT, "", source).sample(0, np.random.default_rng(0))
    assert sample.images["sax"].shape == (1, 32, 32, 4)
    columns = sample.target[:, 16].sum(axis=0)  # x runs along a row
    start = 4 - columns[0]
    np.testing.assert_array_equal(columns, np.arange(4, 8) - start)
    assert set(np.unique(sample.target)) == {0, 1}


def test_labels_in_a_node_of_their_own_are_found(put: Put) -> None:
    view = _view(4)
    labels = xr.Dataset({"label": (view["intensity"].dims, _labels(4))})
    said = xr.DataTree.from_dict({"/sax": xr.Dataset(), "/sax/labels": labels})
    samples = StudySamples(put({"sax": view}, said), ROW, SEGMENT, "", "teacher")
    assert samples.sample(0, np.random.default_rng(0)).target.any()


def test_a_frame_in_which_nothing_is_drawn_is_refused(put: Put) -> None:
    samples = StudySamples(put({"sax": _drawn(_labels(4))}), ROW.assign(frame=0), SEGMENT, "")
    with pytest.raises(ValueError, match=r"frame 0 of a study has no labels, only \[1\]"):
        samples.sample(0, np.random.default_rng(0))


def test_images_that_could_not_be_judged_teach_nothing(put: Put) -> None:
    judged = np.ones((3, 4), bool)
    judged[1, 2] = False
    place = put({"sax": _view(4)}, prediction({"sax": _labels(4)}, {"sax": judged}))
    with pytest.raises(ValueError, match="no frame with a complete drawing"):
        StudySamples(place, ROW, SEGMENT, "", "teacher").sample(0, np.random.default_rng(0))


def test_of_a_deep_stack_every_slice_is_learned_with_its_own_labels(put: Put) -> None:
    samples = StudySamples(put({"sax": _drawn(_labels(9))}), ROW, SEGMENT, "")
    firsts = set()
    for seed in range(40):
        sample = samples.sample(0, np.random.default_rng(seed))
        columns = sample.target[:, 16].sum(axis=0)
        np.testing.assert_array_equal(np.diff(columns), 1)
        brightness = sample.images["sax"][0].mean(axis=(0, 1))
        assert (np.diff(brightness) > 0).all()
        firsts.add(int(columns[0]))
    assert len(firsts) == 6  # windows of 4 in 9 slices


def test_landmarks_are_read_from_the_study(put: Put) -> None:
    points = np.full((3, 2, 2), np.nan)
    points[2] = [[10, 12], [20, 25]]
    view = _view(1).assign(landmark_px=(("frame", "point", "axis"), points))
    samples = StudySamples(put({"lax_2c": view}), ROW, LANDMARKS, "")
    first, second = samples.sample(0, np.random.default_rng(0)).target
    np.testing.assert_allclose(second - first, [13, 10])  # (x, y): columns first


def test_training_and_inference_put_the_box_in_the_same_place(put: Put) -> None:
    place = put({"sax": _view(4)})
    samples = StudySamples(place, ROW, FinetuningSettings(task="pretrain", kind="CineMA", config=CONFIG), "")
    view_images = read_view_images(place.study("a-2"), ("sax",))["sax"]
    config = CONFIG | {"views": ["sax"]}
    card = zoo.ModelCard("x", "pretrain", "CineMA", config, pixel_mm=1.0, size=32, preprocessing="cinema")
    network = CinemaNetwork(build("CineMA", **config), card, device="cpu", precision="fp32")
    assert samples._place("a-2", view_images) == network.place(view_images)[0]


def test_the_heart_is_looked_for_once_a_study(put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def counted(view_images: Any) -> Any:
        asked.append(view_images.view)
        return placement.centre_in_view(view_images)

    monkeypatch.setattr("tasks.training.cinema_samples.centre_in_view", counted)
    samples = StudySamples(put({"sax": _drawn(_labels(4))}), ROW, SEGMENT, "")
    first, second = (samples.sample(0, np.random.default_rng(1)) for _ in range(2))
    np.testing.assert_array_equal(first.images["sax"], second.images["sax"])
    assert asked == ["sax"]


def test_the_pixel_of_the_recipe_is_the_pixel_of_the_grid(put: Put) -> None:
    settings = FinetuningSettings(task="pretrain", kind="CineMA", config=CONFIG, pixel_mm=2.0)
    place = put({"sax": _view(4)})
    view_images = read_view_images(place.study("a-2"), ("sax",))["sax"]
    placed = StudySamples(place, ROW, settings, "")._place("a-2", view_images)
    assert (placed.spacing_mm, placed.shape) == (2.0, (18, 18, 4))
    assert grid.apply(view_images.images[:1], placed).shape == (1, 18, 18, 4)
