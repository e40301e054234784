"""One network for every long-axis view: its images, its classes, its start."""

from pathlib import Path

import numpy as np
import torch

from cmr_models import zoo
from cmr_models.contracts import AORTA_ASCENDING, RA
from tasks.training.segmentation_batches import read_images
from tasks.training.segmentation_data import ImagePool, joined
from tasks.training.segmentation_recipe import fitted_start, train_segmentation
from tasks.training.segmentation_settings import TrainingSettings


def _settings(**changes) -> TrainingSettings:
    return TrainingSettings(
        **{
            "task": "segment_lax", "config": {"widths": [4, 4], "blocks": [1, 1]}, "size": 32, "n_simulated": 6,
            "simulation_workers": 1, "steps": 2, "simulated_steps": 2, "batch": 2, "warmup_steps": 1, "device": "cpu",
        }
        | changes
    )  # fmt: skip


def test_a_third_of_the_images_is_of_each_view(tmp_path: Path) -> None:
    images = read_images(_settings(), tmp_path).simulated
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        f"lax_{view}_patients_1_0000.npz" for view in ("2c", "3c", "4c")
    ]
    shown = [np.bitwise_or.reduce(images.possible[k : k + 2].ravel()) for k in (0, 2, 4)]
    assert [bool(bits >> RA & 1) for bits in shown] == [True, False, False]  # 4-, 2-, 3-chamber
    assert [bool(bits >> AORTA_ASCENDING & 1) for bits in shown] == [False, False, True]


def test_a_trained_network_segments_each_view(tmp_path: Path) -> None:
    model = train_segmentation(_settings(), tmp_path / "run")
    card = zoo.card(model, "segment_lax_3c")
    assert card.config["n_classes"] == 7
    assert "6 simulated lax_4c, lax_2c, lax_3c images" in card.training_data[0]


def test_pools_are_joined_in_order() -> None:
    one = ImagePool(
        np.zeros((2, 4, 4), np.float32), np.ones((2, 4, 4), np.uint8), np.zeros((2, 2)), np.ones(2), ("", "")
    )
    other = ImagePool(
        np.ones((1, 4, 4), np.float32), np.full((1, 4, 4), 2, np.uint8), np.ones((1, 2)), np.full(1, 2.0), ("A",)
    )
    pool = joined([one, other])
    assert (len(pool), pool.patient) == (3, ("", "", "A"))
    assert pool.pixel_mm.tolist() == [1.0, 1.0, 2.0]
    assert pool.possible[:, 0, 0].tolist() == [1, 1, 2]
    assert joined([one]) is one


def test_a_start_with_fewer_classes_keeps_those_it_has() -> None:
    state = {"head": torch.ones(4, 3, 1, 1), "bias": torch.ones(4), "count": torch.tensor(5)}
    wanted = {"head": torch.zeros(7, 3, 1, 1), "bias": torch.full((7,), 2.0), "count": torch.tensor(0)}
    begun = fitted_start(state, wanted)
    assert begun["bias"].tolist() == [1, 1, 1, 1, 2, 2, 2]
    assert begun["head"].sum() == 12
    assert int(begun["count"]) == 5
