"""Steps of the chain from a series to maps, each on labels of a few pixels."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import xarray as xr

from cmr_models import aha
from cmr_models.contracts import LV, MYOCARDIUM, RV
from cmr_models.perfusion import chain
from cmr_models.perfusion.contrast import Contrast
from cmr_models.perfusion.motion import Motion
from cmr_models.perfusion.series import FirstPass
from cmr_models.perfusion.signal.gadolinium import ARTERIAL_FLASH, MYOCARDIAL_FLASH, signal
from cmr_models.perfusion.signal.gadolinium import BLOOD as BLOOD_AT
from cmr_models.reasons import StudyRejected


def view_of(n: int = 1, row_dir: Any = (1, 0, 0), col_dir: Any = (0, 0, -1), pixel_mm: Any = (2.0, 1.5)) -> xr.Dataset:
    return xr.Dataset(
        {
            "pixel_mm": ("axis", np.array(pixel_mm)),
            "row_dir": (("slice", "xyz"), np.tile(np.array(row_dir, float), (n, 1))),
            "col_dir": (("slice", "xyz"), np.tile(np.array(col_dir, float), (n, 1))),
        }
    )


def test_the_anterior_wall_faces_the_front_and_the_head() -> None:
    # coronal: columns run along the patient's left, rows down the body; the head is up
    rows, cols = chain._anterior_px(view_of(), 0)
    assert (rows, cols) == pytest.approx((-1 / math.sqrt(2) / 2.0, 0))
    # sagittal: columns run to the back, rows down: the wall is up and in front, in pixels of 2 by 1.5 mm
    rows, cols = chain._anterior_px(view_of(row_dir=(0, 1, 0)), 0)
    assert (rows, cols) == pytest.approx((-1 / math.sqrt(2) / 2.0, -1 / math.sqrt(2) / 1.5))
    two = view_of(2)
    two["col_dir"].values[1] = [0, 1, 0]
    assert chain._anterior_px(two, 1)[0] == pytest.approx(-1 / math.sqrt(2) / 2.0)


def test_the_input_is_taken_in_the_slice_with_the_largest_pool_inside_it() -> None:
    labels = np.zeros((3, 20, 22), np.uint8)
    labels[0, 5:9, 5:9], labels[1, 4:13, 6:14], labels[2, 4:13, 6:13] = LV, LV, LV
    labels[1, 0, 0:15] = RV
    assert chain._pool_slice(labels) == 1
    inside = chain._pool(labels)  # nine by eight: two pixels off each side are five by four
    assert np.argwhere(inside).min(axis=0).tolist() == [6, 8]
    assert inside.sum() == 20
    labels[1, 12] = labels[1, :, 13] = 0  # eight by seven: four by three would be left, which is fewer than 15
    assert chain._pool_slice(labels) == 2  # nine by seven
    np.testing.assert_array_equal(chain._pool(labels).sum(), 15)
    labels[2, 12] = 0
    np.testing.assert_array_equal(chain._pool(labels), labels[chain._pool_slice(labels)] == LV)
    with pytest.raises(StudyRejected) as caught:
        chain._pool(np.zeros_like(labels))
    assert caught.value.reason == "perfusion_no_heart"


_CURVE = np.r_[np.full(20, 0.0), 1.0, 2, 3, 4, 5, 4, 3, 2, 1, 0.5, 0.4, np.full(20, 0.5)]


def test_an_input_without_a_bolus_or_too_low_is_refused_and_other_gates_are_told() -> None:
    limits: set[str] = set()
    found = chain._check_input(_CURVE, limits)
    assert found["peak_value"] == pytest.approx(5, abs=0.1)
    assert limits == set()
    chain._check_input(_CURVE / 10, limits)
    assert limits == {"aif_peak_low"}
    chain._check_input(_CURVE * 3, limits)
    assert limits == {"aif_peak_low", "aif_peak_high"}
    for curve in (_CURVE * 0.019, np.ones(50)):
        with pytest.raises(StudyRejected) as caught:
            chain._check_input(curve, limits)
        assert caught.value.reason == "perfusion_no_bolus"
    assert chain._check_input(_CURVE * 0.021, limits)["peak_value"] == pytest.approx(0.105, abs=0.003)


@pytest.mark.parametrize(("foot_s", "frames"), [(9.9, 19), (10.0, 20), (0.4, 1), (0.0, 1)])
def test_the_baseline_is_what_lies_before_the_foot_in_half_seconds(foot_s: float, frames: int) -> None:
    assert chain._baseline_frames({"foot_s": foot_s}) == frames


def test_the_region_is_the_left_ventricle_of_all_slices_with_a_margin() -> None:
    labels = np.zeros((2, 30, 40), np.uint8)
    labels[0, 10:14, 20:25], labels[1, 12:17, 18:20], labels[0, 0:3, 0:40] = MYOCARDIUM, LV, RV
    assert chain._region(labels, 3) == (slice(7, 20), slice(15, 28))
    assert chain._region(labels, 12) == (slice(0, 29), slice(6, 37))


def _ring(pool: float = 10.0, rv: bool = True) -> np.ndarray:
    """A pool of this radius in a wall of half of it, and a right ventricle to its left."""
    rows, cols = np.indices((81, 81)) - 40
    radius = np.hypot(rows, cols) / pool
    label = np.where(radius < 1, LV, np.where(radius < 2, MYOCARDIUM, 0)).astype(np.uint8)
    if rv:
        label[(radius >= 2) & (radius < 3) & (cols < -pool)] = RV
    return label


def test_segments_are_of_levels_by_labels_and_say_what_is_doubtful() -> None:
    limits: set[str] = set()
    found = chain._segments(_ring()[None], view_of(), limits)
    assert limits == {"level_assumed"}
    assert set(np.unique(found.segment)) == {0, *range(7, 13)}
    limits = set()
    stack = np.stack([_ring()] * 3)
    assert {int(plane.max()) for plane in chain._segments(stack, view_of(3), limits).segment} == {6, 12, 16}
    assert limits == set()
    upside_down = chain._segments(np.stack([_ring(7.0), _ring(), _ring(11.0)]), view_of(3), limits)
    assert limits == {"stack_order_doubtful"}
    assert [int(plane.max()) for plane in upside_down.segment] == [16, 12, 6]
    with pytest.raises(StudyRejected, match="rv_empty") as caught:
        chain._segments(_ring(rv=False)[None], view_of(), limits)
    assert caught.value.reason == "perfusion_no_heart"


def test_the_curve_of_a_segment_is_the_mean_of_its_pixels() -> None:
    segment = np.array([[[1, 1, 16, 0]]], np.uint8)
    values = np.array([[[[1.0, 2], [3, 6], [5, 5], [99, 99]]]])
    found = chain._segment_curves(Contrast(values, frozenset()), aha.Segments(segment, np.ones_like(segment), ("",)))
    assert found[0].tolist() == [2, 4]
    assert found[15].tolist() == [5, 5]
    assert np.isnan(found[1:15]).all()
    assert found.shape == (16, 2)


def test_the_file_counts_time_from_its_own_first_frame() -> None:
    labels = _ring()[None]
    found = aha.segments(labels)
    heart = FirstPass(np.zeros((1, 81, 81, 3), np.float32), np.array([2.5, 3.0, 3.5]))
    curves = np.zeros((16, 3), np.float32)
    maps: dict[str, xr.DataArray] = {}
    dataset = chain._dataset(maps, labels, found, labels[0] == LV, heart, np.array([0.0, 1, 2]), curves)
    assert dataset["time_s"].values.tolist() == [0, 0.5, 1]
    assert dataset["aif_mmol_l"].values.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(dataset["label"], labels)
    np.testing.assert_array_equal(dataset["layer"], found.layer)
    np.testing.assert_array_equal(dataset["segment"], found.segment)
    assert int(dataset["aif_mask"].sum()) == int((labels == LV).sum())


def test_maps_are_fitted_slice_by_slice_around_the_heart_and_put_in_their_place(monkeypatch: Any) -> None:
    labels = np.zeros((2, 40, 50), np.uint8)
    labels[0, 15:20, 20:26], labels[0, 16:18, 22:24] = MYOCARDIUM, LV
    labels[1, 15:19, 20:26] = MYOCARDIUM
    curves = np.random.default_rng(0).random((2, 40, 50, 6))
    seen: list[dict[str, Any]] = []

    def quantify(tissue: Any, aif: Any, dt_s: float, **given: Any) -> xr.Dataset:
        seen.append({"tissue": tissue, "aif": aif, "dt_s": dt_s, **given})
        fill = {name: (("row", "col"), np.full(tissue.shape[:2], 1.0 + len(seen))) for name in chain.QUANTITIES}
        return xr.Dataset({**fill, "status": (("row", "col"), np.full(tissue.shape[:2], len(seen), np.uint8))})

    monkeypatch.setattr("cmr_models.perfusion.quantify", quantify)
    blood = np.arange(6.0)
    tissue = Contrast(curves, frozenset())
    maps = chain._maps(tissue, blood, labels, view_of(pixel_mm=(2.1, 1.5)), {"foot_s": 1.6}, "cpu")
    rows, cols = slice(11, 24), slice(16, 30)  # 8 mm are four pixels of 2.1 mm
    np.testing.assert_array_equal(seen[1]["tissue"], curves[1, rows, cols])
    assert [(one["foot"], one["dt_s"], one["device"]) for one in seen] == [(3, 0.5, "cpu")] * 2
    assert seen[0]["aif"] is blood
    near = seen[0]["mask"]
    assert near[4, 0]  # four pixels to the left of the wall's first row
    assert not near[2, 0]  # two rows up are six steps away
    np.testing.assert_array_equal(
        seen[1]["wall"], (labels[1] == MYOCARDIUM)[rows, cols]
    )  # a wall of 24 pixels is whole
    for k in (0, 1):
        flow = maps["mbf_ml_min_g"].values[k]
        assert (flow[rows, cols] == 2 + k).all()
        assert np.isfinite(flow).sum() == 13 * 14
        assert (maps["status"].values[k] == 255).sum() == 40 * 50 - 13 * 14
    assert set(maps) == {*chain.QUANTITIES, "status"}


# the arterial input

BLOOD = np.r_[np.zeros(6), 0.5, 2.0, 4.0, 3.0, 1.5, 0.8, np.full(9, 0.5)]  # mmol/L, a beat a second
FLASH = {"inversion_ms": 5.0, "flip_angle_deg": 5.0, "repetition_time_ms": 2.12, "field_strength_t": 1.5}


def _series(sequence: Any, headers: Mapping[str, float], inside: np.ndarray) -> xr.Dataset:
    """A slice whose blood has this course where ``inside``, under an even coil; 0 elsewhere."""
    ratio = signal(BLOOD, sequence, BLOOD_AT[1.5])
    images = np.where(inside, 5000 * ratio[:, None, None], 100)[:, None]
    view = view_of(pixel_mm=(2.0, 2.0), col_dir=(0, 1, 0)).assign(
        intensity=(("frame", "slice", "row", "col"), np.asarray(np.rint(images), np.uint16)),
        acquired_ms=(("frame", "slice"), 1000.0 * np.arange(BLOOD.size)[:, None]),
        frame_valid=(("frame", "slice"), np.ones((BLOOD.size, 1), bool)),
    )
    return view.assign_attrs(timed_by="clock", start_ms=0.0, **headers)


def _density(inside: np.ndarray) -> xr.Dataset:
    values = np.where(inside, 5000, 100).astype(np.uint16)
    return (
        _series(ARTERIAL_FLASH, FLASH, inside)
        .isel(frame=[0])
        .assign(intensity=(("frame", "slice", "row", "col"), values[None, None]))
    )


def test_the_input_comes_from_its_own_series_or_else_from_the_pool_of_the_hearts() -> None:
    labels = _ring()[None, 20:61, 20:61]
    pool = labels[0] == LV
    grid = np.arange(0, 20.1, 0.5)
    expected = np.interp(grid, np.arange(BLOOD.size), BLOOD)
    still = Motion(np.zeros((2, BLOOD.size)), np.arange(BLOOD.size) * 1.0)
    own = {
        "": _series(MYOCARDIAL_FLASH, {}, pool),
        "_aif": _series(ARTERIAL_FLASH, FLASH, pool),
        "_aif_pd": _density(pool),
    }
    heart = FirstPass(np.zeros((1, 41, 41, grid.size), np.float32), grid)
    limits: set[str] = set()
    blood, mask = chain._input(own, heart, labels, pool, still, limits, "cpu")
    np.testing.assert_allclose(blood, expected, atol=0.08)
    assert mask is pool
    assert limits == set()
    alone = {"": _series(MYOCARDIAL_FLASH, {}, pool), "_pd": _density(pool)}
    ratio = np.interp(grid, np.arange(BLOOD.size), signal(BLOOD, MYOCARDIAL_FLASH, BLOOD_AT[1.5]))
    heart = FirstPass(np.asarray(np.where(pool[..., None], 5000 * ratio, 100), np.float32)[None], grid)
    blood, mask = chain._input(alone, heart, labels, None, still, limits, "cpu")
    whole = slice(0, None, 2)  # between beats the signal is mixed, not the concentration
    np.testing.assert_allclose(blood[whole], expected[whole], atol=0.02)
    np.testing.assert_array_equal(mask, chain._pool(labels))
    assert limits == {"aif_single_sequence", "sequence_assumed"}
