"""Loading and saving networks."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cmr_models import zoo
from cmr_models.nets import build

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
        zoo.load(tmp_path)


def test_a_model_that_is_not_there_names_the_files_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors"):
        zoo.load(tmp_path / "nowhere")


@pytest.mark.parametrize("task", ["segment_sax", "segment_lax_4c"])
def test_the_shipped_models_load_and_say_what_they_were_trained_on(task: str) -> None:
    network, card = zoo.load("default", task)
    assert card.task == task
    assert any("simulated" in line for line in card.training_data)
    assert not network.training


def test_the_shipped_weights_stay_within_ten_megabytes() -> None:
    folder = Path(zoo.__file__).parent / "weights"
    assert sum(file.stat().st_size for file in folder.iterdir()) <= 10e6
