"""The segment stage with a tiny untrained network: keys, resume, reasons, the same labels however run."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from published_weights import write_segmenter

from cmr_models import zoo
from cmr_models.contracts import VIEW_LABELS, cine_study, cine_view
from cmr_models.nets import build
from cmr_models.segmentation import Segmenter
from tasks.execution import shards
from tasks.inference.segment_stage import SEGMENT, network_digests, segment_units
from tasks.inference.segmentation import load_networks, segment_chunk, segment_with
from tasks.inference.settings import SegmentSettings
from tasks.inference.study_images import _bridge_gaps
from tasks.state import store
from tasks.state.ledger import Entry
from tasks.state.store import Cohort
from tasks.state.zarr_encoding import encode_tree

TINY = {"widths": [4, 6, 8, 8], "blocks": [1, 1, 1, 1], "head_width": 4}


def save_model(folder, seed=1, task="segment_sax", n_classes=4):
    torch.manual_seed(seed)
    config = {**TINY, "n_classes": n_classes}
    card = zoo.ModelCard(Path(folder).name, task, "unet2d", config, pixel_mm=4.0, size=32, licence="CC-BY-NC-4.0")
    zoo.save(folder, build("unet2d", **config), card)
    return str(folder)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("models") / "tiny")


def view_of(seed, n_frames, n_slices, side=40, fill=None, valid=None):
    rng = np.random.default_rng(seed)
    shape = (n_frames, n_slices, side, side)
    images = rng.integers(0, 800, shape).astype(np.uint16) if fill is None else np.full(shape, fill, np.uint16)
    return cine_view(
        images,
        time_ms=np.arange(n_frames) * 40.0,
        pixel_mm=(3, 3),
        position_mm=np.arange(n_slices)[:, None] * [0, 0, 10.0],
        row_dir=(1, 0, 0),
        col_dir=(0, 1, 0),
        slice_mm=10.0,
        thickness_mm=8.0,
        frame_valid=valid,
    )


def put(cohort, study, **views):
    key = store.digest([study, sorted(views)])
    store.publish(encode_tree(cine_study(views, key=key)), cohort.study(study))
    return Entry("ok", "", key, key)


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    """Studies of different lengths, published; with their convert entries."""
    cohort = Cohort(tmp_path_factory.mktemp("studies"))
    entries = {
        f"{i}-2": put(cohort, f"{i}-2", sax=view_of(i, n_frames, n_slices))
        for i, (n_frames, n_slices) in enumerate([(3, 4), (1, 2), (9, 3), (2, 5), (4, 1)])
    }
    return cohort, entries


@pytest.fixture
def cohort(tmp_path, studies):
    """A cohort with those studies and no prediction."""
    (tmp_path / "studies").symlink_to(studies[0].root / "studies")
    return Cohort(tmp_path)


def settings_of(model, batch_images=8):
    return {"model": model, "batch_images": batch_images, "precision": "fp32"}


def run(cohort, units, settings, **kwargs):
    chunks = shards.run(segment_chunk, units, cohort.root, settings, stage=SEGMENT.name, **kwargs)
    return {outcome.study: outcome for chunk in chunks for outcome in chunk}


def files(cohort):
    folder = cohort.root / "predictions"
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*.zarr.zip"))}


@pytest.fixture(scope="module")
def reference(studies, model, tmp_path_factory):
    """The files of one run over everything in one chunk."""
    cohort = Cohort(tmp_path_factory.mktemp("reference"))
    (cohort.root / "studies").symlink_to(studies[0].root / "studies")
    settings = settings_of(model)
    outcomes = run(cohort, segment_units(studies[1], settings), settings)
    assert {o.status for o in outcomes.values()} == {"ok"}
    return files(cohort)


def test_every_frame_of_every_study_gets_labels_on_its_own_grid(cohort, studies, model):
    settings = settings_of(model)
    run(cohort, segment_units(studies[1], settings), settings)
    for study in studies[1]:
        tree = store.load_tree(cohort.prediction("tiny", study))
        images = store.load_tree(cohort.study(study))["sax"]["intensity"]
        label = tree["sax"]["label"]
        assert (label.dims, label.shape, label.dtype) == (images.dims, images.shape, np.uint8)
        assert tree["sax"]["judged"].values.all()
        assert tree.attrs["weights"] == {"sax": zoo.card(model).digest}
        assert tree.attrs["licences"] == {"sax": "CC-BY-NC-4.0"}
    assert any(store.load_tree(cohort.prediction("tiny", s))["sax"]["label"].values.any() for s in studies[1])


@pytest.mark.parametrize("studies_per_chunk", [1, 2])
@pytest.mark.parametrize("seed", [1, 2])
def test_one_chunk_or_many_in_any_order_give_the_same_bytes(cohort, studies, model, reference, studies_per_chunk, seed):
    settings = settings_of(model)
    units = segment_units(studies[1], settings)
    random.Random(seed).shuffle(units)
    run(cohort, units, settings, studies_per_chunk=studies_per_chunk)
    assert files(cohort) == reference


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_dask_cluster_gives_the_same_bytes_as_this_process(cohort, studies, model, reference):
    from tasks.execution.cluster import open_client

    settings = settings_of(model)
    units = segment_units(studies[1], settings)
    with open_client("local", {"workers": 2}) as client:
        outcomes = run(cohort, units, settings, client=client, studies_per_chunk=2)
    assert {o.status for o in outcomes.values()} == {"ok"}
    assert files(cohort) == reference


def test_a_prediction_with_the_right_key_is_left_alone(cohort, studies, model):
    settings = settings_of(model)
    units = segment_units(studies[1], settings)
    first = run(cohort, units, settings)
    inodes = [cohort.prediction("tiny", study).stat().st_ino for study in studies[1]]
    again = run(cohort, units, settings)
    assert [cohort.prediction("tiny", study).stat().st_ino for study in studies[1]] == inodes
    for study, outcome in again.items():
        assert (outcome.status, outcome.key) == ("ok", first[study].key)
        assert outcome.summary["views"] == first[study].summary["views"]
        assert outcome.summary["line"]["images"] == 0


def test_other_weights_replace_every_prediction(cohort, studies, model, tmp_path):
    settings = settings_of(model)
    run(cohort, segment_units(studies[1], settings), settings)
    before = files(cohort)
    other = settings_of(save_model(tmp_path / "other" / "tiny", seed=2))
    run(cohort, segment_units(studies[1], other), other)
    after = files(cohort)
    assert after.keys() == before.keys()
    assert all(after[name] != before[name] for name in before)


def test_the_key_depends_on_study_weights_and_precision_but_not_on_the_batch_size(model, tmp_path):
    other = save_model(tmp_path / "other", seed=2)

    def key(study_key="a", model=model, **settings):
        return segment_units({"1-2": Entry("ok", "", study_key, "")}, {"model": model, **settings})[0]["key"]

    assert key() == key(batch_images=2)
    assert len({key(), key("b"), key(model=other), key(precision="fp32")}) == 4


def test_only_converted_studies_are_planned(model):
    entries = {"1-2": Entry("ok", "", "a", ""), "2-2": Entry("quarantined", "zip_corrupt", "", "")}
    assert [unit["study"] for unit in segment_units(entries, {"model": model})] == ["1-2"]


def test_a_model_that_is_not_there_is_refused_while_planning():
    with pytest.raises(FileNotFoundError, match="give 'default' or 'acdc', or a folder"):
        segment_units({}, {"model": "nowhere"})


@pytest.fixture
def own(tmp_path):
    return Cohort(tmp_path)


def outcome_of(cohort, model, entry):
    settings = settings_of(model)
    return run(cohort, segment_units({"1-2": entry}, settings), settings)["1-2"]


def test_images_without_contrast_are_a_reason(own, model):
    outcome = outcome_of(own, model, put(own, "1-2", sax=view_of(0, 2, 2, fill=7)))
    assert (outcome.status, outcome.reason) == ("quarantined", "image_flat")
    assert store.rejection(own.prediction("tiny", "1-2"))["reason"] == "image_flat"


def test_a_study_without_the_views_of_the_model_is_absent(own, model):
    outcome = outcome_of(own, model, put(own, "1-2", lax_2c=view_of(0, 2, 1)))
    assert (outcome.status, outcome.reason) == ("absent", "model_view_missing")


def test_a_rejection_is_found_again_without_looking_at_the_images(own, model):
    entry = put(own, "1-2", sax=view_of(0, 2, 2, fill=7))
    first = outcome_of(own, model, entry)
    own.study("1-2").unlink()
    again = outcome_of(own, model, entry)
    assert (again.status, again.reason, again.detail) == (first.status, first.reason, first.detail)


def test_a_study_that_changed_since_planning_is_tried_again_later(own, model):
    put(own, "1-2", sax=view_of(0, 2, 2))
    outcome = outcome_of(own, model, Entry("ok", "", "older", "older"))
    assert outcome.reason == "file_unreadable"
    assert store.rejection(own.prediction("tiny", "1-2")) is None


def test_a_torn_study_takes_nobody_with_it(own, model):
    entries = {name: put(own, name, sax=view_of(1, 2, 2)) for name in ("1-2", "2-2", "3-2")}
    path = own.study("2-2")
    path.write_bytes(path.read_bytes()[:-200])
    settings = settings_of(model)
    outcomes = run(own, segment_units(entries, settings), settings)
    assert [o.status for o in outcomes.values()] == ["ok", "quarantined", "ok"]
    assert outcomes["2-2"].reason == "file_unreadable"


def test_a_missing_frame_is_not_judged_and_does_not_touch_its_neighbours(own, model):
    whole = view_of(5, 10, 2)
    valid = np.ones((10, 2), bool)
    valid[4, 1] = False
    holed = whole["intensity"].values.copy()
    holed[4, 1] = 0
    views = {"sax": whole.assign(intensity=(whole["intensity"].dims, holed))}
    views["sax"]["frame_valid"] = (("frame", "slice"), valid)
    outcome = outcome_of(own, model, put(own, "1-2", **views))
    assert outcome.summary["views"] == {"sax": {"images": 20, "unjudged": 1}}
    node = store.load_tree(own.prediction("tiny", "1-2"))["sax"]
    assert list(np.argwhere(~node["judged"].values)[0]) == [4, 1]
    assert not node["label"].values[4, 1].any()


def test_a_hole_is_bridged_by_the_nearest_frame_of_the_same_plane():
    images = np.arange(12, dtype=np.uint16).reshape(6, 2, 1, 1)
    judged = np.ones((6, 2), bool)
    judged[[0, 3], 1] = False
    bridged = _bridge_gaps(images, judged)[:, :, 0, 0]
    assert bridged[:, 0].tolist() == [0, 2, 4, 6, 8, 10]
    assert bridged[:, 1].tolist() == [3, 3, 5, 5, 9, 11]


def test_each_view_goes_through_its_own_network(own, model, tmp_path):
    long_axis = save_model(tmp_path / "lax", seed=3, task="segment_lax_4c", n_classes=6)
    networks = {
        "sax": Segmenter.load(model, "segment_sax", precision="fp32"),
        "lax_4c": Segmenter.load(long_axis, "segment_lax_4c", precision="fp32"),
    }
    entries = {
        "1-2": put(own, "1-2", sax=view_of(1, 2, 3), lax_4c=view_of(2, 3, 1)),
        "2-2": put(own, "2-2", lax_4c=view_of(3, 3, 1)),
    }
    settings = SegmentSettings(**settings_of(model))
    units = [{"study": s, "key": f"k{s}", "study_key": e.key} for s, e in entries.items()]
    outcomes = segment_with(networks, units, own, settings)
    assert [sorted(o.summary["views"]) for o in outcomes] == [["lax_4c", "sax"], ["lax_4c"]]
    assert [o.status for o in outcomes] == ["ok", "ok"]
    assert store.load_tree(own.prediction("tiny", "2-2"))["lax_4c"]["label"].shape == (3, 1, 40, 40)


def test_one_network_segments_every_long_axis_view(own, tmp_path):
    model = save_model(tmp_path / "long", seed=3, task="segment_lax", n_classes=7)
    views = ("lax_2c", "lax_3c", "lax_4c")
    assert network_digests(model) == dict.fromkeys(views, zoo.card(model).network_digest)
    entry = put(own, "1-2", **{view: view_of(k, 3, 1) for k, view in enumerate(views)})
    settings = SegmentSettings(**settings_of(model))
    units = [{"study": "1-2", "key": "k", "study_key": entry.key}]
    (outcome,) = segment_with(load_networks(settings), units, own, settings)
    assert sorted(outcome.summary["views"]) == list(views)
    tree = store.load_tree(own.prediction("long", "1-2"))
    for view in views:
        assert set(np.unique(tree[view]["label"])) <= {0, *VIEW_LABELS[view]}


def test_throughput_is_reported_by_study_and_in_one_line_without_identifiers(own, model, caplog):
    entry = put(own, "1-2", sax=view_of(1, 4, 4))
    with caplog.at_level("INFO", logger="cmr_cohort"):
        outcome = outcome_of(own, model, entry)
    line = outcome.summary["line"]
    assert line["images"] == 16
    assert min(line["read"], line["compute"], line["write"], line["wall"]) > 0
    assert "images/s" in caplog.text
    assert "1-2" not in caplog.text


@pytest.fixture(scope="module")
def cinema(tmp_path_factory):
    """Published weights, laid out like the hub's: the short axis."""
    return str(write_segmenter(tmp_path_factory.mktemp("hub"), "acdc_sax", "sax"))


def test_a_cinema_model_segments_every_study_on_its_own_grid(cohort, studies, cinema):
    settings = settings_of(cinema)
    units = segment_units(studies[1], settings)
    outcomes = run(cohort, units, settings, studies_per_chunk=8)
    assert {o.status for o in outcomes.values()} == {"ok"}
    for study in studies[1]:
        tree = store.load_tree(cohort.prediction("acdc_sax", study))
        assert tree["sax"]["label"].shape == store.load_tree(cohort.study(study))["sax"]["intensity"].shape
        assert tree.attrs["weights"] == {"sax": zoo.card(cinema).digest}
        assert tree.attrs["grids"]["sax"]["plane_mm"]
    whole = files(cohort)
    for path in (cohort.root / "predictions").rglob("*.zarr.zip"):
        path.unlink()
    run(cohort, units[::-1], settings, studies_per_chunk=2)
    assert files(cohort) == whole


def test_a_cinema_model_says_why_a_study_has_no_labels(tmp_path, cinema):
    cohort = Cohort(tmp_path)
    entries = {
        "flat-2": put(cohort, "flat-2", sax=view_of(1, 2, 3, fill=7)),
        "lax-2": put(cohort, "lax-2", lax_4c=view_of(2, 2, 1)),
        "one-2": put(cohort, "one-2", sax=view_of(3, 1, 1)),
        "forty-2": put(cohort, "forty-2", sax=view_of(4, 1, 40)),
    }
    settings = settings_of(cinema)
    outcomes = run(cohort, segment_units(entries, settings), settings)
    assert {study: (o.status, o.reason) for study, o in outcomes.items()} == {
        "flat-2": ("quarantined", "image_flat"),
        "lax-2": ("absent", "model_view_missing"),
        "one-2": ("ok", ""),
        "forty-2": ("ok", ""),
    }


def test_padding_is_part_of_the_key_only_where_it_is_not_the_published_one(studies, model):
    def keys(**padding):
        return [unit["key"] for unit in segment_units(studies[1], settings_of(model) | padding)]

    assert keys() == keys(padding="black")
    assert not set(keys()) & set(keys(padding="masked"))
