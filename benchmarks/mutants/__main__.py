"""`make mutants`: small faults, put into the code one at a time and at random; which ones no test notices.

python -m benchmarks.mutants [--faults 200] [--seed 1] [--area NAME] [--module PATH] [--at-most 0.10] [--page]

Needs the files that `make coverage` leaves. Goes on where a run of the same seed ended; a module that has changed
since is tried again. Ends with status 1 if a larger share than --at-most survived.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

from benchmarks.mutants.faults import Fault, faults_of
from benchmarks.mutants.modules import AREAS, ROOT, modules
from benchmarks.mutants.page import table, write_page
from benchmarks.mutants.results import Results
from benchmarks.mutants.tests_of_lines import TestsOfLines
from benchmarks.mutants.trial import Trials


def main(arguments: list[str]) -> int:
    """Status 1 if more than the wanted share of faults survived."""
    options = _options(arguments)
    chosen = _chosen(options)
    results = Results(options.results)
    tests = TestsOfLines()
    left = [fault for fault in chosen if not results.knows(fault)]
    print(f"{len(chosen)} faults, {len(chosen) - len(left)} of them tried before", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        trials = Trials(Path(folder), options.processes, options.seconds)
        while left:
            noticed: dict[str, list[Fault]] = {}
            for fault, outcome in trials.run((fault, *_tests_of(tests, fault)) for fault in left):
                results.add(fault, outcome)
                noticed.setdefault(outcome.by, []).append(fault)
                print(f"{outcome.verdict:>8} {outcome.seconds:5.0f} s  {fault.name}", flush=True)
            unsound = trials.failing_without_a_fault(chosen[0].module, [name for name in noticed if "::" in name])
            print(f"{len(unsound)} tests fail in the copy without a fault, and do not count", flush=True)
            left = [fault for name in unsound for fault in noticed.get(name, ())]
            tests.leave_out(unsound)
    print("", table(results, chosen), "", *(f"not noticed: {f.name}" for f in results.survivors(chosen)), sep="\n")
    if options.page:
        write_page(results, chosen, options.seed, tests.coverage_by_package())
    return int(results.share_survived(chosen) > options.at_most)


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mutants", description=__doc__)
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--area", choices=sorted(AREAS), action="append", help="this area only; may be repeated")
    parser.add_argument("--module", action="append", help="this module only; may be repeated")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=60.0, help="of tests, at most, for one fault")
    parser.add_argument("--at-most", type=float, default=1.0, help="share that may survive")
    parser.add_argument("--page", action="store_true", help="write docs/tests.md")
    parser.add_argument("--results", type=Path, default=ROOT / ".mutants.jsonl")
    return parser.parse_args(arguments)


def _chosen(options: argparse.Namespace) -> list[Fault]:
    wanted = [
        module
        for module, area in modules().items()
        if (not options.area or area in options.area) and (not options.module or module in options.module)
    ]
    offered = [fault for module in wanted for fault in faults_of(ROOT / module, module)]
    random.Random(options.seed).shuffle(offered)
    chosen: list[Fault] = []
    for fault in offered:
        if len(chosen) == options.faults:
            break
        if fault.is_code((ROOT / fault.module).read_bytes()):
            chosen.append(fault)
    return chosen


def _tests_of(tests: TestsOfLines, fault: Fault) -> tuple[list[str], list[float]]:
    last = fault.line + fault.old.count("\n")
    found = tests.of(fault.module, fault.line, last)
    return found, tests.costs(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
