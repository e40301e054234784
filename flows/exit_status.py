"""Exit statuses of ``cmr-cohort``: each has one row here; documentation and tests go by these rows."""

from __future__ import annotations

import enum
import signal


class ExitStatus(enum.IntEnum):
    """How a command has ended."""

    DONE = 0
    FAILED = 1
    USED_WRONGLY = 2
    SET_ASIDE = 3
    NOT_PROMOTED = 4
    TERMINAL_ENDED = 128 + signal.SIGHUP
    CTRL_C = 128 + signal.SIGINT
    TERMINATED = 128 + signal.SIGTERM

    @property
    def meaning(self) -> str:
        """One phrase, in Markdown."""
        return _MEANINGS[self]


_KEPT = "; all that was finished is kept"
_MEANINGS = {
    ExitStatus.DONE: "done",
    ExitStatus.FAILED: "failed: disk, network, data, or an error of this software",
    ExitStatus.USED_WRONGLY: "used wrongly: an option, a setting, a path or a table",
    ExitStatus.SET_ASIDE: "done, but more studies are quarantined than `compute.set_aside_max` allows",
    ExitStatus.NOT_PROMOTED: "done, but two models differ more than `[compare]` allows, or it cannot be told",
    ExitStatus.TERMINAL_ENDED: f"stopped by the end of the terminal (SIGHUP){_KEPT}",
    ExitStatus.CTRL_C: f"stopped by Ctrl-C{_KEPT}",
    ExitStatus.TERMINATED: f"stopped by SIGTERM{_KEPT}",
}
