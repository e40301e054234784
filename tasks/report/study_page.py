"""The page of one study: contours on moving frames, volume curves, phenotypes with reference ranges, QC, provenance."""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import xarray as xr

from cmr_models.phenotypes import PHENOTYPES, Phenotype
from cmr_models.phenotypes.quality import RULES
from cmr_models.phenotypes.reference_ranges import PETERSEN_2017, ReferenceRange, reference_range
from cmr_models.phenotypes.states import TITLES, state_of
from cmr_models.reasons import TABLE, StudyRejected
from cmr_models.zoo.licences import licences_words
from tasks.execution import shards
from tasks.inference.model_record import licences_of
from tasks.report.axis_ticks import nice_ticks
from tasks.report.frames import encode_plane, planes_to_show
from tasks.report.naming import full_name
from tasks.report.pages import KEY_NAME, clean_text, number, render, script_json
from tasks.report.perfusion_section import perfusion_section
from tasks.report.tables import MAIN_STAGES
from tasks.state.ledger import Outcome
from tasks.state.store import Cohort, publish_bytes, reading_tree

OUTLINE_TITLES = {
    "endo": "LV endocardium",
    "epi": "LV epicardium",
    "rv": "RV",
    "la": "Left atrium",
    "ra": "Right atrium",
    "aorta": "Aorta",
}
CURVES = {"lv_ml": "LV", "rv_ml": "RV", "myocardium_ml": "Myocardium"}
_UNREADABLE = "a published file cannot be read; `cmr-cohort verify` says which."
_NOT_SHOWN = {"ed_frame", "es_frame", "height_cm", "weight_kg"}
_DEFAULT_CYCLE_MS = 1000.0
_FEWEST_POINTS = 2
"""A curve needs two points: the volume of the only frame is in the table of phenotypes."""
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 560, 300, 52, 478, 22, 254


def render_study_pages(units: Sequence[shards.Unit], cohort: str, settings: dict[str, Any]) -> list[Outcome]:
    """Make the pages of a chunk of studies; :func:`tasks.execution.shards.run` calls this.

    Args:
        units: ``study``, ``key``, ``path`` (where the page goes), ``row`` (phenotypes), ``curve``
            (column -> values), ``outcomes`` (stage, status, reason, detail) and ``sex``.
        cohort: the cohort's folder.
        settings: ``model``.
    """
    return [shards.attempt(_publish_page, unit, cohort, settings, stage="report") for unit in units]


def study_page(unit: shards.Unit, cohort: Cohort, model: str) -> str:
    """The page of one study as HTML."""
    row, curve = unit["row"], unit["curve"]
    images = _images(cohort, model, unit["study"])
    frames = _frame_count(curve, images.planes)
    ed, es = _frame_index(row, "ed_frame", frames), _frame_index(row, "es_frame", frames)
    time_ms = _times(curve, images.time_ms, frames)
    drawn = volume_curve(curve, time_ms, ed, es)
    player = {
        "planes": images.planes,
        "frames": frames,
        "first": ed or 0,
        "ed": ed,
        "es": es,
        "time_ms": [round(time, 1) for time in time_ms],
        "frame_ms": round(_cycle_ms(row, time_ms) / frames, 2),
        "cursor_x": drawn["frame_x"] if drawn else [0] * frames,
    }
    return render(
        "study.html.j2",
        root="../",
        **player,
        study=clean_text(unit["study"]),
        key_name=KEY_NAME,
        key=unit["key"],
        no_images=images.why_none or "the study has no short-axis or long-axis view.",
        outlines=_outline_legend(images.planes),
        curve=drawn,
        no_curve=_why_no_curve(curve),
        data_json=script_json(player),
        checks=_checks(unit["outcomes"], row),
        slices_left_out=slices_left_out(row),
        phenotypes=phenotype_rows(row, unit["sex"]),
        reference_note=_reference_note(unit["sex"]),
        no_phenotypes="No phenotypes: the study was not measured.",
        facts=images.facts + _excluded_series(unit["outcomes"]),
        perfusion=perfusion_section(cohort, unit["study"]) if unit.get("perfusion") else None,
        **_final_state(unit["outcomes"], row),
    )


def _why_no_curve(curve: Mapping[str, Sequence[float]]) -> str:
    if not curve:
        return "No volume curve: the study was not measured."
    return "No volume curve: fewer than two frames have a volume."


def _publish_page(unit: shards.Unit, cohort: str, settings: dict[str, Any]) -> Outcome:
    page = study_page(unit, Cohort(Path(cohort)), settings["model"])
    publish_bytes(page.encode("utf-8", "replace"), Path(unit["path"]))
    return Outcome(unit["study"], "report", "ok", key=unit["key"], summary={"bytes": len(page)})


@dataclass(frozen=True)
class _Images:
    """What a page shows of the images, or why it shows none."""

    planes: list[dict[str, Any]] = field(default_factory=list)
    facts: list[tuple[str, str]] = field(default_factory=list)
    time_ms: list[float] = field(default_factory=list)
    why_none: str = ""


def _images(cohort: Cohort, model: str, study_id: str) -> _Images:
    path, predicted = cohort.study(study_id), cohort.prediction(model, study_id)
    if not path.exists():
        return _Images(why_none="the study was not converted.")
    try:
        with ExitStack() as stack:
            study = stack.enter_context(reading_tree(path))
            prediction = stack.enter_context(reading_tree(predicted)) if predicted.exists() else None
            return _Images(
                [encode_plane(plane) for plane in planes_to_show(study, prediction)],
                _facts(study, prediction),
                study["sax"].to_dataset()["time_ms"].values.tolist() if "sax" in study else [],
            )
    except (BadZipFile, OSError, StudyRejected):
        return _Images(why_none=_UNREADABLE)


def _frame_count(curve: Mapping[str, Sequence[float]], planes: Sequence[dict[str, Any]]) -> int:
    counts = [len(curve["time_ms"])] if curve else [len(plane["valid"]) for plane in planes]
    return max(counts, default=1)


def _frame_index(row: Mapping[str, Any], column: str, frames: int) -> int | None:
    value = row.get(column)
    if value is None or not math.isfinite(value) or not 0 <= value < frames:
        return None
    return int(value)


def _times(curve: Mapping[str, Sequence[float]], image_ms: list[float], frames: int) -> list[float]:
    if curve:
        return [float(time) for time in curve["time_ms"]]
    return image_ms if len(image_ms) == frames else [math.nan] * frames


def _cycle_ms(row: Mapping[str, Any], time_ms: Sequence[float]) -> float:
    rate = row.get("heart_rate_bpm")
    if rate is not None and math.isfinite(rate) and 20 < rate < 250:
        return float(60_000 / rate)
    if len(time_ms) > 1 and math.isfinite(time_ms[-1]) and time_ms[-1] > time_ms[0]:
        return float((time_ms[-1] - time_ms[0]) * len(time_ms) / (len(time_ms) - 1))
    return _DEFAULT_CYCLE_MS


def _outline_legend(planes: list[dict[str, Any]]) -> list[dict[str, str]]:
    shown = {name for plane in planes for name in plane["outlines"]}
    return [{"name": name, "title": title} for name, title in OUTLINE_TITLES.items() if name in shown]


def volume_curve(
    curve: Mapping[str, Sequence[float]], time_ms: Sequence[float], ed: int | None, es: int | None
) -> dict[str, Any] | None:
    """Coordinates of the volume curves in the drawing; None unless some curve has volumes in two frames or more."""
    series = {name: np.asarray(curve[name], float) for name in CURVES if name in curve}
    series = {name: values for name, values in series.items() if np.isfinite(values).any()}
    if max((np.isfinite(values).sum() for values in series.values()), default=0) < _FEWEST_POINTS:
        return None
    timed = bool(np.isfinite(time_ms).all())
    x = np.asarray(time_ms if timed else range(len(time_ms)), float)
    x_low, x_span = float(x[0]), max(float(x[-1] - x[0]), 1e-9)
    y_ticks = nice_ticks(0.0, max(float(np.nanmax(values)) for values in series.values()))
    frame_x = np.round(_LEFT + (x - x_low) / x_span * (_RIGHT - _LEFT), 1)

    def height(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return np.round(_BOTTOM - values / y_ticks[-1] * (_BOTTOM - _TOP), 1)

    lines = [
        {"name": name.split("_")[0], "title": CURVES[name], "path": _path(frame_x, height(values)),
         "label_at": float(height(values[np.isfinite(values)][-1:])[0]) + 4}
        for name, values in series.items()
    ]  # fmt: skip
    _spread_labels(lines)
    marks = [(ed, "ED"), (es, "ES")]
    x_ticks = [tick for tick in nice_ticks(x_low, x_low + x_span) if tick <= x_low + x_span]
    return {
        "width": _WIDTH, "height": _HEIGHT, "left": _LEFT, "right": _RIGHT, "top": _TOP, "bottom": _BOTTOM,
        "x_title": "Time after the R wave (ms)" if timed else "Frame (times are unknown)",
        "y_ticks": [{"at": float(height(np.asarray(tick))), "label": f"{tick:g}"} for tick in y_ticks],
        "x_ticks": [
            {"at": round(_LEFT + (tick - x_low) / x_span * (_RIGHT - _LEFT), 1), "label": f"{tick:g}"}
            for tick in x_ticks
        ],
        "marks": [{"at": float(frame_x[at]), "label": label} for at, label in marks if at is not None],
        "lines": lines,
        "frame_x": frame_x.tolist(),
        "cursor": float(frame_x[ed or 0]),
    }  # fmt: skip


def _path(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> str:
    parts, pen_up = [], True
    for at, value in zip(x.tolist(), y.tolist(), strict=True):
        if not math.isfinite(value):
            pen_up = True
            continue
        parts.append(f"{'M' if pen_up else 'L'}{at:g},{value:g}")
        pen_up = False
    return "".join(parts)


def _spread_labels(lines: list[dict[str, Any]], apart: float = 14.0) -> None:
    ordered = sorted(lines, key=lambda line: line["label_at"])
    for above, below in itertools.pairwise(ordered):
        below["label_at"] = max(below["label_at"], above["label_at"] + apart)


_OF_FEW = ("m²", "g/mL", "1")
"""Units of numbers about 1, whose second decimal tells something."""


def phenotype_rows(row: Mapping[str, Any], sex: str | None) -> list[dict[str, Any]]:
    """The study's phenotypes in the order of the dictionary, with a reference range where one is published."""
    shown = [item for item in PHENOTYPES if item.name not in _NOT_SHOWN and item.name in row]
    rows = [_phenotype_row(item, row, sex) for item in shown]
    return rows if any(line["value"] != number(None) for line in rows) else []


def _phenotype_row(item: Phenotype, row: Mapping[str, Any], sex: str | None) -> dict[str, Any]:
    value = row[item.name]
    known = value is not None and math.isfinite(value)
    found = reference_range(item.name, sex) if sex in ("male", "female") else None  # type: ignore[arg-type]
    digits = 0 if item.integer else 2 if item.unit in _OF_FEW else 1
    return {
        "column": item.name,
        "title": full_name(item.name),
        "value": number(float(value), digits) if known else number(None),
        "unit": "" if item.unit == "1" else item.unit,
        "range": f"{found.low:.0f}–{found.high:.0f}" if found else "",
        "out": bool(known and found and not found.low <= value <= found.high),
        "bar": _bar(float(value), found) if known and found else None,
    }


def _bar(value: float, found: ReferenceRange) -> dict[str, float]:
    span = found.high - found.low
    low, high = found.low - 0.5 * span, found.high + 0.5 * span
    at = [150 * (point - low) / (high - low) for point in (found.low, found.high, value)]
    return {"low": round(at[0], 1), "high": round(at[1], 1), "value": round(min(max(at[2], 4), 146), 1)}


def _reference_note(sex: str | None) -> str:
    if sex not in ("male", "female"):
        return "No reference ranges: the sex of the participant is unknown."
    group = {"male": "men", "female": "women"}[sex]
    return (
        f"Reference: 95 % interval of healthy {group}, {PETERSEN_2017}. Methods differ, so a value outside the range "
        "is not necessarily abnormal."
    )


def _checks(outcomes: Sequence[Mapping[str, str]], row: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = []
    for outcome in outcomes:
        for code in [outcome["reason"], *outcome.get("flags", ())]:
            if code and code != "upstream":
                found.append(_check(outcome["stage"], code, outcome["detail"] if code == outcome["reason"] else ""))
    found += [_check("derive", rule.code) for rule in RULES if row.get(rule.column) is False]
    unique = {(check["stage"], check["code"]): check for check in found}
    return list(unique.values())


def slices_left_out(row: Mapping[str, Any]) -> list[dict[str, str]]:
    """Why ventricles do not count in slices at end-diastole and end-systole: a line a ventricle, phase and reason."""
    found: dict[tuple[str, str, str], list[int]] = {}
    told = row.get("slices_left_out")
    for left in json.loads(told) if isinstance(told, str) and told else []:
        found.setdefault((left["ventricle"], left["phase"], left["reason"]), []).append(left["slice"] + 1)
    return [
        {
            "ventricle": ventricle.upper(),
            "phase": phase.upper(),
            "slices": ", ".join(str(number) for number in numbers),
            "sentence": TABLE[code].sentence,
            "code": code,
        }
        for (ventricle, phase, code), numbers in found.items()
    ]


def _check(stage: str, code: str, detail: str = "") -> dict[str, Any]:
    known = TABLE.get(code)
    sentence = known.sentence if known else code
    text = f"{sentence} ({detail})" if detail else sentence
    return {"stage": stage, "code": clean_text(code), "sentence": clean_text(text), "flagged": True}


def _final_state(outcomes: Sequence[Mapping[str, str]], row: Mapping[str, Any]) -> dict[str, str]:
    """State of the study, and in a sentence why: the stage that ended it, or the rules that it breaks."""
    for outcome in outcomes:
        if outcome["status"] != "ok":
            known = TABLE.get(outcome["reason"])
            sentence = known.sentence if known else outcome["reason"]
            state = state_of(outcome["status"], None)
            return _badge(state, f"Stage {outcome['stage']}: {clean_text(sentence)}")
    if MAIN_STAGES[-1] not in {outcome["stage"] for outcome in outcomes}:
        return _badge("unfinished", "The study has not been measured yet.")
    state = state_of("ok", row.get("qc_ok"))
    if state == "passed":
        return _badge(state, "")
    broken = [TABLE[rule.code].sentence for rule in RULES if row.get(rule.column) is False]
    return _badge(state, f"Look at the images before using the numbers: {' '.join(broken) or 'no rule was applied.'}")


def _badge(state: str, sentence: str) -> dict[str, str]:
    return {"state": state, "state_title": TITLES.get(state, state), "sentence": sentence}


def _excluded_series(outcomes: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Series of the archive that are not part of the study, by reason."""
    counts = Counter(code for outcome in outcomes for code in outcome.get("left_out", ()))
    sentences = {code: TABLE[code].sentence if code in TABLE else code for code in counts}
    return [("Series left out", clean_text(f"{n} × {sentences[code]}")) for code, n in sorted(counts.items())]


def _facts(study: xr.DataTree, prediction: xr.DataTree | None) -> list[tuple[str, str]]:
    facts = [(_view_name(name), _view_fact(study[name].to_dataset())) for name in sorted(study.children)]
    known = {"key": "Study key", "converter_version": "Converter", "source_digest": "Source digest"}
    facts += [(title, clean_text(study.attrs[name])) for name, title in known.items() if name in study.attrs]
    if prediction is not None:
        known = {"model": "Model", "key": "Prediction key"}
        facts += [
            (title, clean_text(prediction.attrs[name])) for name, title in known.items() if name in prediction.attrs
        ]
        weights = prediction.attrs.get("weights", {})
        if weights:
            facts.append(
                (
                    "Licence of the model",
                    clean_text(licences_words(licences_of({str(k): v for k, v in prediction.attrs.items()}))),
                )
            )
        facts += [
            (f"Weights, {_view_name(view).lower()}", clean_text(digest)) for view, digest in sorted(weights.items())
        ]
    return facts


_VIEW_NAMES = {
    "sax": "Short axis",
    "lax_2c": "2-chamber",
    "lax_3c": "3-chamber",
    "lax_4c": "4-chamber",
    "rvot": "RV outflow tract",
    "aorta": "Aorta",
}


def _view_name(name: str) -> str:
    return _VIEW_NAMES.get(name, name)


def _view_fact(view: xr.Dataset) -> str:
    sizes, (row_mm, col_mm) = view["intensity"].sizes, view["pixel_mm"].values
    planes = "1 plane" if sizes["slice"] == 1 else f"{sizes['slice']} planes"
    parts = [f"{planes} × {sizes['frame']} frames of {sizes['row']} × {sizes['col']} pixels"]
    parts.append(f"{row_mm:.2f} × {col_mm:.2f} mm")
    if math.isfinite(view.attrs["thickness_mm"]):
        parts.append(f"{view.attrs['thickness_mm']:.1f} mm thick")
    if math.isfinite(view.attrs["slice_mm"]):
        parts.append(f"planes {view.attrs['slice_mm']:.1f} mm apart")
    missing = int((~view["frame_valid"].values.astype(bool)).sum())
    return ", ".join(parts) + (f"; {missing} images missing" if missing else "")
