"""Publishing: whole or not at all, the same bytes for the same tree, never a half-written file."""

import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from cmr_models.contracts import ContractError, cine_study, cine_view, prediction
from cmr_models.reasons import StudyRejected
from tasks.state import store
from tasks.state.zarr_encoding import encode_tree


@pytest.fixture
def study() -> xr.DataTree:
    rng = np.random.default_rng(3)
    view = cine_view(
        rng.integers(0, 4000, (13, 3, 40, 32), dtype=np.uint16),
        time_ms=np.arange(13) * 40.0,
        pixel_mm=(1.8, 1.9),
        position_mm=[[0, 0, 10 * i] for i in range(3)],
        row_dir=(1, 0, 0),
        col_dir=(0, 1, 0),
        slice_mm=10,
        thickness_mm=8,
        flags=["slice_gap"],
    )
    return cine_study({"sax": view}, key="k1", participant="1")


def test_what_is_read_is_what_was_published(study: xr.DataTree, tmp_path: Path) -> None:
    path = store.Cohort(tmp_path).study("1-2")
    store.publish(encode_tree(study), path)
    loaded = store.load_tree(path)
    assert loaded.identical(study)
    assert store.published_key(path) == "k1"


def test_the_same_tree_gives_the_same_bytes(study: xr.DataTree, tmp_path: Path) -> None:
    first, second = tmp_path / "a.zarr.zip", tmp_path / "b.zarr.zip"
    store.publish(encode_tree(study), first)
    store.publish(dict(reversed(encode_tree(study).items())), second)
    assert first.read_bytes() == second.read_bytes()


def test_no_member_is_written_twice(study: xr.DataTree, tmp_path: Path) -> None:
    store.publish(encode_tree(study), tmp_path / "a.zarr.zip")
    names = zipfile.ZipFile(tmp_path / "a.zarr.zip").namelist()
    assert names == sorted(set(names))


def test_a_failure_while_writing_leaves_nothing_behind(
    study: xr.DataTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(handle: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        store.publish(encode_tree(study), tmp_path / "a.zarr.zip")
    assert list(tmp_path.iterdir()) == []


def test_a_rejection_replaces_the_outdated_file_and_a_success_the_receipt(study: xr.DataTree, tmp_path: Path) -> None:
    path = tmp_path / "1-2.zarr.zip"
    store.publish(encode_tree(study), path)
    store.publish_rejection(path, key="k2", status="quarantined", reason="zip_corrupt", detail="")
    assert not path.exists()
    receipt = store.rejection(path)
    assert receipt is not None
    assert (receipt["key"], receipt["reason"]) == ("k2", "zip_corrupt")
    store.publish(encode_tree(study), path)
    assert store.rejection(path) is None


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04" + bytes(40)])
def test_a_file_that_is_no_published_tree_has_no_key(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.zarr.zip"
    path.write_bytes(content)
    assert store.published_key(path) is None


def test_a_missing_study_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="run the stage"), store.open_tree(tmp_path / "a.zarr.zip"):
        pass


def test_a_digest_does_not_depend_on_the_order_of_keys() -> None:
    assert store.digest({"a": 1, "b": [1, 2]}) == store.digest(json.loads('{"b": [1, 2], "a": 1}'))
    assert store.digest({"a": 1}) != store.digest({"a": 2})


def test_what_is_wrong_with_a_file_is_said_without_naming_the_study(tmp_path: Path) -> None:
    path = tmp_path / "1234567-2.zarr.zip"
    for error in (FileNotFoundError, zipfile.BadZipFile):
        with pytest.raises(error, match="run") as caught, store.open_tree(path):
            pass
        assert "1234567" not in str(caught.value)
        path.write_bytes(b"no archive")


# contracts


def _replaced(path: Path, member: str, change: Callable[[dict[str, Any]], None]) -> None:
    """Rewrite the JSON of one member of a published file."""
    with zipfile.ZipFile(path) as archive:
        values = {name: archive.read(name) for name in archive.namelist()}
    content = json.loads(values[member])
    change(content)
    values[member] = json.dumps(content).encode()
    path.unlink()
    store.publish(values, path)


def _signed(study: xr.DataTree) -> xr.DataTree:
    study.attrs.update(
        visit="2", source_kind="zip", source_digest="d", converter_version=1, excluded=[], flags=["slice_gap"]
    )
    return study


def test_a_study_that_breaks_its_contract_is_not_published(study: xr.DataTree) -> None:
    broken = _signed(study)
    del broken.attrs["source_kind"]
    with pytest.raises(ContractError, match=r"a study needs the attributes \['source_kind'\]"):
        encode_tree(broken)


def test_a_published_study_says_no_schema_and_is_read(study: xr.DataTree, tmp_path: Path) -> None:
    path = tmp_path / "1-2.zarr.zip"
    store.publish(encode_tree(_signed(study)), path)
    assert "schema" not in (store.published_attributes(path) or {})
    assert store.load_tree(path).identical(study)


def test_a_published_study_that_breaks_its_contract_is_not_read(study: xr.DataTree, tmp_path: Path) -> None:
    path = tmp_path / "1-2.zarr.zip"
    store.publish(encode_tree(_signed(study)), path)
    _replaced(path, "sax/time_ms/zarr.json", lambda array: array.update(dimension_names=["time"]))
    with (
        pytest.raises(StudyRejected, match=r"time_ms of the group 'sax' of a study must have dims \(frame\)") as raised,
        store.open_tree(path),
    ):
        pass
    assert raised.value.reason == "contract_broken"


def test_a_study_of_a_newer_version_is_neither_read_nor_replaced(study: xr.DataTree, tmp_path: Path) -> None:
    path = tmp_path / "1-2.zarr.zip"
    encoded = encode_tree(_signed(study))
    store.publish(encoded, path)
    _replaced(path, "zarr.json", lambda group: group["attributes"].update(schema=2))
    before = path.read_bytes()
    attempts: list[Callable[[], Any]] = [
        lambda: store.load_tree(path),
        lambda: store.published_key(path),
        lambda: store.publish(encoded, path),
        lambda: store.publish_rejection(path, key="k", status="quarantined", reason="no_dicom", detail=""),
    ]
    message = r"a study was written by a newer version .* \(schema 2, this one reads 1\): update cmr-cohort"
    for attempt in attempts:
        with pytest.raises(StudyRejected, match=message) as raised:
            attempt()
        assert raised.value.reason == "newer_version"
    assert path.read_bytes() == before
    assert store.rejection(path) is None


def test_a_receipt_of_a_newer_version_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "1-2.zarr.zip"
    store.publish_rejection(path, key="k", status="quarantined", reason="no_dicom", detail="")
    receipt = store.receipt_path(path)
    assert json.loads(receipt.read_text()) == {"key": "k", "status": "quarantined", "reason": "no_dicom", "detail": ""}
    receipt.write_text(json.dumps({"key": "k", "schema": 2}))
    with pytest.raises(StudyRejected, match="a receipt was written by a newer version"):
        store.rejection(path)


def test_values_are_looked_at_when_they_are_loaded_and_not_before(tmp_path: Path) -> None:
    tree = prediction(
        {"sax": np.zeros((1, 1, 4, 4), np.uint8)}, key="k", study_key="s", model="m", weights={}, precision="float32",
        classes={}, segmenter_version=1, grids={},
    )  # fmt: skip
    path = tmp_path / "1-2.zarr.zip"
    encoded = encode_tree(tree)
    broken = tree.copy(deep=True)
    broken["sax/label"].values[:] = 77
    del broken.attrs["segmenter_version"]  # of a kind that has no contract, so that it can be encoded
    store.publish(encoded | {k: v for k, v in encode_tree(broken).items() if k.startswith("sax/label/")}, path)
    with store.open_tree(path) as opened:
        assert opened["sax/label"].shape == (1, 1, 4, 4)
    with pytest.raises(StudyRejected, match=r"label of the group 'sax' of a segmentation holds \[77\]"):
        store.load_tree(path)


# whole zips that are no study


def _members(**contents: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name.replace("_json", ".json"), content)
    return buffer.getvalue()


_SIGNED = json.dumps({"attributes": {"key": "k1", "converter_version": 2}, "zarr_format": 3, "node_type": "group"})
NO_STUDIES = {
    "another zip": _members(a=b"b"),
    "a list for attributes": _members(zarr_json=b'{"attributes": []}'),
    "a list": _members(zarr_json=b"[]"),
    "no text": _members(zarr_json=b"\xff\xfe"),
    "deep": _members(zarr_json=b"[" * 100_000),
    "an array": _members(zarr_json=b'{"attributes": {"key": "k1"}, "zarr_format": 3, "node_type": "array"}'),
    "signed, but empty": _members(zarr_json=_SIGNED.encode()),
    "an odd version": _members(zarr_json=_SIGNED.replace('"key"', '"schema": "x", "key"').encode()),
    "no zip": b"PK\x03\x04 and nothing",
    "nothing": b"",
}


@pytest.mark.parametrize("kind", NO_STUDIES)
def test_a_file_that_is_no_study_is_damaged_or_breaks_its_contract(kind: str, tmp_path: Path) -> None:
    path = store.Cohort(tmp_path).study("1-2")
    path.parent.mkdir(parents=True)
    path.write_bytes(NO_STUDIES[kind])
    assert store.published_key(path) in (None, "k1")
    with pytest.raises((zipfile.BadZipFile, StudyRejected), match=r"damaged|contract_broken"):
        store.load_tree(path)


@pytest.mark.parametrize("kind", NO_STUDIES)
def test_a_file_that_is_no_study_is_replaced(kind: str, study: xr.DataTree, tmp_path: Path) -> None:
    path = store.Cohort(tmp_path).study("1-2")
    path.parent.mkdir(parents=True)
    path.write_bytes(NO_STUDIES[kind])
    store.publish(encode_tree(study), path)
    assert store.load_tree(path).identical(study)


def test_a_tree_that_claims_more_than_any_holds_is_damaged(
    study: xr.DataTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = store.Cohort(tmp_path).study("1-2")
    store.publish(encode_tree(study), path)
    monkeypatch.setattr(store, "_MOST_BYTES", 13 * 3 * 40 * 32 * 2)  # its pixels alone
    with pytest.raises(zipfile.BadZipFile, match="MemoryError"), store.open_tree(path):
        pass


def test_only_damage_met_while_reading_is_called_so(study: xr.DataTree, tmp_path: Path) -> None:
    path = store.Cohort(tmp_path).study("1-2")
    with pytest.raises(FileNotFoundError), store.reading_tree(path):
        pass
    store.publish(encode_tree(study), path)
    with pytest.raises(zipfile.BadZipFile, match="KeyError"), store.reading_tree(path) as tree:
        tree["no such view"].load()


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"\xff", b'{"key": "k"}', b'{"key":1,"status":"a","reason":"b","detail":""}', b"[" * 90_000]
)
def test_a_receipt_that_is_none_is_as_if_there_were_none(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "1-2.zarr.zip"
    store.receipt_path(path).write_bytes(content)
    assert store.rejection(path) is None
