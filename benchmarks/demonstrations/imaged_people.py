"""A simulated cohort of which some people are imaged, and what networks see in those images.

The images depend on the heart alone: disease and death depend on the planted phenotypes, and are nowhere drawn into an
image.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from benchmarks.demonstrations.hearts import PIXEL_MM, Hearts, image_heart, save_arrays
from cmr_models.simulate import sample_traits

SLICE_MM, MYOCARDIUM_G_PER_ML = 20.0, 1.05
VOLUMES = ("image_lvedv_ml", "image_lvesv_ml", "image_lvef_pct", "image_lvm_g", "image_rvedv_ml")

_TRUE = ("lvedv_ml", "lvef_pct", "lvm_g", "rvedv_ml", "rvef_pct", "heart_rate_bpm", "height_cm", "weight_kg")
_CHUNK = 50

Images = Mapping[str, npt.NDArray[Any]]


def images_of(truth: pd.DataFrame, seed: int, folder: Path) -> dict[str, npt.NDArray[Any]]:
    """``sax (n, 2, x, y, z)``, ``lax_4c (n, 2, x, y)`` of the people of ``truth``, kept in parts in ``folder``."""
    parts = []
    for first in range(0, len(truth), _CHUNK):
        people = truth.iloc[first : first + _CHUNK]
        file = folder / f"{first}_{len(people)}.npz"
        if not file.exists():
            made = [_person(row, np.random.default_rng([seed, first + k])) for k, row in enumerate(_rows(people))]
            save_arrays(file, {name: np.stack([one[name] for one in made]) for name in ("sax", "lax_4c")})
        parts.append(np.load(file))
    return {name: np.concatenate([part[name] for part in parts]) for name in ("sax", "lax_4c")}


def image_volumes(segmenter: nn.Module, sax: npt.NDArray[np.float32]) -> pd.DataFrame:
    """Columns :data:`VOLUMES` from the labels of a segmentation network at end-diastole and end-systole."""
    counts = np.zeros((len(sax), 2, 4))
    with torch.inference_mode():
        for k, person in enumerate(sax):
            labels = segmenter.eval()({"sax": torch.from_numpy(person[:, None])})["sax"].argmax(1)
            counts[k] = [[int((frame == code).sum()) for code in range(4)] for frame in labels]
    ml = counts * PIXEL_MM**2 * SLICE_MM / 1000
    lvedv, lvesv = ml[:, 0, 3], ml[:, 1, 3]
    values = (lvedv, lvesv, 100 * (1 - lvesv / lvedv), ml[:, 0, 2] * MYOCARDIUM_G_PER_ML, ml[:, 0, 1])
    return pd.DataFrame(dict(zip(VOLUMES, values, strict=True)))


def image_features(autoencoder: nn.Module, images: Images) -> npt.NDArray[np.float64]:
    """``(n, channel)``: class token and mean tokens of each view at end-diastole, and their change to end-systole."""
    found = []
    with torch.inference_mode():
        for sax, lax in zip(images["sax"], images["lax_4c"], strict=True):
            answer = autoencoder.eval().features({"sax": torch.from_numpy(sax[:, None]),
                                                  "lax_4c": torch.from_numpy(lax[:, None])})  # type: ignore[operator]  # fmt: skip
            both = torch.cat([answer[name].mean(1) for name in ("cls", "sax", "lax_4c")], dim=1)  # (2, channel)
            found.append(torch.cat([both[0], both[1] - both[0]]).double().numpy())
    return np.stack(found)


def components(autoencoder: nn.Module, unlabelled: Hearts, images: Images, n: int) -> pd.DataFrame:
    """``(person, n)`` principal components of the features, the axes being those of other, unlabelled hearts."""
    others = image_features(autoencoder, {"sax": unlabelled.sax, "lax_4c": unlabelled.lax_4c})
    axes = make_pipeline(StandardScaler(), PCA(min(n, len(others) - 1), random_state=0), StandardScaler()).fit(others)
    values = axes.transform(image_features(autoencoder, images))
    return pd.DataFrame(values, columns=[f"feature_{k}" for k in range(values.shape[1])])


def _rows(people: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in people.to_dict("records")]


def _person(row: Mapping[str, Any], rng: np.random.Generator) -> dict[str, npt.NDArray[Any]]:
    typical = sample_traits(
        rng, sex="M" if row["sex"] == "male" else "F", age_years=float(row["age_years"]),
        height_cm=float(row["height_cm"]), weight_kg=float(row["weight_kg"]),
    )  # fmt: skip
    true: dict[str, Any] = {name: float(row[name]) for name in _TRUE}
    return image_heart(replace(typical, **true), rng)
