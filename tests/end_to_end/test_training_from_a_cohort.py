"""Convert, segment, learn from what was segmented, and let the new network segment and predict."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from cmr_models import zoo
from cmr_models.simulate import Heart, HeartTraits, ImagingSettings, Packaging, simulate_study, ukb_archives
from flows.cli import main
from tasks.convert.conversion import convert_shard
from tasks.convert.convert_stage import planned_units
from tasks.inference.segment_stage import segment_units
from tasks.inference.segmentation import segment_chunk
from tasks.sources import inventory
from tasks.state import store
from tasks.state.ledger import Entry, Outcome

_RECIPE = """
task = "segment_sax"
name = "pupil"
kind = "ConvUNetR"
views = ["sax"]
classes = ["background", "rv", "myocardium", "lv"]
pixel_mm = 2.5
steps = 3
batch = 2
warmup_steps = 1
evaluate_every = 3
low_precision = false
[config]
size = "tiny"
sax_size = [64, 64, 4]
enc_conv_chans = [4, 4]
dec_chans = [4, 4, 4, 4, 4]
"""


def _segmented(place: store.Cohort, entries: dict[str, Entry], model: str) -> list[Outcome]:
    settings = {"model": model, "precision": "fp32"}
    return segment_chunk(segment_units(entries, settings), str(place.root), settings)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> tuple[store.Cohort, dict[str, Entry]]:
    """Two simulated people, converted and segmented by the default network."""
    folder = tmp_path_factory.mktemp("simulated")
    (folder / "archive").mkdir()
    for k in range(2):
        rng = np.random.default_rng(k)
        imaging = ImagingSettings(n_frames=8, matrix=(64, 56), pixel_mm=5.0, sub_planes=1)
        study = simulate_study(Heart(HeartTraits(), rng), imaging, rng)
        for name, content in ukb_archives(study, eid=f"100001{k}", rng=rng, packaging=Packaging()).items():
            (folder / "archive" / name).write_bytes(content)
    place = store.Cohort(folder / "cohort")
    outcomes = convert_shard(planned_units(inventory([folder / "archive"]).units, {}), str(place.root), {})
    assert [outcome.status for outcome in outcomes] == ["ok", "ok"]
    entries = {outcome.study: Entry("ok", "", outcome.key, outcome.key) for outcome in outcomes}
    assert {outcome.status for outcome in _segmented(place, entries, "default")} == {"ok"}
    return place, entries


def test_a_network_learns_from_what_another_one_said(
    cohort: tuple[store.Cohort, dict[str, Entry]], tmp_path: Path
) -> None:
    place, entries = cohort
    table, recipe, output = tmp_path / "table.csv", tmp_path / "recipe.toml", tmp_path / "pupil"
    pd.DataFrame({"study": list(entries), "split": ["train", "validation"]}).to_csv(table, index=False)
    recipe.write_text(_RECIPE)
    command = ["train", "--task", "segment_sax", "--settings", str(recipe), "--cohort", str(place.root),
               "--table", str(table), "--labels", "default", "--output", str(output)]  # fmt: skip
    CliRunner().invoke(main, command, catch_exceptions=False)
    _, card = zoo.load(output, "segment_sax")
    assert (card.pixel_mm, card.size, card.views) == (2.5, 64, ("sax",))
    assert np.isfinite(card.evaluation["validation"])
    assert {outcome.status for outcome in _segmented(place, entries, str(output))} == {"ok"}
    for study in entries:
        said = store.load_tree(place.prediction("pupil", study))
        images = store.load_tree(place.study(study))["sax"]["intensity"]
        assert said["sax"]["label"].shape == images.shape
        assert said.attrs["grids"]["sax"]["spacing_mm"] == 2.5


def test_learning_without_labels_says_where_they_were_looked_for(
    cohort: tuple[store.Cohort, dict[str, Entry]], tmp_path: Path
) -> None:
    place, entries = cohort
    table, recipe = tmp_path / "table.csv", tmp_path / "recipe.toml"
    pd.DataFrame({"study": list(entries), "split": "train"}).to_csv(table, index=False)
    recipe.write_text(_RECIPE)
    command = ["train", "--task", "segment_sax", "--settings", str(recipe), "--cohort", str(place.root),
               "--table", str(table), "--output", str(tmp_path / "out")]  # fmt: skip
    ended = CliRunner().invoke(main, command)
    assert ended.exit_code == 1
    assert "2 of 2 studies have no labels of sax in the reference of the studies" in ended.output
