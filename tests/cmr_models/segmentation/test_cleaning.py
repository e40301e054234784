"""Which pieces of labels stay, mostly on stacks so small that the rules of the ends of a stack are silent."""

import numpy as np
import numpy.typing as npt
import pytest

from cmr_models.contracts import LA, LV, MYOCARDIUM, RV, SLICE_ANSWERS
from cmr_models.segmentation.cleaning import (
    _inside_next_lv,
    _median_centre,
    clean_sax,
    clean_with_reasons,
    keep_largest_pieces,
)

Labels = npt.NDArray[np.uint8]


def heart(frames: int = 1, slices: int = 1) -> Labels:
    """A pool of 9 x 9 about row 20, column 30 in a wall of three pixels, in images of 50 x 80."""
    label = np.zeros((frames, slices, 50, 80), np.uint8)
    label[:, :, 13:28, 23:38], label[:, :, 16:25, 26:35] = MYOCARDIUM, LV
    return label


def put(label: Labels, code: int, rows: slice | int, cols: slice | int, image: tuple[int, int] = (0, 0)) -> Labels:
    """A copy of ``label`` with one more piece."""
    out = label.copy()
    out[image][rows, cols] = code
    return out


def test_a_whole_heart_stays_as_it_is() -> None:
    whole = put(heart(2, 3), RV, slice(10, 30), slice(12, 22))
    np.testing.assert_array_equal(clean_sax(whole, 1.4), whole)
    empty = np.zeros((2, 3, 20, 30), np.uint8)
    np.testing.assert_array_equal(clean_sax(empty, 1.4), empty)
    wall_alone = np.where(whole == LV, 0, whole).astype(np.uint8)
    np.testing.assert_array_equal(clean_sax(wall_alone, 1.4), wall_alone)


def test_at_the_corner_of_the_image_nothing_is_lost() -> None:
    corner = np.zeros((1, 1, 12, 17), np.uint8)
    corner[0, 0, :5, 11:], corner[0, 0, :3, 14:] = MYOCARDIUM, LV
    np.testing.assert_array_equal(clean_sax(corner, 1.4), corner)
    np.testing.assert_array_equal(clean_sax(corner[..., ::-1, ::-1], 1.4), corner[..., ::-1, ::-1])


def test_holes_of_any_label_become_pool_and_bays_do_not() -> None:
    whole = heart()
    holed = put(put(put(whole, 0, 18, 28), MYOCARDIUM, 22, slice(31, 33)), RV, 20, 30)
    np.testing.assert_array_equal(clean_sax(holed, 1.4), whole)
    bay = put(whole, 0, slice(16, 20), 30)  # open at the top of the pool
    np.testing.assert_array_equal(clean_sax(bay, 1.4), bay)


@pytest.mark.parametrize(("code", "n_main"), [(RV, 40), (MYOCARDIUM, 15 * 15 - 81)])
def test_a_second_piece_stays_from_a_quarter_of_the_largest_on(code: int, n_main: int) -> None:
    whole = put(heart(), RV, slice(15, 25), slice(10, 14))  # 40 pixels; the wall has 144
    quarter = put(whole, code, 35, slice(20, 20 + n_main // 4))
    np.testing.assert_array_equal(clean_sax(quarter, 1.4), quarter)
    less = put(whole, code, 35, slice(20, 19 + n_main // 4))
    np.testing.assert_array_equal(clean_sax(less, 1.4), whole)


@pytest.mark.parametrize("code", [RV, MYOCARDIUM])
@pytest.mark.parametrize(("pixel_mm", "stays"), [(1.0, True), (2.0, False)])
def test_a_piece_stays_as_far_as_its_reach_in_millimetres(code: int, pixel_mm: float, stays: bool) -> None:
    whole = put(heart(), RV, slice(15, 25), slice(11, 23))
    apart = put(whole, code, slice(36, 45), slice(46, 55))  # centre at (40, 50): 20 rows and 20 columns away, 28.3 px
    found = clean_sax(apart, pixel_mm, rv_reach_mm=28.3)
    np.testing.assert_array_equal(found, apart if stays else whole)
    np.testing.assert_array_equal(clean_sax(apart, 1.0, rv_reach_mm=28.2), whole)


@pytest.mark.parametrize(("first_col", "stays"), [(40, True), (41, False)])
def test_in_the_slice_with_most_wall_the_pool_begins_within_reach_of_the_middle(first_col: int, stays: bool) -> None:
    label = heart(3)
    label[:, 0, 15:25, 10:20] = RV  # so that rows and columns are counted from other places
    label[2] = 0
    label[2, 0, 16:25, first_col : first_col + 9] = LV  # in this frame the heart has jumped to the right
    found = clean_sax(label, 2.0, reach_mm=20.0)  # 10 pixels from column 30
    assert (found[2] == LV).any() == stays
    np.testing.assert_array_equal(found[:2], label[:2])


def test_the_first_slice_is_chosen_once_though_a_larger_piece_touches_the_pools_of_other_frames() -> None:
    label = heart(3)
    label[2] = 0
    label[2, 0, 19:21, 29:31] = LV  # within five pixels of the middle, (20, 30)
    label[2, 0, 24:34, 34:60] = LV  # touches the corner of the other frames' pool, 5.7 pixels away
    found = clean_sax(label, 2.0, reach_mm=10.0)
    assert (found[2] == LV).sum() == 4


def test_where_the_slice_with_most_wall_has_taken_something_else_for_the_pool_the_others_stay() -> None:
    label = heart(1, 4)
    label[0, 3] = 0
    label[0, 3, 2:20, 36:60], label[0, 3, 5:17, 39:57] = MYOCARDIUM, LV  # the largest wall, beside the other pools
    found = clean_sax(label, 1.0)
    np.testing.assert_array_equal(found[0, :3], label[0, :3])
    assert not (found[0, 3] == LV).any()
    two = label[:, 2:]  # as many pools here as there: the one with more wall stays
    assert [(image == LV).any() for image in clean_sax(two, 1.0)[0]] == [False, True]


def test_the_middle_of_the_stack_is_that_of_images_with_half_the_usual_area() -> None:
    mask = np.zeros((6, 40, 40), bool)
    mask[0, 10:14, 10:15] = mask[1, 12:16, 10:15] = mask[2, 14:18, 11:16] = True  # 20 pixels each
    mask[3, 0:3, 0:3] = True  # nine: an island
    mask[4, 20:40, 20:40] = True  # 400: a stomach
    # of five images with a pool the median area is 20: four have 10 at least; rows 11.5, 13.5, 15.5 and 29.5
    found = _median_centre(mask)
    assert found.tolist() == [14.5, 12.5]
    assert _median_centre(mask[5:]) is None


def test_of_two_pieces_within_reach_the_larger_is_the_ventricle() -> None:
    label = put(heart(), LV, slice(18, 22), slice(42, 60))  # 72 pixels, of the ventricle's 81
    np.testing.assert_array_equal(clean_sax(label, 1.0), heart())


def test_slices_are_chained_from_the_one_with_most_wall_both_ways_through_pieces_that_overlap() -> None:
    label = heart(2, 4)
    label[:, 0] = 0
    label[:, 0, 5:45, 60:80] = LV  # larger than any ventricle, and without wall: a stomach
    label[0, 3] = 0
    label[0, 3, 24:33, 34:43] = LV  # overlaps the pool of the slice before in one pixel
    label[1, 3] = 0
    label[1, 3, 25:34, 35:44] = LV  # in none
    found = clean_sax(label, 1.0)
    assert not found[:, 0].any()
    np.testing.assert_array_equal(found[:, 1:3], label[:, 1:3])
    np.testing.assert_array_equal(found[0, 3], label[0, 3])
    assert not found[1, 3].any()


def test_a_pool_of_one_frame_leads_the_slices_of_the_others_on() -> None:
    label = heart(2, 3)
    label[1, 1] = 0  # nothing was found there in this frame
    np.testing.assert_array_equal(clean_sax(label, 1.4), label)


def test_a_right_ventricle_lies_beside_a_left_one_of_its_frame_or_in_the_next_slice() -> None:
    label = heart(2, 4)
    label[:, :, 15:25, 10:20] = RV
    label[0, 2:] = np.where(label[0, 2:] == RV, RV, 0)  # in the first frame the left one ends with the second slice
    found = clean_sax(label, 1.4)
    assert (found == RV).any(axis=(2, 3)).tolist() == [[True, True, True, False], [True] * 4]
    np.testing.assert_array_equal(found[1], label[1])
    turned = clean_sax(label[:, ::-1], 1.4)
    np.testing.assert_array_equal(turned[:, ::-1], found)


@pytest.mark.parametrize("empty", [0, 2])
def test_what_lies_two_pixels_inside_the_next_pool_is_no_right_ventricle(empty: int) -> None:
    label = heart(2, 3)
    label[0, empty] = 0
    label[0, empty, 10:25, 15:29] = RV  # reaches over columns 26 to 28 and rows 16 to 24 of the pool beside it
    found = clean_sax(label, 1.4)
    expected = label.copy()
    expected[0, empty, 18:23, 28:29] = 0  # the pool less two pixels all around: rows 18 to 22 from column 28 on
    np.testing.assert_array_equal(found, expected)
    later = heart(2, 3)
    later[1, empty] = label[0, empty]
    later[1, 1] = 0  # in its own frame the slice beside it is empty
    assert not (clean_sax(later, 1.4)[1, empty] == RV).any()


def test_a_right_ventricle_leaves_with_the_left_one_though_it_contracts() -> None:
    rows, cols = np.indices((50, 80))
    away = np.hypot(rows - 20, cols - 30)
    label = np.zeros((2, 7, 50, 80), np.uint8)
    for frame, pools in enumerate(((12, 12, 12, 11, 10, 9, 7), (3, 8, 8, 7, 7, 6, 5))):
        for k, pool in enumerate(pools):
            label[frame, k][away < pool + 5] = MYOCARDIUM
            label[frame, k][away < pool] = LV
    label[0, :, 12:28, 2:12] = RV
    label[1, :, 12:28, 2:8] = RV  # it shrinks to 0.6 in every slice
    found = clean_sax(label, 1.4)
    # in the first slice the pool shrinks to a sixteenth: the left ventricle has left it
    assert (found == RV).any(axis=(2, 3)).tolist() == [[True] * 7, [False] + [True] * 6]


def test_only_the_largest_piece_of_each_class_stays_in_each_image() -> None:
    label = np.zeros((2, 2, 8, 9), np.uint8)
    label[0, 0, 0, :3], label[0, 0, 2, :2] = RV, RV
    label[0, 1, 2, :2] = RV  # the only one in its image, though a piece beside it in the stack is larger
    label[1, 0, 4, 4:7], label[1, 0, 5, 7:9] = LA, LA  # they touch at a corner
    label[1, 0, 7, 0], label[1, 1, :, 8] = LV, MYOCARDIUM
    kept = keep_largest_pieces(label)
    expected = label.copy()
    expected[0, 0, 2, :2] = expected[1, 0, 5, 7:9] = 0
    np.testing.assert_array_equal(kept, expected)
    assert label[0, 0, 2, 0] == RV  # the argument stays
    for blank in (np.zeros((1, 2, 5, 5), np.uint8), np.zeros((0, 2, 5, 5), np.uint8)):
        np.testing.assert_array_equal(keep_largest_pieces(blank), blank)


def test_inside_the_pool_of_a_neighbouring_slice_is_two_pixels_in_and_of_the_same_frame() -> None:
    lv = np.zeros((2, 3, 12, 14), bool)  # two frames of three slices
    lv[0, 0, 1:10, 2:12] = lv[1, 2, 3:11, 1:9] = True
    found = _inside_next_lv(lv.reshape(6, 12, 14), 2).reshape(lv.shape)
    expected = np.zeros_like(lv)
    expected[0, 1, 3:8, 4:10] = expected[1, 1, 5:9, 3:7] = True
    np.testing.assert_array_equal(found, expected)


def reasons(label: Labels) -> list[list[list[str]]]:
    """``[frame][slice]``: the answers of both ventricles."""
    left_out = clean_with_reasons(label, 1.4).left_out
    return [[[SLICE_ANSWERS[int(code)] for code in image] for image in frame] for frame in left_out]


def test_what_stays_has_no_reason() -> None:
    whole = put(heart(1, 3), RV, slice(10, 30), slice(12, 22))
    assert reasons(whole) == [[["ventricle", "ventricle"]] * 3]


def test_a_pool_beside_the_ventricle_of_the_next_slice_is_left_out_as_apart() -> None:
    whole = heart(1, 3)
    whole[0, 2] = 0
    whole[0, 2, 40:45, 60:70] = LV
    assert reasons(whole) == [[["ventricle", "ventricle"], ["ventricle", "ventricle"], ["ventricle", "slice_apart"]]]


def test_a_right_ventricle_two_slices_beyond_the_left_one_is_without_it() -> None:
    whole = put(heart(1, 4), RV, slice(10, 30), slice(12, 22), (0, 3))
    whole[0, 2:][whole[0, 2:] != RV] = 0
    assert reasons(whole)[0][3] == ["slice_without_lv", "ventricle"]


def test_an_open_base_has_its_reason() -> None:
    """Six slices; at the base the wall is gone but for a tenth, and with it the ventricle."""
    whole = heart(1, 6)
    whole[0, 0][whole[0, 0] == MYOCARDIUM] = 0
    whole[0, 0, 13, 23:37] = MYOCARDIUM
    found = reasons(whole)[0]
    assert found[0] == ["ventricle", "slice_open"]
    assert found[1:] == [["ventricle", "ventricle"]] * 5


def test_of_a_cine_a_base_does_not_open_for_a_single_frame() -> None:
    """Twenty frames, the base open in one: most of the five around it say that it is closed."""
    cine = heart(20, 6)
    cine[7, 0][cine[7, 0] == MYOCARDIUM] = 0
    assert (clean_sax(cine, 1.4)[7, 0] == LV).any()
    assert not (clean_sax(cine[:19], 1.4)[7, 0] == LV).any()
    cine[:, 0][cine[:, 0] == MYOCARDIUM] = 0
    assert not (clean_sax(cine, 1.4)[:, 0] == LV).any()


def beating(n_slices: int = 9) -> Labels:
    """Full and contracted: pools of 9 x 9 and 7 x 7; right ventricles of 120 and 60 pixels in the basal half."""
    both = heart(2, n_slices)
    both[1, :, 16:25, 26:35] = MYOCARDIUM
    both[1, :, 17:24, 27:34] = LV
    both[:, :5, 10:20, 4:10] = RV
    both[0, :5, 10:20, 10:16] = RV
    return both


def test_a_beating_heart_stays_whole() -> None:
    np.testing.assert_array_equal(clean_sax(beating(), 1.4), beating())


def test_a_pool_that_is_largest_when_the_others_are_smallest_is_an_atrium() -> None:
    both = beating()
    both[:, 0] = both[::-1, 0]
    both[:, 0][both[:, 0] == RV] = 0
    assert [frame[0] for frame in reasons(both)] == [["ventricle", "slice_atrium"]] * 2
    assert [frame[1] for frame in reasons(both)] == [["ventricle", "ventricle"]] * 2


def test_a_right_ventricle_that_does_not_shrink_at_the_base_rests() -> None:
    both = beating()
    both[1, 0, 10:20, 10:16] = RV
    assert reasons(both)[1][0] == ["slice_resting", "ventricle"]
    assert reasons(both)[0][0] == ["ventricle", "ventricle"]


def test_where_the_left_ventricle_has_left_the_right_one_has_too() -> None:
    both = beating()
    both[1, 0][np.isin(both[1, 0], (LV, MYOCARDIUM))] = 0
    assert reasons(both)[1][0][0] == "slice_left_by_lv"
    assert reasons(both)[0][0] == ["ventricle", "ventricle"]


def test_both_walls_stay_where_a_long_axis_plane_cuts_a_thin_apex() -> None:
    label = np.zeros((1, 1, 30, 30), np.uint8)
    label[0, 0, 5:25, 10:20] = LV
    label[0, 0, 5:25, 7:10] = MYOCARDIUM  # 60 pixels
    label[0, 0, 5:20, 20:22] = MYOCARDIUM  # 30 pixels on the other side
    label[0, 0, 26:28, 10:20] = MYOCARDIUM  # 20 pixels that touch no pool
    label[0, 0, 25, 12:19] = MYOCARDIUM  # joined to them: 27 pixels at the apex
    label[0, 0, 5:15, 26:29] = MYOCARDIUM  # 30 pixels of liver
    label[0, 0, 1:3, 10:15] = LV  # a crumb
    kept = keep_largest_pieces(label)[0, 0]
    assert (kept == MYOCARDIUM).sum() == 60 + 30 + 27
    assert not kept[5:15, 26:29].any()
    assert (kept == LV).sum() == 200
