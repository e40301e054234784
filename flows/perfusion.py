"""The perfusion flow: first-pass series -> flow maps, segments and tables; cheap where nobody has any."""

from __future__ import annotations

from prefect import flow

from flows import planning
from flows.settings import CohortSettings
from flows.stages import bring_through
from tasks.state.ledger import open_ledger


@flow(name="perfusion", validate_parameters=False)
def perfusion(settings: CohortSettings) -> int:
    """Perfusion views of every study -> maps, AHA segments, phenotypes."""
    with open_ledger(settings.cohort.ledger) as ledger:
        return bring_through(planning.perfused(settings, ledger), settings, ledger)
