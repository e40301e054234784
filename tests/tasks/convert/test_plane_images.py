"""What is counted of the images of one plane: repeats, the first fault, the frames that there are."""

from dataclasses import replace

import numpy as np

from cmr_models.views.series_kind import SeriesFacts
from tasks.convert.phases import Cycle
from tasks.convert.plane_images import PlaneImages, shown
from tasks.sources.dicom import Image


def _images(n: int) -> list[Image]:
    return [Image({}, np.full((2, 3), k, np.uint16)) for k in range(n)]


def test_what_is_shown_is_in_the_order_of_the_cycle_without_gaps_and_images_without_pixels() -> None:
    images = _images(5)
    images[4].pixels = None
    cycle = Cycle(np.array([3, -1, 0, 4, 2]), np.arange(5.0), 900.0, irregular=False)
    assert [int(frame[0, 0]) for frame in shown(images, cycle)] == [3, 0, 2]


def test_repeats_are_images_that_no_frame_has_and_the_first_fault_is_told() -> None:
    images = _images(6)
    cycle = Cycle(np.array([3, -1, 0, 4]), np.arange(4.0), 900.0, irregular=False)
    plane = PlaneImages(images, SeriesFacts(), cycle, None)
    assert (plane.n_repeats, plane.fault) == (3, "")
    images[5].fault, images[2].fault = "rescale_invalid", "modality_lut_unread"
    assert replace(plane).fault == "modality_lut_unread"
