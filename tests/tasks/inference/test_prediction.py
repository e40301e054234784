"""The predict stage with tiny published models: every task, its files, table, resume and reasons."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from published_weights import write_repository

from cmr_models import zoo
from cmr_models.cinema.network import CinemaNetwork
from cmr_models.cinema.outputs import Phases, landmarks
from cmr_models.contracts import cine_study, cine_view
from cmr_models.views.view_images import ViewImages
from flows.cli import main
from tasks.inference import prediction
from tasks.inference.predict_stage import phases_of, predict_units
from tasks.inference.prediction import predict_chunk
from tasks.inference.prediction_table import table_path, write_table
from tasks.inference.settings import PredictSettings
from tasks.state import store
from tasks.state.ledger import Outcome, open_ledger
from tasks.state.store import Cohort
from tasks.state.zarr_encoding import encode_tree

PHASES = Phases(0.0, 0.5)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_repository(tmp_path_factory.mktemp("hub")) / "finetuned"


def _view(seed: int, n_frames: int = 4, n_slices: int = 1, valid: Any = None, fill: int | None = None) -> Any:
    shape = (n_frames, n_slices, 36, 30)
    drawn = np.random.default_rng(seed).integers(0, 900, shape) if fill is None else np.full(shape, fill)
    return cine_view(
        drawn.astype(np.uint16),
        time_ms=40.0 * np.arange(n_frames),
        pixel_mm=(1.5, 1.2),
        position_mm=np.arange(n_slices)[:, None] * [0, 0, 9.0],
        row_dir=(1, 0, 0),
        col_dir=(0, 1, 0),
        slice_mm=9.0,
        thickness_mm=8.0,
        frame_valid=valid,
    )


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    """Studies with every trap, converted and derived as far as the ledger tells."""
    place = Cohort(tmp_path_factory.mktemp("cohort"))
    one_missing = np.array([[True], [False], [True], [True]])
    studies = {
        "full-2": {"sax": _view(1, 4, 4), "lax_2c": _view(2), "lax_4c": _view(3, valid=one_missing)},
        "long-2": {"sax": _view(4, 4, 9)},
        "flat-2": {"sax": _view(5, 4, 2, fill=9), "lax_4c": _view(6, fill=9)},
        "nophase-2": {"sax": _view(7, 1, 3)},
        "rvot-2": {"rvot": _view(8)},
    }
    with open_ledger(place.ledger) as ledger:
        for study, views in studies.items():
            key = store.digest(study)
            store.publish(encode_tree(cine_study(views, key=key)), place.study(study))
            ledger.record([Outcome(study, "convert", "ok", key=key, wanted=key)])
            if study != "nophase-2":
                summary = {"phenotypes": {"ed_frame": 0, "es_frame": 2}, "curves": {"lv_ml": [9, 7, 5, 7]}}
                ledger.record([Outcome(study, "derive", "ok", key=key, wanted=key, summary=summary)])
    return place


def _run(cohort: Cohort, settings: dict[str, Any]) -> dict[str, Outcome]:
    resolved = PredictSettings(**settings)
    with open_ledger(cohort.ledger) as ledger:
        phases = phases_of(ledger.outcomes("derive"))
        units = predict_units(ledger.entries("convert"), phases, settings)
        outcomes = predict_chunk(units, str(cohort.root), settings)
        ledger.record(outcomes)
        write_table(ledger, cohort, resolved)
    return {outcome.study: outcome for outcome in outcomes}


def _settings(hub: Path, task: str, name: str, **more: Any) -> dict[str, Any]:
    return {"task": task, "model": str(hub / task / name), "precision": "fp32", **more}


def test_classes_are_probabilities_and_every_other_study_says_why_not(cohort: Cohort, hub: Path) -> None:
    settings = _settings(hub, "classification_cvd", "acdc_sax", cohort_name="UK Biobank")
    outcomes = _run(cohort, settings)
    assert {study: (o.status, o.reason) for study, o in outcomes.items()} == {
        "full-2": ("ok", ""),
        "long-2": ("ok", ""),
        "flat-2": ("quarantined", "image_flat"),
        "nophase-2": ("quarantined", "phases_unknown"),
        "rvot-2": ("absent", "model_view_missing"),
    }
    table = pd.read_parquet(table_path(cohort, PredictSettings(**settings))).set_index("study")
    shares = table.filter(like="p_")
    assert list(shares) == ["p_DCM", "p_HCM", "p_MINF", "p_NOR", "p_RV"]
    assert shares.loc[["full-2", "long-2"]].sum(axis=1).to_numpy() == pytest.approx(1, abs=1e-5)
    assert shares.loc["flat-2"].isna().all()
    assert "p_" + table.loc["full-2", "class"] == shares.loc["full-2"].idxmax()
    assert table["model_has_seen_cohort"].all()
    tree = store.load_tree(cohort.prediction("classification_cvd-acdc_sax", "full-2"))
    assert tree["answer"]["probability"].values.sum() == pytest.approx(1)
    assert tree.attrs["weights"]["digest"] == zoo.card(settings["model"]).digest


def test_a_quantity_is_in_its_own_unit(cohort: Cohort, hub: Path) -> None:
    settings = _settings(hub, "regression_ef", "acdc_sax")
    value = _run(cohort, settings)["full-2"].summary["values"]["ef"]
    network = CinemaNetwork.load(settings["model"], precision="fp32")
    tree = store.load_tree(cohort.study("full-2"))
    scan = ViewImages("sax", tree["sax"]["intensity"].values, (1.5, 1.2), (0.0, 9.0, 18.0, 27.0))
    (window,) = prediction.outputs._two_phase_windows(network, {"sax": scan}, PHASES)
    assert window["sax"].shape == (1, 2, 32, 32, 4)
    assert value == pytest.approx(27.7 + 10.85 * float(network.run(window)["out"]), rel=1e-4)
    table = pd.read_parquet(table_path(cohort, PredictSettings(**settings)))
    assert table["model_has_seen_cohort"].isna().all()


@pytest.mark.parametrize("task", ["landmark_heatmap", "landmark_coordinate"])
def test_landmarks_lie_on_the_studys_pixels_and_are_missing_where_there_was_no_image(
    cohort: Cohort, hub: Path, task: str
) -> None:
    outcomes = _run(cohort, _settings(hub, task, "lax_4c"))
    assert outcomes["long-2"].reason == "model_view_missing"
    assert outcomes["flat-2"].reason == "image_flat"
    node = store.load_tree(cohort.prediction(f"{task}-lax_4c", "full-2"))["lax_4c"]
    px, whole = node["landmark_px"].values, node["landmark_published_px"].values
    assert px.shape == (4, 3, 2)
    assert np.isfinite(px).all(axis=(1, 2)).tolist() == [True, False, True, True]
    apart_mm = np.abs(px - whole)[[0, 2, 3]] * (1.5, 1.2)
    assert apart_mm.max() < 1.0  # truncation costs up to one network pixel of 1 mm
    assert apart_mm.max() > 0
    values = outcomes["full-2"].summary["values"]
    assert {"lax_4c_axis_shortening_pct", "lax_4c_mapse_mm"} <= set(values)


def test_features_of_both_phases_and_their_difference_go_into_the_table(cohort: Cohort, hub: Path) -> None:
    settings = {"task": "pretrain", "model": str(hub.parent / "pretrained"), "precision": "fp32"}
    outcomes = _run(cohort, settings)
    assert (outcomes["full-2"].status, outcomes["rvot-2"].reason) == ("ok", "model_view_missing")
    tree = store.load_tree(cohort.prediction("pretrain-pretrained", "full-2"))
    assert set(tree.children) == {"cls", "sax", "lax_2c", "lax_4c"}
    cls = tree["cls"]["feature"].values
    assert cls.shape == (2, 16)
    row = pd.read_parquet(table_path(cohort, PredictSettings(**settings))).set_index("study").loc["full-2"]
    assert row["cls_es_minus_ed_3"] == pytest.approx(cls[1, 3] - cls[0, 3], abs=1e-6)
    assert "lax_2c_ed_0" in row
    whole = _run(cohort, settings | {"tokens": "all"})
    tokens = store.load_tree(cohort.prediction("pretrain-pretrained", "full-2"))["sax"]["feature"]
    assert tokens.dims == ("frame", "token", "channel")
    assert tokens.shape == (2, 16, 16)  # 2 x 2 x 4 tokens
    assert whole["full-2"].key != outcomes["full-2"].key


def test_a_prediction_with_the_right_key_is_left_alone_and_other_phases_make_a_new_one(
    cohort: Cohort, hub: Path
) -> None:
    settings = _settings(hub, "regression_ef", "acdc_sax")
    first = _run(cohort, settings)["full-2"]
    inode = cohort.prediction("regression_ef-acdc_sax", "full-2").stat().st_ino
    again = _run(cohort, settings)["full-2"]
    assert cohort.prediction("regression_ef-acdc_sax", "full-2").stat().st_ino == inode
    assert again.summary["values"] == first.summary["values"]
    with open_ledger(cohort.ledger) as ledger:
        entries = ledger.entries("convert")
    units = [predict_units(entries, {"full-2": p}, settings) for p in (PHASES, Phases(0.25, 0.5))]
    keys = [next(u["key"] for u in unit if u["study"] == "full-2") for unit in units]
    assert keys[0] != keys[1]


def test_a_segmenter_and_an_unknown_task_are_refused_while_planning(hub: Path) -> None:
    with pytest.raises(ValueError, match="segments; give it to `cmr-cohort segment"):
        predict_units({}, {}, {"task": "segment_sax", "model": str(hub / "segmentation" / "acdc_sax")})
    with pytest.raises(ValueError, match="not 'regression_age'"):
        predict_units({}, {}, {"task": "regression_age", "model": str(hub / "regression_ef" / "acdc_sax")})


def test_the_heatmaps_peak_is_where_the_image_says(hub: Path) -> None:
    network = CinemaNetwork.load(hub / "landmark_heatmap" / "lax_4c", precision="fp32")
    heatmaps = {}

    def peak(_images: Any, method: str = "forward") -> Any:
        import torch

        heatmap = torch.full((1, 3, 32, 32), -20.0)
        heatmap[0, 0, 20, 5] = heatmap[0, 0, 21, 5] = 5.0  # x 20.5, y 5
        heatmap[0, 1:, 1, 1] = 5.0
        heatmaps["shape"] = heatmap.shape
        return {"lax_4c": heatmap}

    network.run = peak  # type: ignore[method-assign]
    scan = ViewImages("lax_4c", np.random.default_rng(0).random((1, 1, 30, 28)), (1.0, 1.0))
    found = landmarks(network, scan)
    assert found.px[0, 0].tolist() == pytest.approx([5.0, 20.5])  # row, col
    assert found.published_px[0, 0].tolist() == [5.0, 20.0]


def test_the_command_predicts_a_cohort_and_the_second_time_finds_nothing_to_do(cohort: Cohort, hub: Path) -> None:
    arguments = ["predict", "--task", "regression_ef", "--model", str(hub / "regression_ef" / "acdc_sax")]
    arguments += ["--precision", "fp32", "--cohort", str(cohort.root)]
    first = CliRunner().invoke(main, arguments)
    assert first.exit_code == 0, first.output
    table = cohort.tables / "predictions" / "regression_ef-acdc_sax.parquet"
    assert f"table: {table}" in first.output
    made = table.stat().st_mtime_ns
    assert CliRunner().invoke(main, arguments).exit_code == 0
    assert table.stat().st_mtime_ns == made
    status = CliRunner().invoke(main, ["status", "--cohort", str(cohort.root)])
    assert "predict regression_ef-acdc_sax" in status.output
    wrong = CliRunner().invoke(main, [*arguments[:2], "regression_age", *arguments[3:]])
    assert wrong.exit_code == 1
    assert "not 'regression_age'" in wrong.output
