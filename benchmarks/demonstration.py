"""A small CineMA against convolutional networks trained the same, on simulated hearts: results/demonstration.json.

A small autoencoder is pretrained on hearts without labels; fine-tuned, untrained and convolutional networks then learn
labels, EF, disease and landmarks from all and from half of the labelled hearts, and are measured on hearts that none of
them saw. Every run is checkpointed in ``--work``: killed, it goes on.

    python -m benchmarks.demonstration --work demo/cinema
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cmr_models import zoo
from cmr_models.evaluation import classes, dice, mean_absolute_error
from cmr_models.grid import normalised
from cmr_models.sample_augmentation import SampleAugmentation
from cmr_models.simulate import Heart, ImagingSettings, sample_traits, simulate_view
from tasks.finetuning import Sample, finetune, predicted
from tasks.finetuning_settings import FinetuningSettings

RESULT = Path(__file__).parent / "results" / "demonstration.json"
DISEASES = ("healthy", "dilated", "hypertrophic")
LANDMARKS = ("mitral_septal", "mitral_lateral", "apex")
PIXEL_MM, SIZE, SLICES = 3.0, 64, 4

_VIT: dict[str, Any] = {
    "size": "small", "sax_size": [SIZE, SIZE, SLICES], "lax_size": [SIZE, SIZE], "enc_conv_chans": [16, 32],
    "enc_conv_n_blocks": 1,
}  # fmt: skip
_UNETR = _VIT | {"dec_chans": [8, 16, 32, 64, 128]}
_UNET = {"chans": [16, 32, 64, 128], "n_blocks": 1}
_RESNET = {"depth": 18, "layer_inplanes": [16, 32, 64, 128]}
_GENTLE = SampleAugmentation(rotation_deg=20, translation=0.06, scale=0.1)

TASKS: dict[str, dict[str, Any]] = {
    "segment_sax": {"views": ("sax",), "classes": ("background", "rv", "myocardium", "lv")},
    "regression_ef": {"views": ("sax",)},
    "classification_disease": {"views": ("sax",), "classes": DISEASES},
    "landmark_heatmap": {"views": ("lax_4c",), "classes": LANDMARKS},
}
DENSE = ("segment_sax", "landmark_heatmap")


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


class TaskSamples:
    """Hearts as samples of one task; the frame of a single-frame task is the index's parity."""

    def __init__(self, hearts: Hearts, task: str) -> None:
        self.hearts, self.task = hearts, task
        self.frames = 1 if task in DENSE else 0

    def __len__(self) -> int:
        return len(self.hearts.sax) * (2 if self.frames else 1)

    def sample(self, index: int, rng: np.random.Generator) -> Sample:
        """Sample ``index``; pretraining draws its frame."""
        hearts = self.hearts
        if self.task == "pretrain":
            frame = int(rng.integers(2))
            return Sample({"sax": hearts.sax[index, [frame]], "lax_4c": hearts.lax_4c[index, [frame]]}, np.zeros(1))
        heart, frame = divmod(index, 2)
        if self.task == "segment_sax":
            return Sample({"sax": hearts.sax[heart, [frame]]}, hearts.labels[heart, frame].astype(np.int64))
        if self.task == "landmark_heatmap":
            return Sample({"lax_4c": hearts.lax_4c[heart, [frame]]}, hearts.points_px[heart, frame])
        target = hearts.ef_pct if self.task == "regression_ef" else hearts.disease
        return Sample({"sax": hearts.sax[index]}, np.asarray(target[index]))


def simulated(n: int, seed: int, file: Path) -> Hearts:
    """``n`` hearts, a third of each disease, made once and kept in ``file``."""
    if not file.exists():
        made = [_heart(np.random.default_rng([seed, i]), i % len(DISEASES)) for i in range(n)]
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_name(f".{file.name}.{os.getpid()}.npz")
        np.savez(temporary, **{key: np.stack([one[key] for one in made]) for key in made[0]})
        os.replace(temporary, file)
    return Hearts(**np.load(file))


def _heart(rng: np.random.Generator, disease: int) -> dict[str, Any]:
    sex: Any = "F" if rng.random() < 0.5 else "M"
    height = float(rng.normal(163 if sex == "F" else 176, 7))
    traits = sample_traits(
        rng, sex=sex, age_years=float(rng.uniform(40, 80)), height_cm=height, weight_kg=27 * (height / 100) ** 2,
        disease=() if disease == 0 else (DISEASES[disease],), severity=float(rng.uniform(0.4, 1.2)),
    )  # fmt: skip
    heart = Heart(traits, rng)
    states = [heart.state(0.0), heart.state(heart.end_systole)]
    protocol = ImagingSettings(
        matrix=(SIZE, SIZE), pixel_mm=PIXEL_MM, n_frames=2, n_slices=SLICES, slice_mm=20, sub_planes=1, noise=0.04
    )
    sax = simulate_view(heart, "sax", protocol, rng, states)
    lax = simulate_view(heart, "lax_4c", replace(protocol, n_slices=None), rng, states)
    from_corner = lax["landmark_mm"].sel(landmark=list(LANDMARKS)).values - lax["position_mm"].values[0]
    axes = np.stack([lax["row_dir"].values[0], lax["col_dir"].values[0]])  # x is along the row
    return {
        "sax": normalised(sax["intensity"].values.transpose(0, 3, 2, 1).astype(np.float32))[0],
        "labels": sax["labels"].values.transpose(0, 3, 2, 1),
        "lax_4c": normalised(lax["intensity"].values.transpose(0, 3, 2, 1).astype(np.float32))[0][..., 0],
        "points_px": (from_corner @ axes.T / PIXEL_MM).astype(np.float32),
        "ef_pct": np.float32(traits.lvef_pct),
        "disease": np.int64(disease),
    }


def arms(task: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """Name -> kind and settings of the networks that are compared."""
    vit = ("ConvUNetR", _UNETR) if task in DENSE else ("ConvViT", _VIT)
    rival = ("UNet", _UNET) if task in DENSE else ("ResNet3d", _RESNET)
    return {"CineMA, pretrained": vit, "CineMA, from scratch": vit, rival[0]: rival}


def measured(task: str, answers: npt.NDArray[Any], target: npt.NDArray[Any]) -> dict[str, float]:
    """The figures of one network on the test hearts."""
    if task == "segment_sax":
        names = TASKS[task]["classes"][1:]
        overlaps = {
            name: [dice(a == k, t == k) for a, t in zip(answers, target, strict=True)]
            for k, name in enumerate(names, 1)
        }
        return {f"dice_{name}": float(np.nanmean(values)) for name, values in overlaps.items()}
    if task == "regression_ef":
        return {"ef_mae_pct": mean_absolute_error(answers, target)}
    if task == "classification_disease":
        table = classes.confusion(answers.argmax(1), target, len(DISEASES))
        return {"auc": classes.macro_area(answers, target), "accuracy": classes.accuracy(table)}
    return {"distance_mm": float(np.linalg.norm(answers - target, axis=-1).mean() * PIXEL_MM)}


def main() -> None:
    """Run what has not been run, write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("demo/cinema"))
    parser.add_argument("--hearts", type=int, default=90, help="labelled; twice as many are pretrained on")
    parser.add_argument("--test-hearts", type=int, default=60)
    parser.add_argument("--pretrain-steps", type=int, default=300)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--output", type=Path, default=RESULT)
    options = parser.parse_args()
    started = time.process_time()
    work = options.work / f"{options.hearts}_{options.pretrain_steps}_{options.steps}"
    unlabelled = simulated(2 * options.hearts, 1, options.work / f"unlabelled_{2 * options.hearts}.npz")
    labelled = simulated(options.hearts, 2, options.work / f"labelled_{options.hearts}.npz")
    test = simulated(options.test_hearts, 3, options.work / f"test_{options.test_hearts}.npz")
    common = {"patience": 0, "batch": 12, "threads": 1, "device": "cpu", "low_precision": False}
    pretraining = FinetuningSettings(
        task="pretrain", name="demonstration", kind="CineMA", config=_VIT, views=("sax", "lax_4c"),
        steps=options.pretrain_steps, warmup_steps=20, evaluate_every=25, augmentation=_GENTLE, **common,
    )  # fmt: skip
    finetune(pretraining, TaskSamples(unlabelled, "pretrain"), None, work / "pretrain")
    init = zoo.load(work / "pretrain")[0].state_dict()
    rows = []
    for task, about in TASKS.items():
        for proportion in (1.0, 0.5):
            for arm, (kind, config) in arms(task).items():
                settings = FinetuningSettings(
                    task=task, name=arm, kind=kind, config=config, steps=options.steps, warmup_steps=10,
                    proportion=proportion, evaluate_every=options.steps, augmentation=_GENTLE, **common, **about,
                )  # fmt: skip
                folder = work / task / f"{kind}_{'pretrained' if 'pretrained' in arm else 'scratch'}_{proportion}"
                begin = init if arm.endswith("pretrained") else None
                finetune(settings, TaskSamples(labelled, task), None, folder, init=begin)
                network, card = zoo.load(folder)
                scaling = card.target or {"mean": 0.0, "sd": 1.0}
                answers, target = predicted(network, settings, TaskSamples(test, task), scaling)
                rows.append({"task": task, "network": arm, "labels": proportion, **measured(task, answers, target)})
                print(rows[-1], flush=True)
    found = {
        "hearts": {"pretraining": 2 * options.hearts, "labelled": options.hearts, "test": options.test_hearts},
        "steps": {"pretraining": options.pretrain_steps, "each task": options.steps},
        "processor_s": round(time.process_time() - started),
        "rows": rows,
    }
    options.output.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
