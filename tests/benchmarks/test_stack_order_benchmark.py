"""The benchmark of base and apex counts what the labels say."""

import numpy as np

from benchmarks.stack_order import Stack, counted
from cmr_models.contracts import LV, MYOCARDIUM, RV


def _labels(*sizes: int) -> np.ndarray:
    """Slices with a pool, a wall and a right ventricle of so many pixels each."""
    labels = np.zeros((1, len(sizes), 3, 100), np.uint8)
    for k, size in enumerate(sizes):
        labels[0, k, 0, :size], labels[0, k, 1, :size], labels[0, k, 2, :size] = LV, MYOCARDIUM, RV
    return labels


def test_stacks_are_counted_by_how_they_are_judged() -> None:
    tapering, even = _labels(60, 50, 40, 30, 20, 10), _labels(*[30] * 6)
    stacks = [Stack("a", "drawn", tapering), Stack("a", "drawn", even), Stack("b", "network", tapering[:, ::-1])]
    assert counted(stacks) == [
        {"set": "a", "labels": "drawn", "n": 2, "right": 1, "undecided": 1, "wrong": 0},
        {"set": "b", "labels": "network", "n": 1, "right": 0, "undecided": 0, "wrong": 1},
    ]
