"""Which header value orders the frames of every cine: by hearts that beat, stand still or were mislabelled."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from dicom_factory import Series, beating, header_images

from tasks.convert import planes
from tasks.convert.acquisitions import Acquisition
from tasks.convert.frame_orders import settle_orders
from tasks.convert.plane_images import PlaneImages
from tasks.convert.timing import timing_of

N = 12
RIGHT = [60 * k for k in range(N)]
WRONG = [60 * k for k in np.random.default_rng(3).permutation(N).tolist()]
NUMBERS = list(range(1, N + 1))
MIXED = [1 + (7 * k) % N for k in range(N)]
NOTHING = [None] * N


def _plane(
    trigger: Sequence[object], numbers: Sequence[object] = NUMBERS, *, moves: bool = True, **columns: Any
) -> PlaneImages:
    """A heart that beats once in twelve frames, image k at the k-th moment; or a still one with a flashing pixel."""
    images = header_images(trigger_ms=trigger, instance_number=numbers, nominal_interval_ms=[720] * N, **columns)
    one = Series(frames=N, shape=(24, 20))
    for k, image in enumerate(images):
        image.pixels = beating(one, k).pixel_array if moves else np.full((24, 20), 500, np.uint16)
        if not moves:
            image.pixels[0, k] = 1000
    (found,) = planes._planes(Acquisition(images, 1), timing_of(images, n_expected=N))
    return found


def _still(trigger: Sequence[object], numbers: Sequence[object] = NUMBERS, **columns: Any) -> PlaneImages:
    return _plane(trigger, numbers, moves=False, **columns)


def _settled(*members: PlaneImages) -> list[tuple[str, tuple[str, ...], bool]]:
    """How each is ordered, its flags, and whether its frames are in the order of time."""
    return [(one.order, one.flags, one.cycle.image.tolist() == list(range(N))) for one in settle_orders(members)]


TIMED = ("time", (), True)
NUMBERED = ("number", ("order_by_number",), True)
CORRECTED = ("number", ("order_by_number", "order_contradicted"), True)
DOUBTED = ("time", ("order_doubtful",), False)


def test_times_that_the_images_support_or_do_not_deny_are_believed() -> None:
    assert _settled(_plane(RIGHT), _still(RIGHT, MIXED), _plane(RIGHT, MIXED)) == [TIMED] * 3
    assert _settled(_still(WRONG)) == [("time", (), False)]
    assert _settled() == []


def test_where_most_planes_that_move_deny_the_times_all_follow_what_the_images_support() -> None:
    assert _settled(_plane(WRONG), _plane(WRONG), _plane(RIGHT)) == [CORRECTED] * 3
    assert _settled(_plane(WRONG), _plane(WRONG), _still(RIGHT), _still(WRONG), _plane(RIGHT)) == [CORRECTED] * 5


def test_where_half_of_them_do_each_plane_is_judged_alone() -> None:
    assert _settled(_plane(WRONG), _plane(RIGHT)) == [CORRECTED, TIMED]
    assert _settled(_plane(RIGHT), _plane(WRONG), _still(RIGHT)) == [TIMED, CORRECTED, TIMED]
    assert _settled(_plane(WRONG, MIXED), _plane(RIGHT)) == [DOUBTED, TIMED]


def test_denied_times_without_a_better_order_stay_and_are_doubted() -> None:
    assert _settled(_plane(WRONG, MIXED), _plane(WRONG, MIXED)) == [DOUBTED] * 2
    # most planes deny the times, and their numbers together support no order: each keeps what its own images support
    members = (_plane(WRONG, MIXED), _plane(WRONG, MIXED), _plane(WRONG, NUMBERS))
    assert _settled(*members) == [DOUBTED, DOUBTED, CORRECTED]


def test_a_better_time_goes_before_numbers_and_says_its_unit() -> None:
    seconds = [0.06 * k for k in range(N)]
    (found,) = settle_orders([_plane(WRONG, nominal_delay_ms=seconds)])
    assert (found.order, found.flags) == ("time", ("order_contradicted", "trigger_unit"))
    np.testing.assert_allclose(found.cycle.time_ms, RIGHT, atol=1e-6)
    (found,) = settle_orders([_plane([0.06 * k for k in range(N)])])
    assert found.flags == ("trigger_unit",)


def test_denied_times_of_creation_leave_no_order() -> None:
    def clock(times_ms: list[int]) -> list[str]:
        return [f"1000{ms / 1000:06.3f}" for ms in times_ms]

    assert _settled(_plane(NOTHING, content_time=clock(RIGHT))) == [TIMED]
    assert _settled(_plane(NOTHING, MIXED, content_time=clock(WRONG))) == [("unknown", (), False)]
    assert _settled(_plane(NOTHING, MIXED, acquisition_time=clock(WRONG))) == [DOUBTED]


UNKNOWN = "unknown"


def _orders(*members: PlaneImages) -> list[str]:
    return [order for order, _, _ in _settled(*members)]


def test_numbers_count_where_the_images_confirm_them() -> None:
    assert _settled(_plane(NOTHING)) == [NUMBERED]
    assert _orders(_plane(NOTHING, MIXED)) == [UNKNOWN]
    assert _orders(_still(NOTHING)) == [UNKNOWN]
    assert _orders(_plane(NOTHING, NOTHING)) == [UNKNOWN]
    # of planes that are numbered alike one is not in order: the others are
    assert _orders(*[_plane(NOTHING)] * 9, _plane(NOTHING, MIXED)) == ["number"] * 9 + [UNKNOWN]
    assert _orders(_plane(NOTHING), *[_plane(NOTHING, MIXED)] * 4) == [UNKNOWN] * 5


@pytest.mark.parametrize(
    ("n_moving", "n_still", "are_enough"), [(1, 1, True), (1, 2, False), (2, 2, True), (2, 3, False), (3, 9, True)]
)
def test_half_of_the_planes_or_three_have_to_move_to_confirm_the_rest(
    n_moving: int, n_still: int, are_enough: bool
) -> None:
    members = [_plane(NOTHING)] * n_moving + [_still(NOTHING)] * n_still
    assert set(_orders(*members)) == {"number" if are_enough else UNKNOWN}


def test_a_still_plane_whose_few_times_fall_while_its_numbers_rise_is_not_confirmed() -> None:
    rising, falling = [0, None, 60, *[None] * 9], [60, None, 0, *[None] * 9]
    level = [5, None, 5, *[None] * 9]
    found = _orders(*[_plane(NOTHING)] * 4, _still(rising), _still(falling), _still(level), _plane(falling))
    assert found == ["number"] * 5 + [UNKNOWN, "number", "number"]
    backwards = _still(rising, NUMBERS[::-1])
    assert _orders(*[_plane(NOTHING)] * 4, backwards)[-1] == UNKNOWN


def test_planes_that_are_timed_otherwise_are_judged_apart_and_stay_in_their_places() -> None:
    found = _settled(_plane(NOTHING), _plane(RIGHT), _plane(NOTHING, MIXED), _plane(NOTHING, nominal_delay_ms=RIGHT))
    # numbers of half the planes without times are mixed, and so none of them counts
    assert found == [(UNKNOWN, (), True), TIMED, (UNKNOWN, (), False), TIMED]
