"""ConvViT: classes, scalars or landmark coordinates from one or more cine views, through CineMA's encoder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cmr_models.nets.multi_view import prepare, real_tokens
from cmr_models.nets.vit import Encoder, Fusion, TokenConfig, Tokeniser, init_weights, run_in_float32

POOLS = ("all", "patch", "cls")


@dataclass(frozen=True, kw_only=True)
class ConvViTConfig(TokenConfig):
    """Settings of :class:`ConvViT`; the frames (end-diastole first) are the channels of the input."""

    out_chans: int
    n_frames: int = 1
    pool: str = "all"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pool not in POOLS:
            raise ValueError(f"pool must be one of {POOLS}, got {self.pool!r}")


class ConvViT(nn.Module):
    """Any non-empty subset of the views to one vector: the mean of linear read-outs, one a view and one of
    the class token. A view that is missing leaves the mean; it is not replaced.
    """

    def __init__(self, config: ConvViTConfig) -> None:
        super().__init__()
        self.config = config
        self.in_chans = config.n_frames * config.in_chans
        self.enc_down_dict = nn.ModuleDict({v: Tokeniser(config, v, self.in_chans) for v in config.views})
        self.enc_fusion_dict = nn.ModuleDict({v: Fusion(config, v) for v in config.views})
        self.encoder = Encoder(config)
        self.pred_head_dict = nn.ModuleDict(
            {name: nn.Linear(config.dims.width, config.out_chans) for name in (*config.views, "cls")}
        )
        self.apply(init_weights)

    def forward(self, images: Mapping[str, Tensor], n_slices: Tensor | None = None) -> Tensor:
        """Logits, standardised values, or coordinates as fractions of the image size.

        Args:
            images: view to (B, n_frames x channels, X, Y[, Z]), scaled to 0..1; smaller ones are zero-padded.
            n_slices: (B,) scanned short-axis slices, to keep padding out of convolutions, attention and mean;
                None treats padding as black image, as published.

        Returns:
            (B, out_chans).

        Raises:
            ValueError: see :func:`cmr_models.nets.multi_view.prepare`.
        """
        images = prepare(images, self.config, self.in_chans)
        real = real_tokens(images, self.config, n_slices)
        embedded = {v: self.enc_down_dict[v](image, None if real is None else real[v]) for v, image in images.items()}
        attend = None if real is None else [mask.flatten(1) > 0 for mask in real.values()]
        cls, encoded = self.encoder([tokens for tokens, _ in embedded.values()], attend)
        readouts: list[Tensor] = []
        if self.config.pool != "cls":
            for view, tokens in zip(images, encoded, strict=True):
                fused = self.enc_fusion_dict[view](tokens, embedded[view][1])  # (B, N, D)
                pooled = _mean(fused, None if real is None else real[view])
                readouts.append(run_in_float32(self.pred_head_dict[view], pooled))
        if self.config.pool != "patch":
            readouts.append(run_in_float32(self.pred_head_dict["cls"], cls[:, 0]))
        return torch.stack(readouts).mean(0)


def _mean(tokens: Tensor, real: Tensor | None) -> Tensor:
    """(B, N, D) to (B, D), over the tokens where ``real`` (B, 1, grid) is 1."""
    if real is None:
        return tokens.mean(1)
    weight = real.flatten(1)[..., None]  # (B, N, 1)
    return (tokens * weight).sum(1) / weight.sum(1)
