"""One study, one file: Zarr v3 trees in zip archives, published whole and never written to again.

A tree is built in memory, then every key goes into the zip once, stored, sorted and with a fixed time, so that the
same tree always gives the same bytes. The file appears under its final name only when it is complete and on disk.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from json.encoder import encode_basestring_ascii
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import xarray as xr
from zarr.storage import ZipStore

from cmr_models.contracts import ContractError, NewerSchemaError, check_published, check_readable
from cmr_models.contracts.checks import SCHEMA, check_version
from cmr_models.contracts.foreign import faults_as
from cmr_models.reasons import TABLE, StudyRejected
from cmr_models.zoo.published import HUB_PREFIX

RECEIPT_SCHEMA = 1
"""Version of the form of receipts. Receipts say it as "schema"; version 1 is not said."""

_RECEIPT = ("key", "status", "reason", "detail")
_MOST_BYTES = 4 * 2**30
"""Of all arrays of a published tree; more can only be a false claim of their shapes."""

HOLE = "\0hole\0"
"""Stands in a :class:`DigestTemplate` for a text that differs."""

_NO_PLACE = frozenset(
    (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.ESTALE, errno.ENOTCONN, errno.EACCES, errno.EPERM)
)
"""What a file system says where nothing can be written: it is full, broken, gone, or closed to this user."""

_FIXED_TIME = (1980, 1, 1, 0, 0, 0)


class OutputError(OSError):
    """Nothing can be written where the results go: no fault of a study, and the next one would not do better."""


@dataclass(frozen=True)
class Cohort:
    """The folders and files of one cohort."""

    root: Path

    @property
    def ledger(self) -> Path:
        return self.root / "ledger.sqlite"

    @property
    def tables(self) -> Path:
        return self.root / "tables"

    @property
    def estimates(self) -> Path:
        return self.tables / "estimates"

    @property
    def reports(self) -> Path:
        return self.root / "reports"

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def withdrawn(self) -> Path:
        """The participants whom the command `withdraw` was told, one a line: they stay out also if a ledger is lost."""
        return self.root / "withdrawn.txt"

    @property
    def predictions(self) -> Path:
        return self.root / "predictions"

    def study(self, study_id: str) -> Path:
        return Path(published_in(self.root / "studies", study_id))

    def prediction(self, model: str, study_id: str) -> Path:
        return Path(published_in(self.predictions / model, study_id))


class Published(NamedTuple):
    """Size and digest of a published file, with which ``verify`` compares."""

    n_bytes: int
    digest: str


def model_name(model: str) -> str:
    """The folder of a model's predictions: its name, or the last part of its folder."""
    return Path(model.removeprefix(HUB_PREFIX)).name.removesuffix(".safetensors")


def published_in(folder: Path, study_id: str) -> str:
    """Where the file of a study is published in the folder of a stage."""
    return f"{folder}/{_shelf(study_id)}/{study_id}.zarr.zip"


def receipt_path(published: Path) -> Path:
    """The file with the reason why ``published`` could not be made."""
    return published.with_name(published.name.removesuffix(".zarr.zip") + ".rejected.json")


def damaged_path(published: Path) -> Path:
    """The name that ``published`` gets when it is found damaged."""
    return published.with_name(published.name + ".damaged")


def digest(content: Any) -> str:
    """Hex digest of plain values (mappings, sequences, numbers, text), independent of the order of keys."""
    return digest_bytes(_canonical(content).encode())


def _canonical(content: Any) -> str:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=str)


class DigestTemplate:
    """:func:`digest` of contents that differ in a few texts only: many times as fast where there are many.

    Args:
        content: plain values with :data:`HOLE` where those texts stand.
    """

    def __init__(self, content: Any) -> None:
        self._parts = _canonical(content).split(encode_basestring_ascii(HOLE))

    def digest(self, *texts: str) -> str:
        """The digest with ``texts`` in the holes, in the order in which JSON with sorted keys has them."""
        filled = [self._parts[0]]
        for text, part in zip(texts, self._parts[1:], strict=True):
            filled += (encode_basestring_ascii(text), part)
        return digest_bytes("".join(filled).encode())


def digest_bytes(content: bytes) -> str:
    """Hex digest (BLAKE2b, 128 bit) of bytes."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def publish_bytes(content: bytes, path: Path) -> None:
    """Write ``content`` to ``path``: a temporary name beside it, fsync, then one rename.

    Raises:
        OutputError: if nothing can be written there.
    """
    with publishing(path, len(content)) as file:
        file.write(content)


@contextlib.contextmanager
def publishing(path: Path, n_bytes: int | None = None) -> Iterator[BinaryIO]:
    """A file to write to that gets the name ``path`` when it is complete and on disk; none is left after an error.

    Args:
        path: where to publish.
        n_bytes: what will be written, for the message when it cannot be; None if it is not known yet.

    Raises:
        OutputError: if nothing can be written there.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        if error.errno in _NO_PLACE:
            raise OutputError(error.errno, _need(error, n_bytes), str(path)) from error
        raise
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _need(error: OSError, n_bytes: int | None) -> str:
    need = "its size is not known yet" if n_bytes is None else f"{n_bytes / 1e3:,.0f} kB are needed"
    return need if error.errno in (errno.ENOSPC, errno.EDQUOT) else f"{error.strerror}, {need}"


def file_digest(path: Path) -> str:
    """Hex digest (BLAKE2b, 128 bit) of a file, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, _state).hexdigest()


def _state() -> hashlib.blake2b:
    return hashlib.blake2b(digest_size=16)


def publish(values: Mapping[str, bytes], path: Path) -> Published:
    """Publish zarr keys (:mod:`tasks.state.zarr_encoding`) as one zip at ``path``, and drop an older receipt.

    Raises:
        StudyRejected: ``newer_version`` if what is there was written by a newer version: it is left as it is.
    """
    published_attributes(path)
    content = _zip(values)
    publish_bytes(content, path)
    receipt_path(path).unlink(missing_ok=True)
    return Published(len(content), digest_bytes(content))


def as_published(path: Path) -> Published:
    """Size and digest of a file that an earlier run published."""
    return Published(path.stat().st_size, file_digest(path))


def publish_rejection(path: Path, *, key: str, status: str, reason: str, detail: str) -> None:
    """Record beside ``path`` why it is not there; an outdated published file goes.

    Raises:
        StudyRejected: ``newer_version`` if what is there was written by a newer version: it is left as it is.
    """
    published_attributes(path)
    content = {"key": key, "status": status, "reason": reason, "detail": detail}
    publish_bytes(json.dumps(content, indent=1, sort_keys=True).encode(), receipt_path(path))
    path.unlink(missing_ok=True)


def published_attributes(path: Path) -> dict[str, Any] | None:
    """The attributes of a published file; None if it is not there or cannot be read.

    Raises:
        StudyRejected: ``newer_version`` if a newer version of the package wrote it.
    """
    try:
        attributes = _attributes(path)
    except (FileNotFoundError, zipfile.BadZipFile):
        return None
    try:
        check_readable(attributes)
    except NewerSchemaError as error:
        raise StudyRejected("newer_version", str(error)) from error
    except ContractError:
        return None
    return attributes


@faults_as(zipfile.BadZipFile, OSError)
def _attributes(path: Path) -> dict[str, Any]:
    """The attributes of the root, from the file's first member alone."""
    with zipfile.ZipFile(path) as archive:
        attributes = json.loads(archive.read(_stored(archive, "zarr.json")))["attributes"]
    if not isinstance(attributes, dict):
        raise TypeError("the attributes are no mapping")
    return attributes


def _stored(archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    """A member that is as large as it says: what we publish is not packed a second time."""
    member = archive.getinfo(name)
    if member.compress_type != zipfile.ZIP_STORED:
        raise zipfile.BadZipFile("a member is packed")
    return member


def published_key(path: Path) -> str | None:
    """The key in a published file's attributes; None if the file is not there or cannot be read."""
    key = (published_attributes(path) or {}).get("key")
    return key if isinstance(key, str) else None


def rejection(path: Path) -> dict[str, str] | None:
    """The receipt beside ``path``: key, status, reason, detail; None if there is none.

    Raises:
        StudyRejected: ``newer_version`` if a newer version of the package wrote it.
    """
    try:
        with faults_as(_damaged, NewerSchemaError, OSError):
            content: dict[str, str] = json.loads(receipt_path(path).read_bytes())
            check_version(content.get(SCHEMA, 1), RECEIPT_SCHEMA, "a receipt")
            is_whole = all(isinstance(content[name], str) for name in _RECEIPT) and content["reason"] in TABLE
    except NewerSchemaError as error:
        raise StudyRejected("newer_version", str(error)) from error
    except (FileNotFoundError, zipfile.BadZipFile):
        return None
    return content if is_whole else None


@contextlib.contextmanager
def _as_rejection() -> Iterator[None]:
    """A file that breaks its contract ends the study that it is of; messages of contracts hold no identifiers."""
    try:
        yield
    except NewerSchemaError as error:
        raise StudyRejected("newer_version", str(error)) from error
    except ContractError as error:
        raise StudyRejected("contract_broken", str(error)) from error


@contextlib.contextmanager
def open_tree(path: Path) -> Iterator[xr.DataTree]:
    """The published tree at ``path``, read lazily; closed on leaving. Names, dimensions and types are checked.

    Raises:
        FileNotFoundError: if nothing is published there.
        zipfile.BadZipFile: if what is there is damaged.
        StudyRejected: ``contract_broken`` if it is not what its contract says, ``newer_version`` if a newer version
            of the package wrote it.
    """
    if not path.exists():
        raise FileNotFoundError("nothing is published for this study; run the stage that makes it")
    with contextlib.ExitStack() as stack:
        with faults_as(_damaged, StudyRejected, OSError):
            store = ZipStore(path, mode="r")
            stack.callback(_close, store)
            # xarray takes any zarr store; its annotation names paths and its own stores only.
            tree = xr.open_datatree(
                cast(Any, store), engine="zarr", consolidated=False, chunks=None, decode_times=False
            )
            stack.callback(tree.close)
            if sum(node.to_dataset(inherit=False).nbytes for node in tree.subtree) > _MOST_BYTES:
                raise MemoryError("the arrays claim to be larger than any that are published")
            with _as_rejection():
                check_published(tree, values=False)
        yield tree


def _close(store: ZipStore) -> None:
    with contextlib.suppress(AttributeError):  # zarr opens the file when it is first asked, which may have failed
        store.close()


def _damaged(kind: str) -> zipfile.BadZipFile:
    return zipfile.BadZipFile(f"the published file is damaged ({kind}); run `verify`, then the stage that makes it")


@contextlib.contextmanager
def reading_tree(path: Path) -> Iterator[xr.DataTree]:
    """As :func:`open_tree`, for a block that does nothing but read: damage that it meets is ``zipfile.BadZipFile``."""
    with open_tree(path) as tree, faults_as(_damaged, StudyRejected, OSError):
        yield tree


def load_tree(path: Path) -> xr.DataTree:
    """The published tree at ``path``, whole, in memory, its values checked too; raises as :func:`open_tree`."""
    with reading_tree(path) as tree:
        loaded = tree.load()
    with _as_rejection():
        check_published(loaded, values=True)
    return loaded


def _zip(values: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(values):
            archive.writestr(zipfile.ZipInfo(name, _FIXED_TIME), values[name])
    return buffer.getvalue()


def _shelf(study_id: str) -> str:
    hashed = hashlib.blake2b(study_id.encode(), digest_size=2).hexdigest()
    return f"{hashed[:2]}/{hashed[2:]}"


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
