"""Segment: every frame of every short-axis stack and four-chamber view, as published predictions."""

from __future__ import annotations

import logging
import os
import zipfile
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
from cmr_models.contracts import LABEL_NAMES, REFERENCE_VARIABLES, prediction
from cmr_models.reasons import TRANSIENT, StudyRejected
from cmr_models.segmentation import Segmenter
from cmr_models.views.view_images import ViewImages, gather_view_images
from tasks.execution import shards
from tasks.execution.shards import Unit
from tasks.inference.pipeline import Finished, Job, Stack, Throughput, run_line
from tasks.state import store
from tasks.state.ledger import Entry, Outcome, Status
from tasks.state.zarr_encoding import encode_tree

STAGE = "segment"
VERSION = 5
"""Raise when the same study and weights would give other labels: every study is then segmented again."""

TASKS = {"sax": "segment_sax", "lax_4c": "segment_lax_4c"}
"""View -> the task of the network that segments it."""

_MAX_HELPERS = 8

AnySegmenter = Segmenter | CinemaSegmenter

_log = logging.getLogger("cmr_cohort")


@dataclass(frozen=True)
class SegmentSettings:
    """Which network, how.

    Attributes:
        model: name in the zoo, or a folder with weights and card.
        batch_images: images a forward pass; it changes nothing beyond rounding, so the key leaves it out.
        precision: "auto" (bf16 where the device has it), "fp32" or "bf16".
        padding: what CineMA's segmenter does with the padding of a stack that is shorter than its input: "black" lets
            it see black slices, as published; "masked" keeps them out of convolutions and attention.
    """

    model: str = "default"
    batch_images: int = 64
    precision: str = "auto"
    padding: Padding = "black"


def model_name(model: str) -> str:
    """The folder of a model's predictions: its name, or the last part of its folder."""
    return Path(model.removeprefix(zoo.HUB_PREFIX)).name.removesuffix(".safetensors")


def weights_digests(model: str) -> dict[str, str]:
    """View -> digest of the weights that segment it, from the cards alone; only views that the model is for.

    Raises:
        FileNotFoundError, ValueError: as :func:`cmr_models.zoo.card`, if the model is for no view.
    """
    digests: dict[str, str] = {}
    errors: list[FileNotFoundError | ValueError] = []
    for view, task in TASKS.items():
        try:
            digests[view] = zoo.card(model, task).digest
        except (FileNotFoundError, ValueError) as error:
            errors.append(error)
    if not digests:
        raise errors[0]
    return digests


def segment_units(studies: Mapping[str, Entry], settings: Mapping[str, Any]) -> list[Unit]:
    """What there is to segment: every converted study, with the key that its prediction must carry.

    Args:
        studies: study -> how it stands at the convert stage; only "ok" is segmented.
        settings: plain values of :class:`SegmentSettings`.
    """
    resolved = SegmentSettings(**settings)
    digests = weights_digests(resolved.model)
    return [
        {
            "study": study,
            "key": prediction_key(entry.key, digests, resolved.precision, resolved.padding),
            "study_key": entry.key,
        }
        for study, entry in sorted(studies.items())
        if entry.status == "ok"
    ]


def prediction_key(study_key: str, digests: Mapping[str, str], precision: str, padding: Padding = "black") -> str:
    """Key of a prediction: of what, by which weights, how; the published padding is no part of it, as ever."""
    content = {"study": study_key, "weights": dict(digests), "precision": precision, "segmenter": VERSION}
    if padding != "black":
        content["padding"] = padding
    return store.digest(content)


def segment_chunk(units: Sequence[Unit], cohort: str, settings: dict[str, Any]) -> list[Outcome]:
    """Outcomes of ``units``: the work of one Dask task. Networks are loaded once a process."""
    resolved = SegmentSettings(**settings)
    digests = weights_digests(resolved.model)
    networks = {
        view: _segmenter(resolved.model, TASKS[view], digest, resolved.precision, resolved.padding)
        for view, digest in digests.items()
    }
    return segment_with(networks, units, store.Cohort(Path(cohort)), resolved)


def segment_with(
    networks: Mapping[str, AnySegmenter],
    units: Sequence[Unit],
    cohort: store.Cohort,
    settings: SegmentSettings,
) -> list[Outcome]:
    """Outcomes of ``units`` by the given network of each view, reading and writing while it computes."""
    paths = {unit["study"]: cohort.prediction(model_name(settings.model), unit["study"]) for unit in units}
    finished, throughput = run_line(
        {unit["study"]: unit for unit in units},
        lambda unit: _read(networks, cohort.study(unit["study"]), paths[unit["study"]], unit),
        {view: network.answers for view, network in networks.items()},
        lambda job: _write(networks, job, settings.model),
        batch_images=min(network.batch_images(settings.batch_images) for network in networks.values()),
        helpers=_helpers(networks),
    )
    _log.info("segment: %s", throughput.text(finished))
    return [_outcome(unit, done, paths[unit["study"]], throughput) for unit, done in zip(units, finished, strict=True)]


def _helpers(networks: Mapping[str, AnySegmenter]) -> int:
    """Reader and writer threads: a GPU needs several to keep up with it, a processor is the network's own."""
    on_gpu = any(network.device.type == "cuda" for network in networks.values())
    return max(1, min(_MAX_HELPERS, len(os.sched_getaffinity(0)) // 2)) if on_gpu else 1


# reader threads


@dataclass(frozen=True)
class _View:
    """Where one view's crops lie, and which of its images there are: ``judged (frame, slice)``."""

    placement: Any
    shape: tuple[int, int, int, int]
    judged: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class _Reading:
    unit: Unit
    path: Path
    views: Mapping[str, _View]


def _read(networks: Mapping[str, AnySegmenter], study_path: Path, path: Path, unit: Unit) -> Job:
    """The crops of one study; no crops, but its outcome, if an earlier run has done it."""
    done = _done_before(path, unit)
    if done is not None:
        return Job(unit["study"], [], done)
    stacks, views = [], {}
    for view, (scan, judged) in _scans(study_path, unit["study_key"], tuple(networks)).items():
        crops, placement = networks[view].crops(scan)
        stacks.append(Stack(view, view, crops))
        views[view] = _View(placement, scan.images.shape, judged & placement.judged(scan.images.shape))
    if not any(seen.judged.any() for seen in views.values()):
        raise StudyRejected("image_flat", f"Around the heart, in every image of {', '.join(sorted(views))}.")
    return Job(unit["study"], stacks, _Reading(unit, path, views))


def _done_before(path: Path, unit: Unit) -> Outcome | None:
    if store.published_key(path) == unit["key"]:
        return Outcome(unit["study"], STAGE, "ok", key=unit["key"], summary=_published_summary(path))
    receipt = store.rejection(path)
    if receipt is None or receipt["key"] != unit["key"]:
        return None
    status: Status = "absent" if receipt["status"] == "absent" else "quarantined"
    return Outcome(unit["study"], STAGE, status, receipt["reason"], receipt["detail"], unit["key"])


_Judged = tuple[ViewImages, npt.NDArray[np.bool_]]


def _scans(study_path: Path, study_key: str, wanted: Sequence[str]) -> dict[str, _Judged]:
    """View -> its scan, and which images can be judged; only views with such images."""
    views = read_views(study_path, study_key, wanted)
    present = [view for view in wanted if view in views]
    if not present:
        raise StudyRejected("model_view_missing", f"The model segments {', '.join(wanted)}.")
    found = {view: judgeable(views, view) for view in present}
    kept = {view: content for view, content in found.items() if content[1].any()}
    if not kept or ("sax" in found and "sax" not in kept):
        raise StudyRejected("image_flat", f"In every image of {', '.join(sorted(set(found) - set(kept)))}.")
    return kept


def read_views(study_path: Path, study_key: str, wanted: Sequence[str]) -> dict[str, xr.Dataset]:
    """Every view of a published study, with the pixels of those that are ``wanted``.

    Raises:
        StudyRejected: ``file_unreadable`` if the study is another than was planned, or damaged.
    """
    if store.published_key(study_path) != study_key:
        raise StudyRejected("file_unreadable", "The study is not there as it was planned; run again.")
    try:
        with store.open_tree(study_path) as study:
            nodes = {
                str(name): node.to_dataset().drop_vars(REFERENCE_VARIABLES, errors="ignore")
                for name, node in study.children.items()
            }
            return {
                name: (view if name in wanted else view.drop_vars("intensity")).load() for name, view in nodes.items()
            }
    except zipfile.BadZipFile as error:
        raise StudyRejected("file_unreadable", "A member of the study is damaged.") from error


def judgeable(views: Mapping[str, xr.Dataset], view: str) -> _Judged:
    """The scan of ``view``, gaps in time bridged, and ``(frame, slice)`` True where there is an image with contrast."""
    images = views[view]["intensity"].values
    flat = images.min(axis=(2, 3)) == images.max(axis=(2, 3))
    judged = views[view]["frame_valid"].values & ~flat
    return gather_view_images(views, view, _bridged(images, judged)), judged


def _bridged(images: npt.NDArray[Any], judged: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
    """Images with the nearest frame where one is missing, so that smoothing over time does not see a hole.

    What the network says of such an image is thrown away.
    """
    if judged.all():
        return images
    bridged = images.copy()
    for frame, plane in np.argwhere(~judged & judged.any(axis=0)):
        there = np.flatnonzero(judged[:, plane])
        bridged[frame, plane] = images[there[np.argmin(np.abs(there - frame))], plane]
    return bridged


# device thread


@lru_cache(maxsize=4)
def _segmenter(model: str, task: str, digest: str, precision: str, padding: Padding = "black") -> AnySegmenter:
    """Loaded once a process; ``digest`` makes it a new one when the weights have changed."""
    if zoo.card(model, task).preprocessing != "cinema":
        return Segmenter.load(model, task, precision=precision)
    segmenter = CinemaSegmenter.load(model, task, precision=precision)
    segmenter.pad(padding)
    return segmenter


# writer threads


def _write(networks: Mapping[str, AnySegmenter], job: Job, model: str) -> Outcome:
    if isinstance(job.context, Outcome):
        return job.context
    reading: _Reading = job.context
    labels = {stack.view: _labels(stack, reading.views[stack.view], networks[stack.view]) for stack in job.stacks}
    tree = prediction(
        labels,
        {view: seen.judged for view, seen in reading.views.items()},
        key=reading.unit["key"],
        study_key=reading.unit["study_key"],
        model=model_name(model),
        weights={view: networks[view].card.digest for view in labels},
        precision=str(networks[job.stacks[0].view].precision).removeprefix("torch."),
        classes={str(code): name for code, name in LABEL_NAMES.items()},
        segmenter_version=VERSION,
        grids={view: dict(seen.placement.parameters()) for view, seen in reading.views.items()},
    )
    published = store.publish(encode_tree(tree), reading.path)
    summary = {**summary_of(tree), **published._asdict()}
    return Outcome(job.study, STAGE, "ok", key=reading.unit["key"], summary=summary)


def _labels(stack: Stack, view: _View, network: AnySegmenter) -> npt.NDArray[np.uint8]:
    if stack.outputs is None or np.isnan(stack.outputs.min()):
        raise StudyRejected("output_not_finite", f"In {stack.view} by {network.card.name}.")
    labels = network.labels(stack.outputs, view.placement, view.shape)  # type: ignore[arg-type]
    labels[~view.judged] = 0
    return labels


def _published_summary(path: Path) -> dict[str, Any]:
    with store.open_tree(path) as tree:
        return {**summary_of(tree), **store.as_published(path)._asdict()}


def summary_of(tree: xr.DataTree) -> dict[str, Any]:
    """What the ledger keeps of a prediction: whose labels they are, and how many images of each view were judged."""
    judged = {view: node.to_dataset()["judged"].values for view, node in tree.children.items()}
    views = {view: {"images": seen.size, "unjudged": int((~seen).sum())} for view, seen in judged.items()}
    return {"model": str(tree.attrs["model"]), "views": views}


# outcomes


def _outcome(unit: Unit, done: Finished, path: Path, throughput: Throughput) -> Outcome:
    """The outcome of one study, its rejection published beside where its prediction would be."""
    outcome = shards.attempt(lambda *_: done.unwrap(), unit, "", {}, stage=STAGE)
    if outcome.status != "ok" and outcome.reason not in TRANSIENT:
        store.publish_rejection(
            path, key=unit["key"], status=outcome.status, reason=outcome.reason, detail=outcome.detail
        )
    seconds = {part: round(value, 4) for part, value in done.seconds.items()}
    line = {"images": done.images, **seconds, **throughput.share(done.images)}
    return replace(outcome, seconds=round(sum(done.seconds.values()), 4), summary={**outcome.summary, "line": line})
