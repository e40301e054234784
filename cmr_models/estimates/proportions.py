"""The interval of a proportion."""

from __future__ import annotations

import numpy as np
from scipy import stats

_Z95 = float(stats.norm.ppf(0.975))


def wilson_interval(successes: float, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a proportion.

    Reference:
        Wilson 1927, 10.1080/01621459.1927.10502953.
    """
    share, z2 = successes / n, _Z95**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z95 / (1 + z2 / n) * np.sqrt(share * (1 - share) / n + z2 / (4 * n**2))
    return float(centre - half), float(centre + half)
