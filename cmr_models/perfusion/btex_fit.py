"""Fit of BTEX to many pixels: nearest of a dictionary, a delay for the whole region, then least squares with priors."""

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
_BLOCK = 512  # curves at a time, so that their arrays stay in the processor's cache
_SCOUTS = 256  # pixels that decide the delay of the region
_FEWEST_SCOUTS = 30
_DELAY_STEP_S = 0.125
_FAR = 9.0  # cost beyond which a scout no longer counts: it holds no myocardium


@dataclass(frozen=True)
class Settings:
    """Bounds and priors of (mbf, vb, ps, visf, delay_s): log-normal, but the delay normal around the region's.

    The priors' 95 % ranges are the working ranges of healthy and diseased myocardium: vb 0.06 to 0.14, ps 0.5 to 2,
    visf 0.15 to 0.30; that of flow, 0.27 to 15, decides only where the curve does not. ``delay_range_s`` bounds the
    delay of the region. docs/adr gives the evidence.
    """

    low: tuple[float, ...] = (0.05, 0.02, 0.1, 0.05, -0.5)
    high: tuple[float, ...] = (8.0, 0.25, 4.0, 0.6, 3.0)
    prior: tuple[float, ...] = (2.0, 0.092, 1.0, 0.212, 0.5)
    prior_sd: tuple[float, ...] = (1.0, 0.21, 0.35, 0.17, 0.15)
    delay_range_s: tuple[float, float] = (0.0, 1.0)

    def problem(self, device: str) -> Problem:
        """In the coordinates of the fit: logarithms, but for the delay."""
        rows = [[*np.log(row[:4]), row[4]] for row in (self.low, self.high, self.prior)]
        return Problem(*(torch.tensor(row, dtype=torch.float32, device=device) for row in (*rows, self.prior_sd)))

    def expecting(self, delay_s: float) -> Settings:
        """The same, with the delay expected at ``delay_s``."""
        return replace(self, prior=(*self.prior[:4], delay_s))

    def fixing(self, delay_s: float) -> Settings:
        """The same, with the delay held at ``delay_s``."""
        held = self.expecting(delay_s)
        return replace(held, low=(*self.low[:4], delay_s), high=(*self.high[:4], delay_s))


def fit_btex(
    curves: npt.NDArray[np.floating], model: BtexCurves, settings: Settings, device: str = "cpu"
) -> tuple[Fit, float]:
    """Fit each curve.

    Args:
        curves: (n, frame) mmol/L above baseline.
        model: the curves of BTEX for the same frames.
        settings: bounds and priors.
        device: of torch.

    Returns:
        The fits, parameters as ``btex_curves.PARAMETERS``; and the delay of the region in s.
    """
    measured = torch.as_tensor(np.ascontiguousarray(curves), dtype=torch.float32, device=device)
    delay = region_delay(measured, model, settings, device)
    problem = settings.expecting(delay).problem(device)
    block = _BLOCK if device == "cpu" else 64 * _BLOCK
    grid, entries = _dictionary(model, device)
    fits = [_fit_block(part, model, problem, grid, entries) for part in torch.split(measured, block)]
    return Fit(*(torch.cat(parts) for parts in zip(*fits, strict=True))), delay


def region_delay(measured: Tensor, model: BtexCurves, settings: Settings, device: str) -> float:
    """The delay, the same for all, that explains a sample of the curves best; the prior's where they are few.

    One pixel cannot tell its delay from its flow at stress; many can. A curve that no delay in range explains (blood
    or air among the myocardium) has a bounded say.
    """
    if len(measured) < _FEWEST_SCOUTS:
        return settings.prior[4]
    scouts = measured[torch.linspace(0, len(measured) - 1, min(_SCOUTS, len(measured)), device=device).long()]
    free = replace(settings, prior_sd=(*settings.prior_sd[:4], 1.0)).problem(device)
    found = _fit_block(scouts, model, free, *_dictionary(model, device))
    delays = np.arange(settings.delay_range_s[0], settings.delay_range_s[1] + 1e-9, _DELAY_STEP_S)
    costs = torch.stack([_cost_at(float(delay), scouts, model, found, settings, device) for delay in delays])
    excess = (costs - costs.amin(0)).clamp_max(_FAR).sum(1)
    return float(delays[int(excess.argmin())])


def _cost_at(delay: float, scouts: Tensor, model: BtexCurves, near: Fit, settings: Settings, device: str) -> Tensor:
    """(n,) weighted squares of curve and priors at the best of the other parameters."""
    problem = settings.fixing(delay).problem(device)
    found = fit(model, scouts, near.parameters, near.effective_sd, problem, steps=10)
    residual = scouts - model(found.parameters)[0]
    off = (found.parameters - problem.prior) ** 2 * problem.prior_weight
    return (residual**2).sum(1) / near.effective_sd**2 + off.sum(1)


def _fit_block(measured: Tensor, model: BtexCurves, problem: Problem, grid: Tensor, entries: Tensor) -> Fit:
    at = ((entries**2).sum(1) - 2 * measured @ entries.T).argmin(1)
    noise = effective_noise(measured - entries[at], grid.shape[1]).clamp_min(1e-6)
    found = fit(model, measured, grid[at], noise, problem, steps=_ROUNDS[0])
    for steps in _ROUNDS[1:]:
        found = fit(model, measured, found.parameters, found.effective_sd, problem, steps=steps)
    return found


def _dictionary(model: BtexCurves, device: str) -> tuple[Tensor, Tensor]:
    """Parameters (m, 5) and curves (m, frame)."""
    rows = np.array(list(product(*_DICTIONARY)))
    rows[:, :4] = np.log(rows[:, :4])
    grid = torch.as_tensor(rows, dtype=torch.float32, device=device)
    return grid, model(grid)[0]
