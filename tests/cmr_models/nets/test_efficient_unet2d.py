"""The U-Net on a published encoder."""

import matplotlib.cbook
import numpy as np
import pytest
import torch
from matplotlib.image import imread
from torch import nn
from torch.nn import functional as F

from cmr_models.nets import build
from cmr_models.nets.efficient_unet2d import encoder_state, load_encoder
from tasks.training.published_encoder import efficientnet_lite0


def test_logits_have_the_resolution_of_the_image() -> None:
    network = build("efficient_unet2d", n_classes=6).eval()
    assert network(torch.zeros(2, 1, 32, 48)).shape == (2, 6, 32, 48)


def test_an_image_that_does_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match=r"multiples of 16, got \(40, 64\); pad"):
        build("efficient_unet2d")(torch.zeros(1, 1, 40, 64))


def test_it_needs_a_width_for_each_resolution() -> None:
    with pytest.raises(ValueError, match="five widths, one for each resolution, got 3"):
        build("efficient_unet2d", widths=[8, 8, 8])


def test_the_published_encoder_finds_in_a_photograph_what_it_was_trained_to_find() -> None:
    """What enters each normalisation has about the mean and the spread of the published training: with a layer in the
    wrong place, another activation or a colour left out it has not.
    """
    network = build("efficient_unet2d")
    load_encoder(network, efficientnet_lite0())
    distances = []

    def compare(layer: nn.BatchNorm2d, entering: tuple[torch.Tensor], _: torch.Tensor) -> None:
        mean, variance = entering[0].mean((0, 2, 3)), entering[0].var((0, 2, 3))
        assert layer.running_mean is not None
        assert layer.running_var is not None
        alive = layer.running_var > 1e-6
        distances.append(float(((mean - layer.running_mean) / layer.running_var.sqrt())[alive].abs().median()))
        distances.append(float((variance / layer.running_var)[alive].log().abs().median()))

    for name, layer in network.named_modules():
        if name.startswith(("stem", "blocks")) and isinstance(layer, nn.BatchNorm2d):
            layer.register_forward_hook(compare)
    photograph = imread(matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)).astype(np.float32)
    grey = torch.from_numpy(photograph.mean(-1) - 127)[None, None] / 128
    with torch.inference_mode():
        network.eval()(F.interpolate(grey, (224, 224)))
    assert len(distances) == 2 * 33
    assert max(distances) < 0.6
    assert np.median(distances) < 0.3


def test_weights_of_another_network_are_refused() -> None:
    with pytest.raises(ValueError, match=r"do not fit: 164 missing \['stem.1.weight'"):
        load_encoder(build("efficient_unet2d"), {"stem.0.weight": torch.zeros(32, 1, 3, 3)})
    with pytest.raises(KeyError, match="_conv_stem"):
        encoder_state({})


def test_in_training_the_encoder_is_precise_where_gradients_in_low_precision_are_slow() -> None:
    torch.manual_seed(0)
    unit = build("efficient_unet2d").stem.train()
    image = torch.rand(2, 1, 16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        trained, exact = unit[0](image), torch.nn.functional.conv2d(image, unit[0].weight, stride=2, padding=1)
        assert unit[0](image.bfloat16()).dtype == torch.bfloat16
        assert unit.eval()[0](image).dtype == exact.dtype == torch.bfloat16
    torch.testing.assert_close(
        trained, torch.nn.functional.conv2d(image, unit[0].weight, stride=2, padding=1), rtol=0, atol=0
    )
