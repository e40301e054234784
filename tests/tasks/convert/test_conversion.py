"""A study ends published or with a reason; what is published is whole, keyed by its content, and made once."""

import io
import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from dicom_factory import Series, files, header_images, lax, pixels, sax, set_header, write_files, write_zip

from cmr_models.contracts import check_view
from tasks.convert import conversion
from tasks.convert.conversion import convert_shard, convert_study
from tasks.convert.convert_stage import planned_units
from tasks.convert.settings import ConvertSettings
from tasks.sources import inventory
from tasks.sources.limits import Limits
from tasks.state import store
from tasks.state.ledger import Outcome

EID = "1000012"
FULL = [*sax(6), lax(5, 1)]


def _convert(source: Path, cohort: Path, **settings: object) -> list[Outcome]:
    units = planned_units(inventory([source]).units, settings)
    return convert_shard(units, str(cohort), dict(settings))


def _archive(folder: Path, series: list[Series] = FULL, eid: str = EID) -> Path:
    content = files(series, patient=eid)
    return write_zip(folder / f"{eid}_20209_2_0.zip", [*content, ("manifest.cvs", b"filename,date\nx,Jan 2, 2020\n")])


def _published(cohort: Path, outcome: Outcome) -> Path:
    return store.Cohort(cohort).study(outcome.study)


def test_a_biobank_visit_of_two_zips_is_published_whole(tmp_path: Path) -> None:
    write_zip(tmp_path / "in" / f"{EID}_20209_2_0.zip", files(sax(6), patient=EID))
    write_zip(tmp_path / "in" / f"{EID}_20208_2_0.zip", files([lax(5, 1), lax(66, 2)], patient=EID))
    (outcome,) = _convert(tmp_path / "in", tmp_path / "cohort")
    assert (outcome.study, outcome.status, outcome.reason) == (f"{EID}-2", "ok", "")
    assert {name: view["slices"] for name, view in outcome.summary["views"].items()} == {
        "sax": 6,
        "lax_4c": 1,
        "lax_2c": 1,
    }
    tree = store.load_tree(_published(tmp_path / "cohort", outcome))
    for view in tree.children.values():
        check_view(view.to_dataset())
    np.testing.assert_array_equal(tree["sax"]["intensity"].values[3, 2], pixels(sax(6)[2], 3))
    assert tree.attrs["key"] == outcome.key
    assert tree.attrs["participant"] == EID


def test_folders_and_zips_of_the_same_images_give_the_same_views(tmp_path: Path) -> None:
    write_zip(tmp_path / "zip" / "export.zip", files(FULL))
    write_files(tmp_path / "folder", files(FULL))
    trees = []
    for name in ("zip", "folder"):
        (outcome,) = _convert(tmp_path / name, tmp_path / f"cohort_{name}")
        trees.append(store.load_tree(_published(tmp_path / f"cohort_{name}", outcome)))
    for view in ("sax", "lax_4c"):
        assert trees[0][view].to_dataset().identical(trees[1][view].to_dataset())


def test_the_same_source_gives_the_same_bytes(tmp_path: Path) -> None:
    _archive(tmp_path / "in")
    contents = []
    for name in ("a", "b"):
        (outcome,) = _convert(tmp_path / "in", tmp_path / name)
        contents.append(_published(tmp_path / name, outcome).read_bytes())
    assert contents[0] == contents[1]


def test_a_finished_study_is_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _archive(tmp_path / "in")
    (first,) = _convert(tmp_path / "in", tmp_path / "cohort")
    monkeypatch.setattr(conversion, "read_images", lambda content: pytest.fail("it was read again"))
    (again,) = _convert(tmp_path / "in", tmp_path / "cohort")
    assert (again.status, again.key, again.summary["views"]) == ("ok", first.key, first.summary["views"])


def test_other_content_or_settings_make_it_again(tmp_path: Path) -> None:
    path = _archive(tmp_path / "in")
    (first,) = _convert(tmp_path / "in", tmp_path / "cohort")
    (other,) = _convert(tmp_path / "in", tmp_path / "cohort", frames_missing_max=0.5)
    assert other.key != first.key
    path.unlink()
    _archive(tmp_path / "in", FULL[:-1])
    (changed,) = _convert(tmp_path / "in", tmp_path / "cohort")
    assert changed.key not in (first.key, other.key)
    assert list(changed.summary["views"]) == ["sax"]


def test_a_touched_file_is_planned_again_but_keeps_its_key(tmp_path: Path) -> None:
    path = _archive(tmp_path / "in")
    (before,) = planned_units(inventory([path]).units, {})
    (first,) = _convert(path, tmp_path / "cohort")
    path.touch()
    (after,) = planned_units(inventory([path]).units, {})
    (again,) = _convert(path, tmp_path / "cohort")
    assert before["key"] != after["key"]
    assert again.key == first.key


def test_a_copied_cohort_is_read_but_not_converted_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _archive(tmp_path / "here/in")
    (first,) = _convert(tmp_path / "here/in", tmp_path / "here/cohort")
    shutil.copytree(tmp_path / "here", tmp_path / "there", copy_function=shutil.copyfile)
    monkeypatch.setattr(conversion, "publish_or_reject", None)
    (again,) = _convert(tmp_path / "there/in", tmp_path / "there/cohort")
    assert (again.status, again.key, again.summary) == (first.status, first.key, first.summary)


def test_an_unknown_setting_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="frames_mising"):
        planned_units([], {"frames_mising": 0.1})


def test_a_manifest_that_disagrees_is_a_flag_and_no_more(tmp_path: Path) -> None:
    content = files(FULL, patient=EID)
    listed = "".join(f"{name},{EID},Jan 2, 2020,text\n" for name, _ in content).encode()
    header = b"filename,patientid,date,series discription\n"
    for study, text in (("1000001", listed), ("1000002", listed + b"missing.dcm,1,Jan 2, 2020,text\n")):
        write_zip(tmp_path / "in" / f"{study}_20209_2_0.zip", [*content, ("manifest.cvs", header + text)])
    agreeing, disagreeing = _convert(tmp_path / "in", tmp_path / "cohort")
    assert (agreeing.status, agreeing.summary["flags"]) == ("ok", [])
    assert (disagreeing.status, disagreeing.summary["flags"]) == ("ok", ["manifest_mismatch"])


# ten kinds of broken archive (and some more), each with its own reason


def _truncated(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def _flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 0xFF
    path.write_bytes(bytes(content))


def _empty(path: Path) -> None:
    write_zip(path, [])


def _no_dicom(path: Path) -> None:
    write_zip(path, [("manifest.csv", b"filename\n"), ("readme.txt", b"nothing")])


def _wrong_field(path: Path) -> None:
    flow = set_header([lax(5, 1)], ImageType=["ORIGINAL", "PRIMARY", "P"])
    write_zip(path, files(flow, patient=EID))


def _bomb(path: Path) -> None:
    write_zip(path, [("a.dcm", bytes(300_000_000))])


def _hostile(path: Path) -> None:
    write_zip(path, [("../../outside.dcm", files([lax(5, 1)])[0][1])])


def _encrypted(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[content.rindex(b"PK\x01\x02") + 8] |= 1  # the directory comes last
    path.write_bytes(bytes(content))


def _nested(path: Path) -> None:
    inner = path.rename(path.with_name("inner.zip"))
    write_zip(path, [("inner.zip", inner.read_bytes()), ("manifest.csv", b"filename\n")])
    inner.unlink()


def _nifti(path: Path) -> None:
    write_zip(path, [("patient001/patient001_4d.nii.gz", b"x"), ("patient001/Info.cfg", b"ED: 1\n")])


def _other_method(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as archive:
        for name, content in files(FULL, patient=EID):
            archive.writestr(name, content)


def _cut_image(path: Path) -> None:
    content = files(FULL, patient=EID)
    write_zip(path, [(content[0][0], content[0][1][:-100]), *content[1:]])


def _without_geometry(path: Path) -> None:
    write_zip(path, files(set_header(FULL, ImagePositionPatient=None), patient=EID))


def _frames_lost(path: Path) -> None:
    write_zip(path, files([replace(one, dropped=(0, 2, 4, 6)) for one in sax(6)] + [sax(6)[0]], patient=EID))


def _two_patients(path: Path) -> None:
    write_zip(path, [*files(sax(6), patient=EID), ("other.dcm", files([lax(5, 1)], patient="1000013")[0][1])])


BROKEN: list[tuple[Callable[[Path], None], str]] = [
    (_truncated, "zip_corrupt"),
    (_flipped, "zip_corrupt"),
    (_empty, "no_dicom"),
    (_no_dicom, "no_dicom"),
    (_wrong_field, "wrong_series"),
    (_bomb, "zip_bomb"),
    (_hostile, "zip_hostile_name"),
    (_encrypted, "zip_encrypted"),
    (_nested, "zip_nested"),
    (_nifti, "zip_nifti"),
    (_other_method, "zip_method"),
    (_cut_image, "dicom_corrupt"),
    (_without_geometry, "geometry_missing"),
    (_frames_lost, "frames_missing"),
    (_two_patients, "mixed_patients"),
]


@pytest.mark.parametrize(("damage", "reason"), BROKEN, ids=[damage.__name__[1:] for damage, _ in BROKEN])
def test_a_broken_archive_is_quarantined_with_its_reason_while_the_rest_completes(
    tmp_path: Path, damage: Callable[[Path], None], reason: str
) -> None:
    damage(_archive(tmp_path / "in"))
    _archive(tmp_path / "in", eid="1000014")
    broken, sound = _convert(tmp_path / "in", tmp_path / "cohort")
    assert (broken.study, broken.status, broken.reason) == (f"{EID}-2", "quarantined", reason)
    assert (sound.study, sound.status) == ("1000014-2", "ok")
    assert EID not in broken.detail
    assert not _published(tmp_path / "cohort", broken).exists()
    receipt = json.loads(store.receipt_path(_published(tmp_path / "cohort", broken)).read_text())
    assert (receipt["reason"], receipt["key"]) == (reason, broken.key)


def test_an_archive_beside_images_is_flagged_and_not_opened(tmp_path: Path) -> None:
    path = _archive(tmp_path / "in")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("long_axis.zip", b"not looked at")
    (outcome,) = _convert(tmp_path / "in", tmp_path / "cohort")
    assert (outcome.status, outcome.summary["flags"]) == ("ok", ["archive_unopened", "manifest_mismatch"])


def test_a_rejected_study_is_not_tried_again_until_it_is_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _wrong_field(path := tmp_path / "in" / f"{EID}_20209_2_0.zip")
    (first,) = _convert(path, tmp_path / "cohort")
    with monkeypatch.context() as patched:
        patched.setattr(conversion, "read_images", lambda content: pytest.fail("it was read again"))
        (again,) = _convert(path, tmp_path / "cohort")
    assert (again.status, again.reason, again.key) == (first.status, first.reason, first.key)
    _archive(tmp_path / "in")
    (mended,) = _convert(path, tmp_path / "cohort")
    published = _published(tmp_path / "cohort", mended)
    assert mended.status == "ok"
    assert published.exists()
    assert not store.receipt_path(published).exists()


def test_a_study_that_breaks_later_loses_its_old_file(tmp_path: Path) -> None:
    path = _archive(tmp_path / "in")
    (sound,) = _convert(path, tmp_path / "cohort")
    _truncated(path)
    (broken,) = _convert(path, tmp_path / "cohort")
    assert broken.status == "quarantined"
    assert not _published(tmp_path / "cohort", sound).exists()


def test_a_source_that_vanishes_is_unreadable(tmp_path: Path) -> None:
    path = _archive(tmp_path / "in")
    (unit,) = planned_units(inventory([path]).units, {})
    shutil.rmtree(tmp_path / "in")
    assert convert_study(unit, str(tmp_path / "cohort"), {}).reason == "file_unreadable"


def test_nothing_but_the_published_file_is_left(tmp_path: Path) -> None:
    _archive(tmp_path / "in")
    (outcome,) = _convert(tmp_path / "in", tmp_path / "cohort")
    found = [path for path in (tmp_path / "cohort").rglob("*") if path.is_file()]
    assert found == [_published(tmp_path / "cohort", outcome)]


def test_a_published_file_names_nobody(tmp_path: Path) -> None:
    _archive(tmp_path / "in")
    (outcome,) = _convert(tmp_path / "in", tmp_path / "cohort")
    with zipfile.ZipFile(io.BytesIO(_published(tmp_path / "cohort", outcome).read_bytes())) as archive:
        text = b"".join(archive.read(name) for name in archive.namelist() if name.endswith("zarr.json"))
    for secret in (b"Secret", b"19500101", b"20200102", b"1.2.3"):
        assert secret not in text


def test_the_limits_follow_the_setting() -> None:
    before, after = (ConvertSettings(max_inflated_mb=mb).limits for mb in (4096, 8192))
    assert before == Limits()
    assert (after.max_member_bytes, after.max_total_bytes) == (2**30, 2**33)


def test_spellings_of_one_patient_are_flagged(tmp_path: Path) -> None:
    folder = tmp_path / "scans"
    write_files(folder, [*files(sax(4), patient="P07"), *files([lax(5, 1)], patient="p07 ")])
    (unit,) = inventory([folder]).units
    outcome = convert_study(unit, str(tmp_path / "cohort"), {})
    assert (outcome.status, outcome.summary["flags"]) == ("ok", ["patient_id_spelling"])


def test_two_studies_of_one_file_have_each_their_own_images(tmp_path: Path) -> None:
    first, second = sax(6), [replace(one, number=one.number + 40) for one in sax(4)]
    both = [*files(first, patient=EID, study_uid="1.2.3"), *files(second, patient=EID, study_uid="1.2.4")]
    for k in reversed(range(len(both))):  # the second study first
        write_files(tmp_path / "in", [(f"{len(both) - k:03d}.dcm", both[k][1])])
    write_zip(tmp_path / "zip" / "both.zip", both)
    for source in ("in", "zip"):
        cohort = tmp_path / f"cohort of {source}"
        outcomes = _convert(tmp_path / source, cohort)
        assert [outcome.status for outcome in outcomes] == ["ok", "ok"]
        stacks = [store.load_tree(_published(cohort, outcome))["sax"]["intensity"].values for outcome in outcomes]
        stacks.sort(key=lambda stack: -stack.shape[1])
        for stack, series in zip(stacks, (first, second), strict=True):
            assert stack.shape[1] == len(series)
            for k, one in enumerate(series):
                np.testing.assert_array_equal(stack[4, k], pixels(one, 4))


@pytest.mark.parametrize(
    ("size_m", "weight_kg", "expected"),
    [
        ("1.7534", "70.126", {"height_cm": 175.34, "weight_kg": 70.13}), ("0", "70", {"weight_kg": 70.0}),
        ("1.6", "-1", {"height_cm": 160.0}), (None, "0.5", {"weight_kg": 0.5}), ("x", None, {}),
    ],
)  # fmt: skip
def test_body_size_is_that_of_the_first_image_in_centimetres_and_kilograms_where_it_is_positive(
    size_m: str | None, weight_kg: str | None, expected: dict[str, float]
) -> None:
    images = header_images(patient_size_m=[size_m, "1.9"], patient_weight_kg=[weight_kg, "99"])
    assert conversion._body_size(images) == pytest.approx(expected)


def test_a_zip_has_the_digest_of_its_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversion, "_HASH_BLOCK", 100)
    (tmp_path / "a.zip").write_bytes(bytes(range(250)))  # two blocks and a half
    assert conversion._digest_of_blocks(tmp_path / "a.zip") == store.digest_bytes(bytes(range(250)))


def test_one_member_may_inflate_to_an_eighth_of_what_an_archive_may() -> None:
    limits = ConvertSettings(max_inflated_mb=24).limits
    assert (limits.max_total_bytes, limits.max_member_bytes) == (24 * 2**20, 3 * 2**20)
    assert ConvertSettings(max_inflated_mb=1).limits.max_member_bytes == 2**17
    with pytest.raises(ValueError, match="greater than 0"):
        ConvertSettings(max_inflated_mb=0)
    assert set(ConvertSettings().that_decide()) == {"frames_missing_max", "max_inflated_mb"}


def test_nifti_of_no_known_set_has_views_and_nothing_else_to_tell(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 900, (40, 36, 6), dtype=np.int16)
    content = nib.Nifti1Image(values, np.diag([-1.5, -1.25, -8.0, 1.0])).to_bytes()
    (outcome,) = _convert(write_files(tmp_path / "in", [("p1_sa.nii", content)]), tmp_path / "cohort")
    assert (outcome.study, outcome.status) == ("p1-1", "ok")
    assert outcome.summary["views"]["sax"]["pixel_mm"] == [1.25, 1.5]
    assert (outcome.summary["excluded"], outcome.summary["flags"]) == ([], [])
    assert "facts" not in outcome.summary


def test_a_published_file_that_is_a_zip_but_no_study_is_made_again(tmp_path: Path) -> None:
    _archive(tmp_path / "in")
    (unit,) = inventory([tmp_path / "in"]).units
    settings = ConvertSettings().model_dump()
    first = convert_study({**unit, "key": "k"}, str(tmp_path / "out"), settings)
    assert first.status == "ok"
    path = store.Cohort(tmp_path / "out").study(first.study)
    whole = path.read_bytes()
    attributes = {"attributes": {"key": first.key, "converter_version": 2}, "zarr_format": 3, "node_type": "group"}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("zarr.json", json.dumps(attributes))
    again = convert_study({**unit, "key": "k"}, str(tmp_path / "out"), settings)
    assert (again.status, again.key) == ("ok", first.key)
    assert path.read_bytes() == whole
