"""The delay of a region: the earliest that fits about as well as the best, by the median pixel."""

import numpy as np
import pytest

from cmr_models.perfusion.kinetics import deconvolution


@pytest.mark.parametrize(("second", "delay", "flow"), [(1.0099, 0.25, 2.0), (1.0101, 0.5, 3.0)])
def test_the_delay_is_the_earliest_within_a_hundredth_of_the_least_residual(
    second: float, delay: float, flow: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    residuals = {0.0: 2.0, 0.25: second, 0.5: 1.0, 0.75: 1.0}

    def fit(curves: np.ndarray, aif: np.ndarray, dt_s: float, delay_s: float) -> tuple[np.ndarray, np.ndarray]:
        left = residuals.get(delay_s, 1.5)
        return np.full(3, 1 + delay_s / 0.25), np.array([left, left, 40.0])  # one pixel that nothing fits

    monkeypatch.setattr(deconvolution, "_fit_falling_residue", fit)
    found = deconvolution.deconvolution_maps(np.zeros((3, 20)), np.zeros(20), 0.5, 0.4, "cpu")
    assert found.values["delay_s"].tolist() == [delay] * 3
    assert found.values["mbf_ml_min_g"].tolist() == [flow] * 3
    assert found.region_delay_s == delay
