"""Long-axis planes as lines about the axis: angles, offsets, motion and costs by hand."""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from cmr_models.views import geometry, long_axis
from cmr_models.views.plane import Plane

# Coordinates in which all is plain: the axis runs along z; left is x, forward-up is y.
AXIS = np.array([0.0, 0, 1])


def line(turn_deg: float, offset_mm: float = 0.0, tilt_deg: float = 0.0, **changes: object) -> Plane:
    """A long-axis plane whose trace is turned by ``turn_deg`` from left to up, ``offset_mm`` along its normal."""
    turn, tilt = np.deg2rad([turn_deg, tilt_deg])
    across = np.array([np.sin(turn), -np.cos(turn), 0])
    normal = np.cos(tilt) * across + np.sin(tilt) * AXIS
    row = np.array([np.cos(turn), np.sin(turn), 0])
    col = np.cross(normal, row)
    values = {"n_frames": 25, "n_expected": 25, **changes}
    corner = offset_mm * normal - 99 * row - 99 * col
    return Plane(corner, row, col, (2.0, 2.0), (100, 100), **values)  # type: ignore[arg-type]


def sax(z_mm: float = 0.0, pixel_mm: tuple[float, float] = (2.0, 1.0), shape: tuple[int, int] = (100, 200)) -> Plane:
    """A short-axis plane of oblong pixels whose first pixel lies at (-100, -100)."""
    return Plane(np.array([-100.0, -100, z_mm]), np.array([1.0, 0, 0]), np.array([0.0, 1, 0]), pixel_mm, shape, 25, 25)


def found(
    planes: list[Plane], motion: long_axis.MotionMap | None = None, stack: int = 1
) -> tuple[dict[str, int], list[int]]:
    """Views among ``planes`` beside ``stack`` short-axis planes, numbered without these."""
    every = [*planes, *(sax(10.0 * k) for k in range(stack))]
    indices = list(range(len(planes)))
    return long_axis.distinguish(every, indices, list(range(len(planes), len(every))), AXIS, motion)


VIEWS = [line(2), line(63), line(118)]


def test_views_follow_from_their_turns_and_normals_may_point_either_way() -> None:
    assert found(VIEWS) == ({"lax_4c": 0, "lax_2c": 1, "lax_3c": 2}, [])
    assert found([line(turn + 180) for turn in (2, 63, 118)]) == ({"lax_4c": 0, "lax_2c": 1, "lax_3c": 2}, [])
    assert found(VIEWS[::-1])[0] == {"lax_4c": 2, "lax_2c": 1, "lax_3c": 0}


@pytest.mark.parametrize(
    ("turn_deg", "view"), [(31, "lax_2c"), (29, "lax_4c"), (89, "lax_2c"), (91, "lax_3c"), (151, "lax_4c")]
)
def test_a_plane_alone_is_the_view_nearest_in_turn(turn_deg: float, view: str) -> None:
    assert found([line(turn_deg)])[0] == {view: 0}


@pytest.mark.parametrize(("tilt_deg", "views"), [(29, {"lax_4c": 0}), (31, {})])
def test_a_plane_tilted_by_more_than_thirty_degrees_is_no_long_axis(tilt_deg: float, views: dict[str, int]) -> None:
    assert found([line(1, tilt_deg=tilt_deg)])[0] == views
    assert found([line(1, tilt_deg=-tilt_deg)])[0] == views


@pytest.mark.parametrize(
    ("other", "is_repeat"),
    [
        (line(14.5, acquired="9"), True),
        (line(15.5, acquired="9"), False),
        (line(-14.5, acquired="9"), True),  # a turn of 165.5
        (line(0, offset_mm=11.5, acquired="9"), True),
        (line(0, offset_mm=12.5, acquired="9"), False),
        (line(180, offset_mm=11.5, acquired="9"), True),  # the normal points the other way
        (line(180, offset_mm=-12.5, acquired="9"), False),
    ],
)
def test_a_repeat_is_the_same_line_within_fifteen_degrees_and_twelve_millimetres(other: Plane, is_repeat: bool) -> None:
    views, repeated = found([line(0), line(60), line(120), other])
    assert (views["lax_4c"], repeated) == ((3, [0]) if is_repeat else (0, []))


def test_of_planes_that_meet_off_the_axis_the_three_that_meet_in_a_point_are_the_views() -> None:
    # all three pass through (10, -6): offsets are its products with (sin, -cos) of the turns
    through = [10 * math.sin(math.radians(t)) + 6 * math.cos(math.radians(t)) for t in (0, 60, 120)]
    planes = [line(t, offset) for t, offset in zip((0, 60, 120), through, strict=True)]
    aside = line(118, through[2] + 20)
    assert found([planes[0], planes[1], aside, planes[2]])[0] | {"rvot": -1} == {
        "lax_4c": 0, "lax_2c": 1, "lax_3c": 3, "rvot": -1
    }  # fmt: skip


def test_words_decide_where_turns_leave_it_open_and_only_there() -> None:
    # two planes half way between 2- and 3-chamber views at 90 degrees, with words that say which is which
    names = ("CINE_2CH", "cine LVOT")
    first, second = line(86, description=names[0]), line(94, description=names[1])
    assert found([line(0), first, second])[0] == {"lax_4c": 0, "lax_2c": 1, "lax_3c": 2}
    swapped = [line(0), line(88, description=names[1]), line(92, description=names[0])]
    assert found(swapped)[0] == {"lax_4c": 0, "lax_2c": 2, "lax_3c": 1}
    wrong = [line(0), line(62, description="3ch"), line(119, description="2 chamber")]
    assert found(wrong)[0] == {"lax_4c": 0, "lax_2c": 1, "lax_3c": 2}


@pytest.mark.parametrize(
    ("view", "text", "named"),
    [
        ("lax_2c", "cine_VLA", True), ("lax_2c", "2ch", True), ("lax_2c", "2-chamber", True), ("lax_2c", "12ch", False),
        ("lax_3c", "LVOT", True), ("lax_3c", "3 CH", True), ("lax_3c", "cine 3chamber", True), ("lax_3c", "4ch", False),
        ("lax_4c", "hla", True), ("lax_4c", "4CH", True), ("lax_4c", "14ch", False), ("lax_4c", "lvot", False),
    ],
)  # fmt: skip
def test_words_of_views(view: str, text: str, named: bool) -> None:
    assert bool(long_axis._WORDS[view].search(text)) is named


def _trace(turn_deg: float, tilt_deg: float, offset_mm: float, words: str = "") -> long_axis._Trace:
    turn = math.radians(turn_deg)
    return long_axis._Trace(0, turn_deg, tilt_deg, np.array([math.sin(turn), -math.cos(turn)]), offset_mm, words)


def test_the_cost_of_a_choice_adds_up() -> None:
    turns = {"lax_4c": 0.0, "lax_2c": 60.0, "lax_3c": 120.0}
    assert long_axis._cost({}, turns) == (24, None)
    # two views without a plane, 30 degrees off by 15, and tilted by 6 of 12
    assert long_axis._cost({"lax_2c": _trace(90, 6, 5)}, turns) == (pytest.approx(16 + 4 + 0.25), None)
    assert long_axis._cost({"lax_2c": _trace(90, 6, 5, "2ch")}, turns)[0] == pytest.approx(16.25)
    assert long_axis._cost({"lax_2c": _trace(90, 6, 5, "4ch")}, turns)[0] == pytest.approx(20.25)
    # y = -3 and x = 10 meet without a miss; each of 100 mm to the left is worth 2
    cost, point = long_axis._cost({"lax_4c": _trace(0, 0, 3), "lax_2c": _trace(90, 0, 10)}, turns)
    assert (cost, point.tolist()) == (pytest.approx(8 + 4 - 0.2), pytest.approx([10, -3]))
    # x = 0, y = 0, and a line at 45 degrees 4 mm off both: they miss by 2 mm, and meet sqrt 2 to the right
    lines = {"lax_4c": _trace(0, 0, 0), "lax_2c": _trace(90, 0, 0), "lax_3c": _trace(135, 0, 4)}
    cost, point = long_axis._cost(lines, turns)
    assert point.tolist() == pytest.approx([math.sqrt(2), math.sqrt(2)])
    assert cost == pytest.approx(4 + 1 + 4 / 9 - 0.02 * math.sqrt(2))


# the outflow tract of the right ventricle


@pytest.mark.parametrize(
    ("turn_deg", "left_mm", "is_rvot"),
    [
        (92, -20, True), (92, -5.5, True), (92, -4.5, False), (92, 20, False),
        (92 + 29, -40, True), (92 + 31, -40, False), (92 - 29, -40, True), (92 - 31, -40, False),
        (272, -20, True),
    ],
)  # fmt: skip
def test_the_outflow_plane_is_nearly_sagittal_and_passes_right_of_the_axis(
    turn_deg: float, left_mm: float, is_rvot: bool
) -> None:
    offset = left_mm * math.sin(math.radians(turn_deg))  # through (left_mm, 0)
    views, repeated = found([*VIEWS, line(turn_deg, offset)])
    assert views.get("rvot") == (3 if is_rvot else None)
    assert repeated == []


@pytest.mark.parametrize("turn_deg", [121, 63, 14, -14])
def test_a_line_passes_right_of_a_point_by_more_than_five_millimetres_at_its_height(turn_deg: float) -> None:
    point = np.array([10.0, 3.0])
    sine, cosine = math.sin(math.radians(turn_deg)), math.cos(math.radians(turn_deg))
    for left_mm, passes in ((4.9, True), (5.1, False), (16, False), (-40, True)):
        trace = _trace(turn_deg, 0, left_mm * sine - 3 * cosine)  # through (left_mm, 3)
        assert long_axis._passes_right(trace, point) is passes
    assert long_axis._passes_right(_trace(turn_deg, 0, 40), None)


def test_a_line_across_the_body_passes_no_side() -> None:
    for turn_deg, passes in ((11.5, False), (11.6, True)):  # a sine of 0.2
        trace = _trace(turn_deg, 0, -40)
        assert long_axis._passes_right(trace, np.zeros(2)) is passes
        assert long_axis._passes_right(trace, None)


def test_the_better_of_two_outflow_planes_is_kept_and_one_elsewhere_is_neither() -> None:
    planes = [*VIEWS, line(93, -25, acquired="1"), line(95, -25, acquired="2"), line(92, -60)]
    views, repeated = found(planes)
    assert (views["rvot"], repeated) == (5, [])  # the nearest to 92 degrees leads, and has no repeat
    assert found(planes[:5]) == ({"lax_4c": 0, "lax_2c": 1, "lax_3c": 2, "rvot": 4}, [3])


def test_beside_one_view_alone_an_outflow_plane_need_not_pass_right_of_a_point() -> None:
    # tilted by 29 degrees it is too dear for a 3-chamber view: (28/15)² + (29/12)² is 9.3, and none at all costs 8
    assert found([line(0), line(92, tilt_deg=29)])[0] == {"lax_4c": 0, "rvot": 1}
    assert found([*VIEWS, line(92, tilt_deg=29)])[0] == {"lax_4c": 0, "lax_2c": 1, "lax_3c": 2}


# motion


def dots(*places_mm: tuple[float, float]) -> Callable[[int], npt.NDArray[np.float64]]:
    """Motion at points (left, up) of :func:`sax`, of which every second pixel of every second row is looked at."""

    def motion(_plane: int) -> npt.NDArray[np.float64]:
        moved = np.zeros((50, 100))
        for left, up in places_mm:
            moved[round((up + 100) / 4), round((left + 100) / 2)] += 1
        return moved

    return motion


def _away(*places_mm: tuple[float, float], about: tuple[float, float] = (0.0, 0.0)) -> float | None:
    frame = long_axis._Frame(np.array([1.0, 0, 0]), np.array([0.0, 1, 0]), np.zeros(3))
    return long_axis._away_from_right_ventricle_deg([sax()], [0], frame, np.array(about), dots(*places_mm))


@pytest.mark.parametrize(
    ("place_mm", "away_deg"),
    [((-48, 0), 8), ((0, -48), -90 + 8 - 180), ((0, 48), -90 + 8), ((-36, 36), -45 + 8), ((-36, -48), 53.13 + 8 - 360)],
)
def test_away_from_the_right_ventricle_is_opposite_to_what_moves_and_eight_degrees_on(
    place_mm: tuple[float, float], away_deg: float
) -> None:
    # moving at 180 degrees, the patient's right: the 4-chamber plane points to 0, and is found 8 degrees further up
    found_deg = _away(place_mm)
    assert found_deg is not None
    assert math.remainder(found_deg - away_deg, 360) == pytest.approx(0, abs=0.01)


def test_only_a_ring_from_thirty_to_eighty_millimetres_about_the_axis_is_looked_at() -> None:
    assert _away((-30, 0), (0, -80), (60, 52)) is not None  # 30 and 80 are out: (60, 52) alone, at 79.4
    assert _away((-30, 0)) is None
    assert _away((-80, 0)) is None
    assert _away((-32, 0)) == _away((-78, 0)) == pytest.approx(8)
    assert _away((-32, 0), about=(10, 0)) == pytest.approx(8)
    assert _away((-32, 0), about=(-10, 0)) is None
    # 48 mm to the right and 36 down of the point: 36.87 degrees beyond the patient's right
    found_deg = _away((-48, 0), about=(0, 36))
    assert found_deg is not None
    assert math.remainder(found_deg - (36.87 + 8), 360) == pytest.approx(0, abs=0.01)


def test_what_moves_on_all_sides_tells_no_side() -> None:
    assert _away((-48, 0), (48, 0)) is None
    # of 27 points 14 lie to the right: 1/27 is too little; of 11 points 6: 1/11 is enough
    assert _away(*[(-48, 0)] * 14, *[(48, 0)] * 13) is None
    assert _away(*[(-48, 0)] * 6, *[(48, 0)] * 5) == pytest.approx(8)
    assert _away() is None


def test_the_inner_planes_of_a_stack_are_asked_and_those_without_motion_left_out() -> None:
    frame = long_axis._Frame(np.array([1.0, 0, 0]), np.array([0.0, 1, 0]), np.zeros(3))
    places = {0: (0, -48), 1: (-48, 0), 2: (200, 0), 3: (0, -48)}

    def motion(plane: int) -> npt.NDArray[np.float64]:
        return np.zeros((50, 100)) if plane == 2 else dots(places[plane])(plane)

    planes = [sax(10.0 * k) for k in range(4)]
    assert long_axis._away_from_right_ventricle_deg(planes, [0, 1, 2, 3], frame, np.zeros(2), motion) == pytest.approx(
        8
    )
    # of three inner planes two move on the right and one below: the mean points 26.57 degrees below the right
    places |= {2: (-48, 0), 3: (0, -48)}
    five = [*planes, sax(40.0)]
    most = long_axis._away_from_right_ventricle_deg(
        five, [0, 1, 2, 3, 4], frame, np.zeros(2), lambda plane: dots(places[plane])(plane)
    )
    assert most is not None
    assert math.remainder(most - (math.degrees(math.atan2(1, 2)) + 8), 360) == pytest.approx(0, abs=0.01)
    two = long_axis._away_from_right_ventricle_deg(planes, [0, 3], frame, np.zeros(2), motion)
    assert two == pytest.approx(-90 - 180 + 8)  # the outer ones, where there are no others


def test_motion_turns_the_views_of_a_rolled_heart() -> None:
    # planes at 41, 101 and 161 degrees lie between views; motion at -139 says that the 4-chamber view is at 41 + 8
    planes = [line(41), line(101), line(161)]
    angle = math.radians(-139)
    place = (48 * math.cos(angle), 48 * math.sin(angle))
    assert found(planes, dots(place), stack=3)[0] == {"lax_4c": 0, "lax_2c": 1, "lax_3c": 2}
    assert found(planes, stack=3)[0] != {"lax_4c": 0, "lax_2c": 1, "lax_3c": 2}
    assert found(planes, dots((48, 0), (-48, 0)), stack=3)[0] == found(planes, stack=3)[0]


def test_turns_of_lines_differ_by_ninety_degrees_at_most() -> None:
    pairs = [(170, 10, 20), (10, 170, 20), (0, 90, 90), (5, 184, 1), (-30, 20, 50)]
    for first, second, expected in pairs:
        assert long_axis._turn_between_deg(first, second) == pytest.approx(expected)


def test_lines_are_seen_from_the_middle_of_the_stack() -> None:
    planes = [line(30, 12.0), sax(), sax(1.0), sax(14.0)]
    left, up = geometry.perpendicular_basis(AXIS, [1, 0, 0])
    frame = long_axis._frame(planes, [1, 2, 3], AXIS)
    np.testing.assert_allclose([frame.left, frame.up], [left, up], atol=1e-12)
    np.testing.assert_allclose(frame.origin_mm, [-100 + 99.5, -100 + 99, 5])
    (trace,) = long_axis._traces(planes, [0], AXIS, frame)
    # the plane's own offset of 12 less that of (-0.5, -1): -0.5 sin 30 + 1 cos 30
    assert (trace.turn_deg, trace.tilt_deg) == pytest.approx((30, 0), abs=1e-6)
    assert trace.offset_mm == pytest.approx(12 - (-0.25 + math.cos(math.radians(30))))
