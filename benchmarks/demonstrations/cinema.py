"""A small CineMA against convolutional networks trained the same, on simulated hearts.

A small autoencoder is pretrained on hearts without labels; fine-tuned, untrained and convolutional networks then learn
labels, EF, disease and landmarks from all and from half of the labelled hearts, and are measured on hearts that none of
them saw. Data, order, steps, batch, learning rate and augmentation are the same for every network of a task.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from benchmarks.demonstrations import cinema_page
from benchmarks.demonstrations.hearts import DISEASES, LANDMARKS, PIXEL_MM, SIZE, SLICES, Hearts, simulate_hearts
from cmr_models import zoo
from cmr_models.evaluation import bootstrapped, classes, dice, landmark_distance_mm, mean_absolute_error
from cmr_models.training.cinema_augmentation import SampleAugmentation
from tasks.training.cinema_batches import Sample, kept_indices
from tasks.training.cinema_objectives import predict_samples
from tasks.training.cinema_recipe import finetune
from tasks.training.cinema_settings import FinetuningSettings

PRETRAINED, SCRATCH = "CineMA, pretrained", "CineMA, from scratch"
PROPORTIONS = (1.0, 0.5)
DENSE = ("segment_sax", "landmark_heatmap")

VIT: dict[str, Any] = {
    "size": "small", "sax_size": [SIZE, SIZE, SLICES], "lax_size": [SIZE, SIZE], "enc_conv_chans": [32],
    "enc_conv_n_blocks": 1,
}  # fmt: skip
_UNETR = VIT | {"dec_chans": [8, 16, 32, 64]}
_UNET = {"chans": [8, 16, 32, 64, 128], "n_blocks": 1}
_RESNET = {"depth": 18, "layer_inplanes": [16, 32, 64, 128]}
_GENTLE = SampleAugmentation(rotation_deg=20, translation=0.06, scale=0.1)

TASKS: dict[str, dict[str, Any]] = {
    "segment_sax": {"views": ("sax",), "classes": ("background", "rv", "myocardium", "lv")},
    "regression_ef": {"views": ("sax",)},
    "classification_disease": {"views": ("sax",), "classes": DISEASES},
    "landmark_heatmap": {"views": ("lax_4c",), "classes": LANDMARKS},
}


STEPS = {"segment_sax": 120, "regression_ef": 200, "classification_disease": 200, "landmark_heatmap": 300}


@dataclass(frozen=True)
class Extent:
    """How many hearts, how many steps."""

    pretraining_hearts: int = 300
    labelled_hearts: int = 90
    test_hearts: int = 90
    pretraining_steps: int = 900
    steps: Mapping[str, int] = field(default_factory=lambda: STEPS)


QUICK = Extent(6, 6, 6, 2, dict.fromkeys(TASKS, 2))


class TaskSamples:
    """Hearts as samples of one task, a part of them if asked for: both frames of a heart go together.

    Of a task that sees one frame, the frame is the index's parity.
    """

    def __init__(self, hearts: Hearts, task: str, proportion: float = 1.0) -> None:
        self.hearts, self.task = hearts, task
        self.people = kept_indices(len(hearts.sax), proportion, seed=0)

    def __len__(self) -> int:
        return len(self.people) * (2 if self.task in DENSE else 1)

    def sample(self, index: int, rng: np.random.Generator) -> Sample:
        """Sample ``index``; pretraining draws its frame."""
        hearts = self.hearts
        if self.task == "pretrain":
            index = int(self.people[index])
            frame = int(rng.integers(2))
            return Sample({"sax": hearts.sax[index, [frame]], "lax_4c": hearts.lax_4c[index, [frame]]}, np.zeros(1))
        place, frame = divmod(index, 2) if self.task in DENSE else (index, 0)
        heart = int(self.people[place])
        if self.task == "segment_sax":
            return Sample({"sax": hearts.sax[heart, [frame]]}, hearts.labels[heart, frame].astype(np.int64))
        if self.task == "landmark_heatmap":
            return Sample({"lax_4c": hearts.lax_4c[heart, [frame]]}, hearts.points_px[heart, frame])
        target = hearts.ef_pct if self.task == "regression_ef" else hearts.disease
        return Sample({"sax": hearts.sax[heart]}, np.asarray(target[heart]))


def arms(task: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """Name -> kind and settings of the networks that are compared."""
    vit = ("ConvUNetR", _UNETR) if task in DENSE else ("ConvViT", VIT)
    rival = ("UNet", _UNET) if task in DENSE else ("ResNet3d", _RESNET)
    return {PRETRAINED: vit, SCRATCH: vit, "UNet" if task in DENSE else "ResNet": rival}


def run(work: Path, root: Path, *, quick: bool = False) -> None:
    """Train what has not been trained; write results, table and figure under ``root``."""
    extent = QUICK if quick else Extent()
    hearts = _hearts(extent, work)
    init = pretrain(hearts["unlabelled"], extent.pretraining_steps, work / "pretrain")
    rows = []
    for task in TASKS:
        for proportion in PROPORTIONS:
            found = {arm: _train(task, arm, proportion, extent, hearts, init, work) for arm in arms(task)}
            rows += compare_networks(task, proportion, found, np.random.default_rng(0))
            print(json.dumps(rows[-len(found) :], indent=1), flush=True)
    cinema_page.write({"extent": asdict(extent), "rows": rows}, root)


class Networks(NamedTuple):
    """What other demonstrations take over, and the hearts that the autoencoder learned from."""

    autoencoder: nn.Module
    segmenter: nn.Module
    unlabelled: Hearts


def networks(work: Path, *, quick: bool = False) -> Networks:
    """The pretrained autoencoder and the UNet, which segments better; trained if they are not in ``work``."""
    extent = QUICK if quick else Extent()
    hearts = _hearts(extent, work)
    init = pretrain(hearts["unlabelled"], extent.pretraining_steps, work / "pretrain")
    _train("segment_sax", "UNet", 1.0, extent, hearts, init, work)
    segmenter = zoo.load(_folder(work, "segment_sax", "UNet", 1.0))[0]
    return Networks(zoo.load(work / "pretrain")[0], segmenter, hearts["unlabelled"])


def _hearts(extent: Extent, work: Path) -> dict[str, Hearts]:
    sizes = {
        "unlabelled": extent.pretraining_hearts, "labelled": extent.labelled_hearts, "test": extent.test_hearts,
    }  # fmt: skip
    return {name: simulate_hearts(n, seed, work / f"{name}_{n}.npz") for seed, (name, n) in enumerate(sizes.items(), 1)}


def _folder(work: Path, task: str, arm: str, proportion: float) -> Path:
    return work / task / f"{arms(task)[arm][0]}_{'pretrained' if arm == PRETRAINED else 'scratch'}_{proportion}"


def pretrain(hearts: Hearts, steps: int, folder: Path) -> dict[str, Tensor]:
    """Weights of the autoencoder after ``steps`` steps on ``hearts``."""
    settings = FinetuningSettings(
        task="pretrain", name="demonstration", kind="CineMA", pixel_mm=PIXEL_MM, config=VIT, views=("sax", "lax_4c"),
        steps=steps, warmup_steps=min(50, steps // 2), evaluate_every=50, augmentation=_GENTLE, **_common(),
    )  # fmt: skip
    finetune(settings, TaskSamples(hearts, "pretrain"), None, folder)
    return zoo.load(folder)[0].state_dict()


@dataclass(frozen=True)
class Outputs:
    """The outputs of a trained network on the test hearts, and its size and time."""

    outputs: npt.NDArray[Any]
    target: npt.NDArray[Any]
    parameters: int
    processor_s: float


def _train(
    task: str, arm: str, proportion: float, extent: Extent, hearts: Mapping[str, Hearts], init: dict[str, Tensor],
    work: Path,
) -> Outputs:  # fmt: skip
    kind, config = arms(task)[arm]
    settings = FinetuningSettings(
        task=task, name=arm, kind=kind, pixel_mm=PIXEL_MM, config=config, steps=extent.steps[task], warmup_steps=10,
        evaluate_every=50, augmentation=_GENTLE, **_common(), **TASKS[task],
    )  # fmt: skip
    folder = _folder(work, task, arm, proportion)
    seconds = folder / "processor_s.txt"
    whole, started = not folder.exists(), time.process_time()
    labelled = TaskSamples(hearts["labelled"], task, proportion)
    finetune(settings, labelled, None, folder, init=init if arm == PRETRAINED else None)
    if not seconds.exists():  # of a training that was killed and went on, the time is not known
        seconds.write_text(f"{time.process_time() - started:.1f}" if whole else "nan")
    network, card = zoo.load(folder)
    outputs, target = predict_samples(
        network, settings, TaskSamples(hearts["test"], task), card.target or {"mean": 0.0, "sd": 1.0}
    )
    n = sum(value.numel() for value in network.parameters())
    return Outputs(outputs, target, n, float(seconds.read_text()))


def _common() -> dict[str, Any]:
    return {"patience": 0, "batch": 8, "threads": 1, "device": "cpu", "low_precision": False}


# figures


def compare_networks(
    task: str, proportion: float, found: Mapping[str, Outputs], rng: np.random.Generator
) -> list[dict[str, Any]]:
    """The figure of each network with its interval, and how much better than the rival it is, over the same people."""
    measures = {arm: person_measure(task, one.outputs, one.target) for arm, one in found.items()}
    rival = measures[next(reversed(measures))]
    sign = 1 if FIGURES[task].higher_is_better else -1
    rows = []
    for arm, one in found.items():
        measure = measures[arm]
        people = np.arange(FIGURES[task].n_people(len(one.target)), dtype=float)
        value = bootstrapped(lambda i, _, m=measure: m(i.astype(int)), people, people, rng)
        gain = bootstrapped(
            lambda i, _, m=measure: sign * (m(i.astype(int)) - rival(i.astype(int))), people, people, rng
        )
        better_by = None if measure is rival else [_round(number) for number in gain[:3]]
        rows.append(
            {
                "task": task,
                "network": arm,
                "labels": proportion,
                "figure": FIGURES[task].name,
                **{key: _round(number) for key, number in value._asdict().items()},
                "better_by": better_by,
                "parameters": one.parameters,
                "processor_s": one.processor_s,
            }
        )
    return rows


@dataclass(frozen=True)
class Figure:
    """What a task is measured by; ``frames`` of its samples belong to one person."""

    name: str
    higher_is_better: bool
    frames: int = 1

    def n_people(self, n_samples: int) -> int:
        """How many people ``n_samples`` are of."""
        return n_samples // self.frames


FIGURES = {
    "segment_sax": Figure("mean Dice of RV, myocardium and LV", True, 2),
    "regression_ef": Figure("EF, mean absolute error, points", False),
    "classification_disease": Figure("macro AUC of three classes", True),
    "landmark_heatmap": Figure("mean landmark distance, mm", False, 2),
}

Measure = Callable[[npt.NDArray[np.intp]], float]


def person_measure(task: str, outputs: npt.NDArray[Any], target: npt.NDArray[Any]) -> Measure:
    """The figure of chosen people, as a function of who they are."""
    if task == "regression_ef":
        return lambda people: mean_absolute_error(outputs[people], target[people])
    if task == "classification_disease":
        return lambda people: classes.macro_area(outputs[people], target[people])
    if task == "segment_sax":
        each = [
            [dice(a == k, t == k) for k in range(1, len(TASKS[task]["classes"]))]
            for a, t in zip(outputs, target, strict=True)
        ]
    else:
        each = list(landmark_distance_mm(outputs, target, (PIXEL_MM, PIXEL_MM)))
    by_person = np.nanmean(np.reshape(each, (len(target) // FIGURES[task].frames, -1)), axis=1)
    return lambda people: float(by_person[people].mean())


def _round(number: float) -> float:
    return number if isinstance(number, int) else round(float(number), 4)
