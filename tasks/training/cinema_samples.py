"""Samples read from the study files of a cohort when they are needed; no images are copied.

A table (CSV) says what each study teaches, one row a study:

- ``study`` and ``split`` ("train", "validation" or "test");
- ``ed_frame`` and ``es_frame`` of the first view, for tasks that see both;
- the column of the target: the name of a class, or a value;
- ``x1_px, y1_px ...``: column and row of each landmark in pixels of the view, in the frame ``frame``.

Labels are read from the store (:mod:`tasks.training.cinema_truth`), and landmarks too if the table does not have them:
in the frame ``frame``, or without that column in a random one of the frames that have them.

The crop is that of inference (:mod:`cmr_models.cinema.placement`). The middle of the heart is found once for a study.
From a stack that is deeper than the network a random window of slices is taken each time; inference averages windows.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from cmr_models.cinema import grid
from cmr_models.cinema.grid import Grid
from cmr_models.cinema.outputs import Phases
from cmr_models.cinema.placement import around_heart, centre_in_view
from cmr_models.views.heart_location import HeartCentre
from cmr_models.views.view_images import ViewImages
from tasks.inference.study_images import judgeable
from tasks.state import store
from tasks.state.user_tables import Reading, read_user_table
from tasks.training.cinema_batches import Sample
from tasks.training.cinema_settings import FinetuningSettings
from tasks.training.cinema_truth import REFERENCE, Truth, has_truth, truth_file, truth_of

_TWO_FRAMES = ("classification", "regression")


class StudySamples:
    """The studies of one split of a table.

    Args:
        cohort: that holds the studies.
        table: a row a study.
        settings: what the network learns.
        target: column of the class or the value.
        labels: name of the predictions that hold labels or landmarks; if empty, those drawn in the studies.

    Raises:
        ValueError: if the table, or a study's truth, lacks what the task needs.
    """

    def __init__(
        self,
        cohort: store.Cohort,
        table: pd.DataFrame,
        settings: FinetuningSettings,
        target: str,
        labels: str = REFERENCE,
    ) -> None:
        _check_table(table, settings, target)
        self.cohort, self.table, self.settings = cohort, table.reset_index(drop=True), settings
        self.target, self.labels = target, labels
        self.stored = _truth_to_read(table, settings)
        self._centres: dict[tuple[str, str], HeartCentre] = {}
        self._check_truth()

    def __len__(self) -> int:
        return len(self.table)

    def sample(self, index: int, rng: np.random.Generator) -> Sample:
        """The sample of row ``index``; pretraining draws one time, the same for all views.

        Raises:
            ValueError: if the study has none of the network's views, or lacks what the task needs.
        """
        row: Any = self.table.loc[index]
        images_by_view = read_view_images(self.cohort.study(row["study"]), self.settings.views)
        if not images_by_view or (self.settings.family != "pretrain" and self.settings.views[0] not in images_by_view):
            raise ValueError(f"row {index} does not have the views {self.settings.views}; take it out of the table")
        truth = self._truth(row) if self.stored else None
        frame = _frame(row, truth, rng) if self.settings.family not in (*_TWO_FRAMES, "pretrain") else 0
        phases = self._phases(row, frame, images_by_view, rng)
        placed = {view: self._place(row["study"], view_images) for view, view_images in images_by_view.items()}
        start = self._first_slice(placed, rng)
        images = {
            view: self._images(view_images, placed[view], phases, start) for view, view_images in images_by_view.items()
        }
        return Sample(images, self._target_of(row, truth, frame, placed, start))

    def _truth(self, row: Any) -> Truth:
        file = truth_file(self.cohort, self.labels, row["study"])
        return truth_of(file, self.settings.views[0], self.stored)

    def _phases(
        self, row: Any, frame: int, images_by_view: Mapping[str, ViewImages], rng: np.random.Generator
    ) -> tuple[float, ...]:
        """The phases of the cycle that the network sees, from 0 to 1."""
        n_frames = len(next(iter(images_by_view.values())).images)
        if self.settings.family == "pretrain":
            return (float(rng.random()),)
        if self.settings.family in _TWO_FRAMES:
            phases = Phases(row["ed_frame"] / n_frames, row["es_frame"] / n_frames)
            return (phases.ed, phases.es)
        return (frame / n_frames,)

    def _place(self, study: str, view_images: ViewImages) -> Grid:
        return around_heart(
            view_images, self._size(view_images.view), self.settings.pixel_mm, partial(self._centre, study)
        )[0]

    def _centre(self, study: str, view_images: ViewImages) -> HeartCentre:
        """The middle of the heart, found once: the network that finds it takes longer than all other steps."""
        if (study, view_images.view) not in self._centres:
            self._centres[study, view_images.view] = centre_in_view(view_images)
        return self._centres[study, view_images.view]

    def _size(self, view: str) -> tuple[Any, ...]:
        if view == "sax":
            return tuple(self.settings.config.get("sax_size", grid.SAX_SIZE))
        return tuple(self.settings.config.get("lax_size", grid.LAX_SIZE))

    def _first_slice(self, placed: Mapping[str, Grid], rng: np.random.Generator) -> int:
        """Where the window of the short axis begins: anywhere in a stack that is deeper than the network."""
        if "sax" not in placed:
            return 0
        return int(rng.integers(max(0, placed["sax"].shape[2] - self._size("sax")[2]) + 1))

    def _images(
        self, view_images: ViewImages, placed: Grid, phases: tuple[float, ...], start: int
    ) -> npt.NDArray[np.float32]:
        """``(frame, x, y[, z])`` of the network's size."""
        which = [round(phase * len(view_images.images)) % len(view_images.images) for phase in phases]
        stacks = view_images.images[which] if view_images.view == "sax" else view_images.images[which, :1]
        frames = grid.normalise(grid.apply(stacks, placed))[0]
        return _fit_size(
            frames[..., start:] if view_images.view == "sax" else frames[..., 0], self._size(view_images.view)
        )

    def _target_of(
        self, row: Any, truth: Truth | None, frame: int, placed: Mapping[str, Grid], start: int
    ) -> npt.NDArray[Any]:
        family, view = self.settings.family, self.settings.views[0]
        if family == "pretrain":
            return np.zeros(1, np.float32)
        if family == "classification":
            return np.asarray(self.settings.classes.index(str(row[self.target])))
        if family == "regression":
            return np.asarray(row[self.target], np.float32)
        if family == "segmentation":
            assert truth is not None
            labels = truth.values[[frame]] if view == "sax" else truth.values[[frame], :1]
            found = grid.apply_labels(labels, placed[view])[0]
            return _fit_size(found[..., start:] if view == "sax" else found[..., 0], self._size(view)).astype(np.int64)
        points = _points(row, len(self.settings.classes)) if truth is None else truth.values[frame]
        return grid.to_network_xy(points, placed[view]).astype(np.float32)

    def _check_truth(self) -> None:
        if not self.stored:
            return
        files = [truth_file(self.cohort, self.labels, study) for study in self.table["study"]]
        lacking = sum(not has_truth(file, self.settings.views[0], self.stored) for file in files)
        if lacking:
            where = f"the predictions {self.labels!r}" if self.labels else "the reference of the studies"
            raise ValueError(
                f"{lacking} of {len(files)} studies have no {self.stored} of {self.settings.views[0]} in {where}; "
                "give --labels the name of predictions that have them, or leave those studies out of the table"
            )


def read_table(file: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The training and the validation rows of a table.

    Raises:
        ValueError: if a column is missing, or a split is unknown.
    """
    table = read_user_table(file, reading=Reading(types={"study": "text", "split": "text"}))
    lacking = sorted({"study", "split"} - set(table))
    if lacking:
        raise ValueError(f"{file.name} lacks the columns {lacking}")
    n_unknown = int((~table["split"].isin(("train", "validation", "test"))).sum())
    if n_unknown:
        raise ValueError(f"{file.name}: {n_unknown} rows have an unknown split; known are train, validation and test")
    return table[table["split"] == "train"], table[table["split"] == "validation"]


@lru_cache(maxsize=8)
def read_view_images(study: Path, wanted: tuple[str, ...]) -> dict[str, ViewImages]:
    with store.open_tree(study) as tree:
        views = {str(name): node.to_dataset() for name, node in tree.children.items()}
        views = {n: (v if n in wanted else v.drop_vars("intensity")).load() for n, v in views.items()}
    return {view: judgeable(views, view)[0] for view in wanted if view in views}


def _fit_size(array: npt.NDArray[Any], size: tuple[int, ...]) -> npt.NDArray[Any]:
    """Padded with zeros at the end of each axis, or its first voxels, to ``size``."""
    lead = array.ndim - len(size)
    part: Any = (..., *(slice(n) for n in size))
    cut = array[part]
    missing = [(0, want - have) for want, have in zip(size, cut.shape[lead:], strict=True)]
    return np.pad(cut, [(0, 0)] * lead + missing)


def _truth_to_read(table: pd.DataFrame, settings: FinetuningSettings) -> str:
    """Which truth is read from the store: "labels", "landmarks", or none ("")."""
    if settings.family == "segmentation":
        return "labels"
    return "landmarks" if settings.family.startswith("landmark") and "x1_px" not in table else ""


def _frame(row: Any, truth: Truth | None, rng: np.random.Generator) -> int:
    """The frame that the table names, or any of those with a truth."""
    if "frame" not in row:
        if truth is None or not len(truth.frames):
            raise ValueError("a study has no frame with a complete drawing; take it out of the table")
        return int(rng.choice(truth.frames))
    frame = int(row["frame"])
    if truth is not None and frame not in truth.frames:
        raise ValueError(f"frame {frame} of a study has no labels, only {truth.frames.tolist()}")
    return frame


def _points(row: Any, n: int) -> list[list[float]]:
    return [[row[f"y{k}_px"], row[f"x{k}_px"]] for k in range(1, n + 1)]


def _check_table(table: pd.DataFrame, settings: FinetuningSettings, target: str) -> None:
    family, stored = settings.family, _truth_to_read(table, settings)
    needed = {"study"}
    if family in _TWO_FRAMES:
        needed |= {"ed_frame", "es_frame", target}
    elif family != "pretrain" and (not stored or "frame" in table):
        needed |= {"frame"}
    if family.startswith("landmark") and not stored:
        needed |= {f"{axis}{k}_px" for axis in "xy" for k in range(1, len(settings.classes) + 1)}
    lacking = sorted(needed - set(table))
    if lacking:
        raise ValueError(f"the table lacks the columns {lacking} that {settings.task} needs")
    gaps = [column for column in sorted(needed) if table[column].isna().any()]
    if gaps:
        raise ValueError(f"the columns {gaps} have missing values; remove those studies from the table")
    if family == "classification" and not set(map(str, table[target])) <= set(settings.classes):
        raise ValueError(f"{target} has classes outside {settings.classes}; leave those studies out")
