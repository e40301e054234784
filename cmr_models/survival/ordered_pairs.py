"""Sums over pairs ordered in two respects at once, in O(n log n): who comes later, and who scores lower."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class PairSums(NamedTuple):
    """Over pairs of a left and a right member with ``left key < right key``.

    Attributes:
        lower: ``(l,)`` right members of a lower score, for each left one.
        tied: ``(l,)`` right members of the same score.
        higher: ``(l,)`` right members of a higher score.
        weight_above: ``(r,)`` weight of the left members of a higher score, for each right one.
        weight_tied: ``(r,)`` of the same score.
        weight: ``(r,)`` of all left members.
    """

    lower: Floats
    tied: Floats
    higher: Floats
    weight_above: Floats
    weight_tied: Floats
    weight: Floats


def sum_pairs(left_key: Ints, left_score: Ints, weight: Floats, right_key: Ints, right_score: Ints) -> PairSums:
    """Compare every left member with the right members of a larger key.

    Two keys differ first in one bit, counted from the largest, so each pair is met at one bit: there the
    left members have 0, the right ones 1, and above that bit both have the same. A sort by those upper bits
    and the score turns the comparison into running sums.

    Args:
        left_key, right_key: whole numbers of 0 or more, small (ranks).
        left_score, right_score: ranks on one scale, equal where scores are.
        weight: ``(l,)`` of the left members.
    """
    n_left = len(left_key)
    key = np.concatenate([left_key, right_key])
    score = np.concatenate([left_score, right_score])
    by_score = np.argsort(score, kind="stable")
    key, score = key[by_score], score[by_score]
    is_left = by_score < n_left
    mass = np.where(is_left, np.concatenate([weight, np.zeros(len(right_key))])[by_score], 0.0)
    sums = np.zeros((3, len(key)))
    for bit in range(int(key.max(initial=0)).bit_length()):
        sums += _at_bit(key, score, is_left, mass, bit)
    placed = np.empty_like(sums)
    placed[:, by_score] = sums
    return PairSums(*placed[:, :n_left], *placed[:, n_left:])


def _at_bit(key: Ints, score: Ints, is_left: npt.NDArray[np.bool_], mass: Floats, bit: int) -> Floats:
    """``(3, n)``: for left members right ones lower, tied, higher; for right members weight above, tied, in all."""
    upper = key >> (bit + 1)
    order = np.argsort(upper.astype(np.uint16) if upper.max(initial=0) < 2**16 else upper, kind="stable")
    upper, score = upper[order], score[order]
    is_one = (key[order] >> bit) & 1 == 1
    left, right = is_left[order] & ~is_one, ~is_left[order] & is_one
    count = np.concatenate([[0.0], np.cumsum(right)])
    total = np.concatenate([[0.0], np.cumsum(np.where(left, mass[order], 0.0))])
    block = _runs(upper[1:] != upper[:-1])
    tie = _runs((upper[1:] != upper[:-1]) | (score[1:] != score[:-1]))
    found = np.zeros((3, len(key)))
    found[0] = np.where(left, count[tie[0]] - count[block[0]], np.where(right, total[block[1]] - total[tie[1]], 0))
    found[1] = np.where(left, count[tie[1]] - count[tie[0]], np.where(right, total[tie[1]] - total[tie[0]], 0))
    found[2] = np.where(left, count[block[1]] - count[tie[1]], np.where(right, total[block[1]] - total[block[0]], 0))
    placed = np.empty_like(found)
    placed[:, order] = found
    return placed


def _runs(starts_anew: npt.NDArray[np.bool_]) -> tuple[Ints, Ints]:
    """First position, and position after the last, of the run each element is in."""
    n = len(starts_anew) + 1
    first = np.concatenate([[0], np.flatnonzero(starts_anew) + 1])
    length = np.diff(first, append=n)
    begin = np.repeat(first, length)
    return begin, begin + np.repeat(length, length)
