"""Settings of a process that works on a cohort, made once where it starts: by the command line, or in a Dask worker.

No module changes the process when it is imported, and no class when it is constructed. Without these settings every
function gives the same results, but networks are slower on a processor.
"""

from __future__ import annotations

from cmr_models.zoo.process_memory import keep_freed_memory, share_one_arena


def prepare_process() -> None:
    """Let the process reuse the memory that it frees, and its threads allocate from one arena.

    It can be called any number of times. Threads that already run may keep an arena of their own, so call it before
    they start.
    """
    share_one_arena()
    keep_freed_memory()
