"""Names, digests and bytes of what is published, spelt out: a cohort that lies on a disk must be found again."""

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tasks.state import store
from tasks.state.store import Cohort


def test_a_cohort_has_its_files_where_they_were(tmp_path: Path) -> None:
    cohort = Cohort(tmp_path)
    assert {
        name: getattr(cohort, name).relative_to(tmp_path).as_posix()
        for name in ("ledger", "tables", "estimates", "reports", "runs", "predictions")
    } == {
        "ledger": "ledger.sqlite",
        "tables": "tables",
        "estimates": "tables/estimates",
        "reports": "reports",
        "runs": "runs",
        "predictions": "predictions",
    }
    hashed = hashlib.blake2b(b"1000012-2", digest_size=2).hexdigest()
    shelf = f"{hashed[0]}{hashed[1]}/{hashed[2]}{hashed[3]}"
    assert cohort.study("1000012-2") == tmp_path / f"studies/{shelf}/1000012-2.zarr.zip"
    assert cohort.prediction("m", "1000012-2") == tmp_path / f"predictions/m/{shelf}/1000012-2.zarr.zip"
    assert store.receipt_path(cohort.study("1000012-2")) == tmp_path / f"studies/{shelf}/1000012-2.rejected.json"
    assert store.damaged_path(cohort.study("1000012-2")) == tmp_path / f"studies/{shelf}/1000012-2.zarr.zip.damaged"


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("default", "default"),
        ("/a/b/net", "net"),
        ("b/net.safetensors", "net"),
        ("net.v2", "net.v2"),
        ("hub:base.v1", "base.v1"),
    ],
)
def test_a_model_has_the_folder_of_its_name(model: str, name: str) -> None:
    assert store.model_name(model) == name


def test_digests_are_those_of_blake2b_over_one_spelling() -> None:
    assert store.digest_bytes(b"abc") == hashlib.blake2b(b"abc", digest_size=16).hexdigest()
    text = b'{"a":[1,2.5,null],"b":"\\u00e4","p":"x/y"}'
    assert store.digest({"p": Path("x/y"), "b": "\u00e4", "a": (1, 2.5, None)}) == store.digest_bytes(text)
    assert store.digest(["a", "b"]) != store.digest(["b", "a"])


def test_a_zip_is_stored_sorted_and_of_a_fixed_time_and_its_size_and_digest_are_told(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr.zip"
    published = store.publish({"b/c": b"2" * 100, "a": b"1"}, path)
    content = path.read_bytes()
    assert published == (len(content), hashlib.blake2b(content, digest_size=16).hexdigest()) == store.as_published(path)
    with zipfile.ZipFile(path) as archive:
        assert [(i.filename, i.date_time, i.compress_type) for i in archive.infolist()] == [
            ("a", (1980, 1, 1, 0, 0, 0), zipfile.ZIP_STORED), ("b/c", (1980, 1, 1, 0, 0, 0), zipfile.ZIP_STORED),
        ]  # fmt: skip
        assert archive.read("b/c") == b"2" * 100


def _published(path: Path, content: Any) -> None:
    store.publish({"zarr.json": content if isinstance(content, bytes) else json.dumps(content).encode()}, path)


@pytest.mark.parametrize(
    ("content", "attributes", "key"),
    [
        ({"attributes": {"key": "k", "n": 1}}, {"key": "k", "n": 1}, "k"),
        ({"attributes": {"key": 3}}, {"key": 3}, None),
        ({"attributes": {}}, {}, None),
        ({"attributes": [1]}, None, None),
        ({"other": {}}, None, None),
        (b"{", None, None),
    ],
)
def test_attributes_and_key_of_a_file_are_read_or_none(
    tmp_path: Path, content: Any, attributes: Any, key: str | None
) -> None:
    _published(tmp_path / "a.zarr.zip", content)
    assert store.published_attributes(tmp_path / "a.zarr.zip") == attributes
    assert store.published_key(tmp_path / "a.zarr.zip") == key


def test_a_receipt_is_read_or_none(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr.zip"
    assert store.rejection(path) is None
    store.publish_rejection(path, key="k", status="absent", reason="no_sax", detail="d")
    assert store.rejection(path) == {"key": "k", "status": "absent", "reason": "no_sax", "detail": "d"}
    store.receipt_path(path).write_text("{")
    assert store.rejection(path) is None


def test_a_file_whose_version_is_no_number_is_as_if_there_were_none(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("zarr.json", json.dumps({"attributes": {"schema": "two"}}))
    assert store.published_attributes(path) is None
