"""Model-free deconvolution: a residue that only falls, whatever its shape.

The residue is a sum, with weights of at least zero, of pieces that stay at one for a transit time and then fall to zero
on the way to the next. A residue free to rise fits noise with a spike at its start, which is where flow is read: free
B-splines read three times the flow at rest. With the constraint, noiseless flow up to 3 mL/min/g is right within 1 %
(6 % low at 4.5). At SNR 20 it is 3 to 5 % high up to 1.5, 15 to 22 % where noise makes the delay a step too long, and
a quarter too low at 4.5; on the published rest map 14 % high (benchmarks/perfusion.py, ``other_models``).

Reference:
    Jerosch-Herold et al. 2002, doi:10.1118/1.1473135 (model-independent deconvolution, with a falling residue); Lawson
    and Hanson 1974 (least squares of at least zero).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls

from cmr_models.perfusion.kinetics.convolution import edges, input_matrix
from cmr_models.perfusion.kinetics.fitted import Fitted

Floats = npt.NDArray[np.float64]

_TRANSITS_S = np.geomspace(1.2, 50.0, 11)
_DELAYS_S = np.arange(0.0, 1.76, 0.25)
_AS_GOOD = 1.01  # of the least residual
_WIDTH_ML_MIN_G = 1.0  # standard deviation that a weight is expected to have: the ridge against noise


def deconvolution_maps(curves: Floats, aif: Floats, dt_s: float, hematocrit: float, device: str) -> Fitted:
    """Deconvolve (n, frame) curves by a blood input (frame,), both mmol/L above baseline; flow is the residue's start.

    The delay is the shortest, of a few, whose median residual over all pixels is the least or nearly so: a late start
    lets the residue fit noise. ``hematocrit`` and
    ``device`` are not used: blood input gives blood flow, and the solution is many small products.
    """
    fits = [_fit_falling_residue(curves, aif, dt_s, delay) for delay in _DELAYS_S]
    left = np.array([np.median(residual) for _, residual in fits])
    best = int(np.argmax(left <= _AS_GOOD * left.min()))
    flow, residual = fits[best]
    n = len(curves)
    values = {"mbf_ml_min_g": flow, "delay_s": np.full(n, _DELAYS_S[best])}
    return Fitted(values, residual, np.ones(n, bool), np.zeros(n, bool), float(_DELAYS_S[best]))


def _fit_falling_residue(curves: Floats, aif: Floats, dt_s: float, delay_s: float) -> tuple[Floats, Floats]:
    """Flow in mL/min/g and rms residual of each curve."""
    design = input_matrix(aif) @ np.diff(_integrals(edges(aif.size, dt_s) - delay_s), axis=0) / 60
    free = curves - curves @ _projector(design)
    noise = np.sqrt((free**2).sum(1) / max(1, aif.size - design.shape[1]))
    ridge = float(np.median(noise)) / _WIDTH_ML_MIN_G
    stacked = np.vstack([design, ridge * np.eye(design.shape[1])])
    q, r = np.linalg.qr(stacked)
    targets = curves @ q[: aif.size]
    weights = np.array([nnls(r, target)[0] for target in targets]).reshape(len(curves), design.shape[1])
    return weights.sum(1), np.sqrt(((curves - weights @ design.T) ** 2).mean(1))


def _projector(design: Floats) -> Floats:
    """(frame, frame) onto what the design can explain."""
    q, _ = np.linalg.qr(design)
    return np.asarray(q @ q.T, np.float64)


def _integrals(since_s: Floats) -> Floats:
    """(step, piece) integral up to each time of the pieces: one for a transit time, then falling to the next's."""
    ends = _TRANSITS_S
    falls = np.append(ends[1:], 2 * ends[-1]) - ends
    since = np.maximum(since_s, 0)[:, None]
    on_the_way = np.clip(since - ends, 0, falls)
    whole = np.minimum(since, ends) + on_the_way - on_the_way**2 / (2 * falls)
    return np.concatenate([whole, since], axis=1)
