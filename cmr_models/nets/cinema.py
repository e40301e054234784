"""CineMA: a masked autoencoder over all cine views of a heart (Fu et al., Communications Medicine 2026).

Each view is tokenised by convolutions that see only the visible quarter of its tokens; the visible tokens of all
views share one encoder; hidden tokens ask the visible ones by cross-attention what they look like (CrossMAE).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cmr_models.nets.multi_view import prepare, real_tokens
from cmr_models.nets.vit import (
    Block,
    Encoder,
    Fusion,
    TokenConfig,
    Tokeniser,
    init_weights,
    patchify,
    position_embedding,
    run,
    take,
)


@dataclass(frozen=True, kw_only=True)
class CineMAConfig(TokenConfig):
    """Settings of :class:`CineMA`."""

    mask_ratio: float = 0.75
    drop_path: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 < self.mask_ratio < 1.0:
            raise ValueError(f"mask_ratio must lie between 0 and 1, got {self.mask_ratio}")

    def n_visible(self, view: str) -> int:
        """Tokens of ``view`` left visible: the ratio rounded down, as published."""
        return int(math.prod(self.grid(view)) * (1.0 - self.mask_ratio))


class DecoderEmbed(nn.Module):
    """Positions of the decoder and the learned token of a hidden patch, for one view."""

    def __init__(self, config: CineMAConfig, view: str) -> None:
        super().__init__()
        width = config.dims.decoder_width
        self.pos_embed = position_embedding(config.grid(view), width)
        self.mask_token = nn.Parameter(0.02 * torch.randn(1, 1, width))

    def forward(self, tokens: Tensor, visible: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Visible tokens (B, K, D) and the indices (B, K), (B, H) to placed visible and hidden tokens."""
        position = self.pos_embed.expand(tokens.shape[0], -1, -1)  # (B, N, D)
        return tokens + take(position, visible), self.mask_token + take(position, hidden)


class Decoder(nn.Module):
    """Cross-attention from the class token and all hidden tokens to the visible tokens."""

    def __init__(self, config: CineMAConfig) -> None:
        super().__init__()
        size = config.dims
        self.grad_ckpt = config.grad_ckpt
        self.blocks = nn.ModuleList(
            Block(size.decoder_width, size.decoder_heads, config.drop_path) for _ in range(size.decoder_depth)
        )
        self.norm = nn.LayerNorm(size.decoder_width)

    def forward(self, query: Tensor, context: Tensor, attend: Tensor | None) -> Tensor:
        """(B, 1 + H, D) and (B, K, D) to hidden tokens (B, H, D); ``attend`` (B, 1, 1, K) omits padding."""
        for block in self.blocks:
            query = run(block, query, context, attend, save_memory=self.grad_ckpt)
        return self.norm(query[:, 1:])  # type: ignore[no-any-return]


class CineMA(nn.Module):
    """Multi-view masked autoencoder; works on any non-empty subset of its views."""

    def __init__(self, config: CineMAConfig) -> None:
        super().__init__()
        self.config = config
        size = config.dims
        self.enc_down_dict = nn.ModuleDict({v: Tokeniser(config, v, config.in_chans) for v in config.views})
        self.enc_fusion_dict = nn.ModuleDict({v: Fusion(config, v) for v in config.views})
        self.encoder = Encoder(config)
        self.dec_linear = nn.Linear(size.width, size.decoder_width)
        self.dec_embed_dict = nn.ModuleDict({v: DecoderEmbed(config, v) for v in config.views})
        self.decoder = Decoder(config)
        self.pred_head_dict = nn.ModuleDict(
            {v: nn.Linear(size.decoder_width, math.prod(config.footprint(v)) * config.in_chans) for v in config.views}
        )
        self.apply(init_weights)

    def features(self, images: Mapping[str, Tensor], n_slices: Tensor | None = None) -> dict[str, Tensor]:
        """Tokens of whole images, nothing hidden.

        Args:
            images: view to (B, C, X, Y[, Z]), scaled to 0..1; smaller images are zero-padded at the end.
            n_slices: (B,) scanned short-axis slices, to keep padding out of convolutions and attention;
                None treats padding as black image, as published.

        Returns:
            ``cls`` (B, 1, D) and, a view, tokens (B, N, D), row-major over the token grid.

        Raises:
            ValueError: see :func:`cmr_models.nets.multi_view.prepare`.
        """
        images = prepare(images, self.config, self.config.in_chans)
        real = real_tokens(images, self.config, n_slices)
        embedded = {v: self.enc_down_dict[v](image, None if real is None else real[v]) for v, image in images.items()}
        attend = None if real is None else [mask.flatten(1) > 0 for mask in real.values()]
        cls, encoded = self.encoder([tokens for tokens, _ in embedded.values()], attend)
        fused = {
            view: self.enc_fusion_dict[view](tokens, embedded[view][1])
            for view, tokens in zip(images, encoded, strict=True)
        }
        return {"cls": cls, **fused}

    def forward(
        self,
        images: Mapping[str, Tensor],
        masks: Mapping[str, Tensor] | None = None,
        n_slices: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Hides tokens, predicts their voxels.

        Args:
            images: as :meth:`features`.
            masks: view to (B, N) bool, True where hidden, ``mask_ratio`` of every row; drawn where None.
            n_slices: as :meth:`features`; padding then also leaves the loss.
            generator: source of the masks where ``masks`` is None.

        Returns:
            The mean over views of the mean squared error on hidden voxels, and, a view, the predicted hidden
            patches (B, H, voxels), in token order, offsets in axis order and channel last.

        Raises:
            ValueError: see :func:`cmr_models.nets.multi_view.prepare`; masks of wrong shape, type or ratio.
        """
        images = prepare(images, self.config, self.config.in_chans)
        masks = self._draw_masks(images, generator) if masks is None else self._check_masks(images, masks)
        real = real_tokens(images, self.config, n_slices)
        visible, hidden = self._split(masks)
        context, attend, cls = self._encode(images, masks, visible, real)
        queries = [self.dec_linear(cls)]
        keys: list[Tensor] = []
        for view, tokens in context.items():
            placed, asking = self.dec_embed_dict[view](self.dec_linear(tokens), visible[view], hidden[view])
            keys.append(placed)
            queries.append(asking)
        outputs = self.decoder(torch.cat(queries, dim=1), torch.cat(keys, dim=1), attend)  # (B, sum H, D)
        parts = outputs.split([hidden[view].shape[1] for view in images], dim=1)
        predictions = {view: self.pred_head_dict[view](part) for view, part in zip(images, parts, strict=True)}
        return self._loss(images, predictions, hidden, real), predictions

    def _encode(
        self,
        images: Mapping[str, Tensor],
        masks: Mapping[str, Tensor],
        visible: Mapping[str, Tensor],
        real: Mapping[str, Tensor] | None,
    ) -> tuple[dict[str, Tensor], Tensor | None, Tensor]:
        """Fused visible tokens (B, K, D) a view, which are real (B, 1, 1, sum K), and the class token."""
        tokens: list[Tensor] = []
        skips: dict[str, list[Tensor]] = {}
        kept: list[Tensor] = []
        for view, image in images.items():
            shown = (~masks[view]).float().reshape(image.shape[0], 1, *self.config.grid(view))
            if real is not None:
                shown = shown * real[view]
                kept.append(real[view].flatten(1).gather(1, visible[view]) > 0)
            embedded, skips[view] = self.enc_down_dict[view](image, shown)
            tokens.append(take(embedded, visible[view]))
        cls, encoded = self.encoder(tokens, kept or None)
        fused = {
            view: self.enc_fusion_dict[view](part, skips[view], visible[view])
            for view, part in zip(images, encoded, strict=True)
        }
        return fused, torch.cat(kept, dim=1)[:, None, None] if kept else None, cls

    def _split(self, masks: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Indices of visible (B, K) and hidden (B, H) tokens a view, ascending."""
        order = {view: mask.to(torch.uint8).argsort(dim=1, stable=True) for view, mask in masks.items()}
        visible = {view: index[:, : self.config.n_visible(view)] for view, index in order.items()}
        hidden = {view: index[:, self.config.n_visible(view) :] for view, index in order.items()}
        return visible, hidden

    def _draw_masks(self, images: Mapping[str, Tensor], generator: torch.Generator | None) -> dict[str, Tensor]:
        masks: dict[str, Tensor] = {}
        for view, image in images.items():
            shape = (image.shape[0], math.prod(self.config.grid(view)))
            noise = torch.rand(shape, generator=generator, device=generator.device if generator else image.device)
            rank = noise.argsort(dim=1).argsort(dim=1)
            masks[view] = (rank >= self.config.n_visible(view)).to(image.device)
        return masks

    def _check_masks(self, images: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
        if set(masks) != set(images):
            raise ValueError(f"masks are for {sorted(masks)}, images for {sorted(images)}")
        for view, image in images.items():
            shape = (image.shape[0], math.prod(self.config.grid(view)))
            if masks[view].dtype != torch.bool or masks[view].shape != shape:
                got = f"{masks[view].dtype} {tuple(masks[view].shape)}"
                raise ValueError(f"the mask of {view} must be bool {shape}, got {got}")
            n_visible = self.config.n_visible(view)
            if not torch.compiler.is_compiling() and bool(((~masks[view]).sum(1) != n_visible).any()):
                raise ValueError(
                    f"every row of the mask of {view} must leave {n_visible} tokens visible (False), "
                    f"as mask_ratio {self.config.mask_ratio} asks"
                )
        return {view: masks[view] for view in images}

    def _loss(
        self,
        images: Mapping[str, Tensor],
        predictions: Mapping[str, Tensor],
        hidden: Mapping[str, Tensor],
        real: Mapping[str, Tensor] | None,
    ) -> Tensor:
        losses: list[Tensor] = []
        for view, image in images.items():
            target = take(patchify(image, self.config.footprint(view)), hidden[view])  # (B, H, voxels)
            error = F.mse_loss(predictions[view].float(), target.float(), reduction="none").mean(-1)  # (B, H)
            if real is None:
                losses.append(error.mean())
                continue
            counted = real[view].flatten(1).gather(1, hidden[view])
            losses.append((error * counted).sum() / counted.sum().clamp(min=1.0))
        return torch.stack(losses).mean()
