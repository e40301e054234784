"""Images to train on: simulated ones made once and kept in a folder, and real ones with partial labels."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.image import imread
from scipy import ndimage

from cmr_models.contracts import BACKGROUND, LV, MYOCARDIUM, RV
from cmr_models.training.partial_labels import lv_only_possible, ring_possible
from tasks.execution.process import worker_pool, workers_leave_ctrl_c_to_the_command

_PER_FILE = 50
_SIMULATED_SHAPE = (256, 256)
_CROSS = ndimage.generate_binary_structure(2, 1)[None]


@dataclass(frozen=True)
class ImagePool:
    """Images to draw from.

    Attributes:
        images: (n, row, col).
        possible: (n, row, col), bit sets of possible classes; bit 0 is background.
        heart_px: (n, 2), row and column; NaN without a heart.
        pixel_mm: (n,).
        patient: (n,) names, empty for simulated images.
        neighbours: (n, 2), the images of the slices before and after each, itself at an end of its stack; none if no
            image has any.
    """

    images: npt.NDArray[np.float32]
    possible: npt.NDArray[np.uint8]
    heart_px: npt.NDArray[np.float64]
    pixel_mm: npt.NDArray[np.float64]
    patient: tuple[str, ...] = ()
    neighbours: npt.NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.images)

    @property
    def is_real(self) -> bool:
        """Whether these are images of patients."""
        return any(self.patient)

    @cached_property
    def lv_px(self) -> npt.NDArray[np.int64]:
        """(n,) pixels that are surely left ventricle."""
        return np.asarray((self.possible == np.uint8(1 << LV)).sum((1, 2)))

    @cached_property
    def at_an_end(self) -> npt.NDArray[np.bool_]:
        """(n,): a ventricle is in the image and not in the slice before or after it, or the reverse."""
        if self.neighbours is None:
            return np.zeros(len(self.possible), bool)
        has = np.stack([(self.possible == np.uint8(1 << code)).any((1, 2)) for code in (RV, LV)], axis=1)
        return np.asarray((has[self.neighbours] != has[:, None]).any(axis=(1, 2)))

    def stacks(self, chosen: npt.NDArray[np.int64], alone: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
        """``(n, 3, row, col)``: the ``chosen`` images between their neighbours, or thrice where they are ``alone``."""
        if self.neighbours is None:
            return np.repeat(self.images[chosen, None], 3, axis=1)
        beside = np.where(alone[:, None], chosen[:, None], self.neighbours[chosen])
        return self.images[np.stack([beside[:, 0], chosen, beside[:, 1]], axis=1)]

    def select(self, chosen: npt.NDArray[np.bool_]) -> ImagePool:
        """The images where ``chosen`` is True; of a stack all or none."""
        patient = tuple(name for name, keep in zip(self.patient, chosen, strict=True) if keep)
        return replace(
            self,
            images=self.images[chosen],
            possible=self.possible[chosen],
            heart_px=self.heart_px[chosen],
            pixel_mm=self.pixel_mm[chosen],
            patient=patient,
            neighbours=None if self.neighbours is None else (np.cumsum(chosen) - 1)[self.neighbours[chosen]],
        )


def joined(pools: Iterable[ImagePool]) -> ImagePool:
    """Pools of single images, one after the other; one pool alone as it is."""
    parts = list(pools)
    if len(parts) == 1:
        return parts[0]
    images, possible, heart_px, pixel_mm = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("images", "possible", "heart_px", "pixel_mm")
    )
    return ImagePool(images, possible, heart_px, pixel_mm, tuple(name for part in parts for name in part.patient))


def loosen_endocardium(pool: ImagePool) -> ImagePool:
    """The pool with the endocardial border left open by one pixel to either side: left ventricle or myocardium.

    Readers differ in how much of the trabeculated layer they include in the pool, which a simulation cannot know. Real
    drawings in the same training then decide.
    """
    lv, myocardium = np.uint8(1 << LV), np.uint8(1 << MYOCARDIUM)
    is_lv, is_muscle = pool.possible == lv, pool.possible == myocardium
    inner = ndimage.binary_dilation(is_lv, _CROSS) & is_muscle
    outer = ndimage.binary_dilation(is_muscle, _CROSS) & is_lv
    return replace(pool, possible=np.where(inner | outer, lv | myocardium, pool.possible).astype(np.uint8))


def sampling_probability(pool: ImagePool, emphasis: float, end_weight: float = 1.0) -> npt.NDArray[np.float64]:
    """The probability that an image is drawn: proportional to its left-ventricular area to the power ``-emphasis``.

    Within a factor of two of the median image, so that no image is drawn all the time. Errors of the small pools of
    end-systole weigh most in the ejection fraction, and most drawn images are not of end-systole. Images at an end of a
    ventricle (:attr:`ImagePool.at_an_end`) weigh ``end_weight`` times as much: whether one is there decides more of
    its volume than where its border is.
    """
    area = pool.lv_px.astype(float)
    typical = np.median(area[area > 0]) if area.any() else 1.0
    weight = np.clip(np.maximum(area, 1.0) / typical, 1e-3, None) ** -emphasis
    weight = np.where(area > 0, np.clip(weight, 0.5, 2.0), 1.0)
    weight[pool.at_an_end] *= end_weight
    return np.asarray(weight / weight.sum())


def simulated_pool(folder: Path, view: str, n: int, seed: int, workers: int = 1, n_slices: int = 1) -> ImagePool:
    """``n`` simulated images of ``view``, made in ``folder`` in files of 50 unless they are there already.

    The file names carry view, slices and seed; the same ones give the same images, in whatever order they were made.

    Args:
        folder: keeps the files.
        view: "sax", or a long-axis view.
        n: images.
        seed: of them.
        workers: processes that make them.
        n_slices: of each stack of short-axis images, a divisor of 50, see
            :func:`cmr_models.simulate.training_stacks`; 1 for single images of the simulated biobank's hearts, and for
            a long-axis view (:func:`cmr_models.simulate.training_long_axis`).
    """
    folder.mkdir(parents=True, exist_ok=True)
    kind = f"{view}{n_slices}" if n_slices > 1 else view if view == "sax" else f"{view}_patients"
    files = [folder / f"{kind}_{seed}_{k:04d}.npz" for k in range(-(-n // _PER_FILE))]
    missing = [(file, view, n_slices, seed, k) for k, file in enumerate(files) if not file.exists()]
    if workers > 1 and len(missing) > 1:
        with worker_pool(workers) as pool:
            with workers_leave_ctrl_c_to_the_command():
                written = pool.map(_simulate_file, missing)
            list(written)
    else:
        list(map(_simulate_file, missing))
    return _read_simulated(files, n, n_slices)


def real_pool(folder: Path, pixel_mm: float, n_phases: int = 0) -> ImagePool:
    """Short-axis images with the left-ventricular pool drawn: ``images/*.png``, ``labels/*.png`` with the same names.

    The name up to ``-IM-`` is the patient. All images must have one size. For images that have an outer border of the
    muscle too, ``epicardium/*.png`` holds what lies inside it.

    Args:
        folder: holds the folders.
        pixel_mm: the pixel size assumed for all, as PNG files carry none.
        n_phases: of each slice; the number at the end of a name is 1 + ``n_phases * slice + phase``. 0 if it is not,
            and no image has neighbours.

    Raises:
        FileNotFoundError: if there is no image, or one without a label.
    """
    names = sorted(file.name for file in (folder / "images").glob("*.png"))
    if not names:
        raise FileNotFoundError(f"no images/*.png in {folder}; leave `real` empty to train on simulation alone")
    images = np.stack([_grey(folder / "images" / name) for name in names])
    lv = np.stack([_grey(folder / "labels" / name) > 0.5 for name in names])
    outer = [folder / "epicardium" / name for name in names]
    return ImagePool(
        images=images,
        possible=np.stack(
            [
                ring_possible(mask, _grey(file) > 0.5, pixel_mm) if file.exists() else lv_only_possible(mask, pixel_mm)
                for mask, file in zip(lv, outer, strict=True)
            ]
        ),
        heart_px=np.stack([_centre(mask) for mask in lv]),
        pixel_mm=np.full(len(names), pixel_mm),
        patient=tuple(name.split("-IM-")[0] for name in names),
        neighbours=_beside(names, n_phases) if n_phases else None,
    )


def _beside(names: Sequence[str], n_phases: int) -> npt.NDArray[np.int64]:
    """(n, 2), the images of the same phase in the slices before and after each; itself where that is not drawn."""
    place = {name: k for k, name in enumerate(names)}
    number = re.compile(r"\d+(?=\.png$)")

    def moved(name: str, step: int) -> str:
        return number.sub(lambda found: f"{int(found[0]) + step:0{len(found[0])}d}", name)

    return np.array([[place.get(moved(name, step), k) for step in (-n_phases, n_phases)] for name, k in place.items()])


def fold_patients(patients: Sequence[str], fold: int, n_folds: int) -> set[str]:
    """The patients held out in ``fold`` of ``n_folds``: every n-th of the sorted names, to spread groups evenly."""
    return set(sorted(set(patients))[fold::n_folds])


def _grey(file: Path) -> npt.NDArray[np.float32]:
    """A PNG image ``(row, col)`` from 0 to 1; colours are averaged, transparency ignored."""
    pixels = np.asarray(imread(file), np.float32)
    return pixels[..., :3].mean(axis=-1) if pixels.ndim == 3 else pixels


def _simulate_file(job: tuple[Path, str, int, int, int]) -> None:
    from cmr_models.simulate import training_long_axis, training_slices, training_stacks

    file, view, n_slices, seed, k = job
    rng = np.random.default_rng([seed, k])
    if view != "sax":
        images, labels, pixel_mm = training_long_axis(rng, _PER_FILE, view, _SIMULATED_SHAPE)
    elif n_slices == 1:
        images, labels, pixel_mm = training_slices(rng, _PER_FILE, view, _SIMULATED_SHAPE)
    else:
        stacks, drawn, of_stack = training_stacks(rng, _PER_FILE // n_slices, n_slices, _SIMULATED_SHAPE)
        images, labels = stacks.reshape(-1, *_SIMULATED_SHAPE), drawn.reshape(-1, *_SIMULATED_SHAPE)
        pixel_mm = np.repeat(of_stack, n_slices)
    temporary = file.with_name(f".{file.name}.{os.getpid()}.npz")
    np.savez(temporary, images=images, labels=labels, pixel_mm=pixel_mm)
    os.replace(temporary, file)


def _read_simulated(files: Sequence[Path], n: int, n_slices: int) -> ImagePool:
    parts = [dict(np.load(file)) for file in files]
    images, labels, pixel_mm = (
        np.concatenate([part[key] for part in parts])[:n] for key in ("images", "labels", "pixel_mm")
    )
    place = np.arange(len(labels))
    first = place - place % n_slices
    last = np.minimum(first + n_slices, len(labels)) - 1
    heart = [_centre(np.any(labels[k : k + n_slices] > BACKGROUND, axis=0)) for k in range(0, len(labels), n_slices)]
    return ImagePool(
        images=images.astype(np.float32),
        possible=np.left_shift(np.uint8(1), labels),
        heart_px=np.repeat(heart, n_slices, axis=0)[: len(labels)],
        pixel_mm=pixel_mm.astype(np.float64),
        patient=("",) * len(images),
        neighbours=np.clip(place[:, None] + [-1, 1], first[:, None], last[:, None]) if n_slices > 1 else None,
    )


def _centre(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    rows, cols = np.nonzero(mask)
    return np.array([rows.mean(), cols.mean()]) if rows.size else np.full(2, np.nan)
