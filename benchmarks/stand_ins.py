"""A cohort of many stand-ins: archives of one byte and a ledger that says that all of them are done.

Files that a stage published are empty: planning looks whether they are there, tables look at the ledger. Summaries are
as large as real ones: views and flags of every series, 11 phenotypes and more, curves of ``frames`` frames.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cmr_models.phenotypes import PHENOTYPES
from cmr_models.phenotypes.quality import RULES
from flows import planning
from flows.settings import CohortSettings
from tasks.execution.stage import StageWork
from tasks.stages import STAGES
from tasks.state.ledger import Ledger, Outcome, open_ledger
from tasks.state.store import digest_bytes, published_in

MODEL = "default"
"""Whose predictions the stand-ins have."""

_VIEWS = {"sax": 11, "lax_2c": 1, "lax_3c": 1, "lax_4c": 1}
_FILES_A_FOLDER = 2_000
_IN_ONE_TRANSACTION = 5_000
_QUARANTINED_EVERY = 50  # one study in so many


def write_stand_ins(folder: Path, studies: int, frames: int) -> CohortSettings:
    """Write archives, people, settings and a ledger in which every study is done; the tables are not made."""
    _write_archive(folder / "archive", studies)
    _write_people(folder / "people.csv", studies)
    (folder / "cohort.toml").write_text(
        'directory = "cohort"\nsources = ["archive"]\nparticipants = "people.csv"\n[compute]\nset_aside_max = 0.5\n'
    )
    settings = CohortSettings(
        directory=folder / "cohort", sources=(folder / "archive",), participants=folder / "people.csv"
    )
    rng = np.random.default_rng(1)
    with open_ledger(settings.cohort.ledger) as ledger:
        for stage in (stage for stage in STAGES if not stage.on_demand):
            _record_as_done(planning.plan(stage, settings, ledger), ledger, frames, rng)
            for folder in stage.folders(settings.cohort, MODEL).values():
                _touch(folder, [study for study, entry in ledger.entries(stage.name).items() if entry.status == "ok"])
    return settings


def eid(number: int) -> str:
    """Participant id of a stand-in."""
    return str(1_000_000 + number)


def _write_archive(folder: Path, studies: int) -> None:
    for number in range(studies):
        part = folder / f"{number // _FILES_A_FOLDER:03d}"
        if number % _FILES_A_FOLDER == 0:
            part.mkdir(parents=True)
        for field in ("20208", "20209"):
            (part / f"{eid(number)}_{field}_2_0.zip").write_bytes(b"0")


def _write_people(path: Path, studies: int) -> None:
    rows = (f"{eid(k)},2,{('female', 'male')[k % 2]},{150 + k % 45},{50 + k % 60}" for k in range(studies))
    path.write_text("\n".join(["participant,visit,sex,height_cm,weight_kg", *rows]) + "\n")


def _record_as_done(work: StageWork, ledger: Ledger, frames: int, rng: np.random.Generator) -> None:
    units, outcomes = work.waiting(ledger)
    ledger.record(outcomes)
    made = (_made(work.stage.name, unit, k, frames, rng) for k, unit in enumerate(units))
    for part in _parts(made, _IN_ONE_TRANSACTION):
        ledger.record(part)


def _touch(folder: Path, studies: Iterable[str]) -> None:
    for study in studies:
        path = Path(published_in(folder, study))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def _parts(outcomes: Iterable[Outcome], size: int) -> Iterator[list[Outcome]]:
    part: list[Outcome] = []
    for outcome in outcomes:
        part.append(outcome)
        if len(part) == size:
            yield part
            part = []
    yield part


def _made(stage: str, unit: dict[str, Any], k: int, frames: int, rng: np.random.Generator) -> Outcome:
    study, wanted = unit["study"], unit["key"]
    measured = {"wanted": wanted, "seconds": 1.5, "peak_mb": 900.0, "host": "node"}
    if stage == "convert" and k % _QUARANTINED_EVERY == 0:
        return Outcome(study, stage, "quarantined", "no_dicom", "2 other files.", wanted, **measured)
    key = digest_bytes(f"{stage} {study}".encode()) if stage == "convert" else wanted
    return Outcome(study, stage, "ok", key=key, summary=_SUMMARIES[stage](k, frames, rng), **measured)


def _converted(_k: int, frames: int, _rng: np.random.Generator) -> dict[str, Any]:
    view = {"frames": frames, "rows": 208, "cols": 170, "pixel_mm": [1.82692, 1.82692], "slice_mm": 10.0,
            "thickness_mm": 8.0, "heart_rate_bpm": 62.0, "frames_missing": 0, "flags": []}  # fmt: skip
    excluded = [{"series": number, "description": "scout", "reason": "series_localiser"} for number in range(6)]
    return {
        "source_digest": "0" * 32,
        "views": {name: {**view, "slices": slices} for name, slices in _VIEWS.items()},
        "excluded": excluded,
        "flags": [],
        "n_bytes": 24_000_000,
        "digest": "1" * 32,
    }


def _segmented(_k: int, frames: int, _rng: np.random.Generator) -> dict[str, Any]:
    views = {view: {"images": frames * _VIEWS[view], "unjudged": 0} for view in ("sax", "lax_4c")}
    return {"model": MODEL, "views": views, "n_bytes": 600_000, "digest": "2" * 32}


def _derived(k: int, frames: int, rng: np.random.Generator) -> dict[str, Any]:
    numbers = 70 + 10 * rng.standard_normal(len(PHENOTYPES))
    phase = np.linspace(0, 2 * np.pi, frames)
    names = ("lv_ml", "myocardium_ml", "rv_ml")
    curves = {name: np.round(100 + 40 * np.cos(phase + rng.normal(0, 0.1)), 4).tolist() for name in names}
    broken = ["stroke_volumes_differ"] if k % 20 == 0 else []
    return {
        "phenotypes": {
            row.name: float(k % frames if row.integer else value)
            for row, value in zip(PHENOTYPES, numbers, strict=True)
        },
        "missing": {},
        "quality": {rule.column: not broken for rule in RULES},
        "quality_reasons": broken,
        "curves": {"time_ms": np.round(phase * 150, 4).tolist(), **curves},
    }


_SUMMARIES = {"convert": _converted, "segment": _segmented, "derive": _derived}
