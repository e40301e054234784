"""The runner of an imported network, by the preprocessing that its card names."""

from __future__ import annotations

from collections.abc import Mapping

from cmr_models.imported import segmenter, step_segmenter
from cmr_models.imported.segmenter import ImportedSegmenter
from cmr_models.imported.step_segmenter import StepSegmenter

RUNNERS: Mapping[str, type[ImportedSegmenter] | type[StepSegmenter]] = {
    segmenter.PREPROCESSING: ImportedSegmenter,
    step_segmenter.PREPROCESSING: StepSegmenter,
}
"""Preprocessing of a card -> the runner of its network."""
