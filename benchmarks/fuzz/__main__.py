"""`make fuzz`: damaged and hostile bytes for every reader; each must give a result or the error that it documents.

python -m benchmarks.fuzz [--cases 100000] [--seed 1] [--reader NAME] [--first 0] [--processes 2]
python -m benchmarks.fuzz --reader NAME --case 4711 --seed 1      # one case again; its bytes go to --write FILE

A case follows from seed, reader and number. Ends with status 1 if any case gave something else, ended its process or
took more than 20 s or 400 MB.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.fuzz.cases import Found, content_of, run_case
from benchmarks.fuzz.pool import run_all
from benchmarks.fuzz.readers import READERS, Reader

_SHOWN = 40


def main(arguments: list[str]) -> int:
    """Status 1 if a reader did what it does not document."""
    options = _options(arguments)
    chosen = [reader for reader in READERS if options.reader in ("", reader.name)]
    if options.case >= 0:
        return _one_case(chosen[0], options)
    start = time.monotonic()
    shares = counts(chosen, options.cases)
    found = run_all(shares, seed=options.seed, first=options.first, n_processes=options.processes)
    _print_table(shares, found)
    print(f"\n{sum(shares.values()):,} cases of seed {options.seed} in {time.monotonic() - start:.0f} s")
    for one in found[:_SHOWN]:
        print(f"{one.reader}, case {one.case}: {one.kind}")
    return int(bool(found))


def counts(readers: list[Reader], n_cases: int) -> dict[str, int]:
    """Reader -> its number of cases, by shares."""
    whole = sum(reader.share for reader in readers)
    return {reader.name: max(1, -(-n_cases * reader.share // whole)) for reader in readers}


def _one_case(reader: Reader, options: argparse.Namespace) -> int:
    content = content_of(reader, options.seed, options.case)
    if options.write:
        options.write.write_bytes(content)
    with tempfile.TemporaryDirectory() as folder:
        kind = run_case(reader, options.seed, options.case, Path(folder))
    print(f"{len(content)} bytes: {kind or 'as documented'}")
    return int(bool(kind))


def _print_table(shares: dict[str, int], found: list[Found]) -> None:
    print(f"\n{'reader':<24} {'cases':>8} {'undocumented':>13}")
    for name, n in shares.items():
        print(f"{name:<24} {n:>8,} {sum(one.reader == name for one in found):>13}")


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--reader", default="", choices=["", *(reader.name for reader in READERS)])
    parser.add_argument("--first", type=int, default=0, help="number of the first case of each reader, to go on")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--case", type=int, default=-1, help="run this case alone")
    parser.add_argument("--write", type=Path, help="where to write the bytes of that case")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
