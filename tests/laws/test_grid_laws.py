"""Laws of the network's grid: there and back changes nothing; positions, sizes and intensities as published."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmr_models.cinema import grid
from cmr_models.cinema.grid import apply, apply_labels, normalise, pad, place, restore, sample_back, to_network_xy

PIXEL = st.floats(0.6, 2.4)
SLICE = st.floats(4.0, 18.0)


def _one_hot(labels: np.ndarray) -> np.ndarray:
    return np.moveaxis(np.eye(4, dtype=np.float32)[labels], -1, 0)


@pytest.mark.parametrize("n_slices", [1, 2, 11, 40])
def test_labels_of_a_study_on_the_networks_own_spacing_come_back_exactly(n_slices: int) -> None:
    labels = np.random.default_rng(n_slices).integers(0, 4, (1, n_slices, 150, 170)).astype(np.uint8)
    there = place((150, 170), (1.0, 1.0), (75, 85), 10.0 * np.arange(n_slices))
    assert there.shape == (170, 150, n_slices)
    back = restore(_one_hot(apply_labels(labels, there)[0]), there, (150, 170))
    assert np.array_equal(back, labels[0])


@settings(max_examples=40, deadline=None)
@given(PIXEL, PIXEL, SLICE, st.integers(2, 14), st.booleans(), st.integers(0, 2**31))
def test_a_linear_function_of_position_survives_the_way_there_and_back(
    row_mm: float, col_mm: float, slice_mm: float, n_slices: int, reverse: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    offset = slice_mm * np.arange(n_slices) * (-1 if reverse else 1)
    shape = (int(rng.integers(40, 90)), int(rng.integers(40, 90)))
    a, b, c = rng.normal(size=3)
    z, row, col = np.meshgrid(offset, row_mm * np.arange(shape[0]), col_mm * np.arange(shape[1]), indexing="ij")
    image = (a * row + b * col + c * z)[None].astype(np.float32)
    centre = (float(rng.uniform(0, shape[0])), float(rng.uniform(0, shape[1])))
    there = place(shape, (row_mm, col_mm), centre, offset, box=(64, 48))
    back, (rows, cols) = sample_back(apply(image, there)[:1], there, shape)
    met = [mm for mm in there.plane_mm if offset.min() <= mm <= offset.max()]  # beyond, the nearest slice stands in
    between = (offset >= min(met, default=np.inf)) & (offset <= max(met, default=-np.inf))
    inner = (slice(None), between, slice(3, -3), slice(3, -3))
    expected = image[0][:, rows, cols][None]
    np.testing.assert_allclose(back[inner], expected[inner], atol=2e-3 + 1e-4 * float(np.abs(image).max()))


@settings(max_examples=40, deadline=None)
@given(PIXEL, PIXEL, st.tuples(st.floats(0, 200), st.floats(0, 200)))
def test_a_point_comes_back_to_its_pixel(row_mm: float, col_mm: float, point: tuple[float, float]) -> None:
    there = place((220, 200), (row_mm, col_mm), (110, 100), box=grid.LAX_SIZE)
    np.testing.assert_allclose(grid.to_study_px(to_network_xy(point, there), there), point, atol=1e-9)


def test_a_bright_pixel_lies_where_its_point_says() -> None:
    image = np.zeros((1, 1, 90, 120))
    image[0, 0, 40, 70] = 1.0
    there = place((90, 120), (2.0, 1.5), (45, 60), box=(256, 256))
    seen = apply(image, there)[0, :, :, 0]
    x, y = to_network_xy((40, 70), there)
    centre = [(seen.sum(1 - axis) * np.arange(seen.shape[axis])).sum() / seen.sum() for axis in (0, 1)]
    np.testing.assert_allclose(centre, (x, y), atol=0.05)  # a pixel of 1.5 mm sampled every 1 mm


def test_resampled_sizes_are_those_of_the_published_rule() -> None:
    there = place((208, 256), (1.406, 1.406), (104, 128), 17.7 * np.arange(6), box=(1000, 1000))
    assert there.shape == (360, 292, 11)  # 256 x 1.406, 208 x 1.406, 6 x 17.7 / 10, rounded
    assert there.plane_mm[0] == pytest.approx(-3.85)  # (10 - 17.7) / 2


def test_the_box_stays_inside_a_large_image_and_a_small_one_is_padded_at_the_end() -> None:
    corner = place((300, 300), (1.0, 1.0), (2.0, 299.0), box=(192, 192))
    assert (corner.start, corner.size) == ((108, 0), (192, 192))
    small = place((100, 120), (1.0, 1.0), (50, 60), box=(192, 192))
    assert (small.start, small.size) == ((0, 0), (120, 100))
    assert pad(np.ones((1, *small.shape), np.float32), grid.SAX_SIZE).shape == (1, 192, 192, 16)


def test_intensity_runs_from_percentile_to_percentile_in_255_steps_for_each_frame() -> None:
    ramp = np.arange(1000, dtype=np.float32).reshape(1, 10, 10, 10)
    seen, has_contrast = normalise(np.concatenate([ramp, 7 * ramp + 3]))
    low, high = 9.4905, 994.005  # linear percentiles 0.95 and 99.5 of 0..999
    by_hand = np.floor(np.clip((ramp - low) / (high - low), 0, 1) * 255) / 255
    np.testing.assert_allclose(seen[0], by_hand[0], atol=1e-6)
    np.testing.assert_allclose(seen[1], by_hand[0], atol=1 / 255 + 1e-6)
    assert has_contrast.all()


def test_a_frame_without_contrast_says_so_and_is_black() -> None:
    frames = np.stack([np.full((4, 4, 2), 9.0), np.arange(32.0).reshape(4, 4, 2)]).astype(np.float32)
    seen, has_contrast = normalise(frames)
    assert has_contrast.tolist() == [False, True]
    assert not seen[0].any()


def test_values_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="1 values that are not finite"):
        normalise(np.array([[[[0.0, np.nan]]]], np.float32))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pixel_mm": (0.0, 1.0)}, "positive size"),
        ({"pixel_mm": (float("nan"), 1.0)}, "positive size"),
        ({"shape": (0, 4)}, "positive size"),
        ({"centre_px": (float("inf"), 1.0)}, "must be finite"),
        ({"offset_mm": [0.0, float("nan")]}, "finite positions"),
        ({"offset_mm": [0.0, 10.0, 10.0]}, "two slices have the same position"),
    ],
)
def test_a_grid_that_cannot_be_is_refused(change: dict[str, object], message: str) -> None:
    arguments = {"shape": (9, 9), "pixel_mm": (1.0, 1.0), "centre_px": (4.0, 4.0), "offset_mm": [0.0, 10.0]} | change
    with pytest.raises(ValueError, match=message):
        place(**arguments)  # type: ignore[arg-type]


def test_four_thousand_pixels_a_side_are_boxed_without_being_resampled_whole() -> None:
    image = np.zeros((1, 1, 4096, 4096), np.uint16)
    image[0, 0, 2000:2100, 2000:2100] = 900
    there = place((4096, 4096), (0.1, 0.1), (2050, 2050))
    assert there.shape == (192, 192, 1)
    assert apply(image, there).max() == pytest.approx(900)
