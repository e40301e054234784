"""The noise that neighbours tell of, by hand."""

import numpy as np
import pytest

from cmr_models.perfusion.kinetics.nonlocal_means import _difference, _half_disc, _twice_noise


def test_the_noise_is_that_of_the_second_most_similar_neighbour_corners_counted() -> None:
    # Squares to the neighbours: of 0 they are 1, 9, 100, of 1 they are 1, 4, 81, of 3: 4, 9, 49, of 10: 49, 81, 100.
    values, chosen = np.array([[0, 1], [3, 10]], np.float32)[..., None], np.ones((2, 2), bool)
    differences = {offset: _difference(values, chosen, offset) for offset in _half_disc()}
    assert _twice_noise(differences, chosen) == pytest.approx(np.median([9, 4, 9, 81]) / 0.8)
