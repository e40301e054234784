"""One whole heartbeat out of a real-time cine that runs over several."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tasks.convert.acquisitions import WHOLE_BEAT

_MOST_BEATS = 1000


def middle_beat(times_ms: npt.NDArray[np.float64], cycle_ms: float) -> npt.NDArray[np.intp]:
    """Images of the middle one of the whole beats: away from the approach to steady state, and from the breath's end.

    Beats are counted from time 0, the R wave, with the RR interval of the header.

    Args:
        times_ms: ``(image,)`` after the first R wave, running on over the beats.
        cycle_ms: RR interval.

    Returns:
        Places in ``times_ms`` in the order of time; none if no beat is whole.
    """
    step_ms = float(np.ptp(times_ms)) / (len(times_ms) - 1)
    beat = np.floor((times_ms + step_ms / 4) / cycle_ms).astype(np.intp)  # a quarter: headers are rounded
    beat -= beat.min()
    frames = np.bincount(np.minimum(beat, _MOST_BEATS))
    whole = np.flatnonzero(frames >= WHOLE_BEAT * cycle_ms / step_ms)
    if not whole.size:
        return np.array([], np.intp)
    members = np.flatnonzero(beat == whole[len(whole) // 2])
    return np.asarray(members[np.argsort(times_ms[members], kind="stable")], np.intp)
