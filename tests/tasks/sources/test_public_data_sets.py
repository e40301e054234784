"""Public data sets in the layout they unpack to become studies with labels, facts, and reasons for what is missing."""

import gzip
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from dicom_factory import files as dicom_files
from dicom_factory import lax, sax
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cmr_models.contracts import EDEMA, LV, MYOCARDIUM, NO_REFLOW, RV, SCAR, with_reference
from cmr_models.evaluation.reference_codes import CODES, translate_codes
from flows import planning
from flows.settings import CohortSettings
from tasks.convert import reference_table
from tasks.convert.conversion import convert_shard
from tasks.convert.convert_stage import CONVERT, planned_units
from tasks.inference.study_images import read_views
from tasks.sources import inventory
from tasks.sources.public_facts import facts_of
from tasks.sources.public_layouts import case_of
from tasks.state import store
from tasks.state.ledger import Outcome, open_ledger
from tasks.training.cinema_samples import StudySamples, read_table
from tasks.training.cinema_settings import FinetuningSettings

_AFFINE = np.diag([-1.5, -1.5, 10.0, 1.0])
_SHAPE = (8, 7, 4)
_RNG = np.random.default_rng(3)
_CINE = _RNG.integers(0, 900, (*_SHAPE, 6), dtype=np.int16)


def _put(path: Path, values: np.ndarray, affine: np.ndarray = _AFFINE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(nib.Nifti1Image(values, affine).to_bytes(), 1))


def _label(codes: tuple[int, ...], shape: tuple[int, ...] = _SHAPE, kind: Any = np.int16) -> np.ndarray:
    """A label map in which code k fills column k + 1 of every slice."""
    label = np.zeros(shape, kind)
    for k, code in enumerate(codes):
        label[k + 1, 2:5] = code
    return label


def _convert(source: Path, cohort: Path) -> dict[str, Outcome]:
    units = planned_units(inventory([source]).units, {})
    outcomes = convert_shard(units, str(cohort), {})
    with open_ledger(store.Cohort(cohort).ledger) as ledger:
        ledger.record(outcomes)
        reference_table.write_reference_table(ledger, store.Cohort(cohort))
    return {outcome.study: outcome for outcome in outcomes}


def _view(cohort: Path, study: str, view: str = "sax") -> Any:
    return store.load_tree(store.Cohort(cohort).study(study))[view]


def _reasons(outcome: Outcome) -> list[str]:
    return [fault["reason"] for fault in outcome.summary["reference_faults"]]


def _acdc(folder: Path, patient: str = "patient001", es: int = 4) -> Path:
    home = folder / "training" / patient
    _put(home / f"{patient}_4d.nii.gz", _CINE)
    for frame in (1, es):
        _put(home / f"{patient}_frame{frame:02d}.nii.gz", _CINE[..., frame - 1])
        _put(home / f"{patient}_frame{frame:02d}_gt.nii.gz", _label((1, 2, 3)))
    (home / "Info.cfg").write_text(f"ED: 1\nES: {es}\nGroup: DCM\nHeight: 184.0\nNbFrame: 6\nWeight: 95.0\n")
    return home


def test_acdc_has_labels_in_the_frames_that_were_drawn_and_its_facts(tmp_path: Path) -> None:
    _acdc(tmp_path)
    outcome = _convert(tmp_path, tmp_path / "cohort")["patient001-1"]
    assert (outcome.status, outcome.summary["flags"], _reasons(outcome)) == ("ok", [], [])
    view = _view(tmp_path / "cohort", "patient001-1")
    assert view["labelled"].values.tolist() == [True, False, False, True, False, False]
    drawn = view["labels"].values[3, 0]
    assert [drawn[3, k] for k in (1, 2, 3)] == [RV, MYOCARDIUM, LV]
    assert view["intensity"].shape == view["labels"].shape
    facts = outcome.summary["facts"]
    assert facts == {
        "data_set": "acdc", "split": "train", "diagnosis": "DCM", "height_cm": 184.0, "weight_kg": 95.0,
        "ed_frame": 0, "es_frame": 3,
    }  # fmt: skip
    row = pd.read_parquet(tmp_path / "cohort" / "tables" / "references.parquet").iloc[0]
    assert (row["study"], row["labelled_views"], row["es_frame"]) == ("patient001-1", "sax", 3)
    assert row["vendor"] is None
    assert np.isnan(row["lvef_pct"])


def test_labels_of_a_stack_that_is_turned_round_go_with_their_slices(tmp_path: Path) -> None:
    turned = _AFFINE.copy()
    turned[:3, 2] *= -1
    for name, affine in (("a", _AFFINE), ("b", turned)):
        _put(tmp_path / name / "sax_ed.nii.gz", _CINE[..., 0], affine)
        label = _label((1, 2, 3))
        label[:, :, 0] = 0  # the first stored plane is empty
        _put(tmp_path / name / "sax_ed_gt.nii.gz", label, affine)
    outcomes = _convert(tmp_path, tmp_path / "cohort")
    firsts = []
    for study in outcomes:
        view = _view(tmp_path / "cohort", study)
        empty = [k for k in range(4) if not view["labels"].values[0, k].any()]
        assert len(empty) == 1
        plane = view["intensity"].values[0, empty[0]]
        np.testing.assert_array_equal(plane, _CINE[:, :, 0, 0].T)
        firsts.append(empty[0])
    assert sorted(firsts) == [0, 3]


def test_mnms_numbers_the_ventricles_the_other_way_and_tells_vendor_and_sex(tmp_path: Path) -> None:
    label = np.zeros((*_SHAPE, 6), np.int16)
    label[..., 2], label[..., 5] = _label((1, 2, 3)), _label((1, 2, 3))
    for case, drawn in (("A0S9V9", label), ("A1B2C3", np.zeros_like(label)), ("B9X9Y9", label)):
        folder = tmp_path / "Training" / ("Unlabeled" if case == "A1B2C3" else "Labeled") / case
        _put(folder / f"{case}_sa.nii.gz", _CINE)
        _put(folder / f"{case}_sa_gt.nii.gz", drawn)
    (tmp_path / "211230_M&Ms_Dataset_information_diagnosis_opendataset.csv").write_text(
        ",External code,VendorName,Vendor,Centre,ED,ES,Age,Pathology,Sex,Height,Weight\n"
        "0,A0S9V9,Siemens,A,1,2,5,35,HCM,F,165,\n1,A1B2C3,Philips,B,2,0,3,61,NOR,M,180,80\n"
    )
    outcomes = _convert(tmp_path, tmp_path / "cohort")
    drawn = _view(tmp_path / "cohort", "A0S9V9-1")["labels"].values
    assert [drawn[2, 0, 3, k] for k in (1, 2, 3)] == [LV, MYOCARDIUM, RV]
    facts = outcomes["A0S9V9-1"].summary["facts"]
    assert (facts["sex"], facts["vendor"], facts["centre"], facts["ed_frame"], facts["es_frame"]) == (
        "female", "Siemens", "1", 2, 5,
    )  # fmt: skip
    assert "weight_kg" not in facts
    assert _reasons(outcomes["A1B2C3-1"]) == ["label_missing"]
    assert outcomes["A1B2C3-1"].summary["facts"]["split"] == "unlabelled"
    assert outcomes["B9X9Y9-1"].summary["flags"] == ["facts_missing"]
    assert outcomes["B9X9Y9-1"].summary["views"]["sax"]["labelled_frames"] == [2, 5]


def test_mnms2_finds_its_labelled_frames_in_the_cine_and_keeps_both_views(tmp_path: Path) -> None:
    flat = _CINE[:, :, :1]
    home = tmp_path / "MnM2" / "dataset" / "007"
    for short, cine in (("SA", _CINE), ("LA", flat)):
        _put(home / f"007_{short}_CINE.nii.gz", cine)
        for phase, frame in (("ED", 1), ("ES", 3)):
            _put(home / f"007_{short}_{phase}.nii.gz", cine[..., frame])
            _put(home / f"007_{short}_{phase}_gt.nii.gz", _label((1, 2, 3), cine.shape[:3]))
    (tmp_path / "MnM2" / "dataset_information.csv").write_text(
        "SUBJECT_CODE,DISEASE,VENDOR,SCANNER,FIELD\n7,FALL,SIEMENS,Avanto,1.5\n"
    )
    outcome = _convert(tmp_path, tmp_path / "cohort")["007-1"]
    facts = outcome.summary["facts"]
    assert (facts["ed_frame"], facts["es_frame"], facts["diagnosis"], facts["split"]) == (1, 3, "FALL", "train")
    for view in ("sax", "lax_4c"):
        assert _view(tmp_path / "cohort", "007-1", view)["labelled"].values.tolist() == [0, 1, 0, 1, 0, 0]


def test_single_frames_are_end_diastole_and_end_systole_as_they_are_called(tmp_path: Path) -> None:
    for phase, frame in (("ed", 0), ("es", 3)):
        _put(tmp_path / "p1" / f"sax_{phase}.nii.gz", _CINE[..., frame])
    home = _acdc(tmp_path / "acdc")
    for file in [home / "patient001_4d.nii.gz", *home.glob("*_gt.nii.gz")]:
        file.unlink()
    outcomes = _convert(tmp_path, tmp_path / "cohort")
    for study in ("p1-1", "patient001-1"):
        facts = outcomes[study].summary["facts"]
        assert (facts["ed_frame"], facts["es_frame"]) == (0, 1)


def test_a_single_frame_that_is_none_of_the_cine_gives_no_label(tmp_path: Path) -> None:
    home = tmp_path / "012"
    _put(home / "012_SA_CINE.nii.gz", _CINE)
    _put(home / "012_SA_ED.nii.gz", _RNG.integers(0, 900, _SHAPE, dtype=np.int16))
    _put(home / "012_SA_ED_gt.nii.gz", _label((1, 2, 3)))
    outcome = _convert(tmp_path, tmp_path / "cohort")["012-1"]
    assert _reasons(outcome) == ["label_frame_unmatched"]
    assert "labels" not in _view(tmp_path / "cohort", "012-1")


def test_emidec_has_scar_and_no_reflow_on_its_own_view(tmp_path: Path) -> None:
    for folder, values in (("Images", _CINE[..., 0]), ("Contours", _label((1, 2, 3, 4)))):
        _put(tmp_path / "Case_P012" / folder / "Case_P012.nii.gz", values)
    text = "Case P012\n\nGap between slices†: 10 mm\nSex†: F\nAge : 70\nTobacco : 3\nFEVG : 45\n"
    (tmp_path / "Case P012.txt").write_bytes(text.encode("latin-1", "replace"))
    outcome = _convert(tmp_path, tmp_path / "cohort")["Case_P012-1"]
    assert list(outcome.summary["views"]) == ["lge"]
    drawn = _view(tmp_path / "cohort", "Case_P012-1", "lge")["labels"].values[0, 0]
    assert [drawn[3, k] for k in (1, 2, 3, 4)] == [LV, MYOCARDIUM, SCAR, NO_REFLOW]
    facts = outcome.summary["facts"]
    assert (facts["diagnosis"], facts["sex"], facts["age_years"], facts["lvef_echo_pct"]) == ("P", "female", 70, 45)
    assert "lvef_pct" not in facts


def test_myops_joins_its_three_sequences_and_the_labels_of_another_folder(tmp_path: Path) -> None:
    for what in ("C0", "DE", "T2"):
        _put(tmp_path / "train25" / f"myops_training_101_{what}.nii.gz", _CINE[..., 0])
    _put(tmp_path / "train25_myops_gd" / "myops_training_101_gd.nii.gz", _label((500, 200, 600, 1220, 2221)))
    outcome = _convert(tmp_path, tmp_path / "cohort")["myops_training_101-1"]
    assert sorted(outcome.summary["views"]) == ["lge", "sax", "t2"]
    for view in ("sax", "lge", "t2"):
        drawn = _view(tmp_path / "cohort", "myops_training_101-1", view)["labels"].values[0, 0]
        assert [drawn[3, k] for k in range(1, 6)] == [LV, MYOCARDIUM, RV, EDEMA, SCAR]


def test_rescan_tells_scan_from_rescan_and_pickles_are_refused(tmp_path: Path) -> None:
    label = np.stack([_label((1, 2, 3))] * 6, axis=-1)
    for scan in ("A", "B"):
        home = tmp_path / "processed" / "test" / f"scan_00_{scan}"
        _put(home / "sax_t.nii.gz", _CINE)
        _put(home / "sax_gt_t.nii.gz", label)
    raw = tmp_path / "pickle" / "train" / "s_0001"
    raw.mkdir(parents=True)
    (raw / "SAX.pickle").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    meta = "pid,ed_index,es_index,edv,esv,ef\nscan_00_A,0,2,150,60,60\nscan_00_B,1,3,148,62,58.1\n"
    (tmp_path / "processed" / "test_metadata.csv").write_text(meta)
    (tmp_path / "processed" / "test_retest_100_metadata.csv").write_text(meta.replace("150", "99"))
    outcomes = _convert(tmp_path, tmp_path / "cohort")
    assert {study: outcome.reason for study, outcome in outcomes.items()} == {
        "scan_00-A": "", "scan_00-B": "", "s_0001-1": "pickle_refused",
    }  # fmt: skip
    facts = outcomes["scan_00-B"].summary["facts"]
    assert (facts["lvedv_ml"], facts["es_frame"], facts["split"]) == (148.0, 3, "test")
    assert outcomes["scan_00-A"].summary["views"]["sax"]["labelled_frames"] == list(range(6))


@pytest.mark.parametrize("table", ["rescan/processed/test_retest_100", "rescan/pickle/test_retest_100"])
def test_the_volumes_of_rescans_retest_scans_are_in_its_raw_table(tmp_path: Path, table: str) -> None:
    scans = ("scan_00_A", "scan_00_B", "scan_01_A", "scan_01_B", "scan_02_A")
    for scan in scans:
        home = tmp_path / "rescan" / "processed" / "test_retest_100" / scan
        home.mkdir(parents=True)
        (home / "sax_t.nii.gz").touch()
    meta = tmp_path / "rescan" / "processed" / "test_retest_100_metadata.csv"
    (tmp_path / table).mkdir(parents=True, exist_ok=True)
    columns = "A,B1,B2,EDV_A,EDV_B1,EDV_B2,ESV_A,ESV_B1,ESV_B2"
    rows = ("1027,1153,,150,148,,60,62,", "1031,1200,1201,200,190,194,100,,96")
    (tmp_path / table / "labels.csv").write_text("\n".join((columns, *rows)) + "\n")

    def told(scan: str) -> tuple[dict[str, Any], bool]:
        path = str(tmp_path / "rescan" / "processed" / "test_retest_100" / scan / "sax_t.nii.gz")
        person, visit = scan.rsplit("_", 1)
        facts, found = facts_of("rescan", [path], person, visit)
        return {name: facts[name] for name in ("lvedv_ml", "lvesv_ml", "lvef_pct") if name in facts}, found

    assert [told(scan) for scan in scans] == [
        ({"lvedv_ml": 150, "lvesv_ml": 60, "lvef_pct": pytest.approx(60)}, True),
        ({"lvedv_ml": 148, "lvesv_ml": 62, "lvef_pct": pytest.approx(100 * 86 / 148)}, True),
        ({"lvedv_ml": 200, "lvesv_ml": 100, "lvef_pct": pytest.approx(50)}, True),
        ({"lvedv_ml": 192, "lvesv_ml": 96, "lvef_pct": pytest.approx(50)}, True),
        ({}, False),
    ]  # fmt: skip
    meta.write_text("pid,edv,esv,ef\nscan_00_A,151,61,59.6\nscan_01_A,,,\n")
    assert told("scan_00_A")[0] == {"lvedv_ml": 151, "lvesv_ml": 61, "lvef_pct": 59.6}
    assert told("scan_01_A")[0]["lvedv_ml"] == 200


def test_kaggle_has_the_volumes_of_its_tables(tmp_path: Path) -> None:
    for case, split in (("1", "train"), ("701", "test"), ("702", "test")):
        for k, series in enumerate([*sax(6), lax(5, 1)]):
            name = f"sax_{k}" if k < 6 else "4ch_9"
            folder = tmp_path / split / case / "study" / name
            folder.mkdir(parents=True)
            for file, content in dicom_files([series], patient=case, study_uid=f"1.2.{case}"):
                (folder / file).write_bytes(content)
    (tmp_path / "train.csv").write_text("Id,Systole,Diastole\n1,60.0,150.0\n")
    (tmp_path / "solution.csv").write_text("Id,Volume,Usage\n701_Diastole,200,Public\n701_Systole,100,Public\n")
    outcomes = {o.study.split("-")[0]: o for o in _convert(tmp_path, tmp_path / "cohort").values()}
    assert outcomes["1"].summary["facts"]["lvef_pct"] == pytest.approx(60)
    assert outcomes["701"].summary["facts"]["lvesv_ml"] == 100
    assert outcomes["701"].summary["facts"]["split"] == "test"
    assert outcomes["702"].summary["flags"] == ["facts_missing"]
    assert "lvef_pct" not in outcomes["702"].summary["facts"]


def _png(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values.astype(np.uint8)).save(path)


def test_landmark_images_keep_the_middle_of_each_mark(tmp_path: Path) -> None:
    mask = np.zeros((40, 50))
    mask[4:7, 10:13], mask[20, 30:32], mask[33:36, 5] = 85, 170, 255
    for frame in ("00", "09"):
        _png(tmp_path / "lax_2c" / "images" / f"0001__{frame}.png", _RNG.integers(0, 255, (40, 50)))
    _png(tmp_path / "lax_2c" / "masks" / "0001__00.png", mask)
    _png(tmp_path / "lax_4c" / "images" / "0001__00.png", _RNG.integers(0, 255, (40, 50)))
    _png(tmp_path / "lax_4c" / "masks" / "0001__00.png", np.zeros((40, 49)))
    _png(tmp_path / "elsewhere" / "picture.png", mask)
    outcomes = _convert(tmp_path, tmp_path / "cohort")
    assert list(outcomes) == ["0001-1"]
    view = _view(tmp_path / "cohort", "0001-1", "lax_2c")
    assert view["landmark_px"].values[0].tolist() == [[5.0, 11.0], [20.0, 30.5], [34.0, 5.0]]
    assert np.isnan(view["landmark_px"].values[1]).all()
    assert view.attrs["flags"] == ["geometry_assumed"]
    faults = {(f["file"], f["reason"]) for f in outcomes["0001-1"].summary["reference_faults"]}
    assert faults == {("lax_2c/09", "label_missing"), ("lax_4c/00", "label_grid_mismatch")}


def test_a_landmark_image_that_is_no_picture_ends_its_study_alone(tmp_path: Path) -> None:
    for patient in ("0001", "0002"):
        _png(tmp_path / "lax_4c" / "images" / f"{patient}__00.png", np.ones((9, 9)))
        _png(tmp_path / "lax_4c" / "masks" / f"{patient}__00.png", np.zeros((9, 9)))
    bad = tmp_path / "lax_4c" / "images" / "0001__00.png"
    bad.write_bytes(bad.read_bytes()[:30])
    outcomes = _convert(tmp_path, tmp_path / "cohort")
    assert {study: o.reason for study, o in outcomes.items()} == {"0001-1": "image_unreadable", "0002-1": ""}


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("shape", "label_grid_mismatch"),
        ("slices", "label_grid_mismatch"),
        ("place", "label_grid_mismatch"),
        ("code", "label_class_unknown"),
        ("nan", "label_class_unknown"),
        ("cut", "label_corrupt"),
        ("empty", "label_missing"),
        ("frame", "label_frame_unmatched"),
    ],
)
def test_a_bad_label_is_left_out_with_a_reason_and_the_rest_goes_on(tmp_path: Path, fault: str, reason: str) -> None:
    home = _acdc(tmp_path)
    file = home / "patient001_frame04_gt.nii.gz"
    good, moved = _label((1, 2, 3)), _AFFINE.copy()
    moved[0, 3] = 5
    values = {
        "shape": (_label((1, 2, 3), (9, 7, 4)), _AFFINE), "slices": (good[:, :, :3], _AFFINE), "place": (good, moved),
        "code": (good * 2, _AFFINE), "nan": (np.full(_SHAPE, np.nan, np.float32), _AFFINE),
        "empty": (good * 0, _AFFINE),
    }  # fmt: skip
    if fault in values:
        _put(file, *values[fault])
    elif fault == "cut":
        file.write_bytes(file.read_bytes()[:60])
    else:
        file.rename(home / "patient001_frame44_gt.nii.gz")
    outcome = _convert(tmp_path, tmp_path / "cohort")["patient001-1"]
    assert (outcome.status, _reasons(outcome), outcome.summary["flags"]) == ("ok", [reason], [reason])
    assert outcome.summary["views"]["sax"]["labelled_frames"] == [0]


def test_without_any_label_or_table_the_images_are_there_all_the_same(tmp_path: Path) -> None:
    home = _acdc(tmp_path)
    for file in [*home.glob("*_gt.nii.gz"), home / "Info.cfg"]:
        file.unlink()
    outcome = _convert(tmp_path, tmp_path / "cohort")["patient001-1"]
    assert (outcome.status, outcome.summary["flags"]) == ("ok", ["facts_missing", "label_missing"])
    assert outcome.summary["facts"] == {"data_set": "acdc", "split": "train"}


def test_other_facts_or_labels_make_the_study_anew_and_the_same_do_not(tmp_path: Path) -> None:
    home = _acdc(tmp_path)
    first = _convert(tmp_path, tmp_path / "cohort")["patient001-1"]
    again = _convert(tmp_path, tmp_path / "cohort")["patient001-1"]
    assert (again.key, again.summary["facts"]) == (first.key, first.summary["facts"])
    (home / "Info.cfg").write_text("ED: 1\nES: 4\nGroup: NOR\n")
    other = _convert(tmp_path, tmp_path / "cohort")["patient001-1"]
    assert other.key != first.key
    assert other.summary["facts"]["diagnosis"] == "NOR"


def test_what_is_converted_is_what_training_reads(tmp_path: Path) -> None:
    for k in (1, 2):
        _acdc(tmp_path / "in", f"patient00{k}")
    mask = np.zeros((64, 64))
    for level, (row, col) in ((85, (20, 20)), (170, (20, 44)), (255, (44, 32))):
        mask[row, col] = level
    _png(tmp_path / "in" / "lax_4c" / "images" / "0001__00.png", _RNG.integers(0, 255, (64, 64)))
    _png(tmp_path / "in" / "lax_4c" / "masks" / "0001__00.png", mask)
    _convert(tmp_path / "in", tmp_path / "cohort")
    cohort = store.Cohort(tmp_path / "cohort")
    table = pd.read_parquet(reference_table.table_path(cohort))
    table[table["split"].notna()].to_csv(tmp_path / "table.csv", index=False)
    training, _ = read_table(tmp_path / "table.csv")
    assert training["study"].tolist() == ["patient001-1", "patient002-1"]
    size = {"sax_size": [32, 32, 4], "lax_size": [32, 32]}
    segment = FinetuningSettings(task="segment_sax", kind="UNet", classes=("bg", "rv", "myo", "lv"), config=size)
    sample = StudySamples(cohort, training, segment, "").sample(0, _RNG)
    assert set(np.unique(sample.target)) == {0, RV, MYOCARDIUM, LV}
    disease = FinetuningSettings(task="classification_cvd", classes=("NOR", "DCM"), config=size)
    assert StudySamples(cohort, training, disease, "diagnosis").sample(1, _RNG).target == 1
    landmarks = FinetuningSettings(
        task="landmark_heatmap", kind="UNet", views=("lax_4c",), classes=("a", "b", "c"), config=size, pixel_mm=0.5
    )
    marked = table[table["study"] == "0001-1"].assign(split="train")
    points = StudySamples(cohort, marked, landmarks, "").sample(0, _RNG).target
    assert points.shape == (3, 2)
    apart = np.linalg.norm(points[0] - points[1])
    assert apart == pytest.approx(24 * 0.25 / 0.5, abs=1e-3)


def test_the_table_is_current_as_long_as_the_studies_are_and_other_stages_pass_labels_by(tmp_path: Path) -> None:
    _acdc(tmp_path / "in")
    chosen = CohortSettings(directory=tmp_path / "cohort", sources=[tmp_path / "in"])
    outcome = _convert(tmp_path / "in", chosen.directory)["patient001-1"]
    with open_ledger(chosen.cohort.ledger) as ledger:
        work = planning.plan(CONVERT, chosen, ledger)
        assert not work.tables_are_current(ledger, chosen.cohort)  # the table of studies is not there yet
        work.write_tables(ledger, chosen.cohort)
        assert work.tables_are_current(ledger, chosen.cohort)
        reference_table.table_path(chosen.cohort).unlink()
        assert not work.tables_are_current(ledger, chosen.cohort)
    views = read_views(chosen.cohort.study("patient001-1"), outcome.key, ["sax"])
    assert "intensity" in views["sax"]
    assert "labels" not in views["sax"]


@pytest.mark.parametrize("content", [b"", b"\x00\xff" * 50, b"ED: x\nES: -4\nHeight: nan\n", b'a,b\n"unclosed'])
def test_hostile_tables_tell_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "Info.cfg").write_bytes(content)
    (tmp_path / "dataset_information.csv").write_bytes(content)
    facts, _ = facts_of("acdc", [str(tmp_path / "patient001_4d.nii.gz")], "patient001")
    assert set(facts) <= {"data_set", "split"}
    facts, found = facts_of("mnms2", [str(tmp_path / "001_SA_ED.nii.gz")], "001")
    assert not found


@given(
    st.sampled_from(sorted(CODES)),
    st.lists(st.sampled_from([-1, 0, 1, 2, 3, 4, 5, 200, 500, 600, 1220, 2221]), min_size=1, max_size=6),
)
def test_codes_are_translated_or_refused(data_set: str, values: list[int]) -> None:
    given_codes = np.array(values)
    if set(values) <= {0, *CODES[data_set]}:
        ours = translate_codes(given_codes, data_set)
        assert ours.tolist() == [0 if v == 0 else CODES[data_set][v] for v in values]
    else:
        with pytest.raises(ValueError, match="unknown label codes"):
            translate_codes(given_codes, data_set)


@settings(deadline=None)
@given(st.text(max_size=40))
def test_any_name_is_a_case_or_none(name: str) -> None:
    case = case_of(f"/data/x/{name}.nii.gz")
    assert case.home.startswith("/")


def test_a_reference_must_lie_on_the_views_grid(tmp_path: Path) -> None:
    _acdc(tmp_path)
    _convert(tmp_path, tmp_path / "cohort")
    view = _view(tmp_path / "cohort", "patient001-1").to_dataset()
    with pytest.raises(ValueError, match="do not lie on"):
        with_reference(view, np.zeros((1, 2, 3, 4), np.uint8))
    with pytest.raises(ValueError, match="landmarks of shape"):
        with_reference(view, landmark_px=np.zeros((1, 3, 2)))


def test_atlas_labels_with_more_slices_than_the_image_are_matched_by_place(real_data: Path, tmp_path: Path) -> None:
    outcome = _convert(real_data / "autofd_nifti" / "A", tmp_path)["A-1"]
    assert _reasons(outcome) == []
    view = _view(tmp_path, "A-1")
    assert view["labels"].shape == view["intensity"].shape == (1, 12, 123, 123)
    pool = np.bincount(view["labels"].values.ravel(), minlength=4) * 1.2307693**2 * 10 / 1000
    assert 80 < pool[LV] < 250
    assert 80 < pool[RV] < 250
