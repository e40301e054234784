"""CineMA's segmenter: the same labels as the bare network, on the study's own grid, however long the stack."""

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from published_weights import write_segmenter

from cmr_models import zoo
from cmr_models.cinema import grid
from cmr_models.cinema.network import CinemaNetwork
from cmr_models.cinema.segmentation import CinemaSegmenter, average_windows
from cmr_models.contracts import cine_view
from cmr_models.nets import build
from cmr_models.reasons import StudyRejected
from cmr_models.views.heart_location import crossing_px, find_heart_centre, moving_px
from cmr_models.views.view_images import ViewImages


@pytest.fixture(scope="module")
def sax_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_segmenter(tmp_path_factory.mktemp("hub"), "acdc_sax", "sax")


@pytest.fixture(scope="module")
def lax_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_segmenter(tmp_path_factory.mktemp("hub"), "mnms2_lax_4c", "lax_4c")


def _images(*shape: int) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 900, shape).astype(np.uint16)


def plane_view(position: list[float], row_dir: list[float], col_dir: list[float], n_slices: int = 1) -> xr.Dataset:
    normal = np.cross(row_dir, col_dir)
    return cine_view(
        np.zeros((1, n_slices, 40, 50), np.uint16),
        time_ms=[0.0],
        pixel_mm=(2.0, 2.0),
        position_mm=np.array(position) + 10.0 * np.arange(n_slices)[:, None] * normal,
        row_dir=row_dir,
        col_dir=col_dir,
        slice_mm=10.0,
        thickness_mm=8.0,
    )


def _segmented(segmenter: CinemaSegmenter, scan: ViewImages) -> np.ndarray:
    crops, placed = segmenter.crops(scan)
    return segmenter.labels(segmenter.predict(crops), placed, scan.images.shape)


def test_on_the_networks_own_grid_labels_are_the_argmax_of_the_published_way(sax_model: Path) -> None:
    images = _images(2, 4, 32, 32)
    scan = ViewImages("sax", images, (1.0, 1.0), (0.0, 10.0, 20.0, 30.0))
    labels = _segmented(CinemaSegmenter.load(sax_model, precision="fp32"), scan)
    network, _ = zoo.load(sax_model)
    for frame in range(2):
        volume = images[frame].transpose(2, 1, 0)[None].astype(np.float32)  # x, y, z
        scaled, _ = grid.normalise(volume)
        with torch.inference_mode():
            logits = network({"sax": torch.from_numpy(scaled)[None]})["sax"]
        expected = logits[0].argmax(0).numpy().transpose(2, 1, 0)
        assert (labels[frame] == expected).mean() > 0.999  # a tie may fall either way in half precision


@pytest.mark.parametrize("n_slices", [1, 3, 9, 40])
def test_any_number_of_slices_gets_labels_of_the_same_shape(sax_model: Path, n_slices: int) -> None:
    scan = ViewImages("sax", _images(1, n_slices, 30, 28), (1.3, 1.2), tuple(9.0 * np.arange(n_slices)))
    segmenter = CinemaSegmenter.load(sax_model, precision="fp32", device="cpu")
    crops, placed = segmenter.crops(scan)
    assert crops.shape[1:] == (1, 32, 32, min(round(0.9 * n_slices), 4))  # 9 mm apart, for slices of 10 mm
    labels = segmenter.labels(segmenter.predict(crops), placed, scan.images.shape)
    assert (labels.shape, labels.dtype) == (scan.images.shape, np.uint8)
    assert labels.any()


def test_windows_are_averaged_where_they_overlap() -> None:
    windows = np.ones((2, 1, 1, 1, 4)) * np.array([1.0, 3.0])[:, None, None, None, None]
    assert average_windows(windows, (0, 2), 6)[0, 0, 0].tolist() == [1, 1, 2, 2, 3, 3]


def test_a_four_chamber_image_is_segmented_slice_by_slice(lax_model: Path) -> None:
    scan = ViewImages("lax_4c", _images(3, 2, 30, 40), (1.0, 1.0), (0.0, 9.0))
    labels = _segmented(CinemaSegmenter.load(lax_model, precision="fp32"), scan)
    assert labels.shape == scan.images.shape
    alone = ViewImages("lax_4c", scan.images[1:2, 1:], (1.0, 1.0))
    segmenter = CinemaSegmenter.load(lax_model, precision="fp32")
    _, placed = segmenter.crops(scan)
    frames, _ = grid.normalise(grid.apply(alone.images, placed.grid))
    answer = segmenter.predict(grid.pad(frames[..., 0], (32, 32))[:, None])
    assert np.array_equal(segmenter.labels(answer, placed, (1, 1, 30, 40))[0, 0], labels[1, 1])


def test_bfloat16_keeps_nearly_every_label(sax_model: Path) -> None:
    scan = ViewImages("sax", _images(1, 4, 32, 32), (1.0, 1.0), (0.0, 10.0, 20.0, 30.0))
    full, fast = (CinemaSegmenter.load(sax_model, precision=p) for p in ("fp32", "bf16"))
    crops, _ = full.crops(scan)
    exact, quick = (s.run({"sax": crops})["sax"] for s in (full, fast))
    assert (exact - quick).abs().mean() <= 1e-2 * exact.std()
    assert (exact.argmax(1) == quick.argmax(1)).float().mean() > 0.97


@pytest.mark.parametrize(("size", "seed"), [*(("tiny", seed) for seed in range(5)), ("small", 0), ("small", 1)])
def test_bfloat16_moves_no_logit_by_more_than_a_hundredth(size: str, seed: int) -> None:
    """Networks of random weights, whose logits have a standard deviation of about 0.4."""
    config = {"views": ["sax"], "size": size, "sax_size": [64, 64, 4], "out_chans": 4}
    card = zoo.ModelCard("x", "segment_sax", "ConvUNetR", config, 1.0, 64, preprocessing="cinema", views=("sax",))
    torch.manual_seed(seed)
    network = build("ConvUNetR", **config)
    image = {"sax": np.random.default_rng(seed).random((1, 1, 64, 64, 4), np.float32)}
    full, fast = (CinemaNetwork(copy.deepcopy(network), card, "cpu", p).run(image)["sax"] for p in ("fp32", "bf16"))
    assert (full - fast).abs().max() <= 1e-2
    whole = copy.deepcopy(network).eval().to(torch.bfloat16)
    whole.pred_head_dict.float()  # it is asked in float32
    with torch.inference_mode():
        rounded = whole({"sax": torch.from_numpy(image["sax"]).bfloat16()})["sax"].float()
    assert (full - fast).abs().max() < 0.7 * (full - rounded).abs().max()


def test_what_moves_is_found_and_a_still_image_has_no_motion() -> None:
    images = np.full((8, 1, 80, 100), 50.0)
    for frame in range(8):
        images[frame, 0, 30:46, 52 : 60 + 2 * frame] = 200
    row, col = moving_px(images, (2.0, 2.0)) or (0.0, 0.0)
    assert (row, col) == (pytest.approx(37.5, abs=3), pytest.approx(66, abs=5))
    assert moving_px(np.full((8, 1, 80, 100), 50.0), (2.0, 2.0)) is None
    assert find_heart_centre(np.full((1, 1, 80, 100), 50.0), (2.0, 2.0)).method == "middle"


def test_planes_cross_where_geometry_says() -> None:
    views = {
        "sax": plane_view([0, 0, 0], [1, 0, 0], [0, 1, 0], n_slices=3),
        "lax_4c": plane_view([0, 30, -50], [1, 0, 0], [0, 0, 1]),  # y = 30
        "lax_2c": plane_view([44, 0, -50], [0, 1, 0], [0, 0, 1]),  # x = 44
    }
    assert crossing_px(views, "sax") == pytest.approx((15, 22))  # 2 mm pixels
    assert crossing_px(views, "lax_4c") == pytest.approx((30, 22))  # the stack's middle is z = 10
    assert crossing_px({"sax": views["sax"]}, "sax") is None


def test_a_frame_that_is_one_grey_but_for_a_speck_is_not_judged(sax_model: Path) -> None:
    images = _images(2, 3, 32, 32)
    images[1] = 40
    images[1, :, 5, 5] = 900  # 3 voxels of 3072: beyond the upper percentile
    scan = ViewImages("sax", images, (1.0, 1.0), (0.0, 10.0, 20.0))
    _, placed = CinemaSegmenter.load(sax_model, precision="fp32").crops(scan)
    assert placed.judged(images.shape).tolist() == [[True] * 3, [False] * 3]


def test_two_planes_in_one_place_are_a_reason_to_set_the_study_aside(sax_model: Path) -> None:
    scan = ViewImages("sax", _images(1, 3, 32, 32), (1.0, 1.0), (0.0, 10.0, 10.0))
    with pytest.raises(StudyRejected, match="planes_coincide"):
        CinemaSegmenter.load(sax_model, precision="fp32").crops(scan)


def test_masked_padding_leaves_out_what_only_fills_up_a_short_stack(sax_model: Path) -> None:
    crops = np.random.default_rng(0).random((2, 1, 32, 32, 4), np.float32)
    crops[0, ..., 2:] = 0  # a stack of two slices
    segmenter = CinemaSegmenter.load(sax_model, precision="fp32")
    black = segmenter.predict(crops)
    segmenter.pad("masked")
    masked = segmenter.predict(crops)
    with torch.inference_mode():
        asked = segmenter.network({"sax": torch.from_numpy(crops)}, n_slices=torch.tensor([2, 4]))["sax"]
    np.testing.assert_array_equal(masked, asked.softmax(1).half().numpy())
    assert np.abs(masked[0, ..., :2].astype(float) - black[0, ..., :2]).max() > 1e-3
    np.testing.assert_allclose(masked[1], black[1], atol=2e-3)  # nothing to leave out


def test_a_network_that_cannot_leave_slices_out_is_not_asked_to(sax_model: Path) -> None:
    segmenter = CinemaSegmenter.load(sax_model, precision="fp32")
    with pytest.raises(ValueError, match="'black' or 'masked'"):
        segmenter.pad("mirrored")  # type: ignore[arg-type]
    segmenter.card = replace(segmenter.card, kind="UNet")
    with pytest.raises(ValueError, match="only ConvUNetR can ignore padding"):
        segmenter.pad("masked")
