"""The methods paragraph, written from the settings, versions and digests that made the numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from cmr_models.phenotypes import MYOCARDIAL_DENSITY_G_ML
from cmr_models.phenotypes.reference_ranges import KAWEL_BOEHM_2020, PETERSEN_2017
from cmr_models.zoo.licences import licences_words
from tasks.convert.convert_stage import CONVERT
from tasks.derive.derive_stage import DERIVE
from tasks.inference.model_record import licences_of
from tasks.report.tables import ReportInputs, records

_MODEL_WORDS = {
    "logistic": "logistic regression of prevalent disease",
    "cox_age": "Cox regression of incident disease and death on the age scale, with delayed entry at imaging",
}


def methods_text(
    settings: ReportInputs,
    estimates: Mapping[str, pd.DataFrame],
    prediction: Mapping[str, Any],
    *,
    version: str,
    n_in: str,
    n_measured: str,
    states: str = "",
    has_images: bool = True,
) -> list[str]:
    """Paragraphs that a reader needs to do it again.

    Args:
        settings: of the report, with the run's resolved settings.
        estimates: tables that are there.
        prediction: attributes of one of the predictions measured: model and digest of its weights.
        version: of the pipeline.
        n_in: studies in the archive.
        n_measured: studies with phenotypes.
        states: how many of these passed and how many are doubted, as a sentence that has passed the gate.
        has_images: whether phenotypes were measured here, on images; without, their table was given.
    """
    if not has_images:
        given = f"The table of phenotypes of {n_in} studies was given; cmr-cohort {version} read no images."
        return [f"{given} {states}".rstrip(), *_statistics(settings, estimates), _disclosure(settings)]
    return [
        _images(settings, version, n_in),
        _segmentation(settings, prediction),
        _phenotypes(n_measured, states, settings.resolved.get("derive", {}).get("basal_slices", "whole")),
        *_statistics(settings, estimates),
        _disclosure(settings),
    ]


def _images(settings: ReportInputs, version: str, n_in: str) -> str:
    convert = settings.resolved.get("convert", {})
    share = convert.get("frames_missing_max")
    limit = f" A study that lacked more than {100 * share:g} % of frames was quarantined." if share is not None else ""
    return (
        f"Cine cardiac MR of {n_in} studies was read from the archive with cmr-cohort {version} (converter "
        f"{CONVERT.version}). Views were recognised from plane geometry and acquisition headers; slice "
        "positions and the "
        "distance between planes were taken from image position and orientation, and pixels were kept as stored on the "
        f"scanner.{limit}"
    )


def _segmentation(settings: ReportInputs, prediction: Mapping[str, Any]) -> str:
    segment = settings.resolved.get("segment", {})
    name = prediction.get("model") or settings.model
    digests = prediction.get("weights") or {}
    named = _join_words([f"{view} {str(digest)[:16]}" for view, digest in sorted(digests.items())])
    weights = f" (weights digest: {named})" if digests else ""
    precision = prediction.get("precision") or segment.get("precision")
    computed = f" It was computed in {precision}." if precision else ""
    licences = licences_of(prediction)
    licensed = f" Licence of its weights: {licences_words(licences)}." if licences else ""
    long_axes = _join_words([f"{view[4]}-chamber" for view in sorted(digests) if view.startswith("lax_")])
    also = f", and the heart in the {long_axes} view where it was acquired," if long_axes else ""
    return (
        f"The ventricles and the left-ventricular myocardium were segmented in every short-axis frame{also} "
        f"with the model “{name}”{weights}.{licensed}{computed}"
    )


_BASAL = {
    "whole": "The last slice at the base counted whole where at least half of it was ventricle, else not at all.",
    "parts": "The last slice at the base counted by its part under the valve.",
}


def _phenotypes(n_measured: str, states: str, basal_slices: str) -> str:
    text = (
        f"Phenotypes of {n_measured} studies were derived (rules, version {DERIVE.version}): volumes by "
        "summation of "
        "areas times plane distance, end-systole as the smallest and end-diastole as the largest "
        "left-ventricular volume "
        f"of the smoothed curve near the R wave, mass at end-diastole with {MYOCARDIAL_DENSITY_G_ML} g/mL. "
        "Implausible studies "
        "were set aside, and those that break a quality rule are doubted; a number that could not be "
        "measured is missing with a reason, "
        "never zero. "
        f"Published ranges are those of {PETERSEN_2017}, and of {KAWEL_BOEHM_2020} where the former has none."
    )
    return f"{text} {_BASAL[basal_slices]} {states}".rstrip()


def _statistics(settings: ReportInputs, estimates: Mapping[str, pd.DataFrame]) -> list[str]:
    if not estimates:
        return ["No participants and outcomes were configured, so no association was tested."]
    rows = pd.concat([table[["model", "spec_digest", "family"]] for table in estimates.values()])
    models = [text for name, text in _MODEL_WORDS.items() if name in set(rows["model"])]
    covariates = settings.resolved.get("analysis", {}).get("covariates", ())
    digests = sorted(set(rows["spec_digest"].dropna()) - {""})
    text = f"Estimates come from {_join_words(models)}" if models else "Estimates were made"
    adjusted = _join_words(list(dict.fromkeys(["age", *covariates])))
    text += f", adjusted for {adjusted} (age is the time scale of models of time to event)"
    text += (
        "; effects are given per standard deviation of the phenotype with 95 % Wald intervals. Within each "
        "declared family "
        f"({_join_words(sorted(set(rows['family'].dropna()) - {''}))}) the false discovery rate was controlled after "
        "Benjamini and "
        "Hochberg (q). A model that could not be fitted is a row with its reason, not a gap in the table."
    )
    text += doubted_sentence(estimates)
    seed = settings.resolved.get("analysis", {}).get("seed")
    closing = (
        f" Digest of the analysis settings: {_join_words([digest[:16] for digest in digests])}." if digests else ""
    )
    closing += f" Seed of permutations and bootstraps: {seed}." if seed is not None else ""
    return [text + closing]


def doubted_sentence(estimates: Mapping[str, pd.DataFrame]) -> str:
    """What the estimates did with people whose study is doubted, as their tables say it; empty if they do not.

    The tables have it in the columns ``doubted`` (``left_out`` or ``taken_in``) and ``n_doubted`` (NaN if suppressed).
    """
    known = [table for table in estimates.values() if {"doubted", "n_doubted"} <= set(table) and len(table)]
    said = {(str(row["doubted"]), row["n_doubted"]) for table in known for row in records(table.head(1))}
    if not said:
        return ""
    taken, n = next(iter(said))
    if len({done for done, _ in said}) > 1:
        return " The tables differ in whether people whose study is doubted were taken in; each table says it."
    people = "people whose study is doubted (their number is too small to be shown)"
    if pd.notna(n):
        people = f"{n:,.0f} people whose study is doubted" if n else "no person, because no study is doubted"
    return f" The estimates {'take in' if taken == 'taken_in' else 'leave out'} {people}."


def _disclosure(settings: ReportInputs) -> str:
    return (
        f"Cells that count 1 to {settings.minimum_cell - 1} people or events are suppressed in every table and "
        "figure, together "
        "with those that would give them back by subtraction; histogram bins are merged, quantiles given only "
        "with enough people on either side, and survival steps and numbers at risk thinned by the same rule."
    )


def _join_words(items: Sequence[str]) -> str:
    named = [str(item).replace("_", " ") for item in items]
    return ", ".join(named[:-1]) + (" and " if len(named) > 1 else "") + named[-1] if named else "none"
