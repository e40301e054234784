"""Every published file is read again, those of the predict stage too, and the ledger is rebuilt from them."""

import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from cmr_models.contracts import cine_study, cine_view, prediction
from cmr_models.reasons import StudyRejected
from tasks.maintenance import verification
from tasks.maintenance.verification import Verified, published_files, verify_files
from tasks.state import store
from tasks.state.ledger import Outcome, open_ledger
from tasks.state.store import Cohort
from tasks.state.zarr_encoding import encode_tree

_FOLDER = "regression_ef-net"
_STAGE = f"predict {_FOLDER}"


@pytest.fixture
def cohort(tmp_path: Path) -> Cohort:
    place = Cohort(tmp_path)
    outcomes = []
    for k in range(3):
        tree = xr.DataTree.from_dict({"/answer": xr.Dataset({"value": ((), float(k))})})
        summary = {"values": {"ef": float(k)}, "missing": {}}
        tree.attrs.update(key=f"key{k}", study_key="s", task="regression_ef", summary=summary)
        published = store.publish(encode_tree(tree), place.prediction(_FOLDER, f"p{k}-1"))
        outcomes.append(
            Outcome(f"p{k}-1", _STAGE, "ok", key=f"key{k}", summary={**summary, "file": published._asdict()})
        )
    for folder in (_FOLDER, "landmark_heatmap-net"):
        store.publish_rejection(
            place.prediction(folder, "p9-1"), key="k9", status="quarantined", reason="phases_unknown", detail=""
        )
    other = prediction({"sax": np.zeros((1, 1, 4, 4), np.uint8)}, key="x", study_key="s")
    store.publish(encode_tree(other), place.prediction("another_segmenter", "p0-1"))
    with open_ledger(place.ledger) as ledger:
        ledger.record(outcomes)
    return place


def _verified(cohort: Cohort) -> Verified:
    return verify_files(cohort, published_files(cohort, "default"), lambda n: None)


def test_predictions_are_found_by_their_task_and_labels_of_other_models_left_alone(cohort: Cohort) -> None:
    files = published_files(cohort, "default")
    assert {(file.stage, file.study) for file in files} == {
        ("predict landmark_heatmap-net", "p9-1"), *[(_STAGE, f"p{k}-1") for k in (0, 1, 2, 9)],
    }  # fmt: skip


def test_a_damaged_and_an_exchanged_prediction_are_put_aside_and_forgotten(cohort: Cohort) -> None:
    damaged, exchanged = (cohort.prediction(_FOLDER, f"p{k}-1") for k in (0, 1))
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 0xFF
    damaged.write_bytes(bytes(content))
    exchanged.write_bytes(cohort.prediction(_FOLDER, "p2-1").read_bytes())
    found = _verified(cohort)
    assert len(found.damaged) == 2
    assert found.forgotten == 2
    assert not damaged.exists()
    with open_ledger(cohort.ledger) as ledger:
        assert set(ledger.entries(_STAGE)) == {"p2-1", "p9-1"}


def _with_attributes(path: Path, **attributes: Any) -> None:
    """Rewrite the attributes of a published file."""
    with zipfile.ZipFile(path) as archive:
        values = {name: archive.read(name) for name in archive.namelist()}
    content = json.loads(values["zarr.json"])
    content["attributes"] |= attributes
    path.unlink()
    store.publish(values | {"zarr.json": json.dumps(content).encode()}, path)


def test_a_file_that_breaks_its_contract_is_put_aside(cohort: Cohort) -> None:
    broken = cohort.prediction(_FOLDER, "p0-1")
    _with_attributes(broken, predictor_version=1)  # which is to have a model and more
    cohort.ledger.unlink()
    found = _verified(cohort)
    assert found.damaged == [str(store.damaged_path(broken).relative_to(cohort.root)).removesuffix(".damaged")]
    assert not broken.exists()
    assert found.restored == 4


def test_a_file_of_a_newer_version_stops_the_verification_and_stays(cohort: Cohort) -> None:
    newer = cohort.prediction(_FOLDER, "p0-1")
    _with_attributes(newer, schema=2)
    with pytest.raises(StudyRejected, match=r"newer version of cmr-cohort .schema 2, this one reads 1.: update"):
        _verified(cohort)
    assert newer.exists()


def test_a_lost_ledger_comes_back_with_values_and_reasons(cohort: Cohort) -> None:
    with open_ledger(cohort.ledger) as ledger:
        before = {o.study: o for o in ledger.outcomes(_STAGE)}
    cohort.ledger.unlink()
    assert _verified(cohort).restored == 5
    with open_ledger(cohort.ledger) as ledger:
        after = {o.study: o for o in ledger.outcomes(_STAGE)}
        assert ledger.entries("predict landmark_heatmap-net")["p9-1"].reason == "phases_unknown"
    for study, outcome in before.items():
        published = outcome.summary.pop("file")  # as version 0.1 kept it
        assert after[study].summary == {**outcome.summary, **published}
    assert after["p9-1"].status == "quarantined"
    again = _verified(cohort)
    assert (again.restored, again.forgotten, again.damaged) == (0, 0, [])


def test_a_predict_stage_whose_folder_is_gone_is_forgotten(cohort: Cohort) -> None:
    for k in range(3):
        cohort.prediction(_FOLDER, f"p{k}-1").unlink()
    store.receipt_path(cohort.prediction(_FOLDER, "p9-1")).unlink()
    assert _verified(cohort).forgotten == 3
    with open_ledger(cohort.ledger) as ledger:
        assert not ledger.entries(_STAGE)


def test_outcomes_without_a_file_are_kept_and_a_retired_study_stays_retired(cohort: Cohort) -> None:
    without_file = [
        Outcome("p5-1", _STAGE, "retired", "withdrawn"),
        Outcome("p6-1", _STAGE, "quarantined", "worker_lost", key="k6"),
        Outcome("p7-1", _STAGE, "absent", "no_sax", key="k7"),
    ]
    withdrawn = Outcome("p0-1", _STAGE, "retired", "withdrawn")  # whose file still lies there
    with open_ledger(cohort.ledger) as ledger:
        ledger.record([*without_file, withdrawn])
    found = _verified(cohort)
    assert found.forgotten == 0
    with open_ledger(cohort.ledger) as ledger:
        left = {study: (entry.status, entry.reason) for study, entry in ledger.entries(_STAGE).items()}
    assert {study: left[study] for study in ("p0-1", "p5-1", "p6-1", "p7-1")} == {
        "p0-1": ("retired", "withdrawn"),
        "p5-1": ("retired", "withdrawn"),
        "p6-1": ("quarantined", "worker_lost"),
        "p7-1": ("absent", "no_sax"),
    }
    assert (left["p1-1"], left["p2-1"]) == (("ok", ""), ("ok", ""))


def test_whole_files_are_counted_and_a_file_that_vanished_is_forgotten_alone(cohort: Cohort) -> None:
    cohort.prediction(_FOLDER, "p1-1").unlink()
    found = _verified(cohort)
    assert (found.whole, found.forgotten, found.damaged) == (4, 1, [])  # two files and two receipts
    with open_ledger(cohort.ledger) as ledger:
        assert sorted(ledger.entries(_STAGE)) == ["p0-1", "p2-1", "p9-1"]


def test_the_findings_are_told_in_lines(cohort: Cohort) -> None:
    found = Verified(whole=5, damaged=["a/b", "c"], restored=3, forgotten=2)
    assert list(found.lines()) == [
        "5 files whole, 2 damaged",
        "ledger: 3 outcomes restored, 2 without a whole file forgotten",
        "damaged: a/b",
        "damaged: c",
    ]
    advanced: list[int] = []
    verify_files(cohort, published_files(cohort, "default"), advanced.append)
    assert advanced == [1] * 5


def test_hidden_and_foreign_files_are_none_of_the_published_ones(cohort: Cohort) -> None:
    folder = cohort.prediction(_FOLDER, "p0-1").parent
    before = published_files(cohort, "default")
    for name in (".p0-1.zarr.zip.1.aa.tmp", ".p0-1.zarr.zip", "p0-1.zarr.zip.damaged", "notes.txt"):
        (folder / name).touch()
    assert published_files(cohort, "default") == before
    assert [file.path for file in before if file.stage == _STAGE] == sorted(
        file.path for file in before if file.stage == _STAGE
    )
    assert {file.study for file in before} == {"p0-1", "p1-1", "p2-1", "p9-1"}


def test_a_ledger_that_knows_another_key_is_brought_in_line_with_the_file(cohort: Cohort) -> None:
    with open_ledger(cohort.ledger) as ledger:
        (known,) = (o for o in ledger.outcomes(_STAGE) if o.study == "p1-1")
        ledger.record(
            [replace(known, key="older"), Outcome("p2-1", _STAGE, "quarantined", "out_of_memory", key="key2")]
        )
    found = _verified(cohort)
    assert (found.whole, found.restored, found.forgotten, found.damaged) == (5, 3, 0, [])  # and the two receipts
    with open_ledger(cohort.ledger) as ledger:
        assert ledger.entries(_STAGE)["p1-1"].key == "key1"
        assert ledger.entries(_STAGE)["p1-1"].wanted == "key1"


def test_a_receipt_that_cannot_be_read_or_lacks_a_word_is_put_aside(cohort: Cohort) -> None:
    receipt = store.receipt_path(cohort.prediction(_FOLDER, "p9-1"))
    whole = json.loads(receipt.read_text())
    for content in ("{", *(json.dumps({k: v for k, v in whole.items() if k != name}) for name in whole)):
        receipt.write_text(content)
        found = _verified(cohort)
        assert found.damaged == [str(receipt.relative_to(cohort.root))]
        assert not receipt.exists()
        assert receipt.with_name(receipt.name + ".damaged").exists()
    receipt.write_text(json.dumps({**whole, "status": "absent", "detail": "d"}))
    _verified(cohort)
    with open_ledger(cohort.ledger) as ledger:
        (outcome,) = (o for o in ledger.outcomes(_STAGE) if o.study == "p9-1")
    assert (outcome.status, outcome.reason, outcome.detail, outcome.key) == ("absent", "phases_unknown", "d", "k9")


@pytest.mark.parametrize("content", [b"", b"no zip"])
def test_a_file_that_is_no_archive_is_put_aside(cohort: Cohort, content: bytes) -> None:
    cohort.prediction(_FOLDER, "p0-1").write_bytes(content)
    found = _verified(cohort)
    assert len(found.damaged) == 1
    assert (found.whole, found.forgotten) == (4, 1)


def test_what_was_derived_lies_in_tables_and_is_not_forgotten_for_lack_of_files(cohort: Cohort) -> None:
    with open_ledger(cohort.ledger) as ledger:
        ledger.record(
            [
                Outcome("p0-1", "derive", "ok", key="d"),
                Outcome("p0-1", "unheard", "ok"),
                Outcome("p0-1", "convert", "ok", key="c"),
            ]
        )
    assert _verified(cohort).forgotten == 1  # the study, whose file is not there
    with open_ledger(cohort.ledger) as ledger:
        assert (set(ledger.entries("derive")), set(ledger.entries("unheard"))) == ({"p0-1"}, {"p0-1"})
        assert ledger.entries("convert") == {}


def test_a_study_keeps_what_planning_compares_apart_from_the_key_of_its_file(cohort: Cohort) -> None:
    view = cine_view(
        np.zeros((1, 1, 4, 4), np.uint16), time_ms=[0], pixel_mm=(1, 1), position_mm=[[0, 0, 0]], row_dir=(1, 0, 0),
        col_dir=(0, 1, 0), slice_mm=float("nan"), thickness_mm=8,
    )  # fmt: skip
    tree = cine_study(
        {"sax": view},
        key="made",
        participant="p0",
        visit="1",
        source_kind="zip",
        source_digest="d",
        converter_version=1,
        excluded=[],
        flags=[],
    )
    published = store.publish(encode_tree(tree), cohort.study("p0-1"))
    found = _verified(cohort)
    assert found.damaged == []
    with open_ledger(cohort.ledger) as ledger:
        (outcome,) = ledger.outcomes("convert")
    assert (outcome.study, outcome.status, outcome.key, outcome.wanted) == ("p0-1", "ok", "made", "")
    assert outcome.summary["digest"] == published.digest
    assert outcome.summary["n_bytes"] == published.n_bytes


@pytest.mark.parametrize("how", ["beside the values", "under file, as version 0.1 kept it"])
def test_a_whole_file_that_is_not_the_one_that_was_recorded_is_put_aside(cohort: Cohort, how: str) -> None:
    """The archive is sound and its key right: only the recorded digest tells that other numbers lie there."""
    path = cohort.prediction(_FOLDER, "p0-1")
    recorded = store.as_published(path)._asdict()
    summary = recorded if how == "beside the values" else {"file": recorded}
    with open_ledger(cohort.ledger) as ledger:
        ledger.record([Outcome("p0-1", _STAGE, "ok", key="key0", summary=summary)])
    assert _verified(cohort).damaged == []
    _with_attributes(path, note="other numbers")
    assert store.published_key(path) == "key0"
    assert _verified(cohort).damaged == [str(path.relative_to(cohort.root))]
    with open_ledger(cohort.ledger) as ledger:
        assert "p0-1" not in ledger.entries(_STAGE)


@pytest.mark.parametrize(
    "members",
    [
        {"a": b"b"},
        {"zarr.json": b'{"attributes": {"key": "k1"}, "zarr_format": 3, "node_type": "array"}'},
        {"zarr.json": b'{"attributes": {"key": "k1", "converter_version": 1}, "zarr_format": 3, "node_type": "group"}'},
        {"zarr.json": b'{"attributes": {"key": "k1", "schema": []}}'},
    ],
)
def test_a_whole_zip_that_is_no_study_is_put_aside_also_without_a_ledger(
    members: dict[str, bytes], tmp_path: Path
) -> None:
    place = Cohort(tmp_path)
    path = place.study("p0-1")
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    found = _verified(place)
    assert (found.whole, found.damaged) == (0, [str(path.relative_to(tmp_path))])
    assert not path.exists()


def test_a_file_that_the_ledger_knows_is_read_once(cohort: Cohort, monkeypatch: pytest.MonkeyPatch) -> None:
    cohort.ledger.unlink()
    _verified(cohort)  # now it knows the digests of all
    read: list[Path] = []
    monkeypatch.setattr(verification, "as_published", lambda path: (read.append(path), store.as_published(path))[1])
    for again in ("_is_whole", "_from_file"):
        monkeypatch.setattr(verification, again, lambda *_: pytest.fail("it is read a second time"))
    found = _verified(cohort)
    assert (found.restored, found.forgotten, found.damaged) == (0, 0, [])
    zips = [file.path for file in published_files(cohort, "default") if file.path.name.endswith(".zarr.zip")]
    assert sorted(read) == sorted(zips)
    assert len(zips) > 1


def test_workers_of_a_cluster_find_what_this_process_finds(cohort: Cohort) -> None:
    from distributed import Client, LocalCluster

    (path,) = (file.path for file in published_files(cohort, "default")[:1])
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None) as cluster:  # noqa: SIM117
        with Client(cluster) as client:
            files = published_files(cohort, "default")
            found = verify_files(cohort, files, lambda n: None, client=client)
    assert found.damaged == [str(path.relative_to(cohort.root))]
    assert found.whole == len(files) - 1
