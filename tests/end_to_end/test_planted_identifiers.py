"""Names, dates and addresses, planted wherever a site has them, reach no file, log, page or table of the cohort."""

import gzip
import io
import json
import os
import sqlite3
import struct
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import nibabel as nib
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pydicom
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from benchmarks.fuzz.seeds import dicom_bytes, image
from tasks.simulation import SimulationSettings, write_cohort
from tasks.state.store import load_tree

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("ignore:.*:UserWarning:pydicom"),  # texts that are too long or of another alphabet
]
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
FREE = {
    "SeriesDescription": "ZQXSERIES", "ProtocolName": "ZQXPROTOCOL", "ManufacturerModelName": "ZQXMODEL",
    "Manufacturer": "ZQXMAKER", "SequenceName": "ZQXPULSE", "ScanOptions": "ZQXOPTION",
}  # fmt: skip
"""What a site may write a name behind; a reader of series looks at these, so that the text stays in front."""

HIDDEN = {
    "nested": "ZQXNESTED", "other_id": "ZQXOTHERID", "code": "ZQXCODE", "private": "ZQXDEEP", "overlay": "ZQXOVERLAY",
    "overlay_comment": "ZQXREMARK", "curve": "ZQXCURVE", "icon": "ZQXICON", "unicode": "ZQX\u00c4NNE",
    "emoji": "ZQX\U0001f494", "rtl": "ZQX\u05d0\u05e0\u05d4", "long": "ZQXLONG" + "G" * 3000,
}  # fmt: skip
"""In sequences, private ones too, overlays and retired groups, and in other alphabets."""

IN_A_UID = "99001122334455"

NUMERIC = (
    "SliceThickness", "TriggerTime", "PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "Rows",
    "BitsStored", "RescaleSlope", "AcquisitionDate", "AcquisitionTime", "NominalInterval", "HeartRate", "PatientWeight",
    "PatientSize", "InstanceNumber", "SeriesNumber", "EchoTime", "NumberOfFrames", "SOPClassUID", "Modality",
)  # fmt: skip
"""Values in which a text makes a fault; its message must not quote it."""

IN_A_NUMBER = "ZQXNUMBER"
IN_NIFTI = ("ZQXDESCRIP", "ZQXAUXFILE", "ZQXINTENT", "ZQXDBNAME", "ZQXEXTENSION")
IN_PNG = ("ZQXPNGTEXT", "ZQXPNGPACKED", "ZQX\u00d6NG")


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
    for k, name in enumerate(NUMERIC):
        _text_for_a_number(sites_own / f"ZQXFILE_numbers_{k}.zip", name, f"N{k}")
    _nifti(folder / "archive/patient901")
    _png(folder / "archive/landmark/training/lax_2c")
    for name in ("participants.csv", "outcomes.csv"):
        table = pd.read_csv(folder / name)
        table["notes"] = table["ZQXCOLUMN"] = "ZQXNOTE"
        table.to_csv(folder / name, index=False)
    config = folder / "cohort.toml"
    config.write_text(config.read_text().replace("[analysis]\n", "[analysis]\nunmatched_max = 1.0\n"))
    home = folder / "home"
    home.mkdir()
    (folder / "temporary").mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    program = [sys.executable, "-c", "from flows.start import main; main()", "run", "--config", "cohort.toml"]
    done = subprocess.run(
        program,
        cwd=folder,
        env={
            **environment,
            "HOME": str(home),
            "PREFECT_LOGGING_LEVEL": "DEBUG",
            "DASK_LOGGING__DISTRIBUTED": "debug",
            "TMPDIR": str(folder / "temporary"),
        },
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
    _hide(header)
    return header


def _hide(header: Dataset) -> None:
    """Identifiers where a list of tags does not find them."""
    request, other, code, icon, private = (Dataset() for _ in range(5))
    request.RequestedProcedureDescription = HIDDEN["nested"]
    other.PatientID, other.IssuerOfPatientID = HIDDEN["other_id"], HIDDEN["other_id"]
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "1", "99", HIDDEN["code"]
    request.RequestedProcedureCodeSequence, icon.ImageComments = [code], HIDDEN["icon"]
    private.PatientName = HIDDEN["private"]
    header.SpecificCharacterSet = "ISO_IR 192"
    header.RequestAttributesSequence, header.OtherPatientIDsSequence, header.IconImageSequence = (
        [request],
        [other],
        [icon],
    )
    header.private_block(0x0029, "ZQXCREATOR").add_new(0x02, "SQ", [private])
    header.add_new(0x60001500, "LO", HIDDEN["overlay"])
    header.add_new(0x60004000, "LT", HIDDEN["overlay_comment"])
    header.add_new(0x50002500, "LO", HIDDEN["curve"])
    header.ResponsiblePerson = HIDDEN["unicode"]
    header.PatientReligiousPreference, header.RequestingService = HIDDEN["emoji"], HIDDEN["rtl"]
    header.TextComments = HIDDEN["long"]
    header.FrameOfReferenceUID = f"1.2.{IN_A_UID}.1"
    for name in ("StudyInstanceUID", "SeriesInstanceUID"):
        setattr(header, name, f"{header[name].value[:40]}.{IN_A_UID}")


def _text_for_a_number(path: Path, name: str, person: str) -> None:
    """A study of twelve images in which one value is a text; of a person of its own."""
    with zipfile.ZipFile(path, "w") as archive:
        for k in range(12):
            header = image(k)
            header.PatientID, header.StudyInstanceUID = person, f"1.2.3.{person[1:]}"
            header.SeriesDescription = "cine_sax"
            header[name] = DataElement(tag_for_keyword(name) or 0, "LO", IN_A_NUMBER)
            archive.writestr(f"{k}.dcm", dicom_bytes(header))


def _nifti(folder: Path) -> None:
    """A case of a data set, with texts in its headers."""
    folder.mkdir(parents=True)
    volume = nib.Nifti1Image(np.arange(12 * 12 * 4, dtype=np.int16).reshape(12, 12, 4), np.diag([2, 2, 9, 1]))
    for name, text in zip(("descrip", "aux_file", "intent_name", "db_name"), IN_NIFTI, strict=False):
        volume.header[name] = text.encode()
    volume.header.extensions.append(nib.nifti1.Nifti1Extension("comment", IN_NIFTI[-1].encode()))
    for number in ("01", "09"):
        (folder / f"patient901_frame{number}.nii.gz").write_bytes(gzip.compress(volume.to_bytes()))


def _png(folder: Path) -> None:
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
        texts = PngInfo()
        texts.add_text("Comment", IN_PNG[0])
        texts.add_text("Author", IN_PNG[1], zip=True)
        texts.add_itxt("Title", IN_PNG[2])
        Image.fromarray(np.eye(32, dtype=np.uint8) * 200).save(folder / kind / "0901__00.png", pnginfo=texts)


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
            member = zipfile.ZipInfo(f"ZQXMEMBER_Smith Anna/{name}" if name.endswith(".dcm") else name)
            member.comment, member.extra = b"ZQXONEMEMBER", struct.pack("<HH8s", 0x9999, 8, b"ZQXEXTRA")
            archive.writestr(member, content)
        archive.writestr("ZQXREPORT_Smith_Anna.pdf", b"%PDF")


def _loose_copy(path: Path, folder: Path) -> None:
    """The study again as loose files, of somebody whose PatientID was removed."""
    for k, (_, content) in enumerate(_images(path)):
        try:
            header = pydicom.dcmread(io.BytesIO(content))
        except InvalidDicomError:
            continue
        header.PatientID = ""
        header.SeriesDescription = f"{header.SeriesDescription} {HIDDEN['unicode']}"
        for name in ("StudyInstanceUID", "SeriesInstanceUID"):
            setattr(header, name, f"{header[name].value[:60]}.9")
        header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID = f"{header.SOPInstanceUID}.9"
        header.save_as(folder / f"ZQXFILE_{k}.dcm")


def _texts(path: Path) -> Iterator[tuple[str, bytes]]:
    """The name and the bytes of a file, as a reader of its format has them; whatever is compressed is unpacked."""
    yield str(path), str(path.name).encode()
    if path.suffix == ".parquet":
        schema = pq.read_schema(path)
        yield str(path), pd.read_parquet(path).to_json(force_ascii=False).encode() + str(schema.metadata).encode()
    elif path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                yield f"{path}/{name}", name.encode() + archive.read(name)
        yield str(path), _of_study(path).encode()
    elif path.suffix in (".sqlite", ".db"):
        with sqlite3.connect(f"file:{path}?immutable=1", uri=True) as connection:  # its log is left, and read as well
            yield str(path), "\n".join(connection.iterdump()).encode()
    yield str(path), path.read_bytes()  # of a database the log and pages that are free, too


def _of_study(path: Path) -> str:
    """Attributes and texts of a published file, whose arrays are compressed."""
    parts = []
    for node in load_tree(path).subtree:
        dataset = node.to_dataset()
        variables = [dataset[name] for name in dataset.variables]
        parts += [str(one.values.tolist()) for one in variables if one.dtype.kind in "OUS"]
        parts += [str(dict(one.attrs)) for one in (dataset, *variables)]
    return "\n".join(parts)


_PLACES = (
    "ZQXFOLDER", "ZQXFILE", "ZQXMEMBER", "ZQXREPORT", "ZQXZIPCOMMENT", "ZQXNOTE", "ZQXCREATOR", "ZQXPRIVATE",
    "ZQXONEMEMBER", "ZQXEXTRA", "ZQXCOLUMN", IN_A_NUMBER, *IN_NIFTI, *IN_PNG,
)  # fmt: skip
_NAMES = ("Smith_Anna", "Smith Anna", "Smith%20Anna")
PLANTED = tuple(text for text in (*TEXTS.values(), *FREE.values(), *HIDDEN.values(), *_PLACES, *_NAMES) if text)
"""Whole words: three letters alone stand by chance in every encoded picture."""


def _spellings(word: str) -> set[bytes]:
    """A word in capitals as programmes write it: in several encodings, as JSON, in a URL and in HTML."""
    numbered = "".join(f"&#{ord(letter)};" if ord(letter) > 127 else letter for letter in word)
    texts = {word[:64], word[:64].upper(), json.dumps(word[:64])[1:-1], quote(word[:64]), numbered[:64]}
    encodings = ("utf-8", "utf-16-le", "utf-16-be", "latin-1")
    return {
        text.encode(encoding, "ignore").upper() for text in texts for encoding in encodings if _fits(text, encoding)
    }


def _fits(text: str, encoding: str) -> bool:
    """Whether an encoding has all letters; without some, the rest would be found by chance."""
    return text.encode(encoding, "ignore").decode(encoding) == text


def _where(folder: Path, *words: str) -> list[str]:
    """Where any of the words is, in capitals or not."""
    sought = {word: _spellings(word) for word in words}
    roots = (folder / "cohort", folder / "home", folder / "temporary")
    files = [path for root in roots for path in root.rglob("*") if path.is_file()] + [folder / "said.txt"]
    found = set()
    for path in files:
        for where, content in _texts(path):
            capitals = content.upper()
            found |= {f"{where}: {word!r}" for word, all_of in sought.items() if any(one in capitals for one in all_of)}
    return sorted(found)


def test_the_archive_holds_them_and_was_read(folder: Path) -> None:
    content = b"".join(path.read_bytes() for path in (folder / "archive").rglob("*") if path.is_file())
    plain = (
        *TEXTS.values(),
        *FREE.values(),
        *HIDDEN.values(),
        IN_A_UID,
        BIRTH,
        "ZQXPRIVATE",
        "ZQXONEMEMBER",
        IN_A_NUMBER,
    )
    assert all(text.encode() in content for text in plain)
    assert IN_PNG[0].encode() in content
    studies = pd.read_parquet(folder / "cohort/tables/phenotypes.parquet")
    assert (studies["status"] == "ok").sum() >= 2
    assert len(studies) == 4 + len(NUMERIC) + 2


def test_no_planted_text_is_anywhere(folder: Path) -> None:
    found = _where(folder, *PLANTED)
    assert not found, json.dumps(found[:20], indent=1)


def test_uids_are_in_the_ledger_alone(folder: Path) -> None:
    """It groups files by that of their study; pages and tables have its digest."""
    found = _where(folder, IN_A_UID)
    assert found
    assert all(f"{folder}/cohort/ledger.sqlite" in where for where in found), found


def test_no_date_of_birth_is_anywhere(folder: Path) -> None:
    assert not _where(folder, BIRTH)


def test_whoever_has_no_id_gets_a_digest(folder: Path) -> None:
    names = pd.read_parquet(folder / "cohort/tables/phenotypes.parquet")["participant"].astype(str)
    assert not names.str.contains("Smith|Anna|ZQX").any()
