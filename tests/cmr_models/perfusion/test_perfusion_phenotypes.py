"""Numbers of a perfusion study from tables of segments small enough for a hand."""

import math

import numpy as np
import pandas as pd
import pytest

from cmr_models.perfusion.phenotypes import (
    FLOW,
    PHENOTYPES,
    QUANTITIES,
    StateResult,
    phenotypes,
    segment_reserve,
)
from cmr_models.reasons import Missing

NAN = math.nan
ROWS = {row.name: row for row in PHENOTYPES}


def segments(
    medians: dict[int, float], pixels: dict[int, int] | None = None, endo: float = 1.0, epi: float = 2.0
) -> pd.DataFrame:
    """Rows as of :func:`cmr_models.aha.statistics`, unsorted; the layers have these multiples of a segment's median."""
    rows = [
        {"segment": n, "layer": layer, "mean": 99.0, "median": medians.get(n, NAN) * share, "sd": 9.0, "min": -9.0,
         "max": 99.0, "pixels": (pixels or {}).get(n, 10)}
        for n in range(16, 0, -1)
        for layer, share in (("epi", epi), ("all", 1.0), ("endo", endo))
    ]  # fmt: skip
    return pd.DataFrame(rows)


def result(flow: pd.DataFrame, peak: float = 4.0, **others: pd.DataFrame) -> StateResult:
    tables = {name: others.get(name, segments({1: 0.5})) for name in QUANTITIES} | {FLOW: flow}
    return StateResult(tables, {"peak_value": peak})


def test_flow_is_the_mean_of_segments_by_pixels_and_by_artery() -> None:
    # LAD 1 and 7; RCA 4; LCx 6; segment 2 has no median
    flow = segments({1: 1.0, 7: 2.0, 4: 3.0, 6: 5.0}, {1: 30, 7: 10, 4: 20, 6: 40, 2: 500})
    got = phenotypes({"rest": result(flow, vb_ml_g=segments({3: 0.1, 9: 0.3}, {3: 1, 9: 3}))})
    assert got["mbf_rest_ml_min_g"] == pytest.approx((30 + 20 + 60 + 200) / 100)
    assert got["mbf_rest_lad_ml_min_g"] == pytest.approx(50 / 40)
    assert got["mbf_rest_rca_ml_min_g"] == 3
    assert got["mbf_rest_lcx_ml_min_g"] == 5
    assert got["mbf_rest_lowest_ml_min_g"] == 1
    assert got["vb_rest_ml_g"] == pytest.approx(0.25)
    assert (got["ps_rest_ml_min_g"], got["aif_rest_peak_mmol_l"]) == (0.5, 4)


def test_endo_over_epi_is_the_median_of_the_segments_ratios() -> None:
    flow = segments(dict.fromkeys(range(1, 9), 1.0), endo=1.0, epi=2.0)
    assert phenotypes({"stress": result(flow)})["mbf_stress_endo_epi_ratio"] == 0.5
    # ratios 0.1, 0.2 ... 0.9 of nine segments, in layers of other scales
    flow = segments({n: float(n) for n in range(1, 10)}, endo=0.3)
    flow.loc[flow["layer"] == "epi", "median"] = 3.0
    assert phenotypes({"stress": result(flow)})["mbf_stress_endo_epi_ratio"] == pytest.approx(0.5)


def test_one_far_ratio_of_endo_over_epi_does_not_move_the_median() -> None:
    flow = segments(dict.fromkeys(range(1, 9), 1.0))
    flow.loc[flow["layer"] == "endo", "median"] = [9.0, 8, 0.5, 0.4, 0.3, 0.2, 0.1, 0.1, *[NAN] * 8][::-1]
    # of 0.05, 0.05, 0.1, 0.15, 0.2, 0.25, 4 and 4.5 the middle two are 0.15 and 0.2
    assert phenotypes({"rest": result(flow)})["mbf_rest_endo_epi_ratio"] == pytest.approx(0.175)


@pytest.mark.parametrize(
    ("n_known", "n_without_epi", "known"),
    [(8, 0, True), (9, 1, True), (9, 2, False), (3, 0, True), (3, 1, False), (1, 0, True)],
)
def test_endo_over_epi_needs_eight_segments_or_all_that_there_are(
    n_known: int, n_without_epi: int, known: bool
) -> None:
    flow = segments(dict.fromkeys(range(1, n_known + 1), 1.0))
    flow.loc[(flow["layer"] == "epi") & (flow["segment"] <= n_without_epi), "median"] = 0.0
    got = phenotypes({"rest": result(flow)})["mbf_rest_endo_epi_ratio"]
    assert got == (0.5 if known else Missing("segment_empty"))


def test_reserves_are_stress_over_rest_everywhere_and_in_each_artery() -> None:
    rest = segments({1: 1.0, 4: 2.0, 6: 0.5})
    stress = segments({1: 3.0, 4: 1.0, 6: 2.0})
    got = phenotypes({"rest": result(rest), "stress": result(stress)})
    assert got["mpr"] == pytest.approx(2 / (3.5 / 3))
    assert (got["mpr_lad"], got["mpr_rca"], got["mpr_lcx"]) == pytest.approx((3, 0.5, 4))
    assert got["mpr_lowest"] == 0.5
    reserve = segment_reserve(rest, stress).dropna()
    assert reserve.to_dict() == {1: 3, 4: 0.5, 6: 4}
    assert reserve.name == "mpr"


def test_where_flow_at_rest_is_not_positive_there_is_no_reserve() -> None:
    rest, stress = segments({1: 0.0, 4: -1.0, 6: 2.0}), segments({1: 3.0, 4: 3.0, 6: 3.0})
    got = phenotypes({"rest": result(rest), "stress": result(stress)})
    assert segment_reserve(rest, stress).dropna().to_dict() == {6: 1.5}
    assert (got["mpr_lad"], got["mpr_rca"], got["mpr_lcx"]) == (Missing("undefined"), Missing("undefined"), 1.5)
    assert got["mpr_lowest"] == 1.5


def test_what_is_missing_says_which_state_or_segment_lacks() -> None:
    stress = result(segments({4: 3.0}), peak=NAN)
    got = phenotypes({"rest": Missing("perfusion_clipped"), "stress": stress})
    assert got["mbf_rest_ml_min_g"] == got["aif_rest_peak_mmol_l"] == Missing("perfusion_clipped")
    assert got["mpr"] == got["mpr_rca"] == got["mpr_lowest"] == Missing("perfusion_clipped")
    assert got["mpr_lad"] == got["mbf_stress_lad_ml_min_g"] == Missing("segment_empty")
    assert got["aif_stress_peak_mmol_l"] == Missing("aif_no_bolus")
    assert got["mbf_unstated_ml_min_g"] == Missing("state_missing")
    alone = phenotypes({"rest": stress})
    assert alone["mpr"] == alone["mpr_lowest"] == Missing("state_missing")
    apart = phenotypes({"rest": result(segments({1: 1.0})), "stress": result(segments({2: 1.0}))})
    assert (apart["mpr"], apart["mpr_lowest"]) == (1, Missing("segment_empty"))
    empty = phenotypes({"rest": result(segments({}))})
    assert empty["mbf_rest_lowest_ml_min_g"] == empty["mbf_rest_endo_epi_ratio"] == Missing("segment_empty")


def test_every_number_is_declared_with_its_unit_and_its_limits() -> None:
    got = phenotypes(
        {state: result(segments(dict.fromkeys(range(1, 17), 1.0))) for state in ("rest", "stress", "unstated")}
    )
    assert list(got) == list(ROWS)
    assert not any(isinstance(value, Missing) for value in got.values())
    units = {"mbf_rest_ml_min_g": "mL/min/g", "ps_stress_ml_min_g": "mL/min/g", "vb_rest_ml_g": "mL/g",
             "visf_unstated_ml_g": "mL/g", "delay_rest_s": "s", "mbf_stress_lcx_ml_min_g": "mL/min/g",
             "mbf_rest_lowest_ml_min_g": "mL/min/g", "mbf_rest_endo_epi_ratio": "", "aif_rest_peak_mmol_l": "mmol/L",
             "mpr": "", "mpr_lowest": "", "mpr_rca": ""}  # fmt: skip
    assert {name: ROWS[name].unit for name in units} == units
    limits = {"mL/min/g": (0, 8), "mL/g": (0, 1), "s": (0, 10), "": (0, 10), "mmol/L": (0, 20)}
    assert all(row.valid == limits[row.unit] for row in PHENOTYPES)
    assert len(ROWS) == 3 * (5 + 3 + 3) + 5
    assert np.array([row.reference == "Cerqueira et al. 2002" for row in PHENOTYPES]).sum() == 3 * 3 + 3
