"""One simulated slice, from DICOM to flow: right against the truth, and a reason for everything that it lacks."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from cmr_models.perfusion.chain import measure
from cmr_models.perfusion.contrast import sequence_of
from cmr_models.perfusion.series import GRID_S, common_grid, first_pass
from cmr_models.perfusion.wall import inner_wall, reliable_pixels
from cmr_models.reasons import TABLE, StudyRejected
from cmr_models.simulate.dicom import Session
from cmr_models.simulate.perfusion import MYOCARDIAL_SERIES, Acquisition, SimulatedScan, simulated_scan
from cmr_models.simulate.perfusion.dicom import encode_scan
from tasks.convert.cine import study_views
from tasks.sources.dicom import read_images

Views = dict[str, xr.Dataset]
Change = Callable[[Views], Views]
SLICE = replace(MYOCARDIAL_SERIES, rows=112, cols=112)
COARSE = replace(MYOCARDIAL_SERIES, rows=64, cols=64, pixel_mm=3.0)
SESSION = Session("perf001", "1.2.3.1", "1.2.3.1.1", "20240102", 36000.0)


def _scan(seed: int, *, stress: bool, frames: int = 48, series: Acquisition = SLICE) -> SimulatedScan:
    rng = np.random.default_rng(seed)
    return simulated_scan(rng, stress=stress, frames=frames, breathing=4.0, levels=("mid",), myocardium=series)


def _views(scan: SimulatedScan, *, stress: bool) -> Views:
    files = encode_scan(np.random.default_rng(0), scan, SESSION, stress=stress)
    images = [image for _, content in files for image in read_images(content)]
    base = f"perfusion_{'stress' if stress else 'rest'}"
    found = study_views(images, max_missing_fraction=0.2).views
    return {name.removeprefix(base): view for name, view in found.items()}


@pytest.fixture(scope="module")
def scan() -> SimulatedScan:
    return _scan(102, stress=True)


@pytest.fixture(scope="module")
def views(scan: SimulatedScan) -> Views:
    return _views(scan, stress=True)


@pytest.fixture(scope="module")
def coarse() -> SimulatedScan:
    return _scan(3, stress=True, frames=36, series=COARSE)


@pytest.fixture(scope="module")
def coarse_views(coarse: SimulatedScan) -> Views:
    return _views(coarse, stress=True)


def _labels(scan: SimulatedScan) -> np.ndarray:
    return scan.myocardium["mid"].scene.label[None]


def _flow_over_truth(scan: SimulatedScan, views: Views) -> tuple[float, list[str]]:
    """Median over segments of flow over truth, with the true labels; and the limitations."""
    measured = measure(views, labels=_labels(scan))
    rows = measured.segments["mbf_ml_min_g"].query("layer == 'all' and pixels > 0")
    true = scan.patient.tissue.mbf_ml_min_g.mean(axis=1)
    ratio = [row["median"] / true[row["segment"] - 1] for _, row in rows.iterrows()]
    return float(np.median(ratio)), list(measured.maps.attrs["limitations"])


def test_flow_under_stress_is_that_of_the_simulation(scan: SimulatedScan, views: Views) -> None:
    ratio, limits = _flow_over_truth(scan, views)
    assert ratio == pytest.approx(1.0, abs=0.12)
    assert limits == ["level_assumed"]


def test_flow_at_rest_is_that_of_the_simulation_though_beats_are_long() -> None:
    scan = _scan(100, stress=False)
    assert np.diff(scan.patient.time_s).mean() > 1.0
    ratio, _ = _flow_over_truth(scan, _views(scan, stress=False))
    assert ratio == pytest.approx(1.0, abs=0.12)


def test_the_input_has_the_height_of_the_true_one(scan: SimulatedScan, views: Views) -> None:
    peak = measure(views, labels=_labels(scan)).aif["peak_value"]
    assert peak == pytest.approx(float(scan.patient.blood["lv"].max()), rel=0.08)


# what a study may lack


def _without(*roles: str) -> Change:
    return lambda views: {role: view for role, view in views.items() if role not in roles}


def _with(role: str, change: Callable[[xr.Dataset], xr.Dataset]) -> Change:
    return lambda views: {**views, role: change(views[role])}


def _clipped(view: xr.Dataset) -> xr.Dataset:
    held = view["intensity"].copy()
    held.values[10:20, 0, 40:46, 40:46] = 4095
    return view.assign(intensity=held)


def _without_bolus(view: xr.Dataset) -> xr.Dataset:
    still = view["intensity"].copy()
    noise = np.random.default_rng(1).integers(0, 30, still.shape)
    still.values[:] = view["intensity"].values[:1] + noise.astype(np.uint16)
    return view.assign(intensity=still)


def _untimed(view: xr.Dataset) -> xr.Dataset:
    return view.assign(acquired_ms=view["acquired_ms"] * np.nan)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_with("", lambda v: v.isel(frame=slice(0, 1))), "perfusion_few_frames"),
        (_with("", lambda v: v.isel(frame=slice(0, 11))), "perfusion_few_frames"),
        (_with("_aif", lambda v: v.isel(frame=slice(0, 1))), "perfusion_few_frames"),
        (_with("_aif", lambda v: v.isel(frame=slice(0, 13))), "perfusion_few_frames"),
        (_without(""), "perfusion_few_frames"),
        (_with("", _clipped), "perfusion_clipped"),
        (_with("_aif", _clipped), "perfusion_clipped"),
        (_with("_aif", _without_bolus), "perfusion_no_bolus"),
        (_with("", _untimed), "perfusion_time_unknown"),
        (_with("_aif", _untimed), "perfusion_time_unknown"),
    ],
)
def test_a_state_that_cannot_be_measured_says_why(
    coarse: SimulatedScan, coarse_views: Views, change: Change, reason: str
) -> None:
    mask = coarse.aif.scene.share["lv"] > 0.7
    with pytest.raises(StudyRejected) as caught:
        measure(change(coarse_views), labels=_labels(coarse), aif_mask=mask)
    assert caught.value.reason == reason
    assert reason in TABLE


def test_without_a_ventricle_there_is_nothing_to_measure(coarse: SimulatedScan, coarse_views: Views) -> None:
    with pytest.raises(StudyRejected) as caught:
        measure(coarse_views, labels=np.zeros_like(_labels(coarse)))
    assert caught.value.reason == "perfusion_no_heart"


@pytest.mark.parametrize(
    ("change", "flag"),
    [
        (_without("_pd"), "perfusion_no_pd"),
        (_without("_aif", "_aif_echo2", "_aif_pd"), "aif_single_sequence"),
        (_with("", lambda v: v.assign_attrs(inversion_ms=float("nan"))), "sequence_assumed"),
        (_with("_aif", lambda v: v.assign_attrs(inversion_ms=float("nan"))), "sequence_assumed"),
        (_with("_aif", lambda v: v.assign_attrs(timed_by="beat")), "aif_moved"),
    ],
)
def test_what_had_to_be_assumed_is_flagged(
    coarse: SimulatedScan, coarse_views: Views, change: Change, flag: str
) -> None:
    changed = change(coarse_views)
    mask = coarse.aif.scene.share["lv"] > 0.7 if "_aif" in changed else None
    limits = measure(changed, labels=_labels(coarse), aif_mask=mask).maps.attrs["limitations"]
    assert flag in limits
    assert flag in TABLE


def test_a_mask_of_another_grid_is_an_error_and_not_a_number(coarse: SimulatedScan, coarse_views: Views) -> None:
    with pytest.raises(ValueError, match="use one grid"):
        measure(coarse_views, labels=_labels(coarse), aif_mask=np.ones((3, 3), bool))


def test_networks_and_fit_run_on_the_device_that_is_asked_for(coarse: SimulatedScan, coarse_views: Views) -> None:
    one_sequence = {role: view for role, view in coarse_views.items() if not role.startswith("_aif")}
    by_network = (coarse_views, {}), (coarse_views, {"labels": _labels(coarse)})
    for views, given in (*by_network, (one_sequence, {"labels": _labels(coarse)})):
        with pytest.raises(RuntimeError, match="nowhere"):
            measure(views, device="nowhere", **given)


def test_an_input_that_ends_early_shortens_the_analysis(coarse_views: Views) -> None:
    short = coarse_views["_aif"].isel(frame=slice(0, 40))
    grid = common_grid([(coarse_views[""], 0.0), (short, 0.0)])
    last = float(short["acquired_ms"].max()) / 1000
    assert last - GRID_S < grid[-1] <= last
    assert first_pass(coarse_views[""], grid).signal.shape[-1] == grid.size


def test_motion_is_taken_out_of_beats_before_they_are_mixed(coarse_views: Views) -> None:
    seen: list[np.ndarray] = []

    def steady(beats: Sequence[np.ndarray], times: Sequence[np.ndarray]) -> list[np.ndarray]:
        assert [time_s.size for time_s in times] == [plane.shape[-1] for plane in beats]
        seen.extend(beats)
        return [np.repeat(plane[..., :1], plane.shape[-1], axis=-1) for plane in beats]

    view = coarse_views[""]
    still = first_pass(view, steady=steady).signal
    stored = view["intensity"].values[:, 0].astype(np.float32)
    np.testing.assert_array_equal(seen[0], np.moveaxis(stored, 0, -1))
    assert np.ptp(still, axis=-1).max() <= 1e-5 * still.max()


# parts


def test_the_protocol_fills_what_headers_lack_and_says_so() -> None:
    told = {"inversion_ms": 50.0, "flip_angle_deg": 12.0, "repetition_time_ms": 2.5, "field_strength_t": 1.5}
    sequence, limits = sequence_of(told, is_input_series=False, density=True)
    assert (sequence.td_ms, sequence.flip_deg, sequence.tr_ms, limits) == (50.0, 12.0, 2.5, frozenset())
    for name, value in (("inversion_ms", 0.0), ("flip_angle_deg", float("nan")), ("repetition_time_ms", 600.0)):
        assert "sequence_assumed" in sequence_of({**told, name: value}, is_input_series=False, density=True)[1]


def test_wall_beside_blood_or_fat_does_not_count() -> None:
    rows, cols = np.mgrid[:64, :64] - 32
    radius = np.hypot(rows, cols)
    labels = np.where(radius < 12, 3, np.where(radius < 19, 2, 0)).astype(np.uint8)
    inner = reliable_pixels(labels[None], np.where(labels == 2, 1, 0).astype(np.uint8)[None])[0]
    assert inner.any()
    assert radius[inner].min() > 12.5
    assert radius[inner].max() < 18.2
    assert (inner_wall(labels == 2) <= (labels == 2)).all()


def test_a_thin_wall_counts_all_that_does_not_touch_the_pool() -> None:
    rows, cols = np.mgrid[:64, :64] - 32
    radius = np.hypot(rows, cols)
    labels = np.where(radius < 12, 3, np.where(radius < 14, 2, 0)).astype(np.uint8)
    kept = reliable_pixels(labels[None], np.where(labels == 2, 1, 0).astype(np.uint8)[None])[0]
    assert kept.any()
    assert not (kept & (labels != 2)).any()
