"""What a network is given of a view: its own pixels or others, row before column, and how its planes follow."""

import numpy as np
import pytest
import xarray as xr

from cmr_models.contracts import cine_view
from cmr_models.views.view_images import gather_view_images


def _view(
    shape: tuple[int, ...], row_dir: tuple[float, ...], col_dir: tuple[float, ...], **geometry: object
) -> xr.Dataset:
    images = np.arange(np.prod(shape), dtype=np.uint16).reshape(shape)
    given: dict[str, object] = {"time_ms": np.arange(shape[0]) * 40.0, "slice_mm": np.nan, "thickness_mm": 8.0}
    return cine_view(images, row_dir=row_dir, col_dir=col_dir, **{**given, **geometry})  # type: ignore[arg-type]


# rows run along x and columns along y: slices follow each other along z, 9 and then 11 mm apart
SAX = _view(
    (2, 3, 4, 6), (1, 0, 0), (0, 1, 0), pixel_mm=(2.0, 1.5), slice_mm=10.0,
    position_mm=[[0, 0, 3.0], [0, 0, 12.0], [0, 0, 23.0]],
)  # fmt: skip
# x = 4.5 and y = 2: both are seen from the side
FIRST = _view((2, 1, 5, 5), (0, 1, 0), (0, 0, 1), pixel_mm=(1.0, 1.0), position_mm=[[4.5, -2, 0]])
SECOND = _view((2, 1, 5, 5), (1, 0, 0), (0, 0, 1), pixel_mm=(1.0, 1.0), position_mm=[[0, 2.0, 0]])


def test_a_view_has_its_pixels_sizes_places_and_the_crossing_of_the_others() -> None:
    found = gather_view_images({"sax": SAX, "lax_4c": FIRST, "lax_2c": SECOND}, "sax")
    assert (found.view, found.pixel_mm) == ("sax", (2.0, 1.5))
    np.testing.assert_array_equal(found.images, SAX["intensity"].values)
    assert np.abs(np.diff(found.offset_mm)) == pytest.approx([9, 11])
    assert found.crossing_px == pytest.approx((1.0, 3.0))  # 2 mm of 2 mm down, 4.5 mm of 1.5 mm along


def test_other_images_replace_its_own_and_without_planes_there_is_no_crossing() -> None:
    others = np.zeros((7, 3, 4, 6), np.float32)
    found = gather_view_images({"sax": SAX, "lax_4c": FIRST}, "sax", others)
    assert found.images is others
    assert found.crossing_px is None
