"""Compare the networks with the published ones: weights and inputs from a seed, outputs against recorded outputs.

    python -m benchmarks.parity [--folder FOLDER] [--out benchmarks/results/parity.json] [CASE ...]

FOLDER contains ``manifest.json`` and one ``.npz`` for each case; it is CMR_PARITY, or ``shared/parity`` beside the
checkout.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cmr_models.nets import build

FOLDER = Path(os.environ.get("CMR_PARITY", Path(__file__).parents[2] / "shared" / "parity"))
ABSOLUTE = RELATIVE = 1e-4


def read_cases(folder: Path = FOLDER) -> tuple[int, dict[str, dict[str, Any]]]:
    """The seed and the cases of the manifest, by name."""
    manifest = json.loads((folder / "manifest.json").read_text())
    return int(manifest["seed"]), dict(manifest["cases"])


def make_generator(seed: int, key: str) -> np.random.Generator:
    """The random generator of one weight, input or mask."""
    return np.random.default_rng([seed, zlib.crc32(key.encode())])


def weight(seed: int, key: str, shape: tuple[int, ...]) -> torch.Tensor:
    """The value of one floating-point entry in the state dict."""
    noise = make_generator(seed, key).standard_normal(shape)
    if key.endswith("running_var"):
        value = 1 + 0.1 * np.abs(noise)
    elif key.endswith("running_mean"):
        value = 0.1 * noise
    elif len(shape) >= 2:
        value = noise * 0.7 / math.sqrt(max(1, math.prod(shape[1:])))
    else:
        value = 1 + 0.1 * noise if key.endswith("weight") else 0.02 * noise
    return torch.from_numpy(np.asarray(value, np.float32))


def make_network(seed: int, case: dict[str, Any]) -> torch.nn.Module:
    """The network of a case with its weights, in eval mode."""
    net = build(case["kind"], **case["config"])
    state = net.state_dict()
    drawn = {
        key: weight(seed, key, tuple(value.shape))
        for key, value in state.items()
        if value.is_floating_point() and not key.endswith("pos_embed")
    }
    net.load_state_dict(state | drawn)
    return net.eval()


def make_inputs(seed: int, name: str, case: dict[str, Any]) -> dict[str, torch.Tensor]:
    """The images of a case."""
    return {
        view: torch.from_numpy(make_generator(seed, f"{name}/{view}").random(shape).astype(np.float32))
        for view, shape in case["inputs"].items()
    }


def make_mask(seed: int, view: str, n_samples: int, n_tokens: int) -> torch.Tensor:
    """The mask of a view: a quarter of the tokens visible (False)."""
    rng = make_generator(seed, f"mask/{view}")
    mask = np.ones((n_samples, n_tokens), bool)
    for row in mask:
        row[rng.permutation(n_tokens)[: int(n_tokens * 0.25)]] = False
    return torch.from_numpy(mask)


def outputs(net: Any, seed: int, name: str, case: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Outputs of the network, by their names in the manifest."""
    images = make_inputs(seed, name, case)
    with torch.inference_mode():
        if case["method"] == "features":
            return dict(net.features(images))
        if case["kind"] == "CineMA":
            tokens = {view: net.enc_down_dict[view].pos_embed.shape[1] for view in images}
            masks = {view: make_mask(seed, view, len(image), tokens[view]) for view, image in images.items()}
            loss, predictions = net(images, masks=masks)
            return {"loss": loss, **{f"pred_{view}": value for view, value in predictions.items()}}
        result = net(images)
    return dict(result) if isinstance(result, dict) else {"out": result}


def excess(ours: dict[str, torch.Tensor], folder: Path, name: str, case: dict[str, Any]) -> dict[str, float]:
    """The largest |a - b| / (1e-4 + 1e-4 |b|) of each output; a value of at most 1 is parity."""
    if set(ours) != set(case["outputs"]):
        raise ValueError(f"{name} must return {sorted(case['outputs'])}, got {sorted(ours)}")
    recorded = np.load(folder / f"{name}.npz")
    worst: dict[str, float] = {}
    for key, about in case["outputs"].items():
        if list(ours[key].shape or (1,)) != about["shape"]:
            raise ValueError(f"{name}: {key} must have shape {about['shape']}, got {tuple(ours[key].shape)}")
        a, b = ours[key].float().numpy().ravel()[:: about["step"]], recorded[key].ravel()
        worst[key] = float((np.abs(a - b) / (ABSOLUTE + RELATIVE * np.abs(b))).max())
    return worst


def main() -> None:
    """Print one line for each case; exit with 1 unless all agree."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("cases", nargs="*")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "parity.json")
    arguments = parser.parse_args()
    seed, cases = read_cases(arguments.folder)
    results: dict[str, dict[str, Any]] = {}
    for name in arguments.cases or cases:
        net = make_network(seed, cases[name])
        start = time.perf_counter()
        worst = excess(outputs(net, seed, name, cases[name]), arguments.folder, name, cases[name])
        seconds = time.perf_counter() - start
        results[name] = {"seconds": seconds, "share_of_tolerance": worst}
        figures = "  ".join(f"{key} {value:.3f}" for key, value in worst.items())
        print(f"{name:20s} {seconds:7.2f} s  of the tolerance: {figures}", flush=True)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
    raise SystemExit(any(max(result["share_of_tolerance"].values()) > 1.0 for result in results.values()))


if __name__ == "__main__":
    main()
