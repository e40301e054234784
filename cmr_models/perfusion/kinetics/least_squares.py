"""Levenberg-Marquardt for many small problems at once, with bounds and Gaussian priors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

Model = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Parameters (n, p) to curves (n, frame) and Jacobian (n, frame, p)."""

_FIRST_DAMPING, _LEAST_DAMPING, _MOST_DAMPING = 1e-2, 1e-6, 1e8
_EASIER, _HARDER = 0.2, 5.0
_MOST_ALIKE = 0.9


@dataclass(frozen=True)
class Problem:
    """What bounds and informs the parameters, each (p,); the prior may be each curve's own, (n, p). A prior of infinite
    width says nothing."""

    low: Tensor
    high: Tensor
    prior: Tensor
    prior_sd: Tensor

    @property
    def prior_weight(self) -> Tensor:
        return self.prior_sd**-2


class Fit(NamedTuple):
    """Per problem: parameters (n, p), their covariance (n, p, p), effective noise (n,), rms residual (n,), convergence
    and bounds met."""

    parameters: Tensor
    covariance: Tensor
    effective_sd: Tensor
    residual: Tensor
    converged: Tensor
    at_bound: Tensor

    @property
    def sd(self) -> Tensor:
        """(n, p) standard deviations."""
        return self.covariance.diagonal(dim1=1, dim2=2).clamp_min(0).sqrt()


def fit(
    model: Model,
    curves: Tensor,
    start: Tensor,
    noise_sd: Tensor,
    problem: Problem,
    *,
    steps: int = 25,
    tol: float = 1e-4,
) -> Fit:
    """Least squares for each curve, at most ``steps`` trials, until no parameter moves more than ``tol``.

    Args:
        model: the curves and their derivatives.
        curves: (n, frame) measured.
        start: (n, p).
        noise_sd: (n,) standard deviation of the noise, which weighs the curve against the prior.
        problem: bounds and priors.
        steps: most trial steps.
        tol: smallest step that counts, in the parameters' own units.

    Returns:
        The estimates; a curve's standard deviations come from the curvature (noise and prior) at the optimum, and are
        too small where a parameter stands at its bound.
    """
    here = torch.minimum(torch.maximum(start, problem.low), problem.high)
    weight = noise_sd[:, None] ** 2 * problem.prior_weight
    prior = problem.prior.expand_as(here)
    damping = torch.full_like(noise_sd, _FIRST_DAMPING)
    converged = torch.zeros_like(noise_sd, dtype=torch.bool)
    cost = torch.full_like(noise_sd, torch.inf)
    live = torch.arange(len(here), device=here.device)
    hessian, gradient = _normal(model, curves, here, weight, prior, cost)
    for _ in range(steps):
        step = _step(hessian[live], gradient[live], damping[live], here[live], problem)
        there = torch.minimum(torch.maximum(here[live] + step, problem.low), problem.high)
        moved = (there - here[live]).abs().amax(1)
        tried = torch.full_like(moved, torch.inf)
        new_hessian, new_gradient = _normal(model, curves[live], there, weight[live], prior[live], tried)
        better = tried <= cost[live]
        gained = live[better]
        here[gained], cost[gained] = there[better], tried[better]
        hessian[gained], gradient[gained] = new_hessian[better], new_gradient[better]
        damping[live] = (damping[live] * torch.where(better, _EASIER, _HARDER)).clamp(_LEAST_DAMPING, _MOST_DAMPING)
        converged[live] = moved < tol
        live = live[moved >= tol]
        if not len(live):
            break
    return _summary(model, curves, here, hessian, noise_sd, converged, problem)


def effective_noise(residual: Tensor, parameters: int) -> Tensor:
    """(n,) residual sd of (n, frame), larger where residuals follow one another.

    Breathing and misfit make residuals alike from frame to frame; n of them then tell as much as n (1 - r) / (1 + r)
    independent ones, r being their correlation at lag 1 (Bayley and Hammersley 1946). White noise is left as it is.
    """
    squares = (residual**2).sum(1)
    lagged = (residual[:, 1:] * residual[:, :-1]).sum(1)
    alike = (lagged / squares.clamp_min(1e-20)).clamp(0, _MOST_ALIKE)
    return (squares / max(1, residual.shape[1] - parameters) * (1 + alike) / (1 - alike)).sqrt()


def _normal(
    model: Model, curves: Tensor, here: Tensor, weight: Tensor, prior: Tensor, cost: Tensor
) -> tuple[Tensor, Tensor]:
    """Gauss-Newton Hessian and gradient of half the cost, which is written into ``cost``."""
    predicted, jacobian = model(here)
    residual = curves - predicted
    off = here - prior
    cost.copy_((residual**2).sum(1) + (weight * off**2).sum(1))
    hessian = jacobian.mT @ jacobian + torch.diag_embed(weight)
    return hessian, (jacobian.mT @ residual[..., None])[..., 0] - weight * off


def _step(hessian: Tensor, gradient: Tensor, damping: Tensor, here: Tensor, problem: Problem) -> Tensor:
    """Damped step; a parameter that stands at a bound and would leave it is held."""
    outward = ((here <= problem.low) & (gradient < 0)) | ((here >= problem.high) & (gradient > 0))
    free = (~outward).to(hessian.dtype)
    scale = hessian.diagonal(dim1=1, dim2=2)
    floor = scale.amax(1, keepdim=True) * 1e-9 + torch.finfo(hessian.dtype).tiny
    held = hessian * free[:, :, None] * free[:, None, :]
    held = held + torch.diag_embed(torch.where(outward, torch.ones_like(scale), damping[:, None] * scale + floor))
    solved: Tensor = torch.linalg.solve_ex(held, (gradient * free)[..., None])[0]
    return solved[..., 0]


def _summary(
    model: Model, curves: Tensor, here: Tensor, hessian: Tensor, noise_sd: Tensor, converged: Tensor, problem: Problem
) -> Fit:
    residual = curves - model(here)[0]
    noise = effective_noise(residual, here.shape[1])
    scale = hessian.diagonal(dim1=1, dim2=2)
    eye = torch.eye(here.shape[1], dtype=here.dtype, device=here.device)
    inverse = torch.linalg.inv_ex(hessian + eye * (scale.amax(1) * 1e-9 + 1e-30)[:, None, None])[0]
    covariance = noise_sd[:, None, None] ** 2 * inverse
    margin = 1e-3 * (problem.high - problem.low)
    at_bound = (here <= problem.low + margin) | (here >= problem.high - margin)
    return Fit(here, covariance, noise, (residual**2).mean(1).sqrt(), converged, at_bound)
