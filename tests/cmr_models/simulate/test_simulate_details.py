"""Details of patients: they move walls and fat, never volumes; and labels are what a reader draws at the valves."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest

from cmr_models.contracts import BACKGROUND, LV, MYOCARDIUM, RV
from cmr_models.simulate import Heart, HeartTraits, training_stacks
from cmr_models.simulate.anatomy import HEIGHTS
from cmr_models.simulate.body import Body
from cmr_models.simulate.details import FatPad, HeartDetails, sample_details, vessel_ends
from cmr_models.simulate.scene import _Polar, label_points, reader_labels
from cmr_models.simulate.settings import Contrast
from cmr_models.simulate.training import patient_traits

Labels = npt.NDArray[np.uint8]
_GRID_MM = np.arange(-79.0, 80.0, 2.0)


def _heart(details: HeartDetails | None = None, **traits: float) -> Heart:
    return Heart(HeartTraits(base_tilt=0.0, **traits), np.random.default_rng(3), details)  # type: ignore[arg-type]


def _volume_ml(radius: npt.NDArray[np.float32], length_mm: float) -> float:
    area_mm2 = (radius.astype(float) ** 2).mean(axis=1) * np.pi
    return float(area_mm2.sum() * (HEIGHTS[1] - HEIGHTS[0]) * length_mm / 1000)


def test_a_squeezed_ventricle_keeps_its_volume_and_closes_towards_the_apex() -> None:
    plain, squeezed = _heart(lvef_pct=75.0), _heart(HeartDetails(squeeze=0.8), lvef_pct=75.0)
    states = [heart.state(heart.end_systole) for heart in (plain, squeezed)]
    for state in states:
        assert _volume_ml(state.endo, state.length_mm) == pytest.approx(160 * 0.25, rel=1e-3)
    base, middle = (int(np.argmin(np.abs(HEIGHTS - height))) for height in (0.04, 0.45))
    ratio = [state.endo[middle] / state.endo[base] for state in states]
    # At mid-height 85 % of the squeeze acts: 1 - 0.8 * 0.85 = 0.32 of the radius that it would have.
    np.testing.assert_allclose(ratio[1] / ratio[0], 0.32, atol=0.01)
    np.testing.assert_array_equal(plain.state(0.0).endo, squeezed.state(0.0).endo)


def test_the_right_ventricle_ends_where_its_details_say() -> None:
    heart = _heart(HeartDetails(rv_apex=0.7, rv_shortening=0.2))
    far = 0.03 * heart._rv_shape[5]
    for phase, end in ((0.0, 0.7), (heart.end_systole, 0.5)):
        state = heart.state(phase)
        highest = HEIGHTS[(state.rv > state.inner).any(axis=1)].max()
        assert highest == pytest.approx(end + far, abs=0.01)


def test_a_fat_pad_is_bright_where_the_lung_was() -> None:
    pose_heart = _heart()
    pad = FatPad((-60.0, -30.0, 40.0), (15.0, 15.0, 15.0))
    points = Body(pose_heart, np.random.default_rng(0)).pose.to_patient(np.array(pad.centre_mm))[None, None]
    points = points + np.zeros((8, 8, 1))
    fat = {}
    for pads in ((), (pad,)):
        body = Body(_heart(HeartDetails(fat_pads=pads)), np.random.default_rng(0))
        fat[pads] = body.paint(points, Contrast(fat=1.2), 1.5, np.random.default_rng(1))[1].mean()
    assert fat[()] < 0.1
    assert fat[pad,] > 0.6


def test_shifted_vessels_leave_the_heart_elsewhere() -> None:
    aorta, trunk = vessel_ends(HeartDetails(root_shift_mm=(3.0, -2.0), trunk_shift_mm=(0.0, 5.0)))
    np.testing.assert_array_equal(aorta, [17, -22, -26])
    np.testing.assert_array_equal(trunk, [26, -37, -30])


def _plane(heart: Heart, z_mm: npt.ArrayLike) -> tuple[Labels, Labels]:
    """Labels by place and by the reader of a plane at ``z_mm`` of each column, at end-diastole; rows are y."""
    y, x = np.meshgrid(_GRID_MM, _GRID_MM, indexing="ij")
    geometry = _Polar(np.stack([x, y, np.broadcast_to(z_mm, x.shape)], axis=-1).astype(np.float32), 0.0)
    state = heart.state(0.0)
    return label_points(geometry, state, heart, "sax"), reader_labels(geometry, state, heart)


def test_a_reader_draws_a_pool_that_muscle_surrounds_by_half_and_draws_it_whole() -> None:
    heart = _heart()
    row, left = int(np.argmin(np.abs(_GRID_MM))), int(np.argmin(np.abs(_GRID_MM + 13)))
    most_place, most = _plane(heart, 0.1 * (_GRID_MM + 8))  # the valve is cut 8 mm beside the axis
    assert most_place[row, left] == BACKGROUND
    assert most[row, left] == LV
    few_place, few = _plane(heart, 0.1 * (_GRID_MM - 8))
    assert (few_place == LV).any()
    assert not np.isin(few, (LV, MYOCARDIUM)).any()


def test_a_reader_leaves_the_outflow_tract_beside_the_atrium_out() -> None:
    heart = _heart()  # the tricuspid valve lies at 2 mm at end-diastole
    above_place, above = _plane(heart, -5.5)  # more than 7 mm above it
    assert (above_place == RV).any()
    assert not (above == RV).any()
    below_place, below = _plane(heart, -4.5)
    np.testing.assert_array_equal(below, below_place)
    assert (below == RV).any()


def test_stacks_are_repeatable_and_neighbours_show_one_heart() -> None:
    images, labels, pixel_mm = training_stacks(np.random.default_rng(5), 3, 4, (128, 128))
    again = training_stacks(np.random.default_rng(5), 3, 4, (128, 128))
    for first, second in zip((images, labels, pixel_mm), again, strict=True):
        np.testing.assert_array_equal(first, second)
    assert images.shape == labels.shape == (3, 4, 128, 128)
    for k, stack in enumerate(images.astype(float)):
        other = images[(k + 1) % 3].astype(float)
        beside = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in pairwise(stack)]
        apart = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(stack, other, strict=True)]
        assert np.mean(beside) > np.mean(apart)


def test_patients_have_closing_pools_and_right_ventricles_larger_than_left_ones() -> None:
    rng = np.random.default_rng(0)
    people = [patient_traits(rng) for _ in range(200)]
    assert sum(traits.lvesv_ml < 30 for traits in people) >= 20
    assert sum(traits.rvedv_ml > 1.8 * traits.lvedv_ml for traits in people) >= 10
    assert all(traits.rvesv_ml > 0 and traits.lvesv_ml > 0 for traits in people)


def test_the_wall_of_a_loaded_right_ventricle_is_thick() -> None:
    traits = HeartTraits(lvedv_ml=100.0, rvedv_ml=250.0)
    assert all(sample_details(np.random.default_rng(k), traits).rv_wall_mm >= 3.0 for k in range(20))
    unloaded = [sample_details(np.random.default_rng(k), replace(traits, rvedv_ml=110.0)).rv_wall_mm for k in range(20)]
    assert max(unloaded) <= 6.0
    assert min(unloaded) < 3.0
