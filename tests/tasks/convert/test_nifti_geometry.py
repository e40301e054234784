"""NIfTI headers that contradict themselves are read by rule and flagged, or refused by a reason of their own."""

import gzip
import struct
from collections.abc import Callable

import nibabel as nib
import numpy as np
import pytest
import xarray as xr

from cmr_models.reasons import StudyRejected
from tasks.convert.nifti import nifti_views, read_volume
from tasks.sources.limits import Budget

_SHAPE = (24, 20, 12)
_MM = (1.5, 1.25, 8.0)
_DIM, _BITS, _PIXDIM, _OFFSET, _UNITS, _QFORM, _SFORM, _ROWS = 40, 72, 76, 108, 123, 252, 254, 280
"""Where fields lie in the header (nifti1.h)."""


def _heart(frames: int = 1, shape: tuple[int, int, int] = _SHAPE) -> np.ndarray:
    """A pool that beats and tapers: neighbouring slices differ more than neighbouring frames."""
    x, y, z, t = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), np.arange(frames) / frames, indexing="ij")
    radius = (0.7 - 0.4 * (z + 1) / 2) * (0.85 + 0.15 * np.cos(2 * np.pi * t))
    values = (900 / (1 + np.exp(20 * (np.hypot(x, y) - radius))) + 60 * np.sin(9 * z + 4 * x)).clip(0).astype(np.int16)
    return values if frames > 1 else values[..., 0]


def _oblique() -> np.ndarray:
    """Rotation (RAS) of a stack from base to apex."""
    along = np.array([-0.6, 0.62, -0.5])
    across = np.cross(along, (0.0, 0.0, 1.0))
    columns = [across, np.cross(along, across), along]
    return np.stack([column / np.linalg.norm(column) for column in columns], axis=1)


def _file(
    values: np.ndarray | None = None,
    *,
    sform: np.ndarray | None = None,
    pixdim: tuple[float, ...] = (*_MM, 0.03),
    unit: int = 2 + 8,
    qform: int = 0,
    change: Callable[[bytearray], None] = lambda content: None,
) -> bytes:
    """An exact header, as ``struct`` writes it: nibabel would repair what is wrong.

    ``sform`` is the rotation with the voxel size; by default the oblique one of ``_MM``.
    """
    values = _heart() if values is None else values
    content = bytearray(nib.Nifti1Image(values, np.eye(4)).to_bytes())
    matrix = _oblique() * _MM if sform is None else sform
    struct.pack_into("<4f", content, _PIXDIM + 4, *(*pixdim, 0.0)[:4])
    struct.pack_into("<B", content, _UNITS, unit)
    struct.pack_into("<2h", content, _QFORM, qform, 1)
    for k in range(3):
        struct.pack_into("<4f", content, _ROWS + 16 * k, *matrix[k], 5.0 * k)
    change(content)
    return bytes(content)


def _far_apart() -> np.ndarray:
    """Two frames of a heart that differ by a fifth of what its slices do."""
    stack = _heart().astype(np.int16)
    return np.stack([stack, (stack * 0.98).astype(np.int16)], axis=-1)


def _view(content: bytes, name: str = "sax_t.nii") -> xr.Dataset:
    views = nifti_views({name: content}, Budget(n_packed=10**6))
    return next(iter(views.values()))


def _sizes(view: xr.Dataset) -> list[float]:
    return [*view["pixel_mm"].values[::-1], view.attrs["slice_mm"]]


def _put(fmt: str, place: int, *values: float) -> Callable[[bytearray], None]:
    return lambda content: struct.pack_into(fmt, content, place, *values)


def test_a_header_without_contradiction_has_no_flag() -> None:
    view = _view(_file(_heart(12)))
    np.testing.assert_allclose(_sizes(view), _MM, rtol=1e-6)
    assert view.attrs["flags"] == []
    np.testing.assert_allclose(view["time_ms"], 30.0 * np.arange(12), rtol=1e-6)


_ROTATION = _oblique()
_LEANING = _ROTATION @ np.array([[1.0, 0.3, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
_SHEARED = _LEANING / np.linalg.norm(_LEANING, axis=0) * _MM
"""Voxels of the right size, with rows and columns at 73 degrees."""
_TAKEN = {
    "sform of unit length": (_file(sform=_ROTATION), ["affine_without_scale"]),
    "sform of unit length and no rotation, as in ACDC": (
        _file(sform=np.diag([-1.0, -1.0, 1.0]), unit=0),
        ["affine_without_scale", "orientation_unstated"],
    ),
    "pixdim of ones": (_file(pixdim=(1.0, 1.0, 1.0, 1.0)), ["pixdim_unset"]),
    "pixdim of zeros": (_file(pixdim=(0.0, 0.0, 0.0, 0.0)), ["pixdim_unset"]),
    "pixdim not a number": (_file(pixdim=(np.nan, np.nan, np.nan, 0.0)), ["pixdim_unset"]),
    "negative pixdim": (_file(pixdim=(-1.5, 1.25, 8.0)), ["pixdim_negative"]),
    "sform without the distance of planes": (_file(sform=_ROTATION * (1.5, 1.25, 1.0)), ["spacing_disagrees"]),
    "pixdim without the distance of planes": (_file(pixdim=(1.5, 1.25, 1.0)), ["spacing_disagrees"]),
    "pixdim in another order": (_file(pixdim=(8.0, 1.25, 1.5)), ["spacing_disagrees"]),
    "sform in cm, pixdim in mm": (_file(sform=_ROTATION * _MM / 10), ["spacing_disagrees"]),
    "metres": (_file(sform=_ROTATION * _MM / 1000, pixdim=(0.0015, 0.00125, 0.008), unit=1), []),
    "metres called mm": (
        _file(sform=_ROTATION * _MM / 1000, pixdim=(0.0015, 0.00125, 0.008)),
        ["unit_corrected"],
    ),
    "mm called metres": (_file(unit=1), ["unit_corrected"]),
    "mm called micrometres": (_file(unit=3), ["unit_corrected"]),
    "micrometres": (_file(sform=_ROTATION * _MM * 1000, pixdim=(1500.0, 1250.0, 8000.0), unit=3), []),
    "no unit": (_file(unit=0), []),
    "no code": (_file(change=_put("<2h", _QFORM, 0, 0)), ["orientation_unstated"]),
    "a quaternion that is none beside an sform": (
        _file(qform=1, change=_put("<3f", 256, 3, 3, 3)),
        ["affine_unusable"],
    ),
    "negative pixdim and sform of unit length": (
        _file(sform=_ROTATION, pixdim=(-1.5, -1.25, -8.0)),
        ["affine_without_scale", "pixdim_negative"],
    ),
    "negative pixdim, no code": (
        _file(pixdim=(-1.5, 1.25, 8.0), change=_put("<2h", _QFORM, 0, 0)),
        ["orientation_unstated", "pixdim_negative"],
    ),
    "two axes in one beside a qform": (_file(sform=(_ROTATION * _MM)[:, [0, 0, 2]], qform=1), ["affine_unusable"]),
    "a sheared sform beside a qform": (_file(sform=_SHEARED, qform=1), ["affine_unusable"]),
    "pixels said to begin at the start of the header": (_file(change=_put("<f", _OFFSET, 0.0)), []),
    "left-handed": (_file(sform=_ROTATION * _MM * (-1, 1, 1)), []),
    "qform and sform turned against each other": (_file(qform=1), ["orientation_disagrees"]),
}


@pytest.mark.parametrize("case", _TAKEN)
def test_the_size_that_a_heart_can_have_is_taken_and_flagged(case: str) -> None:
    content, flags = _TAKEN[case]
    view = _view(content)
    np.testing.assert_allclose(_sizes(view), _MM, rtol=1e-5)
    assert view.attrs["flags"] == flags


_REFUSED = {
    "two sizes, both possible": (_file(pixdim=(1.5, 1.25, 10.0)), "spacing_contradictory"),
    "two pixel sizes, both possible": (_file(pixdim=(1.7, 1.25, 8.0)), "spacing_contradictory"),
    "one millimetre throughout": (_file(sform=_ROTATION, pixdim=(1.0, 1.0, 1.0)), "geometry_implausible"),
    "centimetres": (_file(sform=_ROTATION * _MM / 10, pixdim=(0.15, 0.125, 0.8)), "geometry_implausible"),
    "a voxel of 1e9": (_file(sform=_ROTATION * 1e9, pixdim=(1e9, 1e9, 1e9)), "geometry_implausible"),
    "no number in the affine": (_file(sform=np.full((3, 3), np.nan)), "geometry_missing"),
    "an infinite affine": (_file(sform=np.full((3, 3), np.inf)), "geometry_missing"),
    "an affine of zeros": (_file(sform=np.zeros((3, 3))), "geometry_missing"),
    "two axes in one": (_file(sform=(_ROTATION * _MM)[:, [0, 0, 2]]), "geometry_missing"),
    "no code, no size": (_file(pixdim=(0, 0, 0), change=_put("<2h", _QFORM, 0, 0)), "geometry_missing"),
    "a quaternion that is none": (
        _file(change=lambda c: (_put("<2h", _QFORM, 1, 0)(c), _put("<3f", 256, 3, 3, 3)(c))),
        "geometry_missing",
    ),
    "rows and columns not at right angles": (_file(sform=_SHEARED), "affine_sheared"),
    "a slope without end": (_file(change=_put("<2f", 112, np.inf, 0.0)), "rescale_invalid"),
    "an intercept that is no number": (_file(change=_put("<2f", 112, 2.0, np.nan)), "rescale_invalid"),
    "slices 8 mm apart, 300 of them": (_file(_heart(shape=(12, 12, 300))), "geometry_implausible"),
    "frames for columns": (
        _file(np.moveaxis(_heart(8, (64, 64, 12)), 3, 0), pixdim=(1.5, 1.5, 8.0), sform=_ROTATION * (1.5, 1.5, 8.0)),
        "axes_exchanged",
    ),
    "frames for columns, in pixdim too": (
        _file(np.moveaxis(_heart(8, (64, 64, 12)), 3, 0), pixdim=(0.1, 1.5, 1.5, 8.0), sform=_ROTATION),
        "axes_exchanged",
    ),
    "frames for slices": (_file(np.swapaxes(_heart(20), 2, 3)), "axes_exchanged"),
    "two frames for slices": (_file(np.swapaxes(_far_apart(), 2, 3)), "axes_exchanged"),
    "vectors": (
        _file(np.stack([_heart()] * 3, axis=-1)[:, :, :, None], change=_put("<h", 68, 1007)),
        "nifti_unsupported",
    ),
    "a frame too few in dim": (_file(_heart(6), change=_put("<h", _DIM + 8, 5)), "nifti_size_differs"),
    "three dimensions of four": (_file(_heart(6), change=_put("<h", _DIM, 3)), "nifti_size_differs"),
    "a frame too many in dim": (_file(_heart(6), change=_put("<h", _DIM + 8, 7)), "nifti_corrupt"),
    "eight bits of sixteen": (_file(change=_put("<2h", 70, 2, 8)), "nifti_size_differs"),
}


@pytest.mark.parametrize("case", _REFUSED)
def test_what_cannot_be_decided_is_refused_by_name(case: str) -> None:
    content, reason = _REFUSED[case]
    with pytest.raises(StudyRejected, match=reason):
        _view(content)


def test_a_long_axis_cine_without_an_axis_of_slices_is_refused() -> None:
    mm = (1.5, 1.25, 8.0)
    with pytest.raises(StudyRejected, match="axes_exchanged"):
        _view(_file(_heart(25)[:, :, 3], pixdim=mm), "lax_4c_t.nii")


@pytest.mark.parametrize("axis", [0, 1])
def test_slices_along_another_axis_are_put_in_order(axis: int) -> None:
    values = np.moveaxis(_heart(5, (24, 24, 12)), 2, axis)
    order = np.argsort([k for k in (0, 1, 2) if k != axis] + [axis])
    mm = np.array([1.5, 1.5, 8.0])[order]
    view = _view(_file(values, sform=(_ROTATION[:, order] * mm), pixdim=(*mm, 0.06)))
    assert view["intensity"].shape == (5, 12, 24, 24)
    np.testing.assert_allclose(_sizes(view), (1.5, 1.5, 8.0), rtol=1e-5)
    assert view.attrs["flags"] == ["axes_permuted"]
    np.testing.assert_array_equal(view["intensity"].values, _heart(5, (24, 24, 12)).T)


@pytest.mark.parametrize(
    ("step", "code", "flags"),
    [
        (0.03, 8, []), (30.0, 16, []), (30_000.0, 24, []), (0.03, 0, []),
        (30.0, 8, ["time_unit_corrected"]), (0.03, 16, ["time_unit_corrected"]), (30.0, 0, ["time_unit_corrected"]),
    ],
)  # fmt: skip
def test_times_are_in_the_unit_in_which_the_frames_are_a_cycle(step: float, code: int, flags: list[str]) -> None:
    view = _view(_file(_heart(25), pixdim=(*_MM, step), unit=2 + code))
    np.testing.assert_allclose(view["time_ms"], 30.0 * np.arange(25), rtol=1e-5)
    assert view.attrs["heart_rate_bpm"] == pytest.approx(80.0, rel=1e-5)
    assert view.attrs["flags"] == flags


@pytest.mark.parametrize("pixdim", [(0.03, 1.0), (0.03, 0.0), (1.0, 0.03), (0.0, 0.03)])
def test_frames_along_the_fifth_axis_are_frames(pixdim: tuple[float, float]) -> None:
    content = _file(_heart(25)[:, :, :, None], pixdim=_MM, change=_put("<2f", _PIXDIM + 16, *pixdim))
    view = _view(content)
    np.testing.assert_array_equal(view["intensity"].values, _heart(25).T)
    np.testing.assert_allclose(view["time_ms"], 30.0 * np.arange(25), rtol=1e-5)
    assert view.attrs["flags"] == ["axes_permuted"]


@pytest.mark.parametrize(("step", "code"), [(1.0, 8), (0.0, 8), (np.nan, 8), (-0.03, 8), (0.03, 32)])
def test_times_are_unknown_where_no_unit_makes_a_cycle(step: float, code: int) -> None:
    view = _view(_file(_heart(25), pixdim=(*_MM, step), unit=2 + code))
    assert np.isnan(view["time_ms"]).all()
    assert np.isnan(view.attrs["heart_rate_bpm"])


@pytest.mark.parametrize(("qfac", "sign"), [(0.0, 1), (1.0, 1), (-1.0, -1), (np.nan, 1), (7.0, 1)])
def test_a_qform_is_left_handed_only_where_its_factor_is_negative(qfac: float, sign: int) -> None:
    image = nib.Nifti1Image(_heart(), np.eye(4))
    scanner = np.eye(4)
    scanner[:3, :3] = _ROTATION * _MM
    image.set_qform(scanner, 1)
    content = bytearray(image.to_bytes())
    struct.pack_into("<h", content, _SFORM, 0)
    struct.pack_into("<f", content, _PIXDIM, qfac)
    step = np.diff(read_volume(bytes(content), Budget(n_packed=10**6)).position_mm[:2], axis=0)[0]
    np.testing.assert_allclose(step, sign * 8.0 * _ROTATION[:, 2] * (-1, -1, 1), atol=1e-4)


@pytest.mark.parametrize("bare", [np.diag([-1.0, -1.0, 1.0]), np.eye(3)])
def test_an_sform_that_nobody_set_gives_way_to_the_qform(bare: np.ndarray) -> None:
    image = nib.Nifti1Image(_heart(), np.eye(4))
    scanner, unset = np.eye(4), np.eye(4)
    scanner[:3, :3], unset[:3, :3] = _ROTATION * _MM, bare
    image.set_qform(scanner, 1)
    image.set_sform(unset, 1)
    view = _view(image.to_bytes())
    np.testing.assert_allclose(view["row_dir"].values[0], _ROTATION[:, 0] * (-1, -1, 1), atol=1e-5)
    np.testing.assert_allclose(_sizes(view), _MM, rtol=1e-5)
    assert view.attrs["flags"] == ["affine_without_scale"]


def test_orientation_of_an_atlas_gives_way_to_that_of_the_scanner() -> None:
    image = nib.Nifti1Image(_heart(), np.eye(4))
    scanner, atlas = np.eye(4), np.eye(4)
    scanner[:3, :3], atlas[:3, :3] = _ROTATION * _MM, np.diag(_MM)
    image.set_qform(scanner, 1)
    image.set_sform(atlas, 4)
    view = _view(image.to_bytes())
    np.testing.assert_allclose(view["row_dir"].values[0], _ROTATION[:, 0] * (-1, -1, 1), atol=1e-5)
    assert view.attrs["flags"] == ["orientation_disagrees"]


def test_without_an_orientation_slices_stay_in_the_order_of_the_file() -> None:
    for up in (1.0, -1.0):
        view = _view(_file(sform=np.diag([-1.0, -1.0, up])))
        np.testing.assert_array_equal(view["intensity"].values[0, 0], _heart()[:, :, 0].T)


def test_byte_order_version_and_packing_do_not_change_what_is_read() -> None:
    plain = _file(_heart(12))
    affine = nib.Nifti1Image.from_bytes(plain).affine
    big = nib.Nifti1Image(_heart(12).astype(">i2"), affine, nib.Nifti1Header(endianness=">"))
    second = nib.Nifti2Image(_heart(12), affine)
    for image in (big, second):
        image.header.set_zooms((*_MM, 0.03))
        image.header.set_xyzt_units("mm", "sec")
    members = gzip.compress(plain[:5000]) + gzip.compress(plain[5000:])
    for content in (big.to_bytes(), second.to_bytes(), members, gzip.compress(plain) + bytes(512)):
        found, wanted = _view(content), _view(plain)
        np.testing.assert_array_equal(found["intensity"].values, wanted["intensity"].values)
        np.testing.assert_allclose(found["position_mm"].values, wanted["position_mm"].values, atol=1e-3)
        assert found.attrs["flags"] == []


def test_the_slope_of_the_header_scales_the_values() -> None:
    view = _view(_file(change=_put("<2f", 112, 0.5, -10.0)))
    restored = view["intensity"].values * view.attrs["intensity_scale"] + view.attrs["intensity_offset"]
    np.testing.assert_allclose(restored[0], _heart().T * 0.5 - 10.0, atol=0.06)


@pytest.mark.parametrize("far", [1e9, -1e9])
@pytest.mark.parametrize("kind", [np.float32, np.int32])
def test_one_voxel_far_out_does_not_hide_the_rest(far: float, kind: type) -> None:
    values = _heart().astype(kind)
    values[3, 4, 5] = far
    view = _view(_file(values))
    restored = view["intensity"].values[0] * view.attrs["intensity_scale"] + view.attrs["intensity_offset"]
    apart = np.abs(restored - _heart().T)
    apart[5, 4, 3] = 0
    assert apart.max() <= 0.01 * _heart().max()
    assert view.attrs["flags"] == ["pixel_outlier"]


def test_a_large_range_that_many_voxels_fill_is_kept() -> None:
    values = _heart().astype(np.float32) * 1e6
    view = _view(_file(values))
    restored = view["intensity"].values[0] * view.attrs["intensity_scale"] + view.attrs["intensity_offset"]
    np.testing.assert_allclose(restored, values.T, atol=float(values.max()) / 4095)
    assert view.attrs["flags"] == []


@pytest.mark.parametrize(
    "other",
    [_file(sform=_ROTATION * (1.6, 1.25, 8.0), pixdim=(1.6, 1.25, 8.0)), _file(sform=_ROTATION[:, [1, 0, 2]] * _MM)],
)
def test_frames_of_another_pixel_size_or_direction_are_refused(other: bytes) -> None:
    with pytest.raises(StudyRejected, match="frame_grids_differ"):
        nifti_views({"sax_ed.nii": _file(), "sax_es.nii": other}, Budget(n_packed=10**6))


def test_single_frames_are_ordered_by_number_and_not_as_text() -> None:
    files = {f"p_frame{k}.nii": _file(_heart(12)[..., k - 1]) for k in (10, 2, 1)}
    view = nifti_views(files, Budget(n_packed=10**6))["sax"]
    assert view.attrs["frame_names"] == ["frame1", "frame2", "frame10"]


def test_the_same_frame_twice_is_taken_once_or_refused() -> None:
    same = {"sax_ed.nii": _file(), "sa_ED.nii.gz": gzip.compress(_file()), "sax_es.nii": _file(_heart() + np.int16(1))}
    assert nifti_views(same, Budget(n_packed=10**6))["sax"].attrs["frame_names"] == ["ed", "es"]
    for name in ("sa_ED.nii", "sax_t.nii"):
        files = {"sax_ed.nii": _file(), "sax_4d.nii": _file(_heart(12)), name: _file(_heart(12) // 2)}
        if name == "sa_ED.nii":
            files = {"sax_ed.nii": _file(), name: _file(_heart() // 2)}
        with pytest.raises(StudyRejected, match="frame_twice"):
            nifti_views(files, Budget(n_packed=10**6))


def test_four_axes_are_frames_whatever_the_header_means_by_them() -> None:
    view = _view(_file(_heart(12), change=_put("<h", 68, 1007)))
    assert view.sizes["frame"] == 12


def test_pixels_begin_where_the_header_says_beyond_extensions() -> None:
    plain = _file(_heart(12))
    extended = bytearray(plain[:352] + bytes(range(64)) + plain[352:])
    struct.pack_into("<f", extended, _OFFSET, 352.0 + 64)
    np.testing.assert_array_equal(_view(bytes(extended))["intensity"].values, _view(plain)["intensity"].values)
