"""Settings of a process that works on a cohort, made once where it starts: by the command line, or in a Dask worker.

No module changes the process when it is imported, and no class when it is constructed. Without these settings every
function gives the same results, but networks are slower on a processor.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, resource_tracker

from cmr_models.zoo.process_memory import keep_freed_memory, share_one_arena


def prepare_process() -> None:
    """Let the process reuse the memory that it frees, and its threads allocate from one arena.

    It can be called any number of times. Threads that already run may keep an arena of their own, so call it before
    they start.
    """
    exempt_loopback_from_proxies()
    share_one_arena()
    keep_freed_memory()


@contextlib.contextmanager
def without_collecting() -> Iterator[None]:
    """Without Python's search for circles of objects, of which a plan of 100,000 studies holds none.

    It would go through all that is there again and again while the plan grows.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@contextlib.contextmanager
def worker_pool(
    workers: int, method: str | None = None, initializer: Callable[[], None] | None = None
) -> Iterator[ProcessPoolExecutor]:
    """``workers`` processes of this machine, which are not waited for where the command is stopped or fails.

    Tasks are given to it in :func:`workers_leave_ctrl_c_to_the_command`: that starts the processes.

    Args:
        method: how processes start, as :func:`multiprocessing.get_context` takes it; the system's own without.
        initializer: called once in each.
    """
    start_resource_tracker()
    pool = ProcessPoolExecutor(workers, mp_context=get_context(method), initializer=initializer)
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()


def start_resource_tracker() -> None:
    """Start the process in which Python cleans up after worker processes, with nothing to say to the terminal.

    What workers leave that are ended from outside is no news to the user.
    """
    saved, nowhere = os.dup(_STDERR), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, _STDERR)
        resource_tracker.ensure_running()
    finally:
        os.dup2(saved, _STDERR)
        os.close(saved)
        os.close(nowhere)


@contextlib.contextmanager
def workers_leave_ctrl_c_to_the_command() -> Iterator[None]:
    """Processes that are started while it is open never see Ctrl-C, which a terminal sends to all of a command.

    The command ends them. A process that were interrupted while it still imports, or left alone half started, would
    write its traceback to the terminal, however the command takes the signal. The command is told when this closes.
    """
    with _signals_wait():
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _signals_wait() -> Iterator[None]:
    """Hold back signals that Python handles; another thread may take them although this one has blocked them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []
    handlers = {number: handler for number in _ENDING if callable(handler := signal.getsignal(number))}
    for number in handlers:
        signal.signal(number, lambda number, _: held.append(number))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if held:
            handlers[signal.Signals(held[0])](held[0], None)


_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_STDERR = 2
LOOPBACK = ("127.0.0.1", "localhost", "::1")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")


def exempt_loopback_from_proxies() -> None:
    """Keep what a command says to its own machine from the proxy that the environment names.

    A proxy with a scheme that the HTTP client cannot use (SOCKS) would stop it even so, and is dropped.
    """
    for name in ("no_proxy", "NO_PROXY"):
        hosts = [host for host in os.environ.get(name, "").split(",") if host.strip()]
        os.environ[name] = ",".join([*hosts, *(host for host in LOOPBACK if host not in hosts)])
    for name in (*_PROXIES, *map(str.upper, _PROXIES)):
        if not os.environ.get(name, "http://").partition("://")[0].startswith("http"):
            del os.environ[name]
