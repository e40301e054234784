"""Beats of a first pass are ordered by time, else by temporal position, else by numbers that the images allow."""

import numpy as np
from dicom_factory import Series, change, dataset, encode

from tasks.convert.beat_times import beat_times
from tasks.sources.dicom import Image, read_images

N = 30
ONE = Series(frames=N, shape=(48, 40))


def _bolus(number: np.ndarray, **names: np.ndarray) -> list[Image]:
    """Contrast agent fills a disc and leaves it, more slowly."""
    rows, cols = np.mgrid[:48, :40]
    heart = np.hypot(rows - 24, cols - 20) < 9
    found = []
    for k in range(N):
        level = 900 * np.exp(-(((k - 10) / 4) ** 2)) + 400 * (k > 10) * np.exp(-(k - 10) / 30)
        ds = change(dataset(ONE, k), TriggerTime=None, InstanceNumber=int(number[k]))
        change(ds, PixelData=(100 + rows + heart * level).astype("<u2").tobytes())
        found += read_images(encode(change(ds, **{name: int(value[k]) for name, value in names.items()})))
    return found


def test_numbers_of_beats_in_order_are_counted_by_the_heart_rate() -> None:
    found = beat_times(_bolus(np.arange(N) + 1), 800.0)
    assert (found.how, found.order.tolist()) == ("heart_rate", list(range(N)))
    np.testing.assert_allclose(found.time_ms, 800.0 * np.arange(N))


def test_random_numbers_give_way_to_temporal_positions() -> None:
    random = np.random.default_rng(0).permutation(N) + 1
    found = beat_times(_bolus(random, TemporalPositionIdentifier=np.arange(N) + 1), 800.0)
    assert (found.how, found.order.tolist()) == ("heart_rate", list(range(N)))


def test_random_numbers_alone_leave_the_times_unknown() -> None:
    found = beat_times(_bolus(np.random.default_rng(0).permutation(N) + 1), 800.0)
    assert found.how == "unknown"
    assert np.isnan(found.time_ms).all()
