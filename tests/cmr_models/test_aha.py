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


def test_names_and_territories_are_those_of_the_american_heart_association() -> None:
    # Cerqueira et al. 2002, figures 4 and 5
    assert aha.TERRITORIES == {
        "lad": (1, 2, 7, 8, 13, 14, 17), "rca": (3, 4, 9, 10, 15), "lcx": (5, 6, 11, 12, 16),
    }  # fmt: skip
    walls = ("anterior", "anteroseptal", "inferoseptal", "inferior", "inferolateral", "anterolateral")
    names = [f"{level} {wall}" for level in ("basal", "mid") for wall in walls]
    names += [f"apical {wall}" for wall in ("anterior", "septal", "inferior", "lateral")]
    assert dict(enumerate([*names, "apex"], start=1)) == aha.NAMES
    assert aha.LAYERS == {0: "all", 1: "endo", 2: "epi"}


@pytest.mark.parametrize(("n", "levels"), [(2, "bm"), (4, "bbma"), (6, "bbmmaa"), (7, "bbbmmaa"), (11, "bbbbmmmmaaa")])
def test_thirds_of_a_stack_that_three_does_not_divide_are_larger_at_the_base(n: int, levels: str) -> None:
    assert "".join(level[0] for level in aha.levels_of(n)) == levels


def test_a_heart_off_the_middle_of_an_oblong_image_has_the_same_segments_and_layers() -> None:
    plain = aha.segments(np.stack([_phantom(turn_deg=20)] * 3))
    margin = ((0, 0), (3, 40), (25, 0))
    moved = aha.segments(np.pad(np.stack([_phantom(turn_deg=20)] * 3), margin))
    np.testing.assert_array_equal(moved.segment, np.pad(plain.segment, margin))
    np.testing.assert_array_equal(moved.layer, np.pad(plain.layer, margin))


def test_each_slice_has_its_own_anterior_direction_insertion_and_level() -> None:
    labels = np.stack([_phantom()] * 4)
    anterior = aha.insertions(labels[0]).anterior
    found = aha.segments(
        labels,
        levels=["apex", "base", "base", "mid"],
        anterior_px=[(-1, 0), (1, 0), (1, 0), (-1, 0)],  # in the second and third the heart lies upside down
        anterior_insertion=[None, None, anterior, None],
    )
    assert [_at(plane, 40.0) for plane in found.segment] == [16, 6, 5, 11]  # 160 degrees from one, 80 from the other


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"levels": ["mid", "mid"]}, "3 slices need as many levels and insertions, got 2, 3"),
        ({"anterior_insertion": [None]}, "3 slices need as many levels and insertions, got 3, 1"),
    ],
)
def test_lists_of_another_length_and_single_images_are_refused(given: dict[str, list[None]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        aha.segments(np.stack([_phantom()] * 3), **given)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="got 2 dimensions"):
        aha.segments(_phantom())


def test_the_right_ventricle_meets_the_left_where_it_touches_the_wall_and_else_where_it_ends() -> None:
    labels = np.zeros((41, 41), np.uint8)
    labels[16:25, 16:25], labels[19:22, 19:22] = 2, 3
    labels[14:27, 14:16] = 1  # touches the left side of the wall; its corners are at 14 and 26
    labels[2, 14], labels[38, 15] = 1, 1  # stray pixels far from the wall
    assert aha.insertions(labels) == ((14, 15), (26, 15))
    assert aha.insertions(labels, (1.0, 0.0)) == ((26, 15), (14, 15))
    apart = np.where(labels == 1, 0, labels)
    apart[15:26, 8] = 1
    assert aha.insertions(apart) == ((15, 8), (25, 8))
    with pytest.raises(ValueError, match="no pixel is RV"):
        aha.insertions(np.where(labels == 1, 0, labels))
    with pytest.raises(ValueError, match="no pixel is LV"):
        aha.insertions(np.where(labels == 3, 0, labels))


@pytest.mark.parametrize(("gap_deg", "reason"), [(15, ""), (20, "wall_open")])
def test_a_wall_may_be_open_by_fifteen_degrees(gap_deg: int, reason: str) -> None:
    labels = _phantom(384)  # of 384 pixels, so that every 5 degrees have some
    rows, cols = np.indices(labels.shape) - 191.5
    angle = np.degrees(np.arctan2(rows, cols)) % 360
    labels[(labels == 2) & (angle >= 40) & (angle < 40 + gap_deg)] = 0
    assert aha.segments(labels[None]).why_not == (reason,)


@pytest.mark.parametrize("code", [2, 3])
def test_a_slice_without_wall_or_without_pool_is_empty(code: int) -> None:
    labels = _phantom()
    labels[labels == code] = 0
    assert aha.segments(labels[None]).why_not == ("myocardium_empty",)


def test_layers_meet_halfway_and_the_middle_is_inner() -> None:
    labels = np.zeros((61, 61), np.uint8)
    labels[10:51, 10:51], labels[15:46, 15:46], labels[29:32, 2:10] = 2, 3, 1  # a wall of five pixels
    layer = aha.segments(labels[None]).layer[0]
    assert layer[30, 9:16].tolist() == [0, 2, 2, 1, 1, 1, 0]
    assert layer[45:51, 30].tolist() == [0, 1, 1, 1, 2, 2]


def test_statistics_of_uneven_values_by_hand_without_nan_or_pixels_that_may_not_count() -> None:
    segment = np.array([[[3, 3, 3, 3], [3, 3, 5, 5], [0, 0, 5, 0]]], np.uint8)
    layer = np.array([[[1, 1, 1, 2], [1, 2, 2, 2], [0, 0, 1, 0]]], np.uint8)
    found = aha.Segments(segment, layer, ("",))
    values = np.array([[[1.0, 2, 4, 50], [9, np.nan, 7, 7], [90, 90, 7, 90]]])
    usable = np.ones(segment.shape, bool)
    usable[0, 0, 3] = False
    table = aha.statistics(values, found, usable=usable)
    assert len(table) == 48
    assert table["segment"].tolist() == [n for n in range(1, 17) for _ in range(3)]
    assert table["layer"].tolist() == ["all", "endo", "epi"] * 16
    numbers = table.set_index(["segment", "layer"])[["mean", "median", "sd", "min", "max", "pixels"]]
    # 1, 2, 4 and 9: mean 4, median 3, variance (9 + 4 + 0 + 25) / 3
    for part in ("all", "endo"):
        assert numbers.loc[(3, part)].tolist() == pytest.approx([4, 3, np.sqrt(38 / 3), 1, 9, 4])
    for part, pixels in (((3, "epi"), 0), ((5, "all"), 3), ((5, "endo"), 1), ((4, "all"), 0)):
        assert numbers.loc[part].isna().tolist() == [True] * 5 + [False]
        assert numbers.loc[part, "pixels"] == pixels
    every = aha.statistics(values, found).set_index(["segment", "layer"])
    assert every.loc[(3, "all"), ["mean", "pixels"]].tolist() == pytest.approx([13.2, 5])


def test_reserve_is_stress_over_rest_and_missing_for_rest_below_zero() -> None:
    np.testing.assert_array_equal(aha.reserve([3.0, 1.0, 2.0], [1.5, 2.0, -1.0]), [2.0, 0.5, np.nan])
