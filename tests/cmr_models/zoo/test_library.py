"""Loading and saving networks."""

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cmr_models import zoo
from cmr_models.nets import build
from cmr_models.segmentation import segment_sax
from cmr_models.zoo.licences import is_non_commercial
from cmr_models.zoo.model_card import _DECIDING

_SMALL = {"n_classes": 4, "widths": [8, 8], "blocks": [1, 1]}


def _card(task: str = "segment_sax") -> zoo.ModelCard:
    return zoo.ModelCard(
        name='the "small" one',
        task=task,
        kind="unet2d",
        config=_SMALL,
        pixel_mm=1.4,
        size=32,
        training_data=("nothing",),
        training_settings={"seed": 1, "augmentation": {"coarse": [1.0, 2.0], "on": True}},
    )


def test_a_saved_network_computes_the_same_when_loaded(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = build("unet2d", **_SMALL).eval()
    network.load_state_dict({k: v.half().to(v.dtype) for k, v in network.state_dict().items()})
    zoo.save(tmp_path, network, _card())
    loaded, _ = zoo.load(tmp_path)
    image = torch.randn(1, 1, 32, 32)
    assert torch.equal(loaded(image), network(image))


def test_a_card_comes_back_as_it_was_written(tmp_path: Path) -> None:
    written = zoo.save(tmp_path, build("unet2d", **_SMALL), _card())
    assert zoo.card(tmp_path) == written


def test_weights_that_are_not_those_of_the_card_are_refused(tmp_path: Path) -> None:
    written = zoo.save(tmp_path, build("unet2d", **_SMALL), _card())
    (tmp_path / zoo.CARD_FILE).write_text(zoo.card_text(replace(written, digest="0" * 64)))
    with pytest.raises(ValueError, match="its card says 000000000000"):
        zoo.load(tmp_path)


def test_a_model_for_another_task_is_refused(tmp_path: Path) -> None:
    zoo.save(tmp_path, build("unet2d", **_SMALL), _card("segment_lax_4c"))
    with pytest.raises(ValueError, match="not 'segment_sax'"):
        zoo.load(tmp_path, "segment_sax")


def test_a_network_for_every_long_axis_view_is_one_for_each(tmp_path: Path) -> None:
    written = zoo.save(tmp_path, build("unet2d", **_SMALL), _card("segment_lax"))
    for view in ("2c", "3c", "4c"):
        _, card = zoo.load(tmp_path, f"segment_lax_{view}")
        assert card == replace(written, task=f"segment_lax_{view}")
    assert zoo.card(tmp_path).task == "segment_lax"
    with pytest.raises(ValueError, match="not 'segment_sax'"):
        zoo.card(tmp_path, "segment_sax")


def test_a_model_that_is_not_there_names_the_files_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors"):
        zoo.load(tmp_path / "nowhere")


@pytest.mark.parametrize("task", ["segment_sax", "segment_lax_4c"])
def test_the_shipped_models_load_and_say_what_they_were_trained_on(task: str) -> None:
    network, card = zoo.load("default", task)
    assert card.task == task
    assert any("simulated" in line for line in card.training_data)
    assert not network.training


@pytest.mark.parametrize(("names", "limit_mb"), [("segment_*", 10), ("*", 13)])
def test_the_shipped_weights_stay_small(names: str, limit_mb: float) -> None:
    folder = Path(zoo.__file__).parents[1] / "weights"
    assert sum(file.stat().st_size for file in folder.glob(names)) <= limit_mb * 1e6


def test_acdc_is_the_default_with_a_short_axis_network_of_its_own_and_its_licence() -> None:
    _, card = zoo.load("acdc", "segment_sax")
    assert (card.name, card.licence) == ("acdc", "CC-BY-NC-SA-4.0")
    assert any("100 patients, ACDC" in line for line in card.training_data)
    assert not any("held out" in line for line in card.training_data)
    assert zoo.card("acdc") == card
    for task in ("segment_lax_4c", "aif_detect"):
        assert zoo.card("acdc", task) == zoo.card("default", task)
    folder = Path(zoo.__file__).parents[1] / "weights" / "acdc"
    assert sum(file.stat().st_size for file in folder.iterdir()) <= 10e6
    licence = (folder / "LICENCE.txt").read_text(encoding="utf-8")
    assert "10.1109/TMI.2018.2837502" in licence
    assert "Creative Commons Attribution-NonCommercial-ShareAlike 4.0 International Public License" in licence
    image = np.random.default_rng(0).random((1, 2, 64, 64), np.float32)
    assert segment_sax(image, 1.5, 10.0, model="acdc").shape == image.shape


def test_no_network_of_the_default_has_seen_acdc_or_restricts_its_use() -> None:
    for name, card in zoo.available():
        if name == "default":
            assert not is_non_commercial(card.licence)
            assert "ACDC" not in " ".join(card.training_data)


_SAX = {"size": "tiny", "sax_size": [32, 32, 4], "lax_size": [32, 32], "enc_conv_chans": [8, 16]}


def _pretrained(**config: object) -> torch.nn.Module:
    return build("CineMA", **{"views": ["sax", "lax_2c", "lax_3c", "lax_4c"], **_SAX, **config})


def test_pretrained_weights_go_over_to_a_segmenter_except_decoder_heads_positions_and_other_views() -> None:
    source = _pretrained().state_dict()
    target = build("ConvUNetR", views=["sax"], out_chans=4, dec_chans=[4, 8, 16, 8, 8], **_SAX)
    before = {key: value.clone() for key, value in target.state_dict().items()}
    done = zoo.transfer(source, target)
    after = target.state_dict()
    assert all(torch.equal(after[key], source[key]) for key in done.loaded)
    assert all(torch.equal(after[key], before[key]) for key in done.new)
    assert {key.split(".")[0] for key in done.loaded} == {"enc_down_dict", "encoder"}
    assert "enc_down_dict.sax.pos_embed" in done.new
    assert not any("fusion" in key or "lax" in key for key in done.loaded)


def test_two_frames_repeat_the_pretrained_stem_without_dividing_it_unless_asked() -> None:
    source, stem = _pretrained().state_dict(), "enc_down_dict.sax.conv_blocks.0.patch_embed.conv.weight"
    for divide, scale in ((False, 1.0), (True, 0.5)):
        target = build("ConvViT", views=["sax"], out_chans=5, n_frames=2, **_SAX)
        done = zoo.transfer(source, target, divide=divide)
        filled = target.state_dict()[stem]
        torch.testing.assert_close(filled, torch.cat([source[stem]] * 2, dim=1) * scale)
        assert any("enc_fusion_dict.sax" in key for key in done.loaded)


def test_frozen_weights_are_those_that_were_taken_over() -> None:
    target = build("ConvViT", views=["sax"], out_chans=5, **_SAX)
    done = zoo.transfer(_pretrained().state_dict(), target, freeze=True)
    moving = {name for name, parameter in target.named_parameters() if parameter.requires_grad}
    assert moving == {key for key in done.new if not key.endswith("pos_embed")}


def test_pretrained_weights_without_the_view_are_refused() -> None:
    target = build("ConvViT", views=["lax_4c"], out_chans=5, **_SAX)
    with pytest.raises(ValueError, match=r"lack \d+ of the keys to take over: enc_down_dict.lax_4c"):
        zoo.transfer(_pretrained(views=["sax"]).state_dict(), target)


@pytest.mark.parametrize(
    "change",
    [
        {"digest": "0" * 64}, {"class_weights": {"3": 0.5}}, {"certainty": {"dice_lv": (0.0, 1.0)}}, {"pixel_mm": 1.5},
        {"slice_limits": {"1": 0.8}}, {"slice_lines": {"rv": (1.0, 2.0, 1.0, 1.0, 1.0)}}, {"plan": {"spacing": [1.0]}},
    ],
)  # fmt: skip
def test_a_card_that_says_something_else_of_the_answers_is_another_network(change: dict[str, object]) -> None:
    card = _card("segment_sax")
    assert replace(card, **change).network_digest != card.network_digest


def test_what_was_measured_of_a_network_or_its_licence_makes_no_other_one() -> None:
    card = _card("segment_sax")
    same = replace(card, evaluation={"dice": 0.9}, licence="CC0-1.0", name="renamed", training_data=("some hearts",))
    assert same.network_digest == card.network_digest


def test_every_entry_of_a_card_decides_its_answers_or_does_not() -> None:
    """A new entry has to be put on one side."""
    about = {"name", "task", "training_data", "training_settings", "evaluation", "licence", "cohorts", "source"}
    assert {field.name for field in fields(zoo.ModelCard)} - about == set(_DECIDING)
