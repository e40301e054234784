"""Traits: published ranges by sex, and what size and disease do to them."""

import numpy as np
import pytest

from cmr_models.phenotypes.body_size import body_surface_m2
from cmr_models.simulate import DISEASES, sample_traits
from cmr_models.simulate.motion import atrium_fill, systole_fraction, ventricle_fill


def many(n, disease=(), sex="M", height=178, weight=82):
    rng = np.random.default_rng(0)
    return [
        sample_traits(rng, sex=sex, age_years=55, height_cm=height, weight_kg=weight, disease=disease) for _ in range(n)
    ]


def mean(people, name):
    return float(np.mean([getattr(person, name) for person in people]))


def test_healthy_men_and_women_have_published_means():
    men, women = many(400), many(400, sex="F", height=164, weight=70)
    assert mean(men, "lvedv_ml") == pytest.approx(164, rel=0.05)
    assert mean(men, "lvef_pct") == pytest.approx(58.5, abs=1.0)
    assert mean(men, "lvm_g") == pytest.approx(103, rel=0.05)
    assert mean(women, "lvedv_ml") == pytest.approx(125, rel=0.05)
    assert mean(women, "rvef_pct") == pytest.approx(57.5, abs=1.0)


def test_bigger_people_have_bigger_hearts():
    assert mean(many(100, height=190, weight=105), "lvedv_ml") > 1.1 * mean(
        many(100, height=165, weight=62), "lvedv_ml"
    )


def test_body_surface_follows_du_bois():
    assert body_surface_m2(170, 70) == pytest.approx(1.81, abs=0.01)


def test_heart_failure_dilates_and_weakens():
    healthy, failing = many(60), many(60, ("heart_failure",))
    assert mean(failing, "lvedv_ml") > mean(healthy, "lvedv_ml")
    assert mean(failing, "lvef_pct") < mean(healthy, "lvef_pct") - 10


def test_without_a_shunt_both_ventricles_eject_the_same():
    for person in many(40):
        left = person.lvedv_ml - person.lvesv_ml
        assert person.rvedv_ml - person.rvesv_ml == pytest.approx(left, rel=0.15)


@pytest.mark.parametrize("disease", sorted(DISEASES))
def test_every_disease_leaves_a_living_heart(disease):
    for person in many(30, (disease,)):
        assert 50 < person.lvedv_ml < 430
        assert 10 < person.lvef_pct < 85
        assert person.rvedv_ml > person.rvesv_ml > 0


def test_unknown_diseases_and_sexes_are_refused():
    with pytest.raises(ValueError, match="unknown diseases"):
        many(1, ("melancholy",))
    with pytest.raises(ValueError, match="sex must be one of"):
        many(1, sex="x")


@pytest.mark.parametrize("rate", [45, 64, 100])
def test_the_volume_curve_starts_full_empties_at_end_systole_and_returns(rate):
    assert ventricle_fill(0.0, rate) == 1.0
    assert ventricle_fill(systole_fraction(rate), rate) == pytest.approx(0.0, abs=1e-6)
    assert ventricle_fill(0.9999, rate) == pytest.approx(1.0, abs=0.01)
    assert atrium_fill(0.0, rate) == 0.0
    assert 0.3 <= systole_fraction(rate) <= 0.46


def test_twenty_frames_see_the_smallest_volume():
    for rate in range(45, 110, 5):
        assert ventricle_fill(np.arange(20) / 20, rate).min() < 0.01
