"""When frames of a classic file were taken: which value counts, and on either side of each limit."""

from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from tasks.sources.dicom.frames import _are_of_display, _philips_slope, frame_times_ms, real_world_values, value_bytes
from tasks.sources.dicom.image import MODALITY_LUT, TAGS

TRIGGER, FRAME_TIME, VECTOR, PLACE = 0x00181060, 0x00181063, 0x00181065, 0x00200032


def _dataset(**values: Any) -> Dataset:
    ds = Dataset()
    for name, value in values.items():
        setattr(ds, name, value)
    return ds


def _times(n: int, **values: Any) -> list[float] | None:
    found = frame_times_ms(_dataset(**values), n)
    return None if found is None else found.tolist()


STEPS, DELAYS = [0, 30, 20, 40], [5, 15, 50, 90]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"FrameTime": "40"}, [0, 40, 80, 120]), ({"FrameTime": "40", "TriggerTime": "17"}, [17, 57, 97, 137]),
        ({"FrameTime": "0"}, None), ({"FrameTime": "-1"}, None), ({}, None),
        ({"FrameTimeVector": STEPS}, [0, 30, 50, 90]), ({"FrameTimeVector": [7, *STEPS[1:]]}, [0, 30, 50, 90]),
        ({"FrameTimeVector": STEPS, "TriggerTime": "17"}, [17, 47, 67, 107]),
        ({"FrameTimeVector": STEPS[:3]}, None), ({"FrameTimeVector": [*STEPS, 1]}, None),
        ({"FrameTimeVector": [0, 30, 0, 40]}, None),  # two frames at one time
        # without a pointer trigger times of frames go before steps, and steps before one step
        ({"TriggerTime": DELAYS, "FrameTimeVector": STEPS, "FrameTime": "40"}, DELAYS),
        ({"FrameTimeVector": STEPS, "FrameTime": "40"}, [0, 30, 50, 90]),
        ({"FrameTimeVector": STEPS[:2], "FrameTime": "40"}, [0, 40, 80, 120]),
        # a pointer says which; the first of several
        ({"TriggerTime": DELAYS, "FrameTime": "40", "FrameIncrementPointer": FRAME_TIME}, [0, 40, 80, 120]),
        ({"FrameTimeVector": STEPS, "FrameTime": "9", "FrameIncrementPointer": [FRAME_TIME, VECTOR]}, [0, 9, 18, 27]),
        ({"FrameTimeVector": STEPS, "FrameTime": "40", "FrameIncrementPointer": [PLACE, VECTOR]}, [0, 30, 50, 90]),
        ({"FrameTimeVector": STEPS, "FrameIncrementPointer": PLACE}, None),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore")
def test_frames_are_timed_by_what_the_header_points_to_or_has(values: Any, expected: list[float] | None) -> None:
    assert _times(4, **values) == expected


@pytest.mark.parametrize(
    ("last", "cycle", "are_times"),
    [
        # as steps 100, 200, 300 and the last come to more than 1.3 cycles of 900 ms, or to 3000 ms, or not
        (570, {"NominalInterval": 900}, False), (571, {"NominalInterval": 900}, True),
        (2400, {}, False), (2401, {}, True),
        (700, {"HeartRate": 60}, False), (701, {"HeartRate": 60}, True),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore")
def test_a_vector_that_rises_and_comes_to_more_than_a_cycle_holds_times(last: int, cycle: Any, are_times: bool) -> None:
    expected = [0, 100, 200, 300, last] if are_times else [0, 100, 300, 600, 600 + last]
    assert _times(5, FrameTimeVector=[0, 100, 200, 300, last], **cycle) == expected
    falling = [0, 100, 300, 200, last]
    assert _times(5, FrameTimeVector=falling, **cycle) == [0, 100, 400, 600, 600 + last]


@pytest.mark.parametrize(
    ("times", "cycle_ms", "are_of_display"),
    [
        (53.0 * np.arange(10), 900, True), (54.0 * np.arange(10), 900, False),  # 530 and 540 of 900 ms
        (53.0 * np.arange(6), 900, True), (53.0 * np.arange(5), 900, False),  # five frames tell nothing
        (3.0 * np.arange(10), 900, True), (2.9 * np.arange(10), 900, False),
        (np.array([0, 53, 106, 159, 212, 266.0]), 900, False), (53.0 * np.arange(10), np.nan, False),
    ],
)  # fmt: skip
def test_even_steps_that_make_less_than_six_tenths_of_a_cycle_are_a_viewers(
    times: Any, cycle_ms: float, are_of_display: bool
) -> None:
    dataset = _dataset() if np.isnan(cycle_ms) else _dataset(NominalInterval=cycle_ms)
    assert _are_of_display(times, dataset) == are_of_display


def _mapping(**values: Any) -> list[Dataset]:
    return [_dataset(RealWorldValueMappingSequence=[_dataset(**values)])]


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        ({"RealWorldValueSlope": 2.5, "RealWorldValueIntercept": -4.0}, ("2.5", "-4.0")),
        # a table from 10 on: values 3, 5, 7 are 2 x - 17
        (
            {"RealWorldValueLUTData": [3.0, 5.0, 7.0], "RealWorldValueFirstValueMapped": 10, "RealWorldValueSlope": 9},
            ("2.0", "-17.0"),
        ),
        ({"RealWorldValueLUTData": [7.0, 5.0, 3.0], "RealWorldValueFirstValueMapped": 0}, ("-2.0", "7.0")),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore")
def test_a_mapping_or_a_straight_table_is_a_slope(values: Any, scale: tuple[str, str]) -> None:
    found = real_world_values(_mapping(**values))
    assert tuple(found[TAGS[name]].decode() for name in ("rescale_slope", "rescale_intercept")) == scale


@pytest.mark.parametrize(
    ("table", "first"),
    [([3.0, 5.0, 8.0], 0), ([3.0, 3.0, 3.0], 0), ([3.0], 0), ([3.0, 5.0], None), ([3.0, 5.001, 7.0], 0)],
)
@pytest.mark.filterwarnings("ignore")
def test_another_table_is_one_that_is_not_read(table: list[float], first: int | None) -> None:
    known = {} if first is None else {"RealWorldValueFirstValueMapped": first}
    assert real_world_values(_mapping(RealWorldValueLUTData=table, **known)) == {MODALITY_LUT: b""}
    assert real_world_values(_mapping()) == {}
    assert real_world_values([_dataset()]) == {}


@pytest.mark.parametrize(
    ("name", "value", "raw"),
    [
        ("rows", 513, b"\x01\x02"), ("rows", None, b""), ("rows", b"\x01\x02\x03", b"\x01\x02"),
        ("padding", -2, b"\xfe\xff"),
        ("philips_scale_slope", 0.5, b"\x00\x00\x00?"), ("trigger_ms", 12.5, b"12.5"),
        ("pixel_mm", [1.5, 1.25], rb"1.5\1.25"),
        ("series_description", "Ä", b"\xc4"), ("position_mm", [1, None, 3], rb"1\\3"), ("image_type", b"raw", b"raw"),
    ],
)  # fmt: skip
def test_values_are_as_they_would_lie_in_a_file(name: str, value: Any, raw: bytes) -> None:
    assert value_bytes(TAGS[name], value) == raw


def test_the_scale_of_philips_lies_in_the_first_item_of_their_sequence() -> None:
    item, group = Dataset(), Dataset()
    item.add_new(0x2005100E, "FL", 0.5)
    assert _philips_slope(group) is None
    for items, slope in (([], None), ([item], 0.5), ([Dataset(), item], None), ([item, Dataset()], 0.5)):
        group.add_new(0x2005140F, "SQ", items)
        assert _philips_slope(group) == slope
