"""Profiles: what a job script asks for, and what an unknown name says."""

import pytest

from tasks.execution.cluster import open_client, slurm_cluster


def test_in_process_means_no_client() -> None:
    with open_client("in-process") as client:
        assert client is None


def test_an_unknown_profile_is_named_with_the_choices() -> None:
    with pytest.raises(ValueError, match=r"unknown profile 'slrum'.*slurm"), open_client("slrum"):
        pass


@pytest.mark.filterwarnings("ignore")
def test_a_slurm_job_asks_for_what_the_profile_says() -> None:
    pytest.importorskip("dask_jobqueue")
    import tomllib
    from pathlib import Path

    profile = tomllib.loads((Path(__file__).parents[3] / "infra/profiles/slurm.toml").read_text())["compute"]
    cluster = slurm_cluster(profile["cluster"])
    try:
        script = cluster.job_script()
    finally:
        cluster.close()
    for line in ("#SBATCH -p gpu", "#SBATCH --gres=gpu:1", "#SBATCH -t 08:00:00", "--nthreads 1", "--lifetime 7h45m"):
        assert line in script
