"""What the tables are told of a converted study, and what the keys of studies depend on."""

import numpy as np
import xarray as xr

from cmr_models.contracts import cine_study, cine_view, with_reference
from tasks.convert.convert_stage import nifti_key, perfusion_key, planned_units, study_key, summary_of
from tasks.convert.settings import ConvertSettings
from tasks.sources.listing import SourceUnit


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
