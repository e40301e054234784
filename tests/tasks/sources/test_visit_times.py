"""When a person's visits began, by the headers of their images."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from dicom_factory import files, lax, sax, write_files, write_zip

from cmr_models.contracts.identifiers import short_digest
from tasks.sources import inventory
from tasks.sources.visit_times import earliest, visit_times, with_visit_times
from tasks.state.ledger import open_ledger
from tasks.state.store import Cohort

_GONE = dict.fromkeys(("AcquisitionDate", "AcquisitionTime", "SeriesDate", "SeriesTime", "StudyDate", "StudyTime"))


def _header(**values: Any) -> dict[str, Any]:
    """Header values, and none of the other dates and times."""
    return {"header": {**_GONE, **values}}


def _told(folder: Path) -> dict[str, str]:
    """Study uid -> its time, of all files in a folder, by a fresh look and by one at what is remembered."""
    found = inventory([folder])
    again = inventory([folder], {file.path: file for file in found.files})
    assert again.files == found.files
    times: dict[str, list[str]] = {}
    for file in found.files:
        for uid, time in file.facts["begun"].items():
            times.setdefault(uid, []).append(time)
    return {uid: earliest(times[uid]) for uid in times}


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"AcquisitionDate": "20200301", "AcquisitionTime": "093000.25", "StudyTime": "080000"}, "20200301093000"),
        ({"AcquisitionDateTime": "20200301093001.5", "StudyDate": "20200229"}, "20200301093001"),
        ({"SeriesDate": "20200301", "SeriesTime": "0930", "StudyTime": "081500"}, "20200301081500"),
        ({"StudyDate": "20200301", "StudyTime": "081500"}, "20200301081500"),
        ({"StudyDate": "20200301"}, "20200301"),
        ({"StudyDate": "2020.03.01", "StudyTime": "08:15:00"}, "20200301081500"),
        ({"StudyDate": "19000101", "StudyTime": "081500"}, None),  # stands for a day that was removed
        ({"StudyTime": "081500"}, None),
    ],
)
@pytest.mark.filterwarnings("ignore:Invalid value for VR")
def test_the_time_is_that_of_the_acquisition_else_of_the_series_or_study(
    tmp_path: Path, values: dict[str, str], told: str | None
) -> None:
    write_files(tmp_path, files(sax(1, **_header(**values)), study_uid="1.2.3"))
    assert _told(tmp_path).get("1.2.3") == told


def test_a_study_begins_with_its_first_image_that_has_a_clock(tmp_path: Path) -> None:
    day, *times = "20200301", "101500", "095900", None
    series = [sax(1, **_header(AcquisitionDate=day, AcquisitionTime=time))[0] for time in times]
    content = [(f"{k}_{name}", one) for k, plane in enumerate(series) for name, one in files([plane])]
    write_zip(tmp_path / "a.zip", content)
    write_files(tmp_path / "b", content[:20])
    assert _told(tmp_path) == {"1.2.3": "20200301095900"}
    assert earliest(["20200301", "20200302070000", "20200301235959"]) == "20200301235959"


def test_only_studies_of_people_with_several_are_told(tmp_path: Path) -> None:
    late, early = (_header(AcquisitionDate="20200301", AcquisitionTime=time) for time in ("120000", "110000"))
    write_files(tmp_path / "in/a", files(sax(1, **late), patient="P1", study_uid="1.2.3"))
    write_files(tmp_path / "in/b", files([lax(5, 1, **early)], patient="P1", study_uid="1.2.4"))
    write_files(tmp_path / "in/c", files(sax(1, **early), patient="P2", study_uid="1.2.5"))
    cohort = Cohort(tmp_path / "cohort")
    found = inventory([tmp_path / "in"])
    assert found.n_same_day == 1
    people = [(unit["study"], unit["participant"], unit["visit"]) for unit in found.units]
    studies = pd.DataFrame(people, columns=["study", "participant", "visit"])
    assert with_visit_times(studies, cohort) is studies  # there is no ledger
    with open_ledger(cohort.ledger) as ledger:
        ledger.remember_sources(found.files, forget_others=True)
    first, second = (f"P1-{short_digest(uid)}" for uid in ("1.2.3", "1.2.4"))
    assert visit_times(cohort, studies) == {first: "20200301120000", second: "20200301110000"}
    told = with_visit_times(studies, cohort).set_index("study")["acquired"]
    assert told[[first, second]].tolist() == ["20200301120000", "20200301110000"]
    assert told.isna().sum() == 1
    assert visit_times(cohort, studies[studies["participant"] == "P2"]) == {}
