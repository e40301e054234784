"""Published CineMA weights from a folder laid out like the hub's: what they are, and what is refused."""

import json
import struct
from pathlib import Path

import pytest
import torch
from published_weights import write_repository, write_segmenter
from safetensors.torch import load_file, save_file

from benchmarks.fuzz import seeds
from cmr_models import zoo
from cmr_models.zoo import library
from cmr_models.zoo.published import PublishedModel, published_card


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_repository(tmp_path_factory.mktemp("hub"))


@pytest.mark.parametrize(
    ("folder", "task", "kind", "classes"),
    [
        ("pretrained", "pretrain", "CineMA", 0),
        ("finetuned/segmentation/acdc_sax", "segment_sax", "ConvUNetR", 4),
        ("finetuned/segmentation/mnms2_lax_4c", "segment_lax_4c", "ConvUNetR", 4),
        ("finetuned/classification_cvd/acdc_sax", "classification_cvd", "ConvViT", 5),
        ("finetuned/regression_ef/acdc_sax", "regression_ef", "ConvViT", 1),
        ("finetuned/landmark_heatmap/lax_2c", "landmark_heatmap", "ConvUNetR", 3),
        ("finetuned/landmark_coordinate/lax_4c", "landmark_coordinate", "ConvViT", 3),
    ],
)
def test_every_published_folder_loads_strictly_with_its_task(
    repository: Path, folder: str, task: str, kind: str, classes: int
) -> None:
    network, card = zoo.load(repository / folder)
    assert (card.task, card.kind, len(card.classes), card.preprocessing) == (task, kind, classes, "cinema")
    assert type(network).__name__ == kind
    (weights, *_) = sorted((repository / folder).glob("*.safetensors"))
    stored = load_file(weights)
    assert all(torch.equal(value, stored[key]) for key, value in network.state_dict().items())


def test_a_whole_copy_gives_the_model_of_a_task_or_asks_which(repository: Path) -> None:
    assert zoo.card(repository, "segment_lax_4c").name == "cinema-segmentation-mnms2_lax_4c_0"
    assert zoo.card(repository, "pretrain").kind == "CineMA"
    with pytest.raises(ValueError, match=r"holds 2 models; give one of them: .*landmark_heatmap"):
        zoo.card(repository, "landmark_heatmap")
    with pytest.raises(ValueError, match=r"is a model for .*, not 'segment_aorta'"):
        zoo.card(repository, "segment_aorta")


def test_a_seed_is_chosen_by_its_file(repository: Path) -> None:
    folder = repository / "finetuned" / "segmentation" / "acdc_sax"
    first, second = (zoo.load(folder / f"acdc_sax_{seed}.safetensors") for seed in (0, 1))
    assert first[1].digest != second[1].digest
    assert zoo.card(folder).digest == first[1].digest


def test_the_card_says_what_the_target_was_and_whose_people_were_seen(repository: Path) -> None:
    card = zoo.card(repository / "finetuned" / "regression_ef" / "acdc_sax")
    assert card.target == {"mean": 27.7, "sd": 10.85}
    assert card.cohorts == ("UK Biobank", "ACDC")
    assert (card.has_seen("uk-biobank"), card.has_seen("SCAPIS"), card.has_seen(None)) == (True, False, None)
    assert zoo.card("default").has_seen(None) is False


def test_the_hub_cache_is_read_where_huggingface_hub_is_installed(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = tmp_path / "models--mathpluscode--CineMA" / "snapshots" / "abc"
    snapshot.parent.mkdir(parents=True)
    snapshot.symlink_to(repository)
    monkeypatch.setattr(library, "hub_cache", lambda: snapshot)
    assert zoo.card("hub:segmentation/acdc_sax").name == "cinema-segmentation-acdc_sax_0"
    assert zoo.card("hub:pretrained").kind == "CineMA"
    monkeypatch.setattr(library, "hub_cache", lambda: None)
    with pytest.raises(FileNotFoundError, match="no copy of the published repository in the hub's local cache"):
        zoo.load("hub:pretrained")


def test_a_model_that_is_added_loads_as_before_from_its_own_folder(repository: Path, tmp_path: Path) -> None:
    source = repository / "finetuned" / "regression_ef" / "acdc_sax"
    folder = zoo.add(source, tmp_path)
    assert folder == tmp_path / "cinema-regression_ef-acdc_sax_0"
    ours, theirs = zoo.load(folder), zoo.load(source)
    assert ours[1] == theirs[1]
    assert all(torch.equal(a, b) for a, b in zip(ours[0].parameters(), theirs[0].parameters(), strict=True))
    listed = {card.name for _, card in zoo.available(tmp_path)}
    assert {"default", "cinema-regression_ef-acdc_sax_0"} <= listed


@pytest.fixture
def segmenter(tmp_path: Path) -> Path:
    """The weights file of a published segmenter of its own."""
    return write_segmenter(tmp_path, "acdc_sax", "sax") / "acdc_sax_0.safetensors"


def test_missing_unexpected_and_misshapen_weights_are_listed(segmenter: Path) -> None:
    state = load_file(segmenter)
    state["encoder.extra"] = state.pop("encoder.norm.weight")
    state["encoder.cls_token"] = torch.zeros(1, 1, 17)
    save_file(state, segmenter)
    with pytest.raises(ValueError, match=r"1 missing: encoder\.norm\.weight; 1 unexpected: encoder\.extra; 1 wrong"):
        zoo.load(segmenter)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(segmenter: Path, value: float) -> None:
    state = load_file(segmenter)
    state["encoder.norm.bias"][3] = value
    save_file(state, segmenter)
    with pytest.raises(ValueError, match=r"not finite in encoder\.norm\.bias"):
        zoo.load(segmenter)


def _huge_header(content: bytes) -> bytes:
    return struct.pack("<Q", 2**62) + content[8:]


def _beyond_the_end(content: bytes) -> bytes:
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    next(value for key, value in header.items() if key != "__metadata__")["data_offsets"] = [0, 2**40]
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + content[8 + length :]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: content[: len(content) // 2],
        lambda content: content[:4],
        lambda content: b"",
        _huge_header,
        _beyond_the_end,
        lambda content: b"\x80\x04\x95" + content,
    ],
    ids=["half", "four-bytes", "empty", "huge-header", "beyond-the-end", "pickle"],
)
def test_truncated_and_hostile_files_are_refused(segmenter: Path, spoil: object) -> None:
    segmenter.write_bytes(spoil(segmenter.read_bytes()))  # type: ignore[operator]
    with pytest.raises(ValueError, match="truncated or no safetensors file"):
        zoo.load(segmenter)


def test_pickled_weights_are_not_read(segmenter: Path) -> None:
    pickled = segmenter.with_suffix(".pt")
    torch.save({}, pickled)
    with pytest.raises(FileNotFoundError, match=r"needs a \.safetensors file"):
        zoo.load(pickled)


@pytest.mark.parametrize("text", ["[1, 2", "just words", "model: {views: sax}\ndata: {}\n"])
def test_a_configuration_that_says_too_little_is_refused_by_name(segmenter: Path, text: str) -> None:
    (segmenter.parent / "config.yaml").write_text(text)
    with pytest.raises(ValueError, match=r"config\.yaml"):
        zoo.load(segmenter)


@pytest.mark.parametrize("out_chans", [0, -1, 257, 10**9])
def test_a_configuration_of_more_structures_than_labels_can_tell_apart_is_refused(
    out_chans: int, tmp_path: Path
) -> None:
    config = tmp_path / "finetuned/segmentation/acdc_sax/config.yaml"
    config.parent.mkdir(parents=True)
    model = PublishedModel(config.with_name("acdc_sax_0.safetensors"), config)
    config.write_bytes(seeds.HUB.replace(b"out_chans: 4", b"out_chans: 256"))
    assert len(published_card(model).classes) == 256
    config.write_bytes(seeds.HUB.replace(b"out_chans: 4", f"out_chans: {out_chans}".encode()))
    with pytest.raises(ValueError, match=f"out_chans is {out_chans}, and at most 256"):
        published_card(model)
