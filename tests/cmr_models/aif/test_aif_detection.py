"""Where the input is measured: the right chamber, at any orientation, size and number of frames; bad series refused."""

from pathlib import Path

import numpy as np
import pytest

from cmr_models.aif import detect
from cmr_models.aif.curve_features import failed_gates
from cmr_models.aif.detection import METHODS, aif_input, aif_target
from cmr_models.aif.network_input import channels
from cmr_models.simulate.perfusion.training import aif_training_series


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@pytest.mark.parametrize(("method", "least_dice", "least_found"), [("network", 0.85, 0.97), ("rule", 0.75, 0.9)])
def test_the_left_ventricle_of_simulated_scans_is_found(method: str, least_dice: float, least_found: float) -> None:
    found = []
    for i in range(30):
        series, truth = aif_training_series(np.random.default_rng([77, i]))
        found.append(dice(detect(series.images[0], method=method) == 1, truth == 1))
    assert np.mean(found) > least_dice
    assert np.mean(np.array(found) > 0.3) > least_found


@pytest.mark.parametrize("example", ["example1", "example2"])
def test_the_left_ventricle_of_real_scans_is_found_in_the_right_chamber(real_data: Path, example: str) -> None:
    folder = real_data / "perfusion" / "aif" / example
    series, truth = np.load(folder / "aif_scc.npy"), np.load(folder / "aif_masks_final.npy")
    mask = detect(series)
    assert dice(mask == 1, truth == 1) >= 0.75
    assert ((mask == 1) & (truth == 2)).sum() == 0


def test_the_scale_of_the_scanner_does_not_matter() -> None:
    series, _ = aif_training_series(np.random.default_rng([78, 0]))
    np.testing.assert_array_equal(detect(series.images[0]), detect(series.images[0] * 4096.0))


def test_a_bright_chest_wall_that_does_not_change_does_not_matter() -> None:
    series, _ = aif_training_series(np.random.default_rng([78, 1]))
    plain = channels(series.images[0], 40)
    walled = series.images[0].copy()
    walled[:3] += 100 * walled.max()
    np.testing.assert_allclose(channels(walled, 40)[:40, 3:], plain[:40, 3:], atol=0.02)


@pytest.mark.parametrize(("rows", "cols"), [(64, 52), (48, 64), (96, 72), (130, 104), (33, 40)])
def test_any_matrix_gives_the_network_the_same_grid_and_the_mask_the_series_own(rows: int, cols: int) -> None:
    series = np.random.default_rng(0).random((rows, cols, 30)).astype(np.float32)
    assert aif_input(series, 40, 64).shape == (41, 64, 64)
    assert aif_target(np.ones((rows, cols), np.uint8), 64).shape == (64, 64)
    assert detect(series).shape == (rows, cols)


@pytest.mark.parametrize("method", METHODS)
def test_bad_series_are_refused_with_the_reason(method: str) -> None:
    good = np.random.default_rng(0).random((32, 32, 30))
    bad = good.copy()
    bad[3, 3, 3] = np.nan
    for series, message in (
        (good[..., 0], r"\(row, col, frame\), got shape \(32, 32\)"),
        (good[..., :1], "at least 12 frames, got 1"),
        (bad, "1 values of the series are not finite"),
        (good + 1j, "real magnitudes"),
        (np.ones((32, 32, 30)), "no bolus"),
        (good[:8], "at least 16 rows"),
    ):
        with pytest.raises(ValueError, match=message):
            detect(series, method=method)


def test_an_unknown_method_is_refused_and_none_stands_in_for_another() -> None:
    series = np.random.default_rng(0).random((32, 32, 30))
    with pytest.raises(ValueError, match="unknown method 'auto'"):
        detect(series, method="auto")
    with pytest.raises(FileNotFoundError, match="model '/nowhere'"):
        detect(series, model="/nowhere")


@pytest.mark.parametrize("method", METHODS)
def test_two_classes_are_the_three_without_the_right_ventricle(method: str) -> None:
    series, _ = aif_training_series(np.random.default_rng([77, 3]))
    three, two = (detect(series.images[0], method=method, n_classes=n) for n in (3, 2))
    np.testing.assert_array_equal(two, np.where(three == 1, 1, 0))
    with pytest.raises(ValueError, match="must be 2 or 3"):
        detect(series.images[0], n_classes=4)


def _bolus(peak_mmol_l: float, noise_mmol_l: float) -> np.ndarray:
    """A first pass of 60 frames of one second, with a noise that alternates before it arrives."""
    frames = np.arange(60.0)
    rise = np.clip(frames - 20, 0, None)
    curve = peak_mmol_l * (rise / 5) * np.exp(1 - rise / 5)
    return curve + np.where(frames < 20, noise_mmol_l * (-1) ** frames, 0.0)


@pytest.mark.parametrize(
    ("peak", "noise", "codes"),
    [
        (5.0, 0.01, ()),
        (0.9, 0.01, ("aif_peak_low",)),
        (1.1, 0.01, ()),
        (9.9, 0.01, ()),
        (10.1, 0.01, ("aif_peak_high",)),
    ],
)
def test_a_peak_out_of_range_is_told_on_either_side(peak: float, noise: float, codes: tuple[str, ...]) -> None:
    assert failed_gates(_bolus(peak, noise), 1.0) == codes


def test_an_input_that_hardly_leaves_its_noise_is_not_trusted() -> None:
    codes = failed_gates(_bolus(5.0, 2.0), 1.0)
    assert set(codes) & {"aif_noisy", "aif_no_bolus"}
