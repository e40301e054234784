"""The beat that is measured of a real-time cine: whole, in the middle, its frames in the order of time."""

import numpy as np
import pytest

from tasks.convert.beats import middle_beat


@pytest.mark.parametrize(
    ("times_ms", "cycle_ms", "beat"),
    [
        (100.0 * np.arange(20), 1000, range(10, 20)),  # of two whole beats the later one
        (100.0 * np.arange(30), 1000, range(10, 20)),
        (100.0 * np.arange(40), 1000, range(20, 30)),
        (100.0 * np.arange(19), 1000, range(10, 19)),  # nine tenths of the frames are a whole beat
        (100.0 * np.arange(18), 1000, range(10)),  # eight are not
        (100.0 * np.arange(8), 1000, []),
        (100.0 * np.arange(-3, 25), 1000, range(13, 23)),  # three frames before the R wave, two whole beats, five more
        (100.0 * np.arange(3, 24), 1000, range(7, 17)),  # it begins late: 7 frames, then 10, then 4
        (5000 + 100.0 * np.arange(20), 1000, range(10, 20)),  # beats are counted from the first that is there
        (100.0 * np.arange(20) - 24, 1000, range(10, 20)),  # headers are rounded: up to a quarter of a step early
    ],
)  # fmt: skip
def test_the_middle_one_of_the_whole_beats_is_taken(times_ms: np.ndarray, cycle_ms: float, beat: range) -> None:
    assert middle_beat(times_ms, cycle_ms).tolist() == list(beat)


def test_frames_come_in_the_order_of_time_whatever_that_of_the_images() -> None:
    shuffled = np.random.default_rng(0).permutation(30)
    found = middle_beat(100.0 * shuffled, 1000)
    assert (100.0 * shuffled[found]).tolist() == (1000 + 100.0 * np.arange(10)).tolist()


def test_more_than_a_quarter_of_a_step_early_a_frame_is_of_the_beat_before() -> None:
    early = 100.0 * np.arange(30)
    early[10] -= 26  # steps are 100 ms on average
    assert middle_beat(early, 1000).tolist() == list(range(11, 20))
    early[10] += 2
    assert middle_beat(early, 1000).tolist() == list(range(10, 20))
