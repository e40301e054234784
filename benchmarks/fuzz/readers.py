"""Every reader of bytes that others wrote: its seeds, how it is called, and the errors that it documents."""

from __future__ import annotations

import re
import sqlite3
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from benchmarks.fuzz import seeds
from benchmarks.fuzz.edits import Edit, in_gzip, in_png, in_zip
from benchmarks.fuzz.formats import in_cells, in_dicom, in_keys, in_list_of_zip, in_nifti, in_safetensors
from cmr_models.analysis.biobank.columns import FieldTable
from cmr_models.analysis.biobank.fields import decode, field_of
from cmr_models.analysis.biobank.placeholders import read_dates
from cmr_models.contracts.identifiers import clean_identifier, identifier_key, safe_id
from cmr_models.reasons import StudyRejected
from cmr_models.zoo.model_card import parse_card
from cmr_models.zoo.published import PublishedModel, published_card
from flows.settings import read_settings
from tasks.analysis.spec_file import read_spec
from tasks.convert.conversion import convert_study
from tasks.convert.landmark_images import landmark_views
from tasks.convert.nifti import nifti_views
from tasks.convert.reference_labels import with_labels
from tasks.convert.settings import ConvertSettings
from tasks.maintenance.verification import published_files, verify_files
from tasks.sources import inventory
from tasks.sources.archive import read_beginnings, read_members, unopened
from tasks.sources.dicom import read_header, read_images
from tasks.sources.limits import Budget, Limits
from tasks.sources.manifest import disagrees
from tasks.sources.public_facts import facts_of
from tasks.sources.withdrawn import read_withdrawn
from tasks.state import store
from tasks.state.ledger import open_ledger
from tasks.state.mistakes import UserMistake
from tasks.state.user_tables import column_words, read_user_table
from tasks.training.recipes import read_recipe
from tasks.training.segmentation_settings import TrainingSettings

_SAFE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.]{0,63}")


class BrokenLawError(Exception):
    """A reader gave what it must not give."""


@dataclass(frozen=True)
class Reader:
    """One reader.

    Attributes:
        name: in the table.
        share: of the cases, in proportion to the others.
        seeds: files that it reads, or that once did harm.
        read: calls it on bytes, with an empty folder for files.
        documented: the errors that it may raise.
        edits: changes that know the kind of file.
    """

    name: str
    share: int
    seeds: Callable[[], Sequence[bytes]]
    read: Callable[[bytes, Path], object]
    documented: tuple[type[Exception], ...] = ()
    edits: tuple[Edit, ...] = ()


def _file(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def _archive(content: bytes, folder: Path) -> None:
    path = _file(folder, "a.zip", content)
    list(read_beginnings(path, 65_536, Limits()))
    unopened(path)
    list(read_members(path))


def _inventory(name: str) -> Callable[[bytes, Path], object]:
    def read(content: bytes, folder: Path) -> None:
        _file(folder, name, content)
        inventory([folder])

    return read


def _convert(name: str) -> Callable[[bytes, Path], object]:
    """The whole way of a study; what is not foreseen is a fault of ours."""

    def read(content: bytes, folder: Path) -> None:
        _file(folder / "in", name, content)
        for unit in inventory([folder / "in"]).units:
            outcome = convert_study({**unit, "key": "k"}, str(folder / "out"), ConvertSettings().model_dump())
            if outcome.reason == "unexpected_error":
                raise BrokenLawError(outcome.detail)

    return read


def _convert_pair(content: bytes, folder: Path) -> None:
    """A header and an image of NIfTI in two files; the header is behind its length."""
    n = int.from_bytes(content[:2], "little")
    _file(folder / "in", "p_sax_ed.img", content[2 + n :])
    _convert("p_sax_ed.hdr")(content[2 : 2 + n], folder)


def _nifti(content: bytes, _folder: Path) -> None:
    nifti_views({"p_sax_ed.nii": content}, Budget(n_packed=len(content)))


def _labels(content: bytes, _folder: Path) -> None:
    image = seeds.nifti()[0]
    budget = Budget(n_packed=len(content))
    views = nifti_views({"patient001_frame01.nii": image}, budget)
    with_labels(views, {"patient001_frame01_gt.nii": content}, {}, "acdc", {}, budget)


def _png(content: bytes, _folder: Path) -> None:
    files = {"lax_2c/images/0001__00.png": content, "lax_2c/masks/0001__00.png": content}
    landmark_views(files, Budget(n_packed=2 * len(content)))


def _weights(content: bytes, folder: Path) -> None:
    from cmr_models.zoo.weights_file import read_weights

    read_weights(_file(folder, "a.safetensors", content))


def _hub(content: bytes, folder: Path) -> None:
    config = _file(folder, "finetuned/segmentation/acdc_sax/config.yaml", content)
    published_card(PublishedModel(config.with_name("acdc_sax_0.safetensors"), config))


def _card(content: bytes, _folder: Path) -> None:
    parse_card(content.decode("latin-1"), "card")


def _settings(content: bytes, folder: Path) -> None:
    read_settings(_file(folder, "cohort.toml", content))


def _spec(content: bytes, folder: Path) -> None:
    read_spec(_file(folder, "analysis.yaml", content))


def _recipe(content: bytes, folder: Path) -> None:
    read_recipe(_file(folder, "recipe.toml", content), TrainingSettings)


def _withdrawn(content: bytes, folder: Path) -> None:
    read_withdrawn(_file(folder, "withdrawn.csv", content))


def _table(name: str) -> Callable[[bytes, Path], object]:
    def read(content: bytes, folder: Path) -> None:
        path = _file(folder, name, content)
        read_user_table(path)
        column_words(path, "participant")

    return read


def _biobank(content: bytes, folder: Path) -> None:
    """A table of UK Biobank with tabs, its columns by fields, their cells as codes and as dates."""
    data = FieldTable.of(read_user_table(_file(folder, "ukb.tab", content)))
    for field, instance in data.columns:
        for name, column in data.values(field, instance).items():
            read_dates(column)
            if known := field_of(field):
                decode(column.rename(str(name)), known)


def _identifier(content: bytes, _folder: Path) -> None:
    text = content.decode("utf-8", "surrogateescape")
    clean_identifier(text)
    for found in (safe_id(text), identifier_key(text)):
        if not _SAFE.fullmatch(found):
            raise BrokenLawError("an id that is no name of a file")


def _facts(content: bytes, folder: Path) -> None:
    _file(folder, "acdc/patient001/Info.cfg", content)
    facts_of("acdc", [str(folder / "acdc/patient001/a.nii")], "patient001")
    _file(folder, "mnms/211230_M&Ms_Dataset_information_diagnosis_opendataset.csv", content)
    facts_of("mnms", [str(folder / "mnms/Training/A0S9V9/a.nii")], "A0S9V9")


def _study(content: bytes, folder: Path) -> None:
    path = _file(folder, "1-1.zarr.zip", content)
    store.published_attributes(path)
    store.load_tree(path)


def _verify(content: bytes, folder: Path) -> None:
    cohort = store.Cohort(folder)
    _file(folder, str(cohort.study("1-1").relative_to(folder)), content)
    verify_files(cohort, published_files(cohort, "default"), lambda n: None)


def _receipt(content: bytes, folder: Path) -> None:
    _file(folder, "1-1.rejected.json", content)
    store.rejection(folder / "1-1.zarr.zip")


def _ledger(content: bytes, folder: Path) -> None:
    with open_ledger(_file(folder, "ledger.sqlite", content)) as ledger:
        for stage in ledger.stages():
            list(ledger.outcomes(stage))
        ledger.sources()


_OF_SETTINGS = (ValueError, UserMistake)
_OF_SPEC = (ValidationError, UserMistake, FileNotFoundError)

READERS = (
    Reader("DICOM header", 16, seeds.dicom, lambda content, _: read_header(content[:65_536]), (), (in_dicom,)),
    Reader("DICOM images", 20, seeds.dicom, lambda content, _: read_images(content), (StudyRejected,), (in_dicom,)),
    Reader("zip archive", 8, seeds.archives, _archive, (StudyRejected,), (in_zip, in_list_of_zip)),
    Reader("inventory, DICOM", 6, seeds.dicom, _inventory("a.dcm"), (), (in_dicom,)),
    Reader("inventory, zip", 4, seeds.archives, _inventory("a.zip"), (), (in_zip, in_list_of_zip)),
    Reader("conversion, zip", 2, seeds.archives, _convert("a.zip"), (), (in_zip, in_list_of_zip)),
    Reader("conversion, DICOM", 3, seeds.dicom, _convert("a.dcm"), (), (in_dicom,)),
    Reader("conversion, NIfTI", 2, seeds.nifti, _convert("p_sax_ed.nii"), (), (in_gzip, in_nifti)),
    Reader("conversion, pair", 2, seeds.pairs, _convert_pair, (), (in_nifti,)),
    Reader("NIfTI images", 8, seeds.nifti, _nifti, (StudyRejected,), (in_gzip, in_nifti)),
    Reader("NIfTI labels", 3, seeds.nifti, _labels, (StudyRejected,), (in_gzip, in_nifti)),
    Reader("PNG landmarks", 6, seeds.png, _png, (StudyRejected,), (in_png, in_png)),
    Reader("safetensors", 3, seeds.safetensors, _weights, (ValueError,), (in_safetensors,)),
    Reader("model card", 3, lambda: [seeds.CARD, seeds.DEEP_TOML], _card, (ValueError,), (in_keys,)),
    Reader("hub config", 2, lambda: [seeds.HUB, seeds.YAML_BOMB], _hub, (ValueError,), (in_keys,)),
    Reader("cohort.toml", 3, lambda: [seeds.SETTINGS, seeds.DEEP_TOML], _settings, _OF_SETTINGS, (in_keys,)),
    Reader("spec", 3, lambda: [seeds.SPEC, seeds.YAML_BOMB], _spec, _OF_SPEC, (in_keys,)),
    Reader("recipe", 1, lambda: [seeds.RECIPE, seeds.DEEP_TOML], _recipe, (ValueError,), (in_keys,)),
    Reader("CSV", 8, lambda: [seeds.TABLE, seeds.OVERFLOW], _table("people.csv"), (UserMistake,), (in_cells,)),
    Reader("tabs", 1, lambda: [seeds.BIOBANK], _biobank, (UserMistake, ValueError), (in_cells,)),
    Reader("packed CSV", 1, seeds.packed_tables, _table("people.csv.gz"), (UserMistake,), (in_gzip,)),
    Reader("Parquet", 4, seeds.parquet, _table("people.parquet"), (UserMistake,)),
    Reader("manifest", 2, lambda: [seeds.TABLE], lambda c, _: disagrees(c, ["a.dcm"]), (), (in_cells,)),
    Reader("identifiers", 3, lambda: seeds.TOKENS, _identifier),
    Reader("list of the withdrawn", 2, lambda: [seeds.WITHDRAWN], _withdrawn, (UserMistake,), (in_cells,)),
    Reader("facts of public sets", 2, lambda: seeds.FACTS, _facts, (), (in_cells, in_keys)),
    Reader("published study", 4, seeds.studies, _study, (StudyRejected, zipfile.BadZipFile), (in_zip, in_list_of_zip)),
    Reader("verify", 2, seeds.studies, _verify, (), (in_zip, in_list_of_zip)),
    Reader("receipt", 1, seeds.receipts, _receipt, (StudyRejected,), (in_keys,)),
    Reader("ledger", 2, seeds.ledgers, _ledger, (UserMistake, sqlite3.Error, ValueError)),
)  # fmt: skip
"""All readers. ISMRMRD is only written."""
