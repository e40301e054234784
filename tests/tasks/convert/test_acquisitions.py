"""What belongs together is told by where and when it was taken, whatever the labels say; and ordered by time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from dicom_factory import Series, beating, change, encode, sax
from pydicom.dataset import FileDataset

from cmr_models.reasons import StudyRejected
from tasks.convert.cine import StudyViews, study_views
from tasks.sources.dicom import read_images

FRAMES, PLANES, CYCLE_MS = 12, 4, 900.0
STEP_MS = CYCLE_MS / FRAMES
STACK = sax(PLANES, frames=FRAMES, cycle_ms=CYCLE_MS)


def _images(**header: Any) -> list[tuple[Series, int, FileDataset]]:
    return [(one, k, beating(one, k, **header)) for one in STACK for k in range(FRAMES)]


def _views(datasets: Sequence[FileDataset]) -> StudyViews:
    images = [image for ds in datasets for image in read_images(encode(ds))]
    shuffled = [images[i] for i in np.random.default_rng(0).permutation(len(images))]
    return study_views(shuffled, max_missing_fraction=0.2)


def _changed(edit: Callable[[Series, int, int], dict[str, Any]]) -> list[FileDataset]:
    return [change(ds, **edit(one, k, n)) for n, (one, k, ds) in enumerate(_images())]


def _numbers() -> dict[int, list[int]]:
    rng = np.random.default_rng(3)
    return {one.number: (rng.permutation(FRAMES) + 1).tolist() for one in STACK}


def _assert_whole(found: StudyViews, flags: Sequence[str] = ()) -> None:
    """The stack as it was taken: 4 planes of 12 frames, each image in its place, 75 ms apart."""
    stack = found.views["sax"]
    assert stack.attrs["flags"] == sorted([*flags, "slices_few"])
    assert stack["intensity"].shape[:2] == (FRAMES, PLANES)
    for s, one in enumerate(STACK):
        for k in range(FRAMES):
            np.testing.assert_array_equal(stack["intensity"].values[k, s], beating(one, k).pixel_array)
    np.testing.assert_allclose(stack["time_ms"], STEP_MS * np.arange(FRAMES), atol=0.1)


def _jitter(_one: Series, _k: int, n: int) -> dict[str, Any]:
    rng = np.random.default_rng(n)
    ds = beating(_one, _k)
    return {
        "ImagePositionPatient": [f"{float(x) + rng.uniform(-4e-4, 4e-4):.6f}" for x in ds.ImagePositionPatient],
        "ImageOrientationPatient": [f"{float(x) + rng.uniform(-4e-4, 4e-4):.7f}" for x in ds.ImageOrientationPatient],
    }


def _on_an_edge(one: Series, k: int, _n: int) -> dict[str, Any]:
    """Two spellings on both sides of a multiple of 0.1 mm, and of half of it."""
    moved = [round(float(x), 1) + 0.05 + (1e-4 if k % 2 else -1e-4) for x in beating(one, 0).ImagePositionPatient]
    return {"ImagePositionPatient": [f"{x:.6f}" for x in moved]}


@pytest.mark.parametrize(
    "edit",
    [
        lambda one, k, n: {"SeriesInstanceUID": f"1.9.{n}"},
        lambda one, k, n: {"SeriesInstanceUID": f"1.9.{n}", "SeriesNumber": 500 + n},
        lambda one, k, n: {"SeriesInstanceUID": f"1.9.{n}", "SeriesNumber": None},
        lambda one, k, n: {"SeriesInstanceUID": None},
        lambda one, k, n: {"SeriesInstanceUID": "1.9", "SeriesNumber": 7},
        lambda one, k, n: {"SeriesInstanceUID": "1.9", "SeriesNumber": 7, "InstanceNumber": n + 1},
        lambda one, k, n: {"SeriesInstanceUID": f"1.9.{one.number}.{k // 7}"},
        lambda one, k, n: {
            "SeriesInstanceUID": f"1.9.{one.number}.{k // 7}",
            "SeriesNumber": one.number + 50 * (k // 7),
        },
        lambda one, k, n: {"ImageType": ["original ", "Primary", "m"] if k % 2 else ["ORIGINAL", "PRIMARY", "M"]},
        lambda one, k, n: {"ImageType": ["ORIGINAL", "PRIMARY", "M", *(["NORM", "DIS2D"] if k % 2 else ["ND"])]},
        lambda one, k, n: {"ImageType": ["ORIGINAL", "PRIMARY", "M", "NORM" if k < 5 else "ND"]},
        lambda one, k, n: {
            "ImageType": ["ORIGINAL", "PRIMARY", "M", "NORM" if k % 3 else "ND"],
            "SeriesInstanceUID": f"1.9.{n}",
            "SeriesNumber": 500 + n,
            "SeriesDescription": f"cine sax, phase {k + 1}",
        },
        lambda one, k, n: {"AcquisitionNumber": n},
        lambda one, k, n: {"SliceThickness": "7.999" if k % 2 else "8"},
        _jitter,
        _on_an_edge,
    ],
    ids=[
        "uid a frame",
        "uid and number a frame",
        "uid a frame, no number",
        "no uid",
        "one uid for all planes",
        "one uid, numbers run on",
        "two uids a plane",
        "two uids and numbers a plane",
        "image type in other letters",
        "image types take turns",
        "image type changes within the cycle",
        "uid, number, description and image type a frame",
        "acquisition number a frame",
        "thickness with more digits",
        "jitter in the fourth digit",
        "positions about a rounding edge",
    ],
)
@pytest.mark.filterwarnings("ignore:Invalid value for VR CS")
def test_labels_do_not_tear_a_cine_apart_or_mix_planes(edit: Callable[[Series, int, int], dict[str, Any]]) -> None:
    if edit is _on_an_edge:  # moved by less than a tenth of a millimetre, so the gaps differ a little
        found = _views(_changed(edit)).views["sax"]
        assert found["intensity"].shape[:2] == (FRAMES, PLANES)
        assert found["frame_valid"].values.all()
        return
    _assert_whole(_views(_changed(edit)))


def _near(mm: float) -> Callable[[Series, int, int], dict[str, Any]]:
    """Every image is written up to so many millimetres from its place, in every direction."""

    def edit(one: Series, k: int, n: int) -> dict[str, Any]:
        rng = np.random.default_rng(n)
        return {
            "ImagePositionPatient": [
                f"{float(x) + rng.uniform(-mm, mm):.4f}" for x in beating(one, k).ImagePositionPatient
            ]
        }

    return edit


def _drifting(one: Series, k: int, _n: int) -> dict[str, Any]:
    return {"ImagePositionPatient": [f"{float(x) + 0.1 * k:.4f}" for x in beating(one, k).ImagePositionPatient]}


def _turned(one: Series, k: int, n: int) -> dict[str, Any]:
    rng = np.random.default_rng(n)
    written = [f"{float(x) + rng.uniform(-4e-3, 4e-3):.6f}" for x in beating(one, k).ImageOrientationPatient]
    return {"ImageOrientationPatient": written}


def _negative_zero(one: Series, k: int, _n: int) -> dict[str, Any]:
    written = [f"{float(x):.6f}" for x in beating(one, k).ImageOrientationPatient]
    assert "0.000000" in written
    return {"ImageOrientationPatient": [x.replace("0.000000", "-0.0") if k % 2 else x for x in written]}


@pytest.mark.parametrize("uid", [lambda one, n: f"1.9.{one.number}", lambda one, n: f"1.9.{n}", lambda one, n: "1.9"])
@pytest.mark.parametrize("edit", [_near(0.1), _near(0.5), _drifting, _turned, _negative_zero])
def test_places_written_a_little_otherwise_for_every_frame_are_one_place(
    edit: Callable[[Series, int, int], dict[str, Any]], uid: Callable[[Series, int], str]
) -> None:
    found = _views(_changed(lambda one, k, n: {**edit(one, k, n), "SeriesInstanceUID": uid(one, n)}))
    stack = found.views["sax"]
    assert stack["intensity"].shape[:2] == (FRAMES, PLANES)
    assert stack.attrs["slice_mm"] == pytest.approx(10.0, abs=0.3)
    for s, one in enumerate(STACK):
        np.testing.assert_array_equal(stack["intensity"].values[5, s], beating(one, 5).pixel_array)


def test_thin_slices_of_one_series_are_places_of_their_own() -> None:
    thin = sax(6, spacing=1.5, frames=FRAMES, cycle_ms=CYCLE_MS, uid="1.9")
    found = _views([change(beating(one, k), SliceThickness="1.5") for one in thin for k in range(FRAMES)])
    assert found.views["sax"]["intensity"].shape[:2] == (FRAMES, 6)
    assert found.views["sax"].attrs["slice_mm"] == pytest.approx(1.5, abs=0.01)


@pytest.mark.parametrize(
    "labels",
    [
        lambda n: {"SeriesNumber": 500 + n, "AcquisitionTime": None},
        lambda n: {"SeriesNumber": None, "AcquisitionTime": None, "AcquisitionNumber": None},
        lambda n: {"SeriesNumber": 500 + n, "SeriesDescription": "CINE sax" if n % 2 else "cine SAX "},
    ],
    ids=["no clock", "no clock and no numbers", "descriptions in other letters"],
)
def test_a_series_a_frame_is_one_cine_without_clock_numbers_or_like_descriptions(
    labels: Callable[[int], dict[str, Any]],
) -> None:
    _assert_whole(_views(_changed(lambda one, k, n: {"SeriesInstanceUID": f"1.9.{n}", **labels(n)})))


def _again(ds: FileDataset, **header: Any) -> FileDataset:
    shown = np.maximum(ds.pixel_array, 1) + np.uint16(1)
    return change(ds, PixelData=shown.tobytes(), **header)


@pytest.mark.parametrize("rr", [1.0, 1.06])
@pytest.mark.parametrize("uid", ["same", "own", "a frame"])
def test_of_a_plane_acquired_twice_the_later_acquisition_counts_alone(rr: float, uid: str) -> None:
    def series(one: Series, n: int, second: int) -> str:
        return {"same": f"1.9.{one.number}", "own": f"1.9.{one.number}.{second}", "a frame": f"1.9.{n}.{second}"}[uid]

    first = [change(ds, SeriesInstanceUID=series(one, n, 1)) for n, (one, _, ds) in enumerate(_images())]
    second = [
        _again(
            ds,
            SeriesInstanceUID=series(one, n, 2),
            InstanceNumber=FRAMES + k + 1,
            TriggerTime=f"{STEP_MS * rr * k:.3f}",
            AcquisitionTime="113000.0",
        )
        for n, (one, k, ds) in enumerate(_images())
    ]
    found = _views([*first, *second])
    stack = found.views["sax"]
    assert stack.attrs["flags"] == ["slice_repeated", "slices_few"]
    np.testing.assert_array_equal(stack["intensity"].values[3, 0], beating(STACK[0], 3).pixel_array + 1)
    np.testing.assert_allclose(stack["time_ms"], rr * STEP_MS * np.arange(FRAMES), atol=0.1)
    assert {row["reason"]: row["images"] for row in found.excluded if row["reason"] != "x"}.keys() == {
        "series_repeated"
    }
    assert sum(row["images"] for row in found.excluded) == FRAMES * PLANES


def test_single_frames_that_were_sent_again_are_counted_and_flagged() -> None:
    one = STACK[0]
    later = [_again(beating(one, k), AcquisitionTime="113000.0", InstanceNumber=50 + k) for k in (2, 3)]
    found = _views([*(ds for _, _, ds in _images()), *later])
    assert found.views["sax"].attrs["flags"] == ["frame_repeated", "slices_few"]
    assert [(row["reason"], row["images"]) for row in found.excluded] == [("image_repeated", 2)]


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"ImageType": ["ORIGINAL", "PRIMARY", "P"]}, "series_phase_contrast"),
        ({"ComplexImageComponent": "PHASE"}, "series_phase_contrast"),
        ({"ComplexImageComponent": "REAL"}, "series_complex_part"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "I_FFE", "I", "FFE"]}, "series_complex_part"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "R"]}, "series_complex_part"),
    ],
)
def test_parts_of_complex_images_in_one_series_are_told_apart(header: dict[str, Any], reason: str) -> None:
    other = [change(ds, **header, InstanceNumber=50 + k, PixelData=ds.PixelData[::-1]) for _, k, ds in _images()]
    found = _views([*(ds for _, _, ds in _images()), *other])
    _assert_whole(found)
    assert {row["reason"] for row in found.excluded} == {reason}


def test_two_versions_of_every_frame_are_two_cines_and_not_one_of_twice_the_frames() -> None:
    normal, plain = ({"ImageType": ["ORIGINAL", "PRIMARY", "M", word]} for word in ("NORM", "ND"))
    versions = [
        [change(ds, **normal) for _, _, ds in _images()],
        [_again(ds, **plain, InstanceNumber=50 + k, AcquisitionTime="113000.0") for _, k, ds in _images()],
    ]
    found = _views([ds for version in versions for ds in version])
    assert found.views["sax"]["intensity"].shape[:2] == (FRAMES, PLANES)
    np.testing.assert_array_equal(found.views["sax"]["intensity"].values[3, 0], beating(STACK[0], 3).pixel_array + 1)
    assert sum(row["images"] for row in found.excluded) == FRAMES * PLANES


@pytest.mark.parametrize(("inversion", "n_views"), [(lambda k: "300", 1), (lambda k: f"{300 + 50 * k}", 0)])
def test_descriptions_with_the_number_of_the_frame_join_a_cine_but_not_images_after_other_inversions(
    inversion: Callable[[int], str], n_views: int
) -> None:
    def one_by_one(one: Series, k: int, n: int) -> dict[str, Any]:
        label = {"SeriesInstanceUID": f"1.9.{n}", "SeriesNumber": 500 + n, "SeriesDescription": f"sax {k}"}
        return {**label, "InversionTime": inversion(k)}

    if n_views:
        _assert_whole(_views(_changed(one_by_one)))
        return
    with pytest.raises(StudyRejected, match="series_not_cine"):
        _views(_changed(one_by_one))


def test_echoes_of_one_series_are_told_apart() -> None:
    second = [_again(ds, EchoTime="3.6", InstanceNumber=50 + k) for _, k, ds in _images()]
    found = _views([*(ds for _, _, ds in _images()), *second])
    assert found.views["sax"]["intensity"].shape[:2] == (FRAMES, PLANES)
    assert found.views["sax"].attrs["flags"] == ["slice_repeated", "slices_few"]


# the order of frames


@pytest.mark.parametrize(
    ("name", "value", "flags"),
    [
        ("TriggerTime", lambda k: f"{STEP_MS * k:.2f}", []),
        ("NominalCardiacTriggerDelayTime", lambda k: STEP_MS * k, []),
        ("ActualCardiacTriggerDelayTime", lambda k: STEP_MS * k, []),
        ("NominalPercentageOfCardiacPhase", lambda k: 100.0 * k / FRAMES, []),
        ("FrameReferenceTime", lambda k: f"{STEP_MS * k:.2f}", []),
        ("TemporalPositionIdentifier", lambda k: k + 1, ["trigger_irregular"]),
        ("TemporalPositionIndex", lambda k: k + 1, ["trigger_irregular"]),
        ("AcquisitionTime", lambda k: f"101500.{75 * k:03d}", []),
        ("AcquisitionDateTime", lambda k: f"20200102101500.{75 * k:03d}", []),
        ("ContentTime", lambda k: f"101500.{75 * k:03d}", []),
        ("FrameAcquisitionDateTime", lambda k: f"20200102101500.{75 * k:03d}", []),
        ("FrameReferenceDateTime", lambda k: f"20200102101500.{75 * k:03d}", []),
        ("TemporalPositionTimeOffset", lambda k: STEP_MS * k / 1000, []),
        ("AcquisitionTime", lambda k: f"10:15:00.{75 * k:03d}", []),  # as before DICOM
        (
            "ContentTime",
            lambda k: f"101500.{5 * k:03d}",
            ["trigger_irregular"],
        ),  # 60 ms are no heartbeat: only an order
        ("TriggerTime", lambda k: f"{STEP_MS * k / 1000:.4f}", ["trigger_unit"]),  # s
        ("TriggerTime", lambda k: f"{STEP_MS * k * 100:.0f}", ["trigger_unit"]),  # 10 us
        ("TriggerTime", lambda k: f"{STEP_MS * k * 1000:.0f}", ["trigger_unit"]),  # us
        ("NominalCardiacTriggerDelayTime", lambda k: STEP_MS * k / 1000, ["trigger_unit"]),
        ("TriggerTime", lambda k: f"{STEP_MS * (k - 4):.0f}", []),  # from before the R wave
    ],
)
@pytest.mark.filterwarnings("ignore:Invalid value for VR TM")
def test_frames_follow_what_means_time_and_never_random_numbers(
    name: str, value: Callable[[int], Any], flags: list[str]
) -> None:
    numbers = _numbers()
    header = {"TriggerTime": None}
    shuffled = [
        change(ds, **{**header, "InstanceNumber": numbers[one.number][k], name: value(k)}) for one, k, ds in _images()
    ]
    _assert_whole(_views(shuffled), flags)


@pytest.mark.parametrize("shared", ["0", "12.5", "NaN"])
@pytest.mark.filterwarnings("ignore:Invalid value for VR DS")
def test_times_that_are_all_the_same_or_none_are_no_times(shared: str) -> None:
    numbers = _numbers()
    by_position = _changed(
        lambda one, k, n: {
            "TriggerTime": shared,
            "InstanceNumber": numbers[one.number][k],
            "TemporalPositionIdentifier": k + 1,
        }
    )
    _assert_whole(_views(by_position), ["trigger_irregular"])
    with pytest.raises(StudyRejected, match="order_unknown"):
        _views(_changed(lambda one, k, n: {"TriggerTime": shared, "InstanceNumber": numbers[one.number][k]}))


@pytest.mark.parametrize("n_segments", [2, 3])
@pytest.mark.parametrize("cycle", [{}, {"NominalInterval": None}])
def test_times_that_begin_again_in_every_segment_are_no_times(n_segments: int, cycle: dict[str, None]) -> None:
    numbers, in_segment = _numbers(), FRAMES // n_segments
    restarting = {k: {"TriggerTime": f"{STEP_MS * (k % in_segment):.1f}", **cycle} for k in range(FRAMES)}
    if not cycle:
        _assert_whole(_views(_changed(lambda one, k, n: restarting[k])), ["order_by_number", "trigger_irregular"])
        clock = _changed(
            lambda one, k, n: {
                **restarting[k],
                "InstanceNumber": numbers[one.number][k],
                "AcquisitionTime": f"101500.{75 * k:03d}",
            }
        )
        _assert_whole(_views(clock))
    with pytest.raises(StudyRejected, match="order_unknown"):
        _views(_changed(lambda one, k, n: {**restarting[k], "InstanceNumber": numbers[one.number][k]}))


def test_the_phase_number_of_philips_is_a_position_and_another_vendors_private_value_is_not() -> None:
    numbers = _numbers()

    def images(creator: str) -> list[FileDataset]:
        found = _changed(lambda one, k, n: {"TriggerTime": None, "InstanceNumber": numbers[one.number][k]})
        for k, ds in enumerate(found):
            ds.private_block(0x2001, creator, create=True).add_new(0x08, "IS", k % FRAMES + 1)
        return found

    _assert_whole(_views(images("Philips Imaging DD 001")), ["trigger_irregular"])
    with pytest.raises(StudyRejected, match="order_unknown"):
        _views(images("ACME 7"))


def test_the_time_of_creation_is_not_believed_against_the_images() -> None:
    numbers = _numbers()
    with pytest.raises(StudyRejected, match="order_unknown"):
        _views(
            _changed(
                lambda one, k, n: {
                    "TriggerTime": None,
                    "InstanceNumber": 1 + (7 * k) % FRAMES,
                    "ContentTime": f"101500.{75 * numbers[one.number][k]:03d}",
                }
            )
        )


def test_numbers_that_the_images_confirm_order_frames_and_are_flagged() -> None:
    found = _views(_changed(lambda one, k, n: {"TriggerTime": None}))
    _assert_whole(found, ["order_by_number", "trigger_irregular"])


@pytest.mark.parametrize(
    "rank",
    [
        lambda numbers, k: numbers[k],
        lambda numbers, k: sorted(range(1, FRAMES + 1), key=str).index(k + 1) + 1,
        lambda numbers, k: (k % 2) * FRAMES + k // 2 + 1,
    ],
    ids=["random", "sorted as text", "odd before even"],
)
def test_numbers_that_the_images_do_not_confirm_end_the_study(rank: Callable[[list[int], int], int]) -> None:
    numbers = _numbers()
    with pytest.raises(StudyRejected, match="order_unknown"):
        _views(_changed(lambda one, k, n: {"TriggerTime": None, "InstanceNumber": rank(numbers[one.number], k)}))


def test_times_that_the_images_contradict_give_way_and_are_flagged() -> None:
    numbers = _numbers()
    found = _views(_changed(lambda one, k, n: {"TriggerTime": f"{75 * numbers[one.number][k]}"}))
    _assert_whole(found, ["order_by_number", "order_contradicted", "trigger_irregular"])


def test_times_that_the_images_contradict_without_another_order_are_believed_and_flagged() -> None:
    numbers = _numbers()
    found = _views(
        _changed(
            lambda one, k, n: {"TriggerTime": f"{75 * numbers[one.number][k]}", "InstanceNumber": 1 + (7 * k) % FRAMES}
        )
    )
    stack = found.views["sax"]
    assert stack.attrs["flags"] == ["order_doubtful", "slices_few"]
    by_time = numbers[STACK[0].number].index(1)  # the frame with the earliest trigger time
    np.testing.assert_array_equal(stack["intensity"].values[0, 0], beating(STACK[0], by_time).pixel_array)


def test_times_that_most_planes_contradict_give_way_on_planes_that_show_no_motion_too() -> None:
    numbers = _numbers()
    still = STACK[0].number
    found = _views(
        _changed(
            lambda one, k, n: {
                "TriggerTime": f"{75 * numbers[one.number][k]}",
                **({"PixelData": _still(k)} if one.number == still else {}),
            }
        )
    )
    assert "order_contradicted" in found.views["sax"].attrs["flags"]
    assert found.views["sax"]["intensity"].values[:, 0, 0].argmax(axis=1).tolist() == list(range(FRAMES))


def _still(k: int) -> bytes:
    """The frame is told by a bright pixel, as far from those of all others: no order is shorter than another."""
    shown = np.full(STACK[0].shape, 500, "<u2")
    shown[0, k] = 1000
    return shown.tobytes()


def test_numbers_of_planes_that_show_no_motion_are_confirmed_by_those_that_do() -> None:
    still = STACK[0].number
    found = _views(
        _changed(lambda one, k, n: {"TriggerTime": None, **({"PixelData": _still(k)} if one.number == still else {})})
    )
    assert "order_by_number" in found.views["sax"].attrs["flags"]
    assert found.views["sax"]["intensity"].values[:, 0, 0].argmax(axis=1).tolist() == list(range(FRAMES))


# several beats


def _real_time(n_beats: int, last_ms: float = np.inf, **header: Any) -> list[FileDataset]:
    """Beats in a row; the one numbered ``b`` is brighter by ``b``."""
    found = []
    for b in range(n_beats):
        for _, k, ds in _images():
            time_ms = CYCLE_MS * b + STEP_MS * k
            shown = (ds.pixel_array + np.uint16(b)).tobytes()
            clock = f"1015{time_ms / 1000:09.6f}"
            change(ds, PixelData=shown, InstanceNumber=FRAMES * b + k + 1, TriggerTime=f"{time_ms:.3f}")
            change(ds, AcquisitionTime=clock, CardiacNumberOfImages=FRAMES * n_beats, **header)
            found += [ds] if time_ms < last_ms else []
    return found


@pytest.mark.parametrize(("n_beats", "measured"), [(2, 1), (3, 1), (4, 2)])
def test_of_a_real_time_cine_the_middle_beat_is_measured_and_the_rest_counted(n_beats: int, measured: int) -> None:
    found = _views(_real_time(n_beats))
    stack = found.views["sax"]
    assert stack.attrs["flags"] == ["beat_chosen", "slices_few"]
    assert stack.attrs["heart_rate_bpm"] == pytest.approx(60_000 / CYCLE_MS)
    for k in range(FRAMES):
        np.testing.assert_array_equal(stack["intensity"].values[k, 0], beating(STACK[0], k).pixel_array + measured)
    assert {row["reason"] for row in found.excluded} == {"series_other_beat"}
    assert sum(row["images"] for row in found.excluded) == (n_beats - 1) * FRAMES * PLANES


def test_a_beat_that_is_cut_off_is_not_measured() -> None:
    stack = _views(_real_time(3, last_ms=2.4 * CYCLE_MS)).views["sax"]
    np.testing.assert_array_equal(stack["intensity"].values[0, 0], beating(STACK[0], 0).pixel_array + 1)


def test_trigger_times_that_restart_at_every_beat_are_several_beats_too() -> None:
    restarting = [change(ds, TriggerTime=f"{float(ds.TriggerTime) % CYCLE_MS:.3f}") for ds in _real_time(3)]
    found = _views(restarting)
    assert found.views["sax"].attrs["flags"] == ["beat_chosen", "slices_few"]
    np.testing.assert_array_equal(found.views["sax"]["intensity"].values[0, 0], beating(STACK[0], 0).pixel_array + 1)


def test_beats_are_told_in_seconds_too() -> None:
    in_seconds = [change(ds, TriggerTime=f"{float(ds.TriggerTime) / 1000:.3f}") for ds in _real_time(3)]
    assert _views(in_seconds).views["sax"].attrs["flags"][0] == "beat_chosen"


def test_a_real_time_cine_of_unknown_cycle_is_left_out_for_that() -> None:
    with pytest.raises(StudyRejected, match="series_cycle_unknown: 4"):
        _views(_real_time(3, NominalInterval=None))


def test_a_cine_over_many_beats_is_preferred_to_a_real_time_cine_of_the_plane() -> None:
    later = [change(ds, SeriesInstanceUID=f"{ds.SeriesInstanceUID}.9", SeriesNumber=90) for ds in _real_time(3)]
    found = _views([*(ds for _, _, ds in _images()), *later])
    _assert_whole(found, ["slice_repeated"])


def test_spellings_of_one_patient_are_one_and_others_end_the_study() -> None:
    spelt = ["P1", "p1 ", "P1", "P 1"]
    _assert_whole(_views(_changed(lambda one, k, n: {"PatientID": spelt[k % 4]})))
    with pytest.raises(StudyRejected, match="mixed_patients"):
        _views(_changed(lambda one, k, n: {"PatientID": "P1" if k else "P2"}))
