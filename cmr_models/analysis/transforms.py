"""How a phenotype enters a model."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import special

_BLOM = 3 / 8
_TAIL = 0.005


def transform(values: pd.Series, how: str) -> pd.Series:
    """``none``; ``log``; ``inverse_normal`` (ranks, offset 3/8); ``winsorise`` (to the 0.5 and 99.5 % points).

    Missing values stay missing.

    Raises:
        ValueError: the log of a value that is not positive; an unknown transform.

    Reference:
        Blom 1958 for the ranks.
    """
    numbers = values.astype(float)
    if how == "none":
        return numbers
    if how == "log":
        below = int((numbers <= 0).sum())
        if below:
            raise ValueError(
                f"{values.name}: {below} values are 0 or less and have no logarithm; choose another transform"
            )
        return pd.Series(np.log(numbers.to_numpy(float)), index=values.index, name=values.name)
    if how == "inverse_normal":
        share = (numbers.rank() - _BLOM) / (numbers.notna().sum() + 1 - 2 * _BLOM)
        return pd.Series(special.ndtri(share.to_numpy(float)), index=values.index, name=values.name)
    if how == "winsorise":
        low, high = numbers.quantile([_TAIL, 1 - _TAIL]).to_numpy(float)
        return pd.Series(np.clip(numbers.to_numpy(float), low, high), index=values.index, name=values.name)
    raise ValueError(f"unknown transform {how!r}; known are none, log, inverse_normal, winsorise")
