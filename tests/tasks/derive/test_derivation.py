"""The derive stage on published studies: rows, curves, keys, and every study accounted for."""

import json
import math
import random

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from cmr_models.contracts import LA, LV, MYOCARDIUM, RA, RV, cine_study, cine_view, prediction
from cmr_models.contracts.identifiers import study_key
from cmr_models.contracts.labels import BEYOND_VALVE, NOTHING_FOUND, TRANSITION, WITHOUT_LV
from cmr_models.phenotypes import PHENOTYPES
from tasks.derive.derivation import derive_chunk
from tasks.derive.derive_stage import DERIVE, BodySize, derive_units, landmark_sources, read_body_sizes
from tasks.derive.phenotype_tables import curve_table, dictionary_csv, write_tables
from tasks.execution import shards
from tasks.execution.plan import units_to_do
from tasks.state.ledger import Entry, Outcome, open_ledger
from tasks.state.store import Cohort, publish
from tasks.state.zarr_encoding import encode_tree

MODEL = "default"
N_FRAMES = 12


def heart(es_px=200, ed_px=500):
    phase = np.arange(N_FRAMES) / N_FRAMES
    lv_px = np.round(ed_px - (ed_px - es_px) * np.sin(np.pi * phase) ** 2).astype(int)
    label = np.zeros((N_FRAMES, 8, 60, 60), np.uint8)
    flat = label.reshape(N_FRAMES, 8, -1)
    for frame, lv in enumerate(lv_px):
        flat[frame, :, :lv] = LV
        flat[frame, :, 1200:1600] = MYOCARDIUM
        flat[frame, :, 2400 : 2400 + lv] = RV
    return label


def four_chambers():
    label = np.zeros((N_FRAMES, 1, 60, 60), np.uint8)
    for code, row in zip((RV, MYOCARDIUM, LV, LA, RA), range(0, 60, 12), strict=True):
        label[:, 0, row : row + 8, 5:45] = code
    return label


def view_of(label):
    n_slices = label.shape[1]
    return cine_view(
        np.zeros(label.shape, np.uint16),
        time_ms=np.arange(N_FRAMES) * 80.0,
        pixel_mm=(2, 2),
        position_mm=np.arange(n_slices)[:, None] * [0, 0, 10.0],
        row_dir=(1, 0, 0),
        col_dir=(0, 1, 0),
        slice_mm=10.0 if n_slices > 1 else math.nan,
        thickness_mm=8,
        heart_rate_bpm=62.5,
    )


def put(cohort, study, labels, **study_attributes):
    """Publish a study with its prediction; returns the segment stage's entry."""
    views = {name: view_of(label) for name, label in labels.items()}
    key = f"prediction-of-{study}"
    publish(encode_tree(cine_study(views, key="s", **study_attributes)), cohort.study(study))
    publish(encode_tree(prediction(labels, key=key)), cohort.prediction(MODEL, study))
    return Entry("ok", "", key, key)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return Cohort(tmp_path_factory.mktemp("cohort"))


@pytest.fixture(scope="module")
def entries(cohort):
    return {
        "1000001-2": put(cohort, "1000001-2", {"sax": heart(), "lax_4c": four_chambers()}),
        "1000002-2": put(cohort, "1000002-2", {"sax": heart(es_px=490)}),
        "1000003-2": put(cohort, "1000003-2", {"lax_4c": four_chambers()}),
        "1000004-2": put(cohort, "1000004-2", {"sax": heart() * 0}),
        "1000005-2": put(cohort, "1000005-2", {"sax": heart(250)}, height_cm=170.0, weight_kg=70.0),
        "1000006-2": Entry("ok", "", "never-published", "never-published"),
        "1000007-2": Entry("quarantined", "zip_corrupt", "", "w"),
        "1000008-2": Entry("retired", "source_removed", "", "w"),
    }


def derived(cohort, entries, **kwargs):
    units = derive_units(entries, model=MODEL, **kwargs)
    return {o.study: o for o in derive_chunk(units, str(cohort.root), {})}


def test_each_study_ends_as_it_should(cohort, entries):
    ends = {study: (o.status, o.reason) for study, o in derived(cohort, entries).items()}
    assert ends == {
        "1000001-2": ("ok", ""),
        "1000002-2": ("quarantined", "ef_implausible"),
        "1000003-2": ("absent", "no_sax"),
        "1000004-2": ("quarantined", "lv_empty"),
        "1000005-2": ("ok", ""),
        "1000006-2": ("quarantined", "no_prediction"),
    }


def test_numbers_come_from_the_labels_and_the_geometry(cohort, entries):
    sizes = {"1000001-2": BodySize(180.0, 80.0)}
    numbers = derived(cohort, entries, body_sizes=sizes)["1000001-2"].summary["phenotypes"]
    assert numbers["lvedv_ml"] == pytest.approx(160.0)
    assert numbers["lvesv_ml"] == pytest.approx(64.0)
    assert numbers["lvco_l_min"] == pytest.approx(6.0)
    assert numbers["lvedv_ml_m2"] == pytest.approx(160.0 / (0.007184 * 80**0.425 * 180**0.725))
    assert numbers["la_area_max_cm2"] == pytest.approx(8 * 40 * 0.04)


def test_body_size_falls_back_on_the_scanners_record(cohort, entries):
    outcome = derived(cohort, entries)["1000005-2"]
    assert outcome.summary["phenotypes"]["bsa_m2"] == pytest.approx(1.81, abs=0.005)
    table_wins = derived(cohort, entries, body_sizes={"1000005-2": BodySize(190.0, 90.0)})["1000005-2"]
    assert table_wins.summary["phenotypes"]["height_cm"] == 190.0


def test_the_key_changes_with_the_prediction_and_the_body_size_and_with_nothing_else():
    def key(prediction_key="p", size=None):
        sizes = {} if size is None else {"1-2": size}
        return derive_units({"1-2": Entry("ok", "", prediction_key, "")}, model=MODEL, body_sizes=sizes)[0]["key"]

    assert key() == key()
    assert len({key(), key("q"), key(size=BodySize(170, 70)), key(size=BodySize(170, 71))}) == 4


def _put_landmarks(cohort, study, view, marked=True):
    """Landmarks in the first two frames: the axis is 40 px long, then 32; the hinges go 8 px. Pixels are 2 mm."""
    px = np.full((N_FRAMES, 3, 2), np.nan)
    if marked:
        px[0], px[1] = [[10, 10], [10, 30], [50, 20]], [[18, 10], [18, 30], [50, 20]]
    tree = xr.DataTree.from_dict({f"/{view}": xr.Dataset({"landmark_px": (("frame", "point", "axis"), px)})})
    tree.attrs.update(key="landmarks", task="landmark_heatmap")
    publish(encode_tree(tree), cohort.prediction(f"landmark_heatmap-{view}", study))


def test_predicted_landmarks_become_phenotypes_of_their_view(cohort, entries):
    study = "1000001-2"
    _put_landmarks(cohort, study, "lax_4c")
    unpredicted = derived(cohort, entries)[study]
    sources = {study: {"lax_4c": ("landmark_heatmap-lax_4c", "landmarks")}}
    outcome = derived(cohort, entries, landmarks=sources)[study]
    assert outcome.key != unpredicted.key
    assert unpredicted.summary["missing"]["lax_4c_mapse_mm"] == "landmarks_unpredicted"
    numbers = outcome.summary["phenotypes"]
    assert numbers["lax_4c_mapse_mm"] == pytest.approx(16.0)
    assert numbers["lax_4c_axis_shortening_pct"] == pytest.approx(20.0)
    assert outcome.summary["missing"]["lax_2c_mapse_mm"] == "landmarks_unpredicted"
    assert numbers["lvedv_ml"] == unpredicted.summary["phenotypes"]["lvedv_ml"]
    _put_landmarks(cohort, study, "lax_4c", marked=False)
    blank = derived(cohort, entries, landmarks=sources)[study]
    assert blank.summary["missing"]["lax_4c_axis_shortening_pct"] == "landmarks_missing"
    stale = {study: {"lax_4c": ("landmark_heatmap-lax_4c", "newer")}}
    assert derived(cohort, entries, landmarks=stale)[study].reason == "no_prediction"


def _put_certain(cohort, study, dice):
    """A study whose network says the same overlaps of RV, myocardium, LV in each frame, and how to read them."""
    label = heart()
    lines = {"dice_rv": [0, 1], "dice_myocardium": [0, 1], "dice_lv": [0, 1]}
    lines |= {"lvef_low": [-1, -20], "lvef_high": [2, 30], "rvef_low": [-3, 0], "rvef_high": [3, 0]}
    publish(encode_tree(cine_study({"sax": view_of(label)}, key="s")), cohort.study(study))
    said = {"sax": {"predicted_dice": np.tile(np.array(dice, float), (len(label), 1))}}
    tree = prediction({"sax": label}, None, said, key=study, certainty={"sax": lines})
    publish(encode_tree(tree), cohort.prediction(MODEL, study))
    return {study: Entry("ok", "", study, study)}


def test_what_the_network_does_not_know_stands_beside_what_it_found(cohort):
    """LV EF is 60 %, and an overlap of 0.9 lacks 0.1: from 60 - 1 - 2 to 60 + 2 + 3."""
    outcome = derived(cohort, _put_certain(cohort, "1000010-2", [0.7, 0.8, 0.9]))["1000010-2"]
    numbers = outcome.summary["phenotypes"]
    assert numbers["lvef_pct"] == pytest.approx(60.0)
    assert [numbers[f"{name}_dice_predicted"] for name in ("rv", "myocardium", "lv")] == pytest.approx([0.7, 0.8, 0.9])
    assert (numbers["lvef_low_pct"], numbers["lvef_high_pct"]) == pytest.approx((57.0, 65.0))
    assert (numbers["rvef_low_pct"], numbers["rvef_high_pct"]) == pytest.approx(
        (numbers["rvef_pct"] - 3, numbers["rvef_pct"] + 3)
    )


def test_a_study_whose_left_ventricle_the_network_doubts_is_doubted(cohort):
    sure = derived(cohort, _put_certain(cohort, "1000012-2", [0.7, 0.8, 0.86]))["1000012-2"]
    unsure = derived(cohort, _put_certain(cohort, "1000013-2", [0.9, 0.9, 0.84]))["1000013-2"]
    assert set(unsure.summary["quality_reasons"]) - set(sure.summary["quality_reasons"]) == {"lv_overlap_low"}
    assert unsure.status == "ok"


def test_a_structure_that_was_not_found_has_no_predicted_overlap(cohort, entries):
    outcome = derived(cohort, _put_certain(cohort, "1000011-2", [np.nan, 0.8, 0.9]))["1000011-2"]
    assert outcome.summary["missing"]["rv_dice_predicted"] == "structure_not_in_frame"
    assert outcome.summary["missing"]["rvef_low_pct"] == "structure_not_in_frame"
    silent = derived(cohort, entries)["1000001-2"]
    assert silent.summary["missing"]["lvef_low_pct"] == "certainty_unpredicted"


def test_of_several_landmark_predictions_the_heatmaps_are_taken(tmp_path):
    with open_ledger(tmp_path / "ledger.sqlite") as ledger:
        for name, summary in (
            ("landmark_coordinate-a", {"values": {"lax_2c_mapse_mm": 9.0}}),
            ("landmark_heatmap-z", {"values": {}, "missing": {"lax_2c_mapse_mm": "single_frame"}}),
            ("landmark_coordinate-b", {"values": {"lax_4c_mapse_mm": 9.0}}),
            ("age-c", {"values": {"lax_4c_mapse_mm": 9.0}}),  # no model of landmarks
        ):
            ledger.record([Outcome("p-2", f"predict {name}", "ok", key=f"k-{name}", summary=summary)])
        ledger.record([Outcome("q-2", "predict landmark_heatmap-z", "quarantined", "image_flat")])
        assert landmark_sources(ledger) == {
            "p-2": {
                "lax_2c": ("landmark_heatmap-z", "k-landmark_heatmap-z"),
                "lax_4c": ("landmark_coordinate-b", "k-landmark_coordinate-b"),
            }
        }


def test_a_prediction_of_an_older_run_is_not_measured(cohort, entries):
    stale = {"1000001-2": entries["1000001-2"]._replace(key="newer")}
    outcome = derived(cohort, stale)["1000001-2"]
    assert (outcome.status, outcome.reason) == ("quarantined", "no_prediction")


def test_a_torn_file_is_a_reason_and_takes_nobody_with_it(cohort, entries, tmp_path):
    own = Cohort(tmp_path)
    torn = put(own, "1-2", {"sax": heart()})
    whole = put(own, "2-2", {"sax": heart()})
    path = own.prediction(MODEL, "1-2")
    path.write_bytes(path.read_bytes()[:1000])
    outcomes = derived(own, {"1-2": torn, "2-2": whole})
    assert outcomes["1-2"].reason == "file_unreadable"
    assert outcomes["2-2"].status == "ok"


def ledger_with(path, outcomes):
    with open_ledger(path) as ledger:
        upstream = Outcome("1000007-2", "convert", "quarantined", "zip_corrupt", "cut short")
        ledger.record([upstream, Outcome("1000007-2", "segment", "quarantined", "upstream", "zip_corrupt")])
        ledger.record([Outcome("1000007-2", DERIVE.name, "quarantined", "upstream", "upstream")])
        ledger.record([Outcome("1000008-2", DERIVE.name, "retired", "source_removed")])
        ledger.record(outcomes)
    return path


@pytest.fixture(scope="module")
def table(cohort, entries):
    path = ledger_with(cohort.ledger, derived(cohort, entries).values())
    with open_ledger(path) as ledger:
        write_tables(ledger, cohort)
    return pd.read_parquet(cohort.tables / "phenotypes.parquet").set_index("study")


def test_the_table_has_a_row_for_every_study_that_came_in(table):
    assert list(table.index) == [f"100000{i}-2" for i in range(1, 8)]
    assert table.loc["1000001-2", "participant"] == "1000001"
    assert table.loc["1000001-2", "visit"] == "2"


def test_a_study_lost_early_says_where_and_why(table):
    row = table.loc["1000007-2"]
    assert (row["status"], row["stage"], row["reason"]) == ("quarantined", "convert", "zip_corrupt")
    assert json.loads(row["missing_reasons"]) == {"*": "zip_corrupt"}


def test_a_missing_number_is_nan_with_a_reason_and_never_zero(table):
    names = [row.name for row in PHENOTYPES]
    for _, row in table.iterrows():
        reasons = json.loads(row["missing_reasons"])
        for name in names:
            assert pd.isna(row[name]) == ("*" in reasons or name in reasons)
    assert not (table[names] == 0).drop(columns=["ed_frame"]).any().any()


def test_verdicts_are_three_valued(table):
    assert table["qc_ef"].tolist()[:2] == [True, False]
    assert table.loc["1000003-2", "qc_ef"] is pd.NA
    assert table.loc["1000001-2", "qc_ok"]
    assert table.loc["1000002-2", "qc_reasons"].split(";")[0] == "ef_implausible"


def test_curves_have_one_row_a_frame_of_every_measured_study(cohort, table):
    curves = pd.read_parquet(cohort.tables / "curves.parquet")
    assert list(curves) == ["study", "frame", "time_ms", "lv_ml", "myocardium_ml", "rv_ml"]
    assert curves.groupby("study").size().to_dict() == dict.fromkeys(["1000001-2", "1000002-2", "1000005-2"], N_FRAMES)
    first = curves[curves["study"] == "1000001-2"]
    assert first["lv_ml"].max() == pytest.approx(table.loc["1000001-2", "lvedv_ml"])


def test_the_dictionary_describes_every_column_in_order(cohort, table):
    described = pd.read_csv(cohort.tables / "phenotypes_dictionary.csv")
    assert described["name"].tolist() == ["study", *table.columns]
    assert described["definition"].notna().all()
    fields = described.set_index("name")["ukb_field"]
    assert (fields["lvef_pct"], fields["rvef_pct"], fields["lvco_l_min_m2"]) == (24103, 24109, 22425)


def test_the_dictionary_is_the_same_every_time():
    assert dictionary_csv() == dictionary_csv()


def test_neither_order_nor_chunks_change_a_byte_of_the_tables(cohort, entries, table, tmp_path):
    units = derive_units(entries, model=MODEL)
    random.Random(3).shuffle(units)
    chunks = shards.run(derive_chunk, units, cohort.root, {}, stage=DERIVE.name, studies_per_chunk=1)
    path = ledger_with(tmp_path / "ledger.sqlite", [o for chunk in chunks for o in chunk])
    with open_ledger(path) as ledger:
        write_tables(ledger, Cohort(tmp_path))
    for name in ("phenotypes.parquet", "curves.parquet", "phenotypes_dictionary.csv"):
        assert (tmp_path / "tables" / name).read_bytes() == (cohort.tables / name).read_bytes()


def test_an_empty_cohort_has_tables_with_columns_and_no_rows(tmp_path):
    with open_ledger(tmp_path / "ledger.sqlite") as ledger:
        assert write_tables(ledger, Cohort(tmp_path)) == 0
    assert "lvef_pct" in pd.read_parquet(tmp_path / "tables" / "phenotypes.parquet")
    assert len(pd.read_parquet(tmp_path / "tables" / "curves.parquet")) == 0


def test_body_sizes_are_read_under_the_users_own_column_names(tmp_path):
    path = tmp_path / "participants.csv"
    path.write_text("eid,instance,p50,p21002\n1000001,2,180,80\n1000002,2,,oops\n")
    columns = {"participant": "eid", "visit": "instance", "height_cm": "p50", "weight_kg": "p21002"}
    sizes = read_body_sizes(path, columns)
    assert sizes["1000001-2"] == (180.0, 80.0)
    assert all(map(math.isnan, sizes["1000002-2"]))


def test_leading_zeros_of_a_participant_survive_and_decimals_are_no_part_of_a_visit(tmp_path):
    path = tmp_path / "participants.csv"
    path.write_text("participant,visit,height_cm,weight_kg\n0012,2.0,180,80\n")
    assert read_body_sizes(path) == {"0012-2": (180.0, 80.0)}
    table = pd.DataFrame({"participant": ["0012"], "visit": [2.0], "height_cm": [180.0], "weight_kg": [80.0]})
    table.to_parquet(tmp_path / "participants.parquet")
    assert read_body_sizes(tmp_path / "participants.parquet") == {"0012-2": (180.0, 80.0)}


def test_a_visit_that_stands_twice_is_refused(tmp_path):
    path = tmp_path / "participants.csv"
    path.write_text("participant,visit,height_cm,weight_kg\n1,2,180,80\n1,2,181,80\n")
    with pytest.raises(ValueError, match="1 visits more than once"):
        read_body_sizes(path)


def test_a_table_without_participants_is_refused(tmp_path):
    path = tmp_path / "participants.csv"
    path.write_text("id,height_cm\n1,180\n")
    with pytest.raises(ValueError, match="map its columns"):
        read_body_sizes(path)


def test_a_curve_without_times_stands_beside_one_with() -> None:
    known = {"time_ms": [0.0, 40.0], "lv_ml": [100.0, 50.0], "myocardium_ml": [90.0, 91.0], "rv_ml": [110.0, 60.0]}
    unknown = known | {"time_ms": [None, None]}
    outcomes = [
        Outcome(study, "derive", "ok", summary={"curves": curves})
        for study, curves in (("1-2", known), ("2-2", unknown))
    ]
    table = curve_table(outcomes)
    assert table["time_ms"].isna().tolist() == [False, False, True, True]


def test_another_model_asks_for_other_phenotypes_and_a_lacking_prediction_is_looked_for_again(entries):
    study = "1000001-2"
    (one,), (other,) = (derive_units({study: entries[study]}, model=name) for name in (MODEL, "other"))
    assert one["key"] != other["key"]
    failed = {study: Entry("quarantined", "no_prediction", "", one["key"])}
    assert units_to_do([one], failed) == [one]
    assert units_to_do([one], {study: Entry("ok", "", one["key"], one["key"])}) == []


# images that say nothing, oblong pixels, and what of it all reaches the summary


def put_oblong(cohort, study, labels, judged=None, row_mm=1.5):
    """Publish views of pixels of ``row_mm`` down and 1.0 mm along, with what could be judged of their images."""
    views = {name: view_of(label).assign(pixel_mm=("axis", [row_mm, 1.0])) for name, label in labels.items()}
    publish(encode_tree(cine_study(views, key="s")), cohort.study(study))
    publish(encode_tree(prediction(labels, judged, key="p")), cohort.prediction(MODEL, study))
    return {study: Entry("ok", "", "p", "p")}


def test_a_frame_with_an_image_that_could_not_be_judged_has_no_volume_and_is_not_chosen(tmp_path):
    cohort = Cohort(tmp_path)
    label = heart()
    judged = {"sax": np.ones((N_FRAMES, 8), bool), "lax_4c": np.ones((N_FRAMES, 1), bool)}
    judged["sax"][6, 3] = False  # end-systole lacks one slice
    judged["lax_4c"][0, 0] = False
    atria = four_chambers()
    atria[0, 0] = 0  # what stands where nothing could be judged means nothing
    entries = put_oblong(cohort, "1-2", {"sax": label, "lax_4c": atria}, judged)
    summary = derived(cohort, entries)["1-2"].summary
    assert summary["curves"]["lv_ml"][6] is None
    # 500 px of 1.5 mm² in 8 planes 10 mm apart are 60 mL; frames 5 and 7 have 500 - 300 sin² 75° = 220: 26.4 mL
    assert summary["curves"]["lv_ml"][0] == pytest.approx(60)
    assert summary["phenotypes"]["es_frame"] in (5, 7)
    assert summary["phenotypes"]["lvesv_ml"] == pytest.approx(26.4)
    assert summary["phenotypes"]["la_area_min_cm2"] == pytest.approx(8 * 40 * 0.015)


def test_landmarks_are_in_millimetres_by_row_and_by_column(tmp_path):
    cohort, study = Cohort(tmp_path), "1-2"
    entries = put_oblong(cohort, study, {"sax": heart(), "lax_4c": four_chambers()})
    px = np.full((N_FRAMES, 3, 2), np.nan)
    # middle of the hinges at (0, 0) and the apex at (40, 80): 60 mm down and 80 along, an axis of 100 mm
    px[0], px[3] = [[-5, 9], [5, -9], [40, 80]], [[3, 25], [13, 7], [40, 80]]  # hinges go 12 mm down and 16 along
    tree = xr.DataTree.from_dict({"/lax_4c": xr.Dataset({"landmark_px": (("frame", "point", "axis"), px)})})
    tree.attrs.update(key="landmarks", task="landmark_heatmap")
    publish(encode_tree(tree), cohort.prediction("landmark_heatmap-lax_4c", study))
    sources = {study: {"lax_4c": ("landmark_heatmap-lax_4c", "landmarks")}}
    numbers = derived(cohort, entries, landmarks=sources)[study].summary["phenotypes"]
    assert numbers["lax_4c_mapse_mm"] == pytest.approx(20)
    assert numbers["lax_4c_axis_shortening_pct"] == pytest.approx(20)


def test_height_and_weight_each_come_from_the_table_and_else_from_the_scanner(tmp_path):
    cohort = Cohort(tmp_path)
    entries = {"1-2": put(cohort, "1-2", {"sax": heart()}, height_cm=170.0, weight_kg=70.0)}
    found = derived(cohort, entries, body_sizes={"1-2": BodySize(weight_kg=90.0)})["1-2"].summary["phenotypes"]
    assert (found["height_cm"], found["weight_kg"]) == (170, 90)


def test_curves_are_rounded_to_four_decimals_and_phenotypes_are_not(tmp_path):
    entries = put_oblong(Cohort(tmp_path), "1-2", {"sax": heart()}, row_mm=4 / 3)
    summary = derived(Cohort(tmp_path), entries)["1-2"].summary
    assert summary["curves"]["lv_ml"][0] == 53.3333  # 500 px of 1.3333 mm² in 8 planes 10 mm apart
    assert summary["phenotypes"]["lvedv_ml"] == pytest.approx(160 / 3, abs=1e-9)


def test_curves_in_the_summary_have_four_decimals_and_the_rest_is_told_by_name(cohort, entries):
    outcome = derived(cohort, entries)["1000001-2"]
    assert (outcome.stage, outcome.detail) == ("derive", "")
    curves = outcome.summary["curves"]
    # sin² 30° is a quarter: 425 px of 4 mm² in 8 planes; sin² 15° is 0.067: 480 px
    assert (curves["lv_ml"][2], curves["lv_ml"][1], curves["time_ms"][3]) == (136, 153.6, 240)
    assert all(value == round(value, 4) for name in curves for value in curves[name])
    assert outcome.summary["missing"]["bsa_m2"] == "body_size_unknown"
    assert set(outcome.summary["missing"]).isdisjoint(outcome.summary["phenotypes"])
    assert outcome.summary["quality"]["qc_ef"] is True
    quarantined = derived(cohort, entries)["1000002-2"]
    assert quarantined.detail == "lvef_pct 2"
    assert "ef_implausible" in quarantined.summary["quality_reasons"]
    assert quarantined.summary["phenotypes"] == {}


def test_only_studies_with_a_prediction_are_measured_in_the_order_of_their_ids():
    statuses = {"b-2": "ok", "c-2": "absent", "a-2": "ok", "d-2": "quarantined"}
    units = derive_units(
        {study: Entry(status, "", f"k-{study}", "") for study, status in statuses.items()}, model=MODEL
    )
    assert [(unit["study"], unit["prediction_key"]) for unit in units] == [("a-2", "k-a-2"), ("b-2", "k-b-2")]
    assert all(math.isnan(unit["height_cm"]) and math.isnan(unit["weight_kg"]) for unit in units)


def test_new_landmarks_change_the_key_and_a_size_is_found_by_the_key_of_its_study():
    def key(**given):
        return derive_units({"0012-2": Entry("ok", "", "p", "")}, model=MODEL, **given)[0]["key"]

    sources = [{"0012-2": {"lax_4c": ("a", k)}} for k in ("1", "2")] + [{"0012-2": {"lax_2c": ("a", "1")}}]
    keys = {key(), *(key(landmarks=one) for one in sources)}
    assert len(keys) == 4
    assert key(landmarks={"0013-2": {"lax_4c": ("a", "1")}}) == key()
    (unit,) = derive_units(
        {"0012-2": Entry("ok", "", "p", "")}, model=MODEL, body_sizes={study_key("0012-2"): BodySize(181.0, 82.0)}
    )
    assert (unit["height_cm"], unit["weight_kg"]) == (181, 82)


def test_of_heatmaps_the_first_by_name_is_taken_and_only_views_that_were_measured(tmp_path):
    with open_ledger(tmp_path / "ledger.sqlite") as ledger:
        for name, values in (
            ("landmark_heatmap-b", {"lax_2c_mapse_mm": 9.0, "lax_4c_mapse_mm": 8.0}),
            ("landmark_heatmap-a", {"lax_4c_mapse_mm": 7.0}),
            ("classification_cvd-a", {"lax_2c_mapse_mm": 9.0}),
        ):
            ledger.record([Outcome("p-2", f"predict {name}", "ok", key=f"k-{name}", summary={"values": values})])
        assert landmark_sources(ledger) == {
            "p-2": {
                "lax_4c": ("landmark_heatmap-a", "k-landmark_heatmap-a"),
                "lax_2c": ("landmark_heatmap-b", "k-landmark_heatmap-b"),
            }
        }


def _put_answered(cohort, study):
    """A heart of eight slices, the first left out at end-diastole, and half of the second one under the valve."""
    label = heart()
    label[0, 0] = 0
    publish(encode_tree(cine_study({"sax": view_of(label)}, key="s")), cohort.study(study))
    answer, share = np.zeros((N_FRAMES, 8, 2), np.uint8), np.ones((N_FRAMES, 8, 2))
    answer[0, 0], answer[0, 1], answer[6, 7] = [WITHOUT_LV, BEYOND_VALVE], TRANSITION, NOTHING_FOUND
    share[0, 0], share[0, 1] = 0.0, 0.5
    said = {"sax": {"slice_answer": answer, "slice_share": share}}
    publish(encode_tree(prediction({"sax": label}, None, said, key=study)), cohort.prediction(MODEL, study))
    return {study: Entry("ok", "", study, study)}


def test_slices_that_do_not_count_are_told_with_their_reasons(cohort, entries):
    outcome = derived(cohort, _put_answered(cohort, "1000020-2"))["1000020-2"]
    assert outcome.summary["slices_left_out"] == [
        {"ventricle": "rv", "phase": "ed", "slice": 0, "reason": "slice_without_lv"},
        {"ventricle": "lv", "phase": "ed", "slice": 0, "reason": "slice_beyond_valve"},
    ]
    assert derived(cohort, entries)["1000001-2"].summary["slices_left_out"] is None


def test_the_last_slice_counts_by_its_part_where_the_settings_say_so(cohort):
    """End-diastole: seven slices of 500 px of 40 mm^3 count whole, or six and a half."""
    entries = _put_answered(cohort, "1000021-2")
    whole = derive_units(entries, model=MODEL, basal_slices="whole")
    parts = derive_units(entries, model=MODEL, basal_slices="parts")
    assert whole[0]["key"] != parts[0]["key"]
    assert parts[0]["key"] == derive_units(entries, model=MODEL)[0]["key"]
    found = [
        derive_chunk(units, str(cohort.root), {"basal_slices": way})[0].summary["curves"]["lv_ml"][0]
        for units, way in ((whole, "whole"), (parts, "parts"))
    ]
    assert found == pytest.approx([7 * 500 * 0.04, 6.5 * 500 * 0.04])
