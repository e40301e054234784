"""Published ranges, copied a second time from the papers' tables: a slip in either copy shows."""

import pytest

from cmr_models.phenotypes.reference_ranges import (
    KAWEL_BOEHM_2020,
    PETERSEN_2017,
    REFERENCE_RANGES,
    reference_range,
)

# Petersen 2017, limits of normal: men, women
PETERSEN = """
lvedv_ml 109-218 88-161
lvesv_ml 39-97 31-68
lvsv_ml 59-132 49-100
lvef_pct 48-69 51-70
lvm_g 64-141 46-93
rvedv_ml 124-248 85-168
rvesv_ml 47-123 27-77
rvsv_ml 62-131 48-99
rvef_pct 45-65 47-68
"""
# mean and SD of men, then of women: Kawel-Boehm 2020, papillary muscles by either convention; Petersen for the index
MOMENTS = {
    (KAWEL_BOEHM_2020, "first"): """
lvedv_ml 155 30 123 22
lvesv_ml 55 15 43 11
lvsv_ml 103 21 83 16
lvef_pct 64 8 66 7
lvm_g 121 28 83 21
rvedv_ml 163 27 127 24
rvesv_ml 57 17 44 15
rvef_pct 66 7 66 7
""",
    (KAWEL_BOEHM_2020, "second"): """
lvedv_ml 145 31 112 21
lvesv_ml 53 18 39 12
lvsv_ml 91 18 73 13
lvef_pct 63 6 66 7
lvm_g 105 24 73 15
rvedv_ml 166 39 122 27
rvesv_ml 73 22 50 15
rvef_pct 57 8 60 7
""",
    (KAWEL_BOEHM_2020, ""): """
lvco_l_min 6.1 1.1 4.9 1.0
lvco_l_min_m2 3.2 0.6 2.9 0.5
rvsv_ml 95 26 74 18
""",
    (PETERSEN_2017, ""): "lvm_g_m2 53 9 42 7",
}


def _lines(text):
    return [line.split() for line in text.strip().splitlines()]


def _row(name, sex, source, convention=""):
    (found,) = [
        r for r in REFERENCE_RANGES if (r.phenotype, r.sex, r.source, r.convention) == (name, sex, source, convention)
    ]
    return found


def test_intervals_are_those_of_the_paper_with_the_mean_in_the_middle_and_the_sd_of_a_normal():
    for name, *by_sex in _lines(PETERSEN):
        for sex, text in zip(("male", "female"), by_sex, strict=True):
            low, high = map(float, text.split("-"))
            found = _row(name, sex, PETERSEN_2017)
            assert (found.low, found.high) == (low, high)
            assert (found.mean, found.sd) == pytest.approx(((low + high) / 2, (high - low) / 3.919928))


def test_moments_are_those_of_the_papers_with_95_per_cent_of_a_normal_about_them():
    for (source, convention), text in MOMENTS.items():
        for name, *numbers in _lines(text):
            men, women = map(float, numbers[:2]), map(float, numbers[2:])
            for sex, (mean, sd) in (("male", men), ("female", women)):
                found = _row(name, sex, source, convention)
                assert (found.mean, found.sd) == (mean, sd)
                assert (found.low, found.high) == pytest.approx((mean - 1.959964 * sd, mean + 1.959964 * sd))


def test_there_is_no_other_row():
    n = len(_lines(PETERSEN)) + sum(len(_lines(text)) for text in MOMENTS.values())
    assert len(REFERENCE_RANGES) == 2 * n


def test_of_two_conventions_the_first_is_given_and_of_sources_petersen():
    assert reference_range("lvedv_ml", "female", KAWEL_BOEHM_2020).mean == 123
    assert reference_range("lvedv_ml", "female").low == 88
    assert reference_range("lvm_g_m2", "male").mean == 53
    assert reference_range("lvco_l_min", "male") is None
    assert reference_range("lvco_l_min", "male", KAWEL_BOEHM_2020).sd == 1.1
