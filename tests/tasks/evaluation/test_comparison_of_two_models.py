"""Two models on a cohort: agreement, overlap, groups, limits, pages; the hearts are those of ``compared_cohort``."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from compared_cohort import MEN, STUDIES, write_compared_cohort
from pydantic import ValidationError

from cmr_models.analysis.disclosure.gate import GateRules
from flows.cli import main
from tasks.evaluation.comparison import ComparisonInputs, ComparisonResult, compare
from tasks.evaluation.comparison_limits import Counts, judge
from tasks.evaluation.comparison_settings import CompareSettings
from tasks.evaluation.comparison_worst import most_different, outlined, worst_studies
from tasks.maintenance.withdrawal import withdraw
from tasks.state import store
from tasks.state.ledger import Outcome, open_ledger
from tasks.state.mistakes import UserMistake
from tasks.state.store import Cohort
from tasks.state.zarr_encoding import encode_tree

_DEFAULTS = CompareSettings()


@pytest.fixture
def cohort(tmp_path: Path) -> Cohort:
    return write_compared_cohort(tmp_path)


def _compare(cohort: Cohort, limits: CompareSettings = _DEFAULTS, **changes: Any) -> ComparisonResult:
    known = {"participants": cohort.root.parent / "people.csv", "minimum_cell": 1, "resamples": 100}
    return compare(cohort, ComparisonInputs(**{"first": "old", "second": "new", "limits": limits, **known, **changes}))


def _one(summary: pd.DataFrame, group: str = "all", **about: str) -> pd.Series:
    for name, value in {"group": group, "phase": "all", **about}.items():
        summary = summary[summary[name] == value]
    assert len(summary) == 1, summary
    return summary.iloc[0]


def test_bias_and_limits_of_agreement_of_ef_overall_and_by_group(cohort: Cohort) -> None:
    """Six differences of 0 and six of -10 points: mean -5, SD 5 sqrt(12 / 11)."""
    summary = _compare(cohort).summary
    sd = 5 * np.sqrt(12 / 11)
    assert _one(summary, measure="bias", of="lvef_pct")["value"] == pytest.approx(-5)
    assert _one(summary, measure="loa_low", of="lvef_pct")["value"] == pytest.approx(-5 - 1.959964 * sd)
    assert _one(summary, measure="loa_high", of="lvef_pct")["value"] == pytest.approx(-5 + 1.959964 * sd)
    assert _one(summary, "male", measure="bias", of="lvef_pct")["value"] == pytest.approx(-10)
    assert _one(summary, "female", measure="bias", of="lvef_pct")["value"] == pytest.approx(0)
    assert _one(summary, "male", measure="bias", of="lvesv_ml")["value"] == pytest.approx(64.8 - 54)
    assert _one(summary, measure="bias", of="rvef_pct")["value"] == 0
    assert {"sex", "age_band", "bmi_class"} <= set(summary["group_by"])


def test_dice_at_end_systole_of_men_is_that_of_fifty_and_sixty_pixels(cohort: Cohort) -> None:
    summary = _compare(cohort).summary
    assert _one(summary, "male", measure="dice", of="lv", phase="es")["value"] == pytest.approx(2 * 50 / 110)
    assert _one(summary, "male", measure="dice", of="lv", phase="ed")["value"] == 1
    assert _one(summary, measure="dice", of="lv", phase="es")["value"] == pytest.approx((1 + 2 * 50 / 110) / 2)
    assert _one(summary, measure="dice", of="rv", phase="es")["value"] == 1


def test_small_groups_are_hidden_by_the_rule_of_all_tables(cohort: Cohort) -> None:
    """Six and six of twelve may be shown at a minimum of 6; at 7 neither may, and neither is judged."""
    shown = _compare(cohort, minimum_cell=6)
    assert _one(shown.summary, "male", measure="bias", of="lvef_pct")["status"] == "ok"
    assert '<th scope="row">male</th><td class="number">6</td>' in (shown.folder / "index.html").read_text()
    hidden = _compare(cohort, minimum_cell=7)
    rows = hidden.summary[hidden.summary["group_by"] == "sex"]
    assert rows[["value", "ci_low", "ci_high", "sd", "n"]].isna().all(axis=None)
    assert set(rows.loc[rows["of"].isin(("lvef_pct", "lv", "rv")), "status"]) == {"suppressed"}
    assert "sex" not in set(hidden.verdicts["group_by"])
    page = (hidden.folder / "index.html").read_text()
    assert '<h3>Sex</h3>\n<p class="absent">Every group is too small to be shown.</p>' in page


def test_each_limit_is_judged_overall_and_in_every_group(cohort: Cohort) -> None:
    limits = CompareSettings(
        dice_min={"lv": 0.93, "rv": 1.0}, bias_max={"lvef_pct": 6.0}, agreement_max={"lvef_pct": 15.0, "rvef_pct": 0.0}
    )
    table = _compare(cohort, limits).verdicts
    told = {key: sorted(rows["verdict"]) for key, rows in table.groupby(["limit", "of", "phase", "group"])}
    assert told["dice_min", "lv", "es", "all"] == ["holds"]  # .955
    assert told["dice_min", "lv", "es", "female"] == ["holds"]
    assert told["dice_min", "lv", "es", "male"] == ["broken"]  # .909
    assert told["dice_min", "rv", "es", "all"] == ["holds"]
    assert told["bias_max", "lvef_pct", "all", "all"] == ["holds"]  # -5
    assert told["bias_max", "lvef_pct", "all", "male"] == ["broken"]  # -10
    assert told["agreement_max", "lvef_pct", "all", "all"] == ["broken", "holds"]  # -15.2 and 5.2
    assert told["agreement_max", "rvef_pct", "all", "all"] == ["holds", "holds"]
    assert told["lost_max", "", "all", "all"] == ["holds"]


def test_a_limit_without_a_number_is_not_judged_and_stops_too(cohort: Cohort) -> None:
    verdicts = _compare(cohort, CompareSettings(dice_min={"la": 0.5}, bias_max={}, speed_min=0.5)).verdicts
    told = verdicts.set_index("limit")["verdict"]
    assert told.to_dict() == {"dice_min": "not_judged", "lost_max": "holds", "speed_min": "not_judged"}


@pytest.mark.parametrize(
    ("lost", "minimum", "found", "verdict"),
    [(0, 5, 0.0, "holds"), (2, 1, 0.02, "holds"), (3, 1, 0.03, "broken"), (3, 5, np.nan, "broken")],
)
def test_studies_that_the_second_model_loses(lost: int, minimum: int, found: float, verdict: str) -> None:
    limits = CompareSettings(dice_min={}, bias_max={}, lost_max=0.02)
    (row,) = judge(pd.DataFrame(), Counts(100, lost), (None, None), limits, GateRules(minimum)).to_dict("records")
    assert row["found"] == pytest.approx(found, nan_ok=True)
    assert row["verdict"] == verdict


@pytest.mark.parametrize(
    ("speeds", "verdict"),
    [((100.0, 50.0), "holds"), ((100.0, 49.0), "broken"), ((None, 49.0), "not_judged"), ((10.0, None), "not_judged")],
)
def test_the_speed_of_the_second_model_by_that_of_the_first(speeds: Any, verdict: str) -> None:
    limits = CompareSettings(dice_min={}, bias_max={}, speed_min=0.5)
    told = judge(pd.DataFrame(), Counts(100, 0), speeds, limits, GateRules(1)).set_index("limit")["verdict"]
    assert told["speed_min"] == verdict


def test_what_one_model_lacks_is_missing_with_its_reason_and_counted(cohort: Cohort) -> None:
    cohort.prediction("new", "0-2").unlink()
    store.publish_rejection(
        cohort.prediction("new", "1-2"), key="k", status="quarantined", reason="image_flat", detail=""
    )
    found = _compare(cohort)
    row = _one(found.summary, measure="bias", of="lvef_pct")
    assert (row["n"], row["n_missing"], json.loads(row["reasons"])) == (10, 2, {"image_flat": 1, "no_prediction": 1})
    dice = _one(found.summary, measure="dice", of="lv")
    assert (dice["n"], json.loads(dice["reasons"])) == (10, {"image_flat": 1, "no_prediction": 1})
    assert found.unpredicted == {"old": 0, "new": 1}
    lost = found.verdicts.set_index("limit").loc["lost_max"]
    assert (lost["found"], lost["verdict"]) == (pytest.approx(2 / 12), "broken")


def test_a_model_that_no_longer_sees_a_structure_loses_its_phenotypes(cohort: Cohort) -> None:
    """The second model draws no right ventricle in 3 of 12 studies, where everything else stays."""
    for study in STUDIES[:3]:
        tree = store.load_tree(cohort.prediction("new", study))
        label = tree["sax"]["label"].values
        tree["sax"]["label"].values = np.where(label == 1, np.uint8(0), label)
        store.publish(encode_tree(tree), cohort.prediction("new", study))
    found = _compare(cohort)
    lost = found.verdicts.set_index("limit").loc["lost_max"]
    assert (lost["of"], lost["found"], lost["verdict"]) == ("rvedv_ml", pytest.approx(3 / 12), "broken")
    assert _one(found.summary, measure="bias", of="lvef_pct")["n"] == 12
    dice = _one(found.summary, measure="dice", of="rv", phase="ed")
    assert (dice["value"], dice["n"]) == (pytest.approx(9 / 12), 12)  # three of 0


def test_labels_of_an_earlier_version_of_a_study_take_no_part(cohort: Cohort) -> None:
    view = store.load_tree(cohort.study("0-2"))
    view.attrs["key"] = "another"
    store.publish(encode_tree(view), cohort.study("0-2"))
    found = _compare(cohort)
    assert _one(found.summary, measure="dice", of="lv")["n"] == 11
    assert found.unpredicted == {"old": 1, "new": 1}


def test_the_cohorts_own_phenotypes_and_its_ledger_stay_as_they_are(cohort: Cohort) -> None:
    cohort.tables.mkdir()
    (cohort.tables / "phenotypes.parquet").write_bytes(b"published")
    with open_ledger(cohort.ledger) as ledger:
        before = ledger.counts()
    _compare(cohort)
    with open_ledger(cohort.ledger) as ledger:
        assert ledger.counts() == before
    assert (cohort.tables / "phenotypes.parquet").read_bytes() == b"published"


def test_people_who_withdrew_are_not_compared_and_the_page_of_single_studies_goes(
    cohort: Cohort, tmp_path: Path
) -> None:
    (tmp_path / "withdrawn.csv").write_text("11\n")
    found = _compare(cohort, withdrawn=tmp_path / "withdrawn.csv")
    assert "11-2" not in set(pd.read_parquet(found.folder / "cases.parquet")["study"])
    assert "11-2" not in (found.folder / "studies/index.html").read_text()
    with open_ledger(cohort.ledger) as ledger:
        withdraw(cohort, ledger, ["10-2"])
    assert not (found.folder / "studies").exists()
    assert "10-2" not in set(pd.read_parquet(found.folder / "cases.parquet")["study"])


def test_the_pages_say_licences_limits_and_show_the_worst_first(cohort: Cohort) -> None:
    found = _compare(cohort, CompareSettings(worst=2))
    page = (found.folder / "index.html").read_text()
    assert "Apache-2.0" in page
    assert "CC-BY-NC-4.0, not for commercial use" in page
    assert "B does not take the place of A" in page
    assert not any(study in page for study in STUDIES)
    single = (found.folder / "studies/index.html").read_text()
    assert "must not leave this site" in single
    assert single.count("<h3>") == 2
    assert re.findall("<h3>(.*?)</h3>", single) == ["10-2", "11-2"]  # of men, who differ most and alike: by name
    assert single.count('<figure><img src="data:image/webp') == 2 * 2 * 3  # studies, phases, slices


def test_the_worst_study_has_the_lowest_mean_dice() -> None:
    rows = [
        ("a", "lv", 0.9),
        ("a", "rv", 0.5),
        ("b", "lv", 0.8),
        ("b", "rv", 0.8),
        ("c", "lv", 0.1),
        ("d", "lv", np.nan),
    ]
    cases = pd.DataFrame(rows, columns=["study", "of", "value"]).assign(measure="dice", view="sax", phase="all")
    assert worst_studies(cases, ["a", "b", "d"], 3) == ["a", "b"]
    assert worst_studies(cases, ["a", "b", "c"], 1) == ["c"]


def test_the_slices_that_are_shown_differ_most_and_come_in_order() -> None:
    first, second = np.zeros((4, 3, 3), np.uint8), np.zeros((4, 3, 3), np.uint8)
    second[3, 0, :3], second[1, 0, :2], second[2, 0, 0] = 1, 3, 3
    assert most_different(first, second, 2) == [1, 3]


def test_an_outline_lies_around_the_label_in_the_colour_of_its_model() -> None:
    labels = [np.zeros((20, 20), np.uint8), np.zeros((20, 20), np.uint8)]
    labels[0][5:10, 5:10], labels[1][5:15, 12:16] = 3, 1
    tile = np.asarray(outlined(np.zeros((20, 20)), labels, (1.0, 1.0), (0, 1))).astype(int)
    assert tile.shape == (220, 220, 3)  # eleven pixels for one
    blue, red = (np.argwhere((tile == colour).all(axis=2)) for colour in ((0, 114, 178), (213, 94, 0)))
    assert np.abs(blue.min(axis=0) - 55).max() <= 2
    assert np.abs(blue.max(axis=0) - 110).max() <= 2
    assert np.abs(red.min(axis=0) - (55, 132)).max() <= 2
    assert np.abs(red.max(axis=0) - (165, 176)).max() <= 2


@pytest.mark.parametrize(
    ("models", "said"),
    [
        (
            ("old", "nwe"),
            r"no predictions of 'nwe'.*did you mean 'new'.*type `cmr-cohort segment --cohort .*cohort --model nwe`",
        ),
        (("old", "some/where/old"), "are both 'old'"),
        (("ledger", "new"), "no predictions of 'ledger'"),
    ],
)
def test_models_without_predictions_are_a_mistake_that_says_what_to_type(
    cohort: Cohort, models: tuple[str, str], said: str
) -> None:
    with pytest.raises(UserMistake, match=said):
        _compare(cohort, first=models[0], second=models[1])


def test_two_models_with_no_study_in_common_are_a_mistake(cohort: Cohort) -> None:
    for study in STUDIES:
        cohort.prediction("old" if study in MEN else "new", study).unlink()
    with pytest.raises(UserMistake, match="no study, as it is now, was segmented by both"):
        _compare(cohort)


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"dice_min": {"lvv": 0.9}}, "there is no structure 'lvv'; did you mean 'lv'"),
        ({"dice_min": {"lv": 1.1}}, "lv must lie between 0 and 1, got 1.1"),
        ({"bias_max": {"lvef": 3}}, "no phenotype that depends on labels 'lvef'; did you mean 'lvef_pct'"),
        ({"bias_max": {"height_cm": 3}}, "no phenotype that depends on labels 'height_cm'"),
        ({"agreement_max": {"lvef_pct": -1}}, "lvef_pct must lie between 0 and inf"),
    ],
)
def test_limits_of_what_there_is_not_are_refused(limits: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        CompareSettings(**limits)


def _run(cohort: Cohort, *arguments: str, settings: str = "") -> tuple[int, str]:
    file = cohort.root.parent / "cohort.toml"
    file.write_text(f'directory = "cohort"\nparticipants = "people.csv"\n{settings}')
    done = CliRunner().invoke(main, ["compare", *arguments, "--config", str(file), "--resamples", "100"])
    return done.exit_code, done.output


def test_the_command_ends_with_a_status_of_its_own_where_a_limit_does_not_hold(cohort: Cohort) -> None:
    code, output = _run(cohort, "old", "new")
    assert (code, "B does not take the place of A: of" in output) == (4, True)
    code, output = _run(cohort, "old", "new", settings="[compare.bias_max]\nlvef_pct = 12\n")
    assert code == 0, output
    page = cohort.tables / "comparisons/old_vs_new/index.html"
    assert f"comparison: {page}" in output
    assert "Every limit holds" in page.read_text()


def test_the_command_groups_by_what_is_named_and_refuses_what_nobody_has(cohort: Cohort) -> None:
    _run(cohort, "old", "new", "--by", "sex")
    table = pd.read_parquet(cohort.tables / "comparisons/old_vs_new/summary.parquet")
    assert set(table["group_by"]) == {"", "sex"}
    code, output = _run(cohort, "old", "new", "--by", "sexx")
    assert code == 2
    assert "--by sexx: no column sexx; did you mean 'sex'?" in output


def test_the_command_says_what_to_type_for_studies_without_predictions(cohort: Cohort) -> None:
    cohort.prediction("new", "0-2").unlink()
    _, output = _run(cohort, "old", "new")
    assert "1 studies have no prediction of new: type `cmr-cohort segment --cohort" in output


def test_a_run_keeps_the_licence_and_the_speed_of_its_model_for_later_comparisons(cohort: Cohort) -> None:
    """The model ``new`` labelled 12 images in 0.1 s of each study; then ``old`` took its place in the ledger."""
    for model, wall_s in (("new", 0.1), ("old", 0.2)):
        with open_ledger(cohort.ledger) as ledger:
            line = {"images": 12, "wall": wall_s}
            ledger.record(Outcome(s, "segment", "ok", key="k", summary={"model": model, "line": line}) for s in STUDIES)
        _run(cohort, "old", "new", "--by", "sex")
    kept = [json.loads(path.read_text()) for path in sorted(cohort.runs.glob("*/model.json"))]
    assert {"model": "new", "weights": {"sax": "ab"}, "licences": {"sax": "CC-BY-NC-4.0"}, "images_per_s": 120.0} in [
        {**about, "images_per_s": round(about["images_per_s"], 6)} for about in kept
    ]
    page = (cohort.tables / "comparisons/old_vs_new/index.html").read_text()
    assert "60 images/s" in page
    assert "120 images/s" in page


# beside other publications


@pytest.mark.parametrize(
    ("counts", "rules", "found"),
    [
        (Counts(103, 9), GateRules(5), 9 / 103),
        (Counts(103, 9), GateRules(5, 5), 10 / 105),  # of the counts as they are shown
        (Counts(103, 3), GateRules(5, 5), np.nan),
        (Counts(103, 100), GateRules(5), np.nan),  # three are not lost
        (Counts(103, 103), GateRules(5), 1.0),
    ],
)
def test_a_share_of_studies_lost_tells_no_more_than_the_counts(counts: Counts, rules: GateRules, found: float) -> None:
    limits = CompareSettings(dice_min={}, bias_max={}, lost_max=0.02)
    (row,) = judge(pd.DataFrame(), counts, (None, None), limits, rules).to_dict("records")
    assert row["found"] == pytest.approx(found, nan_ok=True)
    assert row["verdict"] == "broken"


def test_a_comparison_of_all_but_one_of_an_earlier_one_is_rounded(cohort: Cohort) -> None:
    """Twelve were compared, six of each sex; the same two models once more, and a third with one study fewer."""
    assert _compare(cohort, minimum_cell=5).summary["n"].max() == 12
    assert _compare(cohort, minimum_cell=5).summary["n"].max() == 12
    for study in STUDIES:
        source, target = cohort.prediction("new", study), cohort.prediction("third", study)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
    cohort.prediction("third", STUDIES[0]).unlink()
    page = _compare(cohort, minimum_cell=5, second="third")
    overall = page.summary[(page.summary["group_by"] == "") & (page.summary["of"] == "lvef_pct")]
    assert overall["n"].tolist() == [10.0] * 3  # eleven
    assert "fewer than 5" in (page.folder / "index.html").read_text()
