"""From the command line: a network pretrained and one fine-tuned from the study files of a cohort."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from cmr_models import zoo
from cmr_models.contracts import cine_study, cine_view
from flows.cli import main
from tasks.state import store
from tasks.state.zarr_encoding import encode_tree
from tasks.training.cinema_samples import StudySamples
from tasks.training.cinema_settings import FinetuningSettings

_COMMON = """
steps = 4
batch = 2
warmup_steps = 1
evaluate_every = 2
views = ["sax"]
low_precision = false
[config]
size = "tiny"
sax_size = [32, 32, 4]
enc_conv_chans = [8, 8]
"""


@pytest.fixture
def cohort(tmp_path: Path) -> store.Cohort:
    place = store.Cohort(tmp_path / "cohort")
    for k in range(3):
        view = cine_view(
            np.random.default_rng(k).integers(0, 900, (4, 3, 36, 30)).astype(np.uint16),
            time_ms=40.0 * np.arange(4), pixel_mm=(1.5, 1.2), position_mm=np.arange(3)[:, None] * [0, 0, 10.0],
            row_dir=(1, 0, 0), col_dir=(0, 1, 0), slice_mm=10.0, thickness_mm=8.0,
        )  # fmt: skip
        store.publish(encode_tree(cine_study({"sax": view}, key=str(k))), place.study(f"p{k}-2"))
    return place


def test_a_network_is_pretrained_and_another_begins_with_it(cohort: store.Cohort, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    pd.DataFrame(
        {"study": ["p0-2", "p1-2", "p2-2"], "split": ["train", "train", "validation"], "ed_frame": 0, "es_frame": 2,
         "ef": [40.0, 60.0, 50.0]}
    ).to_csv(table, index=False)  # fmt: skip
    for name, head in (("pretrain", 'task = "pretrain"\nkind = "CineMA"'), ("ef", 'task = "regression_ef"')):
        (tmp_path / f"{name}.toml").write_text(head + _COMMON)
    place = ["--cohort", str(cohort.root), "--table", str(table)]
    run = CliRunner().invoke
    first = ["pretrain", "--settings", str(tmp_path / "pretrain.toml"), *place, "--output", str(tmp_path / "mae")]
    run(main, first, catch_exceptions=False)
    second = ["train", "--task", "regression_ef", "--settings", str(tmp_path / "ef.toml"), *place, "--target", "ef",
              "--init", str(tmp_path / "mae"), "--output", str(tmp_path / "tuned")]  # fmt: skip
    assert run(main, second, catch_exceptions=False).exit_code == 0
    _, card = zoo.load(tmp_path / "tuned", "regression_ef")
    assert card.target == {"mean": 50.0, "sd": 10.0}
    assert any("begun with" in line for line in card.training_data)


def test_a_table_without_the_target_is_refused(cohort: store.Cohort) -> None:
    table = pd.DataFrame({"study": ["p0-2"], "ed_frame": [0], "es_frame": [2], "ef": [np.nan]})
    settings = FinetuningSettings(task="regression_ef")
    with pytest.raises(ValueError, match="missing values"):
        StudySamples(cohort, table, settings, "ef")
    with pytest.raises(ValueError, match="lacks the columns"):
        StudySamples(cohort, table, settings, "age")
