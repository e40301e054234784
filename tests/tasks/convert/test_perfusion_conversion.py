"""First-pass series of a study become views: told apart by state and kind, timed over the beats, base first."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dicom_factory import AXIS, Series, dataset, encode, files, sax, write_files

from tasks.convert.cine import study_views
from tasks.convert.conversion import convert_shard
from tasks.convert.convert_stage import perfusion_key, planned_units, study_key, unread_perfusion
from tasks.convert.settings import ConvertSettings
from tasks.sources import inventory
from tasks.sources.dicom import Image, read_images
from tasks.state.ledger import Outcome, open_ledger
from tasks.state.store import Cohort, load_tree

BEATS = 24


def _slice(height_mm: float = 0.0, number: int = 70, words: str = "stress_perf_SAX", **settings: object) -> Series:
    header = {"SeriesDescription": words, "FlipAngle": "50", "InversionTime": "60"}
    return Series(number=number, centre=height_mm * AXIS, frames=BEATS, header=header, **settings)  # type: ignore[arg-type]


def _images(series: list[Series], *, seconds: float = 1.0, first_pd: int = 0) -> list[Image]:
    """Images of series whose trigger times begin again at every beat, one a beat by the clock."""
    found = []
    for one in series:
        for frame in range(one.frames):
            ds = dataset(one, frame)
            ds.TriggerTime = "120"
            ds.AcquisitionTime = f"1000{seconds * frame:09.6f}"
            if frame < first_pd:
                ds.FlipAngle, ds.InversionTime = "5", "0"
            found += read_images(encode(ds))
    return found


def test_a_series_over_the_beats_is_a_view_timed_by_the_clock() -> None:
    views = study_views(_images([_slice()]), max_missing_fraction=0.2).views
    view = views["perfusion_stress"]
    np.testing.assert_allclose(view["acquired_ms"].values[:, 0], 1000.0 * np.arange(BEATS))
    assert view.attrs["timed_by"] == "clock"
    assert (view.attrs["inversion_ms"], view.attrs["flip_angle_deg"]) == (60.0, 50.0)


def test_proton_density_frames_of_a_series_are_a_view_of_their_own() -> None:
    views = study_views(_images([_slice()], first_pd=3), max_missing_fraction=0.2).views
    assert {name: view.sizes["frame"] for name, view in views.items()} == {
        "perfusion_stress": BEATS - 3,
        "perfusion_stress_pd": 3,
    }


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("REST_perf_SAX", "perfusion_rest"),
        ("adenosine perfusion", "perfusion_stress"),
        ("First Pass New", "perfusion_unstated"),
        ("REST_perf_AIF", "perfusion_rest_aif"),
        ("stress perfusion PD", "perfusion_stress_pd"),
    ],
)
def test_words_tell_state_and_kind(words: str, name: str) -> None:
    assert list(study_views(_images([_slice(words=words)]), max_missing_fraction=0.2).views) == [name]


def test_slices_are_stacked_from_base_to_apex_whatever_their_order() -> None:
    slices = [_slice(height, 70 + k) for k, height in enumerate((16.0, -16.0, 0.0))]
    view = study_views(_images(slices), max_missing_fraction=0.2).views["perfusion_stress"]
    along = view["position_mm"].values @ AXIS
    np.testing.assert_allclose(np.diff(along), 16.0, atol=1e-3)
    assert view.attrs["slice_mm"] == pytest.approx(16.0)


def test_a_second_series_of_the_same_plane_is_left_out() -> None:
    found = study_views(_images([_slice(), _slice(number=80)]), max_missing_fraction=0.2)
    assert [row["reason"] for row in found.excluded] == ["series_repeated"]


def test_a_cine_beside_perfusion_is_what_it_is_without() -> None:
    cine = [image for _, data in files(sax(6)) for image in read_images(data)]
    alone = study_views(list(cine), max_missing_fraction=0.2).views["sax"]
    cine = [image for _, data in files(sax(6)) for image in read_images(data)]
    both = study_views([*cine, *_images([_slice()])], max_missing_fraction=0.2).views
    assert set(both) == {"sax", "perfusion_stress"}
    assert both["sax"].identical(alone)


def test_a_study_without_perfusion_keeps_the_key_of_the_converter_before(tmp_path: Path) -> None:
    archive = write_files(tmp_path / "archive", files(sax(6)))
    (outcome,) = convert_shard(planned_units(inventory([archive]).units, {}), str(tmp_path / "c"), {})
    digest = load_tree(Cohort(tmp_path / "c").study(outcome.study)).attrs["source_digest"]
    assert outcome.key == study_key(digest, ConvertSettings())


def test_a_study_with_perfusion_has_a_key_of_its_own(tmp_path: Path) -> None:
    content = []
    for frame in range(BEATS):
        ds = dataset(_slice(), frame)
        ds.TriggerTime, ds.AcquisitionTime = "120", f"1000{frame:09.6f}"
        content.append((f"{frame}.dcm", encode(ds)))
    archive = write_files(tmp_path / "archive", content)
    (outcome,) = convert_shard(planned_units(inventory([archive]).units, {}), str(tmp_path / "c"), {})
    assert list(outcome.summary["views"]) == ["perfusion_stress"]
    digest = load_tree(Cohort(tmp_path / "c").study(outcome.study)).attrs["source_digest"]
    assert outcome.key == perfusion_key(study_key(digest, ConvertSettings()))


def test_only_studies_whose_perfusion_was_left_out_before_are_converted_again(tmp_path: Path) -> None:
    left_out = {"excluded": [{"reason": "series_perfusion"}]}
    with open_ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.record(
            [
                Outcome("a-2", "convert", "ok", summary=left_out),
                Outcome("b-2", "convert", "quarantined", "wrong_series", "series_perfusion: 1"),
                Outcome("c-2", "convert", "ok", summary={"excluded": []}),
            ]
        )
        assert unread_perfusion(ledger) == {"a-2", "b-2"}


def test_the_real_series_converts_with_its_trigger_times(real_data: Path, tmp_path: Path) -> None:
    units = planned_units(inventory([real_data / "perfusion" / "dicom"]).units, {})
    (outcome,) = convert_shard(units, str(tmp_path), {})
    view = load_tree(Cohort(tmp_path).study(outcome.study))["perfusion_unstated"].to_dataset()
    assert (view.sizes["frame"], view.attrs["timed_by"]) == (79, "trigger")
    assert view["time_ms"].values[-1] == pytest.approx(55_190 - 769, abs=30)


def test_beats_after_midnight_follow_those_before() -> None:
    from tasks.convert.beat_times import beat_times

    images = []
    for frame, clock in enumerate(("235958.0", "235959.0", "000000.0", "000001.0")):
        ds = dataset(replace(_slice(), frames=4), frame)
        ds.TriggerTime, ds.AcquisitionTime = "120", clock
        images += read_images(encode(ds))
    found = beat_times(images[::-1], float("nan"))
    np.testing.assert_allclose(np.diff(found.time_ms), 1000.0)
    assert found.order.tolist() == [3, 2, 1, 0]
