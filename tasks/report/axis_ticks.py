"""Round numbers for the axes of drawings."""

from __future__ import annotations

import math

_TICK_STEPS = (1, 2, 2.5, 5, 10)


def nice_ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Evenly spaced round numbers; the first is at or above ``low``, the last at or above ``high``."""
    raw = max(high - low, 1e-9) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in _TICK_STEPS if power * factor >= raw * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 10) for i in range(first, max(last, first + 1) + 1)]
