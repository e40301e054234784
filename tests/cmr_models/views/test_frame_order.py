"""The images of a cine tell whether its frames are in the order of time."""

import numpy as np
import pytest

from cmr_models.views.frame_order import frames_per_beat, judge_order, verdict_of, weigh_order

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
