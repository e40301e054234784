"""The BTEX model of :func:`cmr_models.perfusion.quantify`."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cmr_models.perfusion.kinetics.btex_curves import BtexCurves
from cmr_models.perfusion.kinetics.btex_fit import Settings, fit_btex
from cmr_models.perfusion.kinetics.fitted import Fitted

Floats = npt.NDArray[np.float64]

_LOGARITHMIC = ("mbf_ml_min_g", "vb_ml_g", "ps_ml_min_g", "visf_ml_g")


def btex_maps(
    curves: Floats,
    aif: Floats,
    dt_s: float,
    hematocrit: float,
    device: str,
    settings: Settings | None = None,
    *,
    means: npt.NDArray[np.floating] | None = None,
    muscle_means: npt.NDArray[np.floating] | None = None,
) -> Fitted:
    """Fit BTEX to (n, frame) curves for a blood input (frame,), both mmol/L above baseline.

    ``means`` and ``muscle_means`` are those of :func:`cmr_models.perfusion.kinetics.btex_fit.fit_btex`.
    """
    model = BtexCurves(aif, dt_s, hematocrit, device)
    found, delay = fit_btex(curves, model, settings or Settings(), device, means=means, muscle_means=muscle_means)
    parameters, sd = (x.cpu().numpy().astype(np.float64) for x in (found.parameters, found.sd))
    values = {}
    for at, name in enumerate(_LOGARITHMIC):
        values[name] = np.exp(parameters[:, at])
        values[_sd_of(name)] = values[name] * sd[:, at]
    values["delay_s"], values["delay_sd_s"] = parameters[:, 4], sd[:, 4]
    limits = found.at_bound[:, :4].any(1).cpu().numpy()
    return Fitted(values, found.residual.cpu().numpy().astype(np.float64), found.converged.cpu().numpy(), limits, delay)


def _sd_of(name: str) -> str:
    quantity, unit = name.split("_", 1)
    return f"{quantity}_sd_{unit}"
