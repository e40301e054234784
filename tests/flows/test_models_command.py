"""``cmr-cohort models``: list, show, add, check."""

import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner
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
