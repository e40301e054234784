"""A pipeline that takes studies through networks: it reads, computes and writes at the same time.

    reader threads -> two studies each ahead -> batches -> device thread -> two behind -> writer threads

A batch is filled from several studies and always has the full size; the last one is filled up with zeros. A network
then sees the same shapes however the studies are grouped, and its outputs do not depend, to the last bit, on which
images share a batch.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cmr_models.reasons import StudyRejected

STUDIES_OPEN = 8
_BATCHES_AHEAD = 2

Array = npt.NDArray[Any]
Predict = Callable[[Array], Array]


@dataclass(eq=False)
class Stack:
    """The images of one view: ``inputs`` and ``outputs (image, ...)`` of one network; ``left`` are not yet computed."""

    view: str
    network: str
    inputs: Array
    outputs: Array | None = None
    left: int = field(init=False)

    def __post_init__(self) -> None:
        self.left = len(self.inputs)


@dataclass(eq=False)
class StudyJob:
    """One study in the pipeline. ``context`` is whatever the reader passes on to the writer."""

    study: str
    stacks: list[Stack]
    context: Any = None
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(("read", "compute", "write"), 0.0))
    error: BaseException | None = None

    @property
    def is_through(self) -> bool:
        return self.error is not None or all(stack.left == 0 for stack in self.stacks)


class Finished(NamedTuple):
    """The end of one study: the writer's result, or the error that ended it."""

    study: str
    result: Any
    error: BaseException | None
    seconds: dict[str, float]
    images: int

    def unwrap(self) -> Any:
        """The result; raises the error."""
        if self.error is not None:
            raise self.error
        return self.result


class Throughput(NamedTuple):
    """Times of a chunk of studies. ``starved_s`` is the part of ``wall_s`` in which the device had nothing to do."""

    images: int
    wall_s: float
    compute_s: float
    starved_s: float

    def share(self, images: int) -> dict[str, float]:
        """The part of the chunk's wall and starved time that falls to ``images`` of its images."""
        part = images / max(self.images, 1)
        return {"wall": round(self.wall_s * part, 4), "starved": round(self.starved_s * part, 4)}

    def text(self, finished: Sequence[Finished]) -> str:
        """One line for the log, without identifiers."""
        spent = {part: sum(done.seconds.get(part, 0.0) for done in finished) for part in ("read", "write")}
        return (
            f"{len(finished)} studies, {self.images} images in {self.wall_s:.1f} s"
            f" ({self.images / self.wall_s:.1f} images/s); reading {spent['read']:.1f} s,"
            f" computing {self.compute_s:.1f} s, writing {spent['write']:.1f} s;"
            f" queue empty {100 * self.starved_s / self.wall_s:.0f} % of the time"
        )


class _Piece(NamedTuple):
    job: StudyJob
    stack: Stack
    start: int
    stop: int


def run_pipeline(
    studies: Mapping[str, Any],
    read: Callable[[Any], StudyJob],
    networks: Mapping[str, Predict],
    write: Callable[[StudyJob], Any],
    *,
    batch_images: int,
    helpers: int = 1,
) -> tuple[list[Finished], Throughput]:
    """Take ``studies`` through ``read``, their networks and ``write``.

    Args:
        studies: study -> the argument of ``read``.
        read: makes the job of one study; runs in a reader thread. Its error ends that study only.
        networks: name -> function from ``(image, ...)`` to ``(image, ...)``; runs in the device thread. An
            error ends the studies in that batch; out of memory halves the batch first.
        write: takes a job whose outputs are complete; runs in a writer thread. Its error ends that study.
        batch_images: images a batch.
        helpers: reader threads, and as many writer threads.

    Returns:
        Every study in the order given, and the throughput.
    """
    pipeline = _Pipeline(networks, write, batch_images, helpers)
    with ThreadPoolExecutor(helpers, "reader") as pool, pipeline:
        for study, job in _read_ahead(pool, read, studies, 2 * helpers):
            pipeline.feed(study, job)
        return pipeline.finish(list(studies))


class _Pipeline:
    """What the main thread tracks: pieces that wait for a batch, batches at the device, studies being written."""

    def __init__(
        self, networks: Mapping[str, Predict], write: Callable[[StudyJob], Any], batch_images: int, helpers: int
    ) -> None:
        self._write = write
        self._batch_images = batch_images
        self._device = _Device(networks)
        self._writers = ThreadPoolExecutor(helpers, "writer")
        self._studies_behind = 2 * helpers
        self._started = time.perf_counter()
        self._waiting: dict[str, list[_Piece]] = {}
        self._open: list[StudyJob] = []
        self._writing: deque[tuple[StudyJob, Future[Any]]] = deque()
        self._finished: dict[str, Finished] = {}

    def __enter__(self) -> _Pipeline:
        return self

    def __exit__(self, *_: object) -> None:
        self._device.close()
        self._writers.shutdown(cancel_futures=True)

    def feed(self, study: str, reading: Future[StudyJob]) -> None:
        """Take over one study from the readers."""
        error = reading.exception()
        if error is not None:
            self._finished[study] = Finished(study, None, error, {}, 0)
            return
        job = reading.result()
        self._open.append(job)
        for stack in job.stacks:
            self._waiting.setdefault(stack.network, []).append(_Piece(job, stack, 0, len(stack.inputs)))
            self._send_full_batches(stack.network)
        if len(self._open) > STUDIES_OPEN:
            self._send_rest()
        self._hand_over()

    def finish(self, order: Sequence[str]) -> tuple[list[Finished], Throughput]:
        """Send what is left, wait for all, and account for every study."""
        self._send_rest()
        self._device.wait(0)
        self._hand_over()
        self._await_writers(0)
        finished = [self._finished[study] for study in order]
        wall_s = time.perf_counter() - self._started
        images = sum(done.images for done in finished)
        return finished, Throughput(images, wall_s, self._device.busy_s, self._device.starved_s)

    def _send_full_batches(self, network: str) -> None:
        waiting = self._waiting[network]
        while sum(piece.stop - piece.start for piece in waiting) >= self._batch_images:
            batch, waiting = _split(waiting, self._batch_images)
            self._device.submit(network, batch, self._batch_images)
        self._waiting[network] = waiting

    def _send_rest(self) -> None:
        for network, waiting in self._waiting.items():
            if waiting:
                self._device.submit(network, waiting, self._batch_images)
        self._waiting = {}

    def _hand_over(self) -> None:
        self._device.wait(_BATCHES_AHEAD)
        for job in [job for job in self._open if job.is_through]:
            self._open.remove(job)
            self._writing.append((job, self._writers.submit(_timed, "write", self._write, job)))
        self._await_writers(self._studies_behind)

    def _await_writers(self, allowed: int) -> None:
        while len(self._writing) > allowed:
            job, writing = self._writing.popleft()
            error = writing.exception()
            result = writing.result() if error is None else None
            images = sum(len(stack.inputs) for stack in job.stacks)
            self._finished[job.study] = Finished(job.study, result, error, job.seconds, images)


class _Device:
    """One thread that computes batches in order, and measures the time in which it had none."""

    def __init__(self, networks: Mapping[str, Predict]) -> None:
        self._networks = networks
        self._fits: dict[str, int] = {}
        self._thread = ThreadPoolExecutor(1, "device")
        self._sent: deque[tuple[list[_Piece], Future[Array]]] = deque()
        self._last_end = time.perf_counter()
        self.busy_s = 0.0
        self.starved_s = 0.0

    def close(self) -> None:
        self._thread.shutdown(cancel_futures=True)

    def submit(self, network: str, pieces: list[_Piece], batch_images: int) -> None:
        self.wait(_BATCHES_AHEAD - 1)
        batch = _assemble(pieces, batch_images)
        self._sent.append((pieces, self._thread.submit(self._compute, network, batch, pieces)))

    def wait(self, allowed: int) -> None:
        """Take back results until at most ``allowed`` batches are out."""
        while len(self._sent) > allowed:
            pieces, computing = self._sent.popleft()
            error = computing.exception()
            if error is None:
                _scatter(pieces, computing.result())
            for piece in pieces:
                piece.job.error = piece.job.error or error

    def _compute(self, network: str, batch: Array, pieces: list[_Piece]) -> Array:
        start = time.perf_counter()
        self.starved_s += start - self._last_end
        try:
            size = self._fits.get(network, len(batch))
            outputs, self._fits[network] = predict_in_halves(self._networks[network], batch, size)
            return outputs
        finally:
            self._last_end = time.perf_counter()
            self.busy_s += self._last_end - start
            for piece in pieces:
                piece.job.seconds["compute"] += (self._last_end - start) * _size(piece) / _sizes(pieces)


def predict_in_halves(predict: Predict, batch: Array, size: int) -> tuple[Array, int]:
    """``predict(batch)`` with ``size`` images at a time; the size is halved each time the device runs out of memory.

    Returns:
        The outputs, and the size that fitted.

    Raises:
        StudyRejected: ``out_of_memory`` if not even one image fits.
    """
    from torch import OutOfMemoryError

    while True:
        try:
            return np.concatenate([predict(batch[i : i + size]) for i in range(0, len(batch), size)]), size
        except (OutOfMemoryError, MemoryError) as error:
            if size == 1:
                raise StudyRejected("out_of_memory", f"image of {batch.shape[1:]} pixels") from error
            size //= 2


def _read_ahead(
    pool: ThreadPoolExecutor, read: Callable[[Any], StudyJob], studies: Mapping[str, Any], n_ahead: int
) -> Iterator[tuple[str, Future[StudyJob]]]:
    """Reading of each study, in order, started while earlier ones are worked on."""
    started: deque[tuple[str, Future[StudyJob]]] = deque()
    for study, content in studies.items():
        started.append((study, pool.submit(_timed_read, read, content)))
        if len(started) > n_ahead:
            yield started.popleft()
    yield from started


def _timed_read(read: Callable[[Any], StudyJob], content: Any) -> StudyJob:
    start = time.perf_counter()
    job = read(content)
    job.seconds["read"] = time.perf_counter() - start
    return job


def _timed(part: str, function: Callable[[StudyJob], Any], job: StudyJob) -> Any:
    if job.error is not None:
        raise job.error
    start = time.perf_counter()
    result = function(job)
    job.seconds[part] = time.perf_counter() - start
    return result


def _split(pieces: Iterable[_Piece], n_images: int) -> tuple[list[_Piece], list[_Piece]]:
    """The first ``n_images`` images, and the rest."""
    first: list[_Piece] = []
    rest: list[_Piece] = []
    for piece in pieces:
        cut = min(piece.stop, piece.start + n_images)
        if cut > piece.start:
            first.append(piece._replace(stop=cut))
        if cut < piece.stop:
            rest.append(piece._replace(start=cut))
        n_images -= cut - piece.start
    return first, rest


def _assemble(pieces: Sequence[_Piece], batch_images: int) -> Array:
    parts = [piece.stack.inputs[piece.start : piece.stop] for piece in pieces]
    lacking = batch_images - _sizes(pieces)
    padding = np.zeros((lacking, *parts[0].shape[1:]), parts[0].dtype)
    return np.concatenate([*parts, padding])


def _scatter(pieces: Sequence[_Piece], outputs: Array) -> None:
    place = 0
    for piece in pieces:
        stack, size = piece.stack, _size(piece)
        if stack.outputs is None:
            stack.outputs = np.empty((len(stack.inputs), *outputs.shape[1:]), outputs.dtype)
        stack.outputs[piece.start : piece.stop] = outputs[place : place + size]
        stack.left -= size
        place += size


def _size(piece: _Piece) -> int:
    return piece.stop - piece.start


def _sizes(pieces: Iterable[_Piece]) -> int:
    return sum(map(_size, pieces))
