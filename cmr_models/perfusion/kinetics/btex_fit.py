"""Fit of BTEX to many pixels: the prior of the region, then the mean of similar neighbours, then the pixel itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cmr_models.perfusion.kinetics.btex_curves import BtexCurves
from cmr_models.perfusion.kinetics.btex_region import learn_prior
from cmr_models.perfusion.kinetics.least_squares import Fit, Problem, effective_noise, fit

_DICTIONARY = (
    tuple(np.geomspace(0.15, 7.0, 16)),  # mbf, mL/min/g
    (0.05, 0.09, 0.15),  # vb, mL/g
    (0.5, 1.2),  # ps, mL/min/g
    (0.12, 0.22, 0.38),  # visf, mL/g
    (0.0, 0.5, 1.0, 1.75),  # delay, s
)
_ROUNDS = (8, 6, 12)  # trial steps; the noise of each round is what the round before left
HIGHEST_FLOW_ML_MIN_G = 8.0
_PIXEL_ROUNDS = (8, 8)
_FIRST_NOISE = 0.1  # of what the dictionary left: were all of it noise, the prior would explain itself
_BLOCK = 512  # curves at a time, so that their arrays stay in the processor's cache
_SAMPLED_PIXELS = 512  # pixels from which the region's prior is learnt
_FEWEST_MUSCLE_PIXELS = 10
_WIDE_SD = (1.0, 0.25, 0.4, 0.25, 0.5)  # prior of the fit that finds which of them are muscle
_MUSCLE_FLOW, _MUSCLE_BLOOD, _MUSCLE_SPACE = 0.2, 0.2, 0.08  # mL/min/g above, mL/g below, mL/g above: it is muscle
_MUSCLE_MISFIT = 0.2  # of the peak, below


@dataclass(frozen=True)
class Settings:
    """Bounds and priors of (mbf, vb, ps, visf, delay_s): log-normal, but the delay normal. docs/adr gives the evidence.

    The population's 95 % ranges of regions follow the working ranges of myocardium: vb 0.06 to 0.15, ps 0.5 to 2,
    visf 0.14 to 0.31, delay to 1.5 s; that of flow, 0.27 to 15, decides only where the curve does not.

    Attributes:
        low: bounds.
        high: bounds.
        prior: the population's centre.
        population_sd: of a region's centre about it; all 0 keeps regions at the population's centre.
        prior_sd: of a pixel, measured by the mean of its similar neighbours, about its region's centre.
        pixel_sd: of a pixel about that mean.
    """

    low: tuple[float, ...] = (0.05, 0.02, 0.1, 0.05, -0.1)
    high: tuple[float, ...] = (HIGHEST_FLOW_ML_MIN_G, 0.25, 4.0, 0.6, 3.0)
    prior: tuple[float, ...] = (2.0, 0.092, 1.0, 0.212, 0.5)
    population_sd: tuple[float, ...] = (1.0, 0.25, 0.35, 0.2, 0.5)
    prior_sd: tuple[float, ...] = (1.0, 0.1, 0.2, 0.1, 0.1)
    pixel_sd: tuple[float, ...] = (0.1, 0.08, 0.15, 0.07, 0.05)

    def problem(self, device: str) -> Problem:
        """In the coordinates of the fit: logarithms, but for the delay."""
        rows = [[*np.log(row[:4]), row[4]] for row in (self.low, self.high, self.prior)]
        return Problem(*(torch.tensor(row, dtype=torch.float32, device=device) for row in (*rows, self.prior_sd)))

    def fixing(self, delay_s: float) -> Settings:
        """The same, with every delay held at ``delay_s``."""
        low, high, prior = ((*row[:4], delay_s) for row in (self.low, self.high, self.prior))
        return replace(self, low=low, high=high, prior=prior)


def fit_btex(
    curves: npt.NDArray[np.floating],
    model: BtexCurves,
    settings: Settings,
    device: str = "cpu",
    *,
    means: npt.NDArray[np.floating] | None = None,
    muscle_means: npt.NDArray[np.floating] | None = None,
) -> tuple[Fit, float]:
    """Fit each curve, its neighbours' mean first.

    Args:
        curves: (n, frame) mmol/L above baseline.
        model: the curves of BTEX for the same frames.
        settings: bounds and priors.
        device: of torch.
        means: (n, frame) means of each curve and its similar neighbours; without them every curve is on its own.
        muscle_means: (m, frame) such means of pixels that are certainly muscle; the region's prior is learnt from them.
            None: from all.

    Returns:
        The fits, parameters as ``btex_curves.PARAMETERS``; and the delay of the region in s.
    """
    measured = _tensor(curves, device)
    mean = measured if means is None else _tensor(means, device)
    grid = dictionary(model, device)
    problem = region_problem(mean if muscle_means is None else _tensor(muscle_means, device), model, settings, grid)
    pixel_sd = torch.tensor(settings.pixel_sd, dtype=torch.float32, device=device)
    block = _BLOCK if device == "cpu" else 64 * _BLOCK
    fits = []
    for at in range(0, len(measured), block):
        near = _fit_from_dictionary(mean[at : at + block], model, problem, grid)
        if means is not None:
            around = Problem(problem.low, problem.high, near.parameters, pixel_sd)
            near = _refine_pixels(measured[at : at + block], model, around, near)
        fits.append(near)
    return Fit(*(torch.cat(parts) for parts in zip(*fits, strict=True))), float(problem.prior[4])


def region_problem(curves: Tensor, model: BtexCurves, settings: Settings, grid: tuple[Tensor, Tensor]) -> Problem:
    """Bounds and the prior of a region's pixels, learnt from a sample of (n, frame) curves.

    One pixel cannot tell its delay or blood volume from its flow at stress; many can. Curves that do not fit muscle do
    not count. Where few are left, the prior is the population's.
    """
    device = str(curves.device)
    sample = curves[torch.linspace(0, max(0, len(curves) - 1), min(_SAMPLED_PIXELS, len(curves)), device=device).long()]
    problem = settings.problem(device)
    wide = Problem(problem.low, problem.high, problem.prior, torch.tensor(_WIDE_SD, device=device))
    first = _fit_from_dictionary(sample, model, wide, grid)
    flow, blood, _, space = first.parameters[:, :4].exp().T
    muscle = (flow > _MUSCLE_FLOW) & (blood < _MUSCLE_BLOOD) & (space > _MUSCLE_SPACE)
    muscle &= first.residual < _MUSCLE_MISFIT * sample.amax(1)
    if int(muscle.sum()) < _FEWEST_MUSCLE_PIXELS:
        muscle = torch.zeros_like(muscle)
    population_sd = torch.tensor(settings.population_sd, device=device).clamp_min(1e-3)
    return learn_prior(model, sample[muscle], Fit(*(part[muscle] for part in first)), problem, population_sd)


def _fit_from_dictionary(measured: Tensor, model: BtexCurves, problem: Problem, grid: tuple[Tensor, Tensor]) -> Fit:
    """Least squares from the nearest entry of the dictionary."""
    points, entries = grid
    start = points[((entries**2).sum(1) - 2 * measured @ entries.T).argmin(1)]
    noise = _FIRST_NOISE * effective_noise(measured - model(start)[0], start.shape[1]).clamp_min(1e-6)
    return _fit_in_rounds(measured, model, problem, start, noise, _ROUNDS)


def _refine_pixels(measured: Tensor, model: BtexCurves, problem: Problem, near: Fit) -> Fit:
    noise = effective_noise(measured - model(near.parameters)[0], near.parameters.shape[1]).clamp_min(1e-6)
    return _fit_in_rounds(measured, model, problem, near.parameters, noise, _PIXEL_ROUNDS)


def _fit_in_rounds(
    measured: Tensor, model: BtexCurves, problem: Problem, start: Tensor, noise: Tensor, steps: tuple[int, ...]
) -> Fit:
    found = fit(model, measured, start, noise, problem, steps=steps[0])
    for more in steps[1:]:
        found = fit(model, measured, found.parameters, found.effective_sd.clamp_min(1e-6), problem, steps=more)
    return found


def _tensor(values: npt.NDArray[np.floating], device: str) -> Tensor:
    return torch.as_tensor(np.ascontiguousarray(values), dtype=torch.float32, device=device)


def dictionary(model: BtexCurves, device: str) -> tuple[Tensor, Tensor]:
    """Parameters (m, 5) and curves (m, frame)."""
    rows = np.array(list(product(*_DICTIONARY)))
    rows[:, :4] = np.log(rows[:, :4])
    grid = torch.as_tensor(rows, dtype=torch.float32, device=device)
    return grid, model(grid)[0]
