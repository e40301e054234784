"""A stage stops where so many studies fail without a reason of their own that the fault is not theirs.

An archive that is no longer mounted, a library that is broken, memory that is too small: each study in turn would be
blamed, and thousands quarantined, for what one person can mend at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from cmr_models.reasons import TABLE
from tasks.state.ledger import Outcome

_NOT_ITS_OWN = frozenset({"file_unreadable", "unexpected_error", "worker_lost"})
_ENOUGH = 20  # studies, before a share of them says anything


class Failing:
    """Counts the studies of one stage in one run.

    Args:
        stage: its name.
        allowed: share of them that may fail.
    """

    def __init__(self, stage: str, allowed: float) -> None:
        self._stage, self._allowed = stage, allowed
        self._n = 0
        self._reasons = Counter[str]()

    def count(self, outcomes: Iterable[Outcome]) -> None:
        """Count some more.

        Raises:
            RuntimeError: if too many have failed.
        """
        for outcome in outcomes:
            self._n += 1
            if outcome.reason in _NOT_ITS_OWN:
                self._reasons[outcome.reason] += 1
        failed = self._reasons.total()
        if self._n >= _ENOUGH and failed > self._allowed * self._n:
            reason, _ = self._reasons.most_common(1)[0]
            raise RuntimeError(
                f"{self._stage}: {failed} of {self._n} studies failed, mostly {reason} ({TABLE[reason].sentence}) The"
                " fault is hardly theirs: look for it, then type the same command again. If it is theirs, raise"
                " compute.failing_max"
            )
