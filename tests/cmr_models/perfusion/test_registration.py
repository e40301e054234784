"""Motion correction finds simulated breathing and leaves a still series alone."""

from dataclasses import replace

import numpy as np
import pytest

from cmr_models.perfusion.registration import correct, correct_together, offset_of, shift_frames
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
