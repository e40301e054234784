"""dcmri, an independent implementation, on the two-compartment model and the saturation-recovery signal."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks.first_pass import DT_S, FRAMES, frame_times, stress_input
from cmr_models.perfusion import quantify
from cmr_models.perfusion.kinetics.differences import LinearModel
from cmr_models.perfusion.kinetics.two_compartment import exchange_integral
from cmr_models.perfusion.signal.gadolinium import (
    ARTERIAL_FLASH,
    BLOOD,
    MYOCARDIAL_FLASH,
    MYOCARDIUM,
    proton_density,
    signal,
)

dcmri = pytest.importorskip("dcmri")

_HEMATOCRIT, _FINE = 0.42, 50


def _dcmri_curve(mbf: float) -> np.ndarray:
    time_s = np.arange(FRAMES * _FINE) * DT_S / _FINE
    blood = stress_input(time_s)
    units = {"H": _HEMATOCRIT, "vb": 0.09, "vi": 0.22, "Fb": mbf / 60, "PS": 1 / 60}
    return dcmri.conc_tissue(blood, dt=DT_S / _FINE, kinetics="2CX", **units)[::_FINE]


@pytest.mark.parametrize("mbf", [0.7, 1.5, 3.0])
def test_two_compartment_exchange_agrees(mbf: float) -> None:
    plasma = 1 - _HEMATOCRIT
    model = LinearModel(exchange_integral, stress_input(frame_times()) / plasma, DT_S, "cpu")
    parameters = [[np.log(mbf * plasma), np.log(0.09 * plasma), np.log(1.0), np.log(0.22), 0.0]]
    ours = model(torch.tensor(parameters, dtype=torch.float64))[0][0]
    theirs = _dcmri_curve(mbf)
    np.testing.assert_allclose(ours, theirs, atol=0.005 * theirs.max())


def test_the_flow_that_dcmri_put_in_is_found_by_the_two_compartment_fit() -> None:
    image = np.broadcast_to(_dcmri_curve(1.0), (1, 1, FRAMES))
    maps = quantify(image, stress_input(frame_times()), DT_S, model="2cxm", foot=18)
    # the fit expects some delay and there is none
    assert float(maps["mbf_ml_min_g"][0, 0]) == pytest.approx(1.0, rel=0.10)


@pytest.mark.parametrize(("sequence", "tissue"), [(MYOCARDIAL_FLASH, MYOCARDIUM[1.5]), (ARTERIAL_FLASH, BLOOD[3.0])])
def test_the_saturation_recovery_signal_agrees(sequence, tissue) -> None:  # type: ignore[no-untyped-def]
    mmol_l = np.linspace(0, 6, 25)
    tr, recovery, flip = sequence.tr_ms / 1e3, sequence.td_ms / 1e3, sequence.flip_deg
    theirs = dcmri.signal_spgr(1, tissue.rates(mmol_l)[0], sequence.centre * tr, tr, flip, recovery)
    np.testing.assert_allclose(signal(mmol_l, sequence, tissue) * proton_density(sequence, tissue), theirs, rtol=1e-9)
