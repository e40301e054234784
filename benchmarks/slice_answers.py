"""Which slices show a ventricle: lines for a network's card, learnt on simulated patients, measured on drawn ones.

    python -m benchmarks.slice_answers [--model default] [--patients 120] [--card FILE] [--out FILE]
    python -m benchmarks.slice_answers --model acdc --folds 0=RUN 1=RUN ... [--card FILE] [--out FILE]

The lines (:mod:`cmr_models.segmentation.slice_answers`) are learnt from whole simulated stacks, whose share of
ventricle in every slice is known, with the network's own answers to them. ACDC's 100 patients are measured
only: no number of theirs is in the card, whose licence they would restrict. ``--card`` puts the lines into that card.

With ``--folds`` (as of :mod:`benchmarks.drawn_hearts`) they are learnt from ACDC's drawn slices, with the answers of
networks that have not seen the patient, for a model whose licence is that of these data; what is measured is
cross-validation over the same folds, and each fold's network gets the lines of the other folds into its card. A drawn
slice is wholly ventricle, one that is left empty is none.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from scipy.optimize import minimize
from sklearn.metrics import roc_auc_score

from benchmarks.drawn_data import acdc
from benchmarks.drawn_hearts import DATA, models_of_folds
from benchmarks.kept_results import keep_beside_others
from cmr_models.contracts import VENTRICLES
from cmr_models.segmentation.restoring import network_view
from cmr_models.segmentation.segmenter import Segmenter, prepare, shared_segmenter
from cmr_models.segmentation.slice_answers import COUNTED, LINES, SIGNS, answer_slices, signs_of
from cmr_models.simulate.training import patient_stack
from cmr_models.zoo.library import CARD_FILE
from cmr_models.zoo.model_card import card_text, parse_card
from tasks.execution.process import prepare_process

Array = npt.NDArray[Any]

_SEED = 1907
_RESULTS = Path(__file__).parent / "results" / "slice_answers.json"


def main() -> None:
    """Learn, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="default")
    parser.add_argument("--patients", type=int, default=120, help="simulated ones to learn from; as many to test on")
    parser.add_argument("--folds", nargs="*", default=[], help="learn from ACDC: fold=RUN")
    parser.add_argument("--card", type=Path)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--out", type=Path, default=_RESULTS)
    arguments = parser.parse_args()
    prepare_process()
    results = learnt_from_drawn(arguments) if arguments.folds else learnt_from_simulated(arguments)
    print(json.dumps(results, indent=1))
    keep_beside_others(arguments.out, arguments.model, results)
    if arguments.card:
        _put(results["lines"], arguments.card)


def _put(lines: Mapping[str, Any], file: Path) -> None:
    """Put lines into a card."""
    card = parse_card(file.read_text(encoding="utf-8"), str(file))
    file.write_text(card_text(replace(card, slice_lines=lines)), encoding="utf-8")


def learnt_from_simulated(arguments: argparse.Namespace) -> dict[str, Any]:
    """Lines, and how well they tell slices of other simulated patients and of ACDC."""
    segmenter = shared_segmenter(arguments.model, "segment_sax")
    learnt, unseen = (slices_of_simulated(segmenter, arguments.patients, _SEED + k) for k in range(2))
    lines = {name: fitted(*learnt[name]) for name in LINES}
    results: dict[str, Any] = {"lines": lines, "patients": arguments.patients}
    results["simulated"] = {name: figures(*unseen[name], lines, name) for name in LINES}
    if (arguments.data / "acdc_training").is_dir():
        results["acdc"] = on_acdc(segmenter, arguments.data, lines)
    return results


def learnt_from_drawn(arguments: argparse.Namespace) -> dict[str, Any]:
    """Lines of all patients of ACDC, and how well those of four folds tell the slices of the fifth."""
    chosen = models_of_folds(arguments.data, dict(item.split("=", 1) for item in arguments.folds))
    rows = pd.DataFrame(_drawn_signs(arguments.data, chosen))
    lines = {name: _fitted_on_drawn(rows[rows["ventricle"] == name]) for name in LINES}
    folds = []
    for run in sorted(set(chosen.values())):
        others = rows[rows["run"] != run]
        of_others = {name: _fitted_on_drawn(others[others["ventricle"] == name]) for name in LINES}
        _put(of_others, Path(run) / CARD_FILE)
        for name in LINES:
            out = rows[(rows["run"] == run) & (rows["ventricle"] == name)]
            folds.append(out.reset_index().join(_answered(np.stack(out["signs"].to_list()), of_others, name)))
    told = pd.concat(folds)
    measured = {f"{name}_{phase}": _of_drawn(part) for (name, phase), part in told.groupby(["ventricle", "phase"])}
    return {"lines": lines, "patients": len(chosen), "acdc": measured}


def _drawn_signs(data: Path, chosen: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """A row an image of ACDC in which the patient's network finds a ventricle."""
    for reference in acdc(data / "acdc_training"):
        volume = reference.volume
        if not (run := chosen.get(volume.patient)):
            continue
        signs = signs_in(shared_segmenter(run, "segment_sax"), volume.images[None], volume.spacing_mm[:2])[0]
        for name, code in LINES.items():
            v = VENTRICLES.index(code)
            for k in np.flatnonzero(np.isfinite(signs[:, v, 0])):
                yield {
                    "run": run, "ventricle": name, "phase": volume.phase, "signs": signs[k, v],
                    "drawn": bool((volume.labels[k] == code).any()),
                }  # fmt: skip


def _fitted_on_drawn(rows: pd.DataFrame) -> tuple[float, ...]:
    return fitted(np.stack(rows["signs"].to_list()), rows["drawn"].to_numpy(float))


def slices_of_simulated(segmenter: Segmenter, n: int, seed: int) -> dict[str, tuple[Array, Array]]:
    """Ventricle -> signs ``(image, sign)`` and shares ``(image,)`` of the images in which the network finds it."""
    signs: dict[str, list[Array]] = {name: [] for name in LINES}
    shares: dict[str, list[Array]] = {name: [] for name in LINES}
    for i in range(n):
        stack = patient_stack(np.random.default_rng([seed, i]))
        found = signs_in(segmenter, stack.images, (stack.pixel_mm, stack.pixel_mm))
        for name, code in LINES.items():
            v = VENTRICLES.index(code)
            seen = np.isfinite(found[..., v, 0])
            signs[name].append(found[..., v, :][seen])
            shares[name].append(stack.share[..., v][seen])
    return {name: (np.concatenate(signs[name]), np.concatenate(shares[name])) for name in LINES}


def signs_in(segmenter: Segmenter, images: Array, pixel_mm: tuple[float, float]) -> Array:
    """``(frame, slice, ventricle, sign)`` of images ``(frame, slice, row, col)``."""
    window = segmenter.locate(images, pixel_mm)
    probabilities = segmenter.probabilities(prepare(images, window, segmenter.channels))
    labels, sums = network_view(probabilities, window, images.shape[:2], segmenter.card)
    return signs_of(labels, sums)


def fitted(signs: Array, share: Array) -> tuple[float, ...]:
    """Thresholds and weights of largest likelihood, with ordered answers: none, transition, ventricle."""
    answer = classes(share)
    start = np.array([1.0, 0.0, *np.ones(len(SIGNS))])
    found = minimize(_minus_log_likelihood, start, args=(signs, answer), method="BFGS").x
    return tuple(round(float(v), 3) for v in (found[0], found[0] + np.exp(found[1]), *found[2:]))


def classes(share: Array) -> Array:
    """0 none, 1 transition, 2 ventricle."""
    return np.where(share <= 0, 0, np.where(share < 1, 1, 2))


def _minus_log_likelihood(line: Array, signs: Array, answer: Array) -> float:
    score = signs @ line[2:]
    partly, wholly = (1 / (1 + np.exp(-np.clip(score - c, -50, 50))) for c in (line[0], line[0] + np.exp(line[1])))
    likelihood = np.choose(answer, [1 - partly, partly - wholly, wholly])
    return float(-np.log(np.maximum(likelihood, 1e-12)).mean())


def figures(signs: Array, share: Array, lines: dict[str, Any], name: str) -> dict[str, float]:
    """How well the answers tell which slices count, and how far the expected share is off."""
    found = _answered(signs, lines, name)
    counts = share >= COUNTED
    return {
        "slices": len(share),
        "slices_that_do_not_count": round(float(1 - counts.mean()), 4),
        "area_under_curve": round(float(roc_auc_score(counts, found["share"])), 4),
        "right": round(float((counts == (found["share"] >= COUNTED)).mean()), 4),
        "right_of_three": round(float((found["answer"] == classes(share)).mean()), 4),
        "mean_confidence": round(float(found["confidence"].mean()), 4),
        "share_absolute_error": round(float(np.abs(found["share"] - share).mean()), 4),
    }


def _answered(signs: Array, lines: dict[str, Any], name: str) -> pd.DataFrame:
    """Of images each by itself: share, answer (of :func:`classes`), confidence."""
    v = VENTRICLES.index(LINES[name])
    four = np.full((1, len(signs), len(VENTRICLES), len(SIGNS)), np.nan)
    four[0, :, v] = signs
    said = answer_slices(four, lines)
    share, is_transition, confidence = (values[0, :, v] for values in said)
    answer = np.where(is_transition, 1, np.where(share >= COUNTED, 2, 0))
    return pd.DataFrame({"share": share, "answer": answer, "confidence": confidence})


def on_acdc(segmenter: Segmenter, data: Path, lines: dict[str, Any]) -> dict[str, Any]:
    """Of the slices in which the network finds a ventricle, how well those are told in which experts drew it."""
    rows = pd.DataFrame(_rows_of_acdc(segmenter, data, lines))
    return {f"{name}_{phase}": _of_drawn(part) for (name, phase), part in rows.groupby(["ventricle", "phase"])}


def _rows_of_acdc(segmenter: Segmenter, data: Path, lines: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for reference in acdc(data / "acdc_training"):
        volume = reference.volume
        signs = signs_in(segmenter, volume.images[None], volume.spacing_mm[:2])
        said = answer_slices(signs, lines)
        for name, code in LINES.items():
            v = VENTRICLES.index(code)
            for k in np.flatnonzero(np.isfinite(signs[0, :, v, 0])):
                yield {
                    "ventricle": name, "phase": volume.phase, "share": said.share[0, k, v],
                    "confidence": said.confidence[0, k, v], "drawn": bool((volume.labels[k] == code).any()),
                }  # fmt: skip


def _of_drawn(rows: pd.DataFrame) -> dict[str, float]:
    counted = rows["share"] >= COUNTED
    sure = rows["confidence"] >= rows["confidence"].median()
    return {
        "slices": len(rows),
        "not_drawn": round(float(1 - rows["drawn"].mean()), 4),
        "area_under_curve": round(float(roc_auc_score(rows["drawn"], rows["share"])), 4),
        "right": round(float((counted == rows["drawn"]).mean()), 4),
        "right_of_the_surer_half": round(float((counted == rows["drawn"])[sure].mean()), 4),
        "left_out_of_not_drawn": round(float((~counted)[~rows["drawn"]].mean()), 4),
        "left_out_of_drawn": round(float((~counted)[rows["drawn"]].mean()), 4),
    }


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
