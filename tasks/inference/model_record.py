"""What is known of the model behind a cohort's labels: its licence, and how fast it was."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from cmr_models import zoo
from tasks.inference.segment_stage import SEGMENT, TASKS
from tasks.state.ledger import Ledger
from tasks.state.store import Cohort, published_attributes

RECORD = "model.json"
"""In the folder of every run of a cohort that has labels."""


def licences_of(attributes: Mapping[str, Any]) -> dict[str, str]:
    """View -> licence of the network that labelled it; empty text where nobody states one.

    Args:
        attributes: of a prediction file. Files of earlier versions do not say their licences: that of the card of a
            shipped or published model with the same weights is taken then.
    """
    told: Mapping[str, str] = attributes.get("licences", {})
    weights: Mapping[str, str] = attributes.get("weights", {})
    name = str(attributes.get("model", ""))
    return {view: told.get(view) or _of_card(name, view, digest) for view, digest in weights.items()}


def _of_card(model: str, view: str, digest: str) -> str:
    try:
        card = zoo.card(model, TASKS.get(view))
    except (OSError, ValueError):
        return ""
    return card.licence if card.digest == digest else ""


def images_per_s(ledger: Ledger, model: str) -> float | None:
    """Images that one worker labelled in a second, over all studies that ``model`` labelled; None if not recorded."""
    lines = [
        outcome.summary.get("line", {})
        for outcome in ledger.outcomes(SEGMENT.name)
        if outcome.status == "ok" and outcome.summary.get("model") == model
    ]
    images, wall_s = (sum(float(line.get(name, 0)) for line in lines) for name in ("images", "wall"))
    return images / wall_s if images and wall_s else None


def model_record(cohort: Cohort, ledger: Ledger, model: str) -> dict[str, Any] | None:
    """What a run keeps of the model whose labels are measured; None where it has labelled no study."""
    studies = [study for study, entry in ledger.entries(SEGMENT.name).items() if entry.status == "ok"]
    found = (published_attributes(cohort.prediction(model, study)) for study in studies)
    attributes = next((known for known in found if known), None)
    if attributes is None:
        return None
    return {
        "model": model,
        "weights": dict(attributes.get("weights", {})),
        "licences": licences_of(attributes),
        "images_per_s": images_per_s(ledger, model),
    }


def recorded_speed(cohort: Cohort, ledger: Ledger, model: str) -> float | None:
    """Images/s of ``model``: of the ledger if it labelled last, else of the newest run that kept it; None if none did.

    The ledger keeps one model a study; every run keeps what it then said.
    """
    now = images_per_s(ledger, model)
    if now is not None:
        return now
    for path in sorted(cohort.runs.glob(f"*/{RECORD}"), reverse=True):
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.get("model") == model and content.get("images_per_s"):
            return float(content["images_per_s"])
    return None
