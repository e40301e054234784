"""Where the command begins: a signal while Python is still importing it ends it in one line too.

It may be started in a folder that others can write into, or in one that was delivered: no process of it imports a
module that lies there.
"""

from __future__ import annotations

import os
import signal
from types import FrameType

_STDERR = 2


def main() -> None:
    """The command ``cmr-cohort``."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # ignored after nohup
            signal.signal(number, _end)
    os.environ["PYTHONSAFEPATH"] = "1"  # of processes that it starts; Python looks in the working directory first
    from flows.cli import main as command

    command()


def _end(number: int, _frame: FrameType | None) -> None:
    os.write(_STDERR, b"\nstopped before anything had begun\n")
    os._exit(128 + number)
