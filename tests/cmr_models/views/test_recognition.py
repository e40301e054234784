"""Views are recognised from where planes lie, in any order, from any heart, without descriptions."""

from dataclasses import replace

import numpy as np
import pytest

from cmr_models.simulate import Heart, ImagingSettings, sample_traits
from cmr_models.simulate.planes import lax_plane, sax_planes
from cmr_models.views import geometry
from cmr_models.views.plane import Plane
from cmr_models.views.recognition import TYPICAL_AXIS, _stack_score, recognise

AXIS = np.array([0.477, -0.619, -0.624])
LEFT, UP = geometry.perpendicular_basis(AXIS, [1, 0, 0])


def plane(normal: np.ndarray, through: np.ndarray, **changes: object) -> Plane:
    """A plane of 100 x 100 pixels of 2 mm about ``through``."""
    normal = geometry.unit(normal)
    row = geometry.unit(np.cross([0, 0, 1.0] if abs(normal[2]) < 0.9 else [0, 1.0, 0], normal))
    col = np.cross(normal, row)
    corner = through - 99 * (row + col)
    values = {"n_frames": 25, "n_expected": 25, "thickness_mm": 8.0, **changes}
    return Plane(corner, row, col, (2.0, 2.0), (100, 100), **values)  # type: ignore[arg-type]


def stack(n: int = 8, spacing: float = 10.0, axis: np.ndarray = AXIS) -> list[Plane]:
    return [plane(axis, axis * spacing * (k - n / 2)) for k in range(n)]


def long_axis(turn_deg: float, offset_mm: float = 0.0, tilt_deg: float = 0.0, **changes: object) -> Plane:
    turn, tilt = np.deg2rad([turn_deg, tilt_deg])
    across = np.sin(turn) * LEFT - np.cos(turn) * UP
    return plane(np.cos(tilt) * across + np.sin(tilt) * AXIS, offset_mm * across, **changes)


def labelled(planes: list[Plane]) -> dict[int, str]:
    found = recognise(planes)
    views = {i: view for view, members in found.views.items() for i in members}
    return views | found.excluded


def test_a_full_study_is_told_apart_in_any_order() -> None:
    planes = [*stack(), long_axis(5), long_axis(66), long_axis(129)]
    truth = ["sax"] * 8 + ["lax_4c", "lax_2c", "lax_3c"]
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(len(planes))
        found = labelled([planes[i] for i in order])
        assert [found[k] for k in range(len(planes))] == [truth[i] for i in order]


def test_the_stack_runs_from_base_to_apex() -> None:
    planes = stack()[::-1]
    found = recognise(planes)
    heights = [float(planes[i].centre_mm @ AXIS) for i in found.views["sax"]]
    assert heights == sorted(heights)
    assert float(found.axis @ TYPICAL_AXIS) > 0


@pytest.mark.parametrize("flip", [False, True])
def test_the_direction_of_a_normal_does_not_count(flip: bool) -> None:
    axis = -AXIS if flip else AXIS
    assert set(labelled([*stack(axis=axis), long_axis(5)]).values()) == {"sax", "lax_4c"}


def test_misleading_descriptions_do_not_mislead() -> None:
    planes = [
        *(replace(p, description="cine 4CH") for p in stack()),
        long_axis(8, description="4CH"),
        long_axis(66, description="2CH"),
        long_axis(129, description="cine_trufi_retro 4CH"),
    ]
    found = labelled(planes)
    assert [found[i] for i in (8, 9, 10)] == ["lax_4c", "lax_2c", "lax_3c"]


def test_planes_through_the_right_ventricle_are_told_from_those_through_the_left() -> None:
    planes = [
        *stack(6, 17.7),
        long_axis(8),
        long_axis(66),
        long_axis(129),
        long_axis(68, offset_mm=-35, tilt_deg=16),
        long_axis(93, offset_mm=-25, tilt_deg=20),
    ]
    found = labelled(planes)
    assert [found[i] for i in range(6, 11)] == ["lax_4c", "lax_2c", "lax_3c", "series_parallel", "rvot"]


def test_a_right_ventricular_plane_alone_with_the_four_chamber_plane_is_not_preferred() -> None:
    planes = [*stack(), long_axis(5), long_axis(66, offset_mm=-35), long_axis(66)]
    found = labelled(planes)
    assert (found[8], found[10]) == ("lax_4c", "lax_2c")


def test_of_repeated_planes_the_complete_one_wins_and_then_the_latest() -> None:
    planes = [
        *stack(),
        long_axis(5, acquired="1", n_frames=25),
        long_axis(7, offset_mm=2, acquired="2", n_frames=25),
        long_axis(4, offset_mm=-2, acquired="3", n_frames=20),
    ]
    found = labelled(planes)
    assert [found[i] for i in (8, 9, 10)] == ["series_repeated", "lax_4c", "series_repeated"]


def test_a_repeated_slice_is_kept_once() -> None:
    planes = [*stack(), replace(stack()[3], acquired="9")]
    found = recognise(planes)
    assert 8 in found.views["sax"]
    assert found.excluded == {3: "series_repeated"}
    assert "slice_repeated" in found.flags["sax"]


def test_a_stack_alone_and_long_axes_alone_are_enough() -> None:
    assert set(labelled(stack()).values()) == {"sax"}
    alone = labelled([long_axis(5), long_axis(66), long_axis(129)])
    assert alone == {0: "lax_4c", 1: "lax_2c", 2: "lax_3c"}


def test_nothing_is_found_in_nothing() -> None:
    assert recognise([]).views == {}


@pytest.mark.parametrize(
    ("planes", "flag"),
    [
        (stack(8)[:3] + stack(8)[4:], "slice_gap"),
        (stack(4), "slices_few"),
        ([*stack()[:7], replace(stack()[7], shape=(80, 100))], "matrix_mixed"),
        ([*stack()[:7], plane(AXIS + 0.1 * LEFT, stack()[7].centre_mm)], "slice_rotated"),
    ],
)
def test_what_is_odd_about_a_stack_is_flagged(planes: list[Plane], flag: str) -> None:
    assert recognise(planes).flags["sax"] == [flag]


def test_a_plain_stack_has_no_flags() -> None:
    assert recognise(stack()).flags["sax"] == []


def test_the_aorta_is_a_transverse_plane_above_the_base() -> None:
    above = plane(np.array([0, 0, 1.0]), stack()[0].centre_mm + np.array([0, 0, 40.0]))
    assert labelled([*stack(), above])[8] == "aorta"


def test_the_side_on_which_the_heart_moves_decides_for_a_turned_heart() -> None:
    """A heart rolled by 50 degrees: from directions alone the planes would be taken for one another."""
    roll = -50.0
    planes = [*stack(), long_axis(5 + roll), long_axis(66 + roll), long_axis(129 + roll)]

    def motion(i: int) -> np.ndarray:
        p = planes[i]
        rows, cols = np.mgrid[0:100:2, 0:100:2]
        points = p.position_mm + rows[..., None] * 2 * p.col_dir + cols[..., None] * 2 * p.row_dir
        towards = np.deg2rad(180 + roll)
        right = 45 * (np.cos(towards) * LEFT + np.sin(towards) * UP)
        across = points - (points @ AXIS)[..., None] * AXIS - right
        return np.exp(-((np.linalg.norm(across, axis=-1) / 20) ** 2))

    assert recognise(planes).views["lax_2c"] != [9]
    found = recognise(planes, motion)
    assert [found.views[view] for view in ("lax_4c", "lax_2c", "lax_3c")] == [[8], [9], [10]]


def test_simulated_hearts_of_any_pose_are_told_apart_without_descriptions() -> None:
    """Directions alone (no motion, no words) name all planes of at least nine hearts in ten."""
    rng = np.random.default_rng(0)
    right = sum(_simulated_is_right(rng) for _ in range(40))
    assert right >= 36


def _simulated_is_right(rng: np.random.Generator) -> bool:
    heart = Heart(sample_traits(rng, sex="M", age_years=60.0, height_cm=175.0, weight_kg=80.0), rng)
    settings = ImagingSettings().randomise(rng)
    planes, truth = [], []
    for view in ("sax", "lax_2c", "lax_3c", "lax_4c"):
        found = sax_planes(heart, settings, rng) if view == "sax" else lax_plane(heart, view, settings, rng)
        for position, row, col in zip(found.position_mm, found.row_dir, found.col_dir, strict=True):
            mm = (found.pixel_mm, found.pixel_mm)
            planes.append(Plane(position, row, col, mm, found.shape, 50, 50, thickness_mm=found.thickness_mm))
            truth.append(view)
    named = labelled(planes)
    return [named[i] for i in range(len(planes))] == truth


def test_a_plane_like_no_view_is_told_from_one_beside_a_view() -> None:
    planes = [*stack(6, 17.7), long_axis(8), long_axis(66), long_axis(129), long_axis(93, offset_mm=-25, tilt_deg=20)]
    beside, between = long_axis(68, offset_mm=-35, tilt_deg=16), long_axis(38, offset_mm=60)
    found = labelled([*planes, beside, between])
    assert [found[i] for i in (10, 11)] == ["series_parallel", "series_unknown_view"]


# on either side of each limit


def turned(degrees: float, about: np.ndarray = LEFT) -> np.ndarray:
    """The axis, turned towards ``about``."""
    angle = np.deg2rad(degrees)
    return np.cos(angle) * AXIS + np.sin(angle) * about


@pytest.mark.parametrize(("degrees", "view"), [(9.9, "sax"), (10.1, "series_unknown_view")])
def test_planes_within_ten_degrees_are_one_stack(degrees: float, view: str) -> None:
    planes = [*stack(7), plane(turned(degrees), 60 * AXIS)]
    assert labelled(planes)[7] == view


@pytest.mark.parametrize(("degrees", "flags"), [(1.9, []), (2.1, ["slice_rotated"])])
def test_a_stack_is_rotated_beyond_two_degrees_of_a_normal_or_of_rows(degrees: float, flags: list[str]) -> None:
    planes = stack(7)
    tilted = plane(turned(degrees, planes[6].col_dir), planes[6].centre_mm)  # its rows stay
    angle = np.deg2rad(degrees)
    row = np.cos(angle) * planes[6].row_dir + np.sin(angle) * planes[6].col_dir
    col = np.cross(planes[6].normal, row)
    spun = replace(planes[6], row_dir=row, col_dir=col, position_mm=planes[6].centre_mm - 99 * (row + col))
    for odd in (tilted, spun):
        assert [flag for flag in recognise([*planes[:6], odd]).flags["sax"] if flag != "slice_gap"] == flags


@pytest.mark.parametrize(("degrees", "views"), [(34.5, {"sax": [0]}), (35.5, {})])
def test_one_short_axis_plane_is_told_by_the_direction_of_the_body(degrees: float, views: dict[str, list[int]]) -> None:
    across = geometry.unit(np.cross(TYPICAL_AXIS, [0, 0, 1.0]))
    normal = np.cos(np.deg2rad(degrees)) * TYPICAL_AXIS + np.sin(np.deg2rad(degrees)) * across
    assert {k: v for k, v in recognise([plane(normal, np.zeros(3))]).views.items() if k == "sax"} == views


@pytest.mark.parametrize(
    ("n_across", "n_stack"),
    [(0, 0), (1, 0), (2, 4)],
)
def test_parallel_planes_across_the_bodys_axis_are_a_stack_only_if_two_planes_cut_them(
    n_across: int, n_stack: int
) -> None:
    across = geometry.unit(np.cross(TYPICAL_AXIS, [0, 0, 1.0]))
    other = np.cross(across, TYPICAL_AXIS)
    family = [plane(across, 10.0 * k * across) for k in range(4)]
    cutting = [plane(normal, np.zeros(3)) for normal in (other, geometry.unit(other + 0.6 * TYPICAL_AXIS))]
    assert len(recognise([*family, *cutting[:n_across]]).views.get("sax", [])) == n_stack


@pytest.mark.parametrize(
    ("thickness_mm", "apart_mm", "n_kept"),
    [(8.0, 2.7, 6), (8.0, 2.9, 7), (2.0, 0.9, 6), (2.0, 1.1, 7), (np.nan, 0.9, 6), (np.nan, 1.1, 7)],
)
def test_planes_closer_than_a_third_of_their_thickness_share_a_place(
    thickness_mm: float, apart_mm: float, n_kept: int
) -> None:
    planes = [replace(p, thickness_mm=thickness_mm) for p in stack(6)]
    again = replace(planes[2], position_mm=planes[2].position_mm + apart_mm * AXIS, acquired="1")
    found = recognise([*planes, again])
    assert len(found.views["sax"]) == n_kept
    assert ("slice_repeated" in found.flags["sax"]) == (n_kept == 6)
    assert found.excluded == ({2: "series_repeated"} if n_kept == 6 else {})


@pytest.mark.parametrize(("n", "flags"), [(6, []), (5, ["slices_few"])])
def test_six_planes_are_enough_for_a_stack(n: int, flags: list[str]) -> None:
    assert recognise(stack(n)).flags["sax"] == flags


@pytest.mark.parametrize(("extra_mm", "flags"), [(0.49, []), (0.51, ["slice_gap"])])
def test_a_gap_is_a_twentieth_of_the_distance(extra_mm: float, flags: list[str]) -> None:
    planes = stack(7)
    last = replace(planes[6], position_mm=planes[6].position_mm + extra_mm * AXIS)
    assert recognise([*planes[:6], last]).flags["sax"] == flags


def test_the_larger_family_of_parallel_planes_is_the_stack_whichever_comes_first() -> None:
    few = [plane(turned(20), 12.0 * k * AXIS) for k in range(3)]
    for planes, kept in (([*few, *stack(6)], range(3, 9)), ([*stack(6), *few], range(6))):
        assert recognise(planes).views["sax"] == list(kept)


def test_a_family_scores_by_its_places_its_direction_and_what_cuts_it() -> None:
    length = np.sqrt(0.36 + 0.3844 + 0.25)
    np.testing.assert_allclose(TYPICAL_AXIS, np.array([0.6, -0.62, -0.5]) / length)
    alignment = float(AXIS @ TYPICAL_AXIS) / float(np.linalg.norm(AXIS))
    planes = [*stack(5), long_axis(5), long_axis(66)]
    assert _stack_score(planes, [0, 1, 2, 3, 4]) == pytest.approx(5 * (alignment + 0.2) + 2 * 0.5)
    assert _stack_score(planes[:5], [0, 1, 2]) == pytest.approx(3 * (alignment + 0.2))
    assert _stack_score(planes, [5]) == 0
    for degrees, across in ((65, 1), (55, 0)):  # across are planes whose normals are 60 degrees apart or more
        for normal in (turned(degrees), -turned(degrees)):
            score = _stack_score([*planes[:5], plane(normal, np.zeros(3))], [0, 1, 2])
            assert score == pytest.approx(3 * (alignment + 0.2) + across * 0.5)


def test_without_a_stack_the_axis_is_the_line_in_which_long_axes_meet_or_else_the_bodys() -> None:
    for planes in ([long_axis(5), long_axis(66)], [long_axis(5), long_axis(66), long_axis(129, offset_mm=4)]):
        np.testing.assert_allclose(recognise(planes).axis, geometry.unit(AXIS), atol=1e-9)
    for planes in ([], [long_axis(5)], [long_axis(5), long_axis(8)]):
        np.testing.assert_allclose(recognise(planes).axis, TYPICAL_AXIS)
    # two planes whose line lies across the body's axis
    across = geometry.unit(np.cross(TYPICAL_AXIS, [0, 0, 1.0]))
    third = np.cross(across, TYPICAL_AXIS)
    pair = [
        plane(geometry.unit(TYPICAL_AXIS + third), np.zeros(3)),
        plane(geometry.unit(TYPICAL_AXIS - third), np.zeros(3)),
    ]
    np.testing.assert_allclose(recognise(pair).axis, TYPICAL_AXIS)


@pytest.mark.parametrize(
    ("tilt_deg", "above_mm", "is_aorta"),
    [(0, 10.5, True), (0, 9.5, False), (25, 40, True), (27, 40, False), (0, -40, False)],
)
def test_an_aortic_plane_is_transverse_and_more_than_ten_millimetres_above_the_base(
    tilt_deg: float, above_mm: float, is_aorta: bool
) -> None:
    angle = np.deg2rad(tilt_deg)  # cos 25.8 is 0.9
    base = stack()[0].centre_mm
    above = plane(np.array([np.sin(angle), 0, np.cos(angle)]), base + np.array([0, 0, above_mm]))
    assert ("aorta" in recognise([*stack(), above]).views) == is_aorta
    assert "aorta" not in recognise([above]).views


def test_of_aortic_planes_the_best_is_kept() -> None:
    above = [plane(np.array([0, 0, 1.0]), stack()[0].centre_mm + np.array([0, 0, z])) for z in (30.0, 40.0, 50.0)]
    better = [above[0], replace(above[1], acquired="2"), replace(above[2], n_frames=3, acquired="3")]
    assert recognise([*stack(), *better]).views["aorta"] == [9]


@pytest.mark.parametrize(("turn_deg", "reason"), [(24.9, "series_parallel"), (25.1, "series_unknown_view")])
def test_within_twenty_degrees_of_a_view_a_plane_is_beside_it(turn_deg: float, reason: str) -> None:
    planes = [*stack(), long_axis(5), long_axis(66), long_axis(129), long_axis(turn_deg, offset_mm=40)]
    assert labelled(planes)[11] == reason
    assert labelled([*stack(), long_axis(200, tilt_deg=50)])[8] == "series_unknown_view"  # no view to be beside


def _timed(planes: list[Plane], first: int, **changes: object) -> list[Plane]:
    return [replace(p, acquired=f"20200301{first + k:06d}", **changes) for k, p in enumerate(planes)]


def _shifted(planes: list[Plane], mm: float) -> list[Plane]:
    return [replace(p, position_mm=p.position_mm + mm * AXIS) for p in planes]


@pytest.mark.parametrize("shift_mm", [3.0, 4.0, -6.5])
def test_a_stack_acquired_again_between_the_planes_of_the_first_is_no_stack_of_twice_the_planes(
    shift_mm: float,
) -> None:
    first, again = _timed(stack(), 90000), _timed(_shifted(stack(), shift_mm), 93000)
    planes = [p for pair in zip(first, again, strict=True) for p in pair]
    found = recognise([*planes, long_axis(5)])
    assert found.views["sax"] == list(range(1, 16, 2))  # the later
    assert {i for i, reason in found.excluded.items() if reason == "series_repeated"} == set(range(0, 16, 2))
    assert found.flags["sax"] == ["slice_repeated"]
    part = recognise([*first, *again[2:6], long_axis(5)])
    assert part.views["sax"] == list(range(8))  # four planes are not all of a heart


def test_planes_that_only_look_like_two_stacks_are_one() -> None:
    # 0 to 90 mm: every other plane first, and the second of all is missing
    spread = stack(10)
    taken = [*_timed(spread[::2], 90000), *_timed(spread[3::2], 93000)]
    assert len(recognise([*taken, long_axis(5)]).views["sax"]) == 9
    # two halves of a stack with a gap, and planes at the same distance that nobody timed
    halves = [*_timed(stack()[:3], 90000), *_timed(_shifted(stack()[3:], 4.0), 93000)]
    assert len(recognise([*halves, long_axis(5)]).views["sax"]) == 8
    untimed = [*stack(), *_shifted(stack(), 3.0)]
    assert len(recognise([*untimed, long_axis(5)]).views["sax"]) == 16
