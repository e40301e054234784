"""Signal to gadolinium and back; T2* from two echoes; features and gates of the arterial curve."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.first_pass import DT_S, frame_times, stress_input
from cmr_models.aif import failed_gates, features
from cmr_models.aif.curve_features import foot_index
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


# constants, recursions and limits by hand


def test_constants_are_those_of_the_reference_implementation() -> None:
    # T1, T2 in s, r1, r2 in L/mmol/s of gadobutrol, at 1.5 and 3 T
    assert {t: (b.t1_s, b.t2_s, b.r1, b.r2) for t, b in BLOOD.items()} == {
        1.5: (1.7, 0.22, 5.565, 5.78), 3.0: (2.0, 0.25, 4.919, 5.913)
    }  # fmt: skip
    assert {t: (m.t1_s, m.t2_s, m.r1, m.r2) for t, m in MYOCARDIUM.items()} == {
        1.5: (1.1, 0.045, 5.565, 5.78), 3.0: (1.3, 0.045, 4.919, 5.913)
    }  # fmt: skip
    told = [
        (s.readout, s.tr_ms, s.td_ms, s.flip_deg, s.lines, s.acceleration, s.pd_flip_deg, s.run_up, s.saturation)
        for s in (MYOCARDIAL_FLASH, MYOCARDIAL_SSFP, ARTERIAL_FLASH)
    ]
    assert told == [
        ("flash", 2.43, 37.6, 14, 111, 3, 5, 0, 1), ("ssfp", 2.8, 60, 50, 111, 3, 8, 5, 1),
        ("flash", 2.12, 5, 5, 36, 2, 5, 0, 1),
    ]  # fmt: skip
    assert [s.centre for s in (MYOCARDIAL_FLASH, ARTERIAL_FLASH, replace(ARTERIAL_FLASH, lines=35))] == [18, 9, 8]
    r1, r2 = BLOOD[1.5].rates([0.0, 2.0])
    np.testing.assert_allclose([r1, r2], [[1 / 1.7, 1 / 1.7 + 11.13], [1 / 0.22, 1 / 0.22 + 11.56]])


def _pulse_by_pulse(r1: float, r2: float, sequence: Sequence, flip_deg: float, start: float) -> float:
    """Bloch equations on resonance, one pulse after the other, in the rotating frame (x, z)."""
    pulses = sequence.run_up + sequence.lines // sequence.acceleration // 2 + 1
    x, z, tr_s = 0.0, start, sequence.tr_ms / 1e3
    for k in range(pulses):
        flip = np.deg2rad(flip_deg) * min(1.0, (k + 1) / (sequence.run_up + 1)) * (1 if k % 2 == 0 else -1)
        if sequence.readout == "flash":
            x = 0.0  # spoiled
            flip = abs(flip)
        x, z = x * np.cos(flip) + z * np.sin(flip), z * np.cos(flip) - x * np.sin(flip)
        echo = abs(x) * (np.exp(-r2 * tr_s / 2) if sequence.readout == "ssfp" else 1.0)
        x, z = x * np.exp(-r2 * tr_s), 1 + (z - 1) * np.exp(-r1 * tr_s)
    return float(echo)


@pytest.mark.parametrize(
    "sequence",
    [MYOCARDIAL_FLASH, ARTERIAL_FLASH, MYOCARDIAL_SSFP, replace(MYOCARDIAL_SSFP, run_up=0, lines=40, saturation=0.9),
     replace(MYOCARDIAL_FLASH, saturation=0.8, acceleration=2)],
)  # fmt: skip
@pytest.mark.parametrize("mmol_l", [0.0, 0.7, 4.0])
def test_the_signal_is_that_of_the_bloch_equations_pulse_by_pulse(sequence: Sequence, mmol_l: float) -> None:
    tissue = MYOCARDIUM[1.5]
    r1, r2 = 1 / 1.1 + 5.565 * mmol_l, 1 / 0.045 + 5.78 * mmol_l
    after_saturation = 1 - sequence.saturation
    recovered = 1 - (1 - after_saturation) * np.exp(-r1 * sequence.td_ms / 1e3)
    measured = _pulse_by_pulse(r1, r2, sequence, sequence.flip_deg, recovered)
    density_start = 1.0  # no saturation before proton density
    density = _pulse_by_pulse(1 / 1.1, 1 / 0.045, sequence, sequence.pd_flip_deg, density_start)
    assert signal(mmol_l, sequence, tissue) == pytest.approx(measured / density)


@pytest.mark.parametrize(
    "change",
    [{"flip_deg": 0.0}, {"pd_flip_deg": -1.0}, {"acceleration": 0}, {"saturation": -0.1}],
)
def test_more_impossible_sequences_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        replace(MYOCARDIAL_FLASH, **change)  # type: ignore[arg-type]
    assert replace(MYOCARDIAL_FLASH, td_ms=0.0, saturation=0.0).td_ms == 0


def test_the_table_begins_where_noise_below_zero_still_has_a_rate_and_ends_where_the_signal_turns() -> None:
    c, ratio = table(MYOCARDIAL_FLASH, MYOCARDIUM[1.5], 10.0)
    assert c[0] == pytest.approx(-0.9 / (1.1 * 5.565))
    assert np.diff(c) == pytest.approx(np.full(c.size - 1, 0.01))
    assert abs(c[-1] - 10) <= 0.005
    assert ratio[7] == pytest.approx(float(signal(c[7], MYOCARDIAL_FLASH, MYOCARDIUM[1.5])))
    c, ratio = table(MYOCARDIAL_SSFP, MYOCARDIUM[1.5], 300.0)  # at such concentrations T2 takes over
    assert c[-1] < 200
    assert float(signal(c[-1] + 0.01, MYOCARDIAL_SSFP, MYOCARDIUM[1.5])) <= ratio[-1]
    assert ratio[-1] > ratio[-2]
    for highest in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match="must be positive"):
            table(MYOCARDIAL_FLASH, MYOCARDIUM[1.5], highest)


def test_unknown_ratios_stay_unknown_and_the_ends_of_the_table_are_within() -> None:
    known = table(ARTERIAL_FLASH, BLOOD[1.5], 20.0)[1]
    back = concentration([np.nan, known[3]], ARTERIAL_FLASH, BLOOD[1.5], highest_mmol_l=20.0)
    assert np.isnan(back[0])
    assert back[1] == pytest.approx(-0.9 / (1.7 * 5.565) + 0.03)
    ends = [known[0], known[-1]]
    assert in_range(ends, ARTERIAL_FLASH, BLOOD[1.5], highest_mmol_l=20.0).all()
    assert concentration(99.0, MYOCARDIAL_FLASH, MYOCARDIUM[1.5]) == pytest.approx(10, abs=0.005)
    beyond = signal(10.1, MYOCARDIAL_FLASH, MYOCARDIUM[1.5])
    assert not in_range(beyond, MYOCARDIAL_FLASH, MYOCARDIUM[1.5])
    assert not in_range([np.nextafter(known[-1], 9)], ARTERIAL_FLASH, BLOOD[1.5], highest_mmol_l=20.0).any()


def test_air_is_under_two_per_cent_of_the_brightest_proton_density_and_frames_are_averaged() -> None:
    density = np.full((10, 20, 2), 100.0)
    density[..., 1] = 300.0  # 200 on average
    density[0, 0], density[0, 1], density[0, 2] = 4.0, 4.01, 3.99
    density[5, 5] = 1e6  # one hot pixel of 200 is beyond the 99th percentile
    ratio = divide_by_proton_density(np.full((10, 20, 3), 50.0), density)
    assert np.isnan(ratio[0, :3]).all(axis=1).tolist() == [True, False, True]
    assert ratio[9, 9].tolist() == [0.25] * 3
    assert ratio[0, 1, 2] == pytest.approx(50 / 4.01)
    with pytest.raises(ValueError, match="rows and columns must agree"):
        divide_by_proton_density(np.ones((3, 4)), np.ones((3, 4)))


def test_decay_needs_signal_in_both_echoes_and_smoothing_is_weighted_by_the_first() -> None:
    assert r2star([0.0, -1.0, 2.0], [1.0, 1.0, -2.0], 0.7, 1.8).tolist() == [0, 0, 0]
    assert r2star([2.0], [1.0], 0.0, 2.0)[0] == pytest.approx(1e3 * np.log(2) / 2)
    # two frames of log ratio 0.2 and 0 and weights 3 and 1: with a smoothing of their width they mix by both
    early, late = np.array([3.0, 1.0]), np.array([3 * np.exp(-0.2), 1.0])
    near, far = 0.0, 0.0
    kernel = np.exp(-0.5 * np.arange(-4, 5) ** 2.0)
    kernel /= kernel.sum()
    reflected = np.resize([0, 1, 1, 0], 16)  # how the ends are continued: 0 1 | 1 0 | 0 1 ...
    near = sum(kernel[k + 4] for k in range(-4, 5) if reflected[k % 4] == 0)
    far = 1 - near
    expected = 3 * near * 0.2 / (3 * near + far) / 1.1e-3
    assert r2star(early, late, 0.7, 1.8, smooth_frames=1.0)[0] == pytest.approx(expected, rel=1e-3)


# features of a curve of straight lines, 2 s a frame, where smoothing hardly reaches from one frame to the next

_LINES = np.r_[np.full(11, 0.1), 1.1, 2.1, 3.1, 4.1, 5.1, 3.6, 2.1, 0.9, 0.4, 0.9, 1.1, 1.0, 0.9, 0.8, 0.7]


def test_features_of_straight_lines_by_hand() -> None:
    found = features(_LINES, 2.0)
    assert found["foot_s"] == pytest.approx(20, abs=0.05)  # the line of 1 a frame meets the baseline at frame 10
    assert found["first_pass_s"] == pytest.approx(18, abs=0.05)  # to frame 19
    # a parabola through 4, 5 and 3.5: a tenth of a frame before the peak, 0.0125 above it
    assert found["peak_s"] == pytest.approx(2 * 14.9)
    assert found["peak_value"] == pytest.approx(5.0125)
    # 1 + 2 + 3 + 4 + 5 + 3.5 + 2 + 0.8 and half of 0.3, of 2 s each
    assert found["auc"] == pytest.approx(2 * 21.45, rel=0.01)
    assert foot_index(_LINES, 2.0) in (9, 10)
    uneven = _LINES + np.r_[np.tile([0.02, -0.02], 5), np.zeros(16)]  # its mean is that of the flat one
    assert features(uneven, 2.0)["peak_value"] == pytest.approx(5.0125, abs=0.002)
    shifted = features(np.r_[_LINES[:1], _LINES] + 3, 2.0)
    assert shifted["foot_s"] - found["foot_s"] == pytest.approx(2)
    assert shifted["auc"] == pytest.approx(found["auc"])
    with pytest.raises(ValueError, match="aif_no_bolus"):
        foot_index(np.ones(20), 2.0)


def test_a_curve_that_only_falls_ends_its_first_pass_with_the_last_frame_and_a_spike_is_no_peak() -> None:
    falling = np.r_[_LINES[:16], 4.0, 3.0, 2.0, 1.5, 1.0]
    assert features(falling, 2.0)["first_pass_s"] == pytest.approx(2 * (20 - 10), abs=0.05)
    spiked = _LINES.copy()
    spiked[3] = 6.0
    fine = np.interp(np.arange(0, 50, 0.5), 2.0 * np.arange(26), spiked)
    assert features(fine, 0.5)["peak_s"] == pytest.approx(30, abs=1)


@pytest.mark.parametrize(
    ("height", "codes"),
    [(0.99, ("aif_peak_low",)), (1.01, ()), (9.99, ()), (10.01, ("aif_peak_high",))],
)
def test_a_peak_lies_between_one_and_ten_millimoles(height: float, codes: tuple[str, ...]) -> None:
    assert failed_gates(_LINES * height / 5.0125, 2.0) == codes
    assert failed_gates(_LINES * height / 5.0125 + 4, 2.0) == codes  # above the baseline


def test_a_bolus_stands_three_times_over_the_noise_before_it() -> None:
    noise = np.array([1.0, -1, 1, -1, 1, -1, 1, -1, 0, 0, 0])
    curve = _LINES + np.r_[noise, np.zeros(15)] * 0.1
    assert failed_gates(curve, 2.0) == ()
    assert "aif_no_bolus" in failed_gates(_LINES + np.r_[noise, np.zeros(15)] * 3, 2.0)
