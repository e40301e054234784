"""The prior of a region: bounds and widths as documented, and the learnt centre where it has a closed form."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from cmr_models.perfusion.kinetics.btex_fit import HIGHEST_FLOW_ML_MIN_G, Settings
from cmr_models.perfusion.kinetics.btex_maps import btex_maps
from cmr_models.perfusion.kinetics.btex_region import learn_prior
from cmr_models.perfusion.kinetics.least_squares import Fit, Problem

FRAMES = 14


def test_bounds_and_priors_of_flow_volume_permeability_interstitium_and_delay() -> None:
    told = Settings()
    assert told.low == (0.05, 0.02, 0.1, 0.05, -0.1)
    assert told.high == (8.0, 0.25, 4.0, 0.6, 3.0)
    assert told.prior == (2.0, 0.092, 1.0, 0.212, 0.5)
    assert (told.population_sd, told.prior_sd) == ((1.0, 0.25, 0.35, 0.2, 0.5), (1.0, 0.1, 0.2, 0.1, 0.1))
    assert told.pixel_sd == (0.1, 0.08, 0.15, 0.07, 0.05)
    assert HIGHEST_FLOW_ML_MIN_G == 8
    problem = told.problem("cpu")
    assert problem.prior.tolist() == pytest.approx([*(math.log(x) for x in (2, 0.092, 1, 0.212)), 0.5])
    assert problem.low.tolist() == pytest.approx([*(math.log(x) for x in (0.05, 0.02, 0.1, 0.05)), -0.1])
    assert problem.high.tolist() == pytest.approx([*(math.log(x) for x in (8, 0.25, 4, 0.6)), 3])
    assert problem.prior_sd.tolist() == pytest.approx(told.prior_sd)
    held = told.fixing(0.75)
    assert (held.low[4], held.high[4], held.prior[4]) == (0.75, 0.75, 0.75)
    assert (held.low[:4], held.high[:4], held.prior[:4]) == (told.low[:4], told.high[:4], told.prior[:4])


def _identity(parameters: Tensor) -> tuple[Tensor, Tensor]:
    """Curves that hold each parameter for seven frames: with little noise a pixel's estimate is its truth."""
    design = torch.eye(2, dtype=torch.float64).repeat_interleave(FRAMES // 2, dim=1)
    return parameters @ design, design.T.expand(len(parameters), FRAMES, 2)


def _learn(truth: Tensor, high: float = 9.0) -> Problem:
    f64 = torch.float64
    problem = Problem(
        torch.full((2,), -9.0, dtype=f64), torch.full((2,), high, dtype=f64),
        torch.tensor([0.0, 1.0], dtype=f64), torch.tensor([0.5, 0.2], dtype=f64),
    )  # fmt: skip
    n = len(truth)
    first = Fit(
        truth.clone(), torch.zeros(n, 2, 2, dtype=f64), torch.full((n,), 1e-4, dtype=f64), torch.zeros(n, dtype=f64),
        torch.ones(n, dtype=torch.bool), torch.zeros(n, 2, dtype=torch.bool),
    )  # fmt: skip
    return learn_prior(_identity, _identity(truth)[0], first, problem, torch.tensor([1.0, 0.4], dtype=f64))


def test_the_centre_is_the_mean_of_pixels_and_population_weighted_by_what_each_tells() -> None:
    spread = torch.tensor([[-0.2, 0.1], [0.2, -0.1]], dtype=torch.float64).repeat(40, 1)
    truth = torch.tensor([0.6, 1.5], dtype=torch.float64) + spread
    found = _learn(truth)
    # 80 pixels count as a half; one tells 1 / 0.5² and 1 / 0.2², the population 1 / 1² and 1 / 0.4²
    pixels, population = np.array([0.5 / 0.25, 0.5 / 0.04]), np.array([1.0, 1 / 0.16])
    expected = (pixels * [0.6, 1.5] + population * [0.0, 1.0]) / (pixels + population)
    np.testing.assert_allclose(found.prior, expected, atol=1e-4)
    np.testing.assert_allclose(found.prior_sd, np.sqrt(np.array([0.25, 0.04]) + 1 / (pixels + population)), rtol=1e-3)


def test_without_pixels_it_is_the_populations_and_a_bound_holds() -> None:
    none = _learn(torch.zeros(0, 2, dtype=torch.float64))
    assert none.prior.tolist() == [0, 1]
    np.testing.assert_allclose(none.prior_sd, np.sqrt([0.25 + 1, 0.04 + 0.16]))
    far = torch.tensor([[3.0, 1.0]], dtype=torch.float64).repeat(1600, 1)
    assert float(_learn(far, high=0.9).prior[0]) == pytest.approx(0.9)


def test_a_sample_that_errs_as_one_is_held_by_the_population() -> None:
    """512 alike pixels count as 3.2: with 1 / 0.2² each against 1 / 0.4² they move the centre by 80 / 86.25."""
    alike = torch.tensor([[0.0, 1.6]], dtype=torch.float64).repeat(512, 1)
    assert float(_learn(alike).prior[1]) == pytest.approx(1.0 + 0.6 * 80 / 86.25, abs=1e-4)


def test_pixels_far_from_the_centre_pull_less() -> None:
    near = torch.tensor([[0.1, 1.0]], dtype=torch.float64).repeat(80, 1)
    outlier = torch.tensor([[8.0, 1.0]], dtype=torch.float64).repeat(8, 1)
    pulled = float(_learn(torch.cat([near, outlier])).prior[0])
    # each outlier is 16 SD off and counts 3/16 of its pull: 8 x 1.5 SD x 2 / 160 against (80 x 4 + 8 x ...) / 160 + 1
    without = (80 / 160 * 4 * 0.1) / (80 / 160 * 4 + 1)
    assert without < pulled < without + 0.5
    everyone = (80 / 160 * 4 * 0.1 + 8 / 160 * 4 * 8) / (88 / 160 * 4 + 1)
    assert pulled < 0.7 * everyone


def test_maps_are_natural_numbers_with_their_spread() -> None:
    from benchmarks.first_pass import DT_S, frame_times, stress_input, tissue_curves

    curves = np.repeat(tissue_curves(1.5)[None], 12, axis=0)
    found = btex_maps(curves, stress_input(frame_times()), DT_S, 0.42, "cpu")
    assert set(found.values) == {
        "mbf_ml_min_g", "vb_ml_g", "ps_ml_min_g", "visf_ml_g", "delay_s",
        "mbf_sd_ml_min_g", "vb_sd_ml_g", "ps_sd_ml_min_g", "visf_sd_ml_g", "delay_sd_s",
    }  # fmt: skip
    np.testing.assert_allclose(found.values["mbf_ml_min_g"], 1.5, rtol=0.02)
    # a pixel alone is known no better than its prior tells: volumes to 8 %, permeability to 15 %
    assert 0 < found.values["vb_sd_ml_g"][0] / found.values["vb_ml_g"][0] < 0.3
    assert found.region_delay_s == pytest.approx(0.5, abs=0.2)
    assert not found.at_bound.any()
