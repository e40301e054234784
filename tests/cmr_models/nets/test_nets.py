"""The default network and the table of networks."""

import pytest
import torch

from cmr_models.nets import build


def test_logits_have_the_resolution_of_the_image() -> None:
    network = build("unet2d", n_classes=6, widths=[8, 8, 16], blocks=[1, 1, 1]).eval()
    assert network(torch.zeros(2, 1, 32, 64)).shape == (2, 6, 32, 64)


def test_an_image_that_does_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match=r"multiples of 32, got \(48, 64\); pad"):
        build("unet2d")(torch.zeros(1, 1, 48, 64))


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown network kind 'unet9d'"):
        build("unet9d")


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be built with the settings"):
        build("unet2d", depth=3)
