"""NIfTI in the names of the public data sets becomes views in LPS."""

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmr_models.reasons import StudyRejected
from tasks.convert.nifti import nifti_views, read_volume
from tasks.sources.limits import Budget, Limits
from tasks.sources.nifti_names import parse_name

_AFFINE = np.array([[-0.48, 0.68, -5.56, 81], [0, 0.63, 7.74, -149], [0.88, -0.37, -3.02, 93], [0, 0, 0, 1]])
_REASONS = (
    "nifti_corrupt", "nifti_unsupported", "nifti_size_differs",
    "geometry_missing", "geometry_implausible", "spacing_contradictory", "affine_sheared", "rescale_invalid",
    "axes_exchanged",
)  # fmt: skip


def _file(values: np.ndarray, affine: np.ndarray = _AFFINE, interval: float = 0.03) -> bytes:
    exact = affine.copy()
    exact[:3, 1] = np.cross(exact[:3, 2], exact[:3, 0])
    exact[:3, :3] /= np.linalg.norm(exact[:3, :3], axis=0)
    exact[:3, :3] *= [1.5, 1.25, 10.0]
    image = nib.Nifti1Image(values, exact)
    if values.ndim == 4:
        image.header.set_zooms((*image.header.get_zooms()[:3], interval))
    image.header.set_xyzt_units("mm", "sec")
    return gzip.compress(image.to_bytes())


def _volume(seed: int = 0, shape: tuple[int, ...] = (8, 7, 9)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 900, shape, dtype=np.int16)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("patient001_4d.nii.gz", ("patient001", "", "4d", True)),
        ("patient001_frame01.nii.gz", ("patient001", "", "frame01", True)),
        ("patient001_frame01_gt.nii.gz", ("patient001", "", "frame01", False)),
        ("A0S9V9_sa.nii.gz", ("A0S9V9", "sax", "", True)),
        ("A0S9V9_sa_gt.nii.gz", ("A0S9V9", "sax", "", False)),
        ("001_SA_ED.nii.gz", ("001", "sax", "ed", True)),
        ("001_LA_ES.nii.gz", ("001", "lax_4c", "es", True)),
        ("sax_t.nii.gz", ("", "sax", "t", True)),
        ("lax_4c_ed.nii.gz", ("", "lax_4c", "ed", True)),
        ("la_2ch.nii.gz", ("", "lax_2c", "", True)),
        ("seg_sa_ED.nii.gz", ("", "sax", "ed", False)),
        ("segmentation_ED.nii.gz", ("", "", "ed", False)),
    ],
)
def test_names_of_public_data_sets_are_understood(name: str, expected: tuple[str, str, str, bool]) -> None:
    assert tuple(parse_name(name)) == expected


def test_single_frames_become_a_cine_of_two() -> None:
    ed, es = _volume(1), _volume(2)
    views = nifti_views({"sax_es.nii.gz": _file(es), "sax_ed.nii.gz": _file(ed)}, Budget(n_packed=10**6))
    stored = views["sax"]["intensity"].values
    assert stored.shape == (2, 9, 7, 8)
    np.testing.assert_array_equal(stored[0, 0], ed[:, :, 0].T)
    np.testing.assert_array_equal(stored[1, 8], es[:, :, 8].T)
    assert np.isnan(views["sax"]["time_ms"]).all()


def test_a_cine_has_times_and_a_heart_rate() -> None:
    view = nifti_views({"p_4d.nii.gz": _file(_volume(shape=(8, 7, 9, 30)))}, Budget(n_packed=10**6))["sax"]
    np.testing.assert_allclose(view["time_ms"], 30.0 * np.arange(30), rtol=1e-5)
    assert view.attrs["heart_rate_bpm"] == pytest.approx(60_000 / 900, rel=1e-5)


def test_the_cine_is_preferred_to_frames_of_it() -> None:
    files = {"p_4d.nii.gz": _file(_volume(shape=(8, 7, 9, 12))), "p_frame01.nii.gz": _file(_volume())}
    assert nifti_views(files, Budget(n_packed=10**6))["sax"].sizes["frame"] == 12


def test_every_voxel_keeps_its_place_in_the_patient() -> None:
    content = _file(_volume())
    affine = nib.Nifti1Image.from_bytes(gzip.decompress(content)).affine
    view = nifti_views({"sax_ed.nii.gz": content}, Budget(n_packed=10**6))["sax"]
    i, j, k = 5, 3, 6
    ours = (
        view["position_mm"].values[k]
        + view["row_dir"].values[k] * i * view["pixel_mm"].values[1]
        + view["col_dir"].values[k] * j * view["pixel_mm"].values[0]
    )
    np.testing.assert_allclose(ours, (affine @ [i, j, k, 1])[:3] * [-1, -1, 1], atol=1e-3)
    assert view.attrs["slice_mm"] == pytest.approx(10.0, rel=1e-4)


def test_a_stack_from_the_apex_is_turned_to_start_at_the_base() -> None:
    forward, values = _file(_volume()), _volume()
    affine = _AFFINE.copy()
    affine[:3, 2] *= -1
    affine[:3, 0] *= -1
    turned = nifti_views({"sax_ed.nii.gz": _file(values, affine)}, Budget(n_packed=10**6))["sax"]
    plain = nifti_views({"sax_ed.nii.gz": forward}, Budget(n_packed=10**6))["sax"]
    np.testing.assert_array_equal(turned["intensity"].values[0, 0], values[:, :, 8].T)
    np.testing.assert_array_equal(plain["intensity"].values[0, 0], values[:, :, 0].T)


def test_directions_of_dicom_that_were_written_into_nifti_are_noticed() -> None:
    exchanged = np.diag([-1.0, -1.0, 1.0, 1.0]) @ _AFFINE
    exchanged[:3, 0] *= -1
    view = nifti_views({"sax_ed.nii.gz": _file(_volume(), exchanged)}, Budget(n_packed=10**6))["sax"]
    np.testing.assert_array_equal(view["intensity"].values[0, 0], _volume()[:, :, 0].T)
    assert view.attrs["flags"] == ["orientation_exchanged"]


@pytest.mark.parametrize(
    "values", [_volume().astype(np.float32) / 7, _volume() - np.int16(400), _volume().astype(np.uint8)]
)
def test_stored_levels_give_the_values_back(values: np.ndarray) -> None:
    view = nifti_views({"sax_ed.nii.gz": _file(values)}, Budget(n_packed=10**6))["sax"]
    stored = view["intensity"].values[0, :, :, :].astype(float)
    restored = stored * view.attrs["intensity_scale"] + view.attrs["intensity_offset"]
    np.testing.assert_allclose(restored, values.T, atol=float(np.ptp(values)) / 4095)


def test_labels_alone_are_no_study() -> None:
    with pytest.raises(StudyRejected, match="wrong_series"):
        nifti_views({"seg_sa.nii.gz": _file(_volume())}, Budget(n_packed=10**6))


def test_frames_on_different_grids_are_refused() -> None:
    other = _AFFINE.copy()
    other[:3, 3] += 30
    files = {"sax_ed.nii.gz": _file(_volume()), "sax_es.nii.gz": _file(_volume(), other)}
    with pytest.raises(StudyRejected, match="frame_grids_differ"):
        nifti_views(files, Budget(n_packed=10**6))


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.98])
def test_a_file_that_is_cut_off_is_corrupt(share: float) -> None:
    content = _file(_volume())
    with pytest.raises(StudyRejected, match="nifti_corrupt"):
        read_volume(content[: int(share * len(content))], Budget(n_packed=10**6))


def test_dimensions_of_length_one_are_no_dimensions() -> None:
    values = np.stack([_volume()] * 6, axis=-1)
    plain, deeper = (read_volume(_file(v), Budget(n_packed=10**6)) for v in (values, values[..., None, None]))
    np.testing.assert_array_equal(deeper.values, plain.values)


@pytest.mark.parametrize(
    "values",
    [
        _volume()[..., 0],
        np.zeros((4, 4, 3, 2, 2), np.int16),
        np.zeros((4, 4, 3, 1, 2, 2), np.int16),
        _volume().astype(np.complex64),
        np.zeros((4, 4, 3), [("R", "u1"), ("G", "u1"), ("B", "u1")]),
    ],
    ids=["flat", "five", "six", "complex", "colour"],
)
def test_what_is_no_series_of_volumes_is_unsupported(values: np.ndarray) -> None:
    with pytest.raises(StudyRejected, match="nifti_unsupported"):
        read_volume(nib.Nifti1Image(values, np.eye(4)).to_bytes(), Budget(n_packed=10**6))


def test_pixels_that_are_no_number_are_flagged() -> None:
    values = _volume().astype(np.float32)
    flags = []
    for there in (values, np.where(values > 100, values, np.nan), np.full_like(values, np.inf)):
        flags.append(nifti_views({"sax_ed.nii.gz": _file(there)}, Budget(n_packed=10**6))["sax"].attrs["flags"])
    assert flags == [[], ["pixel_not_finite"], ["pixel_not_finite"]]


def test_a_file_that_inflates_beyond_the_limit_is_refused() -> None:
    with pytest.raises(StudyRejected, match="nifti_too_large"):
        read_volume(_file(_volume()), Budget(Limits(max_image_bytes=500)))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 360), st.integers(0, 255)), max_size=5), st.integers(0, 1400))
def test_any_damage_gives_a_volume_or_a_reason(changes: list[tuple[int, int]], length: int) -> None:
    content = bytearray(gzip.decompress(_file(_volume(shape=(4, 4, 3)))))
    for place, value in changes:
        content[place % len(content)] = value
    reason = "nifti_corrupt"
    try:
        read_volume(bytes(content[: length or len(content)]), Budget(n_packed=10**6))
    except StudyRejected as rejected:
        reason = rejected.reason
    assert reason in _REASONS


def test_real_files_of_two_public_sets_convert(real_data: Path) -> None:
    folder = real_data / "cinema_nifti" / "mnms2"
    views = nifti_views({p.name: p.read_bytes() for p in folder.glob("*.nii.gz")}, Budget(n_packed=10**6))
    assert {name: tuple(view["intensity"].shape) for name, view in views.items()} == {
        "sax": (2, 12, 192, 192),
        "lax_4c": (2, 1, 256, 256),
    }
    assert "orientation_exchanged" in views["sax"].attrs["flags"]
    folder = real_data / "autofd_nifti" / "A"
    views = nifti_views({p.name: p.read_bytes() for p in folder.glob("*.nii.gz")}, Budget(n_packed=10**6))
    assert views["sax"]["intensity"].shape == (1, 12, 123, 123)
    assert views["sax"].attrs["slice_mm"] == pytest.approx(10.0, rel=1e-4)
