"""What the archive holds: files found and grouped into studies, in an order that does not depend on folders.

UK Biobank zips are grouped by their names alone. Other DICOM is grouped by study, from one look at each header, which
is remembered as long as a file's size and time stay the same. NIfTI is grouped by patient, from names. Cases of public
data sets bring their label files and the facts that the set's tables tell (:mod:`tasks.sources.public_layouts`).
"""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from json.encoder import encode_basestring_ascii
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, NotRequired, TypedDict

from cmr_models.contracts.foreign import faults_as
from cmr_models.contracts.identifiers import safe_id, short_digest
from cmr_models.reasons import StudyRejected
from tasks.sources.archive import OTHER_ARCHIVES, read_beginnings
from tasks.sources.dicom import Image, canonical_uid, claims_to_be_an_image, read_header
from tasks.sources.limits import Budget, Limits
from tasks.sources.opening import open_source, outermost, within
from tasks.sources.public_facts import facts_of
from tasks.sources.public_layouts import case_of, is_pickle, kaggle_case, landmark_image
from tasks.sources.visit_times import earliest
from tasks.sources.walk import Found, Walk
from tasks.state.ledger import SourceFile, path_digest
from tasks.state.store import digest, digest_bytes

CONVERTED_FIELDS = ("20208", "20209", "20210")
"""UK Biobank bulk fields with cines: long axis, short axis, aortic distensibility."""

OTHER_HEART_FIELDS = ("20207", "20211", "20212", "20213", "20214")
"""Scout, tagging, outflow tract, flow, T1: looked into only where a visit has nothing else, to say what it has."""

_UKB_NAME = re.compile(r"^(?P<eid>\d{1,12})_(?P<field>202\d\d)_(?P<instance>\d+)_(?P<array>\d+)\.zip$")
_ENDING = re.compile(r"\.[a-z][a-z0-9.]{0,9}")  # others may be part of an identifier
_NIFTI = (".nii", ".nii.gz")
_PAIR = (".hdr", ".img")
_IGNORED_SUFFIXES = frozenset(
    (
        ".csv", ".cvs", ".txt", ".md", ".json", ".xml", ".html", ".pdf", ".png", ".jpg", ".jpeg", ".gif",
        ".mat", ".npy", ".npz", ".xls", ".xlsx", ".py", ".log", ".toml", ".yaml", ".parquet",
        ".bulk", ".exe", ".ini", *OTHER_ARCHIVES,
    )
)  # fmt: skip
_OTHER_ENDINGS = frozenset(
    (
        ".zip", ".dcm", ".dicom", ".ima", ".nii", ".nii.gz", ".hdr", ".img", ".mha", ".mhd", ".raw", ".nrrd", ".nhdr",
        ".par", ".rec", ".minc", ".mnc", ".tif", ".tiff", ".bmp", ".mp4", ".avi", ".mov", ".pkl", ".pickle", ".h5",
        ".hdf5", ".cfg", ".cvi42wsx", ".cvi42ws3", ".doc", ".docx", ".pptx",
        ".rtf", ".sr", ".seg", ".vtk", ".stl", ".bak", ".tmp", ".part", ".db", ".sqlite", ".sh", ".bat", ".dll",
    )
)  # fmt: skip
_IGNORED_NAMES = frozenset(("DICOMDIR", "LICENSE", "README", "Thumbs.db", "MANIFEST"))
_HEADER_BYTES = 65_536
_DAY = len("YYYYMMDD")
_FIRST_DAY = "19800101"
_LONGEST_HEADER = 4 * 2**20
_UNIDENTIFIED = ["", ""]
"""Study uid and patient id of a file that is damaged or cannot be read, and may be of any study."""

_KINDS = ("ukb", "zip", "dicom", "nifti", "landmarks", "pickle")


class SourceUnit(TypedDict):
    """One study of the archive, as plain values.

    ``files`` holds ``(path, size, mtime_ns)``; ``study_uid`` picks one study out of a zip that holds several;
    ``fingerprint`` changes when a file appears, goes, or changes its size or time, or when the facts change.
    ``roots`` are the sources, out of which no file is read; none if links are followed.

    Of a public data set's case: ``labels`` are those of ``files`` that hold labels, ``facts`` what the set says of it,
    ``faults`` why it says nothing.
    """

    study: str
    participant: str
    visit: str
    kind: str
    files: list[tuple[str, int, int]]
    study_uid: str
    fingerprint: str
    roots: NotRequired[list[str]]
    data_set: NotRequired[str]
    labels: NotRequired[list[str]]
    facts: NotRequired[dict[str, Any]]
    faults: NotRequired[list[str]]


class Inventory(NamedTuple):
    """Units sorted by study, and their files with what the headers said, for the caller to remember.

    ``left``: path -> kind of the files that no study has, by the ending of their names (``.txt``; ``no ending``), or
    why they are not read (:mod:`tasks.sources.walk`).
    ``n_same_day``: how many people have several DICOM studies of one day, each a unit of its own.
    """

    units: list[SourceUnit]
    files: list[SourceFile]
    left: Mapping[str, str] = MappingProxyType({})
    n_same_day: int = 0

    @property
    def not_taken(self) -> dict[str, int]:
        """How many files of each kind no study has, the most frequent first."""
        return dict(sorted(Counter(self.left.values()).items(), key=lambda item: (-item[1], item[0])))


def inventory(
    paths: Sequence[Path],
    known: Mapping[str, SourceFile] | None = None,
    limits: Limits | None = None,
    *,
    follow_links: bool = False,
) -> Inventory:
    """Studies in any mix of files and folders.

    Args:
        paths: UK Biobank zips, other zips, DICOM folders, NIfTI, or folders of any of them.
        known: files as last seen, by the digest of their path; their headers are not read again while size and time
            are the same.
        limits: bounds on zip archives.
        follow_links: whether symbolic links that lead out of ``paths`` are followed.

    Raises:
        FileNotFoundError: if a path does not exist.
    """
    roots = [] if follow_links else outermost(paths)
    with within(roots):
        found = _inventory(paths, known or {}, limits or Limits(), follow_links=follow_links)
    for unit in found.units:
        unit["roots"] = roots
    return found


def _inventory(
    paths: Sequence[Path], remembered: Mapping[str, SourceFile], limits: Limits, *, follow_links: bool
) -> Inventory:
    kinds: dict[str, list[Found]] = defaultdict(list)
    walk = Walk(paths, _may_be_a_scan, _is_hidden, follow_links=follow_links)
    for found in walk.files():
        kinds[_kind(found.path)].append(found)
    facts = {f.path: _facts(f, remembered, limits) for f in kinds["zip"] + kinds["dicom"]}
    units = [
        *_biobank_units(kinds["ukb"]),
        *_dicom_units(kinds["dicom"], facts),
        *_zip_units(kinds["zip"], facts),
        *_nifti_units(kinds["nifti"]),
        *_landmark_units(kinds["landmarks"]),
        *_refused_units(kinds["pickle"]),
    ]
    units = _without_collisions(units)
    used = {path for unit in units for path, _, _ in unit["files"]}
    every = (f for name in _KINDS for f in kinds[name])
    files = [
        SourceFile(path_digest(f.path), f.size, f.mtime_ns, facts.get(f.path, {}))
        for f in every
        if f.path in used or f.path in facts
    ]
    passed_over = {path: why or _ending(path) for path, why in walk.passed_over.items()}
    passed_over |= {f.path: _ending(f.path) for found in kinds.values() for f in found if f.path not in used}
    return Inventory(
        sorted(units, key=lambda unit: unit["study"]),
        sorted(files, key=lambda file: file.path),
        dict(sorted(passed_over.items())),
        _n_same_day(facts.values()),
    )


def _n_same_day(facts: Iterable[Mapping[str, Any]]) -> int:
    """People with several StudyInstanceUIDs on one day: a visit that was split, or a scan that was repeated."""
    begun: dict[tuple[str, str], set[str]] = defaultdict(set)
    for found in facts:
        for uid, patient in found["studies"]:
            if patient and (time := found.get("begun", {}).get(uid)):
                begun[patient, uid].add(time)
    days = Counter((patient, earliest(times)[:_DAY]) for (patient, _), times in begun.items())
    return len({patient for (patient, _), n in days.items() if n > 1})


def _ending(path: str) -> str:
    """The kind of a file by its name: its ending if it is a known one (another may be part of an identifier)."""
    name = os.path.basename(path).lower()
    if name.startswith("."):
        return "hidden"
    ending = ".nii.gz" if name.endswith(".nii.gz") else os.path.splitext(name)[1]
    if ending in _IGNORED_SUFFIXES | _OTHER_ENDINGS:
        return ending
    return "another ending" if _ENDING.fullmatch(ending) else "no ending"


def _is_hidden(folder: str) -> bool:
    """Whether a folder is one of a system, which nobody looks into."""
    return folder.startswith(".") or folder.upper() == "__MACOSX"


def not_taken_line(counts: Mapping[str, int]) -> str:
    """In words, how many files of each kind are part of no study."""
    kinds = ", ".join(f"{n:,} {ending}" for ending, n in counts.items())
    line = f"{sum(counts.values()):,} files of the sources are part of no study: {kinds}"
    return "; ".join(filter(None, [line, unpack_advice(counts)]))


def unpack_advice(counts: Mapping[str, int]) -> str:
    """What to do with archives among the files of no study; empty if there are none."""
    n = sum(counts.get(ending, 0) for ending in OTHER_ARCHIVES)
    verb = "is an archive that is" if n == 1 else "are archives that are"
    return f"{n:,} {verb} not opened: unpack, or pack as .zip" if n else ""


def holds_a_scan(source: Path) -> bool:
    """Whether there is any file at ``source`` that, by its name, may be a scan."""
    return any(Walk([source], _may_be_a_scan, _is_hidden, follow_links=True).through(source))


def _may_be_a_scan(path: str) -> bool:
    return bool(_kind(path))


def archives_at(source: Path) -> dict[str, int]:
    """How many archives of each kind that is not opened lie at ``source``, by their ending."""
    walk = Walk([source], _may_be_a_scan, _is_hidden, follow_links=True)
    listed = {found.path for found in walk.through(source)} | walk.passed_over.keys()
    return dict(Counter(ending for path in listed if (ending := _ending(path)) in OTHER_ARCHIVES))


def _kind(path: str) -> str:
    """ukb, zip, nifti, landmarks, pickle, dicom (perhaps), or empty for what cannot be a scan."""
    name = os.path.basename(path)
    lower = name.lower()
    if name.startswith(".") or name in _IGNORED_NAMES:
        return ""
    if match := _UKB_NAME.match(name):
        return "ukb" if match["field"] in CONVERTED_FIELDS + OTHER_HEART_FIELDS else ""
    if lower.endswith(".zip"):
        return "zip"
    if lower.endswith(_NIFTI) or _is_of_pair(path):
        return "nifti"
    if lower.endswith(".png"):
        return "landmarks" if landmark_image(path) else ""
    if lower.endswith((".pickle", ".pkl")):
        return "pickle" if is_pickle(path) else ""
    return "" if os.path.splitext(lower)[1] in _IGNORED_SUFFIXES else "dicom"


def _is_of_pair(path: str) -> bool:
    """Whether this is a header or an image of NIfTI in two files: alone, either may be anything."""
    stem, ending = os.path.splitext(path)
    pair = _PAIR if ending.islower() else tuple(one.upper() for one in _PAIR)
    return ending in pair and all(os.path.exists(stem + one) for one in pair)


# looking into headers


def _facts(found: Found, known: Mapping[str, SourceFile], limits: Limits) -> dict[str, Any]:
    """Of the images in a file: ``{"studies": [[study uid, patient id], ...], "begun": {study uid: first time}}``."""
    before = known.get(path_digest(found.path))
    if (
        before
        and before.facts.get("readable", True)
        and (before.facts.get("begun") is not None or _UNIDENTIFIED in before.facts.get("studies", []))
        and (before.size, before.mtime_ns) == (found.size, found.mtime_ns)
    ):
        return before.facts
    try:
        with faults_as(partial(StudyRejected, "file_unreadable"), StudyRejected, OSError):
            budget = Budget(limits.for_a_look, min(found.size, limits.max_total_bytes))
            beginnings = _beginnings(found, budget)
            headers = [ids for content in beginnings if (ids := _study_ids(content, budget))]
    except StudyRejected:
        return {"studies": [_UNIDENTIFIED]}
    except OSError:
        return {"studies": [_UNIDENTIFIED], "readable": False}
    times: dict[str, list[str]] = defaultdict(list)
    for uid, _, time in headers:
        if uid and time:
            times[uid].append(time)
    studies = sorted([list(ids) for ids in {(uid, patient) for uid, patient, _ in headers}])
    return {"studies": studies, "begun": {uid: earliest(times[uid]) for uid in times}}


def _beginnings(found: Found, budget: Budget) -> Iterator[bytes]:
    if _kind(found.path) == "zip":
        yield from read_beginnings(Path(found.path), _HEADER_BYTES, budget.limits)
        return
    with open_source(Path(found.path)) as file:
        beginning = file.read(_HEADER_BYTES)
        ids = _study_ids(beginning, budget)
        yield beginning if ids is None or ids[0] else beginning + file.read(_LONGEST_HEADER)


def _study_ids(beginning: bytes, budget: Budget) -> tuple[str, str, str] | None:
    """Study, patient and time of an image; all empty if damage hides them; None if it is not an image."""
    header = read_header(beginning, budget)
    if header is None or not (header.raw("study_uid") or header.raw("sop_class") or header.raw("rows")):
        return ("", "", "") if claims_to_be_an_image(beginning) else None
    return canonical_uid(header.text("study_uid")), _identifier(header.raw("patient_id")), _begun(header)


def _begun(header: Image) -> str:
    """When an image was acquired, else its series or study begun: ``YYYYMMDDhhmmss``, or the day if no clock is told.

    Old headers write ``2001.02.03`` and ``10:20:30`` (DICOM PS3.5 6.2, DA and TM). No heart was scanned before
    :data:`_FIRST_DAY`: such days stand for one that was removed.
    """
    told = header.text("acquisition_datetime")
    days = (header.text("acquisition_date"), told[:_DAY], header.text("series_date"), header.text("study_date"))
    clocks = (header.text("acquisition_time"), told[_DAY:], header.text("series_time"), header.text("study_time"))
    day = next((word for day in days if re.fullmatch(r"\d{8}", word := day.replace(".", ""))), "")
    clock = next((word for clock in clocks if re.match(r"\d{6}", word := clock.replace(":", ""))), "")
    return day + clock[:6] if day >= _FIRST_DAY else ""


def _identifier(raw: bytes) -> str:
    """A patient id as text: UTF-8 where it is that, as most non-ASCII ids are today, else Latin-1.

    Reference: DICOM PS3.5 6.1.2, Specific Character Set; other sets give other letters, and people who meet no row.
    """
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    return text.strip(" \x00")


# grouping into studies


def _biobank_units(files: Iterable[Found]) -> list[SourceUnit]:
    """One unit a visit, of the fields with cines; of the others where it has none of these."""
    groups: dict[tuple[str, str], dict[bool, list[Found]]] = defaultdict(lambda: {True: [], False: []})
    for found in files:
        match = _UKB_NAME.match(found.name)
        assert match is not None
        groups[match["eid"], match["instance"]][match["field"] in CONVERTED_FIELDS].append(found)
    return [_unit(eid, instance, "ukb", group[True] or group[False]) for (eid, instance), group in groups.items()]


def _dicom_units(files: Iterable[Found], facts: Mapping[str, dict[str, Any]]) -> list[SourceUnit]:
    """One unit a StudyInstanceUID. Files that do not say theirs (damaged) join the study of their folder."""
    groups: dict[str, set[Found]] = defaultdict(set)
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


def _zip_units(files: Iterable[Found], facts: Mapping[str, dict[str, Any]]) -> list[SourceUnit]:
    """One unit a StudyInstanceUID; a zip that says none is a unit of its own, named like its patient, if it has one."""
    units: list[SourceUnit] = []
    groups: dict[str, set[Found]] = defaultdict(set)
    patients: dict[str, set[str]] = defaultdict(set)
    for found in files:
        studies = facts[found.path]["studies"]
        if not any(uid for uid, _ in studies):
            named = {patient for _, patient in studies if patient}
            by_name = _unit(_nameless(short_digest(found.name)), "1", "zip", [found])
            units.append(_dicom_unit("", [found], named, "zip", "") if named else by_name)
        for uid, patient in studies:
            if uid:
                groups[uid].add(found)
                patients[uid].add(patient)
    return units + [_dicom_unit(uid, groups[uid], patients[uid], "zip", uid) for uid in sorted(groups)]


def _dicom_unit(uid: str, files: Iterable[Found], patients: set[str], kind: str, study_uid: str) -> SourceUnit:
    ordered = sorted(files)
    named = sorted(patient for patient in patients if patient)
    number = next((number for found in ordered if (number := kaggle_case(found.path))), "")
    case = _Case("kaggle", number) if number else _Case()
    digest_of_it = short_digest(uid or ordered[0].path)
    participant = safe_id(named[0]) if named else _nameless(digest_of_it)
    return _unit(participant, digest_of_it, kind, ordered, study_uid, case)


def _nameless(digest_of_it: str) -> str:
    """The participant of a study without patient id: names of folders and files may be names of people."""
    return f"id.{digest_of_it}"


def _nifti_units(files: Iterable[Found]) -> list[SourceUnit]:
    """One unit a case with an image, and its labels where their codes are known."""
    groups: dict[tuple[str, str, str], list[Found]] = defaultdict(list)
    sets: dict[tuple[str, str, str], str] = defaultdict(str)
    labels: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for found in files:
        case = case_of(found.path)
        if case.is_label and not case.data_set:
            continue
        group = case.participant, case.visit, case.home
        groups[group].append(found)
        sets[group] = sets[group] or case.data_set
        labels[group] += [found.path] if case.is_label else []
    return [
        _unit(safe_id(group[0]), group[1], "nifti", groups[group], case=_Case(sets[group], group[0], labels[group]))
        for group in groups
        if len(groups[group]) > len(labels[group])
    ]


def _landmark_units(files: Iterable[Found]) -> list[SourceUnit]:
    """One unit a person: both views, images and masks."""
    groups: dict[tuple[str, str], list[Found]] = defaultdict(list)
    for found in files:
        described = landmark_image(found.path)
        assert described is not None
        groups[described.participant, str(Path(found.path).parents[2])].append(found)
    return [
        _unit(safe_id(patient), "1", "landmarks", group, case=_Case("landmark", patient))
        for (patient, _), group in groups.items()
    ]


def _refused_units(files: Iterable[Found]) -> list[SourceUnit]:
    """Pickle files of a known layout, by folder, so that they are reported and not passed over."""
    groups: dict[str, list[Found]] = defaultdict(list)
    for found in files:
        groups[found.folder].append(found)
    return [_unit(safe_id(os.path.basename(folder)), "1", "pickle", group) for folder, group in groups.items()]


class _Case(NamedTuple):
    """The case of a public data set that a unit is."""

    data_set: str = ""
    name: str = ""
    labels: Sequence[str] = ()


def _unit(
    participant: str, visit: str, kind: str, files: Sequence[Found], uid: str = "", case: _Case | None = None
) -> SourceUnit:
    ordered = sorted(files)
    unit = SourceUnit(
        study=f"{participant}-{visit}",
        participant=participant,
        visit=visit,
        kind=kind,
        files=[(f.path, f.size, f.mtime_ns) for f in ordered],
        study_uid=uid,
        fingerprint=_fingerprint(uid, ordered),
    )
    return _with_facts(unit, case) if case is not None and case.data_set else unit


def _fingerprint(uid: str, files: Iterable[Found]) -> str:
    """Digest of a list of the uid and of path, size and time of each file: as :func:`digest`, three times as fast."""
    listed = ",".join(f"[{encode_basestring_ascii(f.path)},{f.size},{f.mtime_ns}]" for f in files)
    return digest_bytes(f"[{encode_basestring_ascii(uid)},{listed}]".encode())


def _with_facts(unit: SourceUnit, case: _Case) -> SourceUnit:
    facts, are_there = facts_of(case.data_set, [path for path, _, _ in unit["files"]], case.name, unit["visit"])
    unit["data_set"], unit["facts"], unit["labels"] = case.data_set, facts, sorted(case.labels)
    unit["faults"] = [] if are_there else ["facts_missing"]
    unit["fingerprint"] = digest([unit["fingerprint"], facts, unit["faults"]])
    return unit


def _without_collisions(units: list[SourceUnit]) -> list[SourceUnit]:
    """Studies of one name from several places get the digest of their place added: none replaces another."""
    by_study: dict[str, list[SourceUnit]] = defaultdict(list)
    for unit in units:
        by_study[unit["study"]].append(unit)
    return [_disambiguate(unit) if len(by_study[unit["study"]]) > 1 else unit for unit in units]


def _disambiguate(unit: SourceUnit) -> SourceUnit:
    participant = f"{unit['participant']}.{short_digest(os.path.dirname(unit['files'][0][0]) + unit['kind'])}"
    return SourceUnit(**{**unit, "participant": participant, "study": f"{participant}-{unit['visit']}"})
