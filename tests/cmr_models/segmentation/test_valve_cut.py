"""Short-axis labels that end at a valve: slices 10 mm apart and 8 mm thick, a valve at a height known by hand."""

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr

from cmr_models.contracts import LA, LV, MYOCARDIUM, RA, RV, SLICE_ANSWERS, cine_view
from cmr_models.contracts.labels import OPEN, TRANSITION, UNCERTAIN, WHOLE
from cmr_models.segmentation.valve_cut import cut_at_valves

N_SLICES = 7


def views() -> dict[str, xr.Dataset]:
    """Slices at z = 0 (base) to 60; a 4-chamber plane whose rows go down z from -30 in steps of 1 mm."""
    sax = cine_view(
        np.zeros((1, N_SLICES, 41, 41), np.uint16), time_ms=[0.0], pixel_mm=(2.0, 2.0),
        position_mm=np.stack([[-40.0, -40.0, 10.0 * k] for k in range(N_SLICES)]),
        row_dir=(1, 0, 0), col_dir=(0, 1, 0), slice_mm=10.0, thickness_mm=8.0,
    )  # fmt: skip
    lax = cine_view(
        np.zeros((1, 1, 120, 81), np.uint16), time_ms=[0.0], pixel_mm=(1.0, 1.0),
        position_mm=[[-40.0, 0.0, -30.0]], row_dir=(1, 0, 0), col_dir=(0, 0, 1), slice_mm=np.nan, thickness_mm=6.0,
    )  # fmt: skip
    return {"sax": sax, "lax_4c": lax}


def labels(valve_mm: float, codes: tuple[int, int] = (LV, LA)) -> dict[str, npt.NDArray[np.uint8]]:
    """Both ventricles and a wall in every slice; in the long axis a valve at z = ``valve_mm``."""
    sax = np.zeros((1, N_SLICES, 41, 41), np.uint8)
    sax[:, :, 14:27, 14:27], sax[:, :, 16:25, 16:25], sax[:, :, 16:25, 5:12] = MYOCARDIUM, LV, RV
    lax = np.zeros((1, 1, 120, 81), np.uint8)
    first = int(valve_mm + 30.5)  # the border lies half a row above the first row of the ventricle
    lax[0, 0, first : first + 60, 25:56], lax[0, 0, first - 20 : first, 25:56] = codes
    return {"sax": sax, "lax_4c": lax}


def cut(valve_mm: float, codes: tuple[int, int] = (LV, LA), answer: npt.NDArray[np.uint8] | None = None):  # type: ignore[no-untyped-def]
    given = labels(valve_mm, codes)
    said = np.full((1, N_SLICES, 2), WHOLE, np.uint8) if answer is None else answer
    return given["sax"], cut_at_valves(given, views(), said, np.ones((1, N_SLICES, 2)))


def test_slices_are_ventricle_partly_ventricle_or_beyond() -> None:
    """The valve at z = 7.5: slice 0 lies above, slice 1 is cut 2.5 mm above its middle: 7.5 of its 10 mm count."""
    before, found = cut(7.5)
    assert [SLICE_ANSWERS[int(code)] for code in found.answer[0, :3, 1]] == [
        "slice_beyond_valve", "transition", "ventricle",
    ]  # fmt: skip
    np.testing.assert_allclose(found.share[0, :, 1], [0, 0.75, 1, 1, 1, 1, 1])
    left = found.labels[0, 0]
    assert set(np.unique(left)) == {0, RV}
    np.testing.assert_array_equal(found.labels[0, 1:], before[0, 1:])
    assert found.valves == {"mitral": ["lax_4c"]}


def test_under_half_of_a_cut_slice_does_not_count() -> None:
    """The valve at z = 13.5: the middle of slice 1 lies 3.5 mm above, within half its thickness of 8 mm."""
    _, found = cut(13.5)
    assert SLICE_ANSWERS[int(found.answer[0, 1, 1])] == "slice_under_half"
    np.testing.assert_allclose(found.share[0, :3, 1], [0, 0.15, 1])
    assert not (found.labels[0, 1] == LV).any()


def test_a_slice_that_may_be_half_below_the_plane_stays() -> None:
    """The valve at z = 12.5: the middle of slice 1 lies 2.5 mm above, 3 mm are in doubt; a quarter of it counts."""
    _, found = cut(12.5)
    assert SLICE_ANSWERS[int(found.answer[0, 1, 1])] == "transition"
    np.testing.assert_allclose(found.share[0, :3, 1], [0, 0.25, 1])
    assert (found.labels[0, 1] == LV).any()


def test_readers_draw_the_right_ventricle_somewhat_above_its_valve() -> None:
    """The tricuspid valve at z = 14.5, 7 mm are still drawn: from z = 7.5 on, as above; the LV stays whole."""
    before, found = cut(14.5, (RV, RA))
    np.testing.assert_allclose(found.share[0, :3, 0], [0, 0.75, 1])
    assert (found.labels[0] == RV).any(axis=(1, 2)).tolist() == [False, *[True] * 6]
    np.testing.assert_array_equal(found.labels == LV, before == LV)


def test_what_was_left_out_before_stays_out_and_what_was_uncertain_gets_its_reason() -> None:
    answer = np.full((1, N_SLICES, 2), WHOLE, np.uint8)
    answer[0, :3, 1] = [UNCERTAIN, OPEN, TRANSITION]
    _, found = cut(7.5, answer=answer)
    assert [SLICE_ANSWERS[int(code)] for code in found.answer[0, :3, 1]] == [
        "slice_beyond_valve", "slice_open", "ventricle",
    ]  # fmt: skip


@pytest.mark.parametrize("valve_mm", [27.5, 59.5])
def test_a_plane_through_the_middle_of_the_stack_is_not_believed(valve_mm: float) -> None:
    """Three of seven slices are more than a third."""
    before, found = cut(valve_mm)
    np.testing.assert_array_equal(found.labels, before)
    assert (found.answer == WHOLE).all()


def test_without_a_long_axis_nothing_is_cut() -> None:
    given = labels(7.5)
    said = np.full((1, N_SLICES, 2), WHOLE, np.uint8)
    found = cut_at_valves({"sax": given["sax"]}, {"sax": views()["sax"]}, said, np.ones(said.shape))
    np.testing.assert_array_equal(found.labels, given["sax"])
    assert found.valves == {}
