"""First-pass series as views: kind, place, time; by hand, with slices that begin late, are short or aside."""

from typing import Any

import numpy as np
import pytest
from dicom_factory import header_images

from cmr_models.views.plane import Plane
from cmr_models.views.series_kind import SeriesFacts
from tasks.convert import perfusion_series
from tasks.convert.perfusion_series import perfusion_views
from tasks.convert.phases import Cycle
from tasks.convert.plane_images import PlaneImages

AXIS = np.array([0.0, 0, -1])
BEATS = 25


def _group(
    height_mm: float = 0.0, n: int = BEATS, start_ms: float = 1000.0, step_ms: float = 900.0,
    words: str = "stress perf",
    *, tilt_deg: float = 0.0, acquired: str = "1", columns: dict[str, Any] | None = None,
) -> PlaneImages:  # fmt: skip
    """A slice so many mm along the body's axis, downwards; image k has the value ``100 + k``."""
    header: dict[str, Any] = {
        "trigger_ms": [start_ms + step_ms * k for k in range(n)], "instance_number": range(1, n + 1),
        "flip_angle_deg": [12] * n, "inversion_ms": [60] * n, "bits_allocated": [16] * n, "bits_stored": [12] * n,
        "high_bit": [11] * n,
    }  # fmt: skip
    images = header_images(**(header | (columns or {})))
    for k, image in enumerate(images):
        image.pixels = np.full((4, 6), 100 + k, np.uint16)
    tilt = np.deg2rad(tilt_deg)
    plane = Plane(
        np.array([0.0, 0, -height_mm]), np.array([1.0, 0, 0]), np.array([0, np.cos(tilt), np.sin(tilt)]),
        (1.5, 1.25), (4, 6), n, n, acquired, thickness_mm=8,
    )  # fmt: skip
    return PlaneImages(
        images, SeriesFacts(description=words, n_frames=n), Cycle(np.arange(n), np.zeros(n), 900, False), plane
    )


# kinds


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("Adenosine", "stress"), ("dipyridamol", "stress"), ("hyperaemia", "stress"), ("hyperemi", "stress"),
        ("Regadenoson rest", "stress"), ("resting", "rest"), ("_rest_", "rest"), ("arrest", "unstated"),
        ("restore", "unstated"), ("perf", "unstated"), ("rest arterial input", "rest_aif"),
        ("perf_AIF", "unstated_aif"),
        ("waif", "unstated"), ("rest PDw", "rest_pd"), ("proton density", "unstated_pd"), ("spd", "unstated"),
    ],
)  # fmt: skip
def test_words_say_state_input_and_proton_density(words: str, name: str) -> None:
    assert list(perfusion_series._kinds(_group(words=words))) == [f"perfusion_{name}"]


def _kinds(words: str = "rest_aif", **columns: Any) -> dict[str, list[int]]:
    """Places of the images of each kind."""
    columns = {"flip_angle_deg": [None] * 6, "inversion_ms": [None] * 6, **columns}
    group = _group(n=6, words=words, columns=columns)
    places = {id(image): k for k, image in enumerate(group.images)}
    return {
        name.removeprefix("perfusion_"): [places[id(image)] for image in images]
        for name, images in perfusion_series._kinds(group).items()
    }


def test_density_frames_have_less_than_seven_tenths_of_the_usual_flip() -> None:
    assert _kinds(flip_angle_deg=[6.9, 7, 10, 10, 10, 50]) == {"rest_aif_pd": [0], "rest_aif": [1, 2, 3, 4, 5]}
    assert _kinds(flip_angle_deg=[5, None, 10, 10, 12, 12]) == {"rest_aif_pd": [0], "rest_aif": [1, 2, 3, 4, 5]}
    assert _kinds() == {"rest_aif": [0, 1, 2, 3, 4, 5]}


def test_density_frames_have_no_inversion_among_those_that_have_one() -> None:
    assert _kinds(inversion_ms=[0, None, 60, 60, 0.5, 60]) == {"rest_aif_pd": [0, 1], "rest_aif": [2, 3, 4, 5]}
    assert _kinds(inversion_ms=[0, None, 0, 0, 0, 0]) == {"rest_aif": [0, 1, 2, 3, 4, 5]}


def test_second_echoes_are_later_by_three_tenths_and_only_the_inputs_are_kept() -> None:
    echoes = [1.0, 1.3, 1.31, 2.0, None, 1.0]
    assert _kinds(echo_time_ms=echoes) == {"rest_aif": [0, 1, 4, 5], "rest_aif_echo2": [2, 3]}
    assert _kinds("rest", echo_time_ms=echoes) == {"rest": [0, 1, 2, 3, 4, 5]}
    flips = [10, 10, 10, 5, 10, 5]
    assert _kinds(echo_time_ms=echoes, flip_angle_deg=flips) == {
        "rest_aif": [0, 1, 4], "rest_aif_echo2": [2], "rest_aif_pd": [5],
    }  # fmt: skip


# places


def _left_out(groups: dict[int, PlaneImages], apexward: Any = AXIS) -> dict[int, str]:
    return perfusion_views(groups, apexward).excluded


def test_slices_run_from_base_to_apex_in_the_sense_of_the_cines_or_else_of_the_body() -> None:
    def heights(apexward: Any) -> list[float]:
        groups = {k: _group(mm) for k, mm in enumerate((10.0, -12.0, 30.0))}
        return (-perfusion_views(groups, apexward).views["perfusion_stress"]["position_mm"].values[:, 2]).tolist()

    assert heights(AXIS) == [-12, 10, 30]
    assert heights(-AXIS) == [30, 10, -12]
    assert heights(None) == [-12, 10, 30]  # downwards
    assert heights(np.array([1.0, 0, 0.49])) == [-12, 10, 30]  # nearly across: it does not tell
    assert heights(np.array([0.8, 0, 0.6])) == [30, 10, -12]


@pytest.mark.parametrize(("apart_mm", "n_slices"), [(0.9, 1), (1.1, 2)])
def test_slices_within_a_millimetre_are_one_of_which_the_longer_and_then_the_earlier_is_taken(
    apart_mm: float, n_slices: int
) -> None:
    found = perfusion_views({5: _group(0), 3: _group(apart_mm, BEATS + 1)}, AXIS)
    assert found.views["perfusion_stress"].sizes["slice"] == n_slices
    assert found.excluded == ({5: "series_repeated"} if n_slices == 1 else {})
    assert _left_out({5: _group(acquired="1"), 3: _group(acquired="2")}) == {3: "series_repeated"}
    assert _left_out({5: _group(), 3: _group()}) == {5: "series_repeated"}


@pytest.mark.parametrize(("tilt_deg", "left"), [(9.9, {}), (10.1, {8: "series_unknown_view"})])
def test_a_plane_ten_degrees_aside_of_most_is_none_of_the_stack(tilt_deg: float, left: dict[int, str]) -> None:
    groups = {8: _group(20, BEATS + 5, tilt_deg=tilt_deg), 1: _group(0), 2: _group(10)}
    assert _left_out(groups) == left


def test_a_group_without_a_place_is_left_out_and_one_that_gives_any_view_is_not() -> None:
    placed, unplaced = _group(), _group()
    object.__setattr__(unplaced, "plane", None)
    assert _left_out({1: placed, 2: unplaced}) == {2: "geometry_missing"}
    # the same plane twice, of which the second has density frames that the first lacks
    flips = {"flip_angle_deg": [5, 5, *[12] * (BEATS - 2)]}
    found = perfusion_views({1: _group(n=BEATS), 2: _group(columns=flips)}, AXIS)
    assert {name: view.sizes["frame"] for name, view in found.views.items()} == {
        "perfusion_stress": BEATS, "perfusion_stress_pd": 2,
    }  # fmt: skip
    assert found.excluded == {}


# times


def test_times_count_from_the_first_image_of_any_slice_and_a_short_slice_lacks_its_last_beats() -> None:
    late, early = _group(10, BEATS, 1240.0), _group(0, BEATS - 2, 1000.0)
    view = perfusion_views({1: late, 2: early}, AXIS).views["perfusion_stress"]
    acquired = view["acquired_ms"].values
    assert acquired[:, 1].tolist() == [240 + 900 * k for k in range(BEATS)]
    assert acquired[: BEATS - 2, 0].tolist() == [900 * k for k in range(BEATS - 2)]
    assert np.isnan(acquired[BEATS - 2 :, 0]).all()
    assert view["frame_valid"].values.sum(axis=0).tolist() == [BEATS - 2, BEATS]
    assert view["time_ms"].values.tolist() == acquired[:, 1].tolist()  # of the slice that has all
    assert (view.attrs["start_ms"], view.attrs["timed_by"], view.attrs["state"]) == (1000, "trigger", "stress")
    assert (view.attrs["inversion_ms"], view.attrs["slice_mm"]) == (60, 10)
    assert view["intensity"].values[:, 0, 0, 0].tolist() == [*range(100, 100 + BEATS - 2), 0, 0]


def test_slices_that_are_timed_otherwise_say_mixed_and_unknown_times_have_no_start() -> None:
    none = {"trigger_ms": [None] * BEATS}
    clock = {**none, "acquisition_time": [f"1000{k:02d}" for k in range(BEATS)]}
    mixed = perfusion_views({1: _group(), 2: _group(10, columns=clock)}, AXIS).views["perfusion_stress"]
    assert mixed.attrs["timed_by"] == "mixed"
    by_clock = perfusion_views({2: _group(10, columns=clock)}, AXIS).views["perfusion_stress"]
    assert (by_clock.attrs["timed_by"], by_clock.attrs["start_ms"]) == ("clock", 36_000_000)
    group = _group(10, columns={**none, "temporal_index": range(BEATS)})
    unknown = perfusion_views({1: _group(), 2: PlaneImages(
        group.images, SeriesFacts(description="stress perf"), group.cycle, group.plane
    )}, AXIS).views["perfusion_stress"]  # fmt: skip
    assert np.isnan(unknown.attrs["start_ms"])
    assert np.isnan(unknown["acquired_ms"].values).all()
