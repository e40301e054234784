"""What the archive holds: files found and grouped into studies, in an order that does not depend on folders.

UK Biobank zips are grouped by their names alone. Other DICOM is grouped by study, from one look at each header, which
is remembered as long as a file's size and time stay the same. NIfTI is grouped by patient, from names.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

from cmr_models.reasons import StudyRejected
from tasks.archive import Limits, read_beginnings
from tasks.dicom import read_header
from tasks.ledger import SourceFile
from tasks.nifti_names import parse_name
from tasks.store import digest

CONVERTED_FIELDS = ("20208", "20209", "20210")
"""UK Biobank bulk fields with cines: long axis, short axis, aortic distensibility."""

_UKB_NAME = re.compile(r"^(?P<eid>\d{1,12})_(?P<field>202\d\d)_(?P<instance>\d+)_(?P<array>\d+)\.zip$")
_SAFE_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.]{0,63}")
_NIFTI = (".nii", ".nii.gz")
_IGNORED_SUFFIXES = frozenset(
    (
        ".csv", ".cvs", ".txt", ".md", ".json", ".xml", ".html", ".pdf", ".png", ".jpg", ".jpeg", ".gif",
        ".mat", ".npy", ".npz", ".gz", ".tar", ".xls", ".xlsx", ".py", ".log", ".toml", ".yaml", ".parquet",
        ".bulk", ".exe", ".ini",
    )
)  # fmt: skip
_IGNORED_NAMES = frozenset(("DICOMDIR", "LICENSE", "README", "Thumbs.db", "MANIFEST"))
_HEADER_BYTES = 65_536


class SourceUnit(TypedDict):
    """One study of the archive, as plain values.

    ``files`` holds ``(path, size, mtime_ns)``; ``study_uid`` picks one study out of a zip that holds several;
    ``fingerprint`` changes when a file appears, goes, or changes its size or time.
    """

    study: str
    participant: str
    visit: str
    kind: str
    files: list[tuple[str, int, int]]
    study_uid: str
    fingerprint: str


class Inventory(NamedTuple):
    """Units sorted by study, and their files with what the headers said, for the caller to remember."""

    units: list[SourceUnit]
    files: list[SourceFile]


class _Found(NamedTuple):
    path: str
    size: int
    mtime_ns: int

    @property
    def name(self) -> str:
        return self.path.rsplit("/", 1)[-1]

    @property
    def folder(self) -> str:
        return self.path.rsplit("/", 1)[0]


def inventory(paths: Sequence[Path], known: Mapping[str, SourceFile] | None = None) -> Inventory:
    """Studies in any mix of files and folders.

    Args:
        paths: UK Biobank zips, other zips, DICOM folders, NIfTI, or folders of any of them.
        known: files as last seen, by path; their headers are not read again while size and time are the same.

    Raises:
        FileNotFoundError: if a path does not exist.
    """
    remembered = known or {}
    kinds: dict[str, list[_Found]] = defaultdict(list)
    for found in _unique(paths):
        kinds[_kind(found.name)].append(found)
    facts = {f.path: _facts(f, remembered) for f in kinds["zip"] + kinds["dicom"]}
    units = [
        *_biobank_units(kinds["ukb"]),
        *_dicom_units(kinds["dicom"], facts),
        *_zip_units(kinds["zip"], facts),
        *_nifti_units(kinds["nifti"]),
    ]
    units = _without_collisions(units)
    used = {path for unit in units for path, _, _ in unit["files"]}
    every = (f for name in ("ukb", "zip", "dicom", "nifti") for f in kinds[name])
    files = [SourceFile(*f, facts=facts.get(f.path, {})) for f in every if f.path in used or f.path in facts]
    return Inventory(sorted(units, key=lambda unit: unit["study"]), sorted(files, key=lambda file: file.path))


def safe_id(raw: str) -> str:
    """``raw`` if it can be part of a file name and a study id, else its safe characters and a digest."""
    if _SAFE_ID.fullmatch(raw):
        return raw
    cleaned = re.sub(r"[^A-Za-z0-9_]+", "_", raw).strip("_")[:32]
    return f"{cleaned or 'id'}.{_short(raw)}"


def _short(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=4).hexdigest()


# finding files


def _unique(paths: Sequence[Path]) -> list[_Found]:
    found: dict[str, _Found] = {}
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"source {path} does not exist; give a file or a folder of scans")
        for entry in _walk(os.path.abspath(path)):
            found[entry.path] = entry
    return [found[path] for path in sorted(found)]


def _walk(path: str) -> Iterator[_Found]:
    if not os.path.isdir(path):
        yield _stat(path)
        return
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "__MACOSX")
        for name in sorted(names):
            if _kind(name):
                yield _stat(os.path.join(folder, name))


def _stat(path: str) -> _Found:
    status = os.stat(path)
    return _Found(path, status.st_size, status.st_mtime_ns)


def _kind(name: str) -> str:
    """ukb, zip, nifti, dicom (perhaps), or empty for what is no scan."""
    lower = name.lower()
    if name.startswith(".") or name in _IGNORED_NAMES:
        return ""
    if match := _UKB_NAME.match(name):
        return "ukb" if match["field"] in CONVERTED_FIELDS else ""
    if lower.endswith(".zip"):
        return "zip"
    if lower.endswith(_NIFTI):
        return "nifti"
    return "" if os.path.splitext(lower)[1] in _IGNORED_SUFFIXES else "dicom"


# looking into headers


def _facts(found: _Found, known: Mapping[str, SourceFile]) -> dict[str, Any]:
    """Study and patient of the images in a file: ``{"studies": [[study uid, patient id], ...]}``."""
    before = known.get(found.path)
    if before and before.facts and (before.size, before.mtime_ns) == (found.size, found.mtime_ns):
        return before.facts
    try:
        beginnings = _beginnings(found)
        studies = {ids for content in beginnings if (ids := _study_ids(content))}
    except (OSError, StudyRejected):
        return {"studies": [], "readable": False}
    return {"studies": sorted([list(ids) for ids in studies])}


def _beginnings(found: _Found) -> Iterator[bytes]:
    if _kind(found.name) == "zip":
        yield from read_beginnings(Path(found.path), _HEADER_BYTES, Limits())
        return
    with open(found.path, "rb") as file:
        beginning = file.read(_HEADER_BYTES)
        ids = _study_ids(beginning)
        yield beginning if ids is None or ids[0] else beginning + file.read()


def _study_ids(beginning: bytes) -> tuple[str, str] | None:
    header = read_header(beginning)
    if header is None or not (header.raw("study_uid") or header.raw("sop_class") or header.raw("rows")):
        return None
    return header.text("study_uid"), header.text("patient_id")


# grouping into studies


def _biobank_units(files: Iterable[_Found]) -> list[SourceUnit]:
    groups: dict[tuple[str, str], list[_Found]] = defaultdict(list)
    for found in files:
        match = _UKB_NAME.match(found.name)
        assert match is not None
        groups[match["eid"], match["instance"]].append(found)
    return [_unit(eid, instance, "ukb", group) for (eid, instance), group in groups.items()]


def _dicom_units(files: Iterable[_Found], facts: Mapping[str, dict[str, Any]]) -> list[SourceUnit]:
    """One unit a StudyInstanceUID. Files that do not tell theirs (damaged) join the study of their folder."""
    groups: dict[str, set[_Found]] = defaultdict(set)
    patients: dict[str, set[str]] = defaultdict(set)
    homes: dict[str, set[str]] = defaultdict(set)
    for found in files:
        for uid, patient in facts[found.path]["studies"]:
            if uid:
                homes[found.folder].add(uid)
                groups[uid].add(found)
                patients[uid].add(patient)
    for found in files:
        if any(not uid for uid, _ in facts[found.path]["studies"]):
            home = homes[found.folder]
            groups[next(iter(home)) if len(home) == 1 else f"folder {found.folder}"].add(found)
    return [_dicom_unit(uid, groups[uid], patients[uid], "dicom", "") for uid in sorted(groups)]


def _zip_units(files: Iterable[_Found], facts: Mapping[str, dict[str, Any]]) -> list[SourceUnit]:
    units: list[SourceUnit] = []
    groups: dict[str, set[_Found]] = defaultdict(set)
    patients: dict[str, set[str]] = defaultdict(set)
    for found in files:
        studies = facts[found.path]["studies"]
        if not studies:
            units.append(_unit(safe_id(found.name[:-4]), "1", "zip", [found]))
        for uid, patient in studies:
            groups[uid].add(found)
            patients[uid].add(patient)
    return units + [_dicom_unit(uid, groups[uid], patients[uid], "zip", uid) for uid in sorted(groups)]


def _dicom_unit(uid: str, files: Iterable[_Found], patients: set[str], kind: str, wanted: str) -> SourceUnit:
    ordered = sorted(files)
    named = sorted(patient for patient in patients if patient)
    participant = named[0] if named else os.path.basename(ordered[0].folder)
    return _unit(safe_id(participant), _short(uid or ordered[0].path), kind, ordered, wanted)


def _nifti_units(files: Iterable[_Found]) -> list[SourceUnit]:
    groups: dict[tuple[str, str], list[_Found]] = defaultdict(list)
    for found in files:
        parsed = parse_name(found.name)
        if parsed.is_image:
            groups[parsed.patient or os.path.basename(found.folder), found.folder].append(found)
    return [_unit(safe_id(patient), "1", "nifti", group) for (patient, _), group in groups.items()]


def _unit(participant: str, visit: str, kind: str, files: Sequence[_Found], uid: str = "") -> SourceUnit:
    ordered = sorted(files)
    return SourceUnit(
        study=f"{participant}-{visit}",
        participant=participant,
        visit=visit,
        kind=kind,
        files=[(f.path, f.size, f.mtime_ns) for f in ordered],
        study_uid=uid,
        fingerprint=digest([uid, *([f.path, f.size, f.mtime_ns] for f in ordered)]),
    )


def _without_collisions(units: list[SourceUnit]) -> list[SourceUnit]:
    """Studies of one name from several places get the digest of their place added: none replaces another."""
    by_study: dict[str, list[SourceUnit]] = defaultdict(list)
    for unit in units:
        by_study[unit["study"]].append(unit)
    return [_told_apart(unit) if len(by_study[unit["study"]]) > 1 else unit for unit in units]


def _told_apart(unit: SourceUnit) -> SourceUnit:
    participant = f"{unit['participant']}.{_short(os.path.dirname(unit['files'][0][0]) + unit['kind'])}"
    return SourceUnit(**{**unit, "participant": participant, "study": f"{participant}-{unit['visit']}"})
