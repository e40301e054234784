"""BTEX: limits known in closed form, truth found again, bad input refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from benchmarks.first_pass import DT_S, frame_times, noisy, stress_input, tissue_curves
from benchmarks.stress_hearts import heart
from cmr_models.perfusion import MODELS, STATUS, quantify
from cmr_models.perfusion.kinetics import btex
from cmr_models.perfusion.kinetics.btex_curves import BtexCurves
from cmr_models.perfusion.kinetics.btex_fit import Settings, dictionary, region_problem
from cmr_models.perfusion.kinetics.least_squares import effective_noise
from cmr_models.perfusion.kinetics.nonlocal_means import nonlocal_mean

_LONG_S = np.linspace(0, 900, 900_001)


@pytest.mark.parametrize("parameters", [(1.0, 0.05, 1.0, 0.2), (0.1, 0.05, 3.0, 0.3), (3.0, 0.1, 0.3, 0.4)])
def test_the_residue_starts_at_plasma_flow_and_encloses_both_volumes(parameters: tuple[float, ...]) -> None:
    flow, plasma, _, space = parameters
    residue = btex.residue(_LONG_S, *parameters)
    assert residue[0] == flow
    assert np.trapezoid(residue, _LONG_S) / 60 == pytest.approx(plasma + space, rel=1e-4)


def test_without_permeability_the_capillary_is_a_plug() -> None:
    residue = btex.residue(_LONG_S[:6000], 1.2, 0.06, 0.0, 0.2)
    transit_s = 60 * 0.06 / 1.2
    np.testing.assert_allclose(residue, np.where(_LONG_S[:6000] < transit_s, 1.2, 0.0), atol=1e-9)


def test_with_endless_permeability_both_volumes_are_one_plug() -> None:
    transit_s = 60 * (0.06 + 0.2) / 1.2
    before, after = btex.residue([0.95 * transit_s, 1.05 * transit_s], 1.2, 0.06, 2e4, 0.2)
    assert before == pytest.approx(1.2, rel=0.01)
    assert after == pytest.approx(0.0, abs=0.01)


def test_the_residue_is_the_bessel_form_of_sangren_and_sheppard() -> None:
    from scipy.special import i1

    flow, plasma, ps, space = 1.0, 0.05, 1.0, 0.2
    a, b, u = ps / flow, ps / 60 / space, 7.0
    left = quad(lambda s: np.sqrt(a * b / s) * i1(2 * np.sqrt(a * b * s)) * np.exp(-b * s), 0, u)[0]
    expected = flow * (1 - np.exp(-a) * (1 + left))
    assert btex.residue(60 * plasma / flow + u, flow, plasma, ps, space) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize(("a", "v"), [(1.3, 0.7), (0.1, 3.0), (20.0, 10.0), (5.0, 30.0)])
def test_stay_is_the_integral_of_retained(a: float, v: float) -> None:
    assert btex.stay(a, v) == pytest.approx(quad(lambda w: float(btex.retained(a, w)), 0, v)[0], rel=1e-8)


def test_tissue_is_linear_in_the_input_and_knows_how_much_tracer_came() -> None:
    aif = stress_input(frame_times())
    once = btex.tissue(aif, DT_S, mbf=1.5, vb=0.09, ps=1.0, visf=0.2)
    np.testing.assert_allclose(btex.tissue(3 * aif, DT_S, mbf=1.5, vb=0.09, ps=1.0, visf=0.2), 3 * once, atol=1e-12)
    slow = btex.tissue(aif, DT_S, mbf=1.5, vb=30.0, ps=1.0, visf=0.2)  # nothing leaves within the scan
    brought = 1.5 / 60 * (np.cumsum(aif) - aif / 2) * DT_S
    np.testing.assert_allclose(slow, brought, rtol=0.01, atol=1e-3)


def test_the_table_gives_the_curves_and_their_derivatives() -> None:
    aif = stress_input(frame_times())
    rng = np.random.default_rng(3)
    low, high = (0.3, 0.04, 0.3, 0.1, 0.1), (5.0, 0.2, 3.0, 0.5, 2.0)
    drawn = rng.uniform(low, high, (50, 5))
    coordinates = np.column_stack([np.log(drawn[:, :4]), drawn[:, 4]])
    curves, jacobian = BtexCurves(aif, DT_S, 0.42)(torch.as_tensor(coordinates, dtype=torch.float32))
    np.testing.assert_allclose(curves, _exact(coordinates, aif), atol=2e-3)
    for at in range(5):
        step = np.eye(5)[at] * 0.02
        slope = (_exact(coordinates + step, aif) - _exact(coordinates - step, aif)) / 0.04
        np.testing.assert_allclose(jacobian[..., at], slope, atol=0.06 * np.abs(slope).max())


def _exact(coordinates: np.ndarray, aif: np.ndarray) -> np.ndarray:
    mbf, vb, ps, visf = np.exp(coordinates[:, :4]).T
    return btex.tissue(aif, DT_S, mbf=mbf, vb=vb, ps=ps, visf=visf, delay_s=coordinates[:, 4])


@pytest.mark.parametrize("delay_s", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("mbf", [0.7, 1.5, 3.0])
def test_flow_without_noise_is_found_within_two_percent(mbf: float, delay_s: float) -> None:
    image = np.broadcast_to(tissue_curves(mbf, delay_s=delay_s), (6, 6, 60))
    maps = quantify(image, stress_input(frame_times()), DT_S)
    np.testing.assert_allclose(maps["mbf_ml_min_g"], mbf, rtol=0.02)
    assert (maps["status"] == 0).all()


@pytest.mark.parametrize("mbf", [0.7, 1.5, 3.0])
def test_at_snr_20_flow_has_little_bias_and_spread(mbf: float) -> None:
    rng = np.random.default_rng(11)
    image = noisy(np.broadcast_to(tissue_curves(mbf), (20, 20, 60)), 20, rng)
    flow = quantify(image, stress_input(frame_times()), DT_S)["mbf_ml_min_g"].to_numpy()
    assert abs(flow.mean() / mbf - 1) < 0.05
    assert flow.std() / mbf < 0.10


@pytest.mark.slow
def test_the_stated_uncertainty_is_that_of_repeats() -> None:
    rng = np.random.default_rng(12)
    maps = quantify(
        noisy(np.broadcast_to(tissue_curves(0.9), (20, 20, 60)), 20, rng), stress_input(frame_times()), DT_S
    )
    stated = float(maps["mbf_sd_ml_min_g"].median())
    assert stated == pytest.approx(float(maps["mbf_ml_min_g"].std()), rel=0.5)


def test_haematocrit_changes_permeability_and_interstitium_but_not_flow() -> None:
    image = np.broadcast_to(tissue_curves(1.0), (6, 6, 60))
    aif = stress_input(frame_times())
    usual, thin = quantify(image, aif, DT_S, hematocrit=0.42), quantify(image, aif, DT_S, hematocrit=0.30)
    assert float(thin["mbf_ml_min_g"].mean()) == pytest.approx(float(usual["mbf_ml_min_g"].mean()), rel=0.03)
    assert float(thin["visf_ml_g"].mean()) > 1.1 * float(usual["visf_ml_g"].mean())


def test_a_pixel_gets_the_same_flow_alone_as_among_others_of_its_region() -> None:
    flows = np.geomspace(0.6, 3.0, 64)
    image = tissue_curves(flows).reshape(8, 8, 60)
    aif = stress_input(frame_times())
    together = quantify(image, aif, DT_S)
    alone = quantify(image[2:3, 3:4], aif, DT_S)
    assert float(together["mbf_ml_min_g"][2, 3]) == pytest.approx(float(alone["mbf_ml_min_g"][0, 0]), rel=0.05)


def test_the_foot_may_be_given_or_found() -> None:
    image, aif = np.broadcast_to(tissue_curves(1.0), (6, 6, 60)), stress_input(frame_times())
    found, given = quantify(image, aif, DT_S), quantify(image, aif, DT_S, foot=18)
    assert abs(found.attrs["foot"] - 18) <= 2
    np.testing.assert_allclose(found["mbf_ml_min_g"], given["mbf_ml_min_g"], rtol=0.02)


@pytest.mark.parametrize("model", [name for name in MODELS if name != "btex"])
def test_every_other_model_orders_flows_and_is_roughly_right_at_rest(model: str) -> None:
    image = tissue_curves(np.array([[0.5, 0.7, 1.0, 2.0]]))
    flow = quantify(image, stress_input(frame_times()), DT_S, model=model)["mbf_ml_min_g"].to_numpy()[0]
    assert (np.diff(flow) > 0).all()
    np.testing.assert_allclose(flow[:3], [0.5, 0.7, 1.0], rtol=0.5)  # two compartments read high


@pytest.mark.parametrize("mbf", [0.7, 1.5, 3.0])
def test_model_free_flow_without_noise_is_right(mbf: float) -> None:
    image = np.broadcast_to(tissue_curves(mbf), (4, 4, 60))
    maps = quantify(image, stress_input(frame_times()), DT_S, model="deconvolution")
    np.testing.assert_allclose(maps["mbf_ml_min_g"], mbf, rtol=0.05)


def test_tissue_off_the_centre_of_the_priors_is_found_without_noise() -> None:
    curves = tissue_curves(3.0, vb=0.062, ps=1.3, visf=0.17, delay_s=0.65)
    maps = quantify(np.broadcast_to(curves, (6, 6, 60)), stress_input(frame_times()), DT_S)
    np.testing.assert_allclose(maps["mbf_ml_min_g"], 3.0, rtol=0.02)


def test_pixels_of_blood_do_not_move_the_delay_of_muscle() -> None:
    aif = stress_input(frame_times())
    image = noisy(np.broadcast_to(tissue_curves(2.5, delay_s=0.8), (16, 16, 60)), 25, np.random.default_rng(5)).copy()
    image[:, :8] += 0.25 * aif
    wall = np.zeros((16, 16), bool)
    wall[:, 9:] = True
    found = quantify(image, aif, DT_S, wall=wall)
    assert found.attrs["region_delay_s"] == pytest.approx(0.8, abs=0.15)
    assert float(found["mbf_ml_min_g"][:, 9:].median()) == pytest.approx(2.5, rel=0.08)


def test_only_similar_neighbours_are_averaged() -> None:
    rng = np.random.default_rng(6)
    low, high = tissue_curves(0.6), tissue_curves(3.0)
    clean = np.stack([np.repeat(low[None], 12, 0), np.repeat(high[None], 12, 0)]).repeat(6, axis=0)
    image = clean + rng.normal(0, 0.03, clean.shape)
    mean = nonlocal_mean(image, np.ones(image.shape[:2], bool))
    assert np.std(mean - clean) < 0.35 * 0.03
    assert not nonlocal_mean(image, np.zeros(image.shape[:2], bool)).any()


def test_statuses_tell_what_became_of_each_pixel() -> None:
    aif = stress_input(frame_times())
    image = np.repeat(tissue_curves(1.0)[None, None], 5, axis=1).copy()
    image[0, 1, 20] = np.nan
    image[0, 2] = np.random.default_rng(0).normal(0, 0.02, 60)
    image[0, 3] = np.minimum(3 * tissue_curves(4.0), 1.2)
    maps = quantify(image, aif, DT_S, mask=[[True, True, True, True, False]])
    names = [STATUS[code].name for code in maps["status"].to_numpy()[0]]
    assert names == ["ok", "not_finite", "not_enhancing", "clipped", "outside"]
    measured = [STATUS[code].measured for code in maps["status"].to_numpy()[0]]
    assert np.isfinite(maps["mbf_ml_min_g"].to_numpy()[0]).tolist() == measured
    assert [row.code for row in STATUS] == list(range(len(STATUS)))


def test_a_region_without_tissue_gives_maps_of_nothing() -> None:
    maps = quantify(np.zeros((3, 3, 60)), stress_input(frame_times()), DT_S)
    assert maps["mbf_ml_min_g"].isnull().all()


def test_an_input_that_fails_its_gates_is_named_in_the_attributes() -> None:
    maps = quantify(np.broadcast_to(tissue_curves(1.0), (2, 2, 60)) / 5, stress_input(frame_times()) / 5, DT_S)
    assert maps.attrs["aif_reasons"] == "aif_peak_low"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"aif": np.ones(59)}, "60 frames; they must share one time axis"),
        ({"tissue": np.ones((60, 4))}, r"must be \(row, col, frame\)"),
        ({"tissue": np.ones((2, 2, 1)), "aif": np.ones(1)}, "1 frames; a first pass needs"),
        ({"aif": 100 * stress_input(frame_times())}, "convert it to mmol/L"),
        ({"aif": stress_input(frame_times()) / 1000}, "convert it to mmol/L"),
        ({"tissue": np.full((2, 2, 60), 300.0)}, "on one scale"),
        ({"aif": np.full(60, 1.0)}, "aif_no_bolus"),
        (
            {"aif": np.where(np.arange(60) == 3, np.nan, stress_input(frame_times()))},
            "1 frames of the AIF are not finite",
        ),
        ({"dt_s": 500.0}, "seconds, not ms"),
        ({"foot": 60}, "foot is 60"),
        ({"hematocrit": 42.0}, "fraction"),
        ({"mask": np.ones((3, 3))}, "they must agree"),
        ({"wall": np.ones((3, 3))}, "wall has shape"),
        ({"model": "tofts"}, "must be one of btex, fermi, 2cxm, deconvolution"),
    ],
)
def test_bad_input_is_refused_with_the_remedy(change: dict[str, object], message: str) -> None:
    request = {
        "tissue": np.broadcast_to(tissue_curves(1.0), (2, 2, 60)),
        "aif": stress_input(frame_times()),
        "dt_s": DT_S,
        **change,
    }
    with pytest.raises(ValueError, match=message):
        quantify(**request)  # type: ignore[arg-type]


def test_noise_that_repeats_from_frame_to_frame_counts_for_more() -> None:
    white = torch.as_tensor(np.random.default_rng(0).normal(size=(200, 400)))
    repeated = torch.repeat_interleave(white[:, :200], 2, dim=1)
    assert float(effective_noise(white, 0).mean()) == pytest.approx(1.0, rel=0.08)
    assert float(effective_noise(repeated, 0).mean()) == pytest.approx(3**0.5, rel=0.1)


def _patient(vb: float, delay_s: float, rng: np.random.Generator) -> np.ndarray:
    """A slice at stress whose pixels vary about a blood volume and a delay of their own, SNR 20."""
    flows = np.repeat(np.geomspace(1.0, 3.0, 16), 16)
    volumes, delays = vb * np.exp(rng.normal(0, 0.08, 256)), delay_s + rng.normal(0, 0.08, 256)
    return noisy(tissue_curves(flows, ps=1.2, visf=0.19, vb=volumes, delay_s=delays), 20, rng).reshape(16, 16, 60)


@pytest.mark.parametrize(("vb", "delay_s"), [(0.07, 0.3), (0.07, 1.1), (0.12, 0.6)])
def test_a_heart_off_the_populations_centre_is_not_pulled_to_it(vb: float, delay_s: float) -> None:
    image = _patient(vb, delay_s, np.random.default_rng(31))
    maps = quantify(image, stress_input(frame_times()), DT_S)
    ratio = maps["mbf_ml_min_g"].to_numpy() / np.geomspace(1.0, 3.0, 16)[:, None]
    assert np.median(ratio) == pytest.approx(1.0, abs=0.05)
    assert float(maps["vb_ml_g"].median()) == pytest.approx(vb, rel=0.1)
    assert maps.attrs["region_delay_s"] == pytest.approx(delay_s, abs=0.15)


def test_the_learnt_centre_needs_several_curves_and_says_what_remains_unknown() -> None:
    curves = torch.as_tensor(_patient(0.07, 1.0, np.random.default_rng(32)).reshape(-1, 60), dtype=torch.float32)
    model, settings = BtexCurves(stress_input(frame_times()), DT_S, 0.42), Settings()
    grid = dictionary(model, "cpu")
    few, many = (region_problem(curves[:n], model, settings, grid) for n in (4, 256))
    torch.testing.assert_close(few.prior, settings.problem("cpu").prior)
    assert float(many.prior[4]) == pytest.approx(1.0, abs=0.15)
    assert (many.prior_sd <= few.prior_sd).all()
    assert (many.prior_sd >= settings.problem("cpu").prior_sd).all()


@pytest.mark.slow
def test_what_surrounds_muscle_or_shifts_its_baseline_changes_nothing() -> None:
    aif, rng = stress_input(frame_times()), np.random.default_rng(33)
    image = np.zeros((20, 20, 60))
    image[2:18, 2:18] = _patient(0.09, 0.5, rng)
    usual = quantify(image, aif, DT_S, foot=18)["mbf_ml_min_g"].to_numpy()
    inside = np.isfinite(usual)
    blank = np.where(image.any(-1, keepdims=True), image, np.nan)
    for changed, blood in ((blank, aif), (image - 0.2, aif + 0.1), (image.astype(np.float32), aif.astype(np.float32))):
        again = quantify(changed, blood, DT_S, foot=18)["mbf_ml_min_g"].to_numpy()
        np.testing.assert_allclose(again[inside], usual[inside], rtol=0.01)


def test_scalars_and_vectors_may_come_as_matlab_stores_them() -> None:
    image, aif = np.broadcast_to(tissue_curves(1.0), (4, 4, 60)), stress_input(frame_times())
    plain = quantify(image, aif, DT_S, foot=18)
    stored = quantify(image, aif[:, None], np.array([[DT_S]]), foot=np.float32([[18]]), hematocrit=np.array([[0.42]]))  # type: ignore[arg-type]
    np.testing.assert_array_equal(plain["mbf_ml_min_g"], stored["mbf_ml_min_g"])
    assert stored.attrs["foot"] == 18
    with pytest.raises(ValueError, match="whole 0-based frame"):
        quantify(image, aif, DT_S, foot=18.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="dt_s must be one number"):
        quantify(image, aif, [0.5, 0.5])  # type: ignore[arg-type]


@pytest.mark.parametrize("dt_s", [0.25, 0.8])
def test_another_interval_gives_the_same_flow(dt_s: float) -> None:
    fine_s = np.arange(0, 30, 0.05)
    curves = btex.tissue(stress_input(fine_s), 0.05, mbf=[[0.8, 2.0]], vb=0.09, ps=1.0, visf=0.2, delay_s=0.5)
    times = np.arange(0, 29.5, dt_s)
    image = np.tile(np.stack([[np.interp(times, fine_s, curve) for curve in row] for row in curves]), (6, 3, 1))
    flow = quantify(image, stress_input(times), dt_s)["mbf_ml_min_g"].to_numpy()
    np.testing.assert_allclose(flow, np.tile([0.8, 2.0], (6, 3)), rtol=0.05)


@pytest.mark.slow
def test_flow_of_a_simulated_stress_slice_is_found_without_a_mask() -> None:
    fine_s = np.arange(0, 34, 0.5)
    one = heart(np.random.default_rng(37), snr=20, smooth=False, ideal=True, aif=(fine_s, stress_input(fine_s)))
    assert one.image.shape == (*one.ring.shape, one.aif.size)
    truth = one.truth["mbf_ml_min_g"][one.interior]
    flow = quantify(one.image, one.aif, DT_S)["mbf_ml_min_g"].to_numpy()[one.interior]
    assert np.median(flow) / np.median(truth) == pytest.approx(1.0, abs=0.1)
    assert np.corrcoef(flow, truth)[0, 1] > 0.7
