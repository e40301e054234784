"""The card of a trained network: what it is for, what it expects, what its answers mean, what it has seen."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from cmr_models.contracts.bounded_toml import load_toml

Family = Literal["segmentation", "classification", "regression", "landmark_heatmap", "landmark_coordinate", "pretrain"]

_DECIDING = (
    "digest", "kind", "config", "pixel_mm", "size", "preprocessing", "views", "classes", "target", "class_weights",
    "certainty", "slice_limits", "slice_lines", "plan",
)  # fmt: skip
_TUPLES = ("training_data", "views", "classes", "cohorts")


@dataclass(frozen=True)
class ModelCard:
    """Description of a network: its purpose, its input and its training data.

    Attributes:
        name: of the model.
        task: "segment_<view>", or as the published folders are called: "classification_cvd", "regression_ef",
            "landmark_heatmap", "landmark_coordinate", "pretrain" ...
        kind: of :func:`cmr_models.nets.build`.
        config: its settings.
        pixel_mm: pixel size that it works at; 0 for that of the images.
        size: rows and columns of the square crop that it works on; 0 for whole images.
        training_data: what it was trained on, and what the weights that it began with were trained on.
        training_settings: the resolved recipe.
        evaluation: what was measured of it.
        licence: of the weights.
        digest: SHA-256 of the weights file.
        preprocessing: "crop" (:mod:`cmr_models.segmentation.crops`), "cinema" (:mod:`cmr_models.cinema.grid`),
            "nnunet" (:mod:`cmr_models.imported.volumes`) or "steps" (:mod:`cmr_models.imported.steps`).
        views: that it takes.
        classes: names of the output channels, in order: labels, classes or landmarks.
        target: "mean" and "sd" that turn a standardised regression output into the quantity.
        class_weights: factors on the probabilities of labels, by code ("1" RV, "3" LV); 1 where none is given.
        certainty: lines (offset, slope) from the network's own certainty to predicted overlap and error
            (:mod:`cmr_models.segmentation.certainty`); none where it was not measured.
        slice_limits: by code, the overlap with an expert that the network must expect of a structure in a slice
            (:func:`cmr_models.segmentation.certainty.expected_slice_dice`); it is left out of other slices.
        slice_lines: "rv", "lv" -> the line by which a slice is told to be ventricle, transition or none
            (:mod:`cmr_models.segmentation.slice_answers`); none where it was not learned.
        cohorts: whose people were in its training or pretraining data.
        source: of an imported network: format, digests of the files that were read, their names of the labels.
        plan: of an imported network: its spacing, window, normalisation and labels (:mod:`cmr_models.imported.plan`,
            :mod:`cmr_models.imported.step_plan`).
    """

    name: str
    task: str
    kind: str
    config: Mapping[str, Any]
    pixel_mm: float
    size: int
    training_data: tuple[str, ...] = ()
    training_settings: Mapping[str, Any] = field(default_factory=dict)
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    licence: str = ""
    digest: str = ""
    preprocessing: str = "crop"
    views: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    target: Mapping[str, float] = field(default_factory=dict)
    class_weights: Mapping[str, float] = field(default_factory=dict)
    certainty: Mapping[str, Sequence[float]] = field(default_factory=dict)
    slice_limits: Mapping[str, float] = field(default_factory=dict)
    slice_lines: Mapping[str, Sequence[float]] = field(default_factory=dict)
    cohorts: tuple[str, ...] = ()
    source: Mapping[str, Any] = field(default_factory=dict)
    plan: Mapping[str, Any] = field(default_factory=dict)

    @property
    def network_digest(self) -> str:
        """SHA-256 of all that decides what the network answers: the weights, and what the card says of their use."""
        said = {name: getattr(self, name) for name in _DECIDING}
        return hashlib.sha256(json.dumps(said, sort_keys=True, default=list).encode()).hexdigest()

    @property
    def family(self) -> Family:
        """The kind of output of the network.

        Raises:
            ValueError: for a task that belongs to none.
        """
        families: dict[str, Family] = {
            "segment_": "segmentation",
            "classification_": "classification",
            "regression_": "regression",
            "landmark_heatmap": "landmark_heatmap",
            "landmark_coordinate": "landmark_coordinate",
            "pretrain": "pretrain",
        }
        for prefix, family in families.items():
            if self.task.startswith(prefix):
                return family
        raise ValueError(f"unknown task {self.task!r}; it must begin with one of {sorted(families)}")

    def has_seen(self, cohort: str | None) -> bool | None:
        """Whether people of ``cohort`` may have been in the training data: their results are then optimistic.

        Args:
            cohort: name of the cohort analysed ("UK Biobank"), compared without case, blanks and dashes; None
                if unknown.

        Returns:
            None where that cannot be told.
        """
        if cohort is None:
            return None if self.cohorts else False
        return _plain(cohort) in {_plain(name) for name in self.cohorts}


def card_text(model_card: ModelCard) -> str:
    """The card as TOML; what has its default is left out."""
    values = asdict(model_card)
    plain = [f"{key} = {_toml(value)}" for key, value in values.items() if _is_plain(key, value)]
    tables = [line for key, value in values.items() if isinstance(value, Mapping) for line in _table(key, value)]
    return "\n".join(plain + tables) + "\n"


def parse_card(text: str, where: str) -> ModelCard:
    """The card that :func:`card_text` wrote.

    Raises:
        ValueError: if it is not TOML, or has missing or unknown entries or of the wrong type; ``where`` names it.
    """
    try:
        values = load_toml(text)
    except Exception as error:
        raise ValueError(f"{where} is not valid TOML: {error}") from error
    known = [item.name for item in fields(ModelCard)]
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise ValueError(f"{where} has unknown entries {unknown}; known are {known}")
    _check_types(values, where)
    for name in _TUPLES:
        values[name] = tuple(values.get(name, ()))
    try:
        return ModelCard(**values)
    except TypeError as error:
        raise ValueError(f"{where} lacks entries: {error}") from error


_TYPES: Mapping[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("name", "task", "kind", "licence", "digest", "preprocessing"), str),
    **dict.fromkeys(("config", "training_settings", "evaluation", "target", "class_weights"), dict),
    **dict.fromkeys(("certainty", "slice_limits", "slice_lines", "source", "plan"), dict),
    **dict.fromkeys(_TUPLES, list),
    "pixel_mm": (int, float),
    "size": int,
}


def _check_types(values: Mapping[str, Any], where: str) -> None:
    wrong = [name for name, value in values.items() if not isinstance(value, _TYPES[name])]
    wrong += [
        name for name in _TUPLES if name not in wrong and not all(isinstance(v, str) for v in values.get(name, ()))
    ]
    wrong += [name for name in ("pixel_mm", "size") if name not in wrong and not 0 <= values.get(name, 1) < math.inf]
    if wrong:
        raise ValueError(f"{where} has invalid entries: {', '.join(f'{n} = {values[n]!r}' for n in wrong)}")


def _is_plain(key: str, value: Any) -> bool:
    optional = ("preprocessing", "views", "classes", "cohorts")
    left_out = key in optional and value in ("crop", ())
    return not isinstance(value, Mapping) and not left_out


def _table(name: str, values: Mapping[str, Any]) -> list[str]:
    if name not in ("config", "training_settings", "evaluation") and not values:
        return []
    plain = [f"{key} = {_toml(value)}" for key, value in values.items() if not isinstance(value, Mapping)]
    nested = [
        line for key, value in values.items() if isinstance(value, Mapping) for line in _table(f"{name}.{key}", value)
    ]
    return [f"\n[{name}]", *plain, *nested]


def _toml(value: Any) -> str:
    """A plain value as TOML, which for strings, numbers, booleans and lists of them is JSON."""
    return json.dumps(list(value) if isinstance(value, tuple) else value)


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())
