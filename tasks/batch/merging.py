"""What the shards of a plan have found, brought into the cohort's ledger."""

from __future__ import annotations

from tasks.batch.shard_plan import ShardPlan, ranges
from tasks.state.ledger import Ledger, Outcome, open_ledger
from tasks.state.mistakes import UserMistake
from tasks.state.run_log import tell_studies


def check_ended(plan: ShardPlan) -> None:
    """Every shard has ended.

    Raises:
        UserMistake: if not; the message has the numbers of those that have not.
    """
    if missing := plan.missing:
        raise UserMistake(
            f"{len(missing)} of {plan.n_shards} shards have not ended: {ranges(missing)}; run them"
            f" (`cmr-cohort shard run DIR --index {missing[0]} --plan {plan.digest}`), then finish again"
        )


def merge(plan: ShardPlan, ledger: Ledger) -> int:
    """Record in ``ledger`` what the shards did, and how fast; returns the number of outcomes.

    Doing it twice is harmless. An outcome that a shard was given with its plan is not recorded again.
    """
    n = 0
    for index in range(plan.n_shards):
        given = {(row.study, row.stage): row for row in plan.part(index).rows}
        with open_ledger(plan.ledger(index), is_new=False) as shard:
            news = [
                outcome
                for stage in shard.stages()
                for outcome in shard.outcomes(stage)
                if given.get((outcome.study, stage)) != outcome
            ]
            for stage in shard.stages():
                for recipe in reversed(shard.recipes(stage)):
                    ledger.remember_recipe(stage, recipe)
            speeds = shard.speeds()
        ledger.record(_not_there(news, ledger))
        tell_studies(news)
        for speed in speeds:
            ledger.remember_speed(speed)
        n += len(news)
    return n


def _not_there(outcomes: list[Outcome], ledger: Ledger) -> list[Outcome]:
    """Those that an earlier merge, which was killed, has not recorded."""
    known = {study: ledger.rows(study) for study in {outcome.study for outcome in outcomes}}
    return [o for o in outcomes if o.stage not in known[o.study] or known[o.study][o.stage][0] != o]
