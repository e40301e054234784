"""Volumes with every structure drawn: cut, stacked with neighbours, held out by patient; and what the card says."""

from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from cmr_models import zoo
from cmr_models.segmentation.crops import CropWindow
from cmr_models.segmentation.segmenter import Segmenter, prepare
from tasks.training.drawn_volumes import drawn_pool, drawn_volumes
from tasks.training.segmentation_batches import TrainingImages, draw_batch, read_real_images
from tasks.training.segmentation_data import simulated_pool
from tasks.training.segmentation_recipe import fitted_start, train_segmentation
from tasks.training.segmentation_settings import TrainingSettings


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three patients of four slices, 60 columns and 50 rows; the value of a slice names patient, phase and slice."""
    folder = tmp_path_factory.mktemp("drawn")
    for p in (1, 2, 3):
        patient = folder / f"patient00{p}"
        patient.mkdir()
        (patient / "Info.cfg").write_text("ED: 1\nES: 9\nGroup: NOR\nNbFrame: 20\n")
        for phase, frame in enumerate((1, 9)):
            values = 100 * p + 10 * phase + np.arange(4.0)
            image = np.broadcast_to(values, (60, 50, 4)).astype(np.float32)
            labels = np.zeros((60, 50, 4), np.uint8)
            labels[20:40, 10:30, :3] = 1
            labels[22:38, 12:28, :3] = 2
            labels[25:35, 15:25, :3] = 3
            for end, content in (("", image), ("_gt", labels)):
                volume = nibabel.Nifti1Image(content, np.diag([1.5, 1.25, 8.0, 1.0]))
                nibabel.save(volume, patient / f"patient00{p}_frame{frame:02d}{end}.nii.gz")
    return folder


def _settings(drawn: Path, cache: Path, channels: int = 3) -> TrainingSettings:
    return TrainingSettings(
        seed=3, simulation_seed=3, config={"in_channels": channels}, kind="efficient_unet2d", size=32, n_simulated=50,
        simulated_cache=str(cache), simulation_workers=1, drawn=str(drawn), drawn_name="drawn hearts",
        drawn_licence="CC-BY-NC-SA-4.0", fold=1, n_folds=3, steps=2, simulated_steps=0, batch=4, warmup_steps=1,
        device="cpu", class_weights={"3": 0.5},
    )  # fmt: skip


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("simulated")
    simulated_pool(folder, "sax", 50, seed=3)
    return folder


def test_rows_and_columns_are_those_of_the_scanner(drawn: Path) -> None:
    volumes = list(drawn_volumes(drawn))
    assert [(v.patient, v.phase) for v in volumes[:3]] == [
        ("patient001", "ed"), ("patient001", "es"), ("patient002", "ed")
    ]  # fmt: skip
    assert volumes[0].images.shape == (4, 50, 60)
    assert volumes[0].spacing_mm == (1.25, 1.5, 8.0)
    assert volumes[0].labels[0, 20, 30] == 3
    assert volumes[0].group == "NOR"


def test_a_folder_without_patients_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="patient001"):
        next(drawn_volumes(tmp_path))


def test_a_slice_lies_between_those_of_its_own_volume(drawn: Path) -> None:
    pool = drawn_pool(drawn)
    assert pool.images.shape == (24, 256, 256)
    middle = pool.images[:, 128, 128]
    assert middle.tolist() == [100 * p + 10 * phase + k for p in (1, 2, 3) for phase in (0, 1) for k in range(4)]
    assert (pool.possible[:3, 128, 128] == 1 << 3).all()
    assert (pool.possible[3] == 1).all()  # nothing was drawn: background
    np.testing.assert_allclose(pool.heart_px, 127.5)
    chosen = np.array([4, 5, 7])
    stacks = pool.stacks(chosen, np.array([False, False, False]))[:, :, 128, 128]
    assert stacks.tolist() == [[110, 110, 111], [110, 111, 112], [112, 113, 113]]
    alone = pool.stacks(chosen, np.array([True, True, True]))[:, :, 128, 128]
    assert alone.tolist() == [[110] * 3, [111] * 3, [113] * 3]


def test_neighbours_are_found_after_patients_were_left_out(drawn: Path) -> None:
    pool = drawn_pool(drawn)
    kept = pool.select(np.array([name != "patient001" for name in pool.patient]))
    stacks = kept.stacks(np.array([1, 15]), np.zeros(2, bool))[:, :, 128, 128]
    assert stacks.tolist() == [[200, 201, 202], [312, 313, 313]]


def test_drawn_images_come_in_their_share_and_the_fold_stays_out(drawn: Path, cache: Path) -> None:
    settings = _settings(drawn, cache)
    real, training, held_out = read_real_images(settings)
    assert real is None
    assert training is not None
    assert held_out is not None
    assert set(training.patient) == {"patient001", "patient003"}
    assert set(held_out.patient) == {"patient002"}
    images = TrainingImages(simulated_pool(cache, "sax", 50, 3), real, training, held_out)
    batch = draw_batch(np.random.default_rng(0), replace(settings, drawn_share=1.0), images, 0)
    assert batch.crops.shape == batch.clean.shape == (4, 3, 32, 32)
    assert batch.n_real == 0
    drawn_values = draw_batch(np.random.default_rng(0), replace(settings, drawn_share=0.0), images, 0)
    assert not torch.equal(batch.possible, drawn_values.possible)


def test_the_card_has_the_licence_and_the_weights_of_classes(drawn: Path, cache: Path, tmp_path: Path) -> None:
    train_segmentation(_settings(drawn, cache), tmp_path / "model")
    card = zoo.card(tmp_path / "model")
    assert card.licence == "CC-BY-NC-SA-4.0"
    assert "16 real images of 2 patients, drawn hearts" in card.training_data
    assert "held out: patient002" in card.training_data
    assert card.class_weights == {"3": 0.5}
    segmenter = Segmenter.load(tmp_path / "model", "segment_sax")
    assert segmenter.channels == 3


def test_drawings_without_a_licence_are_refused(drawn: Path) -> None:
    with pytest.raises(ValueError, match="drawn_name and drawn_licence"):
        TrainingSettings(drawn=str(drawn), drawn_name="drawn hearts")


def test_a_stack_is_prepared_with_the_slices_before_and_after() -> None:
    rng = np.random.default_rng(0)
    images = rng.random((2, 3, 32, 32))
    window = CropWindow((15.5, 15.5), (1.0, 1.0), 32)
    single = prepare(images, window)
    three = prepare(images, window, 3)
    assert three.shape == (6, 3, 32, 32)
    for frame in (0, 3):
        for k, beside in enumerate(((0, 0, 1), (0, 1, 2), (1, 2, 2))):
            for channel, other in enumerate(beside):
                assert torch.equal(three[frame + k, channel], single[frame + other, 0])


def test_a_network_of_single_slices_begins_as_one_that_does_not_look_at_the_others() -> None:
    state = {"stem": torch.ones(2, 1, 3, 3), "other": torch.ones(4)}
    wide = fitted_start(state, {"stem": torch.zeros(2, 3, 3, 3), "other": torch.zeros(4)})
    assert wide["stem"][0].sum((1, 2)).tolist() == [0.0, 9.0, 0.0]
    assert torch.equal(wide["other"], state["other"])
