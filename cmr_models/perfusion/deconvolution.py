"""Model-free deconvolution: a falling B-spline residue, smoothed as the noise asks.

Reference:
    Jerosch-Herold et al. 2002, doi:10.1118/1.1473135 (B-splines); Craven and Wahba 1978, doi:10.1007/BF01404567
    (generalised cross-validation, which chooses the smoothing).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.interpolate import BSpline

from cmr_models.perfusion.convolution import STEPS, edges, input_matrix
from cmr_models.perfusion.fitted import Fitted

Floats = npt.NDArray[np.float64]

_DEGREE = 3
_SPLINES = 10
_LAMBDAS = np.geomspace(1e-5, 1e1, 25)
_DELAYS_S = np.arange(0.0, 1.76, 0.25)
_SHORTEST_S, _STRETCH = 1.5, 1.6  # the first knot and the growth of the knots: flow shows early


def deconvolution_maps(curves: Floats, aif: Floats, dt_s: float, hematocrit: float, device: str) -> Fitted:
    """Deconvolve (n, frame) curves by a blood input (frame,), both mmol/L above baseline; flow is the residue's peak.

    The delay is the one, of a few, that leaves the least generalised cross-validation score over all pixels.
    ``hematocrit`` and ``device`` are not used: blood input gives blood flow, and the solution is a few small products.
    """
    fits = [_smoothed(curves, aif, dt_s, delay) for delay in _DELAYS_S]
    best = int(np.argmin([np.median(score) for _, _, score in fits]))
    flow, residual, _ = fits[best]
    n = len(curves)
    values = {"mbf_ml_min_g": flow, "delay_s": np.full(n, _DELAYS_S[best])}
    return Fitted(values, residual, np.ones(n, bool), np.zeros(n, bool), float(_DELAYS_S[best]))


def _smoothed(curves: Floats, aif: Floats, dt_s: float, delay_s: float) -> tuple[Floats, Floats, Floats]:
    """Flow in mL/min/g, rms residual and score of each curve, with the smoothing that scores best for all."""
    basis, integrals = _basis(aif.size, dt_s, delay_s)
    design = input_matrix(aif) @ integrals
    penalty = np.diff(np.eye(_SPLINES), 2, axis=0)
    gram, scale = design.T @ design, np.trace(design.T @ design) / _SPLINES
    tried = []
    for weight in _LAMBDAS:
        solve = np.linalg.solve(gram + weight * scale * (penalty.T @ penalty), design.T)
        coefficients = curves @ solve.T
        squares = ((curves - coefficients @ design.T) ** 2).mean(1)
        freedom = 1 - np.trace(design @ solve) / aif.size
        tried.append((coefficients, squares, squares / freedom**2))
    best = int(np.argmin([np.median(score) for _, _, score in tried]))
    coefficients, squares, score = tried[best]
    return 60 * (coefficients @ basis.T).max(1), np.sqrt(squares), score


def _basis(frames: int, dt_s: float, delay_s: float) -> tuple[Floats, Floats]:
    """B-splines at the steps (step, spline), and their integrals over each step, delayed (step, spline)."""
    end = frames * dt_s + 1.0
    inner = _SHORTEST_S * (_STRETCH ** np.arange(_SPLINES - _DEGREE + 1) - 1) / (_STRETCH - 1)
    knots = inner / inner[-1] * end
    padded = np.concatenate([np.zeros(_DEGREE), knots, np.full(_DEGREE, end)])
    splines = BSpline(padded, np.eye(_SPLINES), _DEGREE)
    since = np.clip(edges(frames, dt_s) - delay_s, 0, end)
    values = splines(np.arange(0, end, dt_s / STEPS))
    return values, np.diff(splines.antiderivative()(since), axis=0)
