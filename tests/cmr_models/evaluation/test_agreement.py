"""Errors and bootstrap intervals of a few pairs; resamples are drawn by hand instead of at random."""

import math

import numpy as np
import numpy.typing as npt
import pytest

from cmr_models.evaluation.agreement import (
    bootstrapped,
    coefficient_of_variation_pct,
    landmark_distance_mm,
    mean_absolute_error,
    mean_error,
    resampled,
    root_mean_square_error,
)

NAN = math.nan
OURS, THEIRS = [10.0, NAN, 12.0, 7.0, 5.0], [14.0, 3.0, 11.0, NAN, 5.0]  # errors -4, 1 and 0


class Drawn:
    """In place of a generator: the draws that it is told to give."""

    def __init__(self, draws: npt.ArrayLike) -> None:
        self.draws = np.asarray(draws)

    def integers(self, low: int, high: int, shape: tuple[int, int]) -> npt.NDArray[np.int64]:
        assert (low, (shape[0], high)) == (0, shape)
        return np.asarray(np.broadcast_to(self.draws[:, None], shape))


def test_errors_are_predicted_less_reference_of_pairs_that_are_known() -> None:
    assert mean_error(OURS, THEIRS) == pytest.approx(-1)
    assert mean_absolute_error(OURS, THEIRS) == pytest.approx(5 / 3)
    assert root_mean_square_error(OURS, THEIRS) == pytest.approx(math.sqrt(17 / 3))
    for measure in (mean_error, mean_absolute_error, root_mean_square_error, coefficient_of_variation_pct):
        assert math.isnan(measure([NAN, 1.0], [2.0, NAN]))
        for a, b in (([1.0], [1.0, 2.0]), ([[1.0]], [[1.0]])):
            with pytest.raises(ValueError, match="same length"):
                measure(a, b)


def test_variation_is_the_root_mean_square_of_each_pairs_share_of_its_mean() -> None:
    # (20² / 2) / 100² = 0.02, (6² / 2) / 30² = 0.02, and 0: root of 0.04 / 3
    assert coefficient_of_variation_pct([90, 33, 5, NAN], [110, 27, 5, 1]) == pytest.approx(100 * math.sqrt(0.04 / 3))
    assert math.isnan(coefficient_of_variation_pct([1, 4], [-1, 4]))


def test_an_interval_holds_the_middle_95_per_cent_of_resamples_and_unknown_ones_do_not_count() -> None:
    people = 201

    def last_if_even(draw: npt.NDArray[np.int64]) -> float:
        return float(draw[-1]) if draw[-1] % 2 == 0 else NAN

    found = resampled(last_if_even, people, Drawn(range(people)), people)  # type: ignore[arg-type]
    assert found == (200, pytest.approx(5), pytest.approx(195), people)  # of 0, 2 ... 200
    none = resampled(lambda draw: NAN, 3, Drawn([0] * 100), 100)  # type: ignore[arg-type]
    assert np.isnan(none[:3]).all()


def test_pairs_are_drawn_together() -> None:
    ours, theirs = [1.0, NAN, 5.0, 9.0], [0.0, 1.0, 3.0, 6.0]  # errors 1, 2 and 3
    found = bootstrapped(mean_error, ours, theirs, Drawn([0] * 40 + [1] * 30 + [2] * 30), 100)  # type: ignore[arg-type]
    assert found == (2, 1, 3, 3)


def test_one_pair_has_a_value_and_no_interval_and_none_has_neither() -> None:
    rng = np.random.default_rng(0)
    one, none, two = (bootstrapped(mean_error, [3.0] * n, [1.0] * n, rng, 100) for n in (1, 0, 2))
    assert one[::3] == (2, 1)
    assert np.isnan(one[1:3]).all()
    assert np.isnan(none[:3]).all()
    assert none.n == 0
    assert two == (2, 2, 2, 2)
    with pytest.raises(ValueError, match="99 resamples are too few"):
        resampled(lambda draw: 0.0, 5, rng, 99)


def test_points_are_apart_by_rows_and_columns_of_their_own_size() -> None:
    ours, theirs = np.zeros((2, 2, 2)), np.array([[[3, 4], [0, NAN]], [[-6, 0], [0, -2]]], float)
    found = landmark_distance_mm(ours, theirs, (2.0, 1.5))
    np.testing.assert_allclose(found, [[math.hypot(6, 6), NAN], [12, 3]])
