"""The whole of the chain on maps made by hand, and its networks, with their answers made by hand."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

from cmr_models.aif import detection
from cmr_models.contracts import LV, MYOCARDIUM, RV
from cmr_models.perfusion import chain, segmentation
from cmr_models.perfusion.series import FirstPass
from cmr_models.reasons import StudyRejected

TIME_S = 0.5 * np.arange(40)
BLOOD = 5 * (np.clip(TIME_S - 4, 0, None) / 3) ** 3 * np.exp(3 - np.clip(TIME_S - 4, 0, None)) + 0.4 * (TIME_S > 10)


def _ring() -> np.ndarray:
    rows, cols = np.indices((64, 60))
    radius = np.hypot(rows - 31, cols - 29)
    label = np.where(radius < 12, LV, np.where(radius < 21, MYOCARDIUM, 0)).astype(np.uint8)
    label[(radius >= 21) & (radius < 27) & (cols < 17)] = RV
    return label[None]


def _view() -> xr.Dataset:
    return xr.Dataset(
        {
            "intensity": (("frame", "slice", "row", "col"), np.full((40, 1, 64, 60), 300, np.uint16)),
            "pixel_mm": ("axis", np.array([2.0, 1.6])),
            "row_dir": (("slice", "xyz"), np.array([[0.0, 1, 0]])),
            "col_dir": (("slice", "xyz"), np.array([[0.0, 0, -1]])),
        },
        attrs={"slice_mm": 8.0, "inversion_ms": 37.6, "flip_angle_deg": 14.0, "repetition_time_ms": 2.43},
    )


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Measure with maps of one flow but in the lower half of the image; ``status`` by column."""

    def run(above: float, below: float, status: Any = 0, labels: Any = None) -> tuple[chain.Measured, dict[str, Any]]:
        seen: dict[str, Any] = {}

        def quantify(curves: Any, *_: Any, **__: Any) -> xr.Dataset:
            shape = curves.shape[:2]
            flow = np.where(np.arange(shape[0])[:, None] < shape[0] / 2, above, below) * np.ones(shape)
            maps = {name: (("row", "col"), flow / (k + 1)) for k, name in enumerate(chain.QUANTITIES)}
            return xr.Dataset({**maps, "status": (("row", "col"), np.full(shape, status, np.uint8))})

        def correct_motion(view: xr.Dataset, grid: Any) -> tuple[FirstPass, list[str]]:
            seen["grid"] = grid
            return FirstPass(np.moveaxis(view["intensity"].values, 0, -1).astype(np.float32), TIME_S), [
                f"path {k}" for k in range(view.sizes["slice"])
            ]

        def find_input(views: Any, heart: Any, labels: Any, mask: Any, motion: Any, limits: Any, device: str) -> Any:
            seen.update(motion=motion, device=device, mask=mask)
            return BLOOD, labels[0] == LV

        monkeypatch.setattr("cmr_models.perfusion.quantify", quantify)
        monkeypatch.setattr(chain, "correct_motion", correct_motion)
        monkeypatch.setattr(chain, "shared_grid", lambda views: tuple(views))
        monkeypatch.setattr(chain, "ventricle_motion", lambda path, label, pixel_mm: (path, int(label.max())))
        monkeypatch.setattr(chain, "_input", find_input)
        given = _ring() if labels is None else labels
        view = _view().isel(slice=[0] * len(given))
        return chain.measure({"": view}, labels=given, device="cpu"), seen

    return run


def test_what_is_measured_names_its_limits_its_state_and_its_grid(measured: Any) -> None:
    found, seen = measured(2.0, 1.0)
    assert found.maps.attrs["limitations"] == ["level_assumed", "perfusion_no_pd"]
    assert (found.maps.attrs["grid_s"], found.maps.attrs["state"]) == (0.5, "unstated")
    assert found.maps.attrs["pixel_mm"] == [2.0, 1.6]
    assert found.maps.attrs["slices_without_segments"] == [""]
    assert found.maps.attrs["aif"] == found.aif
    assert found.aif["peak_value"] == pytest.approx(5, abs=0.1)
    assert seen == {"grid": ("",), "motion": ("path 0", 3), "device": "cpu", "mask": None}
    flow = found.segments["mbf_ml_min_g"].query("layer == 'all' and pixels > 0").set_index("segment")["median"]
    assert sorted(flow.index) == list(range(7, 13))
    assert flow[7] == 2.0  # mid anterior: above
    assert flow[10] == 1.0  # mid inferior: below
    volume = found.segments["vb_ml_g"].query("layer == 'all' and pixels > 0").set_index("segment")["median"]
    np.testing.assert_allclose(volume, flow / 3, rtol=1e-6)


def test_only_wall_away_from_blood_and_fat_counts_and_motion_is_that_of_the_largest_pool(measured: Any) -> None:
    found, _ = measured(2.0, 1.0)
    wall = np.pad(found.maps["label"].values[0] == MYOCARDIUM, 1)
    inner = wall & wall[[*range(1, 66), 0]] & wall[[65, *range(65)]] & np.roll(wall, 1, 1) & np.roll(wall, -1, 1)
    counted = found.segments["mbf_ml_min_g"].query("layer == 'all'")["pixels"].sum()
    assert counted == inner.sum() < wall.sum()
    empty = np.zeros((64, 60), np.uint8)
    _, seen = measured(2.0, 1.0, labels=np.stack([empty, _ring()[0], empty]))
    assert seen["motion"] == ("path 1", 3)


def test_a_segment_with_the_highest_flow_is_missing_and_flagged(measured: Any) -> None:
    found, _ = measured(8.0, 1.0)
    assert "segment_flow_at_bound" in found.maps.attrs["limitations"]
    flow = found.segments["mbf_ml_min_g"].query("layer == 'all' and pixels > 0").set_index("segment")["median"]
    assert np.isnan(flow[7])
    assert flow[10] == 1.0


@pytest.mark.parametrize(("status", "counted"), [(0, True), (5, True), (7, False), (6, False), (4, False), (1, False)])
def test_pixels_that_were_fitted_or_stand_at_a_bound_count(measured: Any, status: int, counted: bool) -> None:
    found, _ = measured(2.0, 1.0, status)
    assert (found.segments["mbf_ml_min_g"]["pixels"].sum() > 0) == counted


def test_without_a_series_of_the_wall_there_is_nothing_to_measure() -> None:
    with pytest.raises(StudyRejected, match="none of the myocardium") as caught:
        chain.measure({"_aif": _view()})
    assert caught.value.reason == "perfusion_few_frames"


# networks


def test_the_cine_network_sees_the_second_half_of_the_series(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def segment_sax(images: np.ndarray, *, pixel_mm: float, slice_mm: float) -> np.ndarray:
        seen.update(images=images, pixel_mm=pixel_mm, slice_mm=slice_mm)
        return np.full(images.shape, 3)

    monkeypatch.setattr("cmr_models.segmentation.segment_sax", segment_sax)
    signal = np.zeros((2, 3, 4, 7), np.float32)
    signal[..., :3] = 999  # seven frames: the last four count
    signal[0, 1, 2, 3:], signal[1, 0, 0, 3:] = [8, 8, 8, 0], 3
    signal[1, 2, 3, 3:] = -1
    found = chain._label_as_cine(FirstPass(signal, TIME_S[:7]), 1.4, float("nan"))
    assert (found.shape, found.dtype, found.max()) == ((2, 3, 4), np.uint8, 3)
    assert seen["images"].shape == (1, 2, 3, 4)
    assert (seen["images"][0, 0, 1, 2], seen["images"][0, 1, 0, 0], seen["images"].min()) == (4095, 2047, 0)
    assert (seen["pixel_mm"], seen["slice_mm"]) == (1.4, 10.0)
    chain._label_as_cine(FirstPass(signal, TIME_S[:7]), 1.4, 8.0)
    assert seen["slice_mm"] == 8.0


def test_labels_come_from_the_perfusion_network_or_else_the_cine_one_with_a_flag(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    series = FirstPass(np.zeros((2, 20, 20, 12), np.float32), TIME_S[:12])
    asked: list[Any] = []

    def segment(plane: np.ndarray, dt_s: float, pixel_mm: float, *, device: str) -> np.ndarray:
        asked.append((plane.shape, dt_s, pixel_mm, device))
        return np.full((20, 20), len(asked))

    monkeypatch.setattr(segmentation, "segment", segment)
    monkeypatch.setattr(chain, "_segmenter_task", lambda: "perfusion_segment")
    limits: set[str] = set()
    assert chain._label(series, _view(), limits, "cpu")[:, 0, 0].tolist() == [1, 2]
    assert asked == [((20, 20, 12), 0.5, 2.0, "cpu")] * 2
    assert limits == set()
    monkeypatch.setattr(chain, "_segmenter_task", lambda: "segment_sax")
    monkeypatch.setattr(chain, "_label_as_cine", lambda *given: given[1:])
    assert chain._label(series, _view(), limits, "cpu") == (2.0, 8.0)  # type: ignore[comparison-overlap]
    assert limits == {"labels_by_cine_network"}


@pytest.mark.parametrize(
    ("network", "rule", "limits"),
    [([1, 2, 0], [0, 0, 0], set()), ([2, 2, 0], [0, 1, 2], {"aif_fallback"}), ([0, 2, 0], [2, 0, 0], None)],
)
def test_where_the_network_finds_no_left_ventricle_the_rule_is_asked(
    monkeypatch: pytest.MonkeyPatch, network: list[int], rule: list[int], limits: set[str] | None
) -> None:
    answers = {"network": np.array([network]), "rule": np.array([rule])}
    monkeypatch.setattr("cmr_models.aif.detect", lambda _, method="network", **__: answers[method])
    told: set[str] = set()
    if limits is None:
        with pytest.raises(StudyRejected) as caught:
            chain._detect_blood(np.zeros((1, 3, 12), np.float32), told, "cpu")
        assert caught.value.reason == "perfusion_no_bolus"
        return
    mask = chain._detect_blood(np.zeros((1, 3, 12), np.float32), told, "cpu")
    assert mask.tolist() == [[value == 1 for value in (rule if limits else network)]]
    assert told == limits


def _runner(probability: torch.Tensor, weights: list[float], pixel_mm: float = 1.0, bins: int = 4) -> Any:
    seen: list[torch.Tensor] = []
    card = SimpleNamespace(
        pixel_mm=pixel_mm,
        size=probability.shape[-1],
        config={"n_classes": len(weights)},
        training_settings={"class_weight": weights},
    )

    def answer(image: torch.Tensor) -> torch.Tensor:
        seen.append(image)
        return probability.clone()

    return SimpleNamespace(card=card, bins=bins, probabilities=answer, seen=seen)


def _bolus(rows: int, cols: int) -> np.ndarray:
    series = np.full((rows, cols, 30), 20.0, np.float32)
    series[rows // 2 - 3 : rows // 2 + 3, cols // 2 - 3 : cols // 2 + 3, 10:] += 100
    return series


def test_labels_of_a_slice_are_likeliest_after_the_weights_of_training(monkeypatch: pytest.MonkeyPatch) -> None:
    probability = torch.zeros(4, 16, 16)
    probability[0], probability[2, 4:12, 4:12] = 0.5, 0.8
    probability[3, 6:10, 6:10] = 0.85  # more likely than wall, but less so after its weight of 4
    probability[1, 2:4, 2:4] = 0.45  # less likely than background, but more so after a weight of 0.5
    runner = _runner(probability, [1.0, 0.5, 1.0, 4.0], pixel_mm=2.0)
    monkeypatch.setattr(segmentation, "shared_runner", lambda *_: runner)
    found = segmentation.segment(_bolus(40, 48), 0.5, 1.0)  # pixels are half as large as the network's
    assert found.shape == (40, 48)
    assert runner.seen[0].shape == (5, 16, 16)
    assert (found == 3).sum() == 0
    assert 14 * 14 <= (found == 2).sum() <= 18 * 18
    assert 2 * 2 <= (found == 1).sum() <= 6 * 6
    rows, cols = np.nonzero(found == 2)
    assert (rows.mean(), cols.mean()) == pytest.approx((19.5, 23.5), abs=2.1)


def test_small_images_have_eight_pixels_at_least_on_the_networks_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    runner = _runner(torch.ones(4, 8, 8), [1.0] * 4, pixel_mm=6.0)
    monkeypatch.setattr(segmentation, "shared_runner", lambda *_: runner)
    sizes = []
    monkeypatch.setattr(
        segmentation, "heart_crop", lambda frames, *_: (sizes.append(frames.shape), (frames, (0, 0)))[1]
    )
    segmentation.segment(_bolus(30, 90), 0.5, 1.0)
    assert sizes == [(8, 15, 30)]  # 5 by 15


@pytest.mark.parametrize(
    ("dt_s", "pixel_mm", "accepted"),
    [(0.1, 1.0, True), (0.09, 1.0, False), (5.0, 1.0, True), (5.1, 1.0, False), (0.5, 0.3, True), (0.5, 0.29, False),
     (0.5, 6.0, True), (0.5, 6.1, False)],
)  # fmt: skip
def test_intervals_and_pixels_have_limits_that_are_taken(
    monkeypatch: pytest.MonkeyPatch, dt_s: float, pixel_mm: float, accepted: bool
) -> None:
    monkeypatch.setattr(segmentation, "shared_runner", lambda *_: _runner(torch.ones(4, 8, 8), [1.0] * 4))
    if accepted:
        assert segmentation.segment(_bolus(20, 24), dt_s, pixel_mm).shape == (20, 24)
    else:
        with pytest.raises(ValueError, match=r"dt_s is|pixel_mm must"):
            segmentation.segment(_bolus(20, 24), dt_s, pixel_mm)


def test_chambers_of_an_input_are_likeliest_after_the_weights_and_in_one_part(monkeypatch: pytest.MonkeyPatch) -> None:
    probability = torch.zeros(3, 64, 64)
    probability[0] = 0.5
    probability[1, 20:30, 20:30], probability[2, 40:50, 20:30] = 0.9, 0.9
    probability[1, 55:58, 55:58] = 0.6  # a second part, with less
    probability[2, 22:24, 22:24] = 0.95  # within the left chamber; less after its weight of 1.2
    runner = _runner(probability, [1.0, 1.0, 1.2])
    monkeypatch.setattr(detection, "shared_runner", lambda *_: runner)
    found = detection.detect(_bolus(64, 52))
    assert found.shape == (64, 52)
    left, right = np.zeros((64, 52), bool), np.zeros((64, 52), bool)
    left[20:30, 14:24] = right[40:50, 14:24] = True  # six columns of the grid lie beside the image
    np.testing.assert_array_equal(found == 1, left)
    np.testing.assert_array_equal(found == 2, right)
    only = detection.detect(_bolus(64, 52), n_classes=2)
    np.testing.assert_array_equal(only, left.astype(np.uint8))
