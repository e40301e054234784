"""A scan of many phenotypes over many outcomes, in shards of outcomes: the Python entry for scans over a cluster.

No command calls it. ``scan_in_shards`` runs in this process or over Dask workers, with the same rows in the same order.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from cmr_models.association import scan
from cmr_models.association.multiplicity import adjust
from tasks.execution.cluster import open_client
from tasks.state.parquet_tables import read_table

Family = Literal["linear", "logistic", "cox"]


def scan_in_shards(
    exposures: Path,
    outcomes: Path,
    covariates: Path | None,
    *,
    family: Family,
    per_shard: int = 64,
    profile: str = "in-process",
    options: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """Scan tables that every worker can read, and adjust for multiplicity over all of them.

    Args:
        exposures, outcomes, covariates: Parquet tables with the same people in the same rows; the outcomes of the
            Cox family have three columns each, ``<name>.exit``, ``<name>.event`` and perhaps ``<name>.entry``.
        family: as for :func:`cmr_models.association.scan`.
        per_shard: outcomes a shard.
        profile: of :func:`tasks.execution.cluster.open_client`; ``options`` are its.

    Raises:
        ValueError: as the scan; ``per_shard`` under 1.
    """
    import pyarrow.parquet as pq

    if per_shard < 1:
        raise ValueError(f"per_shard must be 1 or more, got {per_shard}")
    columns = pq.read_schema(outcomes).names
    names = list(dict.fromkeys(name.rsplit(".", 1)[0] for name in columns)) if family == "cox" else columns
    shards = [names[start : start + per_shard] for start in range(0, len(names), per_shard)]
    fixed = (exposures, outcomes, covariates, family)
    with open_client(profile, dict(options or {}), shared=exposures.parent) as client:
        if client is None:
            parts = [scan_shard(*fixed, shard) for shard in shards]
        else:
            parts = client.gather([client.submit(scan_shard, *fixed, shard, pure=False) for shard in shards])
    return adjust(pd.concat(parts, ignore_index=True))


def scan_shard(
    exposures: Path, outcomes: Path, covariates: Path | None, family: Family, names: list[str]
) -> pd.DataFrame:
    """The scan of some outcomes; work for one worker."""
    x = read_table(exposures)
    z = None if covariates is None else read_table(covariates)
    if family != "cox":
        return scan(x, read_table(outcomes, columns=names), z, family=family)
    table = read_table(outcomes)
    kinds = ("exit", "event", "entry")
    times = {
        name: pd.DataFrame({kind: table[f"{name}.{kind}"] for kind in kinds if f"{name}.{kind}" in table})
        for name in names
    }
    return scan(x, times, z, family=family)
