"""BTEX curves and their derivatives for many pixels at once, on CPU or GPU: the closed form read from one table.

The table holds ``stay``, ``retained`` and ``balanced`` of :mod:`cmr_models.perfusion.kinetics.btex` over (sqrt a,
sqrt v), where they are smooth; bilinear interpolation in steps of 0.02 is within 2e-4 of each. Their derivatives need
nothing else: d stay / d v = retained, and d stay / d a = P(N_v > N_a) = 1 - retained - balanced.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from cmr_models.perfusion.kinetics import btex
from cmr_models.perfusion.kinetics.convolution import edges, input_matrix

PARAMETERS = ("log_mbf", "log_vb", "log_ps", "log_visf", "delay_s")

_STEP = 0.02
_MOST_ESCAPES, _LONGEST = 64.0, 81.0  # a and v at the far edges of the table; beyond them the edge's value holds


class BtexCurves:
    """Model of least squares: parameters ``PARAMETERS`` (n, 5) to curves (n, frame) and Jacobian (n, frame, 5).

    Args:
        aif: (frame,) blood concentration, mmol/L.
        dt_s: seconds between frames.
        hematocrit: of the large vessels.
        device: where the tensors live.
    """

    def __init__(self, aif: npt.NDArray[np.float64], dt_s: float, hematocrit: float, device: str = "cpu") -> None:
        self.input = torch.as_tensor(input_matrix(aif).T.copy(), dtype=torch.float32, device=device)
        self.edges = torch.as_tensor(edges(aif.size, dt_s), dtype=torch.float32, device=device)
        self.table = torch.as_tensor(_table()[None], dtype=torch.float32, device=device)
        self.plasma = 1.0 - hematocrit

    def __call__(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        mbf, vb, ps, visf = parameters[:, :4].exp().T[..., None]
        since = self.edges - parameters[:, 4:]  # (n, step + 1)
        transit = 60 * vb / mbf
        a = ps / (mbf * self.plasma)
        b = ps / (60 * visf)
        arrived, late = since > 0, since > transit
        v = b * (since - transit).clamp_min(0)
        stayed, kept, even = self._look_up(a.expand_as(v), v)
        filled = torch.minimum(since.clamp_min(0), transit) + stayed / b
        by_transit = torch.where(late, 1 - kept, 0) * transit
        by_a = torch.where(late, 1 - kept - even, 0) * a / b
        by_b = torch.where(late, v * kept - stayed, 0) / b
        leaving = torch.where(late, kept, arrived.to(kept.dtype))
        integrals = torch.stack([filled, -by_transit - by_a, by_transit, by_a + by_b, -by_b, -leaving], dim=1)
        curves = (mbf / 60)[:, :, None] * (integrals.diff(dim=-1) @ self.input)  # (n, 6, frame)
        jacobian = curves[:, 1:]
        jacobian[:, 0] += curves[:, 0]
        return curves[:, 0], jacobian.mT

    def _look_up(self, a: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        rows, columns = self.table.shape[2:]
        x = v.sqrt() * (2 / (_STEP * (columns - 1))) - 1
        y = a.sqrt() * (2 / (_STEP * (rows - 1))) - 1
        found = grid_sample(self.table, torch.stack([x, y], -1)[None], padding_mode="border", align_corners=True)
        return found[0, 0], found[0, 1], found[0, 2]


@lru_cache(maxsize=1)
def _table() -> npt.NDArray[np.float64]:
    """(3, a, v): stay, retained, balanced."""
    a = (np.arange(round(_MOST_ESCAPES**0.5 / _STEP) + 1) * _STEP)[:, None] ** 2
    v = (np.arange(round(_LONGEST**0.5 / _STEP) + 1) * _STEP)[None, :] ** 2
    return np.stack([btex.stay(a, v), btex.retained(a, v), btex.balanced(a, v)])
