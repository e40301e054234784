"""The scan in shards, and over sites that share sums: the same numbers as in one piece."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cmr_models.association import scan
from cmr_models.association.score_scan_federated import Site, federated_scan
from tasks.analysis.scan_shards import scan_in_shards


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    rng = np.random.default_rng(31)
    n = 900
    z = pd.DataFrame({"age": rng.normal(60, 8, n), "sex": rng.integers(0, 2, n)})
    x = pd.DataFrame({"a": rng.normal(size=n) + z["age"] / 20, "b": rng.normal(500, 30, n), "flat": 2.0})
    chance = 1 / (1 + np.exp(-(-6 + 0.05 * z["age"] + 0.5 * x["a"])))
    y = pd.DataFrame({f"d{j}": (rng.random(n) < chance).astype(float) for j in range(5)})
    y.loc[z["sex"] == 1, "d1"] = np.nan
    y["none"] = 0.0
    times = pd.DataFrame({"death.exit": rng.exponential(size=n), "death.event": rng.integers(0, 2, n)})
    times = times.assign(**{"af.exit": rng.exponential(size=n), "af.event": 1, "af.entry": -1.0})
    return {"x": x, "y": y, "z": z, "times": times}


@pytest.fixture
def paths(tables: dict[str, pd.DataFrame], tmp_path: Path) -> dict[str, Path]:
    for name, table in tables.items():
        table.to_parquet(tmp_path / f"{name}.parquet")
    return {name: tmp_path / f"{name}.parquet" for name in tables}


def test_shards_are_the_scan_in_one_piece(tables: dict[str, pd.DataFrame], paths: dict[str, Path]) -> None:
    whole = scan(tables["x"], tables["y"], tables["z"], family="logistic")
    parts = scan_in_shards(paths["x"], paths["y"], paths["z"], family="logistic", per_shard=2)
    pd.testing.assert_frame_equal(parts[list(whole)], whole, rtol=1e-9)
    assert (parts["q"].notna() == (parts["status"] == "ok")).all()


def test_times_are_sharded_by_outcome(paths: dict[str, Path]) -> None:
    one, two = (scan_in_shards(paths["x"], paths["times"], None, family="cox", per_shard=k) for k in (1, 5))
    pd.testing.assert_frame_equal(one, two)
    assert set(one["outcome"]) == {"death", "af"}
    with pytest.raises(ValueError, match="per_shard"):
        scan_in_shards(paths["x"], paths["y"], None, family="logistic", per_shard=0)


@pytest.mark.parametrize("family", ["logistic", "linear"])
def test_sites_that_share_sums_give_the_pooled_scan(tables: dict[str, pd.DataFrame], family: str) -> None:
    x, y, z = tables["x"], tables["y"], tables["z"]
    pooled = scan(x, y, z, family=family)
    site = np.random.default_rng(1).choice(3, len(x), p=[0.7, 0.25, 0.05])
    sites = [Site(*(part[site == k].to_numpy(float) for part in (x, y, z))) for k in range(3)]
    found = federated_scan(sites, list(x), list(y), family=family)
    pd.testing.assert_frame_equal(found, pooled, rtol=1e-6)
    assert found["z"].abs().max() > 3


def test_sites_that_differ_are_refused(tables: dict[str, pd.DataFrame]) -> None:
    x, y, z = (tables[name].to_numpy(float) for name in "xyz")
    with pytest.raises(ValueError, match="same exposures"):
        federated_scan([Site(x, y, z), Site(x[:, :1], y, z)], ["a"], ["d"], family="linear")
    with pytest.raises(ValueError, match="needs at least one site"):
        federated_scan([], ["a"], ["d"], family="linear")
