"""How right and how fast myocardial blood flow is: simulation with known truth, the authors' published map, speed.

    python -m benchmarks.perfusion [--only NAME ...] [--out benchmarks/results/perfusion.json]

The published map is of the rest sample of QPerf, read back from a picture; it is measured only where the real scans
lie beside the checkout. Priors were chosen on that map and on the simulation at stress; no stress map was seen.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.io import loadmat
from scipy.ndimage import binary_erosion, label
from scipy.stats import spearmanr

from benchmarks.first_pass import DT_S, FRAMES, frame_times, noisy, stress_input, tissue_curves
from cmr_models.perfusion import MODELS, quantify
from cmr_models.perfusion.btex_fit import Settings
from cmr_models.perfusion.btex_maps import btex_maps

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


def delay_sensitivity() -> Rows:
    """Mean flow over truth at SNR 20, delay 0.5 s, for priors of the delay: what the region's delay is there for."""
    rng, rows = np.random.default_rng(21), {}
    usual = Settings()
    flat = Settings(prior_sd=(np.inf,) * 5)
    free = Settings(prior_sd=(*usual.prior_sd[:4], np.inf))
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
    "delay_sensitivity": delay_sensitivity,
    "published_rest": published_rest,
    "other_models": other_models,
    "noise": noise,
    "speed": speed,
}

if __name__ == "__main__":
    main()
