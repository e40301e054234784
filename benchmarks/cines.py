"""Whole cines with their geometry, of real studies and of simulated hearts, for what is measured over the cycle."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr

from cmr_models.simulate import simulate_study
from cmr_models.simulate.anatomy import Heart
from cmr_models.simulate.details import sample_details
from cmr_models.simulate.settings import ImagingSettings
from cmr_models.simulate.training import patient_traits
from cmr_models.simulate.traits import sample_traits
from flows import planning
from flows.settings import CohortSettings
from tasks.convert.convert_stage import CONVERT
from tasks.execution.stage import run_in_process
from tasks.state.ledger import open_ledger
from tasks.state.store import load_tree

_REAL = ("dicom_study/patient1", "sunnybrook_dicom")
_VIEWS = ("sax", "lax_2c", "lax_3c", "lax_4c")
_SEED, _FRAMES = 7000, 25


class Cine(NamedTuple):
    """One study: its views, and the heart if it is simulated."""

    name: str
    views: dict[str, xr.Dataset]
    heart: Heart | None


def cines(data: Path, n_simulated: int, views: tuple[str, ...] = _VIEWS) -> Iterator[Cine]:
    """The real studies under ``data`` that are there, then simulated ones: of volunteers and patients by turns."""
    sources = tuple(data / name for name in _REAL if (data / name).is_dir())
    if sources:
        yield from _converted(sources, views)
    for i in range(n_simulated):
        rng = np.random.default_rng(_SEED + i)
        if i % 2:
            traits = patient_traits(rng)
            heart = Heart(traits, rng, sample_details(rng, traits))
        else:
            heart = Heart(sample_traits(rng, sex="F", age_years=60, height_cm=172, weight_kg=75), rng)
        study = simulate_study(heart, ImagingSettings(n_frames=_FRAMES), rng, views)
        yield Cine(f"simulated {i}", {name: study[name].to_dataset() for name in study.children}, heart)


def _converted(sources: tuple[Path, ...], views: tuple[str, ...]) -> Iterator[Cine]:
    with tempfile.TemporaryDirectory() as scratch:
        settings = CohortSettings(directory=Path(scratch), sources=sources)
        with open_ledger(settings.cohort.ledger) as ledger:
            run_in_process(planning.plan(CONVERT, settings, ledger), ledger, settings.cohort)
            studies = sorted(outcome.study for outcome in ledger.outcomes(CONVERT.name) if outcome.status == "ok")
        for study in studies:
            tree = load_tree(settings.cohort.study(study))
            found = {name: tree[name].to_dataset().load() for name in tree.children if name in views}
            yield Cine(study.rpartition("-")[0], found, None)
