"""Simulated first passes: physics of the signal, order of the chambers, kept truth, files that say what they are."""

import io
from dataclasses import replace

import numpy as np
import pydicom
import pytest

from cmr_models.perfusion.kinetics import btex
from cmr_models.simulate.dicom import Session
from cmr_models.simulate.perfusion import MYOCARDIAL_SERIES, SimulatedScan, simulated_scan
from cmr_models.simulate.perfusion.curves import GRID_S, blood_curves, draw_bolus
from cmr_models.simulate.perfusion.dicom import encode_scan
from cmr_models.simulate.perfusion.motion import breathing_mm, displace
from cmr_models.simulate.perfusion.scene import draw_anatomy, render_scene
from cmr_models.simulate.perfusion.signal import AIF, MYOCARDIUM_FLASH, MYOCARDIUM_SSFP, Readout, echo_decay, signal
from cmr_models.simulate.perfusion.tissue import TERRITORIES, draw_tissue

SMALL = replace(MYOCARDIAL_SERIES, rows=80, cols=72, pixel_mm=3.2)


@pytest.fixture(scope="module")
def scan() -> SimulatedScan:
    return simulated_scan(np.random.default_rng(4), stress=True, territory="LAD", frames=40, myocardium=SMALL)


def test_the_bolus_is_seen_in_the_right_ventricle_then_the_lungs_then_the_left_ventricle_then_the_aorta() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        blood = blood_curves(draw_bolus(rng, stress=bool(seed % 2), latest_s=15.0), 80.0)
        peaks = [int(np.argmax(blood[name])) for name in ("atrium_right", "rv", "lung", "lv", "aorta")]
        assert peaks == sorted(peaks)
        assert 2.0 <= (peaks[3] - peaks[1]) * GRID_S <= 14.0


def test_flash_after_saturation_follows_the_pulse_by_pulse_recursion() -> None:
    readout, rate = MYOCARDIUM_FLASH, 1 / 1100 + 5.565 * 0.8 / 1000
    along = 1 - np.exp(-readout.saturation_ms * rate)
    for _ in range(readout.pulses):
        along = (
            along * np.cos(np.deg2rad(readout.flip_deg)) * np.exp(-readout.tr_ms * rate)
            + 1
            - np.exp(-readout.tr_ms * rate)
        )
    expected = along * np.sin(np.deg2rad(readout.flip_deg))
    assert signal(readout, 0.8, 1100.0, 45.0) == pytest.approx(expected, rel=1e-12)


def test_a_long_flash_train_ends_in_the_steady_state_of_dcmri() -> None:
    dcmri = pytest.importorskip("dcmri")
    readout, contrast = Readout("flash", 2.2, 30.0, 4000, 12.0, (1.0,)), np.linspace(0, 3, 7)
    rates = 1 / 1.1 + 5.565 * contrast  # 1/s
    steady = dcmri.signal_ss(1.0, rates, 0.0022, 12.0)
    np.testing.assert_allclose(signal(readout, contrast, 1100.0, 45.0), steady, rtol=1e-6)


def test_a_balanced_train_without_contrast_nears_its_steady_state() -> None:
    """Scheffler & Lehnhardt 2003, on resonance: sin(a) sqrt(E2) (1 - E1) / (1 - (E1 - E2) cos(a) - E1 E2)."""
    readout = replace(MYOCARDIUM_SSFP, pulses=4000)
    e1, e2 = np.exp(-readout.tr_ms / 1100), np.exp(-readout.tr_ms / 45)
    angle = np.deg2rad(readout.flip_deg)
    steady = np.sin(angle) * np.sqrt(e2) * (1 - e1) / (1 - (e1 - e2) * np.cos(angle) - e1 * e2)
    assert signal(readout, 0.0, 1100.0, 45.0) == pytest.approx(steady, rel=1e-9)


def test_the_short_saturation_keeps_the_peak_of_the_input_nearly_linear_where_the_long_one_does_not() -> None:
    def kept_share(readout: Readout) -> float:
        low, high = signal(readout, [0.05, 5.0], 1700.0, 220.0) - signal(readout, 0.0, 1700.0, 220.0)
        return float(high / low / 100)

    assert kept_share(AIF) > 0.6 > 0.4 > kept_share(replace(AIF, saturation_ms=90.0))


def test_the_two_echoes_give_back_the_decay_between_them() -> None:
    first, second = (echo_decay(5.0, echo) for echo in AIF.echo_ms)
    rate = np.log(first / second) / (AIF.echo_ms[1] - AIF.echo_ms[0]) * 1000
    assert rate == pytest.approx(10 + 18 * 5.0)


def test_the_shares_of_a_pixel_never_exceed_one_and_labels_are_what_fills_it() -> None:
    for seed in range(8):
        scene = render_scene(draw_anatomy(np.random.default_rng(seed), "mid"), 64, 64, 4.0)
        total = sum(scene.share.values())
        assert total.max() <= 1 + 1e-9
        assert min(share.min() for share in scene.share.values()) >= -1e-12
        assert scene.share["rv"][scene.label == 1].mean() > 0.8
        assert scene.share["myocardium"][scene.label == 2].mean() > 0.8


def test_the_septum_of_an_upright_slice_is_anteroseptal_above_and_inferoseptal_below() -> None:
    anatomy = draw_anatomy(np.random.default_rng(0), "mid", any_orientation=False)
    anatomy = replace(anatomy, rotation_rad=0.0, rv_offset_mm=(-35.0, 0.0), centre_mm=(0.0, 0.0))
    segment = render_scene(anatomy, 101, 101, 1.5).segment
    assert segment[20, 55] == 7
    assert segment[80, 45] == 10  # anterior is up, inferior is down
    assert segment[45, 30] == 8
    assert segment[55, 30] == 9  # the septum is on the left
    assert segment[55, 75] == 11
    assert segment[45, 75] == 12


def test_the_right_ventricle_meets_the_left_in_front_and_below() -> None:
    anatomy = draw_anatomy(np.random.default_rng(0), "mid", any_orientation=False)
    anatomy = replace(anatomy, rotation_rad=0.0, rv_offset_mm=(-35.0, 0.0), centre_mm=(0.0, 0.0))
    scene = render_scene(anatomy, 101, 101, 1.5)
    (anterior, left), (inferior, _) = scene.insertions_px
    assert anterior < 50 < inferior
    assert left < 50
    assert scene.segment[int(anterior), int(left)] in (7, 8)


def test_a_mirrored_anatomy_has_mirrored_segments() -> None:
    anatomy = draw_anatomy(np.random.default_rng(1), "base", any_orientation=False)
    anatomy = replace(anatomy, centre_mm=(4.0, 0.0))
    plain, mirrored = (render_scene(replace(anatomy, mirrored=m), 90, 90, 2.0) for m in (False, True))
    np.testing.assert_array_equal(plain.segment[:, ::-1], mirrored.segment)
    np.testing.assert_array_equal(plain.label[:, ::-1], mirrored.label)


def test_only_the_territory_is_short_of_blood_and_its_lining_most() -> None:
    tissue = draw_tissue(np.random.default_rng(2), stress=True, territory="RCA")
    ischaemic = np.isin(np.arange(1, 17), TERRITORIES["RCA"])
    assert tissue.ischaemic == TERRITORIES["RCA"]
    assert tissue.mbf_ml_min_g[ischaemic].max() < tissue.mbf_ml_min_g[~ischaemic].min()
    assert (tissue.mbf_ml_min_g[ischaemic, 0] < tissue.mbf_ml_min_g[ischaemic, 1]).mean() > 0.5
    with pytest.raises(ValueError, match="unknown territory 'LMS'"):
        draw_tissue(np.random.default_rng(2), stress=True, territory="LMS")


def test_tissue_curves_are_those_of_the_kinetic_model_for_the_kept_parameters(scan: SimulatedScan) -> None:
    patient, tissue = scan.patient, scan.patient.tissue
    expected = btex.tissue(
        patient.blood["lv"],
        GRID_S,
        mbf=tissue.mbf_ml_min_g[7, 1],
        vb=tissue.vb_ml_g[7, 1],
        ps=tissue.ps_ml_min_g[7, 1],
        visf=tissue.visf_ml_g[7, 1],
        delay_s=tissue.delay_s[7, 1],
    )
    np.testing.assert_allclose(patient.tissue_mmol[7, 1], expected)


def test_breathing_has_the_amplitude_asked_for_and_no_mean() -> None:
    time_s = np.cumsum(np.full(60, 0.9))
    path = breathing_mm(np.random.default_rng(3), time_s, 6.0)
    assert np.hypot(*path.T).max() == pytest.approx(6.0)
    np.testing.assert_allclose(path.mean(axis=0), 0, atol=1e-9)


def test_a_whole_pixel_of_motion_is_a_roll() -> None:
    image = np.random.default_rng(0).random((1, 20, 20)).astype(np.float32)
    shifted = displace(image, np.array([[1.0, -2.0]]), np.ones((20, 20)))
    np.testing.assert_allclose(shifted[0, 3:-3, 3:-3], np.roll(image[0], (1, -2), (0, 1))[3:-3, 3:-3], atol=1e-6)


def test_a_scan_holds_its_series_at_the_same_beats(scan: SimulatedScan) -> None:
    assert scan.aif.images.shape == (2, 64, 52, 40)
    assert list(scan.myocardium) == ["base", "mid", "apex"]
    for series in scan.myocardium.values():
        assert series.images.shape == (1, 80, 72, 40)
        np.testing.assert_array_equal(series.time_s, scan.aif.time_s)
    with pytest.raises(ValueError, match="at least 20 frames, got 3"):
        simulated_scan(np.random.default_rng(0), stress=False, frames=3)


def test_the_same_seed_makes_the_same_scan() -> None:
    one, two = (
        simulated_scan(np.random.default_rng(5), stress=False, frames=20, myocardium=SMALL, levels=("mid",))
        for _ in range(2)
    )
    np.testing.assert_array_equal(one.aif.images, two.aif.images)
    np.testing.assert_array_equal(one.myocardium["mid"].images, two.myocardium["mid"].images)


def test_the_files_tell_input_myocardium_proton_density_and_second_echo_apart(scan: SimulatedScan) -> None:
    session = Session("P1", "2.25.1", "2.25.2", "20200102", 36000.0)
    files = encode_scan(np.random.default_rng(1), scan, session, stress=True)
    headers = [pydicom.dcmread(io.BytesIO(content)) for _, content in files]
    aif = [h for h in headers if h.SeriesDescription == "STRESS_perf_AIF"]
    assert len(aif) == 3 + 2 * 40
    assert len(headers) == len(aif) + 3 * (3 + 40)
    assert sum(float(h.InversionTime) == 0 for h in aif) == 3
    assert sum(float(h.EchoTime) > 1 for h in aif) == 40
    mid = [h for h in headers if h.SeriesDescription == "STRESS_perf_SAX_mid"]
    assert sorted({float(h.FlipAngle) for h in mid}) == [8.0, 50.0]
    clock = [float(h.AcquisitionTime) for h in mid]
    assert clock == sorted(clock)
    assert len(set(clock)) == len(clock)
    stored, made = mid[3 + 20].pixel_array.astype(float), scan.myocardium["mid"].images[0, ..., 20]
    assert np.corrcoef(stored.ravel(), made.ravel())[0, 1] > 0.9999
