"""Valve planes from labels of long-axis views, on planes whose geometry is worked out by hand."""

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr

from cmr_models.contracts import LA, LV, RA, RV, cine_view
from cmr_models.views.valve_plane import (
    FEWEST_OF_A_CYCLE,
    ValvePlane,
    depth_mm,
    hinge_points_px,
    share_below,
    to_patient_mm,
    valve_plane,
)

Labels = npt.NDArray[np.uint8]


def sax(n_frames: int = 1, n_slices: int = 5) -> xr.Dataset:
    """Planes across z, 10 mm apart, from z = 0 (base) to z = 40, pixels of 2 mm, centred on x = y = 0."""
    return cine_view(
        np.zeros((n_frames, n_slices, 41, 41), np.uint16), time_ms=np.arange(n_frames) * 30.0, pixel_mm=(2.0, 2.0),
        position_mm=np.stack([[-40.0, -40.0, 10.0 * k] for k in range(n_slices)]),
        row_dir=(1, 0, 0), col_dir=(0, 1, 0), slice_mm=10.0, thickness_mm=8.0,
    )  # fmt: skip


def lax(n_frames: int = 1, turned: bool = False) -> xr.Dataset:
    """A long-axis plane through x = y = 0, pixels of 1 mm; rows go down z, columns along x, or along y if turned."""
    along = (0, 1, 0) if turned else (1, 0, 0)
    corner = np.array([0.0, -40.0, -30.0]) if turned else np.array([-40.0, 0.0, -30.0])
    return cine_view(
        np.zeros((n_frames, 1, 100, 81), np.uint16), time_ms=np.arange(n_frames) * 30.0, pixel_mm=(1.0, 1.0),
        position_mm=corner[None], row_dir=along, col_dir=(0, 0, 1), slice_mm=np.nan, thickness_mm=6.0,
    )  # fmt: skip


def chambers(valve_row: int, slope: float = 0.0, half_mm: int = 15, codes: tuple[int, int] = (LV, LA)) -> Labels:
    """Atrium above and ventricle below a border through ``valve_row`` at the middle column: one frame, one slice."""
    rows, cols = np.indices((100, 81))
    below = rows - valve_row - slope * (cols - 40)
    inside = np.abs(cols - 40) <= half_mm
    label = np.zeros((1, 1, 100, 81), np.uint8)
    label[0, 0, inside & (below >= 0) & (below < 50)] = codes[0]
    label[0, 0, inside & (below < 0) & (below >= -20)] = codes[1]
    return label


def test_hinges_are_the_ends_of_the_border_of_two_chambers() -> None:
    found = hinge_points_px(chambers(30)[:, 0], LV, LA)[0]
    # the border's pixels lie in rows 28 to 31 and columns 25 to 55; its ends are the outer 15 % of 30 columns
    np.testing.assert_allclose(found, [[29.5, 27.0], [29.5, 53.0]])
    assert np.isnan(hinge_points_px(np.zeros((1, 9, 9), np.uint8), LV, LA)).all()


def test_a_gap_of_a_pixel_is_a_leaflet_and_one_of_four_is_none() -> None:
    gap = chambers(30)
    gap[0, 0, 29] = 0
    assert np.isfinite(hinge_points_px(gap[:, 0], LV, LA)).all()
    gap[0, 0, 26:30] = 0
    assert np.isnan(hinge_points_px(gap[:, 0], LV, LA)).all()


def test_a_pixel_has_its_place_in_the_patient() -> None:
    np.testing.assert_allclose(to_patient_mm(np.array([30.0, 40.0]), lax()), [0.0, 0.0, 0.0])
    np.testing.assert_allclose(to_patient_mm(np.array([50.0, 45.0]), lax(turned=True)), [0.0, 5.0, 20.0])


def test_the_plane_of_one_view_stands_upright_on_the_image() -> None:
    views = {"sax": sax(), "lax_4c": lax()}
    found = valve_plane("mitral", {"lax_4c": chambers(30)}, views)
    assert found is not None
    np.testing.assert_allclose(found.point_mm[0], [0.0, 0.0, -0.5], atol=1e-9)  # row 29.5 is z = -0.5 mm
    np.testing.assert_allclose(found.towards_apex[0], [0.0, 0.0, 1.0], atol=1e-9)


def test_two_views_tilt_the_plane_in_both_directions() -> None:
    """Slopes 0.3 along x and 0.2 along y: z = 0.3 x + 0.2 y, with the normal (-0.3, -0.2, 1)."""
    views = {"sax": sax(), "lax_4c": lax(), "lax_2c": lax(turned=True)}
    labels = {"lax_4c": chambers(30, 0.3), "lax_2c": chambers(30, 0.2)}
    found = valve_plane("mitral", labels, views)
    assert found is not None
    np.testing.assert_allclose(found.towards_apex[0] / found.towards_apex[0, 2], [-0.3, -0.2, 1.0], atol=0.04)
    assert found.views == ("lax_2c", "lax_4c")


def test_each_valve_has_its_own_chambers() -> None:
    views = {"sax": sax(), "lax_4c": lax()}
    right = {"lax_4c": chambers(35, codes=(RV, RA))}
    assert valve_plane("mitral", right, views) is None
    found = valve_plane("tricuspid", right, views)
    assert found is not None
    np.testing.assert_allclose(found.point_mm[0, 2], 4.5)


@pytest.mark.parametrize(("half_mm", "slope"), [(5, 0.0), (38, 0.0), (15, 1.4)])
def test_what_cannot_be_a_ring_is_no_valve(half_mm: int, slope: float) -> None:
    """8 or 65 mm across, or 54 degrees against the short axis."""
    views = {"sax": sax(), "lax_4c": lax()}
    assert valve_plane("mitral", {"lax_4c": chambers(45, slope, half_mm)}, views) is None


def test_frames_of_another_cine_are_those_of_the_same_part_of_the_cycle() -> None:
    """The valve is at z = frame - 0.5 mm in 20 frames; of ten short-axis frames the fourth (0.3) shows frame 6."""
    moving = np.concatenate([chambers(30 + t) for t in (*range(11), *range(9, 0, -1))])
    views = {"sax": sax(10), "lax_4c": lax(20)}
    found = valve_plane("mitral", {"lax_4c": moving}, views)
    assert found is not None
    np.testing.assert_allclose(found.point_mm[3, 2], 5.5)
    few = {"sax": sax(FEWEST_OF_A_CYCLE - 1), "lax_4c": lax(20)}
    assert valve_plane("mitral", {"lax_4c": moving}, few) is None
    pair = {"sax": sax(2), "lax_4c": lax(2)}
    both = valve_plane("mitral", {"lax_4c": moving[[0, 8]]}, pair)
    assert both is not None
    np.testing.assert_allclose(both.point_mm[:, 2], [-0.5, 7.5])


def test_a_single_frame_that_jumps_does_not_move_the_valve() -> None:
    still = np.concatenate([chambers(30)] * 12)
    still[4] = chambers(44)[0]
    found = valve_plane("mitral", {"lax_4c": still}, {"sax": sax(12), "lax_4c": lax(12)})
    assert found is not None
    np.testing.assert_allclose(found.point_mm[:, 2], -0.5)


def test_a_view_that_shows_the_valve_in_half_of_its_frames_does_not_count() -> None:
    half = np.concatenate([chambers(30)] * 12)
    half[:6] = 0
    assert valve_plane("mitral", {"lax_4c": half}, {"sax": sax(12), "lax_4c": lax(12)}) is None


def test_depth_is_taken_along_the_normal_of_the_slices() -> None:
    """A plane z = 4 + 0.5 x: at the middle the slice at z = 10 lies 6 mm below; 10 mm further in x, 1 mm."""
    normal = np.array([-0.5, 0.0, 1.0]) / np.hypot(0.5, 1.0)
    plane = ValvePlane(np.array([[0.0, 0.0, 4.0]]), normal[None])
    at = np.full((1, 5, 2), 20.0)  # x = y = 0
    np.testing.assert_allclose(depth_mm(sax(), plane, at)[0], [-4.0, 6.0, 16.0, 26.0, 36.0])
    at[0, 1] = [20.0, 25.0]  # x = 10 mm
    at[0, 2] = np.nan  # the foot of the valve's middle: x = 0
    np.testing.assert_allclose(depth_mm(sax(), plane, at)[0, 1:3], [1.0, 16.0])


def test_the_share_of_a_slab_below_the_valve() -> None:
    """Slabs of 10 mm about slices 4 mm above, 2.5 mm and 6 mm below: 1, 7.5 and all 10 mm of them."""
    np.testing.assert_allclose(share_below(np.array([-4.0, 2.5, 6.0, -7.0]), 10.0), [0.1, 0.75, 1.0, 0.0])
