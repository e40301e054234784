"""What CineMA's networks share: settings, a tokeniser a view, the joint transformer, the fusion.

State-dict keys and shapes are those of the published weights (Fu et al., A versatile foundation model for
cine CMR analysis tasks, Communications Medicine 2026). Shape letters: B batch, C channel, X Y Z image axes
(Z for short axis only), N tokens, D token width.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from cmr_models.nets.cpu_kernels import attention

VIEWS = ("sax", "lax_2c", "lax_3c", "lax_4c")


@dataclass(frozen=True)
class Size:
    """Token width, depth and heads of the encoder and of the pretraining decoder."""

    width: int
    depth: int
    heads: int
    decoder_width: int
    decoder_depth: int
    decoder_heads: int


SIZES: Mapping[str, Size] = {  # all published but "small", which is for demonstrations on simulated hearts
    "tiny": Size(16, 1, 2, 16, 1, 2),
    "small": Size(128, 4, 4, 96, 2, 4),
    "base": Size(768, 12, 12, 512, 8, 16),
    "large": Size(1024, 24, 16, 512, 8, 16),
    "huge": Size(1280, 32, 16, 512, 8, 16),
}


@dataclass(frozen=True, kw_only=True)
class TokenConfig:
    """Settings common to CineMA, ConvViT and ConvUNetR; strides are cut to two axes for long-axis views."""

    views: Sequence[str]
    size: str = "base"
    in_chans: int = 1
    enc_patch_size: Sequence[int] = (4, 4, 1)
    enc_scale_factor: Sequence[int] = (2, 2, 1)
    enc_conv_chans: Sequence[int] = (64, 128)
    enc_conv_n_blocks: int = 2
    sax_size: Sequence[int] = (192, 192, 16)
    lax_size: Sequence[int] = (256, 256)
    drop_path: float = 0.1
    grad_ckpt: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.views, str):
            object.__setattr__(self, "views", (self.views,))
        if not self.views or len(set(self.views)) != len(self.views) or set(self.views) - set(VIEWS):
            raise ValueError(f"views must be distinct and among {VIEWS}, got {tuple(self.views)}")
        if self.size not in SIZES:
            raise ValueError(f"size must be one of {sorted(SIZES)}, got {self.size!r}")
        for view in self.views:
            self._check_footprint(view)

    @property
    def dims(self) -> Size:
        """The widths, depths and heads that ``size`` names."""
        return SIZES[self.size]

    def image_size(self, view: str) -> tuple[int, ...]:
        """Voxels of the model input along each axis of ``view``."""
        return tuple(self.sax_size if view == "sax" else self.lax_size)

    def patch(self, view: str) -> tuple[int, ...]:
        """Stride of the first stage along each axis of ``view``."""
        return tuple(self.enc_patch_size)[: len(self.image_size(view))]

    def scale(self, view: str) -> tuple[int, ...]:
        """Stride of every later stage, and of the patch embedding, along each axis of ``view``."""
        return tuple(self.enc_scale_factor)[: len(self.image_size(view))]

    def footprint(self, view: str) -> tuple[int, ...]:
        """Voxels one token covers along each axis: first stride x later strides x patch embedding."""
        n_stages = len(self.enc_conv_chans)
        return tuple(p * s**n_stages for p, s in zip(self.patch(view), self.scale(view), strict=True))

    def grid(self, view: str) -> tuple[int, ...]:
        """Tokens along each axis of ``view``."""
        return tuple(a // b for a, b in zip(self.image_size(view), self.footprint(view), strict=True))

    def _check_footprint(self, view: str) -> None:
        size, footprint = self.image_size(view), self.footprint(view)
        if len(size) != len(footprint) or any(a < 1 or a % b for a, b in zip(size, footprint, strict=True)):
            raise ValueError(f"the {view} size {size} must be a multiple of the token footprint {footprint}")


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of every voxel; the result lies channels-last, and so does what follows."""

    def __init__(self, n_channels: int) -> None:
        super().__init__(n_channels, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, X, Y[, Z]) to the same shape."""
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class ConvMlp(nn.Module):
    """Voxel-wise perceptron, four times wider inside."""

    def __init__(self, n_channels: int, n_dims: int) -> None:
        super().__init__()
        self.fc1 = conv(n_dims, n_channels, 4 * n_channels, 1)
        self.fc2 = conv(n_dims, 4 * n_channels, n_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, X, Y[, Z]) to the same shape."""
        return self.fc2(F.gelu(self.fc1(x)))  # type: ignore[no-any-return]


class MaskedConvBlock(nn.Module):
    """Depthwise 5 x 5 (x 5) mixing of the visible voxels, then a perceptron, each beside an identity."""

    def __init__(self, n_channels: int, n_dims: int) -> None:
        super().__init__()
        self.norm1 = ChannelNorm(n_channels)
        self.norm2 = ChannelNorm(n_channels)
        self.conv1 = conv(n_dims, n_channels, n_channels, 1)
        self.conv2 = conv(n_dims, n_channels, n_channels, 1)
        self.dw_conv = conv(n_dims, n_channels, n_channels, 5, padding=2, groups=n_channels)
        self.mlp = ConvMlp(n_channels, n_dims)

    def forward(self, x: Tensor, visible: Tensor | None) -> Tensor:
        """(B, C, X, Y[, Z]) to the same shape; ``visible`` (B, 1, X, Y[, Z]) is 0 where it must not look."""
        mixed = self.conv1(self.norm1(x))
        if visible is not None:
            mixed = mixed * visible.to(mixed.dtype)
        x = x + self.conv2(self.dw_conv(mixed))
        return x + self.mlp(self.norm2(x))  # type: ignore[no-any-return]


class StridedEmbed(nn.Module):
    """Non-overlapping strided convolution, norm, GELU."""

    def __init__(self, n_in: int, n_out: int, stride: tuple[int, ...]) -> None:
        super().__init__()
        self.conv = conv(len(stride), n_in, n_out, stride, stride=stride)
        self.norm = ChannelNorm(n_out)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, X, Y[, Z]) to (B, C', X/p, Y/p[, Z/p])."""
        return F.gelu(self.norm(self.conv(x)))


class Stage(nn.Module):
    """One resolution of a tokeniser."""

    def __init__(self, n_in: int, n_out: int, stride: tuple[int, ...], n_blocks: int) -> None:
        super().__init__()
        self.patch_embed = StridedEmbed(n_in, n_out, stride)
        self.conv = nn.ModuleList(MaskedConvBlock(n_out, len(stride)) for _ in range(n_blocks))

    def forward(self, x: Tensor, visible: Tensor | None) -> Tensor:
        """(B, C, X, Y[, Z]) to (B, C', X/p, Y/p[, Z/p]); ``visible`` is on the coarser token grid."""
        x = self.patch_embed(x)
        if visible is not None:
            visible = F.interpolate(visible, size=x.shape[2:], mode="nearest")
        for block in self.conv:
            x = block(x, visible)
        return x


class PatchEmbed(nn.Module):
    """Neighbourhoods of the last feature map, flattened with the channel last, to tokens."""

    def __init__(self, n_channels: int, patch: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.patch = patch
        self.proj = nn.Linear(math.prod(patch) * n_channels, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, X, Y[, Z]) to (B, N, D)."""
        return self.proj(patchify(x, self.patch))  # type: ignore[no-any-return]


class Tokeniser(nn.Module):
    """Images of one view to tokens, and the feature maps passed on the way."""

    def __init__(self, config: TokenConfig, view: str, in_chans: int) -> None:
        super().__init__()
        chans = (in_chans, *config.enc_conv_chans)
        strides = [config.patch(view)] + [config.scale(view)] * (len(chans) - 2)
        width = config.dims.width
        self.grad_ckpt = config.grad_ckpt
        self.pos_embed = position_embedding(config.grid(view), width)
        self.conv_blocks = nn.ModuleList(
            Stage(a, b, stride, config.enc_conv_n_blocks)
            for a, b, stride in zip(chans[:-1], chans[1:], strides, strict=True)
        )
        self.patch_embed = PatchEmbed(chans[-1], config.scale(view), width)
        self.linear = nn.Linear(width, width)

    def forward(self, image: Tensor, visible: Tensor | None = None) -> tuple[Tensor, list[Tensor]]:
        """(B, C, X, Y[, Z]) to tokens (B, N, D), row-major over the grid, and one skip a stage, finest first.

        ``visible`` (B, 1, grid) is 1 at the tokens that the convolutions may look at; all where None.
        """
        x = image
        skips: list[Tensor] = []
        for stage in self.conv_blocks:
            x = run(stage, x, visible, save_memory=self.grad_ckpt)
            skips.append(x)
        return self.linear(self.patch_embed(x)) + self.pos_embed, skips


class Fusion(nn.Module):
    """Adds the tokeniser's feature maps, strided down to the token grid, to the transformer's output."""

    def __init__(self, config: TokenConfig, view: str) -> None:
        super().__init__()
        width, scale = config.dims.width, config.scale(view)
        depth = len(config.enc_conv_chans)
        strides = [tuple(s ** (depth - level) for s in scale) for level in range(depth)]
        self.down_convs = nn.ModuleList(
            conv(len(scale), chans, width, stride, stride=stride)
            for chans, stride in zip(config.enc_conv_chans, strides, strict=True)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor, skips: list[Tensor], keep: Tensor | None = None) -> Tensor:
        """(B, N, D) to (B, N, D); ``keep`` (B, N): which grid positions the tokens stand for; all if None."""
        for down, skip in zip(self.down_convs, skips, strict=True):
            local = down(skip).flatten(2).transpose(1, 2)  # (B, N_grid, D)
            tokens = tokens + (local if keep is None else take(local, keep))
        return self.norm(tokens)  # type: ignore[no-any-return]


class Attention(nn.Module):
    """Multi-head attention of queries to a context, which is the queries themselves or another sequence."""

    cpu_kernels = False

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(width, 2 * width)  # keys first, then values
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, context: Tensor, attend: Tensor | None) -> Tensor:
        """(B, N, D) and (B, M, D) to (B, N, D); ``attend`` (B, 1, 1, M) is False at tokens to leave out."""
        q = self.q(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, h, N, D/h)
        k, v = self.kv(context).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)  # (B, h, M, D/h) each
        mixed = (attention if self.cpu_kernels else F.scaled_dot_product_attention)(q, k, v, attend)
        return self.proj(mixed.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class Mlp(nn.Module):
    """Token-wise perceptron, four times wider inside."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, D) to the same shape."""
        return self.fc2(F.gelu(self.fc1(x)))  # type: ignore[no-any-return]


class Block(nn.Module):
    """Pre-norm transformer block; with a context it is cross-attention, and the context is not normalised."""

    def __init__(self, width: int, heads: int, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width)
        self.drop_path = drop_path

    def forward(self, x: Tensor, context: Tensor | None, attend: Tensor | None) -> Tensor:
        """(B, N, D) to the same shape."""
        query = self.norm1(x)
        x = x + self._drop(self.attn(query, query if context is None else context, attend))
        return x + self._drop(self.mlp(self.norm2(x)))

    def _drop(self, branch: Tensor) -> Tensor:
        """Leaves the branch out for a random part of the batch while training (stochastic depth)."""
        if not self.training or self.drop_path == 0.0:
            return branch
        keep = 1.0 - self.drop_path
        kept = torch.rand(branch.shape[0], 1, 1, device=branch.device) < keep
        return branch * kept.to(branch.dtype) / keep


class Encoder(nn.Module):
    """Joint self-attention over the class token and the tokens of all views."""

    def __init__(self, config: TokenConfig) -> None:
        super().__init__()
        size = config.dims
        self.grad_ckpt = config.grad_ckpt
        self.cls_token = nn.Parameter(0.02 * torch.randn(1, 1, size.width))
        self.blocks = nn.ModuleList(Block(size.width, size.heads, config.drop_path) for _ in range(size.depth))
        self.norm = nn.LayerNorm(size.width)

    def forward(self, tokens: Sequence[Tensor], real: Sequence[Tensor] | None) -> tuple[Tensor, list[Tensor]]:
        """One (B, N, D) a view to the class token (B, 1, D) and one (B, N, D) a view.

        ``real`` holds one (B, N) a view, False at padding that nothing may attend to.
        """
        cls = self.cls_token.expand(tokens[0].shape[0], -1, -1)
        x = torch.cat([cls, *tokens], dim=1)  # (B, 1 + sum N, D)
        attend = None
        if real is not None:
            joined = torch.cat(list(real), dim=1)
            attend = F.pad(joined, (1, 0), value=True)[:, None, None]  # (B, 1, 1, 1 + sum N)
        for block in self.blocks:
            x = run(block, x, None, attend, save_memory=self.grad_ckpt)
        cls, *views = self.norm(x).split([1, *(t.shape[1] for t in tokens)], dim=1)
        return cls, views


def conv(
    n_dims: int,
    n_in: int,
    n_out: int,
    kernel: int | tuple[int, ...],
    stride: int | tuple[int, ...] = 1,
    padding: int = 0,
    groups: int = 1,
) -> nn.Conv2d | nn.Conv3d:
    """A 2-D or 3-D convolution with bias."""
    kind: type[nn.Conv2d] | type[nn.Conv3d] = nn.Conv3d if n_dims == 3 else nn.Conv2d
    return kind(n_in, n_out, kernel, stride=stride, padding=padding, groups=groups)  # type: ignore[arg-type]


def run(module: nn.Module, *inputs: Tensor | int | None, save_memory: bool) -> Tensor:
    """``module(*inputs)``; with ``save_memory`` activations are computed again in the backward pass."""
    if save_memory and module.training and torch.is_grad_enabled():
        return checkpoint(module, *inputs, use_reentrant=False)  # type: ignore[no-any-return]
    return module(*inputs)  # type: ignore[no-any-return]


def patchify(x: Tensor, patch: tuple[int, ...]) -> Tensor:
    """(B, C, X, Y[, Z]) to (B, N, prod(patch) x C): grid row-major, offsets in axis order, channel last."""
    grid = [size // p for size, p in zip(x.shape[2:], patch, strict=True)]
    n = len(patch)
    x = x.reshape(*x.shape[:2], *(length for pair in zip(grid, patch, strict=True) for length in pair))
    x = x.permute(0, *range(2, 2 + 2 * n, 2), *range(3, 3 + 2 * n, 2), 1)  # (B, grid, patch, C)
    return x.reshape(x.shape[0], math.prod(grid), -1)


def take(tokens: Tensor, index: Tensor) -> Tensor:
    """The tokens (B, K, D) of (B, N, D) at ``index`` (B, K)."""
    return tokens.gather(1, index[..., None].expand(-1, -1, tokens.shape[-1]))


def position_embedding(grid: tuple[int, ...], width: int) -> nn.Parameter:
    """Fixed sine-cosine embedding (1, N, D), kept in the state dict as in the published weights.

    The width is shared evenly among the axes, each share rounded down to even and the rest zero; half a share
    is sines, half cosines, base 10000. The first share encodes the second axis and the second share the
    first, as published.
    """
    share = width // len(grid) // 2 * 2
    frequency = 10000.0 ** -(torch.arange(share // 2, dtype=torch.float64) / (share // 2))
    axes = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in grid), indexing="ij")
    swapped = (axes[1], axes[0], *axes[2:])
    phases = [axis.reshape(-1, 1) * frequency for axis in swapped]  # (N, share / 2) each
    table = torch.cat([part for phase in phases for part in (phase.sin(), phase.cos())], dim=1)
    table = F.pad(table, (0, width - table.shape[1]))
    return nn.Parameter(table[None].float(), requires_grad=False)


def init_weights(module: nn.Module) -> None:
    """Xavier for linear layers, zero bias; convolutions and norms keep torch's rule. Use with ``apply``."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)


def run_in_float32(head: nn.Module, x: Tensor) -> Tensor:
    """``head(x)`` in float32 even under autocast: rounding the last sum to bfloat16 would cost the most."""
    with torch.autocast(device_type=x.device.type, enabled=False):
        return head(x.float())  # type: ignore[no-any-return]
