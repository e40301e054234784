"""Every stage that works study by study, in the order in which ``run`` brings the studies through.

To add one: a module with its :class:`~tasks.execution.stage.Stage`, an entry here, and a line in ``flows/cohort.py``
(``docs/add_a_stage.md``). Planning, ``status``, ``verify``, withdrawal and the report find it here.
"""

from __future__ import annotations

from tasks.convert.convert_stage import CONVERT
from tasks.derive.derive_stage import DERIVE
from tasks.derive.perfusion_stage import PERFUSION
from tasks.execution.stage import Stage
from tasks.inference.predict_stage import PREDICT
from tasks.inference.segment_stage import SEGMENT

STAGES: tuple[Stage, ...] = (CONVERT, SEGMENT, DERIVE, PERFUSION, PREDICT)
FIRST = STAGES[0]


def stage_named(name: str) -> Stage | None:
    """The stage that ``name`` in a ledger stands for; None if no stage of this version has that name."""
    return next((stage for stage in STAGES if stage.owns(name)), None)
