"""How right and how fast myocardial blood flow is: simulation with known truth, the authors' published map, speed.

    python -m benchmarks.perfusion [--only NAME ...] [--out benchmarks/results/perfusion.json]

The published map is of the rest sample of QPerf, read back from a picture; it is measured only where the real scans
lie beside the checkout. Priors were chosen on that map and on the simulations at stress; no stress map was seen.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.io import loadmat
from scipy.ndimage import binary_erosion, label
from scipy.stats import spearmanr

from benchmarks.first_pass import DT_S, FRAMES, frame_times, noisy, stress_input, tissue_curves
from benchmarks.stress_hearts import Heart, Mismatch, heart
from cmr_models.aif.curve_features import foot_index
from cmr_models.perfusion import MODELS, quantify
from cmr_models.perfusion.kinetics.btex_fit import Settings
from cmr_models.perfusion.kinetics.btex_maps import btex_maps
from cmr_models.perfusion.kinetics.nonlocal_means import nonlocal_mean
from cmr_models.perfusion.kinetics.quantification import baseline_frames

Floats = npt.NDArray[np.float64]
Rows = dict[str, float]

_DATA = Path(os.environ.get("CMR_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
_FLOWS = (0.7, 1.5, 3.0, 4.5)


def main() -> None:
    """Run the cases, print and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=sorted(_CASES))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "perfusion.json")
    arguments = parser.parse_args()
    results = json.loads(arguments.out.read_text()) if arguments.out.exists() else {}
    for name, case in _CASES.items():
        if not arguments.only or name in arguments.only:
            results[name] = {key: round(float(value), 4) for key, value in case().items()}
            print(name, *(f"\n  {key} = {value:.4g}" for key, value in results[name].items()), flush=True)
            arguments.out.parent.mkdir(parents=True, exist_ok=True)
            arguments.out.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")


def simulation() -> Rows:
    """Bias and spread of flow in percent: noiseless and at SNR 20, tissue alike and varied, three delays."""
    rng, rows = np.random.default_rng(20), {}
    for mbf in _FLOWS:
        for delay_s in (0.0, 0.5, 1.0):
            clean = np.broadcast_to(tissue_curves(mbf, delay_s=delay_s), (14, 14, FRAMES))
            for name, image in (
                ("noiseless", clean),
                ("snr20", noisy(clean, 20, rng)),
                ("varied", _varied(mbf, delay_s, rng)),
            ):
                flow = quantify(image, stress_input(frame_times()), DT_S)["mbf_ml_min_g"].to_numpy()
                rows[f"{name}_mbf{mbf}_delay{delay_s}_bias_pct"] = 100 * (flow.mean() / mbf - 1)
                rows[f"{name}_mbf{mbf}_delay{delay_s}_sd_pct"] = 100 * flow.std() / mbf
    return rows


def _varied(mbf: float, delay_s: float, rng: np.random.Generator) -> Floats:
    """SNR 20, with volumes, permeability and delay that vary from pixel to pixel."""
    around = {"vb": (0.092, 0.15), "ps": (1.0, 0.3), "visf": (0.22, 0.15)}
    drawn = {name: np.exp(rng.normal(np.log(centre), sd, 196)) for name, (centre, sd) in around.items()}
    delays = np.maximum(0, rng.normal(delay_s, 0.15, 196))
    return noisy(tissue_curves(np.full(196, mbf), delay_s=delays, **drawn), 20, rng).reshape(14, 14, FRAMES)


def known_prior() -> Rows:
    """The varied tissue of ``simulation``, each pixel on its own with its true prior: the most it can know."""
    rng, rows = np.random.default_rng(20), Rows()
    aif = stress_input(frame_times())[15:]
    for mbf in _FLOWS:
        for delay_s in (0.5, 1.0):
            curves = np.concatenate([_varied(mbf, delay_s, rng) for _ in range(3)]).reshape(-1, FRAMES)[:, 15:]
            settings = Settings(
                prior=(2.0, 0.092, 1.0, 0.22, delay_s), prior_sd=(1.0, 0.15, 0.3, 0.15, 0.15), population_sd=(0.0,) * 5
            )
            flow = btex_maps(curves, aif, DT_S, 0.42, "cpu", settings).values["mbf_ml_min_g"]
            rows[f"mbf{mbf}_delay{delay_s}_bias_pct"] = 100 * (flow.mean() / mbf - 1)
            rows[f"mbf{mbf}_delay{delay_s}_sd_pct"] = 100 * flow.std() / mbf
    return rows


def delay_sensitivity() -> Rows:
    """Mean flow over truth at SNR 20, delay 0.5 s, for priors of the delay: what the region's delay is there for."""
    rng, rows = np.random.default_rng(21), {}
    usual = Settings()
    flat, free = _FLAT, _SETTINGS["delay_free_to_3s"]
    aif = stress_input(frame_times())[15:]
    for mbf in _FLOWS:
        curves = noisy(np.broadcast_to(tissue_curves(mbf), (200, FRAMES)), 20, rng)[:, 15:]
        choices = {"region": usual, "free_delay": free, "no_priors": flat}
        choices |= {f"fixed_{d}": usual.fixing(d) for d in (0.0, 1.0)}
        for name, settings in choices.items():
            flow = btex_maps(curves, aif, DT_S, 0.42, "cpu", settings).values["mbf_ml_min_g"]
            rows[f"mbf{mbf}_{name}_ratio"] = flow.mean() / mbf
            rows[f"mbf{mbf}_{name}_sd_pct"] = 100 * flow.std() / mbf
    return rows


def stress() -> Rows:
    """Simulated stress acquisitions (``stress_hearts``): flow over truth by flow and by blood volume, in percent.

    ``sharp`` has the real rest input, faster and scaled, where the real scans are there; ``wide`` simulated inputs.
    ``real`` noise is as large and as correlated as the residuals of the real rest scan; ``white`` is SNR 20, and
    ``ideal`` is SNR 20 without dispersion and with a frame every 0.5 s.
    """
    rows = Rows()
    for name, hearts in _stress_hearts().items():
        flows = [quantify(one.image, one.aif, DT_S)["mbf_ml_min_g"].to_numpy() for one in hearts]
        rows |= {f"{name}_{key}": value for key, value in _against_truth(hearts, flows).items()}
    return rows


def stress_sensitivity() -> Rows:
    """The same hearts for other priors, bounds and windows; within the ring, which is what is fitted here.

    ``table`` is a fit as the reference's: bounds in place of priors, every pixel on its own. ``of_table`` compares the
    usual estimate with it, both clipped at 6 mL/min/g as the published maps are.
    """
    rows = Rows()
    for name, hearts in _stress_hearts().items():
        found = {key: [_fit_from_dictionary(one, settings) for one in hearts] for key, settings in _SETTINGS.items()}
        found |= {f"window_{s}s": [_fit_from_dictionary(one, Settings(), s) for one in hearts] for s in (12, 20)}
        for key, flows in found.items():
            against = _against_truth(hearts, flows)
            rows |= {f"{name}_{key}_{figure}": against[figure] for figure in _SENSITIVE if figure in against}
        clipped = [np.minimum(flow, 6) for flow in found["usual"]]
        rows |= {f"{name}_clipped_{k}": v for k, v in _against_truth(hearts, clipped).items() if k in _SENSITIVE}
        pairs = [
            (np.minimum(one[heart.interior], 6), np.minimum(table[heart.interior], 6))
            for heart, one, table in zip(hearts, found["usual"], found["table"], strict=True)
        ]
        ratio = [np.median(one) / np.median(table) for one, table in pairs]
        rows[f"{name}_of_table_ratio_mean"] = float(np.mean(ratio))
        rows[f"{name}_of_table_ratio_sd"] = float(np.std(ratio))
        rows[f"{name}_of_table_pearson"] = float(np.median([np.corrcoef(*pair)[0, 1] for pair in pairs]))
    return rows


def mismatched() -> Rows:
    """Stress hearts of a fast input with what the model does not know of, against the truth and a fit by table.

    ``of_table`` is our median over that of a fit with the reference's bounds in place of priors, every pixel on its
    own: what a comparison with the reference's map would show. Only where the real scans are there.
    """
    rows = Rows()
    if not (_DATA / "perfusion" / "qperf_rest").is_dir():
        print(f"no real scans at {_DATA}; set CMR_TEST_DATA")
        return rows
    for name, mismatch in _MISMATCHES.items():
        found = []
        for at in range(_MISMATCHED_HEARTS):
            rng = np.random.default_rng([24, at])
            one = heart(rng, snr=12.0, aif=_fast_real_input(rng), mismatch=mismatch)
            maps = quantify(one.image, one.aif, DT_S)
            fitted = one.interior & np.isfinite(maps["mbf_ml_min_g"].to_numpy())
            ours, table, truth, blood = (
                float(np.median(x[fitted]))
                for x in (
                    maps["mbf_ml_min_g"].to_numpy(),
                    _fit_from_dictionary(one, _SETTINGS["table"]),
                    one.truth["mbf_ml_min_g"],
                    maps["vb_ml_g"].to_numpy(),
                )
            )
            found.append((ours / truth, table / truth, ours / table, blood, maps.attrs["region_delay_s"]))
        figures = ("of_truth", "table_of_truth", "of_table", "vb_ml_g", "region_delay_s")
        rows |= {f"{name}_{key}": float(value) for key, value in zip(figures, np.mean(found, axis=0), strict=True)}
    return rows


_MISMATCHED_HEARTS = 2
_MISMATCHES = {
    "little_blood": Mismatch(blood_ml_g=(0.06, 0.07)),
    "usual_blood": Mismatch(blood_ml_g=(0.06, 0.14)),
    "much_blood": Mismatch(blood_ml_g=(0.18, 0.22)),
    "point_spread": Mismatch(blur_px=0.8),
    "thin_moving_wall": Mismatch(wall_px=4.0, blood_ml_g=(0.12, 0.16), blur_px=0.8, motion_px=0.8),
    "thin_wall": Mismatch(wall_px=4.0, blood_ml_g=(0.14, 0.18), blur_px=0.7, motion_px=0.6),
    "dispersed": Mismatch(dispersion_s=1.2),
    "many_flows": Mismatch(flows=0.5),
    "late_input": Mismatch(aif_early_s=-0.5),
}

_STRESS_HEARTS = 12
_ACQUISITIONS: dict[str, dict[str, Any]] = {
    "real": {"snr": 12.0},
    "white": {"snr": 20.0, "smooth": False},
    "ideal": {"snr": 20.0, "smooth": False, "ideal": True},
}
_SENSITIVE = ("heart_ratio_mean", "heart_ratio_sd", "mbf2-3_bias_pct", "mbf3-4_bias_pct", "mbf2-3_sd_pct", "pearson")
_INF = float("inf")
_FLAT = Settings(prior_sd=(_INF,) * 5, population_sd=(0.0,) * 5)
_SETTINGS = {
    "usual": Settings(),
    "population": Settings(population_sd=(0, 0, 0, 0, 0.5)),  # only the delay is learnt
    "own_flow": Settings(pixel_sd=(1.0, *Settings().pixel_sd[1:])),  # no pooling of flow among alike neighbours
    "narrow": Settings(prior_sd=(1.0, 0.06, 0.12, 0.06, 0.07)),
    "broad": Settings(prior_sd=(1.0, 0.24, 0.5, 0.24, 0.28)),
    "delay_free_to_3s": Settings(prior_sd=(*Settings().prior_sd[:4], _INF), pixel_sd=(*Settings().pixel_sd[:4], _INF)),
    "delay_to_1s": Settings(high=(*Settings().high[:4], 1.0)),
    "delay_fixed_0.5s": Settings().fixing(0.5),
    # Table of Xue et al. 2020: plasma flow 0.1 to 6, plasma volume 0.04 to 0.1, PS 0.35 to 4, Visf to 0.5, shift 2.5 s
    "table": Settings(
        low=(0.17, 0.069, 0.35, 0.1, 0.0),
        high=(8.0, 0.172, 4.0, 0.5, 2.5),
        prior_sd=(_INF,) * 5,
        population_sd=(0.0,) * 5,
    ),
}


def _stress_hearts() -> dict[str, list[Heart]]:
    """By name of the input and of the noise."""
    inputs, hearts = ["wide"], {}
    if (_DATA / "perfusion" / "qperf_rest").is_dir():
        inputs.insert(0, "sharp")
    for kind in inputs:
        for name, options in _ACQUISITIONS.items():
            drawn = []
            for at in range(_STRESS_HEARTS):
                rng = np.random.default_rng([24, at])
                aif = _fast_real_input(rng) if kind == "sharp" else None
                drawn.append(heart(rng, aif=aif, **options))
            hearts[f"{kind}_{name}"] = drawn
    return hearts


def _fast_real_input(rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Times and values of the real rest input, up to a quarter faster, its peak as at stress (Kellman et al. 2017)."""
    aif = loadmat(_DATA / "perfusion" / "qperf_rest" / "perf_data.mat")["aif"].ravel().astype(float)
    aif = aif - aif[4:22].mean()
    return np.arange(aif.size) * DT_S * rng.uniform(0.75, 1.0), aif * rng.uniform(2.5, 4.5) / aif.max()


def _fit_from_dictionary(one: Heart, settings: Settings, window_s: float = _INF) -> Floats:
    """Map of flow as ``quantify`` makes it, with other settings; ``window_s`` ends the fit after the foot."""
    foot = foot_index(one.aif, DT_S)
    before = baseline_frames(foot)
    kept = slice(max(0, foot - 3), min(one.aif.size, int(min(window_s, 1e3) / DT_S) + foot))
    image = (one.image - one.image[..., before].mean(-1, keepdims=True))[..., kept]
    own = not np.isfinite(settings.prior_sd[0])  # every pixel on its own
    means = None if own else nonlocal_mean(image, one.ring)[one.ring]
    aif = (one.aif - one.aif[before].mean())[kept]
    flow = np.full(one.ring.shape, np.nan)
    found = btex_maps(image[one.ring], aif, DT_S, 0.42, "cpu", settings, means=means)
    flow[one.ring] = found.values["mbf_ml_min_g"]
    return flow


def _against_truth(hearts: list[Heart], flows: list[Floats]) -> Rows:
    """Of the ring's interior: by pixel and bin, by heart, and the correlation of pixels and of six sectors' means."""
    truth = np.concatenate([one.truth["mbf_ml_min_g"][one.interior] for one in hearts])
    blood = np.concatenate([one.truth["vb_ml_g"][one.interior] for one in hearts])
    ratio = np.concatenate([flow[one.interior] for one, flow in zip(hearts, flows, strict=True)]) / truth
    rows = Rows()
    bins = [(f"mbf{low:g}-{high:g}", (truth >= low) & (truth < high)) for low, high in pairwise((0.7, 1.2, 2, 3, 4, 6))]
    stressed = truth > 1.8
    bins += [
        (f"vb{low:g}-{high:g}", stressed & (blood >= low) & (blood < high))
        for low, high in pairwise((0.04, 0.07, 0.085, 0.1, 0.2))
    ]
    for name, inside in bins:
        inside = inside & np.isfinite(ratio)
        if inside.sum() > 50:
            rows[f"{name}_bias_pct"] = 100 * (float(np.median(ratio[inside])) - 1)
            rows[f"{name}_sd_pct"] = 100 * float(ratio[inside].std())
    return rows | _by_heart(hearts, flows)


def _by_heart(hearts: list[Heart], flows: list[Floats]) -> Rows:
    medians, pearson, sectors = [], [], []
    for one, flow in zip(hearts, flows, strict=True):
        fitted = one.interior & np.isfinite(flow)
        ours, truth, sector = flow[fitted], one.truth["mbf_ml_min_g"][fitted], one.sector[fitted]
        medians.append(np.median(ours) / np.median(truth))
        pearson.append(np.corrcoef(ours, truth)[0, 1])
        means = [(ours[sector == at].mean(), truth[sector == at].mean()) for at in range(6)]
        sectors.append(np.corrcoef(*np.transpose(means))[0, 1])
    return {
        "heart_ratio_mean": float(np.mean(medians)),
        "heart_ratio_sd": float(np.std(medians)),
        "hearts_within_10_pct": float(np.mean(np.abs(np.array(medians) - 1) < 0.1)),
        "pearson": float(np.median(pearson)),
        "sector_pearson": float(np.median(sectors)),
    }


def published_rest() -> Rows:
    """Against the authors' map: the ring of tissue-like curves, its interior, six sectors, and the other models."""
    folder = _DATA / "perfusion" / "qperf_rest"
    if not folder.is_dir():
        print(f"no real scans at {_DATA}; set CMR_TEST_DATA")
        return {}
    sample = loadmat(folder / "perf_data.mat")
    images, aif, foot = (
        sample["data"].astype(float),
        sample["aif"].ravel().astype(float),
        int(sample["foot"].item()) - 1,
    )
    published = np.load(folder / "published_mbf.npz")["mbf_ml_min_g"].astype(float)
    ring = myocardium(images, aif, foot)
    started = time.process_time()
    maps = quantify(images, aif, DT_S, foot=foot)
    rows = {"seconds": time.process_time() - started, "region_delay_s": maps.attrs["region_delay_s"]}
    flow = maps["mbf_ml_min_g"].to_numpy()
    for name, region in (("ring", ring), ("interior", binary_erosion(ring, np.ones((3, 3))))):
        rows |= {f"{name}_{key}": value for key, value in _agreement(flow, published, region).items()}
    rows |= _sectors(flow, published, ring)
    for model in MODELS:
        other = quantify(images, aif, DT_S, foot=foot, mask=ring, model=model)["mbf_ml_min_g"].to_numpy()
        rows[f"ring_{model}_median_ratio"] = np.nanmedian(other[ring]) / np.median(published[ring])
    return rows


def other_models() -> Rows:
    """Bias of the alternatives on BTEX curves in percent, noiseless and at SNR 20, delay 0.5 s."""
    rng, rows = np.random.default_rng(23), Rows()
    for mbf in _FLOWS:
        clean = np.broadcast_to(tissue_curves(mbf), (10, 10, FRAMES))
        for name, image in (("noiseless", clean), ("snr20", noisy(clean, 20, rng))):
            for model in MODELS:
                flow = quantify(image, stress_input(frame_times()), DT_S, model=model)["mbf_ml_min_g"].to_numpy()
                rows[f"{model}_{name}_mbf{mbf}_bias_pct"] = 100 * (float(np.nanmean(flow)) / mbf - 1)
    return rows


def noise() -> Rows:
    """Peak over noise of real series, which the simulator's defaults follow; the noise is from second differences."""
    folder, rows = _DATA / "perfusion", Rows()
    if not folder.is_dir():
        print(f"no real scans at {_DATA}; set CMR_TEST_DATA")
        return rows
    for one in sorted((folder / "aif").glob("example*")):
        left = np.load(one / "aif_scc.npy")[np.load(one / "aif_masks_final.npy") == 1].astype(float)
        rows[f"aif_{one.name}"] = left.mean(0).max() / float(np.median(_noise(left)))
    sample = loadmat(folder / "qperf_rest" / "perf_data.mat")
    images, foot = sample["data"].astype(float), int(sample["foot"].item()) - 1
    wall = images[myocardium(images, sample["aif"].ravel().astype(float), foot)]
    wall = wall - wall[:, 4:foot].mean(1, keepdims=True)
    rows["published_rest_wall"] = float(np.median(wall.max(1) / _noise(wall)))
    return rows


def _noise(curves: Floats) -> Floats:
    return np.asarray(np.median(np.abs(np.diff(curves, 2, axis=-1)), axis=-1) / 0.6745 / np.sqrt(6))


def myocardium(images: Floats, aif: Floats, foot: int) -> npt.NDArray[np.bool_]:
    """Pixels around the LV whose curves rise like muscle, (row, col): from the curves alone.

    A curve counts when it peaks at 5 to 14 % of the input's peak, and stays up: its mean after the first pass is over a
    third of its peak. Of the connected pieces that do, the largest.
    """
    curves = images - images[..., 4:foot].mean(-1, keepdims=True)
    peak, late = curves[..., foot:].max(-1), curves[..., -20:].mean(-1)
    rising = curves[..., foot - 4 : foot + 2].mean(-1) < 0.25 * peak  # not with the right heart
    muscle = (peak > 0.05 * aif.max()) & (peak < 0.14 * aif.max()) & (late > peak / 3) & rising
    parts, _ = label(muscle)
    return np.asarray(parts == np.bincount(parts.ravel())[1:].argmax() + 1)


def _agreement(flow: Floats, published: Floats, region: npt.NDArray[np.bool_]) -> Rows:
    fitted = region & np.isfinite(flow)
    ours, theirs = flow[fitted], published[fitted]
    return {
        "pixels": float(region.sum()),
        "fitted_pixels": float(fitted.sum()),
        "median": float(np.median(ours)),
        "published_median": float(np.median(theirs)),
        "median_ratio": float(np.median(ours) / np.median(theirs)),
        "pearson": float(np.corrcoef(ours, theirs)[0, 1]),
        "spearman": float(spearmanr(ours, theirs)[0]),
        "within_20_pct": float(np.mean(np.abs(ours / np.maximum(theirs, 1e-3) - 1) < 0.2)),
    }


def _sectors(flow: Floats, published: Floats, region: npt.NDArray[np.bool_]) -> Rows:
    """Means of six sectors around the region's centre, from the right and downwards; ours and the published."""
    row, col = np.nonzero(region & np.isfinite(flow))
    sector = ((np.degrees(np.arctan2(row - row.mean(), col - col.mean())) % 360) // 60).astype(int)
    rows = {}
    for at in range(6):
        inside = sector == at
        ours, theirs = flow[row, col][inside], published[row, col][inside]
        rows |= {f"sector{at}_mean": ours.mean(), f"sector{at}_published_mean": theirs.mean()}
        rows[f"sector{at}_median_ratio"] = np.median(ours) / np.median(theirs)
    return rows


def speed() -> Rows:
    """Seconds for 192 x 192 x 60: three slices in a heart region of 70 x 70; every pixel of one slice."""
    rng, rows = np.random.default_rng(22), Rows()
    flows = rng.uniform(0.5, 3.5, 1024)
    image = noisy(np.tile(tissue_curves(flows), (36, 1)), 20, rng).reshape(192, 192, FRAMES)
    heart = np.zeros((192, 192), bool)
    heart[60:130, 60:130] = True
    for name, mask, slices in (("heart", heart, 3), ("every_pixel", None, 1)):
        processor, wall = time.process_time(), time.perf_counter()
        for _ in range(slices):
            quantify(image, stress_input(frame_times()), DT_S, mask=mask)
        rows[f"{name}_{slices}_slices_cpu_s"] = time.process_time() - processor
        rows[f"{name}_{slices}_slices_wall_s"] = time.perf_counter() - wall
    return rows


_CASES: dict[str, Callable[[], Rows]] = {
    "simulation": simulation,
    "known_prior": known_prior,
    "delay_sensitivity": delay_sensitivity,
    "stress": stress,
    "stress_sensitivity": stress_sensitivity,
    "mismatched": mismatched,
    "published_rest": published_rest,
    "other_models": other_models,
    "noise": noise,
    "speed": speed,
}

if __name__ == "__main__":
    main()
