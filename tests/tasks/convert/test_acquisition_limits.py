"""What belongs together, on either side of each limit: places, directions, thicknesses, breaths, echoes, beats."""

from typing import Any

import numpy as np
import pytest
from dicom_factory import header_images

from tasks.convert import acquisitions
from tasks.convert.acquisitions import Acquisition, acquisitions_of
from tasks.sources.dicom import Image

NAN = np.nan


def _places(*positions: str, thickness: Any = 8, orientation: Any = r"1\0\0\0\1\0") -> list[tuple[int, int]]:
    """Number of the place and of the direction of each position."""
    n = len(positions)
    thicknesses = thickness if isinstance(thickness, list) else [thickness] * n
    orientations = orientation if isinstance(orientation, list) else [orientation] * n
    images = header_images(position_mm=positions, thickness_mm=thicknesses, orientation=orientations)
    found = acquisitions._places(images)
    return [found[acquisitions._spelling(image)] for image in images]


def _n_places(*positions: str, **facts: Any) -> int:
    return len({place for place, _ in _places(*positions, **facts)})


@pytest.mark.parametrize(
    ("thickness", "apart_mm", "n"),
    [
        (8, 0.99, 1), (8, 1.01, 2), (20, 0.99, 1), (20, 1.01, 2), (4, 0.49, 1), (4, 0.51, 2), (1, 0.29, 1),
        (1, 0.31, 2),
        (None, 0.29, 1), (None, 0.31, 2),
    ],
)  # fmt: skip
def test_images_within_an_eighth_of_their_thickness_are_in_one_place(thickness: Any, apart_mm: float, n: int) -> None:
    assert _n_places(r"5\-3\20", rf"{5 + apart_mm}\-3\20", thickness=thickness) == n
    assert _n_places(r"5\-3\20", rf"5\-3\{20 - apart_mm}", thickness=thickness) == n
    moved = rf"{5 + apart_mm}\{-3 - apart_mm}\{20 + apart_mm}"  # along all three at once
    assert _n_places(r"5\-3\20", moved, thickness=thickness) == n


def test_places_are_one_in_chains_and_in_any_order_and_spelling() -> None:
    assert _n_places(r"0\0\1.8", r"0\0\0", r"0\0\0.9") == 1
    assert _n_places(r"0\0\2.0", r"0\0\0", r"0\0\0.9") == 2
    assert _n_places(r"0\0\1", r"0.0\-0\1.00 ") == 1
    assert _places(r"0\0", "", r"0\0\nan", r"0\0\x") == [(-1, 0)] * 4


@pytest.mark.parametrize(("other", "n"), [(8.39, 1), (8.41, 2), (7.63, 1), (7.61, 2)])
def test_thicknesses_within_a_twentieth_are_one_spelt_otherwise(other: float, n: int) -> None:
    assert _n_places(r"0\0\0", r"0\0\0", thickness=[8, other]) == n


def test_the_thinnest_of_like_thicknesses_says_how_near_a_place_is() -> None:
    assert _n_places(r"0\0\0", r"0\0\0.515", thickness=[4, 4.19]) == 2  # an eighth of 4 and not of 4.19
    assert _n_places(r"0\0\0", r"0\0\0.6", r"0\0\0.6", thickness=[4, 4, 9]) == 3  # each thickness has its own places


@pytest.mark.parametrize(("turned", "n"), [("0.009", 1), ("0.011", 2)])
def test_directions_within_a_hundredth_are_one(turned: str, n: int) -> None:
    found = _places(r"0\0\0", r"9\9\9", orientation=[r"1\0\0\0\1\0", rf"1\0\0\0\1\{turned}"])
    assert len({direction for _, direction in found}) == n


# series that hold a part of a cycle


def _part(n: int = 1, declared: Any = 25, **changes: Any) -> list[Image]:
    return header_images(cardiac_images=[declared] * n, **{name: [value] * n for name, value in changes.items()})


@pytest.mark.parametrize(
    ("n", "declared", "is_part"),
    [(5, None, True), (6, None, False), (24, 25, True), (25, 25, False), (5, 5, True), (6, 6, False), (999, 4000, True),
     (1000, 4000, False)],
)  # fmt: skip
def test_a_series_is_a_part_if_it_has_fewer_frames_than_its_header_says(n: int, declared: Any, is_part: bool) -> None:
    assert acquisitions._is_fragment(_part(n, declared)) is is_part


def test_parts_of_one_series_number_are_joined_and_single_ones_if_taken_in_one_breath() -> None:
    parts = {
        "a": _part(2, series_number=4, acquisition_time="100000"),
        "b": _part(3, series_number=4, acquisition_time="110000"),
        "c": _part(series_number=5, acquisition_time="100159.9"),
        "d": _part(series_number=6, acquisition_time="100100"),
        "e": _part(series_number=7, acquisition_time="100259.9"), "f": _part(series_number=8, series_time="100200"),
        "g": _part(series_number=9), "h": _part(series_number=None),
    }  # fmt: skip
    names = {id(image): name for name, part in parts.items() for image in part}
    joined = ["".join(names[id(image)] for image in whole) for whole in acquisitions._joined(list(parts.values()))]
    # d and c are 59.9 s apart, c and f 0.1 s, f and e 59.9 s; nobody knows when g and h were taken
    assert joined == ["aabbb", "gh", "dcfe"]
    late = [*parts.values(), _part(series_number=10, acquisition_time="100359.9")]  # 60 s after e
    assert [len(whole) for whole in acquisitions._joined(late)] == [5, 2, 4, 1]


@pytest.mark.parametrize(
    ("other", "alike"),
    [
        ({"series_description": " SAX  b12 "}, True), ({"series_description": "sax c3"}, False),
        ({"sequence_name": "TFI2D1_10"}, True), ({"sequence_name": "tfi3e1"}, False),
        ({"echo_time_ms": "1.50001"}, True), ({"echo_time_ms": "1.51"}, False), ({"flip_angle_deg": 51}, False),
        ({"thickness_mm": 7}, False), ({"repetition_time_ms": 41}, False), ({"inversion_ms": 300}, False),
        ({"cardiac_images": 20}, False),
    ],
)  # fmt: skip
def test_parts_are_alike_by_how_they_were_taken_and_not_by_numbers_in_words(other: dict[str, Any], alike: bool) -> None:
    usual = {
        "series_description": "sax b3", "sequence_name": "tfi2d1_12", "echo_time_ms": "1.5", "flip_angle_deg": 50,
        "thickness_mm": 8, "repetition_time_ms": 40, "cardiac_images": 25,
    }  # fmt: skip
    first, second = header_images(
        **{name: [usual.get(name), {**usual, **other}.get(name)] for name in {**usual, **other}}
    )
    assert (acquisitions._protocol(first) == acquisitions._protocol(second)) is alike


# echoes and beats


@pytest.mark.parametrize(
    ("times", "groups"),
    [
        ([1.0, 1.04, 1.0], [[0, 1, 2]]), ([2.0, 1.901, 2.0], [[0, 1, 2]]), ([2.0, 1.89, 2.0], [[1], [0, 2]]),
        ([3.0, 1.0, 2.0, 1.0], [[1, 3], [2], [0]]), ([1.0, None, 3.0], [[0, 1, 2]]),
        ([1.0, 1.04, 1.08, 1.12], [[0, 1, 2, 3]]),  # in steps of less than a twentieth
        ([1.0, 1.052, 1.0], [[0, 1, 2]]), ([1.0, 1.053, 1.0], [[0, 2], [1]]), ([0.95, 1.0, 1.051], [[0], [1], [2]]),
    ],
)  # fmt: skip
def test_echoes_are_further_apart_than_a_twentieth(times: list[float | None], groups: list[list[int]]) -> None:
    images = header_images(echo_time_ms=times)
    places = {id(image): k for k, image in enumerate(images)}
    assert [[places[id(image)] for image in echo] for echo in acquisitions._echoes(images)] == groups


def test_times_are_cut_where_they_fall_back_by_more_than_half_of_their_span() -> None:
    times = np.array([0.0, 50, 100, 50, 90, 20, 60, 0])
    found = acquisitions._cut(times, np.arange(8))
    assert [run.tolist() for run in found] == [[0, 1, 2, 3, 4], [5, 6], [7]]  # by 50 no, by 70 and 60 yes
    found = acquisitions._cut(times, np.array([7, 5, 3, 6, 4, 2, 0, 1]))
    assert [run.tolist() for run in found] == [[7, 5, 3, 6, 4, 2], [0, 1]]


CYCLE = np.arange(6.0) * 100


@pytest.mark.parametrize(
    ("runs", "are_repeats"),
    [
        ([CYCLE, CYCLE], True), ([CYCLE], False), ([CYCLE, CYCLE[:5]], False), ([CYCLE, CYCLE[::-1]], False),
        ([CYCLE, CYCLE + 249], True), ([CYCLE, CYCLE + 250], False),  # they share half of the cycle, or less
        ([CYCLE, CYCLE / 2], True), ([CYCLE, CYCLE / 2 + 249, CYCLE / 2 + 10], False),
        ([CYCLE, CYCLE / 2 + 400], False),
        ([CYCLE, np.array([0, 100, 100, 200, 300, 400])], True),
    ],
)  # fmt: skip
def test_runs_that_show_the_same_half_of_a_cycle_in_order_are_repeats(
    runs: list[np.ndarray], are_repeats: bool
) -> None:
    assert acquisitions._are_repeats(runs) is are_repeats


def _beat(start_s: float, n: int = 2) -> list[Image]:
    return header_images(acquisition_time=[f"1000{start_s + 0.5 * k:06.3f}" for k in reversed(range(n))])


@pytest.mark.parametrize(
    ("starts_s", "follow"),
    [([1.0, 2.0, 3.5], True), ([3.5, 1.0, 2.0], True), ([1.0], False), ([1.0, 3.999], True), ([1.0, 4.0], False),
     ([1.0, 1.0, 2.0], False), ([1.0, 2.0, 9.0], False)],
)  # fmt: skip
def test_beats_follow_each_other_within_the_longest_cycle(starts_s: list[float], follow: bool) -> None:
    assert acquisitions._follow_each_other([_beat(start) for start in starts_s]) is follow


@pytest.mark.parametrize(
    ("lengths", "middle"),
    [([10, 10, 10], 1), ([10, 10], 1), ([10, 9, 8, 10], 1), ([8, 10, 8], 1), ([9, 10, 8, 7], 1), ([10], 0)],
)
def test_the_middle_one_of_beats_with_nine_tenths_of_the_frames_is_measured(lengths: list[int], middle: int) -> None:
    assert acquisitions._middle_beat([_part(n) for n in lengths]) == middle


# all together


def _study(**changes: Any) -> list[Image]:
    """A series of two planes of seven frames; headers by name, a list of fourteen each."""
    columns = {
        "series_uid": ["1.9"] * 14, "position_mm": [r"0\0\0"] * 7 + [r"0\0\9"] * 7,
        "orientation": [r"1\0\0\0\1\0"] * 14,
        "rows": [24] * 14, "columns": [20] * 14, "instance_number": range(1, 15),
        "trigger_ms": [100 * k for k in range(7)] * 2,
        "acquisition_time": ["100100"] * 7 + ["100000"] * 7, "image_type": [r"ORIGINAL\PRIMARY\M"] * 14,
    }  # fmt: skip
    return header_images(**{**columns, **changes})


def _shape(found: list[Acquisition]) -> list[tuple[int, int, str]]:
    return [(len(one.images), one.n_orientations, one.beat) for one in found]


def test_planes_of_a_series_are_apart_in_an_order_that_the_images_do_not_change() -> None:
    images = _study()
    found = acquisitions_of(images)
    assert _shape(found) == [(7, 1, ""), (7, 1, "")]
    assert [one.images[0].text("position_mm") for one in found] == [r"0\0\0", r"0\0\9"]
    for order in (images[::-1], images[7:] + images[:7]):
        assert [one.images[0].text("position_mm") for one in acquisitions_of(order)] == [r"0\0\0", r"0\0\9"]


@pytest.mark.parametrize(
    ("changes", "shape"),
    [
        ({"position_mm": [r"0\0\0"] * 14, "trigger_ms": [50 * k for k in range(14)]}, [(14, 1, "")]),
        ({"rows": [24] * 7 + [25] * 7}, [(7, 1, ""), (7, 1, "")]), ({"columns": [20] * 3 + [21] * 4 + [20] * 7}, None),
        ({"orientation": [r"1\0\0\0\1\0"] * 7 + [r"0\1\0\0\0\1"] * 7}, [(7, 2, ""), (7, 2, "")]),
        ({"orientation": [r"1\0\0\0\1\0"] * 7 + [r"0\1\0\0\0\1"] * 7, "series_uid": ["1.9"] * 7 + ["1.8"] * 7},
         [(7, 1, ""), (7, 1, "")]),
    ],
)  # fmt: skip
def test_a_plane_is_one_place_direction_and_matrix(changes: dict[str, Any], shape: Any) -> None:
    found = _shape(acquisitions_of(_study(**changes)))
    assert found == shape if shape else len(found) == 3


def test_of_one_place_other_kinds_are_apart_and_kinds_that_complete_each_other_are_not() -> None:
    one_place = {"position_mm": [r"0\0\0"] * 14, "trigger_ms": [50 * k for k in range(14)]}
    turns = [r"ORIGINAL\PRIMARY\M\NORM" if k % 2 else r"ORIGINAL\PRIMARY\M\ND" for k in range(14)]
    assert _shape(acquisitions_of(_study(**one_place, image_type=turns))) == [(14, 1, "")]
    both = {**one_place, "trigger_ms": [100 * (k // 2) for k in range(14)]}  # every frame in both versions
    assert _shape(acquisitions_of(_study(**both, image_type=turns))) == [(7, 1, ""), (7, 1, "")]
    parts = [r"ORIGINAL\PRIMARY\M" if k % 2 else r"ORIGINAL\PRIMARY\P" for k in range(14)]
    assert _shape(acquisitions_of(_study(**one_place, image_type=parts))) == [(7, 1, ""), (7, 1, "")]
    for after_ms, n in (
        (26, 1),
        (24, 2),
    ):  # one of the frames lies further from the one before than half a step, or not
        close = [50 * k if k != 5 else 200 + after_ms for k in range(14)]
        assert len(acquisitions_of(_study(**{**one_place, "trigger_ms": close}, image_type=turns))) == n


def test_a_first_pass_stays_whole_and_a_cine_with_two_echoes_does_not() -> None:
    echoes = {
        "position_mm": [r"0\0\0"] * 14,
        "echo_time_ms": [1.2, 2.4] * 7,
        "trigger_ms": [100 * (k // 2) for k in range(14)],
    }
    assert _shape(acquisitions_of(_study(**echoes))) == [(7, 1, ""), (7, 1, "")]
    assert _shape(acquisitions_of(_study(**echoes, series_description=["stress perf"] * 14))) == [(14, 1, "")]
    assert _shape(acquisitions_of(_study(**echoes, protocol_name=["first pass"] * 14))) == [(14, 1, "")]


def test_a_cycle_acquired_twice_is_two_and_three_beats_in_a_row_are_one_and_others() -> None:
    twice = {"position_mm": [r"0\0\0"] * 14, "acquisition_time": ["100000"] * 7 + ["100030"] * 7}
    assert _shape(acquisitions_of(_study(**twice))) == [(7, 1, ""), (7, 1, "")]
    in_a_row = {"position_mm": [r"0\0\0"] * 14, "acquisition_time": [f"10000{k // 7}.{k % 7}" for k in range(14)]}
    found = acquisitions_of(_study(**in_a_row))
    assert sorted(_shape(found)) == [(7, 1, "one"), (7, 1, "other")]
    (measured,) = (one for one in found if one.beat == "one")
    assert {image.text("acquisition_time")[:6] for image in measured.images} == {"100001"}
