"""The labels and landmarks that a network learns: drawn by people in the study, or predicted by another network.

Drawings are in the study's own views (``labels``, ``landmark_px``), outputs of a network in the prediction files of its
name (``label``, ``landmark_px``).
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr

from tasks.state import store

REFERENCE = ""
"""The source that is the study itself."""

_NAMES = {"labels": ("label", "labels"), "landmarks": ("landmark_px",)}


class Truth(NamedTuple):
    """The truth of one view.

    Attributes:
        values: labels ``(frame, slice, row, col)``, or landmarks ``(frame, point, 2)`` (row, col).
        frames: those with a truth: labels, in a frame whose images were all judged, or all landmarks.
    """

    values: npt.NDArray[Any]
    frames: npt.NDArray[np.intp]


def truth_file(cohort: store.Cohort, source: str, study: str) -> Path:
    """The file that holds the truth of ``study``."""
    return cohort.study(study) if source == REFERENCE else cohort.prediction(source, study)


def has_truth(file: Path, view: str, what: str) -> bool:
    """Whether ``file`` holds "labels" or "landmarks" of ``view``."""
    if not file.exists():
        return False
    with store.open_tree(file) as tree:
        return _find(tree, view, what) is not None


@lru_cache(maxsize=8)
def truth_of(file: Path, view: str, what: str) -> Truth:
    """The "labels" or "landmarks" of ``view``.

    Raises:
        ValueError: if ``file`` has none.
    """
    with store.open_tree(file) as tree:
        found = _find(tree, view, what)
        if found is None:
            raise ValueError(f"there are no {what} of {view}; remove the study from the table")
        node, name = found
        values = node[name].values
        if what == "landmarks":
            return Truth(values, np.flatnonzero(np.isfinite(values).all(axis=(1, 2))))
        judged = node["judged"].values.all(axis=1) if "judged" in node else np.ones(len(values), bool)
    return Truth(values, np.flatnonzero(values.any(axis=(1, 2, 3)) & judged))


def _find(tree: xr.DataTree, view: str, what: str) -> tuple[xr.Dataset, str] | None:
    """The node of ``view``, or a node ``labels`` in it, that has the truth, and the name it has there."""
    for path in (f"/{view}", f"/{view}/labels"):
        if path in tree.groups:
            node = tree[path].to_dataset()
            for name in _NAMES[what]:
                if name in node:
                    return node, name
    return None
