"""What a run keeps of its model: licences as the files say them, speed as images by seconds."""

import json
from pathlib import Path

import numpy as np
import pytest

from cmr_models import zoo
from cmr_models.contracts import prediction
from tasks.inference.model_record import RECORD, images_per_s, licences_of, model_record, recorded_speed
from tasks.state import store
from tasks.state.ledger import Outcome, open_ledger
from tasks.state.store import Cohort
from tasks.state.zarr_encoding import encode_tree


def _labelled(study: str, model: str, images: int, wall_s: float) -> Outcome:
    return Outcome(
        study, "segment", "ok", key="k", summary={"model": model, "line": {"images": images, "wall": wall_s}}
    )


def test_images_of_all_studies_by_the_seconds_of_all(tmp_path: Path) -> None:
    with open_ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.record([_labelled("a-2", "net", 300, 1.0), _labelled("b-2", "net", 100, 4.0)])
        ledger.record([_labelled("c-2", "other", 900, 1.0), Outcome("d-2", "segment", "ok", summary={"model": "net"})])
        assert images_per_s(ledger, "net") == pytest.approx(400 / 5)  # not the mean of 300 and 25
        assert images_per_s(ledger, "nowhere") is None


def test_the_speed_of_a_model_that_was_replaced_is_that_of_its_newest_run(tmp_path: Path) -> None:
    cohort = Cohort(tmp_path)
    for run, about in {
        "20260101T000000-1": {"model": "net", "images_per_s": 50.0},
        "20260102T000000-1": {"model": "net", "images_per_s": 60.0},
        "20260103T000000-1": {"model": "net", "images_per_s": None},
        "20260104T000000-1": {"model": "other", "images_per_s": 900.0},
    }.items():
        (cohort.runs / run).mkdir(parents=True)
        (cohort.runs / run / RECORD).write_text(json.dumps(about))
    with open_ledger(cohort.ledger) as ledger:
        assert recorded_speed(cohort, ledger, "net") == 60.0
        assert recorded_speed(cohort, ledger, "nowhere") is None
        ledger.record([_labelled("a-2", "net", 70, 1.0)])
        assert recorded_speed(cohort, ledger, "net") == 70.0


def test_a_file_says_its_licences_and_an_older_one_has_those_of_the_card_with_its_weights() -> None:
    card = zoo.card("default", "segment_sax")
    assert licences_of({"weights": {"sax": "ab"}, "licences": {"sax": "CC-BY-NC-SA-4.0"}}) == {"sax": "CC-BY-NC-SA-4.0"}
    assert licences_of({"model": "default", "weights": {"sax": card.digest}}) == {"sax": "Apache-2.0"}
    assert licences_of({"model": "default", "weights": {"sax": "ab"}}) == {"sax": ""}
    assert licences_of({"model": "gone", "weights": {"sax": "ab"}}) == {"sax": ""}
    assert licences_of({}) == {}


def test_the_record_of_a_run(tmp_path: Path) -> None:
    cohort = Cohort(tmp_path)
    tree = prediction(
        {"sax": np.zeros((2, 1, 4, 4), np.uint8)}, key="k", study_key="s", model="net",
        weights={"sax": "ab"}, licences={"sax": "CC-BY-NC-4.0"},
    )  # fmt: skip
    store.publish(encode_tree(tree), cohort.prediction("net", "a-2"))
    with open_ledger(cohort.ledger) as ledger:
        assert model_record(cohort, ledger, "net") is None
        ledger.record([_labelled("a-2", "net", 60, 0.5)])
        assert model_record(cohort, ledger, "other") is None
        assert model_record(cohort, ledger, "net") == {
            "model": "net", "weights": {"sax": "ab"}, "licences": {"sax": "CC-BY-NC-4.0"}, "images_per_s": 120.0,
        }  # fmt: skip
