"""Write a simulated cohort to disk: archives like those of UK Biobank, tables, settings and the truth."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tomli_w

from cmr_models.simulate import Heart, HeartTraits, ImagingSettings, sample_traits
from cmr_models.simulate.archive import SAX_FIELD, Packaging, simulate_study, ukb_archives
from cmr_models.simulate.cohort import simulate_cohort
from cmr_models.simulate.faults import FAULTS
from cmr_models.simulate.planted import CohortSettings
from tasks.state.store import publish_bytes

DEMO_FAULTS = (
    "truncated_zip",
    "only_flow",
    "missing_geometry",
    "many_frames_missing",
    "single_frame_missing",
    "irregular_trigger",
)
"""Faults of the demonstration; each is put into the archives of one of the last people."""

_VISIT = 2
_TRUE = ("lvedv_ml", "lvef_pct", "lvm_g", "rvedv_ml", "rvef_pct", "heart_rate_bpm", "height_cm", "weight_kg")


@dataclass(frozen=True)
class SimulationSettings:
    """Size and content of a simulated cohort.

    Attributes:
        people: number of people in the tables.
        imaged: number of people with images, the first ones; None for everybody.
        frames: frames in each heart cycle.
        faults: names in :data:`cmr_models.simulate.faults.FAULTS`; each damages the archives of one person.
        cohort: planted effects.
        seed: random seed.
    """

    people: int = 48
    imaged: int | None = None
    frames: int = 25
    faults: tuple[str, ...] = DEMO_FAULTS
    cohort: CohortSettings = field(default_factory=lambda: CohortSettings(hazard_factor=10.0, prevalence_factor=3.0))
    seed: int = 2026


def write_cohort(output: Path, settings: SimulationSettings, *, workers: int = 1) -> Iterator[int]:
    """Write ``archive/``, the tables of people and outcomes, ``cohort.toml`` and ``truth.parquet`` under ``output``.

    Existing archives are kept. Yields 1 after each person.

    Raises:
        ValueError: if there are more faults than people with images.
    """
    imaged = settings.people if settings.imaged is None else settings.imaged
    if len(settings.faults) > imaged:
        raise ValueError(f"{len(settings.faults)} faults need as many people with images, but there are only {imaged}")
    tables = simulate_cohort(settings.people, np.random.default_rng(settings.seed), settings.cohort)
    archive = output / "archive"
    archive.mkdir(parents=True, exist_ok=True)
    publish_bytes(tables.participants.to_csv(index=False).encode(), output / "participants.csv")
    publish_bytes(tables.outcomes.to_csv(index=False).encode(), output / "outcomes.csv")
    tables.truth.to_parquet(output / "truth.parquet", index=False)
    publish_bytes(tomli_w.dumps(_cohort_toml(workers)).encode(), output / "cohort.toml")
    yield from _write_archives(_people(tables.truth, tables.outcomes, imaged, settings), archive, settings, workers)


def write_person(person: Mapping[str, Any], archive: Path, settings: SimulationSettings) -> None:
    """Write the archives of one person, unless they exist."""
    eid = str(person["participant"])
    if (archive / f"{eid}_{SAX_FIELD}_{_VISIT}_0.zip").exists():  # written last
        return
    rng = np.random.default_rng([settings.seed, int(eid)])
    true: dict[str, Any] = {name: float(person[name]) for name in _TRUE}
    traits = replace(_draw_traits(person, rng), **true)
    imaging = ImagingSettings(n_frames=settings.frames)
    study = simulate_study(Heart(traits, rng), imaging, rng)
    archives = ukb_archives(study, eid=eid, instance=_VISIT, rng=rng, packaging=Packaging(scout=True))
    if person["fault"]:
        archives = FAULTS[person["fault"]].apply(archives, rng)
    for name in sorted(archives):
        publish_bytes(archives[name], archive / name)


def _draw_traits(person: Mapping[str, Any], rng: np.random.Generator) -> HeartTraits:
    """Draw the traits of a person that the truth does not contain, such as the shape of the heart."""
    return sample_traits(
        rng,
        sex="M" if person["sex"] == "male" else "F",
        age_years=float(person["age_years"]),
        height_cm=float(person["height_cm"]),
        weight_kg=float(person["weight_kg"]),
        disease=person["disease"],
    )


def _people(
    truth: pd.DataFrame, outcomes: pd.DataFrame, imaged: int, settings: SimulationSettings
) -> list[dict[str, Any]]:
    ill = outcomes[outcomes["prevalent"] == 1].groupby("participant")["condition"].agg(tuple).to_dict()
    spoilt = (None,) * (imaged - len(settings.faults)) + settings.faults
    rows = [{str(name): value for name, value in row.items()} for row in truth.head(imaged).to_dict("records")]
    return [
        {**row, "disease": ill.get(row["participant"], ()), "fault": fault}
        for row, fault in zip(rows, spoilt, strict=True)
    ]


def _write_archives(
    people: list[dict[str, Any]], archive: Path, settings: SimulationSettings, workers: int
) -> Iterator[int]:
    if workers < 2:
        for person in people:
            write_person(person, archive, settings)
            yield 1
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_one_thread) as pool:
        for future in as_completed([pool.submit(write_person, person, archive, settings) for person in people]):
            future.result()
            yield 1


def _one_thread() -> None:
    os.environ["OMP_NUM_THREADS"] = "1"


def _cohort_toml(workers: int) -> dict[str, Any]:
    return {
        "directory": "cohort",
        "sources": ["archive"],
        "participants": "participants.csv",
        "outcomes": "outcomes.csv",
        "compute": {"profile": "local", "workers": max(workers, 1)},
        "analysis": {"covariates": ["sex"], "minimum_events": 8, "curve_groups": 2},  # limits for few people
        "report": {"title": "Simulated demonstration cohort"},
    }
