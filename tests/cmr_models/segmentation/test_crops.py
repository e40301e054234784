"""Crops on images of a few pixels, oblong and off the middle, by hand."""

import numpy as np
import pytest
import torch

from cmr_models.segmentation.crops import CropWindow, crop, image_region, resample_to_image, standardise


def _slope(rows: int = 5, cols: int = 7) -> torch.Tensor:
    """Pixel (r, c) holds 10 r + c."""
    return (10.0 * torch.arange(rows)[:, None] + torch.arange(cols)[None])[None]


def _crop(image: torch.Tensor, window: CropWindow) -> list[list[float]]:
    found: list[list[float]] = crop(image, window)[0].tolist()
    return found


def test_every_image_is_clipped_at_three_sd_and_standardised_again() -> None:
    # 24 of -1, 24 of 1, one of -100 and 100: SD 20.024; so 0.04994 and 4.994, cut to 3; then SD 0.60199
    values = torch.tensor([-1.0] * 24 + [1.0] * 24 + [-100.0, 100.0]).reshape(1, 1, 5, 10)
    found = standardise(torch.cat([values, 7 + 2 * values, torch.full_like(values, 5e4)], dim=1)).flatten(2)[0]
    for image in found[:2]:
        assert image[[0, 24, 48, 49]].tolist() == pytest.approx([-0.08296, 0.08296, -4.98346, 4.98346], abs=1e-4)
    assert found[2].tolist() == [0] * 50
    assert standardise((7 + 2 * values).to(torch.int16)).flatten()[49] == pytest.approx(4.98346, abs=1e-4)


def test_a_faint_image_is_standardised_and_one_that_differs_by_rounding_is_constant() -> None:
    faint = torch.tensor([[0.0, 1e-3], [0.0, 1e-3]])[None, None]
    assert standardise(faint).flatten().tolist() == pytest.approx([-1, 1, -1, 1])
    rounded = torch.tensor([[4096.0, 4096.001], [4096.0, 4096.001]])[None, None]
    assert not standardise(rounded).any()
    for amplitude, shown in ((1.1e-6, 1), (0.9e-6, 0)):  # a millionth of one, about zero
        around = amplitude * torch.tensor([[-1.0, 1.0]])[None, None]
        assert standardise(around).flatten().tolist() == pytest.approx([-shown, shown])


def test_rows_and_columns_have_their_own_centre_and_step() -> None:
    assert _crop(_slope(), CropWindow((2, 4), (1, 1), 3)) == [[13, 14, 15], [23, 24, 25], [33, 34, 35]]
    # rows 1.5, 2 and 2.5, columns 1.5, 3 and 4.5
    found = _crop(_slope(), CropWindow((2, 3), (0.5, 1.5), 3))
    np.testing.assert_allclose(found, [[16.5, 18, 19.5], [21.5, 23, 24.5], [26.5, 28, 29.5]], atol=1e-4)
    np.testing.assert_allclose(_crop(_slope(), CropWindow((2.25, 3), (1, 1), 2)), [[20, 21], [30, 31]], atol=1e-4)


def test_a_larger_pixel_averages_over_its_width() -> None:
    dot = torch.zeros(1, 9, 9)
    dot[0, 4, 5] = 8
    # two pixels wide: a half at the middle and a quarter beside it, in each direction
    assert _crop(dot, CropWindow((4, 5), (2, 2), 3)) == [[0, 0, 0], [0, 2, 0], [0, 0, 0]]
    assert _crop(dot, CropWindow((4, 4), (2, 2), 3)) == [[0, 0, 0], [0, 1, 1], [0, 0, 0]]
    assert _crop(dot, CropWindow((4, 5), (1, 2), 3)) == [[0, 0, 0], [0, 4, 0], [0, 0, 0]]


def test_beyond_the_image_a_crop_is_zero_but_for_half_a_pixel_more() -> None:
    image = torch.full((1, 3, 4), 6.0)
    seen, unseen = [0, 6, 6, 6, 6, 0], [0] * 6  # rows at -0.5 to 2.5, columns at 0 to 3
    assert _crop(image, CropWindow((1, 1.5), (1, 1), 6)) == [unseen, *[seen] * 4, unseen]
    at = {place: _crop(image, CropWindow((1, place), (1, 1), 1))[0][0] for place in (-1, -0.75, -0.5, 3.75, 4)}
    assert at == {-1: 0, -0.75: 6, -0.5: 6, 3.75: 6, 4: 0}
    at = {place: _crop(image, CropWindow((place, 1), (2, 2), 1))[0][0] for place in (-1.5, -1.25, 3.25, 3.5)}
    assert at == {-1.5: 0, -1.25: 6, 3.25: 6, 3.5: 0}
    assert _crop(image, CropWindow((40, 1), (1, 1), 2)) == [[0, 0], [0, 0]]


def test_the_region_of_a_crop_is_the_pixels_whose_centres_lie_inside() -> None:
    # rows 10 +- 1.5 x 3 / 2, columns 20 +- 2 x 3 / 2
    window = CropWindow((10, 20), (1.5, 2.0), 4)
    assert image_region(window, (40, 50)) == (slice(8, 13), slice(17, 24))
    assert image_region(window, (11, 20)) == (slice(8, 11), slice(17, 20))
    assert image_region(CropWindow((1, 2), (1.5, 2.0), 4), (40, 50)) == (slice(0, 4), slice(0, 6))
    assert image_region(CropWindow((-9, 2), (1.5, 2.0), 4), (40, 50))[0] == slice(0, 0)
    assert image_region(CropWindow((10, 20), (1, 1), 3), (40, 50)) == (slice(9, 12), slice(19, 22))


def test_a_crop_is_put_back_by_linear_interpolation_in_both_directions() -> None:
    crops = torch.tensor([[0.0, 30], [60, 150]])
    # crop rows lie at 2 and 5, its columns at 7 and 9
    found = resample_to_image(crops, CropWindow((3.5, 8), (3, 2), 2), (slice(2, 6), slice(7, 10)))
    np.testing.assert_allclose(found, [[0, 15, 30], [20, 45, 70], [40, 75, 110], [60, 105, 150]], atol=1e-4)
    many = resample_to_image(torch.stack([crops, 2 * crops])[None], CropWindow((3.5, 8), (3, 2), 2), (slice(3, 4),) * 2)
    assert many.shape == (1, 2, 1, 1)


def test_a_window_judges_every_image_and_tells_its_place_in_plain_values() -> None:
    window = CropWindow((1.0, 2.0), (0.5, 0.25), 8)
    assert window.judged((3, 2, 64, 80)).tolist() == [[True, True]] * 3
    assert window.parameters() == {"centre_px": (1.0, 2.0), "step_px": (0.5, 0.25), "size": 8}
