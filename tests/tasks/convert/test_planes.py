"""What the images of one acquisition say of their plane: its place, its frames, its kind; by hand."""

from typing import Any

import numpy as np
import pytest
from dicom_factory import header_images

from cmr_models.views.series_kind import SeriesFacts
from tasks.convert import planes
from tasks.convert.acquisitions import Acquisition
from tasks.convert.phases import Cycle, order
from tasks.convert.plane_images import PlaneImages, shown
from tasks.convert.timing import timing_of
from tasks.sources.dicom import Image

NAN = np.nan
N = 10
PLACE = {
    "position_mm": [r"10\20\30"] * N,
    "orientation": [r"0\1\0\0\0\-1"] * N,
    "pixel_mm": [r"1.5\1.25"] * N,
    "trigger_ms": [17 + 90 * k for k in range(N)],
    "nominal_interval_ms": [900] * N,
    "instance_number": range(1, N + 1),
    "rows": [12] * N,
    "columns": [8] * N,
}


def _images(**columns: Any) -> list[Image]:
    """Ten images of 12 rows and 8 columns in one place; ``columns`` take the place of header values."""
    images = header_images(**{**PLACE, **columns})
    for k, image in enumerate(images):
        image.pixels = np.full((12, 8), k, np.uint16)
    return images


def _found(images: list[Image], n_expected: int = 0, beat: Any = "") -> list[PlaneImages]:
    return planes._planes(Acquisition(images, 1, beat), timing_of(images, n_expected=n_expected))


# how many frames there should be


@pytest.mark.parametrize(
    ("counts", "declared", "beat", "expected"),
    [
        ([25, 25], 30, "", 30),  # two planes that agree are not enough against the header
        ([25, 25, 25], 30, "", 25),  # three are
        ([25, 25, 30], 30, "", 30),
        ([25, 25, 30], None, "", 25), ([25, 25, 30], 0, "", 25), ([25, 25, 30], 1000, "", 1000),
        ([25, 25, 30], 1001, "", 25),
        ([25, 25, 30], 75, "one", 25), ([25, 25, 30], 75, "other", 25),
        ([25, 25, 5, 5, 5, 5], None, "", 25),  # of fewer than six frames are no cines
        ([6, 6, 6, 5, 5, 5, 5], 40, "", 6), ([5, 5, 5], 40, "", 40), ([5, 5, 5], None, "", 0), ([], None, "", 0),
    ],
)  # fmt: skip
def test_a_header_says_how_many_frames_there_should_be_unless_all_planes_agree(
    counts: list[int], declared: int | None, beat: Any, expected: int
) -> None:
    (image,) = header_images(cardiac_images=[declared])
    assert planes._Expected(counts).frames(Acquisition([image], 1, beat), timing_of([image])) == expected


# place


def test_the_plane_lies_where_most_images_say_with_rows_before_columns() -> None:
    (found,) = _found(_images(thickness_mm=[7] * N, series_description=["cine"] * N, protocol_name=["sax"] * N))
    plane = found.plane
    assert plane is not None
    assert (plane.pixel_mm, plane.shape, plane.thickness_mm) == ((1.5, 1.25), (12, 8), 7)
    assert (plane.n_frames, plane.n_expected, plane.description) == (N, N, "cine sax")
    np.testing.assert_allclose([plane.position_mm, plane.row_dir, plane.col_dir], [[10, 20, 30], [0, 1, 0], [0, 0, -1]])
    assert not plane.is_real_time
    moved = [r"10\20\30"] * 4 + [r"12\20\30"] * 3 + [r"12\25\30"] * 2 + [r"900\25"]
    (found,) = _found(_images(position_mm=moved))
    assert found.plane is not None
    np.testing.assert_allclose(found.plane.position_mm, [12, 20, 30])  # the median of each of nine; one is no place


def test_a_plane_that_lacks_frames_says_so() -> None:
    (found,) = _found(_images()[:8], n_expected=N)
    assert found.plane is not None
    assert (found.plane.n_frames, found.plane.n_expected) == (8, N)


@pytest.mark.parametrize(
    ("name", "value", "is_placed"),
    [
        ("position_mm", r"1\2", False), ("position_mm", r"1\2\nan", False), ("position_mm", "x", False),
        ("orientation", r"0\1\0\0\0", False), ("orientation", r"0\1\0\0\1\0", False),
        ("orientation", r"0\1.019\0\0\0\-1", False), ("orientation", r"0\1.009\0\0\0\-1", True),
        ("pixel_mm", "1.5", False), ("pixel_mm", r"0.05\1", False), ("pixel_mm", r"0.051\1", True),
        ("pixel_mm", r"1\19.9", True), ("pixel_mm", r"1\20", False), ("pixel_mm", r"nan\1", False),
    ],
)  # fmt: skip
def test_a_place_needs_three_numbers_two_directions_and_pixels_that_can_be(
    name: str, value: str, is_placed: bool
) -> None:
    (found,) = _found(_images(**{name: [value] * N}))
    assert (found.plane is not None) is is_placed
    if found.plane is not None:
        np.testing.assert_allclose(np.linalg.norm([found.plane.row_dir, found.plane.col_dir], axis=1), 1)


# facts


def test_facts_are_what_the_headers_of_all_images_say() -> None:
    clock = [f"1000{k:02d}.5" for k in range(N - 1)] + [None]
    (found,) = _found(
        _images(
            acquisition_time=clock, sequence_name=["*tfi2d1"] * N, image_type=[r" original\PRIMARY \m"] * N,
            complex_component=["phase", *["MAGNITUDE"] * 9], modality=[None, *["CT"] * 9],
        )
    )  # fmt: skip
    facts = found.facts
    assert (facts.trigger_span_ms, facts.acquisition_span_ms, facts.cycle_ms) == (810, 8000, 900)
    assert facts.image_type == ("ORIGINAL", "PRIMARY", "M", "PHASE")  # of the first frame in time
    assert (facts.modality, facts.n_frames, facts.n_orientations, facts.has_colour) == ("MR", N, 1, False)
    assert facts.sequence_name == "*tfi2d1"


@pytest.mark.parametrize(("values", "span"), [([3, NAN, 10, 5], 7), ([3, NAN], NAN), ([], NAN)])
def test_a_span_is_of_two_known_values_at_least(values: list[float], span: float) -> None:
    assert planes._span(np.array(values)) == pytest.approx(span, nan_ok=True)


@pytest.mark.parametrize(("declared", "n_frames"), [("25", 25), ("0", 1), ("100000", 1), (None, 1), ("99999", 99_999)])
def test_a_file_of_many_frames_that_was_not_taken_apart_counts_as_it_says(declared: str | None, n_frames: int) -> None:
    (image,) = header_images(frames=[declared], instance_number=[1])
    (found,) = _found([image])
    assert (found.facts.n_frames, found.facts.has_colour) == (n_frames, True)


@pytest.mark.parametrize(
    ("header", "is_secondary"),
    [
        ({}, True), ({"position_mm": [r"1\2\3"]}, True),
        ({"position_mm": [r"1\2\3"], "orientation": [r"1\0\0\0\1\0"], "pixel_mm": [r"1\1"]}, False),
    ],
)  # fmt: skip
def test_a_capture_without_a_place_is_a_result(header: dict[str, Any], is_secondary: bool) -> None:
    for sop_class, could_be in (("1.2.840.10008.5.1.4.1.1.7.3", True), ("1.2.840.10008.5.1.4.1.1.4", False)):
        (image,) = header_images(sop_class=[sop_class], **header)
        (found,) = _found([image])
        assert ("SECONDARY" in found.facts.image_type) == (is_secondary and could_be)


# repeats and beats


def test_frames_that_were_taken_again_are_flagged_and_copies_of_a_file_are_not() -> None:
    again = _images(acquisition_time=["113000"] * N)[:2]
    (found,) = _found([*_images(acquisition_time=["100000"] * N), *again])
    assert (found.flags, found.n_repeats, found.cycle.n_valid) == (("frame_repeated",), 2, N)
    assert [found.images[int(i)] is image for i, image in zip(found.cycle.image[:2], again, strict=True)] == [
        True,
        True,
    ]
    (found,) = _found([*_images(), *_images()[:2]])
    assert (found.flags, found.n_repeats) == ((), 2)


def test_the_beat_of_a_real_time_cine_is_one_plane_and_the_others_are_left_out() -> None:
    columns = {
        "trigger_ms": [100 * k for k in range(30)], "nominal_interval_ms": [1000] * 30,
        "instance_number": range(1, 31),
        **{name: [PLACE[name][0]] * 30 for name in ("position_mm", "orientation", "pixel_mm", "rows", "columns")},  # type: ignore[index]
    }  # fmt: skip
    measured, rest = _found(_images(**columns))
    assert [image.number("trigger_ms") for image in measured.images] == [1000 + 100 * k for k in range(10)]
    assert (measured.flags, measured.left_out, rest.left_out) == (("beat_chosen",), "", "series_other_beat")
    assert measured.plane is not None
    assert measured.plane.is_real_time
    assert sorted(image.number("trigger_ms") for image in rest.images) == [
        100 * k for k in (*range(10), *range(20, 30))
    ]
    (one,), (other,) = (_found(_images(), beat=beat) for beat in ("one", "other"))
    assert (one.flags, other.left_out) == (("beat_chosen",), "series_other_beat")


# motion


def test_motion_is_the_spread_of_every_second_frame_row_and_column_on_one_scale() -> None:
    images = _images()
    for k, image in enumerate(images):
        assert image.pixels is not None
        image.pixels[:] = 999 if k % 2 else 0
        image.pixels[2, 4] = 10 * k
        image.pixels[3, 5] = 500 * k  # between those looked at
    group = PlaneImages(images, SeriesFacts(), order(timing_of(images)), None)
    found = planes.motion(group)
    assert found.shape == (6, 4)
    assert np.argwhere(found).tolist() == [[1, 2]]
    assert found[1, 2] == pytest.approx(np.sqrt(800))  # 0, 20, 40, 60, 80: variance 800
    for k, image in enumerate(images):  # by slopes of 1, 2 ... and intercepts of 5, 10 ...
        image.values |= {0x00281053: str(1 + k).encode(), 0x00281052: str(5 * k).encode()}
    # 0 * 1 + 0, 20 * 3 + 10, 40 * 5 + 20, 60 * 7 + 30, 80 * 9 + 40, where the background is 0, 10, 20, 30, 40
    assert planes.motion(group)[1, 2] == pytest.approx(np.std([0, 70, 220, 450, 760]), rel=1e-5)
    assert planes.motion(group)[0, 0] == pytest.approx(np.std([0, 10, 20, 30, 40]), rel=1e-5)


def test_motion_leaves_out_gaps_and_frames_without_pixels() -> None:
    images = _images()
    images[4].pixels = None
    cycle = Cycle(np.array([0, -1, 2, 3, 4, 5, 6, -1, 8, 9]), np.arange(10.0), 900.0, False)
    group = PlaneImages(images, SeriesFacts(), cycle, None)
    assert planes.motion(group)[0, 0] == pytest.approx(np.std([0, 3, 5, 8]))  # of 0, 2, 3, 4, 5, 6, 8, 9 every second


def test_frames_are_shown_in_their_order_without_gaps_and_colour() -> None:
    images = _images()
    images[2].pixels = None
    cycle = Cycle(np.array([3, -1, 0, 2, 1, -1]), np.arange(6.0), 900.0, False)
    assert [int(frame[0, 0]) for frame in shown(images, cycle)] == [3, 0, 1]
    images[5].fault, images[7].fault = "dicom_corrupt", "pixel_bits_contradict"
    group = PlaneImages(images, SeriesFacts(), cycle, None)
    assert (group.fault, group.n_repeats) == ("dicom_corrupt", 6)
