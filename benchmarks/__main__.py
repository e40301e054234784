"""`make bench`: run all benchmarks one after the other, each in its own process.

python -m benchmarks [NAME ...]
"""

from __future__ import annotations

import subprocess
import sys

BENCHMARKS = (
    "convert",
    "disclosure",
    "frame_order",
    "segment_stage",
    "forecast",
    "segmentation",
    "real_scans",
    "curve_jumps",
    "valve_planes",
    "slice_answers",
    "simulated_cohort",
    "stack_order",
    "parity",
    "incremental",
    "inference",
    "statistics",
    "statistics_validation",
    "perfusion",
    "perfusion_networks",
    "perfusion_stage",
)


def main(names: list[str]) -> int:
    """Run the named benchmarks, or all; returns the number of those that failed."""
    failed = 0
    for name in names or BENCHMARKS:
        print(f"== {name}", flush=True)
        failed += subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
