"""Keeps as many workers as were asked for: one that has ended, or soon will, is replaced.

Dask itself replaces no worker: it forgets it. Its adaptive scaling counts what was ordered, not what is there. And
where the workers of jobs that began together end together, what they hold and what they do is lost, over and over. So a
replacement is ordered before the lifetime of a worker is over, and the old one leaves when the new one is there.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

_log = logging.getLogger("cmr_cohort")
_SECONDS_BETWEEN_LOOKS = 2.0
_SECONDS_BETWEEN_LISTS = 10.0  # the queue of a site is asked no more often
_SECONDS_AFTER_A_REFUSAL = 30.0
_SECONDS_UNTIL_LISTED = 60.0  # of a job that the queue never shows nothing is known sooner
_GONE_S = 15.0  # a worker process that crashed is back by then, started by its nanny
_GONE_IN_A_JOB_S = 120.0  # the same where its job still runs, as a new job may wait for hours
_SHARE_OF_LIFETIME = 0.7  # the replacement may have to wait in a queue
_LEAST_SHARE_OF_LIFETIME = 0.3  # where waiting takes long, as others waited: not sooner
_WAITS = (
    3.0  # a replacement is ordered so many times the longest wait before the end: it may wait longer, and takes over
)
_REFUSALS = 20
_FIRST_WORKER_S = 600.0

Say = Callable[[str], object]
Listed = Callable[[], set[str] | None]
"""Gives the ids of the jobs in the queue; None where that cannot be told."""


@dataclass
class _Job:
    """What has been seen of one job, or of one process of a local cluster."""

    ordered: float
    begun: float | None = None
    seen: float = 0.0
    listed: bool = False


class StandingWorkers:
    """The watch over the workers of a Dask ``SpecCluster``.

    Args:
        cluster: it, already scaled to as many jobs as should be there.
        lifetime_s: after which a worker ends itself; None if it does not.
        listed: the queue that starts the jobs; None for a local cluster.
        say: tells the user a line.

    Attributes:
        failure: why there will be no more workers; empty as long as there may be.
    """

    def __init__(self, cluster: Any, *, lifetime_s: float | None, listed: Listed | None, say: Say) -> None:
        self.failure = ""
        self._cluster, self._lifetime_s, self._listed, self._say = cluster, lifetime_s, listed, say
        self._n_jobs = len(cluster.worker_spec)
        self._jobs = {name: _Job(time.monotonic()) for name in cluster.worker_spec}
        self._in_queue: set[str] | None = None
        self._asked = self._refused = float("-inf")
        self._n_stillborn = self._n_refused = 0
        self._has_ever_begun = False
        self._longest_wait_s = 0.0
        self._over = threading.Event()

    @contextlib.contextmanager
    def watched(self, client: Any) -> Iterator[None]:
        """Meanwhile they are replaced. When there will be no more, all futures of ``client`` are cancelled."""
        looks = threading.Thread(target=self._keep_looking, args=(client,), name="standing-workers", daemon=True)
        looks.start()
        try:
            yield
        except Exception as error:
            if self.failure:
                raise RuntimeError(self.failure) from error
            raise
        finally:
            self._over.set()
            looks.join()

    def wait_for_one(self, client: Any) -> None:
        """Wait until a worker is there; as long as it takes where a queue starts it.

        Raises:
            RuntimeError: if there will be none.
        """
        begun = time.monotonic()
        told = begun + 20
        while not self.failure and not client.nthreads():
            now = time.monotonic()
            if self._listed is None and now - begun > _FIRST_WORKER_S:
                self.failure = f"no worker has started in {_FIRST_WORKER_S:.0f} s"
            if now > told:
                self._say(f"{self._n_jobs} jobs are ordered and none has begun yet; waiting for {now - begun:.0f} s")
                told = now + 600
            self._over.wait(0.2)
        if self.failure:
            raise RuntimeError(self.failure)

    def _keep_looking(self, client: Any) -> None:
        while not self._over.wait(_SECONDS_BETWEEN_LOOKS):
            self._ask_the_queue()
            try:
                self._cluster.sync(self._look)
            except Exception:  # noqa: BLE001  one look that fails, as on a busy scheduler, must not end the watch
                if self._over.is_set():
                    return
                _log.exception("a look at the workers failed, and is taken again")
            if self.failure:
                client.close()
                return

    def _ask_the_queue(self) -> None:
        now = time.monotonic()
        if self._listed is not None and self._is_short and now - self._asked > _SECONDS_BETWEEN_LISTS:
            self._in_queue, self._asked = self._listed(), now

    @property
    def _is_short(self) -> bool:
        return any(not self._workers_of(name) for name in list(self._cluster.worker_spec))

    def _workers_of(self, name: Any) -> list[Any]:
        """Names of the workers that are there of a job: it may have several."""
        spec = self._cluster.worker_spec.get(name, {})
        own = {f"{name}{suffix}" for suffix in spec.get("group", [""])}
        workers = self._cluster.scheduler_info["workers"].values()
        return [worker["name"] for worker in workers if str(worker["name"]) in own]

    async def _look(self) -> None:
        """Give up jobs that have ended; order as many as lack, and one for each that will soon end."""
        self._note_who_is_there()
        endings = {name: ending for name, job in self._jobs.items() if (ending := self._ending(name, job))}
        self._judge(endings)
        old = [name for name, job in self._jobs.items() if name not in endings and self._is_old(job)]
        n_there = sum(name not in endings and bool(self._workers_of(name)) for name in self._jobs)
        superseded = old[: max(0, n_there - self._n_jobs)]
        await self._retire(superseded)
        if endings or superseded:
            for name in (*endings, *superseded):
                self._cluster.worker_spec.pop(name, None)
                del self._jobs[name]
            self._cluster.scale(len(self._cluster.worker_spec))  # cancels what is left of their jobs
        elif time.monotonic() - self._refused > _SECONDS_AFTER_A_REFUSAL:
            self._cluster.scale(self._n_jobs + len(old))

    def _note_who_is_there(self) -> None:
        now = time.monotonic()
        for name in self._cluster.worker_spec:
            job = self._jobs.setdefault(name, _Job(now))
            job.listed = job.listed or self._id(name) in (self._in_queue or ())
            if self._workers_of(name):
                job.begun, job.seen = job.begun or now, now
                self._longest_wait_s = max(self._longest_wait_s, job.begun - job.ordered)
                self._n_refused = self._n_stillborn = 0
                self._has_ever_begun = True

    def _id(self, name: Any) -> str:
        return str(getattr(self._cluster.workers.get(name), "job_id", None))

    def _refusal(self, name: Any) -> str:
        return str(getattr(self._cluster.workers.get(name), "refusal", ""))

    def _ending(self, name: Any, job: _Job) -> Literal["refused", "stillborn", "gone", ""]:
        """How a job has ended; empty while it may still work."""
        if self._refusal(name):
            return "refused"
        should_be_listed = job.listed or self._asked - job.ordered > _SECONDS_UNTIL_LISTED
        is_out = should_be_listed and self._in_queue is not None and self._id(name) not in self._in_queue
        if job.begun is None:
            return "stillborn" if is_out else ""
        patience_s = _SECONDS_BETWEEN_LOOKS if is_out else _GONE_IN_A_JOB_S if job.listed else _GONE_S
        return "gone" if time.monotonic() - job.seen > patience_s else ""

    def _is_old(self, job: _Job) -> bool:
        if job.begun is None or self._lifetime_s is None:
            return False
        return time.monotonic() - job.begun > self._replaced_after_s(self._lifetime_s)

    def _replaced_after_s(self, lifetime_s: float) -> float:
        """Age at which the replacement of a worker is ordered, so that it is there before the lifetime is over."""
        in_time = lifetime_s - _WAITS * self._longest_wait_s - _SECONDS_BETWEEN_LOOKS
        return max(_LEAST_SHARE_OF_LIFETIME * lifetime_s, min(_SHARE_OF_LIFETIME * lifetime_s, in_time))

    async def _retire(self, jobs: list[Any]) -> None:
        """Let their workers hand over what they hold, and end."""
        workers = [worker for name in jobs for worker in self._workers_of(name)]
        if workers:
            await self._cluster.scheduler_comm.retire_workers(names=workers, close_workers=True, remove=True)

    def _judge(self, endings: Mapping[Any, str]) -> None:
        """Note why no worker will come, if so."""
        refused = [name for name, ending in endings.items() if ending == "refused"]
        if refused:
            self._refused, self._n_refused = time.monotonic(), self._n_refused + 1
        self._n_stillborn += sum(ending == "stillborn" for ending in endings.values())
        if refused and (not self._has_ever_begun or self._n_refused > _REFUSALS):
            self.failure = f"no job can be submitted: {self._refusal(refused[0])}"
        elif self._n_stillborn > max(5, 2 * self._n_jobs):
            self.failure = (
                f"{self._n_stillborn} jobs in a row have ended before their worker had started; see what they wrote"
                " (slurm-*.out)"
            )
