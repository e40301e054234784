"""Small simulated hearts at end-diastole and end-systole, as the demonstrations' networks see them."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cmr_models.cinema.grid import normalise
from cmr_models.simulate import Heart, HeartTraits, ImagingSettings, sample_traits, simulate_view

DISEASES = ("healthy", "dilated", "hypertrophic")
LANDMARKS = ("mitral_septal", "mitral_lateral", "apex")
PIXEL_MM, SIZE, SLICES = 3.5, 48, 4

_PROTOCOL = ImagingSettings(
    matrix=(SIZE, SIZE), pixel_mm=PIXEL_MM, n_frames=2, n_slices=SLICES, slice_mm=20, sub_planes=1, noise=0.04
)


@dataclass(frozen=True)
class Hearts:
    """Simulated hearts at end-diastole and end-systole, all of one kind of protocol.

    ``sax (n, 2, x, y, z)``, ``labels`` alike; ``lax_4c (n, 2, x, y)``; ``points_px (n, 2, landmark, 2)`` (x, y);
    ``ef_pct (n,)``; ``disease (n,)``.
    """

    sax: npt.NDArray[np.float32]
    labels: npt.NDArray[np.uint8]
    lax_4c: npt.NDArray[np.float32]
    points_px: npt.NDArray[np.float32]
    ef_pct: npt.NDArray[np.float32]
    disease: npt.NDArray[np.int64]


def simulate_hearts(n: int, seed: int, file: Path) -> Hearts:
    """``n`` hearts, a third of each disease, made once and kept in ``file``."""
    if not file.exists():
        made = [_heart(np.random.default_rng([seed, i]), i % len(DISEASES)) for i in range(n)]
        save_arrays(file, {field.name: np.stack([one[field.name] for one in made]) for field in fields(Hearts)})
    return Hearts(**np.load(file))


def save_arrays(file: Path, arrays: dict[str, npt.NDArray[Any]]) -> None:
    """Write ``arrays`` so that a killed run leaves no half of a file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.{os.getpid()}.npz")
    np.savez(temporary, **arrays)  # type: ignore[arg-type]
    os.replace(temporary, file)


def image_heart(traits: HeartTraits, rng: np.random.Generator) -> dict[str, npt.NDArray[Any]]:
    """Images, labels and landmarks of one heart, as in :class:`Hearts` without the first axis."""
    heart = Heart(traits, rng)
    states = [heart.state(0.0), heart.state(heart.end_systole)]
    sax = simulate_view(heart, "sax", _PROTOCOL, rng, states)
    lax = simulate_view(heart, "lax_4c", replace(_PROTOCOL, n_slices=None), rng, states)
    from_corner = lax["landmark_mm"].sel(landmark=list(LANDMARKS)).values - lax["position_mm"].values[0]
    axes = np.stack([lax["row_dir"].values[0], lax["col_dir"].values[0]])  # x is along the row
    return {
        "sax": normalise(sax["intensity"].values.transpose(0, 3, 2, 1).astype(np.float32))[0],
        "labels": sax["labels"].values.transpose(0, 3, 2, 1),
        "lax_4c": normalise(lax["intensity"].values.transpose(0, 3, 2, 1).astype(np.float32))[0][..., 0],
        "points_px": (from_corner @ axes.T / PIXEL_MM).astype(np.float32),
    }


def _heart(rng: np.random.Generator, disease: int) -> dict[str, Any]:
    sex: Any = "F" if rng.random() < 0.5 else "M"
    height = float(rng.normal(163 if sex == "F" else 176, 7))
    traits = sample_traits(
        rng, sex=sex, age_years=float(rng.uniform(40, 80)), height_cm=height, weight_kg=27 * (height / 100) ** 2,
        disease=() if disease == 0 else (DISEASES[disease],), severity=float(rng.uniform(0.4, 1.2)),
    )  # fmt: skip
    return {**image_heart(traits, rng), "ef_pct": np.float32(traits.lvef_pct), "disease": np.int64(disease)}
