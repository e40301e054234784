"""One study from source bytes to a published file: read, recognise views, encode, compare, publish."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import xarray as xr

from cmr_models.contracts import PERFUSION_VIEWS, cine_study
from cmr_models.reasons import StudyRejected
from tasks.convert.cine import patient_spellings, study_views
from tasks.convert.convert_stage import CONVERT, UNREAD, nifti_key, perfusion_key, study_key
from tasks.convert.landmark_images import landmark_views
from tasks.convert.nifti import HEADER_FLAGS, nifti_views
from tasks.convert.nifti_pairs import joined
from tasks.convert.reference_labels import with_labels
from tasks.convert.settings import ConvertSettings
from tasks.execution.shards import Unit
from tasks.execution.stage import done_before, each_study, publish_or_reject, reject
from tasks.sources.archive import Unopened, read_members, unopened
from tasks.sources.dicom import Image, canonical_uid, read_images
from tasks.sources.limits import Budget, read_file
from tasks.sources.manifest import disagrees, is_manifest
from tasks.sources.opening import open_source, within
from tasks.sources.public_layouts import tail
from tasks.state import store
from tasks.state.ledger import Outcome

_HASH_BLOCK = 4 * 2**20


def convert_shard(units: Sequence[Unit], cohort: str, settings: dict[str, Any]) -> list[Outcome]:
    """Every study of a shard, one after the other: the work of one Dask task."""
    return each_study(convert_study, CONVERT.name, units, cohort, settings)


def convert_study(unit: Mapping[str, Any], cohort: str, settings: Mapping[str, Any]) -> Outcome:
    """One study: published with the right key, or a receipt that says why not.

    Args:
        unit: a :class:`tasks.sources.SourceUnit`.
        cohort: the cohort's folder.
        settings: plain values of :class:`ConvertSettings`.

    Returns:
        ``ok``, or ``absent`` or ``quarantined`` with a reason. The summary holds ``source_digest``, and for
        each view its shape, spacing and flags.
    """
    with within(unit.get("roots", ())):
        return _outcome(unit, cohort, ConvertSettings(**settings))


def _outcome(unit: Mapping[str, Any], cohort: str, resolved: ConvertSettings) -> Outcome:
    path = store.Cohort(Path(cohort)).study(unit["study"])
    try:
        sources = SourceFiles(unit, resolved)
    except OSError as error:
        return Outcome(unit["study"], CONVERT.name, "quarantined", "file_unreadable", type(error).__name__)
    except StudyRejected as rejected:
        return reject(unit, path, rejected, CONVERT.name)
    key = study_key(sources.digest, resolved)
    is_nifti = unit["kind"] == "nifti"
    keys = (nifti_key(key),) if is_nifti else (key, perfusion_key(key))
    done = done_before(CONVERT, unit["study"], path, keys)
    if done is None or _left_perfusion_unread(done):
        done = publish_or_reject(CONVERT, {**unit, "key": keys[0]}, path, lambda: _study(unit, sources, key, resolved))
    return replace(done, summary={"source_digest": sources.digest, **done.summary})


def _left_perfusion_unread(outcome: Outcome) -> bool:
    """Whether an earlier converter, which could not read perfusion, made this."""
    left_out = [series["reason"] for series in outcome.summary.get("excluded", [])]
    return UNREAD in left_out or UNREAD in outcome.detail


# source bytes


class SourceFiles:
    """The files of one study: first their digest, then their content, which is held from one to the other.

    Every file is read once, so that what is converted is what was digested, also if somebody replaces the file
    meanwhile. Only zips that are larger than may be held together (``limits.max_member_bytes``) are read again.
    ``flags`` is complete once the contents have been gone through. What is read and decoded is taken from ``budget``.

    Raises:
        StudyRejected: ``study_too_large``; files that are larger than is permitted are not read.
        OSError: a file cannot be read.
    """

    def __init__(self, unit: Mapping[str, Any], settings: ConvertSettings) -> None:
        self._paths = [Path(path) for path, _, _ in unit["files"]]
        self.budget = Budget(settings.limits, sum(path.stat().st_size for path in self._paths))
        self._held: dict[Path, bytes] = {}
        self._may_hold = self.budget.limits.max_member_bytes
        self._unopened = Unopened(0, 0)
        self.flags: set[str] = set()
        digests = sorted(self._digest_of(path) for path in self._paths)
        stated = [unit[name] for name in ("data_set", "facts", "faults") if name in unit]
        self.digest = store.digest([unit["kind"], unit["study_uid"], digests, *stated])

    def _digest_of(self, path: Path) -> str:
        if _is_zip(path):
            return self._digest_of_zip(path)
        self._held[path] = read_file(path, self.budget.limits.max_member_bytes)
        return store.digest_bytes(self._held[path])

    def _digest_of_zip(self, path: Path) -> str:
        if path.stat().st_size > self._may_hold:
            return _digest_of_blocks(path)
        with open_source(path) as file:
            content = file.read()
        self._may_hold -= len(content)
        self._held[path] = content
        return store.digest_bytes(content)

    def contents(self) -> Iterator[tuple[str, bytes]]:
        """Name and content of every file or zip member; a file is not held once it was given out."""
        for path in self._paths:
            if _is_zip(path):
                yield from self._members(path, self._held.pop(path, None))
            elif path in self._held:
                yield path.name, self._held.pop(path)

    def by_name(self, wanted: Collection[Path] | None = None) -> dict[str, bytes]:
        """Content by name and folders of the files that are not zips: all, or only ``wanted``; not held longer."""
        names = [
            path
            for path in self._paths
            if path in self._held and not _is_zip(path) and (wanted is None or path in wanted)
        ]
        return {tail(path.as_posix()): self._held.pop(path) for path in names}

    def unopened(self) -> Unopened:
        """Archives and NIfTI files within the zips whose contents have been gone through; they are not opened."""
        return self._unopened

    def _members(self, path: Path, held: bytes | None) -> Iterator[tuple[str, bytes]]:
        """Members of a zip but its manifest, which is only compared with them."""
        names, manifests = set[str](), list[bytes]()
        found = unopened(path, held)
        self._unopened = Unopened(self._unopened.archives + found.archives, self._unopened.nifti + found.nifti)
        for name, content in read_members(path, self.budget, held):
            if is_manifest(name):
                manifests.append(content)
                continue
            names.add(name)
            yield name, content
        if any(disagrees(manifest, names) for manifest in manifests):
            self.flags.add("manifest_mismatch")


def _is_zip(path: Path) -> bool:
    return path.suffix.lower() == ".zip"


def _digest_of_blocks(path: Path) -> str:
    state = hashlib.blake2b(digest_size=16)
    with open_source(path) as file:
        while block := file.read(_HASH_BLOCK):
            state.update(block)
    return state.hexdigest()


# content -> study


@dataclass
class _Content:
    """What a study is made of: its views, and plain values that are kept with it."""

    views: dict[str, xr.Dataset]
    excluded: list[dict[str, Any]] = field(default_factory=list)
    attributes: dict[str, Any] = field(default_factory=dict)


def _study(unit: Mapping[str, Any], sources: SourceFiles, key: str, settings: ConvertSettings) -> xr.DataTree:
    content = _CONTENTS.get(unit["kind"], _from_dicom)(unit, sources, settings)
    if content.views.keys() & set(PERFUSION_VIEWS):
        key = perfusion_key(key)
    if any(HEADER_FLAGS.intersection(view.attrs.get("flags", [])) for view in content.views.values()):
        key = nifti_key(key)
    return cine_study(
        content.views,
        participant=unit["participant"],
        visit=unit["visit"],
        key=key,
        source_kind=unit["kind"],
        source_digest=sources.digest,
        converter_version=CONVERT.version,
        excluded=content.excluded,
        flags=sorted(sources.flags),
        **content.attributes,
    )


def _from_dicom(unit: Mapping[str, Any], sources: SourceFiles, settings: ConvertSettings) -> _Content:
    images = list(_images(sources, unit["study_uid"]))
    if any(kept := sources.unopened()):
        if not images and kept.nifti:
            raise StudyRejected("zip_nifti", f"{kept.nifti} NIfTI files.")
        if not images:
            raise StudyRejected("zip_nested", f"{kept.archives} archives.")
        sources.flags.add("archive_unopened")
    found = study_views(images, max_missing_fraction=settings.frames_missing_max)
    if len(patient_spellings(images)) > 1:
        sources.flags.add("patient_id_spelling")
    return _Content(found.views, found.excluded, {**_body_size(images), **_reference(unit, sources, [], {})})


def _from_nifti(unit: Mapping[str, Any], sources: SourceFiles, _settings: ConvertSettings) -> _Content:
    labels = joined(sources.by_name([Path(path) for path in unit.get("labels", [])]))
    images = joined(sources.by_name())
    views = nifti_views(images, sources.budget)
    if not unit.get("data_set"):
        return _Content(views)
    found = with_labels(views, labels, images, unit["data_set"], unit["facts"], sources.budget)
    return _Content(found.views, attributes=_reference(unit, sources, found.faults, found.frames))


def _from_landmarks(unit: Mapping[str, Any], sources: SourceFiles, _settings: ConvertSettings) -> _Content:
    found = landmark_views(sources.by_name(), sources.budget)
    return _Content(found.views, attributes=_reference(unit, sources, found.faults, {}))


def _refuse(_unit: Mapping[str, Any], _sources: SourceFiles, _settings: ConvertSettings) -> _Content:
    raise StudyRejected("pickle_refused", "Convert it to NIfTI, on a machine that may run it.")


_CONTENTS = {"nifti": _from_nifti, "landmarks": _from_landmarks, "pickle": _refuse}
"""How a kind of unit is read; every other is DICOM."""


def _reference(
    unit: Mapping[str, Any], sources: SourceFiles, faults: Sequence[dict[str, str]], frames: Mapping[str, int]
) -> dict[str, Any]:
    """What a public data set says of its case, with the labelled frames as the study counts them."""
    if not unit.get("data_set"):
        return {}
    facts = {name: value for name, value in unit["facts"].items() if name not in ("ed_frame", "es_frame")}
    sources.flags |= {fault["reason"] for fault in faults} | set(unit["faults"])
    return {"facts": {**facts, **frames}, "reference_faults": list(faults)}


def _body_size(images: Sequence[Image]) -> dict[str, float]:
    """Height and weight as the scanner's operator entered them, where they are positive numbers."""
    first = images[0]
    entered = {"height_cm": 100 * first.number("patient_size_m"), "weight_kg": first.number("patient_weight_kg")}
    return {name: round(value, 2) for name, value in entered.items() if math.isfinite(value) and value > 0}


def _images(sources: SourceFiles, study_uid: str) -> Iterator[Image]:
    for _, content in sources.contents():
        for image in read_images(content, sources.budget):
            if not study_uid or canonical_uid(image.text("study_uid")) == canonical_uid(study_uid):
                yield image
