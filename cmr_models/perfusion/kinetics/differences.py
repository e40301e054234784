"""Curves of a model that gives the integral of its residue, and their derivatives by central differences."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cmr_models.perfusion.kinetics.convolution import edges, input_matrix

Integral = Callable[[Tensor, Tensor], Tensor]
"""Parameters (n, p) and edges (m,) in s to the integral of the residue up to each (n, m), mL/g."""


_ASIDE = 1e-4  # in double precision the error is of the order of its square


class LinearModel:
    """Model of least squares for a residue that is convolved with the input.

    Args:
        integral: of the residue.
        aif: (frame,) blood concentration, mmol/L.
        dt_s: seconds between frames.
        device: where the tensors live.
    """

    def __init__(self, integral: Integral, aif: npt.NDArray[np.float64], dt_s: float, device: str) -> None:
        self.integral = integral
        self.input = torch.as_tensor(input_matrix(aif).T.copy(), device=device)
        self.edges = torch.as_tensor(edges(aif.size, dt_s), device=device)

    def __call__(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        columns = []
        for at in range(parameters.shape[1]):
            aside = torch.zeros_like(parameters)
            aside[:, at] = _ASIDE
            columns.append((self._curves(parameters + aside) - self._curves(parameters - aside)) / (2 * _ASIDE))
        return self._curves(parameters), torch.stack(columns, -1)

    def _curves(self, parameters: Tensor) -> Tensor:
        return self.integral(parameters, self.edges).diff(dim=-1) @ self.input

    def best_start(self, curves: Tensor, starts: Tensor) -> Tensor:
        """For each curve (n, frame) the nearest of the starts (m, p), as (n, p)."""
        entries = self._curves(starts)
        at = ((entries**2).sum(1) - 2 * curves @ entries.T).argmin(1)
        return starts[at]
