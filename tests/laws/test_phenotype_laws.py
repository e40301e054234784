"""Laws that phenotypes keep whatever the heart: scaling, adding, permuting, rotating."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cmr_models.contracts import cine_view
from cmr_models.phenotypes.study import derive
from cmr_models.phenotypes.volumes import plane_weight_mm, volume_curves
from cmr_models.reasons import Missing

CASES = settings(max_examples=25, deadline=None)
CURVES = ("lv_ml", "myocardium_ml", "rv_ml")


def random_label(seed, shape=(3, 6, 12, 12)):
    label = np.random.default_rng(seed).integers(0, 4, shape).astype(np.uint8)
    label[1, :, :8] = np.where(label[1, :, :8] == 3, 2, label[1, :, :8])  # frame 1 is systole
    return label


def rotation(seed):
    matrix, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return matrix


def view_of(label, *, pixel_mm=1.5, slice_mm=9.0, frame=None, order=None):
    axes = np.eye(3) if frame is None else frame
    slices = np.arange(label.shape[1]) if order is None else np.asarray(order)
    return cine_view(
        np.zeros(label.shape, np.uint16),
        time_ms=np.arange(label.shape[0]) * 30.0,
        pixel_mm=(pixel_mm, pixel_mm),
        position_mm=slices[:, None] * slice_mm * axes[2] + 17.0,
        row_dir=axes[0],
        col_dir=axes[1],
        slice_mm=slice_mm,
        thickness_mm=6.0,
        heart_rate_bpm=60.0,
    )


def numbers_of(derived):
    return {k: v for k, v in derived.phenotypes.items() if not isinstance(v, Missing)}


def curves_of(label, **geometry):
    curves = volume_curves(label, view_of(label, **geometry))
    return np.stack([curves[name].values for name in CURVES])


@CASES
@given(st.integers(0, 2**32), st.floats(0.8, 2.5), st.floats(5, 15))
def test_ejection_fraction_does_not_change_with_voxel_size(seed, pixel_mm, slice_mm):
    label = random_label(seed, (2, 6, 60, 60))
    first = derive({"sax": label}, {"sax": view_of(label)}).phenotypes["lvef_pct"]
    other = derive({"sax": label}, {"sax": view_of(label, pixel_mm=pixel_mm, slice_mm=slice_mm)})
    assume(other.status == "ok")
    assert other.phenotypes["lvef_pct"] == pytest.approx(first)


@CASES
@given(st.integers(0, 2**32), st.floats(0.5, 3), st.floats(0.5, 3))
def test_volumes_scale_with_the_volume_of_a_voxel(seed, in_plane, between):
    label = random_label(seed)
    scaled = curves_of(label, pixel_mm=1.5 * in_plane, slice_mm=9.0 * between)
    np.testing.assert_allclose(scaled, curves_of(label) * in_plane**2 * between)


@CASES
@given(st.integers(0, 2**32))
def test_volumes_add_over_slices(seed):
    label = random_label(seed)
    alone = []
    for plane in range(label.shape[1]):
        only = np.zeros_like(label)
        only[:, plane] = label[:, plane]
        alone.append(curves_of(only))
    np.testing.assert_allclose(np.sum(alone, axis=0), curves_of(label))


@CASES
@given(st.integers(0, 2**32))
def test_volumes_do_not_depend_on_where_the_heart_lies_in_space(seed):
    label = random_label(seed)
    np.testing.assert_allclose(curves_of(label, frame=rotation(seed)), curves_of(label))


@CASES
@given(st.integers(0, 2**32), st.permutations(range(6)))
def test_the_stored_order_of_planes_does_not_matter(seed, order):
    label = random_label(seed, (3, 6, 60, 60))
    shuffled = derive({"sax": label[:, order]}, {"sax": view_of(label[:, order], order=order)})
    original = derive({"sax": label}, {"sax": view_of(label)})
    assert original.status == "ok"
    assert numbers_of(shuffled) == pytest.approx(numbers_of(original), rel=1e-9)
    assert shuffled.quality == original.quality


@CASES
@given(st.integers(0, 2**32))
def test_swapping_the_ventricles_swaps_their_volumes(seed):
    label = random_label(seed)
    swapped = np.array([0, 3, 2, 1], np.uint8)[label]
    np.testing.assert_array_equal(curves_of(swapped)[[2, 1, 0]], curves_of(label))


@CASES
@given(st.lists(st.floats(1, 20), min_size=1, max_size=12), st.floats(1, 20))
def test_plane_weights_add_up_to_the_length_of_the_stack(gaps_mm, slice_mm):
    offset_mm = np.concatenate([[0.0], np.cumsum(gaps_mm)])
    assert plane_weight_mm(offset_mm, slice_mm).sum() == pytest.approx(offset_mm[-1] + slice_mm)


@CASES
@given(st.integers(0, 2**32), st.integers(0, 49))
def test_masking_one_image_makes_its_frame_nan_and_leaves_the_others(seed, frame):
    label = random_label(seed, (50, 4, 6, 6))
    view = view_of(label)
    whole = volume_curves(label, view)
    valid = view["frame_valid"].values.copy()
    valid[frame, 2] = False
    masked = volume_curves(label, view.assign(frame_valid=(("frame", "slice"), valid)))
    others = np.arange(50) != frame
    for name in CURVES:
        assert np.isnan(masked[name].values[frame])
        np.testing.assert_array_equal(masked[name].values[others], whole[name].values[others])
