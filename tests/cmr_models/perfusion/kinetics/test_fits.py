"""What the fits share, against closed forms, and each model against curves of its own."""

import math
from itertools import product

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.integrate import quad, solve_ivp
from torch import Tensor

from cmr_models.perfusion.kinetics.convolution import convolve, edges, input_matrix
from cmr_models.perfusion.kinetics.deconvolution import _integrals, deconvolution_maps
from cmr_models.perfusion.kinetics.differences import LinearModel
from cmr_models.perfusion.kinetics.fermi import fermi_integral, fermi_maps
from cmr_models.perfusion.kinetics.least_squares import Problem, effective_noise, fit
from cmr_models.perfusion.kinetics.nonlocal_means import _half_disc, nonlocal_mean
from cmr_models.perfusion.kinetics.two_compartment import exchange_integral, two_compartment_maps

INF = math.inf


def _tensor(values: npt.ArrayLike) -> Tensor:
    return torch.as_tensor(np.asarray(values, float), dtype=torch.float64)


# convolution


def test_edges_lie_half_a_step_about_steps_of_half_a_frame() -> None:
    assert edges(3, 2.0).tolist() == [-0.5, 0.5, 1.5, 2.5, 3.5, 4.5]


def test_a_residue_of_one_step_gives_the_input_back_and_later_steps_move_it() -> None:
    line = 1 + 2.0 * np.arange(6)  # a spline of straight lines is straight
    steps = np.eye(11)
    np.testing.assert_allclose(convolve(steps[0], line), line)
    np.testing.assert_allclose(convolve(steps[2], line), np.r_[0, line[:-1]])
    np.testing.assert_allclose(convolve(steps[1], line), np.r_[0, line[1:] - 1], atol=1e-12)  # half a frame later
    assert input_matrix(line).shape == (6, 11)
    np.testing.assert_allclose(convolve(3 * steps[0] + steps[4], line), 3 * line + np.r_[0, 0, line[:-2]])


# least squares: a straight line with priors has a closed form

FRAMES = np.arange(6.0)
DESIGN = np.stack([np.ones(6), FRAMES], axis=1)


def _line(parameters: Tensor) -> tuple[Tensor, Tensor]:
    design = _tensor(DESIGN)
    return parameters @ design.T, design.expand(len(parameters), 6, 2)


def _problem(low: float = -99.0, high: float = 99.0, sd: tuple[float, float] = (INF, INF)) -> Problem:
    return Problem(*(_tensor(row) for row in ((low, low), (high, high), (1.0, 0.5), sd)))


def test_without_priors_it_is_the_least_squares_line_and_its_covariance() -> None:
    curves = np.stack([3 + 0.7 * FRAMES + np.array([0.1, -0.2, 0, 0.3, -0.1, -0.1]), 1 - FRAMES])
    found = fit(_line, _tensor(curves), _tensor([[0, 0], [5, 5]]), _tensor([0.2, 0.4]), _problem(), steps=30)
    slopes = np.polyfit(FRAMES, curves.T, 1)
    np.testing.assert_allclose(found.parameters, slopes[::-1].T, atol=1e-4)
    np.testing.assert_allclose(found.covariance[0], 0.04 * np.linalg.inv(DESIGN.T @ DESIGN), rtol=1e-4)
    np.testing.assert_allclose(found.sd[1], 0.4 * np.sqrt(np.diag(np.linalg.inv(DESIGN.T @ DESIGN))), rtol=1e-4)
    left = curves[0] - DESIGN @ slopes[::-1, 0]
    assert float(found.residual[0]) == pytest.approx(math.sqrt((left**2).mean()), rel=1e-3)
    assert found.converged.tolist() == [True, True]
    assert not found.at_bound.any()


def test_a_prior_weighs_as_its_width_against_the_noise() -> None:
    curve, noise, sd = 3 + 0.7 * FRAMES, 0.5, np.array([0.2, 0.1])
    weight = np.diag(noise**2 / sd**2)
    expected = np.linalg.solve(DESIGN.T @ DESIGN + weight, DESIGN.T @ curve + weight @ [1.0, 0.5])
    found = fit(_line, _tensor([curve]), _tensor([[0, 0]]), _tensor([noise]), _problem(sd=(0.2, 0.1)), steps=30)
    np.testing.assert_allclose(found.parameters[0], expected, atol=1e-4)
    np.testing.assert_allclose(found.covariance[0], noise**2 * np.linalg.inv(DESIGN.T @ DESIGN + weight), rtol=1e-4)
    own = Problem(_tensor([-99, -99]), _tensor([99, 99]), _tensor([[1.0, 0.5], [9.0, 0.5]]), _tensor([1e-4, 1e-4]))
    each = fit(_line, _tensor([curve, curve]), _tensor([[0, 0], [0, 0]]), _tensor([noise, noise]), own, steps=30)
    np.testing.assert_allclose(each.parameters, [[1, 0.5], [9, 0.5]], atol=1e-3)


def test_bounds_hold_and_the_other_parameter_makes_the_best_of_it() -> None:
    curve = 3 + 0.7 * FRAMES
    found = fit(_line, _tensor([curve]), _tensor([[50, 50]]), _tensor([0.1]), _problem(low=0.0, high=2.0), steps=40)
    # the intercept stands at 2; the slope is then that through it: 0.7 + sum(t) / sum(t^2) = 0.7 + 15 / 55
    np.testing.assert_allclose(found.parameters[0], [2, 0.7 + 15 / 55], atol=1e-4)
    assert found.at_bound.tolist() == [[True, False]]
    low = fit(_line, _tensor([curve]), _tensor([[9, 9]]), _tensor([0.1]), _problem(low=4.0, high=9.0), steps=40)
    assert low.at_bound.tolist() == [[True, True]]
    np.testing.assert_allclose(low.parameters[0], [4, 4])


def test_a_fit_that_is_stopped_says_so() -> None:
    one = fit(_line, _tensor([3 + FRAMES]), _tensor([[0, 0]]), _tensor([0.1]), _problem(), steps=1)
    assert one.converged.tolist() == [False]


def test_noise_is_the_spread_of_residuals_and_more_where_they_follow_each_other() -> None:
    swing = torch.tensor([[1.0, -1, 1, -1], [1, 1, 1, 1], [1, 1, -1, -1]])
    # squares 4 over 4 - 1; the second follow each other by 3/4, the third by 1/4
    expected = [math.sqrt(4 / 3), math.sqrt(4 / 3 * 1.75 / 0.25), math.sqrt(4 / 3 * 1.25 / 0.75)]
    assert effective_noise(swing, 1).tolist() == pytest.approx(expected)
    assert effective_noise(torch.ones(1, 40), 0).tolist() == pytest.approx([math.sqrt(1.9 / 0.1)])  # held at 0.9


def test_curves_and_slopes_of_an_integral_and_the_nearest_start() -> None:
    line = 1 + 2.0 * np.arange(6)
    model = LinearModel(lambda p, at: p[:, :1] ** 2 * at.clamp_min(0), line, 1.0, "cpu")  # a residue of p^2 for ever
    curves, slopes = model(_tensor([[2.0], [3.0]]))
    one, _ = model(_tensor([[1.0]]))
    np.testing.assert_allclose(curves, np.outer([4, 9], one[0]))
    np.testing.assert_allclose(slopes[..., 0], np.outer([4, 6], one[0]), rtol=1e-6)
    starts = _tensor([[1.0], [2.0], [3.0]])
    assert model.best_start(torch.cat([4.2 * one, 8 * one]), starts).tolist() == [[2], [3]]


# non-local means


def test_neighbours_count_by_how_far_they_differ_beyond_the_noise() -> None:
    # squares of differences: 1, 4 and, two apart, 9. Only the middle pixel has two neighbours: its second differs by 4,
    # so that the noise is 4 / 0.8 = 5; what differs by less counts in full, and 9 by exp(-(9/5 - 1) / 0.4)
    far = math.exp(-2)
    found = nonlocal_mean(np.array([[[0.0], [1], [3]]]), np.ones((1, 3), bool))[0, :, 0]
    assert found.tolist() == pytest.approx([(1 + 3 * far) / (2 + far), 4 / 3, 4 / (2 + far)], rel=1e-5)
    column = nonlocal_mean(np.array([[[0.0], [1], [3]]]).transpose(1, 0, 2), np.ones((3, 1), bool))[:, 0, 0]
    assert column.tolist() == pytest.approx(found.tolist())


def test_pixels_that_are_not_chosen_neither_give_nor_take() -> None:
    image = np.array([[[1.0, 1], [np.nan, 7], [1, 1], [1, 1], [1, 1]]])
    chosen = np.array([[True, False, True, True, True]])
    assert nonlocal_mean(image, chosen)[0].tolist() == [[1, 1], [0, 0], [1, 1], [1, 1], [1, 1]]
    alone = nonlocal_mean(np.array([[[2.0], [5.0]]]), np.ones((1, 2), bool))
    assert alone[0, :, 0].tolist() == [2, 5]  # the noise of two pixels is not known


def test_one_of_each_two_opposite_places_within_four_pixels_is_looked_at() -> None:
    offsets = list(_half_disc())
    whole = {(r, c) for r, c in product(range(-4, 5), repeat=2) if 0 < r * r + c * c <= 17}
    assert len(offsets) == len(whole) // 2 == 28
    assert set(offsets) | {(-r, -c) for r, c in offsets} == whole


# residues


def test_pieces_of_the_falling_residue_by_hand() -> None:
    # the first piece holds one for 1.2 s and falls to zero at the second time, 1.2 x (50 / 1.2)^(1/10)
    second = 1.2 * (50 / 1.2) ** 0.1
    found = _integrals(np.array([-1.0, 0.6, 1.2, second, 90.0, 120.0]))
    assert found.shape == (6, 12)
    middle = (1.2 + second) / 2
    assert found[:, 0].tolist() == pytest.approx([0, 0.6, 1.2, middle, middle, middle])
    assert found[:, 11].tolist() == pytest.approx([0, 0.6, 1.2, second, 90, 120])
    # the last falling one holds for 50 s and is gone at 100: at 90 s 40 - 40^2 / 100 of its fall have passed
    assert found[4:, 10].tolist() == pytest.approx([50 + 40 - 16, 75])


@pytest.mark.parametrize("parameters", [(0.5, -0.5, 4.0, 0.6), (-0.3, 0.4, 2.0, 0.0)])
def test_the_fermi_integral_is_that_of_the_function(parameters: tuple[float, ...]) -> None:
    flow, rate, shoulder, delay = math.exp(parameters[0]), math.exp(parameters[1]), parameters[2], parameters[3]

    def residue(t: float) -> float:
        return flow / 60 * (1 + math.exp(-rate * shoulder)) / (1 + math.exp(rate * (t - shoulder)))

    found = fermi_integral(_tensor([parameters]), _tensor([-1.0, delay + 0.5, delay + 3, delay + 12]))[0]
    expected = [0, *(quad(residue, 0, t)[0] for t in (0.5, 3, 12))]
    np.testing.assert_allclose(found, expected, rtol=1e-8)


@pytest.mark.parametrize("natural", [(1.2, 0.05, 1.0, 0.2, 0.5), (0.4, 0.1, 2.5, 0.35, 0.0)])
def test_the_exchange_integral_is_that_of_the_two_equations(natural: tuple[float, ...]) -> None:
    flow, plasma, ps, space, delay = natural[0] / 60, natural[1], natural[2] / 60, natural[3], natural[4]

    def slope(_t: float, c: npt.NDArray[np.float64]) -> list[float]:
        return [(-flow * c[0] - ps * (c[0] - c[1])) / plasma, ps * (c[0] - c[1]) / space]

    times = np.array([0.5, 3.0, 12.0])
    # a unit impulse fills the plasma; what is left in the tissue is flow times the residue
    solved = solve_ivp(slope, (0, 12), [flow / plasma, 0.0], dense_output=True, rtol=1e-10, atol=1e-14).sol

    def left(t: float) -> float:
        return float(solved(t) @ [plasma, space])

    expected = [quad(left, 0, t, epsabs=1e-12)[0] for t in times]
    logs = [*np.log(natural[:4]), delay]
    found = exchange_integral(_tensor([logs]), _tensor([-1.0, *(delay + times)]))[0]
    np.testing.assert_allclose(found, [0, *expected], rtol=1e-6)


# each model on curves of its own

TIMES = np.arange(0, 30, 0.5)
BOLUS = 5 * (np.clip(TIMES - 2, 0, None) / 3) ** 3 * np.exp(3 - np.clip(TIMES - 2, 0, None)) + 0.4 * (TIMES > 8)


def _own(integral, parameters, scale: float = 1.0) -> npt.NDArray[np.float64]:  # type: ignore[no-untyped-def]
    return np.asarray(LinearModel(integral, BOLUS / scale, 0.5, "cpu")(_tensor(parameters))[0])


def test_fermi_finds_its_own_flow_and_delay() -> None:
    truth = [[math.log(mbf), -1.0, 3.0, delay] for mbf, delay in ((0.8, 0.5), (2.5, 0.7))]
    found = fermi_maps(_own(fermi_integral, truth), BOLUS, 0.5, 0.4, "cpu")
    np.testing.assert_allclose(found.values["mbf_ml_min_g"], [0.8, 2.5], rtol=0.03)
    np.testing.assert_allclose(found.values["delay_s"], [0.5, 0.7], atol=0.05)
    assert found.converged.all()
    assert not found.at_bound.any()
    assert found.residual.max() < 0.02
    assert (found.values["mbf_sd_ml_min_g"] > 0).all()


def test_two_compartments_find_their_own_blood_flow_and_volumes() -> None:
    # plasma flow 0.6 and 1.8, plasma volume 0.053, PS 1 and interstitium 0.212: blood has 1 / (1 - 0.4) of it
    truth = [[math.log(flow), math.log(0.053), 0.0, math.log(0.212), 0.5] for flow in (0.6, 1.8)]
    found = two_compartment_maps(_own(exchange_integral, truth, 0.6), BOLUS, 0.5, 0.4, "cpu")
    np.testing.assert_allclose(found.values["mbf_ml_min_g"], [1, 3], rtol=0.03)
    np.testing.assert_allclose(found.values["vb_ml_g"], 0.053 / 0.6, rtol=0.05)
    np.testing.assert_allclose(found.values["ps_ml_min_g"], 1.0, rtol=0.1)
    np.testing.assert_allclose(found.values["visf_ml_g"], 0.212, rtol=0.05)
    np.testing.assert_allclose(found.values["delay_s"], 0.5, atol=0.05)
    assert not found.at_bound.any()


def test_deconvolution_finds_flow_and_the_delay_that_all_share() -> None:
    piece = _integrals(edges(TIMES.size, 0.5) - 0.75)[:, 3]  # one for 3.7 s, then falling
    curves = convolve(np.diff(piece) * 1.5 / 60, BOLUS) * np.array([[1.0], [2.0]])
    found = deconvolution_maps(curves, BOLUS, 0.5, 0.4, "cpu")
    np.testing.assert_allclose(found.values["mbf_ml_min_g"], [1.5, 3.0], rtol=0.02)
    assert found.region_delay_s == 0.75
    assert found.values["delay_s"].tolist() == [0.75, 0.75]
    assert found.residual.max() < 1e-3
    assert found.converged.all()
    assert not found.at_bound.any()


@pytest.mark.parametrize(("delay", "found"), [(0.0, 0.0), (0.25, 0.25), (1.75, 1.75), (2.5, 1.75)])
def test_deconvolution_looks_at_delays_to_a_second_and_three_quarters(delay: float, found: float) -> None:
    piece = _integrals(edges(TIMES.size, 0.5) - delay)[:, 3]
    curves = convolve(np.diff(piece) * 1.5 / 60, BOLUS)[None]
    assert deconvolution_maps(curves, BOLUS, 0.5, 0.4, "cpu").region_delay_s == found
