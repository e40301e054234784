"""Moving frames for a study page: one compressed image of all frames per plane, and contours as chain codes."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from contourpy import LineType, contour_generator
from PIL import Image

from cmr_models.contracts import AORTA_ASCENDING, LA, LV, MYOCARDIUM, RA, RV
from cmr_models.views.base_apex import judge_stack_order

TILE_PX = 112
MARGIN_MM = 22.0
SPRITE_COLUMNS = 10
SPRITE_BYTES = 100_000
_QUALITIES = (72, 58, 44, 30, 18)

OUTLINES: Mapping[str, tuple[int, ...]] = {
    "rv": (RV,),
    "epi": (MYOCARDIUM, LV),
    "endo": (LV,),
    "la": (LA,),
    "ra": (RA,),
    "aorta": (AORTA_ASCENDING,),
}
_LONG_AXES = {"lax_4c": "4-chamber", "lax_2c": "2-chamber", "lax_3c": "3-chamber"}

_STEPS = {
    (1, 1): "0", (2, 0): "1", (1, -1): "2", (0, -2): "3", (-1, -1): "4", (-2, 0): "5", (-1, 1): "6", (0, 2): "7",
}  # fmt: skip


@dataclass(frozen=True)
class Plane:
    """One plane to show: its pixels and labels over the cycle, ``(frame, row, col)``."""

    name: str
    title: str
    intensity: npt.NDArray[np.uint16]
    label: npt.NDArray[np.uint8]
    valid: npt.NDArray[np.bool_]
    pixel_mm: tuple[float, float]


def planes_to_show(study: xr.DataTree, prediction: xr.DataTree | None) -> list[Plane]:
    """The basal, mid and apical short-axis planes and the long-axis planes, as far as the study has them."""
    planes: list[Plane] = []
    if "sax" in study:
        view, label = _view_and_label(study, prediction, "sax")
        for title, index in _levels(label).items():
            planes.append(_plane(view, label, index, f"sax_{title.split()[0].lower()}", f"Short axis, {title}"))
    for name, title in _LONG_AXES.items():
        if name in study:
            view, label = _view_and_label(study, prediction, name)
            planes.append(_plane(view, label, 0, name, title))
    return planes


def encode_plane(plane: Plane) -> dict[str, Any]:
    """Image of all frames, crop and outlines of one plane, as plain values for the JSON of the page.

    Returns:
        ``image`` (data URI), ``tile`` (width, height in px), ``columns``, ``size_mm`` (width, height),
        ``crop`` (width, height in source px), ``outlines`` (name -> per frame -> chain codes), ``valid``.
    """
    rows, cols = _crop(plane)
    pixels = _eight_bit(plane.intensity[:, rows, cols], plane.valid)
    tile, sprite = _sprite(pixels)
    height, width = pixels.shape[1:]
    return {
        "name": plane.name,
        "title": plane.title,
        "image": _webp(sprite),
        "tile": tile,
        "columns": min(SPRITE_COLUMNS, len(pixels)),
        "crop": [width, height],
        "size_mm": [round(width * plane.pixel_mm[1], 2), round(height * plane.pixel_mm[0], 2)],
        "valid": [int(valid) for valid in plane.valid],
        "outlines": _outlines(plane.label[:, rows, cols]),
    }


def chain_codes(masks: npt.NDArray[np.bool_]) -> list[list[str]]:
    """Borders of ``masks (frame, row, col)`` as closed chains, for each frame; a chain is ``"x:y:steps"``.

    The border runs midway between the centres of a pixel inside and its neighbour outside, so that every step is
    one of eight. Pixel centres lie at whole numbers. Start and steps are in half pixels; a step is one digit, whose
    (x, y) is in ``_STEPS``.
    """
    frames, rows, cols = masks.shape
    height = rows + 2  # all frames in one tall image, each with a margin, so that one call is enough
    tall = np.pad(masks, ((0, 0), (1, 1), (1, 1))).reshape(frames * height, cols + 2)
    lines: Any = contour_generator(z=tall.astype(np.float64), line_type=LineType.Separate).lines(0.5)
    chains: list[list[str]] = [[] for _ in range(frames)]
    for line in lines:
        frame = int(line[0, 1] // height)
        chains[frame].append(_chain(line - (1, frame * height + 1)))
    return chains


def _chain(line: npt.NDArray[np.float64]) -> str:
    points = np.rint(2 * line).astype(int)
    steps = "".join(_STEPS[x, y] for x, y in np.diff(points, axis=0).tolist())
    return f"{points[0, 0]}:{points[0, 1]}:{steps}"


def _outlines(label: npt.NDArray[np.uint8]) -> dict[str, list[list[str]]]:
    masks = {name: np.isin(label, classes) for name, classes in OUTLINES.items()}
    return {name: chain_codes(mask) for name, mask in masks.items() if mask.any()}


def _view_and_label(
    study: xr.DataTree, prediction: xr.DataTree | None, name: str
) -> tuple[xr.Dataset, npt.NDArray[np.uint8]]:
    view = study[name].to_dataset()
    if prediction is None or name not in prediction:
        return view, np.zeros(view["intensity"].shape, np.uint8)
    return view, np.asarray(prediction[name]["label"].values, np.uint8)


def _plane(view: xr.Dataset, label: npt.NDArray[np.uint8], index: int, name: str, title: str) -> Plane:
    row_mm, col_mm = (float(spacing) for spacing in view["pixel_mm"].values)
    return Plane(
        name=name,
        title=title,
        intensity=view["intensity"].isel(slice=index).values,
        label=label[:, index],
        valid=np.asarray(view["frame_valid"].isel(slice=index).values, bool),
        pixel_mm=(row_mm, col_mm),
    )


def _levels(label: npt.NDArray[np.uint8]) -> dict[str, int]:
    """Slice index of the basal, mid and apical plane: at 1/6, 1/2 and 5/6 of the slices that hold the ventricle."""
    area = (label == LV).sum(axis=(2, 3)).max(axis=0)
    with_lv = np.flatnonzero(area) if area.any() else np.arange(label.shape[1])
    if len(with_lv) < 3:
        return {"mid": int(with_lv[len(with_lv) // 2])}
    if not judge_stack_order(label).base_first:
        with_lv = with_lv[::-1]
    return {
        name: int(with_lv[round(part * (len(with_lv) - 1))])
        for name, part in (("basal", 1 / 6), ("mid", 1 / 2), ("apical", 5 / 6))
    }


def _crop(plane: Plane) -> tuple[slice, slice]:
    """A square (in mm) about everything that is labelled; the whole image where nothing is."""
    found = np.argwhere((plane.label > 0).any(axis=0))
    shape = plane.label.shape[1:]
    if len(found) == 0:
        return slice(0, shape[0]), slice(0, shape[1])
    low, high = found.min(axis=0), found.max(axis=0) + 1
    side_mm = max((high - low) * np.asarray(plane.pixel_mm)) + 2 * MARGIN_MM
    centre = (low + high) / 2
    spans = [_span(c, side_mm / mm, n) for c, mm, n in zip(centre, plane.pixel_mm, shape, strict=True)]
    return spans[0], spans[1]


def _span(centre: float, length: float, size: int) -> slice:
    length = min(round(length), size)
    start = int(np.clip(round(centre - length / 2), 0, size - length))
    return slice(start, start + length)


def _eight_bit(pixels: npt.NDArray[np.uint16], valid: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    if not valid.any():
        return np.zeros(pixels.shape, np.uint8)
    low, high = np.percentile(pixels[valid], (0.5, 99.6))
    grey = (pixels.astype(np.float32) - low) * (255 / max(high - low, 1))
    grey = np.clip(grey, 0, 255)
    grey[~valid] = 0
    eight_bit: npt.NDArray[np.uint8] = grey.astype(np.uint8)
    return eight_bit


def _sprite(pixels: npt.NDArray[np.uint8]) -> tuple[list[int], Image.Image]:
    """All frames side by side in rows of ``SPRITE_COLUMNS``, each at most ``TILE_PX`` wide and high."""
    height, width = pixels.shape[1:]
    scale = min(1.0, TILE_PX / max(height, width))
    tile = [max(1, round(width * scale)), max(1, round(height * scale))]
    columns = min(SPRITE_COLUMNS, len(pixels))
    sheet = Image.new("L", (tile[0] * columns, tile[1] * -(-len(pixels) // columns)))
    for frame, image in enumerate(pixels):
        drawn = Image.fromarray(image).resize((tile[0], tile[1]), Image.Resampling.LANCZOS)
        sheet.paste(drawn, (frame % columns * tile[0], frame // columns * tile[1]))
    return tile, sheet


def _webp(sheet: Image.Image) -> str:
    """The sheet as a WebP data URI at the best quality that stays under ``SPRITE_BYTES``."""
    for quality in _QUALITIES:
        content = io.BytesIO()
        sheet.save(content, "WEBP", quality=quality, method=2)
        if content.tell() <= SPRITE_BYTES:
            break
    return "data:image/webp;base64," + base64.b64encode(content.getvalue()).decode()
