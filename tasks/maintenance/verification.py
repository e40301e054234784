"""Published files read again, byte by byte, and the ledger rebuilt from them."""

from __future__ import annotations

import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from cmr_models.contracts.foreign import faults_as
from cmr_models.reasons import StudyRejected
from tasks.execution import shards
from tasks.execution.shards import Unit
from tasks.execution.stage import receipt_status
from tasks.stages import STAGES, stage_named
from tasks.state.ledger import Ledger, Outcome, open_ledger
from tasks.state.store import (
    Cohort,
    Published,
    as_published,
    damaged_path,
    published_key,
    reading_tree,
    rejection,
)

if TYPE_CHECKING:
    from distributed import Client

_STAGE = "verify"
_FILES_A_CHUNK = 16
_FILE, _RECEIPT = ".zarr.zip", ".rejected.json"


class PublishedFile(NamedTuple):
    """A study's file or receipt at one stage."""

    stage: str
    study: str
    path: Path


@dataclass
class Verified:
    """What was found.

    Attributes:
        whole: files that are what they were when published.
        damaged: files that cannot be read whole or are not what was recorded, by path within the cohort.
        restored: outcomes that the ledger did not know, or knew otherwise.
        forgotten: outcomes of studies that the ledger held for done and that have no whole file: to be done again.
    """

    whole: int = 0
    damaged: list[str] = field(default_factory=list)
    restored: int = 0
    forgotten: int = 0

    def lines(self) -> Iterator[str]:
        """The findings, a line each."""
        yield f"{self.whole} files whole, {len(self.damaged)} damaged"
        yield f"ledger: {self.restored} outcomes restored, {self.forgotten} without a whole file forgotten"
        yield from (f"damaged: {path}" for path in self.damaged)


def published_files(cohort: Cohort, model: str) -> list[PublishedFile]:
    """Every file and receipt of every stage, in order; of the labels, those of one model."""
    folders = {name: folder for stage in STAGES for name, folder in stage.folders(cohort, model).items()}
    return [
        PublishedFile(name, _study_of(path), path)
        for name, folder in folders.items()
        for path in sorted(folder.glob("*/*/*"))
        if path.name.endswith((_FILE, _RECEIPT)) and not path.name.startswith(".")
    ]


def _study_of(path: Path) -> str:
    return path.name.removesuffix(_FILE).removesuffix(_RECEIPT)


def verify_files(
    cohort: Cohort,
    files: Sequence[PublishedFile],
    advance: Callable[[int], None],
    *,
    client: Client | None = None,
) -> Verified:
    """Compare ``files`` with their checksums and with the ledger, and bring the ledger in line with them.

    A damaged file is put aside (``.damaged``) and forgotten, so that the next run makes it again. What was derived is
    in the tables, not in files: where the ledger lost it, the next run derives it again.

    Args:
        cohort: its folder.
        files: of :func:`published_files`.
        advance: called with the number of files that were read.
        client: of a cluster whose workers read; None: this process does.
    """
    found = Verified()
    by_stage: dict[str, list[PublishedFile]] = defaultdict(list)
    for file in files:
        by_stage[file.stage].append(file)
    with open_ledger(cohort.ledger) as ledger:
        named = [name for name in ledger.stages() if _publishes_files(name, cohort)]
        for stage in dict.fromkeys((*named, *by_stage)):
            recorded = {outcome.study: outcome for outcome in ledger.outcomes(stage)}
            outcomes: dict[str, Outcome] = {}
            for file, outcome in _read_all(cohort, by_stage[stage], recorded, advance, client):
                if outcome is None:
                    file.path.rename(damaged_path(file.path))
                    found.damaged.append(str(file.path.relative_to(cohort.root)))
                else:
                    outcomes[file.study] = outcome
            _rebuild(ledger, stage, recorded, outcomes, found)
    found.damaged.sort()
    return found


def _read_all(
    cohort: Cohort,
    files: Sequence[PublishedFile],
    recorded: Mapping[str, Outcome],
    advance: Callable[[int], None],
    client: Client | None,
) -> Iterator[tuple[PublishedFile, Outcome | None]]:
    """Every file with the outcome that it stands for, None if it is damaged; read by all workers, in any order."""
    by_path = {str(file.path.relative_to(cohort.root)): file for file in files}
    units = [_unit(path, file, recorded.get(file.study)) for path, file in by_path.items()]
    for part in shards.run(
        read_chunk, units, cohort.root, {}, stage=_STAGE, client=client, studies_per_chunk=_FILES_A_CHUNK
    ):
        for outcome in part:
            file = by_path[outcome.study]
            yield file, None if outcome.stage == _STAGE else replace(outcome, study=file.study)
            advance(1)


def _unit(path: str, file: PublishedFile, recorded: Outcome | None) -> Unit:
    """A file to read; the path stands for the study, as a study may have a file and a receipt."""
    known = {} if recorded is None else recorded.summary.get("file", recorded.summary)
    return {
        "study": path,
        "of": file.study,
        "stage": file.stage,
        "digest": known.get("digest", ""),
        "recorded_key": "" if recorded is None else recorded.key,
    }


def read_chunk(units: Sequence[Unit], cohort: str, _settings: dict[str, Any]) -> list[Outcome]:
    """The outcomes that files stand for, on any worker; that of a damaged one is of the stage ``verify``.

    Raises:
        StudyRejected: ``newer_version`` if a newer version of the package wrote a file.
    """
    found = []
    for unit in units:
        outcome = _read(PublishedFile(unit["stage"], unit["of"], Path(cohort) / unit["study"]), unit)
        damaged = Outcome(unit["study"], _STAGE, "quarantined", "file_unreadable")
        found.append(damaged if outcome is None else replace(outcome, study=unit["study"]))
    return found


def _read(file: PublishedFile, unit: Unit) -> Outcome | None:
    """The outcome that a file stands for; None if it is damaged or breaks its contract.

    A file whose digest and key are those of the ledger is what was checked when it was published; it is read once.

    Raises:
        StudyRejected: ``newer_version`` if a newer version of the package wrote it.
    """
    if file.path.name.endswith(_RECEIPT):
        return _from_receipt(file)
    key, published = published_key(file.path), as_published(file.path)
    if key is None or unit["digest"] not in ("", published.digest):
        return None
    if unit["digest"] and key == unit["recorded_key"]:
        return Outcome(file.study, file.stage, "ok", key=key)
    if not _is_whole(file.path):
        return None
    try:
        return _from_file(file, published)
    except zipfile.BadZipFile:
        return None
    except StudyRejected as rejected:
        if rejected.reason != "contract_broken":
            raise
        return None


def _is_whole(path: Path) -> bool:
    try:
        with faults_as(zipfile.BadZipFile), zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except zipfile.BadZipFile:
        return False


def _from_receipt(file: PublishedFile) -> Outcome | None:
    receipt = rejection(file.path.with_name(file.study + _FILE))
    if receipt is None:
        return None
    return Outcome(
        file.study, file.stage, receipt_status(receipt), receipt["reason"], receipt["detail"], receipt["key"]
    )


def _from_file(file: PublishedFile, published: Published) -> Outcome:
    """The outcome that a whole file stands for. At the first stage planning compares sources, not the file's key."""
    stage = stage_named(file.stage)
    if stage is None:
        raise ValueError(f"{file.stage!r} is not a stage; published_files() lists those there are")
    with reading_tree(file.path) as tree:
        key, summary = str(tree.attrs["key"]), {**stage.summary(tree), **published._asdict()}
    return Outcome(file.study, file.stage, "ok", key=key, wanted=key if stage.upstream else "", summary=summary)


def _publishes_files(name: str, cohort: Cohort) -> bool:
    """Whether a stage of the ledger leaves files; what the others make is in tables alone."""
    stage = stage_named(name)
    return stage is not None and (stage.on_demand or bool(stage.folders(cohort, "")))


def _rebuild(
    ledger: Ledger,
    stage: str,
    recorded: Mapping[str, Outcome],
    found: Mapping[str, Outcome],
    counts: Verified,
) -> None:
    counts.whole += len(found)
    news = [o for o in found.values() if not _is_known(o, recorded.get(o.study))]
    ledger.record(news)
    counts.restored += len(news)
    gone = [o.study for o in recorded.values() if o.study not in found and o.status == "ok"]
    ledger.forget(stage, gone)
    counts.forgotten += len(gone)


def _is_known(outcome: Outcome, recorded: Outcome | None) -> bool:
    return recorded is not None and (recorded.status == "retired" or recorded.key == outcome.key)
