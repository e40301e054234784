"""What is fitted and what is said of each pixel: limits of the input, baselines and statuses by hand."""

from typing import Any

import numpy as np
import pytest

from cmr_models.perfusion.kinetics import status as codes
from cmr_models.perfusion.kinetics.checks import Series, _check_units, check, frame, number
from cmr_models.perfusion.kinetics.fitted import Fitted
from cmr_models.perfusion.kinetics.quantification import (
    UNITS,
    _classify,
    _dataset,
    _find_clipped,
    _request,
    _triage,
    baseline_frames,
)

AIF = np.r_[np.full(5, 0.5), 1.5, 4.5, 3.5, np.full(12, 1.0)]  # peaks 4 above its start


def checked(**changes: Any) -> Series:
    given = {"tissue": np.full((2, 3, 20), 0.1), "aif": AIF, "dt_s": 1.0, "foot": None, "hematocrit": 0.4, "mask": None}
    return check(**(given | changes))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dt_s": 0.1}, ""), ({"dt_s": 0.09}, "dt_s is"), ({"dt_s": 6.0}, ""), ({"dt_s": 6.1}, "dt_s is"),
        ({"hematocrit": 0.0}, ""), ({"hematocrit": -0.01}, "hematocrit is"), ({"hematocrit": 0.79}, ""),
        ({"hematocrit": 0.8}, "hematocrit is"),
        ({"foot": 1}, ""), ({"foot": 0}, "from 1 to 15"), ({"foot": 15}, ""), ({"foot": 16}, "from 1 to 15"),
        ({"aif": AIF * 7.49}, ""), ({"aif": AIF * 7.51}, "the AIF peaks at 30.04"),  # 4 mmol/L above its baseline
        ({"aif": AIF * 0.0251}, ""), ({"aif": AIF * 0.0249}, "the AIF peaks at 0.0996"),
        ({"aif": np.ones(20)}, ""),  # without a bolus there is nothing to compare units by
        ({"tissue": np.full((2, 3, 20), 39.9)}, ""), ({"tissue": np.full((2, 3, 20), 40.1)}, "tissue reaches 40.1"),
        ({"tissue": np.ones((2, 3, 12)), "aif": AIF[:12]}, ""),
        ({"tissue": np.ones((2, 3, 11)), "aif": AIF[:11]}, "11 frames; a first pass needs at least 12"),
        ({"aif": np.stack([AIF, AIF])}, "must share one time axis"),
    ],
)  # fmt: skip
def test_input_is_taken_up_to_its_limits(change: dict[str, Any], message: str) -> None:
    if not message:
        checked(**change)
        return
    with pytest.raises(ValueError, match=message):
        checked(**change)


def test_units_are_judged_within_the_mask_and_without_what_is_not_finite() -> None:
    tissue = np.full((2, 3, 20), 0.1)
    tissue[0, 0], tissue[1, 2, 4] = 500.0, np.nan
    mask = np.ones((2, 3))
    with pytest.raises(ValueError, match="on one scale"):
        checked(tissue=tissue, mask=mask)
    mask[0, 0] = 0
    found = checked(tissue=tissue, mask=mask, wall=np.eye(2, 3), aif=AIF[:, None])
    assert found.mask.tolist() == [[False, True, True], [True, True, True]]
    assert found.wall.tolist() == np.eye(2, 3).astype(bool).tolist()
    assert found.aif.shape == (20,)
    assert checked().wall.all()


def test_scalars_are_numbers_and_feet_whole_ones() -> None:
    assert number("dt_s", np.array([[0.5]])) == 0.5
    assert (frame(None), frame(np.float32(7.0))) == (None, 7)
    for wrong in ("0.5", [1, 2], True):
        with pytest.raises(ValueError, match="must be one number"):
            number("dt_s", wrong)
    with pytest.raises(ValueError, match=r"foot is 7\.5"):
        frame(7.5)


@pytest.mark.parametrize(
    ("foot", "first", "end"), [(18, 4, 18), (6, 4, 6), (5, 3, 5), (3, 1, 3), (2, 0, 2), (1, 0, 1), (0, 0, 1)]
)
def test_the_baseline_leaves_out_the_first_four_frames_if_two_are_left(foot: int, first: int, end: int) -> None:
    assert baseline_frames(foot) == slice(first, end)


def _series(tissue: np.ndarray, mask: np.ndarray | None = None) -> Series:
    everywhere = np.ones(tissue.shape[:2], bool)
    return Series(tissue, AIF, everywhere if mask is None else mask, everywhere)


def test_curves_stand_above_their_baseline_and_a_pixel_enhances_over_its_noise() -> None:
    rise = np.r_[np.zeros(10), np.full(10, 1.0)]
    swing = np.where(np.arange(20) % 2, 0.1, -0.1)
    # second differences of the swing are 0.4: a noise of 0.4 / 0.6745 / sqrt 6 = 0.2421. Of 6 frames before
    # and 10 after, the mean has an error of 0.2421 x sqrt(1/6 + 1/10) = 0.125; four times that is 0.5
    tissue = np.stack(
        [0.3 + rise, 0.3 + 0.51 * rise + swing, 0.3 + 0.49 * rise + swing, 0.3 + 0.029 * rise, 0.3 + 0.031 * rise]
    )
    curves, status = _triage(_series(tissue[None]), 10, baseline_frames(10))
    assert status.tolist() == [[codes.OK, codes.OK, codes.NOT_ENHANCING, codes.NOT_ENHANCING, codes.OK]]
    np.testing.assert_allclose(curves[0, 0], rise, atol=1e-12)
    tissue[0, :4] = 50  # before the steady state: no part of the baseline
    np.testing.assert_allclose(
        _triage(_series(tissue[None]), 10, baseline_frames(10))[0][0, 0, 4:], rise[4:], atol=1e-12
    )


def test_outside_goes_before_all_and_what_is_not_finite_before_what_does_not_enhance() -> None:
    tissue = np.zeros((1, 5, 20))
    tissue[0, :2, 10:] = 1.0
    tissue[0, 1, 3] = tissue[0, 2, 3] = tissue[0, 4, 3] = np.nan
    mask = np.array([[True, True, True, False, False]])
    _, status = _triage(_series(tissue, mask), 10, baseline_frames(10))
    assert status.tolist() == [[codes.OK, codes.NOT_FINITE, codes.NOT_FINITE, codes.OUTSIDE, codes.OUTSIDE]]


@pytest.mark.parametrize(
    ("dt_s", "foot", "start"), [(0.5, 10, 7), (0.6, 10, 7), (0.8, 10, 8), (2.0, 10, 9), (0.5, 2, 0)]
)
def test_the_fit_begins_a_second_and_a_half_before_the_foot(dt_s: float, foot: int, start: int) -> None:
    curves = np.arange(20.0)[None, None]
    chosen = np.ones((1, 1), bool)
    request = _request(_series(curves), curves, chosen, foot, dt_s, 0.4, "cpu")
    assert request.curves.tolist() == [list(range(start, 20))]
    np.testing.assert_allclose(request.aif, (AIF - AIF[baseline_frames(foot)].mean())[start:])
    assert (request.dt_s, request.hematocrit) == (dt_s, 0.4)


def test_a_pixel_is_clipped_that_stands_three_frames_at_the_highest_value_of_all() -> None:
    tissue = np.zeros((1, 4, 20))
    tissue[0, 0, 5:8], tissue[0, 1, 5:7], tissue[0, 2, 5:9], tissue[0, 3, 0] = 2.0, 2.0, 1.9, np.nan
    assert _find_clipped(_series(tissue), np.ones((1, 4), bool)).tolist() == [True, False, False, False]
    chosen = np.array([[False, True, True, False]])
    assert _find_clipped(_series(tissue), chosen).tolist() == [False, False]


def test_statuses_of_fits_have_an_order() -> None:
    n = 7
    curves = np.tile(np.r_[0.0, 2.0, 1.0], (n, 1))
    residual = np.array([0.5, 0.51, 0.9, 0.9, 0.9, 0.1, 0.1])  # of a peak of 2: a quarter is 0.5
    converged = np.array([1, 1, 0, 0, 0, 1, 0])
    at_bound = np.array([0, 0, 0, 1, 1, 1, 0])
    clipped = np.array([0, 0, 0, 0, 1, 0, 0], bool)
    found = _classify(curves, Fitted({}, residual, converged, at_bound), clipped)
    assert found.tolist() == [
        codes.OK, codes.POOR_FIT, codes.NOT_CONVERGED, codes.AT_BOUND, codes.CLIPPED, codes.AT_BOUND,
        codes.NOT_CONVERGED,
    ]  # fmt: skip


def test_maps_hold_numbers_where_fitted_and_what_a_model_does_not_know_is_missing() -> None:
    chosen = np.array([[True, False], [False, True]])
    fitted = Fitted({"mbf_ml_min_g": np.array([1.0, 2.0])}, np.array([0.1, 0.2]), np.ones(2), np.zeros(2))
    maps = _dataset(fitted, np.zeros((2, 2), np.uint8), chosen, {"model": "fermi"})
    np.testing.assert_array_equal(maps["mbf_ml_min_g"], [[1, np.nan], [np.nan, 2]])
    np.testing.assert_array_equal(maps["residual_mmol_l"], [[0.1, np.nan], [np.nan, 0.2]])
    assert maps["vb_ml_g"].isnull().all()
    assert {name: maps[name].attrs["units"] for name in UNITS} == dict(UNITS)
    assert maps["status"].attrs["flag_values"] == list(range(8))


def test_codes_and_which_of_them_have_numbers() -> None:
    rows = {row.name: (row.code, row.measured) for row in codes.STATUS}
    assert rows == {
        "ok": (0, True), "outside": (1, False), "not_finite": (2, False), "not_enhancing": (3, False),
        "clipped": (4, True), "at_bound": (5, True), "not_converged": (6, True), "poor_fit": (7, True),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("peak", "tissue", "accepted"),
    [
        (30.0, 1.0, True), (30.1, 1.0, False), (0.1, 0.05, True), (0.099, 0.05, False), (0.0, 1.0, True),
        (1.0, 10.0, True), (1.0, 10.1, False),
    ],
)  # fmt: skip
def test_heights_that_are_not_in_millimoles_are_refused_beyond_their_bounds(
    peak: float, tissue: float, accepted: bool
) -> None:
    aif, image = np.zeros(20), np.full((3, 3, 20), tissue)
    aif[10] = peak
    image[0, 0, 0] = np.nan
    if accepted:
        _check_units(image, aif)
        _check_units(image[:0], aif)
    else:
        with pytest.raises(ValueError, match=r"mmol/L"):
            _check_units(image, aif)


def test_the_baseline_of_an_input_is_the_median_of_its_first_tenth() -> None:
    aif, image = np.zeros(60), np.full((3, 3, 60), 1.0)
    aif[:2], aif[30] = 6.0, 32.0  # two odd frames of six: the baseline is 0, and the peak more than 30
    with pytest.raises(ValueError, match="peaks at 32"):
        _check_units(image, aif)


def test_the_peak_of_an_input_is_over_its_baseline() -> None:
    aif = np.full(20, 25.0)
    aif[10] = 54.0
    _check_units(np.ones((1, 1, 20)), aif)
    _check_units(np.full((1, 1, 20), 1e6), np.full(20, 3.0))  # without a bolus the foot tells
