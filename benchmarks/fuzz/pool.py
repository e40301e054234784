"""Cases on several processes: one that ends is named with its last case, and another goes on behind it."""

from __future__ import annotations

import logging
import multiprocessing
import queue
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from typing import Any

from benchmarks.fuzz.cases import Found, run_cases
from benchmarks.fuzz.readers import READERS

Chunk = tuple[str, range]
"""Name of a reader, and numbers of its cases."""

_CHUNK = 250


@dataclass
class _Running:
    """A process, the place of its chunk and its case, and all of its chunks."""

    process: BaseProcess
    current: Any
    part: list[Chunk]


def run_all(shares: dict[str, int], *, seed: int, first: int, n_processes: int) -> list[Found]:
    """What went wrong in cases ``first`` and on of each reader; ``shares`` says how many."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["benchmarks.fuzz.readers"])  # which takes longer than hundreds of cases
    results: Any = context.Queue()
    work = [
        (name, range(start, min(start + _CHUNK, first + n)))
        for name, n in reversed(shares.items())
        for start in range(first, first + n, _CHUNK)
    ]
    per_process = max(1, len(work) // (3 * n_processes))
    running: list[_Running] = []
    found: list[Found] = []
    while work or running:
        while work and len(running) < n_processes:
            part = [work.pop() for _ in range(min(per_process, len(work)))]
            current = context.Array("q", [0, -1])
            process = context.Process(target=_work, args=(part, seed, current, results))
            process.start()
            running.append(_Running(process, current, part))
        _take(results, found)
        for one in [one for one in running if not one.process.is_alive()]:
            running.remove(one)
            if one.process.exitcode:
                found.append(_ended(one, work))
    _take(results, found)
    return found


def _ended(one: _Running, work: list[Chunk]) -> Found:
    """The case that ended a process; those behind it are put back."""
    place, case = one.current
    if case < 0:
        raise RuntimeError("a process ended before its first case")
    name, cases = one.part[place]
    work += [*reversed(one.part[place + 1 :]), (name, range(case + 1, cases.stop))]
    return Found(name, case, f"the process ended, {one.process.exitcode}")


def _take(results: Any, found: list[Found]) -> None:
    try:
        while True:
            found.append(results.get(timeout=0.2))
            print(f"{found[-1].reader}, case {found[-1].case}: {found[-1].kind}", flush=True)
    except queue.Empty:
        return


def _work(part: list[Chunk], seed: int, current: Any, results: Any) -> None:
    logging.disable()  # nibabel and asyncio write a line on every damaged file
    readers = {reader.name: reader for reader in READERS}
    for place, (name, cases) in enumerate(part):
        current[0], current[1] = place, cases.start
        for case, kind in run_cases(readers[name], seed, cases):
            current[1] = case + 1
            if kind:
                results.put(Found(name, case, kind))
