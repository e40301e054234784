"""What tables of public data sets say of a case, with rows out of order, other marks and numbers that are none."""

from pathlib import Path
from typing import Any

import pytest

from tasks.sources import public_facts
from tasks.sources.public_facts import facts_of
from tasks.sources.public_layouts import Case, case_of, is_pickle, kaggle_case, landmark_image, tail


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_mnms_counts_frames_from_zero_and_finds_its_row_whatever_its_place(tmp_path: Path) -> None:
    _write(
        tmp_path / "211230_M&Ms_Dataset_information_diagnosis_opendataset.csv",
        "\ufeffExternal code; VendorName ;Vendor;Centre;ED;ES;Age;Pathology;Sex;Height;Weight\n"
        "B1B1B1;Philips;B;2;1;2;30;NOR;F;160;50\nA0S9V9;Siemens;A;1;0;9;48,5;HCM;m;-;82,5\n",
    )
    facts, are_there = facts_of("mnms", [str(tmp_path / "Training" / "Labeled" / "A0S9V9" / "x.nii")], "A0S9V9")
    assert are_there
    assert facts == {
        "data_set": "mnms", "split": "train", "diagnosis": "HCM", "vendor": "Siemens", "centre": "1", "sex": "male",
        "age_years": 48.5, "weight_kg": 82.5, "ed_frame": 0, "es_frame": 9,
    }  # fmt: skip
    assert facts_of("mnms", [str(tmp_path / "Testing" / "C" / "x.nii")], "C0C0C0") == (
        {"data_set": "mnms", "split": "test"},
        False,
    )


@pytest.mark.parametrize(
    ("number", "split"), [(1, "train"), (160, "train"), (161, "validation"), (200, "validation"), (201, "test")]
)
def test_mnms2_is_divided_by_numbers_whose_zeros_do_not_count(number: int, split: str, tmp_path: Path) -> None:
    row = f"{number},LV,SIEMENS,Symphony,1.5\n"
    _write(tmp_path / "dataset_information.csv", f"SUBJECT_CODE,DISEASE,VENDOR,SCANNER,FIELD\n999,NOR,GE,x,3\n{row}")
    facts, _ = facts_of("mnms2", [str(tmp_path / "dataset" / f"{number:03d}" / "x.nii")], f"{number:03d}")
    assert facts == {
        "data_set": "mnms2", "split": split, "diagnosis": "LV", "vendor": "SIEMENS", "scanner": "Symphony",
        "field_t": 1.5,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("ed", "es", "first", "frames"),
    [
        ("1", "12", 1, {"ed_frame": 0, "es_frame": 11}), ("0", "12", 1, {"es_frame": 11}),
        ("0", "12", 0, {"ed_frame": 0, "es_frame": 12}),
        (None, "x", 0, {}), ("-1", "3.0", 0, {"es_frame": 3}), ("inf", "nan", 0, {}),
    ],
)  # fmt: skip
def test_frames_count_from_the_first_of_the_set(ed: Any, es: Any, first: int, frames: dict[str, int]) -> None:
    assert public_facts._frames(ed, es, first=first) == frames


def test_both_volumes_make_an_ejection_fraction() -> None:
    assert public_facts._volumes(160.0, 64.0) == {"lvedv_ml": 160, "lvesv_ml": 64, "lvef_pct": 60}
    assert public_facts._volumes(160.0, float("nan")) is None
    assert public_facts._volumes(float("inf"), 60.0) is None
    found = public_facts._volumes(0.0, 0.0)
    assert found is not None
    assert found["lvef_pct"] != found["lvef_pct"]
    assert public_facts._mean([1.0, float("nan"), 4.0]) == 2.5
    assert public_facts._mean([float("nan")]) != 0


def test_kaggle_volumes_are_in_columns_or_in_rows(tmp_path: Path) -> None:
    _write(tmp_path / "train.csv", "Id,Systole,Diastole\n10,50,120\n1,40,100\n")
    _write(tmp_path / "solution.csv", "Id,Volume\n701_Diastole,180\n701_Systole,81\n702_Systole,9\n")
    place = str(tmp_path / "train" / "1" / "study" / "sax_5" / "x.dcm")
    expected = {"data_set": "kaggle", "split": "train"}
    assert facts_of("kaggle", [place], "1") == (
        {**expected, "lvedv_ml": 100.0, "lvesv_ml": 40.0, "lvef_pct": 60.0}, True,
    )  # fmt: skip
    assert facts_of("kaggle", [place], "701")[0]["lvef_pct"] == 55
    assert facts_of("kaggle", [place], "702") == (expected, False)


def test_a_table_that_was_changed_is_read_again_and_a_damaged_one_tells_nothing(tmp_path: Path) -> None:
    table = _write(tmp_path / "train.csv", "Id,Systole,Diastole\n1,40,100\n")
    place = [str(tmp_path / "train" / "1" / "study" / "sax_5" / "x.dcm")]
    assert facts_of("kaggle", place, "1")[0]["lvef_pct"] == 60
    import os

    _write(table, "Id,Systole,Diastole\n1,30,100\n")
    os.utime(table, ns=(1, 1))
    assert facts_of("kaggle", place, "1")[0]["lvef_pct"] == 70
    _write(table, "Id,Systole\n1,30\n")
    os.utime(table, ns=(2, 2))
    assert facts_of("kaggle", place, "1") == ({"data_set": "kaggle", "split": "train"}, False)
    assert facts_of("unheard of", place, "1") == ({"data_set": "unheard of", "split": "train"}, True)


@pytest.mark.parametrize(
    ("path", "split"),
    [
        ("/a/Training/Unlabeled/x/f.nii", "unlabelled"), ("/a/test/train/f.nii", "train"), ("/a/TEST20/f.nii", "test"),
        ("/a/other/validate.nii", ""), ("/test_retest_100/f.nii", "test"), ("/validation/b/f.nii", "validation"),
    ],
)  # fmt: skip
def test_the_innermost_folder_that_names_a_split_counts(path: str, split: str) -> None:
    assert public_facts._split(path) == split


def test_the_nearest_table_within_six_folders_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "1" / "2" / "3" / "4" / "5" / "f.nii"
    top, near = _write(tmp_path / "t.csv", ""), _write(tmp_path / "1" / "2" / "b.csv", "")
    _write(tmp_path / "1" / "2" / "a.csv", "")
    assert public_facts._above(path, "t.csv") == [top]
    assert public_facts._above(path.parent / "6" / "f.nii", "t.csv") == []
    assert public_facts._above(path, "*.csv") == [near.with_name("a.csv"), near]


# layouts


@pytest.mark.parametrize(
    ("path", "case"),
    [
        ("/d/patient001/patient001_frame01_gt.nii.gz", ("acdc", "patient001", "1", "/d/patient001", True)),
        ("/d/patient001/patient001_4d.nii", ("acdc", "patient001", "1", "/d/patient001", False)),
        ("/d/dataset/012/012_LA_ES_gt.nii.gz", ("mnms2", "012", "1", "/d/dataset/012", True)),
        ("/d/Labeled/A0S9V9/A0S9V9_sa.nii.gz", ("mnms", "A0S9V9", "1", "/d/Labeled/A0S9V9", False)),
        ("/d/Case_P001/Contours/Case_P001.nii.gz", ("emidec", "Case_P001", "1", "/d/Case_P001", True)),
        ("/d/train25/myops_training_101_DE.nii.gz", ("myops", "myops_training_101", "1", "/d", False)),
        ("/d/train25_myops_gd/myops_training_101_gd.nii.gz", ("myops", "myops_training_101", "1", "/d", True)),
        ("/d/train/A/s_0003/sax_gt_t.nii.gz", ("rescan", "A_s_0003", "1", "/d/train/A/s_0003", True)),
        ("/d/test/scan_04_B1/lax_2c_t.nii.gz", ("rescan", "scan_04", "B1", "/d/test/scan_04_B1", False)),
        ("/d/77/label_sa_ED.nii.gz", ("ukbb", "77", "1", "/d/77", True)),
        ("/d/77/sa.nii.gz", ("ukbb", "77", "1", "/d/77", False)),
        ("/d/x/p9_lax_4c_es_gt.nii.gz", ("cinema", "p9", "1", "/d/x", True)),
        ("/d/p8/sax_t.nii", ("cinema", "p8", "1", "/d/p8", False)),
        ("/d/x/own_scan.nii", ("", "own_scan", "1", "/d/x", False)),
        ("/d/x/own_seg.nii", ("", "own", "1", "/d/x", True)),
        ("/d/x/seg.nii", ("", "x", "1", "/d/x", True)),
    ],
)  # fmt: skip
def test_a_path_tells_set_person_visit_home_and_kind(path: str, case: tuple[str, str, str, str, bool]) -> None:
    assert case_of(path) == Case(*case)


def test_other_files_of_public_sets_are_told_by_their_folders() -> None:
    assert landmark_image("/d/lax_4c/masks/0012__03.png") == ("lax_4c", True, "0012", "03")
    assert landmark_image("lax_2c\\images\\0012__03.png") == ("lax_2c", False, "0012", "03")
    for other in (
        "lax_3c/images/0012__03.png",
        "lax_2c/other/0012__03.png",
        "lax_2c/images/0012_03.png",
        "0012__03.png",
    ):
        assert landmark_image(other) is None
    assert kaggle_case("/d/train/17/study/2ch_3/a.dcm") == "17"
    assert kaggle_case("/d/train/17/study/3ch_3/a.dcm") == kaggle_case("/d/17/study/sax_3/b/a.dcm") == ""
    assert is_pickle("/d/scan/SAX_segs.pickle")
    assert not is_pickle("/d/scan/3C.pickle")
    assert tail("a\\b\\c\\d.nii") == tail("/x/a/b/c/d.nii") == "b/c/d.nii"
