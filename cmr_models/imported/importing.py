"""A network of another tool becomes a model folder of ours: safetensors and a card."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from cmr_models import zoo
from cmr_models.imported.found import Found
from cmr_models.imported.monai_bundle import is_bundle, read_bundle
from cmr_models.imported.names import names_of
from cmr_models.imported.nnunet_folder import is_nnunet, read_nnunet
from cmr_models.imported.onnx_file import is_onnx, read_onnx
from cmr_models.zoo.library import built
from cmr_models.zoo.model_card import card_text, parse_card
from cmr_models.zoo.weights_file import check_finite

_NAMED_VIEWS = {"sax": ("sax", "shortaxis"), "lax_2c": ("2ch",), "lax_3c": ("3ch",), "lax_4c": ("4ch",)}
_BY_NUMBER = {"lax_2c": ("2c", "2chamber"), "lax_3c": ("3c", "3chamber"), "lax_4c": ("4c", "4chamber")}
_RIGHT_ATRIUM = "right atrium"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


def import_model(
    source: Path,
    name: str,
    folder: Path,
    *,
    licence: str = "",
    view: str | None = None,
    labels: Mapping[str, int] | None = None,
    options: Path | None = None,
) -> tuple[Path, zoo.ModelCard]:
    """Read a network that another tool trained and write it to ``folder/name``.

    Args:
        source: a folder of nnU-Net v2, a MONAI bundle (folder or zip archive), or an ONNX file, or a folder with one.
        name: of the model.
        folder: of models.
        licence: of the weights, where the source states none.
        view: that it segments; None takes what the name of its data set says, else the 4-chamber view for a network
            that knows the right atrium, else the short axis.
        labels: the network's name of a label -> our code, where the user says what it means.
        options: how an ONNX network's images are prepared (:mod:`cmr_models.imported.onnx_options`); None for the TOML
            file beside it.

    Returns:
        The model folder and its card.

    Raises:
        FileExistsError: if something lies there.
        FileNotFoundError: if the source lacks a file.
        ValueError: if the source is of another kind, damaged, without licence, not supported, has unknown labels, or if
            code would have to run to open it.
    """
    if not _NAME.fullmatch(name) or name in zoo.shipped_names():
        raise ValueError(f"the name {name!r} is not one for a new model: letters, digits, '_', '.' and '-'")
    target = folder / name
    if target.exists():
        raise FileExistsError(f"{target} exists; give another --name, or remove it")
    found = _read(source, labels or {}, options)
    if not (licence or found.licence):
        raise ValueError(
            f"{source} states no licence; find out which it has, and state it with --accept-licence LICENCE"
        )
    card = _card(found, name, found.licence or licence, view)
    network = built(card, found.state, str(source))
    check_finite(found.state, str(source))
    parse_card(card_text(card), f"the card of {source}")
    return target, zoo.save(target, network, card, half=False)


def _read(source: Path, labels: Mapping[str, int], options: Path | None) -> Found:
    if not source.exists():
        raise FileNotFoundError(f"{source} does not exist; give the folder of a network")
    is_plan = source.is_dir() and is_nnunet(source)
    is_described = not is_plan and is_bundle(source)
    if is_onnx(source) and not (is_plan or is_described):
        return read_onnx(source, labels, options)
    if options is not None:
        raise ValueError(f"{source} is no ONNX network; only those take options from a file")
    if is_plan:
        return read_nnunet(source, labels)
    if is_described:
        return read_bundle(source, labels)
    raise ValueError(
        f"{source} is none of a folder of nnU-Net v2 (plans.json), a MONAI bundle (configs/metadata.json) and an "
        "ONNX network (.onnx)"
    )


def _card(found: Found, name: str, licence: str, view: str | None) -> zoo.ModelCard:
    classes = names_of(found.codes)
    view = view or _view(found, classes)
    return zoo.ModelCard(
        name=name,
        task=f"segment_{view}",
        kind=found.kind,
        config=found.config,
        pixel_mm=found.pixel_mm,
        size=found.size,
        training_data=found.training_data,
        licence=licence,
        preprocessing=found.preprocessing,
        views=(view,),
        classes=classes,
        source={**found.source, "labels": list(found.label_names)},
        plan=found.plan,
    )


def _view(found: Found, classes: tuple[str, ...]) -> str:
    words = "".join(letter for letter in found.data_set.lower() if letter.isalnum())
    parts = re.split(r"[^a-z0-9]+", found.data_set.lower())
    named = [view for view, texts in _NAMED_VIEWS.items() if any(text in words for text in texts)]
    named = named or [view for view, texts in _BY_NUMBER.items() if any(text in parts for text in texts)]
    if len(named) == 1:
        return named[0]
    return "lax_4c" if _RIGHT_ATRIUM in classes else "sax"
