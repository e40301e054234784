"""Laws of the simulated heart: it has the volumes that it was asked for, and images show them."""

import numpy as np
import pytest

from cmr_models.simulate import DISEASES, Heart, HeartTraits, ImagingSettings, sample_traits, simulate_view
from cmr_models.simulate.anatomy import HEIGHTS, N_ANGLES, HeartState

PHASES = (0.0, 0.2, 0.37, 0.6, 0.95)


def draw_heart(seed, disease=()):
    rng = np.random.default_rng(seed)
    sex = "F" if seed % 2 else "M"
    traits = sample_traits(rng, sex=sex, age_years=60, height_cm=170, weight_kg=78, disease=disease)
    return Heart(traits, rng)


def inside_ml(radius_squared, state: HeartState):
    """Volume inside a radius table."""
    cell = 0.5 * (2 * np.pi / N_ANGLES) * (HEIGHTS[1] - HEIGHTS[0]) * state.length_mm
    return float(radius_squared.astype(float).sum()) * cell / 1000


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("phase", PHASES)
def test_chambers_have_the_volumes_of_the_traits_to_one_percent(seed, phase):
    heart = draw_heart(seed)
    state, truth = heart.state(phase), heart.volumes_ml(phase)
    crescent = np.where(state.rv > 0, state.rv.astype(float) ** 2 - state.inner.astype(float) ** 2, 0)
    assert inside_ml(state.endo**2, state) == pytest.approx(truth["lv"], rel=0.01)
    assert inside_ml(crescent, state) == pytest.approx(truth["rv"], rel=0.01)


@pytest.mark.parametrize("disease", sorted(DISEASES))
def test_muscle_keeps_its_volume_through_the_cycle(disease):
    heart = draw_heart(5, (disease,))
    masses = [
        1.05 * inside_ml(s.epi.astype(float) ** 2 - s.endo.astype(float) ** 2, s) for s in map(heart.state, PHASES)
    ]
    assert masses == pytest.approx([heart.traits.lvm_g] * len(PHASES), rel=0.01)


def test_ejection_fraction_of_the_smallest_volume_is_the_traits():
    heart = draw_heart(1)
    smallest = heart.volumes_ml(heart.end_systole)["lv"]
    assert 100 * (1 - smallest / heart.volumes_ml(0)["lv"]) == pytest.approx(heart.traits.lvef_pct, abs=0.01)


def test_the_base_descends_and_the_apex_stays():
    heart = draw_heart(2)
    end_diastole, end_systole = heart.state(0.0), heart.state(heart.end_systole)
    assert end_systole.base_z_mm - end_diastole.base_z_mm == pytest.approx(heart.traits.mapse_mm, rel=1e-6)
    reach = [
        s.base_z_mm + s.length_mm * heart.apex_z_mm / heart.traits.lv_length_mm for s in (end_diastole, end_systole)
    ]
    assert reach[0] == pytest.approx(reach[1])


def test_walls_thicken_in_systole_and_the_rv_lies_outside_the_septum():
    heart = draw_heart(3)
    relaxed, contracted = heart.state(0.0), heart.state(heart.end_systole)
    middle = int(np.argmin(np.abs(HEIGHTS - 0.4)))
    assert (contracted.epi - contracted.endo)[middle].mean() > 1.1 * (relaxed.epi - relaxed.endo)[middle].mean()
    there = relaxed.rv[middle] > 0
    assert there.any()
    assert (relaxed.rv[middle][there] >= relaxed.epi[middle][there] - 1e-3).all()


def test_labels_times_voxel_are_the_volumes_when_slices_are_thin():
    settings = ImagingSettings(
        matrix=(150, 150), pixel_mm=1.2, slice_mm=2.0, thickness_mm=2.0, n_frames=2, sub_planes=1,
        breath_shift_mm=0.0, tilt_deg=0.0, centre_jitter_mm=0.0,
    )  # fmt: skip
    heart = Heart(HeartTraits(), np.random.default_rng(4))
    view = simulate_view(
        heart, "sax", settings, np.random.default_rng(0), [heart.state(0.0), heart.state(heart.end_systole)]
    )
    voxel_ml = 1.2 * 1.2 * 2.0 / 1000
    counts = [[int((view["labels"][t] == label).sum()) * voxel_ml for label in (3, 2)] for t in (0, 1)]
    for (lv_ml, muscle_ml), true_ml in zip(counts, (heart.traits.lvedv_ml, heart.traits.lvesv_ml), strict=True):
        assert lv_ml == pytest.approx(true_ml, rel=0.015)
        assert muscle_ml == pytest.approx(heart.traits.lvm_g / 1.05, rel=0.015)


def test_ejection_fraction_of_clinical_slices_is_close_to_the_truth():
    settings = ImagingSettings(n_frames=2, matrix=(128, 120), pixel_mm=1.9, sub_planes=1)
    errors = []
    for seed in range(12):
        heart = draw_heart(seed)
        states = [heart.state(0.0), heart.state(heart.end_systole)]
        view = simulate_view(heart, "sax", settings, np.random.default_rng(seed), states)
        found = [ejection_fraction_pct(view["labels"].to_numpy() == label) for label in (3, 1)]
        errors.append(np.array(found) - [heart.traits.lvef_pct, heart.traits.rvef_pct])
    lv, rv = np.transpose(errors)
    assert np.abs(lv).mean() < 1.5
    assert abs(lv.mean()) < 1.0
    assert np.abs(rv).mean() < 2.0


def ejection_fraction_pct(inside):
    pixels = inside.sum(axis=(1, 2, 3))
    return 100 * (1 - pixels[1] / pixels[0])


def test_the_same_seed_gives_the_same_images_and_another_seed_does_not():
    settings = ImagingSettings(n_frames=2, matrix=(64, 64), pixel_mm=4.0, n_slices=3)

    def simulate(seed):
        rng = np.random.default_rng(seed)
        return simulate_view(Heart(HeartTraits(), rng), "sax", settings, rng)["intensity"].to_numpy()

    assert np.array_equal(simulate(1), simulate(1))
    assert not np.array_equal(simulate(1), simulate(2))
