"""Run ``cmr-cohort`` in this process and kill it, as ``kill -9`` would, at a chosen moment.

python killed_at.py publishing NAME N ARGUMENTS...   before the N-th time that a file or folder NAME is put in its place
python killed_at.py calling MODULE.FUNCTION N ARGUMENTS...   before the N-th call of a function
"""

import importlib
import itertools
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def main() -> None:
    """See the module."""
    moment, what, nth, *arguments = sys.argv[1:]
    if moment == "publishing":
        calls = itertools.count(1)
        for name in ("replace", "rename"):
            setattr(os, name, _deadly(getattr(os, name), lambda _, new: Path(new).name == what, calls, int(nth)))
    else:
        module_name, _, name = what.rpartition(".")
        module = importlib.import_module(module_name)
        setattr(module, name, _deadly(getattr(module, name), lambda *_: True, itertools.count(1), int(nth)))
    from flows.cli import main as cmr_cohort

    cmr_cohort(arguments)


def _deadly(
    function: Callable[..., Any], concerns: Callable[..., bool], calls: "itertools.count[int]", nth: int
) -> Any:
    def wrapped(*arguments: Any, **options: Any) -> Any:
        if concerns(*arguments) and next(calls) == nth:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)

    return wrapped


if __name__ == "__main__":
    main()
