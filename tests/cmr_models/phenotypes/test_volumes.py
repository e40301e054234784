"""Areas and volumes of stacks with oblong pixels, uneven and unsorted planes, and images that are not there."""

import math

import numpy as np
import pytest

from cmr_models.contracts import LA, LV, MYOCARDIUM, RA, RV, cine_view
from cmr_models.phenotypes.volumes import area_curves, basal_parts, label_area_cm2, plane_weight_mm, volume_curves
from cmr_models.reasons import StudyRejected

OFFSETS_MM = (30.0, 0.0, 10.0, 22.0)  # as stored; in order 0, 10, 22, 30: weights 10, 11, 10, 9


def view_of(n_frames, offsets_mm=OFFSETS_MM, *, slice_mm=10.0, valid=None, flipped=()):
    """Planes of 3 rows of 2 mm and 5 columns of 1.5 mm, so that a pixel has 0.03 cm²; some stored mirrored."""
    n = len(offsets_mm)
    row_dir = np.tile([1.0, 0, 0], (n, 1))
    position = np.c_[np.full(n, -3.0), np.full(n, -2.0), offsets_mm]
    for k in flipped:
        row_dir[k, 0], position[k, 0] = -1, 3.0  # the first pixel is at the other end of the row
    return cine_view(
        np.zeros((n_frames, n, 3, 5), np.uint16),
        time_ms=np.arange(n_frames) * 31.0,
        pixel_mm=(2.0, 1.5),
        position_mm=position,
        row_dir=row_dir,
        col_dir=np.tile([0, 1.0, 0], (n, 1)),
        slice_mm=slice_mm,
        thickness_mm=8.0,
        heart_rate_bpm=60.0,
        frame_valid=valid,
    ).drop_vars("intensity")


def counts(code, *by_frame):
    """Labels with so many pixels of ``code`` in each plane of each frame."""
    label = np.zeros((len(by_frame), len(by_frame[0]), 15), np.uint8)
    for frame, row in enumerate(by_frame):
        for k, n in enumerate(row):
            label[frame, k, :n] = code
    return label.reshape(*label.shape[:2], 3, 5)


@pytest.mark.parametrize("flipped", [(), (0,), (2, 3)])
@pytest.mark.parametrize(("code", "name"), [(LV, "lv_ml"), (MYOCARDIUM, "myocardium_ml"), (RV, "rv_ml")])
def test_each_plane_stands_for_half_of_the_way_to_its_neighbours(code, name, flipped):
    # 1 px x 9 + 2 x 10 + 3 x 11 + 4 x 10 = 102 px mm, of 3 mm² each: 306 mm³; then 8 x 9 + 1 x 10 = 82: 246 mm³
    label = counts(code, (1, 2, 3, 4), (8, 1, 0, 0))
    curves = volume_curves(label, view_of(2, flipped=flipped))
    assert curves[name].values == pytest.approx([0.306, 0.246])
    assert curves["time_ms"].values.tolist() == [0, 31]
    others = {"lv_ml", "myocardium_ml", "rv_ml"} - {name}
    assert all((curves[other] == 0).all() for other in others)


def test_a_plane_that_was_never_acquired_counts_nothing_and_its_neighbours_stand_in():
    valid = np.ones((2, 4), bool)
    valid[:, 3] = False  # at 22 mm: left are 0, 10 and 30, of weights 10, 15 and 15
    curves = volume_curves(counts(LV, (1, 2, 3, 9), (1, 0, 0, 9)), view_of(2, valid=valid))
    assert curves["lv_ml"].values == pytest.approx([0.003 * (15 + 20 + 45), 0.003 * 15])


def test_a_frame_that_lacks_an_acquired_plane_has_no_volume():
    valid = np.ones((3, 4), bool)
    valid[1, 2] = False
    curves = volume_curves(counts(LV, *[(1, 2, 3, 4)] * 3), view_of(3, valid=valid))
    assert curves["lv_ml"].values == pytest.approx([0.306, math.nan, 0.306], nan_ok=True)


def test_one_plane_with_images_or_an_unknown_distance_spans_no_volume():
    valid = np.zeros((2, 4), bool)
    valid[1, 2] = True
    label = counts(LV, (1, 2, 3, 4), (1, 2, 3, 4))
    with pytest.raises(StudyRejected, match=r"1 plane\(s\) hold images") as caught:
        volume_curves(label, view_of(2, valid=valid))
    assert caught.value.reason == "single_plane"
    with pytest.raises(StudyRejected):
        volume_curves(label, view_of(2, slice_mm=math.nan))
    valid[:, 1] = True  # two planes are enough
    assert volume_curves(label, view_of(2, valid=valid))["lv_ml"].values == pytest.approx(
        [math.nan, 0.003 * 10 * 5], nan_ok=True
    )


def test_weights_are_of_the_planes_in_their_order_and_of_two_or_one_by_the_usual_distance():
    assert plane_weight_mm(OFFSETS_MM, 10.0).tolist() == [9, 10, 11, 10]
    assert plane_weight_mm([8, 0], 10.0).tolist() == [9, 9]
    assert plane_weight_mm([5], 10.0).tolist() == [10]


def test_atria_are_those_of_the_first_plane_and_unknown_where_the_scanner_sent_no_image():
    label = counts(LA, (4, 9), (0, 9), (2, 9)) + counts(RA, (0, 0), (0, 0), (0, 0))
    label[2, 0, 2] = RA
    valid = np.array([[True, True], [False, True], [True, False]])
    curves = area_curves(label, view_of(3, (0.0, 9.0), valid=valid))
    assert curves["la_cm2"].values == pytest.approx([0.12, math.nan, 0.06], nan_ok=True)
    assert curves["ra_cm2"].values == pytest.approx([0, math.nan, 0.15], nan_ok=True)
    assert curves["time_ms"].values.tolist() == [0, 31, 62]


def test_an_area_is_that_of_its_own_label_in_every_image():
    label = counts(LV, (1, 2), (3, 0)) + counts(RV, (0, 0), (0, 5))
    assert label_area_cm2(label, RV, view_of(2, (0.0, 9.0))) == pytest.approx(np.array([[0, 0], [0, 0.15]]))


@pytest.mark.parametrize("measure", [volume_curves, area_curves])
@pytest.mark.parametrize("shape", [(2, 3, 3, 5), (3, 4, 3, 5), (2, 4, 3)])
def test_labels_of_another_grid_are_refused(measure, shape):
    with pytest.raises(ValueError, match=r"segment again"):
        measure(np.zeros(shape, np.uint8), view_of(2))


def test_a_tilted_plane_lies_where_its_centre_is():
    view = view_of(1, (0.0, 10.0, 20.0))
    sine, cosine = 0.173648, 0.984808  # 10 degrees about the columns
    row_dir = view["row_dir"].values.copy()
    row_dir[2] = [cosine, 0, sine]
    view = view.assign(row_dir=(view["row_dir"].dims, row_dir))
    # its centre is 3 mm along the row (4 columns of 1.5 mm, halved) from its first pixel at (-3, -2, 20); the normals
    # (0, 0, 1), twice, and (-0.173648, 0, 0.984808) are along (-0.058079, 0, 0.998312) on average, so that planes lie
    # at 0, 9.98312 and 0.058079 x 0.045576 + 0.998312 x 20.520944 = 20.48895
    label = counts(LV, (0, 0, 1))
    half_ways = (20.48895 - 9.98312 + 10.0) / 2
    assert volume_curves(label, view)["lv_ml"].values == pytest.approx([0.003 * half_ways], rel=1e-5)


def whole_heart(*by_frame):
    """Labels of four sorted planes: so many pixels of LV, then one of myocardium and one of RV where there is LV."""
    label = counts(LV, *by_frame)
    flat = label.reshape(*label.shape[:2], 15)
    flat[..., 13:][flat[..., :1].repeat(2, axis=2) > 0] = np.tile([MYOCARDIUM, RV], int((flat[..., 0] > 0).sum()))
    return label


@pytest.mark.parametrize("offsets_mm", [(0.0, 10.0, 20.0, 30.0), (30.0, 20.0, 10.0, 0.0)])
def test_the_last_slice_at_the_base_counts_by_its_part(offsets_mm):
    """Planes of 10 mm, LV 0, 6, 5, 2 px from the base: 0.75 x 6 + 5 + 2 px of 30 mm^3; myocardium 0.75 + 1 + 1 px."""
    label = whole_heart((0, 6, 5, 2))
    share = np.ones((1, 4, 2))
    share[0, :2, 1] = [0.0, 0.75]
    share[0, :2, 0] = [0.0, 0.5]
    view = view_of(1, offsets_mm)
    curves = volume_curves(label, view, share)
    assert curves["lv_ml"].values == pytest.approx([11.5 * 0.03])
    assert curves["myocardium_ml"].values == pytest.approx([2.75 * 0.03])
    assert curves["rv_ml"].values == pytest.approx([2.5 * 0.03])
    assert volume_curves(label, view)["lv_ml"].values == pytest.approx([13 * 0.03])


def test_a_slice_of_which_less_than_half_is_ventricle_counts_with_the_area_of_the_next():
    """Three of ten millimetres of a slice that was left out: 6 x 0.3 more, twice as much where it stands for 20 mm."""
    present = np.array([[False, True, True], [False, False, False]])
    share = np.array([[0.3, 1.0, 1.0], [0.3, 0.0, 0.0]])
    even, uneven = np.full(3, 10.0), np.array([20.0, 10.0, 10.0])
    assert basal_parts(present, share, even, True)[0] == pytest.approx([1, 1.3, 1])
    assert basal_parts(present, share, uneven, True)[0] == pytest.approx([1, 1.6, 1])
    assert basal_parts(present[:, ::-1], share[:, ::-1], even, False)[0] == pytest.approx([1, 1.3, 1])
    assert basal_parts(present, share, even, True)[1] == pytest.approx([1, 1, 1])
    assert basal_parts(present[:, 1:], share[:, 1:], even[1:], True)[0] == pytest.approx([1, 1])


def test_the_volume_does_not_jump_where_a_valve_passes_the_middle_of_a_slice():
    """Areas alike, the valve 4.9 and 5.1 mm into the basal slice: volumes differ by 0.2 mm of 5 px."""
    area = np.array([[5.0, 5.0, 5.0], [0.0, 5.0, 5.0]])
    share = np.array([[0.51, 1.0, 1.0], [0.49, 1.0, 1.0]])
    ml = (area * basal_parts(area > 0, share, np.full(3, 10.0), True)).sum(axis=1) * 10.0
    assert ml[0] - ml[1] == pytest.approx(5.0 * 0.2)
