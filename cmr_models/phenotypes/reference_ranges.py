"""Published normal ranges of the phenotypes, by sex: a background for a cohort's distributions.

Petersen 2017 gives 95 % intervals (mean and SD here are their midpoint and width / 3.92); Kawel-Boehm 2020
gives means and SDs, for some quantities under two contouring conventions (interval here: mean -+ 1.96 SD).
Methods differ between sources: a range is a background to look at, never a limit to reject by.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

Sex = Literal["male", "female"]
FourNumbers = tuple[float, float, float, float]

PETERSEN_2017 = "Petersen et al. 2017, doi:10.1186/s12968-017-0327-9"
KAWEL_BOEHM_2020 = "Kawel-Boehm et al. 2020, doi:10.1186/s12968-020-00683-3"

_Z95 = 1.959964


class ReferenceRange(NamedTuple):
    """One row: where 95 % of healthy people of one sex lie."""

    phenotype: str
    sex: Sex
    low: float
    high: float
    mean: float
    sd: float
    source: str
    convention: str = ""


# 95 % intervals: men low, men high, women low, women high
_INTERVALS: dict[str, FourNumbers] = {
    "lvedv_ml": (109, 218, 88, 161),
    "lvesv_ml": (39, 97, 31, 68),
    "lvsv_ml": (59, 132, 49, 100),
    "lvef_pct": (48, 69, 51, 70),
    "lvm_g": (64, 141, 46, 93),
    "rvedv_ml": (124, 248, 85, 168),
    "rvesv_ml": (47, 123, 27, 77),
    "rvsv_ml": (62, 131, 48, 99),
    "rvef_pct": (45, 65, 47, 68),
}

# mean and SD: men, women
_PETERSEN_MOMENTS: dict[str, FourNumbers] = {"lvm_g_m2": (53, 9, 42, 7)}

# mean and SD: men, women; first and second contouring convention of the review
_MOMENTS_FIRST: dict[str, FourNumbers] = {
    "lvedv_ml": (155, 30, 123, 22),
    "lvesv_ml": (55, 15, 43, 11),
    "lvsv_ml": (103, 21, 83, 16),
    "lvef_pct": (64, 8, 66, 7),
    "lvm_g": (121, 28, 83, 21),
    "rvedv_ml": (163, 27, 127, 24),
    "rvesv_ml": (57, 17, 44, 15),
    "rvef_pct": (66, 7, 66, 7),
}
_MOMENTS_SECOND: dict[str, FourNumbers] = {
    "lvedv_ml": (145, 31, 112, 21),
    "lvesv_ml": (53, 18, 39, 12),
    "lvsv_ml": (91, 18, 73, 13),
    "lvef_pct": (63, 6, 66, 7),
    "lvm_g": (105, 24, 73, 15),
    "rvedv_ml": (166, 39, 122, 27),
    "rvesv_ml": (73, 22, 50, 15),
    "rvef_pct": (57, 8, 60, 7),
}
_MOMENTS_ONLY: dict[str, FourNumbers] = {
    "lvco_l_min": (6.1, 1.1, 4.9, 1.0),
    "lvco_l_min_m2": (3.2, 0.6, 2.9, 0.5),
    "rvsv_ml": (95, 26, 74, 18),
}


def _from_intervals(table: dict[str, FourNumbers], source: str) -> Iterator[ReferenceRange]:
    for phenotype, values in table.items():
        for sex, (low, high) in _by_sex(values):
            yield ReferenceRange(phenotype, sex, low, high, (low + high) / 2, (high - low) / (2 * _Z95), source)


def _from_moments(table: dict[str, FourNumbers], source: str, convention: str = "") -> Iterator[ReferenceRange]:
    for phenotype, values in table.items():
        for sex, (mean, sd) in _by_sex(values):
            spread = _Z95 * sd
            yield ReferenceRange(phenotype, sex, mean - spread, mean + spread, mean, sd, source, convention)


def _by_sex(values: FourNumbers) -> tuple[tuple[Sex, tuple[float, float]], ...]:
    return ("male", values[:2]), ("female", values[2:])


REFERENCE_RANGES: tuple[ReferenceRange, ...] = (
    *_from_intervals(_INTERVALS, PETERSEN_2017),
    *_from_moments(_PETERSEN_MOMENTS, PETERSEN_2017),
    *_from_moments(_MOMENTS_FIRST, KAWEL_BOEHM_2020, "first"),
    *_from_moments(_MOMENTS_SECOND, KAWEL_BOEHM_2020, "second"),
    *_from_moments(_MOMENTS_ONLY, KAWEL_BOEHM_2020),
)


def reference_range(phenotype: str, sex: Sex, source: str = PETERSEN_2017) -> ReferenceRange | None:
    """The range of one phenotype and sex: a source's first row, or None if it has none."""
    wanted = (phenotype, sex, source)
    return next((row for row in REFERENCE_RANGES if (row.phenotype, row.sex, row.source) == wanted), None)
