"""Images of a study become views; every fault of an acquisition has its rule, its flag or its reason."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import xarray as xr
from dicom_factory import (
    AXIS,
    Series,
    change,
    dataset,
    encode,
    files,
    header_images,
    lax,
    pixels,
    sax,
    set_header,
)

from cmr_models.reasons import StudyRejected
from cmr_models.views.series_kind import SeriesFacts
from tasks.convert.cine import StudyViews, _excluded_rows, patient_spellings, person_of, study_views
from tasks.convert.phases import Cycle
from tasks.convert.plane_images import PlaneImages
from tasks.sources.dicom import read_images


def _views(series: Iterable[Series], max_missing: float = 0.2, **study: Any) -> StudyViews:
    images = [image for _, data in files(series, **study) for image in read_images(data)]
    return study_views(images, max_missing_fraction=max_missing)


def _rejected(series: Iterable[Series], **study: Any) -> StudyRejected:
    with pytest.raises(StudyRejected) as caught:
        _views(series, **study)
    return caught.value


def _reasons(found: StudyViews) -> dict[int, str]:
    return {row["series"]: row["reason"] for row in found.excluded}


FULL = [*sax(), lax(5, 1), lax(66, 2), lax(128, 3)]


def test_a_study_of_one_series_a_slice_becomes_its_views() -> None:
    found = _views(FULL)
    assert sorted(found.views) == ["lax_2c", "lax_3c", "lax_4c", "sax"]
    stack = found.views["sax"]
    assert stack["intensity"].shape == (10, 8, 24, 20)
    assert stack.attrs["slice_mm"] == pytest.approx(10.0, abs=1e-3)
    assert stack.attrs["heart_rate_bpm"] == pytest.approx(60_000 / 900)
    assert stack.attrs["flags"] == []
    np.testing.assert_allclose(stack["time_ms"], 90.0 * np.arange(10))


def test_every_pixel_lies_where_the_header_says() -> None:
    stack = _views(FULL).views["sax"]
    for k, one in enumerate(sax()):
        for frame in range(10):
            np.testing.assert_array_equal(stack["intensity"].values[frame, k], pixels(one, frame))
        corner = np.array(dataset(one).ImagePositionPatient, float)
        np.testing.assert_allclose(stack["position_mm"].values[k], corner)


def test_one_series_for_all_slices_gives_the_same_stack() -> None:
    together = [replace(one, uid="1.2.3.99") for one in sax()]
    np.testing.assert_array_equal(_views(together).views["sax"]["intensity"], _views(sax()).views["sax"]["intensity"])


def test_the_order_of_images_does_not_count() -> None:
    images = [image for _, data in files(FULL) for image in read_images(data)]
    shuffled = [images[i] for i in np.random.default_rng(0).permutation(len(images))]
    again = study_views(shuffled, max_missing_fraction=0.2).views
    for view, expected in _views(FULL).views.items():
        assert expected.identical(again[view])


def test_slice_location_and_spacing_tags_are_not_believed() -> None:
    lying = set_header(sax(), SliceLocation="3.3", SpacingBetweenSlices="5.5")
    assert _views(lying).views["sax"].attrs["slice_mm"] == pytest.approx(10.0, abs=1e-3)


def test_missing_frames_are_masked_and_flagged() -> None:
    series = sax()
    series[2] = replace(series[2], dropped=(4, 5))
    stack = _views(series).views["sax"]
    assert stack["frame_valid"].values[[4, 5], 2].tolist() == [False, False]
    assert int((~stack["frame_valid"].values).sum()) == 2
    assert stack["intensity"].values[4, 2].max() == 0
    np.testing.assert_array_equal(stack["intensity"].values[6, 2], pixels(series[2], 6))
    assert "frame_missing" in stack.attrs["flags"]


def test_copies_of_every_image_are_no_more_frames() -> None:
    images = [image for _, data in files([*FULL, *FULL]) for image in read_images(data)]
    found = study_views(images, max_missing_fraction=0.0)
    expected = _views(FULL)
    assert list(found.views) == list(expected.views)
    assert all(view.identical(expected.views[name]) for name, view in found.views.items())


def test_a_colour_image_among_the_frames_is_a_missing_frame() -> None:
    images = [image for _, data in files(FULL) for image in read_images(data)]
    images[3].pixels = None
    found = study_views(images, max_missing_fraction=0.2)
    assert "frame_missing" in found.views["sax"].attrs["flags"]
    assert [(row["images"], row["reason"]) for row in found.excluded] == [(1, "series_result")]


def test_too_many_missing_frames_end_the_study() -> None:
    series = [replace(one, dropped=(1, 4, 7)) for one in sax()]
    series[0] = replace(series[0], dropped=())
    assert _rejected(series).reason == "frames_missing"


def test_a_long_axis_plane_with_too_many_missing_frames_is_left_out() -> None:
    found = _views([*sax(), lax(5, 1, dropped=(1, 4, 7))])
    assert sorted(found.views) == ["sax"]
    assert _reasons(found) == {1: "frames_missing"}


def test_a_smaller_matrix_is_padded_about_its_centre() -> None:
    series = sax()
    series[3] = replace(series[3], shape=(20, 16))
    stack = _views(series).views["sax"]
    assert "matrix_mixed" in stack.attrs["flags"]
    np.testing.assert_array_equal(stack["intensity"].values[0, 3, 2:22, 2:18], pixels(series[3], 0))
    assert stack["intensity"].values[0, 3, :2].max() == 0
    to_centre = 7.5 * 9.5 * stack["row_dir"].values[3] + 8.0 * 11.5 * stack["col_dir"].values[3]
    centre = stack["position_mm"].values[3] + to_centre
    np.testing.assert_allclose(centre, series[3].centre, atol=1e-3)


def test_another_pixel_size_is_resampled_about_its_centre() -> None:
    series = sax()
    flat = np.full((48, 40), 700, np.uint16)
    series[3] = replace(series[3], shape=(48, 40), pixel_mm=(4.0, 3.75), header={"PixelData": flat.tobytes()})
    stack = _views(series).views["sax"]
    assert stack["pixel_mm"].values.tolist() == [8.0, 7.5]
    assert "matrix_mixed" in stack.attrs["flags"]
    assert np.all(stack["intensity"].values[0, 3, 1:-1, 1:-1] == 700)


def _place_of_brightest(stack: xr.Dataset, k: int) -> np.ndarray:
    """Centre of brightness of slice ``k`` in the patient, in mm."""
    image = stack["intensity"].values[0, k].astype(float)
    rows, cols = np.mgrid[: image.shape[0], : image.shape[1]]
    row, col = ((axis * image).sum() / image.sum() for axis in (rows, cols))
    row_mm, col_mm = stack["pixel_mm"].values
    along = stack["col_dir"].values[k] * row * row_mm + stack["row_dir"].values[k] * col * col_mm
    return np.asarray(stack["position_mm"].values[k] + along)


OTHER_GRIDS = [((30, 26), (6.0, 5.5)), ((24, 20), (8.0, 7.5)), ((21, 17), (8.0, 7.5)), ((40, 33), (5.0, 4.0))]


@pytest.mark.parametrize(("shape", "pixel_mm"), OTHER_GRIDS)
def test_a_bright_spot_keeps_its_place_in_the_patient(shape: tuple[int, int], pixel_mm: tuple[float, float]) -> None:
    rows, cols = np.mgrid[: shape[0], : shape[1]]
    row, col = shape[0] / 2 - 2, shape[1] / 2 + 1
    apart_mm = np.hypot((rows - row) * pixel_mm[0], (cols - col) * pixel_mm[1])
    spot = np.round(3000 * np.exp(-((apart_mm / 14) ** 2) / 2)).astype(np.uint16)
    series = sax()
    series[3] = replace(series[3], shape=shape, pixel_mm=pixel_mm, header={"PixelData": spot.tobytes()})
    header = dataset(series[3])
    corner = np.array(header.ImagePositionPatient, float)
    row_dir, col_dir = np.array(header.ImageOrientationPatient, float).reshape(2, 3)
    expected = corner + col_dir * row * pixel_mm[0] + row_dir * col * pixel_mm[1]
    np.testing.assert_allclose(_place_of_brightest(_views(series).views["sax"], 3), expected, atol=0.1)


def test_oblong_pixels_keep_the_spacing_of_their_rows_and_columns() -> None:
    stack = _views(set_header(sax(), PixelSpacing=[1.5, 1.25])).views["sax"]
    assert stack["pixel_mm"].values.tolist() == [1.5, 1.25]


def test_the_heart_rate_is_that_of_the_middle_interval_of_images_and_of_planes() -> None:
    images = [
        image
        for one in sax(3)
        for frame in range(10)
        for image in read_images(encode(change(dataset(one, frame), NominalInterval=800 if frame < 2 else 900)))
    ]
    found = study_views(images, max_missing_fraction=0.2).views["sax"]
    assert found.attrs["heart_rate_bpm"] == pytest.approx(60_000 / 900)
    uneven = [replace(one, cycle_ms=800.0 if k == 0 else 1000.0) for k, one in enumerate(sax(3))]
    assert _views(uneven).views["sax"].attrs["heart_rate_bpm"] == pytest.approx(60.0)


def test_other_frames_a_cycle_are_sampled_and_flagged() -> None:
    series = sax()
    series[5] = replace(series[5], frames=12)
    stack = _views(series).views["sax"]
    assert stack.sizes["frame"] == 10
    assert "frames_mixed" in stack.attrs["flags"]
    assert stack["frame_valid"].values.all()


def test_a_repeated_series_is_settled_and_recorded() -> None:
    series = [*sax(), replace(sax()[4], number=50)]
    found = _views(series)
    np.testing.assert_array_equal(found.views["sax"]["intensity"].values[0, 4], pixels(series[-1], 0))
    assert _reasons(found) == {14: "series_repeated"}


def test_a_later_repeat_that_is_incomplete_does_not_win() -> None:
    found = _views([*sax(), replace(sax()[4], number=50, dropped=(3,))])
    assert _reasons(found) == {50: "series_repeated"}


def test_uneven_trigger_times_are_flagged() -> None:
    uneven = [
        read_images(encode(change(dataset(one, k), TriggerTime=str(90 * k + 40 * (k > 5)))))[0]
        for one in sax()
        for k in range(10)
    ]
    found = study_views(uneven, max_missing_fraction=0.2)
    assert found.views["sax"].attrs["flags"] == ["trigger_irregular"]


def test_without_times_and_without_motion_the_order_is_unknown() -> None:
    assert _rejected(set_header(sax(), TriggerTime="0")).reason == "order_unknown"


def test_the_heart_rate_falls_back_on_the_frames() -> None:
    series = set_header(sax(), NominalInterval="0")
    assert _views(series).views["sax"].attrs["heart_rate_bpm"] == pytest.approx(60_000 / 900, rel=1e-3)


def test_negative_values_are_stored_with_their_offset() -> None:
    low = np.full((24, 20), -50, np.int16)
    low[0, 0] = 900
    stack = _views(set_header(sax(), PixelRepresentation=1, PixelData=low.tobytes())).views["sax"]
    restored = stack["intensity"].values[0, 0].astype(int) * stack.attrs["intensity_scale"]
    np.testing.assert_array_equal(restored + stack.attrs["intensity_offset"], low)


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"ImageType": ["DERIVED", "SECONDARY", "OTHER"]}, "series_result"),
        (
            {"SeriesDescription": "flow_250_tp_AoV_P", "ImageType": ["ORIGINAL", "PRIMARY", "P"]},
            "series_phase_contrast",
        ),
        ({"SeriesDescription": "cine_tagging_3sl_SAX_b1s"}, "series_tagging"),
        ({"SeriesDescription": "ShMOLLI_T1MAP"}, "series_mapping"),
    ],
)
def test_other_series_are_left_out_with_their_reason(header: dict[str, Any], reason: str) -> None:
    found = _views([*sax(), *set_header([replace(sax()[4], number=90)], **header)])
    assert _reasons(found) == {90: reason}
    assert found.views["sax"].sizes["slice"] == 8


def test_scouts_are_left_out() -> None:
    scouts = [
        Series(number=99, uid="1.2.3.99", normal=np.eye(3)[k], frames=1, header={"CardiacNumberOfImages": 1})
        for k in range(3)
    ]
    assert _reasons(_views([*sax(), *scouts])) == {99: "series_scout"}


def test_a_cine_that_is_called_a_scout_is_no_scout() -> None:
    called = {"SeriesDescription": "localizer"}
    alone = _views(set_header(FULL, **called))
    assert sorted(alone.views) == ["lax_2c", "lax_3c", "lax_4c", "sax"]
    stack = sax()
    among = _views([*stack[:3], *set_header(stack[3:4], **called), *stack[4:]])
    assert (among.views["sax"].sizes["slice"], among.excluded) == (8, [])
    coarse = set_header(sax(3), **called, EchoTime="0.9")
    assert {row["reason"] for row in _views([*stack, *coarse]).excluded} == {"series_scout"}


def test_a_study_of_nothing_but_secondary_cines_is_read_and_flagged() -> None:
    secondary = ["DERIVED", "SECONDARY", "M", "RETRO", "CSA RESAMPLED"]
    alone = _views(set_header(FULL, ImageType=secondary))
    assert sorted(alone.views) == ["lax_2c", "lax_3c", "lax_4c", "sax"]
    assert all("cine_secondary" in view.attrs["flags"] for view in alone.views.values())
    among = _views([*set_header(sax(), ImageType=secondary), lax(66, 90)])
    assert list(among.views) == ["lax_2c"]
    assert {row["reason"] for row in among.excluded} == {"series_result"}
    assert "cine_secondary" not in among.views["lax_2c"].attrs["flags"]


@pytest.mark.parametrize(
    "header",
    [
        {"SeriesDescription": "InlineVF_Results"},
        {"PixelSpacing": None},
        {"PhotometricInterpretation": "PALETTE COLOR"},
        {"TriggerTime": None, "AcquisitionTime": "100000", "CardiacNumberOfImages": 1, "InstanceNumber": 1},
    ],
)
def test_results_without_any_cine_are_no_study(header: dict[str, Any]) -> None:
    only = set_header(sax(3, frames=1 if "InstanceNumber" in header else 10), ImageType=["DERIVED", "SECONDARY"])
    assert _rejected(set_header(only, **header)).reason == "wrong_series"


def test_a_cine_that_is_called_a_scout_is_ordered_like_any_other() -> None:
    called = {"SeriesDescription": "localizer", "TriggerTime": None, "AcquisitionTime": None}
    assert _rejected(set_header(sax(), **called)).reason == "order_unknown"


def test_a_stack_without_long_axes_and_long_axes_without_a_stack_are_studies() -> None:
    assert list(_views(sax()).views) == ["sax"]
    assert sorted(_views([lax(5, 1), lax(66, 2), lax(128, 3)]).views) == ["lax_2c", "lax_3c", "lax_4c"]


@pytest.mark.parametrize(
    "header",
    [
        {"ImagePositionPatient": None},
        {"ImagePositionPatient": ["nan", "0", "0"]},
        {"ImageOrientationPatient": ["1", "0", "0", "1", "0", "0"]},
        {"PixelSpacing": None},
    ],
)
@pytest.mark.filterwarnings("ignore:Invalid value for VR")
def test_a_cine_that_cannot_be_placed_ends_the_study(header: dict[str, Any]) -> None:
    assert _rejected(set_header(sax(), **header)).reason == "geometry_missing"


def test_two_patients_in_one_study_end_it_without_naming_them() -> None:
    images = [i for n, p in ((4, "P1"), (5, "P2")) for _, d in files(sax(n), patient=p) for i in read_images(d)]
    with pytest.raises(StudyRejected, match="mixed_patients") as caught:
        study_views(images, max_missing_fraction=0.2)
    assert "P1" not in str(caught.value)


def test_no_image_and_no_cine_are_different_ends() -> None:
    with pytest.raises(StudyRejected, match="no_dicom"):
        study_views([], max_missing_fraction=0.2)
    assert _rejected([Series(frames=1)]).reason == "wrong_series"


def test_only_whitelisted_plain_values_are_kept() -> None:
    text = repr(_views(set_header(sax(), SeriesDescription="sax <b>Secret</b>")).views["sax"].attrs)
    assert "Secret^Name" not in text
    assert "<b>" not in text
    assert "19500101" not in text


def test_a_flipped_stack_still_starts_at_the_base() -> None:
    flipped = [replace(one, normal=-AXIS) for one in sax()]
    heights = _views(flipped).views["sax"]["position_mm"].values @ AXIS
    assert np.all(np.diff(heights) > 0)


@pytest.mark.parametrize(("beats", "reason"), [(19, "series_short_run"), (20, None)])
def test_images_over_too_few_beats_are_no_first_pass(beats: int, reason: str | None) -> None:
    run = lax(5, 1, frames=beats, cycle_ms=900.0 * beats, header={"NominalInterval": 900})
    found = _views([*sax(), run])
    assert _reasons(found).get(1) == reason
    assert any(name.startswith("perfusion") for name in found.views) == (reason is None)


@pytest.mark.parametrize(
    ("first", "second", "is_one"),
    [("P 1", "p1", True), ("0012", "12", True), ("AB\tc", "abC ", True), ("12", "120", False), ("P1", "P01", False)],
)
def test_a_person_is_spelt_in_any_case_with_any_spaces_and_leading_zeros(first: str, second: str, is_one: bool) -> None:
    assert (person_of(first) == person_of(second)) is is_one
    images = header_images(patient_id=[first, first, None, f"{second} "])
    assert patient_spellings(images) == {first.strip(), second.strip()}


def test_what_was_left_out_is_one_row_a_series_and_reason_in_their_order() -> None:
    def group(n: int, **header: object) -> PlaneImages:
        images = header_images(**{name: [value] * n for name, value in header.items()})
        return PlaneImages(images, SeriesFacts(), Cycle(np.arange(n), np.arange(n) * 1.0, 900.0, False), None)

    late, early = (
        group(3, series_number=12, series_description="sax <Smith>"),
        group(2, series_number=2, series_description="scout"),
    )
    unnumbered = group(4, series_description="flow")
    found = _excluded_rows(
        [(late, "series_scout", 3), (early, "series_scout", 2), (late, "image_repeated", 1), (unnumbered, "x", 4),
         (late, "series_scout", 5), (early, "image_repeated", 0)]
    )  # fmt: skip
    assert [tuple(row.values()) for row in found] == [
        (-1, "flow", 4, "x"), (2, "scout", 2, "series_scout"), (12, "sax", 1, "image_repeated"),
        (12, "sax", 8, "series_scout"),
    ]  # fmt: skip
    assert list(found[0]) == ["series", "description", "images", "reason"]
