"""Labels go where their voxels lie in the body, mean what their codes say, and are left out where these contradict."""

import itertools

import nibabel as nib
import numpy as np
import pytest

from cmr_models.contracts import LV, MYOCARDIUM, RV
from cmr_models.evaluation.reference_codes import is_pool_in_wall, translate_codes
from tasks.convert.nifti import nifti_views
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
