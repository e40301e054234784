"""Fermi-function deconvolution: R(t) = F (1 + exp(-k T)) / (1 + exp(k (t - T))), fitted to the first pass.

The function knows no interstitium: what leaks and stays counts as flow, so that low flow reads high (about 40 % at 0.7
mL/min/g, 23 % over the published map at rest), and its shoulder is too smooth for a capillary, so that high flow reads
low (about 20 % at 3). How much depends on the fitted window (benchmarks/perfusion.py, ``other_models``).

Reference:
    Axel 1983, and Jerosch-Herold et al. 1998, doi:10.1118/1.598163.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import softplus

from cmr_models.aif.curve_features import features
from cmr_models.perfusion.kinetics.differences import LinearModel
from cmr_models.perfusion.kinetics.fitted import Fitted
from cmr_models.perfusion.kinetics.least_squares import Problem, effective_noise, fit

Floats = npt.NDArray[np.float64]

_INF = float("inf")
# log flow (mL/min/g), log rate k (1/s), T (s), delay (s)
_LOW, _HIGH = (-3.0, -3.0, 0.0, 0.0), (2.3, 1.6, 15.0, 3.0)
_PRIOR, _PRIOR_SD = (0.7, -1.0, 3.0, 0.5), (_INF, 1.0, 3.0, 0.3)
_STARTS = ((-0.2, -1.5, 2.0, 0.5), (0.7, -0.7, 4.0, 0.5), (1.2, 0.0, 2.0, 0.3))
_TAIL_S = 2.0  # the fit ends this long after the input's first pass: the tissue's comes later


def fermi_maps(curves: Floats, aif: Floats, dt_s: float, hematocrit: float, device: str) -> Fitted:
    """Fit the first pass of (n, frame) curves for a blood input (frame,), both mmol/L above baseline.

    ``hematocrit`` is not used: the amplitude at blood input is blood flow.
    """
    found = features(aif, dt_s)
    last = min(aif.size, round((found["foot_s"] + found["first_pass_s"] + _TAIL_S) / dt_s) + 1)
    measured = torch.as_tensor(np.ascontiguousarray(curves[:, :last]), dtype=torch.float64, device=device)
    model = LinearModel(fermi_integral, aif[:last], dt_s, device)
    problem = Problem(
        *(torch.tensor(row, dtype=torch.float64, device=device) for row in (_LOW, _HIGH, _PRIOR, _PRIOR_SD))
    )
    best = model.best_start(measured, torch.tensor(_STARTS, dtype=torch.float64, device=device))
    noise = effective_noise(measured - model(best)[0], 4).clamp_min(1e-6)
    estimate = fit(model, measured, best, noise, problem, steps=20)
    estimate = fit(model, measured, estimate.parameters, estimate.effective_sd, problem, steps=30)
    flow = estimate.parameters[:, 0].exp()
    values = {
        "mbf_ml_min_g": flow,
        "mbf_sd_ml_min_g": flow * estimate.sd[:, 0],
        "delay_s": estimate.parameters[:, 3],
        "delay_sd_s": estimate.sd[:, 3],
    }
    return Fitted(
        {name: value.cpu().numpy() for name, value in values.items()},
        estimate.residual.cpu().numpy(),
        estimate.converged.cpu().numpy(),
        estimate.at_bound[:, 0].cpu().numpy(),
    )


def fermi_integral(parameters: Tensor, edges: Tensor) -> Tensor:
    """Integral of the residue from 0 to each edge: (n, 4) and (m,) to (n, m), in mL/g."""
    flow, rate, shoulder, delay = parameters.T[..., None]
    rate = rate.exp()
    since = (edges - delay).clamp_min(0)
    # the integral of 1 / (1 + exp(x)) is x - softplus(x)
    reached = rate * (since - shoulder)
    area = (reached - softplus(reached)) - (-rate * shoulder - softplus(-rate * shoulder))
    height: Tensor = flow.exp() / 60 * (1 + (-rate * shoulder).exp())
    amount: Tensor = height * area / rate
    return amount
