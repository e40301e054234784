"""AHA segments of a disc phantom: hand-known sectors, and the laws of turning and mirroring."""

import numpy as np
import numpy.typing as npt
import pytest

from cmr_models import aha

ANTERIOR_DEG, INFERIOR_DEG = -120.0, 120.0  # of the insertions, from the column axis towards larger rows


def _phantom(size: int = 96, turn_deg: float = 0.0, mirrored: bool = False) -> npt.NDArray[np.uint8]:
    """Pool of radius 16, wall to 26, RV from 120 to 240 degrees (left) around it; optionally mirrored, then turned."""
    rows, cols = np.indices((size, size)) - (size - 1) / 2
    turn = np.deg2rad(turn_deg)
    x, y = cols * np.cos(turn) + rows * np.sin(turn), rows * np.cos(turn) - cols * np.sin(turn)
    x = -x if mirrored else x
    radius, angle = np.hypot(x, y), np.degrees(np.arctan2(y, x))
    labels = np.zeros((size, size), np.uint8)
    labels[(radius < 40) & (np.abs(angle) > 120)] = 1
    labels[radius < 26] = 2
    labels[radius < 16] = 3
    return labels


def _at(found: npt.NDArray[np.uint8], angle_deg: float, radius: float = 21.0) -> int:
    centre = (found.shape[-1] - 1) / 2
    angle = np.deg2rad(angle_deg)
    return int(found[round(centre + radius * np.sin(angle)), round(centre + radius * np.cos(angle))])


@pytest.mark.parametrize(
    ("level", "expected"),
    [("base", (1, 6, 5, 4, 3, 2)), ("mid", (7, 12, 11, 10, 9, 8))],
)
def test_six_sectors_run_from_the_anterior_insertion_over_the_lateral_wall_to_the_septum(
    level: aha.Level, expected: tuple[int, ...]
) -> None:
    found = aha.segments(_phantom()[None], levels=[level]).segment[0]
    assert tuple(_at(found, ANTERIOR_DEG + 30 + 60 * k) for k in range(6)) == expected


def test_four_apical_sectors_are_anterior_lateral_inferior_septal() -> None:
    found = aha.segments(_phantom()[None], levels=["apex"]).segment[0]
    assert tuple(_at(found, ANTERIOR_DEG + 45 + 90 * k) for k in range(4)) == (13, 16, 15, 14)


def test_the_insertions_are_where_the_right_ventricle_ends() -> None:
    found = aha.insertions(_phantom())
    angles = [np.degrees(np.arctan2(row - 47.5, col - 47.5)) for row, col in found]
    assert angles == pytest.approx([ANTERIOR_DEG, INFERIOR_DEG], abs=4.0)


@pytest.mark.parametrize("turn_deg", [0, 37, 90, 180, 251])
@pytest.mark.parametrize("mirrored", [False, True])
def test_a_turned_or_mirrored_heart_has_the_same_segments(turn_deg: float, mirrored: bool) -> None:
    turn = np.deg2rad(turn_deg)
    up = (-np.cos(turn), np.sin(turn))  # where the anterior wall went
    found = aha.segments(_phantom(turn_deg=turn_deg, mirrored=mirrored)[None], levels=["mid"], anterior_px=up)
    plain = aha.segments(_phantom()[None], levels=["mid"]).segment[0]
    sign = -1 if mirrored else 1
    for angle in (-105, -45, 15, 75, 135, -165):
        there = np.degrees(np.arctan2(np.sin(np.deg2rad(angle)), sign * np.cos(np.deg2rad(angle)))) + turn_deg
        assert _at(found.segment[0], there) == _at(plain, angle)


def test_three_millimetres_of_insertion_error_mislabel_a_tenth_of_a_sector_at_each_border() -> None:
    labels = _phantom(192)[None]
    exact = aha.insertions(labels[0]).anterior
    centre = 95.5
    turn = 3.0 / 30.0
    moved = np.subtract(exact, centre) @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    there = aha.segments(labels, levels=["mid"], anterior_insertion=[(moved[0] + centre, moved[1] + centre)])
    here = aha.segments(labels, levels=["mid"], anterior_insertion=[exact])
    changed = (there.segment != here.segment)[labels == 2].mean()
    assert changed == pytest.approx(np.degrees(turn) / 60, abs=0.03)


def test_every_pixel_of_a_closed_wall_has_a_segment_and_a_layer_and_no_other_pixel_has() -> None:
    labels = np.stack([_phantom()] * 3)
    found = aha.segments(labels)
    np.testing.assert_array_equal(found.segment > 0, labels == 2)
    np.testing.assert_array_equal(found.layer > 0, labels == 2)
    assert set(np.unique(found.segment)) == set(range(17))


def test_layers_part_the_wall_in_the_middle() -> None:
    found = aha.segments(_phantom()[None]).layer[0]
    assert [_at(found, 10, radius) for radius in (17, 19, 23, 25)] == [aha.ENDO, aha.ENDO, aha.EPI, aha.EPI]


def test_slices_without_a_closed_wall_or_right_ventricle_say_why_they_have_no_segment() -> None:
    open_wall, alone, empty = _phantom(), _phantom(), np.zeros((96, 96), np.uint8)
    open_wall[40:56, 60:][open_wall[40:56, 60:] == 2] = 0
    alone[alone == 1] = 0
    found = aha.segments(np.stack([_phantom(), open_wall, alone, empty]))
    assert found.why_not == ("", "wall_open", "rv_empty", "myocardium_empty")
    assert not found.segment[1:].any()


@pytest.mark.parametrize(("n", "levels"), [(1, "m"), (2, "bm"), (3, "bma"), (5, "bbmma"), (9, "bbbmmmaaa")])
def test_slices_are_base_mid_apex_by_thirds(n: int, levels: str) -> None:
    assert "".join(level[0] for level in aha.levels_of(n)) == levels


def test_a_stack_needs_a_slice() -> None:
    with pytest.raises(ValueError, match="at least one slice"):
        aha.levels_of(0)


def test_statistics_are_those_of_the_pixels() -> None:
    labels = np.stack([_phantom()] * 3)
    found = aha.segments(labels)
    values = np.where(found.layer == aha.ENDO, 1.0, 3.0)
    table = aha.statistics(values, found).set_index(["segment", "layer"])
    assert table.loc[(4, "endo"), "mean"] == 1.0
    assert table.loc[(4, "epi"), "median"] == 3.0
    inside = values[found.segment == 4]
    assert table.loc[(4, "all"), ["mean", "sd", "min", "max", "pixels"]].tolist() == pytest.approx(
        [inside.mean(), inside.std(ddof=1), 1.0, 3.0, inside.size]
    )


def test_pixels_that_may_not_count_do_not_and_a_segment_of_three_pixels_has_no_mean() -> None:
    found = aha.segments(_phantom()[None], levels=["mid"])
    usable = np.zeros(found.segment.shape, bool)
    usable[tuple(np.argwhere(found.segment == 7)[:3].T)] = True
    row = aha.statistics(np.ones(found.segment.shape), found, usable=usable).query("segment == 7 and layer == 'all'")
    assert row["pixels"].item() == 3
    assert np.isnan(row["mean"].item())


def test_a_map_of_another_grid_is_refused() -> None:
    with pytest.raises(ValueError, match="use one grid"):
        aha.statistics(np.ones((1, 4, 4)), aha.segments(_phantom()[None]))


def test_every_segment_belongs_to_one_artery() -> None:
    assert sorted(number for members in aha.TERRITORIES.values() for number in members) == list(range(1, 18))


def test_reserve_is_missing_where_rest_is_not_positive() -> None:
    np.testing.assert_array_equal(aha.reserve([3.0, 2.0, 1.0], [1.0, 0.0, np.nan]), [3.0, np.nan, np.nan])
