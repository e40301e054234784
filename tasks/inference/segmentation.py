"""Labels of chunks of studies by the networks of a model: reading, computing and writing overlap."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from cmr_models import zoo
from cmr_models.cinema.segmentation import CinemaSegmenter, Padding
from cmr_models.contracts import LABEL_NAMES, SLICE_ANSWERS, prediction
from cmr_models.contracts.labels import NOT_JUDGED
from cmr_models.imported.runners import RUNNERS
from cmr_models.reasons import StudyRejected
from cmr_models.segmentation import Segmenter
from cmr_models.segmentation.protocol import SegmentationRunner
from cmr_models.segmentation.valve_cut import cut_at_valves
from tasks.execution import shards
from tasks.execution.shards import Unit
from tasks.execution.stage import done_before, publish, publish_receipt
from tasks.inference.pipeline import Finished, Stack, StudyJob, Throughput, run_pipeline
from tasks.inference.segment_stage import SEGMENT, TASKS, network_digests
from tasks.inference.settings import SegmentSettings
from tasks.inference.study_images import Judged, judgeable, read_views
from tasks.state import store
from tasks.state.ledger import Outcome
from tasks.state.store import model_name

_MAX_HELPERS = 8
_NOT_SAID: Mapping[str, float] = {"slice_answer": NOT_JUDGED, "slice_share": 0.0}
"""What stands for an image that was not judged; NaN in other arrays."""

Networks = Mapping[str, SegmentationRunner[Any]]
"""View -> the network that segments it."""

_log = logging.getLogger("cmr_cohort")


def segment_chunk(units: Sequence[Unit], cohort: str, settings: dict[str, Any]) -> list[Outcome]:
    """Outcomes of ``units``: the work of one Dask task. Networks are loaded once a process."""
    resolved = SegmentSettings(**settings)
    return segment_with(load_networks(resolved), units, store.Cohort(Path(cohort)), resolved)


def load_networks(settings: SegmentSettings) -> dict[str, SegmentationRunner[Any]]:
    """View -> the network that segments it; loaded once a process.

    Raises:
        FileNotFoundError, ValueError: as :func:`cmr_models.zoo.load`.
    """
    return {
        view: _segmenter(settings.model, TASKS[view], digest, settings.precision, settings.padding)
        for view, digest in network_digests(settings.model).items()
    }


def segment_with(
    networks: Networks,
    units: Sequence[Unit],
    cohort: store.Cohort,
    settings: SegmentSettings,
) -> list[Outcome]:
    """Outcomes of ``units`` by the given network of each view, reading and writing while it computes."""
    paths = {unit["study"]: cohort.prediction(model_name(settings.model), unit["study"]) for unit in units}
    finished, throughput = run_pipeline(
        {unit["study"]: unit for unit in units},
        lambda unit: _read(networks, cohort.study(unit["study"]), paths[unit["study"]], unit),
        {view: network.predict for view, network in networks.items()},
        lambda job: _write(networks, job, settings.model),
        batch_images=min(network.batch_images(settings.batch_images) for network in networks.values()),
        helpers=_helpers(networks),
    )
    _log.info("segment: %s", throughput.text(finished))
    return [_outcome(unit, done, paths[unit["study"]], throughput) for unit, done in zip(units, finished, strict=True)]


def _helpers(networks: Networks) -> int:
    """Reader and writer threads: a GPU needs several to keep up with it, a processor is the network's own."""
    on_gpu = any(network.device.type == "cuda" for network in networks.values())
    return max(1, min(_MAX_HELPERS, len(os.sched_getaffinity(0)) // 2)) if on_gpu else 1


# reader threads


@dataclass(frozen=True)
class _View:
    """Where one view's crops lie, which of its images there are, ``judged (frame, slice)``, and its geometry."""

    placement: Any
    shape: tuple[int, int, int, int]
    judged: npt.NDArray[np.bool_]
    geometry: xr.Dataset


@dataclass(frozen=True)
class _Reading:
    unit: Unit
    path: Path
    views: Mapping[str, _View]


def _read(networks: Networks, study_path: Path, path: Path, unit: Unit) -> StudyJob:
    """The crops of one study; no crops, but its outcome, if an earlier run has done it."""
    done = done_before(SEGMENT, unit["study"], path, (unit["key"],))
    if done is not None:
        return StudyJob(unit["study"], [], done)
    stacks, views = [], {}
    images, geometry = _read_images(study_path, unit["study_key"], tuple(networks))
    for view, (view_images, judged) in images.items():
        crops, placement = networks[view].crops(view_images)
        stacks.append(Stack(view, view, crops))
        shape = view_images.images.shape
        views[view] = _View(placement, shape, judged & placement.judged(shape), geometry[view])
    if not any(seen.judged.any() for seen in views.values()):
        raise StudyRejected("image_flat", f"Around the heart, in every image of {', '.join(sorted(views))}.")
    return StudyJob(unit["study"], stacks, _Reading(unit, path, views))


def _read_images(
    study_path: Path, study_key: str, wanted: Sequence[str]
) -> tuple[dict[str, Judged], dict[str, xr.Dataset]]:
    """View -> its images, and which of them can be judged; only views with such images. View -> its geometry."""
    views = read_views(study_path, study_key, wanted)
    present = [view for view in wanted if view in views]
    if not present:
        raise StudyRejected("model_view_missing", f"The model segments {', '.join(wanted)}.")
    found = {view: judgeable(views, view) for view in present}
    kept = {view: content for view, content in found.items() if content[1].any()}
    if not kept or ("sax" in found and "sax" not in kept):
        raise StudyRejected("image_flat", f"In every image of {', '.join(sorted(set(found) - set(kept)))}.")
    return kept, {view: views[view].drop_vars("intensity") for view in kept}


# device thread


@lru_cache(maxsize=8)
def _segmenter(
    model: str, task: str, digest: str, precision: str, padding: Padding = "black"
) -> SegmentationRunner[Any]:
    """Loaded once a process; ``digest`` makes it a new one when the weights have changed."""
    preprocessing = zoo.card(model, task).preprocessing
    if preprocessing in RUNNERS:
        return RUNNERS[preprocessing].load(model, task, precision=precision)
    if preprocessing != "cinema":
        return Segmenter.load(model, task, precision=precision)
    segmenter = CinemaSegmenter.load(model, task, precision=precision)
    segmenter.pad(padding)
    return segmenter


# writer threads


def _write(networks: Networks, job: StudyJob, model: str) -> Outcome:
    if isinstance(job.context, Outcome):
        return job.context
    reading: _Reading = job.context
    found = {stack.view: _labels(stack, reading.views[stack.view], networks[stack.view]) for stack in job.stacks}
    labels = {view: label for view, (label, _) in found.items()}
    said = {view: certainty for view, (_, certainty) in found.items()}
    told = _cut_at_valves(labels, said, reading.views)
    tree = prediction(
        labels,
        {view: seen.judged for view, seen in reading.views.items()},
        said,
        key=reading.unit["key"],
        study_key=reading.unit["study_key"],
        model=model_name(model),
        weights={view: networks[view].card.digest for view in labels},
        licences={view: networks[view].card.licence for view in labels},
        certainty={view: dict(networks[view].card.certainty) for view in said if "predicted_dice" in said[view]},
        precision=str(networks[job.stacks[0].view].precision).removeprefix("torch."),
        **told,
        classes={str(code): name for code, name in LABEL_NAMES.items()},
        segmenter_version=SEGMENT.version,
        grids={view: dict(seen.placement.parameters()) for view, seen in reading.views.items()},
    )
    return publish(SEGMENT, job.study, reading.path, tree)


def _labels(
    stack: Stack, view: _View, network: SegmentationRunner[Any]
) -> tuple[npt.NDArray[np.uint8], dict[str, npt.NDArray[Any]]]:
    """Labels and certainty of the images that were judged; background and NaN elsewhere."""
    if stack.outputs is None or np.isnan(stack.outputs.min()):
        raise StudyRejected("output_not_finite", f"In {stack.view} by {network.card.name}.")
    labels, certainty = network.labels_and_certainty(stack.outputs, view.placement, view.shape)
    labels[~view.judged] = 0
    of_frames = np.any(view.judged, axis=1)
    judged = {name: of_frames if name == "predicted_dice" else view.judged for name in certainty}
    return labels, {
        name: np.where(judged[name][..., None], values, _NOT_SAID.get(name, np.nan)).astype(values.dtype)
        for name, values in certainty.items()
    }


def _cut_at_valves(
    labels: dict[str, npt.NDArray[np.uint8]],
    said: dict[str, dict[str, npt.NDArray[Any]]],
    views: Mapping[str, _View],
) -> dict[str, Any]:
    """End the short axis of ``labels`` at its valves, with its answers in ``said``; what the file says of it.

    Networks that do not answer for slices stay as their authors made them.
    """
    answers = said.get("sax", {})
    if "slice_answer" not in answers:
        return {}
    geometry = {view: seen.geometry for view, seen in views.items()}
    cut = cut_at_valves(labels, geometry, answers["slice_answer"], answers["slice_share"])
    labels["sax"] = cut.labels
    said["sax"] = answers | {"slice_answer": cut.answer, "slice_share": cut.share}
    return {"valves": cut.valves, "slice_answers": {str(code): name for code, name in SLICE_ANSWERS.items()}}


# outcomes


def _outcome(unit: Unit, done: Finished, path: Path, throughput: Throughput) -> Outcome:
    """The outcome of one study, its rejection published beside where its prediction would be."""
    outcome = shards.attempt(lambda *_: done.unwrap(), unit, "", {}, stage=SEGMENT.name)
    publish_receipt(outcome, path)
    seconds = {part: round(value, 4) for part, value in done.seconds.items()}
    line = {"images": done.images, **seconds, **throughput.share(done.images)}
    return replace(outcome, seconds=round(sum(done.seconds.values()), 4), summary={**outcome.summary, "line": line})
