"""Long-axis planes of hospital patients: what lies at the base, and which structures are drawn in which view."""

from dataclasses import replace

import numpy as np
import pytest

from cmr_models.contracts import AORTA_ASCENDING, BACKGROUND, LA, LV, VIEW_LABELS
from cmr_models.simulate import Heart, HeartTraits, training_long_axis
from cmr_models.simulate.anatomy import atrial_profile, atrial_radius_share
from cmr_models.simulate.base_details import BaseDetails, sample_base_details
from cmr_models.simulate.base_shapes import aorta_inside, atria_inside, mitral_leaflets, outflow_tubes
from cmr_models.simulate.details import HeartDetails, sample_long_axis_details
from cmr_models.simulate.scene import _Polar, label_points

PLAIN = HeartDetails()


def _points(*xyz):
    return _Polar(np.array(xyz, np.float32)[None], 0.0)


@pytest.mark.parametrize("view", ["lax_2c", "lax_3c", "lax_4c"])
def test_training_images_show_the_structures_of_their_view_and_no_others(view):
    images, labels, pixel_mm = training_long_axis(np.random.default_rng(4), 6, view, (128, 128))
    again, _, _ = training_long_axis(np.random.default_rng(4), 6, view, (128, 128))
    np.testing.assert_array_equal(images, again)
    assert images.shape == labels.shape == (6, 128, 128)
    assert (pixel_mm + 1e-6 >= 150 / 128).all()
    assert set(np.unique(labels)) == {BACKGROUND, *VIEW_LABELS[view]}


def test_an_atrium_keeps_its_volume_wherever_it_is_widest():
    # of the square of the radius, the mean over the length is 1 - ((1 - m)^3 + m^3) / (3 (1.01 - m)^2):
    # 0.7263 at m = 0.45, 0.7475 at m = 0.25
    assert atrial_radius_share(0.45) == pytest.approx(1.0)
    assert atrial_radius_share(0.25) == pytest.approx(np.sqrt(0.7263 / 0.7475), abs=1e-3)
    assert float(atrial_profile(np.array(0.25), 0.25)) == 1.0


def test_a_wall_parts_the_atria():
    heart = Heart(HeartTraits(), np.random.default_rng(0))
    state = heart.state(heart.end_systole)
    wide = BaseDetails(atrial_width=(2.0, 2.0), atrial_septum_mm=3.0)
    z = state.base_z_mm - 20
    points = _points(*[(x, 8.0, z) for x in range(-40, 90)])
    right, left = atria_inside(points, state, replace(PLAIN, base=wide))
    assert (left > 0).any()
    assert (right > 0).any()
    assert not ((right > 0) & (left > -3.0)).any()
    both = replace(PLAIN, base=replace(wide, atrial_septum_mm=0.0))
    right, left = atria_inside(points, state, both)
    assert ((right > 0) & (left > 0)).any()


def test_the_outflow_tract_belongs_to_the_ventricle_up_to_the_aortic_valve():
    details = replace(PLAIN, base=BaseDetails(outflow_mm=8.0))
    heart = Heart(HeartTraits(), np.random.default_rng(0), details)
    state = heart.state(0.0)
    size = float(state.inner.max()) / 35
    on_axis = [(9.0 * size, -11.0 * size, state.base_z_mm - above) for above in (5.0, 7.0, 9.0, 15.0)]
    labels = label_points(_points(*on_axis), state, heart, "lax_3c")[0]
    assert labels.tolist() == [LV, LV, AORTA_ASCENDING, AORTA_ASCENDING]
    assert AORTA_ASCENDING not in label_points(_points(*on_axis), state, heart, "lax_4c")


def test_sinuses_are_wider_than_the_root():
    heart = Heart(HeartTraits(), np.random.default_rng(0))
    state = heart.state(0.0)
    start, end, radius = outflow_tubes(state, PLAIN)[0]
    across = np.cross(end - start, [1.0, 0.0, 0.0])
    beside = _points((start + end) / 2 + 15 * across / np.linalg.norm(across))
    assert radius == 13.0
    assert aorta_inside(beside, state, PLAIN)[0, 0] < 0
    wide = replace(PLAIN, base=BaseDetails(sinus=1.3))  # sinuses of 16.9 mm
    assert aorta_inside(beside, state, wide)[0, 0] > 0


def test_leaflets_close_in_systole_and_hang_into_the_ventricle_in_diastole():
    details = replace(PLAIN, base=BaseDetails(leaflet_mm=1.5, leaflet_open=1.0))
    heart = Heart(HeartTraits(), np.random.default_rng(0))
    state = heart.state(0.5)
    middle = _points((0.0, 0.0, state.base_z_mm + 0.14 * 0.95 * float(state.endo.max())))  # top of the tent
    assert mitral_leaflets(middle, state, details, closed=True)[0, 0] == pytest.approx(0.75, abs=1e-3)
    assert mitral_leaflets(middle, state, details, closed=False)[0, 0] < 0


def test_the_left_ventricle_of_a_healthy_heart_shrinks_by_a_third_in_a_four_chamber_plane():
    # ejection fraction 59 %, descent of the base 13 of 92 mm: the radius shrinks by sqrt(0.41 / 0.86), the area to
    # 0.69 * 0.86 = 0.59 of that at end-diastole
    heart = Heart(HeartTraits(lvef_pct=59.0), np.random.default_rng(0))
    x, z = np.meshgrid(np.arange(-60, 90, 1.0), np.arange(-90, 130, 1.0))
    plane = _Polar(np.stack([x, 0 * x, z], axis=-1).astype(np.float32), 0.0)
    ed, es = (
        int((label_points(plane, heart.state(phase), heart, "lax_4c") == LV).sum())
        for phase in (0.0, heart.end_systole)
    )
    assert es / ed == pytest.approx(0.59, abs=0.03)


def test_bases_vary_and_are_drawn_alike_from_one_seed():
    first, again, other = (sample_base_details(np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first == again != other
    assert not first.is_plain
    assert BaseDetails().is_plain
    heart = Heart(
        HeartTraits(), np.random.default_rng(1), sample_long_axis_details(np.random.default_rng(1), HeartTraits())
    )
    assert LA in label_points(_points((-9.0, 8.0, -15.0)), heart.state(0.0), heart, "lax_2c")
