"""ConvUNetR: labels or landmark heatmaps at full resolution, by CineMA's encoder and a decoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from cmr_models.nets.cpu_kernels import add_shortcut, add_slices, equivalent_size, norm_gelu, pointwise, take_slices
from cmr_models.nets.multi_view import crop_to, prepare, real_slices, real_tokens
from cmr_models.nets.vit import ChannelNorm, Encoder, TokenConfig, Tokeniser, conv, init_weights, run, run_in_float32


@dataclass(frozen=True, kw_only=True)
class ConvUNetRConfig(TokenConfig):
    """Settings of :class:`ConvUNetR`; ``dec_chans`` are the channels from full resolution down."""

    out_chans: int
    dec_chans: Sequence[int] = (32, 64, 128, 256, 512)
    dec_patch_size: Sequence[int] = (2, 2, 1)
    dec_scale_factor: Sequence[int] = (2, 2, 1)
    dropout: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.dec_chans) != len(self.enc_conv_chans) + 3:
            raise ValueError(
                f"dec_chans needs {len(self.enc_conv_chans) + 3} entries (image, one a tokeniser stage, "
                f"tokens, coarsest), got {tuple(self.dec_chans)}"
            )
        halves = [a * b for a, b in zip(self.dec_patch_size, self.dec_scale_factor, strict=True)]
        if halves != list(self.enc_patch_size) or tuple(self.dec_scale_factor) != tuple(self.enc_scale_factor):
            raise ValueError(
                "the decoder must undo the encoder's strides: dec_patch_size x dec_scale_factor = "
                f"enc_patch_size and dec_scale_factor = enc_scale_factor; got {self}"
            )
        for view in self.views:
            if any(n % s for n, s in zip(self.grid(view), self.scale(view), strict=True)):
                raise ValueError(f"the {view} token grid {self.grid(view)} must be a multiple of {self.scale(view)}")


class ResidualConv(nn.Module):
    """Norm, GELU, 3 x 3 (x 3) convolution, twice, beside an identity (1 x 1 if channels change)."""

    cpu_kernels = False

    def __init__(self, n_in: int, n_out: int, n_dims: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = ChannelNorm(n_in)
        self.norm2 = ChannelNorm(n_out)
        self.conv1 = conv(n_dims, n_in, n_out, 3, padding=1)
        self.conv2 = conv(n_dims, n_out, n_out, 3, padding=1)
        self.shortcut = conv(n_dims, n_in, n_out, 1) if n_in != n_out else nn.Identity()
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, real: Tensor | None, depth: int | None = None) -> Tensor:
        """(B, C, X, Y[, Z]) to (B, C', X, Y[, Z]), or its first ``depth`` slices.

        ``real`` (B, 1, 1, 1, Z) is 0 at slices to leave out.
        """
        if self.cpu_kernels and x.shape[1] == 1 and real is None:
            return self._run_one_channel(x)
        return self.shortcut(take_slices(x, depth)) + self._inner(x, real, depth)  # type: ignore[no-any-return]

    def _inner(self, x: Tensor, real: Tensor | None, depth: int | None = None) -> Tensor:
        """A convolution needs one slice beyond those that it computes; slices that no later one needs are cut."""
        x = take_slices(x, add_slices(depth, 2))
        inner = take_slices(self.conv1(_mask(self._norm_gelu(self.norm1, x, self.conv1), real)), add_slices(depth, 1))
        inner = self.dropout(self._norm_gelu(self.norm2, inner, self.conv2))
        return take_slices(self.conv2(_mask(inner, real)), depth)

    def _norm_gelu(self, norm: ChannelNorm, x: Tensor, convolution: nn.Module) -> Tensor:
        if self.cpu_kernels:
            return norm_gelu(norm, x, convolution.weight.dtype)  # type: ignore[arg-type]
        return F.gelu(norm(x))

    def _run_one_channel(self, image: Tensor) -> Tensor:
        """A norm over one channel leaves a constant, whatever the image: its convolutions are run on a small one."""
        constant = image.new_zeros(1, 1, *equivalent_size(image.shape[2:]))
        return add_shortcut(self.shortcut, image, self._inner(constant, None))


class UpBlock(nn.Module):
    """Transposed convolution, plus the skip, then two residual blocks."""

    def __init__(self, n_in: int, n_out: int, stride: tuple[int, ...]) -> None:
        super().__init__()
        kind: type[nn.ConvTranspose2d] | type[nn.ConvTranspose3d]
        kind = nn.ConvTranspose3d if len(stride) == 3 else nn.ConvTranspose2d
        self.up = kind(n_in, n_out, stride, stride=stride)  # type: ignore[arg-type]
        self.conv = nn.ModuleList(ResidualConv(n_out, n_out, len(stride), dropout=0.0) for _ in range(2))

    def forward(self, x: Tensor, skip: Tensor | None, real: Tensor | None, depth: int | None = None) -> Tensor:
        """(B, C, X, Y[, Z]) to (B, C', pX, pY[, pZ]), or its first ``depth`` slices where pZ is Z."""
        seen = add_slices(depth, 2 * len(self.conv))
        x = self.up(take_slices(x, seen))
        x = x if skip is None else x + take_slices(skip, seen)
        for left, block in zip(reversed(range(len(self.conv))), self.conv, strict=True):
            x = block(x, real, add_slices(depth, 2 * left))
        return x


class UpPath(nn.Module):
    """From the coarsest map to full resolution."""

    cpu_kernels = False

    def __init__(self, config: ConvUNetRConfig, view: str) -> None:
        super().__init__()
        chans = [*reversed(config.dec_chans), config.dec_chans[0]]  # 512 256 128 64 32 32
        patch = tuple(config.dec_patch_size)[: len(config.scale(view))]
        strides = [config.scale(view)] * (len(chans) - 2) + [patch]
        self.grad_ckpt = config.grad_ckpt
        self.keeps_slices = all(len(stride) == 3 and stride[2] == 1 for stride in strides)
        self.blocks = nn.ModuleList(
            UpBlock(a, b, stride) for a, b, stride in zip(chans[:-1], chans[1:], strides, strict=True)
        )

    def forward(
        self, x: Tensor, skips: Sequence[Tensor | None], real: Tensor | None, depth: int | None = None
    ) -> Tensor:
        """The coarsest map and one skip a step, coarsest first, to (B, dec_chans[0], X, Y[, Z]).

        Where only the first ``depth`` slices are needed, no step computes more slices than the later ones need.
        """
        if not self.cpu_kernels or not self.keeps_slices:
            depth = None
        for left, block, skip in zip(reversed(range(len(self.blocks))), self.blocks, skips, strict=True):
            seen = add_slices(depth, 4 * left)  # two residual blocks a step, two convolutions each
            x = run(block, x, skip, real, seen, save_memory=self.grad_ckpt)
        return x


class ConvUNetR(nn.Module):
    """Any non-empty subset of the views to logits at the resolution of each image."""

    cpu_kernels = False

    def __init__(self, config: ConvUNetRConfig) -> None:
        super().__init__()
        self.config = config
        views = config.views
        self.enc_down_dict = nn.ModuleDict({v: Tokeniser(config, v, config.in_chans) for v in views})
        self.encoder = Encoder(config)
        self.dec_image_conv_block_dict = nn.ModuleDict({v: _image_block(config, v) for v in views})
        self.dec_down_blocks_dict = nn.ModuleDict({v: _down_blocks(config, v) for v in views})
        self.dec_conv_blocks_dict = nn.ModuleDict({v: _skip_blocks(config, v) for v in views})
        self.decoder_dict = nn.ModuleDict({v: UpPath(config, v) for v in views})
        self.pred_head_dict = nn.ModuleDict(
            {v: conv(len(config.scale(v)), config.dec_chans[0], config.out_chans, 1) for v in views}
        )
        self.apply(init_weights)

    def forward(self, images: Mapping[str, Tensor], n_slices: Tensor | None = None) -> dict[str, Tensor]:
        """Logits, at the size of each image as given.

        Args:
            images: view to (B, C, X, Y[, Z]), scaled to 0..1; smaller images are zero-padded at the end.
            n_slices: (B,) scanned short-axis slices, to keep padding out of convolutions and attention;
                logits of later slices then mean nothing. None treats padding as black image, as published.

        Returns:
            View to (B, out_chans, X, Y[, Z]).

        Raises:
            ValueError: see :func:`cmr_models.nets.multi_view.prepare`.
        """
        padded = prepare(images, self.config, self.config.in_chans)
        real = real_tokens(padded, self.config, n_slices)
        embedded = {v: self.enc_down_dict[v](image, None if real is None else real[v]) for v, image in padded.items()}
        attend = None if real is None else [mask.flatten(1) > 0 for mask in real.values()]
        _, encoded = self.encoder([tokens for tokens, _ in embedded.values()], attend)
        logits: dict[str, Tensor] = {}
        for view, tokens in zip(padded, encoded, strict=True):
            slices = _slices(padded[view], n_slices) if view == "sax" else None
            size = tuple(images[view].shape[2:])
            logits[view] = crop_to(self._decode(view, padded[view], tokens, embedded[view][1], slices, size[-1]), size)
        return logits

    def _decode(
        self, view: str, image: Tensor, tokens: Tensor, skips: Sequence[Tensor], real: Tensor | None, depth: int
    ) -> Tensor:
        """Logits (B, out, X, Y[, Z]) of one view, at least the first ``depth`` along its last axis.

        ``real`` (B, 1, 1, 1, Z) is 0 at padding.
        """
        save = self.config.grad_ckpt
        fine = run(self.dec_image_conv_block_dict[view], image, real, save_memory=save)  # (B, 32, X, Y[, Z])
        bottom = tokens.transpose(1, 2).reshape(len(image), -1, *self.config.grid(view))  # (B, D, grid), 1/16
        maps = [*skips, bottom, self.dec_down_blocks_dict[view](bottom)]  # 1/4, 1/8, 1/16, 1/32
        pairs = zip(self.dec_conv_blocks_dict[view], maps, strict=True)  # type: ignore[call-overload]
        *coarse, x = [run(block, level, real, save_memory=save) for block, level in pairs]
        x = self.decoder_dict[view](x, [*reversed(coarse), None, fine], real, depth)  # nothing joins at 1/2
        head = self.pred_head_dict[view]
        return pointwise(head, x) if self.cpu_kernels else run_in_float32(head, x)


def _image_block(config: ConvUNetRConfig, view: str) -> ResidualConv:
    # with one channel its first norm is constant and only the shortcut carries the image: trained so, kept so
    return ResidualConv(config.in_chans, config.dec_chans[0], len(config.scale(view)), config.dropout)


def _down_blocks(config: ConvUNetRConfig, view: str) -> nn.Sequential:
    width, stride = config.dims.width, config.scale(view)
    return nn.Sequential(conv(len(stride), width, width, stride, stride=stride))


def _skip_blocks(config: ConvUNetRConfig, view: str) -> nn.ModuleList:
    width, n_dims = config.dims.width, len(config.scale(view))
    chans_in = (*config.enc_conv_chans, width, width)
    return nn.ModuleList(
        ResidualConv(a, b, n_dims, config.dropout) for a, b in zip(chans_in, config.dec_chans[1:], strict=True)
    )


def _slices(image: Tensor, n_slices: Tensor | None) -> Tensor | None:
    return None if n_slices is None else real_slices(n_slices, image.shape[-1], image.device)


def _mask(x: Tensor, real: Tensor | None) -> Tensor:
    return x if real is None else x * real[..., : x.shape[-1]].to(x.dtype)
