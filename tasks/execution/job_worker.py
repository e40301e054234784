"""The worker of a job on a node that it may share with others: it spills into a folder of its own.

    python -m tasks.execution.job_worker MODULE ARGUMENT...

runs the command MODULE of Dask with its arguments; where it would have put its files, the folder is made.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

from tasks.execution.scratch import own_scratch

_OPTION = "--local-directory"


def main(arguments: list[str]) -> None:
    """Run the worker; its folder is gone when it ends."""
    module, *given = arguments
    place, others = _place(given)
    with own_scratch(place) as folder:
        sys.argv = [module, *others, _OPTION, str(folder)]
        runpy.run_module(module, run_name="__main__", alter_sys=True)


def _place(arguments: list[str]) -> tuple[Path | None, list[str]]:
    """The folder that the arguments name, the last if they name several, and the other arguments."""
    place, others = None, list[str]()
    words = iter(arguments)
    for word in words:
        if word == _OPTION:
            place = Path(next(words, ""))
        elif word.startswith(f"{_OPTION}="):
            place = Path(word.partition("=")[2])
        else:
            others.append(word)
    return place, others


if __name__ == "__main__":
    main(sys.argv[1:])
