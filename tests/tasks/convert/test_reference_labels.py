"""Labels go where their voxels lie in the body, mean what their codes say, and are left out where these contradict."""

import io
import itertools

import nibabel as nib
import numpy as np
import pytest

from cmr_models.contracts import LV, MYOCARDIUM, RV
from cmr_models.evaluation.reference_codes import is_pool_in_wall, translate_codes
from tasks.convert.nifti import nifti_views
from tasks.convert.nifti_pairs import joined
from tasks.convert.reference_labels import Referenced, with_labels
from tasks.sources.limits import Budget

_AFFINE = np.diag([-1.5, -1.25, -8.0, 1.0])  # from base to apex, as slices are published
_AFFINE[:3, 3] = (40.0, 30.0, -20.0)
_SHAPE = (40, 36, 6)
_ACDC = {RV: 1, MYOCARDIUM: 2, LV: 3}


def _heart() -> np.ndarray:
    """A round pool of radius 6 in a wall of 3, and a crescent on one side of it, in the package's codes."""
    x, y = np.meshgrid(np.arange(_SHAPE[0]), np.arange(_SHAPE[1]), indexing="ij")
    radius, beside = np.hypot(x - 24, y - 17), np.hypot(x - 17, y - 18)
    plane = np.select([radius <= 6, radius <= 9, beside <= 9], [LV, MYOCARDIUM, RV], 0).astype(np.uint8)
    stack = np.repeat(plane[..., None], _SHAPE[2], axis=2)
    stack[:2, 0, 3] = RV  # a mark that no mirror image has
    return stack


def _with_labels(values: np.ndarray, affine: np.ndarray = _AFFINE) -> Referenced:
    image = np.random.default_rng(1).integers(0, 900, _SHAPE, dtype=np.int16)
    images = {"p_sa.nii": nib.Nifti1Image(image, _AFFINE).to_bytes()}
    labels = {"p_sa_gt.nii": nib.Nifti1Image(values, affine).to_bytes()}
    return with_labels(nifti_views(images, Budget(n_packed=10**6)), labels, images, "acdc", {}, Budget(n_packed=10**6))


def _orders() -> list[tuple[tuple[int, int], tuple[bool, bool, bool]]]:
    return list(itertools.product([(0, 1), (1, 0)], itertools.product([False, True], repeat=3)))


@pytest.mark.parametrize(("axes", "flips"), _orders())
def test_labels_stored_along_other_axes_lie_on_the_same_voxels(
    axes: tuple[int, int], flips: tuple[bool, bool, bool]
) -> None:
    turned = nib.Nifti1Image(_heart(), _AFFINE).as_reoriented(
        np.array(
            [[axes.index(0), -1 if flips[0] else 1], [axes.index(1), -1 if flips[1] else 1], [2, 1 - 2 * flips[2]]]
        )
    )
    found = _with_labels(np.asarray(turned.dataobj), turned.affine)
    assert found.faults == []
    expected = _with_labels(_heart()).views["sax"]["labels"].values
    np.testing.assert_array_equal(found.views["sax"]["labels"].values, expected)
    assert (expected == _heart().T[None]).all()


def test_labels_beside_their_image_are_left_out() -> None:
    moved = _AFFINE.copy()
    moved[1, 3] += 1.25  # one pixel
    assert [fault["reason"] for fault in _with_labels(_heart(), moved).faults] == ["label_grid_mismatch"]
    assert [fault["reason"] for fault in _with_labels(_heart()[:-1]).faults] == ["label_grid_mismatch"]


def test_codes_that_a_scaling_moved_are_those_next_to_them_and_interpolated_ones_are_none() -> None:
    assert translate_codes(np.array([0.9999, 2.0004, 3.0, -1e-6]), "acdc").tolist() == [RV, MYOCARDIUM, LV, 0]
    for between in (0.5, 2.9, np.nan, np.inf):
        with pytest.raises(ValueError, match="unknown label codes"):
            translate_codes(np.array([0.0, between]), "acdc")
    assert _with_labels(_heart() * np.float32(0.9999)).faults == []


@pytest.mark.parametrize("codes", list(itertools.permutations((1, 2, 3))))
def test_codes_of_another_convention_are_noticed(codes: tuple[int, int, int]) -> None:
    given = np.array([0, *codes], np.uint8)[_heart()]
    reasons = [fault["reason"] for fault in _with_labels(given).faults]
    assert reasons == ([] if codes == (1, 2, 3) else ["label_codes_exchanged"])


def test_labels_without_a_wall_or_with_a_small_pool_tell_nothing() -> None:
    heart = _heart()
    assert is_pool_in_wall(np.where(heart == MYOCARDIUM, 0, heart).T)
    assert is_pool_in_wall(np.where(heart == RV, 0, heart).T)
    assert is_pool_in_wall(np.array([[[LV, RV, MYOCARDIUM]]]))
    assert not is_pool_in_wall(np.where(heart == LV, RV, np.where(heart == RV, LV, heart)).T)


# forms in which labels come: the volume of the left pool by hand, or the name of the fault

_POOL_ML = 113 * 6 * 1.5 * 1.25 * 8 / 1000
"""In each of 6 planes 113 voxels lie within 6 of the middle one (Gauss's circle problem, N(6))."""
_MNMS = np.array([0, 3, 2, 1])
"""Code of ACDC -> code of M&Ms."""


def _cine(n_frames: int) -> np.ndarray:
    frames = np.random.default_rng(2).integers(0, 900, (*_SHAPE, n_frames), dtype=np.int16)
    return (frames[..., :1] + frames // 9)[..., 0 if n_frames == 1 else slice(None)]


def _found(labels: dict[str, bytes], image: str, n_frames: int, data_set: str = "acdc") -> tuple[dict[int, float], str]:
    """Frame -> volume of its left pool (mL), and the faults."""
    images = {image: nib.Nifti1Image(_cine(n_frames), _AFFINE).to_bytes()}
    views = nifti_views(images, Budget(n_packed=10**6))
    found = with_labels(views, labels, images, data_set, {}, Budget(n_packed=10**6))
    view = found.views["sax"]
    voxel_ml = float(view["pixel_mm"].values.prod()) * view.attrs["slice_mm"] / 1000
    drawn = np.flatnonzero(view["labelled"].values).tolist() if "labels" in view else []
    volumes = {frame: voxel_ml * int((view["labels"].values[frame] == LV).sum()) for frame in drawn}
    return volumes, ",".join(fault["reason"] for fault in found.faults)


def _label(values: np.ndarray, affine: np.ndarray = _AFFINE) -> bytes:
    return nib.Nifti1Image(values, affine).to_bytes()


def _in_frames(plane: np.ndarray, frames: tuple[int, ...], n_frames: int) -> np.ndarray:
    """A 4-D file of which some frames are drawn."""
    return np.stack([plane * (k in frames) for k in range(n_frames)], axis=-1)


def _acdc() -> np.ndarray:
    return np.array([0, *(_ACDC[code] for code in (1, 2, 3))], np.int16)[_heart()]


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_codes_are_the_same_in_numbers_of_any_kind(kind: type[np.number]) -> None:
    volumes, faults = _found({"patient001_frame01_gt.nii": _label(_acdc().astype(kind))}, "patient001_frame01.nii", 1)
    assert (volumes, faults) == ({0: pytest.approx(_POOL_ML)}, "")


def test_codes_stored_by_a_slope_are_those_that_it_gives() -> None:
    scaled = nib.Nifti1Image((_acdc() * 50).astype(np.uint8), _AFFINE)
    scaled.header.set_slope_inter(0.02, 0.0)
    content = bytearray(scaled.to_bytes())
    content[112:120] = np.array([0.02, 0.0], np.float32).tobytes()  # scl_slope, scl_inter
    content[352:] = (_acdc() * 50).astype(np.uint8).tobytes(order="F")
    volumes, faults = _found({"patient001_frame01_gt.nii": bytes(content)}, "patient001_frame01.nii", 1)
    assert (volumes, faults) == ({0: pytest.approx(_POOL_ML)}, "")


def test_frames_of_a_cine_in_which_nothing_was_drawn_have_no_labels() -> None:
    for name, image, codes, data_set in (
        ("patient001_4d_gt.nii", "patient001_4d.nii", _acdc(), "acdc"),
        ("A0S9V9_sa_gt.nii", "A0S9V9_sa.nii", _MNMS[_acdc()].astype(np.int16), "mnms"),
    ):
        volumes, faults = _found({name: _label(_in_frames(codes, (0, 4), 12))}, image, 12, data_set)
        assert (volumes, faults) == ({0: pytest.approx(_POOL_ML), 4: pytest.approx(_POOL_ML)}, "")


def test_single_frames_go_to_the_frame_of_their_number_or_are_left_out() -> None:
    label = _label(_acdc())
    two = {f"patient001_frame{k:02d}_gt.nii": label for k in (1, 5)}
    assert _found(two, "patient001_4d.nii", 12)[0].keys() == {0, 4}
    assert _found({"patient001_frame13_gt.nii": label}, "patient001_4d.nii", 12) == ({}, "label_frame_unmatched")
    # one drawn frame beside a whole cine, or two, do not say of which frames they are
    one = {"A0S9V9_sa_gt.nii": _label(_MNMS[_acdc()].astype(np.int16))}
    assert _found(one, "A0S9V9_sa.nii", 12, "mnms") == ({}, "label_frame_unmatched")
    both = {"patient001_4d_gt.nii": _label(_in_frames(_acdc(), (0, 1), 2))}
    assert _found(both, "patient001_4d.nii", 12) == ({}, "label_frame_unmatched")


@pytest.mark.parametrize("n_frames", [1, 3, 4, 12])
def test_classes_in_channels_are_no_frames(n_frames: int) -> None:
    image = "patient001_4d.nii" if n_frames > 1 else "patient001_frame01.nii"
    name = image.replace(".nii", "_gt.nii")
    channels = np.stack([_acdc() == code for code in range(4)], axis=-1).astype(np.uint8)
    for values in (channels, channels[..., 1:], channels[:, :, :, None], channels.astype(np.float32)):
        assert _found({name: _label(values)}, image, n_frames) == ({}, "label_channels")
    vector = nib.Nifti1Image(channels[:, :, :, None], _AFFINE)
    vector.header.set_intent("vector")
    colours = np.zeros(_SHAPE, np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))
    for content in (vector.to_bytes(), nib.Nifti1Image(colours, _AFFINE).to_bytes()):
        assert _found({name: content}, image, n_frames) == ({}, "label_channels")


def test_a_mask_of_one_structure_does_not_tell_which() -> None:
    for name, data_set in (("patient001_frame01", "acdc"), ("A0S9V9_sa", "mnms")):
        mask = {f"{name}_gt.nii": _label((_acdc() == 3).astype(np.uint8))}
        assert _found(mask, f"{name}.nii", 1, data_set) == ({}, "label_class_single")
    moving = _in_frames((_acdc() == 3).astype(np.uint8), (0, 1, 2), 3)  # frames share voxels: these are no channels
    assert _found({"patient001_4d_gt.nii": _label(moving)}, "patient001_4d.nii", 3) == ({}, "label_class_single")


def test_codes_of_the_other_convention_are_left_out_in_either_set() -> None:
    acdc, mnms = _label(_in_frames(_acdc(), (0,), 3)), _label(_in_frames(_MNMS[_acdc()].astype(np.int16), (0,), 3))
    assert _found({"patient001_4d_gt.nii": mnms}, "patient001_4d.nii", 3) == ({}, "label_codes_exchanged")
    assert _found({"A0S9V9_sa_gt.nii": acdc}, "A0S9V9_sa.nii", 3, "mnms") == ({}, "label_codes_exchanged")
    grey = _label((_acdc() * 85).astype(np.uint8))
    assert _found({"patient001_frame01_gt.nii": grey}, "patient001_frame01.nii", 1) == ({}, "label_class_unknown")


def test_labels_on_a_finer_grid_or_without_an_affine_are_left_out() -> None:
    finer = _AFFINE @ np.diag([0.5, 0.5, 1, 1])
    finer[:3, 3] = _AFFINE[:3, 3] - (_AFFINE[:3, 0] + _AFFINE[:3, 1]) / 4  # the same place, four voxels for one
    doubled = _acdc().repeat(2, axis=0).repeat(2, axis=1)
    fewer = _AFFINE.copy()
    fewer[:3, 3] += _AFFINE[:3, 2]
    for content in (
        _label(doubled, finer),
        _label(_acdc(), np.eye(4)),
        _label(_acdc()[:, :, 1:5], fewer),
        _label(_acdc()[::-1], _AFFINE @ np.diag([-1, 1, 1, 1])),  # mirrored beside its image
    ):
        found = _found({"patient001_frame01_gt.nii": content}, "patient001_frame01.nii", 1)
        assert found == ({}, "label_grid_mismatch")


def test_labels_in_two_files_are_read_as_those_in_one() -> None:
    pair = nib.Nifti1Pair(_acdc(), _AFFINE)
    header, image = io.BytesIO(), io.BytesIO()
    files = {"header": nib.FileHolder(fileobj=header), "image": nib.FileHolder(fileobj=image)}
    pair.to_file_map(files)
    label = joined({"patient001_frame01_gt.hdr": header.getvalue(), "patient001_frame01_gt.img": image.getvalue()})
    volumes, faults = _found(label, "patient001_frame01.nii", 1)
    assert (volumes, faults) == ({0: pytest.approx(_POOL_ML)}, "")
