"""Maps of myocardial blood flow from a series of concentration and its arterial input."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr

from cmr_models.aif.curve_features import failed_gates, foot_index
from cmr_models.perfusion.kinetics import status as codes
from cmr_models.perfusion.kinetics.checks import Series, check, frame, number
from cmr_models.perfusion.kinetics.fitted import Fitted
from cmr_models.perfusion.kinetics.nonlocal_means import nonlocal_mean

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

_BASELINE_START = 4  # frames before it are not in the steady state; the reference leaves them out as well
_LEAD_S = 1.5  # the fit starts this long before the foot
_ENHANCING_OVER_NOISE = 4.0
_ENHANCING_MMOL_L = 0.03
_CLIPPED_FRAMES = 3

UNITS: Mapping[str, str] = {
    "mbf_ml_min_g": "mL/min/g",
    "ps_ml_min_g": "mL/min/g",
    "vb_ml_g": "mL/g",
    "visf_ml_g": "mL/g",
    "delay_s": "s",
    "mbf_sd_ml_min_g": "mL/min/g",
    "ps_sd_ml_min_g": "mL/min/g",
    "vb_sd_ml_g": "mL/g",
    "visf_sd_ml_g": "mL/g",
    "delay_sd_s": "s",
    "residual_mmol_l": "mmol/L",
}
"""Variables of the maps. What a model does not know is NaN throughout."""


class _Input(NamedTuple):
    """A model's input: images and arterial input above their baselines, from just before the foot on.

    ``image`` is (row, col, frame); ``chosen`` (row, col) marks the pixels to fit, ``wall`` those that are certainly
    muscle.
    """

    image: Floats
    chosen: Mask
    wall: Mask
    aif: Floats
    dt_s: float
    hematocrit: float
    device: str

    @property
    def curves(self) -> Floats:
        """(n, frame) of the chosen pixels."""
        return self.image[self.chosen]


def quantify(
    tissue: npt.ArrayLike,
    aif: npt.ArrayLike,
    dt_s: float,
    *,
    foot: int | None = None,
    hematocrit: float = 0.42,
    model: str = "btex",
    mask: npt.ArrayLike | None = None,
    wall: npt.ArrayLike | None = None,
    device: str = "auto",
) -> xr.Dataset:
    """Fit a tracer-kinetic model to every pixel that enhances.

    Args:
        tissue: (row, col, frame) concentration, mmol/L.
        aif: (frame,) concentration in arterial blood, mmol/L, on the same scale; a row or column of a matrix will do.
        dt_s: seconds between frames.
        foot: 0-based index of the frame at which the bolus arrives in ``aif``; found if None.
        hematocrit: of the large vessels; plasma volumes and flow are (1 - hematocrit) of blood's.
        model: a key of :data:`MODELS`.
        mask: (row, col) pixels to fit; all if None.
        wall: (row, col) those of them that are certainly muscle, away from blood and fat; all if None. The mean delay,
            volumes and permeability of the region are learnt from them; pixels mixed with blood would falsify these.
        device: of torch, for the models that are fitted there; "auto" is the GPU if there is one.

    Returns:
        Dataset of the variables :data:`UNITS` and ``status`` (uint8, ``cmr_models.perfusion.STATUS``), dims (row, col).
        Flow and volumes are those of blood, per gram of tissue, with tissue taken as 1 g/mL as the reference does.
        Attributes: model, dt_s, foot, hematocrit, ``region_delay_s`` and ``aif_reasons`` (gates that the input failed).

    Raises:
        ValueError: shapes disagree, there are too few frames, units look wrong, no bolus is found, or the model is
            unknown.

    Reference:
        Kellman et al. 2017, doi:10.1186/s12968-017-0355-5; Xue et al. 2020, doi:10.1002/mrm.27954.
    """
    if model not in MODELS:
        raise ValueError(f"model {model!r} is unknown; it must be one of {', '.join(MODELS)}")
    dt_s, hematocrit, foot = number("dt_s", dt_s), number("hematocrit", hematocrit), frame(foot)
    series = check(tissue, aif, dt_s, foot, hematocrit, mask, wall)
    arrival = foot_index(series.aif, dt_s) if foot is None else foot
    fitted, status, chosen = _fit(series, model, arrival, dt_s, hematocrit, device)
    about = {"model": model, "dt_s": dt_s, "foot": arrival, "hematocrit": hematocrit}
    found = {"region_delay_s": fitted.region_delay_s, "aif_reasons": ",".join(failed_gates(series.aif, dt_s))}
    return _dataset(fitted, status, chosen, about | found)


def _fit(
    series: Series, model: str, foot: int, dt_s: float, hematocrit: float, device: str
) -> tuple[Fitted, npt.NDArray[np.uint8], Mask]:
    """The fit of every pixel that enhances, the status of all pixels, and which were fitted."""
    curves, status = _triage(series, foot, baseline_frames(foot))
    request = _request(series, curves, status == codes.OK, foot, dt_s, hematocrit, device)
    fitted = MODELS[model](request) if request.chosen.any() else Fitted({}, np.empty(0), np.empty(0), np.empty(0))
    status[request.chosen] = _classify(request.curves, fitted, _find_clipped(series, request.chosen))
    return fitted, status, request.chosen


def _request(
    series: Series, curves: Floats, chosen: Mask, foot: int, dt_s: float, hematocrit: float, device: str
) -> _Input:
    start = max(0, foot - int(np.ceil(_LEAD_S / dt_s)))
    blood = series.aif - series.aif[baseline_frames(foot)].mean()
    return _Input(curves[..., start:], chosen, series.wall, blood[start:], dt_s, hematocrit, device)


def _triage(series: Series, foot: int, baseline: slice) -> tuple[Floats, npt.NDArray[np.uint8]]:
    """Curves above their baseline (row, col, frame), and the status of pixels that are not fitted."""
    status = np.where(series.mask, codes.OK, codes.OUTSIDE).astype(np.uint8)
    finite = np.isfinite(series.tissue.sum(-1))
    filled = np.where(finite[..., None], series.tissue, 0.0)
    before = filled[..., baseline]
    curves = filled - before.mean(-1, keepdims=True)
    noise = np.median(np.abs(np.diff(filled, 2, axis=-1)), axis=-1) / 0.6745 / np.sqrt(6)
    after = curves[..., foot:].mean(-1)
    standard_error = noise * np.sqrt(1 / before.shape[-1] + 1 / (curves.shape[-1] - foot))
    enhancing = (after > _ENHANCING_OVER_NOISE * standard_error) & (curves[..., foot:].max(-1) > _ENHANCING_MMOL_L)
    inside = status == codes.OK
    status[inside & ~enhancing] = codes.NOT_ENHANCING
    status[inside & ~finite] = codes.NOT_FINITE
    return curves, status


def baseline_frames(foot: int) -> slice:
    """Frames before arrival whose mean is the baseline: those in the steady state, if there are any."""
    return slice(min(_BASELINE_START, max(0, foot - 2)), max(1, foot))


def _find_clipped(series: Series, chosen: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """(n,) True for chosen pixels that stay at the highest value of the whole series for several frames."""
    highest = np.max(series.tissue, where=np.isfinite(series.tissue), initial=-np.inf)
    frames: npt.NDArray[np.int64] = np.count_nonzero(series.tissue[chosen] >= highest - 1e-9, axis=-1)
    return np.asarray(frames >= _CLIPPED_FRAMES, bool)


def _classify(curves: Floats, fitted: Fitted, clipped: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    status = np.full(len(curves), codes.OK, np.uint8)
    status[fitted.residual > 0.25 * curves.max(1, initial=0)] = codes.POOR_FIT
    status[~fitted.converged.astype(bool)] = codes.NOT_CONVERGED
    status[fitted.at_bound.astype(bool)] = codes.AT_BOUND
    status[clipped] = codes.CLIPPED
    return status


def _dataset(
    fitted: Fitted, status: npt.NDArray[np.uint8], chosen: npt.NDArray[np.bool_], attributes: dict[str, object]
) -> xr.Dataset:
    maps = {}
    for name, unit in UNITS.items():
        values = np.full(status.shape, np.nan)
        values[chosen] = fitted.residual if name == "residual_mmol_l" else fitted.values.get(name, np.nan)
        maps[name] = (("row", "col"), values, {"units": unit})
    meanings = {"flag_values": [s.code for s in codes.STATUS], "flag_meanings": " ".join(s.name for s in codes.STATUS)}
    return xr.Dataset({**maps, "status": (("row", "col"), status, meanings)}, attrs=attributes)


def _btex(request: _Input) -> Fitted:
    from cmr_models.perfusion.kinetics.btex_maps import btex_maps

    muscle = request.chosen & request.wall
    means = nonlocal_mean(request.image, request.chosen)[request.chosen]
    muscle_means = means if muscle.sum() == len(means) else nonlocal_mean(request.image, muscle)[muscle]
    return btex_maps(*_arguments(request), means=means, muscle_means=muscle_means)


def _fermi(request: _Input) -> Fitted:
    from cmr_models.perfusion.kinetics.fermi import fermi_maps

    return fermi_maps(*_arguments(request))


def _two_compartment(request: _Input) -> Fitted:
    from cmr_models.perfusion.kinetics.two_compartment import two_compartment_maps

    return two_compartment_maps(*_arguments(request))


def _deconvolution(request: _Input) -> Fitted:
    from cmr_models.perfusion.kinetics.deconvolution import deconvolution_maps

    return deconvolution_maps(*_arguments(request))


def _arguments(request: _Input) -> tuple[Floats, Floats, float, float, str]:
    """Arguments of every model: curves, input, interval, haematocrit, device."""
    from cmr_models.zoo.runner import chosen_device  # torch is imported only where it is used

    return request.curves, request.aif, request.dt_s, request.hematocrit, chosen_device(request.device)


MODELS: Mapping[str, Callable[[_Input], Fitted]] = {
    "btex": _btex,
    "fermi": _fermi,
    "2cxm": _two_compartment,
    "deconvolution": _deconvolution,
}
