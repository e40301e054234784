"""``cmr-cohort models``: list, show, add, check, import."""

import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner
from foreign_networks import write_bundle
from nnunet_folders import write_folder
from published_weights import write_repository

from cmr_models import zoo
from flows.cli import main


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_repository(tmp_path_factory.mktemp("hub"))


def _run(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["models", *map(str, arguments)])
    return done.exit_code, done.output


def test_list_names_the_shipped_networks_and_those_of_a_folder(repository: Path) -> None:
    code, output = _run("list", repository)
    assert code == 0
    assert output.count("default") >= 2
    for name in ("cinema-pretrained", "cinema-classification_cvd-acdc_sax_0", "cinema-landmark_heatmap-lax_2c_0"):
        assert name in output


def test_show_prints_licence_labels_preprocessing_and_cohorts(repository: Path) -> None:
    code, output = _run("show", repository / "finetuned" / "segmentation" / "acdc_sax")
    assert code == 0
    for words in (
        'licence = "MIT',
        '"right ventricle"',
        'preprocessing = "cinema"',
        'cohorts = ["UK Biobank", "ACDC"]',
    ):
        assert words in output


@pytest.mark.parametrize(
    ("licence", "said"),
    [
        ("CC-BY-NC-SA-4.0", "CC-BY-NC-SA-4.0, not for commercial use"),
        ("Apache-2.0", "Apache-2.0"),
        ("", "not stated"),
    ],
)
def test_list_and_show_say_the_licence(tmp_path: Path, licence: str, said: str) -> None:
    card = zoo.ModelCard("net", "segment_sax", "unet2d", {}, 2.0, 64, licence=licence, digest="ab")
    folder = tmp_path / "net"
    folder.mkdir()
    (folder / zoo.CARD_FILE).write_text(zoo.card_text(card))
    (folder / zoo.WEIGHTS_FILE).write_bytes(b"")
    _, listed = _run("list", tmp_path)
    (line,) = [line for line in listed.splitlines() if line.startswith("net ")]
    assert line.split(" licence: ")[1].removesuffix(str(folder)).strip() == said
    code, shown = _run("show", folder)
    assert (code, shown.splitlines()[0]) == (0, f"# licence of the weights: {said}")
    assert tomllib.loads(shown).get("licence", "") == licence  # what is shown is still a card


def test_check_tells_whole_weights_from_truncated_ones(repository: Path, tmp_path: Path) -> None:
    source = repository / "finetuned" / "regression_ef" / "acdc_sax"
    code, output = _run("add", source, "--to", tmp_path)
    assert (code, output.strip()) == (0, f"model: {tmp_path / 'cinema-regression_ef-acdc_sax_0'}")
    added = tmp_path / "cinema-regression_ef-acdc_sax_0"
    code, output = _run("check", added)
    assert code == 0
    assert "regression_ef, ConvViT" in output
    weights = added / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    code, output = _run("check", added)
    assert code == 1
    assert "truncated or no safetensors file" in output


def test_a_model_that_is_not_there_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    code, output = _run("show", tmp_path)
    assert code == 2
    assert "give 'default'" in output
    assert "or a folder made by training" in output


def test_import_turns_a_folder_of_nnunet_into_a_model(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "theirs", licence="", n_folds=1)
    code, output = _run("import", folder, "--name", "mine", "--to", tmp_path)
    assert code == 1
    assert "states no licence; find out which it has, and state it with --accept-licence" in output
    code, output = _run("import", folder, "--name", "mine", "--to", tmp_path, "--accept-licence", "Apache-2.0")
    assert (code, output.splitlines()) == (
        0,
        [
            f"model: {tmp_path / 'mine'}",
            "segment_sax, licence Apache-2.0, background = background, LV cavity = left ventricle, "
            "LV_myo = left-ventricular myocardium, RV = right ventricle",
        ],
    )
    code, output = _run("check", tmp_path / "mine", "--task", "segment_sax")
    assert (code, output.startswith("mine: segment_sax, nnUNet, ")) == (0, True)
    code, output = _run("show", tmp_path / "mine")
    assert 'licence = "Apache-2.0"' in output
    assert "spacing_mm = [2.0, 2.0]" in output
    code, output = _run("import", folder, "--name", "any", "--to", tmp_path, "--accept-licence")
    assert "licence not stated; accepted by the user who imported it" in output


def test_what_a_label_means_can_be_stated(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "theirs", labels={"background": 0, "pool": 1, "wall": 2, "x": 3}, n_folds=1)
    code, output = _run("import", folder, "--name", "mine", "--to", tmp_path, "--label", "pool=LV")
    assert (code, "the label 'wall' has an unknown name; say what it is with --label 'wall=...'" in output) == (1, True)
    stated = ("--label", "pool=LV", "--label", "wall=MYO", "--label", "x=background")
    code, output = _run("import", folder, "--name", "mine", "--to", tmp_path, *stated)
    assert (code, "pool = left ventricle, wall = left-ventricular myocardium, x = background" in output) == (0, True)
    code, output = _run("import", folder, "--name", "other", "--to", tmp_path, "--label", "pool=heart")
    assert (code, "--label must be NAME=STRUCTURE" in output) == (1, True)


@pytest.mark.parametrize(
    ("files", "status", "fault"),
    [
        (["net.h5"], 1, "is none of a folder of nnU-Net v2"),
        (["net.onnx"], 2, "an ONNX network does not tell its labels"),
        (["configs/metadata.json", "models/model.pt"], 1, "configs/metadata.json is damaged"),
        (["model.zip"], 1, "is none of a folder of nnU-Net v2"),
    ],
)
def test_other_sources_are_refused_in_one_line(tmp_path: Path, files: list[str], status: int, fault: str) -> None:
    for name in files:
        (tmp_path / "source" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "source" / name).touch()
    code, output = _run("import", tmp_path / "source", "--name", "mine", "--to", tmp_path)
    assert (code, fault in output, len(output.strip().splitlines())) == (status, True, 1)


def test_import_turns_a_bundle_into_a_model(tmp_path: Path) -> None:
    source = write_bundle(tmp_path / "ventricular_short_axis")
    code, output = _run("import", source, "--name", "mine", "--to", tmp_path)
    assert (code, output.splitlines()[1]) == (
        0,
        "segment_sax, licence MIT License, background = background, lv_pool = left ventricle, "
        "myocardium = left-ventricular myocardium, rv_pool = right ventricle",
    )
    code, output = _run("check", tmp_path / "mine", "--task", "segment_sax")
    assert (code, output.startswith("mine: segment_sax, MonaiUNet, ")) == (0, True)
    code, output = _run("import", source, "--name", "other", "--to", tmp_path, "--options", tmp_path / "a.toml")
    assert (code, "is no ONNX network; only those take options from a file" in output) == (1, True)
