"""Simulated acquisitions with what the model does not know of: each does what its name says, by arithmetic."""

import numpy as np
import pytest

from benchmarks.stress_hearts import Heart, Mismatch, heart

_STILL = 1e9  # peak over noise


def _heart(mismatch: Mismatch | None = None) -> Heart:
    return heart(np.random.default_rng(3), snr=_STILL, ideal=True, mismatch=mismatch)


def test_the_input_is_cut_scaled_and_mistimed() -> None:
    usual = _heart().aif
    highest = usual.max()
    np.testing.assert_allclose(_heart(Mismatch(clipped_mmol_l=highest / 2)).aif, np.minimum(usual, highest / 2))
    np.testing.assert_allclose(_heart(Mismatch(aif_factor=0.8)).aif, 0.8 * usual)
    np.testing.assert_allclose(_heart(Mismatch(aif_early_s=0.5)).aif[:-1], usual[1:], atol=1e-9)
    np.testing.assert_allclose(_heart(Mismatch(aif_early_s=-0.5)).aif[1:], usual[:-1], atol=1e-9)


def test_a_short_acquisition_ends_early() -> None:
    assert _heart(Mismatch(seconds=18)).image.shape[-1] == _heart(Mismatch(seconds=18)).aif.size == 36


def test_only_frames_before_the_bolus_have_another_baseline() -> None:
    usual, stepped = _heart(), _heart(Mismatch(baseline=0.1))
    step = (stepped.image - usual.image)[20, 9]
    assert step[0] == pytest.approx(0.1 * np.median(usual.image[usual.ring].max(-1)), rel=0.02)
    assert step[-1] == 0
    assert set(np.diff(step) != 0) == {True, False}


def test_a_thin_wall_and_point_spread() -> None:
    assert _heart(Mismatch(wall_px=4)).ring.sum() < _heart().ring.sum()
    spread = _heart(Mismatch(blur_px=1)).image
    np.testing.assert_allclose(spread.mean((0, 1)), _heart().image.mean((0, 1)), rtol=0.02, atol=1e-3)
    assert np.abs(np.diff(spread, axis=0)).max() < 0.6 * np.abs(np.diff(_heart().image, axis=0)).max()


def test_flows_of_one_pixel_keep_their_mean_and_fill_it_more_slowly() -> None:
    """Shares at -1.2247, 0 and 1.2247 SD of 0.5: mean 0.8825 (0.5421 + 1 + 1.8447) / 3 = 0.9963 before anything leaves.

    What leaves first leaves where flow is high, so the wall holds less than that.
    """
    usual, many = _heart(), _heart(Mismatch(flows=0.5))
    early = int(np.argmax(usual.aif > usual.aif.max() / 4))
    wall = usual.interior
    assert 0.85 < many.image[wall, early].sum() / usual.image[wall, early].sum() < 0.9963
