"""Bad weights and odd images: an error or a reason, never a silent number."""

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner
from published_weights import write_classifier, write_landmarks, write_pretrained, write_regressor, write_segmenter
from safetensors.torch import load_file, save_file

from cmr_models import zoo
from cmr_models.contracts import cine_study, cine_view
from cmr_models.zoo.weights_file import read_weights
from flows.cli import main
from tasks.inference import prediction
from tasks.inference.predict_stage import predict_units
from tasks.inference.prediction import predict_chunk
from tasks.inference.segment_stage import segment_units
from tasks.inference.segmentation import segment_chunk
from tasks.state import store
from tasks.state.ledger import Entry
from tasks.state.store import Cohort
from tasks.state.zarr_encoding import encode_tree

State = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hub")
    write_segmenter(folder, "acdc_sax", "sax")
    write_regressor(folder, "regression_ef", "acdc_sax", "ef", 27.7, 10.85)
    write_classifier(folder, "classification_cvd", "acdc_sax", "pathology", ["DCM", "HCM", "NOR"])
    write_landmarks(folder, "landmark_heatmap", "lax_2c")
    write_pretrained(folder)
    return folder / "finetuned"


@pytest.fixture
def bad(hub: Path, tmp_path: Path) -> Path:
    """A copy of the segmenter to be spoilt."""
    return Path(shutil.copytree(hub / "segmentation" / "acdc_sax", tmp_path / "segmentation" / "acdc_sax"))


def _models(*arguments: object) -> Any:
    return CliRunner().invoke(main, ["models", *map(str, arguments)])


def _raw(header: Any, body: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def _tensor(shape: list[int], offsets: list[int], kind: str = "F32") -> dict[str, Any]:
    return {"dtype": kind, "shape": shape, "data_offsets": offsets}


_HOSTILE = {
    "nothing": b"",
    "five bytes": b"\x00" * 5,
    "a header of exabytes": struct.pack("<Q", 2**62) + b"{}",
    "a header beyond the file": struct.pack("<Q", 90_000_000) + b"{" * 100,
    "no JSON": _raw(b"nonsense"),
    "a list": _raw(b"[1, 2]"),
    "a deep nest": _raw(b'{"a":' * 20_000 + b"1" + b"}" * 20_000),
    "data beyond the file": _raw({"a": _tensor([4], [0, 2**40])}),
    "negative offsets": _raw({"a": _tensor([4], [-16, 0])}, bytes(16)),
    "a shape that overflows": _raw({"a": _tensor([2**40, 2**40], [0, 16])}, bytes(16)),
    "a shape that lies": _raw({"a": _tensor([400], [0, 16])}, bytes(16)),
    "an unknown type": _raw({"a": _tensor([4], [0, 16], "X9")}, bytes(16)),
    "overlapping tensors": _raw({"a": _tensor([4], [0, 16]), "b": _tensor([4], [0, 16])}, bytes(16)),
    "a pickle": b"\x80\x02cos\nsystem\nq\x00X\x04\x00\x00\x00trueq\x01\x85q\x02Rq\x03.",
}


@pytest.mark.parametrize("what", _HOSTILE)
def test_a_hostile_weights_file_is_refused_and_nothing_is_added(bad: Path, tmp_path: Path, what: str) -> None:
    (bad / "acdc_sax_0.safetensors").write_bytes(_HOSTILE[what])
    for arguments in (["check", bad], ["add", bad, "--to", tmp_path / "models"]):
        done = _models(*arguments)
        assert done.exit_code == 1
        assert "truncated or no safetensors file" in done.output
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize(("kind", "n_bytes"), [("F8_E4M3", 1), ("F8_E5M2", 1), ("C64", 8), ("U16", 2), ("U64", 8)])
def test_weights_in_numbers_that_no_network_has_are_refused(kind: str, n_bytes: int, tmp_path: Path) -> None:
    """PyTorch has the types and lacks most functions for them."""
    path = tmp_path / "a.safetensors"
    tensors = {"a": _tensor([2], [0, 2 * n_bytes], kind), "b": _tensor([1], [2 * n_bytes, 2 * n_bytes + 4])}
    path.write_bytes(_raw(tensors, bytes(2 * n_bytes + 4)))
    with pytest.raises(ValueError, match=r"numbers of a kind that weights are not in a; save it in float32"):
        read_weights(path)


def _spoil(file: Path, change: Callable[[State, str], object]) -> None:
    state = load_file(file)
    change(state, next(iter(state)))
    save_file(state, file)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s, k: s[k].view(-1).__setitem__(0, float("nan")), "not finite"),
        (lambda s, k: s[k].view(-1).__setitem__(0, float("-inf")), "not finite"),
        (lambda s, k: s.pop(k), "1 missing"),
        (lambda s, k: s.update(more=torch.zeros(1)), "1 unexpected: more"),
        (lambda s, k: s.update({k: torch.zeros(3, 3)}), "1 wrong shape"),
        (lambda s, k: s.update({k: torch.zeros_like(s[k], dtype=torch.int64)}), "1 wrong type"),
        (lambda s, k: s.update({k: torch.zeros_like(s[k], dtype=torch.bool)}), "1 wrong type"),
    ],
)
def test_weights_that_do_not_fit_or_are_no_numbers_are_refused_everywhere(
    bad: Path, tmp_path: Path, change: Callable[[State, str], object], words: str
) -> None:
    _spoil(bad / "acdc_sax_0.safetensors", change)
    for arguments in (["check", bad], ["add", bad, "--to", tmp_path / "models"]):
        done = _models(*arguments)
        assert (done.exit_code, words in done.output) == (1, True), done.output
    assert not (tmp_path / "models").exists()
    with pytest.raises(ValueError, match=words):
        segment_chunk([], str(tmp_path), {"model": str(bad), "precision": "fp32"})


def _at(config: Any, path: str, value: Any) -> None:
    *folders, last = path.split(".")
    for name in folders:
        config = config[name]
    config[last] = value


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("model.convunetr.size", "enormous", "size must be one of"),
        ("model.convunetr.size", 10**9, "must lie in 0 to"),
        ("model.convunetr.enc_conv_chans", [10**7, 10**7], "must lie in 0 to"),
        ("model.convunetr.enc_conv_chans", [16_000, 16_000], "wrong shape"),
        ("model.convunetr.enc_conv_chans", "ab", "cannot be built"),
        ("model.convunetr.enc_conv_chans", [8] * 1000, "entries"),
        ("model.convunetr.enc_conv_chans", [-1, -2], "must lie in 0 to"),
        ("model.convunetr.enc_conv_n_blocks", 10**7, "must lie in 0 to 256"),
        ("model.convunetr.enc_patch_size", [0, 0, 0], "can be built"),
        ("model.convunetr.dropout", 7.0, "between 0 and 1"),
        ("model.out_chans", 7, "wrong shape"),
        ("model.views", ["nose"], "views must be distinct"),
        ("model.views", 3, "lacks what a segment_sax network needs"),
        ("model.views", [], "lacks what a segment_sax network needs"),
        ("data.sax.patch_size", [10**6, 10**6, 16], "must lie in 0 to"),
        ("data.sax.patch_size", "abc", "lacks what a segment_sax network needs"),
        ("data.sax.in_chans", "one", "lacks what a segment_sax network needs"),
    ],
)
def test_a_configuration_that_means_no_network_is_refused_before_it_takes_memory(
    bad: Path, path: str, value: Any, words: str
) -> None:
    file = bad / "config.yaml"
    config = yaml.safe_load(file.read_text())
    _at(config, path, value)
    file.write_text(yaml.safe_dump(config))
    done = _models("check", bad)
    assert (done.exit_code, words in done.output) == (1, True), done.output


@pytest.mark.parametrize("text", ["", "[1]", "\x00", '!!python/object/apply:os.system ["true"]', "model: {}\ndata: {}"])
def test_a_broken_configuration_is_listed_beside_the_whole_ones(bad: Path, hub: Path, text: str) -> None:
    (bad / "config.yaml").write_text(text)
    assert _models("check", bad).exit_code == 1
    listed = _models("list", bad, hub)
    assert listed.exit_code == 1
    assert "cannot be read" in listed.output
    assert "cinema-regression_ef-acdc_sax_0" in listed.output


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("size = 32", 'size = "x"', "size = 'x'"),
        ("size = 32", "size = -1", "size = -1"),
        ("pixel_mm = 1.0", "pixel_mm = nan", "pixel_mm = nan"),
        ('views = ["sax"]', "views = [1]", "views = "),
        ('kind = "ConvUNetR"', 'kind = "Pickle"', "unknown network kind"),
        ("[config]", "config = 3\n[training_settings]", "config = 3"),
        ('name = "cinema', 'name = "../../cinema', "not a valid folder name"),
    ],
)
def test_a_card_that_means_nothing_or_climbs_out_is_refused(
    hub: Path, tmp_path: Path, old: str, new: str, words: str
) -> None:
    added = Path(zoo.add(hub / "segmentation" / "acdc_sax", tmp_path / "good"))
    card = added / zoo.CARD_FILE
    text = card.read_text()
    assert old in text
    text = text.replace(old, new, 1)
    if "training_settings]" in new:
        text = text[: text.index("config = 3")] + "config = 3\n"
    card.write_text(text)
    done = _models("add", added, "--to", tmp_path / "deep" / "er" / "models")
    assert (done.exit_code, words in done.output) == (1, True), done.output
    assert not list(tmp_path.glob("cinema*"))
    assert not (tmp_path / "deep").exists() or not list((tmp_path / "deep").rglob("*.safetensors"))


# images


def _view(shape: tuple[int, ...], fill: int | None = None, pixel_mm: float = 1.5) -> Any:
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, 900, shape, dtype=np.uint16) if fill is None else np.full(shape, fill, np.uint16)
    return cine_view(
        drawn, time_ms=40.0 * np.arange(shape[0]), pixel_mm=(pixel_mm, pixel_mm),
        position_mm=np.arange(shape[1])[:, None] * [0, 0, 10.0], row_dir=(1, 0, 0), col_dir=(0, 1, 0),
        slice_mm=10.0 if shape[1] > 1 else float("nan"), thickness_mm=8.0,
    )  # fmt: skip


_IMAGES: dict[str, dict[str, Any]] = {
    "one_frame": {"sax": _view((1, 4, 36, 30))},
    "one_slice": {"sax": _view((2, 1, 36, 30))},
    "forty_slices": {"sax": _view((2, 40, 36, 30))},
    "large": {"sax": _view((2, 1, 4096, 4096), pixel_mm=0.1), "lax_2c": _view((1, 1, 4096, 4096), pixel_mm=0.1)},
    "flat": {"sax": _view((2, 4, 36, 30), fill=700), "lax_2c": _view((2, 1, 36, 30), fill=0)},
    "no_view": {"lax_3c": _view((2, 1, 36, 30))},
    "tiny": {"sax": _view((2, 2, 2, 2)), "lax_2c": _view((2, 1, 1, 1))},
}


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> tuple[Cohort, dict[str, Entry]]:
    cohort, entries = Cohort(tmp_path_factory.mktemp("odd")), {}
    for name, views in _IMAGES.items():
        study, key = f"{name}-1", store.digest(name)
        store.publish(encode_tree(cine_study(views, key=key)), cohort.study(study))
        entries[study] = Entry("ok", "", key, key)
    return cohort, entries


def test_every_odd_study_is_segmented_on_its_own_grid_or_says_why_not(
    odd: tuple[Cohort, dict[str, Entry]], hub: Path
) -> None:
    cohort, entries = odd
    settings = {"model": str(hub / "segmentation" / "acdc_sax"), "precision": "fp32"}
    units = segment_units(entries, settings)
    outcomes = {o.study[:-2]: o for o in segment_chunk(units, str(cohort.root), settings)}
    reasons = {name: outcome.reason for name, outcome in outcomes.items()}
    assert reasons == {
        "one_frame": "", "one_slice": "", "forty_slices": "", "large": "", "flat": "image_flat",
        "no_view": "model_view_missing", "tiny": reasons["tiny"],
    }  # fmt: skip
    assert reasons["tiny"] != "unexpected_error"
    for name, outcome in outcomes.items():
        if outcome.status == "ok":
            label = store.load_tree(cohort.prediction("acdc_sax", outcome.study))["sax"]["label"]
            assert label.shape == _IMAGES[name]["sax"]["intensity"].shape


@pytest.mark.parametrize("task", ["regression_ef", "landmark_heatmap", "pretrain"])
def test_every_odd_study_has_finite_answers_or_says_why_not(
    odd: tuple[Cohort, dict[str, Entry]], hub: Path, task: str
) -> None:
    cohort, entries = odd
    if task == "pretrain":  # places images as regression does, which has seen the large ones
        entries = {study: entry for study, entry in entries.items() if study != "large-1"}
    folder = {"landmark_heatmap": hub / task / "lax_2c", "pretrain": hub.parent / "pretrained"}.get(
        task, hub / task / "acdc_sax"
    )
    settings = {"task": task, "model": str(folder), "precision": "fp32"}
    phases = {study: prediction.Phases(0.0, 0.5) for study in entries if study != "one_frame-1"}
    units = predict_units(entries, phases, settings)
    outcomes = {o.study[:-2]: o for o in predict_chunk(units, str(cohort.root), settings)}
    assert "unexpected_error" not in {outcome.reason for outcome in outcomes.values()}
    assert outcomes["flat"].reason == "image_flat"
    if task != "pretrain":
        assert outcomes["no_view"].reason == "model_view_missing"
    if task not in ("landmark_heatmap",):
        assert outcomes["one_frame"].reason == "phases_unknown"
        assert outcomes["forty_slices"].status == "ok"
    assert task == "pretrain" or outcomes["large"].status == "ok"
    for outcome in outcomes.values():
        assert (outcome.status == "ok") != bool(outcome.reason)
        numbers = [v for v in outcome.summary.get("values", {}).values() if not isinstance(v, str)]
        assert np.isfinite(numbers).all()


def test_weights_so_large_that_answers_overflow_give_a_reason_and_no_class_or_label(
    odd: tuple[Cohort, dict[str, Entry]], hub: Path, tmp_path: Path
) -> None:
    cohort, entries = odd
    one = {"one_slice-1": entries["one_slice-1"]}
    for task, folder in (("classification_cvd", "classification_cvd"), ("", "segmentation")):
        copy = Path(shutil.copytree(hub / folder / "acdc_sax", tmp_path / folder / "acdc_sax"))
        _spoil(copy / "acdc_sax_0.safetensors", lambda s, k: [v.fill_(3e38) for n, v in s.items() if "pred_head" in n])
        settings: dict[str, Any] = {"model": str(copy), "precision": "fp32"}
        if task:
            settings["task"] = task
            units = predict_units(one, {"one_slice-1": prediction.Phases(0.0, 0.5)}, settings)
            outcomes = predict_chunk(units, str(cohort.root), settings)
        else:
            units = segment_units(one, settings)
            outcomes = segment_chunk(units, str(cohort.root), settings)
        assert [(o.status, o.reason) for o in outcomes] == [("quarantined", "output_not_finite")]
