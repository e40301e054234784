"""Overlap and surface distance are MONAI's; scipy's for the distance where MONAI is not installed."""

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.distance import directed_hausdorff

from cmr_models.evaluation import dice, hausdorff_95_mm, intersection_over_union
from cmr_models.evaluation.overlap import _surface

_SPACING = (10.0, 1.4, 1.2)


def _blobs(seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [ndimage.gaussian_filter(rng.normal(size=(6, 40, 36)), (1, 4, 4)) > 0.05 for _ in range(2)]


@pytest.mark.filterwarnings("ignore::FutureWarning:monai")
@pytest.mark.parametrize("seed", range(4))
def test_overlap_and_distance_equal_monai(seed: int) -> None:
    metrics = pytest.importorskip("monai.metrics", reason="MONAI is not installed")
    torch = pytest.importorskip("torch")
    ours, theirs = _blobs(seed)
    a, b = (torch.from_numpy(mask[None, None].astype(np.float32)) for mask in (ours, theirs))
    assert dice(ours, theirs) == pytest.approx(float(metrics.DiceMetric()(a, b)), abs=1e-6)
    assert intersection_over_union(ours, theirs) == pytest.approx(float(metrics.MeanIoU()(a, b)), abs=1e-6)
    distance = metrics.compute_hausdorff_distance(a, b, include_background=True, percentile=95, spacing=_SPACING)
    assert hausdorff_95_mm(ours, theirs, _SPACING) == pytest.approx(float(distance), rel=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_the_percentile_never_exceeds_scipys_whole_distance_and_is_symmetric(seed: int) -> None:
    ours, theirs = _blobs(seed)
    points = [np.argwhere(_surface(mask)) * _SPACING for mask in (ours, theirs)]
    whole = max(directed_hausdorff(*points)[0], directed_hausdorff(*points[::-1])[0])
    found = hausdorff_95_mm(ours, theirs, _SPACING)
    assert 0 < found <= whole
    assert found == hausdorff_95_mm(theirs, ours, _SPACING)
    padded = [np.pad(mask, 5) for mask in (ours, theirs)]
    assert hausdorff_95_mm(*padded, _SPACING) == pytest.approx(found)
