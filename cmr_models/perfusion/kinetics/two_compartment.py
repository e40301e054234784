"""Two-compartment exchange: plasma and interstitium, each well mixed.

Vp dCp/dt = Fp (Cin - Cp) - PS (Cp - Ce); Ve dCe/dt = PS (Cp - Ce). The residue has two exponentials. On a heart, where
plasma runs through capillaries and nothing leaves before it has crossed, it reads flow high: 13 to 33 % where the delay
is known, 37 % over the published map at rest, and twice the flow at stress where the delay is fitted as well, for a
late start makes up for the early loss (benchmarks/perfusion.py, ``other_models``).

Reference:
    Sourbron and Buckley 2012, doi:10.1088/0031-9155/57/2/R1.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cmr_models.perfusion.kinetics.differences import LinearModel
from cmr_models.perfusion.kinetics.fitted import Fitted
from cmr_models.perfusion.kinetics.least_squares import Problem, effective_noise, fit

Floats = npt.NDArray[np.float64]

_INF = float("inf")
# log of plasma flow (mL/min/g), plasma volume (mL/g), PS (mL/min/g), interstitial volume (mL/g); delay (s)
_LOW = (*np.log((0.03, 0.01, 0.05, 0.03)), 0.0)
_HIGH = (*np.log((6.0, 0.3, 5.0, 0.6)), 3.0)
_PRIOR = (*np.log((1.2, 0.053, 1.0, 0.212)), 0.5)
_PRIOR_SD = (_INF, 0.4, 0.5, 0.3, 0.3)
_STARTS = [
    (*np.log(row[:4]), row[4])
    for row in product(np.geomspace(0.1, 4.0, 10), (0.03, 0.06), (0.5, 1.5), (0.15, 0.3), (0.0, 0.5, 1.0))
]


def two_compartment_maps(curves: Floats, aif: Floats, dt_s: float, hematocrit: float, device: str) -> Fitted:
    """Fit (n, frame) curves for a blood input (frame,), both mmol/L above baseline."""
    plasma = 1.0 - hematocrit
    measured = torch.as_tensor(np.ascontiguousarray(curves), dtype=torch.float64, device=device)
    model = LinearModel(exchange_integral, aif / plasma, dt_s, device)
    problem = Problem(
        *(torch.tensor(row, dtype=torch.float64, device=device) for row in (_LOW, _HIGH, _PRIOR, _PRIOR_SD))
    )
    best = model.best_start(measured, torch.tensor(_STARTS, dtype=torch.float64, device=device))
    noise = effective_noise(measured - model(best)[0], 5).clamp_min(1e-6)
    found = fit(model, measured, best, noise, problem, steps=20)
    found = fit(model, measured, found.parameters, found.effective_sd, problem, steps=30)
    natural, sd = found.parameters[:, :4].exp().cpu().numpy(), found.sd.cpu().numpy()
    scales = {"mbf{}_ml_min_g": plasma, "vb{}_ml_g": plasma, "ps{}_ml_min_g": 1.0, "visf{}_ml_g": 1.0}
    values = {"delay_s": found.parameters[:, 4].cpu().numpy(), "delay_sd_s": sd[:, 4]}
    for at, (name, scale) in enumerate(scales.items()):
        values[name.format("")] = natural[:, at] / scale
        values[name.format("_sd")] = natural[:, at] / scale * sd[:, at]
    limits = found.at_bound[:, :4].any(1).cpu().numpy()
    return Fitted(values, found.residual.cpu().numpy(), found.converged.cpu().numpy(), limits)


def exchange_integral(parameters: Tensor, edges: Tensor) -> Tensor:
    """Integral of the residue from 0 to each edge: (n, 5) and (m,) to (n, m), in mL/g of plasma input.

    With plasma and interstitial transit times Tp = Vp / (Fp + PS) and Te = Ve / PS, the rates are the roots of
    s^2 - (1/Tp + 1/Te) s + (1/Tp)(1/Te) Fp / (Fp + PS) = 0.
    """
    flow, plasma, ps, space = parameters[:, :4].exp().T[..., None]
    flow, ps = flow / 60, ps / 60
    since = (edges - parameters[:, 4:]).clamp_min(0)
    out, back = (flow + ps) / plasma, ps / space
    gap = ((out - back) ** 2 + 4 * out * back * ps / (flow + ps)).sqrt()
    fast, slow = (out + back + gap) / 2, (out + back - gap) / 2
    share = (flow / plasma - slow) / gap  # of the fast exponential: R'(0) = -Fp^2 / Vp
    held: Tensor = share / fast * -torch.expm1(-fast * since) + (1 - share) / slow * -torch.expm1(-slow * since)
    amount: Tensor = flow * held
    return amount
