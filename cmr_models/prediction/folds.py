"""Who is tested together: folds by person with equal shares of the events, or by centre."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

Folds = npt.NDArray[np.intp]


def person_folds(persons: npt.ArrayLike, event: npt.ArrayLike, count: int, rng: np.random.Generator) -> Folds:
    """``(n,)`` fold of each row: all rows of a person in one, events dealt out evenly.

    Raises:
        ValueError: lengths differ, a missing person, fewer persons than folds, fewer than two folds.
    """
    codes = pd.factorize(np.asarray(persons))[0]
    had = np.asarray(event, np.float64)
    if codes.shape != had.shape or (codes < 0).any():
        raise ValueError("persons and event must have one length, and no person may be missing")
    size = int(codes.max(initial=-1)) + 1
    if not 2 <= count <= size:
        raise ValueError(f"folds must be 2 to the number of persons ({size}), got {count}")
    ever = np.bincount(codes, had, size) > 0
    order = np.lexsort((rng.random(size), ever))
    fold = np.empty(size, np.intp)
    fold[order] = np.arange(size) % count
    return fold[codes]


def group_folds(groups: npt.ArrayLike) -> Folds:
    """``(n,)`` a fold a group (internal-external: each centre tested by a model of the others).

    Raises:
        ValueError: a missing group, or fewer than two.
    """
    codes = np.asarray(pd.factorize(np.asarray(groups), sort=True)[0], np.intp)
    if (codes < 0).any() or codes.max(initial=0) < 1:
        raise ValueError("groups must be two or more, none missing")
    return codes
