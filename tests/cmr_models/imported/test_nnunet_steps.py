"""The steps of nnU-Net's predictor, on volumes small enough to follow by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cmr_models.imported import volumes
from cmr_models.imported.plan import Plan, Resampling, plan_of
from cmr_models.imported.resampling import new_shape, resample, separate_axis
from cmr_models.imported.sliding_window import gaussian, slide, window_starts

PLAN = Plan(
    spacing_mm=(8.0, 2.0, 2.0), patch_size=(4, 8, 8), transpose=(0, 1, 2), normalisation="none",
    mask_normalisation=False, image=Resampling(3), output=Resampling(1), codes=(0, 3, 2, 1),
)  # fmt: skip


# resampling


@pytest.mark.parametrize(
    ("spacing_mm", "wanted_mm", "how", "axis"),
    [
        ((8, 1.5, 1.5), (8, 1, 1), "auto", 0),  # slices far apart
        ((2, 1.5, 1.5), (8, 1, 1), "auto", 0),  # only where it goes to
        ((2, 1.5, 1.5), (2, 1, 1), "auto", None),
        ((4.5, 1.5, 1.5), (4.5, 1.5, 1.5), "auto", None),  # three times is not more than three times
        ((1.25, 8, 8), (1.25, 1, 1), "auto", None),  # two axes are coarse
        ((8, 1, 1), (8, 1, 1), "never", None),
        ((1.4, 1.5, 1.2), (1, 1, 1), "always", 1),
        ((1, 1, 1), (8, 1, 1), "always", None),
    ],
)
def test_slices_are_resampled_one_by_one_where_they_are_far_apart(
    spacing_mm: tuple[float, ...], wanted_mm: tuple[float, ...], how: str, axis: int | None
) -> None:
    assert separate_axis(spacing_mm, wanted_mm, how) == axis


def test_the_shape_keeps_the_field_of_view() -> None:
    assert new_shape((10, 100, 101), (8, 1.5, 1.5), (8, 2.0, 1.0)) == (10, 75, 152)  # 151.5 goes to the even number


def test_a_line_stays_a_line_and_slices_are_repeated() -> None:
    line = np.broadcast_to(np.array([0.0, 1, 2, 3]), (1, 2, 2, 4))
    fine = resample(line, (4, 2, 8), (16, 2, 2), (8, 2, 1), Resampling(1))
    np.testing.assert_allclose(fine[0, 0, 0], [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3])  # ends held
    steps = np.array([5.0, 9.0]).reshape(1, 2, 1, 1) * np.ones((1, 2, 2, 2))
    assert resample(steps, (4, 2, 2), (16, 2, 2), (8, 2, 2), Resampling(1))[0, :, 0, 0].tolist() == [5, 5, 9, 9]
    whole = resample(steps, (4, 2, 2), (4, 2, 2), (2, 2, 2), Resampling(1))[0, :, 0, 0]
    np.testing.assert_allclose(whole, [5, 6, 8, 9])  # interpolated where voxels are nearly cubes


def test_splines_stay_within_the_range_of_the_values() -> None:
    edge = np.zeros((1, 2, 8, 8))
    edge[..., 4:] = 1
    fine = resample(edge, (2, 16, 16), (8, 2, 2), (8, 1, 1), Resampling(3))
    assert (fine.min(), fine.max()) == (0, 1)


# sliding window


@pytest.mark.parametrize(
    ("n", "patch", "starts"), [(110, 64, [0, 23, 46]), (64, 64, [0]), (65, 64, [0, 1]), (128, 64, [0, 32, 64])]
)
def test_windows_are_spread_evenly_at_most_half_a_window_apart(n: int, patch: int, starts: list[int]) -> None:
    assert window_starts(n, patch) == starts  # the first is the example of nnU-Net's authors


def test_weights_are_ten_in_the_middle_and_fall_with_an_eighth_of_the_window() -> None:
    weights = gaussian((16, 16))
    assert weights.max() == weights[8, 8] == 10
    assert float(weights[8, 10]) == pytest.approx(10 * np.exp(-0.5), abs=0.01)  # sd of 2 voxels
    assert (gaussian((64, 64)) > 0).all()


def test_windows_join_without_a_seam_and_padding_is_taken_away() -> None:
    volume = torch.arange(3 * 7 * 20, dtype=torch.float32).reshape(1, 3, 7, 20) / 100
    logits = slide(volume, lambda patch: torch.cat([patch, 1 - patch], 1), (8, 8), (), 2)
    assert logits.shape == (2, 3, 7, 20)
    np.testing.assert_allclose(logits[0].float(), volume[0], rtol=0.05)  # halves lose most in the corners of a window
    deep = slide(volume, lambda patch: patch, (4, 8, 8), (), 1)
    np.testing.assert_allclose(deep[0, 1, 3].float(), volume[0, 1, 3], rtol=0.05)


def test_mirror_images_are_averaged_over_all_combinations_of_axes() -> None:
    place = torch.zeros(1, 1, 4, 4)
    place[..., 0, 1] = 8  # what the network says lies at a fixed place of what it sees
    mirrored = slide(torch.zeros(1, 1, 4, 4), lambda _: place, (4, 4), (0, 1), 1)[0, 0].float()
    assert {(i, j): float(mirrored[i, j]) for i, j in mirrored.nonzero().tolist()} == {
        (0, 1): 2, (0, 2): 2, (3, 1): 2, (3, 2): 2,
    }  # fmt: skip


# volumes


def test_zeros_around_are_cut_off_and_come_back_as_background() -> None:
    volume = np.zeros((3, 6, 6), np.float32)
    volume[1:, 2:5, 1:4] = 7
    volume[1, 3, 2] = 0  # a hole within a slice is open to the next slice's border
    seen, place = volumes.to_network(volume, (8, 2, 2), PLAN)
    assert place.box == ((1, 3), (2, 5), (1, 4))
    assert seen.shape == (2, 3, 3)
    logits = np.zeros((4, 2, 3, 3), np.float16)
    logits[1] = 5  # channel 1 is the left ventricle here
    labels = volumes.labels(logits, place, PLAN)
    assert labels[1:, 2:5, 1:4].tolist() == [[[3] * 3] * 3] * 2
    assert labels.sum() == 18 * 3
    shares = volumes.probabilities(logits, place, PLAN)
    assert shares[:, 0, 0, 0].tolist() == [1, 0, 0, 0]
    assert shares[1, 1, 2, 1] == pytest.approx(np.exp(5) / (np.exp(5) + 3))


def test_axes_are_turned_there_and_back() -> None:
    plan = replace(PLAN, transpose=(2, 0, 1), spacing_mm=(2.0, 8.0, 2.0))
    volume = np.arange(1, 25, dtype=np.float32).reshape(2, 3, 4)
    seen, place = volumes.to_network(volume, (8, 2, 2), plan)
    assert seen.shape == (4, 2, 3)
    assert seen[3, 1, 2] == volume[1, 2, 3]
    logits = np.stack([10.5 - seen, np.zeros_like(seen), np.zeros_like(seen), np.full_like(seen, -99)])
    assert (volumes.labels(logits, place, plan) == np.where(volume > 10.5, 3, 0)).all()


def test_a_flat_network_keeps_the_slices_as_they_are() -> None:
    plan = replace(PLAN, spacing_mm=(1.0, 1.0), patch_size=(8, 8))
    seen, place = volumes.to_network(np.ones((5, 4, 6), np.float32), (8, 2, 2), plan)
    assert seen.shape == (5, 8, 12)
    assert place.seen_mm == (8, 1, 1)


def test_intensities_are_scaled_as_the_scheme_says() -> None:
    image, inside = np.array([[[0.0, 2, 4]]], np.float32), np.array([[[False, True, True]]])
    expected = {"z_score": [-1.224745, 0, 1.224745], "rescale_to_0_1": [0, 0.5, 1], "none": [0, 2, 4]}
    for scheme, values in expected.items():
        found = volumes.normalise(image.copy(), inside, replace(PLAN, normalisation=scheme))
        np.testing.assert_allclose(found[0, 0], values, rtol=1e-6)
    masked = volumes.normalise(image.copy(), inside, replace(PLAN, normalisation="z_score", mask_normalisation=True))
    assert masked[0, 0].tolist() == [0, -1, 1]
    about = {"mean": 2.0, "std": 0.5, "percentile_00_5": 1.0, "percentile_99_5": 3.0}
    ct = volumes.normalise(image.copy(), inside, replace(PLAN, normalisation="ct", intensities=about))
    assert ct[0, 0].tolist() == [-2, 0, 2]


def test_an_empty_volume_is_seen_whole() -> None:
    seen, _ = volumes.to_network(np.zeros((2, 4, 4)), (8, 2, 2), replace(PLAN, normalisation="z_score"))
    assert seen.shape == (2, 4, 4)
    assert not seen.any()


def test_a_plan_comes_back_from_its_table_and_a_wrong_one_is_refused() -> None:
    assert plan_of(PLAN.table(), "card") == PLAN
    for wrong in ({"patch_size": [8]}, {"transpose": [0, 0, 1]}, {"normalisation": "ct"}, {"mirror_axes": [3]},
                  {"spacing_mm": [0.0, 1.0, 1.0]}, {"strange": 1}):  # fmt: skip
        with pytest.raises(ValueError, match=r"card|spacing|transpose|normalisation|mirror"):
            plan_of({**PLAN.table(), **wrong}, "card")
