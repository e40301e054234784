"""The pipeline with networks of one line of code: what shares a batch, what fails, and what overlaps."""

import threading
import time

import numpy as np
import pytest

from cmr_models.reasons import StudyRejected
from tasks.inference.pipeline import Stack, StudyJob, run_pipeline


def reader(study):
    return lambda images: StudyJob(study, [Stack("sax", "double", np.asarray(images, np.float32))])


def run(studies, networks=None, *, batch_images=4, read=None, write=None, helpers=1):
    networks = networks or {"double": lambda batch: 2 * batch}
    return run_pipeline(
        {study: (study, images) for study, images in studies.items()},
        read or (lambda content: reader(content[0])(content[1])),
        networks,
        write or (lambda job: job.stacks[0].outputs.tolist()),
        batch_images=batch_images,
        helpers=helpers,
    )


def test_every_image_comes_back_to_its_own_study():
    studies = {f"s{i}": [[100 * i + j] for j in range(n)] for i, n in enumerate((3, 1, 9, 4, 2))}
    finished, throughput = run(studies)
    assert [done.study for done in finished] == list(studies)
    for done in finished:
        assert done.result == [[2 * x for x in image] for image in studies[done.study]]
    assert throughput.images == 19


def test_a_batch_fills_from_several_studies_and_always_has_the_full_size():
    sizes = []

    def network(batch):
        sizes.append((len(batch), len(set(np.floor(batch[:, 0])) - {0})))
        return batch

    run({f"s{i}": [[i + 1.0]] * 3 for i in range(5)}, {"double": network})
    assert sizes == [(4, 2), (4, 2), (4, 2), (4, 1)]


def test_a_study_that_cannot_be_read_takes_nobody_with_it():
    def read(content):
        if content[0] == "bad":
            raise StudyRejected("image_flat")
        return reader(content[0])(content[1])

    finished, _ = run({"a": [[1.0]], "bad": [[2.0]], "b": [[3.0]]}, read=read)
    assert [done.error is None for done in finished] == [True, False, True]
    assert finished[1].error.reason == "image_flat"


def test_a_study_that_cannot_be_written_takes_nobody_with_it():
    def write(job):
        if job.study == "bad":
            raise OSError("disk full")
        return 1

    finished, _ = run({"a": [[1.0]], "bad": [[2.0]], "b": [[3.0]]}, write=write)
    assert [done.result for done in finished] == [1, None, 1]
    assert isinstance(finished[1].error, OSError)


def test_an_error_of_the_network_ends_the_studies_of_that_batch_only():
    def network(batch):
        if (batch == 5).any():
            raise RuntimeError("no such operator")
        return batch

    finished, _ = run({f"s{i}": [[float(i)]] * 4 for i in range(8)}, {"double": network})
    assert [done.study for done in finished if done.error] == ["s5"]


def test_out_of_memory_halves_the_batch_and_remembers_what_fitted():
    tried = []

    def network(batch):
        tried.append(len(batch))
        if len(batch) > 2:
            raise MemoryError
        return 2 * batch

    finished, _ = run({"a": [[float(i)] for i in range(16)]}, {"double": network}, batch_images=8)
    assert finished[0].result == [[2.0 * i] for i in range(16)]
    assert tried == [8, 4, *[2] * 8]


def test_an_image_that_never_fits_is_out_of_memory():
    def network(batch):
        raise MemoryError

    finished, _ = run({"a": [[1.0]]}, {"double": network})
    assert finished[0].error.reason == "out_of_memory"


def test_two_networks_never_share_a_batch():
    def read(content):
        stacks = [Stack("sax", "plus", np.full((5, 1), 1.0)), Stack("lax_4c", "minus", np.full((3, 1), 1.0))]
        return StudyJob(content[0], stacks)

    networks = {"plus": lambda batch: batch + 1, "minus": lambda batch: batch - 1}
    finished, _ = run({"a": [], "b": []}, networks, read=read, write=lambda job: [s.outputs.sum() for s in job.stacks])
    assert [done.result for done in finished] == [[10, 0], [10, 0]]


def test_many_small_studies_do_not_wait_for_a_full_batch_for_ever():
    open_now, most = set(), []

    def read(content):
        open_now.add(content[0])
        most.append(len(open_now))
        return reader(content[0])(content[1])

    def write(job):
        open_now.discard(job.study)

    run({f"s{i}": [[1.0]] for i in range(60)}, batch_images=1000, read=read, write=write)
    assert max(most) <= 16


@pytest.mark.parametrize("helpers", [1, 3])
def test_reading_and_writing_go_on_while_the_network_computes(helpers):
    step_s, lock, busy = 0.02, threading.Lock(), {"device": False, "overlap": 0}

    def network(batch):
        busy["device"] = True
        time.sleep(step_s)
        busy["device"] = False
        return batch

    def slow(value):
        with lock:
            busy["overlap"] += busy["device"]
        time.sleep(step_s / 4)
        return value

    studies = {f"s{i}": [[1.0]] * 4 for i in range(10)}
    finished, throughput = run(
        studies,
        {"double": network},
        read=lambda content: slow(reader(content[0])(content[1])),
        write=slow,
        helpers=helpers,
    )
    assert all(done.error is None for done in finished)
    assert busy["overlap"] >= 6
    assert throughput.compute_s / throughput.wall_s > 0.8
    assert throughput.starved_s < 0.2 * throughput.wall_s
