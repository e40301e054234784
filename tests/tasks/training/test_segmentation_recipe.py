"""The training recipe on a few tiny steps: reproducible, resumable, and honest about its data."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.image import imsave

from cmr_models import zoo
from cmr_models.training.partial_labels import lv_only_possible
from tasks.training.loop import take_step
from tasks.training.published_encoder import efficientnet_lite0
from tasks.training.recipes import read_recipe
from tasks.training.segmentation_batches import TrainingImages, draw_batch, read_real_images
from tasks.training.segmentation_data import (
    ImagePool,
    fold_patients,
    loosen_endocardium,
    real_pool,
    sampling_probability,
    simulated_pool,
)
from tasks.training.segmentation_recipe import SegmentationRecipe
from tasks.training.segmentation_recipe import train_segmentation as train
from tasks.training.segmentation_settings import TrainingSettings

_RECIPES = Path(__file__).parents[3] / "infra" / "training"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fifty simulated images, made once."""
    folder = tmp_path_factory.mktemp("simulated")
    simulated_pool(folder, "sax", 50, seed=3)
    return folder


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six drawn images of three patients."""
    folder, rng = tmp_path_factory.mktemp("real"), np.random.default_rng(0)
    for kind in ("images", "labels"):
        (folder / kind).mkdir()
    for patient in "ABC":
        for k in (1, 2):
            lv = np.zeros((64, 64))
            lv[24:40, 24:40] = 1
            name = f"{patient}-IM-0001-{k:04d}.png"
            imsave(folder / "images" / name, lv * 0.5 + rng.random((64, 64)) * 0.3, cmap="gray", vmin=0, vmax=1)
            imsave(folder / "labels" / name, lv, cmap="gray", vmin=0, vmax=1)
    return folder


def _settings(cache: Path, real: Path | None = None) -> TrainingSettings:
    return TrainingSettings(
        seed=3,
        simulation_seed=3,
        config={"widths": [8, 8], "blocks": [1, 1]},
        size=32,
        n_simulated=50,
        simulated_cache=str(cache),
        simulation_workers=1,
        real=str(real or ""),
        steps=6,
        simulated_steps=2,
        teacher_from=3,
        batch=4,
        warmup_steps=2,
        device="cpu",
        log_every=2,
    )


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    return dict(zoo.load(folder)[0].state_dict())


def test_a_killed_training_that_resumes_leaves_the_same_weights_and_metrics(
    cache: Path, real: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = replace(_settings(cache, real), checkpoint_every_s=0.0, fold=0, n_folds=3)
    whole = train(settings, tmp_path / "whole")
    losses = SegmentationRecipe.losses

    def killed(recipe: SegmentationRecipe, step: int) -> Mapping[str, torch.Tensor]:
        if step == 5:
            raise KeyboardInterrupt
        return losses(recipe, step)

    monkeypatch.setattr(SegmentationRecipe, "losses", killed)
    with pytest.raises(KeyboardInterrupt):
        train(settings, tmp_path / "resumed")
    monkeypatch.undo()
    assert torch.load(tmp_path / "resumed" / "checkpoint.pt", weights_only=True)["step"] == 5
    resumed = train(settings, tmp_path / "resumed")
    for name in ("model.safetensors", "metrics.csv"):
        assert (resumed / name).read_bytes() == (whole / name).read_bytes()


def test_a_checkpoint_of_other_settings_is_refused(cache: Path, tmp_path: Path) -> None:
    settings = _settings(cache)
    train(settings, tmp_path)
    with pytest.raises(ValueError, match="made with other settings"):
        train(replace(settings, learning_rate=0.5), tmp_path)


def test_the_card_says_what_was_trained_on_and_what_was_held_out(cache: Path, real: Path, tmp_path: Path) -> None:
    folder = train(replace(_settings(cache, real), fold=0, n_folds=3), tmp_path)
    card = zoo.card(folder)
    assert "4 real images of 2 patients" in " ".join(card.training_data)
    assert "held out: A" in card.training_data
    assert str(real) not in (folder / zoo.CARD_FILE).read_text()


def test_metrics_are_logged_with_the_step(cache: Path, tmp_path: Path) -> None:
    train(_settings(cache), tmp_path)
    header, *rows = (tmp_path / "metrics.csv").read_text().splitlines()
    assert header == "step,cross_entropy,dice_loss"
    assert [row.split(",")[0] for row in rows] == ["2", "4", "6"]


def test_a_later_stage_begins_with_the_weights_of_an_earlier_one_and_says_so(cache: Path, tmp_path: Path) -> None:
    first = train(_settings(cache), tmp_path / "first")
    second = train(replace(_settings(cache), start_from=str(first), steps=1), tmp_path / "second")
    assert any(zoo.card(first).digest[:12] in line for line in zoo.card(second).training_data)


def test_a_published_encoder_begins_the_network_that_it_fits_and_the_card_says_so(cache: Path, tmp_path: Path) -> None:
    kind, config = "efficient_unet2d", {"widths": [4, 4, 4, 4, 4]}
    settings = replace(_settings(cache), kind=kind, config=config, encoder="efficientnet-lite0", learning_rate=0.0)
    folder = train(replace(settings, steps=1), tmp_path / "a")
    stem = efficientnet_lite0()["stem.0.weight"]
    torch.testing.assert_close(_weights(folder)["stem.0.weight"], stem, rtol=2e-3, atol=2e-3)
    assert any("EfficientNet-Lite0" in entry for entry in zoo.card(folder).training_data)
    with pytest.raises(ValueError, match="are for a new 'efficient_unet2d'"):
        train(replace(_settings(cache), encoder="efficientnet-lite0"), tmp_path / "b")


def test_a_share_of_the_weights_begun_with_can_be_kept(cache: Path, tmp_path: Path) -> None:
    first = train(_settings(cache), tmp_path / "first")
    later = replace(_settings(cache), seed=4, start_from=str(first))
    begun, all_new = zoo.load(first)[0], zoo.load(train(later, tmp_path / "all_new"))[0]
    mixed = zoo.load(train(replace(later, start_share=0.25), tmp_path / "mixed"))[0]
    for a, b, m in zip(begun.parameters(), all_new.parameters(), mixed.parameters(), strict=True):
        assert not torch.equal(a, b)
        torch.testing.assert_close(m, 0.25 * a + 0.75 * b, rtol=2e-2, atol=2e-3)  # weights are kept in half precision
    with pytest.raises(ValueError, match="--init"):
        train(replace(_settings(cache), start_share=0.25), tmp_path / "from_nothing")


def test_the_weights_begun_with_can_name_what_drawings_leave_open(cache: Path, real: Path, tmp_path: Path) -> None:
    first = train(_settings(cache), tmp_path / "first")
    later = replace(_settings(cache, real), start_from=str(first), simulated_steps=0, teacher_from=0)
    begun = {name: value.float() for name, value in _weights(first).items()}
    images = TrainingImages(simulated_pool(cache, "sax", 50, seed=3), real_pool(real, 1.32))
    for teacher, n_kept in {"mean": 0, "begun": 1, "both": 1}.items():
        recipe = SegmentationRecipe(replace(later, teacher=teacher), images)
        for step in range(3):
            take_step(recipe, step)
        kept = [
            all(torch.equal(value, begun[name]) for name, value in network.state_dict().items())
            for network in recipe.teachers
        ]
        assert (sum(kept), len(kept)) == (n_kept, 1 + (teacher == "both"))
    with pytest.raises(ValueError, match="--init"):
        train(replace(_settings(cache), teacher="begun"), tmp_path / "from_nothing")


def test_real_images_can_be_varied_less_than_simulated_ones(cache: Path, real: Path, tmp_path: Path) -> None:
    settings = replace(_settings(cache, real), real_strength=0.0, real_share=1.0, simulated_steps=0)
    images = TrainingImages(
        simulated_pool(cache, "sax", 50, seed=3), real_pool(real, settings.real_pixel_mm).select(np.arange(6) == 0)
    )
    clean = [draw_batch(np.random.default_rng(k), settings, images, 0).clean for k in (1, 2)]
    assert torch.equal(*clean)
    varied = replace(settings, real_strength=1.0)
    clean = [draw_batch(np.random.default_rng(k), varied, images, 0).clean for k in (1, 2)]
    assert not torch.equal(*clean)


def test_a_task_without_a_recipe_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown task 'segment_lung'"):
        TrainingSettings(task="segment_lung")  # type: ignore[arg-type]


def test_simulated_images_do_not_depend_on_how_many_are_made(tmp_path: Path) -> None:
    few, more = simulated_pool(tmp_path / "a", "sax", 2, 9), simulated_pool(tmp_path / "b", "sax", 3, 9)
    np.testing.assert_array_equal(few.images, more.images[:2])


def test_every_patient_is_held_out_in_exactly_one_fold() -> None:
    patients = [f"P{k}" for k in range(11)]
    folds = [fold_patients(patients, fold, 5) for fold in range(5)]
    assert sorted(name for fold in folds for name in fold) == sorted(patients)


def test_leaving_out_a_patient_moves_no_other_into_another_fold(real: Path) -> None:
    def held_out(excluded: tuple[str, ...]) -> set[str]:
        settings = TrainingSettings(real=str(real), fold=1, n_folds=2, real_excluded=excluded)
        used, _, out = read_real_images(settings)
        assert used is not None
        assert out is not None
        assert not set(used.patient) & (set(out.patient) | set(excluded))
        return set(out.patient)

    patients = sorted(set(real_pool(real, 1.32).patient))
    assert held_out(()) == held_out((patients[0],)) == set(patients[1::2])


def test_a_drawn_pool_leaves_only_what_the_distance_allows() -> None:
    lv = np.zeros((61, 61), bool)
    lv[30, 30] = True
    possible = lv_only_possible(lv, pixel_mm=5.0)
    assert possible[30, 30] == 0b1000
    assert possible[30, 31] == 0b0111
    assert possible[30, 40] == 0b0011
    assert possible[30, 60] == 0b0001
    assert lv_only_possible(lv, pixel_mm=1.0)[30, 31] == 0b0101


def _one_heart(cavity: slice) -> ImagePool:
    labels = np.zeros((1, 11, 11), np.uint8)
    labels[0, 1:10, 1:10] = 2
    labels[0, cavity, cavity] = 3
    return ImagePool(
        np.zeros((1, 11, 11), np.float32), np.left_shift(np.uint8(1), labels), np.zeros((1, 2)), np.ones(1)
    )


def test_a_loosened_endocardium_is_open_by_one_pixel_to_either_side() -> None:
    possible = loosen_endocardium(_one_heart(slice(4, 7))).possible[0]
    middle_row = [0b0001, 0b0100, 0b0100, 0b1100, 0b1100, 0b1000, 0b1100, 0b1100, 0b0100, 0b0100, 0b0001]
    assert possible[5].tolist() == middle_row


def test_small_pools_are_drawn_more_often_within_bounds() -> None:
    hearts = [_one_heart(slice(4, 7)), _one_heart(slice(3, 8)), _one_heart(slice(5, 6)), _one_heart(slice(2, 9))]
    pool = replace(hearts[0], possible=np.concatenate([heart.possible for heart in hearts]))
    chance = sampling_probability(pool, 0.5)  # areas 9, 25, 1 and 49; the median is 17
    expected = np.array([np.sqrt(17 / 9), np.sqrt(17 / 25), 2.0, np.sqrt(17 / 49)])
    assert np.allclose(chance, expected / expected.sum())


def test_images_at_an_end_of_a_ventricle_are_drawn_more_often() -> None:
    """Five slices from base to apex: RV in the first three, LV in the middle three; and one slice alone."""
    labels = np.zeros((6, 4, 4), np.uint8)
    labels[0:3, 0, 0] = 1
    labels[1:4, 2, 2] = 3
    neighbours = np.array([[0, 1], [0, 2], [1, 3], [2, 4], [3, 4], [5, 5]])
    pool = ImagePool(
        np.zeros((6, 4, 4), np.float32), np.left_shift(np.uint8(1), labels), np.zeros((6, 2)), np.ones(6),
        ("a",) * 6, neighbours,
    )  # fmt: skip
    assert pool.at_an_end.tolist() == [True, True, True, True, True, False]
    inner = replace(pool, possible=np.left_shift(np.uint8(1), np.where(labels == 3, 3, 1).astype(np.uint8)))
    assert inner.at_an_end.tolist() == [True, True, False, True, True, False]
    assert not replace(pool, neighbours=None).at_an_end.any()
    assert np.allclose(sampling_probability(inner, 0.0, 3.0), np.array([3, 3, 1, 3, 3, 1]) / 14)


def test_real_images_need_a_folder_with_images(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="leave `real` empty"):
        real_pool(tmp_path, 1.3)


@pytest.mark.parametrize(
    "name",
    [
        "segment_sax_simulated.toml",
        "segment_sax.toml",
        "segment_sax_patients.toml",
        "segment_sax_default.toml",
        "segment_sax_acdc.toml",
        "segment_lax.toml",
    ],
)
def test_the_recipes_in_the_repository_are_readable(name: str) -> None:
    begun = "" if name == "segment_sax_simulated.toml" else "begun"
    assert name.startswith(read_recipe(_RECIPES / name, TrainingSettings, start_from=begun).task)


def test_an_unknown_setting_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "odd.toml"
    file.write_text("stepps = 3\n")
    with pytest.raises(ValueError, match=r"unknown settings \['stepps'\]"):
        read_recipe(file, TrainingSettings)
