"""Limits of agreement and overlap of two models, worked out by hand."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from cmr_models.contracts import cine_view
from cmr_models.evaluation import limits_of_agreement
from cmr_models.evaluation.summary import Summariser
from cmr_models.evaluation.two_models import (
    Segmented,
    cycle_frames,
    frames_of_view,
    label_rows,
    phenotypes_from_labels,
)
from cmr_models.reasons import StudyRejected

_T4, _T2 = 2.7764451, 4.3026527  # Student's t, 97.5 %, on 4 and 2 degrees of freedom


def test_limits_of_agreement_of_five_pairs() -> None:
    """Differences 1 to 5: mean 3, SD sqrt(2.5); a limit's error is sqrt(2.5) sqrt(1 / 5 + 1.959964^2 / 8)."""
    found = limits_of_agreement([2, 4, 6, 8, 10, np.nan], [1, 2, 3, 4, 5, 6])
    assert found.bias == pytest.approx((3.0, 3 - _T4 * 0.7071068, 3 + _T4 * 0.7071068, 5))
    assert found.low == pytest.approx((-0.0989752, -0.0989752 - _T4 * 1.3040153, -0.0989752 + _T4 * 1.3040153, 5))
    assert found.high == pytest.approx((6.0989752, 6.0989752 - _T4 * 1.3040153, 6.0989752 + _T4 * 1.3040153, 5))
    assert (found.sd, found.limit_se) == pytest.approx((1.5811388, 1.3040153))


def test_the_difference_is_the_first_minus_the_second() -> None:
    assert limits_of_agreement([1, 1], [4, 6]).bias.value == -4


@pytest.mark.parametrize(("first", "bias"), [([], np.nan), ([3.0], 2.0)])
def test_fewer_than_two_pairs_have_no_limits(first: list[float], bias: float) -> None:
    found = limits_of_agreement(first, [1.0] * len(first))
    assert found.bias.value == pytest.approx(bias, nan_ok=True)
    assert np.isnan([found.bias.ci_low, found.low.value, found.high.value, found.sd]).all()
    assert found.bias.n == len(first)


def test_the_summary_gives_bias_and_limits_by_group_and_counts_what_is_missing() -> None:
    pairs = {"a": (11.0, 10.0), "b": (12.0, 10.0), "c": (16.0, 10.0), "d": (np.nan, 10.0)}
    rows = pd.DataFrame(
        {
            "study": study, "measure": "agreement", "of": "lvef_pct", "view": "", "phase": "all", "unit": "%",
            "value": np.nan, "predicted": second, "reference": first, "reason": "" if second > 0 else "lv_empty",
        }
        for study, (second, first) in pairs.items()
    )  # fmt: skip
    people = pd.DataFrame({"sex": ["f", "f", "m", "m"]}, index=list(pairs))
    found = Summariser(people, ["sex"], n_resamples=100).differences(rows)
    table = found.set_index(["measure", "group"])
    assert table.loc[("bias", "all"), "value"] == pytest.approx(3.0)  # of 1, 2 and 6: SD sqrt(7)
    assert table.loc[("bias", "all"), "ci_high"] == pytest.approx(3 + _T2 * np.sqrt(7 / 3))
    assert table.loc[("loa_low", "all"), "value"] == pytest.approx(3 - 1.959964 * np.sqrt(7))
    assert table.loc[("loa_high", "all"), "value"] == pytest.approx(3 + 1.959964 * np.sqrt(7))
    assert table.loc[("bias", "f"), "value"] == 1.5
    assert table.loc[("bias", "m"), ["value", "n", "n_missing", "reasons"]].tolist() == [6.0, 1, 1, '{"lv_empty": 1}']


def test_only_what_labels_say_is_compared() -> None:
    names = phenotypes_from_labels()
    assert names["lvef_pct"] == "%"
    assert "lvedv_ml_m2" in names  # by labels and body size
    others = {"heart_rate_bpm", "height_cm", "weight_kg", "bsa_m2", "lax_4c_mapse_mm", "ed_frame", "es_frame"}
    assert not others & names.keys()


def _view(n_frames: int = 3, n_slices: int = 2) -> xr.Dataset:
    return cine_view(
        np.zeros((n_frames, n_slices, 4, 4), np.uint16), time_ms=100.0 * np.arange(n_frames), pixel_mm=(2.0, 2.0),
        position_mm=np.arange(n_slices)[:, None] * [0, 0, 10.0], row_dir=(1, 0, 0), col_dir=(0, 1, 0),
        slice_mm=10.0, thickness_mm=8.0, heart_rate_bpm=75.0,
    )  # fmt: skip


def _labels(sizes: list[int], code: int = 3) -> np.ndarray:
    """A row of so many pixels in each frame, in both slices."""
    label = np.zeros((len(sizes), 2, 4, 4), np.uint8)
    for frame, size in enumerate(sizes):
        label[frame, :, 0, :size] = code
    return label


def _segmented(label: np.ndarray) -> Segmented:
    return Segmented(label, np.ones(label.shape[:2], bool))


def _one(rows: list[dict[str, Any]], **about: str) -> dict[str, Any]:
    (row,) = [row for row in rows if all(row[name] == value for name, value in about.items())]
    return row


def test_frames_are_those_of_the_largest_and_smallest_pool() -> None:
    assert cycle_frames(_segmented(_labels([2, 1, 4])), _view()) == {"ed": 2, "es": 1}
    assert cycle_frames(_segmented(_labels([0, 0, 0])), _view()) == {}
    assert frames_of_view({"ed": 0, "es": 4}, 10, 25) == {"ed": 0, "es": 10}
    assert frames_of_view({"ed": 9, "es": 4}, 10, 5) == {"ed": 4, "es": 2}  # 4.5 and 2: frames 4 and 2
    with pytest.raises(StudyRejected):
        cycle_frames(_segmented(_labels([2, 1, 4])[:, :1]), _view(n_slices=1))


def test_dice_at_end_diastole_and_end_systole_and_their_mean() -> None:
    """ED: 4 and 3 pixels a slice, 2 * 3 / 7; ES: 1 and 2 pixels, 2 / 3; the frame between takes no part."""
    first, second = _segmented(_labels([4, 4, 1])), _segmented(_labels([3, 0, 2]))
    rows = label_rows(first, second, _view(), "sax", {"ed": 0, "es": 2})
    assert _one(rows, measure="dice", of="lv", phase="ed")["value"] == pytest.approx(6 / 7)
    assert _one(rows, measure="dice", of="lv", phase="es")["value"] == pytest.approx(2 / 3)
    assert _one(rows, measure="dice", of="lv", phase="all")["value"] == pytest.approx((6 / 7 + 2 / 3) / 2)
    assert {row["of"] for row in rows} == {"lv"}  # nobody labelled anything else
    assert {row["measure"] for row in rows} == {"dice", "hd95"}


def test_the_order_of_the_models_does_not_matter() -> None:
    first, second = _segmented(_labels([4, 4, 1])), _segmented(_labels([3, 0, 2]))
    there, back = (label_rows(*pair, _view(), "sax", {"ed": 0, "es": 2}) for pair in ((first, second), (second, first)))
    assert [row["value"] for row in there] == [row["value"] for row in back]


@pytest.mark.parametrize("swapped", [False, True])
def test_a_structure_that_only_one_model_has_counts_as_zero_and_has_no_distance(swapped: bool) -> None:
    sides = [_segmented(_labels([4, 4, 4])), _segmented(_labels([4, 4, 4], code=1))]
    rows = label_rows(*(sides[::-1] if swapped else sides), _view(), "sax", {"ed": 0})
    assert [_one(rows, measure="dice", of=of, phase="ed")["value"] for of in ("lv", "rv")] == [0, 0]
    assert _one(rows, measure="hd95", of="rv", phase="ed")["reason"] == "structure_in_one"


def test_a_slice_that_one_model_did_not_judge_takes_no_part() -> None:
    """The slices differ: 4 to 4 pixels in the first, 4 to 0 in the second, which the second model did not judge."""
    first, second = _labels([4, 4, 4]), _labels([4, 4, 4])
    second[:, 1] = 0
    judged = np.ones((3, 2), bool)
    judged[:, 1] = False
    rows = label_rows(_segmented(first), Segmented(second, judged), _view(), "sax", {"ed": 0})
    assert _one(rows, measure="dice", of="lv", phase="ed")["value"] == 1.0
    rows = label_rows(_segmented(first), _segmented(second), _view(), "sax", {"ed": 0})
    assert _one(rows, measure="dice", of="lv", phase="ed")["value"] == pytest.approx(2 / 3)  # 2 * 4 / (8 + 4)
