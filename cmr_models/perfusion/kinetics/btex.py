"""Blood-tissue exchange along a capillary in closed form: plug flow of plasma beside a resting interstitium.

A tracer particle crosses a capillary in Tc = Vp / Fp. On its way it leaves the plasma N ~ Poisson(a) times, a = PS /
Fp, and stays in the interstitium each time for an exponential time with rate b = PS / Visf. It is still in the tissue
at t = Tc + u if the sum of its stays exceeds u, that is if N_a > N_v for independent Poisson numbers with means a and
v = b u. So the residue is a probability:

    R(t) / Fp = 1                  t < Tc
              = P(N_a > N_v)       t >= Tc

which is the noncentral chi-squared distribution with 2 degrees of freedom and noncentrality 2 v at 2 a. It equals the
Bessel form of Sangren and Sheppard; its integrals and derivatives follow from P(N_v - N_a = k) without quadrature.

Reference:
    Sangren and Sheppard 1953, doi:10.1007/BF02476411; Bassingthwaighte 1974, doi:10.1161/01.RES.35.3.483 (the model);
    Kellman et al. 2017, doi:10.1186/s12968-017-0355-5 (its use in the heart).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import chndtr, i0e, i1e

from cmr_models.perfusion.kinetics.convolution import convolve, edges

Floats = npt.NDArray[np.float64]

_SMALLEST = 1e-12  # stands for a permeability of zero, where a / b would be 0 / 0
_SECONDS = 60.0


def retained(a: npt.ArrayLike, v: npt.ArrayLike) -> Floats:
    """Probability P(N_a > N_v) that a particle has not yet left, ``v`` after the transit time.

    Args:
        a: PS / Fp, expected number of escapes.
        v: (t - Tc) PS / Visf.
    """
    return np.asarray(chndtr(2 * np.asarray(a, np.float64), 2.0, 2 * np.asarray(v, np.float64)), np.float64)


def balanced(a: npt.ArrayLike, v: npt.ArrayLike) -> Floats:
    """Probability P(N_a = N_v) = exp(-a - v) I0(2 sqrt(a v)): the derivative of :func:`retained` by ``a``."""
    a, v = np.asarray(a, np.float64), np.asarray(v, np.float64)
    return np.asarray(np.exp(-((np.sqrt(a) - np.sqrt(v)) ** 2)) * i0e(2 * np.sqrt(a * v)), np.float64)


def stay(a: npt.ArrayLike, v: npt.ArrayLike) -> Floats:
    """Integral of :func:`retained` from 0 to ``v``: a P(N_v >= N_a + 2) + v P(N_a > N_v); it tends to ``a``."""
    a, v = np.asarray(a, np.float64), np.asarray(v, np.float64)
    remaining = retained(a, v)
    one_more = (
        np.exp(-((np.sqrt(a) - np.sqrt(v)) ** 2)) * i1e(2 * np.sqrt(a * v)) * np.sqrt(v / np.maximum(a, _SMALLEST))
    )
    return np.asarray(a * np.maximum(1 - remaining - balanced(a, v) - one_more, 0) + v * remaining, np.float64)


def residue(
    time_s: npt.ArrayLike,
    plasma_flow: npt.ArrayLike,
    plasma_volume: npt.ArrayLike,
    ps: npt.ArrayLike,
    visf: npt.ArrayLike,
) -> Floats:
    """Residue of a unit amount of tracer, times plasma flow; R(0) = Fp, and its integral is Vp + Visf.

    Args:
        time_s: seconds since arrival; broadcast against the parameters.
        plasma_flow: Fp, mL/min/g.
        plasma_volume: Vp, mL/g.
        ps: permeability-surface product, mL/min/g.
        visf: interstitial volume, mL/g.

    Returns:
        mL/min/g, 0 before arrival.
    """
    transit, a, b = _dimensionless(plasma_flow, plasma_volume, ps, visf)
    since = np.asarray(time_s, np.float64)
    late = retained(a, b * np.maximum(since - transit, 0))
    fraction = np.where(since < 0, 0.0, np.where(since < transit, 1.0, late))
    return np.asarray(plasma_flow, np.float64) * fraction


def tissue(
    aif: npt.ArrayLike,
    dt_s: float,
    *,
    mbf: npt.ArrayLike,
    vb: npt.ArrayLike,
    ps: npt.ArrayLike,
    visf: npt.ArrayLike,
    delay_s: npt.ArrayLike = 0.0,
    hematocrit: float = 0.42,
) -> Floats:
    """Tissue concentration for a blood input: exact for an input that is constant around each frame.

    Args:
        aif: (frame,) blood concentration, mmol/L.
        dt_s: seconds between frames.
        mbf: blood flow, mL/min/g, any shape; the other parameters broadcast against it.
        vb: blood volume, mL/g.
        ps: permeability-surface product, mL/min/g.
        visf: interstitial volume, mL/g.
        delay_s: seconds from the input's site to the tissue.
        hematocrit: large-vessel haematocrit; plasma flow and volume are (1 - hematocrit) of blood's.

    Returns:
        (..., frame) mmol/L, taking 1 g of tissue as 1 mL as the reference does.
    """
    aif = np.asarray(aif, np.float64)
    mbf, vb, ps, visf, delay = (np.asarray(x, np.float64)[..., None] for x in (mbf, vb, ps, visf, delay_s))
    transit, a, b = _dimensionless(mbf * (1 - hematocrit), vb * (1 - hematocrit), ps, visf)
    since = edges(aif.size, dt_s) - delay
    filled = np.clip(since, 0, transit) + stay(a, b * np.maximum(since - transit, 0)) / b
    return np.asarray(mbf / _SECONDS * convolve(np.diff(filled, axis=-1), aif), np.float64)


def _dimensionless(
    flow: npt.ArrayLike, volume: npt.ArrayLike, ps: npt.ArrayLike, visf: npt.ArrayLike
) -> tuple[Floats, Floats, Floats]:
    """Transit time Tc in s, escapes a, and rate of return b in 1/s."""
    per_second = np.asarray(flow, np.float64) / _SECONDS
    exchange = np.maximum(np.asarray(ps, np.float64) / _SECONDS, _SMALLEST)
    return np.asarray(volume, np.float64) / per_second, exchange / per_second, exchange / np.asarray(visf, np.float64)
