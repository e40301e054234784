"""Write a simulated cohort to disk: archives like those of UK Biobank, tables, settings and the truth.

A cohort of thousands for the statistics is written without images: its table of phenotypes is simulated too.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import as_completed
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tomli_w

from cmr_models.phenotypes import PHENOTYPES
from cmr_models.phenotypes.quality import check, failures
from cmr_models.phenotypes.states import state_of
from cmr_models.reasons import Missing
from cmr_models.simulate import Heart, HeartTraits, ImagingSettings, sample_traits
from cmr_models.simulate.archive import SAX_FIELD, Packaging, simulate_study, ukb_archives
from cmr_models.simulate.cohort import simulate_cohort
from cmr_models.simulate.faults import FAULTS
from cmr_models.simulate.measured import measure_phenotypes
from cmr_models.simulate.planted import CohortSettings
from tasks.derive.phenotype_tables import PHENOTYPE_TABLE, dictionary_csv
from tasks.execution.process import worker_pool, workers_leave_ctrl_c_to_the_command
from tasks.state.csv_text import csv_text
from tasks.state.ledger import open_ledger
from tasks.state.mistakes import UserMistake
from tasks.state.parquet_tables import publish_table
from tasks.state.store import Cohort, digest, publish_bytes

DEMO_FAULTS = (
    "truncated_zip",
    "only_flow",
    "missing_geometry",
    "many_frames_missing",
    "single_frame_missing",
    "irregular_trigger",
)
"""Faults of the demonstration; each is put into the archives of one of the last people."""

LARGE_COHORT = CohortSettings(hazard_factor=2.0)
"""Effects of a cohort of thousands, simulated without images: with more events than one of this size would have."""

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
        UserMistake: if there are more faults than people with images.
    """
    imaged = settings.people if settings.imaged is None else settings.imaged
    if len(settings.faults) > imaged:
        raise UserMistake(f"{len(settings.faults)} faults need as many people with images, but there are only {imaged}")
    tables = simulate_cohort(settings.people, np.random.default_rng(settings.seed), settings.cohort)
    archive = output / "archive"
    archive.mkdir(parents=True, exist_ok=True)
    publish_bytes(csv_text(tables.participants).encode(), output / "participants.csv")
    publish_bytes(csv_text(tables.outcomes).encode(), output / "outcomes.csv")
    tables.truth.to_parquet(output / "truth.parquet", index=False)
    publish_bytes(tomli_w.dumps(_cohort_toml(workers)).encode(), output / "cohort.toml")
    yield from _write_archives(_people(tables.truth, tables.outcomes, imaged, settings), archive, settings, workers)


def write_measured_cohort(output: Path, settings: SimulationSettings) -> int:
    """Write a cohort without images under ``output``; returns the number of studies.

    The table of phenotypes is simulated as the pipeline would measure it, with errors of measurement and studies that
    fail, so that the statistics can be tried on thousands of people. ``cohort.toml`` is for ``associate``, ``risk`` and
    ``report``; there is no archive to run.
    """
    rng = np.random.default_rng(settings.seed)
    tables = simulate_cohort(settings.people, rng, settings.cohort)
    measured = measure_phenotypes(tables.truth, rng, settings.cohort)
    measured = measured.assign(**{name: tables.truth[name] for name in ("height_cm", "weight_kg")})
    phenotypes = measured_table(measured)
    cohort = Cohort(output / "cohort")
    with open_ledger(cohort.ledger):  # no study has gone through a stage
        publish_table(phenotypes, cohort.tables / "phenotypes.parquet", contract=PHENOTYPE_TABLE)
    publish_bytes(dictionary_csv().encode(), cohort.tables / "phenotypes_dictionary.csv")
    publish_bytes(csv_text(tables.participants).encode(), output / "participants.csv")
    publish_bytes(csv_text(tables.outcomes).encode(), output / "outcomes.csv")
    tables.truth.to_parquet(output / "truth.parquet", index=False)
    content = _WITHOUT_IMAGES + tomli_w.dumps(_measured_toml(settings.people))
    publish_bytes(content.encode(), output / "cohort.toml")
    return len(phenotypes)


_WITHOUT_IMAGES = "# Simulated measurements, no images: for `associate`, `risk` and `report`, not for `run`.\n"


def measured_table(measured: pd.DataFrame) -> pd.DataFrame:
    """A table of phenotypes from simulated measurements, one row a study in the order of study ids.

    The quality rules are applied where they can be: those that need labels have no verdict. Numbers that are not
    simulated are missing, with a reason.

    Args:
        measured: of :func:`cmr_models.simulate.measured.measure_phenotypes`.
    """
    rows = [_measured_row({str(name): value for name, value in row.items()}) for row in measured.to_dict("records")]
    rows.sort(key=lambda row: str(row["study"]))
    return pd.DataFrame(rows, columns=list(PHENOTYPE_TABLE.names)).astype(PHENOTYPE_TABLE.pandas_types)


def _measured_row(row: dict[str, Any]) -> dict[str, Any]:
    status, reason = str(row["status"]), str(row["reason"])
    known = {item.name: float(row.get(item.name, np.nan)) for item in PHENOTYPES}
    numbers = {name: value for name, value in known.items() if np.isfinite(value)} if status == "ok" else {}
    verdicts = check(_Known(numbers)) if status == "ok" else {}
    broken = failures(verdicts) if verdicts else []
    if any(rule.quarantines for rule in broken):
        status, reason, numbers = "quarantined", broken[0].code, {}
    qc_ok = None if status != "ok" else not broken
    missing = {name: "not_simulated" for name in known if name not in numbers} if status == "ok" else {"*": reason}
    return {
        **{name: str(row[name]) for name in ("study", "participant", "visit")},
        "status": status,
        "state": state_of(status, qc_ok),
        "stage": "derive",
        "reason": reason,
        "detail": "simulated without images",
        "key": digest(numbers),
        **numbers,
        **verdicts,
        "qc_ok": qc_ok,
        "qc_reasons": ";".join(rule.code for rule in broken),
        "slices_left_out": "",
        "missing_reasons": json.dumps(missing, sort_keys=True),
    }


class _Known(dict[str, float]):
    """Numbers by name; every other input of a quality rule is missing."""

    def __missing__(self, name: str) -> Missing:
        return Missing("not_simulated")


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
    with worker_pool(workers, "spawn", _one_thread) as pool:
        with workers_leave_ctrl_c_to_the_command():
            written = [pool.submit(write_person, person, archive, settings) for person in people]
        for future in as_completed(written):
            future.result()
            yield 1


def _one_thread() -> None:
    os.environ["OMP_NUM_THREADS"] = "1"


def _measured_toml(people: int) -> dict[str, Any]:
    return {
        "directory": "cohort",
        "participants": "participants.csv",
        "outcomes": "outcomes.csv",
        "analysis": {
            "phenotypes": ["lvedv_ml", "lvesv_ml", "lvef_pct", "lvm_g", "rvef_pct"],
            "covariates": ["sex", "height_cm", "weight_kg"],
            "group_by": ["sex", "age_band", "centre"],
            "permutations": 19,
        },
        "report": {"title": f"Simulated measurements of {people:,} people, without images"},
    }


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
