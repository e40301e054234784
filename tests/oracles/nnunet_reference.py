"""A real nnU-Net v2, planned and trained for a few steps, and what its own predictor says of new volumes.

    PYTHON_WITH_NNUNET tests/oracles/nnunet_reference.py FOLDER

Runs in an environment of its own, where ``nnunetv2`` is installed; it imports nothing of this repository. It writes
``FOLDER/results/Dataset001_SAX/nnUNetTrainer__nnUNetPlans__<configuration>`` and ``FOLDER/<case>.npz``, of each case
the volume, its spacing, and the labels and probabilities of the predictor.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np

CONFIGURATIONS = ("2d", "3d_fullres")
FOLDS = (0, 1)
N_TRAINING = 6
SPACING_MM = (8.0, 1.7, 1.7)


def heart(rng, shape):
    """A volume ``(slice, row, col)`` with a pool in a wall and a second pool beside it, and its labels."""
    _, row, col = np.indices(shape)
    middle = np.array(shape[1:]) / 2 + rng.uniform(-3, 3, 2)
    radius = np.hypot(row - middle[0], col - middle[1])
    labels = np.zeros(shape, np.uint8)
    labels[np.hypot(row - middle[0], (col - middle[1] + 14) / 1.2) < 9] = 1
    labels[radius < 10] = 2
    labels[radius < 6] = 3
    brightness = np.array([60.0, 190.0, 90.0, 210.0])[labels]
    volume = brightness * rng.uniform(0.8, 1.2) + rng.normal(0, 12, shape)
    volume[:, :, : int(rng.integers(0, 4))] = 0  # a black border, which nnU-Net cuts off
    return np.clip(volume, 0, None).astype(np.float32), labels


def write_data_set(raw, rng):
    import SimpleITK

    folder = raw / "Dataset001_SAX"
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True)
    for i in range(N_TRAINING):
        shape = (8 + i % 3, 48 + 2 * i, 56)
        volume, labels = heart(rng, shape)
        for part, name, values in (("imagesTr", f"case_{i}_0000", volume), ("labelsTr", f"case_{i}", labels)):
            image = SimpleITK.GetImageFromArray(values)
            image.SetSpacing(SPACING_MM[::-1])
            SimpleITK.WriteImage(image, str(folder / part / f"{name}.nii.gz"))
    about = {
        "channel_names": {"0": "cine MRI"},
        "labels": {"background": 0, "RV": 1, "MYO": 2, "LV": 3},
        "numTraining": N_TRAINING,
        "file_ending": ".nii.gz",
        "name": "drawn discs",
        "licence": "CC0-1.0",
    }
    (folder / "dataset.json").write_text(json.dumps(about))


def train(preprocessed):
    import torch
    from nnunetv2.experiment_planning.plan_and_preprocess_api import (
        extract_fingerprints,
        plan_experiments,
        preprocess,
    )
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    extract_fingerprints([1], num_processes=1)
    plan_experiments([1])
    preprocess([1], configurations=CONFIGURATIONS, num_processes=(1, 1))
    folder = preprocessed / "Dataset001_SAX"
    plans = json.loads((folder / "nnUNetPlans.json").read_text())
    for configuration in CONFIGURATIONS:  # networks and patches for a processor
        settings = plans["configurations"][configuration]
        kwargs = settings["architecture"]["arch_kwargs"]
        kwargs["features_per_stage"] = [min(4 * 2**i, 16) for i in range(kwargs["n_stages"])]
        settings["batch_size"] = 2
    about = json.loads((folder / "dataset.json").read_text())
    os.environ.update(nnUNet_n_proc_DA="0")  # batches are made in this process; planning needs at least one
    for configuration in CONFIGURATIONS:
        for fold in FOLDS:
            torch.manual_seed(fold)
            trainer = nnUNetTrainer(
                {**plans, "continue_training": False}, configuration, fold, about, device=torch.device("cpu")
            )
            trainer.num_epochs, trainer.num_iterations_per_epoch, trainer.num_val_iterations_per_epoch = 2, 20, 1
            trainer.run_training()


def predict(folder, rng):
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    for configuration in CONFIGURATIONS:
        predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
        source = folder / "results" / "Dataset001_SAX" / f"nnUNetTrainer__nnUNetPlans__{configuration}"
        predictor.initialize_from_trained_model_folder(str(source), None, "checkpoint_final.pth")
        cases = {
            "same": ((9, 60, 60), SPACING_MM),
            "finer": ((7, 150, 131), (9.5, 0.95, 1.1)),
            "thin": ((12, 90, 80), (2.5, 1.5, 1.5)),
        }
        for name, (shape, spacing_mm) in cases.items():
            volume, _ = heart(rng, shape)
            labels, probabilities = predictor.predict_single_npy_array(
                volume[None].copy(), {"spacing": list(spacing_mm)}, None, None, True
            )
            np.savez(
                folder / f"{configuration}_{name}.npz",
                volume=volume, spacing_mm=spacing_mm, labels=labels, probabilities=probabilities,
            )  # fmt: skip


def main():
    folder = Path(sys.argv[1])
    for name in ("raw", "preprocessed", "results"):
        (folder / name).mkdir(parents=True)
        os.environ[f"nnUNet_{name}"] = str(folder / name)
    os.environ.update(nnUNet_n_proc_DA="1", nnUNet_compile="f", nnUNet_def_n_proc="2")
    rng = np.random.default_rng(3)
    write_data_set(folder / "raw", rng)
    train(folder / "preprocessed")
    predict(folder, rng)


if __name__ == "__main__":
    main()
