"""The plugin that prepares the process of every Dask worker."""

from __future__ import annotations

from distributed import Worker, WorkerPlugin

from tasks.execution.process import prepare_process


class PreparedProcess(WorkerPlugin):
    """Calls :func:`tasks.execution.process.prepare_process` in every worker, present and future."""

    name = "cmr-cohort-process"

    def setup(self, worker: Worker) -> None:
        """Prepare the process of ``worker``."""
        prepare_process()
