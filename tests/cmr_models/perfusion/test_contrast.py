"""From signal to mmol/L: headers on either side of each limit, and ratios that a hand can follow."""

import math
from typing import Any

import numpy as np
import pytest

from cmr_models.perfusion.contrast import _at_field, blood_contrast, brighter_half, sequence_of, tissue_contrast
from cmr_models.perfusion.signal.gadolinium import (
    ARTERIAL_FLASH,
    BLOOD,
    MYOCARDIAL_FLASH,
    MYOCARDIAL_SSFP,
    MYOCARDIUM,
    proton_density,
    signal,
)

NAN = math.nan
TOLD = {"inversion_ms": 37.6, "flip_angle_deg": 14.0, "repetition_time_ms": 2.43, "field_strength_t": 1.5}
INPUT = {"inversion_ms": 5.0, "flip_angle_deg": 5.0, "repetition_time_ms": 2.12, "field_strength_t": 1.5}


@pytest.mark.parametrize(
    ("field_t", "taken"),
    [
        (1.5, 1.5),
        (2.0, 1.5),
        (2.1, 3.0),
        (3.0, 3.0),
        (7.0, 3.0),
        (15000.0, 1.5),
        (20000.0, 1.5),
        (30000.0, 3.0),
        (100.0, 3.0),
    ],
)
def test_the_field_is_in_tesla_or_in_gauss(field_t: float, taken: float) -> None:
    assert _at_field(BLOOD, {"field_strength_t": field_t}) is BLOOD[taken]
    assert _at_field(MYOCARDIUM, {"field_strength_t": field_t}) is MYOCARDIUM[taken]
    assert _at_field(BLOOD, {}) is BLOOD[1.5]


@pytest.mark.parametrize(
    ("headers", "is_input", "protocol"),
    [
        ({"sequence_name": "*fl2d1"}, False, MYOCARDIAL_FLASH),
        ({"sequence_name": "*tfi2d1_56"}, False, MYOCARDIAL_SSFP),
        ({"flip_angle_deg": 36.0}, False, MYOCARDIAL_SSFP),
        ({"flip_angle_deg": 35.0}, False, MYOCARDIAL_FLASH),
        ({"sequence_name": "*tfi2d1_56"}, True, ARTERIAL_FLASH),
    ],
)
def test_lines_and_readout_are_those_of_the_protocol(headers: dict[str, Any], is_input: bool, protocol: object) -> None:
    found, _ = sequence_of({**TOLD, **headers}, is_input_series=is_input, density=True)
    for name in ("readout", "lines", "acceleration", "pd_flip_deg", "run_up"):
        assert getattr(found, name) == getattr(protocol, name)
    assert (found.td_ms, found.tr_ms) == (37.6, 2.43)


@pytest.mark.parametrize(
    ("headers", "limits"),
    [
        ({}, set()),
        ({"repetition_time_ms": 12.0}, set()),
        ({"repetition_time_ms": 12.1}, {"sequence_assumed"}),
        ({"inversion_ms": 0.0}, {"sequence_assumed"}),
        ({"flip_angle_deg": math.inf}, {"sequence_assumed"}),
    ],
)
def test_what_headers_lack_or_cannot_mean_is_assumed(headers: dict[str, float], limits: set[str]) -> None:
    found, got = sequence_of({**TOLD, **headers}, is_input_series=False, density=True)
    assert got == limits
    assert sequence_of({**TOLD, **headers}, is_input_series=False, density=False)[1] == limits | {"perfusion_no_pd"}
    if limits:
        assert (found.td_ms, found.flip_deg, found.tr_ms) == pytest.approx((37.6, 14, 2.43)) or math.isinf(
            headers.get("flip_angle_deg", 0)
        )


def test_the_brighter_half_of_the_mask_is_that_during_the_bolus() -> None:
    series = np.full((4, 6, 20), 10.0, np.float32)
    course = np.r_[np.zeros(6), 1, 4, 9, 4, 1, np.zeros(9)]
    series += np.arange(24).reshape(4, 6)[..., None] * course
    series[0, :, 16:] += 30  # bright long after the peak: more than four frames
    mask = np.zeros((4, 6), bool)
    mask[0:3, :] = True  # 18 pixels: values 0 to 17, of which 9 to 17 are the half
    kept = brighter_half(series, None, mask)
    assert np.flatnonzero(kept).tolist() == list(range(9, 18))
    density = np.ones((4, 6), np.float32)
    density[2] = 100  # a near coil made these bright
    assert np.flatnonzero(brighter_half(series, density, mask)).tolist() == list(range(3, 12))
    mask[2, 3:] = False  # 15 pixels stay whole, 16 do not
    np.testing.assert_array_equal(brighter_half(series, None, mask), mask)
    mask[2, 3] = True
    assert brighter_half(series, None, mask).sum() == 8


@pytest.mark.parametrize(
    ("frame", "kept"), [(12, [4, 5, *range(11, 18)]), (13, [*range(9, 18)]), (4, [4, 5, *range(11, 18)])]
)
def test_four_frames_on_either_side_of_the_peak_count(frame: int, kept: list[int]) -> None:
    series = np.full((3, 6, 20), 10.0, np.float32)
    series += np.arange(18).reshape(3, 6)[..., None] * np.r_[np.zeros(6), 1, 4, 9, 4, 1, np.zeros(9)]
    # the first row is brighter by 60 in two frames: 13.3 on average of nine frames, as six steps of 19/9; or in one of
    # them alone, by 6.7: the sixth is then at 27.2, under the 29 of the tenth
    series[0, :, [frame - 1, frame] if frame > 8 else [frame, frame + 1]] += 60
    assert np.flatnonzero(brighter_half(series, None, np.ones((3, 6), bool))).tolist() == kept


# concentrations of blood: what comes out is what went in


def _blood(mmol_l: np.ndarray, coil: np.ndarray) -> np.ndarray:
    """Signal ``(row, col, frame)`` of blood with this course under a coil ``(row, col)``."""
    return np.asarray(coil[..., None] * signal(mmol_l, ARTERIAL_FLASH, BLOOD[1.5]), np.float32)


COURSE = np.r_[np.zeros(6), 0.5, 2.0, 4.0, 3.0, 1.5, 0.8, np.full(8, 0.5)]
COIL = np.linspace(50, 200, 12).reshape(3, 4)


def test_blood_over_its_proton_density_gives_the_concentration_under_any_coil() -> None:
    mask = np.ones((3, 4), bool)
    found = blood_contrast(_blood(COURSE, COIL), None, COIL.astype(np.float32), INPUT, {}, mask, is_input_series=True)
    np.testing.assert_allclose(found.values, COURSE, atol=0.002)
    assert found.limits == set()
    with pytest.raises(ValueError, match="use one grid"):
        blood_contrast(_blood(COURSE, COIL), None, None, INPUT, {}, mask.T, is_input_series=True)


def test_without_proton_density_the_lower_decile_is_blood_without_contrast() -> None:
    mask = np.ones((3, 4), bool)
    found = blood_contrast(_blood(COURSE, COIL), None, None, INPUT, {}, mask, is_input_series=True)
    np.testing.assert_allclose(found.values, COURSE, atol=0.002)
    assert found.limits == {"perfusion_no_pd"}


def test_decay_is_corrected_with_a_later_second_echo_and_with_no_other() -> None:
    mask, density = np.ones((3, 4), bool), COIL.astype(np.float32)
    plain = _blood(np.full(20, 3.0), COIL)
    early, late = (plain * np.exp(-60 * te / 1e3).astype(np.float32) for te in (0.7, 1.8))
    decayed = blood_contrast(early, None, density, INPUT, {}, mask, is_input_series=True).values
    assert (decayed < 2.9).all()
    for times, values in (
        ((0.7, 1.8), np.full(20, 3.0)),
        ((1.8, 0.7), decayed),
        ((0.7, 0.7), decayed),
        ((NAN, 1.8), decayed),
    ):
        found = blood_contrast(
            early,
            late,
            density,
            {**INPUT, "echo_time_ms": times[0]},
            {"echo_time_ms": times[1]},
            mask,
            is_input_series=True,
        )
        np.testing.assert_allclose(found.values, values, atol=0.01)
    none = blood_contrast(early, late, density, {**INPUT, "echo_time_ms": 0.7}, {}, mask, is_input_series=True)
    np.testing.assert_allclose(none.values, decayed)


def test_a_balanced_readout_is_divided_by_a_spoiled_proton_density() -> None:
    headers = {**TOLD, "sequence_name": "tfi", "flip_angle_deg": 50.0, "inversion_ms": 60.0, "repetition_time_ms": 2.8}
    from dataclasses import replace

    wall, spoiled = MYOCARDIUM[1.5], replace(MYOCARDIAL_SSFP, readout="flash")
    measured = signal(COURSE, MYOCARDIAL_SSFP, wall) * proton_density(
        MYOCARDIAL_SSFP, wall
    )  # per unit of magnetisation
    density = np.full((2, 3, 4), 100 * proton_density(spoiled, wall), np.float32)
    series = np.asarray(100 * np.broadcast_to(measured, (2, 3, 4, 20)), np.float32)
    found = tissue_contrast(series, density, headers, 6)
    np.testing.assert_allclose(found.values, np.broadcast_to(COURSE, series.shape), atol=0.005)


def test_tissue_without_proton_density_is_measured_against_its_own_baseline_and_air_stays_low() -> None:
    wall = MYOCARDIUM[1.5]
    gain = np.array([[100.0, 300.0], [1000.0, 1.0]])  # the last is air: under a twentieth of the brightest
    series = np.asarray(gain[..., None] * signal(COURSE, MYOCARDIAL_FLASH, wall), np.float32)[None]
    series[0, 0, 0, 0] *= 1.6  # outside the frames of the baseline it would not matter
    found = tissue_contrast(series, None, TOLD, 6)
    np.testing.assert_allclose(found.values[0, 0, 1], COURSE, atol=0.002)
    np.testing.assert_allclose(found.values[0, 1, 0], COURSE, atol=0.002)
    # the first frame is 1.6 of the others: the baseline is 1.1 of theirs
    lower = signal(COURSE, MYOCARDIAL_FLASH, wall) / 1.1
    expected = np.interp(lower, signal(np.arange(-0.14, 5, 0.01), MYOCARDIAL_FLASH, wall), np.arange(-0.14, 5, 0.01))
    np.testing.assert_allclose(found.values[0, 0, 0, 1:], expected[1:], atol=0.002)
    assert found.values[0, 1, 1].max() < 0
    assert found.limits == {"perfusion_no_pd"}


def test_fields_of_three_tesla_have_their_own_relaxation() -> None:
    coil = np.full((3, 4), 100.0, np.float32)
    ratio = np.asarray(signal(COURSE, ARTERIAL_FLASH, BLOOD[3.0]), np.float32)
    mask = np.ones((3, 4), bool)
    found = blood_contrast(
        coil[..., None] * ratio, None, coil, {**INPUT, "field_strength_t": 3.0}, {}, mask, is_input_series=True
    )
    np.testing.assert_allclose(found.values, COURSE, atol=0.003)
