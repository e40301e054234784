"""What the tables are told of a converted study, and what the keys of studies depend on."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from cmr_models.contracts import cine_study, cine_view, with_reference
from tasks.convert.convert_stage import (
    CONVERT,
    convert_units,
    nifti_key,
    perfusion_key,
    planned_units,
    study_key,
    summary_of,
)
from tasks.convert.settings import ConvertSettings
from tasks.execution.stage import Planned, Planning
from tasks.sources.listing import SourceUnit
from tasks.state.ledger import Ledger, Outcome, SourceFile, open_ledger, path_digest
from tasks.state.store import Cohort


def _view(**changes: object) -> xr.Dataset:
    """Five frames of two slices of three rows and four columns."""
    valid = np.ones((5, 2), bool)
    valid[0, 1] = valid[3, 0] = valid[4, 0] = False
    given = {
        "time_ms": np.arange(5) * 40.0, "pixel_mm": (1.5, 1.234567), "position_mm": [[0, 0, 0], [0, 0, 9.0]],
        "row_dir": (1, 0, 0), "col_dir": (0, 1, 0), "slice_mm": 9.00004, "thickness_mm": np.nan,
        "heart_rate_bpm": 61.23456,
        "frame_valid": valid, "flags": ["frame_missing"],
    }  # fmt: skip
    return cine_view(np.zeros((5, 2, 3, 4), np.uint16), **{**given, **changes})  # type: ignore[arg-type]


def test_the_summary_has_shapes_spacings_and_gaps_of_every_view() -> None:
    left_out = [{"series": 3, "description": "x", "images": 1, "reason": "series_scout"}]
    plain = _view(frame_valid=None, flags=[], slice_mm=np.nan, pixel_mm=(2.0, 1.0))
    tree = cine_study(
        {"sax": _view(), "lax_4c": plain}, participant="1", visit="2", key="k", source_digest="d", excluded=left_out,
        flags=["f"],
    )  # fmt: skip
    found = summary_of(tree)
    assert (found["source_digest"], found["excluded"], found["flags"]) == ("d", left_out, ["f"])
    assert found["views"]["sax"] == {
        "frames": 5, "slices": 2, "rows": 3, "cols": 4, "pixel_mm": [1.5, 1.23457], "slice_mm": 9.0,
        "thickness_mm": None,
        "heart_rate_bpm": 61.2346, "frames_missing": 3, "flags": ["frame_missing"],
    }  # fmt: skip
    lax = found["views"]["lax_4c"]
    assert (lax["pixel_mm"], lax["slice_mm"], lax["frames_missing"], lax["flags"]) == ([2.0, 1.0], None, 0, [])
    assert "facts" not in found


def test_drawn_frames_are_told_of_labels_and_of_whole_landmarks() -> None:
    labels = np.zeros((5, 2, 3, 4), np.uint8)
    labels[[1, 4], 0, 1, 1] = 3
    points = np.full((5, 3, 2), np.nan)
    points[2], points[3, :2] = 1.0, 1.0  # in the last frame one of three is missing
    views = {"sax": with_reference(_view(), labels), "lax_2c": with_reference(_view(), landmark_px=points)}
    found = summary_of(cine_study(views, key="k", source_digest="d"))["views"]
    assert found["sax"]["labelled_frames"] == [1, 4]
    assert found["lax_2c"]["marked_frames"] == [2]
    assert "marked_frames" not in found["sax"]
    assert "labelled_frames" not in found["lax_2c"]


def test_keys_follow_source_kind_and_the_settings_that_decide() -> None:
    usual = ConvertSettings()
    key = study_key("d", usual)
    others = [
        study_key("e", usual), study_key("d", ConvertSettings(frames_missing_max=0.3)), perfusion_key(key),
        nifti_key(key),
        study_key("d", ConvertSettings(max_inflated_mb=5)),
    ]  # fmt: skip
    assert len({key, *others}) == 6
    assert study_key("d", ConvertSettings(removed_max=0.9)) == key
    units = [
        SourceUnit(study=s, participant=s, visit="1", kind=kind, files=[], study_uid="", fingerprint="d")
        for s, kind in (("a", "dicom"), ("b", "dicom"), ("c", "nifti"))
    ]
    assert [unit["key"] for unit in planned_units(units, {}, {"b"})] == [key, perfusion_key(key), nifti_key(key)]


# what a plan of the archive has: units, who leaves and why, and what the ledger remembers


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with open_ledger(tmp_path / "ledger.sqlite") as opened:
        yield opened


def _plan(
    folder: Path, ledger: Ledger, *, people: Sequence[str], withdrawn: Sequence[str] = (), **more: object
) -> Planned:
    """A plan of an archive with a UK Biobank zip a person, all of instance 2."""
    archive = folder / "archive"
    archive.mkdir(exist_ok=True)
    for name in people:
        (archive / f"{name}_20209_2_0.zip").write_bytes(b"")
    listed = folder / "withdrawn.csv"
    listed.write_text("\n".join(withdrawn))
    given: dict[str, object] = {
        "settings": ConvertSettings(removed_max=0.0),
        "sources": [archive],
        "withdrawn": listed if withdrawn else None,
    }
    return convert_units(CONVERT, Planning(Cohort(folder), ledger, **{**given, **more}))  # type: ignore[arg-type]


def _record(ledger: Ledger, *studies: str, status: str = "ok") -> None:
    ledger.record(Outcome(study, "convert", status) for study in studies)  # type: ignore[arg-type]


def test_who_withdrew_has_no_unit_and_leaves_for_that_reason_though_the_source_is_gone_too(
    tmp_path: Path, ledger: Ledger
) -> None:
    _record(ledger, "1000001-2", "1000002-2", "1000003-2", "1000009-2")
    _record(ledger, "1000004-2", status="retired")
    found = _plan(tmp_path, ledger, people=["1000001", "1000002", "1000005"], withdrawn=["1000002", "1000009"])
    assert [unit["study"] for unit in found.units] == ["1000001-2", "1000005-2"]
    assert found.removed == {"1000002-2": "withdrawn", "1000009-2": "withdrawn", "1000003-2": "source_removed"}
    assert found.notes == ["1 studies in the sources are of people on the list of withdrawals"]


def test_who_withdrew_does_not_count_among_those_whose_source_is_missing(tmp_path: Path, ledger: Ledger) -> None:
    """Four of five studies are gone, three of them withdrawn: of the two that are left one may go."""
    gone = ["1000006", "1000007", "1000008"]
    _record(ledger, "1000001-2", "1000003-2", *(f"{name}-2" for name in gone))
    assert len(_plan(tmp_path, ledger, people=["1000001"], withdrawn=gone).removed) == 4
    with pytest.raises(RuntimeError, match="4 of 5 studies have no source"):
        _plan(tmp_path, ledger, people=["1000001"])
    allowed = _plan(tmp_path, ledger, people=["1000001"], settings=ConvertSettings(removed_max=0.8))
    assert set(allowed.removed.values()) == {"source_removed"}


def test_a_part_of_the_archive_removes_nobody_and_forgets_no_file(tmp_path: Path, ledger: Ledger) -> None:
    _record(ledger, "1000001-2", "1000003-2", "1000004-2")
    ledger.remember_sources([SourceFile(path_digest("/gone/1000003_20209_2_0.zip"), 1, 2)], forget_others=True)
    part = _plan(tmp_path, ledger, people=["1000001"], withdrawn=["1000004"], whole_archive=False)
    assert part.removed == {"1000004-2": "withdrawn"}
    gone, stays = map(path_digest, ("/gone/1000003_20209_2_0.zip", str(tmp_path / "archive/1000001_20209_2_0.zip")))
    assert set(ledger.sources()) == {gone, stays}
    _plan(tmp_path, ledger, people=["1000001"], settings=ConvertSettings(removed_max=1.0))
    assert set(ledger.sources()) == {stays}


def test_files_of_no_study_are_told_and_kept(tmp_path: Path, ledger: Ledger) -> None:
    (tmp_path / "archive").mkdir()
    for name in ("a.txt", "b.txt", "c.pdf"):
        (tmp_path / "archive" / name).write_bytes(b"")
    found = _plan(tmp_path, ledger, people=["1000001"])
    assert found.notes == ["3 files of the sources are part of no study: 2 .txt, 1 .pdf"]
    assert ledger.not_taken() == {".txt": 2, ".pdf": 1}
    assert not found.removed
