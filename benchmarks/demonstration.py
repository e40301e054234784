"""The demonstrations of docs/demonstrations.md: each runs, writes its results, its table and its figure.

    python -m benchmarks.demonstration cinema
    python -m benchmarks.demonstration risk

A killed run goes on where it was when it is started again.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.demonstrations import cinema, risk

ROOT = Path(__file__).parents[1]
RUNS = {"cinema": cinema.run, "risk": risk.run}


def main() -> None:
    """Run the named demonstration."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=sorted(RUNS))
    parser.add_argument("--work", type=Path, default=ROOT / "demo" / "demonstrations", help="hearts and checkpoints")
    parser.add_argument("--quick", action="store_true", help="a few steps on a few hearts: does it run?")
    parser.add_argument("--root", type=Path, default=ROOT, help="under it lie docs/ and benchmarks/results/")
    options = parser.parse_args()
    RUNS[options.name](options.work / ("quick" if options.quick else "full"), options.root, quick=options.quick)


if __name__ == "__main__":
    main()
