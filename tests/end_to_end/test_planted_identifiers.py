"""Names, dates and addresses, planted wherever a site has them, reach no file, log, page or table of the cohort."""

import io
import json
import os
import sqlite3
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from tasks.simulation import SimulationSettings, write_cohort

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
TEXTS = {
    "PatientName": "ZQXNAME^Anna",
    "PatientBirthName": "ZQXBIRTH^Anna",
    "PatientMotherBirthName": "ZQXMOTHER",
    "OtherPatientNames": "ZQXOTHERNAME",
    "PatientAddress": "ZQXSTREET 17",
    "PatientTelephoneNumbers": "ZQXPHONE",
    "PatientComments": "ZQXPATIENTCOMMENT",
    "AdditionalPatientHistory": "ZQXHISTORY",
    "Occupation": "ZQXOCCUPATION",
    "MedicalRecordLocator": "ZQXRECORD",
    "MilitaryRank": "ZQXRANK",
    "IssuerOfPatientID": "ZQXISSUER",
    "ReferringPhysicianName": "ZQXREFERS",
    "PerformingPhysicianName": "ZQXPERFORMS",
    "NameOfPhysiciansReadingStudy": "ZQXREADS",
    "OperatorsName": "ZQXOPERATOR",
    "InstitutionName": "ZQXINSTITUTION",
    "InstitutionAddress": "ZQXADDRESS",
    "InstitutionalDepartmentName": "ZQXDEPARTMENT",
    "StationName": "ZQXSTATION",
    "DeviceSerialNumber": "ZQXSERIAL",
    "AccessionNumber": "ZQXACCESSION",
    "StudyID": "ZQXSTUDYID",
    "StudyDescription": "ZQXSTUDY",
    "ImageComments": "ZQXIMAGE",
    "RequestedProcedureDescription": "ZQXREQUEST",
    "PerformedProcedureStepDescription": "ZQXSTEP",
    "AdmissionID": "ZQXADMISSION",
    "DerivationDescription": "ZQXDERIVED",
    "PatientInsurancePlanCodeSequence": "",
}
BIRTH = "19510203"
FREE = {"SeriesDescription": "ZQXSERIES", "ProtocolName": "ZQXPROTOCOL", "ManufacturerModelName": "ZQXMODEL"}
"""What a site may write a name behind; a reader of series looks at these, so that the text stays in front."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cohort that was run on an archive with identifiers everywhere; what the command said is in ``said.txt``."""
    folder = tmp_path_factory.mktemp("planted")
    settings = SimulationSettings(people=40, imaged=3, frames=8, faults=("truncated_zip",), seed=3)
    for _ in write_cohort(folder, settings, workers=2):
        pass
    sites_own = folder / "archive/ZQXFOLDER Smith Anna"
    sites_own.mkdir()
    for path in sorted((folder / "archive").glob("*.zip")):
        _plant(path)
    _loose_copy(next(iter(sorted((folder / "archive").glob("*.zip")))), sites_own)
    for name in ("participants.csv", "outcomes.csv"):
        table = pd.read_csv(folder / name)
        table["notes"] = "ZQXNOTE"
        table.to_csv(folder / name, index=False)
    home = folder / "home"
    home.mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    program = [sys.executable, "-c", "from flows.start import main; main()", "run", "--config", "cohort.toml"]
    done = subprocess.run(
        program,
        cwd=folder,
        env={**environment, "HOME": str(home), "PREFECT_LOGGING_LEVEL": "DEBUG"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 3), done.stderr
    (folder / "said.txt").write_text(done.stdout + done.stderr)
    return folder


def _planted(header: Dataset) -> Dataset:
    for name, text in TEXTS.items():
        if text:
            setattr(header, name, text)
    header.PatientBirthDate = BIRTH
    for name, text in FREE.items():
        setattr(header, name, f"{header.get(name, '')} {text}".strip())
    header.private_block(0x0029, "ZQXCREATOR", create=True).add_new(0x01, "LO", "ZQXPRIVATE")
    return header


def _images(path: Path) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            content = archive.read(name)
            try:
                header = _planted(pydicom.dcmread(io.BytesIO(content)))
            except InvalidDicomError:
                yield name, content
                continue
            buffer = io.BytesIO()
            header.save_as(buffer)
            yield name, buffer.getvalue()


def _plant(path: Path) -> None:
    if not zipfile.is_zipfile(path):
        return  # the truncated one
    members = dict(_images(path))
    with zipfile.ZipFile(path, "w") as archive:
        archive.comment = b"ZQXZIPCOMMENT"
        for name, content in members.items():
            archive.writestr(f"ZQXMEMBER_{name}" if name.endswith(".dcm") else name, content)
        archive.writestr("ZQXREPORT_Smith_Anna.pdf", b"%PDF")


def _loose_copy(path: Path, folder: Path) -> None:
    """The study again as loose files, of somebody whose PatientID was removed."""
    for k, (_, content) in enumerate(_images(path)):
        try:
            header = pydicom.dcmread(io.BytesIO(content))
        except InvalidDicomError:
            continue
        header.PatientID = ""
        for name in ("StudyInstanceUID", "SeriesInstanceUID"):
            setattr(header, name, f"{header[name].value}.9")
        header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID = f"{header.SOPInstanceUID}.9"
        header.save_as(folder / f"ZQXFILE_{k}.dcm")


def _texts(path: Path) -> Iterator[tuple[str, bytes]]:
    """The name and the bytes of a file, as a reader of its format has them; whatever is compressed is unpacked."""
    yield str(path), str(path.name).encode()
    if path.suffix == ".parquet":
        yield str(path), pd.read_parquet(path).to_json().encode()
    elif path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                yield f"{path}/{name}", name.encode() + archive.read(name)
    elif path.suffix == ".sqlite":
        with sqlite3.connect(path) as connection:
            yield str(path), "\n".join(connection.iterdump()).encode()
    yield str(path), path.read_bytes()


_PLACES = ("ZQXFOLDER", "ZQXFILE", "ZQXMEMBER", "ZQXREPORT", "ZQXZIPCOMMENT", "ZQXNOTE", "ZQXCREATOR", "ZQXPRIVATE")
_NAMES = ("Smith_Anna", "Smith Anna", "Smith%20Anna")
PLANTED = tuple(text for text in (*TEXTS.values(), *FREE.values(), *_PLACES, *_NAMES) if text)
"""Whole words: three letters alone stand by chance in every encoded picture."""


def _where(folder: Path, *words: str) -> list[str]:
    """Where any of the words is, in capitals or not."""
    sought = [word.encode().upper() for word in words]
    root = folder / "cohort"
    files = [path for path in (*root.rglob("*"), *(folder / "home").rglob("*"), folder / "said.txt") if path.is_file()]
    return sorted(
        {f"{where}: {word!r}" for path in files for where, content in _texts(path)
         for word in sought if word in content.upper()}
    )  # fmt: skip


def test_the_archive_holds_them_and_was_read(folder: Path) -> None:
    content = b"".join(path.read_bytes() for path in (folder / "archive").rglob("*") if path.is_file())
    assert all(text.encode() in content for text in (*TEXTS.values(), *FREE.values(), BIRTH, "ZQXPRIVATE"))
    studies = pd.read_parquet(folder / "cohort/tables/phenotypes.parquet")
    assert (studies["status"] == "ok").sum() >= 2
    assert len(studies) == 4


def test_no_planted_text_is_anywhere(folder: Path) -> None:
    found = _where(folder, *PLANTED)
    assert not found, json.dumps(found[:20], indent=1)


def test_no_date_of_birth_is_anywhere(folder: Path) -> None:
    assert not _where(folder, BIRTH)


def test_whoever_has_no_id_gets_a_digest(folder: Path) -> None:
    names = pd.read_parquet(folder / "cohort/tables/phenotypes.parquet")["participant"].astype(str)
    assert not names.str.contains("Smith|Anna|ZQX").any()
