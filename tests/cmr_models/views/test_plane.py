"""One plane: its centre and normal, and which of several repeats is kept."""

from dataclasses import replace

import numpy as np

from cmr_models.views.plane import Plane

PLANE = Plane(
    np.array([10.0, 20, 30]), np.array([0.0, 1, 0]), np.array([0.0, 0, -1]), (2.0, 1.5), (5, 9), 20, 25, "20240101"
)


def test_centre_and_normal_follow_from_the_first_pixel_and_the_directions() -> None:
    np.testing.assert_allclose(PLANE.centre_mm, [10, 20 + 1.5 * 4, 30 - 2.0 * 2])
    np.testing.assert_allclose(PLANE.normal, [-1, 0, 0])


def test_a_repeat_is_better_over_many_beats_then_if_whole_then_if_later() -> None:
    worst_to_best = [
        replace(PLANE, is_real_time=True, n_frames=25, acquired="9"),
        replace(PLANE, n_frames=5, n_expected=10, acquired="9"),
        replace(PLANE, n_frames=20, n_expected=25),
        replace(PLANE, n_frames=20, n_expected=25, acquired="20240102"),
        replace(PLANE, n_frames=10, n_expected=10, acquired="1"),
        replace(PLANE, n_frames=3, n_expected=0, acquired="1"),  # nothing was expected
    ]
    assert sorted(worst_to_best, key=lambda plane: plane.merit) == worst_to_best
