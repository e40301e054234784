"""What of the wall a measurement of flow may rest on."""

import numpy as np
import pandas as pd
import pytest

from cmr_models.perfusion.wall import inner_wall, mask_flow_at_bound, reliable_pixels


def _tables(medians: list[float]) -> dict[str, pd.DataFrame]:
    flow = pd.DataFrame(dict.fromkeys(("mean", "median", "sd", "min", "max"), medians) | {"pixels": 9})
    return {"mbf_ml_min_g": flow, "ps_ml_min_g": flow / 8}


def test_a_segment_at_the_highest_flow_is_missing_in_every_table() -> None:
    tables = _tables([1.0, 8.0, 7.9])
    assert mask_flow_at_bound(tables)
    for table in tables.values():
        assert table["median"].isna().tolist() == [False, True, False]
    assert tables["mbf_ml_min_g"]["pixels"].tolist() == [9, 9, 9]


def test_other_segments_stay_as_they_are() -> None:
    tables = _tables([1.0, np.nan, 7.9])
    assert not mask_flow_at_bound(tables)
    assert tables["mbf_ml_min_g"]["median"].tolist()[::2] == [1.0, 7.9]


def test_the_innermost_wall_is_as_deep_as_leaves_enough_of_it() -> None:
    thick, thin = np.zeros((40, 40), bool), np.zeros((40, 40), bool)
    thick[5:35, 5:20] = True
    thin[5:35, 5:7] = True
    assert inner_wall(thick).sum() == 26 * 11
    assert np.array_equal(inner_wall(thin), thin)


# by hand, at the limits


@pytest.mark.parametrize(
    ("columns", "kept"),
    [
        (9, 5 * 26),  # 30 rows: deeper than 2.1 pixels are 26 rows of five columns
        (5, 28 * 3),  # deeper than 2.1: one column of 26; deeper than 1.5: three of 28
        (3, 30 * 3),  # deeper than 1: one column of 28; so all
    ],
)
def test_the_inner_wall_is_the_deepest_that_has_thirty_pixels(columns: int, kept: int) -> None:
    wall = np.zeros((40, 40), bool)
    wall[5:35, 5 : 5 + columns] = True
    assert inner_wall(wall).sum() == kept


def test_thirty_pixels_are_enough() -> None:
    wall = np.zeros((60, 20), bool)
    wall[2:36, 3:8] = True  # 34 rows: deeper than 2.1 pixels is the middle column of 30
    assert inner_wall(wall).sum() == 30
    wall[35] = False
    assert inner_wall(wall).sum() == 31 * 3


def test_a_segment_keeps_its_inner_pixels_if_there_are_five_else_all_away_from_the_pool() -> None:
    labels, segment = np.zeros((2, 20, 12), np.uint8), np.zeros((2, 20, 12), np.uint8)
    labels[0, 2:9, 3:6], segment[0, 2:9, 3:6] = 2, 4  # seven by three: inside are five
    labels[0, 10:16, 3:6], segment[0, 10:16, 3:6] = 2, 5  # six by three: inside are four, so all count
    labels[0, 17:19, 2:11], segment[0, 17:19, 2:11] = 2, 6
    labels[1, 5:8, 5], labels[1, 6, 3:5], segment[1, 5:8, 5], segment[1, 6, 3:5] = 2, 2, 6, 6
    labels[1, 6, 7] = 3  # the pool touches nothing of these; pixels of the other slice do not either
    labels[0, 16, 8] = 3  # touches three of the upper row
    kept = reliable_pixels(labels, segment)
    expected = np.zeros_like(kept)
    expected[0, 3:8, 4] = True
    expected[0, 10:16, 3:6] = True
    expected[0, 17:19, 2:11] = expected[1, 5:8, 5] = expected[1, 6, 3:5] = True
    expected[0, 17, 7:10] = False
    np.testing.assert_array_equal(kept, expected)


@pytest.mark.parametrize(("median", "masked"), [(7.95, False), (7.96, True), (8.0, True)])
def test_the_highest_flow_is_eight_less_half_a_per_cent(median: float, masked: bool) -> None:
    tables = _tables([1.0, median])
    assert mask_flow_at_bound(tables) == masked
    for table in tables.values():
        for name in ("mean", "median", "sd", "min", "max"):
            assert table[name].isna().tolist() == [False, masked]


def test_only_pixels_that_touch_the_pool_are_beside_it() -> None:
    labels, segment = np.zeros((1, 21, 21), np.uint8), np.zeros((1, 21, 21), np.uint8)
    labels[0, [8, 12], 7:14] = labels[0, 8:13, [8, 12]] = 2  # a thin frame two pixels away from the pool
    segment[labels == 2] = 3
    labels[0, 10, 10] = 3
    np.testing.assert_array_equal(reliable_pixels(labels, segment), labels == 2)
    labels[0, 9, 9] = segment[0, 9, 9] = 2  # one at a corner of it
    kept = reliable_pixels(labels, segment)
    assert not kept[0, 9, 9]
    assert kept.sum() == (labels == 2).sum() - 1
