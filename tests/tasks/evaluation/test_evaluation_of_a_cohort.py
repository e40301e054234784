"""Predictions of a cohort against its references: right figures, by group, and nothing missing counted as zero."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from click.testing import CliRunner

from cmr_models.analysis.disclosure.audit import audit
from cmr_models.analysis.disclosure.claims import claims_of
from cmr_models.analysis.disclosure.gate import Gate, GateRules
from cmr_models.contracts import cine_study, cine_view, prediction, with_reference
from cmr_models.evaluation import cases as measures
from cmr_models.evaluation.summary import Summariser
from flows.cli import main
from tasks.convert import reference_table
from tasks.evaluation import cohort as cohort_evaluation
from tasks.evaluation.cohort import EvaluateSettings, evaluate
from tasks.evaluation.references import read_references
from tasks.evaluation.release import Publication, count_rules, release_summary
from tasks.evaluation.summary_claims import studies_counted, summary_means, summary_says
from tasks.state import store
from tasks.state.ledger import Outcome, open_ledger
from tasks.state.published_beside import Beside
from tasks.state.store import Cohort
from tasks.state.zarr_encoding import encode_tree

_SHAPE = (4, 3, 24, 24)
_RESAMPLES = 100


def _heart(radius: int, shift: int = 0) -> np.ndarray:
    """A pool in a ring of wall, with an RV beside it, in frames 0 (of ``radius``) and 2 (two smaller)."""
    labels = np.zeros(_SHAPE, np.uint8)
    row, col = np.mgrid[:24, :24]
    for frame, size in ((0, radius), (2, radius - 2)):
        away = np.hypot(row - 12, col - 12 - shift)
        labels[frame, :, away < size + 2] = 2
        labels[frame, :, away < size] = 3
        labels[frame, :, 4:8, 1:4] = 1
    return labels


def _view(labels: np.ndarray | None = None, landmark_px: np.ndarray | None = None, shape: Any = _SHAPE) -> xr.Dataset:
    n_slices = shape[1]
    view = cine_view(
        np.random.default_rng(0).integers(0, 900, shape).astype(np.uint16),
        time_ms=200.0 * np.arange(shape[0]), pixel_mm=(3.0, 3.0),
        position_mm=np.arange(n_slices)[:, None] * [0, 0, 10.0], row_dir=(1, 0, 0), col_dir=(0, 1, 0),
        slice_mm=10.0 if n_slices > 1 else float("nan"), thickness_mm=8.0, heart_rate_bpm=75.0,
    )  # fmt: skip
    return with_reference(view, labels, landmark_px)


def _add(
    cohort: Cohort, study: str, view: xr.Dataset, facts: dict[str, Any], name: str = "sax", key: str | None = None
) -> None:
    key = key or store.digest(study)
    store.publish(encode_tree(cine_study({name: view}, key=key)), cohort.study(study))
    drawn: dict[str, Any] = {}
    if "labelled" in view:
        drawn["labelled_frames"] = np.flatnonzero(view["labelled"].values).tolist()
    if "landmark_px" in view:
        drawn["marked_frames"] = np.flatnonzero(np.isfinite(view["landmark_px"].values).all(axis=(1, 2))).tolist()
    with open_ledger(cohort.ledger) as ledger:
        summary = {"views": {name: drawn}, "facts": facts}
        ledger.record([Outcome(study, "convert", "ok", key=key, wanted=key, summary=summary)])
        reference_table.write_reference_table(ledger, cohort)


def _predict(cohort: Cohort, study: str, labels: np.ndarray, judged: np.ndarray | None = None) -> None:
    tree = prediction(
        {"sax": labels}, None if judged is None else {"sax": judged}, key="k", study_key=store.digest(study)
    )
    store.publish(encode_tree(tree), cohort.prediction("net", study))


@pytest.fixture
def cohort(tmp_path: Path) -> Cohort:
    """Four labelled hearts: told exactly, told small, without prediction, with the wall alone; two sexes."""
    place = Cohort(tmp_path / "cohort")
    for k, sex in enumerate(("female", "male", "female", "male")):
        facts = {"sex": sex, "data_set": "acdc", "ed_frame": 0, "es_frame": 2, "split": "test" if k else "train"}
        _add(place, f"p{k}-1", _view(_heart(7)), facts)
    _predict(place, "p0-1", _heart(7))
    _predict(place, "p1-1", _heart(6))
    store.publish_rejection(
        place.prediction("net", "p2-1"), key="k", status="quarantined", reason="image_flat", detail=""
    )
    _predict(place, "p3-1", np.where(_heart(7) == 2, np.uint8(2), np.uint8(0)))
    return place


def _evaluate(cohort: Cohort, **changes: Any) -> pd.DataFrame:
    settings = EvaluateSettings(**{"predictions": "net", "resamples": _RESAMPLES, "minimum_cell": 1, **changes})
    return evaluate(cohort, settings).summary


def _one(summary: pd.DataFrame, group: str = "all", **about: str) -> pd.Series:
    chosen = summary[summary["group"] == group]
    for name, value in {"phase": "all", **about}.items():
        chosen = chosen[chosen[name] == value]
    assert len(chosen) == 1, chosen
    return chosen.iloc[0]


def _dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def test_overlap_is_the_mean_over_studies_and_what_is_missing_is_told_and_not_zero(cohort: Cohort) -> None:
    summary = _evaluate(cohort)
    dice = _one(summary, measure="dice", of="lv")
    frames = [_dice(_heart(6)[f] == 3, _heart(7)[f] == 3) for f in (0, 2)]
    assert dice["value"] == pytest.approx(np.mean([1.0, np.mean(frames), 0.0]))
    assert (dice["n"], dice["n_missing"], json.loads(dice["reasons"])) == (3, 1, {"image_flat": 1})
    assert dice["ci_low"] <= dice["value"] <= dice["ci_high"]
    ed = _one(summary, measure="dice", of="lv", phase="ed")
    assert ed["value"] == pytest.approx(np.mean([1.0, frames[0], 0.0]))
    distance = _one(summary, measure="hd95", of="lv")
    assert (distance["n"], json.loads(distance["reasons"])) == (2, {"image_flat": 1, "structure_in_one": 1})
    assert _one(summary, group="female", measure="dice", of="lv")["value"] == 1.0
    assert _one(summary, group="male", measure="dice", of="rv")["value"] == pytest.approx(0.5)


def test_volumes_and_ef_are_those_of_the_labels_counted_by_hand(cohort: Cohort) -> None:
    summary = _evaluate(cohort)
    edv = [(_heart(r)[0] == 3).sum() * 0.09 for r in (7, 6)]
    bias = _one(summary, measure="bias", of="lvedv_ml")
    assert bias["value"] == pytest.approx(np.mean([0, edv[1] - edv[0], -edv[0]]))
    ef = [100 * (1 - (_heart(r)[2] == 3).sum() / (_heart(r)[0] == 3).sum()) for r in (7, 6)]
    mae = _one(summary, measure="mae", of="lvef_pct")
    assert mae["value"] == pytest.approx(abs(ef[1] - ef[0]) / 2)
    assert json.loads(mae["reasons"]) == {"image_flat": 1, "undefined": 1}
    assert _one(summary, measure="class_accuracy", of="lvef_pct")["n"] == 2
    mass = _one(summary, measure="rmse", of="lvm_g")
    assert mass["n"] == 3


def test_results_do_not_depend_on_the_order_of_studies_and_are_published_whole(cohort: Cohort) -> None:
    first = _evaluate(cohort)
    folder = cohort.tables / "evaluations" / "net"
    assert sorted(p.name for p in folder.iterdir()) == [
        "cases.parquet", "disclosure_record.json", "released", "settings.json", "summary.csv", "summary.md",
        "summary.parquet",
    ]  # fmt: skip
    pd.testing.assert_frame_equal(pd.read_parquet(folder / "summary.parquet"), first, check_dtype=False)
    assert "| male | dice | lv | sax | ed |" in (folder / "summary.md").read_text()
    pd.testing.assert_frame_equal(_evaluate(cohort), first)
    cases = pd.read_parquet(folder / "cases.parquet")
    people = pd.DataFrame({"sex": ["female", "male"] * 2}, index=[f"p{k}-1" for k in range(4)])
    overlaps = cases[cases["measure"] == "dice"]
    one_way = Summariser(people, ["sex"], n_resamples=_RESAMPLES).cases(overlaps)
    other = Summariser(people[::-1], ["sex"], n_resamples=_RESAMPLES).cases(overlaps)
    pd.testing.assert_frame_equal(one_way, other)


def _groups(sizes: dict[str, int], missing: dict[str, int]) -> pd.DataFrame:
    """One measure of ``sizes`` studies a sex, of which ``missing`` have no value, overall and by sex, as released."""
    sexes = np.repeat(list(sizes), list(sizes.values()))
    people = pd.DataFrame({"sex": sexes}, index=[f"p{k}-1" for k in range(len(sexes))])
    known = people.groupby("sex").cumcount() >= people["sex"].map(missing).fillna(0)
    rows = pd.DataFrame({"study": people.index, "value": np.where(known, 0.5, np.nan), "reason": "image_flat"})
    rows = rows.assign(measure="dice", of="lv", view="sax", phase="all", unit="")
    summary = Summariser(people, ["sex"], n_resamples=_RESAMPLES).cases(rows)
    return release_summary(Gate(GateRules()), "summary", summary).set_index("group")


def test_a_small_group_is_masked_and_cannot_be_had_by_subtraction() -> None:
    table = _groups({"female": 20, "male": 9, "unknown": 3}, {})
    assert table["status"].to_dict() == {"all": "ok", "female": "ok", "male": "suppressed", "unknown": "suppressed"}
    assert table["reason"].to_dict() == {"all": "", "female": "", "male": "secondary", "unknown": "small_cell"}
    assert table.loc[["male", "unknown"], ["value", "ci_low", "ci_high", "sd", "n", "n_missing"]].isna().all(axis=None)
    assert table.loc["female", ["value", "n", "n_missing"]].tolist() == [0.5, 20, 0]


def test_how_few_of_a_group_miss_a_value_does_not_show() -> None:
    table = _groups({"female": 20, "male": 30, "unknown": 40}, {"female": 2})
    assert (table["value"] == 0.5).all()
    assert table["n"].isna().to_dict() == {"all": False, "female": True, "male": True, "unknown": False}
    assert table["n_missing"].isna().to_dict() == {"all": True, "female": True, "male": True, "unknown": False}
    assert table.loc["all", ["n", "reasons"]].tolist() == [88, '{"image_flat": null}']
    assert np.isnan(table.loc["all", "n_missing"])  # as one reason is named, the total would be its number
    assert set(table.loc[["female", "male"], "reasons"]) == {"{}"}


def test_what_a_cohort_of_four_says_of_its_groups_stays_inside(cohort: Cohort) -> None:
    summary = _evaluate(cohort, minimum_cell=5)
    assert summary["value"].isna().all()
    folder = cohort.tables / "evaluations" / "net"
    assert "| male | dice | lv | sax | ed | small_cell |" in (folder / "summary.md").read_text()
    record = json.loads((folder / "disclosure_record.json").read_text())
    assert record["results"]["output_0"]["status"] == "fail"  # some cells were masked
    shown = _evaluate(cohort, minimum_cell=2, group_by=("sex",))
    told = {group: _one(shown, group=group, measure="dice", of="lv")["reason"] for group in ("all", "female", "male")}
    assert told == {"all": "", "female": "small_cell", "male": "secondary"}  # one of two women has a value


def test_a_split_and_chosen_groups_are_kept_to_and_unknown_ones_refused(cohort: Cohort) -> None:
    summary = _evaluate(cohort, split="test", group_by=())
    assert set(summary["group_by"]) == {""}
    assert _one(summary, measure="dice", of="lv")["n"] == 2
    with pytest.raises(ValueError, match="no study belongs to the split 'validation'"):
        _evaluate(cohort, split="validation")
    with pytest.raises(ValueError, match="no column"):
        _evaluate(cohort, group_by=("colour",))
    with pytest.raises(FileNotFoundError, match="no predictions 'other'; there are net;"):
        _evaluate(cohort, predictions="other")


def test_an_image_that_was_not_seen_and_a_prediction_of_another_study_are_missing(cohort: Cohort) -> None:
    judged = np.ones(_SHAPE[:2], bool)
    judged[2] = False
    _predict(cohort, "p1-1", _heart(7), judged)
    _add(cohort, "p0-1", _view(_heart(7)), {"ed_frame": 0, "es_frame": 2}, key="changed")
    summary = _evaluate(cohort)
    es = _one(summary, measure="dice", of="lv", phase="es")
    assert json.loads(es["reasons"]) == {"frame_unjudged": 1, "image_flat": 1, "no_prediction": 1}
    volume = _one(summary, measure="mae", of="lvesv_ml")
    assert json.loads(volume["reasons"])["frame_unjudged"] == 1
    assert _one(summary, measure="mae", of="lvedv_ml")["n"] == 2


def test_a_prediction_on_another_grid_is_missing(cohort: Cohort) -> None:
    _predict(cohort, "p1-1", _heart(7)[:, :2])
    dice = _one(_evaluate(cohort), measure="dice", of="lv")
    assert json.loads(dice["reasons"]) == {"grid_differs": 1, "image_flat": 1}


def test_a_table_of_values_is_compared_with_the_whole_cine(cohort: Cohort, tmp_path: Path) -> None:
    labels = np.concatenate([_heart(8), _heart(8)[2:]])  # six frames
    for k in range(3):
        _add(cohort, f"q{k}-1", _view(shape=labels.shape), {"data_set": "kaggle"})
    for k in range(2):
        _predict(cohort, f"q{k}-1", _fill(labels))
    table = tmp_path / "values.csv"
    table.write_text("participant,lvedv_ml,lvef_pct\nq0,60,50\nq1,55,\nq2,70,60\nstranger,1,2\n")
    summary = _evaluate(cohort, reference=table, group_by=("data_set",))
    edv_ml = float((labels[0] == 3).sum() * 0.09)
    mae = _one(summary, group="kaggle", measure="mae", of="lvedv_ml")
    assert mae["value"] == pytest.approx(np.mean([abs(edv_ml - 60), abs(edv_ml - 55)]))
    assert json.loads(mae["reasons"]) == {"no_prediction": 1}
    ef = _one(summary, group="kaggle", measure="mae", of="lvef_pct")
    assert (ef["n"], ef["n_missing"]) == (1, 1)
    table.write_text("participant,lvedv_ml\nq0,60\nq0,61\n")
    with pytest.raises(ValueError, match="rows with the same participant"):
        _evaluate(cohort, reference=table)
    table.write_text("name,lvedv_ml\nq0,60\n")
    with pytest.raises(ValueError, match="neither study nor participant"):
        _evaluate(cohort, reference=table)


def _fill(labels: np.ndarray) -> np.ndarray:
    """Every frame with a heart: frames between are end-diastole's."""
    filled = labels.copy()
    for frame in range(len(filled)):
        if not filled[frame].any():
            filled[frame] = labels[0]
    return filled


def test_scan_and_rescan_give_the_variation_of_their_pairs_alone(tmp_path: Path) -> None:
    cohort = Cohort(tmp_path)
    sizes = {"a-A": 8, "a-B": 7, "b-A": 8, "b-B": 8, "c-A": 8, "d-A": 8, "d-B": 8}
    for study, radius in sizes.items():
        facts = {"data_set": "rescan", "lvedv_ml": 100.0 + radius}
        _add(cohort, study, _view(shape=(6, *_SHAPE[1:])), facts)
        if study != "d-B":
            _predict(cohort, study, _fill(np.concatenate([_heart(radius), _heart(radius)[2:]])))
    summary = _evaluate(cohort)
    volumes = {r: float((_heart(r)[0] == 3).sum()) for r in (7, 8)}
    expected = 100 * np.sqrt(((volumes[8] - volumes[7]) ** 2 / 2 / ((volumes[8] + volumes[7]) / 2) ** 2) / 2)
    row = _one(summary, measure="repeat_cv_predicted", of="lvedv_ml")
    assert row["value"] == pytest.approx(expected)
    assert (row["n"], json.loads(row["reasons"])) == (2, {"no_prediction": 1})
    assert _one(summary, measure="repeat_cv_reference", of="lvedv_ml")["n"] == 3


def _publish_outputs(cohort: Cohort, name: str, task: str, rows: list[dict[str, Any]], classes: list[str]) -> None:
    tree = xr.DataTree.from_dict({"/answer": xr.Dataset({"probability": ("class", np.ones(len(classes) or 1))})})
    tree.attrs.update(key="k", study_key="s", task=task, classes=classes)
    store.publish(encode_tree(tree), cohort.prediction(name, rows[0]["study"]))
    path = cohort.tables / "predictions" / f"{name}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_parquet(path)


def test_classes_are_judged_among_those_the_model_knows(tmp_path: Path) -> None:
    from sklearn import metrics

    cohort, rng = Cohort(tmp_path), np.random.default_rng(4)
    truth = ["DCM", "HCM", "NOR"] * 6 + ["ARV"]
    shares = rng.dirichlet(np.ones(3), len(truth))
    rows = []
    for k, name in enumerate(truth):
        _add(cohort, f"p{k:02d}-1", _view(), {"diagnosis": name, "sex": "male"})
        answer = dict(zip(("p_DCM", "p_HCM", "p_NOR"), map(float, shares[k]), strict=True))
        rows.append({"study": f"p{k:02d}-1", "status": "ok", "reason": "", **answer})
    rows[5] = {"study": "p05-1", "status": "quarantined", "reason": "phases_unknown"}
    _publish_outputs(cohort, "net", "classification_cvd", rows[:-2] + rows[-1:], ["DCM", "HCM", "NOR"])
    summary = _evaluate(cohort)
    known = [k for k in range(18) if k not in (5, 17)]
    true = np.array([("DCM", "HCM", "NOR").index(truth[k]) for k in known])
    accuracy = _one(summary, measure="accuracy")
    assert accuracy["value"] == pytest.approx(metrics.accuracy_score(true, shares[known].argmax(1)))
    assert json.loads(accuracy["reasons"]) == {"class_unknown": 1, "no_prediction": 1, "phases_unknown": 1}
    area = _one(summary, measure="auc", of="HCM")
    assert area["value"] == pytest.approx(metrics.roc_auc_score(true == 1, shares[known][:, 1]))
    macro = _one(summary, measure="auc_macro")
    assert macro["value"] == pytest.approx(metrics.roc_auc_score(true, shares[known], multi_class="ovr"))
    assert {"mcc", "f1_macro", "sensitivity_at_90_specificity", "specificity_at_90_sensitivity"} <= set(
        summary["measure"]
    )


def test_sex_and_values_are_found_under_the_data_sets_names(tmp_path: Path) -> None:
    cohort = Cohort(tmp_path)
    for k, sex in enumerate(("male", "female", "female")):
        facts = {"sex": sex, "age_years": 40.0 + k, "ed_frame": 0, "es_frame": 2}
        _add(cohort, f"p{k}-1", _view(_heart(7)), facts)
    answers = [("p0-1", 0.9), ("p1-1", 0.2), ("p2-1", 0.6)]
    rows = [{"study": s, "status": "ok", "reason": "", "p_M": p, "p_F": 1 - p} for s, p in answers]
    _publish_outputs(cohort, "sex", "classification_sex", rows, ["M", "F"])
    assert _one(_evaluate(cohort, predictions="sex", group_by=()), measure="accuracy")["value"] == pytest.approx(2 / 3)
    rows = [{"study": f"p{k}-1", "status": "ok", "reason": "", "age": 41.0} for k in range(2)]
    _publish_outputs(cohort, "age", "regression_age", rows, [])
    age = _one(_evaluate(cohort, predictions="age", group_by=()), measure="mae")
    assert (age["value"], age["n"], json.loads(age["reasons"])) == (0.5, 2, {"no_prediction": 1})
    rows = [{"study": "p0-1", "status": "ok", "reason": "", "ef": 50.0}]
    _publish_outputs(cohort, "ef", "regression_ef", rows, [])
    ef_pct = 100 * (1 - (_heart(7)[2] == 3).sum() / (_heart(7)[0] == 3).sum())
    ef = _one(_evaluate(cohort, predictions="ef", group_by=()), measure="bias", of="lvef_pct")
    assert ef["value"] == pytest.approx(50 - ef_pct)
    _publish_outputs(cohort, "vendor", "classification_vendor", rows, ["GE"])
    with pytest.raises(ValueError, match="no study has the reference 'vendor'"):
        _evaluate(cohort, predictions="vendor")


def test_landmarks_are_measured_in_the_frames_that_were_marked(tmp_path: Path) -> None:
    cohort = Cohort(tmp_path)
    marked = np.full((4, 3, 2), np.nan)
    marked[0], marked[2] = [[4, 4], [4, 12], [20, 8]], [[8, 4], [8, 12], [20, 8]]
    found = marked.copy()
    found[[1, 3]] = 3.0
    found[2, 2] += [3, 4]  # the apex, by 5 px
    shape = (4, 1, 24, 24)
    for study in ("a-1", "b-1"):
        _add(cohort, study, _view(landmark_px=marked, shape=shape), {"data_set": "landmark"}, "lax_4c")
    node = xr.Dataset({"landmark_px": (("frame", "point", "axis"), found)})
    tree = xr.DataTree.from_dict({"/lax_4c": node})
    tree.attrs.update(key="k", study_key=store.digest("a-1"), task="landmark_heatmap", classes=[])
    store.publish(encode_tree(tree), cohort.prediction("net", "a-1"))
    summary = _evaluate(cohort)
    apex = _one(summary, measure="landmark_distance", of="apex")
    assert apex["value"] == pytest.approx(15 / 2)
    assert json.loads(apex["reasons"]) == {"no_prediction": 1}
    assert _one(summary, measure="landmark_distance", of="mean")["value"] == pytest.approx(15 / 6)
    assert _one(summary, measure="mae", of="mapse_mm")["value"] == pytest.approx(0)
    shortening = _one(summary, measure="bias", of="axis_shortening_pct")
    reference = 100 * (16 - 12) / 16
    predicted = 100 * (16 - np.hypot(15, 4)) / 16
    assert shortening["value"] == pytest.approx(predicted - reference)


def test_scar_is_measured_on_its_own_and_as_part_of_the_wall() -> None:
    reference = _heart(7)
    reference[0, :, 18:21][reference[0, :, 18:21] == 2] = 8
    view = _view(reference)
    rows = measures.overlap_rows(_heart(7), np.ones(_SHAPE[:2], bool), view, "lge", {})
    dice = {r["of"]: r["value"] for r in rows if r["measure"] == "dice"}
    assert dice["myocardium"] == 1.0
    assert dice["scar"] == 0.0
    assert "oedema" not in dice


def test_without_any_reference_nothing_is_said(tmp_path: Path) -> None:
    cohort = Cohort(tmp_path)
    _add(cohort, "p0-1", _view(), {})
    _predict(cohort, "p0-1", _heart(7))
    with pytest.raises(ValueError, match="no study has a reference"):
        _evaluate(cohort)


def test_references_of_several_sources_are_joined_the_later_first(cohort: Cohort, tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text("eid,visit,sex,age_years,height_cm,weight_kg\np0,1,male,70,200,100\n")
    (tmp_path / "values.csv").write_text("study,sex\np1-1,female\n")
    with open_ledger(cohort.ledger) as ledger:
        table = read_references(
            cohort, ledger, tmp_path / "values.csv", tmp_path / "people.csv", {"participant": "eid"}
        )
    assert table["sex"].tolist() == ["female", "female", "female", "male"]
    assert table["age_band"].tolist() == ["65-74", "unknown", "unknown", "unknown"]
    assert table["bmi_kg_m2"].iloc[0] == pytest.approx(25)


def test_the_command_prints_a_table_and_refuses_what_is_not_there(cohort: Cohort) -> None:
    base = ["evaluate", "--cohort", str(cohort.root), "--resamples", "100"]
    done = CliRunner().invoke(main, [*base, "--model", "models/net"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "dice" in done.output
    assert str(cohort.tables / "evaluations" / "net") in done.output
    assert CliRunner().invoke(main, [*base, "--predictions", "nothing"]).exit_code == 2
    assert CliRunner().invoke(main, base).exit_code == 2


@pytest.mark.parametrize(("all_visits", "people"), [(True, ["a-1", "b-1"]), (False, ["b-1"])])
def test_repeats_are_the_first_two_visits_of_rescans_or_of_everybody(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, all_visits: bool, people: list[str]
) -> None:
    visits = pd.DataFrame(
        [
            ("b-3", "b", "3", "rescan", 3.0), ("a-2", "a", "2", "main", 62.0), ("b-2", "b", "2", "rescan", 58.0),
            ("a-1", "a", "1", "main", np.nan), ("c-1", "c", "1", "rescan", 9.0), ("b-1", "b", "1", "rescan", 60.0),
        ],
        columns=["study", "participant", "visit", "data_set", "lvef_pct"],
    ).set_index("study")  # fmt: skip
    numbers = {"a-1": {"lvef_pct": 50.0}, "a-2": "no_sax", "b-1": {"lvef_pct": 61.0}, "b-2": {"lvef_pct": 59.0}}
    monkeypatch.setattr(cohort_evaluation.studies, "repeat_values", lambda _cohort, _name, study: numbers[study])
    settings = EvaluateSettings("net", repeats=all_visits)
    table = cohort_evaluation._repeats(Cohort(tmp_path), settings, visits)
    assert table is not None
    rows = table[table["of"] == "lvef_pct"].set_index(["study", "source"])
    assert sorted(set(table["study"])) == people
    assert rows.loc[("b-1", "predicted"), ["first", "second"]].tolist() == [61, 59]
    assert rows.loc[("b-1", "reference"), ["first", "second"]].tolist() == [60, 58]
    if all_visits:
        assert rows.loc[("a-1", "predicted"), "reason"] == "no_sax"
        assert ("a-1", "reference") not in rows.index  # one of the two is not known
    assert cohort_evaluation._repeats(Cohort(tmp_path), settings, visits[visits["visit"] == "1"]) is None
    without = cohort_evaluation._repeats(Cohort(tmp_path), settings, visits.drop(columns="data_set"))
    assert (without is None) == (not all_visits)


def _summary(values: list[float], n_missing: int = 0) -> pd.DataFrame:
    """Errors of one volume, half of them in each of two groups."""
    n = len(values) + n_missing
    people = pd.DataFrame({"sex": np.where(np.arange(n) % 2, "female", "male")}, index=[f"s{k}" for k in range(n)])
    rows = pd.DataFrame({"study": people.index, "predicted": [100 + v for v in values] + [np.nan] * n_missing})
    rows = rows.assign(reference=100.0, reason="image_flat", measure="agreement", of="lvedv_ml", view="sax", phase="ed")
    rows = rows.assign(unit="ml", value=np.nan)
    return Summariser(people, ["sex"], n_resamples=_RESAMPLES).cases(rows)


def test_an_error_that_dominates_is_not_told_by_sd_and_root_mean_square() -> None:
    """Forty errors of -1 and 1, and one of 60: of squares about the median, 1, nearly all are its own."""
    ordinary = [1.0, 1.0, -1.0, -1.0] * 10
    for values, hidden in ((ordinary, False), ([*ordinary, 60.0, 1.0], True)):
        table = release_summary(Gate(GateRules()), "summary", _summary(values))
        row = table[table["group"] == "all"].set_index("measure")
        assert np.isnan(row.loc["bias", "sd"]) == np.isnan(row.loc["mae", "ci_low"]) == hidden
        assert row.loc["rmse", ["status", "reason"]].tolist() == (["suppressed", "dominated"] if hidden else ["ok", ""])
        assert np.isfinite(row.loc["bias", "value"])
        assert row.loc["rmse", "n"] == len(values)


def test_a_summary_that_differs_by_few_from_the_one_before_is_rounded() -> None:
    values = [1.0, 1.0, -1.0, -1.0] * 10
    before = release_summary(Gate(GateRules()), "summary", _summary(values))
    assert count_rules(_summary(values), 5, [before]).base is None
    assert count_rules(_summary(values[:-1]), 5, [before]).base == 5
    assert count_rules(_summary(values[:-1]), 1, [before]).base is None
    assert count_rules(_summary(values[:-20]), 5, [before]).base is None


def test_numbers_of_studies_that_tell_a_small_one_together_are_masked() -> None:
    """Of 40 studies 37 have a value, of 20 men 20: three women have none, though the row does not say so."""
    table = release_summary(Gate(GateRules()), "summary", _summary([1.0, 1.0, -1.0, -1.0] * 10))
    shown = table[table["measure"] == "bias"].reset_index(drop=True)
    shown["n_missing"] = [3.0, np.nan, 0.0]  # all, female, male
    found = audit({}, 5, figures=summary_says(shown, GateRules()))
    told = found[found["determined"].astype(bool)]
    assert told[["population", "group", "low", "high"]].to_numpy().tolist() == [["missing sax ed", "female", 3, 3]]


# beside other publications

_ORDINARY = [1.0, 1.0, -1.0, -1.0] * 10


def _beside(n_in_tables: int, *, base: float = 1.0, nested: bool = True) -> Publication:
    """An evaluation of forty, beside a table of the same and some more, or of others."""
    row = {"exposure": "lvedv_ml", "outcome": "", "scale": "absolute", "model": "mean", "measure": "mean",
           "group_by": "overall", "group": "all", "n": base * round(n_in_tables / base), "n_events": np.nan,
           "estimate": 150.0, "se": 3.0, "status": "ok", "reason": "", "rounded_to": base}  # fmt: skip
    more = frozenset(f"s{k if nested else 100 + k}-1" for k in range(n_in_tables))
    name = "evaluation_net"
    studies = pd.DataFrame({"study": [f"s{k}-1" for k in range(40)], "predicted": 1.0, "reference": 1.0})
    cases = studies.assign(measure="agreement", of="lvedv_ml", view="sax", phase="ed")
    counted = studies_counted(cases, name)
    assert counted == dict.fromkeys(
        [(f"{what} evaluation_net sax ed", "lvedv_ml") for what in ("evaluated", "looked at")],
        frozenset(cases["study"]),
    )
    groups = pd.DataFrame({"sex": ["male", "female"] * 20}, index=cases["study"].to_numpy())
    beside = Beside({"fairness": pd.DataFrame([row])}, counted={("mean", "lvedv_ml"): more})
    return Publication(name, counted, groups, beside)


@pytest.mark.parametrize(
    ("n_in_tables", "nested", "base"),
    [(41, True, 5), (40, True, None), (46, True, None), (41, False, None)],
)
def test_an_evaluation_of_all_but_one_of_a_table_is_rounded(n_in_tables: int, nested: bool, base: int | None) -> None:
    """Forty of 41: one lacks a reference. Of 46 they are six, and of other people nothing follows."""
    rules = count_rules(_summary(_ORDINARY), 5, publication=_beside(n_in_tables, nested=nested))
    assert rules == GateRules(5, base)


def test_what_rounding_does_not_hold_is_masked() -> None:
    """Exact numbers of forty, though 41 are in the table: number and values of everybody go, and nothing is told."""
    about = _beside(41)
    table = release_summary(Gate(GateRules(5)), "summary", _summary(_ORDINARY), about)
    everybody = table[(table["group_by"] == "") & table["of"].eq("lvedv_ml")]
    assert everybody[["n", "n_missing", "value"]].isna().all(axis=None)
    assert set(everybody["reason"]) == {"secondary"}
    rounded = release_summary(Gate(GateRules(5, 5)), "summary", _summary(_ORDINARY), about)
    assert rounded.loc[rounded["group"] == "all", "n"].tolist() == [40.0] * 3


def test_doubted_studies_are_rounded_as_others_and_told_beside_those_of_the_page() -> None:
    """Twelve doubted ones are evaluated, of thirteen: one doubted study is not."""
    summary = _summary(_ORDINARY).assign(n_doubted=12.0)
    page = claims_of(
        [{"population": "studies measured", "group_by": "state", "group": "doubted", "low": 13, "high": 13}]
    )
    about = Publication("evaluation_net", beside=Beside(claims=page))
    assert count_rules(summary, 5, publication=about).base == 5
    shown = release_summary(Gate(GateRules(5, 5)), "summary", summary, about)
    assert set(shown["n_doubted"]) == {10.0}
    hidden = release_summary(Gate(GateRules(5)), "summary", summary, about)
    assert hidden["n_doubted"].isna().all()
    assert hidden["n"].notna().all()


def test_the_error_of_one_is_not_the_rest_of_everybody() -> None:
    """Means of forty people and of 37 of them tell that of the other three within an SD, coarse as they are."""
    rows = pd.DataFrame({
        "measure": "bias", "of": "lvedv_ml", "view": "", "phase": "all", "group_by": ["", "sex", "sex"],
        "group": ["all", "male", "female"], "n": [40.0, 37.0, np.nan], "value": [1.0, 0.9, np.nan],
        "sd": [1.0, 1.0, np.nan], "ci_low": np.nan, "ci_high": np.nan,
    })  # fmt: skip
    means = summary_means(rows, GateRules(5))
    assert means["exposure"].unique().tolist() == ["bias lvedv_ml  all"]
    (found,) = audit({"means": means}, 5).query("cell == 'mean'").to_dict("records")
    # Steps of 0.05 and 0.1: 40 x (1 +- 0.025) less 37 x (0.9 +- 0.05) is 40 - 33.3 +- 2.85, of three people.
    assert (found["low"], found["high"]) == pytest.approx(((6.7 - 2.85) / 3, (6.7 + 2.85) / 3))
    assert found["determined"]  # 1.28 to 3.18 is within an SD to either side
