"""A cohort in shards, without any server or scheduler: an immutable plan, one process a shard, and the merge.

A shard brings its studies through every stage by the same functions into the same files as a run, and keeps a ledger
of its own, for no two shards may write into one. What starts them (SLURM, WDL, DNAnexus) is made of the plan.
"""

from tasks.batch.engines import ENGINES, write_engine
from tasks.batch.merging import merge
from tasks.batch.shard_plan import Part, ShardPlan, open_plan, publish_plan, unfinished_plans
from tasks.batch.shard_run import run_shard

__all__ = [
    "ENGINES",
    "Part",
    "ShardPlan",
    "merge",
    "open_plan",
    "publish_plan",
    "run_shard",
    "unfinished_plans",
    "write_engine",
]
