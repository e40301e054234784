"""What a measurement of perfusion says of itself where it had to do with less: each limitation where it arises."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from cmr_models import aif
from cmr_models.perfusion import chain
from cmr_models.perfusion.kinetics.btex_fit import HIGHEST_FLOW_ML_MIN_G
from cmr_models.perfusion.wall import mask_flow_at_bound
from cmr_models.reasons import TABLE, StudyRejected


def _detector(network: np.ndarray, rule: np.ndarray) -> Any:
    def detect(series: np.ndarray, *, method: str = "network", device: str = "auto") -> np.ndarray:
        return rule if method == "rule" else network

    return detect


def test_where_the_network_finds_no_blood_the_rule_does_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing, left, right = np.zeros((4, 5), np.uint8), np.zeros((4, 5), np.uint8), np.full((4, 5), 2, np.uint8)
    left[1, 2] = 1
    series, limits = np.zeros((4, 5, 30), np.float32), set[str]()
    monkeypatch.setattr(aif, "detect", _detector(left, nothing))
    assert np.argwhere(chain._detect_blood(series, limits, "cpu")).tolist() == [[1, 2]]
    assert limits == set()
    monkeypatch.setattr(aif, "detect", _detector(right, left))  # it found the right ventricle alone
    assert np.argwhere(chain._detect_blood(series, limits, "cpu")).tolist() == [[1, 2]]
    assert limits == {"aif_fallback"}
    monkeypatch.setattr(aif, "detect", _detector(nothing, nothing))
    with pytest.raises(StudyRejected, match="No left ventricle") as caught:
        chain._detect_blood(series, limits, "cpu")
    assert caught.value.reason == "perfusion_no_bolus"


@pytest.mark.parametrize(("task", "said"), [("segment_sax", {"labels_by_cine_network"}), ("segment_perfusion", set())])
def test_labels_of_a_network_for_cines_are_told(monkeypatch: pytest.MonkeyPatch, task: str, said: set[str]) -> None:
    from cmr_models.perfusion import segmentation

    label = np.ones((6, 7), np.uint8)
    monkeypatch.setattr(chain, "_segmenter_task", lambda: task)
    monkeypatch.setattr(chain, "_label_as_cine", lambda *_: label[None])
    monkeypatch.setattr(segmentation, "segment", lambda *_, **__: label)
    view = xr.Dataset({"pixel_mm": ("axis", [1.9, 1.4])}, attrs={"slice_mm": 10.0})
    limits: set[str] = set()
    heart: Any = SimpleNamespace(signal=np.zeros((1, 6, 7, 40), np.float32))
    np.testing.assert_array_equal(chain._label(heart, view, limits, "cpu"), label[None])
    assert limits == said


def test_a_segment_whose_median_flow_is_the_highest_that_can_be_fitted_is_missing_in_every_table() -> None:
    columns = ("mean", "median", "sd", "min", "max")
    below, at = 0.99 * HIGHEST_FLOW_ML_MIN_G, 0.996 * HIGHEST_FLOW_ML_MIN_G
    flow = pd.DataFrame({name: [1.0, below, at] for name in columns}).assign(pixels=[9, 8, 7])
    delay = pd.DataFrame({name: [2.0, 2.5, 3.0] for name in columns}).assign(pixels=[9, 8, 7])
    assert mask_flow_at_bound({"mbf_ml_min_g": flow, "delay_s": delay})
    for table in (flow, delay):
        assert table["median"].isna().tolist() == [False, False, True]
        assert table[list(columns)].iloc[2].isna().all()
        assert table["pixels"].tolist() == [9, 8, 7]
    assert not mask_flow_at_bound({"mbf_ml_min_g": flow.iloc[:2]})
    assert TABLE["segment_flow_at_bound"].kind == "flag"
