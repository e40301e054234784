"""Samples straight from the study files of a cohort store: no copy of an image lies in between.

A table (CSV) says what is to be learned, a row a study: ``study``, ``split`` ("train", "validation" or "test"),
``ed_frame`` and ``es_frame`` (of the first view) where the task looks at both, and the column of the target: a class by
name, a value, or ``x1_px, y1_px ...``: column and row of each landmark in pixels of the view, at ``frame``. Labels of
segmentation are read from predictions of the store, by a model or put there as a reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from cmr_models import grid
from cmr_models.cinema_answers import Phases
from cmr_models.grid import Grid
from cmr_models.heart_box import heart_middle
from cmr_models.scan import Scan
from tasks import store
from tasks.finetuning import Sample
from tasks.finetuning_settings import FinetuningSettings
from tasks.segmentation import judgeable

_TWO_FRAMES = ("classification", "regression")


class StudySamples:
    """The studies of one split of a table."""

    def __init__(
        self, cohort: store.Cohort, table: pd.DataFrame, settings: FinetuningSettings, target: str, labels: str = ""
    ) -> None:
        _check(table, settings, target, labels)
        self.cohort, self.table, self.settings = cohort, table.reset_index(drop=True), settings
        self.target, self.labels = target, labels

    def __len__(self) -> int:
        return len(self.table)

    def sample(self, index: int, rng: np.random.Generator) -> Sample:
        """The sample of row ``index``; pretraining draws one time, the same for all views.

        Raises:
            ValueError: if the study has none of the network's views, or lacks what the task needs.
        """
        row: Any = self.table.loc[index]
        scans = _scans(self.cohort.study(row["study"]), self.settings.views)
        if not scans or (self.settings.family != "pretrain" and self.settings.views[0] not in scans):
            raise ValueError(f"study {row['study']} has not the views {self.settings.views}; take it out of the table")
        phases = self._phases(row, scans, rng)
        placed = {view: self._place(scan) for view, scan in scans.items()}
        images = {view: self._images(scan, placed[view], phases) for view, scan in scans.items()}
        return Sample(images, self._target_of(row, scans, placed))

    def _phases(self, row: Any, scans: Mapping[str, Scan], rng: np.random.Generator) -> tuple[float, ...]:
        """The looked-at moments as shares of the cycle."""
        n_frames = len(next(iter(scans.values())).images)
        if self.settings.family == "pretrain":
            return (float(rng.random()),)
        if self.settings.family in _TWO_FRAMES:
            phases = Phases(row["ed_frame"] / n_frames, row["es_frame"] / n_frames)
            return (phases.ed, phases.es)
        return (int(row["frame"]) / n_frames,)

    def _place(self, scan: Scan) -> Grid:
        middle = heart_middle(scan.images, scan.pixel_mm, scan.crossing_px)
        size, shape = self._size(scan.view), (scan.images.shape[2], scan.images.shape[3])
        offset_mm = scan.offset_mm if scan.view == "sax" else scan.offset_mm[:1]
        return grid.place(shape, scan.pixel_mm, middle.px, offset_mm, box=(size[0], size[1]))

    def _size(self, view: str) -> tuple[Any, ...]:
        if view == "sax":
            return tuple(self.settings.config.get("sax_size", grid.SAX_SIZE))
        return tuple(self.settings.config.get("lax_size", grid.LAX_SIZE))

    def _images(self, scan: Scan, placed: Grid, phases: tuple[float, ...]) -> npt.NDArray[np.float32]:
        """``(frame, x, y[, z])``, padded or cut to the network's depth."""
        which = [round(phase * len(scan.images)) % len(scan.images) for phase in phases]
        stacks = scan.images[which] if scan.view == "sax" else scan.images[which, :1]
        frames = grid.normalised(grid.apply(stacks, placed))[0]
        return _fitted(frames if scan.view == "sax" else frames[..., 0], self._size(scan.view))

    def _target_of(self, row: Any, scans: Mapping[str, Scan], placed: Mapping[str, Grid]) -> npt.NDArray[Any]:
        family, view = self.settings.family, self.settings.views[0]
        if family == "pretrain":
            return np.zeros(1, np.float32)
        if family == "classification":
            return np.asarray(self.settings.classes.index(str(row[self.target])))
        if family == "regression":
            return np.asarray(row[self.target], np.float32)
        if family == "segmentation":
            return self._labels_of(row, view, placed[view])
        points = [[row[f"y{k}_px"], row[f"x{k}_px"]] for k in range(1, len(self.settings.classes) + 1)]
        return grid.to_network_xy(points, placed[view]).astype(np.float32)

    def _labels_of(self, row: Any, view: str, placed: Grid) -> npt.NDArray[np.int64]:
        with store.open_tree(self.cohort.prediction(self.labels, row["study"])) as tree:
            labels = np.asarray(tree[view]["labels"].values)[[int(row["frame"])]]
        found = grid.apply_labels(labels if view == "sax" else labels[:, :1], placed)[0]
        return _fitted(found if view == "sax" else found[..., 0], self._size(view)).astype(np.int64)


def read_table(file: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The training and the validation rows of a table.

    Raises:
        ValueError: if a column is missing, or a split is unknown.
    """
    table = pd.read_csv(file, dtype={"study": str})
    lacking = sorted({"study", "split"} - set(table))
    if lacking:
        raise ValueError(f"{file.name} lacks the columns {lacking}")
    unknown = sorted(set(table["split"]) - {"train", "validation", "test"})
    if unknown:
        raise ValueError(f"{file.name}: unknown splits {unknown}; known are train, validation and test")
    return table[table["split"] == "train"], table[table["split"] == "validation"]


@lru_cache(maxsize=8)
def _scans(study: Path, wanted: tuple[str, ...]) -> dict[str, Scan]:
    with store.open_tree(study) as tree:
        views = {str(name): node.to_dataset() for name, node in tree.children.items()}
        views = {n: (v if n in wanted else v.drop_vars("intensity")).load() for n, v in views.items()}
    return {view: judgeable(views, view)[0] for view in wanted if view in views}


def _fitted(array: npt.NDArray[Any], size: tuple[int, ...]) -> npt.NDArray[Any]:
    """Padded with zeros at the end of each axis, or its first voxels, to ``size``."""
    lead = array.ndim - len(size)
    part: Any = (..., *(slice(n) for n in size))
    cut = array[part]
    missing = [(0, want - have) for want, have in zip(size, cut.shape[lead:], strict=True)]
    return np.pad(cut, [(0, 0)] * lead + missing)


def _check(table: pd.DataFrame, settings: FinetuningSettings, target: str, labels: str) -> None:
    family = settings.family
    needed = {"study"}
    if family in _TWO_FRAMES:
        needed |= {"ed_frame", "es_frame", target}
    elif family != "pretrain":
        needed |= {"frame"}
    if family.startswith("landmark"):
        needed |= {f"{axis}{k}_px" for axis in "xy" for k in range(1, len(settings.classes) + 1)}
    if family == "segmentation" and not labels:
        raise ValueError("segmentation needs --labels: the name of predictions in the cohort that hold the labels")
    lacking = sorted(needed - set(table))
    if lacking:
        raise ValueError(f"the table lacks the columns {lacking} that {settings.task} needs")
    gaps = [column for column in sorted(needed) if table[column].isna().any()]
    if gaps:
        raise ValueError(f"the columns {gaps} have gaps; leave those studies out of the table")
    if family == "classification" and not set(map(str, table[target])) <= set(settings.classes):
        raise ValueError(f"{target} has classes outside {settings.classes}; leave those studies out")
