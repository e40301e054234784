"""Fit of BTEX to many pixels: a delay for the region, then the mean of alike neighbours, then the pixel around it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cmr_models.perfusion.btex_curves import BtexCurves
from cmr_models.perfusion.least_squares import Fit, Problem, effective_noise, fit

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
_SCOUTS = 256  # pixels that decide the delay of the region
_FEWEST_SCOUTS = 10
_DELAY_FLOOR_S = 0.1  # added to what a scout states of its delay's uncertainty
_SCOUT_FLOW, _SCOUT_BLOOD, _SCOUT_SPACE = 0.2, 0.2, 0.08  # mL/min/g above, mL/g below, mL/g above: it is muscle


@dataclass(frozen=True)
class Settings:
    """Bounds and priors of (mbf, vb, ps, visf, delay_s): log-normal, but the delay normal.

    The priors' 95 % ranges lie within the working ranges of myocardium: vb 0.065 to 0.13, ps 0.55 to 1.8,
    visf 0.16 to 0.28; that of flow, 0.27 to 15, decides only where the curve does not. docs/adr gives the evidence.

    Attributes:
        low: bounds.
        high: bounds.
        prior: centre.
        prior_sd: of the mean of alike neighbours.
        pixel_sd: of a pixel around that mean's fit; its flow keeps the prior of all.
        scout_delay_sd: of the delay, when the region's is sought.
        delay_range_s: of the region's delay.
    """

    low: tuple[float, ...] = (0.05, 0.02, 0.1, 0.05, -0.5)
    high: tuple[float, ...] = (HIGHEST_FLOW_ML_MIN_G, 0.25, 4.0, 0.6, 3.0)
    prior: tuple[float, ...] = (2.0, 0.092, 1.0, 0.212, 0.5)
    prior_sd: tuple[float, ...] = (1.0, 0.18, 0.3, 0.15, 0.12)
    pixel_sd: tuple[float, ...] = (1.0, 0.08, 0.15, 0.07, 0.05)
    scout_delay_sd: float = 0.5
    delay_range_s: tuple[float, float] = (0.0, 1.5)

    def problem(self, device: str) -> Problem:
        """In the coordinates of the fit: logarithms, but for the delay."""
        rows = [[*np.log(row[:4]), row[4]] for row in (self.low, self.high, self.prior)]
        return Problem(*(torch.tensor(row, dtype=torch.float32, device=device) for row in (*rows, self.prior_sd)))

    def expecting(self, delay_s: float) -> Settings:
        """The same, with the delay expected at ``delay_s``."""
        return replace(self, prior=(*self.prior[:4], delay_s))

    def scouting(self) -> Settings:
        """The same, with a delay that is hardly known."""
        return replace(self, prior_sd=(*self.prior_sd[:4], self.scout_delay_sd))

    def fixing(self, delay_s: float) -> Settings:
        """The same, with every delay held at ``delay_s``."""
        held = self.expecting(delay_s)
        bounds = (delay_s, delay_s)
        return replace(held, low=(*self.low[:4], delay_s), high=(*self.high[:4], delay_s), delay_range_s=bounds)


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
        scouts: (m, frame) such means of what is surely muscle, to find the region's delay by; all if None.

    Returns:
        The fits, parameters as ``btex_curves.PARAMETERS``; and the delay of the region in s.
    """
    measured = _tensor(curves, device)
    mean = measured if alike is None else _tensor(alike, device)
    grid = _dictionary(model, device)
    delay = region_delay(mean if scouts is None else _tensor(scouts, device), model, settings, grid)
    problem = settings.expecting(delay).problem(device)
    block = _BLOCK if device == "cpu" else 64 * _BLOCK
    fits = []
    for at in range(0, len(measured), block):
        near = _fitted(mean[at : at + block], model, problem, grid)
        if alike is not None:
            near = _refined(measured[at : at + block], model, _around(near, problem, settings), near)
        fits.append(near)
    return Fit(*(torch.cat(parts) for parts in zip(*fits, strict=True))), delay


def region_delay(curves: Tensor, model: BtexCurves, settings: Settings, grid: tuple[Tensor, Tensor]) -> float:
    """The median delay of a sample of (n, frame) curves, by how well each knows it; the prior's where they are few.

    One pixel cannot tell its delay from its flow at stress; many can. Curves that fit no muscle have no say.
    """
    sample = curves[torch.linspace(0, max(0, len(curves) - 1), min(_SCOUTS, len(curves)), device=curves.device).long()]
    if len(sample) < _FEWEST_SCOUTS:
        return settings.prior[4]
    found = _fitted(sample, model, settings.scouting().problem(str(curves.device)), grid)
    flow, blood, _, space = found.parameters[:, :4].exp().T
    muscle = (flow > _SCOUT_FLOW) & (blood < _SCOUT_BLOOD) & (space > _SCOUT_SPACE)
    if int(muscle.sum()) < _FEWEST_SCOUTS:
        return settings.prior[4]
    delay, order = found.parameters[muscle, 4].sort()
    weight = 1 / (found.sd[muscle, 4][order] ** 2 + _DELAY_FLOOR_S**2)
    reached = weight.cumsum(0)
    median = float(delay[int((reached >= reached[-1] / 2).nonzero()[0])])
    return float(np.clip(median, *settings.delay_range_s))


def _fitted(measured: Tensor, model: BtexCurves, problem: Problem, grid: tuple[Tensor, Tensor]) -> Fit:
    """Least squares from the nearest entry of the dictionary."""
    points, entries = grid
    start = points[((entries**2).sum(1) - 2 * measured @ entries.T).argmin(1)]
    noise = _FIRST_NOISE * effective_noise(measured - model(start)[0], start.shape[1]).clamp_min(1e-6)
    return _rounds(measured, model, problem, start, noise, _ROUNDS)


def _refined(measured: Tensor, model: BtexCurves, problem: Problem, near: Fit) -> Fit:
    noise = effective_noise(measured - model(near.parameters)[0], near.parameters.shape[1]).clamp_min(1e-6)
    return _rounds(measured, model, problem, near.parameters, noise, _PIXEL_ROUNDS)


def _around(near: Fit, problem: Problem, settings: Settings) -> Problem:
    """Priors of each curve around the fit of its neighbours; flow's is that of all."""
    prior = near.parameters.clone()
    prior[:, 0] = problem.prior[0]
    return Problem(problem.low, problem.high, prior, torch.tensor(settings.pixel_sd).to(prior))


def _rounds(
    measured: Tensor, model: BtexCurves, problem: Problem, start: Tensor, noise: Tensor, steps: tuple[int, ...]
) -> Fit:
    found = fit(model, measured, start, noise, problem, steps=steps[0])
    for more in steps[1:]:
        found = fit(model, measured, found.parameters, found.effective_sd.clamp_min(1e-6), problem, steps=more)
    return found


def _tensor(values: npt.NDArray[np.floating], device: str) -> Tensor:
    return torch.as_tensor(np.ascontiguousarray(values), dtype=torch.float32, device=device)


def _dictionary(model: BtexCurves, device: str) -> tuple[Tensor, Tensor]:
    """Parameters (m, 5) and curves (m, frame)."""
    rows = np.array(list(product(*_DICTIONARY)))
    rows[:, :4] = np.log(rows[:, :4])
    grid = torch.as_tensor(rows, dtype=torch.float32, device=device)
    return grid, model(grid)[0]
