"""What a network other than a segmenter says of one study, published as its prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
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
from tasks.execution.shards import Unit
from tasks.execution.stage import done_before, each_study, publish_or_reject
from tasks.inference.predict_stage import EVERY_FRAME, PREDICT
from tasks.inference.settings import PredictSettings
from tasks.inference.study_images import judgeable, read_views
from tasks.state import store
from tasks.state.ledger import Outcome


def predict_chunk(units: Sequence[Unit], cohort: str, settings: dict[str, Any]) -> list[Outcome]:
    """Outcomes of ``units``: the work of one Dask task. The network is loaded once a process."""
    return each_study(predict_study, PredictSettings(**settings).stage, units, cohort, settings)


def predict_study(unit: Unit, cohort: str, settings: dict[str, Any]) -> Outcome:
    """One study: its prediction published with the right key, or a receipt that says why not."""
    resolved = PredictSettings(**settings)
    path = store.Cohort(Path(cohort)).prediction(resolved.folder, unit["study"])
    done = done_before(PREDICT, unit["study"], path, (unit["key"],), resolved.stage)
    if done is not None:
        return done
    study_path = store.Cohort(Path(cohort)).study(unit["study"])
    return publish_or_reject(PREDICT, unit, path, lambda: _prediction(unit, study_path, resolved), resolved.stage)


def _prediction(unit: Unit, study_path: Path, settings: PredictSettings) -> xr.DataTree:
    digest = zoo.card(settings.model, settings.task).network_digest
    network = _network(settings.model, settings.task, digest, settings.precision)
    images_by_view = _read_images(network, study_path, unit["study_key"])
    nodes, summary = answer(network, images_by_view, _phases(unit, network.card), settings.tokens)
    tree = xr.DataTree.from_dict({f"/{name}": node for name, node in nodes.items()})
    tree.attrs.update(
        key=unit["key"], study_key=unit["study_key"], model=network.card.name, task=network.card.task,
        weights={"digest": network.card.digest}, precision=str(network.precision).removeprefix("torch."),
        views=sorted(images_by_view), classes=list(network.card.classes), predictor_version=PREDICT.version,
        summary=summary,
    )  # fmt: skip
    return tree


def answer(
    network: CinemaNetwork,
    images_by_view: Mapping[str, ViewImages],
    phases: Phases | None,
    tokens: outputs.Tokens = "mean",
) -> tuple[dict[str, xr.Dataset], dict[str, Any]]:
    """The arrays that are published, by node, and the values that go into the table.

    Raises:
        StudyRejected: ``image_flat`` if a frame that is looked at has no contrast.
    """
    card = network.card
    if card.family in EVERY_FRAME:
        return _landmark_nodes(network, images_by_view)
    if phases is None:
        raise StudyRejected("phases_unknown")
    if card.family == "classification":
        shares = outputs.class_probabilities(network, images_by_view, phases)
        names = card.classes or tuple(map(str, range(len(shares))))
        values = {f"p_{name}": round(float(share), 6) for name, share in zip(names, shares, strict=True)}
        node = xr.Dataset({"probability": ("class", shares)})
        return {"answer": node}, {"values": {**values, "class": names[int(shares.argmax())]}, "missing": {}}
    if card.family == "regression":
        value = outputs.quantity(network, images_by_view, phases)
        return {"answer": xr.Dataset({"value": ((), value)})}, {
            "values": {card.task.removeprefix("regression_"): round(value, 6)},
            "missing": {},
        }
    return _feature_nodes(outputs.features(network, images_by_view, phases, tokens))


def _feature_nodes(found: outputs.Features) -> tuple[dict[str, xr.Dataset], dict[str, Any]]:
    """Class token and tokens at end-diastole and end-systole; frame 0 is end-diastole, frame 1 end-systole."""
    nodes = {"cls": xr.Dataset({"feature": (("frame", "channel"), found.cls)})}
    for view, values in found.tokens.items():
        dims = ("frame", "channel") if values.ndim == 2 else ("frame", "token", "channel")
        nodes[view] = xr.Dataset({"feature": (dims, values)})
    return nodes, {"values": {}, "missing": {}}


def _landmark_nodes(
    network: CinemaNetwork, images_by_view: Mapping[str, ViewImages]
) -> tuple[dict[str, xr.Dataset], dict[str, Any]]:
    nodes: dict[str, xr.Dataset] = {}
    values: dict[str, float] = {}
    missing: dict[str, str] = {}
    for view, view_images in images_by_view.items():
        found = outputs.landmarks(network, view_images)
        dims = ("frame", "point", "axis")
        nodes[view] = xr.Dataset(
            {
                "landmark_px": (dims, found.px),
                "landmark_published_px": (dims, found.published_px),
                "confidence": (dims[:2], found.confidence),
            }
        )
        for name, value in long_axis_function(found.px, view_images.pixel_mm).items():
            if isinstance(value, Missing):
                missing[f"{view}_{name}"] = value.reason
            else:
                values[f"{view}_{name}"] = round(value, 4)
    return nodes, {"values": values, "missing": missing}


def _read_images(network: CinemaNetwork, study_path: Path, study_key: str) -> dict[str, ViewImages]:
    """The images of those of the network's views that the study has, frames without image or contrast left flat."""
    wanted = network.card.views
    views = read_views(study_path, study_key, wanted)
    present = [view for view in wanted if view in views]
    if not present:
        raise StudyRejected("model_view_missing", f"The model takes {', '.join(wanted)}.")
    images_by_view = {}
    for view in present:
        view_images, judged = judgeable(views, view)
        if judged.any():
            images_by_view[view] = (
                _blank_missing_frames(view_images, judged) if network.card.family in EVERY_FRAME else view_images
            )
    if not images_by_view:
        raise StudyRejected("image_flat", f"In every image of {', '.join(present)}.")
    return images_by_view


def _blank_missing_frames(view_images: ViewImages, judged: npt.NDArray[np.bool_]) -> ViewImages:
    """The images without what stands in for missing frames, so that no landmark is found there."""
    return replace(view_images, images=np.where(judged[..., None, None], view_images.images, 0))


def _phases(unit: Unit, card: ModelCard) -> Phases | None:
    if card.family in EVERY_FRAME:
        return None
    if unit["phases"] is None:
        raise StudyRejected("phases_unknown", "Segment and derive first; a single frame has none.")
    return Phases(*unit["phases"])


@lru_cache(maxsize=2)
def _network(model: str, task: str, digest: str, precision: str) -> CinemaNetwork:
    """Loaded once a process; ``digest`` makes it a new one when the network has changed."""
    return CinemaNetwork.load(model, task, precision=precision)
