"""The prior of a region's muscle: the centre of its pixels' priors, learnt from their curves.

Empirical Bayes. A pixel's parameters vary about the region's centre m with the covariance S = P^-1, and the centre
about the population's. With the curve's information H, a pixel's estimate has the covariance C = (H + P)^-1 and gives
the centre the information A = (S + H^-1)^-1 = P - P C P; the slope of its marginal likelihood by m is
P (estimate - m). So the centre is found by Newton steps between refits, in a few of them even where each pixel alone
says little (expectation and maximisation would need hundreds).

Reference: Efron and Morris 1973, doi:10.1080/01621459.1973.10481350 (shrinkage towards a learnt centre); Huber 1964,
doi:10.1214/aoms/1177703732 (the weights).
"""

from __future__ import annotations

import torch
from torch import Tensor

from cmr_models.perfusion.kinetics.least_squares import Fit, Model, Problem, fit

_STEPS = 5
_TRIALS = 6
_LARGEST_STEP = 0.3
_HUBER = 3.0  # standard deviations of the pixels about the centre
_PIXELS_AS_ONE = 160.0  # curves of a slice share the errors of input, motion and model: so many count as one (ADR 27)


def learn_prior(model: Model, curves: Tensor, first: Fit, problem: Problem, population_sd: Tensor) -> Problem:
    """The same problem with the prior that the curves of a region's muscle suggest.

    Args:
        model: the curves and their derivatives.
        curves: (n, frame) of muscle; n may be 0, then the population's centre stays.
        first: their fits with a wide prior.
        problem: bounds, the population's centre as prior, and how far pixels are from the centre of their region.
        population_sd: (p,) how far the region's centre is from the population's.

    Returns:
        The problem with the region's centre; its widths hold what remains unknown of the centre as well.
    """
    population = population_sd**-2
    precision = torch.diag(problem.prior_weight)
    centre, parameters, noise = problem.prior.clone(), first.parameters, first.effective_sd.clamp_min(1e-6)
    information = torch.diag(population)
    for _ in range(_STEPS if len(curves) else 0):
        here = Problem(problem.low, problem.high, centre, problem.prior_sd)
        found = fit(model, curves, parameters, noise, here, steps=_TRIALS)
        parameters, noise = found.parameters, found.effective_sd.clamp_min(1e-6)
        off = parameters - centre
        slope = off @ precision
        weight = (_HUBER / (off * slope).sum(1).sqrt().clamp_min(1e-6)).clamp_max(1) / _PIXELS_AS_ONE
        own_information = precision - precision @ found.covariance @ precision
        information = (weight[:, None, None] * own_information).sum(0) + torch.diag(population)
        slopes = (weight[:, None] * slope).sum(0) - population * (centre - problem.prior)
        step = torch.linalg.solve(information, slopes).clamp(-_LARGEST_STEP, _LARGEST_STEP)
        centre = torch.minimum(torch.maximum(centre + step, problem.low), problem.high)
    unknown = torch.linalg.inv(information).diagonal().clamp_min(0)
    return Problem(problem.low, problem.high, centre, (problem.prior_sd**2 + unknown).sqrt())
