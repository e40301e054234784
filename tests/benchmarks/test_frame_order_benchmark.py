"""The benchmark of frame orders still runs, and counts planes and studies."""

import numpy as np

from benchmarks import frame_order


def _disc(n: int = 20) -> np.ndarray:
    """A disc that shrinks and grows once."""
    rows, cols = np.mgrid[:48, :40]
    radius = 12 - 5 * np.sin(np.pi * np.arange(n) / n) ** 2
    return 600 / (1 + np.exp(np.hypot(rows - 24, cols - 20)[None] - radius[:, None, None]))


def test_planes_and_studies_are_counted_by_order_and_verdict() -> None:
    rows = frame_order.rates([frame_order.Study("discs", [_disc(), _disc()]), frame_order.Study("discs", [_disc()])])
    found = {(row["order"], row["of"]): row for row in rows}
    assert {order for order, _ in found} == {"time", "random", "text", "odd before even"}
    right = {"group": "discs", "order": "time", "supported": 3, "silent": 0, "doubtful": 0, "contradicted": 0}
    assert found["time", "planes"] == {**right, "of": "planes", "n": 3}
    assert found["time", "studies"] == {**right, "of": "studies", "n": 2, "supported": 2}
    assert found["text", "planes"]["contradicted"] == found["odd before even", "planes"]["contradicted"] == 3


def test_simulated_hearts_are_degraded_in_every_way() -> None:
    groups = [study.group for study in frame_order.simulated_studies(1)]
    assert groups == [f"simulated, 8 frames, {how}" for how in frame_order.DEGRADED]
