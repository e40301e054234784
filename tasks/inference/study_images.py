"""The images of a published study as a network takes them: view by view, gaps in time bridged."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from cmr_models.contracts import REFERENCE_VARIABLES
from cmr_models.reasons import StudyRejected
from cmr_models.views.view_images import ViewImages, gather_view_images
from tasks.state import store

Judged = tuple[ViewImages, npt.NDArray[np.bool_]]
"""Images of a view, and ``(frame, slice)`` True where there is an image with contrast."""


def read_views(study_path: Path, study_key: str, wanted: Sequence[str]) -> dict[str, xr.Dataset]:
    """Every view of a published study, with the pixels of those that are ``wanted``.

    Raises:
        StudyRejected: ``file_unreadable`` if the study is another than was planned, or damaged.
    """
    if store.published_key(study_path) != study_key:
        raise StudyRejected("file_unreadable", "The study file has changed since planning; run again.")
    try:
        with store.reading_tree(study_path) as study:
            nodes = {
                str(name): node.to_dataset().drop_vars(REFERENCE_VARIABLES, errors="ignore")
                for name, node in study.children.items()
            }
            return {
                name: (view if name in wanted else view.drop_vars("intensity")).load() for name, view in nodes.items()
            }
    except zipfile.BadZipFile as error:
        raise StudyRejected("file_unreadable", "A member of the study is damaged.") from error


def judgeable(views: Mapping[str, xr.Dataset], view: str) -> Judged:
    """Images of ``view``, gaps in time bridged, and ``(frame, slice)`` True where an image with contrast is."""
    images = views[view]["intensity"].values
    flat = images.min(axis=(2, 3)) == images.max(axis=(2, 3))
    judged = views[view]["frame_valid"].values & ~flat
    return gather_view_images(views, view, _bridge_gaps(images, judged)), judged


def _bridge_gaps(images: npt.NDArray[Any], judged: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
    """Images with the nearest frame where one is missing, so that smoothing over time does not see a hole.

    What the network says of such an image is thrown away.
    """
    if judged.all():
        return images
    bridged = images.copy()
    for frame, plane in np.argwhere(~judged & judged.any(axis=0)):
        there = np.flatnonzero(judged[:, plane])
        bridged[frame, plane] = images[there[np.argmin(np.abs(there - frame))], plane]
    return bridged
