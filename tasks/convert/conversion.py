"""One study from source bytes to a published file: read, recognise views, encode, compare, publish."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from cmr_models.contracts import PERFUSION_VIEWS, cine_study
from cmr_models.reasons import TABLE, StudyRejected
from tasks.convert.cine import study_views
from tasks.convert.landmark_images import landmark_views
from tasks.convert.nifti import nifti_views
from tasks.convert.reference_labels import with_labels
from tasks.execution import shards
from tasks.execution.shards import Unit
from tasks.sources import SourceUnit
from tasks.sources.archive import Limits, n_nested, read_members
from tasks.sources.dicom import Image, read_images
from tasks.sources.manifest import disagrees, is_manifest
from tasks.sources.public_layouts import tail
from tasks.state import store
from tasks.state.ledger import Ledger, Outcome, Status
from tasks.state.zarr_encoding import encode_tree

STAGE = "convert"
VERSION = 1
"""Raise when the same source would give another file: every study is then converted again."""

PERFUSION_VERSION = 1
"""The same for perfusion views; part of the key of studies that have some, so that no other study is done again."""

_UNREAD = "series_perfusion"
"""Reason with which converters that knew no perfusion left such series out; today's use others."""

_HASH_BLOCK = 4 * 2**20


@dataclass(frozen=True)
class ConvertSettings:
    """Settings that decide what is published; part of every study's key.

    Attributes:
        frames_missing_max: a larger share of missing frames rejects a short-axis stack or leaves out a
            long-axis plane.
        max_inflated_mb: an archive or NIfTI file that inflates beyond this is refused, or one member beyond an eighth.
    """

    frames_missing_max: float = 0.2
    max_inflated_mb: int = 4096

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> ConvertSettings:
        """Settings from plain values; missing ones have their default.

        Raises:
            TypeError: if a name is not a setting.
        """
        return cls(**plain)

    @property
    def limits(self) -> Limits:
        """Bounds on zip archives; one member, which is held in memory whole, may have an eighth of all."""
        total = self.max_inflated_mb * 2**20
        return Limits(max_member_bytes=total // 8, max_total_bytes=total)


def study_key(source_digest: str, settings: ConvertSettings) -> str:
    """Key of a study: what it was made from, by which converter, with which settings."""
    return store.digest({"source": source_digest, "converter": VERSION, "settings": asdict(settings)})


def perfusion_key(key: str) -> str:
    """Key of a study with perfusion views, from its key without."""
    return store.digest({"study": key, "perfusion": PERFUSION_VERSION})


def planned_units(units: Iterable[SourceUnit], settings: Mapping[str, Any], unread: Collection[str] = ()) -> list[Unit]:
    """Units with what planning asks for as their ``key``: these files, this converter, these settings.

    Files are told by path, size and time, so that planning reads none of them; the key of the published study comes
    from their content (:func:`study_key`), so that a file that was only touched is read once and not converted again.

    Args:
        units: what the archive holds.
        settings: plain values of :class:`ConvertSettings`.
        unread: studies whose perfusion series an earlier converter left out; these alone are converted again.
    """
    resolved = ConvertSettings.from_plain(settings)
    planned = []
    for unit in units:
        key = study_key(unit["fingerprint"], resolved)
        planned.append({**unit, "key": perfusion_key(key) if unit["study"] in unread else key})
    return planned


def with_unread_perfusion(ledger: Ledger) -> frozenset[str]:
    """Studies whose perfusion series an earlier converter left out, or that it set aside for having nothing else."""
    return frozenset(ledger.mentioned(STAGE, _UNREAD))


def convert_shard(units: Sequence[Unit], cohort: str, settings: dict[str, Any]) -> list[Outcome]:
    """Every study of a shard, one after the other: the work of one Dask task."""
    return [shards.attempt(convert_study, unit, cohort, settings, stage=STAGE) for unit in units]


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
    resolved = ConvertSettings.from_plain(settings)
    path = store.Cohort(Path(cohort)).study(unit["study"])
    try:
        sources = _Sources(unit, resolved)
    except OSError as error:
        return Outcome(unit["study"], STAGE, "quarantined", "file_unreadable", type(error).__name__)
    key = study_key(sources.digest, resolved)
    summary: dict[str, Any] = {"source_digest": sources.digest}
    done = _done(unit["study"], path, key, summary)
    if done is not None:
        return done
    try:
        study = _study(unit, sources, key, resolved)
    except StudyRejected as rejected:
        return _rejected(unit["study"], path, key, summary, rejected)
    summary |= summary_of(study)
    published = study.attrs["key"]
    encoded = encode_tree(study)
    del study  # not held while the file is put together
    summary |= store.publish(encoded, path)._asdict()
    return Outcome(unit["study"], STAGE, "ok", key=published, summary=summary)


def summary_of(study: xr.DataTree) -> dict[str, Any]:
    """Small plain values of a converted study for the tables: its views and what was left out."""
    views = {name: _view_summary(node.to_dataset()) for name, node in study.children.items()}
    lists = {name: list(study.attrs.get(name, [])) for name in ("excluded", "flags")}
    reference = {name: study.attrs[name] for name in ("facts", "reference_faults") if name in study.attrs}
    summary: dict[str, Any] = {"views": views, **lists}
    return summary | reference


def _view_summary(view: xr.Dataset) -> dict[str, Any]:
    frames, slices, rows, cols = view["intensity"].shape
    return {
        "frames": frames,
        "slices": slices,
        "rows": rows,
        "cols": cols,
        "pixel_mm": [round(float(mm), 5) for mm in view["pixel_mm"].values],
        "slice_mm": _plain(view.attrs["slice_mm"]),
        "thickness_mm": _plain(view.attrs["thickness_mm"]),
        "heart_rate_bpm": _plain(view.attrs["heart_rate_bpm"]),
        "frames_missing": int((~view["frame_valid"].values.astype(bool)).sum()),
        "flags": list(view.attrs.get("flags", [])),
        **_reference_summary(view),
    }


def _reference_summary(view: xr.Dataset) -> dict[str, Any]:
    """In which frames people drew, if they did."""
    found: dict[str, Any] = {}
    if "labelled" in view:
        found["labelled_frames"] = np.flatnonzero(view["labelled"].values).tolist()
    if "landmark_px" in view:
        found["marked_frames"] = np.flatnonzero(np.isfinite(view["landmark_px"].values).all(axis=(1, 2))).tolist()
    return found


def _plain(value: float) -> float | None:
    return round(float(value), 4) if math.isfinite(value) else None


# what was done before


def _done(study: str, path: Path, key: str, summary: dict[str, Any]) -> Outcome | None:
    """The outcome of an earlier run with the same key, if its file or its receipt is there."""
    published = store.published_key(path)
    if published in (key, perfusion_key(key)):
        with store.open_tree(path) as tree:
            found = summary_of(tree)
        if any(row["reason"] == _UNREAD for row in found["excluded"]):
            return None
        summary |= {**found, **store.as_published(path)._asdict()}
        return Outcome(study, STAGE, "ok", key=published, summary=summary)
    receipt = store.rejection(path)
    if receipt is None or receipt["key"] != key or _UNREAD in receipt["detail"]:
        return None
    status: Status = "absent" if receipt["status"] == "absent" else "quarantined"
    return Outcome(study, STAGE, status, receipt["reason"], receipt["detail"], key, summary=summary)


def _rejected(study: str, path: Path, key: str, summary: dict[str, Any], rejected: StudyRejected) -> Outcome:
    status: Status = "absent" if TABLE[rejected.reason].kind == "absent" else "quarantined"
    store.publish_rejection(path, key=key, status=status, reason=rejected.reason, detail=rejected.detail)
    return Outcome(study, STAGE, status, rejected.reason, rejected.detail, key, summary=summary)


# source bytes


class _Sources:
    """The files of one study: first their digest, then their content. Zips are hashed in blocks.

    ``flags`` is complete once the contents have been gone through.
    """

    def __init__(self, unit: Mapping[str, Any], settings: ConvertSettings) -> None:
        self._limits = settings.limits
        self._paths = [Path(path) for path, _, _ in unit["files"]]
        self._held: dict[Path, bytes] = {}
        self.flags: set[str] = set()
        digests = sorted(self._digest_of(path) for path in self._paths)
        stated = [unit[name] for name in ("data_set", "facts", "faults") if name in unit]
        self.digest = store.digest([unit["kind"], unit["study_uid"], digests, *stated])

    def _digest_of(self, path: Path) -> str:
        if path.suffix.lower() == ".zip":
            return _digest_of_blocks(path)
        self._held[path] = path.read_bytes()
        return store.digest_bytes(self._held[path])

    def contents(self) -> Iterator[tuple[str, bytes]]:
        """Name and content of every file or zip member; a file is not held once it was given out."""
        for path in self._paths:
            if path in self._held:
                yield path.name, self._held.pop(path)
            else:
                yield from self._members(path)

    def by_name(self, wanted: Collection[Path] | None = None) -> dict[str, bytes]:
        """Content by name and folders of the files that are not zips: all, or only ``wanted``; not held longer."""
        names = [path for path in self._paths if path in self._held and (wanted is None or path in wanted)]
        return {tail(path.as_posix()): self._held.pop(path) for path in names}

    def n_nested(self) -> int:
        """Archives within the zips, which are not opened."""
        return sum(n_nested(path) for path in self._paths if path.suffix.lower() == ".zip")

    def _members(self, path: Path) -> Iterator[tuple[str, bytes]]:
        """Members of a zip but its manifest, which is only compared with them."""
        names, manifests = set[str](), list[bytes]()
        for name, content in read_members(path, self._limits):
            if is_manifest(name):
                manifests.append(content)
                continue
            names.add(name)
            yield name, content
        if any(disagrees(manifest, names) for manifest in manifests):
            self.flags.add("manifest_mismatch")


def _digest_of_blocks(path: Path) -> str:
    state = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
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


def _study(unit: Mapping[str, Any], sources: _Sources, key: str, settings: ConvertSettings) -> xr.DataTree:
    content = _CONTENTS.get(unit["kind"], _from_dicom)(unit, sources, settings)
    if content.views.keys() & set(PERFUSION_VIEWS):
        key = perfusion_key(key)
    return cine_study(
        content.views,
        participant=unit["participant"],
        visit=unit["visit"],
        key=key,
        source_kind=unit["kind"],
        source_digest=sources.digest,
        converter_version=VERSION,
        excluded=content.excluded,
        flags=sorted(sources.flags),
        **content.attributes,
    )


def _from_dicom(unit: Mapping[str, Any], sources: _Sources, settings: ConvertSettings) -> _Content:
    images = list(_images(sources, unit["study_uid"]))
    if not images and (nested := sources.n_nested()):
        raise StudyRejected("zip_nested", f"{nested} archives.")
    found = study_views(images, max_missing_fraction=settings.frames_missing_max)
    return _Content(found.views, found.excluded, {**_body_size(images), **_reference(unit, sources, [], {})})


def _from_nifti(unit: Mapping[str, Any], sources: _Sources, settings: ConvertSettings) -> _Content:
    max_bytes = settings.limits.max_total_bytes
    labels = sources.by_name([Path(path) for path in unit.get("labels", [])])
    images = sources.by_name()
    views = nifti_views(images, max_bytes=max_bytes)
    if not unit.get("data_set"):
        return _Content(views)
    found = with_labels(views, labels, images, unit["data_set"], unit["facts"], max_bytes=max_bytes)
    return _Content(found.views, attributes=_reference(unit, sources, found.faults, found.frames))


def _from_landmarks(unit: Mapping[str, Any], sources: _Sources, _settings: ConvertSettings) -> _Content:
    found = landmark_views(sources.by_name())
    return _Content(found.views, attributes=_reference(unit, sources, found.faults, {}))


def _refuse(_unit: Mapping[str, Any], _sources: _Sources, _settings: ConvertSettings) -> _Content:
    raise StudyRejected("pickle_refused", "Convert it to NIfTI, on a machine that may run it.")


_CONTENTS = {"nifti": _from_nifti, "landmarks": _from_landmarks, "pickle": _refuse}
"""How a kind of unit is read; every other is DICOM."""


def _reference(
    unit: Mapping[str, Any], sources: _Sources, faults: Sequence[dict[str, str]], frames: Mapping[str, int]
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


def _images(sources: _Sources, study_uid: str) -> Iterator[Image]:
    for _, content in sources.contents():
        for image in read_images(content):
            if not study_uid or image.text("study_uid") == study_uid:
                yield image
