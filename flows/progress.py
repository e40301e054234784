"""Progress that is always visible: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

Advance = Callable[[int], None]
_SECONDS_BETWEEN_LINES = 5.0
_console = Console(file=sys.stderr)


class _PerMinute(ProgressColumn):
    """Studies a minute."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("- studies/min" if speed is None else f"{60 * speed:.0f} studies/min")


@contextlib.contextmanager
def stage_progress(stage: str, total: int) -> Iterator[Advance]:
    """Show how many of ``total`` studies one stage has done; yields a function to call with each number more."""
    show = _bar if _console.is_terminal else _lines
    with show(stage, total) as advance:
        yield advance


def say(line: str) -> None:
    """One line to the user."""
    _console.print(line, highlight=False, markup=False, soft_wrap=True)


@contextlib.contextmanager
def _bar(stage: str, total: int) -> Iterator[Advance]:
    columns = (
        TextColumn("{task.description:<10}"),
        BarColumn(),
        MofNCompleteColumn(),
        _PerMinute(),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=_console) as progress:
        task = progress.add_task(stage, total=total)
        yield lambda n: progress.advance(task, n)


@contextlib.contextmanager
def _lines(stage: str, total: int) -> Iterator[Advance]:
    start = last = time.monotonic()
    done = 0
    say(f"{stage}: 0 of {total} studies")

    def advance(n: int) -> None:
        nonlocal done, last
        done += n
        now = time.monotonic()
        if done < total and now - last < _SECONDS_BETWEEN_LINES:
            return
        last = now
        rate = done / max(now - start, 1e-9)
        left = (total - done) / rate if rate else float("nan")
        say(f"{stage}: {done} of {total} studies, {60 * rate:.0f} studies/min, ETA {left:.0f} s")

    yield advance
