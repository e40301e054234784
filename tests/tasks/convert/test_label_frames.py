"""Which frames of a view a label is of, and which plane; on a view of three oblong slices and four frames."""

from typing import Any

import numpy as np
import pytest
import xarray as xr

from cmr_models.contracts import cine_view
from tasks.convert import reference_labels
from tasks.convert.nifti import Volume, _Interval
from tasks.convert.reference_labels import _Fault

NAN = np.nan
MM = (1.5, 1.25)
PLACES = np.array([[0.0, 0, 0], [0, 0, 8], [0, 0, 16]])


def _view(n_frames: int = 4, names: tuple[str, ...] = ()) -> xr.Dataset:
    return cine_view(
        np.arange(n_frames * 3 * 4 * 5).reshape(n_frames, 3, 4, 5).astype(np.uint16),
        time_ms=np.arange(n_frames) * 40.0, pixel_mm=MM, position_mm=PLACES, row_dir=(1, 0, 0), col_dir=(0, 1, 0),
        slice_mm=8.0, thickness_mm=8.0, frame_names=list(names), intensity_offset=-3, intensity_scale=2,
    )  # fmt: skip


def _frames(phase: str, n_labelled: int, view: xr.Dataset) -> list[int] | str:
    codes = np.ones((n_labelled, 3, 4, 5), np.uint8)
    try:
        return reference_labels._frames(phase, codes, view, None, 10**8)
    except _Fault as fault:
        return fault.reason


@pytest.mark.parametrize(
    ("phase", "n_labelled", "n_frames", "names", "expected"),
    [
        ("", 4, 4, (), [0, 1, 2, 3]), ("t", 4, 4, (), [0, 1, 2, 3]), ("", 3, 4, (), "label_frame_unmatched"),
        ("", 1, 1, (), [0]), ("es", 1, 1, (), [0]), ("", 1, 4, (), "label_frame_unmatched"),
        ("es", 1, 2, ("ed", "es"), [1]), ("ed", 1, 2, ("ed", "es"), [0]), ("frame3", 1, 2, ("frame1", "frame3"), [1]),
        ("es", 1, 2, ("frame1", "frame3"), "label_frame_unmatched"),
        ("frame01", 1, 4, (), [0]), ("frame4", 1, 4, (), [3]), ("frame5", 1, 4, (), "label_frame_unmatched"),
        ("frame0", 1, 4, (), "label_frame_unmatched"), ("frame2", 1, 2, ("ed", "es"), "label_frame_unmatched"),
    ],
)  # fmt: skip
def test_a_label_is_of_all_frames_or_of_the_one_that_its_name_says(
    phase: str, n_labelled: int, n_frames: int, names: tuple[str, ...], expected: Any
) -> None:
    assert _frames(phase, n_labelled, _view(n_frames, names)) == expected


def _volume(values: np.ndarray, **changes: Any) -> Volume:
    usual = {"position_mm": PLACES, "row_dir": np.array([1.0, 0, 0]), "col_dir": np.array([0.0, 1, 0]), "pixel_mm": MM}
    return Volume(values, **{**usual, **changes}, interval=_Interval(NAN, 0))


def _on_grid(volume: Volume, *, extra_slices: bool = False) -> Any:
    try:
        return reference_labels._on_grid(volume, _view(), extra_slices=extra_slices)
    except _Fault as fault:
        return fault.reason


CODES = np.arange(3 * 4 * 5).reshape(1, 3, 4, 5)


@pytest.mark.parametrize(
    ("changes", "fits"),
    [
        ({}, True), ({"pixel_mm": (1.514, 1.25)}, True), ({"pixel_mm": (1.516, 1.25)}, False),
        ({"pixel_mm": (1.5, 1.264)}, False), ({"pixel_mm": (1.25, 1.5)}, False),
        ({"row_dir": np.array([1.0, 0.009, 0])}, True), ({"row_dir": np.array([1.0, 0.011, 0])}, False),
        ({"col_dir": np.array([0, 1.0, 0.011])}, False),
        ({"position_mm": PLACES + np.array([0, 0.49, 0])}, True),
        ({"position_mm": PLACES + np.array([0, 0.51, 0])}, False),
        ({"position_mm": PLACES + np.array([[0, 0, 0], [0, 0, 0], [0, 0, 0.6]])}, False),  # one of the planes
    ],
)  # fmt: skip
def test_labels_lie_within_half_a_millimetre_a_hundredth_of_a_pixel_and_of_a_direction(
    changes: dict[str, Any], fits: bool
) -> None:
    found = _on_grid(_volume(CODES, **changes))
    if fits:
        np.testing.assert_array_equal(found, CODES)
    else:
        assert found == "label_grid_mismatch"


def test_planes_are_found_by_their_places_and_more_of_them_only_where_the_set_has_more() -> None:
    mixed = _volume(CODES[:, [2, 0, 1]], position_mm=PLACES[[2, 0, 1]])
    np.testing.assert_array_equal(_on_grid(mixed), CODES)
    more = _volume(np.concatenate([CODES, CODES[:, :1] + 900], axis=1), position_mm=np.vstack([PLACES, [[0, 0, 24]]]))
    assert _on_grid(more) == "label_grid_mismatch"
    np.testing.assert_array_equal(_on_grid(more, extra_slices=True), CODES)
    assert _on_grid(_volume(CODES[:, :2], position_mm=PLACES[:2])) == "label_grid_mismatch"
    assert _on_grid(_volume(CODES[:, :2], position_mm=PLACES[:2]), extra_slices=True) == "label_grid_mismatch"
    assert _on_grid(_volume(np.swapaxes(CODES, 2, 3))) == "label_grid_mismatch"


@pytest.mark.parametrize(
    ("facts", "names", "n_frames", "expected"),
    [
        ({"ed_frame": 0, "es_frame": 3}, (), 4, {"ed_frame": 0, "es_frame": 3}),
        ({"ed_frame": 0, "es_frame": 4}, (), 4, {"ed_frame": 0}), ({}, (), 4, {}), ({"ed_frame": 0}, (), 1, {}),
        ({"ed_frame": 7, "es_frame": 2}, ("ed", "es"), 2, {"ed_frame": 0, "es_frame": 1}),
        ({}, ("es", "ed"), 2, {"ed_frame": 1, "es_frame": 0}),
        ({"ed_frame": 0, "es_frame": 11}, ("frame1", "frame12"), 2, {"ed_frame": 0, "es_frame": 1}),
        ({"ed_frame": 1, "es_frame": 11}, ("frame1", "frame12"), 2, {"es_frame": 1}),
    ],
)  # fmt: skip
def test_stated_frames_count_where_the_view_is_the_whole_cine_or_has_the_frame_by_name(
    facts: dict[str, Any], names: tuple[str, ...], n_frames: int, expected: dict[str, int]
) -> None:
    views = {"sax": _view(n_frames, names)}
    assert reference_labels._stated_frames(views, facts) == expected
    assert reference_labels._stated_frames({"lax_4c": views["sax"]}, facts) == {}


@pytest.mark.parametrize(("apart", "frame"), [(0, 2), (390, 2), (410, None)])
def test_a_single_image_is_the_frame_from_which_it_differs_by_a_hundredth_of_its_range_at_most(
    apart: int, frame: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = np.random.default_rng(0).integers(0, 20_001, (4, 3, 4, 5)).astype(np.uint16)
    stored[:, 0, 0, :2] = 0, 20_000
    view = _view().assign(intensity=(("frame", "slice", "row", "col"), stored))
    view.attrs |= {"intensity_scale": 2, "intensity_offset": -20_000}
    shown = (stored[2].astype(int) * 2 - 20_000)[None]  # from -20,000 to 20,000: its range is no number of 16 bits
    shown[0, :, 1:] += apart * 4 // 3 * np.where(shown[0, :, 1:] > 0, -1, 1)  # three of four rows, towards the middle
    monkeypatch.setattr(reference_labels, "_read", lambda content, max_bytes: _volume(shown.astype(np.int16)))
    if frame is None:
        with pytest.raises(_Fault) as caught:
            reference_labels._same_image(b"", view, 10**8)
        assert caught.value.reason == "label_frame_unmatched"
        return
    assert reference_labels._same_image(b"", view, 10**8) == frame
