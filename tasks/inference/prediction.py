"""Predict: what a network other than a segmenter says of every study, as published predictions.

Classes, quantities and features need end-diastole and end-systole, which the derive stage knows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from cmr_models import zoo
from cmr_models.cinema import outputs
from cmr_models.cinema.network import CinemaNetwork
from cmr_models.cinema.outputs import Phases
from cmr_models.phenotypes.long_axis_function import long_axis_function
from cmr_models.reasons import Missing, StudyRejected
from cmr_models.views.view_images import ViewImages
from cmr_models.zoo.model_card import ModelCard
from tasks.execution import shards
from tasks.execution.shards import Unit
from tasks.inference.segmentation import judgeable, model_name, read_views
from tasks.state import store
from tasks.state.ledger import Entry, Outcome
from tasks.state.zarr_encoding import encode_tree

VERSION = 1
"""Raise when the same study and weights would give another answer."""

STAGE_PREFIX = "predict "
"""Begins the name of every predict stage in the ledger; the name of its predictions' folder follows."""

_EVERY_FRAME = ("landmark_heatmap", "landmark_coordinate")


@dataclass(frozen=True)
class PredictSettings:
    """Which network, for what, how.

    Attributes:
        task: of the model's card: "classification_cvd", "regression_ef", "landmark_heatmap", "pretrain" (features).
        model: as :func:`cmr_models.zoo.load` takes it.
        precision: "auto", "fp32" or "bf16".
        tokens: "mean" over each view's tokens, or "all" of them; features only.
        cohort_name: whose scans these are, to tell whether the model has seen them; None if unknown.
    """

    task: str
    model: str
    precision: str = "auto"
    tokens: outputs.Tokens = "mean"
    cohort_name: str | None = None

    @property
    def folder(self) -> str:
        """Name of the predictions' folder, and of the stage in the ledger."""
        return f"{self.task}-{model_name(self.model)}"

    @property
    def stage(self) -> str:
        """Name of the stage in the ledger: every task and model has its own."""
        return f"{STAGE_PREFIX}{self.folder}"


def predict_units(
    studies: Mapping[str, Entry], phases: Mapping[str, Phases], settings: Mapping[str, Any]
) -> list[Unit]:
    """What there is to predict: every converted study, with the key that its prediction must carry.

    Args:
        studies: study -> how it stands at the convert stage; only "ok" is predicted.
        phases: study -> end-diastole and end-systole, where known.
        settings: plain values of :class:`PredictSettings`.

    Raises:
        FileNotFoundError, ValueError: as :func:`cmr_models.zoo.card`; if the model segments.
    """
    resolved = PredictSettings(**settings)
    card = zoo.card(resolved.model, resolved.task)
    if card.family == "segmentation":
        raise ValueError(f"{card.name} segments; give it to `cmr-cohort segment --model`")
    if card.preprocessing != "cinema":
        raise ValueError(f"{card.name} has the preprocessing {card.preprocessing!r}; predict runs 'cinema' networks")
    timed = card.family not in _EVERY_FRAME
    return [
        _unit(study, entry.key, phases.get(study) if timed else None, card, resolved)
        for study, entry in sorted(studies.items())
        if entry.status == "ok"
    ]


def _unit(study: str, study_key: str, phases: Phases | None, card: ModelCard, settings: PredictSettings) -> Unit:
    moments = None if phases is None else [phases.ed, phases.es]
    content = {
        "study": study_key, "weights": card.digest, "task": card.task, "phases": moments,
        "precision": settings.precision, "tokens": settings.tokens, "predictor": VERSION,
    }  # fmt: skip
    return {"study": study, "key": store.digest(content), "study_key": study_key, "phases": moments}


def predict_chunk(units: Sequence[Unit], cohort: str, settings: dict[str, Any]) -> list[Outcome]:
    """Outcomes of ``units``: the work of one Dask task. The network is loaded once a process."""
    stage = PredictSettings(**settings).stage
    return [_one(unit, cohort, settings, stage) for unit in units]


def _one(unit: Unit, cohort: str, settings: dict[str, Any], stage: str) -> Outcome:
    outcome = shards.attempt(_predict, unit, cohort, settings, stage=stage)
    if outcome.status != "ok":
        path = store.Cohort(Path(cohort)).prediction(PredictSettings(**settings).folder, unit["study"])
        store.publish_rejection(
            path, key=unit["key"], status=outcome.status, reason=outcome.reason, detail=outcome.detail
        )
    return outcome


def _predict(unit: Unit, cohort: str, settings: dict[str, Any]) -> Outcome:
    resolved = PredictSettings(**settings)
    digest = zoo.card(resolved.model, resolved.task).digest
    network = _network(resolved.model, resolved.task, digest, resolved.precision)
    place = store.Cohort(Path(cohort))
    path = place.prediction(resolved.folder, unit["study"])
    if store.published_key(path) == unit["key"]:
        with store.open_tree(path) as tree:
            summary = {**tree.attrs["summary"], "file": store.as_published(path)._asdict()}
        return Outcome(unit["study"], resolved.stage, "ok", key=unit["key"], summary=summary)
    scans = _scans(network, place.study(unit["study"]), unit["study_key"])
    nodes, summary = answer(network, scans, _phases(unit, network.card), resolved.tokens)
    tree = xr.DataTree.from_dict({f"/{name}": node for name, node in nodes.items()})
    tree.attrs.update(
        key=unit["key"], study_key=unit["study_key"], model=network.card.name, task=network.card.task,
        weights={"digest": network.card.digest}, precision=str(network.precision).removeprefix("torch."),
        views=sorted(scans), classes=list(network.card.classes), predictor_version=VERSION, summary=summary,
    )  # fmt: skip
    published = store.publish(encode_tree(tree), path)
    return Outcome(
        unit["study"], resolved.stage, "ok", key=unit["key"], summary={**summary, "file": published._asdict()}
    )


def answer(
    network: CinemaNetwork, scans: Mapping[str, ViewImages], phases: Phases | None, tokens: outputs.Tokens = "mean"
) -> tuple[dict[str, xr.Dataset], dict[str, Any]]:
    """The arrays that are published, by node, and the values that go into the table.

    Raises:
        StudyRejected: ``image_flat`` if a frame that is looked at has no contrast.
    """
    card = network.card
    if card.family in _EVERY_FRAME:
        return _landmark_nodes(network, scans)
    if phases is None:
        raise StudyRejected("phases_unknown")
    if card.family == "classification":
        shares = outputs.class_probabilities(network, scans, phases)
        names = card.classes or tuple(map(str, range(len(shares))))
        values = {f"p_{name}": round(float(share), 6) for name, share in zip(names, shares, strict=True)}
        node = xr.Dataset({"probability": ("class", shares)})
        return {"answer": node}, {"values": {**values, "class": names[int(shares.argmax())]}, "missing": {}}
    if card.family == "regression":
        value = outputs.quantity(network, scans, phases)
        return {"answer": xr.Dataset({"value": ((), value)})}, {
            "values": {card.task.removeprefix("regression_"): round(value, 6)},
            "missing": {},
        }
    return _feature_nodes(outputs.features(network, scans, phases, tokens))


def _feature_nodes(found: outputs.Features) -> tuple[dict[str, xr.Dataset], dict[str, Any]]:
    """Class token and tokens at end-diastole and end-systole; frame 0 is end-diastole, frame 1 end-systole."""
    nodes = {"cls": xr.Dataset({"feature": (("frame", "channel"), found.cls)})}
    for view, values in found.tokens.items():
        dims = ("frame", "channel") if values.ndim == 2 else ("frame", "token", "channel")
        nodes[view] = xr.Dataset({"feature": (dims, values)})
    return nodes, {"values": {}, "missing": {}}


def _landmark_nodes(
    network: CinemaNetwork, scans: Mapping[str, ViewImages]
) -> tuple[dict[str, xr.Dataset], dict[str, Any]]:
    nodes: dict[str, xr.Dataset] = {}
    values: dict[str, float] = {}
    missing: dict[str, str] = {}
    for view, scan in scans.items():
        found = outputs.landmarks(network, scan)
        dims = ("frame", "point", "axis")
        nodes[view] = xr.Dataset(
            {
                "landmark_px": (dims, found.px),
                "landmark_published_px": (dims, found.published_px),
                "confidence": (dims[:2], found.confidence),
            }
        )
        for name, value in long_axis_function(found.px, scan.pixel_mm).items():
            if isinstance(value, Missing):
                missing[f"{view}_{name}"] = value.reason
            else:
                values[f"{view}_{name}"] = round(value, 4)
    return nodes, {"values": values, "missing": missing}


def _scans(network: CinemaNetwork, study_path: Path, study_key: str) -> dict[str, ViewImages]:
    """The scans of those of the network's views that the study has, frames without image or contrast left flat."""
    wanted = network.card.views
    views = read_views(study_path, study_key, wanted)
    present = [view for view in wanted if view in views]
    if not present:
        raise StudyRejected("model_view_missing", f"The model takes {', '.join(wanted)}.")
    scans = {}
    for view in present:
        scan, judged = judgeable(views, view)
        if judged.any():
            scans[view] = _blanked(scan, judged) if network.card.family in _EVERY_FRAME else scan
    if not scans:
        raise StudyRejected("image_flat", f"In every image of {', '.join(present)}.")
    return scans


def _blanked(scan: ViewImages, judged: npt.NDArray[np.bool_]) -> ViewImages:
    """The scan without what stands in for missing frames, so that no landmark is found there."""
    return replace(scan, images=np.where(judged[..., None, None], scan.images, 0))


def _phases(unit: Unit, card: ModelCard) -> Phases | None:
    if card.family in _EVERY_FRAME:
        return None
    if unit["phases"] is None:
        raise StudyRejected("phases_unknown", "Segment and derive first; a single frame has none.")
    return Phases(*unit["phases"])


@lru_cache(maxsize=2)
def _network(model: str, task: str, digest: str, precision: str) -> CinemaNetwork:
    """Loaded once a process; ``digest`` makes it a new one when the weights have changed."""
    return CinemaNetwork.load(model, task, precision=precision)


def phases_of(outcomes: Sequence[Outcome]) -> dict[str, Phases]:
    """End-diastole and end-systole of the studies that the derive stage has measured."""
    found = {}
    for outcome in outcomes:
        values, curves = outcome.summary.get("phenotypes", {}), outcome.summary.get("curves")
        if curves and {"ed_frame", "es_frame"} <= set(values):
            n_frames = len(curves["lv_ml"])
            found[outcome.study] = Phases(values["ed_frame"] / n_frames, values["es_frame"] / n_frames)
    return found
