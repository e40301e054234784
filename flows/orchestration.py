"""Flows and tasks: runs of a Prefect server where one is configured, else plain calls that need no server.

A server records runs, retries shards and starts schedules. Without one there is nobody to tell, so a command starts
none: no port, no database, no process that could die or outlive it.
"""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

from prefect.cache_policies import NO_CACHE
from prefect.flows import Flow
from prefect.futures import resolve_futures_to_results
from prefect.settings import PREFECT_API_URL
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner
from prefect.tasks import Task

from tasks.state.mistakes import UserMistake

P = ParamSpec("P")
R = TypeVar("R")
_SHARDS_AT_ONCE = 4
_ANSWER_S = 10.0


def has_server() -> bool:
    """Whether a Prefect server is configured: by the environment, a profile or a file of Prefect's."""
    return bool(PREFECT_API_URL.value())


def check_server() -> None:
    """Whether the server that is configured answers, if one is.

    Raises:
        UserMistake: if it does not.
    """
    address = str(PREFECT_API_URL.value() or "")
    if not address:
        return
    try:
        urllib.request.urlopen(f"{address.rstrip('/')}/health", timeout=_ANSWER_S).close()
    except urllib.error.HTTPError:
        return  # it answers, if only that it wants to know who asks
    except (OSError, ValueError) as error:
        raise UserMistake(
            f"PREFECT_API_URL: no Prefect server answers at {address} ({getattr(error, 'reason', error)}); start it, or"
            " unset PREFECT_API_URL: a command needs none"
        ) from error


class _Flow(Flow[Any, Any]):
    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """The flow as a run of the server, or as a function."""
        return (super().__call__ if has_server() else self.fn)(*arguments, **named)


class _Task(Task[Any, Any]):
    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """The task as a run of the server, or as a function."""
        return (super().__call__ if has_server() else self.fn)(*arguments, **named)


def flow(function: Callable[P, R]) -> Callable[P, R]:
    """A function as a flow of its name."""
    runner: TaskRunner[Any] = ThreadPoolTaskRunner(max_workers=_SHARDS_AT_ONCE)
    return _Flow(function, name=function.__name__, validate_parameters=False, task_runner=runner)


def task(function: Callable[P, R], *, retries: int = 0) -> Callable[P, R]:
    """A function as a task; its first argument, ``stage``, names the run. ``retries`` are those of the server."""
    return _Task(function, task_run_name="{stage}", cache_policy=NO_CACHE, retries=retries, retry_delay_seconds=5)


def all_at_once(function: Callable[..., None], calls: Sequence[tuple[Any, ...]]) -> None:
    """Every call of a task, some of them at the same time."""
    assert isinstance(function, _Task)
    if has_server():
        resolve_futures_to_results([function.submit(*arguments) for arguments in calls])
        return
    pool = ThreadPoolExecutor(_SHARDS_AT_ONCE)
    try:
        for future in [pool.submit(function.fn, *arguments) for arguments in calls]:
            future.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # the end of the client ends what still waits
