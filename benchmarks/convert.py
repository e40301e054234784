"""Speed of conversion, compared with `unzip` + `dcm2niix -z y`, and with inflating and Blosc-encoding alone.

    python -m benchmarks.convert [--studies FOLDER] [--repeats 3] [--out benchmarks/results/convert.json]

Every study is converted in all three ways, in one run, on one thread. The table shows processor seconds (user
and system, all processes) and their ratios. Real images are taken from ``CMR_TEST_DATA`` if it exists.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

PEER_MIN_RATIO, FLOOR_MAX_RATIO, MEMORY_MAX_MB, SIZE_MAX_RATIO = 2.5, 1.6, 400.0, 1.0
_REAL = Path(os.environ.get("CMR_TEST_DATA", Path(__file__).parents[2] / "shared" / "data")) / "dicom_study"
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "BLOSC_NTHREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def main() -> None:
    """Run the benchmark, print the table, write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--frames", type=int, default=50, help="frames of the simulated study")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "convert.json")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure is not None:
        print(json.dumps(_measure_here(arguments.measure, arguments.repeats)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        studies = _studies(Path(scratch), arguments.frames)
        results = {name: _compare(folder, arguments.repeats) for name, folder in studies.items()}
    _print_table(results)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")


def _studies(scratch: Path, n_frames: int) -> dict[str, Path]:
    """Name of each study and its folder of zips."""
    studies = {"simulated_ukb": _simulate_study(scratch / "simulated_ukb", n_frames)}
    if _REAL.is_dir():
        studies["dicom_study"] = _zip_folder(_REAL / "patient1", scratch / "dicom_study")
    return studies


def _simulate_study(folder: Path, n_frames: int) -> Path:
    from cmr_models.simulate import Heart, ImagingSettings, sample_traits
    from cmr_models.simulate.archive import Packaging, simulate_study, ukb_archives

    rng = np.random.default_rng(20209)
    traits = sample_traits(rng, sex="F", age_years=61.0, height_cm=165.0, weight_kg=70.0)
    study = simulate_study(Heart(traits, rng), ImagingSettings(n_frames=n_frames), rng)
    archives = ukb_archives(study, eid=1000012, rng=rng, packaging=Packaging(private_kb=92.0))
    folder.mkdir()
    for name, content in archives.items():
        (folder / name).write_bytes(content)
    return folder


def _zip_folder(source: Path, folder: Path) -> Path:
    folder.mkdir()
    with zipfile.ZipFile(folder / "study.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(source.rglob("*")):
            archive.write(path, path.relative_to(source))
    return folder


def _compare(folder: Path, repeats: int) -> dict[str, Any]:
    command = [
        sys.executable,
        "-m",
        "benchmarks.convert",
        "--measure",
        str(folder),
        "--repeats",
        str(repeats),
    ]
    root = Path(__file__).parents[1]
    done = subprocess.run(
        command, cwd=root, env={**os.environ, **_ONE_THREAD}, capture_output=True, text=True, check=True
    )
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {**measured, **_ratios(measured)}


def _ratios(measured: dict[str, Any]) -> dict[str, float]:
    seconds = measured["cpu_s"]
    return {
        "faster_than_peer": seconds["peer"] / seconds["convert"],
        "of_floor": seconds["convert"] / seconds["floor"],
        "size_of_nifti": measured["published_bytes"] / measured["nifti_bytes"],
    }


def _measure_here(folder: Path, repeats: int) -> dict[str, Any]:
    """Measure all three ways ``repeats`` times after a warm-up; returns medians and the peak memory of this process."""
    from tasks.convert.conversion import convert_study
    from tasks.sources import inventory
    from tasks.state.store import Cohort, load_tree

    scratch = Path(tempfile.mkdtemp())
    (unit,) = inventory([folder]).units

    def convert() -> None:
        shutil.rmtree(scratch / "cohort", ignore_errors=True)
        outcome = convert_study(unit, str(scratch / "cohort"), {})
        if outcome.status != "ok":
            raise RuntimeError(f"{outcome.reason}: {outcome.detail}")

    convert()
    times = [_time(convert) for _ in range(repeats)]
    memory_mb = _peak_mb()
    published = Cohort(scratch / "cohort").study(unit["study"])
    study = load_tree(published)
    zips = sorted(folder.glob("*.zip"))
    floor = [_time(lambda: _floor(zips, study)) for _ in range(repeats)]
    peer = [_time(lambda: _peer(zips, scratch)) for _ in range(repeats)]
    measured = {
        "cpu_s": {"convert": _cpu(times), "floor": _cpu(floor), "peer": _cpu(peer)},
        "wall_s": {"convert": _wall(times), "floor": _wall(floor), "peer": _wall(peer)},
        "peak_mb": memory_mb,
        "archive_bytes": sum(path.stat().st_size for path in zips),
        "published_bytes": published.stat().st_size,
        "nifti_bytes": _nifti_bytes(scratch / "nifti", study),
    }
    shutil.rmtree(scratch)
    return measured


def _peak_mb() -> float:
    """Peak resident memory of this process (``ru_maxrss`` would include the process that started it)."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def _time(work: Callable[[], None]) -> tuple[float, float]:
    """Run ``work``; returns processor seconds of this process and its children, and wall seconds."""
    before, start = os.times(), time.perf_counter()
    work()
    after = os.times()
    return sum(after[:4]) - sum(before[:4]), time.perf_counter() - start


def _cpu(times: list[tuple[float, float]]) -> float:
    return round(statistics.median(cpu for cpu, _ in times), 3)


def _wall(times: list[tuple[float, float]]) -> float:
    return round(statistics.median(wall for _, wall in times), 3)


def _floor(zips: list[Path], study: xr.DataTree) -> None:
    """The work that every converter must do: inflate every member, and encode the pixels that are kept."""
    from numcodecs import Blosc

    for path in zips:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                archive.read(member)
    codec = Blosc("zstd", 5, Blosc.BITSHUFFLE)
    for view in study.children.values():
        intensity = view.to_dataset()["intensity"].to_numpy()
        for k in range(intensity.shape[1]):
            for start in range(0, intensity.shape[0], 10):
                codec.encode(np.ascontiguousarray(intensity[start : start + 10, k]))


def _peer(zips: list[Path], scratch: Path) -> None:
    for name in ("unzipped", "nifti"):
        shutil.rmtree(scratch / name, ignore_errors=True)
        (scratch / name).mkdir()
    for path in zips:
        subprocess.run(["unzip", "-q", "-o", str(path), "-d", str(scratch / "unzipped")], check=True)
    command = ["dcm2niix", "-z", "y", "-f", "%s_%r", "-o", str(scratch / "nifti"), str(scratch / "unzipped")]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def _nifti_bytes(folder: Path, study: xr.DataTree) -> int:
    """Size of the ``.nii.gz`` files of the series that are in the published study."""
    kept = {number for view in study.children.values() for number in view.attrs["series_numbers"]}
    return sum(p.stat().st_size for p in folder.glob("*.nii.gz") if int(p.name.split("_")[0]) in kept)


def _print_table(results: dict[str, dict[str, Any]]) -> None:
    print(f"{'study':<16}{'way':<10}{'cpu s':>8}{'wall s':>8}")
    for name, result in results.items():
        for way in ("convert", "peer", "floor"):
            print(f"{name:<16}{way:<10}{result['cpu_s'][way]:>8.2f}{result['wall_s'][way]:>8.2f}")
        print(
            f"{name:<16}{result['faster_than_peer']:.2f} x faster than unzip + dcm2niix"
            f" (goal {PEER_MIN_RATIO}),"
            f" {result['of_floor']:.2f} x the floor (goal {FLOOR_MAX_RATIO}),"
            f" peak {result['peak_mb']:.0f} MB (goal {MEMORY_MAX_MB:.0f}),"
            f" size {result['size_of_nifti']:.2f} of nii.gz (goal {SIZE_MAX_RATIO})"
        )


if __name__ == "__main__":
    main()
