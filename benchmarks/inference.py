"""CineMA's base segmentation over whole studies: against the published way, and against the bare network.

    python -m benchmarks.inference [--frames 3] [--slices 11] [--studies 1] [--weights FOLDER] [--seeds 3] [--out FILE]

The peer is the published implementation as its authors' script runs it (Fu et al., MIT): the same architecture and
weights, float32 parameters under bf16 autocast, one frame at a time, scaling and end padding for each frame, channel
norms that return contiguous channel-first maps, memory as the C library hands it out. Its attention is torch's fused
kernel (timm's default), and studies are already cropped and resampled for it, which its script expects. Ours goes from
a published study in the cohort's own format to a published prediction on the study's own grid. Weights are drawn from a
seed unless a folder is given; they change no time. They change how far bf16 logits are from float32: that is measured
on weights and images of several seeds, one frame each. On a processor times are processor seconds of one thread, in one
process, all three in turns and the best of each; on a GPU they are seconds on the clock, and the share of time without
work, images/s and the share of the measured bf16 peak are given too.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from cmr_models import zoo
from cmr_models.cinema import grid
from cmr_models.cinema.segmentation import CinemaSegmenter
from cmr_models.contracts import cine_study, cine_view
from cmr_models.nets import build
from cmr_models.nets.vit import ChannelNorm
from cmr_models.views.view_images import ViewImages
from cmr_models.zoo.process_memory import give_back_freed_memory, keep_freed_memory, share_one_arena
from tasks.inference.segment_stage import segment_units
from tasks.inference.segmentation import segment_with
from tasks.inference.settings import SegmentSettings
from tasks.state import store
from tasks.state.ledger import Entry, Outcome
from tasks.state.store import model_name
from tasks.state.zarr_encoding import encode_tree

_CUDA = torch.cuda.is_available()
_PEAK_SIDE = 8192
_BATCH_GPU = 16


def main() -> None:
    """Run the benchmark, print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=3 if not _CUDA else 50)
    parser.add_argument("--slices", type=int, default=11)
    parser.add_argument("--studies", type=int, default=1 if not _CUDA else 8)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--size", default="base")
    parser.add_argument("--seeds", type=int, default=3, help="of weights and images for the error of bf16 logits")
    parser.add_argument("--weights", type=Path, help="a published segmentation folder, or one of our own")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "inference.json")
    arguments = parser.parse_args()
    share_one_arena()
    torch.set_num_threads(1 if not _CUDA else torch.get_num_threads())
    with tempfile.TemporaryDirectory() as folder:
        model = arguments.weights or random_model(Path(folder) / "model", arguments.size)
        results = measure(Path(folder), model, arguments.studies, arguments.frames, arguments.slices, arguments.repeats)
        results["bf16_logit_error"] = logit_errors(Path(folder), arguments)
    print(json.dumps(results, indent=1))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(results, indent=1) + "\n")


def random_model(folder: Path, size: str, seed: int = 0) -> Path:
    """A short-axis segmenter of random weights, as a model folder."""
    torch.manual_seed(seed)
    config = {"views": ["sax"], "out_chans": 4, "size": size}
    card = zoo.ModelCard(
        folder.name, "segment_sax", "ConvUNetR", config, 1.0, 192, preprocessing="cinema", views=("sax",)
    )
    zoo.save(folder, build("ConvUNetR", **config), card, half=False)
    return folder


def measure(folder: Path, model: Path, n_studies: int, n_frames: int, n_slices: int, repeats: int) -> dict[str, Any]:
    """Frames a second of the published way, of the bare network on tensors in memory, and of the stage."""
    cohort = store.Cohort(folder / "cohort")
    images = {f"{i}-2": _put_study(cohort, f"{i}-2", i, n_frames, n_slices) for i in range(n_studies)}
    first = next(iter(images.values()))
    network, published = CinemaSegmenter.load(model), _Published(model)
    taken = _in_turns(cohort, images, network, published, model, repeats)
    peer, bare = n_frames / taken.peer_s, n_frames / taken.bare_s
    stage = n_studies * n_frames / taken.stage_s
    results: dict[str, Any] = {
        "device": torch.cuda.get_device_name() if _CUDA else f"processor, 1 thread, {network.precision}",
        "study": f"{n_frames} frames x {n_slices} slices",
        "published_autocast_frames_s": round(peer, 3),
        "bare_network_frames_s": round(bare, 3),
        "stage_frames_s": round(stage, 3),
        "stage_over_published": round(stage / peer, 2),
        "stage_over_bare": round(stage / bare, 3),
        "labels_that_agree": round(_agreement(published, network, first), 5),
        "flop_per_frame": _flop(model),
    }
    return results | (_gpu(results, taken, stage * n_slices) if _CUDA else {})


class _Taken(NamedTuple):
    """Seconds of each way, and the share of the stage's in which the device had nothing to do."""

    peer_s: float
    bare_s: float
    stage_s: float
    idle_share: float


def _in_turns(
    cohort: store.Cohort,
    images: dict[str, np.ndarray],
    network: CinemaSegmenter,
    published: _Published,
    model: Path,
    repeats: int,
) -> _Taken:
    """The three ways in turns, so that neighbours on the machine slow all alike; the best of each."""
    first = next(iter(images.values()))
    crops, _ = network.crops(_scan(first))  # loads the localiser
    batch = network.batch_images(4 * _BATCH_GPU)
    parts = [crops[i : i + batch] for i in range(0, len(crops), batch)]
    published.labels(first[:1])  # warm
    units = segment_units({study: Entry("ok", "", study, study) for study in images}, _settings(model))
    best = _Taken(math.inf, math.inf, math.inf, 0.0)
    for _ in range(repeats):
        give_back_freed_memory()
        peer_s = min(best.peer_s, _seconds(lambda: published.labels(first)))
        keep_freed_memory()
        network.predict(crops[:1])  # warm
        bare_s = min(best.bare_s, _seconds(lambda: [network.predict(part) for part in parts]))
        stage_s, idle_share = _stage(cohort, units, network, model)
        best = _Taken(peer_s, bare_s, *min((best.stage_s, best.idle_share), (stage_s, idle_share)))
    return best


def _gpu(results: dict[str, Any], taken: _Taken, images_s: float) -> dict[str, Any]:
    """Images a second, share of the measured bf16 peak that the stage uses, and share of its time without work."""
    peak = _peak_flop_s()
    used = results["stage_frames_s"] * results["flop_per_frame"] / peak
    return {
        "images_s": round(images_s, 1),
        "bf16_peak_flop_s": peak,
        "flop_utilisation": round(used, 3),
        "idle_share": round(taken.idle_share, 3),
    }


class _Published:
    """The published way: one frame at a time under autocast."""

    def __init__(self, model: Path) -> None:
        network, _ = zoo.load(model)
        self.network = network.to("cuda" if _CUDA else "cpu")

    def labels(self, frames: np.ndarray) -> np.ndarray:
        """Labels ``(frame, x, y, z)`` of prepared frames ``(frame, slice, row, col)`` uint8."""
        return np.stack([self.logits(frame).argmax(1)[0].cpu().numpy() for frame in frames])

    def logits(self, frame: np.ndarray) -> Tensor:
        """Logits of one frame, without padding."""
        volume = torch.from_numpy(frame.transpose(2, 1, 0).astype(np.float32))  # (x, y, z)
        scaled = (volume - volume.min()) / (volume.max() - volume.min())
        missing = [(0, want - have) for want, have in zip(grid.SAX_SIZE, scaled.shape, strict=True)]
        image = F.pad(scaled, [n for pair in reversed(missing) for n in pair])[None, None]
        device = next(self.network.parameters()).device
        with _contiguous_norms(), torch.no_grad(), torch.autocast(device.type, dtype=torch.bfloat16):
            logits: Tensor = self.network({"sax": image.to(device)})["sax"]
        return logits[..., : volume.shape[2]]


@contextlib.contextmanager
def _contiguous_norms() -> Iterator[None]:
    """Channel norms as published: their result is copied to channel-first memory."""
    ours = ChannelNorm.forward

    def published(self: ChannelNorm, x: Tensor) -> Tensor:
        return nn.LayerNorm.forward(self, x.movedim(1, -1)).movedim(-1, 1).contiguous()

    ChannelNorm.forward = published  # type: ignore[method-assign]
    try:
        yield
    finally:
        ChannelNorm.forward = ours  # type: ignore[method-assign]


def _settings(model: Path) -> dict[str, Any]:
    return {"model": str(model), "batch_images": 4 * _BATCH_GPU}


def _stage(
    cohort: store.Cohort, units: list[dict[str, Any]], network: CinemaSegmenter, model: Path
) -> tuple[float, float]:
    """Seconds of the stage from published studies to published predictions, and the share without work."""
    settings = SegmentSettings(**_settings(model))
    for unit in units:
        cohort.prediction(model_name(str(model)), unit["study"]).unlink(missing_ok=True)
    outcomes: list[Outcome] = []
    start = time.perf_counter()
    seconds = _seconds(lambda: outcomes.extend(segment_with({"sax": network}, units, cohort, settings)))
    clock_s = time.perf_counter() - start
    if {outcome.status for outcome in outcomes} != {"ok"}:
        raise RuntimeError(f"the stage failed: {[(outcome.status, outcome.reason) for outcome in outcomes]}")
    return seconds, sum(outcome.summary["line"]["starved"] for outcome in outcomes) / clock_s


def _agreement(published: _Published, network: CinemaSegmenter, frames: np.ndarray) -> float:
    """Share of voxels of the first frame that both label the same."""
    theirs = published.labels(frames[:1])[0].transpose(2, 1, 0)
    crops, placed = network.crops(_scan(frames[:1]))
    ours = network.labels(network.predict(crops), placed, frames[:1].shape)  # type: ignore[arg-type]
    return float((ours[0] == theirs).mean())


def logit_errors(folder: Path, arguments: argparse.Namespace) -> dict[str, float]:
    """Mean error, largest error and smallest standard deviation of the logits over the seeds: the worst of each."""
    found = []
    for seed in range(arguments.seeds):
        model = arguments.weights or random_model(folder / f"seed{seed}", arguments.size, seed)
        found.append(_logit_error(model, _noise(seed, 1, arguments.slices)))
    worst = {"mean": max, "max": max, "sd": min}
    return {name: round(of(error[name] for error in found), 5) for name, of in worst.items()} | {"seeds": len(found)}


def _logit_error(model: Path, frames: np.ndarray) -> dict[str, float]:
    """Of the logits of one frame in the segmenter's precision against float32; and their standard deviation."""
    exact, _ = zoo.load(model)
    network = CinemaSegmenter.load(model)
    crops, _ = network.crops(_scan(frames))
    with torch.inference_mode():
        full = exact.to(network.device)({"sax": torch.from_numpy(crops).to(network.device)})["sax"].float().cpu()
    error = (network.run({"sax": crops})["sax"] - full).abs()
    return {"mean": float(error.mean()), "max": float(error.max()), "sd": float(full.std())}


def _put_study(cohort: store.Cohort, study: str, seed: int, n_frames: int, n_slices: int) -> np.ndarray:
    """A published study of noise with a bright disc, already at 1 x 1 x 10 mm; ``(frame, slice, row, col)``."""
    frames = _noise(seed, n_frames, n_slices)
    view = cine_view(
        frames,
        time_ms=30.0 * np.arange(n_frames),
        pixel_mm=(1.0, 1.0),
        position_mm=np.arange(n_slices)[:, None] * [0, 0, 10.0],
        row_dir=(1, 0, 0),
        col_dir=(0, 1, 0),
        slice_mm=10.0,
        thickness_mm=8.0,
    )
    store.publish(encode_tree(cine_study({"sax": view}, key=study)), cohort.study(study))
    return frames


def _noise(seed: int, n_frames: int, n_slices: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    row, col = np.mgrid[:192, :192]
    disc = 120.0 * ((row - 96) ** 2 + (col - 90) ** 2 < 45**2)
    noise = rng.random((n_frames, n_slices, 192, 192)) * 80 + disc
    return np.asarray((255 * grid.normalise(noise.astype(np.float32))[0]).round().astype(np.uint16))


def _scan(frames: np.ndarray) -> ViewImages:
    return ViewImages("sax", frames, (1.0, 1.0), tuple(10.0 * np.arange(frames.shape[1])))


def _flop(model: Path) -> int:
    """Multiply-adds x 2 of one frame, counted on tensors without data."""
    with FakeTensorMode():
        card = zoo.card(model)
        network = build(card.kind, **card.config).eval()
        image = torch.empty(1, 1, *grid.SAX_SIZE)
        with FlopCounterMode(display=False) as counter, torch.inference_mode():
            network({"sax": image})
    return int(counter.get_total_flops())


def _peak_flop_s() -> float:
    """What a large bf16 matrix product reaches on this GPU."""
    a = torch.randn(_PEAK_SIDE, _PEAK_SIDE, device="cuda", dtype=torch.bfloat16)
    (a @ a).sum().item()
    seconds = min(_seconds(lambda: [a @ a for _ in range(10)]) for _ in range(3))
    return 10 * 2 * _PEAK_SIDE**3 / seconds


def _seconds(work: Any) -> float:
    """Clock seconds on a GPU, processor seconds elsewhere."""
    if _CUDA:
        torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        torch.cuda.synchronize()
        return time.perf_counter() - start
    start = time.process_time()
    work()
    return time.process_time() - start


if __name__ == "__main__":
    main()
