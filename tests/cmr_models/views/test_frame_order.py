"""The images of a cine tell whether its frames are in the order of time."""

import numpy as np
import pytest

from cmr_models.views import frame_order
from cmr_models.views.frame_order import Evidence, Verdict, frames_per_beat, judge_order, verdict_of, weigh_order

_ROWS, _COLS = np.mgrid[:48, :40]


def _cine(n: int, noise: float = 20.0, beats: int = 1, seed: int = 0) -> list[np.ndarray]:
    """A bright disc that shrinks for a third of the beat, and grows more slowly."""
    rng = np.random.default_rng(seed)
    phase = np.arange(n) * beats / n % 1.0
    radius = 12 - 5 * np.where(phase < 0.35, np.sin(phase / 0.7 * np.pi), np.cos((phase - 0.35) / 1.3 * np.pi))
    distance = np.hypot(_ROWS - 24, _COLS - 20)
    frames = 600 / (1 + np.exp((distance[None] - radius[:, None, None]) / 0.7))
    return list(np.clip(frames + rng.normal(200, noise, frames.shape), 0, None).astype(np.uint16))


@pytest.mark.parametrize("n", [8, 20, 30])
@pytest.mark.parametrize("start", [0, 3])
def test_the_order_of_time_is_supported_wherever_it_starts(n: int, start: int) -> None:
    frames = _cine(n)
    assert judge_order([*frames[start:], *frames[:start]]) == "supported"


@pytest.mark.parametrize("seed", range(8))
def test_a_random_order_is_contradicted(seed: int) -> None:
    frames = _cine(20, seed=seed)
    assert judge_order([frames[i] for i in np.random.default_rng(seed).permutation(20)]) == "contradicted"


@pytest.mark.parametrize("n", [11, 20, 30, 50])
@pytest.mark.parametrize("first", [0, 1])
def test_numbers_sorted_as_text_are_contradicted(n: int, first: int) -> None:
    frames = _cine(n)
    assert judge_order([frames[k - first] for k in sorted(range(first, n + first), key=str)]) == "contradicted"


@pytest.mark.parametrize("n", [8, 20, 50])
def test_odd_before_even_frames_are_contradicted(n: int) -> None:
    frames = _cine(n)
    assert judge_order([*frames[::2], *frames[1::2]]) == "contradicted"


def test_planes_are_judged_together_and_those_without_motion_do_not_count() -> None:
    cines = [_cine(12, seed=seed) for seed in range(4)]
    random = np.random.default_rng(0).permutation(12)
    still = [np.ones((48, 40))] * 12
    right = [weigh_order(cine) for cine in cines]
    wrong = [weigh_order([cine[i] for i in random]) for cine in cines]
    assert verdict_of([*right, weigh_order(still)]) == "supported"
    assert verdict_of([*wrong, right[0], weigh_order(still)]) == "contradicted"
    assert verdict_of([weigh_order(still)]) == verdict_of([]) == "silent"


def test_images_without_motion_say_nothing() -> None:
    rng = np.random.default_rng(0)
    assert judge_order([rng.integers(0, 4000, (48, 40)) for _ in range(20)]) == "silent"
    assert judge_order([np.ones((48, 40))] * 20) == "silent"
    assert judge_order(_cine(20)[:5]) == "silent"


def test_noise_does_not_hide_the_order() -> None:
    for n in (12, 25):
        assert judge_order([frame.astype(np.int16) for frame in _cine(n, noise=40)]) == "supported"


@pytest.mark.parametrize(("n", "beats", "expected"), [(60, 3, 20), (40, 2, 20), (50, 2.5, 20), (20, 1, 0), (30, 1, 0)])
def test_images_that_return_show_how_long_a_beat_is(n: int, beats: float, expected: int) -> None:
    found = frames_per_beat(_cine(n, beats=beats))  # type: ignore[arg-type]
    assert abs(found - expected) <= 1


def test_flicker_and_settling_of_the_signal_are_no_motion() -> None:
    gain = 1 + 0.05 * np.random.default_rng(1).normal(size=20) + np.exp(-np.arange(20.0))
    assert judge_order([frame * g for frame, g in zip(_cine(20), gain, strict=True)]) == "supported"


@pytest.mark.parametrize("noise", [0, 50, 100, 200, 400, 800])
def test_noise_silences_the_images_and_never_turns_them_against_the_order_of_time(noise: float) -> None:
    assert judge_order(_cine(25, noise=noise)) in ("supported", "silent")


# by hand: images that differ in two pixels, one as much brighter as the other is darker


def _points(*places: float) -> list[np.ndarray]:
    """Images of mean 100, as far apart as ``places`` on a line: sqrt(2)/100 a step."""
    frames = np.full((len(places), 10, 12), 100.0)
    frames[:, 3, 4] += places
    frames[:, 7, 8] -= places
    return list(frames)


STEP = np.sqrt(2) / 100
HEARTBEAT = (0, 10, 30, 60, 40, 20)
"""There and back: 120 steps. Its 30 ways between two places come to 800, so that six of them are 160 on average."""


def test_tours_are_as_long_as_their_steps_and_a_random_one_is_their_mean() -> None:
    found = weigh_order(_points(*HEARTBEAT))
    assert (found.random, found.given, found.shortest) == pytest.approx((160 * STEP, 120 * STEP, 120 * STEP))
    # numbers of six frames are the same as text; odd before even were 0, 60, 10, 40, 30, 20
    assert found.undone == pytest.approx((120 * STEP, 120 * STEP, 180 * STEP))
    mixed = weigh_order(_points(0, 30, 10, 60, 20, 40))
    assert (mixed.random, mixed.given, mixed.shortest) == pytest.approx((160 * STEP, 200 * STEP, 120 * STEP))
    brighter = weigh_order([frame * gain for frame, gain in zip(_points(*HEARTBEAT), (1, 2, 3, 1, 5, 1), strict=True)])
    assert brighter.given == pytest.approx(120 * STEP)


@pytest.mark.parametrize("seed", range(4))
def test_the_shortest_tour_of_points_on_a_line_is_there_and_back(seed: int) -> None:
    places = np.random.default_rng(seed).permutation([0, 3, 7, 12, 20, 21, 35, 41, 48, 50])
    assert weigh_order(_points(*places)).shortest == pytest.approx(100 * STEP)


def test_a_tour_that_crosses_itself_is_uncrossed_and_a_shortest_one_stays() -> None:
    corners = np.array([[0, 0], [0, 3], [4, 3], [4, 0]])  # of a rectangle: 14 around it, more across
    distance = np.hypot(*(corners[:, None] - corners).T)
    for crossed, length in (([0, 2, 1, 3], 18), ([0, 1, 3, 2], 16)):
        assert frame_order._length(distance, np.array(crossed)) == pytest.approx(length)
        found = frame_order._shorten(distance, np.array(crossed))
        assert sorted(found.tolist()) == [0, 1, 2, 3]
        assert frame_order._length(distance, found) == pytest.approx(14)
    assert frame_order._shorten(distance, np.array([1, 2, 3, 0])).tolist() == [1, 2, 3, 0]
    # from the corner furthest from the first on, each is put where it adds least
    assert frame_order._length(distance, frame_order._insert_cheaply(distance)) == pytest.approx(14)


def test_orders_that_software_made_are_undone() -> None:
    places = np.array([0, 8, 20, 33, 47, 60, 55, 41, 30, 22, 11, 4])
    by_text = weigh_order(_points(*places[[int(text) - 1 for text in sorted(map(str, range(1, 13)))]]))
    from_zero = weigh_order(_points(*places[[int(text) for text in sorted(map(str, range(12)))]]))
    odd_first = weigh_order(_points(*places[[*range(0, 12, 2), *range(1, 12, 2)]]))
    length = (60 + 60) * STEP
    assert [by_text.undone[0], from_zero.undone[1], odd_first.undone[2]] == pytest.approx([length] * 3)


def test_images_that_hardly_move_and_fewer_than_six_say_nothing() -> None:
    # five images in one place and one elsewhere: every tour is there and back
    assert weigh_order(_points(0, 0, 0, 0, 0, 9)).random == 0
    assert weigh_order(_points(*HEARTBEAT[:5])).random == 0
    assert weigh_order(_points(*HEARTBEAT)).random > 0


def _evidence(given: float, *undone: float) -> Evidence:
    """Of a random tour of 200 and a shortest one of 100."""
    return Evidence(200.0, given, 100.0, undone or (given,))


@pytest.mark.parametrize(
    ("evidence", "verdict"),
    [
        ([_evidence(125)], "supported"), ([_evidence(125.1)], "doubtful"), ([_evidence(140)], "doubtful"),
        ([_evidence(140.1)], "contradicted"),
        ([_evidence(110, 105)], "supported"), ([_evidence(110, 120, 104.9)], "contradicted"),
        # lengths of all planes are added up: 100 + 150 of 400 to 200 is three quarters
        ([_evidence(100), _evidence(150)], "supported"), ([_evidence(100), _evidence(151)], "doubtful"),
        ([_evidence(110, 100, 130), _evidence(110, 130, 100)], "supported"),  # no one order is better on both
        ([_evidence(110, 100, 130), _evidence(110, 109, 130)], "contradicted"),
        ([Evidence(0.5, 0.3, 0.25, (0.3,))], "supported"),  # however dark the images
        ([Evidence(0.0, 0.0, 0.0, ()), _evidence(125)], "supported"), ([Evidence(0.0, 0.0, 0.0, ())], "silent"),
    ],
)  # fmt: skip
def test_an_order_is_supported_from_three_quarters_and_contradicted_below_six_tenths(
    evidence: list[Evidence], verdict: Verdict
) -> None:
    assert verdict_of(evidence) == verdict


@pytest.mark.parametrize(
    ("places", "n"),
    [
        ([0, 10, 30, 60, 40, 20] * 2, 6), ([0, 5, 10, 30, 60, 40, 20] * 2, 7), ([0, 5, 10, 30, 60, 40, 20] * 3, 7),
        ([0, 10, 30, 60, 40, 20] * 2 + [0], 6), ([0, 10, 30, 60, 40, 20, 0, 10, 30, 60, 40], 0),  # eleven are too few
        ([0, 30, 60] * 4, 6),  # a beat has six frames or more
        (list(range(0, 120, 10)), 0),
    ],
)  # fmt: skip
def test_a_beat_is_the_lag_after_which_images_return(places: list[float], n: int) -> None:
    assert frames_per_beat(_points(*places)) == n
