"""Signal to gadolinium and back; T2* from two echoes; features and gates of the arterial curve."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.first_pass import DT_S, frame_times, stress_input
from cmr_models.aif import failed_gates, features
from cmr_models.perfusion.signal.gadolinium import (
    ARTERIAL_FLASH,
    BLOOD,
    MYOCARDIAL_FLASH,
    MYOCARDIAL_SSFP,
    MYOCARDIUM,
    Relaxation,
    Sequence,
    signal,
)
from cmr_models.perfusion.signal.lookup import concentration, divide_by_proton_density, in_range, table
from cmr_models.perfusion.signal.t2star import correct_t2star, r2star

_CASES = [
    (MYOCARDIAL_FLASH, MYOCARDIUM[1.5], 10.0),
    (MYOCARDIAL_SSFP, MYOCARDIUM[1.5], 10.0),
    (MYOCARDIAL_FLASH, MYOCARDIUM[3.0], 10.0),
    (ARTERIAL_FLASH, BLOOD[1.5], 20.0),
    (ARTERIAL_FLASH, BLOOD[3.0], 20.0),
]


@pytest.mark.parametrize(("sequence", "tissue", "highest"), _CASES)
def test_there_and_back_is_within_a_thousandth(sequence: Sequence, tissue: Relaxation, highest: float) -> None:
    mmol_l = np.concatenate([[-0.05, 0.0], np.linspace(0.0137, 6, 501)])
    back = concentration(signal(mmol_l, sequence, tissue), sequence, tissue, highest_mmol_l=highest)
    np.testing.assert_allclose(back, mmol_l, rtol=1e-3, atol=2e-5)


@pytest.mark.parametrize(("sequence", "tissue", "highest"), _CASES)
def test_the_table_rises_and_what_lies_beyond_is_told(sequence: Sequence, tissue: Relaxation, highest: float) -> None:
    known = table(sequence, tissue, highest)[1]
    assert (np.diff(known) > 0).all()
    beyond = [known[0] - 0.1, known[5], known[-1] + 0.1]
    assert in_range(beyond, sequence, tissue, highest_mmol_l=highest).tolist() == [False, True, False]
    held = concentration(beyond, sequence, tissue, highest_mmol_l=highest)
    assert held[0] == table(sequence, tissue, highest)[0][0]
    assert held[2] == pytest.approx(highest, abs=0.01)


def test_without_readout_history_the_signal_is_plain_saturation_recovery() -> None:
    first_line = replace(MYOCARDIAL_FLASH, lines=1, acceleration=1)
    t1_s = 1 / (1 / 1.1 + 5.565 * 0.7)
    ratio = (1 - np.exp(-0.0376 / t1_s)) * np.sin(np.deg2rad(14)) / np.sin(np.deg2rad(5))
    assert signal(0.7, first_line, MYOCARDIUM[1.5]) == pytest.approx(ratio)


def test_a_long_balanced_readout_reaches_its_steady_state() -> None:
    long_train = replace(MYOCARDIAL_SSFP, lines=6000, acceleration=1)
    tissue = MYOCARDIUM[1.5]
    e1, e2 = np.exp(-2.8e-3 / tissue.t1_s), np.exp(-2.8e-3 / tissue.t2_s)
    flip = np.deg2rad(50.0)  # Freeman and Hill 1971, on resonance with alternating pulses
    steady = np.sin(flip) * (1 - e1) * np.sqrt(e2) / (1 - (e1 - e2) * np.cos(flip) - e1 * e2)
    density = replace(long_train, flip_deg=long_train.pd_flip_deg)
    at_low_flip = np.deg2rad(long_train.pd_flip_deg)
    low = np.sin(at_low_flip) * (1 - e1) * np.sqrt(e2) / (1 - (e1 - e2) * np.cos(at_low_flip) - e1 * e2)
    assert signal(0.0, long_train, tissue) == pytest.approx(steady / low, rel=1e-3)
    assert signal(0.0, density, tissue) == pytest.approx(1.0, rel=1e-3)


def test_a_short_saturation_delay_keeps_the_arterial_signal_linear() -> None:
    low, high = signal([0.5, 5.0], ARTERIAL_FLASH, BLOOD[1.5]) - signal(0.0, ARTERIAL_FLASH, BLOOD[1.5])
    assert 0.6 < high / (10 * low) < 0.9
    low, high = signal([0.5, 5.0], MYOCARDIAL_FLASH, BLOOD[1.5]) - signal(0.0, MYOCARDIAL_FLASH, BLOOD[1.5])
    assert high / (10 * low) < 0.5


def test_proton_density_takes_the_coil_out_and_marks_air() -> None:
    coil = np.linspace(0.5, 2, 12).reshape(3, 4)
    coil[0, 0] = 1e-3
    ratio = divide_by_proton_density(coil[..., None] * np.array([0.1, 0.4]), np.repeat(coil[..., None], 2, axis=-1))
    assert np.isnan(ratio[0, 0]).all()
    np.testing.assert_allclose(ratio[1], np.broadcast_to([0.1, 0.4], (4, 2)))
    with pytest.raises(ValueError, match="no signal"):
        divide_by_proton_density(np.ones((3, 4, 2)), np.zeros((3, 4)))
    with pytest.raises(ValueError, match="rows and columns must agree"):
        divide_by_proton_density(np.ones((3, 4, 2)), np.ones((4, 4)))


def test_two_echoes_give_the_signal_at_echo_time_zero() -> None:
    truth, decay = np.array([3.0, 8.0, 5.0]), np.array([20.0, 100.0, 60.0])
    first, second = truth * np.exp(-decay * 0.7e-3), truth * np.exp(-decay * 1.8e-3)
    np.testing.assert_allclose(r2star(first, second, 0.7, 1.8), decay)
    np.testing.assert_allclose(correct_t2star(first, second, 0.7, 1.8), truth)
    assert r2star([1.0], [1.2], 0.7, 1.8)[0] == 0
    with pytest.raises(ValueError, match="the second must be later"):
        r2star(first, second, 1.8, 0.7)
    with pytest.raises(ValueError, match="they must agree"):
        r2star(first, second[:2], 0.7, 1.8)


def test_smoothing_steadies_t2star_where_signal_is_low() -> None:
    rng = np.random.default_rng(2)
    first = 1 + np.abs(rng.normal(0, 0.05, 200))
    second = first * np.exp(-0.02) + rng.normal(0, 0.05, 200)
    rough, smooth = r2star(first, second, 0.7, 1.8), r2star(first, second, 0.7, 1.8, smooth_frames=4.0)
    assert smooth.std() < 0.5 * rough.std()


@pytest.mark.parametrize(
    "change", [{"readout": "epi"}, {"tr_ms": 0.0}, {"lines": 0}, {"saturation": 1.2}, {"td_ms": -1.0}]
)
def test_an_impossible_sequence_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must be"):
        replace(MYOCARDIAL_FLASH, **change)


def test_features_of_a_known_curve_are_found() -> None:
    time_s = np.arange(0, 40, 0.5)
    x = np.clip(time_s - 10, 0, None) / 4
    found = features(5 * x**3 * np.exp(3 * (1 - x)), 0.5)
    assert found["peak_s"] == pytest.approx(14.0, abs=0.1)
    assert found["peak_value"] == pytest.approx(5.0, rel=0.01)
    assert 10.0 < found["foot_s"] < 11.2
    assert found["auc"] == pytest.approx(5 * 4 * np.exp(3) * 6 / 81, rel=0.01)  # integral of the gamma variate


def test_features_are_unbiased_in_noise_and_move_with_the_bolus() -> None:
    rng, curve = np.random.default_rng(4), stress_input(frame_times())
    clean = features(curve, DT_S)
    repeats = [features(curve + rng.normal(0, 0.05, curve.size), DT_S) for _ in range(100)]
    for name in ("foot_s", "peak_s", "peak_value", "auc"):
        assert np.mean([r[name] for r in repeats]) == pytest.approx(clean[name], rel=0.02)
    later = features(stress_input(frame_times() - 2.0), DT_S)
    assert later["foot_s"] - clean["foot_s"] == pytest.approx(2.0, abs=0.01)


def test_the_first_pass_ends_before_recirculation() -> None:
    found = features(stress_input(frame_times()), DT_S)
    end_s = found["foot_s"] + found["first_pass_s"]
    assert 16 < end_s < 22


def test_gates_name_what_is_wrong_with_an_input() -> None:
    curve = stress_input(frame_times())
    noise = np.random.default_rng(0).normal(size=60)
    assert failed_gates(curve, DT_S) == ()
    assert failed_gates(curve / 10, DT_S) == ("aif_peak_low",)
    assert failed_gates(curve * 10, DT_S) == ("aif_peak_high",)
    assert failed_gates(noise, DT_S) == ("aif_no_bolus",)
    assert failed_gates(np.ones(60), DT_S) == ("aif_no_bolus",)
    assert np.isnan(features(noise, DT_S)["peak_s"])


@pytest.mark.parametrize(
    ("curve", "dt_s", "message"),
    [
        (np.ones(1), 0.5, "at least 8 frames"),
        (np.ones((60, 2)), 0.5, "at least 8 frames"),
        (np.full(60, np.nan), 0.5, "60 frames of the curve are not finite"),
        (np.ones(60), 0.0, "positive number of seconds"),
    ],
)
def test_a_curve_that_cannot_be_read_is_refused(curve: np.ndarray, dt_s: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        features(curve, dt_s)
