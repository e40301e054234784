"""On a processor a network takes shorter ways to the numbers that it gives as published."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cmr_models.cinema.network import lower_precision
from cmr_models.nets import build
from cmr_models.nets.cpu_kernels import attention, attention_by_products, norm_gelu, pointwise, use_cpu_kernels
from cmr_models.nets.vit import ChannelNorm

SMALL: dict[str, Any] = {"size": "tiny", "sax_size": [32, 32, 16], "lax_size": [32, 32], "enc_conv_chans": [8, 16]}


def _both_ways(kind: str, **config: Any) -> tuple[nn.Module, nn.Module]:
    """One network as built and one that takes shorter ways, of the same weights, none of them 0 or 1."""
    torch.manual_seed(0)
    plain, short = (build(kind, views=["sax", "lax_4c"], **SMALL, **config).eval() for _ in range(2))
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    short.load_state_dict(plain.state_dict())
    use_cpu_kernels(short)
    return plain, short


def _images(depth: int = 5) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    shapes = {"sax": (2, 1, 32, 32, depth), "lax_4c": (2, 1, 32, 32)}
    return {view: torch.rand(shape, generator=generator) for view, shape in shapes.items()}


@pytest.mark.parametrize("depth", [3, 4, 11, 16])
@pytest.mark.parametrize("n_slices", [None, [3, 2]])
def test_a_segmenter_gives_the_same_logits(depth: int, n_slices: list[int] | None) -> None:
    """Also of a stack that is padded to 16 slices, of which the decoder computes what it must."""
    plain, short = _both_ways("ConvUNetR", out_chans=4, dec_chans=[4, 8, 16, 8, 8])
    given = None if n_slices is None else torch.tensor(n_slices)
    with torch.inference_mode():
        wanted, found = (network(_images(depth), n_slices=given) for network in (plain, short))
    for view in ("sax", "lax_4c"):
        torch.testing.assert_close(found[view], wanted[view], rtol=1e-4, atol=1e-4)


def test_the_image_block_answers_at_every_voxel_of_every_size() -> None:
    """Its inner branch is computed on five voxels an axis; edges, short axes and several channels must not notice."""
    for n_chans in (1, 2):
        plain, short = _both_ways("ConvUNetR", out_chans=4, dec_chans=[4, 8, 16, 8, 8], in_chans=n_chans)
        for size in ((9, 6, 1), (5, 4, 3), (2, 11, 8)):
            image = torch.rand(2, n_chans, *size)
            with torch.inference_mode():
                wanted, found = (net.dec_image_conv_block_dict["sax"](image, None) for net in (plain, short))  # type: ignore[union-attr, operator, index]
            torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("kind", "config"), [("ConvViT", {"out_chans": 3}), ("CineMA", {})])
def test_the_other_networks_of_the_family_give_the_same_answers(kind: str, config: dict[str, Any]) -> None:
    plain, short = _both_ways(kind, **config)
    for network in (plain, short):
        lower_precision(network, torch.bfloat16)
    images = _images()
    with torch.inference_mode():
        wanted, found = (net.features(images)["cls"] if kind == "CineMA" else net(images) for net in (plain, short))  # type: ignore[operator]
    torch.testing.assert_close(found, wanted, rtol=3e-2, atol=3e-2)


@pytest.mark.parametrize("n_queries", [3, 1200, 2500])
def test_attention_by_products_is_scaled_dot_product_attention(n_queries: int) -> None:
    torch.manual_seed(0)
    query, key, value = (torch.randn(2, 3, n, 20) for n in (n_queries, 37, 37))
    some = torch.rand(2, 1, 1, 37) > 0.5
    for attend in (None, some):
        wanted = F.scaled_dot_product_attention(query, key, value, attn_mask=attend)
        torch.testing.assert_close(attention_by_products(query, key, value, attend), wanted, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(attention(query, key, value, some), wanted)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
def test_a_norm_and_gelu_in_parts_are_those_of_the_whole(layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    norm = ChannelNorm(32)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x = torch.randn(1, 32, 40, 30, 8).contiguous(memory_format=layout)  # more than one part
    with torch.inference_mode():
        wanted = F.gelu(norm(x))
        torch.testing.assert_close(norm_gelu(norm, x, torch.float32), wanted)
        found = norm_gelu(norm, x, torch.bfloat16)
    torch.testing.assert_close(found, wanted.bfloat16())


def test_a_pointwise_layer_is_the_convolution() -> None:
    layer, x = nn.Conv3d(5, 3, 1), torch.randn(2, 5, 4, 3, 2)
    torch.testing.assert_close(pointwise(layer, x), layer(x))
    with pytest.raises(ValueError, match="a convolution with bias is needed"):
        pointwise(nn.Conv3d(5, 3, 1, bias=False), x)


def test_a_decoder_computes_fewer_slices_where_fewer_are_asked_for() -> None:
    """Of 16 slices, two wanted: the four convolutions of the last step see 6, 5, 4 and 3."""
    _, short = _both_ways("ConvUNetR", out_chans=4, dec_chans=[4, 8, 16, 8, 8])
    depths = []
    for block in short.decoder_dict["sax"].blocks[-1].conv:  # type: ignore[union-attr, index]
        for layer in (block.conv1, block.conv2):
            layer.register_forward_pre_hook(lambda _, inputs: depths.append(inputs[0].shape[-1]))
    with torch.inference_mode():
        assert short({"sax": _images(2)["sax"]})["sax"].shape == (2, 4, 32, 32, 2)
    assert depths == [6, 5, 4, 3]


def test_a_network_that_takes_shorter_ways_compiles_as_one_graph() -> None:
    plain, short = _both_ways("ConvUNetR", out_chans=4, dec_chans=[4, 8, 16, 8, 8], enc_conv_n_blocks=1)
    lower_precision(short, torch.bfloat16, exact_end=True)
    images = {"sax": _images(5)["sax"]}
    torch._dynamo.reset()
    compiled = torch.compile(short, backend="eager", fullgraph=True)
    with torch.no_grad():
        wanted, found = plain(images)["sax"], compiled(images)["sax"]
    assert (found - wanted).abs().mean() < 0.05 * wanted.std()
