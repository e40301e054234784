"""Curves and exact Jacobians of a model that gives the integral of its residue, by forward-mode differentiation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cmr_models.perfusion.convolution import edges, input_matrix

Integral = Callable[[Tensor, Tensor], Tensor]
"""Parameters (n, p) and edges (m,) in s to the integral of the residue up to each (n, m), mL/g."""


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
            along = torch.zeros_like(parameters)
            along[:, at] = 1
            integral, derivative = torch.func.jvp(lambda p: self.integral(p, self.edges), (parameters,), (along,))
            columns.append(derivative.diff(dim=-1) @ self.input)
        return integral.diff(dim=-1) @ self.input, torch.stack(columns, -1)

    def best_start(self, curves: Tensor, starts: Tensor) -> Tensor:
        """For each curve (n, frame) the nearest of the starts (m, p), as (n, p)."""
        entries = self.integral(starts, self.edges).diff(dim=-1) @ self.input
        at = ((entries**2).sum(1) - 2 * curves @ entries.T).argmin(1)
        return starts[at]
