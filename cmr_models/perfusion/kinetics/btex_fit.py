"""Fit of BTEX to many pixels: what the region shares, then the mean of alike neighbours, then the pixel around it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cmr_models.perfusion.kinetics.btex_curves import BtexCurves
from cmr_models.perfusion.kinetics.btex_region import learnt
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
_SCOUTS = 512  # pixels that decide what the region has in common
_FEWEST_SCOUTS = 10
_SCOUT_SD = (1.0, 0.25, 0.4, 0.25, 0.5)  # of the fit that tells which of them are muscle
_SCOUT_FLOW, _SCOUT_BLOOD, _SCOUT_SPACE = 0.2, 0.2, 0.08  # mL/min/g above, mL/g below, mL/g above: it is muscle
_SCOUT_MISFIT = 0.2  # of the peak, below


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
        prior_sd: of a pixel, measured by the mean of its alike neighbours, about its region's centre.
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
    alike: npt.NDArray[np.floating] | None = None,
    scouts: npt.NDArray[np.floating] | None = None,
) -> tuple[Fit, float]:
    """Fit each curve, its neighbours' mean first.

    Args:
        curves: (n, frame) mmol/L above baseline.
        model: the curves of BTEX for the same frames.
        settings: bounds and priors.
        device: of torch.
        alike: (n, frame) means of each curve and its alike neighbours; without them every curve is on its own.
        scouts: (m, frame) such means of what is surely muscle, to learn the region's prior by; all if None.

    Returns:
        The fits, parameters as ``btex_curves.PARAMETERS``; and the delay of the region in s.
    """
    measured = _tensor(curves, device)
    mean = measured if alike is None else _tensor(alike, device)
    grid = dictionary(model, device)
    problem = region_problem(mean if scouts is None else _tensor(scouts, device), model, settings, grid)
    pixel_sd = torch.tensor(settings.pixel_sd, dtype=torch.float32, device=device)
    block = _BLOCK if device == "cpu" else 64 * _BLOCK
    fits = []
    for at in range(0, len(measured), block):
        near = _fitted(mean[at : at + block], model, problem, grid)
        if alike is not None:
            around = Problem(problem.low, problem.high, near.parameters, pixel_sd)
            near = _refined(measured[at : at + block], model, around, near)
        fits.append(near)
    return Fit(*(torch.cat(parts) for parts in zip(*fits, strict=True))), float(problem.prior[4])


def region_problem(curves: Tensor, model: BtexCurves, settings: Settings, grid: tuple[Tensor, Tensor]) -> Problem:
    """Bounds and the prior of a region's pixels, learnt from a sample of (n, frame) curves; the population's where they
    are few.

    One pixel cannot tell its delay or blood volume from its flow at stress; many can. Curves that fit no muscle have no
    say.
    """
    device = str(curves.device)
    sample = curves[torch.linspace(0, max(0, len(curves) - 1), min(_SCOUTS, len(curves)), device=device).long()]
    problem = settings.problem(device)
    wide = Problem(problem.low, problem.high, problem.prior, torch.tensor(_SCOUT_SD, device=device))
    first = _fitted(sample, model, wide, grid)
    flow, blood, _, space = first.parameters[:, :4].exp().T
    muscle = (flow > _SCOUT_FLOW) & (blood < _SCOUT_BLOOD) & (space > _SCOUT_SPACE)
    muscle &= first.residual < _SCOUT_MISFIT * sample.amax(1)
    if int(muscle.sum()) < _FEWEST_SCOUTS:
        muscle = torch.zeros_like(muscle)
    population_sd = torch.tensor(settings.population_sd, device=device).clamp_min(1e-3)
    return learnt(model, sample[muscle], Fit(*(part[muscle] for part in first)), problem, population_sd)


def _fitted(measured: Tensor, model: BtexCurves, problem: Problem, grid: tuple[Tensor, Tensor]) -> Fit:
    """Least squares from the nearest entry of the dictionary."""
    points, entries = grid
    start = points[((entries**2).sum(1) - 2 * measured @ entries.T).argmin(1)]
    noise = _FIRST_NOISE * effective_noise(measured - model(start)[0], start.shape[1]).clamp_min(1e-6)
    return _rounds(measured, model, problem, start, noise, _ROUNDS)


def _refined(measured: Tensor, model: BtexCurves, problem: Problem, near: Fit) -> Fit:
    noise = effective_noise(measured - model(near.parameters)[0], near.parameters.shape[1]).clamp_min(1e-6)
    return _rounds(measured, model, problem, near.parameters, noise, _PIXEL_ROUNDS)


def _rounds(
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
