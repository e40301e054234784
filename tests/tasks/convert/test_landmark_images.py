"""Images with landmarks: which mark is which point, in rows and columns, and why some have none."""

import io

import numpy as np
import pytest
from PIL import Image

from cmr_models.reasons import StudyRejected
from tasks.convert.landmark_images import landmark_views
from tasks.sources.limits import Budget, Limits


def _png(values: np.ndarray, mode: str = "L") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(values.astype(np.uint8)).convert(mode).save(stream, "PNG")
    return stream.getvalue()


def _mask(*marks: tuple[int, int, int], shape: tuple[int, int] = (12, 20)) -> bytes:
    """(level, row, column) of pixels."""
    values = np.zeros(shape)
    for level, row, col in marks:
        values[row, col] = level
    return _png(values)


SHOWN = np.arange(240).reshape(12, 20)
MARKS = ((85, 2, 3), (85, 3, 3), (85, 2, 5), (85, 3, 5), (170, 2, 15), (255, 10, 9), (255, 10, 10))
POINTS = [[2.5, 4], [2, 15], [10, 9.5]]


def test_each_level_is_a_point_at_its_middle_in_rows_and_columns() -> None:
    files = {
        "lax_2c/images/0001__01.png": _png(SHOWN // 2), "lax_2c/images/0001__00.png": _png(SHOWN, "RGB"),
        "lax_2c/masks/0001__00.png": _mask(*MARKS), "lax_2c/masks/0001__01.png": _mask(MARKS[4]),
        "lax_4c/images/0001__00.png": _png(SHOWN),
    }  # fmt: skip
    found = landmark_views(files, Budget())
    assert list(found.views) == ["lax_2c", "lax_4c"]
    view = found.views["lax_2c"]
    np.testing.assert_array_equal(view["intensity"].values[:, 0], [SHOWN, SHOWN // 2])
    np.testing.assert_allclose(view["landmark_px"].values[0], POINTS)
    np.testing.assert_array_equal(view["landmark_px"].values[1], [[np.nan] * 2, [2, 15], [np.nan] * 2])
    assert view["pixel_mm"].values.tolist() == [0.25, 0.25]
    assert np.isnan(view["time_ms"]).all()
    assert view.attrs["flags"] == ["geometry_assumed"]
    assert (view.attrs["intensity_offset"], view.attrs["intensity_scale"]) == (0, 1)
    assert view.attrs["frame_names"] == ["00", "01"]
    assert np.isnan([view.attrs["slice_mm"], view.attrs["thickness_mm"]]).all()
    assert view["row_dir"].values.tolist() == [[1, 0, 0]]
    assert view["col_dir"].values.tolist() == [[0, 1, 0]]
    assert [fault["reason"] for fault in found.faults] == ["label_missing"]
    assert np.isnan(found.views["lax_4c"]["landmark_px"].values).all()


@pytest.mark.parametrize(
    ("mask", "reason"),
    [
        (_mask((85, 1, 1), (170, 2, 2), (86, 3, 3)), "label_class_unknown"), (b"no image", "label_corrupt"),
        (_mask((85, 1, 1), shape=(12, 19)), "label_grid_mismatch"),
        (_mask((85, 1, 1), shape=(20, 12)), "label_grid_mismatch"),
    ],
    ids=["another level", "no image", "a column less", "turned"],
)  # fmt: skip
def test_marks_that_cannot_be_told_are_left_out_with_their_reason(mask: bytes, reason: str) -> None:
    found = landmark_views({"lax_4c/images/0001__00.png": _png(SHOWN), "lax_4c/masks/0001__00.png": mask}, Budget())
    assert [(fault["file"].split("/")[0], fault["reason"]) for fault in found.faults] == [("lax_4c", reason)]
    assert np.isnan(found.views["lax_4c"]["landmark_px"].values).all()


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"lax_4c/masks/0001__00.png": _mask()}, "wrong_series"),
        ({"lax_4c/images/0001__00.png": b"GIF89a"}, "image_unreadable"),
        ({"lax_4c/images/0001__00.png": _png(SHOWN), "lax_4c/images/0001__01.png": _png(SHOWN.T)}, "image_unreadable"),
    ],
    ids=["marks alone", "no image", "two sizes"],
)
def test_images_that_cannot_be_read_end_the_study(files: dict[str, bytes], reason: str) -> None:
    with pytest.raises(StudyRejected, match=reason):
        landmark_views(files, Budget())


@pytest.mark.parametrize(("mode", "n_bytes"), [("L", 12 * 20), ("RGB", 12 * 20 * 4)])
def test_an_image_of_more_pixels_than_is_permitted_is_not_read(mode: str, n_bytes: int) -> None:
    files = {"lax_4c/images/0001__00.png": _png(SHOWN, mode)}
    assert list(landmark_views(files, Budget(Limits(max_image_bytes=n_bytes))).views) == ["lax_4c"]
    with pytest.raises(StudyRejected, match="study_too_large"):
        landmark_views(files, Budget(Limits(max_image_bytes=n_bytes - 1)))
