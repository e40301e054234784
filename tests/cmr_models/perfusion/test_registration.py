"""Motion correction finds simulated breathing and leaves a still series alone."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from cmr_models.perfusion.registration import (
    _best_offset,
    _frames_before,
    _heart,
    _low_rank,
    _motion_equations,
    _place_first_frames,
    _principal_images,
    _sample,
    _solve,
    _step,
    _unexplained_energy,
    correct,
    correct_together,
    offset_of,
    shift_frames,
)
from cmr_models.simulate.perfusion import MYOCARDIAL_SERIES, SimulatedSeries, simulated_scan

SMALL = replace(MYOCARDIAL_SERIES, rows=96, cols=96, pixel_mm=2.8)


def breathing_series(seed: int, amplitude_mm: float) -> SimulatedSeries:
    rng = np.random.default_rng(seed)
    scan = simulated_scan(rng, stress=False, frames=45, breathing=amplitude_mm, myocardium=SMALL, levels=("mid",))
    return scan.myocardium["mid"]


def residual_mm(series: SimulatedSeries, displacement: np.ndarray) -> float:
    heart = series.scene.label > 1
    left = displacement[:, heart].mean(axis=1).T * SMALL.pixel_mm - series.shift_mm
    left -= left.mean(axis=0)
    return float(np.hypot(left[:, 0], left[:, 1]).mean())


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_more_than_half_of_breathing_is_taken_out(seed: int) -> None:
    series = breathing_series(seed, 8.0)
    corrected, displacement = correct(series.images[0])
    assert corrected.shape == series.images[0].shape
    assert displacement.shape == (2, *corrected.shape)
    assert residual_mm(series, displacement) < 0.5 * residual_mm(series, np.zeros_like(displacement))


def test_slices_of_the_same_beats_are_found_better_together() -> None:
    alone, together = [], []
    for seed in (1, 2):
        scan = simulated_scan(np.random.default_rng(seed), stress=True, frames=45, breathing=8.0, myocardium=SMALL)
        slices = list(scan.myocardium.values())
        alone += [residual_mm(series, correct(series.images[0])[1]) for series in slices]
        found = correct_together([series.images[0] for series in slices])
        together += [residual_mm(series, one) for series, (_, one) in zip(slices, found, strict=True)]
    assert np.mean(together) < np.mean(alone)


def test_slices_of_other_beats_are_refused() -> None:
    images = breathing_series(4, 0.0).images[0]
    with pytest.raises(ValueError, match="must have the same number of frames"):
        correct_together([images, images[..., :40]])


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_proton_density_is_found_within_a_pixel_of_where_it_was_moved_to(seed: int) -> None:
    series = breathing_series(seed, 0.0)
    density = series.proton_density.mean(axis=-1)
    moved_px = np.array([2.0, -1.5])
    found = offset_of(shift_frames(density[..., None], -moved_px[:, None])[..., 0], series.images[0])
    assert np.hypot(*(found - moved_px)) < 1.0
    assert np.hypot(*offset_of(density, series.images[0])) < 1.0


def test_an_image_of_another_grid_is_refused() -> None:
    with pytest.raises(ValueError, match="use one grid"):
        offset_of(np.ones((8, 8)), breathing_series(4, 0.0).images[0])


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_frames_before_the_bolus_are_brought_to_the_place_of_the_later_ones(seed: int) -> None:
    scan = simulated_scan(np.random.default_rng(seed), stress=True, frames=45, breathing=0.0, levels=("mid",))
    series, n = scan.myocardium["mid"], int((scan.patient.time_s < scan.patient.bolus.arrival_s).sum())
    moved_px = np.zeros((2, 45))
    moved_px[0, :n] = 2.0
    _, displacement = correct(shift_frames(series.images[0], -moved_px))
    course = displacement[:, series.scene.label > 1].mean(axis=1)
    apart = course[:, :n].mean(axis=1) - np.median(course[:, n + 5 :], axis=1)
    assert np.hypot(*(apart - [2.0, 0.0])) < 0.4 * 2.0


def test_a_heart_that_lies_still_stays_within_half_a_pixel() -> None:
    series = breathing_series(4, 0.0)
    _, displacement = correct(series.images[0])
    assert residual_mm(series, displacement) < 0.5 * SMALL.pixel_mm


def test_frames_have_no_mean_displacement() -> None:
    _, displacement = correct(breathing_series(5, 5.0).images[0])
    np.testing.assert_allclose(displacement.mean(axis=-1), 0, atol=1e-4)


def test_a_scaled_series_moves_the_same() -> None:
    images = breathing_series(6, 5.0).images[0]
    _, one = correct(images)
    _, scaled = correct(images * 1000)
    np.testing.assert_allclose(one, scaled, atol=0.05)


def test_a_series_without_change_is_refused() -> None:
    with pytest.raises(ValueError, match="no pixel of the series changes"):
        correct(np.ones((32, 32, 20)))


# parts, by hand


def test_a_frame_is_read_at_its_places_plus_its_shift_by_row_and_column() -> None:
    rows, cols = np.indices((12, 15))
    series = np.stack([10.0 * rows + cols, 100 + 10.0 * rows - cols], axis=-1)
    found = shift_frames(series, np.array([[1.0, -0.5], [2.0, 0.0]]))
    np.testing.assert_allclose(found[4:8, 4:8, 0], (10.0 * (rows + 1) + cols + 2)[4:8, 4:8], atol=0.02)
    np.testing.assert_allclose(found[4:8, 4:8, 1], (100 + 10.0 * (rows - 0.5) - cols)[4:8, 4:8], atol=0.02)
    assert found.shape == series.shape
    assert found[11, 14, 0] == pytest.approx(10.0 * 11 + 14, abs=0.5)  # held at the border


def test_two_equations_are_solved_with_their_ridge() -> None:
    one = np.ones(1, np.float32)
    # 4 x + y = 9, x + 3 y = 5: x = 2, y = 1
    x, y = _solve(4 * one, one, 3 * one, 9 * one, 5 * one, 0 * one)
    assert (float(x[0]), float(y[0])) == pytest.approx((2, 1))
    # a ridge of 2 x 3.5: 11 x + y = 9 and x + 10 y = 5
    x, y = _solve(4 * one, one, 3 * one, 9 * one, 5 * one, 2 * one)
    assert (float(x[0]), float(y[0])) == pytest.approx((85 / 109, 46 / 109))


def test_equations_of_motion_have_the_slope_down_first_and_the_slope_along_second() -> None:
    rows, cols = np.indices((12, 12))
    image = (3.0 * rows + 0.5 * cols).astype(np.float32)
    frames = np.stack([image * course for course in (1.0, 1.2, 0.9, 1.1, 1.0, 1.3)]).astype(np.float32)
    frames += np.random.default_rng(0).normal(0, 1e-3, frames.shape).astype(np.float32)  # what the model leaves
    terms = _motion_equations(frames, np.zeros((6, 2), np.float32), np.ones((12, 12), np.float32), 1, 0.0)
    # slopes of 3 and 0.5 a pixel: their squares are as 36 to 1, their product as 6 to 1
    np.testing.assert_allclose(terms[0] / terms[2], 36, rtol=1e-2)
    np.testing.assert_allclose(terms[1] / terms[2], 6, rtol=1e-2)


def test_steps_are_two_pixels_at_most_and_their_median_is_none() -> None:
    shift = np.zeros((3, 2), np.float32)
    ones, zeros = np.ones(3, np.float32), np.zeros(3, np.float32)
    terms = np.stack([ones, zeros, ones, np.array([5.0, 1, -1], np.float32), np.array([0.5, 0.5, 0.8], np.float32)])
    # steps down 2 (of 5), 1 and -1; along 0.5, 0.5 and 0.8: less their medians of 1 and 0.5
    np.testing.assert_allclose(_step(shift, terms), [[1, 0], [0, 0], [-2, 0.3]], atol=1e-5)


def test_the_model_of_a_rank_explains_courses_of_that_many_images() -> None:
    rng = np.random.default_rng(0)
    images, courses = rng.normal(size=(2, 6, 7)), rng.normal(size=(20, 2))
    courses[:, 1] *= 0.01
    frames = np.tensordot(courses, images, 1).astype(np.float32) + 3
    weight = np.ones((6, 7), np.float32)
    np.testing.assert_allclose(_low_rank(frames, weight, 2), frames, atol=1e-4)
    assert 1e-4 < np.abs(_low_rank(frames, weight, 1) - frames).max() < 0.1
    weight[:, :3] = 0.3  # the fit is where the weight is above that
    odd = frames.copy()
    odd[:, :, :3] += rng.normal(size=(20, 6, 3)).astype(np.float32)
    np.testing.assert_allclose(_low_rank(odd, weight, 2)[:, :, 3:], frames[:, :, 3:], atol=1e-3)


def test_frames_before_the_bolus_end_where_a_tenth_of_the_heart_has_changed() -> None:
    frames = np.full((30, 24, 24), 50.0, np.float32)
    frames[12:] += 100
    weight = np.ones((24, 24), np.float32)
    assert _frames_before(frames, weight) == 12
    frames[8:12] += 14  # of 100, which is not a seventh
    assert _frames_before(frames, weight) == 12
    frames[8:12] += 2
    assert _frames_before(frames, weight) == 8
    corner = np.full((30, 24, 24), 50.0, np.float32)
    corner[12:] += 100
    corner[5:12, :4, :4] += 100  # with the smoothing a twelfth of the image
    assert _frames_before(corner, weight) == 12
    weight[:, 12:] = 0.5  # a sixth of those that count
    assert _frames_before(corner, weight) == 5


@pytest.mark.parametrize("off", [(2.0, -1.0), (-1.25, 0.5), (0.0, 0.0)])
def test_an_image_is_found_to_a_quarter_of_a_pixel(off: tuple[float, float]) -> None:
    rows, cols = np.indices((60, 60)) - 29.5

    def blobs(down: float, along: float) -> np.ndarray:
        first = np.exp(-(((rows - 8 - down) / 6) ** 2) - ((cols + 5 - along) / 5) ** 2)
        return (first - 0.7 * np.exp(-(((rows + 9 - down) / 4) ** 2) - ((cols - 6 - along) / 7) ** 2)).astype(
            np.float32
        )

    weight = np.ones((60, 60), np.float32)
    span = blobs(0, 0).reshape(1, -1)
    span = span / np.linalg.norm(span)
    np.testing.assert_allclose(_best_offset(blobs(*off), span, weight), off, atol=1e-6)
    left = _unexplained_energy(blobs(0, 0), np.array([[0.0, 2.0], [0.0, 0.0]], np.float32), span, weight)
    assert float(left[0]) == pytest.approx(0, abs=1e-5)
    assert 0.01 < float(left[1]) < 1


def test_images_of_a_span_are_orthonormal_under_the_weight() -> None:
    rng = np.random.default_rng(1)
    weight = rng.uniform(0.2, 1, (6, 7)).astype(np.float32)
    images = _principal_images(rng.normal(size=(9, 6, 7)).astype(np.float32), weight, 3)
    np.testing.assert_allclose(images @ images.T, np.eye(3), atol=1e-4)


def test_the_weight_is_one_where_contrast_passes_and_falls_off_around() -> None:
    frames = np.full((30, 64, 48), 10.0, np.float32)
    frames[10:, 20:36, 16:30] += 100 * np.exp(-np.arange(20) / 8)[:, None, None]
    weight = _heart(frames)
    assert weight[28, 23] == 1
    assert weight[60, 44] == 0
    assert weight[5, 23] < 0.2
    assert (weight.shape, weight.max()) == ((64, 48), 1)


def test_frames_before_the_bolus_stay_where_too_few_follow_or_there_are_none() -> None:
    rng = np.random.default_rng(2)
    frames = (50 + rng.normal(0, 1, (24, 32, 32))).astype(np.float32)
    frames[13:, 10:22, 10:22] += 100  # eleven later frames
    shift, weight = np.full((24, 2), 0.5, np.float32), np.ones((32, 32), np.float32)
    assert _place_first_frames(frames, shift, weight) is shift
    frames[1:, 10:22, 10:22] += 100  # one frame before
    assert _place_first_frames(frames, shift, weight) is shift


def test_after_the_first_frames_were_placed_the_median_shift_is_none() -> None:
    rows, cols = np.indices((48, 48)) - 23.5
    blob = np.exp(-(((rows / 7) ** 2) + (cols / 5) ** 2)).astype(np.float32)
    frames = np.stack([20 * blob if k < 6 else (20 + 8.0 * k) * blob for k in range(24)]).astype(np.float32)
    frames[:6] = np.roll(frames[:6], 1, axis=1)  # before the bolus the heart lies a row lower
    shift = np.zeros((24, 2), np.float32)
    shift[20:, 1] = 3.0  # most others are at rest
    placed = _place_first_frames(frames, shift, np.ones((48, 48), np.float32))
    np.testing.assert_allclose(np.median(placed, axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(placed[:6, 0] - placed[6:, 0].mean(), 1.0, atol=0.26)
    np.testing.assert_allclose(placed[20:, 1], 3.0)


def test_without_a_field_all_pixels_of_a_frame_move_alike() -> None:
    images = breathing_series(7, 6.0).images[0]
    _, displacement = correct(images, deformable=False)
    assert np.ptp(displacement, axis=(1, 2)).max() < 1e-5
    assert np.ptp(correct(images)[1], axis=(1, 2)).max() > 0.1


def test_images_are_read_between_pixels_by_lines_for_the_search_and_by_splines_for_the_result() -> None:
    image = np.zeros((1, 9, 11), np.float32)
    image[0, 4, 5] = 1.0
    half = np.zeros((2, 1, 9, 11), np.float32)
    half[1] = 0.5
    lines, splines = _sample(image, half), _sample(image, half, order=3)
    assert lines[0, 4, 3:7].tolist() == [0, 0.5, 0.5, 0]
    assert splines[0, 4, 4] == pytest.approx(splines[0, 4, 5])
    assert splines[0, 4, 4] > 0.55  # a cubic spline overshoots a line
    assert splines[0, 4, 3] < 0
    np.testing.assert_allclose(shift_frames(np.moveaxis(image, 0, 2), [[0.0], [0.5]])[..., 0], splines[0], atol=1e-6)


@pytest.mark.parametrize(
    ("side", "off", "found"),
    [
        (60, (3, -1), (2.75, -1)),  # 2 pixels of 60, and three quarters
        (60, (-3, 3), (-2.75, 2.75)),
        (160, (6, -6), (6, -6)),  # a twenty-eighth of 160 are 5.6: six are looked at
        (160, (8, 1), (6.75, 1)),
        (20, (2, 0), (2, 0)),  # two at least
    ],
)
def test_an_image_is_searched_within_a_share_of_its_side(
    side: int, off: tuple[float, float], found: tuple[float, float]
) -> None:
    rows, cols = np.indices((side, side + 4)) - side / 2

    def blob(down: float, along: float) -> np.ndarray:
        return np.exp(-(((rows - down) / 4) ** 2) - ((cols - along) / 3) ** 2).astype(np.float32)

    span = blob(0, 0).reshape(1, -1)
    offset = _best_offset(blob(*off), span / np.linalg.norm(span), np.ones(rows.shape, np.float32))
    np.testing.assert_allclose(offset, found, atol=1e-6)


@pytest.mark.parametrize(("height", "inside"), [(34.0, False), (36.0, True)])
def test_contrast_passes_where_the_spread_is_over_a_third_of_the_largest(height: float, inside: bool) -> None:
    frames = np.full((30, 64, 64), 10.0, np.float32)
    course = np.exp(-(((np.arange(30) - 12) / 4) ** 2))[:, None, None]
    frames[:, 10:26, 10:26] += 100 * course
    frames[:, 44:60, 44:60] += height * course
    assert (_heart(frames)[52, 52] > 0.5) == inside


def test_one_odd_frame_of_the_first_four_does_not_hide_the_arrival() -> None:
    frames = np.full((30, 24, 24), 50.0, np.float32)
    frames[12:] += 100
    frames[1] += 10  # of the four a quarter: 2.5 on average, and 15 % of 97.5 above it are 17.1
    frames[8:12] += 18
    assert _frames_before(frames, np.ones((24, 24), np.float32)) == 8


def test_equations_of_a_slice_have_no_unit_so_that_slices_weigh_alike() -> None:
    rng = np.random.default_rng(3)
    frames = gaussian_filter(rng.normal(size=(14, 20, 22)), (0, 2, 2)).astype(np.float32)
    weight = np.ones((20, 22), np.float32)
    shift = np.zeros((14, 2), np.float32)
    one, thousand = (_motion_equations(k * frames, shift, weight, 1, 1.0) for k in (1, 1000))
    np.testing.assert_allclose(one, thousand, rtol=1e-3)


def test_twelve_later_frames_are_enough_to_place_the_first_ones() -> None:
    frames = np.full((25, 32, 32), 50.0, np.float32)
    frames[13:, 10:22, 10:22] += 100
    shift, weight = np.zeros((25, 2), np.float32), np.ones((32, 32), np.float32)
    assert _place_first_frames(frames, shift, weight) is not shift
