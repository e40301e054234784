"""Ctrl-C, SIGTERM, the end of the terminal: a command ends within seconds, whatever it does, and says how to go on.

The signal first raises :class:`Interrupted` in the main thread, so that workers and jobs of a cluster are closed. A
thread watches over that: after :data:`PATIENCE_S` seconds, or at a second signal, it ends the process. That loses
nothing: files are published whole or not at all, and the next run finds by their keys what was finished.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import shlex
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, NoReturn

PATIENCE_S = 3.0
_STDERR = 2
_terminal = _STDERR
_SIGNALS = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM", signal.SIGHUP: "the end of the terminal (SIGHUP)"}
_log = logging.getLogger("cmr_cohort")


class Interrupted(KeyboardInterrupt):
    """The user, or the system, has asked the command to end."""

    def __init__(self, number: int) -> None:
        super().__init__(_SIGNALS[signal.Signals(number)])
        self.number = number


@contextlib.contextmanager
def interrupts_end_the_command() -> Iterator[None]:
    """While it is open, Ctrl-C, SIGTERM and SIGHUP end the process, with exit status 130, 143 or 129.

    In the main thread only. After ``nohup`` the end of the terminal is ignored, as is its purpose.
    """
    global _terminal
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ends = [number for number in _SIGNALS if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, _interrupt) for number in ends}
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    _terminal = os.dup(_STDERR)  # before anything can happen: two signals may follow each other closely
    wakeup = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
    watcher = threading.Thread(target=_watch, args=(ours,), name="interrupts", daemon=True)
    watcher.start()
    told, sys.unraisablehook = sys.unraisablehook, _without_signals(sys.unraisablehook)
    try:
        yield
    except KeyboardInterrupt as interrupt:
        end(getattr(interrupt, "number", signal.SIGINT))
    finally:
        sys.unraisablehook = told
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
        theirs.close()
        watcher.join()  # after a signal it ends the process: what fell over since then, in Prefect too, is no news
        os.close(_terminal)
        _terminal = _STDERR


def _without_signals(told: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """``told``, but for what a signal has raised, ours or Prefect's: the watcher ends the command, wherever it fell."""

    def tell(event: Any) -> None:
        if isinstance(event.exc_value, Exception):
            told(event)

    return tell


def _interrupt(number: int, _frame: FrameType | None) -> None:
    _log.error("stopped by %s", _SIGNALS[signal.Signals(number)])
    _be_silent()
    raise Interrupted(number)


def _be_silent() -> None:
    """What falls over while the command ends is no news: nothing more is logged or written to standard error."""
    logging.disable()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, _STDERR)
    os.close(nowhere)


def _watch(wakeups: socket.socket) -> None:
    """Wait for the first signal, then for a second one, for the command or for :data:`PATIENCE_S` seconds; end it."""
    with wakeups:
        while first := wakeups.recv(1):
            if first[0] in _SIGNALS:
                break
        else:
            return
        wakeups.settimeout(PATIENCE_S)
        with contextlib.suppress(TimeoutError):
            while (again := wakeups.recv(1)) and again[0] not in _SIGNALS:
                pass
    end(first[0])


_ending = threading.Lock()


def end(number: int) -> NoReturn:
    """End the process, its workers and its jobs at once; one line says how to go on."""
    with _ending:
        for worker in multiprocessing.active_children():
            worker.kill()
        if jobs := sys.modules.get("tasks.execution.slurm_jobs"):  # loaded where some were submitted
            jobs.cancel_all()
        if credentials := sys.modules.get("tasks.execution.credentials"):
            credentials.remove_all()
        if scratch := sys.modules.get("tasks.execution.scratch"):
            scratch.remove_all()
        again = shlex.join(["cmr-cohort", *sys.argv[1:]])
        what = _SIGNALS[signal.Signals(number)]
        line = f"\nstopped by {what}; everything that was finished is kept. To go on, type: {again}\n"
        with contextlib.suppress(OSError):
            os.write(_terminal, line.encode())
        os._exit(128 + number)
