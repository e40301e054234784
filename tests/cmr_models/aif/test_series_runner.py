"""Perfusion networks run on the device that is asked for, in float32, loaded once."""

import numpy as np
import pytest
import torch

from cmr_models import zoo
from cmr_models.aif import detect
from cmr_models.aif.series_runner import shared_runner
from cmr_models.perfusion import quantify
from cmr_models.perfusion.segmentation import segment

SERIES = np.random.default_rng(0).uniform(0, 100, (64, 64, 20))


@pytest.mark.parametrize("task", ["aif_detect", "perfusion_segment"])
def test_a_runner_gives_the_probabilities_of_the_bare_network_in_float32(task: str) -> None:
    runner = shared_runner("default", task, "cpu")
    network, card = zoo.load("default", task)
    image = torch.rand(runner.bins + 1, card.size, card.size, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        bare = network(image[None])[0].softmax(0)
    assert runner.precision == torch.float32
    torch.testing.assert_close(runner.probabilities(image), bare)
    assert runner is shared_runner("default", task, "cpu")


def test_the_device_that_is_asked_for_is_the_one_that_is_used() -> None:
    for run in (
        lambda: detect(SERIES, device="nowhere"),
        lambda: segment(SERIES, 1.0, 1.8, device="nowhere"),
    ):
        with pytest.raises(RuntimeError, match="nowhere"):
            run()


def test_quantify_fits_on_the_device_that_is_asked_for() -> None:
    aif = np.concatenate([np.zeros(8), 5 * np.exp(-np.arange(32) / 4.0)])
    aif[8:11] = (2.0, 4.0, 5.0)
    tissue = np.broadcast_to(0.1 * np.cumsum(aif) / 10, (2, 2, 40))
    assert np.isfinite(quantify(tissue, aif, 1.0, foot=7, device="cpu")["mbf_ml_min_g"].values).all()
    with pytest.raises(RuntimeError, match="nowhere"):
        quantify(tissue, aif, 1.0, foot=7, device="nowhere")
