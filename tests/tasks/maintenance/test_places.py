"""Whether a folder is a cohort, and whether there is anything to convert."""

from pathlib import Path

import pytest

from tasks.maintenance.places import check_cohort, check_folder, check_sources, is_cohort
from tasks.state.mistakes import UserMistake
from tasks.state.store import Cohort


@pytest.mark.parametrize(
    ("file", "is_one"),
    [
        ("ledger.sqlite", True),
        ("tables/phenotypes.parquet", True),
        ("studies/ab/cd/1-2.zarr.zip", True),
        ("studies/ab/cd/1-2.rejected.json", True),
        ("studies/ab/1-2.zarr.zip", False),
        ("studies/abc/cd/1-2.zarr.zip", False),
        ("tables/estimates/hazards.parquet", False),
        ("reports/index.html", False),
        ("ledger.sqlite/folder", False),
        ("predictions/m/ab/cd/1-2.zarr.zip", False),
    ],
)
def test_a_cohort_has_a_ledger_a_study_or_a_table_of_phenotypes(tmp_path: Path, file: str, is_one: bool) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    assert is_cohort(Cohort(tmp_path)) == is_one
    if is_one:
        check_cohort(Cohort(tmp_path))
        return
    with pytest.raises(UserMistake, match="is not a cohort"):
        check_cohort(Cohort(tmp_path))


def test_a_file_is_no_folder_nor_is_anything_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    for root in (tmp_path / "file", tmp_path / "file" / "a" / "b", Path("file"), Path("file/a")):
        for check in (check_folder, check_cohort):
            with pytest.raises(UserMistake, match=r"directory: .*file is a file; the cohort needs a folder"):
                check(Cohort(root))
    check_folder(Cohort(tmp_path / "new" / "one"))
    check_folder(Cohort(Path("new")))


def test_there_has_to_be_an_image_at_some_source_unless_the_cohort_is_there_already(tmp_path: Path) -> None:
    empty, full, cohort = tmp_path / "empty", tmp_path / "full", Cohort(tmp_path / "cohort")
    for folder in (empty, full):
        folder.mkdir()
    (empty / "notes.txt").touch()
    (full / "1_20209_2_0.zip").touch()
    with pytest.raises(UserMistake, match="sources: none is named"):
        check_sources([], cohort)
    with pytest.raises(UserMistake, match=rf"sources: there is no image in {empty}, {empty}; give the folder"):
        check_sources([empty, empty], cohort)
    check_sources([empty, full], cohort)
    cohort.root.mkdir()
    cohort.ledger.touch()
    check_sources([empty], cohort)
    with pytest.raises(UserMistake, match="none is named"):
        check_sources([], cohort)
